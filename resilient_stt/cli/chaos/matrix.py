"""What `chaos` tries: every fault x every place x some moments, as scripts of faults.

The places are the chain's first provider, its second once the first has failed, and both for some
seconds. The moments are words of an excerpt of a reference recording.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from ...testing.faults import (
    Drop,
    DropAfterClose,
    EmptyFinals,
    EndCleanly,
    Fault,
    Garbage,
    HalfOpen,
    Hang,
    IgnoreClose,
    InBandError,
    Latency,
    LostFinal,
    Refuse,
    Stall,
    Status,
    from_,
)
from ...testing.harness.trial import FALLBACK_ONLY, HEALTHY, FaultPlan
from ...testing.speech.reference import SAMPLE_RATE, ReferenceSpeech
from ..problems import Problem

OUTAGE = 6.0
"""Seconds for which both providers have a fault."""
BOTH = "both"
"""Where a fault is that leaves no provider well."""
NONE = "none"
"""The name of the row of healthy runs, against which delays are measured."""

_SENTENCES = {"english": (1, 3), "spanish": (0, 2), "mandarin": (0, 2)}  # both inclusive: 10 s
_PAUSE = 1.0  # seconds of silence after the last word
_TAIL = 0.04  # seconds after the last word at which the caller hangs up
_EARLY = 0.1  # seconds; a timer may be early by the clock's resolution

_Faults = tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """A part of a word (0 its start, 1 its end) of the reference speech.

    `at`: the same in seconds of the speech that is played.
    """

    word: int
    part: float
    at: float


@dataclass(frozen=True, slots=True)
class Case:
    """One run: the faults, and after which word the caller hangs up; None: a second of silence
    after the last one."""

    script: FaultPlan
    hang_up: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """The cases of one fault at one place: `primary`, `fallback` or `both`.

    `promised`: somebody hears. Where two providers go on and say nothing of what they hear, nobody
    can tell it from noise.
    """

    fault: str
    where: str
    cases: tuple[Case, ...]
    promised: bool = True


@dataclass(frozen=True, slots=True)
class FaultKind:
    """How a fault goes into a script.

    Attributes:
        strike: The faults of one provider, from a moment on.
        outage: The faults of each of two providers, from a second until another.
        from_start: The faults of a provider that has them from the start, if that is another case.
        at_end: It strikes when the caller hangs up: the moments are those of hanging up.
        silent: What was said meanwhile is gone, without an error and with the connection open.
    """

    make: Callable[[Moment], _Faults]
    outage: Callable[[float, float], _Faults]
    from_start: _Faults = ()
    at_end: bool = False
    silent: bool = False


_Make = Callable[..., Fault]


def _absence(make: _Make) -> FaultKind:
    """Connections break, and there are no new ones."""
    return FaultKind(
        lambda m: (_at(Drop, m, connections={0}), make(connections=from_(1))),
        lambda begin, end: (Drop(at_time=begin), make(at_time=_before(begin), until=end)),
        from_start=(make(),),
    )


def _blow(make: _Make, away: _Make = Refuse) -> FaultKind:
    """The first connection is struck; in an outage there are no new ones."""
    return FaultKind(
        lambda m: (_at(make, m, connections={0}),),
        lambda begin, end: (make(at_time=begin), away(at_time=_before(begin), until=end)),
    )


def _state(make: _Make, *, silent: bool = True) -> FaultKind:
    """All connections are struck that hear the moment."""
    return FaultKind(
        lambda m: (_at(make, m),),
        lambda begin, end: (make(at_time=begin, until=end),),
        silent=silent,
    )


_AFTER_CLOSE = FaultKind(
    lambda m: (DropAfterClose(connections={0}),),
    lambda begin, end: (
        DropAfterClose(connections={0}),
        Refuse(at_time=_before(begin), until=end),
    ),
    at_end=True,
)
_LOST_FINAL = FaultKind(
    lambda m: (_at(LostFinal, m, connections={0}),),
    lambda begin, _: (LostFinal(at_time=begin),),
    silent=True,
)
_IGNORE_CLOSE = FaultKind(
    lambda m: (IgnoreClose(),), lambda begin, end: (IgnoreClose(until=end),), at_end=True
)

KINDS: dict[str, FaultKind] = {
    "refuse": _absence(Refuse),
    "hang": _absence(Hang),
    "status-401": _absence(functools.partial(Status, 401)),
    "status-429": _absence(functools.partial(Status, 429)),
    "status-503": _absence(functools.partial(Status, 503)),
    "drop": _blow(Drop),
    "drop-fin": _blow(functools.partial(Drop, 1006)),
    "drop-1011": _blow(functools.partial(Drop, 1011)),
    "end-cleanly": _blow(EndCleanly),
    "drop-after-close": _AFTER_CLOSE,
    "half-open": _blow(HalfOpen, away=Hang),
    "in-band-402": _blow(functools.partial(InBandError, 402)),
    "in-band-500": _blow(functools.partial(InBandError, 500, then="close")),
    "stall": _state(Stall),
    "latency": _state(functools.partial(Latency, 3.0), silent=False),
    "garbage-unparsable": _state(functools.partial(Garbage, "unparsable")),
    "garbage-no-text": _state(functools.partial(Garbage, "no_text"), silent=False),
    "garbage-types": _state(functools.partial(Garbage, "wrong_types"), silent=False),
    "garbage-list": _state(functools.partial(Garbage, "list"), silent=False),
    "garbage-binary": _state(functools.partial(Garbage, "binary")),
    "garbage-type": _state(functools.partial(Garbage, "unknown_type")),
    "garbage-no-languages": _state(functools.partial(Garbage, "no_languages")),
    "empty-finals": _state(EmptyFinals),
    "lost-final": _LOST_FINAL,
    "ignore-close": _IGNORE_CLOSE,
}


def kinds_named(names: Iterable[str]) -> dict[str, FaultKind]:
    """Some faults in the matrix's order; all of them if no name is given.

    Raises:
        Problem: There is none of a name.
    """
    wanted = set(names) or set(KINDS)
    for name in sorted(wanted - set(KINDS)):
        raise Problem(f"there is no fault {name!r}; choose from: {', '.join(KINDS)}")
    return {name: kind for name, kind in KINDS.items() if name in wanted}


def rows(kinds: dict[str, FaultKind], count: int, recording: str = "english") -> list[Row]:
    """The matrix: the healthy runs that it is measured against, then three rows for each fault."""
    moments = _moments(count, recording)
    faulty = [
        Row(name, where, tuple(cases), promised=not (kind.silent and where == BOTH))
        for name, kind in kinds.items()
        for where, cases in _places(kind, moments, recording).items()
    ]
    endings = dict.fromkeys(case.hang_up for row in faulty for case in row.cases)
    healthy = (Case(script, end) for end in endings for script in (HEALTHY, FALLBACK_ONLY))
    return [Row(NONE, "", tuple(healthy)), *faulty]


@functools.cache
def speech_of(hang_up: int | None, recording: str = "english") -> ReferenceSpeech:
    """What is played in a case."""
    speech = ReferenceSpeech.load(recording).excerpt(*_SENTENCES[recording])
    if hang_up is None:
        return speech.padded(_PAUSE)
    words = speech.words[: hang_up - speech.first_word + 1]
    end = round((words[-1].end + _TAIL) * SAMPLE_RATE)
    return replace(speech, samples=speech.samples[:end], words=words)


def _moments(count: int, recording: str) -> list[Moment]:
    """So many words from the first to the last, in turn their start and their middle."""
    speech = speech_of(None, recording)
    last = len(speech.words) - 1
    moments = []
    for number in range(count):
        index = round(last * number / (count - 1)) if count > 1 else last // 2
        word, part = speech.words[index], 0.5 * (number % 2)
        at = word.start + part * (word.end - word.start)
        moments.append(Moment(speech.first_word + index, part, at))
    return moments


def _places(kind: FaultKind, moments: list[Moment], recording: str) -> dict[str, list[Case]]:
    """The cases of a fault, by place."""
    cases: dict[str, list[Case]] = {"primary": [], "fallback": [], BOTH: []}
    if kind.from_start:
        cases["primary"].append(Case(FaultPlan(kind.from_start)))
    for moment in moments:
        hang_up = moment.word if kind.at_end else None
        at = speech_of(hang_up, recording).duration if kind.at_end else moment.at
        for where, script in _scripts(kind, moment, at):
            cases[where].append(Case(script, hang_up))
    return cases


def _scripts(kind: FaultKind, moment: Moment, at: float) -> Iterator[tuple[str, FaultPlan]]:
    struck, out = kind.make(moment), kind.outage(at, at + OUTAGE)
    yield "primary", FaultPlan(struck)
    # the first provider can be reached again when the second fails: somebody must be left
    yield "fallback", FaultPlan((Refuse(until=at),), struck)
    yield BOTH, FaultPlan(out, out)


def _at(make: _Make, moment: Moment, **fields: object) -> Fault:
    return make(at_word=moment.word, part=moment.part, **fields)


def _before(at: float) -> float:
    return max(0.0, at - _EARLY)
