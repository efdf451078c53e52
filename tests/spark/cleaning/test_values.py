"""Ids, ratings and times are read as the page own-data.md says, in every dialect."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgspark.night.night import Night
from kgspark.spark.cleaning.source.dialects import Scale
from kgspark.spark.cleaning.values import TYPED_UNIT, rating_text, read_rating, read_time, time_text
from kgspark.stages import clean_ratings
from nights import a_night
from worlds.damage import CSV, DAT, STRING_TABLE, U_DATA, Dialect
from worlds.spellings import integer_id, rating, seconds, spellings, string_id

COLUMNS = {"user": "user", "movie": "movie", "rating": "stars", "timestamp": "at"}
TABLE = {"format": "table", "ids": "string", "columns": COLUMNS}
FILES = {
    CSV: ("ratings.csv", "movies.csv"),
    DAT: ("ratings.dat", "movies.dat"),
    U_DATA: ("u.data", "u.item"),
    STRING_TABLE: ("own.csv", "no movies"),
}
NO_ID = ("missing", "leading_zeros", "bad")
NAMES = ("user_id", "movie_id", "rating", "timestamp")


def _clean(spark: Any, lake: Path, source: dict[str, Any], **clean: Any) -> Night:
    rules = {"max_quarantined_share": 1.0, "unknown_movies": "keep"} | clean
    night = a_night(lake, spark, source=source, clean=rules, run_date="2099-12-31")
    clean_ratings.run(night)
    return night


def _rows(night: Night, table: str) -> list[dict[str, Any]]:
    return pq.read_table(night.run.table(table)).to_pylist()


def _lines_with(texts: list[str]) -> list[list[str]]:
    """For each text four lines with it in another field each; the other fields are good, and no pair stands twice."""
    lines = []
    for text in texts:
        for place in range(4):
            number = len(lines) + 1
            fields = [str(10**6 + number), str(2 * 10**6 + number), "4", "100"]
            lines.append([*fields[:place], text, *fields[place + 1 :]])
    return lines


def _expected(
    lines: list[list[str]], read_id: Callable[[str], Any], whole_seconds: bool
) -> tuple[set[tuple[Any, ...]], dict[int, str]]:
    """The rows to keep, and the reason for each other line, by its number from 1."""
    kept, refused = set(), {}
    for number, (user, movie, stars, at) in enumerate(lines, 1):
        values = [read_id(user), read_id(movie), rating(stars), seconds(at, whole_seconds)]
        reasons = [f"{v}_{name}" for v, name in zip(values[:2], NAMES, strict=False) if v in NO_ID]
        reasons += [value for value in values[2:] if isinstance(value, str)]
        if reasons:
            refused[number] = reasons[0]
        else:
            kept.add(tuple(v.removeprefix("id ") if isinstance(v, str) else v for v in values))
    return kept, refused


def _quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"' if set(field) & set(',"') else field


def _write(folder: Path, dialect: Dialect, lines: list[list[str]]) -> dict[str, Any]:
    name, movies = FILES[dialect]
    text = [dialect.join([_quoted(field) for field in line] if dialect.quoted else line) for line in lines]
    path = folder / name
    path.write_text("\n".join([*([dialect.header] if dialect.header else []), *text, ""]), dialect.encoding, newline="")
    if dialect is STRING_TABLE:
        return TABLE | {"path": str(path)}
    movie = {CSV: "movieId,title,genres\n1,T,Drama\n", DAT: "1::T::Drama\n"}.get(dialect, "1|T|||" + "|0" * 19 + "\n")
    (folder / movies).write_text(movie)
    if dialect is DAT:
        (folder / "users.dat").write_text("1::F::1::10::48067\n")
    return {"path": str(folder)}


@pytest.mark.parametrize(
    ("dialect", "forbidden"),
    [
        pytest.param(CSV, "\r\n\x00", id="csv"),
        pytest.param(DAT, "\r\n\x00:", id="dat", marks=pytest.mark.extended),
        pytest.param(U_DATA, "\r\n\x00\t", id="u.data", marks=pytest.mark.extended),
        pytest.param(STRING_TABLE, "\r\n\x00", id="string ids"),
    ],
)
def test_every_spelling_is_read_as_an_independent_parser_reads_it(
    spark: Any, tmp_path: Path, dialect: Dialect, forbidden: str
) -> None:
    lines = _lines_with(spellings(1_000, forbidden, dialect.encoding))
    kept, refused = _expected(lines, integer_id if dialect.integer_ids else string_id, dialect is not STRING_TABLE)
    scale = {"rating_min": 0.5, "rating_max": 5, "rating_step": 0.5}
    night = _clean(spark, tmp_path / "lake", _write(tmp_path, dialect, lines), **scale)
    above = 1 if dialect.header else 0
    found = {row["line"] - above: row["reason"] for row in _rows(night, "quarantine")}
    wrong = {n: (lines[n - 1], found.get(n), refused.get(n)) for n in found | refused if found.get(n) != refused.get(n)}
    assert not wrong, list(wrong.items())[:10]
    assert {tuple(row[name] for name in NAMES) for row in _rows(night, "ratings")} == kept
    assert len(kept) > 500
    assert len(refused) > 500


def _parquet(folder: Path, **columns: pa.Array) -> dict[str, Any]:
    given = {"user": [1, 2], "movie": [7, 8], "stars": [4.0, 5.0], "at": [100, 200]} | columns
    pq.write_table(pa.table(given), folder / "ratings.parquet")
    return {"path": str(folder / "ratings.parquet"), "format": "table", "columns": COLUMNS}


def test_ids_that_pandas_made_floating_numbers_are_integers(spark: Any, tmp_path: Path) -> None:
    users = pa.array([12345601.0, float("nan"), 2.5, float(2**53), -5.0, None], pa.float64())
    movies = pa.array([2.0] * 6, pa.float32())
    source = _parquet(tmp_path, user=users, movie=movies, stars=[4.0] * 6, at=[100.0] * 6)
    night = _clean(spark, tmp_path / "lake", source)
    assert {(row["user_id"], row["movie_id"]) for row in _rows(night, "ratings")} == {(12345601, 2), (-5, 2)}
    found = {row["line"]: row["reason"] for row in _rows(night, "quarantine")}
    assert found == {2: "missing_user_id", 3: "bad_user_id", 4: "bad_user_id", 6: "missing_user_id"}
    assert night.run.manifest("ratings").details["id_type"] == "bigint"


def test_integer_ids_of_parquet_are_strings_if_they_are_configured_so(spark: Any, tmp_path: Path) -> None:
    source = _parquet(tmp_path, user=pa.array([-5, 6], pa.int64()), movie=pa.array([7.0, 8.0]))
    night = _clean(spark, tmp_path / "lake", source | {"ids": "string"})
    assert {(row["user_id"], row["movie_id"]) for row in _rows(night, "ratings")} == {("-5", "7"), ("6", "8")}


@pytest.mark.parametrize("ids", ["integer", "string"])
def test_one_user_in_files_of_other_types_is_one_user(spark: Any, tmp_path: Path, ids: str) -> None:
    first = _parquet(tmp_path, user=pa.array([1, 2], pa.int64()))
    (tmp_path / "more").mkdir()
    _parquet(tmp_path / "more", user=[2.0, float("nan")], movie=pa.array([8.0, 8.0]), at=pa.array([300.5, 1.0]))
    night = _clean(spark, tmp_path / "lake", first | {"path": f"{tmp_path}/**/*.parquet", "ids": ids})
    as_id = int if ids == "integer" else str
    expected = {(as_id(1), as_id(7), 100), (as_id(2), as_id(8), 300.5)}
    assert {(row["user_id"], row["movie_id"], row["timestamp"]) for row in _rows(night, "ratings")} == expected
    found = [(row["file"], row["line"], row["reason"]) for row in _rows(night, "quarantine")]
    assert found == [("more/ratings.parquet", 2, "missing_user_id")]


def test_texts_for_missing_ids_are_a_setting(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("user,movie,stars,at\nNULL,1,4.0,1\nnobody,1,4.0,1\n-1,1,4.0,1\n-2,1,4.0,1\n")
    source = TABLE | {"path": str(tmp_path / "own.csv"), "null_texts": ["nobody", "-1"]}
    for ids, kept in (("string", {"NULL", "-2"}), ("integer", {-2})):
        night = _clean(spark, tmp_path / ids, source | {"ids": ids})
        assert {row["user_id"] for row in _rows(night, "ratings")} == kept
        found = {row["line"]: row["reason"] for row in _rows(night, "quarantine")}
        assert {line: reason for line, reason in found.items() if line > 2} == dict.fromkeys((3, 4), "missing_user_id")


def _read(spark: Any, texts: list[str], read: Callable[[Any], Any]) -> list[Any]:
    frame = spark.createDataFrame(list(enumerate(texts)), "place int, value string").orderBy("place")
    return [row[0] for row in frame.select(read(frame["value"])).collect()]


UNITS = {
    "seconds": {"1600001020": 1600001020, "1600001020.9": 1600001020, "1.6e9": None, "2020-09-13": None, "-1": None},
    "milliseconds": {"1600001020000": 1600001020, " 1600001020999.5 ": 1600001020, "999": 0, "-1": None},
    "microseconds": {"1600001020000000": 1600001020, "1600001020999999": 1600001020, "1e15": None},
    "nanoseconds": {"1600001020000000000": 1600001020, "1600001020999999999": 1600001020, "1600001020.": None},
    "iso": {
        "2020-09-13 12:43:40": 1600001020,
        "2020-09-13T12:43:40Z": 1600001020,
        "2020-09-13T14:43:40.999+02:00": 1600001020,
        "2020-09-13": 1599955200,
        "2020-09-13 12:43": 1600000980,
        "2020-09-13 12:43:40 UTC": 1600001020,
        "2020-09-13 12:43:40.25+00": 1600001020,
        **dict.fromkeys(("2020-13-01", "2020-02-30", "13.09.2020", "2020", "1600001020", "2020-09-13 12:43:40 CET")),
    },
}


@pytest.mark.parametrize("unit", UNITS)
def test_times_are_read_in_their_unit(spark: Any, unit: str) -> None:
    assert _read(spark, list(UNITS[unit]), lambda text: read_time(text, unit)) == list(UNITS[unit].values())


@pytest.mark.parametrize(
    ("unit", "text", "seconds"),
    [
        ("seconds", "1600001020.123456", 1600001020.123456),
        ("seconds", " 1600001020 ", 1600001020.0),
        ("milliseconds", "1600001020123", 1600001020.123),
        ("milliseconds", "1600001020123.456", 1600001020.123456),
        ("microseconds", "1600001020123456", 1600001020.123456),
        ("nanoseconds", "1600001020123456789", 1600001020.123456789),
        ("seconds", "-1", None),
        ("seconds", "1e9", None),
        ("iso", "2020-09-13T12:43:40.123456Z", 1600001020.123456),
        ("iso", "2020-09-13 12:43:40.5 UTC", 1600001020.5),
        ("iso", "2020-09-13 12:43:40", 1599993820.0),  # two hours earlier, in Berlin's summer
        ("iso", "2020-09-13", 1599948000.0),
        ("iso", "2020-12-13", 1607814000.0),
        ("iso", "2020-09-13 12:43:40-0130", 1600006420.0),
    ],
)
def test_fractions_and_zones_of_times(spark: Any, unit: str, text: str, seconds: float | None) -> None:
    assert _read(spark, [text], lambda text: read_time(text, unit, "Europe/Berlin", whole=False)) == [seconds]


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [
        ("TIMESTAMP '2020-09-13 12:43:40.5'", 1600001020.5),
        ("TIMESTAMP_NTZ '2020-09-13 12:43:40.5'", 1599993820.5),
        ("DATE '2020-09-13'", 1599948000.0),
    ],
)
def test_typed_times_have_a_zone_or_that_of_the_source(spark: Any, typed: str, seconds: float) -> None:
    frame = spark.sql(f"SELECT {typed} AS at")
    text = time_text(frame["at"], frame.schema["at"].dataType, "Europe/Berlin")
    assert frame.select(read_time(text, TYPED_UNIT, whole=False)).collect()[0][0] == seconds


def test_floating_numbers_keep_their_fraction(spark: Any) -> None:
    numbers = spark.sql("SELECT explode(array(1600001020.5D, double('NaN'), 1e300D)) AS at")
    text = time_text(numbers["at"], numbers.schema["at"].dataType)
    assert [row[0] for row in numbers.select(read_time(text, "seconds", whole=False)).collect()] == [
        1600001020.5,
        None,
        None,
    ]


def test_a_decimal_comma_is_read_if_it_is_configured(spark: Any) -> None:
    scale = Scale(0.5, 5.0, 0.5)
    texts = ["3,5", " 4,0 ", "5", "3.5", "1.000,5", "0,5"]
    assert _read(spark, texts, lambda text: read_rating(text, scale, ",")) == [3.5, 4.0, 5.0, None, None, 0.5]
    assert _read(spark, texts, lambda text: read_rating(text, scale, ".")) == [None, None, 5.0, 3.5, None, None]
    typed = spark.sql("SELECT 3.5D AS stars")
    text = rating_text(typed["stars"], typed.schema["stars"].dataType, ",")
    assert typed.select(read_rating(text, scale, ",")).collect()[0][0] == 3.5


def test_the_settings_of_values_reach_the_night(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text('user,movie,stars,at\n1,1,"3,5",1600001020000\n')
    settings = {"decimal": ",", "timestamp_unit": "milliseconds"}
    night = _clean(spark, tmp_path / "lake", TABLE | settings | {"path": str(tmp_path / "own.csv")})
    assert [(row["rating"], row["timestamp"]) for row in _rows(night, "ratings")] == [(3.5, 1600001020)]
