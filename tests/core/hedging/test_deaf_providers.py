"""Providers that are all silent at the same time, and what shows that one hears.

A hedge is sent committed words first. One that repeats them hears, so that its silence is noise;
one that does not is as deaf as the connection that it was to check.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from resilient_stt.core.events import (
    AudioLossReason,
    AudioLost,
    HedgeFinished,
    OutageEnded,
    OutageStarted,
    ProviderFailed,
    Switched,
)
from resilient_stt.core.messages import Emit, EventKind, OpenConnection
from resilient_stt.core.policy import ReplayPolicy, WatchdogPolicy

from ...support.promises import VOCABULARY, assert_promises, events
from ...support.simulator import (
    DEAF,
    RATE,
    EmptyFinals,
    Recognizer,
    Simulation,
    Spoken,
    noise,
    sentence,
    speak,
)

LENGTHS = [3.0, 4.5, 6.0, 8.0, 10.0, 15.0, 25.0]
"""Seconds for which all providers are silent. In less, the voice may be too short to be noticed."""
PAUSES = (0.5, 1.0, 0.6, 2.6)


def call(sentences: int = 11) -> list[Spoken]:
    """Return sentences of six words with pauses of any length, 2.4 to 5 s for each."""
    words = iter(VOCABULARY[::4])
    return speak(
        *(
            word
            for number in range(sentences)
            for word in sentence(
                " ".join(next(words) for _ in range(6)), before=PAUSES[number % len(PAUSES)]
            )
        )
    )


CALL = call()

ROUTES = {
    "interims": [Recognizer("a"), Recognizer("b")],
    "finals": [Recognizer("a", interims=False), Recognizer("b", interims=False)],
    "slow endpointing": [
        Recognizer("a", interims=False, slow_endpointing=True, final_timeout=1.6),
        Recognizer("b"),
    ],
    "alone": [Recognizer("a")],
}


def silenced(recognizer: Recognizer, how: str, since: float, until: float) -> Recognizer:
    """Return the recognizer with a silent period; `how`: `deaf` or `stalled`."""
    periods = [(since, until)]
    if how == "deaf":
        return replace(recognizer, deaf=periods)
    return replace(recognizer, stalled=periods)


def silent_call(route: str, how: str, since: float, lasts: float) -> Simulation:
    """Run a call in which all providers are silent for a time."""
    silent = [silenced(r, how, since, since + lasts) for r in ROUTES[route]]
    return Simulation(CALL, silent, tail=1.0).run(within=60)


@pytest.mark.parametrize("lasts", LENGTHS)
@pytest.mark.parametrize("how", ["deaf", "stalled"])
@pytest.mark.parametrize("route", ROUTES)
def test_all_providers_are_silent(route: str, how: str, lasts: float) -> None:
    """Nothing is lost, and nothing comes twice: all of it is sent to connections that hear."""
    assert_promises(silent_call(route, how, 12.0, lasts))


def test_a_silent_provider_is_not_asked_at_the_end() -> None:
    """Behind a last noise the caller has hung up: each question makes the end seconds later."""
    words = sentence(" ".join(VOCABULARY[:12]))
    said = speak(*words, noise(0.8, 1.5))
    route = [Recognizer("a", deaf=[(3.0, 999.0)]), Recognizer("b")]
    sim = Simulation(said, route, tail=0.5).run(within=60)
    assert_promises(sim)
    asked = [c.provider for _, c in sim.commands if isinstance(c, OpenConnection)]
    assert asked == ["a", "b", "b"]


def voice_within(since: float, lasts: float) -> float:
    """Seconds of the call's voice in a period."""
    return sum(max(0.0, min(w.end, since + lasts) - max(w.start, since)) for w in CALL)


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("since", "lasts"),
    [
        (since, lasts)
        for since in (5.3, 7.7, 9.1, 14.7, 17.2)
        for lasts in LENGTHS
        # A final that passes over less voice is believed: most of it is noise.
        if voice_within(since, lasts) >= WatchdogPolicy().min_skipped_speech
    ],
)
@pytest.mark.parametrize("how", ["deaf", "stalled"])
@pytest.mark.parametrize("route", ROUTES)
def test_all_providers_are_silent_at_any_moment(
    route: str, how: str, lasts: float, since: float
) -> None:
    """The same, whatever is being said when it begins."""
    assert_promises(silent_call(route, how, since, lasts))


@pytest.mark.parametrize("route", ["interims", "slow endpointing", "alone"])
@pytest.mark.parametrize("how", ["deaf", "stalled"])
def test_long_silence_of_all_is_an_outage(route: str, how: str) -> None:
    """Ten seconds of voice that nobody answers are told as an outage, and its end as well."""
    sim = silent_call(route, how, 8.4, 14.0)
    assert len(events(sim, OutageStarted)) == len(events(sim, OutageEnded)) > 0
    assert events(sim, ProviderFailed)


def test_silence_that_the_window_does_not_hold_is_reported() -> None:
    """What is older than the window when the providers hear again is lost, and reported."""
    silent = [replace(r, stalled=[(8.4, 75.0)]) for r in ROUTES["interims"]]
    sim = Simulation(call(26), silent, tail=1.0).run(within=100)
    assert events(sim, OutageStarted)
    lost = [w for w in sim.words if w.text and w.text not in sim.text]
    reported = sum(e.seconds for e in events(sim, AudioLost))
    assert reported == pytest.approx(sum(w.end - w.start for w in lost), abs=2.5)
    assert reported > 5


