from __future__ import annotations

import pytest

from resilient_stt.core.audio.ledger import AudioLedger
from resilient_stt.core.connections.connection import Connection
from resilient_stt.core.connections.interpreter import Interpreted
from resilient_stt.core.events import ErrorKind
from resilient_stt.core.health.breaker import Breaker
from resilient_stt.core.health.provider import ProviderHealth
from resilient_stt.core.messages import EventKind, TranscriptEvent
from resilient_stt.core.output.doubtful_final import DoubtfulFinals
from resilient_stt.core.policy import Policies, ProviderTraits

from ...support.connections import POLICY, RATE, opened
from ...support.simulator import Drop, Recognizer, Simulation, sentence, speak

START, END, FINAL, INTERIM = EventKind.START, EventKind.END, EventKind.FINAL, EventKind.INTERIM
PREFLIGHT = EventKind.PREFLIGHT


class Call:
    """One connection in the middle of 2 s of speech, of which it was sent all."""

    def __init__(self, *, known: bool = True, vad_enabled: bool = True) -> None:
        self.ledger = AudioLedger(POLICY, vad_enabled=vad_enabled)
        self.ledger.push(2 * RATE, RATE)
        if vad_enabled:
            self.ledger.speech_started(0)
        self.health = {"a": ProviderHealth(Breaker(Policies().breaker))}
        self.doubtful = DoubtfulFinals(self.ledger, self.health, Policies())
        traits = ProviderTraits(name="a", finalizes_when_dropped=known)
        self.connection = opened(traits, self.ledger)
        self.connection.sender.cursor = self.ledger.end

    def hears(self, seconds: float) -> None:
        """Push more audio, and send it."""
        self.ledger.push(round(seconds * RATE), RATE)
        self.connection.sender.cursor = self.ledger.end

    def event(self, kind: EventKind, text: str = "") -> Interpreted:
        return self.connection.interpret(TranscriptEvent(kind, text), 10.0)

    def takes(self, kind: EventKind, text: str = "", at: float = 10.0) -> bool:
        return self.doubtful.on_event(self.connection, self.event(kind, text), at, followed=False)


@pytest.mark.parametrize("kind", [INTERIM, PREFLIGHT])
def test_the_last_interim_as_a_final_is_held(kind: EventKind) -> None:
    """In mid-speech, such a FINAL is held with the END behind it, until its time is over."""
    call = Call()
    assert not call.takes(kind, "half")
    final = call.event(FINAL, "half")
    assert call.doubtful.on_event(call.connection, final, 10.0, followed=False)
    assert call.takes(END)
    assert call.doubtful.holds
    assert call.doubtful.deadlines == [10.2]
    call.doubtful.step(10.1)
    assert call.doubtful.holds
    call.doubtful.step(10.2)
    assert call.doubtful.deadlines == []
    assert not call.doubtful.on_event(call.connection, final, 10.2, followed=False)
    assert call.doubtful.take_left_out() is None


def test_a_final_that_was_followed_is_not_doubtful() -> None:
    """Of several events that were held together, only the last may be made up."""
    call = Call()
    call.takes(INTERIM, "half")
    final = call.event(FINAL, "half")
    assert not call.doubtful.on_event(call.connection, final, 10.0, followed=True)
    assert call.doubtful.on_event(call.connection, final, 10.0, followed=False)


def test_a_connection_that_goes_on_is_believed() -> None:
    """The next event but END shows that the connection lives; it waits behind what is held."""
    call = Call()
    call.takes(INTERIM, "half")
    assert call.takes(FINAL, "half")
    assert call.takes(START)
    assert not call.doubtful.holds
    assert "holds=False" in repr(call.doubtful)


def test_what_a_dying_connection_made_up_is_left_out() -> None:
    """It is kept until another FINAL is emitted: if none is, these are the only words there are."""
    for again in (False, True):
        call = Call()
        call.takes(INTERIM, "half")
        call.takes(FINAL, "half")
        call.doubtful.connection_failed(call.connection, 10.0)
        assert not call.doubtful.holds
        if again:
            call.doubtful.final_emitted()
        left_out = call.doubtful.take_left_out()
        assert (left_out is None) is again
        assert left_out is None or left_out[1].utterance.text == "half"
        assert call.doubtful.take_left_out() is None


