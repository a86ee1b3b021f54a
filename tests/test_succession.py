"""A stream that gives up: the next stream of the same call goes on with what was said just now."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, get_args

import pytest
from livekit import rtc
from livekit.agents import APIConnectionError, stt

from resilient_stt import (
    AudioLost,
    ConnectionOpened,
    Event,
    FinalEmitted,
    Policies,
    ReplayPolicy,
    ResilientSTT,
    RetryPolicy,
    StreamEnded,
    StreamEndReason,
    Switched,
)
from resilient_stt.stream import ResilientStream
from resilient_stt.testing.harness.score import Final, Score, score
from resilient_stt.testing.speech.reference import ReferenceSpeech, SpokenWord

from .support.accounts import assert_adds_up, assert_complete
from .support.fakes import FakeStream, FakeSTT, frames, stt_error, transcribes

pytestmark = pytest.mark.stt_virtual_time

SPEECH = ReferenceSpeech.load("english").excerpt(0, 3).padded(1.0)
LIMIT = 6.0
RECREATION = 0.5
"""Seconds after which LiveKit's session opens the next stream (`_STT_RECONNECT_INTERVAL`)."""
BACK = LIMIT + 0.2
"""Seconds after the drop at which the provider of most tests is back: too late for the first
stream, early enough for the second."""


def policies(window: float = 10.0, limit: float = LIMIT) -> Policies:
    return Policies(
        retry=RetryPolicy(outage_limit=limit), replay=ReplayPolicy(handover_window=window)
    )


def down(since: float, until: float) -> Callable[[FakeStream], Awaitable[None]]:
    """Transcribe, but fail from second `since` of the loop on, until `until`."""
    recognize = transcribes()

    async def behave(stream: FakeStream) -> None:
        loop = asyncio.get_running_loop()
        stream.fake.began = getattr(stream.fake, "began", loop.time())  # type: ignore[attr-defined]
        now = loop.time() - stream.fake.began  # type: ignore[attr-defined]
        if since <= now < until:
            raise stt_error()
        if now >= until:
            await recognize(stream)
            return
        working = asyncio.ensure_future(recognize(stream))
        done, _ = await asyncio.wait([working], timeout=since - now)
        if not done:
            working.cancel()
            raise stt_error()

    return behave


