"""`--html FILE`: the flight recorder's page of one stream, in a file of the user's choice."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ..recording.recording_options import RecordingOptions
from .command_error import CommandError

HtmlOption = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Write a page that shows what happened: who transcribed what, what failed, and why.",
    ),
]
"""The option of `demo` and `transcribe`."""


@contextlib.contextmanager
def recorded_to(page: Path | None) -> Iterator[RecordingOptions | None]:
    """Give the options for a recording, and write its page when it has ended.

    The stream must have ended with the block, but its recorder need not have.

    Raises:
        CommandError: the page cannot be written.
    """
    if page is None:
        yield None
        return
    if not page.parent.is_dir():
        raise CommandError(f"--html: there is no folder {page.parent}")
    with tempfile.TemporaryDirectory(prefix="resilient-stt-") as folder:
        try:
            yield RecordingOptions(folder)
        finally:
            _move(Path(folder), page)


def _move(folder: Path, page: Path) -> None:
    made = sorted(folder.glob("*.html"))
    if not made:
        return  # no stream was opened, and the user knows why
    try:
        shutil.copyfile(made[0], page)
    except OSError as error:
        raise CommandError(f"--html: {page} cannot be written: {error.strerror}") from None
    typer.echo(f"{page} written", err=True)
