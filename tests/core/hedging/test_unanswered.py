"""A stream in which no provider ever gives a word: it is told, and the stream does not end as if
nobody had spoken.
"""

from __future__ import annotations

import pytest

from resilient_stt.core.events import AudioLossReason, AudioLost, OutageEnded, OutageStarted
from resilient_stt.core.messages import GiveUp
from resilient_stt.core.policy import Policies, ReplayPolicy, RetryPolicy, WatchdogPolicy

from ...support.promises import VOCABULARY, alone, assert_promises, events
from ...support.simulator import Recognizer, Simulation, Spoken, Stall, noise, sentence, speak

SILENT = [Stall(0.0, ends=True)] * 999
"""Connections that open, give nothing, and end cleanly when they are asked to."""
DEAD = [Stall(0.0)] * 999
"""The same, and they never end."""


def call(seconds: float) -> list[Spoken]:
    """Return sentences of 2 s with pauses of 0.6 s between them."""
    words = iter(VOCABULARY * 2)
    count = round(seconds / 2.65)
    return speak(*(w for _ in range(count) for w in sentence(" ".join(
        next(words) for _ in range(6)), before=0.6)))  # fmt: skip


def gave_up(sim: Simulation) -> GiveUp:
    """Return the last command, which must be the error."""
    _, last = sim.commands[-1]
    assert isinstance(last, GiveUp), last
    return last


@pytest.mark.parametrize("faults", [SILENT, DEAD], ids=["silent", "dead"])
@pytest.mark.parametrize("interims", [True, False])
@pytest.mark.parametrize("names", ["a", "ab"])
def test_no_provider_ever_gives_a_word(names: str, interims: bool, faults: list[Stall]) -> None:
    """An outage after 20 s of voice; the loss and an error that names the reason at the end."""
    route = [Recognizer(name, faults, interims=interims) for name in names]
    sim = Simulation(call(30.0), route, tail=1.0).run(within=60)
    (told,) = events(sim, OutageStarted)
    voice = sum(w.end - w.start for w in sim.words if w.end <= told.at)
    assert 16 < voice < 22
    (lost,) = events(sim, AudioLost)
    assert lost.reason is AudioLossReason.STREAM_ENDED
    assert lost.seconds > 20
    error = gave_up(sim)
    assert f"no STT ({', '.join(names)}) gave a word for {lost.seconds:.0f} s" in error.message


def test_the_outage_limit_applies_while_the_caller_speaks() -> None:
    """A call that goes on ends after `outage_limit`. What is lost by then is reported; the last
    seconds may be taken over by the next stream.
    """
    policies = Policies(retry=RetryPolicy(outage_limit=30.0))
    sim = Simulation(call(90.0), [Recognizer("a", DEAD)], policies=policies).run(within=0)
    (told,) = events(sim, OutageStarted)
    gave_up(sim)
    ended_at = sim.commands[-1][0] - sim.base
    assert ended_at == pytest.approx(told.at + 30.0, abs=0.2)
    voice = sum(w.end - w.start for w in sim.words if w.end <= ended_at)
    lost = sum(e.seconds for e in events(sim, AudioLost))
    kept = ReplayPolicy().handover_window
    assert voice - kept <= lost <= voice


def test_words_end_the_outage() -> None:
    """Providers that hear after 28 s: all words come, and the outage is over."""
    route = [Recognizer(name, stalled=[(0.0, 28.0)]) for name in "ab"]
    sim = Simulation(call(45.0), route, tail=1.0).run(within=40)
    assert_promises(sim)
    assert len(events(sim, OutageStarted)) == len(events(sim, OutageEnded)) == 1


def test_the_policy_says_how_much_voice() -> None:
    """`max_unanswered_speech_at_start`, but never less than `max_unanswered_speech`."""
    for at_start, usual, expected in ((12.0, 8.0, 12.0), (5.0, 15.0, 15.0)):
        watchdog = WatchdogPolicy(
            max_unanswered_speech_at_start=at_start, max_unanswered_speech=usual
        )
        sim = Simulation(
            [*speak(noise(0.5, 25.0))],
            [Recognizer("a", SILENT)],
            policies=Policies(watchdog=watchdog),
        ).run(within=40)
        (told,) = events(sim, OutageStarted)
        assert told.at == pytest.approx(0.5 + expected, abs=0.2)


@pytest.mark.parametrize("names", ["a", "ab"])
def test_short_noise_in_a_call_without_words_is_no_error(names: str) -> None:
    """Less voice than that ends like any other call."""
    sim = Simulation(speak(noise(0.5, 12.0)), [Recognizer(n) for n in names]).run(within=20)
    assert_promises(sim)
    assert not events(sim, OutageStarted)


def test_without_local_voice_activity_nothing_is_told() -> None:
    """Nobody knows then whether anybody speaks."""
    sim = Simulation(call(30.0), [Recognizer("a", SILENT)], vad_enabled=False).run(within=40)
    assert sim.events == []
    assert not sim.gave_up


def test_its_repr() -> None:
    """It shows since when."""
    assert repr(alone()._unanswered) == "UnansweredVoice(since=None)"
