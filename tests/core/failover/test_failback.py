from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilient_stt.core.events import (
    ErrorKind,
    ProviderFailed,
    ProviderRecovered,
    Replayed,
    Switched,
)
from resilient_stt.core.health.breaker import BreakerState
from resilient_stt.core.messages import (
    CloseConnection,
    Emit,
    FlushConnection,
    OpenConnection,
    OptionsChanged,
    ReportAvailability,
    ReportEvent,
    Role,
)
from resilient_stt.core.policy import BreakerPolicy, FailbackPolicy, Policies

from ...support.promises import VOCABULARY, assert_promises, assert_times, events, recognizers
from ...support.simulator import (
    DEAF,
    Drops,
    Fault,
    Recognizer,
    Refused,
    SaysEmpty,
    Simulation,
    Spoken,
    Stalls,
    noise,
    sentence,
    speak,
)

HEARD = 0.16
"""Voice after which the voice detector has told of it, with the frame that tells it."""
SOON = Policies(failback=FailbackPolicy(min_dwell=5.0, min_interval=10.0))


def turns(count: int, *, pause: float = 1.5, size: int = 3) -> list[Spoken]:
    """Sentences, each followed by a pause that makes a turn boundary."""
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
    st.builds(Drops, st.floats(1, 12).map(lambda s: round(s, 2)), st.booleans()),
    st.builds(Refused, st.sampled_from(ErrorKind)),
    st.builds(Stalls, st.just(0.0) | st.floats(1, 9).map(lambda s: round(s, 2))),
    st.just(Stalls(0.0)),
)


@st.composite
def recoveries(draw: st.DrawFn) -> Simulation:
    """A primary that fails for a while, in any way, beside a fallback that is well."""
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
    """Leaving and coming back lose and repeat nothing, however the primary recovers."""
    sim.run(within=30)
    assert_promises(sim)
    assert_times(sim, within=0.001)


@given(recoveries())
@settings(max_examples=10)
def test_nobody_comes_back_in_mid_turn(sim: Simulation) -> None:
    """A move to a better provider is made where nobody has spoken for 0.7 s."""
    sim.run(within=30)
    for at, command in sim.commands:
        match command:
            case ReportEvent(Switched(reason="failback")):
                position = at - sim.base
                assert not any(w.start + HEARD < position < w.end + 0.7 for w in sim.words)


# --- coming back


def test_the_call_returns_to_its_primary() -> None:
    """Down for 12 s: two utterances prove that it hears, and at a turn boundary it serves again."""
    words = turns(16)
    route = [Recognizer("a", down=[(3.0, 15.0)]), Recognizer("b")]
    sim = Simulation(words, route, policies=SOON).run(within=2)
    assert_promises(sim)
    assert sim.served == ["a", "a", "b", "a"]
    assert reasons(sim)[-1] == ("b", "a", "failback")
    (recovered,) = events(sim, ProviderRecovered)
    assert recovered.provider == "a"
    assert recovered.at > 15.0
    heard = [c for _, c in sim.commands if isinstance(c, ReportAvailability)]
    assert heard == [ReportAvailability("a", False), ReportAvailability("a", True)]
    assert len(sim.opened_as(Role.PROBE)) >= 2


def test_two_utterances_prove_that_it_hears() -> None:
    """One final is not enough, nor twice the same words."""
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


@pytest.mark.parametrize("fault", [DEAF, SaysEmpty()])
def test_a_primary_that_hears_nothing_gets_nothing(fault: Fault) -> None:
    """An open socket is no proof: without words in its probes the call never returns."""
    words = turns(20)
    deaf = Recognizer("a", [Drops(3.0, kind=ErrorKind.SERVER), *[fault] * 99])
    sim = Simulation(words, [deaf, Recognizer("b")], policies=SOON).run(within=2)
    assert_promises(sim)
    assert sim.served == ["a", "b"]
    assert events(sim, ProviderRecovered) == []
    failed = [(e.reason, e.detail) for e in events(sim, ProviderFailed)[1:]]
    assert failed
    assert set(failed) == {("stalled", "heard nothing")}


def test_a_probe_that_breaks() -> None:
    """A probe whose stream breaks counts against its provider, and the call goes on."""
    words = turns(12)
    broken = Recognizer("a", [Drops(3.0, kind=ErrorKind.SERVER), *[Refused()] * 99])
    sim = Simulation(words, [broken, Recognizer("b")], policies=SOON).run(within=2)
    assert_promises(sim)
    assert sim.served == ["a", "b"]
    assert sim.health["a"].breaker.state(sim.now) is not BreakerState.CLOSED
    assert [e.reason for e in events(sim, ProviderFailed)[1:]] == ["connect"] * (
        len(sim.opened_as(Role.PROBE))
    )


