"""The runs of `chaos` and `matrix`: every fault, at every place, at several moments.

The places are the primary provider, the fallback provider while the primary has been down before,
both providers for some seconds, and a sole provider for some seconds. The moments are words of an
excerpt of a reference recording.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from ...testing.faults import Refuse
from ...testing.harness.trial import FALLBACK_ONLY, HEALTHY, FaultPlan
from ...testing.speech.reference import SAMPLE_RATE, ReferenceSpeech
from .fault_kinds import FaultKind, Moment

OUTAGE = 6.0
"""Seconds for which both providers, or a sole one, have a fault."""
PRIMARY, FALLBACK, BOTH, ALONE = "primary", "fallback", "both", "alone"
"""The places where a fault may be."""
NO_HEALTHY = (BOTH, ALONE)
"""The places that leave no healthy provider."""
NONE = "none"
"""The name of the row of healthy runs, against which delays are measured."""

_SENTENCES = {"english": (1, 3), "spanish": (0, 2), "mandarin": (0, 2)}
"""The first and the last sentence that is played of each recording: about 10 s."""
_PAUSE = 1.0  # seconds of silence after the last word
_HANG_UP = 0.04  # seconds from the end of the last word until the caller hangs up


@dataclass(frozen=True, slots=True)
class Case:
    """One run.

    Attributes:
        plan: The faults of both providers.
        hang_up: The word after which the caller hangs up; None if a second of silence follows the
            last word.
    """

    plan: FaultPlan
    hang_up: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """The cases of one fault at one place, which become one row of the table.

    Attributes:
        fault: A name of `FAULT_KINDS`, or `NONE`.
        where: `PRIMARY`, `FALLBACK`, `BOTH` or `ALONE`; empty for healthy runs.
        promised: Whether the words must survive. They cannot if all providers accept the audio and
            send no transcripts and no errors: that cannot be told from noise.
        if_noticed: They must survive only if a plugin raises an error, and does not fall silent.
    """

    fault: str
    where: str
    cases: tuple[Case, ...]
    promised: bool = True
    if_noticed: bool = False


def make_rows(
    kinds: dict[str, FaultKind],
    count: int,
    recording: str = "english",
    places: Collection[str] = (PRIMARY, FALLBACK, BOTH),
) -> list[Row]:
    """Return the healthy row, and a row for each fault and place, with `count` moments each."""
    moments = _moments(count, recording)
    faulty = [
        Row(
            name,
            where,
            tuple(cases),
            promised=not (kind.silent and where in NO_HEALTHY),
            if_noticed=kind.ignorable and where in NO_HEALTHY,
        )
        for name, kind in kinds.items()
        for where, cases in _cases(kind, moments, recording).items()
        if where in places
    ]
    # Delays depend on where the speech ends, so each end has its own healthy runs: one of the
    # primary provider and one of the fallback.
    endings = dict.fromkeys(case.hang_up for row in faulty for case in row.cases)
    plans = (HEALTHY,) if ALONE in places else (HEALTHY, FALLBACK_ONLY)
    healthy = (Case(plan, end) for end in endings or {None: None} for plan in plans)
    return [Row(NONE, "", tuple(healthy)), *faulty]


@functools.cache
def speech_of(hang_up: int | None, recording: str = "english") -> ReferenceSpeech:
    """Return the speech of a case: the excerpt, ended after a word if `hang_up` is not None."""
    speech = ReferenceSpeech.load(recording).excerpt(*_SENTENCES[recording])
    if hang_up is None:
        return speech.padded(_PAUSE)
    words = speech.words[: hang_up - speech.first_word + 1]
    end = round((words[-1].end + _HANG_UP) * SAMPLE_RATE)
    return replace(speech, samples=speech.samples[:end], words=words)


def _moments(count: int, recording: str) -> list[Moment]:
    """Return `count` moments from the first word to the last: alternately starts and middles."""
    speech = speech_of(None, recording)
    last = len(speech.words) - 1
    moments = []
    for number in range(count):
        index = round(last * number / (count - 1)) if count > 1 else last // 2
        word, part = speech.words[index], 0.5 * (number % 2)
        at = word.start + part * (word.end - word.start)
        moments.append(Moment(speech.first_word + index, part, at))
    return moments


def _cases(kind: FaultKind, moments: list[Moment], recording: str) -> dict[str, list[Case]]:
    """Return the cases of a fault by place."""
    cases: dict[str, list[Case]] = {PRIMARY: [], FALLBACK: [], BOTH: [], ALONE: []}
    if kind.from_start:
        cases[PRIMARY].append(Case(FaultPlan(kind.from_start)))
    for moment in moments:
        hang_up = moment.word if kind.at_end else None
        at = speech_of(hang_up, recording).duration if kind.at_end else moment.at
        for where, plan in _plans(kind, moment, at):
            cases[where].append(Case(plan, hang_up))
    return cases


def _plans(kind: FaultKind, moment: Moment, at: float) -> Iterator[tuple[str, FaultPlan]]:
    """Yield the place and the plan of the cases in which a fault happens at a moment."""
    faults, outage = kind.make(moment), kind.outage(at, at + OUTAGE)
    yield PRIMARY, FaultPlan(faults)
    # The primary provider accepts connections again when the fallback fails. Otherwise no provider
    # would be left, and losing words would be right.
    yield FALLBACK, FaultPlan((Refuse(until=at),), faults)
    yield BOTH, FaultPlan(outage, outage)
    yield ALONE, FaultPlan(outage)
