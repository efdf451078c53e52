"""A refused rating still names a pair that was seen, which no list may repeat."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kgspark.stages import clean_ratings
from nights import a_night

HEADER = "userId,movieId,rating,timestamp"


def _seen(spark: Any, folder: Path, lines: list[str], **clean: Any) -> set[tuple[Any, Any]]:
    (folder / "movies.csv").write_text("movieId,title,genres\n1,T,Drama\n2,U,Drama\n3,V,Drama\n")
    (folder / "ratings.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    night = a_night(folder / "lake", spark, source={"path": str(folder)}, clean={"max_quarantined_share": 1} | clean)
    clean_ratings.run(night)
    rows = pq.read_table(night.run.table("seen")).to_pylist()
    assert len(set(map(str, rows))) == len(rows)
    return {(row["user_id"], row["movie_id"]) for row in rows}


LINES = [
    "1,1,4.0,5",
    "2,1,4.0,5",
    "1,3,0,5",  # below the scale
    "1,3,7,5",  # the same pair once more
    "2,3,x,5",
    "2,2,4.0,tomorrow",
    "1,1,9,5",  # has a good rating, too
    "1,9,9,5",  # an unknown movie
    "8,1,9,5",  # a user without a good rating
    "x,1,9,5",
    "2,,9,5",
]


def test_pairs_of_refused_values_and_times_are_seen(spark: Any, tmp_path: Path) -> None:
    assert _seen(spark, tmp_path, LINES) == {(1, 3), (2, 3), (2, 2)}
    assert not (tmp_path / "lake" / "runs" / ".staging").exists()


@pytest.mark.parametrize(("lines", "clean"), [(LINES, {"refused_are_seen": False}), (LINES[:2], {})])
def test_no_pair_is_seen_if_none_is_refused_or_if_it_is_configured_so(
    spark: Any, tmp_path: Path, lines: list[str], clean: dict[str, Any]
) -> None:
    assert _seen(spark, tmp_path, lines, **clean) == set()
