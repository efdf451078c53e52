"""Tables that Spark opens: PostgreSQL, tables of its catalogue, and its readers of files."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kgspark import redaction
from kgspark.errors import ConfigError, InputError
from kgspark.night.night import Night
from kgspark.spark.cleaning.settings import SourceSettings
from kgspark.spark.cleaning.source.spark_tables import copy_table, table_version
from kgspark.stages import clean_ratings
from nights import a_night
from postgres import JDBC_DRIVER, Postgres

SCHEMA = "user_id string, movie_id bigint, rating decimal(3,1), timestamp timestamp"
AT = "timestamp'2026-01-01 10:00:00'"
# Four good rows, of which one is superseded, and two bad ones.
ROWS = [
    ("'007'", "1", "4.5", AT),
    ("'007'", "1", "3.0", "timestamp'2025-12-31 23:59:59'"),
    ("'ann'", "2", "0.5", AT),
    ("'bob'", "3", "5.0", AT),
    ("'ann'", "null", "4.0", AT),
    ("'eve'", "2", "9.5", AT),
]
SECONDS = 1_767_261_600
KEPT = {("007", "1", 4.5, SECONDS), ("ann", "2", 0.5, SECONDS), ("bob", "3", 5.0, SECONDS)}
LINE = "6 lines = 3 kept + 1 superseded + 2 quarantined (1 missing_movie_id, 1 rating_out_of_range)"
ANEW = "; source has no version, so each call reads it anew"


@pytest.fixture(scope="module")
def shop(postgres: Postgres, jdbc_jar: Path) -> Iterator[dict[str, Any]]:
    """A section `source` that reads the ratings of a PostgreSQL database, with the password in the environment."""
    values = ", ".join(f"({', '.join(row)})" for row in ROWS).replace("timestamp'", "timestamp '")
    postgres.execute(
        "CREATE SCHEMA shop; CREATE TABLE shop.ratings (user_id text, movie_id bigint, rating numeric(3, 1), "
        f"timestamp timestamp, note jsonb); INSERT INTO shop.ratings VALUES {values};"
        "CREATE TABLE shop.films (movie_id numeric, title varchar(80), genres text[]);"
        "INSERT INTO shop.films VALUES (1, 'Heat (1995)', '{Action,Crime}'), (2, 'Ran (1985)', null), (3, null, '{}');"
        "CREATE ROLE guest LOGIN PASSWORD 'guest-Password'"
    )
    os.environ["KGSPARK_TEST_PASSWORD"] = postgres.password
    options = {"url": postgres.jdbc_url, "user": postgres.user, "password": "${ENV:KGSPARK_TEST_PASSWORD}"}
    options |= {"dbtable": "shop.ratings", "driver": JDBC_DRIVER}
    yield {"format": "spark", "reader": "jdbc", "options": options, "ids": "string"}
    del os.environ["KGSPARK_TEST_PASSWORD"]
    redaction._values.discard(postgres.password)


@contextmanager
def _java_in(spark: Any, zone: str) -> Iterator[None]:
    """Java's own time zone, in which JDBC drivers make moments of times without a zone."""
    zones = spark._jvm.java.util.TimeZone
    before = zones.getDefault()
    zones.setDefault(zones.getTimeZone(zone))
    try:
        yield
    finally:
        zones.setDefault(before)


def _clean(spark: Any, lake: Path, source: dict[str, Any], **sections: Any) -> tuple[Night, str]:
    """The night after clean-ratings, and the stage's line."""
    given = {"clean": {"max_quarantined_share": 0.9, "unknown_movies": "keep"}} | sections
    night = a_night(lake, spark, source=source, **given)
    return night, clean_ratings.run(night).summary


def _kept(night: Night) -> set[tuple[Any, ...]]:
    return {tuple(row.values()) for row in pq.read_table(night.run.table("ratings")).to_pylist()}


def _details(night: Night) -> Any:
    return night.run.manifest("ratings").details


