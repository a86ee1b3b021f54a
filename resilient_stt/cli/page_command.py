"""`resilient-stt page FILE`: makes the page of a recording."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..recording import document as documents
from ..recording.assemble import assemble
from ..recording.document import RecordingDocument
from ..recording.flight_recorder import read_lines, write_document
from ..recording.page import render
from ..recording.recordings_folder import write_whole
from .command_error import CommandError


def page(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="A recording: the .jsonl that a crashed process has left, or a .json.",
            show_default=False,
        ),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of a recording, and exit.")
    ] = False,
) -> None:
    """Make the page of a recording, beside it.

    Streams that end make their pages themselves. Of a process that crashed, the lines are left:
    this command makes the JSON document and the page of them.
    """
    if schema:
        typer.echo(json.dumps(documents.schema(), indent=2))
        return
    if file is None:
        raise CommandError("name a recording, such as calls/20260101T000000Z-STT_1.jsonl")
    target = file.with_suffix(".html")
    try:
        if file.suffix == ".jsonl":
            write_document(_assembled(file), file.with_suffix(".json"), target)
        else:
            data = file.read_text(encoding="utf-8")
            write_whole(target, render(data, _checked(file, data)))
    except OSError as error:
        raise CommandError(f"{error.filename or file}: {error.strerror}") from None
    typer.echo(target)


def _assembled(file: Path) -> RecordingDocument:
    try:
        return assemble(read_lines(file))
    except (KeyError, TypeError, ValueError) as error:
        raise CommandError(f"{file}: {_why(error)}") from None


def _checked(file: Path, data: str) -> RecordingDocument:
    try:
        return documents.validated(data)
    except ValueError:
        raise CommandError(
            f"{file} is not a recording of version {documents.VERSION}; "
            "resilient-stt page --schema prints what one looks like"
        ) from None


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else "a line of it is not one of a recording"
