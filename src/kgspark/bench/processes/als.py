"""The process that `bench nightly` times beside a night: MLlib ALS from the ratings file to a Parquet table.

python -m kgspark.bench.processes.als MOVIELENS_FOLDER OUT K MASTER
"""

import json
import sys
from pathlib import Path

from kgspark.peers import mllib_als
from kgspark.spark.cleaning.dialects import find_source
from kgspark.spark.session import plain_session
from kgspark.spark.settings import SourceSettings
from kgspark.tables import RATINGS


def main(folder: str, out: str, k: int, master: str) -> dict[str, int]:
    """Reads, fits, ranks and writes; returns how many rows there are, and how many users have fewer than K."""
    source = find_source(SourceSettings(path=folder))
    layout = source.layouts[RATINGS]
    if layout is None:
        raise SystemExit("bench_als reads MovieLens text files")
    with plain_session(master) as session:
        ratings = mllib_als.read_movielens(session, source.paths[RATINGS], layout.separator, layout.header is not None)
        ratings = ratings.cache()
        model = mllib_als.fit(ratings.where("rating >= 4.0"), rank=64, iterations=10, alpha=10.0, seed=42)
        mllib_als.top_unseen(model, ratings, k).write.parquet(out)
        rows = session.read.parquet(out).groupBy("user").count().collect()
    return {"rows": sum(row["count"] for row in rows), "short_users": sum(row["count"] < k for row in rows)}


if __name__ == "__main__":
    print(json.dumps(main(str(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]), sys.argv[4])))
