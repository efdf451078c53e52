"""A shop's events without ratings, by a range of nights: each knows what was before the end of its date."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kgspark.manifests import Manifest
from nights import configuration, kgspark, only_line
from worlds.shop import DAYS, events, write_shop

FIRST, SECOND = DAYS[1:]


def _configuration(folder: Path, lines: list[str]) -> Path:
    return configuration(
        folder,
        lake=str(folder / "lake"),
        source=write_shop(folder / "in", lines),
        train={"dim": 8, "epochs": 2, "device": "cpu", "threads": 1},
        recommend={"k": 3},
        audiences={"k": 3},
        publish={"beat_popularity": False},
        spark={"master": "local[2]"},
    )


def _contents(lake: Path, date: str) -> dict[str, Any]:
    """The content of each table of a night, or the checksums of its files, by the table's name."""
    found = [Manifest.read(path) for path in sorted((lake / "runs" / date).iterdir()) if path.is_dir()]
    return {
        manifest.table: manifest.content or sorted((file.name, file.sha256) for file in manifest.files)
        for manifest in found
        if manifest is not None and manifest.table != "published"
    }


@pytest.mark.extended
def test_a_backfill_does_not_see_later_events_and_stops_at_the_first_failure(tmp_path: Path) -> None:
    """On the second date, many events have no SKU. The first night equals one on a source that ends with its date."""
    known = [event.line for event in events() if event.day <= FIRST]
    later = [event.line for event in events() if event.day > FIRST] + [f"{SECOND}T20:00:00,v-000,,view"] * 200
    conf = _configuration(tmp_path / "all", [*later, *known])
    failed = kgspark("nightly", conf, f"run_date={FIRST}..2026-03-05")
    assert failed.returncode == 65
    error = only_line(failed)
    assert f"error: the night of {SECOND}, 2 of 5: " in error
    assert "200 missing_movie_id" in error
    said = [f"The night of {date}, " in failed.stdout for date in (FIRST, SECOND, "2026-03-03")]
    assert said == [True, True, False]
    assert f" {len(later):,} after_run_date + 0 quarantined" in failed.stdout

    whole = kgspark("--json", "nightly", _configuration(tmp_path / "known", known), f"run_date={FIRST}..{FIRST}")
    assert whole.returncode == 0, whole.stderr
    assert [answer["run_date"] for answer in json.loads(whole.stdout)] == [FIRST]
    lakes = [tmp_path / name / "lake" for name in ("all", "known")]
    assert _contents(lakes[0], FIRST) == _contents(lakes[1], FIRST)

    rows = [pq.read_table(lake / "warehouse" / "recommendations").to_pylist() for lake in lakes]
    lists = [[(row["user_id"], row["rank"], row["movie_id"]) for row in table] for table in rows]
    assert sorted(lists[0]) == sorted(lists[1])


@pytest.mark.extended
def test_a_range_stops_at_the_first_night_that_fails(tmp_path: Path) -> None:
    conf = _configuration(tmp_path, ["no,event,of,any", "kind"])
    failed = kgspark("nightly", conf, f"run_date={FIRST}..2026-03-05")
    assert failed.returncode == 65
    assert f"error: the night of {FIRST}, 1 of 5: " in only_line(failed)
    assert "2 of 5" not in failed.stdout


@pytest.mark.parametrize(
    ("command", "dates", "says"),
    [
        ("nightly", "2026-03-07..2026-03-01", "expected FIRST..LAST, two dates as YYYY-MM-DD in this order, found"),
        ("nightly", "2026-03-07..tomorrow", "expected FIRST..LAST, two dates as YYYY-MM-DD in this order, found"),
        ("publish", "2026-03-01..2026-03-07", "or latest; a range of dates is an argument of kgspark nightly, found"),
    ],
)
def test_a_range_that_is_none_and_one_for_another_command_are_one_line(
    tmp_path: Path, command: str, dates: str, says: str
) -> None:
    error = only_line(kgspark(command, configuration(tmp_path, source={"path": "x"}), f"run_date={dates}"))
    assert "command line: run_date: expected " in error
    assert says in error
