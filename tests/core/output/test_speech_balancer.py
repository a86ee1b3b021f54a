from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.core.connections.connection import Connection
from resilient_stt.core.messages import Emit, EventKind, TranscriptEvent
from resilient_stt.core.output.speech_balancer import SpeechBalancer

from ...support.connections import a_connection, ledger_of

START, END = EventKind.START, EventKind.END


def a_leg(number: int = 0, *, seam_open: bool = False) -> Connection:
    connection = a_connection(ledger_of(0.0), number=number)
    connection.trimmer.open = seam_open
    return connection


def test_start_and_end_pass() -> None:
    """START and END of a connection are given on with the provider's own event."""
    speech, connection, source = SpeechBalancer(), a_leg(), object()
    assert speech.on_event(connection, TranscriptEvent(START, source=source)) == [
        Emit(START, source=source)
    ]
    assert repr(speech) == "SpeechBalancer(speaking=True)"
    assert speech.on_event(connection, TranscriptEvent(END, source=source)) == [
        Emit(END, source=source)
    ]


def test_a_start_is_held_back_at_a_seam() -> None:
    """A connection that may only re-tell announces speech with the first new text, and once."""
    speech, connection = SpeechBalancer(), a_leg(seam_open=True)
    assert speech.on_event(connection, TranscriptEvent(START)) == []
    assert speech.words_emitted(connection) == [Emit(START)]
    assert speech.words_emitted(connection) == []


def test_a_start_at_a_seam_is_forgotten_with_its_end() -> None:
    """Speech that a connection only re-told is never announced."""
    speech, connection = SpeechBalancer(), a_leg(seam_open=True)
    speech.on_event(connection, TranscriptEvent(START))
    assert speech.on_event(connection, TranscriptEvent(END)) == []
    assert speech.words_emitted(connection) == []


def test_speech_without_its_connection_is_orphaned() -> None:
    """Speech is an orphan when its connection is gone, until another announces it too."""
    speech, first, second = SpeechBalancer(), a_leg(0), a_leg(1)
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
    """Whatever connections announce, re-tell and tell, START and END alternate."""
    speech, connections, emitted = SpeechBalancer(), [a_leg(i) for i in range(3)], list[Emit]()
    for number, kind, seam_open in script:
        connections[number].trimmer.open = seam_open
        event = (
            speech.words_emitted(connections[number])
            if kind is None
            else speech.on_event(connections[number], TranscriptEvent(kind))
        )
        emitted += event
    emitted += speech.end()
    assert [e.kind for e in emitted] == [START, END] * (len(emitted) // 2)
