"""Files other than plain CSV and Parquet: JSON lines, compressed by zstd, and folders whose names are values."""

import bz2
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgspark.errors import InputError
from kgspark.night.night import Night
from kgspark.spark.cleaning.settings import SourceSettings, TableSource
from kgspark.spark.cleaning.source.dialects import find_source
from kgspark.spark.own_tables import count_refused, read_own_table
from kgspark.stages import clean_ratings
from nights import a_night

AT = 1_600_001_020
RATINGS = [(user, movie, 0.5 * (user + movie), AT + user) for user in range(1, 4) for movie in range(1, 3)]


def _night(spark: Any, folder: Path, **source: Any) -> Night:
    given = {"path": str(folder / "in"), "format": "table", "ids": "string"} | source
    night = a_night(folder / "lake", spark, source=given, clean={"max_quarantined_share": 0.9})
    clean_ratings.run(night)
    return night


def _kept(night: Night) -> set[tuple[Any, ...]]:
    return {tuple(row.values()) for row in pq.read_table(night.run.table("ratings")).to_pylist()}


def _expected(changes: Any = lambda user, movie, rating, at: (user, movie, rating, at)) -> set[tuple[Any, ...]]:
    return {changes(str(user), str(movie), rating, at) for user, movie, rating, at in RATINGS}


def _refused(night: Night) -> list[tuple[str, int, str]]:
    rows = pq.read_table(night.run.table("quarantine")).to_pylist()
    return [(row["file"], row["line"], row["reason"]) for row in rows]


def _json(user: object, movie: object, rating: object, at: object) -> str:
    return json.dumps({"user_id": user, "rating": rating, "other": {"x": [1]}, "movie_id": movie, "timestamp": at})


BAD_JSON = {
    '{"user_id": "x", "movie_id": ': "unparsable_line",
    '["x"]': "unparsable_line",
    "x,1,4.0,5": "unparsable_line",
    "": "unparsable_line",
    '{"user_id":"x"}{"user_id":"y"}': "unparsable_line",
    '{"user_id": "x", "user_id": "y"}': "unparsable_line",
    '{"user_id": "x"} and more': "unparsable_line",
    '{"user_id": ' + "[" * 5000 + "]" * 5000 + "}": "unparsable_line",
    '{"user_id": "x", "movie_id": 1, "rating": {"stars": 4}, "timestamp": 5}': "rating_not_a_number",
    '{"movie_id": 1, "rating": 4, "timestamp": 5}': "missing_user_id",
    '{"user_id": null, "movie_id": 1, "rating": 4, "timestamp": 5}': "missing_user_id",
    '{"user_id": 1, "movie_id": 1, "rating": true, "timestamp": 5}': "rating_not_a_number",
}


def test_json_lines_are_read_as_lines_of_files(spark: Any, tmp_path: Path) -> None:
    lines = [_json(*rating) for rating in RATINGS]
    (tmp_path / "in" / "b").mkdir(parents=True)
    lines[2] = lines[2].replace(str(RATINGS[2][3]), f"{RATINGS[2][3]}.75")
    (tmp_path / "in" / "a.jsonl").write_text("\n".join([*lines[:3], *BAD_JSON]) + "\n")
    (tmp_path / "in" / "b" / "c.json.gz").write_bytes(gzip.compress("\n".join(lines[3:]).encode()))
    movies = tmp_path / "movies.jsonl"
    movies.write_text('{"movie_id": 1, "genres": ["Action", "Crime"]}\n{"movie_id": 2, "title": "Ran (1985)"}\n')
    night = _night(spark, tmp_path, movies=str(movies))
    with_fraction = tuple(map(str, RATINGS[2][:2]))
    assert _kept(night) == _expected(lambda *rating: (*rating[:3], rating[3] + 0.75 * (rating[:2] == with_fraction)))
    assert _refused(night) == [("a.jsonl", 4 + i, reason) for i, reason in enumerate(BAD_JSON.values())]
    raw = pq.read_table(night.run.table("quarantine")).column("raw").to_pylist()
    assert raw == list(BAD_JSON)
    found = {row["movie_id"]: row for row in pq.read_table(night.run.table("movies")).to_pylist()}
    assert (found["1"]["genres"], found["1"]["year"], found["2"]["year"]) == (["Action", "Crime"], None, 1985)


def test_folders_of_json_lines_are_columns(tmp_path: Path) -> None:
    path = tmp_path / "user_id=1" / "a.json"
    path.parent.mkdir()
    path.write_text(_json(*RATINGS[0]).replace("user_id", "somebody"))
    layout = find_source(SourceSettings(path=str(tmp_path), format="table")).layouts["ratings"]
    assert layout is not None
    assert layout.keys == ("movie_id", "rating", "timestamp")
    assert (layout.columns, layout.folders) == ((*layout.keys, "user_id"), ("user_id",))


