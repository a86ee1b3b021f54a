"""Standard output and standard error that end a command quietly when nobody takes what it writes.

`demo | head -1` closes the pipe, `check > /dev/full` has no room. Python reports either at the
`print` that happens to fail: possibly inside a callback of an event loop, and once more when it
flushes at its end. Here the failing file reports nothing. It notes the error, writes to nowhere
from then on, and asks the command to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import os
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")

_stoppable: dict[asyncio.AbstractEventLoop, asyncio.Task[Any]] = {}
"""The main task of each event loop that runs work of `stoppable`."""


async def stoppable(work: Coroutine[Any, Any, _T]) -> _T:
    """Run work that prints; cancel it if the output fails, so that it can tidy up.

    Raises:
        SystemExit: the output failed.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    _stoppable[loop] = task
    try:
        return await work
    except asyncio.CancelledError:
        if isinstance(sys.stdout, _GuardedText) and sys.stdout.failure is not None:
            raise SystemExit(1) from None
        raise
    finally:
        del _stoppable[loop]


def _stop() -> None:
    """Ask the command to end: through its main task if an event loop runs, else by an exception.

    An exception raised here inside a loop would reach whoever called back, who may swallow it.
    """
    try:
        task = _stoppable.get(asyncio.get_running_loop())
    except RuntimeError:
        task = None
    if task is None:
        raise SystemExit(1)
    task.cancel()


class _GuardedFile(io.RawIOBase):
    """A file descriptor whose first failure is noted and whose later output goes nowhere."""

    def __init__(self, descriptor: int, *, ends_command: bool) -> None:
        self._descriptor = descriptor
        self._ends_command = ends_command
        self.failure: str | None = None
        """What went wrong; empty if the reader has gone, which is no mistake. None: nothing."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
        if self.failure is None:
            try:
                return os.write(self._descriptor, data)
            except OSError as error:
                self._fail(error)
        return len(data)

    def _fail(self, error: OSError) -> None:
        gone = error.errno in (errno.EPIPE, errno.ECONNRESET)
        self.failure = "" if gone else (error.strerror or type(error).__name__)
        if self._ends_command:
            _stop()


class _GuardedText(io.TextIOWrapper):
    def __init__(self, file: _GuardedFile, like: io.TextIOWrapper) -> None:
        super().__init__(
            io.BufferedWriter(file),
            encoding=like.encoding,
            # a recognized word that the terminal cannot show is no reason to stop
            errors="replace" if like.errors == "strict" else like.errors,
            line_buffering=like.line_buffering or like.write_through,
        )
        self._file = file

    @property
    def failure(self) -> str | None:
        return self._file.failure


class StandardStreams:
    """Both streams, guarded. Without standard error, only nobody reads the messages."""

    def __init__(self, out: _GuardedText | None, err: _GuardedText | None) -> None:
        self._out = out
        self._err = err

    @classmethod
    def install(cls) -> StandardStreams:
        """Put guarded files in the place of `sys.stdout` and `sys.stderr`."""
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:  # the shell's `>&-`
                setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        out = _guarded(sys.stdout, ends_command=True)
        err = _guarded(sys.stderr, ends_command=False)
        sys.stdout, sys.stderr = out or sys.stdout, err or sys.stderr
        return cls(out, err)

    @property
    def failure(self) -> str | None:
        """Why standard output failed; empty if its reader has gone, None if it did not fail."""
        return self._out.failure if self._out else None

    def flush(self) -> None:
        """Write what is still buffered, so that a failure is known before the process ends."""
        for stream in (self._out, self._err):
            if stream is not None:
                with contextlib.suppress(SystemExit):  # the command is at its end anyway
                    stream.flush()


def _guarded(stream: Any, *, ends_command: bool) -> _GuardedText | None:
    """A guarded copy of a stream; None for one that is not an ordinary file (Windows' console)."""
    if not isinstance(stream, io.TextIOWrapper) or isinstance(stream, _GuardedText):
        return None
    raw = getattr(stream.buffer, "raw", stream.buffer)
    if not isinstance(raw, io.FileIO):
        return None
    stream.flush()
    return _GuardedText(_GuardedFile(raw.fileno(), ends_command=ends_command), stream)
