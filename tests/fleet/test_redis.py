"""Health that a fleet shares, with a real Redis: each `ResilientSTT` stands for a host."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest
from livekit.agents import APIStatusError

from resilient_stt import BreakerPolicy, Policies, ResilientSTT
from resilient_stt.core.events import BreakerState, ErrorKind
from resilient_stt.fleet import redis
from resilient_stt.fleet import sync as fleet
from resilient_stt.fleet.wire import (
    KEEP,
    PREFIX,
    RECORD_FAILURES,
    RECORD_TEXTS,
    STORE_NEWEST,
)

from ..support.fakes import FakeStream, collect, fails, frames, says, texts
from ..support.fleet_hosts import Host, key, now, sharing, until
from ..support.redis_server import Server, redis_server

__all__ = ["redis_server"]

SERVER, AUTH = ErrorKind.SERVER, ErrorKind.AUTH


@pytest.fixture(autouse=True)
def _short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make syncs so frequent that no test waits for a second."""
    monkeypatch.setattr(fleet, "SYNC_INTERVAL", 0.05)


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The log messages about Redis."""
    caplog.set_level(logging.DEBUG)

    def messages() -> list[str]:
        return [r.getMessage() for r in caplog.records if "health is" in r.getMessage()]

    return messages


# -- reports


async def test_a_new_stream_begins_with_a_healthy_provider(redis_server: Server) -> None:
    """After one host was refused, the others never ask that provider."""
    a = Host(redis_server.url, fails(APIStatusError("no", status_code=401)))
    b = Host(redis_server.url)
    stream = a.stt.stream()
    await until(lambda: a.second.streams)
    stream.push_frame(frames(0.02)[0])
    await until(lambda: redis_server.ask("KEYS", "*first*report"))
    other = b.stt.stream()
    other.push_frame(frames(0.02)[0])
    await until(lambda: b.second.streams)
    assert not b.first.streams
    await stream.aclose()
    await other.aclose()


async def test_audio_waits_for_the_first_read(redis_server: Server) -> None:
    """What is pushed meanwhile is transcribed, and the wait is not repeated while it is known."""
    a = Host(redis_server.url, says("word"))
    async with sharing(a):
        stream = a.stt.stream()
        for frame in frames(0.2):
            stream.push_frame(frame)
        stream.end_input()
        assert texts(await collect(stream)) == ["word"]
        assert a.first.streams[0].audio == pytest.approx(0.2)


async def test_a_slow_redis_is_waited_for_once(
    redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis whose answer comes too late is waited for again when it has been in time once."""
    waits: list[float] = []
    plain = asyncio.timeout

    def counted(delay: float) -> asyncio.Timeout:
        waits.append(delay)
        return plain(delay)

    async def call(max_wait: float) -> int:
        """Open a stream until Redis has answered; returns how many parts it waited."""
        policies = Policies(breaker=BreakerPolicy(max_store_wait=max_wait))
        host = Host(redis_server.url, policies=policies)
        waits.clear()
        async with host.stt._runtime.sharing_health():
            await host.stt._runtime.first_health_read()
            parts = waits.count(max_wait / fleet.TURNS)
            await until(lambda: host.breaker.probe_lease.shared)
        return parts

    monkeypatch.setattr(asyncio, "timeout", counted)
    redis_server.ask("CLIENT", "PAUSE", 500)
    assert await call(0.05) == fleet.TURNS
    assert await call(9.0) == 0  # not waited for, and in time
    assert await call(9.0) > 0


async def test_failures_of_hosts_add_up(redis_server: Server) -> None:
    """One failure each of three hosts opens the breaker of all, also of one that comes later."""
    hosts = [Host(redis_server.url) for _ in range(4)]
    async with sharing(*hosts[:3]):
        for host in hosts[:3]:
            host.breaker.record_failure(SERVER, now())
        await until(lambda: all(host.state is BreakerState.OPEN for host in hosts[:3]))
        async with sharing(hosts[3]):
            assert hosts[3].state is BreakerState.OPEN


