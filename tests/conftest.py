from __future__ import annotations

import asyncio
import gc
import inspect
import selectors
from collections.abc import AsyncIterator, Iterator

import pytest

# --- every async test is checked for what it leaves behind ---


@pytest.fixture(autouse=True)
def leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a test no task runs, no socket is watched, and nothing is collected unclosed."""
    if not inspect.iscoroutinefunction(getattr(request, "function", None)):
        yield
        return
    request.getfixturevalue("leaves_no_task")
    yield
    gc.collect()  # what was not closed says so now, and a ResourceWarning is an error


@pytest.fixture
async def leaves_no_task() -> AsyncIterator[None]:
    """Checked last of all: everything else the test set up is torn down by then."""
    yield
    for _ in range(5):  # transports that were closed go in the next turns of the loop
        await asyncio.sleep(0)
    tasks = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not tasks, f"tasks are left: {tasks}"
    watched = watched_sockets(asyncio.get_running_loop())
    assert not watched, f"sockets are left: {watched}"


@pytest.fixture(autouse=True, scope="session")
def looks_at_new_objects_only() -> None:
    """What was imported need not be collected again after every test."""
    gc.freeze()


def watched_sockets(loop: asyncio.AbstractEventLoop) -> list[str]:
    """The handlers of the sockets that a loop watches, but for its own.

    And but for gRPC's, which stays as long as it holds a call that was closed before it had begun.
    """
    selector: selectors.BaseSelector = getattr(loop, "_selector")  # noqa: B009
    own = getattr(loop, "_ssock").fileno()  # noqa: B009
    watched = [str(key.data) for key in selector.get_map().values() if key.fd != own]
    return [handler for handler in watched if "PollerCompletionQueue" not in handler]
