"""The object that `--json` prints, alone on standard output."""

import json
import os
import sys
from contextlib import suppress


def print_json(answer: object) -> None:
    """Prints one JSON object. BrokenPipeError if its reader has gone away."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    print(json.dumps(answer, indent=2, ensure_ascii=not unicode))


def separate_errors() -> None:
    """Under spark-submit, lets standard error be that of its JVM, which puts ours into its standard output.

    So lines for people do not stand between those of the JSON object. Where the system has no /proc, nothing changes.
    """
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        return
    with suppress(OSError):
        descriptor = os.open(f"/proc/{os.getppid()}/fd/2", os.O_WRONLY | os.O_APPEND)
        sys.stderr.flush()
        os.dup2(descriptor, sys.stderr.fileno())
        os.close(descriptor)
