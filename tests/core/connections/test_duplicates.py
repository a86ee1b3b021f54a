from __future__ import annotations

import pytest

from resilient_stt.core.audio.ledger import AudioLedger
from resilient_stt.core.connections.connection import Connection
from resilient_stt.core.messages import EventKind, TranscriptEvent
from resilient_stt.core.policy import ProviderTraits

from ...support.connections import POLICY, RATE, opened

START, END, FINAL, INTERIM = EventKind.START, EventKind.END, EventKind.FINAL, EventKind.INTERIM


class Call:
    """A connection that hears speech live."""

    def __init__(self, *, vad_enabled: bool = True) -> None:
        self.ledger = AudioLedger(POLICY, vad_enabled=vad_enabled)
        self.connection: Connection = opened(ProviderTraits(name="a"), self.ledger)
        self.now = 10.0

    def hears(self, seconds: float, *, voice: bool = True, at_once: bool = False) -> None:
        start = self.ledger.end
        for _ in range(round(seconds * 10)):
            self.now += 0.0 if at_once else 0.1
            self.ledger.push(RATE // 10, RATE)
            self.connection.sender.send(self.ledger, self.now)
        if voice and self.ledger.vad_enabled:
            self.ledger.speech_started(start)
            self.ledger.speech_ended(self.ledger.end)

    def is_duplicate(self, text: str, start: float | None = None, end: float | None = None) -> bool:
        event = TranscriptEvent(FINAL, text, (), start, end)
        return self.connection.interpret(event, self.now).is_duplicate

    def says(self, kind: EventKind, text: str = "") -> None:
        assert not self.connection.interpret(TranscriptEvent(kind, text), self.now).is_duplicate


def test_equal_segment_times() -> None:
    """The same text with the same times is a duplicate, also much later."""
    call = Call()
    call.hears(1.0)
    assert not call.is_duplicate("hello", 0.0, 0.5)
    assert call.is_duplicate("hello", 0.0, 0.5)
    assert not call.is_duplicate("hello there", 0.0, 0.5)
    call.hears(2.0)
    assert not call.is_duplicate("yes", 1.0, 1.4)
    assert not call.is_duplicate("yes", 1.5, 1.9)
    call.hears(2.0)
    assert call.is_duplicate("yes", 1.5, 1.9)


def test_times_of_the_utterance_prove_nothing_in_new_voice() -> None:
    """A provider may count from the beginning of each utterance: "yes", "yes" stays."""
    call = Call()
    for _ in range(3):
        call.hears(0.5)
        assert not call.is_duplicate("yes", 0.0, 0.4)
        call.hears(0.5, voice=False)
        assert call.is_duplicate("yes", 0.0, 0.4)


@pytest.mark.parametrize("vad_enabled", [False, True])
def test_without_times_at_once(vad_enabled: bool) -> None:
    """Without times, what comes again at once without new voice is a duplicate."""
    call = Call(vad_enabled=vad_enabled)
    call.hears(1.0)
    assert not call.is_duplicate("yes")
    call.says(END)
    assert call.is_duplicate("yes")
    call.hears(0.1)
    assert call.is_duplicate("yes")
    call.hears(1.0)
    assert not call.is_duplicate("yes")


@pytest.mark.parametrize("between", [(START, ""), (INTERIM, "yes")])
def test_speech_between_two_finals(between: tuple[EventKind, str]) -> None:
    """A START or text between the two shows that the words were spoken twice."""
    call = Call()
    call.hears(1.0)
    assert not call.is_duplicate("yes")
    call.says(INTERIM, " ")
    call.says(*between)
    assert not call.is_duplicate("yes")


def test_genuine_repetitions_without_times() -> None:
    """Words that were spoken twice stay: later, in two utterances, or in a replay."""
    call = Call()
    call.hears(1.0)
    assert not call.is_duplicate("yes")
    call.now += 0.3
    assert not call.is_duplicate("yes")

    call = Call()  # both answers come at once, late
    call.hears(0.5)
    call.hears(0.4, voice=False)
    call.hears(0.5)
    call.hears(0.5, voice=False)
    assert not call.is_duplicate("yes")
    assert not call.is_duplicate("yes")

    call = Call()
    call.hears(3.0, at_once=True)
    assert not call.is_duplicate("yes")
    assert not call.is_duplicate("yes")
    assert "clock_goes_on=False" in repr(call.connection.interpreter._duplicates)


def test_an_empty_final_between_two() -> None:
    """It does not hide a duplicate, and is none itself."""
    call = Call()
    call.hears(1.0)
    assert not call.is_duplicate("yes")
    assert not call.is_duplicate("")
    assert not call.is_duplicate("")
    assert call.is_duplicate("yes")
