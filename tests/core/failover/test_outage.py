from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilient_stt.core.events import ErrorKind, OutageEnded, OutageStarted, ProviderFailed, Role
from resilient_stt.core.messages import (
    CloseConnection,
    ConnectionFailed,
    DeadlineReached,
    Emit,
    GiveUp,
    OpenConnection,
    ReportAvailability,
    StreamOpened,
)
from resilient_stt.core.policy import Policies, RetryPolicy, WatchdogPolicy

from ...support.promises import (
    FINAL,
    START,
    TWO,
    alone,
    assert_balance,
    assert_promises,
    assert_times,
    events,
    recognizers,
    speeches,
)
from ...support.simulator import (
    DEAF,
    HANG,
    Drop,
    Fault,
    Recognizer,
    Refuse,
    Simulation,
    Spoken,
    noise,
    sentence,
    speak,
)


def outage(since: float, until: float, *, words: list[Spoken] = TWO) -> Simulation:
    down = [(since, until)]
    return Simulation(words, [Recognizer("a", down=down), Recognizer("b", down=down)])


# --- whatever happens meanwhile

attempts: st.SearchStrategy[Fault] = st.one_of(
    st.just(HANG),
    st.builds(Refuse, st.sampled_from(ErrorKind), st.sampled_from([0.0, 0.05, 0.3])),
    st.builds(Drop, st.sampled_from([0.0, 0.3, 1.0, 2.5]), st.booleans()),
)


@st.composite
def outages(draw: st.DrawFn) -> Simulation:
    """Up to three providers that are all down for a while, and fail a few more times after it."""
    words = draw(speeches())
    since = draw(st.floats(0, 8).map(lambda s: round(s, 2)))
    down = [(since, since + draw(st.sampled_from([0.2, 1.0, 3.0, 7.0])))]
    route = [draw(recognizers(name, faults=attempts)) for name in "abc"[: draw(st.integers(1, 3))]]
    for recognizer in route:
        recognizer.down = down
    # The pauses after several refusals (`rejected_interval`) add up to more than the limit.
    policies = Policies(retry=RetryPolicy(end_input_limit=60.0))
    return Simulation(words, route, tail=draw(st.sampled_from([0.0, 0.6, 3.0])), policies=policies)


@given(outages())
@settings(max_examples=40)
def test_every_word_once_through_an_outage(sim: Simulation) -> None:
    """However providers come back, each word comes once, in order, at its time."""
    sim.run(within=60)
    assert_promises(sim)
    assert_times(sim, within=0.001)
    reported = [type(e) for e in sim.events if isinstance(e, OutageStarted | OutageEnded)]
    pairs, open_ones = divmod(len(reported), 2)
    assert reported == [OutageStarted, OutageEnded] * pairs + [OutageStarted] * open_ones


# --- case by case


def test_each_kind_of_failure_is_reported_once() -> None:
    """Each kind of failure is reported once in an outage, and again in the next one."""
    down = [(3.0, 6.0), (9.0, 12.0)]
    words = speak(*[(f"w{n}", 0.3, 0.4) for n in range(24)])
    sim = Simulation(words, [Recognizer("a", down=down)], tail=1.0).run(within=2)
    assert_promises(sim)
    assert sim.opened.count("a") > 8
    kinds = [type(e) for e in sim.events]
    for number in range(2):
        begin = [n for n, kind in enumerate(kinds) if kind is OutageStarted][number]
        end = [n for n, kind in enumerate(kinds) if kind is OutageEnded][number]
        assert kinds[begin + 1 : end] == [ProviderFailed]


@pytest.mark.parametrize("wait_max", [0.0, 0.01])
def test_attempts_never_spin(wait_max: float) -> None:
    """However short the waits are configured, a provider gets at most ten attempts a second."""
    policies = Policies(retry=RetryPolicy(wait_max=wait_max, wait_min=0.0))
    down = [(0.0, 5.0)]
    route = [Recognizer("a", down=down), Recognizer("b", down=down)]
    sim = Simulation(TWO, route, policies=policies).run(within=3)
    assert_promises(sim)
    for name in "ab":
        # five seconds, and the connections before the outage and behind it
        assert 20 <= sim.opened.count(name) <= 50 + 3


def test_an_outage_is_endured() -> None:
    """While all providers are down, audio is kept; the first that returns becomes active."""
    sim = outage(1.5, 4.0).run(within=2)
    assert_promises(sim)
    (started,), (ended,) = events(sim, OutageStarted), events(sim, OutageEnded)
    assert 1.4 < started.at < 1.8
    assert ended.provider == "a"
    assert 2.5 <= ended.duration <= 3.5


