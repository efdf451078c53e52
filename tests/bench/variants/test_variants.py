"""Variants of a night: every one is a valid configuration, and each is measured with every seed."""

from typing import Any

import pytest

from kgspark.bench.common import night_settings, scratch_folder
from kgspark.bench.variants import graph, keys, models, variants
from kgspark.bench.variants.variants import VariantsSettings, figure, run_variants
from kgspark.night.night import Night
from kgspark.night.settings import NightSettings

ALL = {"keys": keys.VARIANTS, "models": models.VARIANTS, "graph": graph.variants_of(facts=True)}


@pytest.mark.parametrize("bench", ALL)
def test_every_variant_is_another_night(bench: str) -> None:
    facts = {"source": {"tables": {"facts": {"path": "facts.csv"}}}}
    with scratch_folder() as scratch:
        nights = [night_settings("/data", scratch, (), facts | changes) for changes in ALL[bench].values()]
    assert all(night not in nights[:number] for number, night in enumerate(nights))


def _row(night: Night, seed: int) -> dict[str, Any]:
    """A value that is different for each dimension and seed."""
    return {"model": "kgspark", "seed": seed, "ndcg@10": night.settings.train.dim + seed, "valid": {"ndcg@10": 0.5}}


def test_rows_are_of_every_seed_and_the_summary_is_their_mean(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    asked: list[tuple[str, ...]] = []

    def measure(night: Night, protocol: str, seed: int) -> tuple[list[dict[str, Any]], None]:
        asked.append(night.settings.evaluate.baselines)
        peers = [{"model": name, "seed": seed, "ndcg@10": 0.25} for name in night.settings.evaluate.baselines]
        return [_row(night, seed), *peers], None

    monkeypatch.setattr(variants, "measure_protocol", measure)
    settings = VariantsSettings(source=str(tmp_path), seeds=(1, 3), baselines=("popularity",))
    columns = {"valid": figure("valid", "ndcg@10"), "test": figure("ndcg@10")}
    said: list[str] = []
    chosen = {"small": {"train": {"dim": 8}}, "large": {"train": {"dim": 16}}}
    answer = run_variants(settings, chosen, columns, said.append)
    assert [(row["model"], row["ndcg@10"]) for row in answer["rows"]] == [
        *(("small", 9), ("popularity", 0.25), ("large", 17)),
        *(("small", 11), ("popularity", 0.25), ("large", 19)),
    ]
    assert asked == [("popularity",), (), ("popularity",), ()]
    small, popularity, large = answer["summary"]
    assert small == {
        "model": "small",
        "mean": {"valid": 0.5, "test": 10},
        "deviation": {"valid": 0, "test": pytest.approx(2**0.5)},
    }
    assert popularity["mean"] == {"test": 0.25}  # no validation figure, and no NaN in JSON
    assert large["mean"]["test"] == 18
    assert [line.split()[-1] for line in said if line.startswith("mean: ")] == ["10.0000", "0.2500", "18.0000"]


def test_keys_change_only_how_the_model_is_trained() -> None:
    default = NightSettings.model_validate({"source": {"path": "x"}})
    for changes in keys.VARIANTS.values():
        night = NightSettings.model_validate({"source": {"path": "x"}, **changes})
        assert night.model_copy(update={"train": default.train}) == default
