"""An incremental cleaning gives the tables and accounts of a full one, whatever is in the files, in whatever order."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faults.scale import trials
from kgspark.night.night import Night
from kgspark.runs import Run
from kgspark.stages import clean_ratings, index_entities, write_triples
from nights import a_night

CLEAN = ("ratings", "movies", "quarantine", "seen", "refused_pairs")
OF_ACCOUNTS = ("accounts", "source_files", "skipped", "hints", "id_type", "reading", "tables")
COLUMNS = ("user_id", "movie_id", "rating", "timestamp")
HEADER = ",".join(COLUMNS)
FREE = {"max_quarantined_share": 1.0}
Row = tuple[Any, Any, Any, Any]


def _night(spark: Any, lake: Path, day: int, source: dict[str, Any], **sections: Any) -> tuple[Night, str]:
    said: list[str] = []
    sections = {"clean": FREE, **sections}
    night = a_night(lake, spark, said.append, source=source, run_date=f"2026-01-{day:02}", **sections)
    clean_ratings.run(night)
    return night, said[-1]


def _rows(night: Night, table: str) -> Counter[str]:
    """Each row of a table with the number of times that it occurs."""
    return Counter(json.dumps(row, sort_keys=True) for row in pq.read_table(night.run.table(table)).to_pylist())


def _assert_equal(one: Night, other: Night, tables: tuple[str, ...]) -> None:
    for table in tables:
        assert _rows(one, table) == _rows(other, table), table
        assert one.run.manifest(table).content == other.run.manifest(table).content is not None, table
    of_one, of_other = (night.run.manifest("ratings").details for night in (one, other))
    assert {key: of_one[key] for key in OF_ACCOUNTS} == {key: of_other[key] for key in OF_ACCOUNTS}


def _worlds_rows(chance: random.Random) -> Iterator[Row]:
    """Ratings with corrections, repetitions and older ratings that come late, and rows that are bad in every way."""
    pairs = [(user, movie) for user in range(1, 13) for movie in range(1, 9) if movie < 8 or user < 7]
    for user, movie in pairs * 2:
        at, rating = chance.randrange(1000, 1010), chance.choice([0.5, 3.0, 4.0, 4.5, 5.0])
        yield from [(user, movie, rating, at)] * chance.choice([0, 1, 1, 2])
    for _ in range(40):
        user, movie = chance.randrange(1, 16), chance.randrange(1, 12)  # also unknown ones
        yield chance.choice(
            [
                (user, movie, 7.0, 1005),
                (user, movie, 3.3, 1005),
                (user, movie, 4.0, None),
                (None, movie, 4.0, 1005),
                (user, 99, 4.0, 1005),
            ]
        )


def _csv(file: Path, rows: list[Row], chance: random.Random) -> None:
    lines = [HEADER, *[",".join("" if value is None else str(value) for value in row) for row in rows], "1,2", '"']
    file.write_text("\n".join(lines) + chance.choice(["", "\n"]))


def _parquet(file: Path, rows: list[Row], chance: random.Random) -> None:
    types = (chance.choice([pa.int32(), pa.int64()]), pa.int64(), pa.float64(), chance.choice([pa.int32(), pa.int64()]))
    columns = zip(zip(*rows, strict=True), types, strict=True)
    pq.write_table(pa.table([pa.array(values, kind) for values, kind in columns], names=COLUMNS), file)


def _movies(file: Path, movies: range) -> None:
    file.write_text("movie_id,title,genres\n" + "".join(f"{i},T {i},Drama|G{i % 3}\n" for i in movies) + ",no id,\n")


@pytest.mark.parametrize(
    ("suffix", "seed", "names"),
    [
        ("csv", 1, "ba"),
        pytest.param("csv", 2, "cab", marks=pytest.mark.extended),
        pytest.param("parquet", 3, "bca", marks=pytest.mark.extended),
        *[("csv", seed, "bac") for seed in range(4, trials(4, 20))],
    ],
)
def test_after_each_new_file_all_tables_equal_those_of_a_full_night(
    spark: Any, tmp_path: Path, suffix: str, seed: int, names: str
) -> None:
    chance = random.Random(seed)
    rows = list(_worlds_rows(chance))
    chance.shuffle(rows)
    folder, movies = tmp_path / "in", tmp_path / "movies.csv"
    folder.mkdir()
    _movies(movies, range(1, 9))
    source = {"path": str(folder), "format": "table", "movies": str(movies)}
    # Names in any order: a new file may come before, between and after the earlier ones.
    cuts = [0, *sorted(chance.sample(range(len(rows)), len(names) - 1)), len(rows)]
    for day, name in enumerate(names, 1):
        write = _csv if suffix == "csv" else _parquet
        write(folder / f"{name}.{suffix}", rows[cuts[day - 1] : cuts[day]] or rows[:1], chance)
        incremental, line = _night(spark, tmp_path / "lake", day, source)
        assert (f"; 1 of {day} files are new (" in line) == (day > 1)
        if day > 1:
            full, line = _night(spark, tmp_path / "full", day, source, clean=FREE | {"incremental": False})
            assert "are new" not in line
            _assert_equal(incremental, full, CLEAN)
            details = incremental.run.manifest("ratings").details
            assert details["basis"]["date"] == f"2026-01-{day - 1:02}"
            assert details["basis"]["lines"] < sum(file["lines"] for file in details["source_files"]["ratings"])
    if len(names) > 2:  # what follows reads these tables only
        for night in (incremental, full):
            index_entities.run(night)
            write_triples.run(night)
        _assert_equal(incremental, full, ("entities", "triples"))
        assert incremental.run.manifest("triples").details["counts"] == full.run.manifest("triples").details["counts"]
    assert all(_rows(full, table) for table in CLEAN), "the world has no row for a table"


@pytest.fixture
def source(tmp_path: Path) -> dict[str, Any]:
    """Two files of ratings and a movie table; movie 7 of the ratings is not in it."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.csv").write_text(f"{HEADER}\n1,1,4.0,5\n1,2,3.0,5\n")
    (folder / "b.csv").write_text(f"{HEADER}\n2,1,4.0,5\n2,2,4.0,5\n2,7,4.0,5\n")
    _movies(tmp_path / "movies.csv", range(1, 4))
    return {"path": str(folder), "format": "table", "movies": str(tmp_path / "movies.csv")}


