"""The events of a stream tell its whole story; the simulator checks that each of them is complete.

`assert_complete` runs at the end of every simulated stream: each connection was opened and closed
once, in the roles that were reported, and every doubt was settled.
"""

from __future__ import annotations

from typing import TypeVar

import pytest

from resilient_stt.core.events import (
    AudioSent,
    BreakerChanged,
    BreakerState,
    CloseReason,
    ConnectionClosed,
    ConnectionEstablished,
    ConnectionOpened,
    ConnectionPromoted,
    ErrorKind,
    Event,
    FinalEmitted,
    ProbeFailed,
    ProbePassed,
    Role,
    StallCleared,
    StallReason,
    StallSuspected,
    StreamEnded,
    StreamEndReason,
    SwitchCount,
)
from resilient_stt.core.messages import (
    AudioPushed,
    AudioTaken,
    CloseConnection,
    EventKind,
    InputEnded,
    ProviderEvent,
    ReportEvent,
    SpeechEnded,
    SpeechStarted,
    StreamClosed,
    StreamOpened,
    TranscriptEvent,
    Word,
)
from resilient_stt.core.policy import BreakerPolicy, FailbackPolicy, Policies

from ..support.accounts import assert_adds_up, assert_complete
from ..support.promises import TWO, alone
from ..support.simulator import (
    RATE,
    Drop,
    Recognizer,
    Refuse,
    Simulation,
    Spoken,
    Stall,
    sentence,
    speak,
)

E = TypeVar("E", bound=Event)


def told(sim: Simulation, kind: type[E]) -> list[E]:
    """Return all events of a kind."""
    return [event for event in sim.all_events if isinstance(event, kind)]


def accounts(sim: Simulation) -> StreamEnded:
    (ended,) = told(sim, StreamEnded)
    return ended


def test_a_stream_without_trouble() -> None:
    """One connection, its finals and the accounts: no doubt, no breaker, no switch."""
    sim = Simulation(TWO, [Recognizer("a", latency=0.1)]).run(within=2)
    (opened,), (established,), (closed,) = (
        told(sim, ConnectionOpened),
        told(sim, ConnectionEstablished),
        told(sim, ConnectionClosed),
    )
    assert (opened.provider, opened.connection, opened.role) == ("a", 0, Role.ACTIVE)
    assert established.connection == 0
    assert closed.reason is CloseReason.STREAM_ENDED
    length = sim.pushed / RATE
    assert closed.seconds == pytest.approx(length)
    ended = accounts(sim)
    assert ended.reason is StreamEndReason.FINISHED
    assert (ended.lost, ended.buffered, ended.replayed) == (0, 0, 0)
    assert ended.sent == (AudioSent(provider="a", role=Role.ACTIVE, seconds=length),)
    assert ended.words == {"a": len(sim.text)}
    assert ended.switches == ()
    assert sum(event.words for event in told(sim, FinalEmitted)) == len(sim.text)
    assert ended.lateness.count == len(told(sim, FinalEmitted)) == 3
    kinds = {ConnectionOpened, ConnectionEstablished, FinalEmitted, ConnectionClosed, StreamEnded}
    assert {type(event) for event in sim.all_events} == kinds


def test_a_drop_in_mid_word() -> None:
    """The failed connection and its successor, what was replayed, and who gave which words."""
    route = [Recognizer("a", [Drop(2.0), *[Refuse()] * 9]), Recognizer("b")]
    sim = Simulation(TWO, route).run(within=2)
    reasons = [(c.provider, c.reason) for c in told(sim, ConnectionClosed)]
    assert reasons[0] == ("a", ErrorKind.DROPPED)
    assert reasons[-1] == ("b", CloseReason.STREAM_ENDED)
    ended = accounts(sim)
    assert 0 < ended.replayed < ended.pushed
    assert sum(ended.words.values()) == len(sim.text)
    assert set(ended.words) <= {"a", "b"}
    assert SwitchCount(from_provider="a", to_provider="a", reason=ErrorKind.DROPPED, count=1) in (
        ended.switches
    )
    assert ended.lateness.worst >= ended.lateness.p99 >= ended.lateness.p50 > 0


def test_a_hedge_that_is_promoted() -> None:
    """The silent connection is suspect until it is left; what the hedge was sent is hedged."""
    route = [Recognizer("a", [Stall(0.0)]), Recognizer("b")]
    sim = Simulation(TWO, route).run(within=3)
    suspected = told(sim, StallSuspected)
    assert (suspected[0].provider, suspected[0].connection) == ("a", 0)
    (promoted,) = told(sim, ConnectionPromoted)
    assert (promoted.provider, promoted.from_role) == ("b", Role.HEDGE)
    assert told(sim, StallCleared) == []
    left = next(c for c in told(sim, ConnectionClosed) if c.connection == 0)
    assert left.reason is ErrorKind.STALLED
    ended = accounts(sim)
    assert ended.hedged > 0
    sent = {(part.provider, part.role): part.seconds for part in ended.sent}
    assert sent["b", Role.HEDGE] == pytest.approx(ended.hedged)
    assert sent["b", Role.ACTIVE] > 0


