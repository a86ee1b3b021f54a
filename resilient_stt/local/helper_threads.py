"""Threads that a library starts beside ours: they must not take the processor from anybody.

The ONNX runtime in Moonshine starts a thread for each core and model, which cannot be turned off.
They wait for work in a busy loop, and do little of it. With the lowest priority, on a machine that
was busy with other things, a decoding took half of the processor time, and less time (0.54 s, not
0.74 s, for 5 s of speech). The scheduling class for idle threads is not an option: decoding waited
for them for up to 6 s.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

_LOWEST = 19
_TASKS = Path("/proc/self/task")


@contextlib.contextmanager
def low_priority_helpers() -> Iterator[None]:
    """Give the threads that this one starts inside the lowest priority; on Linux only.

    A new thread inherits its name, which tells it from those that others start meanwhile.
    """
    if sys.platform != "linux":
        yield
        return
    own = threading.get_native_id()
    before, name = _name(own), f"local-{own}"[:15]
    _rename(own, name)
    try:
        yield
    finally:
        _rename(own, before)
        for task in _TASKS.iterdir():
            if _name(int(task.name)) == name:
                with contextlib.suppress(OSError):  # it has ended
                    os.setpriority(os.PRIO_PROCESS, int(task.name), _LOWEST)


def _name(thread: int) -> str:
    with contextlib.suppress(OSError):
        return (_TASKS / str(thread) / "comm").read_text().strip()
    return ""


def _rename(thread: int, name: str) -> None:
    with contextlib.suppress(OSError):  # a sandbox without /proc: priorities stay as they are
        (_TASKS / str(thread) / "comm").write_text(name)