def test_noise_is_no_examination() -> None:
    """Where the active connection heard no words either, a probe ends without a verdict."""
    pieces = [noise(1.5, 0.8) for _ in range(6)]
    words = speak(*sentence("one two"), ("three", 2.0, 0.4), *pieces, ("four", 2.0, 0.4))
    broken = Recognizer("a", [Drops(2.5, kind=ErrorKind.SERVER)])
    sim = Simulation(words, [broken, Recognizer("b")], policies=SOON).run(within=2)
    assert_promises(sim)
    assert len(events(sim, ProviderFailed)) == 1
    assert len(sim.opened_as(Role.PROBE)) >= 1


def test_nobody_returns_before_it_has_dwelt() -> None:
    """At least 30 s on the fallback, and 120 s between two returns."""
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
    """Without failback nobody is probed, and the fallback keeps the call."""
    policies = Policies(failback=FailbackPolicy(enabled=False))
    route = [Recognizer("a", [Drops(3.0, kind=ErrorKind.SERVER)]), Recognizer("b")]
    sim = Simulation(turns(12), route, policies=policies).run(within=2)
    assert_promises(sim)
    assert sim.opened == ["a", "b"]


@pytest.mark.parametrize("flushes", [True, False])
def test_the_old_connection_is_flushed_and_drained(flushes: bool) -> None:
    """Before it is left, a leg is flushed, if that helps, and has half a second for its words."""
    route = [Recognizer("a", [Drops(3.0, kind=ErrorKind.SERVER)]), Recognizer("b", flushes=flushes)]
    sim = Simulation(turns(16), route, policies=SOON).run(within=2)
    assert_promises(sim)
    closed = next(t for t, c in sim.commands if c == CloseConnection(1))
    flushed = [t for t, c in sim.commands if c == FlushConnection(1)]
    assert [closed - t for t in flushed] == ([pytest.approx(0.5, abs=0.06)] if flushes else [])


def test_speech_interrupts_the_return() -> None:
    """A user who goes on within the drain keeps the old connection to the next boundary."""
    words = turns(16, pause=1.15)
    route = [Recognizer("a", [Drops(3.0, kind=ErrorKind.SERVER)]), Recognizer("b")]
    policies = replace(SOON, failback=replace(SOON.failback, drain_timeout=0.6))
    sim = Simulation(words, route, policies=policies, tail=3.0).run(within=2)
    assert_promises(sim)
    moved = [e.at for e in events(sim, Switched) if e.reason == "failback"]
    assert moved == [pytest.approx(words[-1].end + 0.7 + 0.6, abs=0.1)]


def test_a_probe_ends_with_the_input() -> None:
    """The end of input ends a probe without a verdict, and its lease is given back."""
    words = turns(4)
    route = [Recognizer("a", [Drops(3.0, kind=ErrorKind.SERVER), DEAF]), Recognizer("b")]
    sim = Simulation(words, route, policies=SOON, tail=0.1).run(within=2)
    assert_promises(sim)
    assert sim.opened_as(Role.PROBE) == ["a"]
    assert len(events(sim, ProviderFailed)) == 1
    assert sim.health["a"].breaker.probe_at(sim.now) == sim.now


def test_a_probe_has_no_longer_than_its_lease() -> None:
    """Someone who talks without a pause for longer than a probe's lease ends it."""
    words = speak(*sentence("one two"), ("three", 1.0, 0.4))
    words += [Spoken(w, 9.0 + i * 0.4, 9.4 + i * 0.4) for i, w in enumerate(VOCABULARY[:50])]
    broken = Recognizer("a", [Drops(2.5, kind=ErrorKind.SERVER)], interims=False)
    sim = Simulation(words, [broken, Recognizer("b")], policies=SOON).run(within=2)
    assert_promises(sim)
    probe = next(t for t, c in sim.commands if isinstance(c, OpenConnection) and c.connection == 2)
    closed = next(t for t, c in sim.commands if c == CloseConnection(2))
    assert closed - probe == pytest.approx(15.0, abs=0.1)
    assert len(events(sim, ProviderFailed)) == 1


