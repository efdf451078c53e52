"""Parses the command line; `kgspark.cli.main` runs the result."""

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

import kgspark
from kgspark.cli.commands import COMMANDS, Command, Option

_EPILOG = (
    "First steps: kgspark example writes a data set and its configuration, kgspark init PATH a configuration for your "
    "own tables, and kgspark nightly CONF makes the tables. kgspark doctor says what is missing on this machine. "
    "kgspark settings KEY prints the meaning of a key; conf/nightly.yaml has every key with its default. Dashes and "
    "underscores are the same in a command's name. The trace of an unexpected error is a file in the night's folder; "
    "KGSPARK_TRACE=FILE chooses another one, and KGSPARK_TRACE=1 prints it. KGSPARK_LOG=json is --log json."
)
# Other names of commands, which the help does not list.
_ALIASES = {"runs": "nights"}
_ARGUMENTS = {
    "CONF": "a YAML file; conf/ has one per situation, and kgspark init writes one for your own tables",
    "[CONF]": "a YAML file, to check what it needs as well",
    "NAME": "the benchmark; kgspark settings bench lists them",
    "OUT": "the folder to write, which must not exist",
    "PATH": "a file, or a folder of files: CSV, Parquet, JSON lines; compressed or not",
    "[FOLDER]": "the folder to write, which must not exist; example if not given",
    "DATASET": "ml-latest-small, ml-100k, ml-1m, ml-10m, ml-20m, ml-25m or ml-32m",
}

# The first argument in an example.
_EXAMPLES = {
    "CONF": "own.yaml",
    "[CONF]": "own.yaml",
    "NAME": "topk",
    "OUT": "ratings-of-any-size",
    "PATH": "ratings.csv",
    "[FOLDER]": "example",
    "DATASET": "ml-1m",
}

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, and the lines on standard error.")]
Log = Annotated[
    str, typer.Option("--log", metavar="plain|json", help="Lines for people, or JSON lines on standard error.")
]


@dataclass(frozen=True)
class Request:
    """A parsed command line.

    first    the command's first argument; empty if it may be absent and is, and for `settings`, where all words are in
             `others`
    options  the command's own options by name, with underscores: their texts, or True; without those not given
    """

    command: str
    first: str
    others: tuple[str, ...]
    json: bool
    log: str
    options: Mapping[str, str | bool] = field(default_factory=dict)


class _NightCommand(TyperCommand):
    """A command whose --help ends with its settings: their keys, or an outline of all sections."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        super().format_help(ctx, formatter)
        from kgspark.cli.settings import print_keys

        print_keys(COMMANDS[self.name or ""].sections)


def parser() -> typer.Typer:
    """The command line of `COMMANDS` and `settings`; called with arguments, it returns a `Request` or an exit code."""
    app = typer.Typer(
        name="kgspark",
        help=(kgspark.__doc__ or "").partition("\n")[0],
        epilog=_EPILOG,
        context_settings={
            "help_option_names": ["-h", "--help"],
            "token_normalize_func": lambda token: token.replace("_", "-"),
        },
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_common)
    for name, command in COMMANDS.items():
        cls = _NightCommand if command.night else TyperCommand
        epilog = _example(name, command)
        app.command(name, cls=cls, help=command.help, epilog=epilog, rich_help_panel=command.group)(
            _request(name, command)
        )
    for alias, name in _ALIASES.items():
        app.command(alias, help=COMMANDS[name].help, cls=TyperCommand, hidden=True)(_request(name, COMMANDS[name]))
    of_settings = "Type, default and meaning of a setting, or of a section's."
    app.command("settings", help=of_settings, rich_help_panel=COMMANDS["config"].group)(_settings)
    return app


def _example(name: str, command: Command) -> str:
    """A command line to begin with; for a stage, also what may follow it."""
    first = _EXAMPLES[command.argument]
    text = f"Example: kgspark {' '.join(filter(None, [name, first, command.example]))}"
    if command.night:
        text += f". The settings below may follow; kgspark config {first} shows those in force"
    return f"{text}."


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kgspark {kgspark.__version__}")
        raise typer.Exit


def _common(
    context: typer.Context,
    json: Json = False,
    log: Log = "",
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = {"json": json, "log": log}


def _request(name: str, command: Command) -> Callable[..., Request]:
    """The function that typer calls. It reads the command's arguments and options from the function's signature."""

    def request(
        context: typer.Context,
        first: str = "",
        overrides: list[str] | None = None,
        json: bool = False,
        log: str = "",
        **options: str | bool,
    ) -> Request:
        given = {key: value for key, value in options.items() if value}
        return _request_of(context, name, first, overrides, json, log, given)

    parameters = {"context": (typer.Context, inspect.Parameter.empty), "first": _first(command)}
    if command.others:
        others = typer.Argument(metavar=command.usage, help="settings that override the file's", show_default=False)
        parameters["overrides"] = (Annotated[list[str] | None, others], None)
    parameters |= {option.name.replace("-", "_"): _option(option) for option in command.options}
    parameters |= {"json": (Json, False), "log": (Log, "")}
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    request.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(key, kind, default=value, annotation=type_) for key, (type_, value) in parameters.items()]
    )
    request.__annotations__ = {key: type_ for key, (type_, _) in parameters.items()}
    return request


def _first(command: Command) -> tuple[Any, Any]:
    about = typer.Argument(metavar=command.argument, help=_ARGUMENTS[command.argument], show_default=False)
    return Annotated[str, about], "" if command.argument.startswith("[") else inspect.Parameter.empty


def _option(option: Option) -> tuple[Any, Any]:
    if option.value:
        about = typer.Option(f"--{option.name}", metavar=option.value, help=option.help, show_default=False)
        return Annotated[str, about], ""
    return Annotated[bool, typer.Option(f"--{option.name}", help=option.help)], False


def _settings(
    context: typer.Context,
    key: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY]", help="a key, a section, `bench NAME` or `generate`", show_default=False),
    ] = None,
    json: Json = False,
    log: Log = "",
) -> Request:
    return _request_of(context, "settings", "", key, json, log, {})


def _request_of(
    context: typer.Context,
    name: str,
    first: str,
    others: list[str] | None,
    json: bool,
    log: str,
    options: Mapping[str, str | bool],
) -> Request:
    """The request; --json and --log may be before or after the command's name."""
    log = log or context.obj["log"] or os.environ.get("KGSPARK_LOG", "plain")
    if log not in ("plain", "json"):
        raise typer.BadParameter(f"expected plain or json, found {log!r}", param_hint="--log")
    return Request(name, first, tuple(others or ()), json or context.obj["json"], log, options)
