"""A connection to Redis, and all that is said over it: one pipelined round trip at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..core.health.clock_sample import ClockSample
from ..core.health.latency import MAX_SAMPLES
from ..core.health.probe_lease import GRANT_TIMEOUT, ProbeLease
from ..core.health.replica import HealthReplica
from .wire import APPEND, KEEP, NEWEST, PREFIX, RETURN, decode, decode_samples, encode, time_to_live

if TYPE_CHECKING:
    from redis.asyncio import Redis

TIMEOUT = 1.0
"""Seconds that Redis has to take a connection, and to answer."""


class RedisLink:
    """Tells Redis what is new here, and reads what is new elsewhere."""

    def __init__(self, client: Redis, members: Sequence[tuple[str, HealthReplica]]) -> None:
        """`members`: with the keys of their providers."""
        self._client = client
        self._replicas = members
        self._clock: ClockSample | None = None
        """Redis's clock, from the last round trip."""

    async def exchange(self) -> None:
        """Tell and read, in one round trip; in two after connecting: reading comes first, for what
        we know may be outdated, and nothing can be dated before Redis's clock is known.

        Raises:
            Exception: Redis cannot be reached, or refuses what it is told; what it let us read is
                known by then.
        """
        clock, self._clock = self._clock, None
        async with asyncio.timeout(2 * TIMEOUT):
            if clock is None:
                clock = await self._trip(None)
            self._clock = await self._trip(clock)

    async def aclose(self) -> None:
        """Close the connection, if there is one."""
        await self._client.aclose()

    async def _trip(self, clock: ClockSample | None) -> ClockSample:
        trip = _Trip(asyncio.get_running_loop())
        for key, member in self._replicas:
            verdict, samples, lease = (
                f"{PREFIX}{key}:{what}" for what in ("verdict", "samples", "lease")
            )
            if clock is not None:
                _tell(trip, verdict, member, clock)
                _append(trip, samples, member)
                _probe(trip, lease, member)
            trip.look(partial(_verdict, trip, member), "GET", verdict)
            trip.look(partial(_samples, member), "LRANGE", samples, -MAX_SAMPLES, -1)
        return await trip.make(self._client)


def _tell(trip: _Trip, key: str, member: HealthReplica, clock: ClockSample) -> None:
    if (news := member.unreported()) is None:
        return

    def told(kept: Any) -> None:
        member.mark_reported(news, kept=kept == 1)

    text = encode(news, member.origin, clock.uncertainty)
    stamp = clock.to_store(news.at)
    trip.order(told, "EVAL", NEWEST, 1, key, stamp, text, _ms(time_to_live(news)))


def _append(trip: _Trip, key: str, member: HealthReplica) -> None:
    latency = member.health.latency
    samples = latency.unreported
    if not samples:
        return

    def told(_: Any) -> None:
        latency.mark_reported(len(samples))

    texts = [f"{seconds:.4f}" for seconds in samples]
    trip.order(told, "EVAL", APPEND, 1, key, MAX_SAMPLES, _ms(KEEP), *texts)


def _probe(trip: _Trip, key: str, member: HealthReplica) -> None:
    lease = member.health.breaker.probe_lease
    if lease.surplus(trip.sent):
        trip.order(lambda _: lease.returned(), "EVAL", RETURN, 1, key, member.origin)
    elif lease.wanted:
        lease.claimed()
        lasts = _ms(lease.seconds + GRANT_TIMEOUT)
        trip.order(partial(_claimed, trip, lease), "SET", key, member.origin, "NX", "PX", lasts)
        # what somebody else left there for ever would keep all from probing; since Redis 7
        trip.look(lambda _: None, "PEXPIRE", key, lasts, "NX")


def _claimed(trip: _Trip, lease: ProbeLease, reply: Any) -> None:
    (lease.granted if reply else lease.refused)(trip.clock.received)


def _verdict(trip: _Trip, member: HealthReplica, reply: Any) -> None:
    member.read(decode(reply, trip.clock), trip.clock.received)


def _samples(member: HealthReplica, reply: Any) -> None:
    member.health.latency.share(decode_samples(reply))


class _Trip:
    """Commands that are sent together, and what is to be done with each answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._time = loop.time
        self.sent = loop.time()
        self.clock = ClockSample(0, self.sent, self.sent)
        self._commands: list[tuple[str | int, ...]] = []
        self._then: list[Callable[[Any], None]] = []
        self._refusal: Exception | None = None
        self.order(self._timed, "TIME")

    def order(self, then: Callable[[Any], None], *command: str | int) -> None:
        """A command that must succeed."""

        def answered(reply: Any) -> None:
            if isinstance(reply, Exception):
                self._refusal = self._refusal or reply
            else:
                then(reply)

        self.look(answered, *command)

    def look(self, then: Callable[[Any], None], *command: str | int) -> None:
        """A command whose failure, given as the answer, is an answer."""
        self._commands.append(command)
        self._then.append(then)

    async def make(self, client: Redis) -> ClockSample:
        """Send all of it; returns Redis's clock.

        Raises:
            Exception: there is no answer, or one of the orders was refused.
        """
        pipeline = client.pipeline(transaction=False)
        for command in self._commands:
            pipeline.execute_command(*command)
        replies = await pipeline.execute(raise_on_error=False)
        for then, reply in zip(self._then, replies, strict=True):
            then(reply)
        if self._refusal is not None:
            raise self._refusal
        return self.clock

    def _timed(self, reply: Any) -> None:
        seconds, microseconds = reply
        stamp = int(seconds) * 1_000_000 + int(microseconds)
        self.clock = ClockSample(stamp, self.sent, self._time())


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))