@pytest.mark.parametrize("how", ["deaf", "stalled"])
def test_a_provider_that_is_silent_beside_a_deaf_one(how: str) -> None:
    """The second provider never hears anything: the first is asked again, and serves on."""
    a = silenced(Recognizer("a"), how, 8.4, 16.0)
    sim = Simulation(CALL, [a, Recognizer("b", [DEAF] * 999)], tail=1.0).run(within=60)
    assert_promises(sim)


def deaf_at_first(until: float, spare_until: float, *, interims: bool) -> Simulation:
    """Run a call in which no provider hears its beginning."""
    a = Recognizer("a", deaf=[(0.0, until)], interims=interims)
    b = Recognizer("b", deaf=[(0.0, spare_until)], interims=interims)
    return Simulation(call(26), [a, b], tail=1.0).run(within=60)


def test_much_voice_before_the_first_words_is_asked_about_again() -> None:
    """Hedges that were deaf as well prove nothing for so much voice: all of it comes after all."""
    assert_promises(deaf_at_first(50.0, 50.0, interims=True))


def test_much_voice_before_the_first_words_is_reported() -> None:
    """The one that hears again skips it, and the other one never hears: it is lost."""
    sim = deaf_at_first(50.0, 999.0, interims=False)
    (lost,) = events(sim, AudioLost)
    assert lost.reason is AudioLossReason.UNANSWERED
    assert lost.seconds > 20
    assert events(sim, OutageStarted)


# --- what a hedge is sent


def opened_at(sim: Simulation, provider: str) -> list[tuple[float, int]]:
    """When connections to a provider were opened, and at which sample their audio begins."""
    return [
        (at - sim.base, c.start)
        for at, c in sim.commands
        if isinstance(c, OpenConnection) and c.provider == provider
    ]


@pytest.mark.parametrize("times", ["words", "end", "none"])
def test_a_hedge_is_sent_known_words(times: str) -> None:
    """It begins with committed words, however long ago they were, and not with what is between."""
    words = speak(*sentence("one two three"), noise(1.0, 5.0), *sentence("four five", before=90.0))
    route = [Recognizer("a", times=times), Recognizer("b", times=times)]
    sim = Simulation(words, [replace(route[0], stalled=[(60.0, 120.0)]), route[1]], tail=1.0).run()
    assert_promises(sim)
    at, start = opened_at(sim, "b")[-1]
    assert at > 97
    assert start < words[2].start * RATE
    hedge = next(c for c in sim.closed if c.of.name == "b" and c.opened_at - sim.base > 97)
    assert hedge.spans[0][1] < (words[2].end + 1.0) * RATE
    second = next(s for s, _ in hedge.spans if s > (words[2].end + 1.0) * RATE)
    assert second > 90 * RATE
    kept = ReplayPolicy().window + 3.0
    assert sim.pushed - sim.released < kept * RATE


def test_known_words_are_no_answer() -> None:
    """A hedge that has repeated known words has still to answer the speech behind them."""
    words = speak(*sentence("one two three"), *sentence("four five six seven", before=4.0))
    route = [Recognizer("a", stalled=[(4.0, 99.0)]), Recognizer("b")]
    sim = Simulation(words, route, tail=3.0).run()
    assert_promises(sim)
    assert sim.served == ["a", "b"]
    late = next(t for t, c in sim.commands if isinstance(c, Emit) and "four" in c.text)
    assert late - sim.base < words[3].end + 4.0


# --- noise, with providers that hear


@pytest.mark.parametrize("names", ["ab", "a"])
@pytest.mark.parametrize("times", ["words", "none"])
@pytest.mark.parametrize("interims", [True, False])
def test_long_hold_music_is_no_outage(names: str, times: str, interims: bool) -> None:
    """Minutes of music cost a few hedges: no outage, no loss, and no switch.

    The first final may be late by the time for which one that skips so much voice is held.
    """
    pieces = [noise(0.6 if n else 2.0, 14.0) for n in range(12)]
    words = speak(*sentence("one two three"), *pieces, *sentence("four five six", before=1.0))
    route = [Recognizer(name, times=times, interims=interims) for name in names]
    sim = Simulation(words, route, tail=1.0).run(within=7)
    assert_promises(sim)
    assert not events(sim, OutageStarted)
    assert not events(sim, ProviderFailed)
    assert not events(sim, Switched)
    assert len(sim.opened) < 10
    came = [at for at, c in sim.commands if isinstance(c, Emit) and c.kind is EventKind.FINAL]
    assert came[-1] - sim.base < words[-1].end + 0.8 + WatchdogPolicy().skipped_final_wait


@pytest.mark.parametrize("names", ["ab", "a"])
def test_noise_behind_a_silence_is_no_outage(names: str) -> None:
    """The hedge for noise long after the last words repeats them, and its silence is believed."""
    words = speak(*sentence("one two three"), noise(80.0, 10.0), *sentence("four", before=3.0))
    sim = Simulation(words, [Recognizer(name) for name in names], tail=1.0).run(within=3)
    assert_promises(sim)
    assert {e.outcome for e in events(sim, HedgeFinished)} <= {"no_speech", "primary_recovered"}
    assert not events(sim, ProviderFailed)


def test_a_hedge_with_empty_finals_only_is_deaf() -> None:
    """Empty finals do not show that a hedge hears: it has left known words out."""
    route = [Recognizer("a", stalled=[(4.0, 30.0)]), Recognizer("b", [EmptyFinals()] * 99)]
    sim = Simulation(CALL, route, tail=1.0).run(within=60)
    assert_promises(sim)
    assert "b" in {e.provider for e in events(sim, ProviderFailed)}