@pytest.mark.parametrize("until", [t / 10 for t in range(40, 60, 3)])
def test_text_comes_within_a_second_of_the_return(until: float) -> None:
    """Whenever a provider comes back in mid-speech, the first text is there within a second."""
    words = speak(*sentence("one two three four five six seven eight nine ten eleven twelve"))
    words += [Spoken(w.text + "s", w.start + 4.5, w.end + 4.5) for w in words]
    sim = outage(1.5, until, words=words).run(within=2)
    assert_promises(sim)
    texts = [t - sim.base for t, c in sim.commands if isinstance(c, Emit) and c.text]
    assert min(t for t in texts if t > until) <= until + 1.0


def test_an_outage_from_the_start() -> None:
    """A stream that opens in an outage works once the outage ends."""
    sim = outage(0.0, 3.0).run(within=2)
    assert_promises(sim)
    assert [c for _, c in sim.commands if isinstance(c, ReportAvailability)] == [
        ReportAvailability("a", False),
        ReportAvailability("b", False),
        ReportAvailability("a", True),
    ]


def test_all_are_tried_at_once() -> None:
    """In an outage all providers are tried in parallel, whatever the attempts of others do."""
    hanging = Recognizer("a", [Drop(1.2), *[HANG] * 99])
    sim = Simulation(TWO, [hanging, Recognizer("b", down=[(0.0, 3.0)])]).run(within=2)
    assert_promises(sim)
    (ended,) = events(sim, OutageEnded)
    assert ended.provider == "b"
    assert ended.duration <= 3.0


def test_attempts_that_hang_do_not_block() -> None:
    """While a handshake hangs, another one starts every half second, up to three in parallel."""
    faults: list[Fault] = [Drop(1.2), HANG, HANG, HANG, HANG]
    sim = Simulation(TWO, [Recognizer("a", faults)]).run(within=3)
    assert_promises(sim)
    opened = [t - sim.base for t, c in sim.commands if isinstance(c, OpenConnection)]
    assert sim.opened_as(Role.RECONNECT) == ["a"] * (len(opened) - 2)
    tried = opened[2:]
    assert all(0.05 <= b - a <= 1.6 for a, b in itertools.pairwise(tried))
    assert tried[2] - tried[0] <= 1.2
    assert events(sim, OutageEnded)[0].duration < 4.0


def test_the_first_provider_with_words_wins() -> None:
    """The first provider with words becomes active, even if another is preferred."""
    slow = Recognizer("a", down=[(1.0, 3.0)], latency=0.9)
    sim = Simulation(TWO, [slow, Recognizer("b", down=[(1.0, 3.0)], latency=0.1)]).run(within=2)
    assert_promises(sim)
    assert [e.provider for e in events(sim, OutageEnded)] == ["b"]
    won = next(
        t for t, c in sim.commands if getattr(c, "event", None) == events(sim, OutageEnded)[0]
    )
    closed = [t for t, c in sim.commands if isinstance(c, CloseConnection)]
    assert won in closed


def test_an_outage_ends_by_a_connection_that_is_connected() -> None:
    """In silence an outage ends once a reconnect has outlived the connect timeout."""
    words = speak(*sentence("one two"), ("three", 9.0, 0.3))
    sim = outage(2.5, 4.0, words=words).run(within=2)
    assert_promises(sim)
    (ended,) = events(sim, OutageEnded)
    assert ended.provider == "a"
    assert ended.at < words[-1].start
    assert ended.duration <= 1.5 + 0.5 + 2.0 + 0.1


def test_an_outage_ends_in_noise() -> None:
    """A reconnect without words for the pending speech works once it had time: it was noise."""
    words = speak(*sentence("one two"), noise(1.5, 1.0), ("three", 9.0, 0.3))
    sim = outage(2.5, 4.0, words=words).run(within=2)
    assert_promises(sim)
    (ended,) = events(sim, OutageEnded)
    assert ended.at < words[-1].start


def test_an_endless_outage() -> None:
    """The stream gives up after the outage limit, and not before."""
    down = [(1.5, 1e9)]
    route = [Recognizer("a", down=down), Recognizer("b", down=down)]
    sim = Simulation(TWO, route, tail=70.0).run()
    assert sim.gave_up
    assert sim.now - sim.base - 1.5 == pytest.approx(60, abs=0.2)
    (_, gave_up) = sim.commands[-1]
    reasons = "a: connect (refused); b: connect (refused)"
    assert gave_up == GiveUp("all STTs failed (a, b): none answered for 60 s", reasons)
    assert_balance(sim)


def test_an_outage_without_pending_speech() -> None:
    """In an outage, a stream whose words have all come ends with its input."""
    words = speak(*sentence("one two"))
    down = [(2.5, 1e9)]
    sim = Simulation(words, [Recognizer("a", down=down)], tail=9).run(within=0.1)
    assert_promises(sim)


def test_an_attempt_that_ends_after_its_words() -> None:
    """After the end of input the stream ends with a reconnect that has sent all words."""
    words = speak(*sentence("one two three"))
    sim = Simulation(words, [Recognizer("a", down=[(1.0, 3.0)])], tail=0.1).run(within=4)
    assert_promises(sim)


