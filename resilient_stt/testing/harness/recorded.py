"""Recognizers in this process that write what real ones wrote, for exactly the audio they are sent.

The audio says where in the call it is: sample `n` holds the number `n // 64`. So a recognizer knows
which of its recorded words it was sent whole, in part or not at all, also in a replay whose silence
was cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, LanguageCode, stt
from livekit.agents.stt import SpeechEventType
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, NotGivenOr, TimedString
from livekit.agents.utils import aio

from ...livekit.compat import capabilities, output_ended, pushed, send
from ...livekit.vad import SpeechEdge
from ..speech.languages import written
from ..speech.reference import SpokenWord
from .in_process import InProcessSTT

RATE = 16_000
"""Samples per second of the audio."""
_STEP = 64
"""Samples with the same number: 4 ms. 16 bits then number 262 s."""
LONGEST_CALL = 2**16 * _STEP / RATE
"""Seconds of audio that can be told apart."""
_WHOLE, _HEARD = 0.85, 0.35
"""Shares of a word from which on a recognizer writes it, and from which on it writes anything."""
TORN = "~"
"""Begins what is written for a word of which only a part arrived. No recorded word does."""
_LATENCY = 0.25
"""Seconds from audio to its transcript."""
_INTERIM_EVERY = 0.3
_LONGEST_FINAL = 12.0
"""Seconds of speech without a pause after which a recognizer makes its words final."""
_LEAVES = 0.3
"""Seconds from the last transcript to the end of a stream."""
_VOICE_DELAY, _SILENCE_DELAY, _PAD = 0.1, 0.35, 0.1
"""Seconds of voice and of silence after which local voice activity is certain of an edge, and
seconds by which it pads speech: those of LiveKit's bundled model, about."""

Cut = Literal["drop", "stall", "drop-once"]
"""What happens to the provider that is cut: it drops and refuses all later connections, it writes
nothing any more, or its connection drops once."""


@dataclass(frozen=True, slots=True)
class RecognizerStyle:
    """How a recognizer emits its words.

    Attributes:
        interims: Whether it emits interims.
        timed: Whether it gives times of words.
        pause: Seconds of silence after which its words are final.
    """

    interims: bool
    timed: bool
    pause: float


WHISPER = RecognizerStyle(interims=False, timed=True, pause=0.45)
"""Finals only, with times: as Cartesia's ink-whisper."""
NOVA = RecognizerStyle(interims=True, timed=True, pause=0.35)
"""Interims and finals, with times: as Deepgram's nova-3."""
TURNS = RecognizerStyle(interims=True, timed=False, pause=0.45)
"""Interims and finals without times: as Cartesia's ink-2, or OpenAI's realtime models."""


