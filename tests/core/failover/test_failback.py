from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilient_stt.core.events import (
    BreakerChanged,
    BreakerState,
    ErrorKind,
    ProviderFailed,
    ProviderRecovered,
    Replayed,
    Role,
    Switched,
)
from resilient_stt.core.health.report import OperatorLock
from resilient_stt.core.messages import (
    CloseConnection,
    Emit,
    FlushConnection,
    OpenConnection,
    OptionsChanged,
    ReportAvailability,
    ReportEvent,
)
from resilient_stt.core.policy import BreakerPolicy, FailbackPolicy, Policies

from ...support.promises import VOCABULARY, assert_promises, assert_times, events, recognizers
from ...support.simulator import (
    DEAF,
    Drop,
    EmptyFinals,
    Fault,
    Recognizer,
    Refuse,
    Simulation,
    Spoken,
    Stall,
    noise,
    sentence,
    speak,
)

DETECTED = 0.16
"""Seconds of voice after which its start has been reported, with the frame that reports it."""
SOON = Policies(failback=FailbackPolicy(min_dwell=5.0, min_interval=10.0))


def turns(count: int, *, pause: float = 1.5, size: int = 3) -> list[Spoken]:
    """Return `count` sentences, with pauses in between that make turn boundaries."""
    words = iter(VOCABULARY)
    pieces = [
        sentence(" ".join(itertools.islice(words, size)), before=pause if i else 0.6)
        for i in range(count)
    ]
    return speak(*itertools.chain(*pieces))


def reasons(sim: Simulation) -> list[tuple[str, str, str]]:
    return [(e.from_provider, e.to_provider, e.reason) for e in events(sim, Switched)]


# --- the promises

faults: st.SearchStrategy[Fault] = st.one_of(
    st.builds(Drop, st.floats(1, 12).map(lambda s: round(s, 2)), st.booleans()),
    st.builds(Refuse, st.sampled_from(ErrorKind)),
    st.builds(Stall, st.just(0.0) | st.floats(1, 9).map(lambda s: round(s, 2))),
    st.just(Stall(0.0)),
)


@st.composite
def recoveries(draw: st.DrawFn) -> Simulation:
    """A primary that fails for a while, in any way, beside a healthy fallback."""
    words = turns(draw(st.integers(6, 12)), pause=draw(st.sampled_from([0.9, 1.2, 1.6])))
    first = draw(recognizers("a", faults=faults, most=4))
    since = draw(st.floats(0, 8).map(lambda s: round(s, 2)))
    lasts = draw(st.sampled_from([0.0, 2.0, 12.0]))
    window = [(since, since + lasts)]
    down = draw(st.booleans())
    first = replace(first, down=window if down else (), stalled=() if down else window)
    fallback = replace(draw(recognizers("b", most=0)), latency=0.2, endpointing=0.3)
    return Simulation(words, [first, fallback], policies=SOON, tail=2.0)


@given(recoveries())
@settings(max_examples=20)
def test_every_word_once_there_and_back(sim: Simulation) -> None:
    """Failover and failback lose and repeat no word, however the primary recovers."""
    sim.run(within=30)
    assert_promises(sim)
    assert_times(sim, within=0.001)


@given(recoveries())
@settings(max_examples=10)
def test_no_failback_in_mid_turn(sim: Simulation) -> None:
    """Failback happens only after 0.7 s of silence."""
    sim.run(within=30)
    for at, command in sim.commands:
        match command:
            case ReportEvent(Switched(reason="failback")):
                position = at - sim.base
                assert not any(w.start + DETECTED < position < w.end + 0.7 for w in sim.words)


# --- coming back


def test_the_call_returns_to_its_primary() -> None:
    """After 12 s down, two probes pass, and the primary becomes active at a turn boundary."""
    words = turns(16)
    route = [Recognizer("a", down=[(3.0, 15.0)]), Recognizer("b")]
    sim = Simulation(words, route, policies=SOON).run(within=2)
    assert_promises(sim)
    assert sim.served == ["a", "a", "b", "a"]
    assert reasons(sim)[-1] == ("b", "a", "failback")
    (recovered,) = events(sim, ProviderRecovered)
    assert recovered.provider == "a"
    assert recovered.at > 15.0
    reported = [c for _, c in sim.commands if isinstance(c, ReportAvailability)]
    assert reported == [ReportAvailability("a", False), ReportAvailability("a", True)]
    assert len(sim.opened_as(Role.PROBE)) >= 2


