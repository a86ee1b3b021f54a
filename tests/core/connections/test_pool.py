from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilient_stt.core.audio.ledger import AudioLedger
from resilient_stt.core.connections.connection import Connection
from resilient_stt.core.events import AudioLost, ErrorKind, ProviderFailed, Role
from resilient_stt.core.messages import (
    ConnectionFailed,
    EventKind,
    OpenConnection,
    ReportEvent,
    TranscriptEvent,
)
from resilient_stt.core.policy import (
    Policies,
    ProviderTraits,
    ReplayPolicy,
    RetryPolicy,
    WatchdogPolicy,
)

from ...support.pools import BarePool, pool_of
from ...support.promises import VOCABULARY, events
from ...support.simulator import (
    DEAF,
    RATE,
    Drop,
    Recognizer,
    Refuse,
    Simulation,
    Spoken,
    speak,
    voiced,
)

LONGEST = 0.5
"""Seconds of a word: the one at the edge of a loss is lost in part, and not emitted."""
CONNECTS = 0.6
"""Seconds that an attempt may take to connect: the words of audio that leaves the window meanwhile
may come or not."""
SMALL = Policies(replay=ReplayPolicy(window=5.0))


def lost(sim: Simulation) -> float:
    return sum(e.seconds for e in events(sim, AudioLost))


def unsent(sim: Simulation) -> float:
    """Return the seconds of voice that no connection was ever sent."""
    spans = sorted(s for c in [*sim.closed, *sim.connections.values()] for s in c.spans)
    seconds, at = 0, 0
    for start, end in [*spans, (sim.pushed, sim.pushed)]:
        if start > at:
            seconds += sum(max(0, min(e, start) - max(s, at)) for s, e in voiced(sim.words))
        at = max(at, end)
    return seconds / RATE


def talk(count: int, *, every: int = 4, gap: float = 0.5) -> list[Spoken]:
    return speak(*[(w, 0.0 if i % every else gap, 0.5) for i, w in enumerate(VOCABULARY[:count])])


# --- speech that no connection was sent is lost


@given(
    st.floats(0, 6).map(lambda s: round(s, 2)),
    st.floats(4, 14).map(lambda s: round(s, 2)),
    st.sampled_from([1, 4, 9]),
    st.sampled_from([0.03, 0.1]),
)
@settings(max_examples=12)
def test_speech_that_no_connection_was_sent_is_reported(
    since: float, lasts: float, every: int, frame: float
) -> None:
    """An outage longer than the window loses exactly the voice that no connection was sent."""
    words = talk(36, every=every)
    route = [Recognizer(n, down=[(since, since + lasts)], latency=0.1) for n in "ab"]
    sim = Simulation(words, route, policies=SMALL, frame=frame).run(within=20)
    missing = sum(w.end - w.start for w in words if w.text not in sim.text)
    assert missing - LONGEST - CONNECTS - 0.1 <= lost(sim) <= missing + 0.1


def test_words_of_audio_that_leaves_the_window_after_it_was_sent() -> None:
    """Words come although their audio leaves the window while the reconnect connects."""
    route = [Recognizer(n, down=[(0.0, 8.5)], latency=0.1) for n in "ab"]
    sim = Simulation(talk(36), route, policies=SMALL, frame=1.0).run()
    missing = sum(w.end - w.start for w in sim.words if w.text not in sim.text)
    assert lost(sim) == pytest.approx(missing, abs=0.1)


def test_an_outage_longer_than_the_window() -> None:
    """Exactly the seconds of speech that left the window are reported as lost."""
    words = talk(40)
    sim = Simulation(words, [Recognizer("a", down=[(0.0, 16.0)])], policies=SMALL).run(within=20)
    sent_from = sim.closed[-1].spans[0][0] / RATE
    missing = sum(min(w.end, sent_from) - w.start for w in words if w.start < sent_from)
    assert lost(sim) == pytest.approx(missing, abs=0.02)
    whole = [w.text for w in words if w.start >= sent_from]
    assert sim.text[-len(whole) :] == whole
    assert len(sim.text) <= len(whole) + 1


def test_losses_are_reported_in_steps_and_never_forgotten() -> None:
    """A loss is reported second by second, and its remainder when the stream gives up."""
    policies = Policies(replay=ReplayPolicy(window=2.0), retry=RetryPolicy(outage_limit=8.0))
    words = speak(*[(word, 0.0, 0.45) for word in VOCABULARY[:20]])
    sim = Simulation(
        words, [Recognizer("a", down=[(0.0, 99.0)])], policies=policies, vad_enabled=False
    )
    sim.run(within=9)
    losses = [e.seconds for e in events(sim, AudioLost)]
    assert sum(losses) == pytest.approx(8.0 - 2.0, abs=0.11)
    assert all(seconds < 1.2 for seconds in losses)
    assert len(losses) < 10


def test_audio_that_comes_faster_than_the_window_is_reported() -> None:
    """Audio that is pushed so fast that it leaves the window unsent is reported as lost."""
    words = speak(*[(w, 0.0, 0.5) for w in VOCABULARY[:40]])
    sim = Simulation(words, [Recognizer("a")], rush=100, policies=SMALL).run(within=30)
    assert lost(sim) == pytest.approx(unsent(sim), abs=0.2)
    assert lost(sim) >= 5.0


