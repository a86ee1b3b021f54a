"""Audio on which nothing is decided: `FailoverEngine.forward`, and what ends a lull."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from resilient_stt.core.engine import MAX_BEHIND, MAX_UNCOUNTED, FailoverEngine
from resilient_stt.core.events import ErrorKind, Role
from resilient_stt.core.health.breaker import Breaker
from resilient_stt.core.health.provider import ProviderHealth
from resilient_stt.core.health.report import OperatorLock
from resilient_stt.core.hedging.budget import HedgeBudget
from resilient_stt.core.messages import (
    AudioPushed,
    Command,
    ConnectionFailed,
    DeadlineReached,
    EventKind,
    Input,
    LanguageChanged,
    OpenConnection,
    ProviderEvent,
    ReleaseAudio,
    SendAudio,
    SpeechEnded,
    SpeechStarted,
    StreamOpened,
    TranscriptEvent,
    Word,
)
from resilient_stt.core.policy import Pace, Policies, ProviderTraits, ReplayPolicy

from ..support.promises import simulations
from ..support.simulator import Simulation, routing

RATE = 1_000
FRAME = 20
"""Samples of a frame: 20 ms."""


class Call:
    """A stream on one provider or two, pushed in real time."""

    def __init__(
        self,
        *providers: ProviderTraits,
        policies: Policies | None = None,
        vad_enabled: bool = True,
    ) -> None:
        policies = policies or Policies()
        traits = providers or (ProviderTraits(name="a"), ProviderTraits(name="b"))
        self.health = {p.name: ProviderHealth(Breaker(policies.breaker)) for p in traits}
        self.engine = FailoverEngine(
            routing(list(traits)), self.health, policies, HedgeBudget(), vad_enabled=vad_enabled
        )
        self.now, self.end = 100.0, 0
        self.noted: list[tuple[float, str]] = []
        """What was returned to `live`, with its time."""
        self.decided: list[float] = []
        """The seconds of audio at which something was decided because of a frame alone."""
        self.commands = self.engine.handle(StreamOpened(), self.now)

    def push(self, seconds: float) -> list[Command]:
        """Push audio in frames, as a stream does. Returns the commands."""
        commands: list[Command] = []
        for _ in range(round(seconds * RATE / FRAME)):
            self.now += FRAME / RATE
            deadline = self.engine.deadline()
            start, self.end = self.end, self.end + FRAME
            if connections := self.engine.forward(FRAME, RATE, self.now):
                commands += [SendAudio(each, start, self.end) for each in connections]
                assert self.engine.deadline() == deadline
                continue
            commands += self.engine.handle(AudioPushed(FRAME, RATE), self.now)
            if not self.engine._is_lull_known:
                self.decided.append(self.end / RATE)
        return commands

    def take(self, message: Input) -> list[Command]:
        return self.engine.handle(message, self.now)

    def live(self, seconds: float, what: str) -> None:
        """Let something happen and push audio, with the timer that a stream has; note it all."""
        self._note(self._happens(what))
        for _ in range(round(seconds * RATE / FRAME)):
            frame_at = self.now + FRAME / RATE
            while (due := self.engine.deadline()) is not None and due < frame_at:
                self.now = max(self.now, due)
                self._note(self.take(DeadlineReached()))
            self.now = frame_at - FRAME / RATE
            self._note(self.push(FRAME / RATE))

    def _happens(self, what: str) -> list[Command]:
        engine = self.engine
        connections = sorted(engine._pool, key=lambda c: c.role is not Role.ACTIVE)
        if what == "speech":
            speaking = engine._ledger.speaking
            return self.take(SpeechEnded(self.end) if speaking else SpeechStarted(self.end))
        if len(connections) <= (other := int(what.startswith("other"))):
            return []
        connection = connections[other].id
        if what == "other fails":
            return self.take(ConnectionFailed(connection, ErrorKind.DROPPED, backoff=0.5))
        text = "" if what.endswith("empty") else "hello"
        return self.take(ProviderEvent(connection, TranscriptEvent(EventKind.FINAL, text)))

    def _note(self, commands: list[Command]) -> None:
        """Note commands with their times; audio may be released later."""
        at = round(self.now, 6)
        self.noted += [(at, repr(c)) for c in commands if not isinstance(c, ReleaseAudio)]

    def final(self, text: str, since: float, until: float) -> list[Command]:
        words = (Word(text, since, until),)
        event = TranscriptEvent(EventKind.FINAL, text, words, since, until)
        return self.take(ProviderEvent(0, event))

    def is_lull(self) -> bool:
        """Whether nothing is decided for longer than audio may stay uncounted; asks a copy."""
        call = deepcopy(self)
        call.decided.clear()
        call.push(MAX_UNCOUNTED + FRAME / RATE)
        return not call.decided


def without_lulls(sim: Simulation) -> Simulation:
    """The same call by an engine that decides on every frame."""
    world: dict[str, Any] = sim._world
    same = Simulation(sim.words, deepcopy(list(sim.recognizers.values())), **world)
    same.engine._next_lull = lambda: None  # type: ignore[method-assign]
    return same


def noted(sim: Simulation) -> list[tuple[float, str]]:
    """The commands with their times; audio may be released later."""
    return [(at, repr(c)) for at, c in sim.commands if not isinstance(c, ReleaseAudio)]


@given(simulations(times=("words", "end", "none")))
@settings(max_examples=60)
def test_the_same_is_decided_at_the_same_time(sim: Simulation) -> None:
    """Whatever the providers do, a call is the same as if each frame were decided on."""
    each = without_lulls(sim)
    assert noted(sim.run(within=60)) == noted(each.run(within=60))


TRAITS: tuple[dict[str, Any], ...] = (
    {"interim_results": True, "interims_certain": True},
    {"interim_results": True, "endpointing": 0.5, "manual_flush": True},
    {"end_of_turn_timeout": 3.0, "interim_results": True, "interims_certain": True},
    {},
)
"""Of a provider, by kind: it shows words soon, may show them, decides on turns, or gives finals."""

steps = st.lists(
    st.tuples(
        st.sampled_from([0.02, 0.1, 0.3, 0.5, 1.0, 3.0]),
        st.sampled_from(["speech", "text", "empty", "other text", "other empty", "other fails"]),
    ),
    min_size=3,
    max_size=25,
)
"""What happens next, and how many seconds of audio are pushed after that."""


@given(
    first=st.sampled_from(TRAITS),
    second=st.sampled_from(TRAITS),
    is_fallback=st.booleans(),
    heard=st.booleans(),
    steps=steps,
)
@example(  # somebody speaks on, so that an overdue final may wait
    *2 * TRAITS[:1],
    False,
    False,
    [(0.02, "speech"), (0.3, "text"), (1.0, "speech"), (0.1, "speech")],
)
@example(  # empty finals behind a sound too short for a word
    *2 * TRAITS[:1],
    False,
    False,
    [
        (0.02, "speech"),
        (0.02, "speech"),
        (0.02, "speech"),
        (0.02, "empty"),
        (0.3, "empty"),
        (0.02, "empty"),
    ],
)
@example(  # a hedge that takes over, and says nothing to what is spoken from then on
    *2 * TRAITS[:1], False, False, [(3.0, "speech"), (3.0, "other empty"), (3.0, "other text")]
)
@settings(max_examples=80)
def test_a_call_beside_hedges_and_probes(
    first: dict[str, Any],
    second: dict[str, Any],
    is_fallback: bool,
    heard: bool,
    steps: list[tuple[float, str]],
) -> None:
    """Whoever listens beside the active connection, the same is decided at the same time."""
    calls: list[Call] = []
    for _ in range(2):
        call = Call(ProviderTraits(name="a", **first), ProviderTraits(name="b", **second))
        if calls:
            call.engine._next_lull = lambda: None  # type: ignore[method-assign]
        if heard:
            call.live(1.0, "speech")
            call.live(1.0, "text")
            call.live(1.0, "speech")
        if is_fallback:
            on_a_fallback(call)
        for seconds, what in steps:
            call.live(seconds, what)
        calls.append(call)
    assert calls[0].noted == calls[1].noted


def test_a_pause_behind_a_final_that_came_in_speech() -> None:
    """A FINAL may come before local voice activity notes the silence.

    What seems to be voice behind it is over with the pause, and the next sentence has its whole
    deadline (test_a_users_silence_is_not_a_fault).
    """
    traits = ProviderTraits(name="a", interim_results=True, interims_certain=True)
    call = Call(traits, ProviderTraits(name="b"))
    call.take(SpeechStarted(0))
    call.take(ProviderEvent(0, TranscriptEvent(EventKind.START)))
    call.push(1.0)
    call.final("one", 0.1, 0.8)
    call.push(0.1)
    call.take(SpeechEnded(800))
    call.take(ProviderEvent(0, TranscriptEvent(EventKind.END)))
    call.push(0.7)
    call.take(SpeechStarted(call.end - 100))
    began = call.now
    call.push(1.0)
    active = call.engine._pool.active
    assert active is not None
    stall = active.stall_detector.next_stall(call.engine._ledger, call.end)
    assert stall is not None
    assert stall.due >= began + Policies().watchdog.no_interim_timeout


def test_a_silent_caller_costs_no_decision() -> None:
    """While nobody speaks, audio is forwarded, old audio is released, and nothing is decided."""
    call = Call()
    commands = call.push(10.0)
    assert len(call.decided) == 1
    sent = [(c.start, c.end) for c in commands if isinstance(c, SendAudio)]
    assert sent == [(at, at + FRAME) for at in range(0, call.end, FRAME)]
    released = [c.before for c in commands if isinstance(c, ReleaseAudio)]
    policy = ReplayPolicy()
    kept = policy.lookback + policy.commit_grace + MAX_BEHIND + 2 * FRAME / RATE
    assert call.end - released[-1] <= kept * RATE


def test_without_voice_activity() -> None:
    """Without VAD all audio may be speech, and still nothing is to be decided on a frame."""
    call = Call(vad_enabled=False)
    call.push(10.0)
    assert len(call.decided) == 1


def test_speech_is_decided_on_where_it_means_something() -> None:
    """In speech it is decided when there is enough voice to mean something, not with each frame."""
    call = Call()
    call.push(1.0)
    call.take(SpeechStarted(900))
    call.push(1.5)
    assert len(call.decided) < 8
    call.final("hello", 1.0, 2.2)
    call.push(0.3)
    call.take(SpeechEnded(2_450))
    before = len(call.decided)
    call.push(6.0)
    assert len(call.decided) - before < 8


def test_a_deadline_ends_it() -> None:
    """At the engine's deadline a frame is not forwarded, whether the timer has come or not."""
    call = Call(ProviderTraits(name="a", interim_results=True), ProviderTraits(name="b"))
    call.push(1.0)
    call.take(SpeechStarted(900))
    call.push(1.0)
    assert call.is_lull()
    deadline = call.engine.deadline()
    assert deadline is not None
    assert call.engine.forward(FRAME, RATE, deadline) == ()
    assert call.engine.forward(FRAME, RATE, deadline - 0.01) == (0,)


