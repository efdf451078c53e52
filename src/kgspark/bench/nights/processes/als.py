"""The process that `bench nightly` compares with a night: MLlib ALS from the ratings file to a Parquet table.

python -m kgspark.bench.nights.processes.als MOVIELENS_FOLDER OUT K MASTER
"""

import json
import sys

from kgspark.peers import mllib_als
from kgspark.spark.cleaning.settings import SourceSettings
from kgspark.spark.cleaning.source.dialects import find_source
from kgspark.spark.session import plain_session
from kgspark.tables import RATINGS


def main(folder: str, out: str, k: int, master: str) -> dict[str, int]:
    """Reads, fits, ranks and writes; returns the number of rows, and of users with fewer than K rows."""
    source = find_source(SourceSettings(path=folder))
    layout = source.layouts[RATINGS]
    if layout is None:
        raise SystemExit(f"{folder}: expected MovieLens text files, the only format that bench nightly reads")
    with plain_session(master) as session:
        ratings = mllib_als.read_movielens(
            session, source.files[RATINGS].files[0], layout.separator, layout.header is not None
        )
        ratings = ratings.cache()
        model = mllib_als.fit(ratings.where("rating >= 4.0"), rank=64, iterations=10, alpha=10.0, seed=42)
        mllib_als.top_unseen(model, ratings, k).write.parquet(out)
        rows = session.read.parquet(out).groupBy("user").count().collect()
    return {"rows": sum(row["count"] for row in rows), "short_users": sum(row["count"] < k for row in rows)}


if __name__ == "__main__":
    folder, out, k, master = sys.argv[1:]
    print(json.dumps(main(folder, out, int(k), master)))
