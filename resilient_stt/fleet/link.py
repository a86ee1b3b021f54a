"""One connection to Redis, and everything that is sent over it: one pipeline per round trip."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..core.health.latency import MAX_SAMPLES
from ..core.health.probe_lease import ProbeLease
from ..core.health.replica import HealthReplica
from ..core.health.report import ClockSample
from ..observe import logger
from .round_trip import ProviderKeys, RoundTrip
from .wire import (
    APPEND_SAMPLES,
    KEEP,
    MAX_STORED_OUTCOMES,
    RECORD_FAILURES,
    RECORD_TEXTS,
    RETURN_LEASE,
    STORE_NEWEST,
    decode,
    decode_failures,
    decode_lock,
    decode_samples,
    decode_texts,
    encode,
    time_to_live,
)

if TYPE_CHECKING:
    from redis.asyncio import Redis

TIMEOUT = 1.0
"""Seconds that Redis has to accept a connection, and to answer."""
SAMPLES_EVERY = 10
"""Round trips from one exchange of samples of final delays to the next. They matter only by the
dozen, and they are all that a healthy call writes and most of what it reads."""


class RedisLink:
    """Sends Redis what is new here, and reads what is new elsewhere."""

    def __init__(self, client: Redis, replicas: Sequence[tuple[str, HealthReplica]]) -> None:
        """`replicas`: each with the `provider_key` of its provider."""
        self._client = client
        self._replicas = replicas
        self._clock: ClockSample | None = None
        """Redis's clock as of the last round trip; `None` if that failed."""
        self._trips = 0
        """Round trips since the first read."""

    @property
    def is_synced(self) -> bool:
        """Whether the last round trip succeeded, so that what is known here can be dated."""
        return self._clock is not None

    async def read(self) -> None:
        """Read what is known elsewhere, and Redis's clock: at first, and after failures.

        Nothing can be written before: it could not be dated, and it may be outdated.

        Raises:
            Exception: Redis cannot be reached.
        """
        self._trips = 0
        async with asyncio.timeout(TIMEOUT):
            self._clock = await self._round_trip(None, samples=True)

    async def exchange(self, *, last: bool = False) -> None:
        """Write and read in one round trip, after a `read` if that has not been done.

        `last`: nothing is sent after this, so the samples are written, too.

        Raises:
            Exception: Redis cannot be reached, or it refuses a write. What it let us read has been
                taken over even then.
        """
        if self._clock is None:
            await self.read()
        clock, self._clock = self._clock, None
        self._trips += 1
        async with asyncio.timeout(TIMEOUT):
            samples = last or self._trips % SAMPLES_EVERY == 0
            self._clock = await self._round_trip(clock, samples=samples)

    async def aclose(self) -> None:
        """Close the connection, if there is one."""
        await self._client.aclose()

    async def _round_trip(self, clock: ClockSample | None, *, samples: bool) -> ClockSample:
        """Read, and with a `clock` write; returns a new sample of Redis's clock.

        `samples`: exchange those of final delays, too.
        """
        trip = RoundTrip(asyncio.get_running_loop())
        for provider, replica in self._replicas:
            key = ProviderKeys.of(provider)
            if clock is not None:
                _write_outcomes(trip, key, replica, clock)
                _write_report(trip, key, replica, clock)
                _sync_lease(trip, key.lease, replica)
            trip.add_optional(
                partial(_verdicts_read, trip, provider, replica), "MGET", key.report, key.lock
            )
            _read_outcomes(trip, key, replica)
            if samples:
                if clock is not None:
                    _write_samples(trip, key.samples, replica)
                trip.add_optional(
                    partial(_samples_read, replica), "LRANGE", key.samples, -MAX_SAMPLES, -1
                )
        return await trip.run(self._client)