def test_other_streams_may_change_a_timeout() -> None:
    """A provider whose finals came earlier elsewhere is suspect earlier here."""
    call = Call()
    call.push(1.0)
    assert call.is_lull()
    for _ in range(100):
        call.health["a"].latency.add(0.7)
    assert not call.is_lull()
    call.push(0.1)
    assert call.is_lull()


def test_other_streams_may_show_that_it_gives_interims() -> None:
    """A provider that only promises interim transcripts may keep that elsewhere."""
    call = Call(ProviderTraits(name="a", interim_results=True, interims_certain=False))
    call.push(1.0)
    assert call.is_lull()
    for _ in range(50):
        call.health["a"].habits.text_came(0.5, in_speech=True)
    assert not call.is_lull()


def test_audio_beyond_the_pace_is_decided_on() -> None:
    """A burst that the provider may not be sent yet is held back as ever."""
    call = Call(ProviderTraits(name="a", pace=Pace(burst=0.1, rate=1.0)))
    call.push(1.0)
    assert call.engine.forward(200, RATE, call.now) == ()
    commands = call.engine.handle(AudioPushed(200, RATE), call.now)
    assert sum(c.end - c.start for c in commands if isinstance(c, SendAudio)) <= 100
    assert not call.is_lull()


def test_a_language_that_was_asked_for() -> None:
    """While a change of language waits for the end of a sentence, every frame is decided on."""
    call = Call()
    call.push(1.0)
    call.take(SpeechStarted(900))
    call.push(0.5)
    call.take(SpeechEnded(1_400))
    call.take(LanguageChanged("es"))
    call.push(0.04)
    assert not call.is_lull()


