"""The champion: the last published model, measured beside tonight's on the likes that tonight holds out.

Both models are measured as they were before the refit. A split by hash keeps every pair in its split from night to
night, so neither model has learned the likes that they are compared on.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgspark.errors import KgsparkError
from kgspark.names import Names
from kgspark.night.evaluate_settings import EvaluateSettings
from kgspark.night.held_out import HeldOut, measure, read_held_out, space_before_refit
from kgspark.night.night import Night
from kgspark.peers.baselines import Recommender
from kgspark.retrieval.space_recommender import SpaceRecommender
from kgspark.runs import Run
from kgspark.search_space import ITEMS, QUERIES, Side, read_ids
from kgspark.spark.session import usable_cores
from kgspark.tables import ENTITIES, MODEL, PUBLISHED, SEARCH_SPACE, TRIPLES

# Users to compare on: enough for an interval of about a hundredth, and few enough for a minute with a large catalogue.
_MOST_USERS = 10_000
_READS = (MODEL, SEARCH_SPACE, TRIPLES, ENTITIES)


def find_champion(night: Night) -> Run | None:
    """The newest earlier night of this lake that published and that still has its model; None if there is none."""
    for run in night.run.earlier():
        if all(run.find_manifest(name) is not None for name in (PUBLISHED, *_READS)):
            return run
    return None


def compare_with(night: Night, champion: Run) -> dict[str, Any]:
    """NDCG of tonight's model and of the champion on the same users, and tonight's lead with its 95 % interval.

    The users are those with a held-out like whom both models know, at most `_MOST_USERS`, evenly spread. A movie that
    the champion does not know comes last in its lists.

    Raises StageError if the champion's tables are damaged or do not belong together.
    """
    champion.manifests(_READS)
    champion.check_files(
        _READS, "set publish.beat_champion=false once, to publish without a comparison with this night"
    )
    k = night.settings.train.resolved().validation.k
    settings = EvaluateSettings(ks=(k,))
    users, movies = (_positions(night.run, champion, side) for side in (QUERIES, ITEMS))
    held_out = _known_users(read_held_out(night), users >= 0, night.settings.names)
    ours = SpaceRecommender(space_before_refit(night.run), usable_cores())
    theirs = _Champion(SpaceRecommender(space_before_refit(champion), usable_cores()), users, movies)
    metric = f"ndcg@{k}"
    measured = [measure(model, held_out, settings) for model in (ours, theirs)]
    means = [float(found.by_user[metric].mean()) for found in measured]
    lead = measured[0].lead(measured[1], settings, night.settings.train.seed)[metric]
    return {
        "date": champion.date,
        "model_id": champion.manifest(MODEL).details["model_id"],
        "users": len(held_out.test_users),
        "metric": metric,
        "ours": means[0],
        "champion": means[1],
        "lead": lead["mean"],
        "ci95": lead["ci95"],
    }


@dataclass(frozen=True)
class _Champion:
    """Scores tonight's movies for tonight's users by the champion's vectors.

    users, movies  int64 (U,) and (M,): the champion's position of each of tonight's, -1 for unknown ones
    """

    model: Recommender
    users: np.ndarray
    movies: np.ndarray

    def scores(self, users: np.ndarray) -> np.ndarray:
        """Scores float32 (B, M); -inf for a movie that the champion does not know."""
        known = self.movies >= 0
        scores = np.full((len(users), len(self.movies)), -np.inf, np.float32)
        scores[:, known] = self.model.scores(self.users[users])[:, self.movies[known]]
        return scores


def _positions(run: Run, champion: Run, side: Side) -> np.ndarray:
    """The champion's position of each of tonight's users or movies, by external id; int64, -1 for unknown ones."""
    here, there = (_ids(night, side) for night in (run, champion))
    return np.asarray(pc.fill_null(pc.index_in(here, value_set=there), -1)).astype(np.int64)


def _ids(run: Run, side: Side) -> pa.Array:
    return pc.cast(read_ids(run.table(SEARCH_SPACE), side), pa.string())


def _known_users(held_out: HeldOut, known: np.ndarray, names: Names) -> HeldOut:
    """The same likes; only known users, at most `_MOST_USERS`, have likes to find."""
    kept = held_out.test.where(known[held_out.test.rows()])
    if not len(kept.indices):
        raise KgsparkError(f"no {names.user} with a held-out like is known to the last published model")
    return replace(held_out, test=kept.limit(_MOST_USERS))