def test_recovery_takes_two_utterances() -> None:
    """One final is not enough to recover, nor are two finals for the same words."""
    words = turns(16)
    route = [Recognizer("a", down=[(3.0, 4.0)]), Recognizer("b")]
    sim = Simulation(words, route, policies=SOON).run(within=2)
    (recovered,) = events(sim, ProviderRecovered)
    probes = [
        t - sim.base
        for t, c in sim.commands
        if isinstance(c, OpenConnection) and sim.roles[c.connection] is Role.PROBE
    ]
    spoken = [w.start for w in words[::3]]
    turns_probed = {max(s for s in spoken if s < at) for at in probes if at < recovered.at}
    assert len(turns_probed) == 2


@pytest.mark.parametrize("fault", [DEAF, EmptyFinals()])
def test_a_primary_without_words_stays_in_reserve(fault: Fault) -> None:
    """An open socket proves nothing: without words in its probes the primary stays out."""
    words = turns(20)
    deaf = Recognizer("a", [Drop(3.0, kind=ErrorKind.SERVER), *[fault] * 99])
    sim = Simulation(words, [deaf, Recognizer("b")], policies=SOON).run(within=2)
    assert_promises(sim)
    assert sim.served == ["a", "b"]
    assert events(sim, ProviderRecovered) == []
    failed = [(e.reason, e.detail) for e in events(sim, ProviderFailed)[1:]]
    assert failed
    assert set(failed) == {("stalled", "heard nothing")}


def test_a_probe_that_breaks() -> None:
    """A probe that breaks counts as a failure of its provider; the stream goes on."""
    words = turns(12)
    broken = Recognizer("a", [Drop(3.0, kind=ErrorKind.SERVER), *[Refuse()] * 99])
    sim = Simulation(words, [broken, Recognizer("b")], policies=SOON).run(within=2)
    assert_promises(sim)
    assert sim.served == ["a", "b"]
    assert sim.health["a"].breaker.state(sim.now) is not BreakerState.CLOSED
    assert [e.reason for e in events(sim, ProviderFailed)[1:]] == ["connect"] * (
        len(sim.opened_as(Role.PROBE))
    )


def test_noise_proves_nothing() -> None:
    """If the active connection has no words either, a probe neither passes nor fails."""
    pieces = [noise(1.5, 0.8) for _ in range(6)]
    words = speak(*sentence("one two"), ("three", 2.0, 0.4), *pieces, ("four", 2.0, 0.4))
    broken = Recognizer("a", [Drop(2.5, kind=ErrorKind.SERVER)])
    sim = Simulation(words, [broken, Recognizer("b")], policies=SOON).run(within=2)
    assert_promises(sim)
    assert len(events(sim, ProviderFailed)) == 1
    assert len(sim.opened_as(Role.PROBE)) >= 1


def test_failback_respects_its_intervals() -> None:
    """The fallback keeps the stream for at least 30 s, and failbacks are 120 s apart."""
    words = turns(60, pause=1.5, size=2)
    flapping = Recognizer("a", down=[(3.0, 4.0), (45.0, 46.0)])
    sim = Simulation(words, [flapping, Recognizer("b")]).run(within=2)
    assert_promises(sim)
    moved = [e for e in events(sim, Switched) if e.reason == "failback"]
    assert len(moved) == 1
    left = next(e.at for e in events(sim, Switched) if e.to_provider == "b")
    assert moved[0].at - left >= 30.0
    assert sim.served[-1] == "b"


def test_failback_can_be_turned_off() -> None:
    """With failback disabled no provider is probed, and the fallback stays active."""
    policies = Policies(failback=FailbackPolicy(enabled=False))
    route = [Recognizer("a", [Drop(3.0, kind=ErrorKind.SERVER)]), Recognizer("b")]
    sim = Simulation(turns(12), route, policies=policies).run(within=2)
    assert_promises(sim)
    assert sim.opened == ["a", "b"]


@pytest.mark.parametrize("flushes", [True, False])
def test_the_old_connection_is_flushed_and_drained(flushes: bool) -> None:
    """Before failback the old connection is flushed, if it can be, and has 0.5 s to finish."""
    route = [Recognizer("a", [Drop(3.0, kind=ErrorKind.SERVER)]), Recognizer("b", flushes=flushes)]
    sim = Simulation(turns(16), route, policies=SOON).run(within=2)
    assert_promises(sim)
    closed = next(t for t, c in sim.commands if c == CloseConnection(1))
    flushed = [t for t, c in sim.commands if c == FlushConnection(1)]
    assert [closed - t for t in flushed] == ([pytest.approx(0.5, abs=0.06)] if flushes else [])


