from __future__ import annotations

import os
import sys
import threading

import pytest

from resilient_stt.local.helper_threads import LOWER, low_priority_helpers

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's"),
    pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python names its threads itself"),
]


def test_only_threads_that_are_started_inside_get_a_lower_priority() -> None:
    """Those of others that begin at the same time keep theirs, and so does this one."""
    end, running = threading.Event(), threading.Event()
    native: dict[str, int] = {}

    def wait(name: str) -> None:
        native[name] = threading.get_native_id()
        running.set()
        end.wait(10)

    def start(name: str) -> None:
        running.clear()
        threading.Thread(target=wait, args=(name,)).start()
        assert running.wait(10)

    begin, begun = threading.Event(), threading.Event()

    def another() -> None:
        begin.wait(10)
        start("of another")
        begun.set()

    threading.Thread(target=another).start()
    with low_priority_helpers():
        start("inside")
        begin.set()
        assert begun.wait(10)
    start("after")
    native["own"] = threading.get_native_id()
    usual = os.getpriority(os.PRIO_PROCESS, native["own"])
    found = {name: os.getpriority(os.PRIO_PROCESS, thread) for name, thread in native.items()}
    end.set()
    lower = min(usual + LOWER, 19)
    assert found == {"inside": lower, "of another": usual, "after": usual, "own": usual}
