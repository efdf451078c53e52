"""Runs one command line: its output, its error of one line, and its exit code."""

import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from types import FrameType

import typer

from kgspark.cli.arguments import Request, parser
from kgspark.cli.commands import COMMANDS, Command
from kgspark.cli.dates import at_date, dates_in
from kgspark.cli.exits import TerminatedError, exit_of
from kgspark.cli.logs import configure_logs
from kgspark.cli.output import print_json, separate_errors
from kgspark.cli.trace import Trace, tracing
from kgspark.errors import KgsparkError, UnfitError
from kgspark.redaction import redact

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
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        request = parser()(words, standalone_mode=False)
    except typer.TyperException as error:
        if not error.format_message():  # `kgspark` alone has printed its help
            return error.exit_code
        return _fail(error.format_message(), error.exit_code, as_json="--json" in words)
    if not isinstance(request, Request):  # --help or --version
        return int(request or 0)
    if request.json:
        separate_errors()
    configure_logs(request.log, sys.stderr if request.json else sys.stdout, request.command)
    with tracing() as trace, _sigterm_raises():
        return _exit_code(request, trace)


def _exit_code(request: Request, trace: Trace) -> int:
    try:
        answer = _run(request, trace)
        if request.json:
            print_json(answer)
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
        answer = error.answer if isinstance(error, UnfitError) else {}
        return _fail(f"{trace.night}{line}", code, request.json, answer)
    return 0


def _run(request: Request, trace: Trace) -> object:
    """The command's result, which `--json` prints."""
    if request.command == "settings":
        from kgspark.cli.settings import settings_page

        return settings_page(request.others, shown=not request.json)
    command = COMMANDS[request.command]
    if not command.night:
        return import_module(command.module).run(request.first, request.others, _LOG.info, **request.options)
    command = command.chosen(request.options)
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


def _fail(message: str, code: int, as_json: bool = False, answer: Mapping[str, object] | None = None) -> int:
    """Logs the error; with --json its object is on standard output, too: `error`, `exit_code`, and the `answer`."""
    line = redact(" ".join(message.split()))
    _LOG.error(line)
    if as_json:
        with suppress(BrokenPipeError):
            print_json({"error": line, "exit_code": code, **(answer or {})})
    return code
