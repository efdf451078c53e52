"""The ratings of a night beside those of the night before."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgspark.errors import InputError
from kgspark.files import describe_file
from kgspark.manifests import Manifest
from kgspark.names import Names
from kgspark.runs import Run
from kgspark.spark.cleaning.last_night import check_size, last_night


def _ratings(folder: Path, users: int, movies: int) -> int:
    """Writes ratings of every user for every movie; returns the number of rows."""
    folder.mkdir(parents=True)
    rows = [{"user_id": user, "movie_id": movie} for user in range(users) for movie in range(movies)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "part-00000.parquet")
    return len(rows)


def _night(lake: Path, date: str, users: int, movies: int) -> Run:
    run = Run(lake, date)
    _ratings(run.table("ratings"), users, movies)
    files = [describe_file(run.table("ratings") / "part-00000.parquet")]
    Manifest("ratings", "clean-ratings", "", {}, {}, files).write(run.table("ratings"))
    return run


def test_the_last_night_is_the_newest_earlier_one_that_is_complete_and_undamaged(tmp_path: Path) -> None:
    assert last_night(Run(tmp_path, "2026-01-02")) is None
    complete = _night(tmp_path, "2026-01-02", 1, 1)
    Run(tmp_path, "2026-01-04").table("ratings").mkdir(parents=True)
    assert last_night(Run(tmp_path, "2026-01-02")) is None
    assert last_night(Run(tmp_path, "2026-01-05")) == complete
    assert last_night(Run(tmp_path, "2026-01-06")) == complete
    damaged = _night(tmp_path, "2026-01-05", 1, 1)
    file = damaged.table("ratings") / "part-00000.parquet"
    file.write_bytes(file.read_bytes().replace(b"PAR1", b"PAR2", 1))
    assert last_night(Run(tmp_path, "2026-01-06")) == complete
    assert last_night(Run(tmp_path, "2026-01-06"), intact="2026-01-05") == damaged


NAMES = Names(user="customer", movie="sku")


@pytest.mark.parametrize(
    ("users", "movies", "least", "problem"),
    [
        (30, 10, 1.0, None),
        (15, 10, 0.5, None),
        (14, 10, 0.5, "140 ratings are left after cleaning, 46.7% of the 300"),
        (14, 20, 0.5, "14 customers are left after cleaning, 46.7% of the 30"),
        (60, 4, 0.5, "4 skus are left after cleaning, 40.0% of the 10"),
        (60, 4, 0.4, None),
    ],
)
def test_ratings_users_and_movies_are_bounded(
    spark: Any, tmp_path: Path, users: int, movies: int, least: float, problem: str | None
) -> None:
    last = _night(tmp_path / "lake", "2026-01-02", 30, 10)
    rows = _ratings(tmp_path / "new", users, movies)
    if problem is None:
        check_size(spark, Path("in"), rows, tmp_path / "new", last, least, NAMES)
        return
    with pytest.raises(InputError) as caught:
        check_size(spark, Path("in"), rows, tmp_path / "new", last, least, NAMES)
    assert str(caught.value).startswith(
        f"in: {problem} of 2026-01-02, and clean.min_share_of_last_night asks for 50.0%"
    )
