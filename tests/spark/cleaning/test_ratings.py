import math
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faults.scale import trials
from kgspark.errors import InputError
from kgspark.night.night import Night
from kgspark.spark.cleaning.accounts import Accounts
from kgspark.spark.cleaning.rating_rules import REASONS, resolve_scale
from kgspark.spark.cleaning.settings import CleanSettings
from kgspark.spark.cleaning.source.dialects import Scale
from kgspark.spark.cleaning.source.lines import UNFINISHED
from kgspark.stages import clean_ratings
from nights import a_night
from worlds.damage import CSV, DAT, MOVIES, STRING_TABLE, U_DATA, Dialect, Truth, damages, movie_id, write_damaged

pytestmark = pytest.mark.slow

# The damaged files have last lines without an end, which are good or bad for other reasons.
FREE = {"max_quarantined_share": 1.0, "unfinished_last_line": "keep"}
# After every time that clean.timestamp_max allows.
LATEST = "2099-12-31"
ML_100K_FLAGS = "|".join("0" * 19)


def _clean(spark: Any, lake: Path, source: dict[str, Any], **clean: Any) -> Night:
    night = a_night(lake, spark, source=source, clean=FREE | clean, run_date=LATEST)
    clean_ratings.run(night)
    return night


def _table(night: Night, name: str) -> list[dict[str, Any]]:
    return pq.read_table(night.run.table(name)).to_pylist()


def _kept(night: Night) -> dict[tuple[Any, Any], tuple[float, int]]:
    rows = _table(night, "ratings")
    kept = {(row["user_id"], row["movie_id"]): (row["rating"], row["timestamp"]) for row in rows}
    assert len(kept) == len(rows), "a pair stands twice"
    return kept


def _source(folder: Path, dialect: Dialect, seed: int, damaged: int, good: int) -> tuple[dict[str, Any], Truth]:
    """Writes a data set of the dialect with damaged ratings."""
    ids = range(1, MOVIES + 1)
    if dialect is CSV:
        (folder / "movies.csv").write_text("movieId,title,genres\n" + "".join(f"{i},T ({i}),Drama\n" for i in ids))
        return {"path": str(folder)}, write_damaged([folder / "ratings.csv"], dialect, seed, damaged, good)
    if dialect is DAT:
        (folder / "movies.dat").write_text("".join(f"{i}::T ({i})::Drama\n" for i in ids))
        (folder / "users.dat").write_text("1::F::1::10::48067\n")
        return {"path": str(folder)}, write_damaged([folder / "ratings.dat"], dialect, seed, damaged, good)
    if dialect is U_DATA:
        (folder / "u.item").write_text("".join(f"{i}|T ({i})|01-Jan-1995||http://x|{ML_100K_FLAGS}\n" for i in ids))
        return {"path": str(folder)}, write_damaged([folder / "u.data"], dialect, seed, damaged, good)
    movies = folder / "movies.csv"
    movies.write_text("movie,title\n" + "".join(f"{movie_id(i, dialect)},T\n" for i in ids))
    parts = folder / "ratings of two years"
    parts.mkdir()
    files = [parts / "part 1+2.csv", parts / "part-3.csv", parts / "part-4.csv"]
    columns = {"user": "user", "movie": "movie", "rating": "stars", "timestamp": "at"}
    source = {"path": str(parts), "format": "table", "ids": "string", "columns": columns, "movies": str(movies)}
    return source, write_damaged(files, dialect, seed, damaged, good)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("dialect", "split_bytes", "open_cost"),
    [
        pytest.param(CSV, 40_000, 4 << 20, id="csv, one split a task"),
        pytest.param(DAT, 50_000, 0, id="dat, many splits a task", marks=pytest.mark.extended),
        pytest.param(U_DATA, 128 << 20, 4 << 20, id="u.data, one split", marks=pytest.mark.extended),
        pytest.param(STRING_TABLE, 40_000, 4 << 20, id="string ids in several files", marks=pytest.mark.extended),
    ],
)
def test_every_line_is_accounted_for_with_the_right_reason(
    spark: Any, tmp_path: Path, dialect: Dialect, split_bytes: int, open_cost: int
) -> None:
    source, truth = _source(tmp_path, dialect, seed=7, damaged=trials(10_000, 100_000), good=6_000)
    spark.conf.set("spark.sql.files.maxPartitionBytes", split_bytes)
    spark.conf.set("spark.sql.files.openCostInBytes", open_cost)
    try:
        night = _clean(spark, tmp_path / "lake", source)
    finally:
        spark.conf.unset("spark.sql.files.maxPartitionBytes")
        spark.conf.unset("spark.sql.files.openCostInBytes")

    found = {(row["file"], row["line"]): (row["reason"], row["raw"]) for row in _table(night, "quarantine")}
    expected = {(file, line): (reason, raw) for file, line, reason, raw in truth.quarantine}
    wrong = {place: (found.get(place), expected.get(place)) for place in found | expected}
    wrong = {place: pair for place, pair in wrong.items() if pair[0] != pair[1]}
    assert not wrong, f"{len(wrong)} of {len(expected)}: {list(wrong.items())[:8]}"
    assert _kept(night) == truth.kept

    accounts = Accounts(**night.run.manifest("ratings").details["accounts"]["ratings"])
    assert accounts.quarantined == Counter(reason for _, _, reason, _ in truth.quarantine)
    assert (accounts.lines, accounts.headers) == (truth.lines, truth.headers)
    assert (accounts.kept, accounts.superseded) == (len(truth.kept), truth.superseded)
    assert truth.superseded > 1_000
    assert accounts.lines == accounts.headers + accounts.kept + accounts.superseded + sum(accounts.quarantined.values())


