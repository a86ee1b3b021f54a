"""A recognizer of any speech for the fake servers: a real one that runs in this process.

The engines are those of `resilient_stt.local`, or your own. They decode on the event loop, so in
virtual time a transcript takes none.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable, Sequence

from livekit import rtc

from ...livekit.vad import DetectorOptions
from ...local import EngineName, Hypothesis, LocalEngine, UtteranceDecoder
from ...local.decoding_thread import as_floats
from ...local.local_engine import make_engine
from ...local.utterance_cutter import Cut, SpokenAudio, UtteranceCutter
from ...local.word_times import with_times
from .languages import base
from .recognizer import HeardWord, RecognizerFactory, resampler_from
from .reference import SAMPLE_RATE

TENTATIVE_STEP = round(0.5 * SAMPLE_RATE)
"""Samples of new audio after which an utterance that goes on is decoded again, at least."""
TENTATIVE_GROWTH = 0.5
"""The same as a share of what was decoded before. Each time all of it is decoded: in steps of one
length, the long utterances of a replay would take several seconds."""

TENTATIVE_SHARE = 0.25
"""Share of the time that tentative words may take, on the clock of the event loop. In a replay, all
of them would come at once, and no handshake would be answered in time. In virtual time they take
none."""


def local_recognizer(
    engine: EngineName | LocalEngine = "moonshine", *, model: str = "", pause: float = 0.2
) -> RecognizerFactory:
    """Return a real recognizer for the `recognizer` of a fake server.

    It recognizes any recording in the engine's language. Its words have the engine's own times, or
    estimates. A word that arrives in part becomes whatever the engine makes of it. Connections
    share the engine, which is loaded when the server starts; an engine that is given by its name is
    loaded once in a process. A fault cannot wait for a word (`at_word`) with it, but for seconds
    (`at_audio`, `at_time`).

    Args:
        engine: The name of an engine, as of `resilient_stt.local.STT`, or one of your own.
        model: A model that the engine knows, or the path of a folder.
        pause: Seconds of silence that end an utterance, which is decoded then. A server whose
            `endpoint_silence` is shorter waits for it.

    Raises:
        ConfigurationError: The engine is not installed, or has no such model.
        ValueError: `pause` is not positive.
    """
    if pause <= 0.0:
        raise ValueError(f"pause is a positive number of seconds, not {pause!r}")
    shared = _named(engine, model) if isinstance(engine, str) else _LazyEngine(engine)
    options = DetectorOptions(silence=pause)

    def make(*, sample_rate: int, languages: Sequence[str] | None) -> EngineRecognizer:
        loaded = shared.loaded()
        language = loaded.language or (languages[0] if languages else "")
        return EngineRecognizer(loaded, options, sample_rate, language)

    return make


class _LazyEngine:
    """An engine that is loaded when it is first needed."""

    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine
        self._is_loaded = False

    def loaded(self) -> LocalEngine:
        if not self._is_loaded:
            self._engine.load()
            self._is_loaded = True
        return self._engine


@functools.cache
def _named(name: str, model: str) -> _LazyEngine:
    return _LazyEngine(make_engine(name, model))


class EngineRecognizer:
    """A `Recognizer` that has an engine decode one utterance after the other.

    Args:
        engine: It is loaded.
        options: How utterances are found.
        sample_rate: Hz of the audio.
        language: BCP 47 tag of what is spoken; empty if it is not known.
    """

    def __init__(
        self, engine: LocalEngine, options: DetectorOptions, sample_rate: int, language: str
    ) -> None:
        self._engine = engine
        self._cutter = UtteranceCutter(options)
        self._sample_rate = sample_rate
        self._resampler = resampler_from(sample_rate)
        self._language = language
        self._odd = b""
        self._received = 0  # samples at sample_rate
        self._count = 0  # of the words that were returned
        self._busy_until = 0.0  # loop time before which no tentative words are decoded
        self._decoder: UtteranceDecoder | None = None  # of the utterance that is open
        self._decoded: tuple[SpokenAudio, Hypothesis] | None = None  # of the same, so far

    @property
    def position(self) -> float:
        """Seconds of audio received."""
        return self._received / self._sample_rate

    @property
    def silence(self) -> float:
        """Seconds received after the last voice; 0 as long as an utterance is open."""
        if self._cutter.open_since is not None:
            return 0.0
        return max(self.position - self._cutter.voiced_through / SAMPLE_RATE, 0.0)

    @property
    def partial(self) -> HeardWord | None:
        """The utterance that is open, without its text."""
        start = self._cutter.open_since
        if start is None:
            return None
        return self._heard("", start / SAMPLE_RATE, self.position, self._count)

    @property
    def tentative(self) -> Sequence[HeardWord]:
        """The words of the utterance that is open. It is decoded only if this is asked for, and if
        it has grown by half a second and by a half."""
        spoken = self._cutter.open_utterance()
        if spoken is None:
            return ()
        known = self._decoded[0].end - spoken.start if self._decoded else 0
        grown = spoken.end - spoken.start - known >= max(TENTATIVE_STEP, TENTATIVE_GROWTH * known)
        if grown and (began := _loop_time()) >= self._busy_until:
            self._decoded = spoken, self._decode(spoken, final=False)
            took = _loop_time() - began
            self._busy_until = began + took / TENTATIVE_SHARE
        return [] if self._decoded is None else self._words(*self._decoded)

    def feed(self, pcm: bytes) -> list[HeardWord]:
        """Take 16-bit little-endian mono audio, in blocks of any size.

        Returns:
            The words of the utterances that ended in it.
        """
        pcm = self._odd + pcm
        whole = len(pcm) & ~1
        self._odd = pcm[whole:]
        self._received += whole // 2
        if not whole:
            return []
        frame = rtc.AudioFrame(pcm[:whole], self._sample_rate, 1, whole // 2)
        frames = [frame] if self._resampler is None else self._resampler.push(frame)
        return [word for ready in frames for word in self._ended(self._cutter.push(ready))]

    def finish(self) -> list[HeardWord]:
        """End the utterance that is open, also in the middle of a word. More audio may follow."""
        words: list[HeardWord] = []
        if self._resampler is not None:
            for frame in self._resampler.flush():
                words += self._ended(self._cutter.push(frame))
            self._resampler = resampler_from(self._sample_rate)
        return words + self._ended(self._cutter.flush())

    def reached(self, index: int, part: float, speech: str | None = None) -> bool:
        """Raise: it knows words only once it has recognized them.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"a real recognizer does not know when word {index} is spoken: "
            "use at_audio or at_time instead of at_word"
        )

    def _ended(self, cuts: Iterable[Cut]) -> list[HeardWord]:
        words: list[HeardWord] = []
        for cut in cuts:
            if isinstance(cut, SpokenAudio):
                heard = self._words(cut, self._final(cut))
                self._decoder = self._decoded = None
                self._count += len(heard)
                words += heard
        return words

    def _final(self, spoken: SpokenAudio) -> Hypothesis:
        if self._decoded and self._decoded[0] == spoken and self._decoded[1].complete:
            return self._decoded[1]
        return self._decode(spoken, final=True)

    def _decode(self, spoken: SpokenAudio, *, final: bool) -> Hypothesis:
        if self._decoder is None:
            self._decoder = self._engine.utterance(self._language)
        said = self._decoder.decode(as_floats(spoken.audio), final=final)
        return said if said.words else with_times(said, spoken.audio)

    def _words(self, spoken: SpokenAudio, said: Hypothesis) -> list[HeardWord]:
        start = spoken.start / SAMPLE_RATE
        return [
            self._heard(word.text, start + word.start, start + word.end, self._count + number)
            for number, word in enumerate(said.words)
        ]

    def _heard(self, text: str, start: float, end: float, index: int) -> HeardWord:
        return HeardWord("", index, text, start, end, True, True, base(self._language))


def _loop_time() -> float:
    """Return the time of the event loop; without one, 0."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return 0.0
