"""Reference speech: recordings in which every word and every sample is known.

The recordings are made by `scripts/make_reference_speech.py`. They contain a few bits of seeded
noise, so that any 20 ms of them, silence included, occur exactly once. `locating` relies on that.
"""

from __future__ import annotations

import functools
import io
import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import BinaryIO

import numpy as np
from livekit import rtc
from numpy.typing import NDArray

from ...extras import install_command
from .languages import MULTIPLE, written

try:
    import av
    import av.error
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "resilient_stt.testing needs PyAV, which is not installed: " + install_command("testing"),
        name="av",
    ) from None

SAMPLE_RATE = 16_000
"""Samples per second of every recording."""

_NAMES = ("english", "spanish", "mandarin")
_PADDING_DITHER = 3
_PADDING_SEED = (
    7_001  # differs from that of the recordings, so that padding is not taken for speech
)


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word and the time at which it is spoken.

    Attributes:
        text: The word with its case and punctuation.
        start: Seconds.
        end: Seconds.
        language: BCP 47 tag; empty if it is not known. Words of a recording always have one.
    """

    text: str
    start: float
    end: float
    language: str = ""


@dataclass(frozen=True, eq=False)
class ReferenceSpeech:
    """A recording, or whole sentences of one.

    Attributes:
        name: Name of the recording, as `load` takes it.
        language: BCP 47 tag; `mul` if its words are in several languages.
        samples: Mono at `SAMPLE_RATE`, read-only.
        words: The words in the order spoken, in seconds from the start of `samples`. A word without
            a language gets that of the recording.
        sentences: Ranges of indices into `words`.
        first_word: Index of `words[0]` in the full recording.
    """

    name: str
    language: str
    samples: NDArray[np.int16]
    words: tuple[SpokenWord, ...]
    sentences: tuple[range, ...]
    first_word: int = 0

    def __post_init__(self) -> None:
        if not all(word.language for word in self.words):
            known = (replace(w, language=w.language or self.language) for w in self.words)
            object.__setattr__(self, "words", tuple(known))

    def __repr__(self) -> str:
        last = self.first_word + len(self.words) - 1
        words = f"words {self.first_word}..{last}" if self.words else "no words"
        return f"<ReferenceSpeech {self.name} {self.language} {self.duration:.2f} s, {words}>"

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return the names of the shipped recordings that the fake servers know."""
        return _NAMES

    @classmethod
    def load(cls, name: str = "english") -> ReferenceSpeech:
        """Return a shipped recording; the same object every time.

        Raises:
            ValueError: There is no recording of that name.
        """
        if name not in _NAMES:
            raise ValueError(
                f"there is no reference speech {name!r}; there are {', '.join(_NAMES)}"
            )
        return _load(name)

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE

    @property
    def text(self) -> str:
        """The text of all words, with spaces where their languages have them."""
        return written(self.words)

    def excerpt(self, first_sentence: int, last_sentence: int) -> ReferenceSpeech:
        """Return whole sentences, both ends inclusive, cut in the middle of the pauses.

        Raises:
            ValueError: This is not a range of the speech's sentences.
        """
        if not 0 <= first_sentence <= last_sentence < len(self.sentences):
            raise ValueError(
                f"sentences {first_sentence} to {last_sentence} of {len(self.sentences)}"
            )
        begin, end = self._pause_before(first_sentence), self._pause_before(last_sentence + 1)
        chosen = self.sentences[first_sentence : last_sentence + 1]
        first = chosen[0].start
        words = self.words[first : chosen[-1].stop]
        shift = begin / SAMPLE_RATE
        return replace(
            self,
            language=language_of(words, self.language),
            samples=self.samples[begin:end],
            words=tuple(replace(w, start=w.start - shift, end=w.end - shift) for w in words),
            sentences=tuple(range(s.start - first, s.stop - first) for s in chosen),
            first_word=self.first_word + first,
        )

    def padded(self, seconds: float) -> ReferenceSpeech:
        """Return the speech followed by `seconds` of silence (dithered, as in the recordings)."""
        noise = np.random.default_rng(_PADDING_SEED).integers(
            -_PADDING_DITHER, _PADDING_DITHER + 1, round(seconds * SAMPLE_RATE), np.int16
        )
        return replace(self, samples=read_only(np.concatenate([self.samples, noise])))

    def frames(
        self, *, sample_rate: int = SAMPLE_RATE, channels: int = 1, frame_duration: float = 0.02
    ) -> Iterator[rtc.AudioFrame]:
        """Yield the recording as audio frames; the last one may be shorter.

        Args:
            sample_rate: Hz of the frames. If it differs, LiveKit's resampler is used.
            channels: Channels of the frames; all carry the same samples.
            frame_duration: Seconds of a frame.

        Raises:
            ValueError: A number is not positive, or a frame would hold no sample.
        """
        length = round(frame_duration * sample_rate)
        if sample_rate < 1 or channels < 1 or length < 1:
            raise ValueError(
                f"no frames of {frame_duration} s, {channels} channels at {sample_rate} Hz"
            )
        samples = np.repeat(_resampled(self.samples, sample_rate), channels)
        size = length * channels
        return (
            rtc.AudioFrame(part.tobytes(), sample_rate, channels, len(part) // channels)
            for part in (samples[start : start + size] for start in range(0, len(samples), size))
        )

    def _pause_before(self, sentence: int) -> int:
        """Return the sample in the middle of the pause before a sentence, or an end of the
        recording."""
        if sentence == 0:
            return 0
        if sentence == len(self.sentences):
            return len(self.samples)
        first = self.sentences[sentence].start
        middle = (self.words[first - 1].end + self.words[first].start) / 2
        return round(middle * SAMPLE_RATE)


def language_of(words: Sequence[SpokenWord], silent: str) -> str:
    """Return the language of words: `mul` if they have several, `silent` if there are no words."""
    languages = {word.language for word in words}
    return MULTIPLE if len(languages) > 1 else next(iter(languages), silent)


def plain(text: str) -> str:
    """Return text without case, spaces and punctuation, to compare different spellings."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if unicodedata.category(c)[0] in "LMN")


@functools.cache
def _load(name: str) -> ReferenceSpeech:
    return shipped(name, "flac")


def shipped(name: str, suffix: str) -> ReferenceSpeech:
    """Return a recording of the package's data, with the times of its words."""
    data = resources.files("resilient_stt.testing") / "data"
    about = json.loads((data / f"{name}.json").read_text(encoding="utf-8"))
    return ReferenceSpeech(
        name=name,
        language=about["language"],
        samples=decoded(io.BytesIO((data / f"{name}.{suffix}").read_bytes())),
        words=tuple(SpokenWord(**word) for word in about["words"]),
        sentences=tuple(range(*bounds) for bounds in about["sentences"]),
    )


def decoded(file: str | BinaryIO) -> NDArray[np.int16]:
    """Return the audio of a file of any format that PyAV decodes, mono at `SAMPLE_RATE`.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It has no audio, or is damaged.
    """
    resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
    try:
        with av.open(file, mode="r") as container:
            frames = [out for f in container.decode(audio=0) for out in resampler.resample(f)]
        frames += resampler.resample(None)
    except (av.error.InvalidDataError, IndexError):
        raise ValueError("it has no audio, or is damaged") from None
    parts = [frame.to_ndarray()[0] for frame in frames]
    return read_only(np.concatenate(parts))


def read_only(samples: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the samples, protected from being written to."""
    samples.flags.writeable = False  # everyone in the process shares the recordings
    return samples


def _resampled(samples: NDArray[np.int16], sample_rate: int) -> NDArray[np.int16]:
    if sample_rate == SAMPLE_RATE:
        return samples
    quality = rtc.AudioResamplerQuality.HIGH
    resampler = rtc.AudioResampler(SAMPLE_RATE, sample_rate, quality=quality)
    frames = resampler.push(rtc.AudioFrame(samples.tobytes(), SAMPLE_RATE, 1, len(samples)))
    frames += resampler.flush()
    return np.concatenate([np.frombuffer(frame.data, np.int16) for frame in frames])
