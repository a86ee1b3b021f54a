from __future__ import annotations

from resilient_stt.core.audio.ledger import AudioLedger
from resilient_stt.core.policy import ReplayPolicy
from resilient_stt.core.progress import ProgressTracker


def a_ledger() -> AudioLedger:
    ledger = AudioLedger(ReplayPolicy(), vad_enabled=False)
    ledger.push(1_000, 100)
    return ledger


def test_what_never_happened() -> None:
    """Before anything happens there is nothing to count, wherever the watermark is."""
    tracker = ProgressTracker(a_ledger())
    assert (tracker.count, tracker.stands_still) == (0, False)


def test_it_counts_while_the_watermark_stands_still() -> None:
    """What happens again at the same watermark is counted, from its first time on."""
    tracker = ProgressTracker(a_ledger())
    for now in (1.0, 2.0, 3.0):
        tracker.record(now)
    assert (tracker.count, tracker.first_at, tracker.stands_still) == (3, 1.0, True)
    assert repr(tracker) == "ProgressTracker(watermark=0, count=3)"


def test_it_begins_anew_when_the_watermark_has_moved() -> None:
    """Progress makes the next time the first; until then the last count stays."""
    ledger = a_ledger()
    tracker = ProgressTracker(ledger)
    tracker.record(1.0)
    tracker.record(2.0)
    ledger.commit(10)
    assert (tracker.count, tracker.stands_still) == (2, False)
    tracker.record(3.0)
    assert (tracker.count, tracker.first_at, tracker.stands_still) == (1, 3.0, True)


def test_it_can_be_reset() -> None:
    """After a reset the next time is the first, although the watermark stands still."""
    tracker = ProgressTracker(a_ledger())
    tracker.record(1.0)
    tracker.reset()
    assert (tracker.count, tracker.stands_still) == (0, False)
    tracker.record(2.0)
    assert (tracker.count, tracker.first_at) == (1, 2.0)
