from __future__ import annotations

from resilient_stt.core.messages import Emit, EventKind
from resilient_stt.core.output.flush_answers import FlushAnswers
from resilient_stt.core.policy import ProviderTraits

from ...support.connections import RATE, a_connection, ledger_of, opened

ANSWER = Emit(EventKind.FINAL, source="source", provider="a")


def test_an_empty_final_answers_a_flush_once() -> None:
    """It answers the flush that its connection was sent, and no other."""
    ledger = ledger_of(1.0)
    connection, flushes = a_connection(ledger), FlushAnswers(ledger)
    flushes.wordless_final(connection, "source")
    assert flushes.step(connection, 20.0) == []
    ledger.add_flush()
    flushes.flush_requested(connection, 10.0)
    flushes.wordless_final(connection, "source")
    assert flushes.step(connection, 20.0) == []  # it was under way before the flush
    connection.sender.send(ledger, 10.0)
    flushes.wordless_final(connection, "source")
    assert flushes.step(connection, 20.0) == [ANSWER]
    assert flushes.step(connection, 20.0) == []
    assert repr(flushes) == "FlushAnswers(flushed_at=None)"


def test_no_answer_while_words_may_come() -> None:
    """An empty FINAL for speech is no answer until the speech is finished with."""
    ledger = ledger_of(2.0, (0.5, 1.5))
    connection, flushes = a_connection(ledger), FlushAnswers(ledger)
    ledger.add_flush()
    flushes.flush_requested(connection, 10.0)
    connection.sender.send(ledger, 10.0)
    flushes.wordless_final(connection, "source")
    assert flushes.step(connection, 20.0) == []
    ledger.commit(2 * RATE)
    assert flushes.step(None, 20.0) == []
    assert flushes.step(connection, 20.0) == [ANSWER]


def test_words_answer_a_flush() -> None:
    """After a FINAL with words, and after the end of the input, nobody waits any more."""
    for event in ("final_emitted", "input_ended"):
        ledger = ledger_of(1.0)
        connection, flushes = a_connection(ledger), FlushAnswers(ledger)
        ledger.add_flush()
        flushes.flush_requested(connection, 10.0)
        connection.sender.send(ledger, 10.0)
        flushes.wordless_final(connection, "source")
        getattr(flushes, event)()
        assert flushes.step(connection, 20.0) == []


def test_a_flush_whose_connection_is_gone() -> None:
    """If the next connection need not be flushed there, nothing is left to answer."""
    ledger = ledger_of(1.0)
    first, flushes = a_connection(ledger), FlushAnswers(ledger)
    ledger.commit(RATE)
    flushes.flush_requested(first, 10.0)
    assert flushes.step(first, 20.0) == []
    assert flushes.step(a_connection(ledger, number=1), 20.0) == [
        Emit(EventKind.FINAL, provider="a")
    ]
    flushes.flush_requested(None, 10.0)
    ledger.push(RATE, RATE)
    assert flushes.step(a_connection(ledger, number=2), 20.0) == [
        Emit(EventKind.FINAL, provider="a")
    ]


def test_who_cannot_be_flushed_is_given_the_time_of_a_final() -> None:
    """Speech that is pending may give words however long it takes."""
    for voice in ((), ((0.2, 0.8),)):
        ledger = ledger_of(1.0, *voice)
        connection, flushes = opened(ProviderTraits(name="b"), ledger), FlushAnswers(ledger)
        ledger.add_flush()
        flushes.flush_requested(connection, 10.0)
        assert flushes.deadlines(connection) == flushes.deadlines(None) == []
        assert flushes.step(connection, 20.0) == []  # it was not sent the audio yet
        connection.sender.send(ledger, 10.0)
        (due,) = flushes.deadlines(connection)
        assert due == 10.0 + connection.stall_detector.final_timeout
        assert flushes.step(connection, due - 0.01) == []
        if voice:
            assert flushes.step(connection, due + 60.0) == []
            ledger.commit(RATE)
        assert flushes.step(connection, due) == [Emit(EventKind.FINAL, provider="b")]
        assert flushes.deadlines(connection) == []
