"""The settings of a fit in memory: sections of a night's configuration, with the same keys and defaults."""

from collections.abc import Mapping
from typing import Any

from kgspark.config import Document, apply_override, decode, merged
from kgspark.errors import ConfigError
from kgspark.night.settings import NightSettings

# The sections that a fit reads; those of `source` are columns, genre_separator and null_texts.
_SECTIONS = ("source", "relations", "split", "triples", "train", "recommend", "similar_items", "names", "run_date")
_OF_SOURCE = ("columns", "genre_separator", "null_texts")
_ORIGIN = "KGRecommender"
_FRAMES = {"path": "frames", "format": "table"}


def fit_settings(overrides: tuple[str, ...], settings: Mapping[str, Any], has_times: bool = True) -> NightSettings:
    """The settings of overrides such as `train.dim=64`, over sections such as `{"train": {"dim": 64}}`.

    Raises ConfigError for a key that is unknown, or that a fit in memory does not read.
    """
    document = Document(_ORIGIN, merged({}, settings))
    for override in overrides:
        apply_override(document, override)
    for name in document.values:
        if name in NightSettings.model_fields and name not in _SECTIONS:
            raise ConfigError(f"{_ORIGIN}: {name}: only a night reads it; a fit in memory reads {', '.join(_SECTIONS)}")
    source = document.values.get("source") or {}
    for name in source if isinstance(source, Mapping) else ():
        if name not in _OF_SOURCE:
            raise ConfigError(f"{_ORIGIN}: source.{name}: expected one of {', '.join(_OF_SOURCE)}; tables are frames")
    without = {} if has_times else {"columns": {"timestamp": _Null}}
    document.values["source"] = _with_nulls(merged(merged(_FRAMES, source), without))
    found = decode(NightSettings, document)
    if found.train.serves:
        raise ConfigError(f"{_ORIGIN}: train.epochs: expected 1 or more; only a night serves an earlier model")
    if found.train.resolved().workers > 1:
        raise ConfigError(f"{_ORIGIN}: train.workers: expected 1; only a night trains with several processes")
    return found


class _Null:
    """Stands for a null that `merged` must not take for “remove the key”."""


def _with_nulls(source: Mapping[str, Any]) -> dict[str, Any]:
    columns = {key: None if value is _Null else value for key, value in source.get("columns", {}).items()}
    return {**source, "columns": columns}
