"""A refused rating keeps its movie out of the user's list, and the user out of the movie's, in the whole night."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from answered import assert_answers_are_the_tables
from kgspark.stages import nightly
from nights import DATE, a_small_night
from worlds.tastes import write_world

pytestmark = pytest.mark.slow


@pytest.mark.extended
def test_no_list_repeats_a_pair_whose_rating_was_refused(spark: Any, tmp_path: Path) -> None:
    """Each user's withheld movie would be the first of the list; half of the users gave it no star at all."""
    world = write_world(tmp_path / "source", groups=3, users=12, movies=6)
    refused = sorted(world.withheld.items())[::2]
    with open(tmp_path / "source" / "ratings.csv", "a", encoding="utf-8") as ratings:
        ratings.writelines(f"{user},{movie},0,1600000000\r\n" for user, movie in refused)
        ratings.write("999999,1,0,1600000000\r\n")  # a user without any good rating, and an unknown movie
    changes = {"clean": {"max_quarantined_share": 0.2}, "recommend": {"k": 20}, "audiences": {"k": 40}}
    nightly.run(a_small_night(tmp_path / "source", tmp_path / "lake", spark, **changes))
    assert_answers_are_the_tables(tmp_path / "lake")
    for table in ("recommendations", "audiences"):
        rows = pq.read_table(tmp_path / "lake" / "warehouse" / table / f"ds={DATE}", partitioning=None)
        listed = set(zip(rows["user_id"].to_pylist(), rows["movie_id"].to_pylist(), strict=True))
        assert not listed & set(refused)
        assert 999999 not in {user for user, _ in listed}
        # All others are in the lists: they are as long as the catalogue allows.
        assert len(listed) == 36 * (18 - 5) - len(refused)