def test_what_a_probe_says_is_not_told() -> None:
    """The text of a shadow never reaches the caller."""
    route = [Recognizer("a", [Drops(3.0, kind=ErrorKind.SERVER)], spell=str.upper), Recognizer("b")]
    sim = Simulation(turns(8), route).run(within=2)
    assert sim.opened_as(Role.PROBE)
    late = [c for t, c in sim.commands if isinstance(c, Emit) and t - sim.base > 3.2]
    assert {c.provider for c in late if c.text} == {"b"}


def test_a_provider_that_becomes_active_is_not_probed_on() -> None:
    """When the fallback fails in mid-probe, the probed one serves, and its probe ends."""
    words = turns(8)
    route = [
        Recognizer("a", [Drops(3.0, kind=ErrorKind.SERVER)]),
        Recognizer("b", [Drops(words[12].end - 3.0, kind=ErrorKind.SERVER)]),
    ]
    sim = Simulation(words, route).run(within=2)
    assert_promises(sim)
    assert sim.served == ["a", "b", "a"]
    assert sim.opened_as(Role.PROBE)[:1] == ["a"]


# --- leaving who is slow


def slowly(*, spare: Recognizer | None = None, pause: float = 4.0) -> Simulation:
    words = speak(*[(w, pause, 0.4) for w in VOCABULARY[:8]])
    slow = Recognizer("a", latency=3.2, interims=False, final_timeout=9.0)
    return Simulation(words, [slow, spare or Recognizer("b")], tail=5.0)


def test_slow_finals_lose_a_provider_the_call() -> None:
    """After three finals that were 3 s late, a provider is left between two words."""
    sim = slowly().run(within=3)
    assert_promises(sim)
    assert reasons(sim)[0] == ("a", "b", "slow")
    before = [e for e in sim.finals if e.provider == "a"]
    assert len(before) == 3
    assert ReportAvailability("a", False) in [c for _, c in sim.commands]
    assert events(sim, ProviderFailed) == []


def test_slow_is_better_than_nobody() -> None:
    """Where no other provider is well, a slow one keeps the call."""
    down = Recognizer("b", down=[(0.0, 99.0)])
    sim = slowly(spare=down)
    for _ in range(3):
        sim.health["b"].breaker.record_failure(ErrorKind.SERVER, sim.now)
    sim.run(within=9)
    assert_promises(sim)
    assert sim.served == ["a"]


def test_nobody_is_left_in_the_middle_of_a_word() -> None:
    """A slow provider is left when nobody speaks; what it still owes is replayed."""
    sim = slowly(pause=0.9).run(within=9)
    assert_promises(sim)
    moved = [t - sim.base for t, c in sim.commands if "'slow'" in str(c)]
    assert not any(w.start + HEARD < t < w.end for t in moved for w in sim.words)


def test_a_return_is_reported_like_any_switch() -> None:
    """Whoever takes over at a boundary has nothing to replay."""
    route = [Recognizer("a", [Drops(3.0, kind=ErrorKind.SERVER)]), Recognizer("b")]
    sim = Simulation(turns(16), route, policies=SOON).run(within=2)
    back = next(e for e in events(sim, Switched) if e.reason == "failback")
    assert back.replay_from <= back.at
    assert all(e.seconds < 3.0 for e in events(sim, Replayed))


def test_options_of_the_one_that_serves() -> None:
    """A fallback that is opened anew for its options has to dwell anew."""
    route = [Recognizer("a", [Drops(3.0, kind=ErrorKind.SERVER)]), Recognizer("b")]
    sim = Simulation(turns(16), route, policies=SOON)
    sim.at(sim.base + 9.0, lambda: sim.handle(OptionsChanged("b")))
    sim.run(within=2)
    assert_promises(sim)
    changed, back = [e.at for e in events(sim, Switched)][-2:]
    assert back - changed >= 5.0


def test_a_breaker_that_locks_is_probed_after_its_time() -> None:
    """A key that was refused is tried in the background again, and the call comes back."""
    quick = replace(SOON, breaker=BreakerPolicy(auth_cooldown=8.0))
    route = [Recognizer("a", [Refused(ErrorKind.AUTH)]), Recognizer("b")]
    sim = Simulation(turns(16), route, policies=quick).run(within=2)
    assert_promises(sim)
    assert sim.served == ["b", "a"] or sim.served == ["a", "b", "a"]
    probed = next(t for t, c in sim.commands if isinstance(c, OpenConnection) and c.connection == 2)
    assert probed - sim.base >= 8.0
