"""The two seconds of speech that every provider is asked to transcribe."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from livekit import rtc
from livekit.agents import LanguageCode
from numpy.typing import NDArray

from ...core.routing.language import UNKNOWN_LANGUAGES
from ...testing.speech.reference import SAMPLE_RATE, ReferenceSpeech

SECONDS = 2.0
"""Seconds of audio that a provider is sent, and may charge for."""
_FRAME = 0.05  # seconds
_LEAD = 0.2  # seconds of silence before the first word: some recognizers lose a word without
_SPOKEN_OTHERWISE = "en"
_RECORDINGS = {
    LanguageCode(ReferenceSpeech.load(name).language).language: name
    for name in ReferenceSpeech.names()
}


@dataclass(frozen=True, slots=True, eq=False)
class SpokenSample:
    """Speech in the language of a stream, or English where no recording has that language."""

    samples: NDArray[np.int16]
    is_in_language: bool
    """Whether a provider that knows the language must find words in it."""

    def frames(self) -> Iterator[rtc.AudioFrame]:
        """The audio in frames of 50 ms."""
        size = round(_FRAME * SAMPLE_RATE)
        for start in range(0, len(self.samples), size):
            part = self.samples[start : start + size]
            yield rtc.AudioFrame(part.tobytes(), SAMPLE_RATE, 1, len(part))


def sample_in(tag: str) -> SpokenSample:
    """The sample for a stream in a language; English if the tag is empty or names no language."""
    is_unknown = tag.lower() in UNKNOWN_LANGUAGES
    return _sample(_SPOKEN_OTHERWISE if is_unknown else LanguageCode(tag).language)


@functools.cache
def _sample(language: str) -> SpokenSample:
    """The one sample of a language, so that equal ones can be told by their identity."""
    speech = ReferenceSpeech.load(_RECORDINGS.get(language, _RECORDINGS[_SPOKEN_OTHERWISE]))
    first = max(0, round((speech.words[0].start - _LEAD) * SAMPLE_RATE))
    samples = speech.samples[first : first + round(SECONDS * SAMPLE_RATE)]
    return SpokenSample(samples, is_in_language=language in _RECORDINGS)
