"""The accounts of a stream: what became of its audio, its words and what it cost."""

from __future__ import annotations

import pytest

from resilient_stt.core.accounts import StreamAccounts
from resilient_stt.core.audio.ledger import AudioLedger
from resilient_stt.core.events import (
    AudioSent,
    ErrorKind,
    FinalEmitted,
    Lateness,
    Role,
    StreamEnded,
    StreamEndReason,
    SwitchCount,
    Switched,
    SwitchReason,
)
from resilient_stt.core.policy import ReplayPolicy

from ..support.accounts import assert_adds_up

RATE = 100


def ledger_of(seconds: float) -> AudioLedger:
    ledger = AudioLedger(ReplayPolicy(), vad_enabled=True)
    ledger.push(round(seconds * RATE), RATE)
    return ledger


def ended(accounts: StreamAccounts, reason: StreamEndReason, gone: int = 0) -> StreamEnded:
    event = accounts.ended(reason, gone=gone)
    assert_adds_up(event, RATE)
    return event


@pytest.mark.parametrize(
    ("reason", "silence", "buffered"),
    [
        (StreamEndReason.FINISHED, 6.0, 0.0),
        (StreamEndReason.GAVE_UP, 0.0, 6.0),
        (StreamEndReason.CLOSED, 0.0, 6.0),
    ],
)
def test_the_rest_of_a_finished_stream_is_silence(
    reason: StreamEndReason, silence: float, buffered: float
) -> None:
    """A stream that finished has no words left; of any other nobody knows."""
    ledger = ledger_of(0)
    accounts = StreamAccounts(ledger)
    ledger.push(10 * RATE, RATE)
    ledger.commit(4 * RATE)
    event = ended(accounts, reason)
    assert (event.pushed, event.final) == (10.0, 4.0)
    assert (event.silence, event.buffered) == (silence, buffered)


def test_a_stream_takes_over_what_another_one_left() -> None:
    """That is part of what it was given, and nothing that the other one had finished with is."""
    ledger = ledger_of(10)
    ledger.commit(4 * RATE)
    accounts = StreamAccounts(ledger)
    ledger.push(2 * RATE, RATE)
    ledger.commit(11 * RATE)
    event = ended(accounts, StreamEndReason.CLOSED)
    assert (event.pushed, event.taken_over) == (8.0, 6.0)
    assert (event.final, event.buffered) == (7.0, 1.0)


def test_speech_that_left_the_window_is_lost_unless_a_final_covers_it() -> None:
    """What is still gone at the end is lost, the rest of it is final."""
    ledger = AudioLedger(ReplayPolicy(window=4.0), vad_enabled=False)
    accounts = StreamAccounts(ledger)
    ledger.push(10 * RATE, RATE)
    event = ended(accounts, StreamEndReason.CLOSED, gone=2 * RATE)
    assert (event.lost, event.final, event.buffered) == (2.0, 4.0, 4.0)


def test_what_connections_were_sent() -> None:
    """By provider and role; only what serves, or is to serve, is a replay."""
    accounts = StreamAccounts(ledger_of(10))
    accounts.audio_sent("a", Role.ACTIVE, 300, 100)
    accounts.audio_sent("a", Role.ACTIVE, 200, 0)
    accounts.audio_sent("b", Role.HEDGE, 150, 150)
    accounts.audio_sent("b", Role.RECONNECT, 50, 50)
    accounts.audio_sent("a", Role.PROBE, 70, 20)
    accounts.audio_sent("b", Role.PROBE, 0, 0)
    event = ended(accounts, StreamEndReason.FINISHED)
    assert event.sent == (
        AudioSent(provider="a", role=Role.ACTIVE, seconds=5.0),
        AudioSent(provider="b", role=Role.HEDGE, seconds=1.5),
        AudioSent(provider="b", role=Role.RECONNECT, seconds=0.5),
        AudioSent(provider="a", role=Role.PROBE, seconds=0.7),
    )
    assert (event.replayed, event.hedged, event.probed) == (1.5, 1.5, 0.7)


def test_words_and_how_late_they_came() -> None:
    """Of finals without a known lateness only the words count."""
    accounts = StreamAccounts(ledger_of(1))
    assert ended(accounts, StreamEndReason.FINISHED).lateness == Lateness()
    for number in range(100):
        accounts.final_emitted(
            FinalEmitted(at=0, provider="a", connection=0, words=2, lateness=number / 100)
        )
    accounts.final_emitted(FinalEmitted(at=0, provider="b", connection=1, words=3))
    event = ended(accounts, StreamEndReason.FINISHED)
    assert event.words == {"a": 200, "b": 3}
    assert event.lateness == Lateness(p50=0.49, p99=0.98, worst=0.99, count=100)
    assert "words=203" in repr(accounts)


def test_switches_by_pair_and_reason() -> None:
    """Each is counted with those that are like it."""
    accounts = StreamAccounts(ledger_of(1))
    for reason in (ErrorKind.DROPPED, SwitchReason.FAILBACK, ErrorKind.DROPPED):
        accounts.switched(
            Switched(at=0, from_provider="a", to_provider="b", reason=reason, replay_from=0)
        )
    assert ended(accounts, StreamEndReason.FINISHED).switches == (
        SwitchCount(from_provider="a", to_provider="b", reason=ErrorKind.DROPPED, count=2),
        SwitchCount(from_provider="a", to_provider="b", reason=SwitchReason.FAILBACK, count=1),
    )
