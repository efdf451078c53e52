"""Makes a folder as a whole, or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kgspark.errors import InputError, ResourceError


@contextmanager
def new_folder(place: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `place` at the end; after an error nothing of it is left.

    Raises InputError if `place` exists, ResourceError if it cannot be written.
    """
    if place.exists() or place.is_symlink():
        raise InputError(f"{place}: exists already; remove it, or name another folder")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        # Beside its place, so that the last step is one rename.
        staging = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    except OSError as error:
        raise ResourceError(f"{place}: cannot be written: {error.strerror}") from None
    try:
        yield staging
        staging.chmod(0o755)  # mkdtemp's folders are for their user only
        staging.rename(place)
    except OSError as error:
        raise ResourceError(f"{place}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
