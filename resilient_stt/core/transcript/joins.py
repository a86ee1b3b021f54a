"""Runs of words that another provider writes as one word, or in other pieces.

"long term" and "long-term", "U. K." and "UK", "2020" and "twenty twenty", "gonna" and "going to":
several tokens of one text are one token, or another number of tokens, of the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .forms import clock_time, number_value, read_number, spelled_out
from .similarity import Letters
from .tokens import MIN_SIMILARITY, TimedToken, is_similar

MAX_JOINED = 5
"""Tokens of one text that are compared as one word: a spelled name has about as many letters, and
"four hundred eighty one million" as many words."""

CLOCK = 3
"""Tokens of "half past ten"."""

MIN_JOINED_LETTERS = 3
"""Shorter words must be equal to two others, joined: "at" is like "a" and "t", and says nothing."""

MIN_LETTERS_OF_EACH = 3
"""A word is compared with more than two others, joined, if it has so many letters for each."""


class Join(NamedTuple):
    """Tokens before `end_committed` and `end_new` are the same words, so many of either text."""

    end_committed: int
    end_new: int
    committed: int
    new: int
    form: str
    """What they are, written as one."""
    likeness: float


Span = tuple[int, int]
"""(first token, number of tokens)"""


def find_joins(committed: Sequence[TimedToken], new: Sequence[TimedToken]) -> Iterator[Join]:
    """Yield the runs of both texts that are the same words in another number of tokens."""
    ours, theirs = _spans(committed), _spans(new)
    for form, places in theirs.items():
        for first, size in ours.get(form, ()):
            for first_new, size_new in places:
                if size != size_new:
                    yield Join(first + size, first_new + size_new, size, size_new, form, 1.0)
    for place, first, size, form, likeness in _alike(committed, new):
        yield Join(place + 1, first + size, 1, size, form, likeness)
    for place, first, size, form, likeness in _alike(new, committed):
        yield Join(first + size, place + 1, size, 1, form, likeness)


def _spans(tokens: Sequence[TimedToken]) -> dict[str, list[Span]]:
    """Return all short runs of tokens by the form that they have together."""
    found: dict[str, list[Span]] = {}
    is_number = [number_value(token.key) is not None for token in tokens]
    for first in range(len(tokens)):
        form = ""
        for size in range(1, min(MAX_JOINED, len(tokens) - first) + 1):
            form += tokens[first + size - 1].key
            found.setdefault(form, []).append((first, size))
            if size > 1 and all(is_number[first : first + size]):
                number = read_number([token.key for token in tokens[first : first + size]])
                if number != form:
                    found.setdefault(number, []).append((first, size))
            elif size > 1 and (full := spelled_out(form)):
                found.setdefault(full, []).append((first, size))
            elif size == CLOCK:
                time = clock_time(*(token.key for token in tokens[first : first + size]))
                if time:
                    found.setdefault(time, []).append((first, size))
    return found


def _alike(
    words: Sequence[TimedToken], others: Sequence[TimedToken]
) -> Iterator[tuple[int, int, int, str, float]]:
    """Yield each word that is like some neighbors of the other text, joined, but not equal to them.

    Only those with the same first letter: it makes the search short, and a word's beginning is what
    recognizers agree on.
    """
    longest = max((len(word.written) for word in words), default=0)
    runs: dict[str, list[tuple[int, int, Letters]]] = {}
    for first in range(len(others) - 1):
        form = others[first].written
        for size in range(2, min(MAX_JOINED, len(others) - first) + 1):
            form += others[first + size - 1].written
            if size > 2 and MIN_LETTERS_OF_EACH * size > longest:
                break
            runs.setdefault(form[0], []).append((first, size, Letters(form)))
    for place, word in enumerate(words):
        if len(word.written) < MIN_JOINED_LETTERS:
            continue
        letters = Letters(word.written)
        for first, size, joined in runs.get(word.written[0], ()):
            if size > 2 and MIN_LETTERS_OF_EACH * size > len(word.written):
                continue
            likeness = joined.likeness(letters)
            if not MIN_SIMILARITY <= likeness < 1:
                continue
            # A word that is like one of them alone would take the others in: a short word behind it
            # would be lost (test_a_word_takes_in_no_neighbor).
            parts = others[first : first + size]
            if not any(is_similar(word.written, part.written) for part in parts):
                yield place, first, size, joined.text, likeness
