"""Threads that a library starts beside ours: they must not take the processor from anybody.

The ONNX runtime in Moonshine starts a thread for each core and model, which cannot be turned off.
They wait for work in a busy loop, and do little of it. With a lower priority, on a machine with ten
times more work than it can do, decoding 5 s of speech took 0.26 s of a core instead of 0.35 s. With
the lowest priority it took 0.21 s, but it waited for these threads for up to 5 s.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

LOWER = 5
"""Steps of Linux's "nice" by which their priority is lower."""
_TASKS = Path("/proc/self/task")


@contextlib.contextmanager
def low_priority_helpers() -> Iterator[None]:
    """Give the threads that this one starts inside a lower priority; on Linux only.

    A new thread inherits its name, which tells it from those that others start meanwhile.
    """
    if sys.platform != "linux":
        yield
        return
    own = threading.get_native_id()
    priority = os.getpriority(os.PRIO_PROCESS, own) + LOWER  # Linux takes no more than 19
    before, name = _name(own), f"local-{own}"[:15]
    _rename(own, name)
    try:
        yield
    finally:
        _rename(own, before)
        for task in _TASKS.iterdir():
            if _name(int(task.name)) == name:
                with contextlib.suppress(OSError):  # it has ended
                    os.setpriority(os.PRIO_PROCESS, int(task.name), priority)


def _name(thread: int) -> str:
    with contextlib.suppress(OSError):
        return (_TASKS / str(thread) / "comm").read_text().strip()
    return ""


def _rename(thread: int, name: str) -> None:
    with contextlib.suppress(OSError):  # a sandbox without /proc: priorities stay as they are
        (_TASKS / str(thread) / "comm").write_text(name)
