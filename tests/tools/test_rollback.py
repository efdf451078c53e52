"""`kgspark rollback`: an earlier night becomes current again in every target, or nothing changes."""

import json
from pathlib import Path
from typing import Any

import pytest

from kgspark.cli import main
from kgspark.cli.commands import COMMANDS
from kgspark.errors import ConfigError, StageError
from kgspark.night.night import Night
from kgspark.night.reads import each_target
from kgspark.runs import Run
from kgspark.stages import publish
from kgspark.tables import RANKED
from kgspark.tools import nights, rollback
from kgspark.warehouse.settings import KeepSettings
from nights import a_night, configuration
from worlds.published import by_folder, by_pointer, only, rank

DATES = ("2026-02-01", "2026-02-02", "2026-02-03")
TARGETS = ["files", "delta"]


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Three dates in two targets, of the models 0, 1 and 2."""
    for number, date in enumerate(DATES):
        night = night_of(tmp_path / "lake", date)
        rank(night.run, str(number))
        each_target(night, lambda name, target, run=night.run: target.publish(run, RANKED))
    return tmp_path / "lake"


def night_of(lake: Path, date: str, say: Any = print, targets: list[str] = TARGETS) -> Night:
    return a_night(lake, say=say, run_date=date, source={"path": "none"}, publish={"targets": targets})


def current(lake: Path) -> dict[str, str]:
    """The model that is current in each target."""
    newest = each_target(night_of(lake, DATES[0]), lambda name, target: next(iter(target.held(lake).values())))
    return newest | {"files": by_pointer(lake)[0]}


def test_all_targets_go_back_and_the_next_publication_goes_on(lake: Path, tmp_path: Path) -> None:
    assert current(lake) == dict.fromkeys(TARGETS, "2")
    said: list[str] = []
    rollback.run(night_of(lake, DATES[0], said.append))
    assert current(lake) == dict.fromkeys(TARGETS, "0")
    assert [line.split()[0] for line in said] == TARGETS
    assert "_latest.json names 2026-02-01-" in said[0]
    assert all(f"removed {DATES[2]}, {DATES[1]}" in line for line in said[1:])
    assert by_folder(Run(lake, DATES[2])) == only("2")
    night = night_of(lake, DATES[2])
    each_target(night, lambda name, target: target.publish(night.run, RANKED))
    assert current(lake) == dict.fromkeys(TARGETS, "2")


def test_only_the_named_targets_go_back(lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = configuration(tmp_path, lake=str(lake), source={"path": "none"}, publish={"targets": TARGETS})
    assert main(["rollback", str(path), DATES[1], "delta", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer == {"run_date": DATES[1], "targets": {"delta": f"removed {DATES[2]}"}}
    assert current(lake) == {"files": "2", "delta": "1"}


def test_a_date_that_one_target_lacks_changes_none(lake: Path) -> None:
    rollback.run(night_of(lake, DATES[0], targets=["delta"]))
    with pytest.raises(StageError) as caught:
        rollback.run(night_of(lake, DATES[1]))
    assert str(caught.value) == f"delta: {DATES[1]} is not published here; published: {DATES[0]}"
    assert current(lake) == {"files": "2", "delta": "0"}


def test_a_damaged_version_is_not_made_current(lake: Path) -> None:
    [damaged, *_] = lake.glob(f"warehouse/_versions/{DATES[1]}-*/audiences/*.parquet")
    damaged.write_bytes(b"")
    with pytest.raises(StageError, match=f"the version of {DATES[1]} is damaged, so _latest.json is not changed"):
        rollback.run(night_of(lake, DATES[1], targets=["files"]))
    assert by_pointer(lake)[0] == "2"


def test_keep_removes_old_dates_of_every_target(lake: Path) -> None:
    said: list[str] = []
    night = night_of(lake, DATES[2], said.append)
    publish._remove_old(night.variant(night.settings.model_copy(update={"keep": KeepSettings(published=2)})), None)
    held = each_target(night, lambda name, target: list(target.held(lake)))
    assert held == {name: [DATES[2], DATES[1]] for name in TARGETS}
    assert [line.strip() for line in said if "keep: removed dates of" in line] == [
        f"keep: removed dates of {name}: {DATES[0]}" for name in TARGETS[1:]
    ]


def test_words_after_the_configuration_are_the_date_and_the_targets() -> None:
    command = COMMANDS["rollback"]
    assert command.overrides(["2026-01-02", "a=b"]) == ["run_date=2026-01-02", "a=b"]
    assert command.overrides(["2026-01-02", "files", "delta"]) == [
        "run_date=2026-01-02", "publish.targets=[files, delta]"
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"^command line: expected a value of run_date after CONF$"):
        command.overrides(["a=b"])
    assert COMMANDS["publish"].overrides(["files"]) == ["files"]


def test_nights_tells_what_each_target_holds(lake: Path) -> None:
    said: list[str] = []
    told = nights.run(night_of(lake, DATES[0], said.append, [*TARGETS, "hive"]))
    assert told["targets"] == {
        **{name: {date: str(number) for number, date in enumerate(DATES)} for name in TARGETS[1:]},
        "hive": None,
    }
    assert f"delta: 3 dates, newest {DATES[2]}, oldest {DATES[0]}" in said
    assert "hive: not asked: " in said[-1]
