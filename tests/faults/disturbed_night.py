"""A night in a process of its own, and the death of one of its processes at a chosen moment."""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM, Signals

import psutil

from kgspark.locks import is_locked
from nights import DATE, ROOT, only_line
from processes import left_after, running

STAGES = ("clean-ratings", "index-entities", "write-triples", "train-embeddings", "recommend", "publish")

DRIVER, JVM, PYTHON_WORKER, TRAINING_WORKER, EXECUTOR = (
    "driver", "JVM", "Python worker", "training worker", "executor",
)  # fmt: skip
# What the command line of a kind of process contains.
_SHOWS = {
    DRIVER: "kgspark.cli",
    JVM: "org.apache.spark.deploy.SparkSubmit",
    PYTHON_WORKER: "pyspark.daemon",
    TRAINING_WORKER: "multiprocessing.spawn",
    EXECUTOR: "CoarseGrainedExecutorBackend",
}
# The stages in which a kind has work; the others have it in every stage.
_WORKS_IN = {PYTHON_WORKER: ("recommend", "publish"), TRAINING_WORKER: ("train-embeddings",)}


@dataclass(frozen=True)
class Kill:
    """The death of a process of a night.

    kind    the victim is a random process of this kind, as soon as there is one after the moment
    stage   the moment is in this stage, or later if the stage is shorter than usual
    share   part of the stage's usual time that has passed at the moment; None for a moment close to the stage's commit,
            when it moves its tables into place
    signal  SIGKILL; the driver may get SIGTERM or SIGINT instead, once the night has begun
    """

    kind: str
    stage: str
    share: float | None
    signal: Signals = SIGKILL

    @classmethod
    def draw(cls, rng: random.Random, kinds: Sequence[str], stages: Sequence[str]) -> "Kill | None":
        """A random one in one of the stages; None if no kind has work in them."""
        places = {kind: [stage for stage in stages if stage in _WORKS_IN.get(kind, STAGES)] for kind in kinds}
        kind = rng.choice([kind for kind in kinds if places[kind]] or [""])
        if not kind:
            return None
        stage, share = rng.choice(places[kind]), rng.random()
        if kind != DRIVER:
            return cls(kind, stage, share)
        return cls(kind, stage, rng.choice((share, share, None)), rng.choice((SIGKILL, SIGKILL, SIGTERM, SIGINT)))

    def __str__(self) -> str:
        place = "the commit of " if self.share is None else ""
        return f"{self.signal.name} of {self.kind} in {place}{self.stage}"


@dataclass
class Clock:
    """The usual seconds of each stage, learned from the stages that ended."""

    seconds: dict[str, float] = field(default_factory=lambda: dict(zip(STAGES, (6, 1, 1, 1, 3, 3), strict=True)))


class DisturbedNight:
    """A running night. `finished` has the stages that have ended, in order."""

    def __init__(
        self, conf: Path, lake: Path, clock: Clock, cluster: Sequence[psutil.Process] = (), command: str = "nightly"
    ) -> None:
        """Starts the command. Temporary files are in the new folder `scratch` beside the configuration.

        cluster  the processes below which a cluster starts executors
        """
        self._clock, self._cluster, self._folder = clock, cluster, lake / "runs" / DATE
        self._scratch, self._errors = conf.with_name("scratch"), conf.with_name("errors")
        self.finished: list[str] = []
        self._scratch.mkdir(exist_ok=True)
        with open(self._errors, "wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "kgspark.cli", command, str(conf)],
                cwd=ROOT,
                env=os.environ | {"TMPDIR": str(self._scratch)},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        begun = time.monotonic()
        for line in self.process.stdout:
            stage = line.partition(" ")[0]
            if stage in STAGES:
                if "up to date" not in line:
                    self._clock.seconds[stage] = time.monotonic() - begun
                self.finished.append(stage)
                begun = time.monotonic()

    def works(self) -> bool:
        """True if a process has the lock of the night."""
        return is_locked(self._folder)

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Waits for a condition, or for the end of the command."""
        while self.process.poll() is None and not condition():
            time.sleep(0.004)

    def die(self, kill: Kill, rng: random.Random) -> bool:
        """Kills, and waits for the end, which must be clean; False if the night ended before."""
        before = STAGES.index(kill.stage)
        self.wait_until(lambda: len(self.finished) >= before)
        if kill.signal != SIGKILL:
            self.wait_until(self.works)
        if kill.share is None:
            staged = self._folder / ".staging" / kill.stage
            self.wait_until(lambda: any(staged.glob("*/_manifest.json")) or len(self.finished) > before)
            moment = time.monotonic() + rng.uniform(0, 0.02)
        else:
            moment = time.monotonic() + kill.share * self._clock.seconds[kill.stage]
        self.wait_until(lambda: time.monotonic() >= moment)
        victims: list[psutil.Process] = []
        self.wait_until(lambda: victims.extend(self._of_kind(kill.kind)) or victims)
        if not victims or self.process.poll() is not None:
            return False
        rng.choice(victims).send_signal(kill.signal)
        self._check_end(kill)
        return True

    def end(self) -> None:
        """Waits for a good end."""
        assert self.process.wait(600) == 0, self._errors.read_text()
        self._reader.join()

    def _of_kind(self, kind: str) -> list[psutil.Process]:
        if kind == DRIVER:
            return [psutil.Process(self.process.pid)]
        return [each for each in self._processes() if _SHOWS[kind] in " ".join(each.cmdline())]

    def _processes(self) -> list[psutil.Process]:
        """All processes of the night: they inherit its temporary folder. On a cluster, those below its workers too."""
        own = [each for each in psutil.process_iter() if _temporary_folder(each).startswith(str(self._scratch))]
        return running([*own, *(child for worker in self._cluster for child in worker.children(recursive=True))])

    def _check_end(self, kill: Kill) -> None:
        """The command ends with one line, or well if it did not need the victim any more; nothing of it stays."""
        code = self.process.wait(120)
        if kill.kind == DRIVER and kill.signal == SIGKILL:
            assert code == -SIGKILL
        elif code != 0:
            assert code == (128 + kill.signal if kill.kind == DRIVER else 1), self._errors.read_text()
            only_line(subprocess.CompletedProcess([], code, "", self._errors.read_text()))
        assert left_after(self._processes(), 5) == []
        self._reader.join()


def _temporary_folder(process: psutil.Process) -> str:
    try:
        return process.environ().get("TMPDIR", "")
    except psutil.Error:
        return ""
