"""What the log says of each event."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from resilient_stt import log_lines
from resilient_stt.core.events import (
    AudioLossReason,
    AudioLost,
    AudioSent,
    BreakerChanged,
    BreakerState,
    CloseReason,
    ConnectionClosed,
    ConnectionEstablished,
    ConnectionOpened,
    ConnectionPromoted,
    ErrorKind,
    Event,
    FinalEmitted,
    HedgeFinished,
    HedgeOutcome,
    LanguageReason,
    LanguageRouted,
    Lateness,
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
    StreamEnded,
    StreamEndReason,
    SwitchCount,
    Switched,
)

ACTIVE, HEDGE, PROBE = Role.ACTIVE, Role.HEDGE, Role.PROBE

EVENTS: list[tuple[Event, int, str]] = [
    (
        ProviderFailed(at=1.0, provider="a", reason=ErrorKind.DROPPED, detail="X"),
        30,
        "provider failed: a (dropped, X)",
    ),
    (
        ProviderFailed(
            at=1.0, provider="a", reason=ErrorKind.STALLED, trigger=StallReason.FINAL_OVERDUE
        ),
        30,
        "provider failed: a (stalled, final_overdue)",
    ),
    (
        ProviderFailed(
            at=1.0, provider="a", reason=ErrorKind.AUTH, detail="X 401", advice="check A_KEY"
        ),
        40,
        "provider failed: a (auth): check A_KEY",
    ),
    (
        ProviderFailed(at=1.0, provider="a", reason=ErrorKind.QUOTA, detail="X 402"),
        40,
        "provider failed: a (quota, X 402)",
    ),
    (
        Switched(
            at=1.0, from_provider="a", to_provider="b", reason=ErrorKind.DROPPED, replay_from=0.5
        ),
        20,
        "switched: a -> b (dropped)",
    ),
    (
        Replayed(at=1.0, provider="b", seconds=0.5, silence_trimmed=0.0, duration=0.1),
        20,
        "replayed: b, 0.5 s",
    ),
    (OutageStarted(at=1.0), 40, "outage started: no provider works"),
    (
        OutageEnded(at=1.0, provider="a", duration=2.0),
        20,
        "outage ended: a works again after 2.0 s",
    ),
    (
        AudioLost(at=1.0, seconds=3.0, reason=AudioLossReason.WINDOW_EXCEEDED),
        40,
        "audio lost: 3.0 s (window_exceeded)",
    ),
    *(
        (
            HedgeFinished(
                at=1.0,
                provider="a",
                hedge_provider="b",
                trigger=StallReason.FINAL_OVERDUE,
                outcome=v,
                seconds=2.0,
            ),
            20,
            f"hedge finished: a checked by b ({v})",
        )
        for v in HedgeOutcome
    ),
    (ProviderRecovered(at=1.0, provider="a"), 20, "provider recovered: a"),
    (
        LanguageRouted(
            at=1.0,
            from_language="en",
            language="es",
            route="es",
            providers=("b", "a"),
            reason=LanguageReason.REQUESTED,
        ),
        20,
        "language routed: es, route es (requested)",
    ),
    (
        ConnectionOpened(at=1.0, provider="a", connection=0, role=ACTIVE, replay_from=0.5),
        10,
        "connection opened: a #0 (active)",
    ),
    (
        ConnectionEstablished(at=1.0, provider="a", connection=0, role=ACTIVE, duration=0.21),
        10,
        "connection established: a #0 (active, after 0.2 s)",
    ),
    (
        ConnectionPromoted(at=1.0, provider="b", connection=1, role=ACTIVE, from_role=HEDGE),
        10,
        "connection promoted: b #1 (active, before: hedge)",
    ),
    (
        ConnectionClosed(
            at=1.0,
            provider="b",
            connection=1,
            role=HEDGE,
            reason=CloseReason.NOT_NEEDED,
            seconds=2.0,
            duration=3.0,
        ),
        10,
        "connection closed: b #1 (hedge, not_needed after 3.0 s)",
    ),
    (
        StallSuspected(
            at=1.0, provider="a", connection=0, role=ACTIVE, trigger=StallReason.NO_INTERIM
        ),
        10,
        "stall suspected: a #0 (active, no_interim)",
    ),
    (
        StallCleared(
            at=1.0,
            provider="a",
            connection=0,
            role=ACTIVE,
            trigger=StallReason.NO_INTERIM,
            duration=1.0,
        ),
        10,
        "stall cleared: a #0 (active, no_interim, for 1.0 s)",
    ),
    (
        ProbePassed(at=1.0, provider="a", connection=2, role=PROBE, duration=3.0),
        20,
        "probe passed: a #2 (probe, after 3.0 s)",
    ),
    *(
        (
            ProbeFailed(
                at=1.0,
                provider="a",
                connection=2,
                role=PROBE,
                reason=ErrorKind.STALLED,
                detail=detail,
                duration=3.0,
            ),
            20,
            f"probe failed: a #2 (probe, {why})",
        )
        for detail, why in (("heard nothing", "heard nothing"), ("", "stalled"))
    ),
    *(
        (
            BreakerChanged(
                at=1.0, provider="a", from_state=BreakerState.HALF_OPEN, state=BreakerState(state)
            ),
            20,
            f"breaker changed: a, half_open -> {state}",
        )
        for state in ("closed", "open", "locked")
    ),
    (
        BreakerChanged(
            at=1.0,
            provider="a",
            from_state=BreakerState.CLOSED,
            state=BreakerState.LOCKED,
            by_operator=True,
        ),
        20,
        "breaker changed: a, closed -> locked by an operator",
    ),
    (
        FinalEmitted(at=1.0, provider="a", connection=0, words=3, lateness=0.5),
        10,
        "final emitted: a, 3 words",
    ),
    (
        StreamEnded(
            at=9.0,
            reason=StreamEndReason.FINISHED,
            pushed=9.0,
            final=6.0,
            silence=2.0,
            lost=1.0,
            buffered=0.0,
            replayed=0.5,
            hedged=0.25,
            probed=0.0,
            sent=(AudioSent(provider="a", role=ACTIVE, seconds=9.12345),),
            words={"a": 3},
            switches=(
                SwitchCount(from_provider="a", to_provider="b", reason=ErrorKind.DROPPED, count=1),
            ),
            lateness=Lateness(p50=0.5, p99=0.7, worst=0.7, count=2),
        ),
        20,
        "stream ended: finished; 9.0 s pushed = 6.0 final + 2.0 silence + 1.0 lost + 0.0 buffered",
    ),
]


@pytest.mark.parametrize(("event", "level", "message"), EVENTS, ids=lambda v: str(v))
def test_levels_and_messages(event: Event, level: int, message: str) -> None:
    """ERROR is for what needs a human, or what the caller notices; DEBUG for what a decision was
    made of. What matters is in the message.
    """
    assert (log_lines.level(event), log_lines.message(event)) == (level, message)


def test_every_event_has_a_line() -> None:
    """The test above covers every event."""
    assert {type(event) for event, _, _ in EVENTS} == set(get_args(Event))


@pytest.mark.parametrize("event", [event for event, _, _ in EVENTS], ids=lambda v: v.name)
def test_fields_are_plain(event: Event) -> None:
    """JSON takes every field as it is, and gives it back."""
    fields = log_lines.fields(event)
    assert fields["at"] == event.at
    assert json.loads(json.dumps(fields)) == json.loads(json.dumps(fields, default=repr))


def test_times_are_rounded_everywhere() -> None:
    """To the millisecond, also within the accounts."""
    lost = AudioLost(at=1.23456789, seconds=2.0, reason=AudioLossReason.WINDOW_EXCEEDED)
    assert log_lines.fields(lost)["at"] == 1.235
    (accounts,) = [event for event, _, _ in EVENTS if isinstance(event, StreamEnded)]
    assert log_lines.fields(accounts)["sent"] == (
        {"provider": "a", "role": "active", "seconds": 9.123},
    )
    assert log_lines.fields(accounts)["words"] == {"a": 3}


def test_the_gist_has_no_times() -> None:
    """Two lines repeat if they say the same of other moments and streams, not of others."""

    def dropped(provider: str, at: float, stream_id: str, detail: str = "") -> Event:
        return ProviderFailed(
            at=at, provider=provider, reason=ErrorKind.DROPPED, detail=detail, stream_id=stream_id
        )

    first = log_lines.gist(dropped("a", 1.0, "x"))
    assert first == log_lines.gist(dropped("a", 2.0, "y", "ended"))
    assert first != log_lines.gist(dropped("b", 1.0, "x"))
