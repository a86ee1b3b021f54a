"""The command line: its commands, and how their errors are printed."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..errors import ResilientSTTError
from .chaos.chaos_command import chaos
from .check import check
from .command_error import CommandError
from .demo.demo_command import demo
from .demo.fake_servers import serve_fakes
from .matrix.matrix_command import matrix
from .page_command import page
from .schema_command import schema
from .serve.serve_command import serve
from .transcribe import transcribe

_SUMMARY = "Speech-to-text for LiveKit Agents that keeps transcribing while its providers fail."


class _Commands(TyperGroup):
    """Prints the errors that a user can fix without a traceback; bugs keep theirs."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CommandError as error:
            _print_error(error)
            raise typer.Exit(error.status) from None
        except ResilientSTTError as error:
            _print_error(error)
            raise typer.Exit(2) from None


def _print_error(error: Exception) -> None:
    """Print an error on stderr; the lines of a list of mistakes are indented below the first."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() or [""]]
    typer.echo("\n  ".join([f"resilient-stt: {lines[0]}", *lines[1:]]), err=True)


app = typer.Typer(
    cls=_Commands,
    help=_SUMMARY,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",  # joins the lines of a paragraph in a command's docstring
    pretty_exceptions_enable=False,
)
app.command()(demo)
app.command()(transcribe)
app.command()(chaos)
app.command()(matrix)
app.command()(serve)
app.command()(check)
app.command()(schema)
app.command()(page)
app.command(hidden=True)(serve_fakes)


def _print_version(wanted: bool) -> None:
    if wanted:
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