def test_a_connection_that_answers_after_all() -> None:
    """The suspicion is cleared, and the hedge closed because it is not needed."""
    faults = [Stall(1.0, lasts=3.0)]
    words = speak(*sentence("one two three"), ("four", 4.0, 0.4))
    sim = Simulation(words, [Recognizer("a", faults), Recognizer("b", latency=2.9)], tail=1.0)
    sim.run(within=2)
    suspected, cleared = told(sim, StallSuspected), told(sim, StallCleared)
    assert len(suspected) == len(cleared) >= 1
    assert cleared[0].trigger is suspected[0].trigger in StallReason
    assert cleared[0].duration > 0
    hedges = [c for c in told(sim, ConnectionClosed) if c.role is Role.HEDGE]
    assert {c.reason for c in hedges} == {CloseReason.NOT_NEEDED}


def turns(count: int) -> list[Spoken]:
    """So many sentences of three words."""
    words = [f"w{n}" for n in range(3 * count)]
    pieces = (sentence(" ".join(words[n : n + 3]), before=1.0) for n in range(0, len(words), 3))
    return speak(*(piece for turn in pieces for piece in turn))


def test_a_provider_that_comes_back() -> None:
    """Its breaker opens, lets probes through and closes; two of them pass."""
    policies = Policies(
        failback=FailbackPolicy(min_dwell=3.0), breaker=BreakerPolicy(consecutive_failures=1)
    )
    route = [Recognizer("a", down=[(3.0, 12.0)]), Recognizer("b")]
    sim = Simulation(turns(16), route, policies=policies).run(within=2)
    states = [c.state for c in told(sim, BreakerChanged) if c.provider == "a"]
    assert states[0] is BreakerState.OPEN
    assert BreakerState.HALF_OPEN in states
    assert states[-1] is BreakerState.CLOSED
    passed, failed = told(sim, ProbePassed), told(sim, ProbeFailed)
    assert len(passed) >= 2
    assert {probe.role for probe in [*passed, *failed]} == {Role.PROBE}
    assert accounts(sim).probed > 0


def test_a_stream_that_is_closed_in_the_middle() -> None:
    """Nothing is emitted, every connection is closed, and what is pending is buffered."""
    engine = alone()
    commands = engine.handle(StreamOpened(), 0.0)
    commands += engine.handle(AudioPushed(RATE, RATE), 1.0)
    commands += engine.handle(SpeechStarted(RATE // 2), 1.0)
    commands += engine.handle(AudioTaken(0), 1.0)
    commands += engine.handle(AudioTaken(0), 1.1)
    commands += engine.handle(StreamClosed(), 2.0)
    assert CloseConnection(0) in commands
    assert engine.done
    assert engine.handle(StreamClosed(), 3.0) == []
    events = [c.event for c in commands if isinstance(c, ReportEvent)]
    assert_complete(events)
    assert len([e for e in events if isinstance(e, ConnectionEstablished)]) == 1
    ended = events[-1]
    assert isinstance(ended, StreamEnded)
    assert_adds_up(ended, RATE)
    assert (ended.reason, ended.pushed, ended.buffered) == (StreamEndReason.CLOSED, 1.0, 1.0)


def test_a_stream_that_was_never_opened() -> None:
    """It has accounts, too: its task may be cancelled before it begins."""
    engine = alone()
    (report,) = engine.handle(StreamClosed(), 0.0)
    assert isinstance(report, ReportEvent)
    assert isinstance(report.event, StreamEnded)
    assert report.event.pushed == 0


@pytest.mark.parametrize(
    ("vad_enabled", "timed", "expected"),
    [(True, True, 1.1), (False, True, 1.1), (True, False, 1.0), (False, False, None)],
)
def test_how_late_a_final_is(vad_enabled: bool, timed: bool, expected: float | None) -> None:
    """From the end of its last word, or of the voice before it, on the clock of the audio; and on
    that of the world since audio came last.
    """
    engine = alone(vad_enabled=vad_enabled)
    engine.handle(StreamOpened(), 0.0)
    engine.handle(AudioPushed(2 * RATE, RATE), 2.0)
    if vad_enabled:
        engine.handle(SpeechStarted(RATE), 2.0)
        engine.handle(SpeechEnded(round(1.5 * RATE)), 2.0)
    event = TranscriptEvent(EventKind.FINAL, "yes")
    if timed:
        event = TranscriptEvent(EventKind.FINAL, "yes", (Word("yes", 1.0, 1.4),), 1.0, 1.4)
    commands = engine.handle(ProviderEvent(0, event), 2.5)
    commands += engine.handle(InputEnded(), 2.5)
    (final,) = [
        c.event
        for c in commands
        if isinstance(c, ReportEvent) and isinstance(c.event, FinalEmitted)
    ]
    assert final.words == 1
    assert final.lateness == (None if expected is None else pytest.approx(expected))
