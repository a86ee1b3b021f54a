from __future__ import annotations

import math

import pytest

from resilient_stt.core.connections.connection import Connection
from resilient_stt.core.connections.interpreter import AudioExtent
from resilient_stt.core.messages import EventKind, TranscriptEvent, Word
from resilient_stt.core.policy import Pace, ProviderTraits
from resilient_stt.core.transcript.overlap import Utterance

from ...support.connections import a_connection, ledger_of, opened

FINAL = EventKind.FINAL


def utterance(connection: Connection, event: TranscriptEvent) -> Utterance:
    return connection.interpret(event, 11.0).utterance


def extent(connection: Connection, event: TranscriptEvent) -> AudioExtent:
    return connection.interpret(event, 11.0).extent


def test_times_become_session_times() -> None:
    """The times of words and of the event are moved by the audio before and by trimmed silence."""
    ledger = ledger_of(6.0, (1.0, 2.0), (4.0, 5.0))
    connection = a_connection(ledger)
    connection.sender.send(ledger, 10.0)
    words = (Word("a", 0.15, 1.15), Word("b", 1.45, 2.45))
    assert utterance(connection, TranscriptEvent(FINAL, "a b", words, language="en")) == Utterance(
        "a b", (Word("a", 1.0, 2.0), Word("b", 4.0, 5.0)), 1.0, 5.0, "en"
    )
    connection = a_connection(ledger)
    connection.sender.send(ledger, 10.0)
    text = "several words"  # as many as the voice has room for
    assert utterance(connection, TranscriptEvent(FINAL, text, (), 0.15, 2.45)) == Utterance(
        text, (), 1.0, 5.0
    )


@pytest.mark.parametrize("start", [None, math.nan, -1.0, 3.0])
def test_an_impossible_start(start: float | None) -> None:
    """An end is used although the start is missing or impossible."""
    ledger = ledger_of(2.0, (0.0, 2.0))
    connection = a_connection(ledger)
    connection.sender.send(ledger, 10.0)
    assert utterance(connection, TranscriptEvent(FINAL, "a", (), start, 2.0)) == Utterance(
        "a", (), None, 2.0
    )


@pytest.mark.parametrize("end", [None, math.nan, math.inf, 0.0, -1.0, 2.6])
def test_an_impossible_end(end: float | None) -> None:
    """A final whose end is missing or impossible has no times."""
    ledger = ledger_of(2.0, (0.0, 2.0))
    connection = a_connection(ledger)
    assert utterance(connection, TranscriptEvent(FINAL, "a", (), 0.5, end)) == Utterance("a")
    connection.sender.send(ledger, 10.0)
    assert utterance(connection, TranscriptEvent(FINAL, "a", (), 0.5, end)) == Utterance("a")


@pytest.mark.parametrize("turns", [False, True])
def test_a_final_with_the_words_of_an_interim(turns: bool) -> None:
    """Words of an interim were spoken before it; a final with other words may reach further."""
    provider = ProviderTraits(name="a", pace=Pace(), end_of_turn_timeout=float(turns))
    connection = opened(provider, ledger_of(1.0))
    for final, expected in (("so", 100), ("so it", 300)):
        connection.sender.cursor = 100
        assert extent(connection, TranscriptEvent(EventKind.INTERIM, "so")) == AudioExtent(100, 100)
        connection.sender.cursor = 300
        reached = extent(connection, TranscriptEvent(FINAL, final))
        assert reached == AudioExtent(expected if turns else 300, expected)
    assert extent(connection, TranscriptEvent(FINAL, "so")) == AudioExtent(300, 300)
