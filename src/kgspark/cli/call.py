"""Runs a command of a night in this process: for the command line, and for notebooks (`kgspark.api`)."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from kgspark import config
from kgspark.cli.commands import Command
from kgspark.cli.observed import observed
from kgspark.night.night import Night, open_night
from kgspark.night.settings import NightSettings
from kgspark.runs import Outcome

if TYPE_CHECKING:
    from kgspark.spark.frames import SparkSession


def run_command(
    command: Command,
    conf: str | Path,
    overrides: Sequence[str],
    say: Callable[[str], None],
    opened: Callable[[Path], None] = lambda folder: None,
    spark: "SparkSession | None" = None,
) -> object:
    """The command's result, which `--json` prints.

    opened  called with the night's folder before any work
    spark   the session to work in; None for the one of `spark.session.spark_session`
    """
    questions = [command.questions(overrides)] if command.asks else []
    settings = config.load(NightSettings, Path(conf), command.overrides(overrides))
    # The stages import their engines, which takes seconds; an error of the configuration comes before.
    module = import_module(command.module)
    with open_night(settings, say, command.locks, spark) as night:
        opened(night.run.folder)
        _check_earlier_stages(night, command)
        with observed(night, command.observed_as) if command.observed_as else nullcontext():
            answer = module.run(night, *questions)
        # A stage returns its outcome, every other command the object that --json prints.
        return {"stages": [vars(answer)]} if isinstance(answer, Outcome) else answer


def _check_earlier_stages(night: Night, command: Command) -> None:
    package, _, stage = command.module.rpartition(".")
    if package != "kgspark.stages":
        return
    from kgspark.stages.nightly import STAGES, check_earlier_stages

    if stage in STAGES:
        check_earlier_stages(night, stage)
