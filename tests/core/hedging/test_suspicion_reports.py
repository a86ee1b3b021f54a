"""When a suspicion is reported, and when its end is."""

from __future__ import annotations

from resilient_stt.core.audio.ledger import AudioLedger
from resilient_stt.core.events import CloseReason, Role, StallCleared, StallReason, StallSuspected
from resilient_stt.core.hedging.suspicion_reports import SuspicionReports
from resilient_stt.core.messages import ReportEvent
from resilient_stt.core.policy import ProviderTraits, ReplayPolicy

from ...support.pools import BarePool, pool_of


def reported(pool: BarePool) -> list[StallSuspected | StallCleared]:
    events = [c.event for c in pool.outbox.take() if isinstance(c, ReportEvent)]
    return [event for event in events if isinstance(event, StallSuspected | StallCleared)]


def test_another_suspicion_ends_the_one_before() -> None:
    """Each is reported once, with its own trigger and time."""
    pool = pool_of(AudioLedger(ReplayPolicy(), vad_enabled=True))
    active = pool.open(ProviderTraits(name="a"), Role.ACTIVE, 0.0)
    reports = SuspicionReports(pool, pool.outbox)
    reports.cleared(1.0)
    reports.suspected(active, StallReason.NO_INTERIM, 2.0)
    reports.suspected(active, StallReason.SKIPPED_SPEECH, 5.0)
    reports.cleared(6.0)
    reports.cleared(7.0)
    events = reported(pool)
    assert [(type(e), e.trigger) for e in events] == [
        (StallSuspected, StallReason.NO_INTERIM),
        (StallCleared, StallReason.NO_INTERIM),
        (StallSuspected, StallReason.SKIPPED_SPEECH),
        (StallCleared, StallReason.SKIPPED_SPEECH),
    ]
    assert [e.duration for e in events if isinstance(e, StallCleared)] == [3.0, 1.0]


def test_a_connection_that_is_left_or_closed_is_not_cleared() -> None:
    """Its closing ends the suspicion."""
    pool = pool_of(AudioLedger(ReplayPolicy(), vad_enabled=True))
    active = pool.open(ProviderTraits(name="a"), Role.ACTIVE, 0.0)
    reports = SuspicionReports(pool, pool.outbox)
    reports.suspected(active, StallReason.NO_INTERIM, 1.0)
    reports.left()
    reports.cleared(2.0)
    reports.suspected(active, StallReason.NO_TEXT, 3.0)
    assert "no_text" in repr(reports)
    pool.close(active, CloseReason.IDLE, 4.0)
    reports.cleared(5.0)
    assert [type(event) for event in reported(pool)] == [StallSuspected, StallSuspected]
