"""Runs one command line: its output, its error of one line, and its exit code."""

import io
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import FrameType

import typer

from kgspark.cli.arguments import Request, parser
from kgspark.cli.commands import COMMANDS, Command
from kgspark.cli.dates import at_date, dates_in
from kgspark.cli.exits import TerminatedError, exit_of
from kgspark.cli.logs import configure_logs
from kgspark.cli.trace import Trace, tracing
from kgspark.errors import KgsparkError

_LOG = logging.getLogger("kgspark")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns 0 only if its output is committed. Errors are one line on standard error."""
    # If other processes need the cores too, OpenMP threads that spin while they wait make training five times slower.
    # If none does, threads that never spin make it slower by half. A short spin costs little in both cases.
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a character that the terminal does not know must not end a night
    configure_logs("plain", sys.stdout)
    try:
        request = parser()(list(sys.argv[1:] if arguments is None else arguments), standalone_mode=False)
    except typer.TyperException as error:
        return _fail(error.format_message(), error.exit_code)
    if not isinstance(request, Request):  # --help or --version
        return int(request or 0)
    configure_logs(request.log, sys.stderr if request.json else sys.stdout, request.command)
    with tracing() as trace, _sigterm_raises():
        return _exit_code(request, trace)


def _exit_code(request: Request, trace: Trace) -> int:
    try:
        answer = _run(request, trace)
        if request.json:
            unicode = (sys.stdout.encoding or "").lower().startswith("utf")
            print(json.dumps(answer, indent=2, ensure_ascii=not unicode))
    except BrokenPipeError:
        return 1
    except (Exception, KeyboardInterrupt, TerminatedError) as error:
        code, line = exit_of(error)
        if isinstance(error, KgsparkError):
            if error.__cause__:
                logging.getLogger("trace").error(error, exc_info=error)
        elif isinstance(error, Exception):
            logging.getLogger("trace").error("an error that nobody foresaw", exc_info=error)
            line += f"; the trace is {trace.place}" if trace.place else "; no trace was written"
        return _fail(f"{trace.night}{line}", code)
    return 0


def _run(request: Request, trace: Trace) -> object:
    """The command's result, which `--json` prints."""
    if request.command == "settings":
        from kgspark.cli.settings import settings_page

        return settings_page(request.others, shown=not request.json)
    command = COMMANDS[request.command]
    if command.argument != "CONF":
        return import_module(command.module).run(request.first, request.others, _LOG.info)
    dates = dates_in(request.others) if request.command == "nightly" else []
    if not dates:
        return _run_night(command, request.first, request.others, trace)
    answers = []
    for number, date in enumerate(dates, 1):
        _LOG.info(f"The night of {date}, {number} of {len(dates)}:")
        trace.night = f"the night of {date}, {number} of {len(dates)}: "
        answers.append(_run_night(command, request.first, at_date(request.others, date), trace))
    return answers


def _run_night(command: Command, conf: str, overrides: Sequence[str], trace: Trace) -> object:
    """The result of a command on one night."""
    from kgspark.cli.call import run_command

    return run_command(command, conf, overrides, _LOG.info, lambda folder: setattr(trace, "folder", folder))


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM ends the command as Ctrl-C does: it stops the processes that it started."""
    if threading.current_thread() is not threading.main_thread():  # only there may Python set handlers
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise TerminatedError

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(message: str, code: int) -> int:
    _LOG.error(" ".join(message.split()))
    return code
