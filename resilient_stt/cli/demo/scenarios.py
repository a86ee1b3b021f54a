"""The scenarios of the demo: which faults the fake providers have, by name.

A scenario with a single fault has the name that `chaos`, `serve` and the kit give the fault.

Positions of words refer to the English reference speech. Times are seconds since the fake servers
started; the speech starts at that moment, too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...testing.faults import (
    Drop,
    DropAfterClose,
    Fault,
    Garbage,
    HalfOpen,
    Hang,
    InBandError,
    Latency,
    LostFinal,
    Refuse,
    Stall,
    Status,
    from_,
)
from ...testing.speech.human import human_speech
from ...testing.speech.reference import SAMPLE_RATE, ReferenceSpeech
from ..command_error import CommandError

_HANG_UP = 0.04  # seconds from the end of the last word until the caller hangs up
_THURSDAY, _SUNDAY = 16, 34  # numbers of spoken words, each in the middle of a sentence


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scenario:
    """The faults of both providers, and how the speech ends.

    Attributes:
        summary: What happens, as printed in lists and tables.
        cartesia, deepgram: The faults of each provider.
        pause: Seconds of silence after the last word; None if the caller hangs up right after it.
        human: Whether the speech is a recorded voice, which only a real recognizer knows.
    """

    name: str
    summary: str
    cartesia: tuple[Fault, ...] = ()
    deepgram: tuple[Fault, ...] = ()
    pause: float | None = 1.0
    human: bool = False

    def speech(self) -> ReferenceSpeech:
        """Return the speech, ended as this scenario says."""
        speech = human_speech() if self.human else ReferenceSpeech.load("english")
        if self.pause is not None:
            return speech.padded(self.pause)
        end = round((speech.words[-1].end + _HANG_UP) * SAMPLE_RATE)
        return replace(speech, samples=speech.samples[:end])


def _down(begin: float, end: float) -> tuple[Fault, ...]:
    """Drop all connections at `begin`, and refuse new ones until `end`."""
    # The drop's timer may fire early by the clock's resolution, and the client reconnects at once.
    # It must be refused then, so the refusal begins earlier.
    return Drop(at_time=begin), Refuse(at_time=begin - 0.1, until=end)


def _drop_in(word: int) -> Drop:
    """Drop the first connection in mid-word."""
    return Drop(at_word=word, part=0.5, connections={0})


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="none", summary="both providers work"),
        Scenario(name="refuse", summary="Cartesia refuses every connection", cartesia=(Refuse(),)),
        Scenario(
            name="status-401",
            summary="Cartesia answers HTTP 401 (wrong API key)",
            cartesia=(Status(401),),
        ),
        Scenario(
            name="status-429",
            summary="Cartesia answers HTTP 429 (too many requests)",
            cartesia=(Status(429),),
        ),
        Scenario(
            name="status-503",
            summary="Cartesia answers HTTP 503 (unavailable)",
            cartesia=(Status(503),),
        ),
        Scenario(
            name="hang",
            summary="Cartesia accepts TCP connections but never answers",
            cartesia=(Hang(),),
        ),
        Scenario(
            name="drop",
            summary="Cartesia drops the connection in mid-word, then accepts new ones",
            cartesia=(_drop_in(_THURSDAY),),
        ),
        Scenario(
            name="down",
            summary="Cartesia drops the connection in mid-word and stays down",
            cartesia=(
                _drop_in(_THURSDAY),
                Refuse(connections=from_(1)),
            ),
        ),
        Scenario(
            name="both",
            summary="Cartesia goes down in mid-word, later Deepgram; no provider works for 3 s",
            cartesia=(
                _drop_in(_THURSDAY),
                Refuse(connections=from_(1), until=16.4),
            ),
            deepgram=(
                _drop_in(_SUNDAY),
                Refuse(connections=from_(1)),
            ),
        ),
        Scenario(
            name="drop-after-close",
            summary="the caller hangs up; Cartesia drops the connection before its last text",
            cartesia=(DropAfterClose(connections={0}),),
            pause=None,
        ),
        Scenario(
            name="stall",
            summary="Cartesia stops answering in mid-word; the connection stays open",
            cartesia=(Stall(at_word=_THURSDAY, part=0.5, connections={0}),),
        ),
        Scenario(
            name="half-open",
            summary="Cartesia disappears in mid-word without closing the connection",
            cartesia=(HalfOpen(at_word=_THURSDAY, part=0.5, connections={0}),),
        ),
        Scenario(
            name="in-band-error-402",
            summary="Cartesia sends error 402 (out of credits) in a message, then nothing more",
            cartesia=(InBandError(402, at_word=_THURSDAY, part=0.5, connections={0}),),
        ),
        Scenario(
            name="garbage-unparsable",
            summary="Cartesia sends only half of each message, from mid-word on",
            cartesia=(Garbage(at_word=_THURSDAY, part=0.5, connections={0}),),
        ),
        Scenario(
            name="lost-final",
            summary="Cartesia skips one final transcript and continues with the next",
            cartesia=(LostFinal(at_word=_THURSDAY, part=0.5, connections={0}),),
        ),
        Scenario(
            name="latency",
            summary="Cartesia answers 3 s late, from 6 s on",
            cartesia=(Latency(3.0, at_time=6.0),),
        ),
        Scenario(
            name="outage",
            summary="both providers are down for 6 s, in the middle of a sentence",
            cartesia=_down(8.0, 14.0),
            deepgram=_down(8.0, 14.0),
        ),
    )
}


def scenario_named(name: str) -> Scenario:
    """Return the scenario of a name.

    Raises:
        CommandError: There is no scenario of that name.
    """
    if name not in SCENARIOS:
        raise CommandError(f"there is no fault {name!r}; choose one of {', '.join(SCENARIOS)}")
    return SCENARIOS[name]
