"""Where two long texts can overlap: the parts of them that are worth an exact alignment.

An alignment costs time for each pair of tokens. But only one place matters: where the overlap ends.
It ends with the last committed token, or with the last new one. So it is enough to find about where
the end of either text lies in the other one, and to align the surroundings of these places.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

MAX_CELLS = 1600
"""Pairs of tokens that are aligned as a whole: more than two sentences have."""
CONTEXT = 24
"""Tokens before the end of the overlap that are aligned. They show what is repeated, and how its
words are paired; a few would do, were no refrain or list among them."""
BEHIND = CONTEXT // 2
"""Tokens behind the place that was found that are aligned, because it is only about the place."""
MAX_PLACES = 8
"""Pairs of neighbors that occur more often have no vote: a bound on CPU time."""
BUCKET = 8
"""Tokens by which the distance of two texts may differ within the votes for it."""


class Window(NamedTuple):
    """A part of both texts: from the first token to before the last, of either."""

    first_committed: int
    last_committed: int
    first_new: int
    last_new: int


def find_windows(committed: Sequence[str], new: Sequence[str]) -> list[Window]:
    """Return the parts of both texts in which the overlap may end."""
    n, m = len(committed), len(new)
    if n * m <= MAX_CELLS:
        return [Window(0, n, 0, m)]
    # Where the last committed tokens are in the new text, and the last new ones in the committed.
    at_new, at_committed = _place_of_end(committed, new), _place_of_end(new, committed)
    if at_new is None:
        at_new = _common_end(committed, new)
    windows = [_around(n, m, n, at_new)]
    if at_committed is not None and (at_committed + BEHIND < n or at_new + BEHIND < m):
        windows.append(_around(n, m, at_committed, m))
    return windows


def _around(n: int, m: int, at_committed: int, at_new: int) -> Window:
    """Return the window around a place, in texts of `n` and `m` tokens."""
    return Window(
        max(0, at_committed - CONTEXT),
        min(n, at_committed + BEHIND),
        max(0, at_new - CONTEXT),
        min(m, at_new + BEHIND),
    )


def _place_of_end(text: Sequence[str], other: Sequence[str]) -> int | None:
    """Return about at which place of `other` `text` ends; `None` if nothing of it is found there.

    Every pair of neighbors that both texts have votes for the distance between them.
    """
    places: dict[tuple[str, str], list[int]] = {}
    for place, pair in enumerate(pairwise(other)):
        places.setdefault(pair, []).append(place)
    votes: dict[int, list[int]] = {}
    first = max(0, len(text) - CONTEXT)
    for place, pair in enumerate(pairwise(text[first:]), first):
        found = places.get(pair, ())
        if len(found) > MAX_PLACES:
            continue
        for there in found:
            distance = there - place
            # Two rows of buckets, so that no distance lies at the edge of both.
            votes.setdefault(distance // BUCKET * 2, []).append(distance)
            votes.setdefault((distance + BUCKET // 2) // BUCKET * 2 + 1, []).append(distance)
    if not votes:
        return None
    fullest = max(votes.values(), key=len)
    distances = sorted(fullest)
    return max(0, min(len(other), len(text) + distances[len(distances) // 2]))


def _common_end(committed: Sequence[str], new: Sequence[str]) -> int:
    """Return about how many leading tokens of `new` repeat committed ones.

    That is where the longest common subsequence of all of `committed` and the beginning of `new`
    stops to grow. A row of its table is one integer (Hyyrö 2004), so that it costs a step for each
    new token. It serves texts of few different words ("five five five"), whose neighbors say
    nothing about their place.
    """
    places: dict[str, int] = {}
    for place, key in enumerate(committed):
        places[key] = places.get(key, 0) | 1 << place
    full = (1 << len(committed)) - 1
    row, best, best_count = full, 0.0, 0
    for count, key in enumerate(new, 1):
        if here := places.get(key, 0):
            common = row & here
            row = ((row + common) | (row - common)) & full
        matched = len(committed) - row.bit_count()
        score = matched - (count - matched) / 3
        if score > best:
            best, best_count = score, count
    return best_count
