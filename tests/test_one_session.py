"""Providers that allow one session at a time: our own other connection is no fault of theirs."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest

from resilient_stt import Policies, ResilientSTT
from resilient_stt.core.events import BreakerState, OutageStarted, ProviderFailed, Switched
from resilient_stt.testing.fakes.cartesia import FakeCartesia
from resilient_stt.testing.fakes.deepgram import FakeDeepgram
from resilient_stt.testing.faults import Fault, HalfOpen, Stall
from resilient_stt.testing.harness.play import play
from resilient_stt.testing.speech.reference import ReferenceSpeech

from .support.fakes import Arena, listen
from .support.trials import check

pytestmark = pytest.mark.stt_virtual_time

ENGLISH = ReferenceSpeech.load("english")
SPEECH = ENGLISH.excerpt(0, 2).padded(1.0)


@asynccontextmanager
async def one_session(
    *route: str,
    deepgram: tuple[Fault, ...] = (),
    cartesia: tuple[Fault, ...] = (),
    policies: Policies | None = None,
) -> AsyncIterator[Arena]:
    """A Deepgram that allows one session, in a route with or without Cartesia."""
    async with AsyncExitStack() as stack:
        c = await stack.enter_async_context(FakeCartesia(faults=cartesia))
        d = await stack.enter_async_context(FakeDeepgram(faults=deepgram, concurrency=1))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        made = {"cartesia": c.stt(http_session=http), "deepgram": d.stt(http_session=http)}
        arena = Arena(c, d, ResilientSTT([made[name] for name in route], policies=policies))
        listen(arena.stt, arena.events.append)
        yield arena
        await arena.stt.aclose()


def refused(a: Arena) -> int:
    return [c.ended for c in a.deepgram.connections].count("rejected with 429")


def failures(a: Arena) -> list[object]:
    told = (ProviderFailed, OutageStarted)
    return [e for e in a.events if isinstance(e, told)]


def state(a: Arena) -> BreakerState:
    breaker = a.stt._runtime.health["deepgram"].breaker
    return breaker.state(asyncio.get_running_loop().time())


def change_options(stt: ResilientSTT) -> None:
    stt.update_options(endpointing_ms=100)


def at(seconds: float, action: Callable[[ResilientSTT], None], a: Arena) -> None:
    asyncio.get_running_loop().call_later(seconds, functools.partial(action, a.stt))


@pytest.mark.parametrize("route", [("deepgram",), ("deepgram", "cartesia")], ids=len)
@pytest.mark.parametrize("after", [0.02, 0.5, 1.3, 2.2, 4.0, 6.1])
async def test_other_options(after: float, route: tuple[str, ...]) -> None:
    """The connection is opened anew once the old one is gone: no failure, and no word lost."""
    async with one_session(*route) as a:
        at(after, change_options, a)
        check(await play(a.stt, SPEECH), f"changed at {after}")
        assert refused(a) > 0
        assert not failures(a)
        assert {e.to_provider for e in a.events if isinstance(e, Switched)} == {"deepgram"}
        assert state(a) is BreakerState.CLOSED
        assert len(a.deepgram.connections) <= 6


@pytest.mark.parametrize("after", [0.5, 1.25, 2.0, 2.75])
async def test_other_options_of_a_hedge(after: float) -> None:
    """The hedge is opened anew likewise, and finds the words."""
    word = ENGLISH.words[12]
    async with one_session("cartesia", "deepgram", cartesia=(HalfOpen(at_word=12),)) as a:
        at(word.start + after, change_options, a)
        check(await play(a.stt, ENGLISH.excerpt(0, 4).padded(1.0)), f"{after}", accurate=False)
        assert not [e for e in failures(a) if getattr(e, "provider", "") == "deepgram"]
        assert state(a) is BreakerState.CLOSED


@pytest.mark.parametrize("word", [4, 9, 15])
async def test_a_second_connection_to_a_sole_provider(word: int) -> None:
    """One that is to show whether the first is deaf is refused, and that is all."""
    until = ENGLISH.words[word].start + 4.0
    async with one_session("deepgram", deepgram=(Stall(at_word=word, until=until),)) as a:
        played = await play(a.stt, ENGLISH.excerpt(0, 5).padded(1.0))
        assert played.error is None
        assert refused(a) > 0
        assert not [e for e in failures(a) if getattr(e, "reason", "") == "rate_limited"]
        assert not [e for e in a.events if isinstance(e, OutageStarted)]


async def test_a_call_whose_stream_is_replaced() -> None:
    """LiveKit opens another stream for a cleared turn, while the old one still closes."""
    async with one_session("deepgram", "cartesia") as a:
        old = a.stt.stream()
        for frame in SPEECH.frames():
            old.push_frame(frame)
            await asyncio.sleep(frame.duration)
        closing = asyncio.create_task(old.aclose())
        await asyncio.sleep(0)
        check(await play(a.stt, SPEECH), "replaced")
        await closing
        assert refused(a) > 0
        assert not failures(a)
        assert len(a.cartesia.connections) == 0


async def test_a_session_that_is_never_released() -> None:
    """A server that has not noticed that our old connection is gone is left, after a while."""
    deepgram = (HalfOpen(at_time=2.0),)
    async with one_session("deepgram", "cartesia", deepgram=deepgram) as a:
        at(2.1, change_options, a)
        check(await play(a.stt, ENGLISH.excerpt(0, 4).padded(1.0)), "held", accurate=False)
        failure = next(e for e in a.events if isinstance(e, ProviderFailed))
        assert failure.reason == "rate_limited"
        assert 2.9 < failure.at < 5.0
        assert a.stt._runtime.last_served == "cartesia"


async def test_sessions_of_others() -> None:
    """If nothing of ours is open, a refusal counts at once, and the next provider serves."""
    async with one_session("deepgram", "cartesia") as a:
        a.deepgram.concurrency = 0
        check(await play(a.stt, SPEECH), "full")
        failure = next(e for e in a.events if isinstance(e, ProviderFailed))
        assert failure.reason == "rate_limited"
        assert failure.at < 0.3
