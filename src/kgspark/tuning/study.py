"""The search itself: proposals from Optuna's TPE, a journal from which a killed search continues, and pruning.

A proposal depends only on the seed, the trial's number and the trials before it, not on the memory of a process. So a
search that was killed and called again makes the same proposals as an uninterrupted one.
"""

import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from kgspark.errors import StageError
from kgspark.tuning.settings import Dimension, TuneSettings, Value
from kgspark.tuning.space import Changes, Space, matching

JOURNAL = "journal.log"
_STUDY = "tune"
# Trials are compared at tenths of their epochs, because the step size depends on the fraction that is done.
_STEPS = 10
# Number of complete trials that a median needs before it stops other trials.
_COMPLETE_BEFORE_PRUNING = 5

Report = Callable[[int, int, float], None]
"""Called with epoch, number of epochs and validation metric; raises PrunedError if the trial should end."""
Objective = Callable[[Changes, Report], float]
State = Literal["complete", "pruned", "failed"]


class PrunedError(Exception):
    """Ends a trial that is worse than the others; this is not a failure."""


@dataclass(frozen=True)
class Trial:
    """A trial that has ended.

    changes  the changed settings; for trial 0, the given values of the keys in the space
    value    the validation metric of a complete trial
    seconds  wall-clock
    reason   one line, for a failed trial
    """

    number: int
    state: State
    value: float | None
    changes: dict[str, Value]
    epochs: int
    seconds: float
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


class Search:
    """A search in a folder that no other process uses."""

    def __init__(self, folder: Path, space: Space, settings: TuneSettings, given: Changes, fingerprint: str) -> None:
        """Opens or begins the search; StageError if `folder` has a search with other data, space or settings.

        given  the given settings by dotted key; trial 0 omits keys whose value is outside the space
        """
        self._space, self._settings = space, settings
        self._given = {key: found for key in space if (found := matching(space[key], given[key])) is not None}
        _cut_torn_line(folder / JOURNAL)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(folder / JOURNAL), _FolderIsLocked(str(folder / JOURNAL)))),
            study_name=_STUDY,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=_COMPLETE_BEFORE_PRUNING, n_warmup_steps=math.ceil(_STEPS * settings.prune_after)
            ),
        )
        begun_with = self._study.user_attrs.get("fingerprint")
        if begun_with is None:
            self._study.set_user_attr("fingerprint", fingerprint)
        elif begun_with != fingerprint:
            raise StageError(
                f"{folder}: this search began with other data, space or settings; choose another tune.name"
            )
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)  # a kill interrupted it, so it is repeated

    def trials(self) -> list[Trial]:
        """The trials that have ended, by number; interrupted ones have no number."""
        finished = self._study.get_trials(
            deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        )
        decided = [trial for trial in finished if trial.state != TrialState.FAIL or "reason" in trial.user_attrs]
        return [_as_trial(number, trial) for number, trial in enumerate(decided)]

    def run(self, objective: Objective, ended: Callable[[Trial], None]) -> None:
        """Runs trials until there are `trials` of them or `minutes` have passed; calls `ended` with each.

        `objective` gets the changes of a trial and returns its validation metric; higher is better. If it raises
        StageError, the trial has failed, and the search continues; any other error ends the search.
        """
        minutes = self._settings.minutes
        until = math.inf if minutes is None else time.monotonic() + 60 * minutes
        while (number := len(self.trials())) < self._settings.trials and time.monotonic() < until:
            self._run_trial(number, objective)
            ended(self.trials()[number])

    def _run_trial(self, number: int, objective: Objective) -> None:
        begun = time.perf_counter()
        trial = self._ask(number)
        progress = _Progress(trial)
        outcome: dict[str, Any]
        reason = None
        try:
            outcome = {"values": objective({} if number == 0 else trial.params, progress.report)}
        except PrunedError:
            outcome = {"state": TrialState.PRUNED}
        except StageError as error:
            outcome, reason = {"state": TrialState.FAIL}, " ".join(str(error).split())
        trial.set_user_attr("epochs", progress.epoch)
        trial.set_user_attr("seconds", round(time.perf_counter() - begun, 3))
        if reason is not None:
            trial.set_user_attr("reason", reason)
        self._study.tell(trial, **outcome)

    def _ask(self, number: int) -> optuna.trial.Trial:
        seed = np.random.SeedSequence([self._settings.seed, number]).generate_state(1)[0]
        self._study.sampler = optuna.samplers.TPESampler(
            seed=int(seed), n_startup_trials=self._settings.random, multivariate=True, constant_liar=False
        )
        if number == 0 and not self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            self._study.enqueue_trial(self._given)
        asked = self._space if number else {key: self._space[key] for key in self._given}
        return self._study.ask({key: _distribution(dimension) for key, dimension in asked.items()})


class _Progress:
    """Reports a trial's best value so far to Optuna, at every tenth of its epochs."""

    def __init__(self, trial: optuna.trial.Trial) -> None:
        self._trial, self._tenths, self._best = trial, 0, -math.inf
        self.epoch = 0

    def report(self, epoch: int, epochs: int, value: float) -> None:
        """Raises PrunedError if the trial is worse than the others; not after the last epoch, when it is complete."""
        self.epoch, self._best = epoch, max(self._best, value)
        reached = epoch * _STEPS // epochs
        for tenth in range(self._tenths + 1, reached + 1):
            self._trial.report(self._best, tenth)
        self._tenths = reached
        if epoch < epochs and self._trial.should_prune():
            raise PrunedError


class _FolderIsLocked(JournalFileOpenLock):
    """No lock: no other process writes here, and Optuna's lock file would remain after a kill."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return None


def best_of(trials: list[Trial]) -> Trial:
    """The complete trial with the highest value, the first one of equal trials; StageError if none is complete."""
    complete = [trial for trial in trials if trial.value is not None]
    if not complete:
        reasons = {trial.reason for trial in trials if trial.reason}
        advice = f": {'; '.join(sorted(reasons))}" if reasons else "; raise tune.minutes"
        raise StageError(f"tune: none of {len(trials)} trials is complete{advice}")
    return max(complete, key=lambda trial: (trial.value, -trial.number))


def _as_trial(number: int, trial: FrozenTrial) -> Trial:
    states: dict[TrialState, State] = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}
    attributes = trial.user_attrs
    return Trial(
        number=number,
        state=states.get(trial.state, "failed"),
        value=trial.value if trial.state == TrialState.COMPLETE else None,
        changes=dict(trial.params),
        epochs=attributes["epochs"],
        seconds=attributes["seconds"],
        reason=attributes.get("reason", ""),
    )


def _distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.choices is not None:
        return CategoricalDistribution(dimension.choices)
    low, high = dimension.low, dimension.high
    if dimension.step is not None:
        # Optuna requires an end that is a whole number of steps from the start.
        high = low + math.floor((high - low) / dimension.step + 1e-9) * dimension.step
    if dimension.whole:
        return IntDistribution(low, high, log=dimension.log, step=dimension.step or 1)
    return FloatDistribution(float(low), float(high), log=dimension.log, step=dimension.step)


def _cut_torn_line(journal: Path) -> None:
    """Removes half a line, which a kill during a write leaves, so that the next line is not appended to it."""
    if journal.exists():
        text = journal.read_bytes()
        if not text.endswith(b"\n"):
            os.truncate(journal, text.rfind(b"\n") + 1)