def _problem(spark: Any, lake: Path, source: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        _clean(spark, lake, source)
    assert str(caught.value).isprintable(), caught.value
    return str(caught.value)


def test_a_database_is_read_with_accounts_types_and_quarantine(
    spark: Any, tmp_path: Path, shop: dict[str, Any], postgres: Postgres
) -> None:
    films = {"format": "spark", "reader": "jdbc", "options": shop["options"] | {"dbtable": "shop.films"}}
    with _java_in(spark, "Asia/Tokyo"):
        night, line = _clean(spark, tmp_path, shop | {"movies": films})
    assert _kept(night) == KEPT
    assert line == LINE + ANEW + ANEW.replace("source", "source.movies")
    refused = pq.read_table(night.run.table("quarantine")).to_pylist()
    assert [(row["table"], row["file"], row["line"], row["reason"]) for row in refused] == [
        ("ratings", "shop.ratings/part-00000.parquet", 5, "missing_movie_id"),
        ("ratings", "shop.ratings/part-00000.parquet", 6, "rating_out_of_range"),
    ]
    assert json.loads(refused[1]["raw"]) == {
        "user_id": "eve", "movie_id": 2, "rating": 9.5, "timestamp": "2026-01-01T10:00:00.000"
    }  # fmt: skip
    # A number without a declared scale is a decimal with 18 digits after the point in Spark.
    movies = {row["movie_id"]: row for row in pq.read_table(night.run.table("movies")).to_pylist()}
    assert (movies["1"]["year"], movies["1"]["genres"], movies["3"]["title"]) == (1995, ["Action", "Crime"], None)
    assert not (night.run.folder / ".staging").exists() or not list((night.run.folder / ".staging").iterdir())
    written = "".join(path.read_text() for path in night.run.folder.rglob("*.json"))
    assert "KGSPARK_TEST_PASSWORD" in written
    assert postgres.password not in written + redaction.redact(f"x {postgres.password}")


@pytest.mark.extended
def test_a_change_of_the_database_is_noticed_with_and_without_a_version(
    spark: Any, tmp_path: Path, shop: dict[str, Any], postgres: Postgres
) -> None:
    def clean(source: dict[str, Any]) -> tuple[str, int, bool]:
        """The fingerprint, the inode of the clean table, and if the stage ran."""
        night = a_night(tmp_path, spark, source=source, clean={"max_quarantined_share": 0.9})
        ran = clean_ratings.run(night).ran
        return night.run.manifest("ratings").fingerprint, night.run.table("ratings").stat().st_ino, ran

    versioned = shop | {"version": "timestamp"}
    location = SourceSettings.model_validate(versioned)
    before = table_version(spark, location, "source")
    first, second = clean(versioned), clean(versioned)
    assert (first, second) == ((*first[:2], True), (*first[:2], False))
    first, second = clean(shop), clean(shop)
    assert second == first  # the table was read anew and left as it is, so that later stages need not run
    postgres.execute("INSERT INTO shop.ratings VALUES ('new', 1, 4.0, '2026-01-01 10:00:00')")
    try:
        assert table_version(spark, location, "source") != before
        assert clean(shop)[0] != first[0]
    finally:
        postgres.execute("DELETE FROM shop.ratings WHERE user_id = 'new'")


def test_a_table_that_changes_while_it_is_copied_is_signed_by_what_was_copied(
    spark: Any, tmp_path: Path, shop: dict[str, Any]
) -> None:
    columns = {"user_id": "user_id", "movie_id": "movie_id"}
    versions = []
    for version in ("now", "timestamp"):
        options = shop["options"] | {"dbtable": "(SELECT *, clock_timestamp() AS now FROM shop.ratings) AS changing"}
        location = SourceSettings.model_validate(shop | {"options": options, "version": version})
        copy = copy_table(spark, location, "source", columns, list(columns), tmp_path / version)
        versions.append(copy.version)
    assert [version.split()[0] for version in versions] == ["content", "timestamp"]


def test_a_table_of_the_catalogue_is_read_and_empty_ones_are_refused(spark: Any, tmp_path: Path) -> None:
    spark.sql("CREATE DATABASE IF NOT EXISTS own LOCATION '" + str(tmp_path / "own.db") + "'")
    values = ", ".join(f"({', '.join(row)})" for row in ROWS)
    spark.sql(f"CREATE TABLE own.ratings ({SCHEMA}, `a.b` map<string, int>) USING parquet")
    try:
        spark.sql(f"INSERT INTO own.ratings SELECT *, map('x', 1) FROM VALUES {values}")
        night, line = _clean(spark, tmp_path / "lake", {"table": "own.ratings"})
        assert (_kept(night), line) == (KEPT, LINE + ANEW)
        assert _details(night)["format"] == "spark"
        # A table of the user's own is opened in the same way.
        columns = {"table": "own.ratings", "columns": {"rating": "a.b"}}
        assert (
            _problem(spark, tmp_path / "x", columns) == "source: a.b is map<string, int32>; expected a number or a text"
        )
        spark.sql("TRUNCATE TABLE own.ratings")
        told = _problem(spark, tmp_path / "lake2", {"table": "own.ratings"})
        assert told == "own.ratings: no rating is left after cleaning: nothing quarantined"
    finally:
        spark.sql("DROP DATABASE own CASCADE")


@pytest.mark.extended
def test_a_table_of_a_databases_own_catalogue_has_three_names(
    spark: Any, tmp_path: Path, shop: dict[str, Any], postgres: Postgres
) -> None:
    catalogue = {"": "org.apache.spark.sql.execution.datasources.v2.jdbc.JDBCTableCatalog", ".url": postgres.jdbc_url}
    catalogue |= {".user": postgres.user, ".password": postgres.password, ".driver": JDBC_DRIVER}
    for key, value in catalogue.items():
        spark.conf.set(f"spark.sql.catalog.pg{key}", value)
    try:
        night, line = _clean(spark, tmp_path, {"table": "pg.shop.ratings", "version": "timestamp"})
    finally:
        for key in catalogue:
            spark.conf.unset(f"spark.sql.catalog.pg{key}")
    assert (_kept(night), line) == (KEPT, LINE)
    signature = night.run.manifest("ratings").sources["ratings"]
    assert signature == "timestamp 2026-01-01 10:00:00 of 6 rows"


def test_files_are_read_by_any_reader(spark: Any, tmp_path: Path) -> None:
    values = ", ".join(f"({', '.join(row)})" for row in ROWS)
    frame = spark.sql(f"SELECT * FROM VALUES {values}").toDF("user_id", "movie_id", "rating", "timestamp")
    frame.coalesce(1).write.partitionBy("user_id").orc(str(tmp_path / "in"))
    (tmp_path / "films.json").write_text('{"movie_id": 1, "genres": ["Action"]}\n{"movie_id": "x", "genres": []}\n')
    films = {"format": "spark", "reader": "json", "path": str(tmp_path / "films.json")}
    source = {"format": "spark", "reader": "orc", "path": str(tmp_path / "in"), "movies": films}
    night, line = _clean(spark, tmp_path / "lake", source)
    assert _kept(night) == KEPT
    assert line.startswith(LINE)
    movies = pq.read_table(night.run.table("movies")).to_pylist()
    assert {row["movie_id"]: row["genres"] for row in movies} == {"1": ["Action"], "x": []}
    assert {file["name"].split("/")[0] for file in _details(night)["source_files"]["ratings"]} == {"in"}


CASES = {
    "unknown reader": (
        {"reader": "nosuch"},
        "source: shop.ratings: Spark has no reader 'nosuch'; correct source.reader, or name the jar of the reader in "
        "spark.conf.spark.jars",
    ),
    "driver": (
        {"options": {"url": "jdbc:mysql://127.0.0.1/x", "driver": None}},
        "source: shop.ratings: Spark has no such JDBC driver; name its jar in spark.conf.spark.jars and its class in "
        "source.options.driver",
    ),
    "driver's class": (
        {"options": {"driver": "com.example.Driver"}},
        "source: shop.ratings: Spark has no such JDBC driver; name its jar in spark.conf.spark.jars and its class in "
        "source.options.driver",
    ),
    "table": (
        {"options": {"dbtable": "shop.nothing"}},
        'source: shop.nothing: it cannot be read: ERROR: relation "shop.nothing" does not exist',
    ),
    "column": (
        {"columns": {"rating": "stars"}},
        "source: the table lacks the column stars; found user_id, movie_id, rating, timestamp, note; name the columns "
        "in source.columns",
    ),
    "rights": (
        {"options": {"user": "guest", "password": "${ENV:KGSPARK_TEST_GUEST}"}},
        "source: shop.ratings: it cannot be read: ERROR: permission denied for schema shop",
    ),
    "password": (
        {"options": {"password": "${ENV:KGSPARK_TEST_GUEST}"}},
        'source: shop.ratings: it cannot be read: FATAL: password authentication failed for user "shop"',
    ),
    "server": (
        {"options": {"url": "jdbc:postgresql://127.0.0.1:1/x"}},
        "source: shop.ratings: it cannot be read: ConnectException: Connection refused",
    ),
}


@pytest.mark.parametrize(("changes", "told"), CASES.values(), ids=list(CASES))
def test_what_cannot_be_read_is_one_line(
    spark: Any,
    tmp_path: Path,
    shop: dict[str, Any],
    changes: dict[str, Any],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KGSPARK_TEST_GUEST", "guest-Password")
    monkeypatch.setattr(redaction, "_values", set())
    options = {key: value for key, value in (shop["options"] | changes.get("options", {})).items() if value is not None}
    assert _problem(spark, tmp_path, shop | changes | {"options": options}).startswith(told)


def test_a_table_that_is_not_in_the_catalogue_is_one_line(spark: Any, tmp_path: Path) -> None:
    for table in ("nowhere.ratings", "no.such.catalog"):
        assert _problem(spark, tmp_path, {"table": table}) == (
            f"source: {table}: no such table in Spark's catalogue; correct source.table, or set up its catalogue in "
            "spark.conf"
        )


def test_a_variable_that_is_not_set_is_named(spark: Any, tmp_path: Path) -> None:
    source = {"format": "spark", "reader": "jdbc", "options": {"password": "${ENV:KGSPARK_NOWHERE}"}}
    with pytest.raises(ConfigError, match=r"^source.options.password: the environment variable KGSPARK_NOWHERE is not"):
        _clean(spark, tmp_path, source)


PASSWORD = "a password may not stand in a configuration; write \\${ENV:NAME}"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"format": "spark", "reader": "jdbc", "options": {"password": "hunter2"}}, f"password: {PASSWORD}"),
        (
            {"format": "spark", "reader": "jdbc", "options": {"url": "jdbc:postgresql://h/d?user=a&password=hunter2"}},
            f"url: {PASSWORD}",
        ),
        ({"format": "spark", "reader": "jdbc", "options": {"url": "x://bob:hunter2@h/d"}}, f"url: {PASSWORD}"),
        ({"format": "spark"}, "format spark needs a reader, such as jdbc, or a table"),
        ({"table": "a.b", "reader": "jdbc"}, "expected table alone, without path and reader"),
        ({"table": "a.b", "path": "x"}, "expected table alone, without path and reader"),
        ({"path": "x", "reader": "orc"}, "reader, options and version need format: spark"),
        ({"table": "a.b; DROP TABLE x"}, "String should match pattern"),
        ({"format": "table"}, "Field required"),
    ],
)
def test_a_section_says_one_way_to_open_the_table(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        SourceSettings.model_validate(given)


def test_an_address_may_name_a_variable_for_its_password() -> None:
    for url in ("jdbc:postgresql://h/d?password=${ENV:A}&ssl=true", "x://bob:${ENV:A}@h/d"):
        assert SourceSettings(format="spark", reader="jdbc", options={"url": url}).by_spark