async def test_text_on_a_host_ends_the_row(redis_server: Server) -> None:
    """Text is written while there are failures, and only then."""
    a, b = Host(redis_server.url), Host(redis_server.url)
    async with sharing(a, b):
        b.breaker.record_text(now())
        for _ in range(2):
            a.breaker.record_failure(SERVER, now())
        await until(lambda: key(a, "failures") in redis_server.everything())
        b.breaker.record_text(now())
        await until(lambda: key(a, "texts") in redis_server.everything())
        rounds = calls(redis_server, "time")
        await until(lambda: calls(redis_server, "time") > rounds + 6)
        b.breaker.record_failure(SERVER, now())
        rounds = calls(redis_server, "time")
        await until(lambda: calls(redis_server, "time") > rounds + 6)
        assert a.state is b.state is BreakerState.CLOSED


async def test_a_failure_while_redis_is_away_is_written_later(redis_server: Server) -> None:
    """It counts from when it happened."""
    a, b = Host(redis_server.url), Host(redis_server.url)
    async with sharing(a):
        redis_server.kill()
        for _ in range(2):
            a.breaker.record_failure(SERVER, now())
        redis_server.start()
        await until(lambda: key(a, "failures") in redis_server.everything())
    async with sharing(b):
        b.breaker.record_failure(SERVER, now())
        await until(lambda: b.state is BreakerState.OPEN)


async def test_text_anywhere_closes_it_everywhere(redis_server: Server) -> None:
    """A trip elsewhere does not touch a working connection, whose text then ends the break."""
    a, b = Host(redis_server.url), Host(redis_server.url, echoes)
    stream = b.stt.stream()
    async with sharing(a, b):
        stream.push_frame(frames(0.02)[0])
        await until(lambda: b.breaker.observations.health_proved_at > 0)
        await asyncio.sleep(0.5)  # times of two hosts are as exact as a round trip is short
        a.trip()
        await until(lambda: b.state is BreakerState.OPEN)
        assert a.state is BreakerState.OPEN

        def says_more() -> bool:  # again, for text at the moment of the trip proves nothing
            stream.push_frame(frames(0.02)[0])
            return a.breaker.is_proven()

        await until(says_more)
        assert (len(b.first.streams), len(b.second.streams)) == (1, 0)
        await until(lambda: b"true" in redis_server.everything()[key(a, "report")][0])
        stored = redis_server.everything()[key(a, "report")]
        rounds = calls(redis_server, "time")
        await until(lambda: calls(redis_server, "time") > rounds + 6)
        assert redis_server.everything()[key(a, "report")][0] == stored[0]  # nobody sends it again
    await stream.aclose()


async def test_a_report_is_sent_by_its_finder_only(redis_server: Server) -> None:
    """A host that adopted it does not send it again, however long the break lasts."""
    a, b, c = (Host(redis_server.url) for _ in range(3))
    async with sharing(a, b, c):
        a.trip(AUTH)
        await until(lambda: b.state is c.state is BreakerState.LOCKED)
        stored = redis_server.everything()[key(a, "report")][0]
        rounds = calls(redis_server, "time")
        await until(lambda: calls(redis_server, "time") > rounds + 6)
        assert redis_server.everything()[key(a, "report")][0] == stored
        assert calls(redis_server, "eval") == 1  # the report; not one of those that adopted it


async def echoes(stream: FakeStream) -> None:
    """Give a final for every frame."""
    async for _ in stream.received():
        stream.final("word")


