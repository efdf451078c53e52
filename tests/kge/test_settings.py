"""Settings of a training: recipes depend on model and objective alone, and torch is not loaded."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from kgspark import config
from kgspark.config import leaf_fields, merged
from kgspark.kge.recipes import COMMON, MODELS, OBJECTIVES, recipe_of
from kgspark.kge.settings import TrainSection, TrainSettings, describe
from kgspark.night.settings import NightSettings
from nights import ROOT

CONFS = sorted((ROOT / "conf").glob("*.yaml"))
CHOICES = list(itertools.product(MODELS, (1, 2), OBJECTIVES))


def in_recipes() -> set[str]:
    """The dotted keys that recipes set."""
    flat = {key for key, value in COMMON.items() if not isinstance(value, dict)}
    return flat | {f"validation.{key}" for key in COMMON["validation"]}


def chosen_over(path: Path, model: str, norm: int, objective: str) -> TrainSettings:
    overrides = [f"train.model={model}", f"train.norm={norm}", f"train.objective={objective}"]
    return config.load(NightSettings, path, overrides).train.resolved()


def written_in(path: Path) -> set[str]:
    """The dotted keys of `train` that a file sets."""
    train = yaml.safe_load(path.read_text(encoding="utf-8")).get("train", {})
    return {key for key, value in train.items() if value is not None}


@pytest.mark.parametrize("path", CONFS, ids=lambda path: path.name)
def test_a_file_changes_no_recipe(path: Path) -> None:
    """Every model and objective has its own values with every file, except for the keys that the file sets."""
    own = written_in(path) if path.name != "nightly.yaml" else set()
    for model, norm, objective in CHOICES:
        expected = TrainSettings.model_validate({"model": model, "norm": norm, "objective": objective})
        assert chosen_over(path, model, norm, objective).model_dump(exclude=own) == expected.model_dump(exclude=own)


def test_rotate_over_the_default_file_has_rotates_recipe() -> None:
    rotate = chosen_over(ROOT / "conf" / "nightly.yaml", "rotate", 2, "softmax")
    assert (rotate.temperature, rotate.learning_rate, rotate.dim, rotate.epochs) == (14.0, 0.1, 128, 20)
    assert (rotate.validation.every, rotate.validation.patience, rotate.validation.k) == (4, 2, 10)


def test_bpr_over_the_default_file_has_typed_filtered_negatives() -> None:
    bpr = chosen_over(ROOT / "conf" / "nightly.yaml", "transe", 2, "bpr")
    assert (bpr.sampler, bpr.filtered, bpr.corrupt_heads, bpr.negatives) == ("typed", True, 0.0, 16)


def test_exactly_the_keys_of_the_recipes_are_null_by_default() -> None:
    null = {".".join(path) for path, field in leaf_fields(TrainSection) if field.default is None}
    assert null == in_recipes()
    resolved = TrainSettings.model_validate({}).model_dump()
    assert None not in (resolved | resolved["validation"]).values()


def test_every_recipe_fits_the_settings() -> None:
    for model, norm, objective in CHOICES:
        recipe = recipe_of(model, norm, objective)
        assert recipe.keys() == COMMON.keys()
        assert TrainSection.model_validate(recipe).model_dump(include=recipe.keys()) == merged(
            TrainSection().model_dump(include=recipe.keys()), recipe
        )


def test_stock_objectives_default_to_the_tutorials_recipe():
    stock = TrainSettings(objective="softplus")
    assert (stock.dim, stock.epochs, stock.batch_size, stock.learning_rate) == (64, 20, 512, 1e-3)
    assert (stock.negatives, stock.init, stock.schedule) == (1, "tgraphx", "constant")
    assert TrainSettings(objective="softplus", epochs=3).epochs == 3


def test_another_model_takes_its_own_recipe_and_keeps_what_was_written() -> None:
    section = TrainSection.model_validate({"model": "transe", "epochs": 3, "validation": {"k": 5}})
    changed = section.changed({"model": "rotate", "validation": {"every": 7}}).resolved()
    assert (changed.epochs, changed.temperature, changed.validation.k) == (3, 14.0, 5)
    assert (changed.validation.every, changed.validation.patience) == (7, 2)


def test_an_evaluation_keeps_the_test_likes_from_a_refit() -> None:
    section = TrainSection().without_test_likes()
    assert section.resolved().learned_splits == section.changed({"dim": 8}).resolved().learned_splits
    assert section.resolved().learned_splits == ("train", "valid")
    assert TrainSection().resolved().learned_splits == ("train", "valid", "test")
    with pytest.raises(ValidationError, match="refit_on"):
        TrainSection.model_validate({"refit_on": "train+valid"})


def test_settings_survive_a_round_trip():
    for chosen in (TrainSettings(), TrainSettings(model="distmult"), TrainSettings(objective="margin")):
        assert TrainSettings.model_validate(chosen.model_dump()) == chosen == chosen.resolved()


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({}, "transe, dim 256, rate 0.002, temperature 0.14, 16 epochs"),
        ({"norm": 1}, "transe with norm 1, dim 128, rate 0.004, temperature 1, 10 epochs"),
        ({"model": "complex"}, "complex, dim 128, rate 0.004, temperature 0.14, l2 0.2, 16 epochs"),
        ({"model": "rotate", "objective": "warp"}, "rotate by warp, dim 128, rate 0.003, margin 0.3, 20 epochs"),
        ({"objective": "softplus"}, "transe by softplus, dim 64, rate 0.001, 20 epochs"),
    ],
)
def test_the_essentials_in_a_line(chosen: dict, said: str) -> None:
    assert describe(TrainSettings.model_validate(chosen)) == said


@pytest.mark.parametrize(
    "wrong",
    [
        {"dim": 0},
        {"epochs": "many"},
        {"norm": 3},
        {"device": "tpu"},
        {"ema": 1.0},
        {"temperature": 0},
        {"lr": 1},
        {"model": "trance"},
        {"objective": "hinge"},
    ],
)
def test_values_out_of_bounds_are_refused(wrong):
    for settings in (TrainSection, TrainSettings):
        with pytest.raises(ValidationError):
            settings.model_validate(wrong)


def test_settings_do_not_import_torch():
    code = "import sys, kgspark.kge.settings; assert not {'torch', 'tgraphx'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
