"""A night runs a stage if necessary, and prints one line about it."""

from pathlib import Path

import pytest

from kgspark.files import TableFiles, describe_folder, write_atomically
from kgspark.logs import STAGE
from kgspark.manifests import Manifest
from kgspark.night.night import Night
from kgspark.night.reads import search_spaces
from kgspark.runs import Outcome, StageWork
from nights import a_night


def _count(night: Night, work: StageWork) -> None:
    """A stage that writes the number of its runs."""
    before = Manifest.read(night.run.table("counts"))
    folder = work.begin()["counts"]
    folder.mkdir()
    write_atomically(folder / "note", "text")
    runs = 1 + (before.details["runs"] if before else 0)
    work.commit({"counts": TableFiles(describe_folder(folder))}, {"counts": {"runs": runs}})


def _summary(night: Night) -> str:
    return f"ran {night.run.manifest('counts').details['runs']} times"


def _run(night: Night, intact: bool = True, **settings: int) -> Outcome:
    work = StageWork.plan(night.run, "count", writes=("counts",), settings=settings)
    return night.stage(work, _count, _summary, lambda night: intact)


def test_a_stage_runs_for_new_settings_or_a_loss_outside_the_night_and_else_not(tmp_path: Path) -> None:
    night = a_night(tmp_path, source={"path": "x"})
    runs = [_run(night), _run(night), _run(night, k=1), _run(night, intact=False, k=1), _run(night, k=1)]
    assert [outcome.ran for outcome in runs] == [True, False, True, True, False]
    assert [outcome.summary for outcome in runs] == [f"ran {count} times" for count in (1, 1, 2, 3, 3)]
    assert night.outcomes == runs


def test_what_a_kill_at_the_end_of_a_commit_left_is_removed_by_the_next_call(tmp_path: Path) -> None:
    night = a_night(tmp_path, source={"path": "x"})
    _run(night)
    earlier = night.run.folder / ".staging" / "count" / "counts"
    earlier.mkdir(parents=True)
    (earlier / "note").write_text("the table of an earlier run")
    assert not _run(night).ran
    assert list((night.run.folder / ".staging").iterdir()) == []


def test_only_a_night_with_audiences_writes_their_search_space(tmp_path: Path) -> None:
    nights = [a_night(tmp_path, source={"path": "x"}, audiences={"enabled": enabled}) for enabled in (True, False)]
    assert [search_spaces(night) for night in nights] == [["search_space", "audience_space"], ["search_space"]]


def test_every_line_has_the_same_columns(tmp_path: Path) -> None:
    said: list[str] = []
    night = a_night(tmp_path, say=said.append, source={"path": "x"})
    _run(night)
    _run(night)
    night.note("a further word")
    night.note("all done", "trial 3", "1.5 s")
    starts = [line.index(text) for line, text in zip(said, ("ran", "ran", "a further", "all done"), strict=True)]
    assert starts == [30] * 4
    assert said[1] == "count            up to date   ran 1 times"
    assert said[3] == "trial 3               1.5 s   all done"


def test_json_lines_name_their_stage(tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []
    night = a_night(tmp_path, say=lambda text: said.append((STAGE.get(), text.split()[0])), source={"path": "x"})
    _run(night)
    night.say("afterwards")
    assert said == [("count", "count"), (STAGE.get(), "afterwards")] != [("count", "count"), ("count", "afterwards")]


def test_an_error_in_a_stage_leaves_no_outcome(tmp_path: Path) -> None:
    night = a_night(tmp_path, source={"path": "x"})
    work = StageWork.plan(night.run, "count", writes=("counts",), settings={})

    def fail(night: Night, work: StageWork) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        night.stage(work, fail, _summary)
    assert night.outcomes == []
    assert not work.is_current()
