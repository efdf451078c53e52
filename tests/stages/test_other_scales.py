"""A scale that the default condition for likes was not written for is told, with the share of likes."""

from pathlib import Path
from typing import Any

import pytest

from kgspark.stages import clean_ratings, index_entities, write_triples
from nights import a_night

SCALE = {"rating_min": 1, "rating_max": 10, "rating_step": 1}


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ({}, " ('rating >= 4.0' on a scale of 1 to 10: 70% of the ratings are likes)"),
        ({"where": "rating >= 8"}, ""),
    ],
)
def test_the_share_of_likes_is_told(spark: Any, tmp_path: Path, where: dict[str, str], told: str) -> None:
    lines = [f"{user},{stars},{stars},{user * 100 + stars}" for user in range(1, 21) for stars in range(1, 11)]
    (tmp_path / "own.csv").write_text("\n".join(["user_id,movie_id,rating,timestamp", *lines]) + "\n")
    said: list[str] = []
    relations = {"liked": where, "has_genre": None, "released_in": None, "watched_with": None}
    night = a_night(
        tmp_path / "lake",
        spark,
        said.append,
        source={"path": str(tmp_path / "own.csv"), "format": "table"},
        clean=SCALE,
        relations=relations,
    )
    for stage in (clean_ratings, index_entities, write_triples):
        stage.run(night)
    assert said[-1].rstrip().endswith(f" test{told}"), said[-1]
