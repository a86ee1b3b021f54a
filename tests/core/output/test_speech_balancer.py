from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.core.connections.connection import Connection
from resilient_stt.core.messages import Emit, EventKind, TranscriptEvent
from resilient_stt.core.output.speech_balancer import SpeechBalancer

from ...support.connections import a_connection, ledger_of

START, END = EventKind.START, EventKind.END


def connection_of(number: int = 0, *, trimmer_open: bool = False) -> Connection:
    connection = a_connection(ledger_of(0.0), number=number)
    connection.trimmer.open = trimmer_open
    return connection


def test_start_and_end_pass() -> None:
    """START and END of a connection are emitted with the provider's own event."""
    speech, connection, source = SpeechBalancer(), connection_of(), object()
    assert speech.on_event(connection, TranscriptEvent(START, source=source)) == [
        Emit(START, source=source)
    ]
    assert repr(speech) == "SpeechBalancer(speaking=True)"
    assert speech.on_event(connection, TranscriptEvent(END, source=source)) == [
        Emit(END, source=source)
    ]


def test_a_start_is_held_while_words_may_repeat() -> None:
    """While its trimmer is open, a connection's START is emitted once, with the first new text."""
    speech, connection = SpeechBalancer(), connection_of(trimmer_open=True)
    assert speech.on_event(connection, TranscriptEvent(START)) == []
    assert speech.words_emitted(connection) == [Emit(START)]
    assert speech.words_emitted(connection) == []


def test_a_held_start_is_dropped_with_its_end() -> None:
    """START and END of speech that a connection only repeats are not emitted."""
    speech, connection = SpeechBalancer(), connection_of(trimmer_open=True)
    speech.on_event(connection, TranscriptEvent(START))
    assert speech.on_event(connection, TranscriptEvent(END)) == []
    assert speech.words_emitted(connection) == []


def test_speech_without_its_connection_is_orphaned() -> None:
    """Speech is orphaned when its connection is gone, until another connection announces it."""
    speech, first, second = SpeechBalancer(), connection_of(0), connection_of(1)
    assert not speech.is_orphaned(None)
    speech.on_event(first, TranscriptEvent(START))
    assert not speech.is_orphaned(first)
    assert speech.is_orphaned(None)
    assert speech.is_orphaned(second)
    assert speech.on_event(second, TranscriptEvent(START)) == []
    assert not speech.is_orphaned(second)
    assert speech.end() == [Emit(END)]
    assert speech.end() == []


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([START, END, None]), st.booleans())),
)
def test_start_and_end_alternate(script: list[tuple[int, EventKind | None, bool]]) -> None:
    """Whatever connections announce and repeat, START and END alternate."""
    speech, connections, emitted = (
        SpeechBalancer(),
        [connection_of(i) for i in range(3)],
        list[Emit](),
    )
    for number, kind, trimmer_open in script:
        connections[number].trimmer.open = trimmer_open
        event = (
            speech.words_emitted(connections[number])
            if kind is None
            else speech.on_event(connections[number], TranscriptEvent(kind))
        )
        emitted += event
    emitted += speech.end()
    assert [e.kind for e in emitted] == [START, END] * (len(emitted) // 2)
