"""Parses the command line; `kgspark.cli.main` runs the result."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

import kgspark
from kgspark.cli.commands import COMMANDS, Command

_EPILOG = (
    "conf/nightly.yaml has every key with its default; kgspark settings KEY prints the meaning of a key. Dashes and "
    "underscores are the same in a command's name. The trace of an unexpected error is a file in the night's folder; "
    "KGSPARK_TRACE=FILE chooses another one, and KGSPARK_TRACE=1 prints it. KGSPARK_LOG=json is --log json."
)
# Other names of commands, which the help does not list.
_ALIASES = {"runs": "nights"}
_ARGUMENTS = {
    "CONF": "a YAML file; conf/ has one per situation",
    "NAME": "the benchmark; kgspark settings bench lists them",
    "OUT": "the folder to write, which must not exist",
}

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, and the lines on standard error.")]
Log = Annotated[
    str, typer.Option("--log", metavar="plain|json", help="Lines for people, or JSON lines on standard error.")
]


@dataclass(frozen=True)
class Request:
    """A parsed command line.

    first   the command's first argument; empty for `settings`, where all words are in `others`
    """

    command: str
    first: str
    others: tuple[str, ...]
    json: bool
    log: str


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
        cls = _NightCommand if command.argument == "CONF" else TyperCommand
        app.command(name, help=command.help, cls=cls)(_request(name, command))
    for alias, name in _ALIASES.items():
        app.command(alias, help=COMMANDS[name].help, cls=TyperCommand, hidden=True)(_request(name, COMMANDS[name]))
    app.command("settings", help="Type, default and meaning of a setting, or of a section's.")(_settings)
    return app


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
    about = _ARGUMENTS[command.argument]

    def request(
        context: typer.Context,
        first: Annotated[str, typer.Argument(metavar=command.argument, help=about, show_default=False)],
        overrides: Annotated[
            list[str] | None,
            typer.Argument(metavar=command.usage, help="settings that override the file's", show_default=False),
        ] = None,
        json: Json = False,
        log: Log = "",
    ) -> Request:
        return _request_of(context, name, first, overrides, json, log)

    return request


def _settings(
    context: typer.Context,
    key: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY]", help="a key, a section, `bench NAME` or `generate`", show_default=False),
    ] = None,
    json: Json = False,
    log: Log = "",
) -> Request:
    return _request_of(context, "settings", "", key, json, log)


def _request_of(
    context: typer.Context, name: str, first: str, others: list[str] | None, json: bool, log: str
) -> Request:
    """The request; --json and --log may be before or after the command's name."""
    log = log or context.obj["log"] or os.environ.get("KGSPARK_LOG", "plain")
    if log not in ("plain", "json"):
        raise typer.BadParameter(f"expected plain or json, found {log!r}", param_hint="--log")
    return Request(name, first, tuple(others or ()), json or context.obj["json"], log)
