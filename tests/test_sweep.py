"""The main promise, at every word: the real plugins over real sockets, on a virtual clock.

Each run plays a sentence of the reference speech with its neighbours, and breaks something at one
word's start or middle. The runs of one sentence go on side by side in one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
import pytest

from resilient_stt import ResilientSTT
from resilient_stt.testing.cartesia import FakeCartesia
from resilient_stt.testing.deepgram import FakeDeepgram
from resilient_stt.testing.faults import Drop, Fault, Hang, Refuse, Status, from_
from resilient_stt.testing.play import Played, play
from resilient_stt.testing.speech import ReferenceSpeech

pytestmark = pytest.mark.virtual_time

SPEECH = ReferenceSpeech.load("english")
CONCURRENT = 12

DROP_DELAY = 0.3
HANG_DELAY = 1.6
"""Seconds that a fault may cost beyond a healthy run, for a drop or refusal and for a handshake
that hangs. Virtual time: the same on every machine."""


@dataclass(frozen=True)
class Script:
    """Faults of the two servers."""

    cartesia: tuple[Fault, ...] = ()
    deepgram: tuple[Fault, ...] = ()


HEALTHY = Script()
FALLBACK_ONLY = Script((Refuse(),))


def drop_once(word: int, part: float) -> Script:
    return Script((Drop(at_word=word, part=part, connections={0}),))


def drop_for_good(word: int, part: float) -> Script:
    return Script((Drop(at_word=word, part=part, connections={0}), Refuse(connections=from_(1))))


def drop_both_in_turn(word: int, part: float) -> Script:
    later = min(word + 3, len(SPEECH.words) - 1)
    return Script(
        (Drop(at_word=word, part=part, connections={0}), Refuse(connections={1})),
        (Drop(1011, at_word=later, part=part, connections={0}),),
    )


def drop_fallback(word: int, part: float) -> Script:
    return Script((Refuse(),), (Drop(1011, at_word=word, part=part, connections={0}),))


async def run(script: Script, speech: ReferenceSpeech) -> Played:
    """Play speech to Cartesia and Deepgram with these faults."""
    async with (
        FakeCartesia(faults=script.cartesia) as cartesia,
        FakeDeepgram(faults=script.deepgram) as deepgram,
        aiohttp.ClientSession() as http,
    ):
        stt = ResilientSTT([cartesia.stt(http_session=http), deepgram.stt(http_session=http)])
        try:
            return await play(stt, speech.padded(1.0))
        finally:
            await stt.aclose()


async def run_all(scripts: list[Script], speech: ReferenceSpeech) -> list[Played]:
    """Run scripts side by side, a few at a time."""
    gate = asyncio.Semaphore(CONCURRENT)

    async def one(script: Script) -> Played:
        async with gate:
            return await run(script, speech)

    return await asyncio.gather(*map(one, scripts))


def check(played: Played, slowest: list[float], allowed: float, where: str) -> None:
    """Nothing lost, twice, torn, disordered or mistimed; no word later than allowed."""
    assert played.error is None, where
    assert played.score.ok, f"{where}: {played.score}"
    assert played.balanced, where
    assert played.score.ts_err_max_s is not None
    assert played.score.ts_err_max_s <= 0.1, where
    late = [a - b for a, b in zip(played.score.late_s, slowest, strict=True)]
    assert max(late) <= allowed, f"{where}: word {late.index(max(late))} is {max(late):.2f} s late"


async def slowest_healthy(speech: ReferenceSpeech) -> list[float]:
    """Each word's delay in a healthy run, of the provider that takes longer for it."""
    runs = await run_all([HEALTHY, FALLBACK_ONLY], speech)
    assert all(r.score.ok for r in runs)
    return [max(delays) for delays in zip(*(r.score.late_s for r in runs), strict=True)]


@pytest.mark.parametrize("sentence", range(len(SPEECH.sentences)))
@pytest.mark.parametrize(
    "fault", [drop_once, drop_for_good, drop_both_in_turn, drop_fallback], ids=lambda f: f.__name__
)
async def test_drop_at_every_word(fault: Callable[[int, float], Script], sentence: int) -> None:
    """A connection cut at any word's start or middle loses, repeats and delays nothing."""
    speech = SPEECH.excerpt(max(0, sentence - 1), min(sentence + 1, len(SPEECH.sentences) - 1))
    moments = [(word, part) for word in SPEECH.sentences[sentence] for part in (0.0, 0.5)]
    slowest = await slowest_healthy(speech)
    runs = await run_all([fault(word, part) for word, part in moments], speech)
    for (word, part), played in zip(moments, runs, strict=True):
        where = f"{fault.__name__} at {part} of word {word} ({SPEECH.words[word].text})"
        check(played, slowest, DROP_DELAY, where)


@pytest.mark.parametrize("connections", [None, {0}], ids=["always", "first"])
async def test_connect_faults(connections: set[int] | None) -> None:
    """A provider that cannot be reached from the start costs no word and hardly any time."""
    faults = {
        "refuse": Refuse(connections=connections),
        **{f"{s}": Status(s, connections=connections) for s in (401, 402, 403, 429, 500, 503)},
        "hang": Hang(connections=connections),
    }
    slowest = await slowest_healthy(SPEECH)
    runs = await run_all([Script((fault,)) for fault in faults.values()], SPEECH)
    for name, played in zip(faults, runs, strict=True):
        check(played, slowest, HANG_DELAY if name == "hang" else DROP_DELAY, name)