def test_the_window_loses_nothing_in_a_lull() -> None:
    """In the smallest window, silence is committed before it would leave the window as lost."""
    call = Call(policies=Policies(replay=replace(ReplayPolicy(), window=6.0)))
    commands = call.push(30.0)
    assert {type(c).__name__ for c in commands} == {"SendAudio", "ReleaseAudio"}


def on_a_fallback(call: Call) -> Breaker:
    """Put another provider before the one that serves; return its breaker, which had a failure."""
    call.push(1.0)
    breaker = call.health["b"].breaker
    breaker.record_failure(ErrorKind.DROPPED, call.now)
    call.engine._selector.set_route((ProviderTraits(name="b"), ProviderTraits(name="a")), "")
    call.take(DeadlineReached())
    call.push(0.2)
    return breaker


def test_a_fallback_costs_no_decision_in_silence() -> None:
    """While the preferred provider is not back, a silent caller is decided on as little as ever."""
    call = Call()
    on_a_fallback(call)
    call.decided.clear()
    call.push(10.0)
    assert len(call.decided) <= 2


def test_other_streams_may_prove_a_preferred_provider() -> None:
    """In silence, the return begins with one of the next frames."""
    call = Call()
    breaker = on_a_fallback(call)
    call.push(60.0)
    assert call.is_lull()
    breaker.record_text(call.now)
    opened = [c for c in call.push(1.0) if isinstance(c, OpenConnection)]
    assert [c.provider for c in opened] == ["b"]