def test_speech_interrupts_a_failback() -> None:
    """If speech goes on during the drain, failback waits for the next turn boundary."""
    words = turns(16, pause=1.15)
    route = [Recognizer("a", [Drop(3.0, kind=ErrorKind.SERVER)]), Recognizer("b")]
    policies = replace(SOON, failback=replace(SOON.failback, drain_timeout=0.6))
    sim = Simulation(words, route, policies=policies, tail=3.0).run(within=2)
    assert_promises(sim)
    moved = [e.at for e in events(sim, Switched) if e.reason == "failback"]
    assert moved == [pytest.approx(words[-1].end + 0.7 + 0.6, abs=0.1)]


def test_a_probe_ends_with_the_input() -> None:
    """The end of input closes a probe without a result and returns its lease."""
    words = turns(4)
    route = [Recognizer("a", [Drop(3.0, kind=ErrorKind.SERVER), DEAF]), Recognizer("b")]
    sim = Simulation(words, route, policies=SOON, tail=0.1).run(within=2)
    assert_promises(sim)
    assert sim.opened_as(Role.PROBE) == ["a"]
    assert len(events(sim, ProviderFailed)) == 1
    assert sim.health["a"].breaker.probe_at(sim.now) == sim.now


def test_a_probe_has_no_longer_than_its_lease() -> None:
    """A probe in speech without a pause is closed when its lease expires."""
    words = speak(*sentence("one two"), ("three", 1.0, 0.4))
    words += [Spoken(w, 9.0 + i * 0.4, 9.4 + i * 0.4) for i, w in enumerate(VOCABULARY[:50])]
    broken = Recognizer("a", [Drop(2.5, kind=ErrorKind.SERVER)], interims=False)
    sim = Simulation(words, [broken, Recognizer("b")], policies=SOON).run(within=2)
    assert_promises(sim)
    probe = next(t for t, c in sim.commands if isinstance(c, OpenConnection) and c.connection == 2)
    closed = next(t for t, c in sim.commands if c == CloseConnection(2))
    assert closed - probe == pytest.approx(15.0, abs=0.1)
    assert len(events(sim, ProviderFailed)) == 1


def test_text_of_a_probe_is_not_emitted() -> None:
    """The text of a probe never reaches the consumer."""
    route = [Recognizer("a", [Drop(3.0, kind=ErrorKind.SERVER)], spell=str.upper), Recognizer("b")]
    sim = Simulation(turns(8), route).run(within=2)
    assert sim.opened_as(Role.PROBE)
    late = [c for t, c in sim.commands if isinstance(c, Emit) and t - sim.base > 3.2]
    assert {c.provider for c in late if c.text} == {"b"}


def test_a_provider_that_becomes_active_is_not_probed_on() -> None:
    """If the fallback fails during a probe, the probed provider becomes active; the probe ends."""
    words = turns(8)
    route = [
        Recognizer("a", [Drop(3.0, kind=ErrorKind.SERVER)]),
        Recognizer("b", [Drop(words[12].end - 3.0, kind=ErrorKind.SERVER)]),
    ]
    sim = Simulation(words, route).run(within=2)
    assert_promises(sim)
    assert sim.served == ["a", "b", "a"]
    assert sim.opened_as(Role.PROBE)[:1] == ["a"]


# --- leaving a slow provider


def slowly(*, spare: Recognizer | None = None, pause: float = 4.0) -> Simulation:
    words = speak(*[(w, pause, 0.4) for w in VOCABULARY[:8]])
    slow = Recognizer("a", latency=3.2, interims=False, final_timeout=9.0)
    return Simulation(words, [slow, spare or Recognizer("b")], tail=5.0)


def test_a_provider_with_slow_finals_is_left() -> None:
    """After three finals that came 3 s late, a provider is left between two words."""
    sim = slowly().run(within=3)
    assert_promises(sim)
    assert reasons(sim)[0] == ("a", "b", "slow")
    before = [e for e in sim.finals if e.provider == "a"]
    assert len(before) == 3
    assert ReportAvailability("a", False) in [c for _, c in sim.commands]
    assert events(sim, ProviderFailed) == []


def test_a_slow_provider_is_better_than_none() -> None:
    """If no other provider is available, a slow one stays active."""
    down = Recognizer("b", down=[(0.0, 99.0)])
    sim = slowly(spare=down)
    for _ in range(3):
        sim.health["b"].breaker.record_failure(ErrorKind.SERVER, sim.now)
    sim.run(within=9)
    assert_promises(sim)
    assert sim.served == ["a"]


def test_a_slow_provider_is_not_left_in_the_middle_of_a_word() -> None:
    """A slow provider is left in silence; speech that it has not transcribed is replayed."""
    sim = slowly(pause=0.9).run(within=9)
    assert_promises(sim)
    moved = [t - sim.base for t, c in sim.commands if "'slow'" in str(c)]
    assert not any(w.start + DETECTED < t < w.end for t in moved for w in sim.words)


