"""A new derived table is one line in the table of derived tables."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kgspark.night.night import Night
from kgspark.spark.graph.derived import DERIVED, DerivedTable
from kgspark.stages import clean_ratings, index_entities, write_triples
from nights import a_night

DAY = 86_400
OTHER = {"kind": "movie", "column": "other_movie_id"}


def _same_day(ratings: DataFrame, settings: Any, most: int) -> DataFrame:
    """movie_id, other_movie_id, times: number of times that a user rated both on the same day."""
    days = ratings.select("user_id", F.floor(F.col("timestamp") / DAY).alias("day"), "movie_id")
    others = days.withColumnRenamed("movie_id", "other_movie_id")
    pairs = days.join(others, on=["user_id", "day"], how="inner").where("movie_id <> other_movie_id")
    return pairs.groupBy("movie_id", "other_movie_id").agg(F.count("*").alias("times"))


def _write_source(folder: Path) -> None:
    """Both users like movie 4 last and movie 2 before it, so these are held out; both dislike movie 3."""
    (folder / "movies.csv").write_text("movieId,title,genres\n" + "".join(f"{i},T,Drama\n" for i in range(1, 6)))
    ratings = [(1, 1, 5, 0), (1, 5, 5, 1), (1, 3, 1, 2), (1, 2, 5, 3), (1, 4, 5, 4)]
    ratings += [(2, 1, 5, DAY - 1), (2, 5, 5, DAY), (2, 3, 1, DAY + 1), (2, 2, 5, DAY + 2), (2, 4, 5, DAY + 3)]
    lines = [",".join(map(str, row)) for row in ratings]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *lines]))


def _written_triples(spark: Any, folder: Path, tables: list[str]) -> Night:
    relation = {"head": "movie", "tail": OTHER, "weight": "times"}
    night = a_night(
        folder / "lake",
        spark,
        source={"path": str(folder)},
        relations={f"of_{table}": relation | {"table": table} for table in tables},
        split={"protocol": "leave-one-out"},
    )
    for stage in (clean_ratings, index_entities, write_triples):
        stage.run(night)
    return night


def test_a_derived_table_in_the_table_feeds_a_relation(
    spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, of_likes in (("rated_same_day", False), ("liked_same_day", True)):
        table = DerivedTable(_same_day, key=("movie_id", "other_movie_id"), of_likes=of_likes)
        monkeypatch.setitem(DERIVED, name, table)
    _write_source(tmp_path)
    night = _written_triples(spark, tmp_path, ["rated_same_day", "liked_same_day"])

    ids = pq.read_table(night.run.table("entities")).to_pandas().set_index("index")["external_id"]
    triples = pq.read_table(night.run.table("triples")).to_pandas()
    found = {}
    for relation in night.run.manifest("triples").details["relations"][-2:]:
        rows = triples[(triples["relation"] == relation["index"]) & (triples["head"] < triples["tail"])]
        weights = {(int(ids[row.head]), int(ids[row.tail])): row.weight for row in rows.itertuples()}
        found[relation["name"]] = (relation["of_likes"], weights)
    assert found == {
        "of_rated_same_day": (False, {(1, 3): 1, (1, 5): 1, (3, 5): 2}),  # user 2 rated movie 1 a day earlier
        "of_liked_same_day": (True, {(1, 5): 1}),
    }
