"""Checks that the accounts of a stream add up, and that its record is complete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from resilient_stt.core.events import (
    ConnectionClosed,
    ConnectionOpened,
    ConnectionPromoted,
    Event,
    OfConnection,
    Role,
    StallCleared,
    StallSuspected,
    StreamEnded,
)


def assert_adds_up(ended: StreamEnded, rate: int) -> None:
    """Assert that every sample that was pushed is counted once, and nothing is below zero."""
    parts = [ended.final, ended.silence, ended.lost, ended.buffered]
    samples = [round(seconds * rate) for seconds in parts]
    assert sum(samples) == round(ended.pushed * rate), ended
    assert min(samples) >= 0, ended
    assert 0 <= ended.taken_over <= ended.pushed, ended
    sent = sum(sent.seconds for sent in ended.sent if sent.role in (Role.ACTIVE, Role.RECONNECT))
    assert 0 <= ended.replayed <= sent + 1e-6, ended
    late = ended.lateness
    assert 0 <= late.p50 <= late.p99 <= late.worst, ended


def assert_complete(events: Sequence[Event]) -> None:
    """Assert that each connection was opened and closed once, and every doubt about it is settled.

    `events`: all of a stream, up to its accounts.
    """
    opened = [e for e in events if isinstance(e, ConnectionOpened)]
    closed = [e for e in events if isinstance(e, ConnectionClosed)]
    assert [e.connection for e in opened] == [*range(len(opened))]
    assert sorted(e.connection for e in closed) == [*range(len(opened))]
    _assert_roles(events)
    _assert_doubts(events)
    ended = events[-1]
    assert isinstance(ended, StreamEnded)
    sent = Counter[str]()
    for part in ended.sent:
        sent[part.provider] += round(part.seconds * 1000)
    for connection in closed:
        sent[connection.provider] -= round(connection.seconds * 1000)
    assert all(abs(rest) <= len(closed) + 4 for rest in sent.values()), sent


def _assert_roles(events: Sequence[Event]) -> None:
    """Assert that an event about a connection has its role, which only a promotion changes."""
    roles: dict[int, Role] = {}
    for event in events:
        match event:
            case ConnectionOpened():
                roles[event.connection] = event.role
            case ConnectionPromoted():
                assert roles[event.connection] is event.from_role is not Role.PROBE
                roles[event.connection] = Role.ACTIVE
            case _:
                pass
        if isinstance(event, OfConnection):
            assert roles[event.connection] is event.role, event
        if isinstance(event, ConnectionClosed):
            del roles[event.connection]
    assert not roles


def _assert_doubts(events: Sequence[Event]) -> None:
    """Assert that one connection is suspect at a time, until it is cleared or closed."""
    suspected: StallSuspected | None = None
    for event in events:
        match event:
            case StallSuspected():
                assert suspected is None, "it is suspect already"
                suspected = event
            case StallCleared():
                assert suspected is not None
                assert suspected.trigger is event.trigger
                suspected = None
            case ConnectionClosed() if suspected and suspected.connection == event.connection:
                suspected = None
            case _:
                pass
    assert suspected is None
