"""The unit of times, their order within a second, and the end of what a night may know."""

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgspark.config import load
from kgspark.errors import ConfigError, InputError
from kgspark.night.day import date_of, first_second
from kgspark.night.night import Night
from kgspark.night.settings import NightSettings
from kgspark.spark.cleaning.accounts import Accounts
from kgspark.stages import clean_ratings
from nights import DATE, a_night, configuration

HEADER = "user_id,movie_id,rating,timestamp\n"
TABLE = {"format": "table"}
CLEAN = ("ratings", "quarantine", "seen", "refused_pairs")
MIDNIGHT = first_second(datetime.date.fromisoformat(DATE) + datetime.timedelta(1), "UTC")


def _clean(spark: Any, folder: Path, lines: list[str], lake: str = "lake", date: str = DATE, **source: Any) -> Night:
    (folder / "own.csv").write_text(HEADER + "".join(f"{line}\n" for line in lines))
    given = TABLE | {"path": str(folder / "own.csv")} | source
    night = a_night(folder / lake, spark, source=given, run_date=date, clean={"max_quarantined_share": 0.4})
    clean_ratings.run(night)
    return night


def _times(night: Night) -> list[float]:
    return sorted(row["timestamp"] for row in pq.read_table(night.run.table("ratings")).to_pylist())


def _accounts(night: Night, table: str = "ratings") -> Accounts:
    return Accounts(**night.run.manifest("ratings").details["accounts"][table])


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        (["1600001020", "5", "1600001020.25"], [5.0, 1600001020.0, 1600001020.25]),
        (["1600001020123", "1600001020999"], [1600001020.123, 1600001020.999]),
        (["1600001020123456"], [1600001020.123456]),
        (["1600001020123456789"], [1600001020.123457]),
        (["2020-09-13T14:43:40.5+02:00", "2020-09-13"], [1599955200.0, 1600001020.5]),
        (["1600001020123", "1600001020124", "never"], [1600001020.123, 1600001020.124]),
    ],
)
def test_the_unit_is_found_if_the_times_look_like_one_only(
    spark: Any, tmp_path: Path, times: list[str], seconds: list[float]
) -> None:
    night = _clean(spark, tmp_path, [f"{user},1,4.0,{time}" for user, time in enumerate(times)])
    assert _times(night) == seconds
    assert _accounts(night).quarantined == ({"timestamp_not_a_time": 1} if "never" in times else {})


def test_times_of_two_units_are_asked_about(spark: Any, tmp_path: Path) -> None:
    lines = ["1,1,4.0,1600001020", "2,1,4.0,1600001020000", "3,1,4.0,1600001021"]
    says = r"auto finds times that look like seconds, such as '1600001020' and milliseconds, such as '1600001020000'"
    with pytest.raises(InputError, match=f"^source.timestamp_unit: {says}; set the unit$"):
        _clean(spark, tmp_path, [*lines, "4,1,4.0,1600001022000"])
    night = _clean(spark, tmp_path, [*lines, "4,1,4.0,1600001022"], timestamp_unit="seconds")
    assert _times(night) == [1600001020, 1600001021, 1600001022]


def test_the_fraction_of_a_second_decides_which_rating_is_the_latest(spark: Any, tmp_path: Path) -> None:
    lines = ["1,1,4.0,1600001020250", "1,1,3.0,1600001020251", "2,1,5.0,1600001020250", "2,1,4.0,1600001020249"]
    night = _clean(spark, tmp_path, lines)
    rows = pq.read_table(night.run.table("ratings")).to_pylist()
    assert sorted((row["user_id"], row["rating"], row["timestamp"]) for row in rows) == [
        (1, 3.0, 1600001020.251),
        (2, 5.0, 1600001020.25),
    ]


@pytest.mark.parametrize(
    ("at", "seconds"),
    [
        (pa.array([1600001020123456789], pa.timestamp("ns")), 1599993820.123456),
        (pa.array([1600001020123456789], pa.timestamp("ns", "UTC")), 1600001020.123456),
        (pa.array([1600001020123], pa.timestamp("ms")), 1599993820.123),
        (pa.array([18518], pa.date32()), 1599948000.0),
    ],
)
def test_parquet_times_without_zone_are_those_of_the_source(
    spark: Any, tmp_path: Path, at: pa.Array, seconds: float
) -> None:
    pq.write_table(
        pa.table({"user_id": [1], "movie_id": [1], "rating": [4.0], "timestamp": at}), tmp_path / "own.parquet"
    )
    source = TABLE | {"path": str(tmp_path / "own.parquet"), "timezone": "Europe/Berlin", "timestamp_unit": "iso"}
    night = a_night(tmp_path / "lake", spark, source=source)
    clean_ratings.run(night)
    assert _times(night) == [seconds]


