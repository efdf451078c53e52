"""The same recommendations, byte for byte, for any partitions, any order of the lines, and any machines.

The night on the cluster runs compiled code, and the night it is compared with does not (see the fixture `spark`).
"""

import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kgspark.stages import nightly
from nights import DATE, ROOT, a_night, configuration, table_bytes, table_contents
from standalone_cluster import JAVA_OPTIONS, standalone_cluster, submit
from worlds.tastes import World, write_world

pytestmark = pytest.mark.slow

TABLES = ("recommendations", "audiences")
SECTIONS = {
    "split": {"protocol": "none"},
    "train": {"dim": 32},
    "recommend": {"k": 20},
    "audiences": {"k": 20},
    "publish": {"beat_popularity": False},  # without a split, nothing is measured
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    """A world with a known answer, big enough for several ranking tasks."""
    folder = tmp_path_factory.mktemp("world")
    return write_world(folder, groups=40, users=32, movies=8), folder


def shuffled(source: Path, target: Path, seed: int) -> Path:
    """A copy of the world with its rating lines in another order."""
    shutil.copytree(source, target)
    header, *lines = (target / "ratings.csv").read_bytes().splitlines(keepends=True)
    random.Random(seed).shuffle(lines)
    (target / "ratings.csv").write_bytes(header + b"".join(lines))
    return target


@pytest.fixture(scope="module")
def reference(spark: Any, world: tuple[World, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake of a night on `local[2]`, of shuffled lines in seven partitions."""
    folder = tmp_path_factory.mktemp("reference")
    source = shuffled(world[1], folder / "source", seed=7)
    session = spark.newSession()
    session.conf.set("spark.sql.shuffle.partitions", 7)
    session.conf.set("spark.sql.adaptive.coalescePartitions.enabled", False)
    session.conf.set("spark.sql.files.maxPartitionBytes", (source / "ratings.csv").stat().st_size // 7 + 1)
    nightly.run(a_night(folder / "lake", session, source={"path": str(source)}, **SECTIONS))
    return folder / "lake"


@pytest.mark.extended
def test_the_withheld_movie_comes_first(world: tuple[World, Path], reference: Path) -> None:
    table = pq.read_table(reference / "warehouse" / "recommendations" / f"ds={DATE}", partitioning=None).to_pandas()
    first = table[table["rank"] == 1].set_index("user_id")["movie_id"].to_dict()
    assert first == world[0].withheld


@pytest.fixture(scope="module")
def packed() -> Path:
    """The executors' environment, packed in the way of `make package`."""
    done = subprocess.run(["make", "package"], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return ROOT / "dist" / "kgspark-executor.tar.gz"


@pytest.mark.extended
def test_two_executors_without_torch_give_the_same_bytes_from_other_partitions_and_another_order_of_lines(
    world: tuple[World, Path], reference: Path, packed: Path, tmp_path: Path
) -> None:
    conf = configuration(tmp_path, source={"path": str(world[1])}, lake=str(tmp_path / "lake"), **SECTIONS)
    with standalone_cluster(tmp_path, workers=1, cores=2) as master:
        sized = {
            "spark.executor.cores": "1",
            "spark.executor.memory": "512m",
            "spark.executor.extraJavaOptions": JAVA_OPTIONS,
            "spark.sql.shuffle.partitions": "2",
            "spark.log.level": "ERROR",
        }
        done = submit(master, ROOT / "jobs" / "nightly.py", str(conf), conf=sized, archive=packed)
    assert done.returncode == 0, done.stderr[-3000:]
    for table in TABLES:
        assert table_bytes(tmp_path / "lake", table) == table_bytes(reference, table)
    contents = table_contents(reference)
    assert table_contents(tmp_path / "lake") == contents
    assert contents.keys() == {
        *TABLES,
        "ratings",
        "movies",
        "quarantine",
        "seen",
        "refused_pairs",
        "entities",
        "triples",
    }
    # Both executors took part: the environments of their Pythons are still there.
    environments = list((tmp_path / "work-0").glob("app-*/*/environment"))
    assert len(environments) == 2
    for unpacked in environments:
        installed = {path.name for path in unpacked.glob("lib/python3*/site-packages/*")}
        assert {"kgspark", "faiss", "pyarrow"} <= installed
        assert not {"torch", "tgraphx", "pyspark"} & installed
        shutil.rmtree(unpacked)
