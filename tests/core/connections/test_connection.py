from __future__ import annotations

from resilient_stt.core.connections.connection import replay_start
from resilient_stt.core.messages import Word
from resilient_stt.core.transcript.history import TranscriptHistory
from resilient_stt.core.transcript.overlap import Utterance

from ...support.connections import POLICY, RATE, a_connection, ledger_of


def test_replay_start_in_silence() -> None:
    """In silence a replay begins at the watermark."""
    ledger = ledger_of(5.0, (1.0, 2.0), committed=3.0)
    assert replay_start(ledger, TranscriptHistory(POLICY)) == 3 * RATE


def test_replay_start_in_speech() -> None:
    """In speech a replay begins before a committed word, or else with the segment if it is kept."""
    ledger = ledger_of(9.0, (2.0, 8.0), committed=3.0)
    transcript = TranscriptHistory(POLICY)
    assert replay_start(ledger, transcript) == 2 * RATE
    transcript.record(Utterance("x", (Word("x", 2.6, 3.0),)), 9.0)
    assert replay_start(ledger, transcript) == 245
    ledger.commit(7 * RATE)
    assert replay_start(ledger, transcript) == ledger.start == 5 * RATE


def test_replay_start_without_voice_activity() -> None:
    """Without voice activity a replay begins before a committed word, or else at the watermark."""
    ledger = ledger_of(9.0, committed=3.0, vad_enabled=False)
    transcript = TranscriptHistory(POLICY)
    assert replay_start(ledger, transcript) == 3 * RATE
    transcript.record(Utterance("x", (Word("x", 2.6, 3.0),)), 9.0)
    assert replay_start(ledger, transcript) == 245


def test_a_replay_of_nothing() -> None:
    """A connection that is opened before the first frame begins at 0 and has caught up."""
    connection = a_connection(ledger_of(0))
    assert (connection.start, connection.caught_up, connection.trimmer.open) == (0, True, False)