@pytest.mark.parametrize(("at", "learned"), [(10.1, True), (10.3, False)])
def test_a_plugin_that_makes_finals_up_is_learned(at: float, learned: bool) -> None:
    """The FINAL of an unknown plugin passes at once, and is held the next time if it died of it."""
    call = Call(known=False)
    call.takes(INTERIM, "half")
    assert not call.takes(FINAL, "half")
    assert not call.takes(END)
    call.doubtful.connection_failed(call.connection, at)
    assert call.health["a"].finalizes_when_dropped is learned
    call.takes(INTERIM, "again")
    assert call.takes(FINAL, "again") is learned


def test_other_failures_teach_nothing() -> None:
    """A connection that went on after its FINAL, or that sent none, died of something else."""
    call = Call(known=False)
    call.doubtful.connection_failed(call.connection, 10.0)
    call.takes(INTERIM, "half")
    call.takes(FINAL, "half")
    call.takes(INTERIM, "more")
    call.doubtful.connection_failed(call.connection, 10.0)
    call.takes(FINAL, "more")
    call.doubtful.connection_failed(Call().connection, 10.0)
    assert not call.health["a"].finalizes_when_dropped


def test_a_genuine_final_is_not_held() -> None:
    """No healthy FINAL waits: one with other words, in a pause, at the end or without VAD."""
    call = Call()
    call.takes(INTERIM, "half")
    assert not call.takes(FINAL, "half a sentence")
    call.takes(INTERIM, "more")
    call.connection.sender.input_ended_at = 10.0
    assert not call.takes(FINAL, "more")

    call = Call()
    call.takes(INTERIM, "one")
    call.ledger.speech_ended(call.ledger.end)
    call.hears(0.5)
    assert not call.takes(FINAL, "one")

    call = Call()
    call.ledger.speech_ended(call.ledger.end)
    call.hears(1.0)
    call.takes(INTERIM, "one")
    call.ledger.speech_started(call.ledger.end)
    call.hears(0.3)
    assert not call.takes(FINAL, "one")  # the caller begins again behind the pause

    call = Call(vad_enabled=False)
    call.takes(INTERIM, "one")
    assert not call.takes(FINAL, "one")


def test_a_final_without_the_last_words_is_held_in_a_pause_too() -> None:
    """Speech went on behind the interim transcript, so that the FINAL is not the whole of it."""
    call = Call()
    call.takes(INTERIM, "half")
    call.hears(1.0)
    call.ledger.speech_ended(call.ledger.end)
    call.hears(0.5)
    assert call.takes(FINAL, "half")


@pytest.mark.parametrize("saved", [False, True])
def test_the_replay_has_the_fuller_words(saved: bool) -> None:
    """A FINAL of half a sentence is replaced by the whole one, or comes last if there is none."""
    spoken = speak(*sentence("one two three four five six"))
    first = Recognizer("a", [Drop(1.9, sends_final=True)], times="none", end_of_turn_timeout=6.0)
    first.finalizes_when_dropped = True
    spare = Recognizer("b") if saved else Recognizer("b", down=[(0.0, 999.0)])
    first.down = () if saved else [(1.95, 999.0)]
    sim = Simulation(spoken, [first, spare], tail=2.0).run()
    texts = [final.text for final in sim.finals]
    assert texts == (["one two three four five six"] if saved else ["one two three"])
    assert ErrorKind.DROPPED in {getattr(event, "reason", None) for event in sim.events}


def test_all_connections_are_told_apart() -> None:
    """A held FINAL of a connection that was left for another reason holds nothing for ever."""
    call = Call()
    call.takes(INTERIM, "half")
    call.takes(FINAL, "half")
    other: Connection = Call().connection
    assert call.doubtful.on_event(other, call.event(START), 10.1, followed=False)
    assert not call.doubtful.holds