def test_a_return_that_is_not_due_yet() -> None:
    """A stream stays on a fallback for a while, and wakes up to leave it."""
    call = Call()
    on_a_fallback(call).record_text(call.now)
    call.push(2.0)
    assert call.is_lull()
    assert call.engine.deadline() == 100.0 + Policies().failback.min_dwell


def test_a_probe_costs_no_decision() -> None:
    """A probe begins with an utterance, as soon as it is due, and hears it like everybody else."""
    call = Call()
    on_a_fallback(call)
    call.push(60.0)
    commands = call.take(SpeechStarted(call.end - 50))
    opened = [c for c in commands if isinstance(c, OpenConnection)]
    assert [c.role for c in opened] == [Role.PROBE]
    call.push(0.3)
    assert call.is_lull()
    sent = [c.connection for c in call.push(0.1) if isinstance(c, SendAudio)]
    assert set(sent) == {0, opened[0].connection}


def test_a_probe_that_becomes_due_in_an_utterance() -> None:
    """At the beginning of one it is made at its time, without a decision for each frame before."""
    call = Call()
    breaker = on_a_fallback(call)
    at = breaker.probe_at(call.now)
    assert at is not None
    call.push(at - call.now - 0.1)
    call.take(SpeechStarted(call.end))
    call.decided.clear()
    opened = [c for c in call.push(0.2) if isinstance(c, OpenConnection)]
    assert [c.role for c in opened] == [Role.PROBE]
    assert min(call.decided) >= (at - 100.0) - FRAME / RATE


def test_noise_beside_a_hedge_costs_no_decision() -> None:
    """A hedge that has found no words is sent all audio, and decided on when its time is over."""
    traits = ProviderTraits(name="a", interim_results=True, interims_certain=True)
    call = Call(traits, replace(traits, name="b"))
    call.push(1.0)
    call.take(SpeechStarted(900))
    opened: list[OpenConnection] = []
    while not opened:
        opened += [c for c in call.push(0.1) if isinstance(c, OpenConnection)]
        call.take(DeadlineReached())
    (hedge,) = opened
    assert hedge.role is Role.HEDGE
    call.push(0.2)
    assert call.is_lull()
    call.take(ProviderEvent(hedge.connection, TranscriptEvent(EventKind.INTERIM, "hello")))
    assert not call.is_lull()


def test_an_empty_frame_in_a_lull() -> None:
    """Nothing is sent of a frame without samples, and the lull goes on."""
    call = Call()
    call.push(1.0)
    assert call.is_lull()
    assert call.engine.forward(0, RATE, call.now) == ()
    sent = call.take(AudioPushed(0, RATE))
    assert not any(isinstance(command, SendAudio) for command in sent)
    assert call.is_lull()


def test_a_lock_in_silence_ends_it() -> None:
    """The provider is left with the next frames, not at the end of the next utterance."""
    call = Call()
    call.push(5.0)
    assert call.is_lull()
    call.health["a"].breaker.operator_lock = OperatorLock(call.now + 60.0, 1)
    assert not call.is_lull()
    opened = [c for c in call.push(5.0) if isinstance(c, OpenConnection)]
    assert [c.provider for c in opened] == ["b"]
