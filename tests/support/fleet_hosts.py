"""Hosts of a fleet in one process: each `ResilientSTT` stands for one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from resilient_stt import Policies, RedisHealth, ResilientSTT
from resilient_stt.core.events import BreakerState, ErrorKind
from resilient_stt.core.health.breaker import Breaker
from resilient_stt.fleet.wire import PREFIX

from .fakes import Behavior, FakeStream, FakeSTT, says

PATIENCE = 10.0  # seconds to wait for a condition on a busy machine
SERVER = ErrorKind.SERVER


class Host:
    """A `ResilientSTT` with two providers that are the same on all hosts."""

    def __init__(
        self, url: str, first: Behavior = FakeStream.listen, policies: Policies | None = None
    ) -> None:
        self.first = FakeSTT(first, provider="First", text="from the first")
        self.second = FakeSTT(says("from the second"), provider="Second", text="from the second")
        self.stt = ResilientSTT(
            [self.first, self.second], health=RedisHealth(url), policies=policies, vad=None
        )

    @property
    def breaker(self) -> Breaker:
        return self.stt._runtime.health["first"].breaker

    @property
    def state(self) -> BreakerState:
        return self.breaker.state(now())

    def trip(self, kind: ErrorKind = SERVER) -> None:
        """Record three failures of the first provider."""
        for _ in range(3):
            self.breaker.record_failure(kind, now())


def now() -> float:
    return asyncio.get_running_loop().time()


async def until(condition: Callable[[], Any]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@asynccontextmanager
async def sharing(*hosts: Host) -> AsyncIterator[None]:
    """Run the syncs of all hosts, as if each had a stream open; all of them have reached Redis."""
    async with AsyncExitStack() as stack:
        for host in hosts:
            await stack.enter_async_context(host.stt._runtime.sharing_health())
        await until(lambda: all(host.breaker.probe_lease.shared for host in hosts))
        yield


def key(host: Host, what: str) -> str:
    """The Redis key of the first provider."""
    return f"{PREFIX}{host.stt._runtime.setup.key('first')}:{what}"
