"""Ids of every sort, from the source to the published tables."""

import csv
import io
import unicodedata
import uuid
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgspark.stages import nightly
from nights import DATE, a_small_night
from worlds.tastes import write_world

# Pairs that a cast, a comparison without case, or a normal form of Unicode would make one.
TEXTS = [
    "007", "7", "7.0", "7e0", "A b", "a b", "A  b", "a", "ａ", "😀", unicodedata.normalize("NFC", "é"),
    unicodedata.normalize("NFD", "é"), "-1", str(2**63), 'say "x", or y', "tab\tbed", "\u00a0no-break", "ß",
]  # fmt: skip
LONGS = [2**63 - 1, 2**63 - 2, -(2**63), -1, 0, 1, 2**53, 2**53 + 1, -(2**53) - 1, *range(10, 19)]


def _write(folder: Path, users: list[Any], movies: list[Any]) -> pd.DataFrame:
    """`movies.csv`, and the ratings of a known world as a frame, with these ids."""
    world = write_world(folder / "plain", groups=3, users=12, movies=6)
    plain = [sorted(numbers) for numbers in (world.withheld, {m for _, movies in world.groups for m in movies})]
    ids = [dict(zip(*pair, strict=True)) for pair in zip(plain, (users, movies), strict=True)]
    ratings = pd.read_csv(folder / "plain" / "ratings.csv")
    lines = io.StringIO()
    writer = csv.writer(lines, quoting=csv.QUOTE_ALL)
    writer.writerows([("movie_id", "title", "genres"), *((movie, f"Film {movie}", "Drama") for movie in movies)])
    (folder / "movies.csv").write_text(lines.getvalue(), encoding="utf-8", newline="")
    frame = {"user_id": ratings["userId"].map(ids[0]), "movie_id": ratings["movieId"].map(ids[1])}
    return pd.DataFrame({**frame, "rating": ratings["rating"], "timestamp": ratings["timestamp"]})


def _published(folder: Path, spark: Any, ratings: Path, **source: Any) -> dict[str, pa.Table]:
    source = {"path": str(ratings), "format": "table", "movies": str(folder / "movies.csv"), **source}
    nightly.run(a_small_night(folder, folder / "lake", spark, source=source))
    return {
        name: pq.read_table(folder / "lake" / "warehouse" / name / f"ds={DATE}", partitioning=None)
        for name in ("recommendations", "audiences")
    }


def _check(tables: dict[str, pa.Table], given: pd.DataFrame, id_type: pa.DataType) -> None:
    """Every id is in its table as it was given, and no list has a pair of the ratings."""
    seen = set(zip(given["user_id"], given["movie_id"], strict=True))
    for table in tables.values():
        rows = table.select(["user_id", "movie_id"])
        assert rows.schema.types == [id_type, id_type]
        assert not seen & set(zip(*rows.to_pydict().values(), strict=True))
    assert set(tables["recommendations"]["user_id"].to_pylist()) == set(given["user_id"])
    assert set(tables["audiences"]["movie_id"].to_pylist()) == set(given["movie_id"])
    reasons = tables["recommendations"].select(["user_id", "reason_movie_id"]).drop_null().to_pydict()
    assert set(zip(*reasons.values(), strict=True)) <= seen
    assert len(reasons["user_id"]) > 0


@pytest.mark.extended
def test_uuids_and_texts_of_parquet_are_published_as_they_are(spark: Any, tmp_path: Path) -> None:
    uuids = [uuid.uuid5(uuid.NAMESPACE_DNS, str(number)) for number in range(36)]
    ratings = _write(tmp_path, list(map(str, uuids)), TEXTS)
    table = pa.Table.from_pandas(ratings)
    as_bytes = pa.array([uuid.UUID(text).bytes for text in ratings["user_id"]], pa.uuid())
    pq.write_table(table.set_column(0, "user_id", as_bytes), tmp_path / "ratings.parquet")
    assert pq.ParquetFile(tmp_path / "ratings.parquet").schema.column(0).physical_type == "FIXED_LEN_BYTE_ARRAY"
    tables = _published(tmp_path, spark, tmp_path / "ratings.parquet", ids="string")
    _check(tables, ratings, pa.string())


@pytest.mark.extended
def test_integers_of_64_bits_are_published_as_they_are(spark: Any, tmp_path: Path) -> None:
    """Also those above 2^53, which doubles make one, as text in CSV."""
    ratings = _write(tmp_path, [*LONGS, *(-number for number in range(20, 38))], LONGS[::-1])
    ratings.to_csv(tmp_path / "ratings.csv", index=False)
    _check(_published(tmp_path, spark, tmp_path / "ratings.csv"), ratings, pa.int64())
