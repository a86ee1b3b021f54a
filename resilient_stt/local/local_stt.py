"""`STT`: a LiveKit STT whose recognizer runs in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from typing import assert_never

from livekit import rtc
from livekit.agents import APIConnectOptions, LanguageCode, stt
from livekit.agents.stt import SpeechEventType
from livekit.agents.types import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    NotGivenOr,
    TimedString,
)
from livekit.agents.utils import AudioBuffer, aio, is_given

from ..livekit import compat
from ..livekit.buffers import join_finals, validate_frames
from ..livekit.frames import mono, pieces
from .decoding_thread import DecodingThread, shared_thread
from .local_engine import RATE, EngineName, Hypothesis, LocalEngine, UtteranceDecoder
from .utterance_cutter import (
    Cut,
    Flushed,
    SpeechBegan,
    SpeechOver,
    SpokenAudio,
    UtteranceCutter,
)
from .word_times import with_times

ESTIMATED = {"word_times": "estimated"}
"""The `metadata` of a transcript whose word times are estimates."""

INTERIM_STEP = 0.3
"""Seconds of new audio that another interim transcript has, at least."""
FIRST_INTERIM = 0.6
"""Seconds of audio that the first one of an utterance has."""
INTERIM_SHARE = 0.5
"""Share (0 to 1) of the time that a stream's interim transcripts may keep the thread busy."""
MAX_WAITING = 64
"""Utterances, flushes and turns of a stream that may wait. With more, it takes no more audio."""


