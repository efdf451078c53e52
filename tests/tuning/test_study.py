"""The search on fast objectives: it is repeatable, survives kills, prunes, and continues after failures."""

import csv
import io
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from kgspark.errors import StageError
from kgspark.tuning.results import best_line, best_yaml, lead, trials_csv
from kgspark.tuning.settings import TuneSettings
from kgspark.tuning.space import Changes
from kgspark.tuning.study import JOURNAL, Objective, PrunedError, Report, Search, Trial, best_of

SPACE = {
    "train.temperature": {"low": 0.01, "high": 1.0, "log": True},
    "train.epochs": {"low": 2, "high": 9, "step": 2},
    "train.schedule": ["linear", "constant"],
    "relations.tagged.weight": [0.1, "1 / 2"],
}
GIVEN: dict[str, Any] = {
    "train.temperature": 0.1,
    "train.epochs": 4,
    "train.schedule": "linear",
    "relations.tagged.weight": "0.1",
}


def search(folder: Path, fingerprint: str = "f", given: Changes = GIVEN, **changes: Any) -> Search:
    folder.mkdir(exist_ok=True)
    settings = TuneSettings.model_validate({"space": SPACE, "trials": 18, "random": 4, "prune_after": 0.2} | changes)
    return Search(folder, settings.space, settings, given, fingerprint)


def toy(changes: Changes, report: Report) -> float:
    """Best at temperature 0.3 and a linear schedule; fails at high temperatures, and rises over its epochs."""
    changes = {**GIVEN, **changes}
    temperature, epochs = float(changes["train.temperature"]), int(changes["train.epochs"])
    if temperature > 0.4:
        raise StageError("training diverged in epoch 1;\n lower train.learning_rate")
    top = 1 - abs(temperature - 0.3) - 0.2 * (changes["train.schedule"] != "linear")
    for epoch in range(1, epochs + 1):
        report(epoch, epochs, top * epoch / epochs)
    return top


def ignore(trial: Trial) -> None:
    pass


def without_time(trials: list[Trial]) -> list[dict[str, Any]]:
    return [{**trial.to_json(), "seconds": 0} for trial in trials]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Trial]:
    whole = search(tmp_path_factory.mktemp("whole"))
    whole.run(toy, ignore)
    return whole.trials()


class KilledError(BaseException):
    """Represents the end of the process."""


def killed_in(trial: int, amid: bool) -> Objective:
    """`toy`, until the process ends in the given trial from now, at its start or during its epochs."""
    numbers = count()

    def objective(changes: Changes, report: Report) -> float:
        if next(numbers) >= trial:
            if amid:
                report(1, 4, 0.99)
            raise KilledError
        return toy(changes, report)

    return objective


