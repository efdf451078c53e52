"""The protocol `next`, on ratings and on a file of sequences whose right answer is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kgspark.errors import StageError
from kgspark.experiments import evaluate, protocols
from kgspark.night.held_out import space_at_times
from kgspark.night.night import Night
from kgspark.search_space import SearchSpace
from kgspark.spark.frames import read_table
from kgspark.spark.graph.splits import with_split
from kgspark.tables import RATINGS, SEARCH_SPACE, TRIPLES
from nights import a_night

# User 4 and movie 99 have too few ratings. User 2 rates all movies in the same second, user 3 likes all but the last.
RATED = """userId,movieId,rating,timestamp
1,1,5,10
1,2,4,20
1,3,4,30
1,99,5,40
2,3,5,10
2,1,4,10
2,2,4,10
3,3,4,1
3,2,5,2
3,1,1,3
4,2,5,5
"""
# The items with the most users are 1, 2 and 3. Users 1 and 2 come to item 3 next, the others to item 4, which is new.
SEQUENCES = "1 5 1 2 3\n2 6 1 2 3\n3 1 3 2 4\n4 2 3 1 4\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "ratings.csv").write_text(RATED, encoding="utf-8")
    movies = [f"{movie},movie {movie},{'even' if movie % 2 == 0 else 'odd'}" for movie in (*range(1, 8), 99)]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *movies, ""]), encoding="utf-8")
    return folder


def splits_of(night: Night) -> dict[tuple[int, int], str]:
    """The split of every pair of user and movie that the protocol keeps."""
    variant = protocols.evaluation_night(night, "next", seed=1)
    protocols.run(night, variant, "next")
    ratings = read_table(night.spark, variant.run.table(RATINGS))
    split = with_split(ratings, variant.settings.split, variant.settings.target.where)
    return {(row["user_id"], row["movie_id"]): row["split"] for row in split.collect()}


@pytest.mark.extended
def test_the_latest_rating_in_the_core_comes_next(spark: Any, tmp_path: Path, source: Path) -> None:
    def night(**settings: object) -> Night:
        return a_night(tmp_path / "lake", spark, source={"path": str(source)}, evaluate={"core": 2, **settings})

    first = {(1, 1): "train", (1, 2): "valid", (1, 3): "test"}
    second = {(2, 1): "train", (2, 2): "valid", (2, 3): "test"}  # of one second, the largest id is the latest
    third = {(3, 3): "train", (3, 2): "valid", (3, 1): "test"}
    assert splits_of(night()) == first | second | third

    liked = {(3, 3): "train", (3, 2): "train"}  # two likes are too few to hold one out
    assert splits_of(night(positives="target")) == first | second | liked

    with pytest.raises(StageError, match=r"evaluate\.core=9 leaves no rating"):
        splits_of(night(core=9))


def test_without_the_source_the_relations_are_those_of_the_file(tmp_path: Path) -> None:
    night = a_night(tmp_path / "lake", source={"path": "none"}, evaluate={"sequences": "next.txt"})
    # Only sequences have an order, so only they tell which movies were watched together.
    assert set(protocols.evaluation_night(night, "next", 1).settings.relations) == {"liked", "watched", "watched_with"}
    assert set(protocols.evaluation_night(night, "files", 1).settings.relations) == {"liked", "watched"}


@pytest.mark.parametrize(
    ("rating", "protocol", "where"),
    [
        ("stars", "recbole", "rating >= 3"),
        ("stars", "random", "rating >= 4.0"),
        (None, "recbole", "rating > 0"),
        (None, "time", "rating > 0"),
    ],
)
def test_likes_of_events_are_those_of_the_night(tmp_path: Path, rating: str | None, protocol: str, where: str) -> None:
    source = {"path": "none", "format": "table", "columns": {"rating": rating}}
    night = a_night(tmp_path / "lake", source=source)
    assert protocols.evaluation_night(night, protocol, 1).settings.target.where == where


@pytest.mark.extended
def test_a_file_of_sequences_is_measured_with_the_genres_of_the_source(
    spark: Any, tmp_path: Path, source: Path
) -> None:
    path = tmp_path / "sequences.txt"
    path.write_text(SEQUENCES, encoding="utf-8")
    network = {"encoder": "network", "network": {"blocks": 1, "epochs": 1}}
    night = a_night(
        tmp_path / "lake",
        spark,
        source={"path": str(source)},
        train={
            "dim": 4,
            "epochs": 1,
            "device": "cpu",
            "threads": 1,
            "export": {"recent_share": 0.5},
            "history": network,
        },
        evaluate={
            "protocol": "next",
            "sequences": str(path),
            "ids": "source",
            "ks": [1, 3],
            "baselines": ["popularity"],
            "resamples": 0,
        },
    )
    answer = evaluate.run(night)
    assert answer["data"] == {"users": 4, "movies": 6, "train": 12, "hidden": 0, "test": 4, "test_users": 4}
    ours, with_time, popular = answer["rows"]
    assert (ours["model"], with_time["model"]) == ("kgspark", "kgspark, time known")
    # Items 1, 2 and 3 have 4, 4 and 2 users, 5 and 6 one each: item 3 is first for two users, item 4 third for two.
    assert popular["hit@1"] == 0.5
    assert popular["hit@3"] == 1
    assert popular["ndcg@3"] == pytest.approx(0.75)
    assert popular["mrr@3"] == pytest.approx(2 / 3)
    variant = protocols.evaluation_night(night, "next", seed=42)
    asked, published = space_at_times(variant.run), SearchSpace.load(variant.run.table(SEARCH_SPACE))
    assert asked is not None
    assert np.array_equal(asked.items, published.items)
    assert (np.abs(asked.queries - published.queries).max(axis=1) > 1e-4).all()
    counts = variant.run.manifest(TRIPLES).details["counts"]
    assert sum(row["rows"] for row in counts if row["relation"] == "has_genre") == 6