def calls(server: Server, command: str) -> int:
    """How many times a command was run, by all clients."""
    return int(server.ask("INFO", "commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))


async def test_recognize_shares_too(redis_server: Server) -> None:
    """Its last reports are sent before it returns."""
    a, b = Host(redis_server.url), Host(redis_server.url)
    a.first.error = APIStatusError("no", status_code=402)
    event = await a.stt.recognize(frames(0.1))
    assert event.alternatives[0].text == "from the second"
    assert redis_server.everything()[key(a, "report")][1] > KEEP * 1000
    async with sharing(b):
        assert b.state is BreakerState.LOCKED
    await a.stt.aclose()


async def test_latency_is_shared(redis_server: Server) -> None:
    """Every host knows the last hundred samples of all, each once."""
    a, b = Host(redis_server.url), Host(redis_server.url)
    async with sharing(a, b):
        for n in range(130):
            a.stt._runtime.health["first"].latency.add(n / 100)
        await until(lambda: b.stt._runtime.health["first"].latency.p99 == 1.28)
    samples, left = redis_server.everything()[key(a, "samples")]
    assert [float(s) for s in samples] == [n / 100 for n in range(30, 130)]
    assert 0 < left <= KEEP * 1000
    assert b.stt._runtime.health["first"].latency.p99 is None  # its sync has ended


# -- one probe at a time

SOON = Policies(breaker=BreakerPolicy(break_duration=0.05, probe_refusal_cooldown=0.1))


async def test_one_probe_at_a_time_in_the_fleet(redis_server: Server) -> None:
    """However many hosts ask, one probes; when it is done, another may."""
    hosts = [Host(redis_server.url, policies=SOON) for _ in range(6)]
    async with sharing(*hosts):
        hosts[0].trip()
        await until(lambda: all(h.state is BreakerState.HALF_OPEN for h in hosts))
        leased: list[Host] = []

        def ask() -> bool:
            leased.extend(h for h in hosts if h.breaker.acquire_probe(now()))
            return bool(leased)

        await until(ask)
        held, left = redis_server.everything()[key(hosts[0], "lease")]
        assert 15_000 < left <= 15_500
        tries = calls(redis_server, "set")
        await until(lambda: (ask(), calls(redis_server, "set") > tries + 5)[1])
        assert len(leased) == 1
        leased[0].breaker.probe_passed(now())
        await until(lambda: (ask(), len(leased) > 1)[1])
        assert (
            redis_server.everything()[key(hosts[0], "lease")][0] != held or leased[0] is leased[1]
        )


async def test_an_unused_grant_is_returned(redis_server: Server) -> None:
    """The stream that asked has fallen silent. The lease of another process is never deleted."""
    a = Host(redis_server.url, policies=SOON)
    async with sharing(a):
        a.trip()
        await until(lambda: a.state is BreakerState.HALF_OPEN)
        assert not a.breaker.acquire_probe(now())
        await until(lambda: not a.breaker.probe_lease.wanted)
        assert key(a, "lease") in redis_server.everything()
        await until(lambda: key(a, "lease") not in redis_server.everything())
        assert not a.breaker.acquire_probe(now())
        await until(lambda: key(a, "lease") in redis_server.everything())
        redis_server.ask("SET", key(a, "lease"), "somebody else", "PX", 60_000)
        await until(lambda: not a.breaker.probe_lease.must_return(now() + 1.0))
    assert redis_server.everything()[key(a, "lease")][0] == b"somebody else"


async def test_a_lease_ends_with_the_last_stream(redis_server: Server) -> None:
    """Without streams nobody would probe, so the lease is returned."""
    a = Host(redis_server.url, policies=SOON)
    async with sharing(a):
        a.trip()
        await until(lambda: a.breaker.acquire_probe(now()))
        assert key(a, "lease") in redis_server.everything()
    assert key(a, "lease") not in redis_server.everything()


# -- when Redis fails


async def test_redis_dies_in_mid_call(
    redis_server: Server, warnings: Callable[[], list[str]]
) -> None:
    """One warning is logged, and leases are granted locally; later Redis gets all reports."""
    a = Host(redis_server.url, says("word"), SOON)
    stream = a.stt.stream()
    async with sharing(a):
        redis_server.kill()
        await until(warnings)
        stream.push_frame(frames(0.02)[0])
        stream.end_input()
        assert texts(await collect(stream)) == ["word"]
        a.trip()
        await until(lambda: a.breaker.acquire_probe(now()))
        redis_server.start()
        await until(lambda: len(warnings()) == 2)
        await until(lambda: key(a, "report") in redis_server.everything())
        assert a.breaker.probe_lease.shared
    lost, back = warnings()
    assert (
        f"health is not shared: Redis at {redis_server.url} failed (ConnectionError): check" in lost
    )
    assert back == "health is shared again"


async def test_redis_restarts_between_round_trips(redis_server: Server) -> None:
    """It has forgotten the reports, and is sent them again."""
    a, b = Host(redis_server.url), Host(redis_server.url)
    async with sharing(a):
        a.trip(AUTH)
        await until(lambda: key(a, "report") in redis_server.everything())
        redis_server.kill()
        redis_server.start()
        async with sharing(b):
            await until(lambda: b.state is BreakerState.LOCKED)


async def test_redis_hangs(
    redis_server: Server, warnings: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams begin, transcribe and end without it."""
    monkeypatch.setattr(redis, "TIMEOUT", 0.2)
    redis_server.ask("CLIENT", "PAUSE", 60_000)
    a = Host(redis_server.url, says("word"))
    stream = a.stt.stream()
    stream.push_frame(frames(0.02)[0])
    stream.end_input()
    assert texts(await collect(stream)) == ["word"]
    await stream.aclose()
    stream = a.stt.stream()
    await until(warnings)
    await stream.aclose()
    patient = Policies(breaker=BreakerPolicy(max_store_wait=60))
    later = Host(redis_server.url, says("word"), patient)  # another object of the process
    stream = later.stt.stream()
    await until(lambda: later.first.streams)  # it does not wait again
    await stream.aclose()
    (warning,) = warnings()
    assert "(TimeoutError): check that it runs, and that this machine can reach it" in warning


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--requirepass", "s3cr3t"], "(AuthenticationError): check the user and the password"),
        (["--maxmemory", "1"], "(OutOfMemoryError): it is full: raise its maxmemory"),
        (["--replicaof", "127.0.0.1 1"], "(ReadOnlyError): its URL is that of a replica"),
    ],
)
async def test_redis_refuses(
    options: list[str], part: str, redis_server: Server, warnings: Callable[[], list[str]]
) -> None:
    """The warning has advice for the reason, and health is decided locally."""
    redis_server.kill()
    redis_server.start(*options)
    a = Host(redis_server.url)
    async with a.stt._runtime.sharing_health():
        a.trip()
        await until(warnings)
        assert a.state is BreakerState.OPEN
        assert not a.breaker.probe_lease.shared
    assert [part in warning for warning in warnings()] == [True]


async def test_foreign_values_under_our_keys(
    redis_server: Server, warnings: Callable[[], list[str]]
) -> None:
    """Values and types of others say nothing, and are overwritten."""
    a, b = Host(redis_server.url, policies=SOON), Host(redis_server.url, policies=SOON)
    redis_server.ask("RPUSH", key(a, "report"), "x")
    redis_server.ask("SET", key(a, "samples"), "x")
    redis_server.ask("RPUSH", key(a, "lease"), "x")
    redis_server.ask("SET", key(a, "failures"), "x")
    redis_server.ask("SET", key(a, "texts"), "x")
    async with sharing(a, b):
        assert a.breaker.is_proven()
        a.stt._runtime.health["first"].latency.add(0.5)
        a.breaker.record_text(now())
        a.breaker.record_failure(SERVER, now())
        a.breaker.record_text(now())
        await until(lambda: redis_server.ask("TYPE", key(a, "texts")) == b"zset")
        assert redis_server.ask("ZCARD", key(a, "failures")) == 1
        a.trip()
        await until(lambda: b.state is BreakerState.HALF_OPEN)
        await until(lambda: not b.breaker.acquire_probe(now()) and b.breaker.probe_lease.until > 0)
        assert 0 < redis_server.ask("PTTL", key(a, "lease")) <= 15_500
        redis_server.ask("DEL", key(a, "lease"))
        await until(lambda: b.breaker.acquire_probe(now()))
        await until(lambda: redis_server.everything()[key(a, "samples")][0] == [b"0.5000"])
    assert not warnings()


GARBAGE = [
    "",
    "x",
    "99999999999999999 {}",
    '1 {"origin":"x","healthy":true}',  # of 1970: proved long ago
    '99999999999999999 {"origin":"x","healthy":false,"open_for":1e99}',
    '99999999999999999 {"origin":"x","healthy":false,"open_for":-5}',
    '99999999999999999 {"origin":"x","healthy":false,"trips":1000000}',
    '99999999999999999 {"origin":7,"healthy":false}',
    "9 [" * 2000,
    b"\xff\xfe\x00",
]


async def test_garbage_in_our_keys(redis_server: Server, warnings: Callable[[], list[str]]) -> None:
    """It changes nothing, and does not keep valid reports from being shared."""
    a, b = Host(redis_server.url), Host(redis_server.url)
    async with sharing(a, b):
        for garbage in GARBAGE:
            redis_server.ask("SET", key(a, "report"), garbage)  # type: ignore[arg-type]
            redis_server.ask("RPUSH", key(a, "samples"), "x", "nan", "-1", "1e999")
            # of a clock that was set back, and no times at all
            redis_server.ask("ZADD", key(a, "failures"), "9e15", "f1", "inf", "f2", "-inf", "f3")
            rounds = calls(redis_server, "time")
            await until(lambda: calls(redis_server, "time") > rounds + 3)  # noqa: B023
            assert a.breaker.is_proven()
        a.trip(AUTH)
        await until(lambda: b.state is BreakerState.LOCKED)
    assert not warnings()


# -- the scripts


async def test_the_newest_report_is_kept(redis_server: Server) -> None:
    """The order is by Redis's clock; no report is dated later than now."""

    def store(stamp: int, text: str) -> int:
        return int(redis_server.ask("EVAL", STORE_NEWEST, 1, "k", stamp, text, 60_000))

    seconds, micro = redis_server.ask("TIME")
    present = seconds * 1_000_000 + micro
    assert store(present - 10, "one") == 1
    assert store(present - 11, "older") == 0
    assert store(present - 10, "as old") == 0
    assert store(present - 9, "two") == 1
    assert redis_server.ask("GET", "k") == f"{present - 9} two".encode()
    assert store(present + 10**12, "too late") == 1
    stored = int(redis_server.ask("GET", "k").split()[0])
    assert present < stored < present + 60_000_000
    redis_server.ask("SET", "k", f"{present + 10**12} of a clock that was set back")
    assert store(present, "again") == 1
    assert 0 < redis_server.ask("PTTL", "k") <= 60_000


async def test_stored_outcomes_are_bounded(redis_server: Server) -> None:
    """The newest are kept, each once, and no text is written without a failure."""
    seconds, _ = redis_server.ask("TIME")
    present = seconds * 1_000_000

    def text(*stamps: int) -> int:
        return int(redis_server.ask("EVAL", RECORD_TEXTS, 2, "f", "t", 5, 9_000, *stamps))

    def fail(*entries: int | str) -> None:
        redis_server.ask("EVAL", RECORD_FAILURES, 1, "f", 5, 9_000, *entries)

    assert text(present) == 0
    fail(*(part for n in range(9) for part in (present - 9 + n, f"p.{n}")))
    fail(present - 9, "p.8")  # sent again
    assert redis_server.ask("ZCARD", "f") == 5
    fail(present + 10**12, "late")
    assert int(redis_server.ask("ZSCORE", "f", "late")) < present + 60_000_000
    assert text(*(present - n * 500_000 for n in range(20))) == 1
    stored = redis_server.ask("ZRANGE", "t", 0, -1, "WITHSCORES")
    assert len(stored) == 10
    assert [int(score) for score in stored[1::2]][-1] == present
    assert all(0 < redis_server.ask("PTTL", name) <= 9_000 for name in "ft")


# -- cleaning up


async def test_every_key_expires(redis_server: Server) -> None:
    """A fleet that is gone leaves nothing behind."""
    a, b = Host(redis_server.url, policies=SOON), Host(redis_server.url, policies=SOON)
    async with sharing(a, b):
        a.stt._runtime.health["first"].latency.add(0.5)
        a.trip()
        await until(lambda: a.state is BreakerState.HALF_OPEN)
        await until(lambda: a.breaker.acquire_probe(now()))
        await until(lambda: len(redis_server.everything()) == 3)
        a.stt._runtime.health["second"].breaker.record_failure(SERVER, now())
        a.stt._runtime.health["second"].breaker.record_text(now())
        await until(lambda: len(redis_server.everything()) == 5)
        found = redis_server.everything()
    assert all(name.startswith(PREFIX) for name in found)
    assert all(0 < left <= (KEEP + 400) * 1000 for _, left in found.values())


async def test_no_connection_is_left(redis_server: Server) -> None:
    """Streams that end at any time leave no connection, and a refresh ends by itself."""
    a = Host(redis_server.url, says("word"))
    for patience in (0.0, 0.001, 0.01, 0.05):
        stream, other = a.stt.stream(), a.stt.stream()
        await asyncio.sleep(patience)
        await stream.aclose()
        await other.aclose()
    stream = a.stt.stream()
    stream.push_frame(frames(0.02)[0])
    stream.end_input()
    assert texts(await collect(stream)) == ["word"]
    a.stt.prewarm()
    a.stt.prewarm()
    await asyncio.sleep(0)
    await a.stt.aclose()
    rounds = calls(redis_server, "time")
    a.stt.prewarm()
    await until(lambda: calls(redis_server, "time") > rounds)
    await until(lambda: len(asyncio.all_tasks()) == 1)
    await until(lambda: not redis_server.connections())


async def test_streams_share_one_connection(redis_server: Server) -> None:
    """It is closed when the last of them ends, in any order."""
    a = Host(redis_server.url)
    streams = [a.stt.stream() for _ in range(20)]
    await until(lambda: a.breaker.probe_lease.shared)
    assert redis_server.connections() == 1
    for stream in streams[:-1]:
        await stream.aclose()
    assert redis_server.connections() == 1
    await streams[-1].aclose()
    await until(lambda: not redis_server.connections())


async def test_nothing_secret_leaves_the_process(
    redis_server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys of providers and the password of Redis are in no key, value, log or repr."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("CARTESIA_API_KEY", "s3cr3t-of-cartesia")
    redis_server.kill()
    redis_server.start("--requirepass", "s3cr3t-of-redis")
    made = ResilientSTT.from_config(
        {
            "providers": {
                "c": {"plugin": "cartesia", "options": {"model": "ink-whisper"}},
                "d": {"plugin": "deepgram", "options": {"api_key": "s3cr3t-of-deepgram"}},
            },
            "health": {"store": redis_server.url.replace("//", "//:s3cr3t-of-redis@")},
        }
    )
    async with made._runtime.sharing_health():
        for health in made._runtime.health.values():
            health.breaker.record_failure(AUTH, now())
            health.latency.add(0.5)
        await until(lambda: len(redis_server.everything("s3cr3t-of-redis")) == 4)
        shown = repr(
            (
                made,
                made._runtime.setup,
                made._runtime._health_sync,
                redis_server.everything("s3cr3t-of-redis"),
            )
        )
        redis_server.kill()
        await until(lambda: caplog.records)
    assert "cartesia:ink-whisper:" in shown
    assert "s3cr3t" not in shown
    assert "s3cr3t" not in caplog.text
    assert not any("s3cr3t" in repr(r.__dict__) for r in caplog.records)


@pytest.mark.parametrize("form", ["redis://127.0.0.1:{port}/3", "redis://localhost:{port}?db=3"])
async def test_a_network_address(form: str, redis_server: Server) -> None:
    """Host, port and database of the URL are used."""
    a = Host(form.format(port=redis_server.port))
    async with sharing(a):
        a.trip()
        await until(lambda: "db3" in redis_server.ask("INFO", "keyspace"))
    assert not redis_server.everything()
