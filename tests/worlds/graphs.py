"""Small graphs with a known right answer."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kgspark.config import merged
from kgspark.graph.graph import Graph
from kgspark.graph.layout import EntityLayout
from kgspark.graph.relation import Relation
from kgspark.kge.settings import TrainSettings

# The device of the tests that train; KGSPARK_TEST_DEVICE=cuda runs them all on a GPU.
DEVICE = os.environ.get("KGSPARK_TEST_DEVICE", "cpu")

GROUPS, USERS, MOVIES, GENRES = 4, 40, 32, 4
LAYOUT = EntityLayout.from_counts([("user", USERS), ("movie", MOVIES), ("genre", GENRES)])
LIKED = Relation(0, "liked", "user", "movie")
HAS_GENRE = Relation(1, "has_genre", "movie", "genre")
RELATIONS = [LIKED, HAS_GENRE]

# Every model, TransE with both norms.
MODELS = [
    ("transe", 2),
    ("transe", 1),
    ("distmult", 2),
    ("complex", 2),
    ("rotate", 2),
    ("rescal", 2),
    ("simple", 2),
]


def settings(**changes) -> TrainSettings:
    """Quick settings for small graphs."""
    quick = {"dim": 8, "epochs": 4, "batch_size": 16, "device": DEVICE, "threads": 1, "refit": "none"}
    quick |= {"validation": {"every": 1}}
    return TrainSettings.model_validate(merged(quick, changes))


def in_order(liked: np.ndarray, catalogue: int, splits: np.ndarray, times: np.ndarray) -> Graph:
    """A graph of likes alone: user u likes the movies `liked[u]` int64 (users, likes), of `catalogue`, in this order.

    splits, times  of each like, (users, likes) or what stretches to it
    """
    users, likes = liked.shape
    columns = {
        "head": np.repeat(np.arange(users), likes),
        "relation": np.zeros(liked.size, np.int32),
        "tail": users + liked.reshape(-1),
        "split": np.broadcast_to(splits, liked.shape).reshape(-1),
        "weight": np.ones(liked.size, np.float32),
        "timestamp": np.broadcast_to(times, liked.shape).reshape(-1),
    }
    return Graph.from_columns(columns, EntityLayout.from_counts([("user", users), ("movie", catalogue)]), [LIKED])


def block_columns() -> dict[str, np.ndarray]:
    """Users like all movies of their group but one, which is held out: for validation or, every second user, as test.

    User u belongs to group u mod 4, as does movie m to m mod 4; the genre of a movie is its group.
    """
    rows = []
    for user in range(USERS):
        group = [movie for movie in range(MOVIES) if movie % GROUPS == user % GROUPS]
        withheld = group[(user // GROUPS) % len(group)]
        for movie in group:
            split = ("valid", "test")[user // GROUPS % 2] if movie == withheld else "train"
            rows.append((user, 0, USERS + movie, split))
    for movie in range(MOVIES):
        rows.append((USERS + movie, 1, USERS + MOVIES + movie % GROUPS, "train"))
    head, relation, tail, split = (np.array(column) for column in zip(*rows, strict=True))
    weight = np.ones(len(rows), np.float32)
    return {"head": head, "relation": relation.astype(np.int32), "tail": tail, "split": split, "weight": weight}


def timed_columns() -> dict[str, np.ndarray]:
    """`block_columns` with a different time for each like; genres have no times."""
    columns = block_columns()
    times = np.random.default_rng(0).permutation(len(columns["head"])) + 1
    return columns | {"timestamp": np.where(columns["relation"] == 0, times, 0)}


def block_world() -> Graph:
    """`block_columns` as a graph."""
    return Graph.from_columns(block_columns(), LAYOUT, RELATIONS)


def write_shards(folder: Path, columns: dict[str, np.ndarray], order: np.ndarray, shards: int) -> None:
    """Writes the rows, in the given order, into Parquet shards, as Spark would."""
    folder.mkdir()
    (folder / "_SUCCESS").touch()
    for number, rows in enumerate(np.array_split(order, shards)):
        table = pa.table(
            {
                "head": pa.array(columns["head"][rows], pa.int64()),
                "relation": pa.array(columns["relation"][rows], pa.int32()),
                "tail": pa.array(columns["tail"][rows], pa.int64()),
                "split": pa.array(columns["split"][rows].tolist(), pa.string()),
                "weight": pa.array(columns["weight"][rows], pa.float32()),
            }
        )
        if "timestamp" in columns:  # null if there is none
            times = columns["timestamp"][rows]
            table = table.append_column("timestamp", pa.array(times, pa.int64(), mask=times == 0))
        pq.write_table(table, folder / f"part-{number:05d}.parquet")
