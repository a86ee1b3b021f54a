"""Every event, with every value that it may have, is told in words."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from resilient_stt.core.events import (
    AudioLossReason,
    AudioLost,
    BreakerChanged,
    BreakerState,
    CloseReason,
    ErrorKind,
    Event,
    HedgeFinished,
    HedgeOutcome,
    LanguageReason,
    LanguageRouted,
    OutageEnded,
    OutageStarted,
    ProbeFailed,
    ProbePassed,
    ProviderFailed,
    ProviderRecovered,
    Replayed,
    Role,
    StallCleared,
    StallReason,
    StallSuspected,
    Switched,
    SwitchReason,
)
from resilient_stt.core.messages import ReportEvent
from resilient_stt.recording.document import Mark
from resilient_stt.recording.line_maker import LineMaker
from resilient_stt.recording.narrative import closing, mark, result, seconds

DRAWN = {
    "connection_opened",
    "connection_established",
    "connection_promoted",
    "connection_closed",
    "final_emitted",
    "stream_ended",
}
"""Events that are bars, words and accounts."""
PROBE: dict[str, Any] = {"provider": "one", "connection": 3, "role": Role.PROBE}


def told_events() -> Iterator[Event]:
    """Every kind of event that is a mark, with every value of its enums."""
    for reason, to in itertools.product((*ErrorKind, *SwitchReason), ("one", "two")):
        yield Switched(at=9, from_provider="one", to_provider=to, reason=reason, replay_from=5)
    for trigger, outcome in itertools.product((*StallReason, None), HedgeOutcome):
        for hedge in ("one", "two"):
            yield HedgeFinished(
                at=9,
                provider="one",
                hedge_provider=hedge,
                trigger=trigger,
                outcome=outcome,
                seconds=2,
            )
    for kind in ErrorKind:
        yield ProviderFailed(at=9, provider="one", reason=kind, advice="check ONE_API_KEY")
        yield ProbeFailed(at=9, **PROBE, reason=kind, duration=2)
    for trigger in StallReason:
        yield ProviderFailed(at=9, provider="one", reason=ErrorKind.STALLED, trigger=trigger)
        yield StallSuspected(at=9, **PROBE, trigger=trigger)
        yield StallCleared(at=9, **PROBE, trigger=trigger, duration=1)
    for loss in AudioLossReason:
        yield AudioLost(at=9, seconds=3, reason=loss)
    for state in BreakerState:
        yield BreakerChanged(at=9, provider="one", from_state=BreakerState.CLOSED, state=state)
    yield BreakerChanged(
        at=9,
        provider="one",
        from_state=BreakerState.CLOSED,
        state=BreakerState.LOCKED,
        by_operator=True,
    )
    for why in LanguageReason:
        yield LanguageRouted(
            at=9, from_language="en", language="es", route="es", providers=("one",), reason=why
        )
    yield Replayed(at=9, provider="one", seconds=3, silence_trimmed=1, duration=0)
    yield OutageStarted(at=9)
    yield OutageEnded(at=9, provider="one", duration=3)
    yield ProviderRecovered(at=9, provider="one")
    yield ProbePassed(at=9, **PROBE, duration=3)


def marked(event: Event) -> Mark | None:
    return mark(LineMaker(text=True).line((0.0, 0, ReportEvent(event))), 9.0)


@pytest.mark.parametrize("event", list(told_events()), ids=lambda event: event.name)
def test_an_event_is_told(event: Event) -> None:
    """In sentences that name the provider, without a value of the code."""
    told = marked(event)
    assert told is not None
    assert told["kind"] == event.name
    assert "_" not in told["title"] + told["why"].replace("ONE_API_KEY", "")
    assert told["why"].endswith(".")
    assert not told["title"].endswith(".")
    if hasattr(event, "provider") or hasattr(event, "to_provider"):
        assert "one" in told["title"] or "two" in told["title"]
        assert told["provider"] in ("one", "two")


def test_every_event_is_told_or_drawn() -> None:
    """A new event must get its words here, or its place in a drawing."""
    told = {event.name for event in told_events()}
    assert told & DRAWN == set()
    assert told | DRAWN == {kind.name for kind in get_args(Event)}


@pytest.mark.parametrize("reason", [*ErrorKind, *SwitchReason, *CloseReason])
def test_why_a_connection_was_closed(reason: str) -> None:
    """Every reason is a clause."""
    assert "_" not in closing(reason)
    assert " " in closing(reason)


def test_values_of_a_later_version_are_told_as_they_are() -> None:
    """A page of a newer recording shows what it does not know."""
    line = LineMaker(text=True).line((0.0, 0, ReportEvent(AudioLost(at=1, seconds=2, reason="x"))))  # type: ignore[arg-type]
    told = mark(line, 1.0)
    assert told is not None
    assert told["why"] == "Because x."
    assert mark({**line, "name": "of_a_later_version"}, 1.0) is None


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0.00 s"), (0.254, "0.25 s"), (59.96, "60.0 s"), (125, "2 min 5 s")]
)
def test_seconds(value: float, text: str) -> None:
    """Short times have more digits, long ones minutes."""
    assert seconds(value) == text


ACCOUNTS = {"lost": 0.0, "buffered": 2.0}


def told_of(*events: Event, outcome: str = "finished", serving: str = "one") -> str:
    marks = [found for event in events if (found := marked(event)) is not None]
    return result(outcome, marks, serving, ACCOUNTS, 30.0)  # type: ignore[arg-type]


def test_the_result_of_a_call() -> None:
    """One sentence: who, when, why, and what was lost."""
    drop = Switched(
        at=9, from_provider="one", to_provider="one", reason=ErrorKind.DROPPED, replay_from=5
    )
    over = Switched(
        at=9, from_provider="one", to_provider="two", reason=ErrorKind.CONNECT, replay_from=5
    )
    back = Switched(
        at=60, from_provider="two", to_provider="one", reason=SwitchReason.FAILBACK, replay_from=60
    )
    whole = "one transcribed the whole call"
    assert told_of() == f"{whole}, and nothing went wrong; no speech was lost."
    assert told_of(serving="") == "Nothing was transcribed; no speech was lost."
    doubt = StallSuspected(at=1, **PROBE, trigger=StallReason.NO_INTERIM)
    assert told_of(doubt).startswith(f"{whole}, with 1 incident;")
    dropped = "one was reconnected at 9.0 s because it dropped the connection"
    assert told_of(drop).startswith(f"{dropped};")
    assert told_of(drop, drop).startswith(f"{dropped}, and 1 time more;")
    took = "two took over at 9.0 s because one"
    assert told_of(over).startswith(f"{took} could not be reached;")
    both = f"{took} dropped the connection, and then could not be reached"
    assert told_of(drop, over).startswith(f"{both};")
    assert told_of(drop, over, back).startswith(f"{both}; one serves again since 9.0 s;")
    failed = ProviderFailed(at=9, provider="one", reason=ErrorKind.DROPPED)
    outage = told_of(failed, OutageStarted(at=9), OutageEnded(at=12, provider="one", duration=3))
    assert outage.startswith("No provider worked from 9.0 s to 9.0 s because one dropped")
    gave_up = told_of(failed, OutageStarted(at=9), outcome="gave_up")
    assert "; the stream gave up at 30.0 s, with 2.0 s of audio for a next one" in gave_up
    assert "with the process" in told_of(outcome="crashed")
