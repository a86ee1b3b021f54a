"""The command line, `resilient-stt`.

Importing this module imports next to nothing. `main` first sees to Ctrl-C, and only then imports
the commands, which takes one or two seconds.
"""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["main"]

_INTERRUPTED = 130  # 128 + SIGINT, as shells count


def main() -> None:
    """Run the command line.

    Exit status: 0 success; 1 something failed (also writing the output), or a word was lost or
    repeated; 2 the user made a mistake, such as a wrong option or a broken configuration; 130
    interrupted with Ctrl-C.
    """
    _exit_on_interrupt()
    from .standard_streams import StandardStreams

    streams = StandardStreams.install()
    try:
        status = _run()
        streams.flush()
    finally:
        # Python waits for threads and clears up; a KeyboardInterrupt there would be printed.
        _exit_on_interrupt()
    if streams.failure is not None:
        if streams.failure:
            sys.stderr.write(f"resilient-stt: cannot write the output: {streams.failure}\n")
        status = 1
    sys.exit(status)


def _run() -> int | str | None:
    try:
        from .app import app

        _raise_on_interrupt()
        app(prog_name="resilient-stt")
    except KeyboardInterrupt:
        return _INTERRUPTED
    except SystemExit as end:
        return end.code
    return 0


def _exit_on_interrupt() -> None:
    """End the process at once on Ctrl-C, while there is nothing to tidy up.

    An exception would not do: raised inside an import of a C extension, it ends in a traceback or
    is taken for an import error.
    """
    # A shell starts background jobs with SIGINT ignored, and they are to stay so.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(_INTERRUPTED))


def _raise_on_interrupt() -> None:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
