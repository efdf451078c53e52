"""Nights that are killed at random moments end, with the same command again, like a night that nobody disturbed."""

import json
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from faults.disturbed_night import (
    DRIVER,
    EXECUTOR,
    JVM,
    PYTHON_WORKER,
    STAGES,
    TRAINING_WORKER,
    Clock,
    DisturbedNight,
    Kill,
)
from faults.scale import seeds, trials
from nights import DATE, configuration, kgspark, only_line, table_bytes, table_contents
from standalone_cluster import JAVA_OPTIONS, standalone_cluster
from worlds.tastes import write_world

pytestmark = pytest.mark.slow

PUBLISHED = ("recommendations", "audiences")
# What tells of one process: its trace, and the seconds of a night in which every stage ran.
OF_ONE_PROCESS = re.compile(rf"runs/{DATE}/(trace-.*\.log|times\.json)")


@dataclass(frozen=True)
class Setting:
    """A kind of night: which processes may die, and what differs in the configuration."""

    kinds: Sequence[str]
    spark: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    cluster: Sequence[psutil.Process] = ()


ALONE = Setting((DRIVER, JVM, PYTHON_WORKER))
TEAM = Setting((DRIVER, TRAINING_WORKER), train={"workers": 2})


def conf(folder: Path, source: Path, setting: Setting = ALONE) -> Path:
    """The cheapest night that runs all stages."""
    few = {"spark.sql.codegen.wholeStage": False, "spark.sql.shuffle.partitions": 2}
    left_out = ("released_in", "watched_with", "has_gender", "has_age", "has_occupation", "tagged")
    return configuration(
        folder,
        source={"path": str(source)},
        lake=str(folder / "lake"),
        spark={"master": "local[1]", "driver_memory": "512m", "conf": few} | setting.spark,
        relations=dict.fromkeys(left_out),
        train={"dim": 16, "epochs": 1} | setting.train,
        recommend={"k": 5},
        audiences={"k": 5},
        publish={"beat_popularity": False},
    )


@dataclass(frozen=True)
class Made:
    """What a night made: hashes of the published files, the content of its tables, and the names of its files."""

    published: dict[str, list[str]]
    contents: dict[str, str]
    names: list[str]

    @classmethod
    def in_lake(cls, lake: Path) -> "Made":
        """Of the only night of a lake."""
        names = [str(path.relative_to(lake)) for path in sorted(lake.rglob("*"))]
        kept = [name for name in names if not OF_ONE_PROCESS.fullmatch(name)]
        return cls({table: table_bytes(lake, table) for table in PUBLISHED}, table_contents(lake), kept)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    write_world(folder, groups=3, users=12, movies=6)
    return folder


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Setting], Made]:
    """What a night makes that nobody disturbs. Training in a team makes other weights; a cluster changes nothing."""
    known: dict[str, Made] = {}

    def made(setting: Setting) -> Made:
        key = json.dumps(setting.train)
        if key not in known:
            folder = tmp_path_factory.mktemp("undisturbed")
            done = kgspark("nightly", conf(folder, source, Setting((), train=setting.train)))
            assert done.returncode == 0, done.stderr
            known[key] = Made.in_lake(folder / "lake")
        return known[key]

    return made


def left_in(scratch: Path, seconds: float) -> list[str]:
    """The scratch folders that are there after so many seconds; the JVM removes its own when it ends."""
    until = time.monotonic() + seconds
    while (left := [path.name for path in scratch.glob("*/*")]) and time.monotonic() < until:
        time.sleep(0.1)
    return left


@pytest.fixture
def attempt(tmp_path: Path, source: Path) -> Callable[..., DisturbedNight]:
    """Starts a night, or one command on it, again and again in one lake, with one folder for temporary files."""
    clock = Clock()

    def start(setting: Setting = ALONE, folder: Path = tmp_path, command: str = "nightly") -> DisturbedNight:
        given = conf(folder, source, setting)
        return DisturbedNight(given, folder / "lake", clock, setting.cluster, command)

    return start


def check_end(folder: Path, expected: Made) -> None:
    """The night has made what it should, and nothing else is left."""
    assert Made.in_lake(folder / "lake") == expected
    assert left_in(folder / "scratch", 5) == []


@pytest.mark.extended
def test_a_kill_changes_nothing_and_a_night_refuses_others(
    undisturbed: Callable[[Setting], Made], attempt: Callable[..., DisturbedNight], tmp_path: Path
) -> None:
    expected = undisturbed(ALONE)
    rng = random.Random(21)
    assert attempt().die(Kill(PYTHON_WORKER, "recommend", 0), rng)
    last = attempt()
    check_refused(last, tmp_path, ("nightly", "publish"))
    last.end()
    check_end(tmp_path, expected)


@pytest.mark.extended
def test_a_stage_refuses_a_night(attempt: Callable[..., DisturbedNight], tmp_path: Path) -> None:
    stage = attempt(command="clean-ratings")
    check_refused(stage, tmp_path, ("nightly",))
    stage.end()


def check_refused(running: DisturbedNight, folder: Path, commands: Sequence[str]) -> None:
    """Other commands on the same night end with a line and a code of their own, while `running` has the night."""
    running.wait_until(running.works)
    for command in commands:
        done = kgspark(command, folder / "night.yaml")
        assert running.process.poll() is None
        assert done.returncode == 75
        assert "another kgspark process is working on this night; wait for it or stop it" in only_line(done)


@pytest.fixture
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Setting]]:
    """The kinds of nights, the frequent one more than once; on a cluster of one worker, an executor may die too."""
    with standalone_cluster(tmp_path_factory.mktemp("cluster"), workers=1, memory="512m") as master:
        conf = {"spark.executor.memory": "512m", "spark.executor.extraJavaOptions": JAVA_OPTIONS}
        daemons = [each for each in psutil.Process().children() if "worker.Worker" in " ".join(each.cmdline())]
        kinds = (DRIVER, JVM, EXECUTOR, PYTHON_WORKER)
        yield [ALONE, ALONE, TEAM, Setting(kinds, {"master": master, "conf": conf}, cluster=daemons)]


@pytest.mark.faults
@pytest.mark.extended
def test_kills_at_random_moments_change_nothing(
    undisturbed: Callable[[Setting], Made],
    attempt: Callable[..., DisturbedNight],
    settings: list[Setting],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    kills, enough = 0, trials(4, 200)
    for seed in seeds():
        rng, folder = random.Random(seed), tmp_path / str(seed)
        setting = rng.choice(settings)
        told: list[str] = []
        try:
            kill_until_it_ends(lambda setting=setting, folder=folder: attempt(setting, folder), setting, rng, told)
            check_end(folder, undisturbed(setting))
        finally:
            kills += len(told)
            with capfd.disabled():
                print(f"seed {seed}: {'; '.join(told)}: {kills} of {enough} kills", flush=True)
        shutil.rmtree(folder)
        if kills >= enough:
            break


def kill_until_it_ends(
    start: Callable[[], DisturbedNight], setting: Setting, rng: random.Random, told: list[str]
) -> None:
    """Kills a night some times, and lets it end; appends each kill to `told`."""
    finished = 0
    for _ in range(rng.randint(1, 6)):
        kill = Kill.draw(rng, setting.kinds, STAGES[finished:])
        night = start()
        if kill is None:
            return night.end()
        told.append(str(kill))
        if not night.die(kill, rng):
            told.pop()
            return night.end()
        if night.process.returncode == 0:
            return None
        finished = len(night.finished)
    return start().end()
