"""The command line: its commands, and how their errors are printed."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .command_error import CommandError
from .commands import COMMANDS, Command
from .interrupts import raise_on_interrupt

_SUMMARY = "Speech-to-text for LiveKit Agents that keeps transcribing while its providers fail."
_SETTINGS: dict[str, Any] = {
    "add_completion": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
    "rich_markup_mode": "markdown",  # joins the lines of a paragraph in a command's docstring
    "pretty_exceptions_enable": False,
}


class _Commands(TyperGroup):
    """Imports a command when it is run. Prints the errors that a user can fix without a traceback;
    bugs keep theirs.
    """

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None:
            command = _loaded(name, COMMANDS[name])
            raise_on_interrupt()
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CommandError as error:
            _print_error(error)
            raise typer.Exit(error.status) from None
        except ModuleNotFoundError:
            raise  # `main` tells which extra brings the module
        except Exception as error:
            from ..errors import ResilientSTTError  # imports LiveKit, as the command has by now

            if not isinstance(error, ResilientSTTError):
                raise
            _print_error(error)
            raise typer.Exit(2) from None


def _loaded(name: str, command: Command) -> Any:
    """Return the command with its options, in place of the one that only has a summary."""
    alone = typer.Typer(**_SETTINGS)
    alone.command(name, hidden=command.hidden)(command.load())
    return typer.main.get_command(alone)


def _print_error(error: Exception) -> None:
    """Print an error on stderr; the lines of a list of mistakes are indented below the first."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() or [""]]
    typer.echo("\n  ".join([f"resilient-stt: {lines[0]}", *lines[1:]]), err=True)


app = typer.Typer(cls=_Commands, help=_SUMMARY, no_args_is_help=True, **_SETTINGS)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        typer.echo(f"resilient-stt {metadata.version('livekit-resilient-stt')}")
        raise typer.Exit


@app.callback(help=_SUMMARY)
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Take the options that stand before the command."""


def _not_loaded() -> None:
    raise AssertionError("a command is loaded before it runs")


for _name, _command in COMMANDS.items():
    app.command(_name, help=_command.summary, hidden=_command.hidden)(_not_loaded)