def test_an_attempt_that_ends_without_words() -> None:
    """After the end of input a reconnect that ends without words counts as a failure."""
    words = speak(*sentence("one"), noise(0.6, 2.0))
    recognizer = Recognizer("a", down=[(1.5, 3.0)], latency=0.0)
    sim = Simulation(words, [recognizer], tail=0.1).run(within=10)
    assert_promises(sim)


def test_locked_providers_are_not_tried_in_an_outage() -> None:
    """A provider whose credentials were refused is not tried while another can be."""
    locked = Recognizer("a", [Refuse(ErrorKind.AUTH)] * 9)
    sim = Simulation(TWO, [locked, Recognizer("b", down=[(1.0, 4.0)])]).run(within=3)
    assert_promises(sim)
    assert sim.opened.count("a") == 1


def test_locked_providers_are_tried_seldom_where_all_are() -> None:
    """A sole provider is tried again although it is locked, but only every 5 s."""
    refusals = [*[Refuse(ErrorKind.AUTH)] * 3, Refuse(ErrorKind.SERVER)]
    sim = Simulation(TWO, [Recognizer("a", refusals)]).run(within=30)
    assert_promises(sim)
    opened = [t for t, c in sim.commands if isinstance(c, OpenConnection)]
    assert sim.opened == ["a"] * 5
    assert all(b - a >= 5.0 for a, b in itertools.pairwise(opened[1:]))
    assert len(events(sim, ProviderFailed)) == 2  # the same refusal is reported once


def test_the_first_wait_is_long_where_all_are_locked() -> None:
    """Refused credentials are tried again after 5 s at the earliest."""
    sim = Simulation(TWO, [Recognizer("a", [Refuse(ErrorKind.AUTH)])]).run(within=30)
    opened = [t for t, c in sim.commands if isinstance(c, OpenConnection)]
    assert opened[1] - opened[0] >= 5.0


def test_a_deaf_attempt_does_not_keep_an_outage() -> None:
    """A reconnect that sends nothing becomes active, stalls, and is replaced."""
    deaf = Recognizer("a", [Drop(1.2), DEAF, DEAF], down=[(1.3, 3.0)], interims=False)
    sim = Simulation(TWO, [deaf, Recognizer("b", down=[(1.0, 9.0)])]).run(within=12)
    assert_promises(sim)


def test_an_outage_limit_of_zero() -> None:
    """With an outage limit of 0 the stream gives up when the last provider fails."""
    policies = Policies(retry=RetryPolicy(outage_limit=0.0))
    sim = Simulation(TWO, [Recognizer("a", down=[(1.0, 9.0)])], policies=policies).run(within=1)
    assert sim.gave_up


def test_an_outage_by_a_stall() -> None:
    """If the last provider stalls, an outage begins and all are tried."""
    policies = Policies(watchdog=WatchdogPolicy(hedging=False))
    deaf = Recognizer("a", [Drop(1.2), DEAF])
    sim = Simulation(TWO, [deaf], policies=policies).run(within=3)
    assert_promises(sim)
    assert "stalled" in [e.reason for e in events(sim, ProviderFailed)]
    assert events(sim, OutageEnded)


def test_events_of_an_attempt_are_held_back() -> None:
    """START of a reconnect is emitted with its first words, once it is active."""
    sim = outage(1.5, 4.0).run(within=2)
    ended = next(i for i, (_, c) in enumerate(sim.commands) if "OutageEnded" in str(c))
    before = [c for _, c in sim.commands[:ended] if isinstance(c, Emit)]
    assert [e.kind for e in before if e.kind is FINAL] == []
    assert before[0].kind is START


def test_an_engine_shows_its_outage() -> None:
    """The repr shows since when no connection is active, and the next attempts."""
    engine = alone()
    engine.handle(StreamOpened(), 0.0)
    engine.handle(ConnectionFailed(0, ErrorKind.CONNECT, backoff=0.2), 1.0)
    assert "outage=Outage(since=1.0, next={'a': 1.2})" in repr(engine)
    assert engine.deadline() == 1.2
    assert OpenConnection(1, "a", 0, role=Role.RECONNECT) in engine.handle(
        DeadlineReached(0.3), 1.2
    )
    assert engine.deadline() == 1.7


def test_a_known_account_error_is_not_reported_again() -> None:
    """What one stream has reported of a wrong key is not reported by the next one."""
    sim = Simulation(TWO, [Recognizer("a", [Refuse(ErrorKind.AUTH)] * 9), Recognizer("b")])
    sim.health["a"].record_reported(ErrorKind.AUTH)
    sim.run(within=3)
    assert_promises(sim)
    assert sim.opened[0] == "a"
    assert events(sim, ProviderFailed) == []
