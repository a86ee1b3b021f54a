"""What Ctrl-C does: end the process at once, or raise `KeyboardInterrupt` in a command."""

from __future__ import annotations

import os
import signal

INTERRUPTED = 130
"""The exit status: 128 + SIGINT, as shells count."""


def exit_on_interrupt() -> None:
    """End the process at once on Ctrl-C, while there is nothing to tidy up.

    An exception would not do: raised inside an import of a C extension, it ends in a traceback or
    is taken for an import error.
    """
    # A shell starts background jobs with SIGINT ignored, and they are to stay so.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(INTERRUPTED))


def raise_on_interrupt() -> None:
    """Raise `KeyboardInterrupt` on Ctrl-C, as Python does by itself."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
