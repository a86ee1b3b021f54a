from __future__ import annotations

import pytest

from resilient_stt.core.stalls.opening_words import (
    MAX_OPENING_WORDS,
    count_shared,
    distinctive_length,
    extra_words_before,
    opening_words,
)
from resilient_stt.core.transcript.overlap import Utterance


def test_opening_words() -> None:
    """The first eight words, normalized, however long the text is."""
    assert opening_words(Utterance("Hello, there!")) == ["hello", "there"]
    assert len(opening_words(Utterance("red " * 100))) == MAX_OPENING_WORDS
    assert opening_words(Utterance("red green blue"), limit=2) == ["red", "green"]
    assert opening_words(Utterance("你好吗")) == ["你", "好", "吗"]


@pytest.mark.parametrize(
    ("text", "expected"), [("", 3), ("no", 3), ("hello there Joe", 3), ("你好吗", 6)]
)
def test_distinctive_length(text: str, expected: int) -> None:
    """It takes twice as many characters as words."""
    assert distinctive_length(opening_words(Utterance(text)), 3) == expected


@pytest.mark.parametrize(
    ("words", "others", "shared", "extra"),
    [
        (["how", "are"], ["how", "are"], 2, 0),
        (["how", "are"], ["oh", "how", "are"], 2, 1),
        (["oh", "how", "are"], ["how", "are"], 2, 0),
        (["how", "are"], ["are", "how"], 2, 1),
        (["how", "are"], ["yes", "sir"], 0, None),
        (["how"], [], 0, None),
        ([], ["how"], 0, None),
    ],
)
def test_shared_words(words: list[str], others: list[str], shared: int, extra: int | None) -> None:
    """Shared words count in any order; those before the first shared one are extra."""
    assert count_shared(words, others) == shared
    assert extra_words_before(words, others) == extra
