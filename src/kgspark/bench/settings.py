"""The settings of a night that a benchmark runs for itself, in a lake that goes when it ends."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kgspark import config
from kgspark.config import merged
from kgspark.night.settings import NightSettings


def night_settings(
    source: str, scratch: Path, overrides: Sequence[str], changes: Mapping[str, Any] | None = None
) -> NightSettings:
    """A night of the MovieLens folder `source` in `scratch`, with `changes` and then `overrides`, dotted.key=value."""
    written = {"source": {"path": str(Path(source).absolute())}, "lake": str(scratch / "lake")}
    document = config.Document("command line", merged(written, changes or {}))
    for override in overrides:
        config.apply_override(document, override)
    return config.decode(NightSettings, document)
