"""The common parts of benchmarks: sources, turns, processes."""

from pathlib import Path

import pytest

from kgspark import config
from kgspark.bench.common import BUNDLED, Source, in_turn, night_settings, run_process, scratch_folder
from kgspark.config import Settings
from kgspark.errors import ConfigError, StageError
from nights import ROOT


class OfSource(Settings):
    source: Source = BUNDLED


def test_systems_take_turns_after_a_warm_up() -> None:
    calls: list[str] = []

    def system(name: str) -> int:
        calls.append(name)
        return len(calls)

    found = in_turn({name: lambda name=name: system(name) for name in "ab"}, rounds=2)
    assert "".join(calls) == "ab" * 3
    assert found == {"a": [3, 5], "b": [4, 6]}


def test_the_source_is_a_folder_or_the_one_that_a_configuration_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    bundled = str(ROOT / "tests" / "data" / "ml-latest-small")
    assert config.from_overrides(OfSource, []).source == bundled
    assert config.from_overrides(OfSource, ["source=tests/data/ml-latest-small"]).source == bundled
    (tmp_path / "night.yaml").write_text(f"source: {{path: {tmp_path}}}")
    assert config.from_overrides(OfSource, [f"source={tmp_path / 'night.yaml'}"]).source == str(tmp_path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ([], "source: expected a MovieLens folder, because there is no such configuration file here, found 'conf/"),
        (["source=nowhere"], "source: expected a MovieLens folder, but nowhere is not one, found 'nowhere'"),
        (["source=a.yaml"], "source: expected a MovieLens folder, or a configuration file with source.path, found"),
    ],
)
def test_an_absent_source_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("lake: x\n")
    with pytest.raises(ConfigError) as told:
        config.from_overrides(OfSource, override)
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def test_a_night_has_the_changes_and_above_them_the_overrides() -> None:
    with scratch_folder() as scratch:
        settings = night_settings("/data", scratch, ["train.dim=8"], {"train": {"dim": 16, "epochs": 3}})
        assert (settings.train.dim, settings.train.epochs, settings.source.path) == (8, 3, "/data")
        assert settings.lake.is_relative_to(scratch)
    assert not scratch.exists()


def test_a_process_answers_json_or_ends_the_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "answering.py").write_text("import json, sys; print(json.dumps({'given': sys.argv[1:]}))")
    (tmp_path / "failing.py").write_text("raise SystemExit('no\\n' * 999 + 'disk full')")
    done = run_process("it", "answering", "a", "b")
    assert done.answer == {"given": ["a", "b"]}
    assert done.seconds > 0
    with pytest.raises(StageError) as told:
        run_process("it", "failing")
    assert str(told.value).startswith("bench: it failed: ")
    assert str(told.value).endswith("disk full")
    assert len(str(told.value)) < 700
