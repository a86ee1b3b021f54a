from __future__ import annotations

import asyncio
import difflib
import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, stt
from livekit.agents.types import TimedString

from resilient_stt import local
from resilient_stt.local import Hypothesis
from resilient_stt.local.decoding_thread import DecodingThread
from resilient_stt.local.local_engine import UtteranceDecoder
from resilient_stt.local.local_stt import INTERIM_SHARE
from resilient_stt.testing.harness.play import Played, play
from resilient_stt.testing.speech.reference import ReferenceSpeech

from ..support.fakes import collect, frames, texts
from ..support.local_engines import SpeechEngine
from ..support.streams import END, ENGLISH, FINAL, INTERIM, SHORT, START

pytestmark = pytest.mark.stt_virtual_time
ONCE = APIConnectOptions(max_retry=0)


def finals(played: Played) -> list[tuple[float, stt.SpeechData]]:
    return [(at, e.alternatives[0]) for at, e in played.events if e.type is FINAL]


def times_of(word: TimedString) -> tuple[float, float]:
    start, end = word.start_time, word.end_time
    assert isinstance(start, float)
    assert isinstance(end, float)
    return start, end


def words(played: Played) -> list[str]:
    return " ".join(data.text for _, data in finals(played)).split()


async def test_every_word_is_in_a_final_at_a_pause() -> None:
    """A stream transcribes each word once, and its finals come within a second of their words."""
    played = await play(local.STT(engine=SpeechEngine()), ENGLISH.padded(1.0))
    assert words(played) == [word.text for word in ENGLISH.words]
    said = [data for _, data in finals(played) if data.text]
    assert len(said) > 5
    for at, data in finals(played):
        assert at - data.end_time < 0.6


async def test_interims_come_before_their_final() -> None:
    """While somebody speaks, interim transcripts grow into the final."""
    played = await play(local.STT(engine=SpeechEngine()), SHORT.padded(1.0))
    kinds = [event.type for _, event in played.events]
    assert kinds.count(INTERIM) > 5
    first = kinds.index(FINAL)
    *_, last = (e.alternatives[0].text for _, e in played.events[:first] if e.type is INTERIM)
    assert played.events[first][1].alternatives[0].text.startswith(last.split()[0])


async def test_the_last_interim_of_a_pause_is_the_final() -> None:
    """What was decoded when a pause began is not decoded again when it turns out to be the end."""
    once, again = SpeechEngine(complete=True), SpeechEngine()
    for engine in (once, again):
        played = await play(local.STT(engine=engine), SHORT.padded(1.0))
        assert len(words(played)) >= len(SHORT.words) - 1
    assert not any(final for final, _ in once.decoded)
    assert sum(final for final, _ in again.decoded) == sum(bool(d.text) for _, d in finals(played))