def _write_outcomes(
    trip: RoundTrip, key: ProviderKeys, replica: HealthReplica, clock: ClockSample
) -> None:
    """Write failures, and text that speaks against them. Both before a report that counts them."""
    expires = _ms(replica.health.breaker.window)
    failures, texts = replica.unreported_failures(trip.sent), replica.unreported_texts(trip.sent)
    if failures:
        entries = [part for name, at in failures for part in (clock.to_store(at), name)]
        trip.add_required(
            lambda _: replica.mark_failures_reported(failures[-1][0]),
            *("EVAL", RECORD_FAILURES, 1, key.failures, MAX_STORED_OUTCOMES, expires, *entries),
        )
    if texts:
        stamps = [clock.to_store(at) for at in texts]
        trip.add_required(
            lambda _: replica.mark_texts_reported(texts[-1]),
            *("EVAL", RECORD_TEXTS, 2, key.failures, key.texts, MAX_STORED_OUTCOMES, expires),
            *stamps,
        )


def _read_outcomes(trip: RoundTrip, key: ProviderKeys, replica: HealthReplica) -> None:
    """Read failures and texts together, after the report: they may make a newer one."""
    found: list[tuple[str, float]] = []

    def failures_read(reply: Any) -> None:
        found.extend(decode_failures(reply, trip.clock))

    def texts_read(reply: Any) -> None:
        replica.apply_outcomes(found, decode_texts(reply, trip.clock), trip.clock.received)

    trip.add_optional(failures_read, "ZRANGE", key.failures, 0, -1, "WITHSCORES")
    trip.add_optional(texts_read, "ZRANGE", key.texts, 0, -1, "WITHSCORES")


def _write_report(
    trip: RoundTrip, key: ProviderKeys, replica: HealthReplica, clock: ClockSample
) -> None:
    report = replica.unreported()
    if report is None:
        return

    def written(stored: Any) -> None:
        replica.mark_reported(report, kept=stored == 1)

    text = encode(report, replica.origin, clock.uncertainty)
    stamp = clock.to_store(report.at)
    expires = _ms(time_to_live(report))
    keys = (key.report, key.failures, key.texts)
    trip.add_required(written, "EVAL", STORE_NEWEST, len(keys), *keys, stamp, text, expires)


def _write_samples(trip: RoundTrip, key: str, replica: HealthReplica) -> None:
    latency = replica.health.latency
    samples = latency.unreported
    if not samples:
        return

    def written(_: Any) -> None:
        latency.mark_reported(len(samples))

    texts = [f"{seconds:.4f}" for seconds in samples]
    trip.add_required(written, "EVAL", APPEND_SAMPLES, 1, key, MAX_SAMPLES, _ms(KEEP), *texts)


def _sync_lease(trip: RoundTrip, key: str, replica: HealthReplica) -> None:
    """Return the lease if no stream here uses it, or ask for it if a stream wants it."""
    lease = replica.health.breaker.probe_lease
    if lease.must_return(trip.sent):
        trip.add_required(
            lambda _: lease.mark_returned(), "EVAL", RETURN_LEASE, 1, key, replica.origin
        )
    elif lease.wanted:
        lease.mark_requested()
        expires = _ms(lease.longest)
        answered = partial(_lease_answered, trip, lease)
        trip.add_required(answered, "SET", key, replica.origin, "NX", "PX", expires)
        # A value without an expiry, left there by somebody else, would keep every process from
        # probing for ever. Redis before version 7 does not know NX here; its error is ignored.
        trip.add_optional(lambda _: None, "PEXPIRE", key, expires, "NX")


def _lease_answered(trip: RoundTrip, lease: ProbeLease, reply: Any) -> None:
    if reply:
        lease.record_grant(trip.clock.received)
    else:
        lease.record_refusal(trip.clock.received)


def _verdicts_read(trip: RoundTrip, provider: str, replica: HealthReplica, reply: Any) -> None:
    """Take over what the processes report, and what an operator wants."""
    if not isinstance(reply, list):  # Redis refuses: a lock that is known stays until its end
        replica.apply_stored(None, trip.clock.received)
        return
    report, lock = reply
    replica.apply_stored(decode(report, trip.clock), trip.clock.received)
    found = decode_lock(lock, trip.clock)
    if replica.apply_lock(found.lock if found else None):
        state = "locked" if found else "not locked any more"
        reason = found.lock.reason if found else ""
        logger.info(f"provider {state} by an operator", provider_key=provider, reason=reason)


def _samples_read(replica: HealthReplica, reply: Any) -> None:
    replica.health.latency.share(decode_samples(reply))


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))
