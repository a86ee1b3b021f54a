from __future__ import annotations

from dataclasses import replace

from resilient_stt.core.connections.clean_ends import CleanEnds
from resilient_stt.core.connections.unfinished_text import MAX_CONNECTIONS, UnfinishedText
from resilient_stt.core.messages import EventKind, TranscriptEvent
from resilient_stt.core.policy import ReplayPolicy
from resilient_stt.core.transcript.history import TranscriptHistory
from resilient_stt.core.transcript.overlap import Utterance

from ...support.connections import a_connection, ledger_of

RATE = 16_000


def test_text_that_another_connection_has_made_final() -> None:
    """Without pending speech before it, a text without times is one that was spelled otherwise."""
    ledger = ledger_of(5.0)
    unfinished = UnfinishedText(ledger, TranscriptHistory(ReplayPolicy()))
    connection = a_connection(ledger)
    connection.interpret(TranscriptEvent(EventKind.INTERIM, "hello"), 1.0)
    unfinished.shown(connection)
    ledger.vad_enabled = True
    assert unfinished.take(ledger.end) == []


def test_text_that_was_committed_later() -> None:
    """Words that another connection has committed since are not new."""
    ledger = ledger_of(5.0)
    ledger.vad_enabled = False
    history = TranscriptHistory(ReplayPolicy())
    unfinished = UnfinishedText(ledger, history)
    connection = a_connection(ledger)
    connection.interpret(TranscriptEvent(EventKind.INTERIM, "hello there"), 1.0)
    unfinished.shown(connection)
    history.record(Utterance("hello there"), 5.0)
    ledger.commit(4 * RATE)
    assert unfinished.take(ledger.end) == []


def test_only_a_few_connections_are_remembered() -> None:
    """The newest ones are; no text is in its `repr`."""
    ledger = ledger_of(5.0)
    unfinished = UnfinishedText(ledger, TranscriptHistory(ReplayPolicy()))
    for number in range(MAX_CONNECTIONS + 2):
        unfinished.shown(replace(a_connection(ledger), id=number))
    assert repr(unfinished) == f"UnfinishedText({[*range(2, MAX_CONNECTIONS + 2)]})"


def test_clean_ends_are_counted_since_the_last_text() -> None:
    """One that gave text is enough, or two that gave none, unless words came later."""
    ledger, ends = ledger_of(5.0), CleanEnds()
    deaf, works = a_connection(ledger), replace(a_connection(ledger), has_given_text=True)
    found = []
    for step in (deaf, deaf, None, works):
        if step is None:
            ends.text_received()
        else:
            ends.connection_ended(step)
        found.append(ends.are_enough)
    assert found == [False, True, False, True]
    assert repr(ends) == "CleanEnds(2)"
