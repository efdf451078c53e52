"""`kgspark example [FOLDER]`: the bundled data and its configuration, in a folder that runs without a checkout."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kgspark.bundled import CONF, ML_LATEST_SMALL
from kgspark.datasets.folders import new_folder

_NAME = "ml-latest-small"
# Every key with its default, and the schema by which editors complete keys.
_REFERENCE = ("nightly.yaml", "kgspark.schema.json")
_CONFIGURATION = f"""\
# MovieLens latest-small: 100,836 ratings of 610 users for 9,742 movies. {_NAME}/README.txt has its terms of use.
# Paths are relative to this file. nightly.yaml has every key that may follow, and `kgspark settings KEY` explains it.
lake: lake
source:
  path: {_NAME}
"""


def run(folder: str, others: Sequence[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Writes `folder`, or `example`; returns its paths. InputError if it exists."""
    place = Path(folder or "example")
    with new_folder(place) as staging:
        shutil.copytree(ML_LATEST_SMALL, staging / _NAME)
        (staging / f"{_NAME}.yaml").write_text(_CONFIGURATION, encoding="utf-8")
        for name in _REFERENCE:
            shutil.copy(CONF / name, staging / name)
    configuration = place / f"{_NAME}.yaml"
    say(
        f"{place} has 100,836 ratings in {_NAME}/, their configuration {_NAME}.yaml, and every key in nightly.yaml. Run"
    )
    say(f"  kgspark nightly {configuration}")
    return {"folder": str(place), "configuration": str(configuration)}
