"""What can go wrong in a demo, by name.

The words are those of the English reference speech. Times are seconds since the fake servers
started, which is when the speech starts, too.
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
from ...testing.speech.reference import SAMPLE_RATE, ReferenceSpeech
from ..problems import Problem

_THURSDAY, _SUNDAY = 16, 34  # indices of words, each well inside a sentence


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scenario:
    """Faults of the two providers, and how the speech ends.

    Attributes:
        summary: What happens, for people.
        pause: Seconds of silence after the last word; None: the caller hangs up on it.
    """

    name: str
    summary: str
    cartesia: tuple[Fault, ...] = ()
    deepgram: tuple[Fault, ...] = ()
    pause: float | None = 1.0

    def speech(self) -> ReferenceSpeech:
        """The reference speech with this scenario's end."""
        speech = ReferenceSpeech.load("english")
        if self.pause is not None:
            return speech.padded(self.pause)
        end = round((speech.words[-1].end + 0.04) * SAMPLE_RATE)
        return replace(speech, samples=speech.samples[:end])


_OUTAGE = (8.0, 14.0)


def _down(period: tuple[float, float]) -> tuple[Fault, ...]:
    begin, end = period
    # a moment earlier: the drop's timer may be early by the clock's resolution
    return Drop(at_time=begin), Refuse(at_time=begin - 0.1, until=end)


def _cut(word: int) -> Drop:
    return Drop(at_word=word, part=0.5, connections={0})


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="none", summary="nothing goes wrong"),
        Scenario(name="refuse", summary="Cartesia refuses every connection", cartesia=(Refuse(),)),
        Scenario(
            name="unauthorized", summary="Cartesia answers 401 to the key", cartesia=(Status(401),)
        ),
        Scenario(name="rate-limited", summary="Cartesia answers 429", cartesia=(Status(429),)),
        Scenario(name="unavailable", summary="Cartesia answers 503", cartesia=(Status(503),)),
        Scenario(name="hang", summary="Cartesia accepts, and never answers", cartesia=(Hang(),)),
        Scenario(
            name="drop-once",
            summary="Cartesia drops in the middle of a word and can be reached again",
            cartesia=(_cut(_THURSDAY),),
        ),
        Scenario(
            name="drop",
            summary="Cartesia drops in the middle of a word and stays down",
            cartesia=(
                _cut(_THURSDAY),
                Refuse(connections=from_(1)),
            ),
        ),
        Scenario(
            name="both",
            summary="Cartesia drops in the middle of a word, later Deepgram too; 3 s without any",
            cartesia=(
                _cut(_THURSDAY),
                Refuse(connections=from_(1), until=16.4),
            ),
            deepgram=(
                _cut(_SUNDAY),
                Refuse(connections=from_(1)),
            ),
        ),
        Scenario(
            name="tail",
            summary="the caller hangs up on the last word, Cartesia drops before its final",
            cartesia=(DropAfterClose(connections={0}),),
            pause=None,
        ),
        Scenario(
            name="stall",
            summary="Cartesia falls silent in the middle of a sentence, its socket stays open",
            cartesia=(Stall(at_word=_THURSDAY, part=0.5, connections={0}),),
        ),
        Scenario(
            name="half-open",
            summary="Cartesia vanishes in the middle of a word, without closing anything",
            cartesia=(HalfOpen(at_word=_THURSDAY, part=0.5, connections={0}),),
        ),
        Scenario(
            name="in-band",
            summary="Cartesia sends an error 402 (out of credits) as a message, then nothing more",
            cartesia=(InBandError(402, at_word=_THURSDAY, part=0.5, connections={0}),),
        ),
        Scenario(
            name="garbage",
            summary="Cartesia sends half of each message from the middle of a sentence on",
            cartesia=(Garbage(at_word=_THURSDAY, part=0.5, connections={0}),),
        ),
        Scenario(
            name="lost-final",
            summary="Cartesia leaves one transcript out, and goes on with the next",
            cartesia=(LostFinal(at_word=_THURSDAY, part=0.5, connections={0}),),
        ),
        Scenario(
            name="slow",
            summary="Cartesia answers 3 s late from the middle of a sentence on",
            cartesia=(Latency(3.0, at_time=6.0),),
        ),
        Scenario(
            name="outage",
            summary="both are down for 6 s in the middle of a sentence",
            cartesia=_down(_OUTAGE),
            deepgram=_down(_OUTAGE),
        ),
    )
}


def scenario_named(name: str) -> Scenario:
    """Look a scenario up.

    Raises:
        Problem: There is none of that name.
    """
    if name not in SCENARIOS:
        raise Problem(f"there is no fault {name!r}; choose one of: {', '.join(SCENARIOS)}")
    return SCENARIOS[name]