def test_a_night_reads_what_was_before_the_end_of_its_date(spark: Any, tmp_path: Path) -> None:
    """Later lines, good or bad, leave no trace but their number; the end is midnight in the source's zone."""
    until = [
        f"1,1,4.0,{MIDNIGHT - 3600 - 1}",
        f"1,2,4.5,{MIDNIGHT - 3600 - 0.5}",
        f"2,1,9.0,{MIDNIGHT - 99999}",
        f"2,2,3.0,{MIDNIGHT - 99999}",
    ]
    later = [f"1,1,1.0,{MIDNIGHT - 3600}", f"3,3,9.0,{MIDNIGHT}", f"x,3,3.0,{MIDNIGHT}", f"2,1,2.0,{MIDNIGHT + 10**8}"]
    cut = _clean(spark, tmp_path, [*until, *later], timezone="Europe/Berlin")
    said = clean_ratings.run(cut).summary
    whole = _clean(spark, tmp_path, until, lake="whole", timezone="Europe/Berlin")
    for table in CLEAN:
        assert cut.run.manifest(table).content == whole.run.manifest(table).content is not None
    assert _accounts(cut) == Accounts(
        lines=9, headers=1, kept=3, superseded=0, quarantined={"rating_out_of_range": 1}, left_out={"after_run_date": 4}
    )
    assert _accounts(cut).quarantined_share == _accounts(whole).quarantined_share == 0.25
    assert "9 lines = 3 kept + 0 superseded + 4 after_run_date + 1 quarantined" in said


def test_the_next_night_reads_what_the_last_one_left_out(spark: Any, tmp_path: Path) -> None:
    """Lines that the last night left out may be part of tonight, so it is no basis."""
    lines = [f"1,1,4.0,{MIDNIGHT - 10}", f"1,2,4.0,{MIDNIGHT + 10}"]
    _clean(spark, tmp_path, lines)
    night = _clean(spark, tmp_path, lines, date="2026-01-03")
    assert (_accounts(night).kept, _accounts(night).left_out) == (2, {})
    said = clean_ratings.run(night).summary
    assert f"all files are cleaned, because 1 lines that {DATE} has read were after it" in said


def test_a_night_before_all_ratings_says_so(spark: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no rating is left after cleaning: 1 after_run_date are left out"):
        _clean(spark, tmp_path, [f"1,1,4.0,{MIDNIGHT}"])


def test_tags_are_cut_as_the_ratings_are(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n1,T,Drama\n")
    (tmp_path / "ratings.csv").write_text(f"userId,movieId,rating,timestamp\n1,1,4.0,{MIDNIGHT - 1}\n")
    lines = [f"1,1,fun,{MIDNIGHT - 1}", f"1,1,late,{MIDNIGHT}", f"x,1,late,{MIDNIGHT}"]
    (tmp_path / "tags.csv").write_text("userId,movieId,tag,timestamp\n" + "\n".join(lines) + "\n")
    night = a_night(tmp_path / "lake", spark, source={"path": str(tmp_path)})
    clean_ratings.run(night)
    assert [row["tag"] for row in pq.read_table(night.run.table("tags")).to_pylist()] == ["fun"]
    assert _accounts(night, "tags").left_out == {"after_run_date": 2}


def test_without_times_nothing_is_cut_and_the_highest_rating_counts(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("user_id,movie_id,rating\n1,1,4.0\n1,1,5.0\n1,1,3.0\n2,1,2.0\n")
    source = TABLE | {"path": str(tmp_path / "own.csv"), "columns": {"timestamp": None}}
    night = a_night(tmp_path / "lake", spark, source=source)
    said = clean_ratings.run(night).summary
    rows = pq.read_table(night.run.table("ratings")).to_pylist()
    found = sorted((row["user_id"], row["rating"], row["timestamp"]) for row in rows)
    assert found == [(1, 5.0, None), (2, 2.0, None)]
    assert said.endswith(
        "; no rating has a time, so nothing is cut at run_date, and there is no trend, no history and no co_watched"
    )


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"split": {"protocol": "time"}}, "split.protocol=time"),
        ({"split": {"protocol": "leave-one-out"}}, "split.protocol=leave-one-out"),
        ({"evaluate": {"protocol": "nights"}}, "evaluate.protocol=nights"),
        ({"evaluate": {"protocol": "next"}}, "evaluate.protocol=next"),
        ({"train": {"history": {"encoder": "network"}}}, "train.history.encoder=network"),
        ({"train": {"export": {"recent_share": 0.2}}}, "train.export.recent_share=0.2"),
        ({"train": {"export": {"trend_weight": 1}}}, "train.export.trend_weight=1.0"),
        ({"clean": {"repeated": "latest"}}, "clean.repeated=latest"),
        (
            {"relations": {"near": {"table": "co_watched", "head": "movie", "tail": "movie"}}},
            "relations.near",
        ),
    ],
)
def test_what_needs_times_is_refused_without_them(tmp_path: Path, sections: dict[str, Any], key: str) -> None:
    source = {"path": "x", "format": "table", "columns": {"timestamp": None}}
    settings = load(NightSettings, configuration(tmp_path, source=source))
    assert "watched_with" not in settings.relations
    with pytest.raises(ConfigError, match=f"{key} needs the times of ratings, and source.columns.timestamp is null"):
        load(NightSettings, configuration(tmp_path, source=source, **sections))


def test_a_date_begins_at_midnight_of_its_zone() -> None:
    date = datetime.date(2026, 3, 29)  # Berlin's clocks go forward in this night
    assert first_second(date, "Europe/Berlin") == first_second(date, "UTC") - 3600
    next_day = first_second(date + datetime.timedelta(1), "Europe/Berlin")
    assert next_day - first_second(date, "Europe/Berlin") == 23 * 3600
    assert (date_of(next_day - 0.5, "Europe/Berlin"), date_of(next_day, "UTC")) == (date, date)


def test_a_zone_that_is_none_is_refused(tmp_path: Path) -> None:
    conf = configuration(tmp_path, source={"path": "x", "timezone": "Berlin"})
    with pytest.raises(ConfigError, match=r"source.timezone: expected an IANA time zone such as .*, found 'Berlin'"):
        load(NightSettings, conf)
