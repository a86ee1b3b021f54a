from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.core.audio.ledger import AudioLedger
from resilient_stt.core.connections.connection import Connection
from resilient_stt.core.health.breaker import Breaker
from resilient_stt.core.health.provider import ProviderHealth
from resilient_stt.core.messages import Emit, EventKind, TranscriptEvent
from resilient_stt.core.output.speech_balancer import SpeechBalancer
from resilient_stt.core.policy import Policies, ProviderTraits, WatchdogPolicy

from ...support.connections import POLICY, RATE, opened

START, END, FINAL, INTERIM = EventKind.START, EventKind.END, EventKind.FINAL, EventKind.INTERIM
POLICIES = Policies()


@dataclass
class Call:
    """A balancer, its ledger and clock, and three connections of which one is active."""

    vad_enabled: bool = True
    ledger: AudioLedger = field(init=False)
    now: float = 10.0
    emitted: list[Emit] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = AudioLedger(POLICY, vad_enabled=self.vad_enabled)
        self.health = {name: ProviderHealth(Breaker(POLICIES.breaker)) for name in "abc"}
        self.speech = SpeechBalancer(self.ledger, self.health, POLICIES)
        self.ends_in_speech = 0
        self.connections: list[Connection] = []
        for name in "abc":
            self.open(name)
        self.active: Connection | None = self.connections[0]

    def open(self, name: str) -> Connection:
        """Open a connection at the watermark, and make it active."""
        number = len(self.connections)
        connection = opened(ProviderTraits(name=name), self.ledger, number=number)
        connection.trimmer.open = False
        self.connections.append(connection)
        self.active = connection
        return connection

    def passes(self, seconds: float) -> None:
        """Let silence or speech go on for so many seconds, in steps of 0.1 s."""
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            self.ledger.push(RATE // 10, RATE)
            for connection in self.connections:
                connection.sender.cursor = self.ledger.end
            self.step()

    def step(self) -> None:
        self.take(self.speech.step(self.active, self.now))

    def voice(self, *, started: bool) -> None:
        """Report an edge of local voice activity at the live edge."""
        if started is self.ledger.speaking:
            return
        if started:
            self.ledger.speech_started(self.ledger.end)
            self.take(self.speech.local_speech_started(self.active, self.ledger.end))
        else:
            self.ledger.speech_ended(self.ledger.end)
        self.step()

    def says(self, kind: EventKind, text: str = "", *, commits: bool = True) -> None:
        """Let the active connection send an event; a FINAL commits all audio."""
        if self.active is None:
            return
        event = TranscriptEvent(kind, text, source=self.active.id)
        interpreted = self.active.interpret(event, self.now)
        if kind in (START, END):
            self.take(self.speech.on_event(self.active, interpreted, self.now))
        else:
            is_new = not self.active.trimmer.open
            self.speech.text_received(self.active, interpreted, is_new=is_new, now=self.now)
            if is_new:
                self.take(self.speech.words_due(self.active))
            if commits and kind is FINAL:
                self.ledger.commit(self.ledger.end)
        self.step()

    def take(self, emits: list[Emit]) -> None:
        for emit in emits:
            self.ends_in_speech += emit.kind is END and self.ledger.speaking
        self.emitted += emits

    @property
    def kinds(self) -> list[EventKind]:
        return [e.kind for e in self.emitted]


def test_start_and_end_pass() -> None:
    """START and END of a connection are emitted with the provider's own event."""
    call = Call()
    call.open("a")
    call.says(START)
    assert repr(call.speech) == "SpeechBalancer(speaking=True, holds_end=False)"
    call.says(END)
    assert call.emitted == [Emit(START, source=3), Emit(END, source=3)]


def test_a_start_is_held_while_words_may_repeat() -> None:
    """While its trimmer is open, a connection's START is emitted once, with the first new text."""
    call = Call()
    connection = call.open("a")
    connection.trimmer.open = True
    call.says(START)
    call.says(INTERIM, "committed")
    assert call.emitted == []
    connection.trimmer.open = False
    call.says(INTERIM, "new")
    call.says(INTERIM, "new words")
    assert call.emitted == [Emit(START)]


def test_a_held_start_is_dropped_with_its_end() -> None:
    """START and END of speech that a connection only repeats are not emitted."""
    call = Call()
    connection = call.open("a")
    connection.trimmer.open = True
    call.says(START)
    call.says(END)
    connection.trimmer.open = False
    call.says(INTERIM, "new")
    assert call.emitted == []


def test_speech_without_its_connection_is_ended_in_silence() -> None:
    """Speech whose connection is gone ends in silence, unless another one announces it."""
    call = Call()
    call.says(START)
    call.voice(started=True)
    call.passes(1.0)
    call.says(FINAL, "one")
    call.open("b")
    call.voice(started=False)
    call.passes(0.6)
    assert call.kinds == [START]
    call.passes(0.2)
    assert call.emitted == [Emit(START, source=0), Emit(END, speech_end=1.0)]
    for connection in (call.open("a"), call.open("b")):
        call.active = connection
        call.says(START)
    call.passes(5.0)
    assert call.kinds == [START, END, START]
    assert call.speech.end() == [Emit(END, speech_end=1.0)]
    assert call.speech.end() == []


def test_an_end_in_speech_waits_for_the_caller() -> None:
    """A provider that ends the speech while the caller speaks is right only once he is silent."""
    call = Call()
    call.says(START)
    call.voice(started=True)
    call.passes(1.0)
    call.says(FINAL, "half")
    call.says(END)
    call.passes(1.0)
    assert call.kinds == [START]
    call.voice(started=False)
    assert call.kinds == [START]  # words may be missing
    call.says(FINAL, "a sentence")
    assert call.kinds == [START, END]
    assert call.emitted[-1].source == 0


@pytest.mark.parametrize("kind", [START, INTERIM])
def test_an_end_in_speech_is_forgotten_if_the_speech_goes_on(kind: EventKind) -> None:
    """After a START or interim text, the END before it does not count any more."""
    call = Call()
    call.says(START)
    call.voice(started=True)
    call.says(END)
    assert call.speech.deadlines == pytest.approx([call.now + 0.7, call.now + 5.0])
    call.says(kind, "more")
    assert call.speech.deadlines == []
    call.voice(started=False)
    call.passes(3.0)
    assert call.kinds == [START]  # the connection will end it


def test_the_end_of_a_dying_connection_is_not_the_callers() -> None:
    """An END that comes in speech just before its connection fails is never passed on."""
    call = Call()
    call.says(START)
    call.voice(started=True)
    call.passes(1.0)
    call.says(END)
    call.open("b")
    call.passes(1.0)
    assert call.kinds == [START]
    assert call.speech.deadlines == []


def test_an_end_in_noise_is_passed_on_after_a_time() -> None:
    """If the connection says nothing more, voice that goes on is noise; a late FINAL is allowed."""
    call = Call()
    call.says(START)
    call.voice(started=True)
    call.says(END)
    call.passes(1.0)
    call.says(FINAL, "one")  # some plugins send it after END
    call.passes(4.8)
    assert call.kinds == [START]
    call.passes(0.4)
    assert call.kinds == [START, END]


@pytest.mark.parametrize("untimed", [False, True])
def test_an_end_in_a_replay_waits_for_the_rest(untimed: bool) -> None:
    """The END of a replayed sentence does not count while the next one is still to come.

    Without times its audio is not committed at once; then a while without a word counts.
    """
    call = Call()
    call.says(START)
    call.voice(started=True)
    call.passes(1.0)
    call.voice(started=False)
    connection = call.open("b")
    connection.mark_caught_up(0.0, call.now)
    connection._replayed_by = call.now + 60.0
    call.says(END)
    assert call.kinds == [START]
    if untimed:
        call.says(FINAL, "one", commits=False)
        call.passes(0.6)
        assert call.kinds == [START]
        call.passes(0.2)
    else:
        call.says(FINAL, "one")
    assert call.kinds == [START, END]


def test_local_voice_activity_reports_for_a_provider_that_reports_no_turns() -> None:
    """Every turn of a provider that only sends text has a START and an END, after the FINAL."""
    call = Call()
    call.open("b")
    for turn in range(3):
        call.voice(started=True)
        call.passes(1.0)
        told = [START, END] * turn
        assert call.kinds == ([*told, START] if turn else [])  # not known before its first text
        call.voice(started=False)
        call.passes(1.0)
        assert call.kinds == ([*told, START] if turn else [])
        call.says(FINAL, "words")
        assert call.kinds == [START, END] * (turn + 1)
        call.passes(1.0)
    assert call.emitted[2:4] == [
        Emit(START, speech_start=3.0),
        Emit(END, speech_end=4.0),
    ]
    assert call.health["b"].reports_turns is False


def test_a_cough_ends_without_a_final() -> None:
    """Local speech of a provider without turns ends, too, if it never gets any text."""
    call = Call()
    call.health["b"].reports_turns = False
    connection = call.open("b")
    call.voice(started=True)
    call.passes(1.0)
    call.voice(started=False)
    call.passes(0.6 + connection.stall_detector.final_timeout)
    assert call.kinds == [START]
    call.passes(0.2)
    assert call.kinds == [START, END]


def test_words_without_a_start_are_announced() -> None:
    """A provider that ends speech and never begins it gets its START with its first words."""
    call = Call()
    call.open("b")
    call.says(END)
    for turn in range(2):
        call.voice(started=True)
        call.passes(1.0)
        assert call.kinds == [START, END] * turn
        call.says(INTERIM, "words")
        assert call.kinds == [*[START, END] * turn, START]
        call.voice(started=False)
        call.says(FINAL, "words")
        call.says(END)
    assert call.kinds == [START, END, START, END]
    call.says(FINAL, "late")  # nobody has spoken since
    assert call.kinds == [START, END, START, END]


def test_words_that_the_last_connection_left_out() -> None:
    """Words that a hedge finds behind an END are speech of their own, and end in silence."""
    call = Call()
    call.says(START)
    call.voice(started=True)
    call.passes(1.0)
    call.says(INTERIM, "one")
    call.voice(started=False)
    call.passes(0.1)
    call.says(END)
    call.passes(6.0)
    assert call.kinds == [START, END]
    call.open("b")
    call.says(FINAL, "one")
    assert call.kinds == [START, END, START, END]
    assert call.emitted[2] == Emit(START, speech_start=0.0)


def test_words_behind_an_added_end() -> None:
    """A connection that tells no turns goes on behind the END that was added for it."""
    call = Call()
    call.says(INTERIM, "one")
    call.voice(started=True)
    call.passes(1.0)
    call.voice(started=False)
    call.passes(1.5)
    call.says(FINAL, "one", commits=False)
    call.passes(2.0)
    assert call.kinds == [START, END]
    call.says(INTERIM, "two")
    assert call.kinds == [START, END, START]
    call.says(FINAL, "two")
    call.passes(2.0)
    assert call.kinds == [START, END, START, END]


def test_speech_that_began_before_the_end_is_still_announced() -> None:
    """A START that local voice activity owes is not forgotten because an END came in between."""
    call = Call()
    call.health["b"].reports_turns = True
    call.open("b")
    call.says(START)
    call.voice(started=True)
    call.says(END)
    call.passes(5.2)
    assert call.kinds == [START, END]
    call.says(INTERIM, "more")
    assert call.kinds == [START, END, START]


def test_nothing_is_held_or_added_without_local_voice_activity() -> None:
    """Without it, all that a provider reports passes, and nothing else comes."""
    call = Call(vad_enabled=False)
    call.passes(1.0)
    call.says(FINAL, "one")
    call.says(START)
    call.says(END)
    call.says(START)
    call.open("b")
    call.passes(9.0)
    assert call.kinds == [START, END, START]


STEPS = st.one_of(
    st.tuples(st.just("says"), st.sampled_from([START, END, INTERIM, FINAL])),
    st.tuples(st.just("uncommitted"), st.just(FINAL)),
    st.tuples(st.just("voice"), st.booleans()),
    st.tuples(st.just("passes"), st.sampled_from([0.1, 0.5, 1.0, 4.0])),
    st.tuples(st.just("switch"), st.tuples(st.integers(0, 2), st.booleans())),
    st.tuples(st.just("outage"), st.none()),
)


@given(st.lists(STEPS, max_size=60), st.booleans())
def test_speech_events_follow_the_caller(script: list[tuple[str, object]], vad: bool) -> None:
    """Whatever providers report, whoever serves and whatever the caller does: START and END
    alternate, and no END comes while he speaks. Words in his speech mean that speech is open, and
    in silence it does not stay open for ever for a provider that reports no turns."""
    policy = WatchdogPolicy()
    call = Call(vad_enabled=vad)
    quiet_since: float = call.now
    """Since when the active connection has sent nothing."""
    for what, value in script:
        before = call.ends_in_speech
        match what, value:
            case (("says" | "uncommitted"), EventKind()):
                quiet_since = call.now
                call.says(
                    value, "word" if value in (INTERIM, FINAL) else "", commits=what == "says"
                )
            case "voice", bool() if vad:
                call.voice(started=value)
            case "passes", float():
                call.passes(value)
            case "switch", (int(number), bool(trimmer_open)):
                call.open("abc"[number]).trimmer.open = trimmer_open
                quiet_since = call.now
            case "outage", None:
                call.active = None
        if call.now - quiet_since < policy.end_of_speech_hold - 0.05:
            assert call.ends_in_speech == before
        kinds = call.kinds
        assert kinds == ([START, END] * len(kinds))[: len(kinds)]
    if vad:
        call.open("a").trimmer.open = False
        call.health["a"].reports_turns = False
        call.voice(started=False)
        call.voice(started=True)
        call.says(FINAL, "word")
        assert call.speech.speaking
        call.voice(started=False)
        call.says(FINAL, "words")
        call.passes(1.0)
        assert not call.speech.speaking
