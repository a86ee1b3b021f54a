"""Compare the first words of two texts that have no word times.

Two recognizers, and two revisions of one recognizer, never write the same words in the same way. So
words are compared by similarity, and only the first few count.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..transcript.overlap import Utterance
from ..transcript.tokens import is_similar, is_spaced, tokenize

MAX_OPENING_WORDS = 8
"""Words of an opening that are compared. It bounds the work for each interim transcript."""

_LETTERS_PER_WORD = 12
"""Letters that are tokenized for each word: it bounds the work for text without spaces."""


def opening_words(utterance: Utterance, limit: int = MAX_OPENING_WORDS) -> list[str]:
    """Return the first words, normalized, at most `limit` of them.

    In languages that are written without spaces each character is a word.
    """
    beginning = utterance.text[: _LETTERS_PER_WORD * limit]
    return [token.norm for token in tokenize(beginning, utterance.language)[:limit]]


def distinctive_length(opening: Sequence[str], min_words: int) -> int:
    """Return how many words of an opening distinguish it from others.

    `min_words` is `WatchdogPolicy.min_compared_words`. Characters say less than words do, so that
    it takes twice as many of them.
    """
    is_by_character = bool(opening) and not is_spaced(opening[0])
    return 2 * min_words if is_by_character else min_words


def count_shared(words: Sequence[str], others: Sequence[str]) -> int:
    """Return how many of `words` are similar to one of `others`, in any order."""
    return sum(any(is_similar(word, other) for other in others) for word in words)


def extra_words_before(opening: Sequence[str], other: Sequence[str]) -> int | None:
    """Return how many words `other` has before the first one that both share.

    Words that `opening` has there are subtracted. `None` if they share no word.
    """
    for position, word in enumerate(opening):
        for other_position, other_word in enumerate(other):
            if is_similar(word, other_word):
                return max(0, other_position - position)
    return None
