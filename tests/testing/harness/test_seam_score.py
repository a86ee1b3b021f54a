"""A joint transcript of two recognizers against the best possible one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.testing.harness.seam_score import SeamScore, judge_seam, matched, tokens
from resilient_stt.testing.speech.reference import SpokenWord

FIRST = (
    "so the long-term plan is to grow um by twenty twenty percent each year in the U.K. and beyond"
)
SECOND = "So, the long term plan is to grow by 2020 per cent each year in the U. K., and beyond it"
CUT = 12.0


def timed(text: str, first: float = 8.0) -> list[SpokenWord]:
    """Return words that begin every 0.3 s."""
    return [
        SpokenWord(word, first + 0.3 * n, first + 0.3 * n + 0.25)
        for n, word in enumerate(text.split())
    ]


def judged(emitted: str, first: str = FIRST, second: str = SECOND, cut: float = CUT) -> SeamScore:
    return judge_seam(tokens(emitted), timed(first), timed(second), cut)


def counts(found: SeamScore) -> tuple[int, int, int]:
    return found.lost, found.twice, found.changed


@pytest.mark.parametrize(
    "emitted",
    [
        "so the long-term plan is to grow by 2020 per cent each year in the U. K. and beyond it",
        "So the long-term plan is to grow, um, by 2020 per cent each year in the u k and beyond it",
        "so the long term plan is to grow um by twenty twenty percent each year in the U K and "
        "beyond it",
    ],
)
def test_a_seam_at_any_agreed_word_is_exact(emitted: str) -> None:
    """The first one's words up to an agreed word, then the second one's: nothing is wrong."""
    found = judged(emitted)
    assert counts(found) == (0, 0, 0)
    assert found.wrong == found.longest_run == 0


def test_lost_words_are_counted() -> None:
    """Words of either one that are missing at the seam are lost, and a run of them is told."""
    found = judged("so the long-term plan is each year in the U. K. and beyond it")
    assert (found.lost, found.twice) == (6, 0)
    assert found.longest_run == 6


def test_repeated_words_are_counted() -> None:
    """What the second one writes again of the first one's words comes twice."""
    found = judged(
        "so the long-term plan is to grow um by twenty twenty percent "
        "grow by 2020 per cent each year in the U. K. and beyond it"
    )
    assert found.lost == 0
    assert found.twice >= 3
    assert found.longest_run >= 2


def test_a_torn_word_is_changed() -> None:
    """A fragment in the place of a word is one wrong word."""
    assert counts(judged(FIRST.replace("plan", "~an").replace("beyond", "beyond it"))) == (0, 0, 1)


def test_a_seam_far_from_the_cut_is_wrong() -> None:
    """Words of the second one long after the cut do not make up for the first one's."""
    first, second = timed("one two three four five six", 8.0), timed("one 2 3 4 5 6", 8.0)
    same = judge_seam(tokens("one 2 3 4 5 6"), first, second, 8.5)
    far = judge_seam(tokens("one 2 3 4 5 6"), first, second, 60.0)
    assert same.wrong == 0
    assert far.wrong == 5


def test_recognizers_that_agree_on_nothing() -> None:
    """Without an agreed word, the first one's words are the measure."""
    assert judged("alpha beta", "alpha beta", "gamma delta").wrong == 0
    assert judged("", "alpha beta", "gamma delta").lost == 2


def test_tokens() -> None:
    """Hyphens and points split words, apostrophes do not; a script without spaces is split."""
    assert tokens("U.K.'s long-term we'd ~TION") == ["u", "k", "s", "long", "term", "we'd", "~tion"]
    assert tokens("我想5点") == ["我", "想", "5", "点"]


WORDS = st.lists(st.sampled_from(("no", "yes", "well", "so", "then")), min_size=4, max_size=30)


@given(WORDS, st.data())
def test_the_differences_made_are_those_counted(words: list[str], data: st.DataObject) -> None:
    """Of one text, so many words are removed and so many repeated: it counts exactly these."""
    text = " ".join(words)
    assert judged(text, text, text).wrong == 0
    at = data.draw(st.integers(0, len(words) - 1))
    count = data.draw(st.integers(1, len(words) - at))
    without = judged(" ".join([*words[:at], *words[at + count :]]), text, text)
    assert (without.lost, without.twice) == (count, 0)
    again = judged(" ".join([*words[: at + count], *words[at:]]), text, text)
    assert (again.lost, again.twice) == (0, count)


def test_matched_is_in_order() -> None:
    """Equal items are matched in the order of both lists."""
    dice = random.Random(3)
    one = [dice.choice("abc") for _ in range(40)]
    pairs = matched(one, one[5:])
    assert pairs == sorted(pairs)
    assert all(one[a] == one[5:][b] for a, b in pairs)
