from __future__ import annotations

from resilient_stt.core.messages import Emit, EventKind
from resilient_stt.core.output.flush_answers import FlushAnswers

from ...support.connections import RATE, a_connection, ledger_of

ANSWER = Emit(EventKind.FINAL, source="source", provider="a")


def test_an_empty_final_answers_a_flush_once() -> None:
    """It answers the flush that its connection was sent, and no other."""
    ledger = ledger_of(1.0)
    connection, flushes = a_connection(ledger), FlushAnswers(ledger)
    flushes.wordless_final(connection, "source")
    assert flushes.step(connection) == []
    ledger.add_flush()
    flushes.flush_requested(connection)
    flushes.wordless_final(connection, "source")
    assert flushes.step(connection) == []  # it was under way before the flush
    connection.sender.send(ledger, 10.0)
    flushes.wordless_final(connection, "source")
    assert flushes.step(connection) == [ANSWER]
    assert flushes.step(connection) == []
    assert repr(flushes) == "FlushAnswers(flushed_at=None)"


def test_no_answer_while_words_may_come() -> None:
    """An empty FINAL for speech is no answer until the speech is finished with."""
    ledger = ledger_of(2.0, (0.5, 1.5))
    connection, flushes = a_connection(ledger), FlushAnswers(ledger)
    ledger.add_flush()
    flushes.flush_requested(connection)
    connection.sender.send(ledger, 10.0)
    flushes.wordless_final(connection, "source")
    assert flushes.step(connection) == []
    ledger.commit(2 * RATE)
    assert flushes.step(None) == []
    assert flushes.step(connection) == [ANSWER]


def test_words_answer_a_flush() -> None:
    """After a FINAL with words, and after the end of the input, nobody waits any more."""
    for event in ("final_emitted", "input_ended"):
        ledger = ledger_of(1.0)
        connection, flushes = a_connection(ledger), FlushAnswers(ledger)
        ledger.add_flush()
        flushes.flush_requested(connection)
        connection.sender.send(ledger, 10.0)
        flushes.wordless_final(connection, "source")
        getattr(flushes, event)()
        assert flushes.step(connection) == []


def test_a_flush_whose_connection_is_gone() -> None:
    """If the next connection need not be flushed there, nothing is left to answer."""
    ledger = ledger_of(1.0)
    first, flushes = a_connection(ledger), FlushAnswers(ledger)
    ledger.commit(RATE)
    flushes.flush_requested(first)
    assert flushes.step(first) == []
    assert flushes.step(a_connection(ledger, number=1)) == [Emit(EventKind.FINAL, provider="a")]
    flushes.flush_requested(None)
    ledger.push(RATE, RATE)
    assert flushes.step(a_connection(ledger, number=2)) == [Emit(EventKind.FINAL, provider="a")]