def test_the_generator_knows_every_reason() -> None:
    reasons = {reason for dialect in (CSV, DAT, U_DATA, STRING_TABLE) for reason, _ in damages(dialect)}
    assert reasons == set(REASONS) - {UNFINISHED, "unknown_event"}


def test_lines_that_would_exhaust_a_parser_are_quarantined(spark: Any, tmp_path: Path) -> None:
    source, _ = _source(tmp_path, CSV, seed=1, damaged=len(damages(CSV)), good=0)
    floods = ['"' * 40_000, '",' * 100_000, '"",' * 100_001, "," * 200_000, "1" * 1_000_000, 'a"b,' * 50_000]
    (tmp_path / "ratings.csv").write_text("\n".join([str(CSV.header), "1,2,3.0,4", *floods, "1,3,3.5,4"]))
    night = _clean(spark, tmp_path / "lake", source)
    found = {row["line"]: (row["reason"], row["raw"]) for row in _table(night, "quarantine")}
    assert found == {line: ("wrong_field_count", flood) for line, flood in enumerate(floods, 3)}
    assert _kept(night) == {(1, 2): (3.0, 4), (1, 3): (3.5, 4)}


def test_unknown_movies_may_be_kept_and_the_scale_and_times_be_configured(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n1,T,Drama\n")
    lines = ["1,1,0.1,100", "1,2,0.3,100", "1,3,0.7,200", "2,1,1.0,100", "2,2,1.1,100", "2,3,0.25,100", "3,1,0.2,201"]
    (tmp_path / "ratings.csv").write_text("\r\n".join([str(CSV.header), *lines, "3,3,0.2,99"]))
    rules = {"unknown_movies": "keep", "rating_min": 0, "rating_max": 1, "rating_step": 0.1}
    night = _clean(spark, tmp_path / "lake", {"path": str(tmp_path)}, **rules, timestamp_min=100, timestamp_max=200)
    # Ratings come back as the number that was written, not as 3 × 0.1.
    assert _kept(night) == {(1, 1): (0.1, 100), (1, 2): (0.3, 100), (1, 3): (0.7, 200), (2, 1): (1.0, 100)}
    assert {(row["line"], row["reason"]) for row in _table(night, "quarantine")} == {
        (6, "rating_out_of_range"),
        (7, "rating_off_step"),
        (8, "timestamp_not_a_time"),
        (9, "timestamp_not_a_time"),
    }


def test_too_large_a_share_of_bad_lines_stops_the_night_and_leaves_no_table(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n1,T,Drama\n")
    ratings = tmp_path / "ratings.csv"
    ratings.write_text("\n".join([str(CSV.header), *[f"{user},1,3.0,5" for user in range(98)], "x,1,3.0,5", "1,x,3,5"]))
    with pytest.raises(InputError, match=r"2\.00% of the lines are bad, .*1\.00%: 1 bad_movie_id, 1 bad_user_id"):
        _clean(spark, tmp_path / "lake", {"path": str(tmp_path)}, max_quarantined_share=0.01)
    run = tmp_path / "lake" / "runs" / LATEST
    assert [path.name for path in run.iterdir()] == [".staging"]
    _clean(spark, tmp_path / "lake", {"path": str(tmp_path)}, max_quarantined_share=0.02)
    assert (run / "ratings").is_dir()


def test_a_file_without_a_single_good_line_is_one_clear_error(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n1,T,Drama\n")
    (tmp_path / "ratings.csv").write_text("\n".join([str(CSV.header), "x,1,3.0,5"]))
    with pytest.raises(InputError, match="no rating is left after cleaning: 1 bad_user_id"):
        _clean(spark, tmp_path / "lake", {"path": str(tmp_path)})


def test_a_parquet_table_with_typed_columns(spark: Any, tmp_path: Path) -> None:
    rows = [
        # user, movie, rating, seconds since 1970, reason
        (1, 10, 4.0, 100, None),
        (1, 10, 4.5, 100, None),
        (1, 10, 5.0, 99, None),
        (None, 10, 4.0, 100, "missing_user_id"),
        (2, None, 4.0, 100, "missing_movie_id"),
        (-2, 10, 4.0, 100, None),
        (2, 10, math.nan, 100, "rating_not_a_number"),
        (2, 10, math.inf, 100, "rating_not_a_number"),
        (2, 10, None, 100, "rating_not_a_number"),
        (2, 10, 3.3, 100, "rating_off_step"),
        (2, 10, 7.0, 100, "rating_out_of_range"),
        (2, 10, 3.0, -1, "timestamp_not_a_time"),
        (2, 10, 3.0, None, "timestamp_not_a_time"),
        (2, 11, 3.0, 100, "unknown_movie"),
        (2, 10, 3.0, 100, None),
    ]
    folder = tmp_path / "ratings"
    folder.mkdir()
    columns = {
        "u": pa.array([row[0] for row in rows], pa.int32()),
        "m": pa.array([row[1] for row in rows], pa.int64()),
        "r": pa.array([row[2] for row in rows], pa.float32()),
        "at": pa.array([None if row[3] is None else row[3] * 10**6 for row in rows], pa.timestamp("us", "UTC")),
    }
    pq.write_table(pa.table(columns), folder / "part-0.parquet", row_group_size=4)
    pq.write_table(pa.table({"m": pa.array([10], pa.int64())}), tmp_path / "movies.parquet")
    source = {
        "path": str(folder),
        "format": "table",
        "columns": {"user": "u", "movie": "m", "rating": "r", "timestamp": "at"},
        "movies": str(tmp_path / "movies.parquet"),
    }
    night = _clean(spark, tmp_path / "lake", source)
    assert _kept(night) == {(1, 10): (4.5, 100), (-2, 10): (4.0, 100), (2, 10): (3.0, 100)}
    found = {row["line"]: row["reason"] for row in _table(night, "quarantine")}
    assert found == {line: row[4] for line, row in enumerate(rows, 1) if row[4]}
    assert night.run.manifest("ratings").details["id_type"] == "bigint"


def test_a_scale_that_is_none_is_refused() -> None:
    dialect = Scale(0.5, 5.0, 0.5)
    assert resolve_scale(CleanSettings(rating_max=10), dialect) == Scale(0.5, 10, 0.5)
    for wrong, says in (
        ({"rating_min": 5.0}, "is not a rating scale"),
        ({"rating_max": 0.5}, "is not a rating scale"),
        ({"rating_step": 1e-15}, "has more than 1e\\+15 steps"),
    ):
        with pytest.raises(InputError, match=rf"{says}; set clean\.rating_min"):
            resolve_scale(CleanSettings(**wrong), dialect)


def test_accounts_that_do_not_add_up_are_an_error() -> None:
    Accounts(lines=10, headers=1, kept=5, superseded=2, quarantined={"bad_user_id": 2}).check("ratings")
    with pytest.raises(InputError, match="ratings: 10 lines were read but 9 are accounted for"):
        Accounts(lines=10, headers=1, kept=5, superseded=2, quarantined={"bad_user_id": 1}).check("ratings")


def test_refused_lines_of_other_tables_are_listed_separately(spark: Any, tmp_path: Path) -> None:
    """Both folders hold a file of one name, and the movie table has an empty id and a movie twice."""
    for name in ("ratings", "movies"):
        (tmp_path / name).mkdir()
    (tmp_path / "ratings" / "part-0.csv").write_text(
        "user_id,movie_id,rating,timestamp\n1,a,4.0,1\n,a,4.0,1\n1,a,5,2\n"
    )
    (tmp_path / "movies" / "part-0.csv").write_text("movie_id,title\na,A (1999)\n,B\na,A\n ,C\n")
    table = {"path": str(tmp_path / "ratings"), "format": "table", "ids": "string"}
    night = _clean(spark, tmp_path / "lake", table | {"movies": str(tmp_path / "movies")})
    found = {(row["table"], row["line"]): row["reason"] for row in _table(night, "quarantine")}
    assert found == {
        ("ratings", 3): "missing_user_id",
        ("movies", 3): "missing_movie_id",
        ("movies", 5): "missing_movie_id",
    }
    accounts = night.run.manifest("ratings").details["accounts"]
    assert accounts["ratings"] == {
        "lines": 4, "headers": 1, "kept": 1, "superseded": 1, "quarantined": {"missing_user_id": 1},
        "left_out": {},
    }  # fmt: skip
    assert accounts["movies"] == {
        "lines": 5, "headers": 1, "kept": 1, "superseded": 1, "quarantined": {"missing_movie_id": 2},
        "left_out": {},
    }  # fmt: skip
