"""What all targets need that stand on an optional package: its errors, and that of the package itself, as one line.

Each of these targets has an extra of its own name in pyproject.toml.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from kgspark.errors import BusyError, StageError


@contextmanager
def packages_of(target: str) -> Iterator[None]:
    """Turns the ImportError of a missing package into a StageError that names the extra."""
    try:
        yield
    except ImportError as error:
        raise StageError(
            f"publish.targets: {target} needs the package {error.name}; install it with kgspark's extra: "
            f"pip install 'kgspark[{target}]'"
        ) from error


def other_writer(place: str) -> BusyError:
    """The error of a publication that another writer has overtaken."""
    return BusyError(
        f"{place}: another writer changed it meanwhile; nothing of this publication is left there; run publish again"
    )


def refused(place: str, error: Exception) -> StageError:
    """The error of a package, as one line."""
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return StageError(f"{place}: {first}; nothing is published there; run publish again after the repair")