@pytest.mark.extended
def test_without_a_new_file_the_tables_are_taken_over(spark: Any, tmp_path: Path, source: dict[str, Any]) -> None:
    first, line = _night(spark, tmp_path / "lake", 1, source)
    assert "file" not in line
    second, line = _night(spark, tmp_path / "lake", 2, source)
    assert line.endswith("; 0 of 2 files are new (0 lines), the others as on 2026-01-01")
    _assert_equal(first, second, CLEAN)
    # The night stands alone: no file is a link to the earlier night's.
    one, other = (next(night.run.table("ratings").glob("*.parquet")).stat().st_ino for night in (first, second))
    assert one != other
    assert clean_ratings.run(second).ran is False


@pytest.mark.extended
def test_what_makes_the_earlier_tables_wrong_makes_a_full_cleaning(
    spark: Any, tmp_path: Path, source: dict[str, Any]
) -> None:
    lake, folder = tmp_path / "lake", tmp_path / "in"
    _night(spark, lake, 1, source)
    (folder / "b.csv").write_text((folder / "b.csv").read_text().replace("2,2,4.0", "2,2,5.0"))
    night, line = _night(spark, lake, 2, source)
    assert line.endswith("; all files are cleaned, because b.csv has changed since 2026-01-01")
    assert '{"movie_id": 2, "rating": 5.0, "timestamp": 5.0, "user_id": 2}' in _rows(night, "ratings")

    _night(spark, lake, 3, source, clean=FREE | {"refused_are_seen": False})
    _, line = _night(spark, lake, 4, source)
    assert line.endswith("; all files are cleaned, because clean.refused_are_seen has another value than on 2026-01-03")

    (folder / "b.csv").unlink()
    # A limit changes no row, so another one is no reason.
    night, line = _night(spark, lake, 5, source, clean=FREE | {"min_share_of_last_night": 0.0})
    assert line.endswith("all files are cleaned, because b.csv is missing since 2026-01-04")
    assert night.run.manifest("ratings").rows == 2


@pytest.mark.extended
def test_movies_that_come_or_go_make_a_full_cleaning_if_ratings_depend_on_them(
    spark: Any, tmp_path: Path, source: dict[str, Any]
) -> None:
    lake, movies = tmp_path / "lake", tmp_path / "movies.csv"
    _night(spark, lake, 4, source)
    _movies(movies, range(1, 8))
    night, line = _night(spark, lake, 5, source)
    assert line.endswith("because 4 movies are new, and 1 ratings of 2026-01-04 were refused for their movie")
    assert night.run.manifest("ratings").rows == 5
    _movies(movies, range(1, 9))
    _, line = _night(spark, lake, 6, source)
    assert "0 of 2 files are new" in line  # no rating waited for the new movie
    _movies(movies, range(1, 7))
    night, line = _night(spark, lake, 7, source)
    assert line.endswith("because 2 movies of 2026-01-06 are no longer in the movie table")
    assert night.run.manifest("ratings").rows == 4


@pytest.mark.extended
def test_a_damaged_or_busy_night_is_no_basis(spark: Any, tmp_path: Path, source: dict[str, Any]) -> None:
    lake = tmp_path / "lake"
    nights = [_night(spark, lake, day, source)[0] for day in (1, 2, 3)]
    damaged = next(nights[2].run.table("quarantine").glob("*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    _, line = _night(spark, lake, 4, source)
    assert line.endswith("the others as on 2026-01-02")
    with Run(lake, "2026-01-04").locked():
        night, _ = _night(spark, lake, 5, source)
    assert night.run.manifest("ratings").details["basis"]["date"] == "2026-01-02"


@pytest.mark.extended
def test_verify_fast_does_not_take_over_a_changed_value(spark: Any, tmp_path: Path, source: dict[str, Any]) -> None:
    """The file has its size and its footer; every later night would inherit the value."""
    first, _ = _night(spark, tmp_path / "lake", 1, source)
    damaged = next(first.run.table("ratings").glob("*.parquet"))
    bytes_of = bytearray(damaged.read_bytes())
    bytes_of[4] ^= 1
    damaged.write_bytes(bytes_of)
    night, _ = _night(spark, tmp_path / "lake", 2, source, verify="fast")
    assert night.run.manifest("ratings").details["basis"]["date"] == ""
    assert night.run.manifest("ratings").content == first.run.manifest("ratings").content
