"""The size of the fault trials: a short one in `make test`, the full one in `make faults`."""

import os

FULL = os.environ.get("KGSPARK_FAULTS") == "full"


def trials(short: int, full: int) -> int:
    """The number of trials of this run."""
    return full if FULL else short
