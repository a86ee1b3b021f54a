"""The task that keeps a process in step with its fleet, and what becomes of it without Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress

import tenacity
from livekit.agents.utils import aio

from ..core.health.replica import HealthReplica
from ..observe import logger
from .link import RedisLink
from .store import HealthSync

SYNC_INTERVAL = 1.0
"""Seconds between two round trips, if nothing happens here."""
LEAVE_TIMEOUT = 0.3
"""Seconds that the last words of a process may take."""
REFRESH_TIMEOUT = 2.0
"""Seconds that a glance may take."""
_WAIT = tenacity.wait_random_exponential(multiplier=0.5, max=10.0, min=0.1)
"""Between two attempts to reach Redis."""

_ADVICE = {
    "AuthenticationError": "check the user and the password in its URL",
    "NoPermissionError": "its user needs all commands on the keys resilient_stt:*",
    "OutOfMemoryError": "it is full: raise its maxmemory, or let it evict",
    "ReadOnlyError": "its URL is that of a replica, which takes no writes: give the primary",
}
_REACH = "check that it runs, and that this machine reaches it in time"


class FleetSync(HealthSync):
    """Alive while it is used: one task and one connection, whoever and however many use it."""

    def __init__(
        self, connect: Callable[[], RedisLink], members: Iterable[HealthReplica], address: str
    ) -> None:
        """`address`: of Redis, as it may be told."""
        self._connect = connect
        self._replicas = tuple(members)
        self._address = address
        self._users = 0
        self._task: asyncio.Task[None] | None = None
        self._glance: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._answered = asyncio.Event()
        self._lost = False

    def __repr__(self) -> str:
        return f"FleetSync({self._address!r}, users={self._users}, lost={self._lost})"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While somebody is inside, it works; after the last one left, nothing of it is left."""
        self._users += 1
        if self._task is None:
            self._wake, self._answered = asyncio.Event(), asyncio.Event()
            self._task = asyncio.create_task(self._run(), name="resilient_stt.health")
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                task, self._task = self._task, None
                await aio.cancel_and_wait(task)

    def refresh(self) -> None:
        """Find out, in the background and once, what others know: somebody will come soon."""
        with suppress(RuntimeError):  # before there is a loop, nobody comes soon
            loop = asyncio.get_running_loop()
            if self._task is None and self._glance is None:
                self._glance = loop.create_task(self._look(), name="resilient_stt.glance")

    async def aclose(self) -> None:
        """End a glance that is under way."""
        if self._glance is not None:
            await aio.cancel_and_wait(self._glance)

    async def _look(self) -> None:
        try:
            async with self.running():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._answered.wait(), REFRESH_TIMEOUT)
        finally:
            self._glance = None

    # -- the task

    async def _run(self) -> None:
        link = self._connect()
        trying = tenacity.AsyncRetrying(
            sleep=asyncio.sleep,
            wait=_WAIT,
            stop=tenacity.stop_never,
            retry=tenacity.retry_if_exception_type(Exception),
            before_sleep=self._without,
        )
        try:
            while True:
                await trying(self._exchange, link)
                self._with()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), SYNC_INTERVAL)
        finally:
            await self._leave(link)

    async def _exchange(self, link: RedisLink) -> None:
        self._wake.clear()
        for member in self._replicas:
            member.health.breaker.notify = self._wake.set
        try:
            await link.exchange()
        finally:
            task = asyncio.current_task()
            if task and task.cancelling():  # redis-py loses a cancellation while it connects
                raise asyncio.CancelledError

    def _with(self) -> None:
        self._answered.set()
        for member in self._replicas:
            member.store_connected()
        if self._lost:
            self._lost = False
            logger.info("health is shared again", redis=self._address)

    def _without(self, state: tenacity.RetryCallState) -> None:
        for member in self._replicas:
            member.store_lost()
        if self._lost:
            return
        self._lost = True
        error = state.outcome.exception() if state.outcome else None
        kind = type(error).__name__  # its text may hold anything
        advice = _ADVICE.get(kind, _REACH)
        logger.warning(
            # in the message as well: formatters other than LiveKit's leave the fields out
            f"health is not shared: Redis at {self._address} ({kind}): {advice}; until then calls "
            "go on with what this process knows itself",
            redis=self._address,
            reason=kind,
            advice=advice,
        )

    async def _leave(self, link: RedisLink) -> None:
        """The last words: nobody may come after us who would say them."""
        with suppress(Exception):
            if not (self._users or self._lost):
                for member in self._replicas:
                    member.leave()
                if any(
                    member.has_updates(asyncio.get_running_loop().time())
                    for member in self._replicas
                ):
                    await asyncio.wait_for(link.exchange(), LEAVE_TIMEOUT)
        if not self._users:
            for member in self._replicas:
                member.store_lost()
        with suppress(Exception):
            await asyncio.wait_for(link.aclose(), LEAVE_TIMEOUT)
