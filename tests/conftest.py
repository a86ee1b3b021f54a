from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from resilient_stt.testing.clock import VirtualTimeLoop


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "virtual_time: run the test on a VirtualTimeLoop")


# --- tests marked `virtual_time` run on a loop whose clock jumps over waiting ---


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Choose the event loop of a test by its mark."""
    if item.get_closest_marker("virtual_time"):
        return {"virtual": VirtualTimeLoop}
    return {"real": asyncio.new_event_loop}
