"""The alignment at the seam: a long final against as many told words, and many finals."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from livekit.agents.stt import SpeechEventType

from resilient_stt import ReplayPolicy
from resilient_stt.core.messages import Word
from resilient_stt.core.transcript.history import TranscriptHistory
from resilient_stt.core.transcript.overlap import Utterance
from resilient_stt.testing import ReferenceSpeech, SpokenWord, silence
from resilient_stt.testing.speech.reference import SAMPLE_RATE

from . import in_process
from .rehearsed import LATENCY, Line, Rehearsal, of_silence
from .rounds import alternate
from .subjects import WITHOUT_VAD

WORDS = 500
"""Words of the long final, and of those that were told before it."""
LENGTH = 0.12
"""Seconds of a word: 500 must lie in the 60 s that are replayed."""
OTHER = 0.1
"""The share of words that the second recognizer writes in another way."""
FINALS_PER_SECOND = 100
SECONDS = (10, 40)
"""Seconds of such finals; the longer run may not cost more for each."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """What aligning costs, in milliseconds of CPU.

    Attributes:
        trims: Of one final against as many told words, by whether it repeats them and has times.
        final: Of each of 100 finals a second, by the seconds that the stream lasts.
    """

    trims: dict[str, float]
    final: dict[int, float]


def measure(rounds: int = 5) -> Alignment:
    """Measure both."""
    trims = alternate([*CASES], rounds, lambda case: _trim(CASES[case]))
    finals = alternate([f"{s}" for s in SECONDS], rounds, lambda s: _final(int(s)))
    return Alignment(
        {case: trims.median(case) for case in CASES}, {s: finals.median(f"{s}") for s in SECONDS}
    )


def growth(rounds: int) -> float:
    """Return what a final costs in the longer stream, in multiples of that in the shorter one."""
    finals = alternate([f"{s}" for s in SECONDS], rounds, lambda s: _final(int(s)))
    shorter, longer = (f"{s}" for s in SECONDS)
    return finals.ratio(longer, shorter)


@dataclass(frozen=True, slots=True)
class Case:
    """Whether the second recognizer repeats the told words, and whether both give times."""

    repeats: bool
    timed: bool


CASES = {
    "repeated, with times": Case(repeats=True, timed=True),
    "repeated, without times": Case(repeats=True, timed=False),
    "all new, with times": Case(repeats=False, timed=True),
    "all new, without times": Case(repeats=False, timed=False),
}


def _trim(case: Case, times: int = 5) -> float:
    """The milliseconds of one trim of a new connection."""
    told = _words("told")
    heard = _rewritten(told) if case.repeats else _words("new")
    spent = 0.0
    for _ in range(times):
        history = TranscriptHistory(ReplayPolicy())
        end = WORDS * LENGTH
        history.record(_utterance(told, timed=case.timed), end)
        trimmer = history.trimmer(end, 0.0, lambda at: at, starts_mid_word=False)
        text = _utterance(heard, timed=case.timed)
        begun = time.process_time()
        trimmer.trim(text)
        spent += time.process_time() - begun
    return 1e3 * spent / times


def _words(seed: str) -> list[str]:
    dice = random.Random(seed)
    vocabulary = [word.text.strip(".,?!") for word in ReferenceSpeech.load("english").words]
    return [dice.choice(vocabulary) for _ in range(WORDS)]


def _rewritten(words: list[str]) -> list[str]:
    dice = random.Random("rewritten")
    return [f"{word}s" if dice.random() < OTHER else word for word in words]


def _utterance(words: list[str], *, timed: bool) -> Utterance:
    text = " ".join(words)
    if not timed:
        return Utterance(text)
    spans = [Word(word, n * LENGTH, (n + 1) * LENGTH) for n, word in enumerate(words)]
    return Utterance(text, tuple(spans), 0.0, spans[-1].end)


def _final(seconds: int) -> float:
    """The milliseconds of a stream for each final, without those of a stream with one a minute."""
    many = _cpu(_of_finals(), seconds)
    few = _cpu(of_silence(words_of_a_final=150), seconds)
    return 1e3 * (many - few) / (seconds * FINALS_PER_SECOND)


def _cpu(rehearsal: Rehearsal, seconds: int) -> float:
    return in_process.run(WITHOUT_VAD, rehearsal, streams=1, seconds=seconds).cpu


def _of_finals() -> Rehearsal:
    """A final of one word each 10 ms, over silence."""
    length = 1 / FINALS_PER_SECOND
    lines = []
    for number in range(FINALS_PER_SECOND):
        word = SpokenWord(f"word{number}", number * length, (number + 1) * length, "en")
        at = round((word.end + LATENCY) * SAMPLE_RATE)
        lines.append(Line(at, SpeechEventType.FINAL_TRANSCRIPT, (word,)))
    frames = tuple(silence(1.0).frames())
    return Rehearsal(frames, tuple(lines))
