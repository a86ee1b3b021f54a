"""Calls in a café: bursts of noise that two providers find no words in, between sentences."""

from __future__ import annotations

import pytest

from resilient_stt.core.events import HedgeFinished, HedgeOutcome, Role, Switched
from resilient_stt.core.messages import Emit, EventKind

from ...support.promises import assert_promises, events
from ...support.simulator import (
    Drop,
    Fault,
    Recognizer,
    Simulation,
    Spoken,
    Stall,
    noise,
    sentence,
    speak,
)

SENTENCES = ("one two three", "four five six", "seven eight", "nine ten eleven", "twelve ten two")


def cafe(bursts: int = 4) -> list[Spoken]:
    """A sentence, and after each of so many bursts of noise another one."""
    pieces = [*sentence(SENTENCES[0])]
    for number in range(bursts):
        pieces += [noise(1.0, 5.0), *sentence(SENTENCES[number + 1], before=1.0)]
    return speak(*pieces)


def play(words: list[Spoken], *faults: Fault, sounds: bool = True) -> Simulation:
    """Play a call to a provider of finals only, with faults, and to one that works."""
    route = [Recognizer("a", list(faults), interims=False), Recognizer("b")]
    return Simulation(words, route, sounds=sounds, tail=2.0).run(within=8)


def hedged(sim: Simulation) -> float:
    """The seconds of audio that hedges were sent."""
    return sum(e.seconds for e in events(sim, HedgeFinished))


def first_switch(sim: Simulation) -> float:
    """When the call moved to another provider, in seconds of its audio."""
    return next(iter(events(sim, Switched))).at


def test_noise_is_asked_about_once() -> None:
    """A hedge hears the first burst of noise, and none hears another of its kind."""
    words = cafe()
    sim, every_burst = play(words), play(words, sounds=False)
    assert_promises(sim)
    second = [w for w in words if not w.text][1]
    assert all(e.at < second.end for e in events(sim, HedgeFinished))
    assert hedged(sim) < hedged(every_burst) / 2


def test_a_final_behind_known_noise_is_not_held() -> None:
    """A FINAL that skips known noise comes as soon as from the bare provider."""
    words = cafe()
    sim = play(words)
    finals = [(at - sim.base, c) for at, c in sim.commands if isinstance(c, Emit)]
    late = [at - c.end for at, c in finals if c.kind is EventKind.FINAL and c.end]
    assert len(late) == 5
    usual, *after_known_noise = late[0], *late[2:]
    assert after_known_noise == pytest.approx([usual] * 3, abs=0.06)  # a frame, more or less


def test_a_provider_that_falls_silent_after_noise() -> None:
    """Words without a transcript are noticed as soon as in a call without any known noise."""
    words = cafe()
    last_noise = [w for w in words if not w.text][-1]
    silent = [Stall(last_noise.end + 0.5)]
    knowing, unknowing = play(words, *silent), play(words, *silent, sounds=False)
    for sim in (knowing, unknowing):
        assert_promises(sim)
        assert sim.served == ["a", "b"]
    assert first_switch(knowing) <= first_switch(unknowing)


def test_a_provider_that_falls_silent_in_noise() -> None:
    """It is noticed by the words behind the noise."""
    words = cafe()
    last_noise = [w for w in words if not w.text][-1]
    sim = play(words, Stall(last_noise.start + 0.5))
    assert_promises(sim)
    assert sim.served == ["a", "b"]


def test_known_noise_is_replayed() -> None:
    """A word that sounds like known noise is heard by the next provider, after a drop behind it."""
    words = cafe()
    last_noise = [w for w in words if not w.text][-1]
    words[words.index(last_noise)] = Spoken("thirteen", last_noise.start, last_noise.end)
    route = [Recognizer("a", [Drop(last_noise.end + 0.6)]), Recognizer("b")]
    sim = Simulation(words, route, sounds=True, noisy_words={"thirteen"}, tail=2.0)
    assert_promises(sim.run(within=8))


def test_noise_is_asked_about_again_when_words_were_missing() -> None:
    """Once a hedge has found words that were missing, later noise is asked about."""
    pieces = [*sentence(SENTENCES[0]), noise(1.0, 5.0), *sentence(SENTENCES[1], before=1.0)]
    pieces += [*sentence(SENTENCES[2], before=4.0), noise(8.0, 5.0), *sentence("ten", before=9.0)]
    words = speak(*pieces)
    last_noise = [w for w in words if not w.text][-1]
    silent = next(w for w in words if w.text == SENTENCES[2].split()[0])
    for faults, asked in ([], False), ([Stall(silent.start)], True):
        sim = play(words, *faults)
        assert_promises(sim)
        later = [e for e in events(sim, HedgeFinished) if e.at > last_noise.start]
        assert any(e.outcome is HedgeOutcome.NO_SPEECH for e in later) is asked


def test_coughs_that_are_too_short_to_be_skipped_speech() -> None:
    """A hedge that hears the words around a cough, as the active connection does, shows it."""
    cough = noise(1.0, 1.2)
    pieces = [*sentence(SENTENCES[0]), cough, *sentence(SENTENCES[1], before=3.0)]
    pieces += [cough, *sentence(SENTENCES[2], before=3.0), cough, *sentence("ten", before=3.0)]
    asked = [
        len(play(speak(*pieces), sounds=known).opened_as(Role.HEDGE)) for known in (True, False)
    ]
    assert asked == [1, 3]


def test_noise_that_one_hedge_has_heard() -> None:
    """A hedge's silence is about all noise that it and the active connection had time for."""
    coughs = [noise(1.0, 0.7), noise(1.5, 0.7), noise(8.0, 0.7)]
    words = speak(*sentence(SENTENCES[0]), *coughs, *sentence("ten", before=9.0))
    route = [Recognizer("a", interims=False, slow_endpointing=True), Recognizer("b")]
    sim = Simulation(words, route, sounds=True, tail=2.0).run(within=8)
    assert_promises(sim)
    assert [e.outcome for e in events(sim, HedgeFinished)] == [HedgeOutcome.NO_SPEECH]
