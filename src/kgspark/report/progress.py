"""Progress of long work: a bar on a terminal, nothing in a log file."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def progress_bar(name: str, steps: int) -> Iterator[Callable[[str], None]]:
    """Yields a function to call after each step with a short status; draws only on a terminal."""
    with tqdm(total=steps, desc=name, leave=False, disable=not sys.stderr.isatty()) as bar:

        def advance(status: str) -> None:
            bar.set_postfix_str(status, refresh=False)
            bar.update()

        yield advance
