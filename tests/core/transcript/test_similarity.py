from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.core.transcript.similarity import MAX_FUZZY_LETTERS, Letters


def common_subsequence(a: str, b: str) -> int:
    """The length of the longest one, from the textbook."""
    row = [0] * (len(b) + 1)
    for x in a:
        before = 0
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], before + 1 if x == y else max(row[j], row[j - 1])
    return row[-1]


words = st.text("abcde", min_size=1, max_size=12)


@given(words, words)
def test_likeness_is_that_of_the_textbook(a: str, b: str) -> None:
    """It is twice the common letters over all letters, or 0 if few letters are the same."""
    expected = 2 * common_subsequence(a, b) / (len(a) + len(b))
    found = Letters(a).likeness(Letters(b))
    assert found == pytest.approx(expected) or (
        found == 0 and 4 * len(set(a) & set(b)) < len(set(a)) + len(set(b))
    )


@given(st.text(max_size=80), st.text(max_size=80))
def test_likeness_is_a_share_and_symmetric(a: str, b: str) -> None:
    """It is between 0 and 1, the same both ways, and 1 for equal words."""
    left, right = Letters(a), Letters(b)
    assert 0 <= left.likeness(right) <= 1
    assert left.likeness(right) == right.likeness(left)
    assert left.likeness(Letters(a)) == 1


def test_very_long_words_are_only_like_themselves() -> None:
    """The letters behind the limit are not compared."""
    long = "ab" * MAX_FUZZY_LETTERS
    assert Letters(long).likeness(Letters(long)) == 1
    assert Letters(long).likeness(Letters(long + "a")) == 0
    assert Letters("a").likeness(Letters(long)) == 0


def test_they_show_no_text() -> None:
    """The repr has the number of letters only."""
    assert repr(Letters("secret")) == "Letters(6)"
