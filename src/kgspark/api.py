"""kgspark in a Python process of yours, such as a notebook."""

from pathlib import Path
from typing import TYPE_CHECKING

from kgspark.cli.call import run_command
from kgspark.cli.commands import COMMANDS
from kgspark.errors import ConfigError

if TYPE_CHECKING:
    from kgspark.spark.frames import SparkSession


def run(
    conf: str | Path,
    *overrides: str,
    command: str = "nightly",
    spark: "SparkSession | None" = None,
    quiet: bool = False,
) -> object:
    """Runs a command of a night in this process, as `kgspark COMMAND CONF OVERRIDES` does.

    overrides  as on the command line: "train.dim=64"; before them, the words of show, explain and similar
    command    nightly, a stage, evaluate, ...
    spark      the session to work in. None: the active one; without an active one, one starts and stops. A session that
               was there before is never stopped
    quiet      prints no lines

    Returns the object that `--json` prints. Raises `kgspark.errors.KgsparkError` with the line that the command prints.
    """
    commands = {name: found for name, found in COMMANDS.items() if found.night}
    if command not in commands:
        raise ConfigError(f"{command}: no command of a night; expected one of {', '.join(commands)}")
    return run_command(commands[command], conf, overrides, (lambda text: None) if quiet else print, spark=spark)
