"""After the end of the input the stream ends soon, with every word that it can have."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from resilient_stt.core.events import AudioLost, HedgeFinished
from resilient_stt.core.messages import Emit
from resilient_stt.core.policy import Policies, ReplayPolicy, RetryPolicy, WatchdogPolicy

from ..support.promises import FINAL, INTERIM, TWO, assert_balance, assert_promises, events
from ..support.simulator import (
    DEAF,
    HANG,
    Drop,
    DropAfterClose,
    Fault,
    IgnoreClose,
    Latency,
    LostTail,
    Recognizer,
    Refuse,
    Simulation,
    Stall,
    noise,
    sentence,
    speak,
    voiced,
)

LAST = TWO[-1].end
LIMIT = RetryPolicy().end_input_limit
FAILS: dict[str, Fault] = {
    "drops": Drop(LAST - 0.6),
    "drops at the end": DropAfterClose(),
    "stalls": Stall(LAST - 0.6),
    "loses its tail": LostTail(),
    "hangs": HANG,
    "deaf": DEAF,
}
PEERS: dict[str, Fault] = {"hang": HANG, "deaf": DEAF, "refuse": Refuse()}


def lost(sim: Simulation) -> float:
    return sum(event.seconds for event in events(sim, AudioLost))


def shown(sim: Simulation) -> set[str]:
    """Every word that an interim transcript has shown."""
    return {word for e in sim.emitted if e.kind is INTERIM for word in e.text.split()}


def voice_after(sim: Simulation, end: float) -> float:
    """Seconds of voice after a time of the stream."""
    spans = [(a / 16_000, b / 16_000) for a, b in voiced(sim.words)]
    return sum(max(0.0, until - max(since, end)) for since, until in spans)


def run(route: Sequence[Recognizer], **options: object) -> Simulation:
    return Simulation(TWO, route, tail=0.1, **options).run(within=LIMIT + 10)  # type: ignore[arg-type]


@pytest.mark.parametrize("hedging", [True, False])
@pytest.mark.parametrize("interims", [True, False])
@pytest.mark.parametrize("peers", PEERS)
@pytest.mark.parametrize("first", FAILS)
def test_peers_that_never_answer(first: str, peers: str, interims: bool, hedging: bool) -> None:
    """The stream ends within its limit; shown words are final, and the rest is reported exactly."""
    rest = [PEERS[peers]] * 999
    route = [
        Recognizer("a", [FAILS[first], *rest], interims=interims),
        Recognizer("b", rest, interims=interims),
    ]
    policies = Policies(watchdog=WatchdogPolicy(hedging=hedging))
    sim = run(route, policies=policies)
    missing = voice_after(sim, sim.finals[-1].end or 0) if sim.finals else voice_after(sim, 0.0)
    if first == "loses its tail" and not interims:
        missing = 0.0  # it works, and ended in good order: this cannot be told from noise
    assert sim.seconds <= LIMIT + LAST / WatchdogPolicy().min_processing_rate
    assert sim.text == sim.spoken[: len(sim.text)]
    assert shown(sim) <= set(sim.text)
    assert lost(sim) == pytest.approx(missing, abs=0.101)  # voice lasts until the end
    assert not (sim.gave_up and not missing)
    assert_balance(sim)


@pytest.mark.parametrize("times", ["words", "end", "none"])
@pytest.mark.parametrize("first", ["drops", "drops at the end", "stalls", "loses its tail"])
def test_shown_words_become_final_once(first: str, times: str) -> None:
    """Whatever times the provider gives, no word of an earlier final comes again."""
    route = [
        Recognizer("a", [FAILS[first], *[HANG] * 999], times=times),
        Recognizer("b", [HANG] * 999),
    ]
    sim = run(route)
    assert sim.text == sim.spoken[: len(sim.text)]
    assert shown(sim) == set(sim.text)
    assert len(sim.text) >= 9


def test_words_that_two_connections_have_shown() -> None:
    """Of two connections that broke, the one that came further gives the words, and once."""
    first = Recognizer("a", [Drop(LAST - 0.1), *[HANG] * 999])
    second = Recognizer("b", [Drop(0.8), *[HANG] * 999], spell=str.upper, latency=0.4)
    sim = run([first, second])
    assert [word.lower() for word in sim.text] == sim.spoken[: len(sim.text)]
    assert len(sim.text) >= 11


def test_many_connections_that_have_shown_words() -> None:
    """Of many connections that broke one after the other, the best text is still known."""
    drops = [Drop(1.3)] * 8
    sim = run([Recognizer("a", [*drops, *[HANG] * 999]), Recognizer("b", [HANG] * 999)])
    assert sim.text == sim.spoken[: len(sim.text)]
    assert shown(sim) == set(sim.text)


def test_the_limit_is_the_policys() -> None:
    """`end_input_limit` bounds the wait, and an outage that began long before it."""
    policies = Policies(retry=RetryPolicy(end_input_limit=4.0))
    down = [(0.5, 1e9)]
    sim = Simulation(TWO, [Recognizer("a", down=down)], tail=0.1, policies=policies)
    sim.run(within=4.1)
    assert sim.gave_up
    assert lost(sim) == pytest.approx(voice_after(sim, 0.0), abs=0.101)


def test_a_provider_that_comes_back_within_the_limit() -> None:
    """An outage that ends in time loses nothing."""
    down = [(LAST - 0.5, LAST + LIMIT - 2.0)]
    sim = run([Recognizer("a", down=down), Recognizer("b", down=down)])
    assert_promises(sim)


def test_every_interim_of_a_provider_that_goes_on_forever() -> None:
    """A connection whose words still come is not cut off at the limit."""
    slow = Recognizer("a", speed=0.25, most=1, latency=0.5)
    policies = Policies(retry=RetryPolicy(end_input_limit=6.0))
    sim = Simulation(TWO, [slow], tail=0.1, policies=policies, rush=20.0)
    assert_promises(sim.run(within=60))


@pytest.mark.parametrize("times", ["words", "end", "none"])
@pytest.mark.parametrize("before", [0.2, 0.6, 1.5])
@pytest.mark.parametrize("length", [0.6, 1.5, 4.0])
@pytest.mark.parametrize("interims", [True, False])
@pytest.mark.parametrize("peers", [None, "hang", "refuse"])
def test_noise_behind_a_provider_that_works(
    times: str, before: float, length: float, interims: bool, peers: str | None
) -> None:
    """It ended in good order, so the voice behind its last word is noise, whoever else is dead."""
    words = speak(*sentence("one two three"), noise(before, length))
    route = [Recognizer("a", times=times, interims=interims)]
    if peers is not None:
        route.append(Recognizer("b", [PEERS[peers]] * 999))
    sim = Simulation(words, route, tail=0.1).run(within=LIMIT + 10)
    assert_promises(sim)


@pytest.mark.parametrize("fault", [None, IgnoreClose(), LostTail()])
def test_noise_at_the_end_is_not_lost(fault: Fault | None) -> None:
    """Voice in which another stream that ends by itself finds no words is no loss."""
    words = speak(*sentence("one two three"), noise(1.0, 1.5))
    sim = Simulation(words, [Recognizer("a", [fault]), Recognizer("b")], tail=0.1).run(within=8)
    assert_promises(sim)
    assert {e.outcome for e in events(sim, HedgeFinished)} == {"no_speech"}


def test_a_shown_word_that_is_taken_back_does_not_come() -> None:
    """What a healthy provider leaves out of its finals is not emitted at the end."""
    sim = Simulation(TWO, [Recognizer("a"), Recognizer("b")], tail=0.1).run(within=2)
    finals = [c for c in sim.emitted if isinstance(c, Emit) and c.kind is FINAL]
    assert len(finals) == 3


def test_a_final_that_is_held_when_everybody_dies() -> None:
    """A FINAL that skips noise is held for a hedge; it is emitted if nobody answers any more."""
    words = speak(noise(1.0, 1.8), *sentence("one two three"), ("four", 0.05, 0.6))
    down = [(words[-1].end + 0.6, 1e9)]
    route = [Recognizer(name, down=down, times="words") for name in "ab"]
    sim = Simulation(words, route, tail=1.0).run(within=LIMIT + 10)
    assert sim.text == sim.spoken
    assert_balance(sim)


@pytest.mark.parametrize("times", ["words", "end", "none"])
def test_shown_words_of_a_call_that_goes_on(times: str) -> None:
    """A stream that gives up in the call emits them, unless the next stream hears them again."""
    for window, text in ((1.0, ["one", "two", "three"]), (60.0, [])):
        policies = Policies(
            retry=RetryPolicy(outage_limit=5.0), replay=ReplayPolicy(handover_window=window)
        )
        words = speak(*sentence("one two three four five six"), ("late", 6.0, 0.5))
        route = [Recognizer("a", down=[(words[3].start + 0.2, 1e9)], times=times)]
        sim = Simulation(words, route, tail=9.0, policies=policies).run(within=1)
        assert sim.gave_up
        assert sim.text == text
        assert_balance(sim)


def test_noise_behind_providers_that_never_end_their_streams() -> None:
    """Where no stream ever ends, silence behind the last word is as good as an end."""
    words = speak(*sentence("one two three"), noise(1.0, 1.5))
    route = [Recognizer(name, [IgnoreClose()] * 99) for name in "ab"]
    sim = Simulation(words, route, tail=0.1)
    for health in sim.health.values():
        health.habits.stream_stayed_open()
    assert_promises(sim.run(within=LIMIT))


@pytest.mark.parametrize("tail", [0.04, 0.6, 1.0, 2.5])
@pytest.mark.parametrize("interims", [True, False])
@pytest.mark.parametrize("times", ["words", "end", "none"])
def test_told_words_are_asked_about_by_nobody_else(times: str, interims: bool, tail: float) -> None:
    """Of a stream that stays open after its last final, which may have no times, nothing is missing
    once it is not waited for any more."""
    first = Recognizer("a", [IgnoreClose()], times=times, interims=interims)
    sim = Simulation(TWO, [first, Recognizer("b")], tail=tail).run(within=LIMIT)
    assert_promises(sim)
    assert sim.opened == ["a"]


@pytest.mark.parametrize("late", [0.9, 1.0])
@pytest.mark.parametrize("turns", [0.0, 6.0])
def test_a_late_final_without_times_at_the_end(late: float, turns: float) -> None:
    """What it covers for certain ends before its words do. The rest, too short to be expected in
    the call, is not asked about at its end either."""
    first = Recognizer(
        "a", [Latency(late)], times="none", final_timeout=6.0, end_of_turn_timeout=turns
    )
    sim = Simulation(TWO, [first, Recognizer("b")], tail=1.3).run(within=LIMIT)
    assert_promises(sim)
    assert sim.opened == ["a"]
