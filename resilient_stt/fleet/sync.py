"""The task that keeps a process in step with its fleet, and what happens when Redis is away."""

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
"""Seconds between two round trips, if nothing happens here that should be sent at once."""
LEAVE_TIMEOUT = 0.3
"""Seconds that the last round trip of a process may take."""
REFRESH_TIMEOUT = 2.0
"""Seconds that a refresh may take."""
TURNS = 10
"""Parts in which a stream waits for the first answer. A loop that is blocked meanwhile, by a plugin
that is imported or a model that is loaded, loses one of them instead of the whole wait."""
_RECONNECT_WAIT = tenacity.wait_random_exponential(multiplier=0.5, max=10.0, min=0.1)
"""Between two attempts to reach Redis."""

_ADVICE = {
    "AuthenticationError": "check the user and the password in its URL",
    "NoPermissionError": "its user needs all commands on the keys resilient_stt:*",
    "OutOfMemoryError": "it is full: raise its maxmemory, or let it evict keys",
    "ReadOnlyError": "its URL is that of a replica, which takes no writes: give the primary's",
}
"""What to do, by the name of redis-py's exception."""
_DEFAULT_ADVICE = "check that it runs, and that this machine can reach it within 1 s"


def advice_of(error: BaseException | None) -> tuple[str, str]:
    """The name of redis-py's exception, and what to do. Its text is not shown: it may hold
    anything."""
    kind = type(error).__name__
    return kind, _ADVICE.get(kind, _DEFAULT_ADVICE)


_slow: set[str] = set()
"""Addresses that have let a stream of this process wait in vain, and were not in time since."""


class FleetSync(HealthSync):
    """One task and one connection for all streams; both exist only while a stream is open."""

    def __init__(
        self,
        connect: Callable[[], RedisLink],
        replicas: Iterable[HealthReplica],
        address: str,
        max_wait: float,
    ) -> None:
        """Start nothing yet.

        Args:
            connect: makes a link that is not connected.
            replicas: those of the link.
            address: of Redis, without user and password, for logs.
            max_wait: seconds for which a stream may wait for the first answer.
        """
        self._connect = connect
        self._replicas = tuple(replicas)
        self._address = address
        self._max_wait = max_wait
        self._users = 0
        self._task: asyncio.Task[None] | None = None
        self._refresh: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        """Whether Redis has answered or failed since the task began."""
        self._lost = False

    def __repr__(self) -> str:
        return f"FleetSync({self._address!r}, users={self._users}, lost={self._lost})"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the sync while at least one stream is open; stop and clean up after the last."""
        self._users += 1
        if self._task is None:
            self._wake, self._settled = asyncio.Event(), asyncio.Event()
            self._task = asyncio.create_task(self._run(), name="resilient_stt.health")
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                task, self._task = self._task, None
                await aio.cancel_and_wait(task)

    async def first_read(self) -> None:
        """Wait until it is known what Redis has, for `max_wait` seconds at most.

        A Redis that was waited for in vain is not waited for again, by no stream of this process,
        until it has once answered in time.
        """
        if self._address in _slow:
            return
        for _ in range(TURNS):
            if self._settled.is_set():
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(self._max_wait / TURNS):
                    await self._settled.wait()
        if not self._settled.is_set():
            _slow.add(self._address)

    def refresh(self) -> None:
        """Read once, in the background, what other processes know."""
        with suppress(RuntimeError):  # without a loop no stream opens soon
            loop = asyncio.get_running_loop()
            if self._task is None and self._refresh is None:
                self._refresh = loop.create_task(self._read_once(), name="resilient_stt.refresh")

    async def aclose(self) -> None:
        """Cancel a refresh that is under way."""
        if self._refresh is not None:
            await aio.cancel_and_wait(self._refresh)

    async def _read_once(self) -> None:
        try:
            async with self.running():
                with suppress(TimeoutError):
                    async with asyncio.timeout(REFRESH_TIMEOUT):
                        await self._settled.wait()
        finally:
            self._refresh = None

    # -- the task

    async def _run(self) -> None:
        link = self._connect()
        retrying = tenacity.AsyncRetrying(
            sleep=asyncio.sleep,
            wait=_RECONNECT_WAIT,
            stop=tenacity.stop_never,
            retry=tenacity.retry_if_exception_type(Exception),
            before_sleep=self._redis_failed,
        )
        try:
            while True:
                await retrying(self._exchange, link)
                self._redis_answered()
                with suppress(TimeoutError):
                    async with asyncio.timeout(SYNC_INTERVAL):
                        await self._wake.wait()
        finally:
            await self._leave(link)

    async def _exchange(self, link: RedisLink) -> None:
        self._wake.clear()
        for replica in self._replicas:
            replica.health.breaker.notify = self._wake.set
        try:
            if not link.is_synced:
                await self._read(link)
            await link.exchange()
        finally:
            task = asyncio.current_task()
            if task and task.cancelling():  # redis-py swallows a cancellation while it connects
                raise asyncio.CancelledError

    async def _read(self, link: RedisLink) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await link.read()
        except Exception:
            _slow.add(self._address)
            raise
        else:
            if loop.time() - began <= self._max_wait:
                _slow.discard(self._address)
        finally:
            self._settled.set()

    def _redis_answered(self) -> None:
        for replica in self._replicas:
            replica.store_connected()
        if self._lost:
            self._lost = False
            logger.info("health is shared again", redis=self._address)

    def _redis_failed(self, state: tenacity.RetryCallState) -> None:
        for replica in self._replicas:
            replica.store_lost()
        if self._lost:
            return
        self._lost = True
        error = state.outcome.exception() if state.outcome else None
        kind, advice = advice_of(error)
        logger.warning(
            # All of it is in the message, too: formatters other than LiveKit's drop the fields.
            f"health is not shared: Redis at {self._address} failed ({kind}): {advice}; until it "
            "answers, this process decides by its own observations",
            redis=self._address,
            reason=kind,
            advice=advice,
        )

    async def _leave(self, link: RedisLink) -> None:
        """Send what only this process knows, return leases, and close the connection."""
        with suppress(Exception):
            if not (self._users or self._lost):
                for replica in self._replicas:
                    replica.leave()
                now = asyncio.get_running_loop().time()
                if any(replica.has_updates(now) for replica in self._replicas):
                    async with asyncio.timeout(LEAVE_TIMEOUT):
                        await link.exchange(last=True)
        # A stream that opened meanwhile has started a new task, which uses the same replicas.
        if not self._users:
            for replica in self._replicas:
                replica.store_lost()
        with suppress(Exception):
            async with asyncio.timeout(LEAVE_TIMEOUT):
                await link.aclose()
