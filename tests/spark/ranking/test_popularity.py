"""Likes by segment and movie, counted from triples."""

from typing import Any

from kgspark.graph.layout import EntityLayout
from kgspark.graph.relation import Relation
from kgspark.spark.ranking.popularity import likes_by_segment

# Users 0 to 2, movies 3 to 5.
LAYOUT = EntityLayout.from_counts([("user", 3), ("movie", 3)])
LIKED = Relation(1, "liked", "user", "movie")
TRIPLES = [(0, 1, 3, "train"), (0, 1, 5, "valid"), (1, 1, 3, "train"), (2, 1, 3, "train"), (2, 1, 4, "test")]


def counted(spark: Any, splits: tuple[str, ...], segments: Any) -> set[tuple[str, int, int]]:
    """Segment, position and likes of each row."""
    rows = [*TRIPLES, (1, 0, 4, "train")]  # of another relation
    triples = spark.createDataFrame(rows, "head bigint, relation int, tail bigint, split string").coalesce(1)
    found = likes_by_segment(triples, LIKED, splits, LAYOUT, segments).select("segment", "position", "likes")
    return {tuple(row) for row in found.collect()}


def test_likes_are_counted_by_movie_and_segment_of_the_user(spark: Any) -> None:
    segments = spark.createDataFrame([(0, "a"), (1, "b"), (2, "a")], "position bigint, segment string").coalesce(1)
    everything = {("a", 0, 2), ("a", 1, 1), ("a", 2, 1), ("b", 0, 1)}
    assert counted(spark, ("train", "valid", "test"), segments) == everything
    assert counted(spark, ("train",), None) == {("rest", 0, 3)}
