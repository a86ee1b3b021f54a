"""Options and keyterms that change at any moment, for a connection in any role."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from contextlib import AsyncExitStack

import aiohttp
import pytest
from livekit.plugins import deepgram

from resilient_stt import ResilientSTT
from resilient_stt.core.events import ProviderFailed
from resilient_stt.testing.fakes.cartesia import FakeCartesia
from resilient_stt.testing.fakes.deepgram import FakeDeepgram
from resilient_stt.testing.faults import Fault, HalfOpen, Stall
from resilient_stt.testing.harness.play import Played, play
from resilient_stt.testing.speech.reference import ReferenceSpeech

from .support.fakes import Arena, arena, has_keyterms, listen
from .support.trials import check

pytestmark = pytest.mark.stt_virtual_time

ENGLISH = ReferenceSpeech.load("english")
Change = Callable[[ResilientSTT], object]


def set_keyterms(stt: ResilientSTT) -> None:
    """As LiveKit's keyterm detection does."""
    stt._update_session_keyterms(["Santos"])


def behind_our_back(stt: ResilientSTT) -> None:
    """Change the plugin's own options, for which it reconnects inside itself."""
    (plugin,) = (p for p in stt.providers if isinstance(p, deepgram.STT))
    plugin.update_options(keyterm=["Santos"])


async def changed_at(
    at: float, change: Change, *, model: str, fault: Fault, speech: ReferenceSpeech
) -> tuple[Played, Arena]:
    """Play speech to a Cartesia with a fault and a Deepgram whose options change."""
    async with AsyncExitStack() as stack:
        c = await stack.enter_async_context(FakeCartesia(faults=[fault]))
        d = await stack.enter_async_context(FakeDeepgram())
        http = await stack.enter_async_context(aiohttp.ClientSession())
        stt = ResilientSTT([c.stt(http_session=http, model=model), d.stt(http_session=http)])
        made = Arena(c, d, stt)
        listen(stt, made.events.append)
        asyncio.get_running_loop().call_later(at, functools.partial(change, stt))
        played = await play(stt, speech)
        await stt.aclose()
        return played, made


@has_keyterms
@pytest.mark.parametrize("change", [set_keyterms, behind_our_back])
@pytest.mark.parametrize("after", [0.0, 0.5, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0, 4.0, 5.0])
async def test_a_change_while_a_hedge_is_under_way(after: float, change: Change) -> None:
    """The hedge's audio begins anew with its connection: no word is lost or comes twice."""
    word = ENGLISH.words[44]
    fault = HalfOpen(at_word=44)
    played, _ = await changed_at(
        word.start + after, change, model="ink-2", fault=fault, speech=ENGLISH.padded(1.0)
    )
    check(played, f"changed {after} s after the stall", accurate=False)


@has_keyterms
@pytest.mark.parametrize("change", [set_keyterms, behind_our_back])
@pytest.mark.parametrize("after", [0.1, 0.7, 1.3, 1.9, 2.5])
async def test_a_change_while_a_hedge_checks_ink_whisper(after: float, change: Change) -> None:
    """The same beside a provider that gives finals only."""
    end = ENGLISH.words[ENGLISH.sentences[0][-1]].end
    fault = Stall(at_time=end - 1.0)
    speech = ENGLISH.excerpt(0, 3).padded(1.0)
    played, _ = await changed_at(
        end + after, change, model="ink-whisper", fault=fault, speech=speech
    )
    check(played, f"changed {after} s after the sentence", accurate=False)


@pytest.mark.parametrize("at", [0.02, 0.4, 1.0, 1.7, 2.3, 3.1])
async def test_a_plugin_that_reconnects_before_its_first_final(at: float) -> None:
    """Its times begin anew before any final shows that, and its audio in flight is lost."""
    speech = ENGLISH.excerpt(0, 1).padded(1.0)
    async with arena(only=("deepgram",)) as a:
        asyncio.get_running_loop().call_later(at, behind_our_back, a.stt)
        played = await play(a.stt, speech)
    check(played, f"reconnected at {at}")


@has_keyterms
async def test_two_changes_in_one_moment_cost_one_connection() -> None:
    """Several options that change together open one connection, not one each."""
    async with arena(only=("deepgram",)) as a:

        def change() -> None:
            set_keyterms(a.stt)
            a.stt.update_options(endpointing_ms=100)
            a.stt.update_options(punctuate=True)

        asyncio.get_running_loop().call_later(2.0, change)
        played = await play(a.stt, ENGLISH.excerpt(0, 1).padded(1.0))
    check(played, "two changes")
    assert len(a.deepgram.connections) == 2
    assert not [e for e in a.events if isinstance(e, ProviderFailed)]
