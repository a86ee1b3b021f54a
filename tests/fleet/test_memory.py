"""Health that all objects of a process share: the same provider is convicted once."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from livekit.agents import APIStatusError, stt
from livekit.plugins import deepgram

import _resilient_stt_pytest
from resilient_stt import BreakerPolicy, MemoryHealth, Policies, ResilientSTT
from resilient_stt.core.events import ErrorKind
from resilient_stt.core.health.breaker import Breaker
from resilient_stt.fleet.memory import MAX_PROVIDERS, DefaultHealth, forget_health
from resilient_stt.testing import Status
from resilient_stt.testing.fakes.cartesia import FakeCartesia
from resilient_stt.testing.harness.clock import VirtualTimeLoop

from ..support.fakes import FakeStream, FakeSTT, arena, collect, fails, frames, says, texts

REFUSED = APIStatusError("no", status_code=401)


class Hosted(FakeSTT):
    """A fake that says which server it is on, as plugins do."""

    def __init__(self, *args: Any, base_url: str = "https://one", **options: Any) -> None:
        super().__init__(*args, **options)
        self._base_url = base_url


def made(first: stt.STT[Any], **options: Any) -> ResilientSTT:
    """A `ResilientSTT` with a fallback."""
    fallback = FakeSTT(says("fallback"), provider="Fallback", text="fallback")
    return ResilientSTT([first, fallback], vad=None, **options)


async def call(resilient: ResilientSTT) -> list[str]:
    """Take a short call; returns the finals."""
    stream = resilient.stream()
    stream.push_frame(frames(0.02)[0])
    stream.end_input()
    return texts(await collect(stream))


def breaker(of: ResilientSTT) -> Breaker:
    return next(iter(of._runtime.health.values())).breaker


STORES: list[Callable[[], MemoryHealth | None]] = [lambda: None, DefaultHealth, MemoryHealth]


@pytest.mark.parametrize("store", STORES, ids=["none given", "default", "memory"])
async def test_a_refused_key_is_tried_once(store: Callable[[], MemoryHealth | None]) -> None:
    """Every later object begins with the fallback, and makes no connection to the provider."""
    one, two = Hosted(fails(REFUSED)), Hosted(says("never"))
    assert await call(made(one, health=store())) == ["fallback"]
    gc.collect()  # the object that found out may be gone
    assert await call(made(two, health=store())) == ["fallback"]
    assert (len(one.streams), len(two.streams)) == (1, 0)


@pytest.mark.slow
async def test_three_failures_of_three_objects_are_three() -> None:
    """Each call has an object of its own, and sees the provider fail once."""
    hosts = [Hosted(fails(APIStatusError("no", status_code=503))) for _ in range(4)]
    for host in hosts:
        assert await call(made(host)) == ["fallback"]
    assert [len(host.streams) for host in hosts] == [1, 1, 1, 0]


async def test_buffers_and_streams_share() -> None:
    """What `recognize()` finds out holds for streams."""
    one, two = Hosted(error=REFUSED), Hosted(says("never"))
    event = await (first := made(one)).recognize(frames(0.1))
    assert event.alternatives[0].text == "fallback"
    assert await call(made(two)) == ["fallback"]
    await first.aclose()


async def test_the_real_plugin_from_a_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """`{store: memory}` and no store at all mean this process."""
    async with FakeCartesia(faults=[Status(401)]) as server, arena() as other:
        for health in ({}, {"health": {"store": "memory"}}):
            options = {"api_key": "k", "base_url": server.url, "model": "ink-whisper"}
            made = ResilientSTT.from_config(
                {
                    "providers": {
                        "a": {"plugin": "cartesia", "options": options},
                        "b": {
                            "plugin": "deepgram",
                            "options": {"api_key": "k", "base_url": other.deepgram.url},
                        },
                    },
                    **health,
                }
            )
            for provider in made.providers:
                monkeypatch.setattr(provider, "_session", vars(other.stt.providers[0])["_session"])
            async with made.stream() as stream:
                for frame in frames(0.2):
                    stream.push_frame(frame)
                while made._runtime.last_served != "b":  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await made.aclose()
        assert len(server.connections) == 1


# -- who is kept apart


@pytest.mark.parametrize(
    "other",
    [
        lambda: made(Hosted(base_url="https://two")),
        lambda: made(Hosted(provider="Other")),
        lambda: made(Hosted(), health=MemoryHealth(isolated=True)),
        lambda: made(Hosted(), policies=Policies(breaker=BreakerPolicy(window=7))),
    ],
    ids=["address", "model", "isolated", "policy"],
)
async def test_others_are_not_convicted(other: Callable[[], ResilientSTT]) -> None:
    """Another server, model, store or policy has a health of its own."""
    await call(made(Hosted(fails(REFUSED))))
    assert breaker(other()).is_proven()


def test_another_key_has_another_health() -> None:
    """Credentials, addresses and languages differ: so does the health."""
    made = [
        deepgram.STT(api_key="k"),
        deepgram.STT(api_key="k"),
        deepgram.STT(api_key="other"),
        deepgram.STT(api_key="k", language="es"),
        deepgram.STT(api_key="k", base_url="https://example.com"),
    ]
    breakers = [breaker(ResilientSTT([one])) for one in made]
    assert breakers[0] is breakers[1]
    assert len({id(one) for one in breakers}) == 4


def test_what_cannot_be_told_apart_is_not_mixed_up() -> None:
    """A provider without address and credential shares only if its user asks for it."""
    assert breaker(made(FakeSTT())) is not breaker(made(FakeSTT()))
    asked = [breaker(made(FakeSTT(), health=MemoryHealth())) for _ in range(2)]
    assert asked[0] is asked[1]


def test_two_alike_in_one_object_are_two() -> None:
    """Who lists a provider twice wants one to take over from the other; another object agrees."""
    objects = [ResilientSTT([Hosted(), Hosted()], vad=None) for _ in range(2)]
    one, two = ([h.breaker for h in of._runtime.health.values()] for of in objects)
    assert one[0] is not one[1]
    assert one == two


async def test_each_object_reports_to_its_own_users() -> None:
    """Availability is an event of the object that left the provider."""
    one, two = made(Hosted(fails(REFUSED))), made(Hosted())
    seen: list[bool] = []
    one.on("stt_availability_changed", lambda event: seen.append(event.available))
    await call(one)
    assert seen == [False]
    assert [h.available for h in two._runtime.health.values()] == [True, True]


# -- loops, threads, memory


def test_a_second_loop_goes_on_where_the_first_one_ended() -> None:
    """Loops follow each other in scripts; their clock is the same."""
    one, two = Hosted(fails(REFUSED)), Hosted(says("never"))
    assert asyncio.run(call(made(one))) == ["fallback"]
    assert asyncio.run(call(made(two))) == ["fallback"]
    assert not two.streams


def test_a_clock_of_its_own_shares_nothing() -> None:
    """Break times of virtual time mean nothing to others."""

    async def find() -> Breaker:
        return breaker(made(Hosted()))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        virtual = runner.run(find())
        assert runner.run(find()) is virtual
    assert asyncio.run(find()) is breaker(made(Hosted()))
    assert asyncio.run(find()) is not virtual


@pytest.mark.slow
def test_threads_share_without_harm() -> None:
    """Jobs of a worker may be threads with loops of their own, which fail and recover at once."""
    interval = sys.getswitchinterval()
    errors: list[BaseException] = []
    policies = Policies(breaker=BreakerPolicy(consecutive_failures=10**6, minimum_calls=10**6))

    async def echoes(stream: FakeStream) -> None:
        async for _ in stream.received():
            stream.final("word")
        raise APIStatusError("no", status_code=503)

    async def job() -> None:
        for _ in range(15):
            stream = made(Hosted(echoes), policies=policies).stream()
            for frame in frames(0.4):
                stream.push_frame(frame)
            stream.end_input()
            assert "word" in texts(await collect(stream))

    def run() -> None:
        try:
            asyncio.run(job())
        except BaseException as error:
            errors.append(error)

    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(interval)
    assert not errors


def test_decisions_hold_the_lock() -> None:
    """A breaker is never changed by two threads at once."""
    health = MemoryHealth()
    lock: Any = health.lock
    held: list[bool] = []

    def look() -> None:
        if is_free := lock.acquire(blocking=False):
            lock.release()
        held.append(not is_free)

    class Watched(Breaker):
        def record_failure(self, *args: Any) -> None:
            free = threading.Thread(target=look)
            free.start()
            free.join()
            super().record_failure(*args)

    async def run() -> None:
        for behavior, error in ((fails(REFUSED), None), (FakeStream.listen, REFUSED)):
            resilient = made(Hosted(behavior, error=error), health=health)
            breaker(resilient).__class__ = Watched
            await (call(resilient) if error is None else resilient.recognize(frames(0.1)))
            await resilient.aclose()
            forget_health()

    asyncio.run(run())
    assert held == [True, True]


def test_memory_is_bounded() -> None:
    """A process that talks to ever new servers remembers the latest."""
    store = MemoryHealth(isolated=True)
    first = breaker(made(Hosted(base_url="0"), health=store))
    for number in range(1, MAX_PROVIDERS):
        made(Hosted(base_url=str(number)), health=store)
    assert breaker(made(Hosted(base_url="0"), health=store)) is not first
    assert len(store._memory._known) == MAX_PROVIDERS


def test_no_key_is_kept() -> None:
    """What is remembered holds digests only."""
    resilient = made(Hosted(), health=(store := MemoryHealth(isolated=True)))
    ResilientSTT([deepgram.STT(api_key="s3cr3t")], health=store)
    assert resilient
    shown = repr(vars(store._memory)) + repr(store)
    assert "deepgram:nova-3:" in shown
    assert "s3cr3t" not in shown


# -- tests of users


@pytest.mark.parametrize("time", range(2))
def test_no_test_inherits_a_breaker(time: int) -> None:
    """The pytest plugin lets every test begin with no health, whatever the one before it did."""
    found = breaker(ResilientSTT([deepgram.STT(api_key="k")]))
    assert found.is_proven()
    found.record_failure(ErrorKind.AUTH, time)
    assert breaker(ResilientSTT([deepgram.STT(api_key="k")])) is found
    _resilient_stt_pytest.pytest_runtest_setup()
    assert breaker(ResilientSTT([deepgram.STT(api_key="k")])).is_proven()
