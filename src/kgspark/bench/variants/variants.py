"""Nights that differ in a few settings, evaluated one after the other on the same split, to find a setting's gain."""

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from pydantic import Field

from kgspark.bench.common import BUNDLED, Row, Say, Source, night_settings, scratch_folder
from kgspark.config import Settings, merged
from kgspark.experiments.evaluate import OURS, measure_protocol
from kgspark.night.evaluate_settings import ProtocolName
from kgspark.night.night import open_night
from kgspark.night.settings import NightSettings
from kgspark.peers.baselines import BaselineName

Changes = Mapping[str, Any]
# Columns of the printed table: heading, and the value of a row.
Columns = Mapping[str, Callable[[Row], float]]


class VariantsSettings(Settings):
    """`kgspark bench models`, `kgspark bench graph` and `kgspark bench keys`."""

    source: Source = BUNDLED
    protocol: ProtocolName = Field("random", description="as evaluate.protocol")
    seeds: tuple[int, ...] = Field((42,), min_length=1, description="seeds of split and training, one measurement each")
    baselines: tuple[BaselineName, ...] = Field(("popularity", "ease"), description="to compare with the first variant")
    overrides: tuple[str, ...] = Field((), description="further dotted.key=value for every night")


def run_variants(
    settings: VariantsSettings,
    variants: Mapping[str, Changes],
    columns: Columns,
    say: Say,
    common: Changes | None = None,
) -> Row:
    """One row per seed and variant or baseline, and in `summary` the columns' means over the seeds.

    variants  changes of the settings, by the name of the variant
    common    changes that all nights share
    """
    say(f"{settings.source}, protocol {settings.protocol}, seeds {', '.join(map(str, settings.seeds))}")
    say(f"{'':<38}" + "".join(f"{heading:>18}" for heading in columns))
    rows: list[Row] = []
    with scratch_folder() as scratch:
        nights = {
            title: night_settings(settings.source, scratch, settings.overrides, merged(common or {}, changes))
            for title, changes in variants.items()
        }
        for row in _measure(settings, nights):
            rows.append(row)
            say(_line(row["model"], [figure_of(row) for figure_of in columns.values()]))
    summary = _summary(rows, columns)
    if len(settings.seeds) > 1:
        for mean in summary:
            say(_line(f"mean: {mean['model']}", [mean["mean"].get(heading, math.nan) for heading in columns]))
    return {"rows": rows, "summary": summary}


def _measure(settings: VariantsSettings, nights: Mapping[str, NightSettings]) -> Iterator[Row]:
    with open_night(next(iter(nights.values())), lambda text: None) as opened:
        # Seeds in the outer loop, because all variants of a seed share its split.
        for seed, (number, (title, chosen)) in product(settings.seeds, enumerate(nights.items())):
            baselines = settings.baselines if number == 0 else ()
            evaluate = chosen.evaluate.model_copy(update={"baselines": baselines})
            night = opened.variant(chosen.model_copy(update={"evaluate": evaluate}))
            for row in measure_protocol(night, settings.protocol, seed)[0]:
                yield row | {"model": title if row["model"] == OURS else row["model"]}


def _line(name: str, figures: Sequence[float]) -> str:
    return f"{name:<38}" + "".join(f"{figure:>18.4f}" for figure in figures)


def _summary(rows: Sequence[Row], columns: Columns) -> list[Row]:
    """Mean and sample deviation of every column over the seeds, one row per variant and baseline."""
    summary = []
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        figures = {heading: [figure_of(row) for row in own] for heading, figure_of in columns.items()}
        figures = {heading: values for heading, values in figures.items() if not math.isnan(values[0])}
        means = {heading: statistics.fmean(values) for heading, values in figures.items()}
        deviations = {heading: statistics.stdev(values) for heading, values in figures.items() if len(values) > 1}
        summary.append({"model": model, "mean": means, "deviation": deviations})
    return summary


def figure(*path: str) -> Callable[[Row], float]:
    """Reads the value at a path of nested keys in a row; NaN if a key is absent."""

    def of(row: Row) -> float:
        value: Any = row
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return float("nan") if value is None else float(value)

    return of
