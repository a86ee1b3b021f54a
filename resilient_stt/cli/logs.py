"""Where log records go while a command owns the terminal."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from rich.console import Console
from rich.logging import RichHandler

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Extras(logging.Formatter):
    """Appends what a record carries besides its message."""

    def format(self, record: logging.LogRecord) -> str:
        extras = {k: v for k, v in vars(record).items() if k not in _STANDARD}
        told = " ".join(f"{key}={value!r}" for key, value in extras.items())
        return f"{super().format(record)}  {told}".rstrip()


@contextlib.contextmanager
def routed(console: Console, *, verbose: bool) -> Iterator[None]:
    """Send all log records to a console, above its live view, or nowhere if not `verbose`."""
    root = logging.getLogger()
    handler: logging.Handler = logging.NullHandler()
    if verbose:
        handler = RichHandler(console=console, show_path=False, markup=False)
        handler.setFormatter(_Extras("%(name)s: %(message)s"))
    level = root.level
    root.addHandler(handler)
    if verbose:
        root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
