"""The size of the fault trials: a short one in `make test`, the full one in `make faults`."""

import os
from collections.abc import Iterator
from itertools import count

FULL = os.environ.get("KGSPARK_FAULTS") == "full"


def trials(short: int, full: int) -> int:
    """The number of trials of this run."""
    return full if FULL else short


def seeds() -> Iterator[int]:
    """The seeds of rounds of trials. They begin with KGSPARK_FAULTS_SEED, which so repeats a round that failed."""
    return count(int(os.environ.get("KGSPARK_FAULTS_SEED", "1")))
