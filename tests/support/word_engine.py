"""A local engine that knows one recording, and when each of its words is spoken."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from resilient_stt.local import Hypothesis, Samples, TimedWord
from resilient_stt.testing.speech.recognizer import AudioRecognizer
from resilient_stt.testing.speech.reference import SAMPLE_RATE, ReferenceSpeech


@dataclass
class WordEngine:
    """Transcribes the words of a recording in an utterance, with their times."""

    speech: ReferenceSpeech = field(default_factory=ReferenceSpeech.load)

    model: str = "stand-in/words"
    language: str = "en"
    loads: int = 0
    finals: list[float] = field(default_factory=list)
    """Seconds of each utterance that was decoded as final."""
    interims: list[float] = field(default_factory=list)

    def load(self) -> None:
        self.loads += 1

    def utterance(self, language: str) -> WordEngine:
        assert self.loads == 1
        return self

    def decode(self, samples: Samples, *, final: bool) -> Hypothesis:
        (self.finals if final else self.interims).append(len(samples) / SAMPLE_RATE)
        recognizer = AudioRecognizer([self.speech])
        words = recognizer.feed((samples * 32768).astype(np.int16).tobytes())
        words += recognizer.finish()
        timed = tuple(TimedWord(w.text, w.start, w.end) for w in words)
        return Hypothesis(" ".join(w.text for w in timed), timed)
