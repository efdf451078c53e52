"""Why a night was not published: a file in its folder, from the refusal to the next publication. It is not a table."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from kgspark.errors import AuditError
from kgspark.files import write_atomically
from kgspark.runs import Run

_FILE = "refused.json"


@contextmanager
def keep_refusal(run: Run) -> Iterator[None]:
    """Keeps the message of an AuditError, and forgets it after a publication that succeeds."""
    try:
        yield
    except AuditError as error:
        run.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(run.folder / _FILE, json.dumps({"reason": str(error)}, indent=2, ensure_ascii=False) + "\n")
        raise
    (run.folder / _FILE).unlink(missing_ok=True)


def refusal(run: Run) -> str | None:
    """The message of the last refusal; None if the night was published since, or was never refused."""
    try:
        return str(json.loads((run.folder / _FILE).read_text(encoding="utf-8"))["reason"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
