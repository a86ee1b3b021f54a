"""Real recognizers for the fake servers, with an engine that knows the reference speech."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest
from livekit.agents.stt import STT
from livekit.agents.utils import http_context

from resilient_stt import MemoryHealth, ResilientSTT
from resilient_stt.testing import (
    Accent,
    Drop,
    FakeCartesia,
    FakeDeepgram,
    HeardWord,
    Played,
    Recognizer,
    ReferenceSpeech,
    local_recognizer,
    play,
)
from resilient_stt.testing.speech.reference import SAMPLE_RATE

from ...support.word_engine import WordEngine

ENGLISH = ReferenceSpeech.load("english")
FIRST = ENGLISH.excerpt(0, 1)
MIDDLE = ENGLISH.words[16].start + 0.1
"""A second within "Thursday", in the second sentence."""


def fed(
    recognizer: Recognizer, speech: ReferenceSpeech, step: int = 641
) -> list[tuple[float, HeardWord]]:
    """Feed speech in blocks of so many bytes; returns each word with the position at which it
    came."""
    pcm = speech.samples.tobytes()
    blocks = (pcm[at : at + step] for at in range(0, len(pcm), step))
    return [(recognizer.position, word) for block in blocks for word in recognizer.feed(block)]


def recognizer_of(engine: WordEngine, *, pause: float = 0.2, rate: int = SAMPLE_RATE) -> Recognizer:
    return local_recognizer(engine, pause=pause)(sample_rate=rate, languages=["en"])


def test_words_come_once_at_their_times() -> None:
    """Every word is returned once, in the pause after it, with its time on the connection."""
    came = fed(recognizer_of(WordEngine()), ENGLISH.padded(1.0))
    assert [word.text for _, word in came] == ENGLISH.text.split()
    assert [word.index for _, word in came] == [*range(len(ENGLISH.words))]
    for (position, heard), spoken in zip(came, ENGLISH.words, strict=True):
        assert heard.start == pytest.approx(spoken.start, abs=0.02)
        assert heard.end == pytest.approx(spoken.end, abs=0.02)
        assert position >= spoken.end


def test_a_longer_pause_joins_utterances() -> None:
    """The pause decides how many utterances there are."""
    short, long = WordEngine(), WordEngine()
    fed(recognizer_of(short, pause=0.1), FIRST.padded(1.0))
    fed(recognizer_of(long, pause=0.6), FIRST.padded(1.0))
    assert len(short.finals) > len(long.finals) >= 1


def test_finish_ends_an_utterance_in_a_word() -> None:
    """What was heard of a word is all that is returned, and the rest comes as another one."""
    recognizer = recognizer_of(WordEngine())
    pcm = FIRST.samples.tobytes()
    cut = round((FIRST.words[1].start + FIRST.words[1].end) / 2 * SAMPLE_RATE) * 2
    head = recognizer.feed(pcm[:cut]) + recognizer.finish()
    rest = recognizer.feed(pcm[cut:]) + recognizer.finish()
    assert head[0].text == FIRST.words[0].text
    assert FIRST.words[1].text not in (word.text for word in head)
    assert [word.text for word in head + rest][-3:] == [word.text for word in FIRST.words[-3:]]


def test_speech_is_partial_until_its_pause() -> None:
    """While an utterance is open there is a partial and no silence; after it, it is reversed."""
    recognizer = recognizer_of(WordEngine())
    pcm = FIRST.padded(1.0).samples.tobytes()
    at = round(FIRST.words[1].end * SAMPLE_RATE) * 2
    recognizer.feed(pcm[:at])
    assert recognizer.partial is not None
    assert recognizer.partial.start == pytest.approx(FIRST.words[0].start, abs=0.3)
    assert recognizer.silence == 0.0
    recognizer.feed(pcm[at:])
    later: Recognizer = recognizer  # mypy remembers what was asserted of a property
    assert later.partial is None
    silence = FIRST.duration + 1.0 - FIRST.words[-1].end
    assert recognizer.silence == pytest.approx(silence, abs=0.2)
    assert recognizer.tentative == ()


def test_tentative_words_are_decoded_when_asked_for() -> None:
    """An utterance that goes on is decoded again for every half a second, and only if asked."""
    engine = WordEngine()
    recognizer = recognizer_of(engine)
    pcm = FIRST.samples.tobytes()
    recognizer.feed(pcm[: 2 * SAMPLE_RATE * 2])
    assert not engine.interims
    assert [word.text for word in recognizer.tentative][:3] == FIRST.text.split()[:3]
    assert [word.text for word in recognizer.tentative][:3] == FIRST.text.split()[:3]
    assert len(engine.interims) == 1


@pytest.mark.parametrize("rate", [8_000, 48_000])
def test_other_rates_are_resampled(rate: int) -> None:
    """The engine gets the same utterances at 16 kHz, and seconds are those of the connection."""
    usual, engine = WordEngine(), WordEngine()
    fed(recognizer_of(usual), FIRST.padded(1.0))
    recognizer = recognizer_of(engine, rate=rate)
    for frame in FIRST.padded(1.0).frames(sample_rate=rate):
        recognizer.feed(bytes(frame.data))
    recognizer.finish()
    assert engine.finals == pytest.approx(usual.finals, abs=0.1)
    assert recognizer.position == pytest.approx(FIRST.duration + 1.0, abs=0.01)
    silence = FIRST.duration + 1.0 - FIRST.words[-1].end
    assert recognizer.silence == pytest.approx(silence, abs=0.2)


def test_a_fault_cannot_wait_for_a_word() -> None:
    """The message says what to use instead."""
    recognizer = local_recognizer(WordEngine())
    with pytest.raises(ValueError, match="at_audio or at_time instead of at_word"):
        FakeCartesia(recognizer=recognizer, faults=[Drop(at_word=3)])
    server = FakeDeepgram(recognizer=recognizer, faults=[Drop(at_audio=3.0)])
    with pytest.raises(ValueError, match="at_audio"):
        server.inject(Drop(at_word=3))


def test_a_pause_is_positive() -> None:
    """A pause of nothing would end an utterance at once."""
    with pytest.raises(ValueError, match="positive"):
        local_recognizer(WordEngine(), pause=0.0)


# --- behind the fake servers ---


async def played(
    faults: Sequence[Drop] = (), speech: ReferenceSpeech = ENGLISH
) -> tuple[Played, WordEngine]:
    """Play speech to a chain of two servers whose recognizers cut and write differently."""
    engine = WordEngine()
    async with (
        http_context.open(),
        FakeCartesia(recognizer=local_recognizer(engine, pause=0.4), faults=faults) as first,
        FakeDeepgram(
            recognizer=local_recognizer(WordEngine()),
            accent=Accent(casing="lower", punctuates=False),
        ) as second,
    ):
        mine = ResilientSTT([first.stt(), second.stt()], health=MemoryHealth(isolated=True))
        result = await play(mine, speech.padded(1.0))
        await mine.aclose()
    return result, engine


async def test_the_model_is_loaded_when_the_server_starts() -> None:
    """The first connection does not wait for it."""
    engine = WordEngine()
    server = FakeCartesia(recognizer=local_recognizer(engine))
    assert engine.loads == 0
    async with server:
        assert engine.loads == 1


@pytest.mark.stt_virtual_time
async def test_all_words_come_through_the_protocol() -> None:
    """Without a fault, the engine's words come through the plugin, with their times."""
    result, engine = await played()
    assert result.score.ok, str(result.score)
    assert result.score.ts_err_max_s == pytest.approx(0.0, abs=0.03)
    assert result.word_error_rate == 0.0
    assert engine.loads == 1
    assert engine.finals


