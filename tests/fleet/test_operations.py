"""What an operator does to a fleet, with a real Redis."""

from __future__ import annotations

import pytest

from resilient_stt import RedisHealth
from resilient_stt.core.events import BreakerState, ErrorKind
from resilient_stt.core.health.report import ClockSample
from resilient_stt.fleet import sync
from resilient_stt.fleet.wire import LONGEST_REASON, decode_lock
from resilient_stt.testing import Status

from ..support.fleet_hosts import Host, key, now, sharing, until
from ..support.redis_server import Server, redis_server
from .test_processes import fleet

__all__ = ["redis_server"]


@pytest.fixture(autouse=True)
def _short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make syncs so frequent that no test waits for a second."""
    monkeypatch.setattr(sync, "SYNC_INTERVAL", 0.05)


def provider_of(host: Host) -> str:
    return host.stt._runtime.setup.key("first")


async def test_a_lock_reaches_every_host(redis_server: Server) -> None:
    """No text ends it, it has a key of its own that processes of before do not read, and it goes
    with it."""
    a, b = Host(redis_server.url), Host(redis_server.url)
    provider = provider_of(a)
    async with sharing(a, b), RedisHealth(redis_server.url).operations() as operator:
        await operator.lock([provider], 60.0, "maintenance", "ann@desk")
        await until(lambda: a.state is b.state is BreakerState.LOCKED)
        assert list(redis_server.everything()) == [key(a, "lock")]
        for host in (a, b):
            host.breaker.record_text(now())
        assert a.state is b.state is BreakerState.LOCKED
        lock = a.breaker.operator_lock
        assert lock is not None
        assert lock.reason == "maintenance"
        assert 50.0 < lock.until - now() < 60.0
        assert await operator.unlock([provider]) == [provider]
        assert await operator.unlock([provider]) == []
        await until(lambda: a.state is b.state is BreakerState.CLOSED)


async def test_a_lock_ends_by_itself(redis_server: Server) -> None:
    """Also on a host that cannot reach Redis any more."""
    a, b = Host(redis_server.url), Host(redis_server.url)
    async with sharing(a, b), RedisHealth(redis_server.url).operations() as operator:
        await operator.lock([provider_of(a)], 1.0, "", "")
        await until(lambda: a.state is b.state is BreakerState.LOCKED)
        redis_server.kill()
        await until(lambda: a.state is b.state is BreakerState.CLOSED)


@pytest.mark.parametrize("kind", [ErrorKind.SERVER, ErrorKind.AUTH])
async def test_a_reset_closes_every_breaker(redis_server: Server, kind: ErrorKind) -> None:
    """Whatever opened it, and whether the host has found it out itself or adopted it."""
    a, b = Host(redis_server.url), Host(redis_server.url)
    provider = provider_of(a)
    async with sharing(a, b), RedisHealth(redis_server.url).operations() as operator:
        a.trip(kind)
        await until(lambda: b.state is not BreakerState.CLOSED)
        await operator.lock([provider], 60.0, "", "")
        await operator.reset([provider])
        await until(lambda: a.state is b.state is BreakerState.CLOSED)
        assert a.breaker.is_proven()
        assert b.breaker.is_proven()


async def test_what_is_shown(redis_server: Server) -> None:
    """State, since when, until when, why and by whom."""
    a = Host(redis_server.url)
    provider = provider_of(a)
    async with sharing(a), RedisHealth(redis_server.url).operations() as operator:
        (nothing,) = await operator.read([provider])
        assert (nothing.state, nothing.since) == (BreakerState.CLOSED, None)
        a.breaker.record_failure(ErrorKind.SERVER, now())
        await until(lambda: redis_server.ask("EXISTS", key(a, "failures")))
        (failing,) = await operator.read(await operator.providers())
        assert (failing.key, failing.failures) == (provider, 1)
        a.trip()
        await until(lambda: redis_server.ask("EXISTS", key(a, "report")))
        (opened,) = await operator.read([provider])
        assert (opened.state, opened.why) == (BreakerState.OPEN, "it failed too often")
        assert 0 <= (opened.since or 0) < (opened.until or 0)
        assert len(opened.by) == 16
        a.trip(ErrorKind.AUTH)
        await until(lambda: b"locked" in redis_server.everything()[key(a, "report")][0])
        (refused,) = await operator.read([provider])
        assert (refused.state, refused.why) == (BreakerState.LOCKED, "the account was refused")
        await operator.lock([provider], 60.0, "maintenance", "ann@desk")
        (locked,) = await operator.read([provider])
        assert (locked.state, locked.why, locked.by) == (
            BreakerState.LOCKED,
            "maintenance",
            "ann@desk",
        )
        assert 0 <= (locked.since or 0) < (locked.until or 0) <= 60
        await operator.reset([provider])
        (healthy,) = await operator.read([provider])
        assert (healthy.state, healthy.by) == (BreakerState.CLOSED, "operator")


async def test_a_break_that_is_over(redis_server: Server) -> None:
    """The provider is half-open until somebody proves its health."""
    a = Host(redis_server.url)
    provider = provider_of(a)
    async with RedisHealth(redis_server.url).operations() as operator:
        report = b'1 {"origin":"me.0","healthy":false,"open_for":5.0,"passes":1,"slow":true}'
        redis_server.ask("SET", key(a, "report"), report.decode())
        redis_server.ask("SET", key(a, "lease"), "you.1")
        (status,) = await operator.read([provider])
    assert (status.state, status.why, status.by) == (
        BreakerState.HALF_OPEN,
        "its finals come late",
        "me",
    )
    assert (status.passes, status.probing, status.until) == (1, "you", None)


@pytest.mark.slow
async def test_no_new_call_goes_to_a_locked_provider(redis_server: Server) -> None:
    """Real processes: each call is one, as in a worker."""
    async with fleet(redis_server) as made:
        assert await made.calls(1) == ["Cartesia"]
        async with RedisHealth(redis_server.url).operations() as operator:
            (cartesia,) = [p for p in await operator.providers() if p.startswith("cartesia:")]
            await operator.lock([cartesia], 600.0, "", "")
            assert await made.calls(2) == ["Deepgram"] * 2
            assert made.asked == 1
            await operator.unlock([cartesia])
            assert await made.calls(1) == ["Cartesia"]


@pytest.mark.slow
async def test_new_calls_after_a_reset(redis_server: Server) -> None:
    """Real processes go to the provider again at once."""
    async with fleet(redis_server, Status(503, connections=range(3))) as made:
        assert await made.calls(4) == ["Deepgram"] * 4
        async with RedisHealth(redis_server.url).operations() as operator:
            await operator.reset(
                [p for p in await operator.providers() if p.startswith("cartesia:")]
            )
        assert await made.calls(1) == ["Cartesia"]


CLOCK = ClockSample(1_000_000, 5.0, 5.1)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        b"",
        b"{}",
        b"1000000 {}",
        b"900000 {}",
        b"99999999999999999 {}",
        b"2000000 {",
        b"2000000 []",
        b'2000000 {"reason":1}',
        b'2000000 {"reason":"%s"}' % (b"x" * (LONGEST_REASON + 1)),
    ],
)
def test_what_is_no_lock(value: object) -> None:
    """Nothing, foreign values, and locks that are over or last for ever."""
    assert decode_lock(value, CLOCK) is None


def test_a_lock_of_a_later_version() -> None:
    """A lock with fields that this version does not know still counts."""
    found = decode_lock(b'2000000 {"reason":"x","by":"me","lasts":2.0,"new":[1]}', CLOCK)
    assert found is not None
    assert (found.lock.until, found.lock.reason, found.by, found.lasts) == (6.0, "x", "me", 2.0)
