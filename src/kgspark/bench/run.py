"""bench: kgspark beside its peers, all systems of a benchmark in one run."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from kgspark.errors import ConfigError

BENCHES = {
    "nightly": "from the ratings file to published top-K, beside MLlib ALS",
    "models": "all tgraphx models on one split, beside popularity and EASE",
    "graph": "what each relation of the graph adds, overall and where there are few ratings",
    "topk": "all users' filtered top-K beside implicit's, unfiltered FAISS and Spark's own",
    "index": "the approximate kinds of search beside the exact one, on a night's vectors",
    "executors": "the recommend stage on one process's cores, on executors, and on a cluster: the same bytes",
    "etl": "cleaning, indexing and triples of generated ratings beside DuckDB, and how time grows with the rows",
    "train": "training speed beside tgraphx's KGTrainer, and the seconds to EASE's NDCG@10",
}


def run(name: str, overrides: Sequence[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Runs the named benchmark; ConfigError for a name that there is not."""
    if name not in BENCHES:
        raise ConfigError(f"bench: unknown benchmark {name!r}; expected one of {', '.join(BENCHES)}")
    # As a stage does, a benchmark brings its engines with it.
    answer: dict[str, Any] = import_module(f"kgspark.bench.{name}").run(overrides, say)
    return answer
