"""The night that a warm start takes its model from; trainings and served nights are in tests/stages."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kgspark.errors import StageError
from kgspark.manifests import Manifest
from kgspark.night.earlier_model import comparable_run, earlier_run
from kgspark.night.night import Night
from kgspark.runs import Run, as_written
from kgspark.stages import nightly, write_triples
from kgspark.stages.train_embeddings import stage_settings
from kgspark.tables import ENTITIES, MODEL, PUBLISHED, RATINGS, SERVED, TRIPLES
from nights import a_night


@pytest.mark.parametrize(
    ("date", "start"),
    [("2026-01-09", "2026-01-05"), ("2026-01-05", "2026-01-03"), ("2026-01-03", None), ("2025-01-01", None)],
)
def test_the_latest_night_is_the_newest_earlier_one_that_was_published(
    tmp_path: Path, date: str, start: str | None
) -> None:
    night = _night(tmp_path, date)
    for trained in ("2026-01-03", "2026-01-05", "2026-01-10"):
        _write_model(Run(tmp_path, trained), night, PUBLISHED)
    _write_model(Run(tmp_path, "2026-01-06"), night)  # refused by the gate
    Run(tmp_path, "2026-01-07").table(MODEL).mkdir(parents=True)  # a training that did not end
    assert earlier_run(night) == (start and Run(night.run.lake, start))


def test_training_starts_from_nothing_if_the_last_published_vectors_have_another_size(tmp_path: Path) -> None:
    _write_model(Run(tmp_path, "2026-01-03"), _night(tmp_path, "2026-01-03"), PUBLISHED)
    _write_model(Run(tmp_path, "2026-01-04"), _night(tmp_path, "2026-01-04", dim=7), PUBLISHED)
    assert earlier_run(_night(tmp_path, "2026-01-05")) is None
    assert earlier_run(_night(tmp_path, "2026-01-05", dim=7)) == Run(tmp_path, "2026-01-04")


def test_a_trained_model_is_served_before_one_that_was_served(tmp_path: Path) -> None:
    serving = _night(tmp_path, "2026-01-09", epochs=0)
    _write_model(Run(tmp_path, "2026-01-05"), serving, PUBLISHED, details={SERVED: {}})
    assert earlier_run(serving) == Run(tmp_path, "2026-01-05")
    _write_model(Run(tmp_path, "2026-01-04"), serving, PUBLISHED)
    assert earlier_run(serving) == Run(tmp_path, "2026-01-04")


def test_a_night_without_a_model_to_serve_ends_before_its_first_stage(tmp_path: Path) -> None:
    train = {"warm_start": "latest", "epochs": 0}
    serving = a_night(tmp_path, source={"path": "x"}, run_date="2026-01-09", train=train)
    _write_model(Run(tmp_path, "2026-01-05"), serving)  # never published
    with pytest.raises(StageError, match=r"no night before 2026-01-09 has a published model to serve; train one first"):
        nightly.run(serving)
    assert serving.outcomes == []
    assert not serving.run.folder.exists()


@pytest.mark.parametrize(
    ("sections", "id_type"),
    [({"split": {"seed": 7}}, "bigint"), ({"relations": {"liked": {"where": "rating > 4"}}}, "bigint"), ({}, "string")],
)
def test_training_starts_from_nothing_if_the_last_model_may_have_learned_what_is_held_out(
    tmp_path: Path, sections: dict[str, Any], id_type: str
) -> None:
    _write_model(Run(tmp_path, "2026-01-03"), _night(tmp_path, "2026-01-03"), PUBLISHED)
    assert comparable_run(_night(tmp_path, "2026-01-04")) == Run(tmp_path, "2026-01-03")
    night = a_night(tmp_path, source={"path": "x"}, train={"warm_start": "latest"}, run_date="2026-01-04", **sections)
    _write_triples(night, id_type)
    assert comparable_run(night) is None
    for train in ({"warm_start": "2026-01-03"}, {"warm_start": "latest", "epochs": 0}):
        night = a_night(tmp_path, source={"path": "x"}, train=train, run_date="2026-01-04", **sections)
        with pytest.raises(
            StageError, match=r"train\.warm_start: \S+ has another value than on 2026-01-03, so the model"
        ):
            comparable_run(night)


def test_a_named_night_must_have_a_model(tmp_path: Path) -> None:
    with pytest.raises(
        StageError, match=r"train\.warm_start=2026-01-03: \S+/2026-01-03 has no complete model; name an"
    ):
        earlier_run(_night(tmp_path, "2026-01-04", warm_start="2026-01-03"))


def _night(lake: Path, date: str, **train: Any) -> Night:
    night = a_night(lake, source={"path": "x"}, run_date=date, train={"warm_start": "latest"} | train)
    _write_triples(night, "bigint")
    return night


def _write_triples(night: Night, id_type: str) -> None:
    settings = as_written(write_triples.stage_settings(night))
    _write(night.run, Manifest(TRIPLES, "", "", {}, settings, []))
    _write(night.run, Manifest(RATINGS, "", "", {}, {}, [], details={"id_type": id_type}))


def _write_model(run: Run, night: Night, *more: str, details: dict[str, Any] | None = None) -> None:
    _write_triples(replace(night, settings=night.settings.model_copy(update={"run_date": run.date})), "bigint")
    for name in (MODEL, ENTITIES, *more):
        _write(run, Manifest(name, "", "", {}, as_written(stage_settings(night)), [], details=details or {}))


def _write(run: Run, manifest: Manifest) -> None:
    run.table(manifest.table).mkdir(parents=True, exist_ok=True)
    manifest.write(run.table(manifest.table))


@pytest.mark.parametrize("date", ["../../OTHER", "yesterday", ""])
def test_a_warm_start_names_a_date(tmp_path: Path, date: str) -> None:
    with pytest.raises(ValueError, match=r"train\.warm_start"):
        a_night(tmp_path, source={"path": "x"}, train={"warm_start": date})
