"""Runs one command line: its output, its error of one line, and its exit code."""

import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import typer

from kgspark import config
from kgspark.cli.arguments import Request, parser
from kgspark.cli.commands import COMMANDS
from kgspark.cli.logs import configure_logs
from kgspark.errors import KgsparkError

_LOG = logging.getLogger("kgspark")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns 0 only if its output is committed. Errors are one line on standard error."""
    # If other processes need the cores too, OpenMP threads that spin while they wait make training five times slower.
    # If none does, threads that never spin make it slower by half. A short spin costs little in both cases.
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    configure_logs("plain", sys.stdout)
    try:
        request = parser()(list(sys.argv[1:] if arguments is None else arguments), standalone_mode=False)
    except typer.TyperException as error:
        return _fail(_one_line(error.format_message()), error.exit_code)
    if not isinstance(request, Request):  # --help or --version
        return int(request or 0)
    configure_logs(request.log, sys.stderr if request.json else sys.stdout, request.command)
    try:
        answer = _run(request)
        if request.json:
            print(json.dumps(answer, indent=2, ensure_ascii=False))
    except KgsparkError as error:
        return _fail(_one_line(str(error)))
    except KeyboardInterrupt:
        return _fail("interrupted; all tables are complete, and the next call continues from the last stage", 130)
    except BrokenPipeError:
        return 1
    except Exception as error:
        return _fail(_write_trace(error))
    return 0


def _run(request: Request) -> object:
    """The command's result, which `--json` prints."""
    if request.command == "settings":
        from kgspark.cli.settings import settings_page

        return settings_page(request.others, shown=not request.json)
    command = COMMANDS[request.command]
    if command.argument != "CONF":
        return import_module(command.module).run(request.first, request.others, _LOG.info)
    from kgspark.night.night import open_night
    from kgspark.night.settings import NightSettings
    from kgspark.runs import Outcome

    settings = config.load(NightSettings, Path(request.first), request.others)
    # The stages import their engines, which takes seconds.
    from kgspark.stages.nightly import STAGES, check_earlier_stages

    module, stage = import_module(command.module), command.module.rpartition(".")[2]
    with open_night(settings, _LOG.info, command.locks) as night:
        if stage in STAGES:
            check_earlier_stages(night, stage)
        answer = module.run(night)
        # A stage returns its outcome, every other command the object that --json prints.
        return {"stages": [vars(answer)]} if isinstance(answer, Outcome) else answer


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _fail(message: str, code: int = 1) -> int:
    _LOG.error(message)
    return code


def _write_trace(error: Exception) -> str:
    """One line for an unexpected error (a defect or a broken machine); the trace goes to a file."""
    if os.environ.get("KGSPARK_TRACE"):
        traceback.print_exc()
    trace = Path(os.environ.get("TMPDIR", "/tmp")) / f"kgspark-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    trace.write_text(traceback.format_exc(), encoding="utf-8")
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}; the full trace is in {trace}"
