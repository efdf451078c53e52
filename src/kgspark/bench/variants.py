"""Nights that differ in a few settings, measured one after the other on the same split: what a setting is worth."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from kgspark.bench.settings import night_settings
from kgspark.config import Settings, merged
from kgspark.experiments.evaluate import measured
from kgspark.night.evaluate_settings import Protocol
from kgspark.night.night import open_night
from kgspark.runs import versions

Say = Callable[[str], None]
Row = dict[str, Any]
Changes = Mapping[str, Any]


class VariantsSettings(Settings):
    """`kgspark bench models` and `kgspark bench graph`."""

    source: str = Field("tests/data/ml-latest-small", description="a MovieLens folder")
    protocol: Protocol = Field("random", description="as evaluate.protocol")
    seed: int = Field(42, description="of split and training")
    baselines: tuple[str, ...] = Field(("popularity", "ease"), description="measured beside the first variant")
    facts: str | None = Field(None, description="bench graph: a CSV of facts (movieId, relation, value) to add")
    overrides: tuple[str, ...] = Field((), description="further dotted.key=value for every night")


def run_variants(
    name: str,
    settings: VariantsSettings,
    variants: Mapping[str, Changes],
    common: Changes,
    shown: Mapping[str, Callable[[Row], float]],
    say: Say,
) -> dict[str, Any]:
    """One row a variant, and one a baseline.

    variants  changes of the settings, by what they are called
    common    what all nights have beside the source
    shown     columns of the table that `say` gets: heading, and its figure of a row
    """
    rows: list[Row] = []
    say(f"bench {name}: {settings.source}, protocol {settings.protocol}, seed {settings.seed}")
    with tempfile.TemporaryDirectory(prefix="kgspark-bench-") as scratch:
        nights = {
            title: night_settings(settings.source, Path(scratch), settings.overrides, merged(common, changes))
            for title, changes in variants.items()
        }
        with open_night(next(iter(nights.values())), lambda text: None) as opened:
            for number, (title, chosen) in enumerate(nights.items()):
                peers = settings.baselines if number == 0 else ()
                evaluate = chosen.evaluate.model_copy(update={"baselines": peers})
                night = opened.variant(chosen.model_copy(update={"evaluate": evaluate}))
                for row in measured(night, settings.protocol, settings.seed)[0]:
                    rows.append({**row, "model": title if row["model"] == "kgspark" else row["model"]})
                    say(_line(rows[-1], shown, number == 0 and len(rows) == 1))
    return {"bench": name, "settings": settings.model_dump(), "rows": rows, "versions": versions()}


def _line(row: Row, shown: Mapping[str, Callable[[Row], float]], first: bool) -> str:
    heading = f"{'':<34}" + "".join(f"{title:>18}" for title in shown) + "\n" if first else ""
    return heading + f"{row['model']:<34}" + "".join(f"{of(row):>18.4f}" for of in shown.values())


def figure(*path: str) -> Callable[[Row], float]:
    """The figure at a path of a row; not a number where there is none."""

    def of(row: Row) -> float:
        value: Any = row
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return float("nan") if value is None else float(value)

    return of
