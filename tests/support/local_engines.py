"""A local engine that knows the reference speech, instead of a model."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np

from resilient_stt.local import Hypothesis, Samples
from resilient_stt.testing.speech.recognizer import AudioRecognizer
from resilient_stt.testing.speech.reference import ReferenceSpeech

ENGLISH = ReferenceSpeech.load("english")


@dataclass
class SpeechEngine:
    """Transcribes the words of the reference speech that it is given, and fragments of others."""

    model: str = "stand-in/exact"
    language: str = "en"
    complete: bool = False
    """Whether an interim transcript of a whole utterance serves as its final."""
    error: Exception | None = None
    """Raised by `decode`."""
    load_errors: list[Exception] = field(default_factory=list)
    """Raised by the next calls of `load`."""
    gate: threading.Event | None = None
    """Decoding waits until it is set."""
    loads: int = 0
    loaded: threading.Event = field(default_factory=threading.Event)
    """Set once it was loaded."""
    began: threading.Event = field(default_factory=threading.Event)
    """Set once it was asked to decode."""
    decoded: list[tuple[bool, float]] = field(default_factory=list)
    """For each call whether it was final, and how many seconds it was given."""
    threads: set[str] = field(default_factory=set)

    def load(self) -> None:
        self.loads += 1
        self.threads.add(threading.current_thread().name)
        if self.load_errors:
            raise self.load_errors.pop(0)
        self.loaded.set()

    def utterance(self, language: str) -> SpeechUtterance:
        return SpeechUtterance(self)


class SpeechUtterance:
    """Recognizes only what is new."""

    def __init__(self, engine: SpeechEngine) -> None:
        self._engine = engine
        self._recognizer = AudioRecognizer([ENGLISH])
        self._given = 0
        self._words: list[str] = []

    def decode(self, samples: Samples, *, final: bool) -> Hypothesis:
        engine, recognizer = self._engine, self._recognizer
        engine.began.set()
        engine.decoded.append((final, len(samples) / 16_000))
        engine.threads.add(threading.current_thread().name)
        if engine.gate is not None:
            assert engine.gate.wait(10)
        if engine.error is not None:
            raise engine.error
        new = (samples[self._given :] * 32768).astype(np.int16)
        self._given = len(samples)
        words = recognizer.feed(new.tobytes())
        words += recognizer.finish() if final else []
        self._words += [word.text for word in words]
        return Hypothesis(" ".join(self._words), complete=engine.complete)
