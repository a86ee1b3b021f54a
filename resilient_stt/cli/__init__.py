"""The command line, `resilient-stt`.

Importing this module imports next to nothing. `main` first sees to Ctrl-C, and only then imports
typer, and of the commands only the one that is run, which takes one or two seconds.
"""

from __future__ import annotations

import sys

from ..extras import install_command, missing
from .interrupts import INTERRUPTED, exit_on_interrupt

__all__ = ["main"]


def main() -> None:
    """Run the command line.

    Exit status: 0 success; 1 something failed (also writing the output), or a word was lost or
    repeated; 2 the user made a mistake, such as a wrong option or a broken configuration, or the
    extra of the command line is not installed; 130 interrupted with Ctrl-C.
    """
    exit_on_interrupt()
    from .standard_streams import StandardStreams

    streams = StandardStreams.install()
    try:
        status = _run()
        streams.flush()
    finally:
        # Python waits for threads and clears up; a KeyboardInterrupt there would be printed.
        exit_on_interrupt()
    if streams.failure is not None:
        if streams.failure:
            sys.stderr.write(f"resilient-stt: cannot write the output: {streams.failure}\n")
        status = 1
    sys.exit(status)


def _run() -> int | str | None:
    try:
        from .app import app

        app(prog_name="resilient-stt")
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as end:
        return end.code
    except ModuleNotFoundError as error:
        package = missing(error)
        if package is None:
            raise
        needs = f"the command line needs {package}, which is not installed"
        sys.stderr.write(f"resilient-stt: {needs}: {install_command('cli')}\n")
        return 2
    return 0
