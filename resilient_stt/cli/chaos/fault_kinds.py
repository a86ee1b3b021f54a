"""The kinds of faults that `chaos` tries, by name, and how to make faults of each kind."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

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
from ..command_error import CommandError

_EARLY = 0.1
"""Seconds by which refusals begin before an outage. The timer of a drop may fire early by the
clock's resolution, and the client reconnects at once: it must be refused then."""

_Faults = tuple[Fault, ...]
_Make = Callable[..., Fault]


@dataclass(frozen=True, slots=True)
class Moment:
    """A position in a word of the reference speech.

    Attributes:
        word: The number of the word in the whole recording.
        part: The position in the word: 0 its start, 1 its end.
        at: The same position in seconds of the excerpt that is played.
    """

    word: int
    part: float
    at: float


@dataclass(frozen=True, slots=True)
class FaultKind:
    """How to make faults of one kind.

    Attributes:
        make: Returns the faults of one provider that fails from a moment on.
        outage: Returns the faults of each provider when both fail, given the begin and the end in
            seconds.
        from_start: The faults of a provider that has failed from the start, if that is another
            case than failing at a moment.
        at_end: The fault happens when the caller hangs up, so the moments are those of hanging up.
        silent: The transcripts are missing without an error, and the connection stays open.
    """

    make: Callable[[Moment], _Faults]
    outage: Callable[[float, float], _Faults]
    from_start: _Faults = ()
    at_end: bool = False
    silent: bool = False


def _unreachable(make: _Make) -> FaultKind:
    """Connections are dropped, and new ones fail as `make` says."""
    return FaultKind(
        lambda moment: (_at(Drop, moment, connections={0}), make(connections=from_(1))),
        lambda begin, end: (Drop(at_time=begin), make(at_time=_before(begin), until=end)),
        from_start=(make(),),
    )


def _once(make: _Make, away: _Make = Refuse) -> FaultKind:
    """The first connection fails; in an outage new connections fail as `away` says."""
    return FaultKind(
        lambda moment: (_at(make, moment, connections={0}),),
        lambda begin, end: (make(at_time=begin), away(at_time=_before(begin), until=end)),
    )


def _lasting(make: _Make, *, silent: bool = True) -> FaultKind:
    """Every connection that gets the audio of the moment fails."""
    return FaultKind(
        lambda moment: (_at(make, moment),),
        lambda begin, end: (make(at_time=begin, until=end),),
        silent=silent,
    )


_DROP_AFTER_CLOSE = FaultKind(
    lambda _: (DropAfterClose(connections={0}),),
    lambda begin, end: (
        DropAfterClose(connections={0}),
        Refuse(at_time=_before(begin), until=end),
    ),
    at_end=True,
)
_LOST_FINAL = FaultKind(
    lambda moment: (_at(LostFinal, moment, connections={0}),),
    lambda begin, _: (LostFinal(at_time=begin),),
    silent=True,
)
_IGNORE_CLOSE = FaultKind(
    lambda _: (IgnoreClose(),), lambda _, end: (IgnoreClose(until=end),), at_end=True
)

FAULT_KINDS: dict[str, FaultKind] = {
    "refuse": _unreachable(Refuse),
    "hang": _unreachable(Hang),
    "status-401": _unreachable(functools.partial(Status, 401)),
    "status-429": _unreachable(functools.partial(Status, 429)),
    "status-503": _unreachable(functools.partial(Status, 503)),
    "drop": _once(Drop),
    "drop-fin": _once(functools.partial(Drop, 1006)),
    "drop-1011": _once(functools.partial(Drop, 1011)),
    "end-cleanly": _once(EndCleanly),
    "drop-after-close": _DROP_AFTER_CLOSE,
    "half-open": _once(HalfOpen, away=Hang),
    "in-band-402": _once(functools.partial(InBandError, 402)),
    "in-band-500": _once(functools.partial(InBandError, 500, then="close")),
    "stall": _lasting(Stall),
    "latency": _lasting(functools.partial(Latency, 3.0), silent=False),
    "garbage-unparsable": _lasting(functools.partial(Garbage, "unparsable")),
    "garbage-no-text": _lasting(functools.partial(Garbage, "no_text"), silent=False),
    "garbage-types": _lasting(functools.partial(Garbage, "wrong_types"), silent=False),
    "garbage-list": _lasting(functools.partial(Garbage, "list"), silent=False),
    "garbage-binary": _lasting(functools.partial(Garbage, "binary")),
    "garbage-type": _lasting(functools.partial(Garbage, "unknown_type")),
    "garbage-no-languages": _lasting(functools.partial(Garbage, "no_languages")),
    "empty-finals": _lasting(EmptyFinals),
    "lost-final": _LOST_FINAL,
    "ignore-close": _IGNORE_CLOSE,
}


def fault_kinds_named(names: Iterable[str]) -> dict[str, FaultKind]:
    """Return the kinds of these names, in the order of `FAULT_KINDS`; all if there are no names.

    Raises:
        CommandError: There is no fault of one of the names.
    """
    wanted = set(names) or set(FAULT_KINDS)
    for name in sorted(wanted - set(FAULT_KINDS)):
        choices = ", ".join(FAULT_KINDS)
        raise CommandError(f"there is no fault {name!r}; choose from: {choices}")
    return {name: kind for name, kind in FAULT_KINDS.items() if name in wanted}


def _at(make: _Make, moment: Moment, **fields: object) -> Fault:
    return make(at_word=moment.word, part=moment.part, **fields)


def _before(at: float) -> float:
    return max(0.0, at - _EARLY)