def test_a_failback_is_reported_like_any_switch() -> None:
    """A failback at a turn boundary replays less than 3 s."""
    route = [Recognizer("a", [Drop(3.0, kind=ErrorKind.SERVER)]), Recognizer("b")]
    sim = Simulation(turns(16), route, policies=SOON).run(within=2)
    back = next(e for e in events(sim, Switched) if e.reason == "failback")
    assert back.replay_from <= back.at
    assert all(e.seconds < 3.0 for e in events(sim, Replayed))


def test_changed_options_of_the_fallback() -> None:
    """A fallback that is reopened for new options has to dwell again before failback."""
    route = [Recognizer("a", [Drop(3.0, kind=ErrorKind.SERVER)]), Recognizer("b")]
    sim = Simulation(turns(16), route, policies=SOON)
    sim.at(sim.base + 9.0, lambda: sim.handle(OptionsChanged("b")))
    sim.run(within=2)
    assert_promises(sim)
    changed, back = [e.at for e in events(sim, Switched)][-2:]
    assert back - changed >= 5.0


def test_a_breaker_that_locks_is_probed_after_its_time() -> None:
    """A provider with a refused key is probed again after its cooldown, and failback follows."""
    quick = replace(SOON, breaker=BreakerPolicy(auth_cooldown=8.0))
    route = [Recognizer("a", [Refuse(ErrorKind.AUTH)]), Recognizer("b")]
    sim = Simulation(turns(16), route, policies=quick).run(within=2)
    assert_promises(sim)
    assert sim.served == ["b", "a"] or sim.served == ["a", "b", "a"]
    probed = next(t for t, c in sim.commands if isinstance(c, OpenConnection) and c.connection == 2)
    assert probed - sim.base >= 8.0


def test_the_next_provider_is_probed_while_another_process_probes_the_first() -> None:
    """A lease that is not to be had for one provider keeps no other one from being probed."""
    down = [(3.0, 4.0)]
    route = [Recognizer("a", down=down), Recognizer("b", down=down), Recognizer("c")]
    sim = Simulation(turns(8), route, policies=SOON)
    sim.health["a"].breaker.probe_lease.shared = True  # and no store ever grants it
    sim.run(within=2)
    assert_promises(sim)
    assert set(sim.opened_as(Role.PROBE)) == {"b"}


# --- an operator's lock


def locked(sim: Simulation, name: str, at: float, *, until: float = math.inf) -> Simulation:
    """The call, with a provider that is locked from a second of it to another."""

    def lock() -> None:
        sim.health[name].breaker.operator_lock = OperatorLock(sim.base + until, 1, "maintenance")

    sim.at(sim.base + at, lock)
    return sim


@pytest.mark.parametrize(
    ("at", "before"), [(0.0, 5.6), (1.3, 5.6), (3.0, 5.6), (4.4, 5.6), (6.0, 10.6)]
)
def test_a_provider_that_an_operator_locks_is_left_at_a_turn_boundary(
    at: float, before: float
) -> None:
    """Its utterance is transcribed to the end, and no later one is sent to it."""
    sim = Simulation(turns(6, pause=4.0), [Recognizer("a"), Recognizer("b")], policies=SOON)
    locked(sim, "a", at).run(within=2)
    assert_promises(sim)
    assert reasons(sim) == [("a", "b", "locked")]
    assert before in [w.start for w in sim.words]
    assert at <= next(e.at for e in events(sim, Switched)) < before
    assert ReportAvailability("a", False) in [c for _, c in sim.commands]
    assert events(sim, ProviderFailed) == []
    changed = [e for e in sim.all_events if isinstance(e, BreakerChanged)]
    assert [(e.provider, e.state, e.by_operator) for e in changed] == [("a", "locked", True)]


def test_a_lock_that_ends() -> None:
    """The stream fails back without a probe: nothing failed."""
    sim = Simulation(turns(10, pause=3.0), [Recognizer("a"), Recognizer("b")], policies=SOON)
    locked(sim, "a", 1.0, until=12.0).run(within=2)
    assert_promises(sim)
    assert reasons(sim) == [("a", "b", "locked"), ("b", "a", "failback")]
    assert sim.opened_as(Role.PROBE) == []


def test_a_locked_provider_is_better_than_none() -> None:
    """A stream that has no other one goes on with it."""
    route = [Recognizer("a"), Recognizer("b", down=[(0.0, 99.0)])]
    sim = Simulation(turns(6), route, policies=SOON)
    for _ in range(3):
        sim.health["b"].breaker.record_failure(ErrorKind.SERVER, sim.now)
    locked(sim, "a", 2.0).run(within=9)
    assert_promises(sim)
    assert sim.served == ["a"]
