"""`kgspark nightly --dry-run`: which stages would run and why. It changes nothing, and starts no JVM."""

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from kgspark.cli.commands import COMMANDS
from kgspark.errors import InputError, StageError
from kgspark.files import describe_folder
from kgspark.night.night import LazySession, Night
from kgspark.runs import Run, StageWork
from kgspark.tools import dry_run
from nights import DATE, a_small_night


class NoSpark(LazySession):
    """A session that must not start."""

    def get(self, settings: Any) -> Any:
        raise AssertionError("a dry run starts no JVM")


def planned(folder: Path, **changes: object) -> tuple[dict[str, Any], list[str]]:
    """What a dry run says of the small night with changed sections."""
    printed: list[str] = []
    night = a_small_night(folder / "source", folder / "lake", None, printed.append, **changes)
    return dry_run.run(Night(night.settings, printed.append, NoSpark(ExitStack()))), printed


def runs(answer: dict[str, Any]) -> dict[str, bool | None]:
    return {each["stage"]: each["runs"] for each in answer["stages"]}


def test_nothing_is_to_do_and_nothing_changes(small_night: Path) -> None:
    before = describe_folder(small_night / "lake" / "runs" / DATE / "ratings")
    names = sorted(small_night.rglob("*"))
    answer, printed = planned(small_night)
    assert not any(runs(answer).values())
    assert "Nothing to do" in printed[-1]
    assert sorted(small_night.rglob("*")) == names
    assert describe_folder(small_night / "lake" / "runs" / DATE / "ratings") == before


def test_a_changed_key_and_what_follows(small_night: Path) -> None:
    answer, printed = planned(small_night, train={"dim": 16, "epochs": 2, "device": "cpu", "threads": 1})
    assert [name for name, would in runs(answer).items() if would] == ["train-embeddings", "recommend", "publish"]
    assert any("train.dim has another value" in line for line in printed)
    assert answer["estimated_by"] == DATE
    assert answer["seconds"] > 0
    assert answer["peak_bytes"] > 0


def test_text_ids_are_refused_as_a_night_would(tmp_path: Path) -> None:
    rows = "".join(f"u{n},m{n},4.0,{1_600_000_000 + n}\n" for n in range(20))
    (tmp_path / "own.csv").write_text(f"user_id,movie_id,rating,timestamp\n{rows}")
    with pytest.raises(InputError, match=r"'u0' is no whole number: set source\.ids=string"):
        planned(tmp_path, source={"path": str(tmp_path / "own.csv"), "format": "table"})


def test_an_empty_lake(small_night: Path, tmp_path: Path) -> None:
    (tmp_path / "source").symlink_to(small_night / "source")
    answer, printed = planned(tmp_path)
    assert all(runs(answer).values())
    assert "no table ratings yet" in printed[0]
    assert answer["seconds"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_changed_files(small_night: Path) -> None:
    run = Run(small_night / "lake", DATE)
    found = run.manifest("ratings")
    work = StageWork(run, found.stage, ("ratings",), {}, {**found.sources, "movies": "another"}, found.settings)
    assert dry_run._reason(work) == "the source movies has changed"


def test_a_damaged_table(small_night: Path, tmp_path: Path) -> None:
    shutil.copytree(small_night / "lake", tmp_path / "lake")
    next((tmp_path / "lake" / "runs" / DATE / "recommendations").glob("*.parquet")).write_bytes(b"x")
    printed: list[str] = []
    night = a_small_night(small_night / "source", tmp_path / "lake", None, printed.append)
    answer = dry_run.run(Night(night.settings, printed.append, NoSpark(ExitStack())))
    assert next(name for name, would in runs(answer).items() if would) == "recommend"
    assert any("when it was written" in line for line in printed)


def test_a_stage_that_needs_spark_may_run(tmp_path: Path) -> None:
    source = {"format": "spark", "table": "shop.ratings"}
    printed: list[str] = []
    night = a_small_night(tmp_path, tmp_path / "lake", None, printed.append, source=source)
    answer = dry_run.run(Night(night.settings, printed.append, NoSpark(ExitStack())))
    assert runs(answer)["clean-ratings"] is None


def test_what_stops_a_night_stops_a_dry_run(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="warm_start"):
        planned(tmp_path, train={"warm_start": DATE})


def test_the_option_takes_the_place_of_the_command() -> None:
    chosen = COMMANDS["nightly"].chosen({"dry_run": True})
    assert (chosen.module, chosen.locks) == ("kgspark.tools.dry_run", False)
    assert COMMANDS["nightly"].chosen({}) is COMMANDS["nightly"]
