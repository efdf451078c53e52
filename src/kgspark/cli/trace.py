"""The trace: a file for what surrounds an error, such as the log of Spark's JVM and stacks. It never fails a command.

The file is in the night's folder or, before there is one, in the temporary folder. It exists once there is something to
write. KGSPARK_TRACE=FILE chooses another file; KGSPARK_TRACE=1 sends the trace to standard error.
"""

import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from kgspark.redaction import redact

VARIABLE = "KGSPARK_TRACE"
_ON_SCREEN = "1"


class Trace(logging.Handler):
    """Writes all records of libraries, and of Spark's JVM, without secrets.

    folder  the night's folder, if one is known; place  where the records went, for the error line; empty if nowhere
    night   first words of the error line that say which of several nights it is about; empty for one night
    """

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
        self.folder: Path | None = None
        self.place = self.night = ""
        self._stream: TextIO | None = None
        self._refused = False  # the night's folder cannot be written

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record. If a disk is full or a folder is missing, it tries the next place, and raises nothing."""
        text = redact(self.format(record)) + "\n"
        with suppress(OSError):  # no temporary folder either
            for path in [None] if self._stream else [*self._places()]:
                if self._write(path, text):
                    return

    def close(self) -> None:
        """Closes the file."""
        if self._stream is not None and self._stream is not sys.stderr:
            with suppress(OSError):
                self._stream.close()
        self._stream = None
        super().close()

    def _write(self, path: Path | None, text: str) -> bool:
        """Writes to the open file, or to `path`, which becomes the open one; False if that fails."""
        stream = None
        try:
            stream = self._stream or self._open(path)
            stream.write(text)
            stream.flush()
        except (OSError, ValueError):
            if stream is not None and stream is not self._stream:
                with suppress(OSError):
                    stream.close()
            if self.folder is not None and path is not None and path.parent == self.folder:
                self._refused = True
                with suppress(OSError):
                    path.unlink()  # it is new, and empty
            return False
        self._stream = stream
        self.place = "on standard error" if stream is sys.stderr else f"in {stream.name}"
        return True

    @staticmethod
    def _open(path: Path | None) -> TextIO:
        return sys.stderr if path is None else open(path, "a", encoding="utf-8", errors="replace")

    def _places(self) -> Iterator[Path | None]:
        """The files to try; None is standard error."""
        if chosen := os.environ.get(VARIABLE):
            yield None if chosen == _ON_SCREEN else Path(chosen)
            return
        stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
        if self.folder is not None and not self._refused:
            yield self.folder / f"trace-{stamp}"
        yield Path(tempfile.gettempdir()) / f"kgspark-{stamp}"


@contextmanager
def tracing() -> Iterator[Trace]:
    """Sends the records and warnings of all libraries to a new trace."""
    trace, root = Trace(), logging.getLogger()
    root.addHandler(trace)
    logging.captureWarnings(True)
    try:
        yield trace
    finally:
        logging.captureWarnings(False)
        root.removeHandler(trace)
        trace.close()