@given(kills=st.lists(st.tuples(st.integers(0, 17), st.booleans()), max_size=4), torn=st.booleans())
@profile(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_killed_search_goes_on_as_if_it_had_not_been(
    tmp_path_factory: pytest.TempPathFactory, whole: list[Trial], kills: list[tuple[int, bool]], torn: bool
) -> None:
    folder = tmp_path_factory.mktemp("killed")
    for at, amid in sorted(kills):
        one = search(folder)
        with pytest.raises(KilledError):
            one.run(killed_in(at - len(one.trials()), amid), ignore)
        if torn:
            with open(folder / JOURNAL, "a", encoding="utf-8") as journal:
                journal.write('{"op_code": 6, "tr')
    last = search(folder)
    last.run(toy, ignore)
    assert without_time(last.trials()) == without_time(whole)


def test_a_search_is_decided_by_its_seed_and_goes_on_to_more_trials(tmp_path: Path, whole: list[Trial]) -> None:
    few = search(tmp_path / "few", trials=7)
    few.run(toy, ignore)
    assert without_time(few.trials()) == without_time(whole[:7])
    few.run(toy, ignore)
    assert len(few.trials()) == 7
    more = search(tmp_path / "few", trials=9)
    told: list[int] = []
    more.run(toy, lambda trial: told.append(trial.number))
    assert told == [7, 8]
    other = search(tmp_path / "other", seed=7, trials=7)
    other.run(toy, ignore)
    assert without_time(other.trials())[1:] != without_time(whole[1:7])


def test_the_toy_search_meets_every_end(whole: list[Trial]) -> None:
    assert [trial.number for trial in whole] == list(range(18))
    assert {trial.state for trial in whole} == {"complete", "pruned", "failed"}
    for trial in whole:
        assert (trial.value is not None) is (trial.state == "complete")
        assert trial.reason == ("training diverged in epoch 1; lower train.learning_rate" * (trial.state == "failed"))
        assert trial.changes["train.epochs"] in (2, 4, 6, 8)
        if trial.state == "pruned":
            assert 0 < trial.epochs < trial.changes["train.epochs"]
    assert best_of(whole).value == max(trial.value for trial in whole if trial.value is not None) > 0.8


def test_trial_0_has_the_settings_given_and_keeps_those_outside_the_space(tmp_path: Path) -> None:
    seen: list[Changes] = []

    def noted(changes: Changes, report: Report) -> float:
        seen.append(changes)
        return toy({"train.epochs": 4}, report)

    given = GIVEN | {"train.temperature": 0.001, "train.epochs": 5}
    one = search(tmp_path, given=given, trials=3)
    one.run(noted, ignore)
    assert seen[0] == {}
    assert one.trials()[0].changes == {"train.schedule": "linear", "relations.tagged.weight": 0.1}
    assert set(seen[1]) == set(seen[2]) == set(SPACE)


def test_a_trial_that_ends_is_not_pruned_in_its_last_epoch(tmp_path: Path) -> None:
    def constant(value: float, epochs: int = 1) -> Objective:
        def objective(changes: Changes, report: Report) -> float:
            for epoch in range(1, epochs + 1):
                report(epoch, epochs, value)
            return value

        return objective

    one = search(tmp_path, trials=6, prune_after=0)
    one.run(constant(0.5), ignore)
    search(tmp_path, trials=7, prune_after=0).run(constant(0.1), ignore)
    last = search(tmp_path, trials=8, prune_after=0)
    last.run(constant(0.1, epochs=10), ignore)
    assert [trial.state for trial in last.trials()[6:]] == ["complete", "pruned"]
    assert last.trials()[7].epochs == 1


def test_another_error_ends_the_search_and_its_trial_is_done_again(tmp_path: Path) -> None:
    def broken(changes: Changes, report: Report) -> float:
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        search(tmp_path).run(broken, ignore)
    again = search(tmp_path, trials=1)
    assert again.trials() == []
    again.run(toy, ignore)
    assert [trial.number for trial in again.trials()] == [0]


def test_no_trial_starts_after_the_minutes(tmp_path: Path) -> None:
    short = search(tmp_path, minutes=1e-9)
    short.run(toy, ignore)
    assert short.trials() == []


def test_a_folder_of_another_search_is_refused(tmp_path: Path) -> None:
    search(tmp_path)
    with pytest.raises(StageError, match=r"choose another tune\.name"):
        search(tmp_path, fingerprint="g")


def test_nothing_but_failures_is_an_error_with_their_reasons(tmp_path: Path) -> None:
    def fail(changes: Changes, report: Report) -> float:
        raise StageError("no memory")

    one = search(tmp_path, trials=2)
    one.run(fail, ignore)
    with pytest.raises(StageError, match=r"none of 2 trials .* no memory"):
        best_of(one.trials())


def test_best_yaml_and_trials_csv_hold_what_was_found(whole: list[Trial]) -> None:
    best, text = best_of(whole), best_yaml(whole, "NDCG@10")
    read = yaml.safe_load(text)
    assert read["train"]["temperature"] == best.changes["train.temperature"]
    assert read["relations"] == {"tagged": {"weight": best.changes["relations.tagged.weight"]}}
    assert f"{lead(whole):+.4f} over the settings given" in text
    assert "18 trials" in text
    rows = list(csv.DictReader(io.StringIO(trials_csv(whole, "NDCG@10"))))
    assert [row["state"] for row in rows] == [trial.state for trial in whole]
    assert float(rows[best.number]["valid_ndcg@10"]) == best.value
    assert set(SPACE) < set(rows[0])


def test_settings_that_were_not_bettered_stay(tmp_path: Path) -> None:
    one = search(tmp_path, trials=2)
    one.run(lambda changes, report: 0.5, ignore)
    assert yaml.safe_load(best_yaml(one.trials(), "NDCG@10")) == {}
    assert best_line(one.trials(), "NDCG@10") == "trial 0: validation NDCG@10 0.5000, the settings given"
    failed = [Trial(0, "failed", None, {}, 0, 1.0, "diverged"), *one.trials()[1:]]
    assert lead(failed) is None
    assert "over" not in best_line(failed, "NDCG@10")


def test_pruned_is_no_error_of_ours() -> None:
    assert not issubclass(PrunedError, StageError)