def test_keys_are_looked_for_in_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"user_id": 1}\n{"movie_id": 1, "rating": 4}\n')
    with pytest.raises(InputError) as caught:
        find_source(SourceSettings(path=str(path), format="table"))
    assert str(caught.value) == (
        f"{path}:1: the first lines lack the key timestamp; found user_id, movie_id, rating; name the columns in "
        "source.columns"
    )
    (tmp_path / "x.csv").write_text("user_id,movie_id,rating,timestamp\n")
    with pytest.raises(InputError, match=r"in\.jsonl is JSON lines and x\.csv is not; the files of a table are of one"):
        find_source(SourceSettings(path=str(tmp_path), format="table"))


def _compress(path: Path, text: str) -> None:
    with pa.output_stream(str(path), compression="zstd") as stream:
        stream.write(text.encode())


def test_zstd_is_read_with_accounts_and_a_cut_file_is_refused(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    header, lines = "user_id,movie_id,rating,timestamp\n", [f"{','.join(map(str, rating))}\n" for rating in RATINGS]
    _compress(tmp_path / "in" / "a.csv.zst", header + "".join(lines[:3]))
    (tmp_path / "in" / "b.csv.bz2").write_bytes(bz2.compress((header + "".join(lines[3:])).encode()))
    night = _night(spark, tmp_path)
    assert _kept(night) == _expected()
    read = night.run.manifest("ratings").details["source_files"]["ratings"]
    assert [(file["name"], file["lines"], file["headers"]) for file in read] == [
        ("a.csv.zst", 4, 1),
        ("b.csv.bz2", 4, 1),
    ]
    whole = (tmp_path / "in" / "a.csv.zst").read_bytes()
    (tmp_path / "in" / "a.csv.zst").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"a\.csv\.zst: the file cannot be unpacked: .*; it may be cut off$"):
        _night(spark, tmp_path)


@pytest.mark.parametrize("kind", ["csv", pytest.param("parquet", marks=pytest.mark.extended)])
def test_folders_of_hive_are_columns(spark: Any, tmp_path: Path, kind: str) -> None:
    """`at=` is the time and `member=` the user; a blank line has no place among the folders' values."""
    columns = {"user": "member", "timestamp": "at"}
    for user, movie, rating, at in RATINGS:
        folder = tmp_path / "in" / f"at={at % 2 + AT}" / f"member=m%3A{user} +"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{movie}.{kind}"
        if kind == "csv":
            path.write_text(f"rating,movie_id\n{rating},{movie}\n")
        else:
            pq.write_table(pa.table({"movie_id": [str(movie)], "rating": [rating]}), path)
    lost = tmp_path / "in" / f"at={AT}" / "member=__HIVE_DEFAULT_PARTITION__"
    lost.mkdir()
    (tmp_path / "in" / f"at={AT}" / "member=m%3A2 +" / f"1.{kind}").rename(lost / f"1.{kind}")
    night = _night(spark, tmp_path, columns=columns)
    expected = _expected(lambda user, movie, rating, at: (f"m:{user} +", movie, rating, at % 2 + AT))
    assert _kept(night) == {row for row in expected if row[:2] != ("m:2 +", "1")}
    place = f"at={AT}/member=__HIVE_DEFAULT_PARTITION__/1.{kind}"
    assert _refused(night) == [(place, 2 if kind == "csv" else 1, "missing_user_id")]


def test_a_blank_line_under_a_folder_is_refused_as_one(spark: Any, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "user_id=1" / "rating=4" / f"timestamp={AT}"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text("movie_id\n7\n\n8\n")
    night = _night(spark, tmp_path)
    assert _kept(night) == {("1", "7", 4.0, AT), ("1", "8", 4.0, AT)}
    assert [reason for _, _, reason in _refused(night)] == ["unparsable_line"]


def test_a_column_in_some_folders_only_is_missing(tmp_path: Path) -> None:
    for folder in ("ds=1", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.csv").write_text("user_id,movie_id,rating\n1,1,4.0\n")
    with pytest.raises(InputError, match=r"the header lacks ds; found user_id, movie_id, rating"):
        find_source(SourceSettings(path=str(tmp_path), format="table", columns={"timestamp": "ds"}))


def test_folders_are_columns_of_own_tables_too(spark: Any, tmp_path: Path) -> None:
    for day in ("1", "2"):
        (tmp_path / f"day={day}").mkdir()
        (tmp_path / f"day={day}" / "a.csv").write_text(f"movie_id\nm{day}\n\n")
    table = TableSource(path=str(tmp_path))
    assert sorted(map(tuple, read_own_table(spark, "facts", table).collect())) == [("m1", "1"), ("m2", "2")]
    assert count_refused(spark, {"facts": table}) == []
