"""A missing final shows a silent provider also while somebody speaks on, if it was due before."""

from __future__ import annotations

from typing import Any

import pytest

from resilient_stt.core.events import HedgeFinished, ProviderFailed
from resilient_stt.core.messages import Emit, EventKind

from ...support.promises import assert_promises, events
from ...support.simulator import LostFinal, Recognizer, Simulation, Stall, sentence, speak

FIRST = "one two three four five six"
SPEECH = speak(
    *sentence(FIRST),
    *sentence("seven eight nine ten eleven twelve thirteen fourteen fifteen", before=1.2, word=0.5),
)
OVER = SPEECH[5].end
"""Seconds at which the first sentence is over."""


def finals_only(*faults: Any, **more: Any) -> Recognizer:
    options = {"interims": False, "flushes": False, "endpointing": 0.4, "endpointing_known": True}
    return Recognizer("a", faults, **{**options, **more})


def first_final_after(sim: Simulation) -> float:
    """Seconds from the end of the first sentence to the first final."""
    finals = [at for at, c in sim.commands if isinstance(c, Emit) and c.kind is EventKind.FINAL]
    return finals[0] - sim.base - OVER


@pytest.mark.parametrize("times", ["words", "none"])
@pytest.mark.parametrize("fault", [Stall(1.0), LostFinal()])
def test_who_is_known_to_end_an_utterance_in_a_pause(fault: Any, times: str) -> None:
    """Its final is due in a pause that is longer, though the caller speaks on."""
    first = finals_only(fault, times=times)
    sim = Simulation(SPEECH, [first, Recognizer("b")], tail=2.0).run()
    assert_promises(sim)
    assert first_final_after(sim) < 2 * first.final_timeout
    assert [e.outcome for e in events(sim, HedgeFinished)] == ["promoted"]


def test_who_is_not_known_to_may_wait() -> None:
    """Another recognizer may take both sentences for one, and is not left for that."""
    first = finals_only(endpointing=1.5, endpointing_known=False, final_timeout=2.5)
    sim = Simulation(SPEECH, [first, Recognizer("b")], tail=3.0).run()
    assert_promises(sim)
    assert not events(sim, ProviderFailed)
    assert sim.served == ["a"]


@pytest.mark.parametrize("turns", [0.0, 6.0])
def test_it_is_learned_from_how_long_finals_took(turns: float) -> None:
    """Whose last finals all came within a shorter pause has one overdue; but who decides himself
    when a turn is over may wait longer than before."""
    first = finals_only(Stall(1.0), endpointing_known=False, end_of_turn_timeout=turns)
    sim = Simulation(SPEECH, [first, Recognizer("b")], tail=2.0)
    for _ in range(5):
        sim.health["a"].latency.add(0.6)
    sim.run()
    assert_promises(sim)
    assert (first_final_after(sim) < 3.0) == (not turns)


@pytest.mark.parametrize("known", [True, False])
def test_a_pause_that_is_too_short_says_nothing(known: bool) -> None:
    """The caller goes on before a recognizer can have ended the utterance."""
    speech = speak(*sentence("one two three four"), *sentence("five six seven", before=0.5))
    first = finals_only(endpointing=0.7, endpointing_known=known)
    sim = Simulation(speech, [first, Recognizer("b")], tail=2.0).run()
    assert_promises(sim)
    assert sim.opened == ["a"]


LONG = speak(*sentence(" ".join(f"word{n}" for n in range(30)), word=0.35))


def test_interim_transcripts_that_come_seldom_by_its_traits() -> None:
    """Half as much again is granted; then the provider is suspected in mid-speech."""
    seldom = Recognizer("a", [Stall(4.0)], interim_interval=3.0, flushes=False)
    sim = Simulation(LONG, [seldom, Recognizer("b")], tail=2.0).run()
    assert_promises(sim)
    (hedged,) = events(sim, HedgeFinished)
    assert (hedged.trigger, hedged.outcome) == ("no_interim", "promoted")
    assert 4.0 + 1.0 < hedged.at < 4.0 + 4.5 + 1.0


def test_who_gives_interims_seldom_is_not_left_for_it() -> None:
    seldom = Recognizer("a", interim_interval=3.0, flushes=False, latency=0.5)
    sim = Simulation(LONG, [seldom, Recognizer("b")], tail=2.0).run()
    assert_promises(sim)
    assert sim.opened == ["a"]
