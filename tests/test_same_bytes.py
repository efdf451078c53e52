"""The same recommendations, byte for byte: whatever the partitions, the order of the lines, or the machines."""

import random
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from nights import DATE, ROOT, configuration, kgspark, table_bytes
from standalone_cluster import standalone_cluster, submit
from world import World, write_world

TABLES = ("recommendations", "audiences")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    """A world with a known answer, big enough for several ranking tasks."""
    folder = tmp_path_factory.mktemp("world")
    return write_world(folder, groups=40, users=32, movies=8), folder


def conf(folder: Path, source: Path) -> Path:
    return configuration(
        folder,
        source={"path": str(source)},
        lake=str(folder / "lake"),
        split={"protocol": "none"},
        train={"dim": 32},
        recommend={"k": 20},
        audiences={"k": 20},
    )


@pytest.fixture(scope="module")
def reference(world: tuple[World, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake of a night on `local[2]`."""
    folder = tmp_path_factory.mktemp("reference")
    done = kgspark("nightly", conf(folder, world[1]), "spark.master=local[2]")
    assert done.returncode == 0, done.stderr
    return folder / "lake"


def test_the_withheld_movie_comes_first(world: tuple[World, Path], reference: Path) -> None:
    table = pq.read_table(reference / "warehouse" / "recommendations" / f"ds={DATE}", partitioning=None).to_pandas()
    first = table[table["rank"] == 1].set_index("user_id")["movie_id"].to_dict()
    assert first == world[0].withheld


@pytest.mark.parametrize("partitions", [1, 7])
def test_partitions_and_row_order_do_not_matter(
    partitions: int, world: tuple[World, Path], reference: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(world[1], source)
    header, *lines = (source / "ratings.csv").read_bytes().splitlines(keepends=True)
    random.Random(partitions).shuffle(lines)
    (source / "ratings.csv").write_bytes(header + b"".join(lines))
    many = [
        f"spark.conf.spark.sql.shuffle.partitions={partitions}",
        f"spark.conf.spark.default.parallelism={partitions}",
    ]
    many.append("spark.conf.spark.sql.adaptive.coalescePartitions.enabled=false")
    many.append(
        f"spark.conf.spark.sql.files.maxPartitionBytes={(source / 'ratings.csv').stat().st_size // partitions + 1}"
    )
    done = kgspark("nightly", conf(tmp_path, source), "spark.master=local[2]", *many)
    assert done.returncode == 0, done.stderr
    for table in TABLES:
        assert table_bytes(tmp_path / "lake", table) == table_bytes(reference, table)


def test_a_standalone_cluster_with_two_workers_gives_the_same_bytes(
    world: tuple[World, Path], reference: Path, tmp_path: Path
) -> None:
    with standalone_cluster(tmp_path, workers=2) as master:
        sized = {"spark.executor.memory": "512m", "spark.sql.shuffle.partitions": "2", "spark.log.level": "ERROR"}
        done = submit(master, ROOT / "jobs" / "nightly.py", str(conf(tmp_path, world[1])), conf=sized)
    assert done.returncode == 0, done.stderr[-3000:]
    for table in TABLES:
        assert table_bytes(tmp_path / "lake", table) == table_bytes(reference, table)
    # Both workers took part: each left a folder of the application's executor behind.
    assert all(list((tmp_path / f"work-{number}").glob("app-*/*")) for number in range(2))
