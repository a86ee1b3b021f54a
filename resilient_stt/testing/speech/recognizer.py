"""Turn the samples that one connection received back into words.

A fake provider gives the bytes that it receives to a `Recognizer`, so it can only transcribe what
really arrived. If nothing else is asked for, that is an `AudioRecognizer`, which finds the bytes in
known recordings. A word that was lost is missing, a word that was replayed comes twice, and a word
of which a part arrived becomes a wrong fragment, as with a real recognizer. A word in a language
that the recognizer does not know becomes a wrong word of one that it knows.

Audio that was resampled is recognized too, with cuts precise to about 10 ms. Below 16 kHz,
sibilants are missing: at 8 kHz a few words become fragments.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from livekit import rtc

from .languages import base, misheard, spaced
from .locating import Locator, Match, Samples, atlas_of
from .reference import SAMPLE_RATE, ReferenceSpeech, plain

EDGE = 0.015
"""Seconds that may be missing at either end of a whole word."""
EDGE_RESAMPLED = 0.020
"""The same for resampled audio, in which the places of cuts are blurred."""
SHORTEST_FRAGMENT = 0.060
"""Seconds of a word below which nothing is recognized."""
_WRONG_LETTER, _WRONG_CHARACTER = "k", "咦"


@dataclass(frozen=True, slots=True)
class HeardWord:
    """A word, or what a recognizer makes of a part of it or of a word in another language.

    Attributes:
        speech: Name of the recording; empty if the recognizer does not know it.
        index: Index of the word in the full recording, or among the words of the connection.
        text: The word as written in the recording, or the wrong spelling of a fragment, or a wrong
            word.
        start: Seconds of the connection's audio.
        end: Seconds of the connection's audio.
        whole: Whether it is not a fragment.
        known: Whether its language is one that the recognizer knows.
        language: Base subtag of the language it is transcribed in; always one that the recognizer
            knows.
    """

    speech: str
    index: int
    text: str
    start: float
    end: float
    whole: bool
    known: bool
    language: str


class Recognizer(Protocol):
    """Recognizes the audio of one connection, or of one posted recording."""

    @property
    def position(self) -> float:
        """Seconds of audio received."""

    @property
    def silence(self) -> float:
        """Seconds received after the last speech, or all of them if there was none. 0 as long as
        speech may go on."""

    @property
    def partial(self) -> HeardWord | None:
        """What is being heard, as far as it was heard; None in silence. Its text may be empty."""

    @property
    def tentative(self) -> Sequence[HeardWord]:
        """The words after those that were returned, as they stand now. They may still change, and
        are returned once they do not any more. Empty if all words are returned as they end."""

    def feed(self, pcm: bytes) -> list[HeardWord]:
        """Take 16-bit little-endian mono audio, in blocks of any size.

        Returns:
            The words that will not change any more, each of them once.
        """

    def finish(self) -> list[HeardWord]:
        """Return the rest of the words of the audio received so far. More audio may follow."""

    def reached(self, index: int, part: float, speech: str | None = None) -> bool:
        """Return whether a moment of a word was heard on this connection.

        Args:
            index: Index of the word in the full recording.
            part: Where in the word: 0 is its first sample, 1 its last.
            speech: Name of the recording. None: any.

        Raises:
            ValueError: There is no such word, or the recognizer knows no words of recordings.
        """


class RecognizerFactory(Protocol):
    """Makes a recognizer for each connection of a fake server."""

    def __call__(self, *, sample_rate: int, languages: Sequence[str] | None) -> Recognizer:
        """Make a recognizer of audio.

        Args:
            sample_rate: Hz of the audio.
            languages: Base subtags of the languages that the connection knows. None: all.
        """


@dataclass(frozen=True, slots=True)
class _Place:
    """A word in the atlas, in samples."""

    start: int
    end: int
    speech: ReferenceSpeech
    index: int
    text: str
    language: str


class AudioRecognizer:
    """A `Recognizer` that finds the audio in known recordings.

    Args:
        corpus: The recordings that it can recognize. None: all that are shipped.
        sample_rate: Hz of the audio.
        languages: Base subtags of the languages that it knows. Words in any other become wrong
            words of the first. None: it knows all.
    """

    def __init__(
        self,
        corpus: Sequence[ReferenceSpeech] | None = None,
        *,
        sample_rate: int = SAMPLE_RATE,
        languages: Sequence[str] | None = None,
    ) -> None:
        if corpus is None:
            corpus = [ReferenceSpeech.load(name) for name in ReferenceSpeech.names()]
        atlas = atlas_of(tuple(corpus))
        self._languages = languages
        self._places = _places(corpus, atlas.offsets)
        self._ends = [place.end for place in self._places]
        self._spelled = frozenset(plain(place.text) for place in self._places)
        self._locator = Locator(atlas)
        self._sample_rate = sample_rate
        self._resampler = resampler_from(sample_rate)
        self._odd = b""
        self._received = 0  # samples at sample_rate
        self._time = 0  # samples at SAMPLE_RATE that are located, or known to be unknown
        self._at = -1  # position in the atlas of the next sample, if it continues
        self._next = 0  # the place being heard, or the next one
        self._word_from: int | None = None  # position from which on it was heard
        self._word_until = 0  # self._time after the last sample of any word
        self._intervals: list[list[int]] = []  # positions heard, in the order in which they came

    def __repr__(self) -> str:
        return f"<Hearing {self.position:.2f} s, {len(self._intervals)} runs, {self.partial}>"

    @property
    def position(self) -> float:
        """Seconds of audio received."""
        return self._received / self._sample_rate

    @property
    def silence(self) -> float:
        """Seconds received after the last sample of any word, or all of them if there was none."""
        return max(self.position - self._word_until / SAMPLE_RATE, 0.0)

    @property
    def partial(self) -> HeardWord | None:
        """The word that is being heard, as far as it was heard."""
        return None if self._word_from is None else self._as_heard(self._at, self._time)

    @property
    def tentative(self) -> Sequence[HeardWord]:
        """Always empty: a word is certain when it ends."""
        return ()

    def feed(self, pcm: bytes) -> list[HeardWord]:
        """Recognize 16-bit little-endian mono audio, in blocks of any size.

        Returns:
            The words, and fragments of words, that ended in this block.
        """
        pcm = self._odd + pcm
        whole = len(pcm) & ~1
        self._odd = pcm[whole:]
        samples = np.frombuffer(pcm, "<i2", whole // 2)
        self._received += len(samples)
        return self._hear(self._at_own_rate(samples))

    def finish(self) -> list[HeardWord]:
        """End the word that is being heard, with the part that was heard of it.

        More audio may follow. The rest of the word is then a fragment of its own.
        """
        words: list[HeardWord] = []
        if self._resampler is not None:
            words += self._hear(_joined(self._resampler.flush()))
            self._resampler = resampler_from(self._sample_rate)
        for run in self._locator.flush():
            words += self._take(run)
        ended = self._end_word(self._at, self._time)
        return words + ended

    def reached(self, index: int, part: float, speech: str | None = None) -> bool:
        """Return whether a moment of a word was heard on this connection.

        Args:
            index: Index of the word in the full recording.
            part: Where in the word: 0 is its first sample, 1 its last.
            speech: Name of the recording. None: any.

        Raises:
            ValueError: There is no such word.
        """
        places = [
            place
            for place in self._places
            if place.index == index and speech in (None, place.speech.name)
        ]
        if not places:
            raise ValueError(f"no word {index} of {speech or 'any recording'} in the corpus")
        moments = [p.start + part * (p.end - 1 - p.start) for p in places]
        return any(start <= m < end for m in moments for start, end in self._intervals)

    def _at_own_rate(self, samples: Samples) -> Samples:
        if self._resampler is None or not len(samples):
            return samples
        return _joined(self._resampler.push(bytearray(samples.tobytes())))

    def _hear(self, samples: Samples) -> list[HeardWord]:
        return [word for run in self._locator.feed(samples) for word in self._take(run)]

    def _take(self, run: Match) -> list[HeardWord]:
        """Account for one run: jump there if it is elsewhere, then go through its words."""
        words: list[HeardWord] = []
        if run.position != self._at:
            words += self._end_word(self._at, self._time)
            self._at = -1 if run.position is None else run.position
        if run.position is not None:
            words += self._go_on(run.position, run.position + run.length)
            self._at = run.position + run.length
        self._time += run.length
        return words

    def _go_on(self, start: int, end: int) -> list[HeardWord]:
        self._note_interval(start, end)
        words: list[HeardWord] = []
        while self._next < len(self._places) and self._places[self._next].start < end:
            place = self._places[self._next]
            if self._word_from is None:
                self._word_from = max(start, place.start)
            until = min(end, place.end)
            self._word_until = self._time + until - start
            if end < place.end:
                break
            words += self._end_word(until, self._word_until)
            self._next += 1
        return words

    def _note_interval(self, start: int, end: int) -> None:
        if self._intervals and self._intervals[-1][1] == start:
            self._intervals[-1][1] = end
            return
        self._intervals.append([start, end])
        self._next = bisect.bisect_right(self._ends, start)

    def _end_word(self, until: int, time: int) -> list[HeardWord]:
        """End the word that is being heard, if any, at a position and a time."""
        if self._word_from is None:
            return []
        heard = self._as_heard(until, time)
        self._word_from = None
        return [] if heard is None else [heard]

    def _as_heard(self, until: int, time: int) -> HeardWord | None:
        """Return the transcript of the current word, heard up to a position at a time."""
        assert self._word_from is not None
        place = self._places[self._next]
        missing = (EDGE_RESAMPLED if self._locator.resampled else EDGE) * SAMPLE_RATE
        heard = until - self._word_from
        whole = self._word_from - place.start <= missing and place.end - until <= missing
        if not whole and heard < SHORTEST_FRAGMENT * SAMPLE_RATE:
            return None
        text = place.text if whole else self._fragment(place, self._word_from, until)
        known, language = True, place.language
        if self._languages is not None and language not in self._languages:
            known, language = False, self._languages[0]
            text = misheard(plain(text), language, self._spelled)
        return HeardWord(
            place.speech.name,
            place.index,
            text,
            (time - heard) / SAMPLE_RATE,
            time / SAMPLE_RATE,
            whole,
            known,
            language,
        )

    def _fragment(self, place: _Place, start: int, end: int) -> str:
        """Spell the part of a word that was heard, in a way that no word of the recordings is
        spelled."""
        letters = plain(place.text)
        share = len(letters) / (place.end - place.start)
        first = min(int((start - place.start) * share), len(letters) - 1)
        last = max(round((end - place.start) * share), first + 1)
        if not spaced(place.language):  # without spaces, a right character would be a right word
            return _WRONG_CHARACTER * (last - first)
        text = letters[first:last]
        while text in self._spelled:
            text += _WRONG_LETTER
        return text


def _places(corpus: Sequence[ReferenceSpeech], offsets: Sequence[int]) -> list[_Place]:
    return [
        _Place(
            offset + round(word.start * SAMPLE_RATE),
            offset + round(word.end * SAMPLE_RATE),
            speech,
            speech.first_word + index,
            word.text,
            base(word.language),
        )
        for speech, offset in zip(corpus, offsets, strict=True)
        for index, word in enumerate(speech.words)
    ]


def resampler_from(sample_rate: int) -> rtc.AudioResampler | None:
    """Return what brings audio to `SAMPLE_RATE`; None if it has that rate."""
    if sample_rate == SAMPLE_RATE:
        return None
    quality = rtc.AudioResamplerQuality.HIGH
    return rtc.AudioResampler(sample_rate, SAMPLE_RATE, quality=quality)


def _joined(frames: Sequence[rtc.AudioFrame]) -> Samples:
    parts = [np.frombuffer(frame.data, np.int16) for frame in frames]
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)
