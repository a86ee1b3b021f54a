"""What an operator sees of a fleet, and does to it."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core.events import BreakerState
from ..core.health.latency import MAX_SAMPLES
from ..core.health.report import ClockSample, HealthReport, StoredReport
from .link import TIMEOUT
from .round_trip import ProviderKeys, RoundTrip
from .wire import (
    KEEP,
    PREFIX,
    STORE_LOCK,
    STORE_NEWEST,
    StoredLock,
    decode,
    decode_failures,
    decode_lock,
    decode_samples,
    encode,
    encode_lock,
)

if TYPE_CHECKING:
    from redis.asyncio import Redis

OPERATOR = "operator"
"""The origin of the report by which an operator resets a provider."""
_SCAN_COUNT = 1000  # keys that Redis looks at in one step


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """What the store says of one provider. Times are in seconds, and count from now."""

    key: str
    """Its `provider_key`."""
    state: BreakerState
    since: float | None = None
    """How long ago the lock was set or the newest report was found; `None` if there is none."""
    until: float | None = None
    """In how long a lock or a break ends; `None` where there is none."""
    why: str = ""
    by: str = ""
    """The process, or the operator, who says so."""
    failures: int = 0
    """Recent failures that opened nothing."""
    probing: str = ""
    """The process that may probe now."""
    passes: int = 0
    """Probes that have passed since the break began."""
    final_delay: float | None = None
    """The median of the last final delays."""


class FleetOperations:
    """Reads and steers what all processes know. Every method raises what redis-py raises."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def providers(self) -> list[str]:
        """The keys of the providers of which the store knows something, sorted."""
        found = set()
        async with asyncio.timeout(TIMEOUT * 5):
            async for name in self._client.scan_iter(f"{PREFIX}*", count=_SCAN_COUNT):
                key, _, what = name.decode(errors="replace").rpartition(":")
                if what in ProviderKeys._fields:
                    found.add(key.removeprefix(PREFIX))
        return sorted(found)

    async def read(self, providers: Iterable[str]) -> list[FleetStatus]:
        """What is known of each of these providers, in one round trip."""
        readings = [_Reading(provider) for provider in providers]
        trip = RoundTrip(asyncio.get_running_loop())
        for reading in readings:
            reading.ask(trip)
        async with asyncio.timeout(TIMEOUT):
            clock = await trip.run(self._client)
        return [reading.status(clock) for reading in readings]

    async def lock(self, providers: Sequence[str], seconds: float, reason: str, by: str) -> None:
        """Keep traffic away from providers, in all processes, whatever they observe."""
        text, lasts = encode_lock(reason, by, seconds), round(seconds * 1000)
        await self._run(
            ("EVAL", STORE_LOCK, 1, ProviderKeys.of(provider).lock, lasts, text)
            for provider in providers
        )

    async def unlock(self, providers: Sequence[str]) -> list[str]:
        """Take operators' locks off providers; return those that had one."""
        removed = await self._run(("DEL", ProviderKeys.of(p).lock) for p in providers)
        return [provider for provider, count in zip(providers, removed, strict=True) if count]

    async def reset(self, providers: Sequence[str]) -> None:
        """Close the breakers of providers in all processes, and take operators' locks off."""
        ((seconds, microseconds),) = await self._run([("TIME",)])
        stamp = int(seconds) * 1_000_000 + int(microseconds)
        text = encode(HealthReport(at=0.0, healthy=True, slow=True), OPERATOR, 0.0)
        for provider in providers:
            keys = ProviderKeys.of(provider)
            stored = (keys.report, keys.failures, keys.texts)
            expires = round(KEEP * 1000)
            await self._run(
                [
                    ("EVAL", STORE_NEWEST, len(stored), *stored, stamp, text, expires),
                    ("DEL", keys.lock),
                ]
            )

    async def _run(self, commands: Iterable[tuple[str | int, ...]]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        async with asyncio.timeout(TIMEOUT):
            return list(await pipeline.execute())


class _Reading:
    """What the store answers about one provider."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._replies: dict[str, Any] = {}

    def ask(self, trip: RoundTrip) -> None:
        keys = ProviderKeys.of(self._provider)
        trip.add_optional(self._note("report"), "GET", keys.report)
        trip.add_optional(self._note("lock"), "GET", keys.lock)
        trip.add_optional(self._note("lease"), "GET", keys.lease)
        trip.add_optional(self._note("failures"), "ZRANGE", keys.failures, 0, -1, "WITHSCORES")
        trip.add_optional(self._note("samples"), "LRANGE", keys.samples, -MAX_SAMPLES, -1)

    def status(self, clock: ClockSample) -> FleetStatus:
        lease = self._replies["lease"]
        samples = decode_samples(self._replies["samples"])
        stored = decode(self._replies["report"], clock)
        lock = decode_lock(self._replies["lock"], clock)
        verdict = _locked(lock, clock) if lock else _reported(stored, clock)
        return FleetStatus(
            key=self._provider,
            failures=len(decode_failures(self._replies["failures"], clock)),
            probing=_process(lease.decode(errors="replace")) if isinstance(lease, bytes) else "",
            final_delay=statistics.median(samples) if samples else None,
            passes=stored.report.passes if stored and not stored.report.healthy else 0,
            **verdict,
        )

    def _note(self, what: str) -> Callable[[Any], None]:
        def note(reply: Any) -> None:
            self._replies[what] = reply

        return note


def _locked(stored: StoredLock, clock: ClockSample) -> dict[str, Any]:
    left = stored.lock.until - clock.received
    return {
        "state": BreakerState.LOCKED,
        "since": max(0.0, stored.lasts - left),
        "until": left,
        "why": stored.lock.reason or "locked by an operator",
        "by": stored.by,
    }


def _reported(stored: StoredReport | None, clock: ClockSample) -> dict[str, Any]:
    """What the newest report says, as a breaker that takes it over would."""
    if stored is None:
        return {"state": BreakerState.CLOSED}
    report = stored.report
    told = {"since": max(0.0, clock.received - report.at), "by": _process(stored.origin)}
    if report.healthy:
        return {"state": BreakerState.CLOSED, **told}
    left = report.until - clock.received
    why = "the account was refused" if report.locked else "its finals come late"
    if not (report.locked or report.slow):
        why = "it failed too often"
    if left <= 0:
        return {"state": BreakerState.HALF_OPEN, "why": why, **told}
    state = BreakerState.LOCKED if report.locked else BreakerState.OPEN
    return {"state": state, "until": left, "why": why, **told}


def _process(origin: str) -> str:
    """The process of a replica: all its providers have the same."""
    return origin.partition(".")[0]