async def test_turns_begin_and_end() -> None:
    """START and END of speech alternate; an END comes after 0.7 s of silence, behind the final."""
    played = await play(local.STT(engine=SpeechEngine()), ENGLISH.padded(1.0))
    turns = [(at, e.type) for at, e in played.events if e.type in (START, END)]
    assert [kind for _, kind in turns] == [START, END] * (len(turns) // 2)
    assert len(turns) >= 4
    for at, kind in turns:
        if kind is END:
            ended = max(w.end for w in ENGLISH.words if w.end < at)
            assert at - ended > 0.7


@pytest.mark.parametrize("rate", [8_000, 48_000])
async def test_other_rates_are_resampled(rate: int) -> None:
    """Whatever the sample rate, the engine is given 16 kHz."""
    played = await play(local.STT(engine=SpeechEngine()), SHORT.padded(1.0), sample_rate=rate)
    assert len(words(played)) == len(SHORT.words)


async def test_words_have_times_that_are_estimates() -> None:
    """Word times are in order, inside the final, and said to be estimates."""
    played = await play(local.STT(engine=SpeechEngine()), SHORT.padded(1.0))
    off: list[float] = []
    spoken = iter(SHORT.words)
    for _, data in finals(played):
        if not data.text:
            continue
        assert data.metadata == {"word_times": "estimated"}
        assert data.words is not None
        assert [str(w) for w in data.words] == data.text.split()
        times = [t for w in data.words for t in times_of(w)]
        assert times == sorted(times)
        assert data.start_time <= times[0]
        assert times[-1] <= data.end_time + 1e-6
        off += [abs(times_of(w)[0] - next(spoken).start) for w in data.words]
    assert max(off) < 0.5


async def test_times_of_an_engine_are_kept() -> None:
    """Where the model gives word times, they are not marked as estimates."""

    class TimedUtterance:
        def decode(self, samples: local.Samples, *, final: bool) -> local.Hypothesis:
            return local.Hypothesis("hi", (local.TimedWord("hi", 0.25, 0.5),))

    class Timed(SpeechEngine):
        def utterance(self, language: str) -> Any:
            return TimedUtterance()

    played = await play(local.STT(engine=Timed()), SHORT.padded(1.0))
    _, data = finals(played)[0]
    assert data.metadata is None
    assert data.words is not None
    assert data.words[0].start_time == pytest.approx(data.start_time + 0.25)


async def test_a_flush_gives_the_final_at_once() -> None:
    """A flush in mid-sentence ends the utterance there; what follows is in the next final."""
    made = local.STT(engine=SpeechEngine())
    spoken = [word.text for word in SHORT.words]
    async with made.stream() as stream:
        pieces = list(SHORT.padded(1.0).frames())
        at = round((SHORT.words[3].end + SHORT.words[4].start) / 2 / pieces[0].duration)
        for frame in pieces[:at]:
            stream.push_frame(frame)
        stream.flush()
        async for event in stream:
            if event.type is FINAL:
                break
        assert event.alternatives[0].text.split() == spoken[:4]
        for frame in pieces[at:]:
            stream.push_frame(frame)
        stream.end_input()
        rest = " ".join(texts(await collect(stream))).split()
    assert rest == spoken[4:]


async def test_a_flush_in_silence_is_answered() -> None:
    """With nothing to transcribe, an empty final with the time of the flush answers it."""
    async with local.STT(engine=SpeechEngine()).stream() as stream:
        for frame in frames(1.0):
            stream.push_frame(frame)
        stream.flush()
        event = await anext(stream)
        assert (event.type, event.alternatives[0].text) == (FINAL, "")
        # LiveKit begins to count when its task runs, some microseconds later on the real clock.
        assert event.alternatives[0].end_time == pytest.approx(stream.start_time_offset + 1.0)


async def test_a_buffer_is_recognized() -> None:
    """`recognize()` returns all words of a buffer, with their times."""
    engine = SpeechEngine()
    whole = rtc.combine_audio_frames(list(ENGLISH.padded(0.5).frames(channels=2)))
    event = await local.STT(engine=engine).recognize(whole)
    data = event.alternatives[0]
    assert data.text.split() == [word.text for word in ENGLISH.words]
    assert data.words is not None
    assert len(data.words) == len(ENGLISH.words)
    assert data.end_time == pytest.approx(ENGLISH.words[-1].end, abs=0.3)


async def test_a_buffer_of_another_rate_is_resampled() -> None:
    """The engine is given 16 kHz, as long as the speech is."""
    engine = SpeechEngine()
    await local.STT(engine=engine).recognize(list(SHORT.padded(0.5).frames(sample_rate=48_000)))
    assert sum(seconds for _, seconds in engine.decoded) == pytest.approx(8.5, abs=1)


async def test_a_buffer_without_speech_has_no_words() -> None:
    """Silence is not given to the engine."""
    engine = SpeechEngine()
    event = await local.STT(engine=engine).recognize(frames(2.0))
    assert event.alternatives[0].text == ""
    assert not engine.decoded


async def test_times_follow_the_offset_of_the_stream() -> None:
    """As LiveKit's plugins do, a stream adds its `start_time_offset`."""
    async with local.STT(engine=SpeechEngine()).stream() as stream:
        stream.start_time_offset = 100.0
        for frame in SHORT.padded(1.0).frames():
            stream.push_frame(frame)
        stream.end_input()
        first = next(e for e in await collect(stream) if e.type is FINAL)
    data = first.alternatives[0]
    assert data.start_time > 100
    assert data.words is not None
    assert times_of(data.words[0])[0] >= data.start_time


# -- the thread


async def test_all_is_done_on_one_thread() -> None:
    """The model is loaded once, and everything runs on one thread, never on the event loop's."""
    engine = SpeechEngine()
    made = local.STT(engine=engine)
    made.prewarm()
    await asyncio.gather(*(play(made, SHORT.padded(1.0)) for _ in range(3)))
    assert engine.loads == 1
    assert len(engine.threads) == 1
    assert threading.current_thread().name not in engine.threads


async def test_a_slow_engine_skips_interims_first() -> None:
    """While the engine is busy, interim transcripts are left out, and no word is lost."""
    engine = SpeechEngine(gate=threading.Event())
    made = local.STT(engine=engine)
    streams = [made.stream() for _ in range(4)]
    for stream in streams:
        for frame in ENGLISH.padded(1.0).frames():
            stream.push_frame(frame)
        stream.end_input()
    await asyncio.sleep(1)
    assert len(engine.decoded) == 1
    assert engine.gate is not None
    engine.gate.set()
    for stream in streams:
        said = " ".join(texts(await collect(stream))).split()
        assert said == [word.text for word in ENGLISH.words]
        await stream.aclose()
    assert all(final for final, _ in engine.decoded[1:])


async def test_interims_leave_half_of_the_time_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an interim transcript a stream waits as long as it took, however much is new."""
    interim, loop = DecodingThread.interim, asyncio.get_running_loop()
    busy: list[tuple[float, float]] = []

    async def slow(
        thread: DecodingThread,
        decoder: UtteranceDecoder,
        audio: bytes,
        is_wanted: Callable[[], bool],
    ) -> Hypothesis | None:
        began = loop.time()
        await asyncio.sleep(0.5)
        said = await interim(thread, decoder, audio, is_wanted)
        busy.append((began, loop.time()))
        return said

    monkeypatch.setattr(DecodingThread, "interim", slow)
    played = await play(local.STT(engine=SpeechEngine()), ENGLISH.padded(1.0))
    assert words(played) == [word.text for word in ENGLISH.words]
    assert len(busy) > 10
    for (began, ended), (next_began, _) in itertools.pairwise(busy):
        assert next_began - ended >= (ended - began) * (1 / INTERIM_SHARE - 1) - 1e-6


async def test_a_model_that_cannot_be_loaded_ends_the_stream() -> None:
    """The stream raises an error without the engine's text, and the next one loads it anew."""
    engine = SpeechEngine(load_errors=[OSError("/secret/path") for _ in range(9)])
    made = local.STT(engine=engine)
    made.prewarm()
    played = await play(made, SHORT.padded(1.0))
    assert isinstance(played.error, APIConnectionError)
    assert "OSError" in str(played.error)
    assert "secret" not in str(played.error)
    engine.load_errors.clear()
    played = await play(made, SHORT.padded(1.0))
    assert words(played) == [word.text for word in SHORT.words]


async def test_a_failing_engine_ends_the_stream() -> None:
    """What the engine raises ends the stream with an error that is not retried."""
    made = local.STT(engine=SpeechEngine(error=RuntimeError("hello there")))
    with pytest.raises(APIConnectionError, match="RuntimeError") as raised:
        await made.recognize(list(SHORT.padded(0.5).frames()), conn_options=ONCE)
    assert "hello" not in str(raised.value)
    assert not raised.value.retryable


async def test_a_closed_stream_leaves_nothing() -> None:
    """Closing a stream while the engine decodes does not wait for it, and leaves no task."""
    engine = SpeechEngine(gate=threading.Event())
    stream = local.STT(engine=engine).stream()
    for frame in SHORT.frames():
        stream.push_frame(frame)
    await asyncio.sleep(0.1)
    await stream.aclose()
    assert engine.gate is not None
    engine.gate.set()


# -- long speech


def run_together(pause: float) -> ReferenceSpeech:
    """All of the English speech, with at most so many seconds of silence between two words."""
    limit = round(pause * 16_000)
    parts, last = [], 0
    for word in ENGLISH.words:
        start, end = round(word.start * 16_000), round(word.end * 16_000)
        parts.append(ENGLISH.samples[max(last, start - limit) : end])
        last = end
    return replace(ENGLISH, samples=np.concatenate(parts))


def lengths(played: Played) -> list[float]:
    """Seconds of each utterance."""
    return [data.end_time - data.start_time for _, data in finals(played) if data.text]


async def test_long_speech_is_cut_in_short_pauses() -> None:
    """From 5 s on, a pause of 0.2 s ends an utterance, and no word is torn."""
    played = await play(local.STT(engine=SpeechEngine()), run_together(0.3).padded(1.0))
    assert words(played) == [word.text for word in ENGLISH.words]
    assert 5 <= max(lengths(played)) < 9


async def test_speech_without_pauses_is_cut() -> None:
    """No utterance is longer than 12 s. A cut may tear a word; all others are whole."""
    engine = SpeechEngine()
    played = await play(local.STT(engine=engine), run_together(0.1).padded(1.0))
    assert max(seconds for _, seconds in engine.decoded) <= 12.0
    cuts = len(lengths(played)) - 1
    assert 2 <= cuts <= 4
    spoken = [word.text for word in ENGLISH.words]
    same = difflib.SequenceMatcher(None, words(played), spoken, autojunk=False)
    assert sum(block.size for block in same.get_matching_blocks()) >= len(spoken) - cuts


# -- what users get wrong


def test_an_unknown_engine_is_named() -> None:
    """The message lists the engines that there are."""
    with pytest.raises(ValueError, match="did you mean 'moonshine'"):
        local.STT(engine="moonshin")  # type: ignore[arg-type]


async def test_a_language_that_the_model_does_not_know() -> None:
    """A stream in another language is refused; a region of a known one is not."""
    made = local.STT(engine=SpeechEngine())
    with pytest.raises(ValueError, match="does not know the language de, only en"):
        made.stream(language="de")
    await made.stream(language="en-GB").aclose()
    async with local.STT(engine=SpeechEngine(language=""), language="fr").stream() as stream:
        for frame in SHORT.padded(1.0).frames():
            stream.push_frame(frame)
        stream.end_input()
        event = next(e for e in await collect(stream) if e.type is FINAL)
        assert event.alternatives[0].language == "fr"
