"""nightly: the whole chain in one session, and a summary at the end."""

import threading
from importlib import import_module

from kgspark.report.summary import night_summary
from kgspark.stages import clean_ratings, index_entities, publish, write_triples
from kgspark.stages.night import Night
from kgspark.stages.recommend import ranked_tables
from kgspark.tables import MODEL


def run(night: Night) -> None:
    """Runs every stage whose inputs have changed, in order, and tells what came out."""
    # torch takes seconds to import; it does so while Spark cleans.
    threading.Thread(target=import_module, args=("kgspark.kge.training",), daemon=True).start()
    for stage in (clean_ratings, index_entities, write_triples):
        stage.run(night)
    from kgspark.stages import recommend, train_embeddings

    for stage in (train_embeddings, recommend, publish):
        stage.run(night)
    night.say(night_summary(night.run, ranked_tables(night), night.outcomes))

    night.result = {
        "run_date": night.run.date,
        "stages": [vars(outcome) for outcome in night.outcomes],
        "metrics": night.run.manifest(MODEL).details["metrics"],
    }
