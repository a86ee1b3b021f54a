"""The commands, and what becomes of their errors."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..errors import ResilientSTTError
from .chaos.command import chaos
from .check import check
from .demo.command import demo
from .demo.servers import serve_fakes
from .print_schema import schema
from .problems import Problem
from .serve.command import serve
from .transcribe import transcribe


class _Commands(TyperGroup):
    """Turns the errors that a user can mend into a line or a list; bugs keep their traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Problem as problem:
            _complain(problem)
            raise typer.Exit(problem.status) from None
        except ResilientSTTError as error:
            _complain(error)
            raise typer.Exit(2) from None


def _complain(error: Exception) -> None:
    lines = [" ".join(line.split()) for line in str(error).splitlines() or [""]]
    typer.echo("\n  ".join([f"resilient-stt: {lines[0]}", *lines[1:]]), err=True)


app = typer.Typer(
    cls=_Commands,
    help="Speech-to-text that keeps transcribing while its providers fail.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(demo)
app.command()(transcribe)
app.command()(chaos)
app.command()(serve)
app.command()(check)
app.command()(schema)
app.command(hidden=True)(serve_fakes)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"resilient-stt {metadata.version('livekit-resilient-stt')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Speech-to-text that keeps transcribing while its providers fail."""


def main() -> None:
    """Run the command line.

    Exit status: 0 all went well; 1 something failed, or a word was lost or said twice; 2 a mistake
    of the user's; 130 interrupted.
    """
    app(prog_name="resilient-stt")
