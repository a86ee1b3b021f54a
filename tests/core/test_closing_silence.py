"""Providers that make no final of the last words when their input ends are sent silence first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from resilient_stt.core.events import (
    ConnectionClosed,
    HedgeFinished,
    ProviderFailed,
    StreamEnded,
    Switched,
)
from resilient_stt.core.messages import EndInput, SendSilence
from resilient_stt.core.policy import Policies, WatchdogPolicy

from ..support.promises import TWO, assert_balance, assert_promises, events
from ..support.simulator import DEAF, Recognizer, Simulation, Stall, sentence, speak

LAST = TWO[-1].end
SILENCE = WatchdogPolicy().closing_silence


def silent(name: str = "a", faults: Sequence[Any] = (), **more: Any) -> Recognizer:
    """A provider that ends its last utterance only in silence."""
    return Recognizer(name, faults, finalizes_at_end=False, flushes=False, **more)


def run(*route: Recognizer, tail: float = 0.04, **options: Any) -> Simulation:
    """A call in which the caller hangs up right behind the last word."""
    return Simulation(TWO, route, tail=tail, **options).run(within=30)


def ends(sim: Simulation) -> list[tuple[float, int]]:
    """When the input of each connection ended, from the end of the call on."""
    return [(at - sim.ended_at, c.connection) for at, c in sim.commands if isinstance(c, EndInput)]


def silences(sim: Simulation) -> list[tuple[float, float]]:
    """When silence was sent, from the end of the call on, and how much."""
    return [(at - sim.ended_at, c.seconds) for at, c in sim.commands if isinstance(c, SendSilence)]


@pytest.mark.parametrize("times", ["words", "end", "none"])
@pytest.mark.parametrize("interims", [True, False])
@pytest.mark.parametrize("endpointing", [0.3, 1.0, 1.9])
def test_the_last_words_come_in_silence(times: str, interims: bool, endpointing: float) -> None:
    """The provider gives them itself, its input ends when it has, and nobody else is asked."""
    first = silent(times=times, interims=interims, endpointing=endpointing)
    words = speak(*sentence("one two three four five"))
    sim = Simulation(words, [first, Recognizer("b")], tail=0.04).run(within=30)
    assert_promises(sim)
    assert sim.opened == ["a"]
    assert silences(sim) == [(0.0, SILENCE)]
    ((end, _),) = ends(sim)
    assert 0.0 < end < first.final_timeout
    assert not events(sim, ProviderFailed)


def test_the_end_of_the_input_does_not_wait_for_ever() -> None:
    """One that has fallen silent gets it once the final is overdue; another has the words."""
    first = silent(faults=[Stall(LAST - 0.6)], interims=False)
    sim = run(first, Recognizer("b"))
    assert_promises(sim)
    assert silences(sim)[0] == (0.0, SILENCE)
    assert all(end <= 3 * first.final_timeout for end, _ in ends(sim))


def test_a_call_that_ended_in_silence_of_its_own_needs_none() -> None:
    sim = run(silent(), tail=3.0)
    assert_promises(sim)
    assert not silences(sim)


@pytest.mark.parametrize("flushes", [True, False])
def test_who_finalizes_at_the_end_is_sent_none(flushes: bool) -> None:
    sim = run(Recognizer("a", flushes=flushes))
    assert_promises(sim)
    assert not silences(sim)
    assert ends(sim) == [(0.0, 0)]


def test_it_is_learned_from_words_that_another_one_had() -> None:
    """The first call costs a hedge, the next ones none, in any stream of the process."""
    first = run(silent(known=False), Recognizer("b"))
    assert_promises(first)
    assert first.opened == ["a", "b"]
    assert [e.outcome for e in events(first, HedgeFinished)] == ["promoted"]
    assert first.health["a"].habits.loses_tails
    assert not first.health["b"].habits.loses_tails
    second = Simulation(TWO, [silent(known=False), Recognizer("b")], tail=0.04)
    second.health["a"].habits.loses_tails = True
    second.run(within=30)
    assert_promises(second)
    assert second.opened == ["a"]
    assert not events(second, Switched)


def test_a_sole_provider_that_is_not_known_to_need_it() -> None:
    """A connection that is opened for the missing words is sent silence in any case."""
    sim = run(silent(known=False))
    assert_promises(sim)
    assert sim.opened == ["a", "a"]
    assert [seconds for _, seconds in silences(sim)] == [SILENCE]
    assert sim.health["a"].habits.loses_tails


@pytest.mark.parametrize("known", [True, False])
def test_without_local_voice_activity(known: bool) -> None:
    """All audio may be speech then, so that a provider that is known to need it is sent silence."""
    sim = run(silent(known=known), vad_enabled=False)
    assert bool(silences(sim)) is known
    assert_balance(sim)
    if known:
        assert sim.text == sim.spoken


def test_no_audio_needs_no_silence() -> None:
    sim = Simulation([], [silent()], tail=0.0, vad_enabled=False).run(within=30)
    assert not silences(sim)


def test_it_can_be_turned_off() -> None:
    policies = Policies(watchdog=WatchdogPolicy(closing_silence=0.0))
    sim = run(silent(), Recognizer("b"), policies=policies)
    assert not silences(sim)
    assert sim.text == sim.spoken


def test_deaf_providers_end_in_time() -> None:
    """The waits for the last final do not add up."""
    rest = [DEAF] * 99
    sim = run(silent("a", rest), silent("b", rest))
    assert sim.seconds <= 30
    assert_balance(sim)


def test_silence_is_accounted_like_all_audio_that_is_sent() -> None:
    """It counts as sent audio, because providers bill for it, but not as replayed audio."""
    sim = run(silent())
    (closed,) = [e for e in sim.all_events if isinstance(e, ConnectionClosed)]
    (ended,) = [e for e in sim.all_events if isinstance(e, StreamEnded)]
    length = LAST + 0.04 + SILENCE
    assert closed.seconds == pytest.approx(length, abs=0.001)
    assert [(s.provider, s.role, round(s.seconds, 2)) for s in ended.sent] == [
        ("a", "active", round(length, 2))
    ]
    assert ended.replayed == 0
