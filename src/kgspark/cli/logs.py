"""The handlers of the logger `kgspark`: plain lines for people, or JSON lines for a collector, without secrets."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from kgspark.logs import STAGE
from kgspark.redaction import redact

_LOG = logging.getLogger("kgspark")


def configure_logs(form: str, lines: TextIO, command: str = "") -> None:
    """Sends log records to `lines`, and warnings and errors to standard error; in form json all go to standard error.

    command  the stage in JSON lines that are logged outside of any stage of a night
    """
    if form == "json":
        handlers = [_handler(sys.stderr, _JsonLines(command))]
    else:
        plain = _handler(lines, _Plain())
        plain.addFilter(lambda record: record.levelno < logging.WARNING)
        wrong = _handler(sys.stderr, _Prefixed())
        wrong.setLevel(logging.WARNING)
        handlers = [plain, wrong]
    _LOG.handlers = handlers
    _LOG.setLevel(logging.INFO)
    _LOG.propagate = False


class _Handler(logging.StreamHandler[TextIO]):
    """A handler that raises the error if the reader of its stream has gone away."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        raise


def _handler(stream: TextIO, formatter: logging.Formatter) -> logging.Handler:
    handler = _Handler(stream)
    handler.setFormatter(formatter)
    return handler


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(record.getMessage())


class _Prefixed(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"kgspark: {record.levelname.lower()}: {redact(record.getMessage())}"


class _JsonLines(logging.Formatter):
    def __init__(self, command: str) -> None:
        super().__init__()
        self._command = command

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "stage": STAGE.get() or self._command,
            "message": redact(record.getMessage()),
        }
        return json.dumps(line, ensure_ascii=False)
