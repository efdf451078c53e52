"""Contents of `tune.space`, errors for a wrong one, and values by their dotted keys."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kgspark.config import Document, apply_override, decode, load, merged
from kgspark.errors import ConfigError
from kgspark.night.settings import NightSettings
from kgspark.tuning.settings import DEFAULT_SPACE, Dimension
from kgspark.tuning.space import matching, nested


def night(**sections: Any) -> NightSettings:
    return NightSettings.model_validate({"source": {"path": "x"}, "run_date": "2026-01-02", **sections})


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ("train.dmi: [1]", "tune.space.train.dmi: expected a key of train, or relations.NAME.weight; did you mean"),
        ("recommend.k: [1]", "tune.space.recommend.k: expected a key of train"),
        ("train.validation.k: [5, 10]", "tune.space.train.validation.k: cannot be searched"),
        ("train.seed: {low: 0, high: 9}", "tune.space.train.seed: cannot be searched"),
        ("train.dim: [64, many]", "tune.space.train.dim: expected whole numbers"),
        ("train.dim: {low: 1.0, high: 9.0}", "tune.space.train.dim: expected whole numbers"),
        ("train.dim: [0, 64]", "tune.space.train.dim: 0 does not fit train.dim: expected a number ≥ 1"),
        ("train.dropout: {low: 0, high: 1.5}", "tune.space.train.dropout: 1.5 does not fit train.dropout"),
        ("train.model: [transe, trance]", "tune.space.train.model: 'trance' does not fit train.model"),
        ("relations.saw.weight: [1]", "tune.space.relations.saw.weight: no relation 'saw'; there are liked,"),
        ("relations.liked.weight: [-1, 1]", "tune.space.relations.liked.weight: expected weights ≥ 0"),
        ("relations.liked.weight: ['nan', 1]", "tune.space.relations.liked.weight: expected weights ≥ 0"),
        ("relations.liked.where: [a, b]", "tune.space.relations.liked.where: expected a key of train, or relations."),
        ("train.dim: 64", "tune.space.train.dim: expected a list of choices, or {low, high, log, step}, found 64"),
        ("train.dim: []", "tune.space.train.dim: expected a list of one or more choices, found []"),
        ("train.dim: [8, 8]", "tune.space.train.dim: expected choices that differ"),
        ("train.dim: [[8]]", "tune.space.train.dim: expected choices that are numbers or texts"),
        ("train.dim: {low: 9, high: 9}", "tune.space.train.dim: expected low < high"),
        ("train.dim: {low: 9}", "tune.space.train.dim: expected a list of choices, or"),
        ("train.dim: {low: a, high: 9}", "tune.space.train.dim.low: expected a number, found 'a'"),
        ("train.dim: {low: 1, high: 9, step: 0}", "tune.space.train.dim: expected a step > 0"),
        ("train.dropout: {low: 0, high: 0.5, log: true}", "tune.space.train.dropout: expected low > 0 and no step"),
        ("train.dim: {low: 1, hgih: 9}", "tune.space.train.dim.hgih: unknown key; did you mean 'high'?"),
    ],
)
def test_the_error_for_a_wrong_space_names_its_key(space: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "night.yaml"
    path.write_text(f"source: {{path: x}}\ntune:\n  space:\n    {space}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as told:
        load(NightSettings, path)
    assert says in str(told.value)
    assert "\n" not in str(told.value)


def test_the_command_line_changes_single_keys_of_a_files_space() -> None:
    document = Document("a.yaml", {"source": {"path": "x"}, "tune": {"space": {"train.dim": [8], "train.norm": [1]}}})
    for override in (
        "tune.space.train.dim=[16, 32]",
        "tune.space.train.norm=null",
        "tune.space.train.export.facts_prior={low: 1, high: 20}",
        "tune.space.relations.tagged.weight={low: 0.1, high: 1, log: true}",
    ):
        apply_override(document, override)
    space = decode(NightSettings, document).tune.space
    assert space == {
        "train.dim": Dimension(choices=(16, 32)),
        "train.export.facts_prior": Dimension(low=1, high=20),
        "relations.tagged.weight": Dimension(low=0.1, high=1, log=True),
    }


def test_the_default_space_fits_the_default_night_and_hinders_none_that_lacks_its_relations() -> None:
    assert night(tune={"space": DEFAULT_SPACE}).tune.space == night().tune.space
    assert "tagged" not in night(relations={"tagged": None}).relations
    with pytest.raises(ValueError, match=r"tune\.space\.relations\.tagged\.weight: no relation"):
        night(relations={"tagged": None}, tune={"space": DEFAULT_SPACE})


@st.composite
def ranges(draw: st.DrawFn) -> Dimension:
    low = draw(st.integers(-50, 50))
    return Dimension(low=low, high=low + draw(st.integers(1, 50)), step=draw(st.none() | st.integers(1, 60)))


@given(dimension=ranges(), value=st.integers(-120, 120))
def test_a_range_holds_what_its_steps_reach(dimension: Dimension, value: int) -> None:
    expected = value in range(dimension.low, dimension.high + 1, dimension.step or 1)
    assert (matching(dimension, value) == value) is expected
    assert (matching(dimension, str(value)) is not None) is expected
    assert matching(dimension, value + 0.5) is None


@pytest.mark.parametrize(
    ("choices", "value", "found"),
    [
        ([64, 128], 128, 128),
        ([0.1, 1], "0.1", 0.1),
        (["rating / 4", 1.0], "rating / 4", "rating / 4"),
        (["0.10"], "0.1", "0.10"),
        ([64], 65, None),
        (["linear"], "constant", None),
    ],
)
def test_a_choice_is_found_by_its_value(choices: list[Any], value: Any, found: Any) -> None:
    assert matching(Dimension.model_validate(choices), value) == found


@given(
    temperature=st.floats(1e-3, 9, allow_nan=False),
    dim=st.integers(1, 999),
    model=st.sampled_from(["transe", "distmult", "rotate"]),
    given_model=st.sampled_from([None, "transe", "complex", "rotate"]),
    weight=st.floats(0, 10, allow_nan=False) | st.just("rating / 4"),
)
@settings(deadline=None)
def test_a_trial_has_the_settings_that_a_file_with_them_would_give(
    temperature: float, dim: int, model: str, given_model: str | None, weight: float | str
) -> None:
    """Also for another model with its own recipe: `best.yaml` must give the settings of the trial."""
    written: dict[str, Any] = {"train": {"epochs": 3} | ({"model": given_model} if given_model else {})}
    changes = {"train.dim": dim, "train.model": model, "train.validation.every": 2, "relations.liked.weight": weight}
    if dim % 2:
        changes["train.temperature"] = temperature
    file = merged(written, yaml.safe_load(yaml.safe_dump(nested(changes))))
    assert night(**written).changed(changes) == night(**file)
    assert night(**written).changed({}) == night(**written)
