"""What all targets need that stand on an optional package: its errors, and that of the package itself, as one line.

Each of these targets has an extra of its own name in pyproject.toml.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kgspark.errors import BusyError, KgsparkError, ResourceError


@contextmanager
def packages_of(target: str) -> Iterator[None]:
    """Turns the ImportError of a missing package into a ResourceError that names the extra."""
    try:
        yield
    except ImportError as error:
        raise ResourceError(
            f"publish.targets: {target} needs the package {error.name}; install it with kgspark's extra: "
            f"pip install 'kgspark[{target}]'"
        ) from error


def other_writer(place: str) -> BusyError:
    """The error of a publication that another writer has overtaken."""
    return BusyError(
        f"{place}: another writer changed it meanwhile; nothing of this publication is left there; run publish again"
    )


def first_line(error: BaseException) -> str:
    """What an error says in its first line; its class if it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


@contextmanager
def one_line(
    place: str, overtaken: tuple[type[Exception], ...] = (), cause: Callable[[BaseException], str] = first_line
) -> Iterator[None]:
    """Turns any error of a package into one of ours, of one line.

    overtaken  the errors that mean that another writer was faster
    cause      what an error means, in one line
    """
    try:
        yield
    except KgsparkError:
        raise
    except overtaken as error:
        raise other_writer(place) from error
    except Exception as error:  # of the package, the client of its catalogue, pyarrow, or a file system
        raise refused(place, error, cause) from error


def refused(place: str, error: Exception, cause: Callable[[BaseException], str] = first_line) -> ResourceError:
    """The error of a package, as one line."""
    return ResourceError(f"{place}: {cause(error)}; nothing is published there; run publish again after the repair")
