"""bench: kgspark compared with its peers, all systems of a benchmark in one run.

A new benchmark is a module in a folder beside this file, and a line in `BENCHES`. The module has `SETTINGS`, the class
of its settings, and `run(settings, say)`, which returns `rows`, one per system, and any further results.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

from kgspark import config
from kgspark.errors import ConfigError, ResourceError
from kgspark.extras import advice_for
from kgspark.manifests import versions


class Benchmark(NamedTuple):
    """The folder of a benchmark's module, which has the benchmark's name, and its line in the help."""

    folder: str
    about: str


BENCHES = {
    "nightly": Benchmark("nights", "from the ratings file to published top-K, compared with MLlib ALS"),
    "incremental": Benchmark(
        "nights", "nights that add a few ratings to the last night's, compared with full nights of the same files"
    ),
    "models": Benchmark("variants", "all tgraphx models on one split, compared with popularity and EASE"),
    "graph": Benchmark(
        "variants", "the gain by each relation of the graph, overall and for users and movies with few ratings"
    ),
    "keys": Benchmark("variants", "the gain by each optional key of train, on the validation and the test likes"),
    "topk": Benchmark("lists", "all users' filtered top-K, compared with implicit, unfiltered FAISS and Spark"),
    "index": Benchmark("lists", "approximate search compared with exact search, on a night's vectors"),
    "audiences": Benchmark(
        "lists", "the users found for each movie, by scores that are comparable between users and others"
    ),
    "executors": Benchmark(
        "nights", "the recommend stage on one process's cores, on executors, and on a cluster: the same bytes"
    ),
    "etl": Benchmark(
        "nights", "cleaning, indexing and triples of generated ratings, compared with DuckDB, and the growth of time"
    ),
    "train": Benchmark(
        "training", "training speed compared with tgraphx's KGTrainer, and the seconds to EASE's NDCG@10"
    ),
}


def run(name: str, overrides: Sequence[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Runs the named benchmark with `overrides`, dotted.key=value; returns the object that `--json` prints."""
    benchmark = load(name)
    settings = config.from_overrides(benchmark.SETTINGS, overrides)
    from kgspark.spark.session import usable_cores

    figures: dict[str, Any] = benchmark.run(settings, say)
    measured_with = {"settings": settings.model_dump(mode="json"), "cores": usable_cores()}
    return {"bench": name, **measured_with, **figures, "versions": versions()}


def load(name: str) -> ModuleType:
    """The module of the named benchmark; ConfigError for an unknown name, or if a package that it needs is missing."""
    if name not in BENCHES:
        raise ConfigError(f"bench: unknown benchmark {name!r}; expected one of {', '.join(BENCHES)}")
    try:
        return import_module(f"kgspark.bench.{BENCHES[name].folder}.{name}")
    except ModuleNotFoundError as error:
        package = (error.name or "kgspark").partition(".")[0]
        if package == "kgspark":
            raise
        raise ResourceError(f"bench: {name} needs the package {package}: {advice_for(package)}") from None
