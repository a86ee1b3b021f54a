"""Which events change which metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

import pytest

from resilient_stt.core.events import (
    AudioLossReason,
    BreakerChanged,
    BreakerState,
    ConnectionClosed,
    ConnectionOpened,
    ConnectionPromoted,
    ErrorKind,
    Event,
    FinalEmitted,
    Role,
    StreamEndReason,
    Switched,
    SwitchReason,
)
from resilient_stt.metrics import instruments
from resilient_stt.metrics.instruments import ALL, Instrument, Kind
from resilient_stt.metrics.measuring import Measuring

from ..test_log_lines import EVENTS

SILENT = {"replayed", "stall_cleared"}
"""Events that no metric needs: another one says the same."""


def measured(
    events: Iterable[Event], instrument: Instrument
) -> list[tuple[float, tuple[str, ...]]]:
    """Return the values of one instrument, with their labels."""
    measuring = Measuring()
    found = [m for event in events for m in measuring.of(event)]
    return [(m.value, m.labels) for m in found if m.instrument is instrument]


@pytest.mark.parametrize("event", [event for event, _, _ in EVENTS], ids=lambda v: v.name)
def test_every_event_is_measured(event: Event) -> None:
    """With a value for each label, and never below zero where a counter would refuse it."""
    found = list(Measuring().of(event))
    assert bool(found) is (event.name not in SILENT)
    for measurement in found:
        assert len(measurement.labels) == len(measurement.instrument.labels)
        assert all(type(label) is str for label in measurement.labels)
        assert measurement.value >= 0 or measurement.instrument.kind is Kind.UP_DOWN


def test_every_metric_has_an_event() -> None:
    """No metric stays empty for ever."""
    measuring, found = Measuring(), set()
    failed_over = [event for event, _, _ in EVENTS if isinstance(event, Switched | FinalEmitted)]
    attempt = opened(0, Role.RECONNECT)
    for event in (*(event for event, _, _ in EVENTS), *failed_over, attempt):
        found |= {m.instrument.name for m in measuring.of(event)}
    assert {kind.name for kind in get_args(Event)} == {event.name for event, _, _ in EVENTS}
    assert {i.name for i in ALL} - found == set()


def opened(number: int, role: Role, provider: str = "a") -> ConnectionOpened:
    return ConnectionOpened(at=0, provider=provider, connection=number, role=role, replay_from=0)


def test_open_connections_come_back_to_zero() -> None:
    """A promoted connection changes its role."""
    events: list[Event] = [
        opened(0, Role.ACTIVE),
        opened(1, Role.HEDGE),
        ConnectionPromoted(
            at=0, provider="a", connection=1, role=Role.ACTIVE, from_role=Role.HEDGE
        ),
    ]
    totals = dict.fromkeys(("active", "hedge"), 0.0)
    for value, (_, role) in measured(events, instruments.OPEN_CONNECTIONS):
        totals[role] += value
    assert totals == {"active": 2, "hedge": 0}
    closed = ConnectionClosed(
        at=0,
        provider="a",
        connection=1,
        role=Role.ACTIVE,
        reason=ErrorKind.DROPPED,
        seconds=1,
        duration=1,
    )
    assert measured([closed], instruments.OPEN_CONNECTIONS) == [(-1, ("a", "active"))]


def switched(old: str, new: str, reason: ErrorKind | SwitchReason, stream: str = "x") -> Switched:
    return Switched(
        at=1, from_provider=old, to_provider=new, reason=reason, replay_from=0, stream_id=stream
    )


def final(lateness: float | None, stream: str = "x") -> FinalEmitted:
    return FinalEmitted(
        at=2, provider="b", connection=1, words=2, lateness=lateness, stream_id=stream
    )


def test_the_delay_that_a_failover_adds() -> None:
    """It is the lateness of the stream's first final after a failure, and of no later one."""
    events: list[Event] = [
        switched("a", "b", ErrorKind.DROPPED),
        switched("c", "d", SwitchReason.FAILBACK, stream="y"),
        final(0.5, stream="y"),
        final(3.0),
        final(0.4),
    ]
    assert measured(events, instruments.DELAY_ADDED) == [(3.0, ("dropped",))]
    assert measured(events, instruments.FINAL_LATENESS) == [(s, ("b",)) for s in (0.5, 3.0, 0.4)]
    unknown: list[Event] = [switched("a", "b", ErrorKind.DROPPED), final(None), final(1.0)]
    assert measured(unknown, instruments.DELAY_ADDED) == []


def test_reconnects() -> None:
    """The same provider again, and every attempt in an outage."""
    events: list[Event] = [
        switched("a", "a", ErrorKind.DROPPED),
        switched("a", "b", ErrorKind.DROPPED),
        opened(3, Role.RECONNECT, "b"),
        opened(4, Role.HEDGE, "b"),
    ]
    assert measured(events, instruments.RECONNECTS) == [(1, ("a",)), (1, ("b",))]


def test_a_breaker_is_in_one_state() -> None:
    """It is closed when the provider is first used, and what is known is not overwritten."""
    locked = BreakerChanged(
        at=0, provider="a", from_state=BreakerState.CLOSED, state=BreakerState.LOCKED
    )
    events: list[Event] = [opened(0, Role.ACTIVE), locked, opened(1, Role.ACTIVE)]
    found = measured(events, instruments.BREAKER_STATE)
    states = [(value, labels[1]) for value, labels in found]
    assert [state for value, state in states if value] == ["closed", "locked"]
    assert len(states) == 2 * len(BreakerState)


def test_what_alerts_count_begins_at_zero() -> None:
    """Prometheus sees no increase in a series that begins at 1."""
    first = list(Measuring().of(opened(0, Role.ACTIVE)))
    zeros = {(m.instrument.name, *m.labels) for m in first if m.value == 0}
    assert {("audio_lost", reason.value) for reason in AudioLossReason} <= zeros
    assert {("streams", reason.value) for reason in StreamEndReason} <= zeros
    assert {("provider_failures", "a", kind.value) for kind in ErrorKind} <= zeros
    again = measured([opened(0, Role.ACTIVE), opened(1, Role.ACTIVE)], instruments.STREAMS)
    assert len(again) == len(StreamEndReason)


def test_an_operator_s_lock_has_a_metric_of_its_own() -> None:
    """A breaker is locked for a refused account, too, which needs a human."""
    closed, locked = BreakerState.CLOSED, BreakerState.LOCKED
    events: list[Event] = [
        opened(0, Role.ACTIVE),
        BreakerChanged(at=0, provider="a", from_state=closed, state=locked, by_operator=True),
        BreakerChanged(at=1, provider="a", from_state=locked, state=locked),
    ]
    assert measured(events, instruments.OPERATOR_LOCK) == [(on, ("a",)) for on in (0, 1, 0)]