class STT(stt.STT[str]):
    """Transcribes in this process, with interim transcripts and finals at pauses.

    It costs no network, no key and no money, only up to one core: the last provider of a chain, or
    the only one of a developer. Word times are estimates, unless the engine gives its own; a
    transcript with estimates says so in its `metadata`.
    """

    def __init__(
        self,
        *,
        engine: EngineName | LocalEngine = "moonshine",
        model: str = "",
        language: str = "",
    ) -> None:
        """Find the engine and its model. Neither is loaded before `prewarm()` or the first stream.

        Args:
            engine: `moonshine`, `sherpa-onnx` or `faster-whisper`; or an engine of your own.
            model: a model that the engine's package contains, or the path of a folder. Models are
                never downloaded. By default Moonshine's `tiny-en`, which is in its wheel.
            language: the BCP 47 tag of what is spoken, for engines that take several.

        Raises:
            ConfigurationError: the engine is not installed, or has no such model; says which
                command brings it.
        """
        super().__init__(
            capabilities=compat.capabilities(
                streaming=True,
                interim_results=True,
                aligned_transcript="chunk",
                manual_flush=True,
            )
        )
        if isinstance(engine, str):
            self._thread = shared_thread(engine, model)
        else:
            self._thread = DecodingThread(engine)
        self._language = language

    @property
    def model(self) -> str:
        """The engine and its model: `moonshine/tiny-en`."""
        return self._thread.engine.model

    @property
    def provider(self) -> str:
        """The name of this package's own provider."""
        return "local"

    def prewarm(self) -> None:
        """Load the model in the background. Of several calls, one loads it."""
        self._thread.load()

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> LocalStream:
        """Open a stream.

        Raises:
            ValueError: the model does not know the language.
        """
        spoken = self.check_language(language)
        self.prewarm()
        return LocalStream(self, self._thread, spoken, conn_options)

    async def _recognize_impl(
        self,
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        spoken = self.check_language(language)
        transcriber = Transcriber(self._thread, spoken)
        finals = [
            await transcriber.final(cut)
            async for cut in _cut(validate_frames(buffer))
            if isinstance(cut, SpokenAudio)
        ]
        return join_finals(finals, spoken or NOT_GIVEN)

    def check_language(self, language: NotGivenOr[str]) -> str:
        """Return the language of a stream that is asked for one.

        Raises:
            ValueError: the model does not know it.
        """
        spoken = (language if is_given(language) else "") or self._language
        known = self._thread.engine.language
        if known and spoken and LanguageCode(spoken).language != LanguageCode(known).language:
            raise ValueError(f"{self.model} does not know the language {spoken}, only {known}")
        return spoken or known


async def _cut(frames: Sequence[rtc.AudioFrame]) -> AsyncIterator[Cut]:
    """Cut a buffer into utterances. Other tasks run in between."""
    cutter = UtteranceCutter()
    for frame in _at_rate(frames):
        for cut in cutter.push(frame):
            yield cut
        await asyncio.sleep(0)
    for cut in cutter.finish():
        yield cut


def _at_rate(frames: Sequence[rtc.AudioFrame]) -> list[rtc.AudioFrame]:
    whole = [mono(piece) for frame in frames for piece in pieces(frame)]
    if not whole or whole[0].sample_rate == RATE:
        return whole
    resampler = rtc.AudioResampler(whole[0].sample_rate, RATE)
    resampled = [out for piece in whole for out in resampler.push(piece)]
    return resampled + resampler.flush()


class Transcriber:
    """Decodes the utterances of a stream, one after the other, and makes LiveKit's events."""

    def __init__(self, thread: DecodingThread, language: str, offset: float = 0.0) -> None:
        """`offset`: seconds that are added to all times."""
        self._thread = thread
        self._language = language
        self._offset = offset
        self._number = -1
        self._decoder: UtteranceDecoder | None = None
        self._latest: tuple[SpokenAudio, Hypothesis] | None = None
        """The last interim transcript of the utterance, and its audio."""

    async def interim(
        self, spoken: SpokenAudio, is_wanted: Callable[[], bool]
    ) -> stt.SpeechEvent | None:
        """Decode what there is of an utterance; `None` if the thread has better things to do, or
        there are no words."""
        decoder = self._decoder_of(spoken)
        said = await self._thread.interim(decoder, spoken.audio, is_wanted)
        if said is None:
            return None
        self._latest = spoken, said
        if not said.text or not is_wanted():
            return None
        return self._event(SpeechEventType.INTERIM_TRANSCRIPT, spoken, replace(said, words=()))

    async def final(self, spoken: SpokenAudio) -> stt.SpeechEvent:
        """Decode a whole utterance, unless that was done when its last pause began."""
        decoder, latest = self._decoder_of(spoken), self._latest
        if latest and latest[0] == spoken and latest[1].complete:
            said = latest[1]
        else:
            said = await self._thread.final(decoder, spoken.audio)
        return self._event(SpeechEventType.FINAL_TRANSCRIPT, spoken, said)

    def nothing_at(self, at: int) -> stt.SpeechEvent:
        """Make the empty final that answers a flush at a sample behind which nothing waits."""
        nothing = SpokenAudio(self._number, at, at, b"")
        return self._event(SpeechEventType.FINAL_TRANSCRIPT, nothing, Hypothesis(""))

    def _decoder_of(self, spoken: SpokenAudio) -> UtteranceDecoder:
        if spoken.number != self._number or self._decoder is None:
            self._number, self._latest = spoken.number, None
            self._decoder = self._thread.engine.utterance(self._language)
        return self._decoder

    def _event(
        self, kind: SpeechEventType, spoken: SpokenAudio, said: Hypothesis
    ) -> stt.SpeechEvent:
        is_final = kind is SpeechEventType.FINAL_TRANSCRIPT
        if is_estimate := is_final and bool(said.text) and not said.words:
            said = with_times(said, spoken.audio)
        start, end = (self._offset + at / RATE for at in (spoken.start, spoken.end))
        words = [
            TimedString(word.text, start + word.start, start + word.end) for word in said.words
        ]
        data = stt.SpeechData(
            LanguageCode(self._language),
            said.text,
            start_time=start,
            end_time=end,
            words=words or None,
            metadata=dict(ESTIMATED) if is_estimate else None,
        )
        return stt.SpeechEvent(type=kind, alternatives=[data])


class LocalStream(stt.RecognizeStream):
    """A stream: one task cuts its audio into utterances, another has them decoded."""

    def __init__(
        self,
        owner: STT,
        thread: DecodingThread,
        language: str,
        conn_options: APIConnectOptions,
    ) -> None:
        super().__init__(stt=owner, conn_options=conn_options, sample_rate=RATE)
        self._thread = thread
        self._language = language
        self._cutter = UtteranceCutter()
        self._waiting: asyncio.Queue[Cut] = asyncio.Queue(MAX_WAITING)
        self._news = asyncio.Event()
        """There may be something to decode, or the input has ended."""
        self._tried_through = 0
        """The sample up to which the open utterance was decoded, or that was not wanted."""
        self._no_interim_before = 0.0
        """On the clock of the loop."""

    async def _run(self) -> None:
        listening = asyncio.create_task(self._listen(), name="resilient_stt.local-listener")
        listening.add_done_callback(lambda _: self._news.set())
        try:
            await self._decode(listening)
            await listening
        finally:
            await aio.cancel_and_wait(listening)

    async def _listen(self) -> None:
        """Cut the audio; ends with the input."""
        async for item in compat.pushed(self):
            cuts = self._cut(item) if isinstance(item, rtc.AudioFrame) else self._cutter.flush()
            for cut in cuts:
                await self._waiting.put(cut)
            self._news.set()
        for cut in self._cutter.finish():
            await self._waiting.put(cut)

    def _cut(self, frame: rtc.AudioFrame) -> Iterator[Cut]:
        for piece in pieces(frame):
            yield from self._cutter.push(mono(piece))

    async def _decode(self, listening: asyncio.Task[None]) -> None:
        transcriber = Transcriber(self._thread, self._language, self.start_time_offset)
        while True:
            self._news.clear()
            if not self._waiting.empty():
                await self._take(self._waiting.get_nowait(), transcriber)
            elif listening.done():
                return
            elif (spoken := self._next_interim()) is not None:
                await self._decode_interim(spoken, transcriber)
            else:
                await self._news.wait()

    async def _take(self, cut: Cut, transcriber: Transcriber) -> None:
        match cut:
            case SpokenAudio():
                compat.send(self, await transcriber.final(cut))
            case Flushed():
                compat.send(self, transcriber.nothing_at(cut.at))
            case SpeechBegan():
                compat.send(self, stt.SpeechEvent(type=SpeechEventType.START_OF_SPEECH))
            case SpeechOver():
                compat.send(self, stt.SpeechEvent(type=SpeechEventType.END_OF_SPEECH))
            case _:
                assert_never(cut)

    def _next_interim(self) -> SpokenAudio | None:
        """Return what an interim transcript is due for, if one is.

        In a pause it is the whole utterance, so that its final needs no more time.
        """
        if asyncio.get_running_loop().time() < self._no_interim_before:
            return None
        spoken = self._cutter.open_utterance()
        if spoken is None or spoken.end - spoken.start < FIRST_INTERIM * RATE:
            return None
        new = spoken.end - max(self._tried_through, spoken.start)
        in_pause = self._cutter.in_pause and new > 0
        return spoken if in_pause or new >= INTERIM_STEP * RATE else None

    async def _decode_interim(self, spoken: SpokenAudio, transcriber: Transcriber) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._tried_through = spoken.end
        event = await transcriber.interim(spoken, lambda: self._cutter.number == spoken.number)
        if event is not None:
            compat.send(self, event)
        took = loop.time() - began
        self._no_interim_before = loop.time() + took * (1 / INTERIM_SHARE - 1)
