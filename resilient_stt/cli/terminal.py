"""The terminal that a command writes to: its width, and where log records go meanwhile."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

_UNLIMITED = 10_000  # columns; with the console's own, a table always seems to fit
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def table_console(width: int) -> Console:
    """Return a console for tables: as wide as the terminal, or `width` columns in a pipe.

    Rich assumes 80 columns where stdout is not a terminal. A table in a file or a CI log may be
    wider.
    """
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=width)


def print_table(console: Console, table: Table) -> None:
    """Print a table; where it does not fit, each row as a list of `title: cell`.

    Rich would cut cells off that it must not wrap, and wrap others to a few letters a line.
    """
    unlimited = console.options.update(max_width=_UNLIMITED)
    if Measurement.get(console, unlimited, table).minimum <= console.width:
        console.print(table)
        return
    titles = [str(column.header) for column in table.columns]
    console.print()
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        for title, cell in zip(titles, cells, strict=True):
            text = cell if isinstance(cell, Text) else Text.from_markup(str(cell))
            if text.plain:
                label = f"  {title}: " if title and title != titles[0] else ""
                console.print(Text.assemble((label, "dim"), text), soft_wrap=True)
    console.print()


def print_transcript(console: Console, text: str) -> None:
    """Print a transcript on stdout; `console` is that of stderr, with a live view on it."""
    if sys.stdout.isatty() and console.is_terminal:
        # stdout and stderr are one terminal: rich prints the text above its live view
        console.print(text, soft_wrap=True, markup=False)
    else:
        typer.echo(text)
        sys.stdout.flush()


class _FormatterWithExtras(logging.Formatter):
    """Appends the `extra` fields of a record to its message, as `key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        extras = {k: v for k, v in vars(record).items() if k not in _STANDARD_FIELDS}
        fields = " ".join(f"{key}={value!r}" for key, value in extras.items())
        return f"{super().format(record)}  {fields}".rstrip()


@contextlib.contextmanager
def log_records_to(console: Console, *, verbose: bool) -> Iterator[None]:
    """Print all log records on a console, above its live view; drop them if not `verbose`."""
    root = logging.getLogger()
    handler: logging.Handler = logging.NullHandler()
    if verbose:
        handler = RichHandler(console=console, show_path=False, markup=False)
        handler.setFormatter(_FormatterWithExtras("%(name)s: %(message)s"))
    level = root.level
    root.addHandler(handler)
    if verbose:
        root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