def numbered_audio(seconds: float) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """Return the audio of a call, whose samples say where they are.

    Raises:
        ValueError: The call is longer than `LONGEST_CALL`.
    """
    if seconds > LONGEST_CALL:
        raise ValueError(f"a call of {seconds} s is longer than {LONGEST_CALL:.0f} s")
    return (np.arange(round(seconds * RATE)) // _STEP).astype(np.uint16).view(np.int16)


class RecordedSTT(InProcessSTT):
    """A provider that writes recorded words.

    Args:
        name: Its name, in `label`, `model` and `provider`.
        words: What it writes for the whole call, in order, in seconds of the call. Neighbors may
            overlap.
        style: How it emits them.
        cut: What goes wrong once it was sent the audio of second `at`; None: nothing.
        at: Seconds of the call.
    """

    def __init__(
        self,
        name: str,
        words: Sequence[SpokenWord],
        style: RecognizerStyle,
        cut: Cut | None = None,
        at: float = 0.0,
    ) -> None:
        given = capabilities(
            streaming=True,
            interim_results=style.interims,
            aligned_transcript="word" if style.timed else False,
        )
        super().__init__(name, given, model=name)
        self.words = words
        self.style = style
        self.cut = cut
        self.at = at
        self.was_cut = False

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> RecordedStream:
        return RecordedStream(self, conn_options)


class RecordedStream(stt.RecognizeStream):
    """One connection to a `RecordedSTT`."""

    def __init__(self, of: RecordedSTT, conn_options: APIConnectOptions) -> None:
        super().__init__(stt=of, conn_options=conn_options, sample_rate=RATE)
        self._of = of
        self._connect()

    def _connect(self) -> None:
        """Begin with nothing heard. LiveKit retries a stream by running it again, and a new
        connection does not know what the one before it heard."""
        self._recognizer = RecordedRecognizer(self._of.words)
        self._pending: list[SpokenWord] = []
        """Words that are not final yet, in seconds of this connection's audio."""
        self._started = False
        self._interim_at = 0.0
        """When the last interim was made, on the loop's clock."""
        self._due: asyncio.Queue[tuple[float, stt.SpeechEvent]] = asyncio.Queue()

    async def _run(self) -> None:
        self._connect()
        if self._of.was_cut and self._of.cut == "drop":
            raise APIConnectionError("the provider is cut")
        writer = asyncio.create_task(self._write())
        try:
            async for item in pushed(self):
                if isinstance(item, rtc.AudioFrame):
                    self._receive(item)
                elif self._of.style.timed:
                    self._finalize()
            self._finalize()
            await asyncio.sleep(_LEAVES)
        finally:
            await aio.cancel_and_wait(writer)

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, event = await self._due.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            muted = self._of.was_cut and self._of.cut == "stall"
            if not muted and not output_ended(self):
                send(self, event)

    def _receive(self, frame: rtc.AudioFrame) -> None:
        heard = self._recognizer.hear(np.frombuffer(frame.data, np.uint16))
        self._pending += heard
        of = self._of
        if of.cut and not of.was_cut and self._recognizer.second >= of.at:
            of.was_cut = True
            if of.cut != "stall":
                raise APIConnectionError("the connection is cut")
        now = asyncio.get_running_loop().time()
        if heard and of.style.interims and now > self._interim_at + _INTERIM_EVERY:
            self._interim_at = now
            self._start()
            self._say(SpeechEventType.INTERIM_TRANSCRIPT)
        if self._pending and (
            self._recognizer.silence >= of.style.pause
            or self._pending[-1].end - self._pending[0].start > _LONGEST_FINAL
        ):
            self._finalize()

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._queue(stt.SpeechEvent(SpeechEventType.START_OF_SPEECH))

    def _finalize(self) -> None:
        if not self._pending:
            return
        self._say(SpeechEventType.FINAL_TRANSCRIPT)
        self._pending = []
        if self._started:
            self._started = False
            self._queue(stt.SpeechEvent(SpeechEventType.END_OF_SPEECH))

    def _say(self, kind: SpeechEventType) -> None:
        offset, words = self.start_time_offset, self._pending
        data = stt.SpeechData(LanguageCode(words[0].language or "en"), written(words))
        if self._of.style.timed:
            data.start_time = words[0].start + offset
            data.end_time = words[-1].end + offset
            data.words = [
                TimedString(
                    word.text,
                    start_time=word.start + offset,
                    end_time=word.end + offset,
                    start_time_offset=offset,
                )
                for word in words
            ]
        self._queue(stt.SpeechEvent(kind, alternatives=[data]))

    def _queue(self, event: stt.SpeechEvent) -> None:
        self._due.put_nowait((asyncio.get_running_loop().time() + _LATENCY, event))


class RecordedRecognizer:
    """Tells which of the recorded words the audio of one connection holds."""

    def __init__(self, words: Sequence[SpokenWord]) -> None:
        self._words = words
        self._next = 0
        self._received = 0
        self._at = -1
        """Sample of the call that comes next if the audio goes on; -1 before any came."""
        self._since = 0
        """Sample of the call from which on the audio came without a gap."""
        self._last_end = 0.0
        """Second of the call at which the last word ended that was heard."""

    @property
    def second(self) -> float:
        """The second of the call up to which it was sent audio."""
        return self._at / RATE

    @property
    def silence(self) -> float:
        """Seconds of silence behind the last word, without what is within the next one."""
        following = self._words[self._next].start if self._next < len(self._words) else self.second
        return min(self.second, following) - self._last_end

    def hear(self, samples: np.ndarray[tuple[int], np.dtype[np.uint16]]) -> list[SpokenWord]:
        """Take audio, and return the words that ended in it, in seconds of the received audio."""
        if not len(samples):
            return []
        at = int(samples[0]) * _STEP
        if self._at < 0 or abs(at - self._at) > 2 * _STEP:
            self._jump(at)
        self._at += len(samples)
        self._received += len(samples)
        return list(self._ended())

    def _jump(self, at: int) -> None:
        """Go on elsewhere in the call: this is a replay, or silence was cut."""
        self._at = self._since = at
        second = at / RATE
        ended = (n for n, word in enumerate(self._words) if word.end > second)
        self._next = next(ended, len(self._words))

    def _ended(self) -> Iterator[SpokenWord]:
        shift = (self._at - self._received) / RATE
        since = self._since / RATE
        while self._next < len(self._words) and self._words[self._next].end <= self.second:
            word = self._words[self._next]
            self._next += 1
            start = max(word.start, since)
            share = (word.end - start) / max(word.end - word.start, 0.02)
            if share < _HEARD:
                continue
            text = word.text if share >= _WHOLE else TORN + word.text[len(word.text) // 2 :]
            self._last_end = word.end
            yield SpokenWord(text, max(0.0, start - shift), word.end - shift, word.language)


class RecordedVoice:
    """Local voice activity where any recognizer wrote a word, known as late as a real one's.

    Args:
        recordings: The words of each recognizer.
    """

    def __init__(self, *recordings: Sequence[SpokenWord]) -> None:
        edges = []
        for start, end in _voiced(recordings):
            edges.append(SpeechEdge(True, start, start + round(_VOICE_DELAY * RATE)))
            edges.append(SpeechEdge(False, end, end + round(_SILENCE_DELAY * RATE)))
        self._edges = edges
        self._at = 0
        self._speaking = False

    def push(self, frame: rtc.AudioFrame) -> Iterator[SpeechEdge]:
        self._at += frame.samples_per_channel
        while self._edges and (self._edges[0].known_at or 0) <= self._at:
            edge = self._edges.pop(0)
            self._speaking = edge.started
            yield edge

    def finish(self) -> Iterator[SpeechEdge]:
        if self._speaking:
            self._speaking = False
            yield SpeechEdge(started=False, at=self._at)


def _voiced(recordings: Sequence[Sequence[SpokenWord]]) -> list[tuple[int, int]]:
    """Return the stretches of voice, in samples: words with less than a silence between them."""
    words = sorted((w.start, max(w.end, w.start + 0.05)) for ws in recordings for w in ws)
    found: list[list[float]] = []
    for start, end in words:
        if found and start - found[-1][1] <= _SILENCE_DELAY + 2 * _PAD:
            found[-1][1] = max(found[-1][1], end)
        else:
            found.append([start, end])
    return [(round(max(0.0, a - _PAD) * RATE), round((b + _PAD) * RATE)) for a, b in found]
