"""Failovers between two providers that write and time the same words differently."""

from __future__ import annotations

import pytest

from resilient_stt.testing.speech.accent import Accent

from ...support.promises import assert_promises
from ...support.simulator import Drop, Recognizer, Refuse, Simulation, sentence, speak

FIRST = Accent(seed=1, casing="lower", punctuates=False, variants=1.0, shift=-0.02, jitter=0.04)
SECOND = Accent(seed=2, spellings=0.2, splits=0.5, added_fillers=0.2, shift=0.03, jitter=0.04)
WORDS = speak(
    *sentence("It is my reservation for Thursday evening, a quiet table for four people."),
    *sentence("We would like to cancel it, because one guest is vegetarian.", before=1.0),
)


@pytest.mark.parametrize("accents", [(FIRST, SECOND), (SECOND, FIRST), (FIRST, None)])
@pytest.mark.parametrize("word", range(0, len(WORDS), 2))
def test_a_drop_between_two_accents(word: int, accents: tuple[Accent | None, ...]) -> None:
    """Wherever the first provider drops, every word comes once, in the form of one of the two."""
    at = (WORDS[word].start + WORDS[word].end) / 2
    first, second = accents
    route = [
        Recognizer("a", [Drop(at), *[Refuse()] * 9], most=3, accent=first),
        Recognizer("b", accent=second),
    ]
    assert_promises(Simulation(WORDS, route).run(within=20))


def test_a_word_that_is_lost_is_noticed() -> None:
    """The check is no weaker for words in other forms."""
    sim = Simulation(WORDS, [Recognizer("a", accent=FIRST)]).run(within=20)
    assert_promises(sim)
    sim.words.append(sim.words[-1])
    with pytest.raises(AssertionError, match="1 lost"):
        assert_promises(sim)