@pytest.mark.stt_virtual_time
async def test_a_drop_between_two_writings_loses_no_word() -> None:
    """The words come once, though the two recognizers write and cut differently."""
    drop = Drop(at_audio=MIDDLE)
    result, _ = await played([drop, Drop(at_audio=0.0, connections=frozenset(range(1, 9)))])
    assert result.score.ok, str(result.score)
    assert any(final.text == final.text.lower() for final in result.finals)


@pytest.mark.stt_virtual_time
@pytest.mark.parametrize("provider", ["cartesia", "deepgram"])
async def test_interims_are_tentative_words(provider: str) -> None:
    """An interim transcript has words of an utterance that is not over."""
    engine = WordEngine()
    recognizer = local_recognizer(engine)
    server = (
        FakeCartesia(recognizer=recognizer, interims=True)
        if provider == "cartesia"
        else FakeDeepgram(recognizer=recognizer)
    )
    async with http_context.open(), server:
        target: STT[Any] = server.stt()
        result = await play(target, FIRST.padded(1.0))
        await target.aclose()
    interims = [e for _, e in result.events if e.type == "interim_transcript"]
    assert interims
    assert interims[0].alternatives[0].text.split()[0] == FIRST.words[0].text
    assert engine.interims
    assert result.score.ok, str(result.score)


@pytest.mark.stt_virtual_time
async def test_a_posted_recording_is_recognized_too() -> None:
    """The batch endpoint of Deepgram asks the same recognizer."""
    engine = WordEngine()
    pcm = FIRST.padded(1.0).samples.tobytes()
    query = {"encoding": "linear16", "sample_rate": str(SAMPLE_RATE), "punctuate": "true"}
    async with (
        FakeDeepgram(recognizer=local_recognizer(engine)) as server,
        aiohttp.ClientSession() as http,
        http.post(
            server.url,
            params=query,
            data=pcm,
            headers={"Authorization": "Token key"},
        ) as response,
    ):
        answer = await response.json()
    (alternative,) = answer["results"]["channels"][0]["alternatives"]
    assert alternative["transcript"] == FIRST.text
    assert engine.finals
