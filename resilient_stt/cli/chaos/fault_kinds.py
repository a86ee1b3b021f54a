"""The kinds of faults that `chaos` tries, by name, and how to make faults of each kind."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import get_args, get_type_hints

from ...testing.faults import (
    NO_CLOSE_FRAME,
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
from ..fault_names import fault_name

_EARLY = 0.1
"""Seconds by which refusals begin before an outage. The timer of a drop may fire early by the
clock's resolution, and the client reconnects at once: it must be refused then."""

_UNDERSTOOD = ("no_text", "wrong_types", "list")
"""Garbage that some plugins read, or that ends the connection: they notice it as such."""

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
        faulty: A fault of this kind, at no certain time.
        make: Returns the faults of one provider that fails from a moment on.
        outage: Returns the faults of each provider when both fail, given the begin and the end in
            seconds.
        from_start: The faults of a provider that has failed from the start, if that is another
            case than failing at a moment.
        at_end: The fault happens when the caller hangs up, so the moments are those of hanging up.
        silent: The transcripts are missing without an error, and the connection stays open.
        ignorable: It is silent if a plugin ignores it.
    """

    faulty: Fault
    make: Callable[[Moment], _Faults]
    outage: Callable[[float, float], _Faults]
    from_start: _Faults = ()
    at_end: bool = False
    silent: bool = False
    ignorable: bool = False


def _unreachable(make: _Make) -> FaultKind:
    """Connections are dropped, and new ones fail as `make` says."""
    return FaultKind(
        make(),
        lambda moment: (_at(Drop, moment, connections={0}), make(connections=from_(1))),
        lambda begin, end: (Drop(at_time=begin), make(at_time=_before(begin), until=end)),
        from_start=(make(),),
    )


def _once(make: _Make, away: _Make = Refuse) -> FaultKind:
    """The first connection fails; in an outage new connections fail as `away` says."""
    return FaultKind(
        make(),
        lambda moment: (_at(make, moment, connections={0}),),
        lambda begin, end: (make(at_time=begin), away(at_time=_before(begin), until=end)),
    )


def _lasting(make: _Make, *, silent: bool = True, ignorable: bool = False) -> FaultKind:
    """Every connection that gets the audio of the moment fails."""
    return FaultKind(
        make(),
        lambda moment: (_at(make, moment),),
        lambda begin, end: (make(at_time=begin, until=end),),
        silent=silent,
        ignorable=ignorable,
    )


_DROP_AFTER_CLOSE = FaultKind(
    DropAfterClose(),
    lambda _: (DropAfterClose(connections={0}),),
    lambda begin, end: (
        DropAfterClose(connections={0}),
        Refuse(at_time=_before(begin), until=end),
    ),
    at_end=True,
)
_LOST_FINAL = FaultKind(
    LostFinal(),
    lambda moment: (_at(LostFinal, moment, connections={0}),),
    lambda begin, _: (LostFinal(at_time=begin),),
    silent=True,
)
_IGNORE_CLOSE = FaultKind(
    IgnoreClose(), lambda _: (IgnoreClose(),), lambda _, end: (IgnoreClose(until=end),), at_end=True
)

FAULT_KINDS: dict[str, FaultKind] = {
    fault_name(kind.faulty): kind
    for kind in (
        _unreachable(Refuse),
        _unreachable(Hang),
        *(_unreachable(functools.partial(Status, code)) for code in (401, 429, 503)),
        *(_once(functools.partial(Drop, code)) for code in (None, NO_CLOSE_FRAME, 1011)),
        _once(EndCleanly),
        _DROP_AFTER_CLOSE,
        _once(HalfOpen, away=Hang),
        _once(functools.partial(InBandError, 402)),
        _once(functools.partial(InBandError, 500, then="close")),
        _lasting(Stall),
        _lasting(functools.partial(Latency, 3.0), silent=False),
        *(
            _lasting(
                functools.partial(Garbage, what),
                silent=what not in _UNDERSTOOD,
                ignorable=what in _UNDERSTOOD,
            )
            for what in get_args(get_type_hints(Garbage)["what"])
        ),
        _lasting(EmptyFinals),
        _LOST_FINAL,
        _IGNORE_CLOSE,
    )
}
"""By the names of the faults that the providers have, beside refusals before or after them."""


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