@dataclass
class Call:
    """A caller, and a consumer like LiveKit's `_STTPipeline`: it opens streams until one ends."""

    resilient: ResilientSTT
    speech: ReferenceSpeech = SPEECH
    options: list[dict[str, Any]] = field(default_factory=list)
    """The arguments of `stream()`, one after the other."""
    pause: float = RECREATION
    finals: list[Final] = field(default_factory=list)
    lost: list[AudioLost] = field(default_factory=list)
    opened: int = 0
    ids: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.resilient.on("audio_lost", self.lost.append)

    async def run(self) -> Call:
        microphone: asyncio.Queue[rtc.AudioFrame | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        speaking = asyncio.create_task(self._speak(microphone, began := loop.time()))
        try:
            await self._listen_to_the_end(microphone, began)
        finally:
            speaking.cancel()
            await asyncio.wait([speaking])
        return self

    async def _listen_to_the_end(
        self, microphone: asyncio.Queue[rtc.AudioFrame | None], began: float
    ) -> None:
        if not await self._listen(microphone, began):
            await asyncio.sleep(self.pause)
            await self._listen_to_the_end(microphone, began)

    async def _speak(self, microphone: asyncio.Queue[rtc.AudioFrame | None], began: float) -> None:
        position, loop = 0.0, asyncio.get_running_loop()
        for frame in self.speech.frames():
            position += frame.duration
            await asyncio.sleep(began + position - loop.time())
            microphone.put_nowait(frame)
        microphone.put_nowait(None)

    async def _listen(self, microphone: asyncio.Queue[rtc.AudioFrame | None], began: float) -> bool:
        """Read one stream. Returns whether it ended in good order."""
        options = self.options[self.opened] if self.opened < len(self.options) else {}
        self.opened += 1
        async with self.resilient.stream(**options) as stream:
            self.ids.append(stream.id)
            stream.start_time_offset = asyncio.get_running_loop().time() - began
            forward = asyncio.create_task(self._forward(stream, microphone))
            try:
                async for event in stream:
                    if event.type is stt.SpeechEventType.FINAL_TRANSCRIPT:
                        self.finals.append(Final.from_event(event, 0.0))
                return True
            except APIConnectionError:
                return False
            finally:
                forward.cancel()
                await asyncio.gather(forward, return_exceptions=True)

    async def _forward(
        self, stream: stt.RecognizeStream, microphone: asyncio.Queue[rtc.AudioFrame | None]
    ) -> None:
        while (frame := await microphone.get()) is not None:
            stream.push_frame(frame)
        stream.end_input()

    @property
    def score(self) -> Score:
        return score(self.speech.words, self.finals)

    @property
    def seconds_lost(self) -> float:
        return sum(event.seconds for event in self.lost)


def voice(words: Iterable[SpokenWord]) -> float:
    return sum(word.end - word.start for word in words)


async def call(since: float, until: float, *, window: float = 10.0, **options: Any) -> Call:
    resilient = ResilientSTT([FakeSTT(down(since, until))], policies=policies(window))
    try:
        return await Call(resilient, **options).run()
    finally:
        await resilient.aclose()


@pytest.mark.parametrize("since", [s / 2 for s in range(1, 16)])
async def test_every_word_of_an_outage_that_is_too_long(since: float) -> None:
    """Wherever the outage begins, the next stream has its words, each once and at its time."""
    made = await call(since, since + BACK)
    assert made.opened == 2
    assert made.score.ok, str(made.score)
    assert made.seconds_lost == 0
    # LiveKit's next stream counts from when it is opened, and its first audio is older than that.
    assert made.score.ts_err_max_s == pytest.approx(RECREATION, abs=0.15)


async def test_a_chain_of_streams() -> None:
    """What one stream takes over and cannot have transcribed either goes on to a third."""
    made = await call(2.0, 2.0 + 8.5, window=20.0)
    assert made.opened == 2
    made = await call(2.0, 2.0 + 2 * LIMIT + 1.5, window=20.0)
    assert made.opened == 3
    assert made.score.ok, str(made.score)


async def test_the_accounts_of_a_chain_of_streams() -> None:
    """Each adds up; what one has buffered at its end the next takes over, with what came since.

    No position is before a stream's own audio, although it goes on with older audio.
    """
    resilient = ResilientSTT([FakeSTT(down(2.0, 2.0 + BACK))], policies=policies())
    reported: list[Event] = []
    for kind in get_args(Event):
        resilient.on(kind.name, reported.append)
    made = await Call(resilient).run()
    await resilient.aclose()
    assert made.score.ok, str(made.score)
    first, second = (event for event in reported if isinstance(event, StreamEnded))
    assert [first.stream_id, second.stream_id] == made.ids
    assert (first.reason, second.reason) == (StreamEndReason.GAVE_UP, StreamEndReason.FINISHED)
    for ended in (first, second):
        assert_adds_up(ended, 16_000)
        assert_complete([event for event in reported if event.stream_id == ended.stream_id])
    assert first.taken_over == 0
    assert first.buffered <= second.taken_over <= first.buffered + RECREATION + 0.1
    assert second.final > 0
    for event in reported:
        positions = [event.at]
        if isinstance(event, ConnectionOpened | Switched):
            positions.append(event.replay_from)
        if isinstance(event, FinalEmitted):
            positions += [at for at in (event.start, event.end) if at is not None]
        assert min(positions) >= 0, event


@pytest.mark.parametrize("window", [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
async def test_older_audio_is_lost_and_reported(window: float) -> None:
    """Words that were said before the window are lost, and their seconds are reported."""
    made = await call(1.5, 1.5 + BACK, window=window)
    assert made.opened == 2
    lost = [word for word in SPEECH.words if word.text in made.score.lost_words]
    assert made.score.twice == 0
    assert made.score.in_order
    assert made.seconds_lost >= voice(lost) - 0.3
    # Voice goes on between words, and a cut in the middle of one may leave a fragment.
    assert made.seconds_lost <= LIMIT + RECREATION - window + 2.0
    assert {event.reason for event in made.lost} <= {"stream_ended"}


async def test_a_provider_that_never_comes_back() -> None:
    """Everything that was said since the drop is reported, whichever stream had it last."""
    made = Call(ResilientSTT([FakeSTT(down(2.0, 1e9))], policies=policies()))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SPEECH.duration + 30.0):
            await made.run()
    await made.resilient.aclose()
    said = voice(word for word in SPEECH.words if word.start >= 2.0)
    assert made.seconds_lost >= said
    assert made.seconds_lost <= SPEECH.duration - 2.0


async def gave_up(resilient: ResilientSTT, **options: Any) -> ResilientStream:
    """A stream of the current task that was pushed 5 s of speech, and gave up."""
    stream = resilient.stream(**options)
    for frame in list(SPEECH.frames())[:250]:
        stream.push_frame(frame)
        await asyncio.sleep(frame.duration)
    with pytest.raises(APIConnectionError):
        async for _ in stream:
            pass
    await stream.aclose()
    return stream


def always_down(until: float = LIMIT + 0.1, **options: Any) -> tuple[ResilientSTT, list[AudioLost]]:
    resilient = ResilientSTT([FakeSTT(down(0.0, until))], policies=policies(), **options)
    lost: list[AudioLost] = []
    resilient.on("audio_lost", lost.append)
    return resilient, lost


VOICE = voice(word for word in SPEECH.words if word.end <= 5.0)


def is_all(lost: list[AudioLost]) -> bool:
    return VOICE <= sum(event.seconds for event in lost) <= 5.0


async def words_of(stream: stt.RecognizeStream, rate: int = 16_000) -> list[str]:
    """The words that a stream gives for a second of silence."""
    for frame in frames(1.0, rate=rate):
        stream.push_frame(frame)
    stream.end_input()
    finals = [e async for e in stream if e.type is stt.SpeechEventType.FINAL_TRANSCRIPT]
    await stream.aclose()
    return [word for event in finals for word in event.alternatives[0].text.split()]


async def test_nobody_takes_it() -> None:
    """It is reported once it is too old, with the id of the stream that left it."""
    resilient, lost = always_down()
    stream = await gave_up(resilient)
    await asyncio.sleep(8.0)
    assert not lost
    await asyncio.sleep(3.0)
    assert is_all(lost)
    assert [e.stream_id for e in lost] == [stream.id]
    assert lost[0].at == pytest.approx(5.0)
    assert lost[0].reason == "stream_ended"
    assert await words_of(resilient.stream()) == []
    assert len(lost) == 1


async def test_the_next_stream_of_the_task_takes_it() -> None:
    """Without a session, too; its times are 0, for that stream's own audio is later."""
    resilient, lost = always_down()
    await gave_up(resilient)
    stream = resilient.stream()
    for frame in frames(1.0):
        stream.push_frame(frame)
    stream.end_input()
    events = [e async for e in stream]
    await stream.aclose()
    finals = [e.alternatives[0] for e in events if e.type is stt.SpeechEventType.FINAL_TRANSCRIPT]
    assert sum(len(data.text.split()) for data in finals) >= 5
    for data in finals:
        assert data.start_time == data.end_time == 0
        assert all(word.start_time == word.end_time == 0 for word in data.words or [])
    assert not lost
    await resilient.aclose()
    assert not lost


async def test_a_caller_who_has_hung_up_meanwhile() -> None:
    """The end of the input alone lets the next stream finish what the last one left."""
    resilient, lost = always_down()
    await gave_up(resilient)
    stream = resilient.stream()
    stream.end_input()
    events = [e async for e in stream]
    assert any(e.alternatives and e.alternatives[0].text for e in events)
    await stream.aclose()
    assert not lost


async def test_closing_the_stt_reports_it() -> None:
    """After `aclose()` no stream can come, so it is reported at once, and no timer is left."""
    resilient, lost = always_down()
    await gave_up(resilient)
    await resilient.aclose()
    assert is_all(lost)


async def test_the_end_of_the_task_reports_it() -> None:
    """The next stream of another task does not get it."""
    resilient, lost = always_down()
    await asyncio.create_task(gave_up(resilient))
    await asyncio.sleep(0)
    assert is_all(lost)
    assert await words_of(resilient.stream()) == []


async def test_another_task_does_not_get_it() -> None:
    """While the first task goes on, a stream that another one opens gets nothing of it."""
    resilient, lost = always_down()
    await gave_up(resilient)

    async def another() -> list[str]:
        return await words_of(resilient.stream())

    assert await asyncio.create_task(another()) == []
    assert not lost
    assert len(await words_of(resilient.stream())) >= 5  # that of the same task does


async def test_concurrent_streams_of_one_task() -> None:
    """A task with several streams at once serves several callers: nothing is handed over."""
    resilient, lost = always_down()
    other = resilient.stream()
    await gave_up(resilient)
    assert is_all(lost)
    await other.aclose()
    assert await words_of(resilient.stream()) == []
    assert len(lost) == 1


async def test_a_task_that_once_had_concurrent_streams() -> None:
    """Its streams are those of several callers from then on."""
    resilient, lost = always_down(until=1e9)
    async with resilient.stream(), resilient.stream():
        pass
    await gave_up(resilient)
    assert is_all(lost)


async def test_concurrent_calls_get_their_own_words() -> None:
    """Of several calls that fail at the same time, each goes on with its own audio."""
    resilient = ResilientSTT([FakeSTT(down(2.0, 2.0 + BACK))], policies=policies())
    speeches = [
        ReferenceSpeech.load(name).excerpt(0, 2).padded(1.0) for name in ("english", "spanish")
    ]
    calls = [Call(resilient, speech) for speech in speeches]
    for made in await asyncio.gather(*[asyncio.create_task(c.run()) for c in calls]):
        assert made.opened == 2
        assert made.score.ok, str(made.score)
        assert not made.lost
    await resilient.aclose()


async def test_a_task_that_only_opens_streams() -> None:
    """An event handler that opens the streams of all participants hands nothing over."""
    resilient, lost = always_down()
    stream = resilient.stream()

    async def serve() -> None:
        async with stream:
            for frame in list(SPEECH.frames())[:250]:
                stream.push_frame(frame)
                await asyncio.sleep(frame.duration)
            async for _ in stream:
                pass

    with pytest.raises(APIConnectionError):
        await asyncio.create_task(serve())
    following = resilient.stream()

    async def serve_next() -> list[str]:
        return await words_of(following)

    assert await asyncio.create_task(serve_next()) == []
    assert is_all(lost)


@pytest.mark.parametrize(
    ("first", "second"), [({}, {"language": "es"}), ({"language": "en"}, {"language": "es"})]
)
async def test_another_language(first: dict[str, Any], second: dict[str, Any]) -> None:
    """A stream in another language is no continuation."""
    resilient, lost = always_down()
    await gave_up(resilient, **first)
    stream = resilient.stream(**second)
    assert is_all(lost)
    assert await words_of(stream) == []


async def test_a_language_that_changed_for_all() -> None:
    """A language that `update_options` gave to both streams is the same one."""
    resilient, lost = always_down()
    stream = resilient.stream()
    resilient.update_options(language="es")
    async with stream:
        for frame in list(SPEECH.frames())[:250]:
            stream.push_frame(frame)
        with pytest.raises(APIConnectionError):
            async for _ in stream:
                pass
    assert len(await words_of(resilient.stream())) >= 5
    assert not lost


async def test_another_sample_rate() -> None:
    """A stream with another sample rate is no continuation; its own audio is heard."""
    resilient, lost = always_down()
    await gave_up(resilient)
    assert await words_of(resilient.stream(), rate=8_000) == []
    assert is_all(lost)


async def test_a_successor_that_is_closed_before_its_first_frame() -> None:
    """It has taken nothing, so all is reported when it ends."""
    resilient, lost = always_down()
    await gave_up(resilient)
    stream = resilient.stream()
    await asyncio.sleep(0.1)
    assert not lost
    await stream.aclose()
    assert is_all(lost)


async def test_a_successor_that_is_silent_for_too_long() -> None:
    """Without audio of its own it works all the same, once what it was to take is too old."""
    resilient, lost = always_down()
    await gave_up(resilient)
    stream = resilient.stream()
    await asyncio.sleep(12.0)
    assert is_all(lost)
    assert await words_of(stream) == []
    assert len(lost) == 1


async def test_audio_that_was_pushed_and_not_read_yet() -> None:
    """Frames that the stream had not read when it gave up are among what it leaves."""
    resilient, lost = always_down()
    stream = resilient.stream()
    pushed = list(SPEECH.frames())[:250]
    for frame in pushed[:100]:
        stream.push_frame(frame)
    reading = asyncio.ensure_future(anext(aiter(stream)))
    await asyncio.sleep(LIMIT - 0.05)
    # between the end of the engine and that of the stream's task
    for frame in pushed[100:]:
        while not stream._engine.done:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        stream.push_frame(frame)
    with pytest.raises(APIConnectionError):
        await reading
    await stream.aclose()
    await resilient.aclose()
    assert is_all(lost)


async def test_a_caller_who_ended_the_input() -> None:
    """Nobody goes on after the end of the input: all that is missing is reported with it."""
    resilient, lost = always_down()
    async with resilient.stream() as stream:
        for frame in list(SPEECH.frames())[:250]:
            stream.push_frame(frame)
        stream.end_input()
        with pytest.raises(APIConnectionError):
            async for _ in stream:
                pass
        assert is_all(lost)
    assert await words_of(resilient.stream()) == []
    assert len(lost) == 1


async def test_without_voice_activity() -> None:
    """Without local voice activity all audio counts, and is taken over all the same."""
    resilient, lost = always_down(vad=None)
    await gave_up(resilient)
    assert len(await words_of(resilient.stream())) >= 5
    assert not lost
    await asyncio.sleep(20.0)
    resilient, lost = always_down(vad=None)
    await gave_up(resilient)
    await resilient.aclose()
    assert sum(event.seconds for event in lost) == pytest.approx(5.0)


async def test_silence_leaves_nothing() -> None:
    """A stream without voice has nothing to leave or to lose."""
    resilient, lost = always_down()
    async with resilient.stream() as stream:
        for frame in frames(5.0):
            stream.push_frame(frame)
        with pytest.raises(APIConnectionError):
            async for _ in stream:
                pass
    await resilient.aclose()
    assert not lost


async def test_a_task_that_has_ended_is_not_kept() -> None:
    """What is known of a task's streams goes with the task."""
    resilient, _ = always_down()
    task = asyncio.create_task(gave_up(resilient))
    await task
    kept = weakref.ref(task)
    del task
    for _ in range(3):
        await asyncio.sleep(0.1)
        gc.collect()
    assert kept() is None
    assert not resilient._runtime.succession._openers


async def test_nothing_is_said_of_it_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The log has seconds, and no word."""
    resilient, _ = always_down()
    await gave_up(resilient)
    words = await words_of(resilient.stream())
    assert words
    assert not any(word in caplog.text for word in words if len(word) > 4)
