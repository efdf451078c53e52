"""A night whose queries come from a trained encoder of histories: NumPy alone makes the lists that it publishes."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds
import pytest

from kgspark.fold_in import FoldIn
from kgspark.stages import nightly
from nights import a_night

MOVIES, USERS, LIKES, K = 30, 60, 8, 5
NEW_USER, OLD_USER = 900, 3
COLUMNS = {"user": "userId", "movie": "movieId", "rating": "rating", "timestamp": "timestamp"}
TRAINED, SERVED = "2026-01-02", "2026-01-03"


def write_ring(folder: Path) -> None:
    """Users go round a ring of movies, from anywhere; later, one of them goes on, and a new user comes."""
    rows = [(user, (7 * user + step) % MOVIES, step) for user in range(USERS) for step in range(LIKES)]
    write(folder, rows)


def go_on(folder: Path) -> None:
    rows = [(user, (7 * user + step) % MOVIES, step) for user in range(USERS) for step in range(LIKES)]
    rows += [(OLD_USER, (7 * OLD_USER + step) % MOVIES, step) for step in (LIKES, LIKES + 1)]
    write(folder, rows + [(NEW_USER, 4 + step, step) for step in range(4)])


def write(folder: Path, rows: list[tuple[int, int, int]]) -> None:
    folder.mkdir(exist_ok=True)
    with open(folder / "ratings.csv", "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["userId", "movieId", "rating", "timestamp"])
        for user, movie, step in rows:
            writer.writerow([user, movie, 4 + movie % 3 / 2, 10**9 + 50_000 * step + 1000 * user])


@pytest.mark.extended
@pytest.mark.parametrize("encoder", ["sums", "network"])
def test_published_lists_of_a_served_night_are_those_of_numpy_alone(spark: Any, tmp_path: Path, encoder: str) -> None:
    write_ring(tmp_path / "source")
    network = {"blocks": 2, "epochs": 3}
    train = {"dim": 8, "epochs": 3, "history": {"encoder": encoder, "network": network}}
    sections = {
        "source": {"path": str(tmp_path / "source" / "ratings.csv"), "format": "table", "columns": COLUMNS},
        "split": {"protocol": "leave-one-out"},
        "recommend": {"k": K},
        "audiences": {"enabled": False},
        "publish": {"beat_popularity": False},
    }
    export = {"recent_share": 0.7, "trend_weight": 1.0, "trend_half_life": 3}
    nights = [(TRAINED, train), (SERVED, train | {"epochs": 0, "warm_start": "latest"})]
    for date, changes in nights:
        if date == SERVED:
            go_on(tmp_path / "source")
        night = a_night(tmp_path / "lake", spark, run_date=date, train=changes | {"export": export}, **sections)
        nightly.run(night)

    lists = ds.dataset(tmp_path / "lake" / "warehouse" / "recommendations" / f"ds={SERVED}").to_table().to_pylist()
    rows = sorted((row for row in lists if row["user_id"] == NEW_USER), key=lambda row: row["rank"])
    assert {row["source"] for row in rows} == {"facts"}
    liked = np.arange(4, 8)
    times = 10**9 + 50_000 * np.arange(4) + 1000 * NEW_USER
    service = FoldIn.open(tmp_path / "lake" / "runs" / SERVED)
    assert service.function.encoder == encoder
    top = service.top(liked, k=K, times=times, weights=(4 + liked % 3 / 2) / 4)
    assert [movie for movie, _ in top] == [row["movie_id"] for row in rows]
    assert [score for _, score in top] == pytest.approx([row["score"] for row in rows], rel=1e-4)