def test_audio_that_an_open_connection_was_sent_is_not_lost() -> None:
    """Speech longer than the window is complete if its connection transcribes it at the end."""
    words = speak(*[(w, 0.0, 0.5) for w in VOCABULARY[:30]])
    late = Recognizer("a", interims=False)
    sim = Simulation(words, [late], policies=SMALL, tail=1.0).run(within=5)
    assert sim.text == sim.spoken
    assert events(sim, AudioLost) == []


def test_audio_that_a_dead_connection_was_sent_is_lost() -> None:
    """If the connection dies before it transcribes anything, what left the window is lost."""
    words = speak(*[(w, 0.0, 0.5) for w in VOCABULARY[:30]])
    route = [Recognizer("a", [Drop(12.0)], interims=False), Recognizer("b", interims=False)]
    sim = Simulation(words, route, policies=SMALL, tail=1.0).run(within=9)
    assert lost(sim) == pytest.approx(12.0 - 5.0, abs=0.1)


def test_audio_that_a_hedge_missed_is_not_lost() -> None:
    """Audio that left the window before a hedge was opened is not lost while the first lives."""
    words = speak(*[(w, 0.0, 0.5) for w in VOCABULARY[:36]])
    patient = replace(SMALL, watchdog=WatchdogPolicy(no_interim_timeout=10.0))
    route = [Recognizer("a", latency=9.0, final_timeout=99.0), Recognizer("b", [DEAF])]
    sim = Simulation(words, route, policies=patient, tail=1.0).run(within=12)
    hedge = next(c for _, c in sim.commands if isinstance(c, OpenConnection) and c.provider == "b")
    assert hedge.start > 0
    assert sim.text == sim.spoken
    assert events(sim, AudioLost) == []


# --- the loss tracker


def pool_of_names(*names: str, window: float = 5.0) -> BarePool:
    policies = Policies(replay=ReplayPolicy(window=window))
    ledger = AudioLedger(policies.replay, vad_enabled=True)
    ledger.push(10 * 100, 100)
    return pool_of(ledger, *names, policies=policies)


def reported(connections: BarePool) -> list[float]:
    return [
        c.event.seconds
        for c in connections.outbox.take()
        if isinstance(c, ReportEvent) and isinstance(c.event, AudioLost)
    ]


def opened(connections: BarePool, role: Role, *, cursor: int = 0) -> Connection:
    connection = connections.open(ProviderTraits(name="a"), role, 0.0)
    connection.sender.cursor = cursor
    return connection


@pytest.mark.parametrize(
    ("cursors", "lost_now"),
    [([], 4.0), ([0], 4.0), ([400], 0.0), ([999], 0.0), ([100], 3.0), ([0, 400], 0.0)],
)
def test_dropped_speech_that_no_connection_was_sent(cursors: list[int], lost_now: float) -> None:
    """Of the speech that leaves the window, the part that no open connection was sent is lost."""
    connections = pool_of_names("a")
    for cursor in cursors:
        opened(connections, Role.RECONNECT, cursor=cursor)
    connections.audio_dropped(((0, 400),))
    assert sum(reported(connections)) == pytest.approx(lost_now)


def test_a_probe_saves_no_speech() -> None:
    """Speech that only a probe was sent is lost."""
    connections = pool_of_names("a")
    opened(connections, Role.PROBE, cursor=999)
    connections.audio_dropped(((0, 400),))
    assert reported(connections) == [4.0]


def test_speech_is_lost_when_its_last_connection_closes() -> None:
    """A loss is reported when the last connection with that audio closes and another is active."""
    connections = pool_of_names("a", "b")
    sent = opened(connections, Role.ACTIVE, cursor=999)
    connections.audio_dropped(((0, 400),))
    connections.close(sent, ErrorKind.DROPPED, 0.0)
    assert reported(connections) == []
    opened(connections, Role.ACTIVE)
    assert reported(connections) == [4.0]
    connections.close_all(0.0)
    assert reported(connections) == []  # it is not reported twice


@pytest.mark.parametrize(("committed", "lost_then"), [(400, []), (300, [1.0])])
def test_speech_that_a_final_covered_is_not_lost(committed: int, lost_then: list[float]) -> None:
    """A final saves the dropped speech that it commits, for later connections too, and no more."""
    connections = pool_of_names("a")
    sent = opened(connections, Role.ACTIVE, cursor=999)
    connections.audio_dropped(((0, 400),))
    beside = opened(connections, Role.HEDGE, cursor=200)
    assert beside.missed_speech == ((0, 400),)
    connections.ledger.commit(committed)
    connections.audio_covered(sent)
    connections.close_all(0.0)
    assert reported(connections) == lost_then


def test_speech_that_a_final_did_not_cover_is_lost() -> None:
    """If a connection dies after the first words of dropped speech, the rest is lost."""
    words = speak(*[(w, 0.0, 0.5) for w in VOCABULARY[:30]])
    # finals of six words each, which come 8.5 s late: the first one when 11.5 s have been spoken
    late = Recognizer("a", [Drop(12.0)], interims=False, most=6, latency=8.5)
    policies = Policies(replay=ReplayPolicy(window=5.0))
    sim = Simulation(words, [late, Recognizer("b", interims=False)], policies=policies).run()
    missing = [w for w in words if w.text not in sim.text]
    assert sum(w.end - w.start for w in missing) > 2.0
    assert lost(sim) == pytest.approx(sum(w.end - w.start for w in missing), abs=0.5)


def test_silence_that_a_connection_was_not_sent_is_no_loss() -> None:
    """Of a long frame that leaves the window, only voice behind the cursor counts as missed."""
    connections = pool_of_names("a", window=10.0)
    connections.ledger.speech_started(0)
    connections.ledger.speech_ended(200)
    opened(connections, Role.ACTIVE, cursor=200)
    connections.audio_dropped(connections.ledger.push(400, 100))
    connections.report_loss()
    assert reported(connections) == []


# --- failures


@pytest.mark.parametrize(("variable", "named"), [("A_KEY", "A_KEY"), ("", "its API key")])
def test_a_refused_key_is_reported_once_with_its_name(variable: str, named: str) -> None:
    """The event names the key to check, and the same failure is not reported again."""
    connections = pool_of_names("a")
    for _ in range(2):
        connection = connections.open(
            ProviderTraits(name="a", key_variable=variable), Role.RECONNECT, 0.0
        )
        connections.fail(connection, ConnectionFailed(connection.id, ErrorKind.AUTH, "401"), 0.0)
    advice = f"check {named}; not tried again for 300 s"
    failed = ProviderFailed(
        at=10.0, provider="a", reason=ErrorKind.AUTH, detail="401", advice=advice
    )
    reports = [c.event for c in connections.outbox.take() if isinstance(c, ReportEvent)]
    assert [event for event in reports if isinstance(event, ProviderFailed)] == [failed]


def test_one_wrong_key_and_a_fallback() -> None:
    """A wrong key is tried once and reported once, and the fallback takes over."""
    words = talk(40)
    route = [Recognizer("a", [Refuse(ErrorKind.AUTH)] * 99), Recognizer("b")]
    sim = Simulation(words, route).run(within=2)
    assert sim.text == sim.spoken
    assert sim.opened == ["a", "b"]
    assert len(events(sim, ProviderFailed)) == 1


def test_it_shows_its_state() -> None:
    """The repr shows the open connections and their roles."""
    connections = pool_of_names("a")
    assert repr(connections).startswith("ConnectionPool([], LossTracker(")
    opened(connections, Role.PROBE)
    assert repr(connections).startswith("ConnectionPool([a#0 probe], LossTracker(")


def drained_after(pool: BarePool, connection: Connection) -> float:
    """The seconds of silence after the end of the input, at 1.0 s, that finish a connection."""
    drained_at = pool.drained_at(connection)
    assert drained_at is not None
    return round(drained_at - connection.backlog(1.0) - 1.0, 6)


def test_a_stream_that_was_never_seen_to_end_is_not_waited_for() -> None:
    """But for words that are missing, or that the provider has begun to give."""
    policy = WatchdogPolicy()
    ledger = AudioLedger(ReplayPolicy(), vad_enabled=True)
    pool = pool_of(ledger)
    ledger.push(RATE, RATE)
    connections = [pool.open(ProviderTraits(name="a"), Role.ACTIVE, 0.0) for _ in range(2)]
    pool.end_input(0.0)
    for connection in connections:
        pool.feed(connection, 1.0)
    first, connection = connections
    assert drained_after(pool, first) == policy.drain_timeout
    ledger.vad_enabled = False
    pool.mark_drained(first)  # whether words are missing is not known
    assert first.finished
    assert drained_after(pool, connection) == policy.drain_timeout
    ledger.vad_enabled = True
    pool.mark_drained(first)
    assert drained_after(pool, connection) == policy.told_all_timeout
    connection.interpret(TranscriptEvent(EventKind.INTERIM, "a word"), 1.0)
    assert drained_after(pool, connection) == policy.drain_timeout
    pool.mark_drained(connection)
    pool.mark_ended(first)
    assert pool.drained_at(first) is None


def test_words_that_are_missing_are_waited_for() -> None:
    """Finals without times are committed later, but have told the words."""
    policy = WatchdogPolicy()
    ledger = AudioLedger(ReplayPolicy(), vad_enabled=True)
    pool = pool_of(ledger)
    ledger.push(RATE, RATE)
    pool.mark_drained(pool.open(ProviderTraits(name="a"), Role.PROBE, 0.0))
    connection = pool.open(ProviderTraits(name="a"), Role.ACTIVE, 0.0)
    ledger.speech_started(0)
    ledger.speech_ended(RATE // 2)
    pool.end_input(0.0)
    pool.feed(connection, 1.0)
    assert drained_after(pool, connection) == policy.drain_timeout
    connection.untimed_finals.append(RATE)
    assert drained_after(pool, connection) == policy.told_all_timeout
