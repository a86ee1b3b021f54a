"""Aligns what a connection wrote with the words that were committed before."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

from .forms import FILLERS, number_value, read_number
from .similarity import Letters

MIN_MATCH = 0.29
SUBSTITUTION = -0.6
LIKENESS = 0.8
INSERTION = 0.5
DELETION = 0.5
NUMBER_INDEL = 0.2
FILLER_INDEL = 0.1
FRAGMENT = 0.2
EMITTED = 1.0
TIME_PENALTY = 0.3
SIDE = 0.6
FORBIDDEN = -2.0
MIN_FUZZY = 0.75
MAX_CELLS = 1600
CONTEXT = 24
MAX_JOIN = 5
MAX_PLACES = 8
BUCKET = 8
TIE = 1e-9
UNIT = 0.5
UNIT_REACH = 3


@dataclass(slots=True)
class TimedToken:
    """A token, and when it was spoken, in seconds of session audio.

    Without times `start` is `None`. Of a committed token, `end` is then the latest time at which it
    had ended; of a new one, it is `None` too.
    """

    key: str
    written: str
    start: float | None
    end: float | None
    unit: str = ""


class Result(NamedTuple):
    """Where the seam lies: `seam` new tokens repeat committed ones, up to index `used` of those."""

    seam: int
    used: int
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about the new tokens besides their text."""

    certain: int
    """So many leading tokens are repeated for certain."""
    possible: int
    """Tokens from this index on are new for certain."""
    side: Sequence[float]
    """For each token, how much its times speak for a repetition (1) or against it (-1)."""
    timed: bool
    """The times alone tell which tokens are repeated, if texts do not."""
    tolerance: float
    late: Sequence[float]
    """For each token, how far it reaches into audio that is not committed: it speaks against a
    repetition too, but not of a token that matches a committed one."""
    insertion: Sequence[float]
    """For each token, what it costs that no committed one matches it."""


def align(
    committed: Sequence[TimedToken], new: Sequence[TimedToken], evidence: Evidence
) -> Result:
    """Find the seam: how many leading tokens of `new` repeat committed ones."""
    ahead = new[: evidence.possible]
    side = [0.0, *accumulate(SIDE * value for value in evidence.side[: evidence.possible])]
    best = _by_time(evidence) if evidence.timed else Result(0, 0, 0.0)
    for window in _windows(committed, ahead):
        grid = _Grid(committed, ahead, window, evidence)
        for found in grid.results():
            score = found.score + side[found.seam]
            # Of equally good places the first committed one: more repetitions may follow.
            is_better = score > best.score + TIE or (
                score > best.score - TIE and found.seam == best.seam and found.used < best.used
            )
            if is_better and found.score > 0 and found.seam >= evidence.certain:
                best = Result(found.seam, found.used, score)
    return best


def _by_time(evidence: Evidence) -> Result:
    """Return the seam where the times of the new tokens alone put it."""
    score, best = 0.0, Result(evidence.certain, 0, -math.inf)
    for j in range(evidence.possible + 1):
        if j >= evidence.certain and score > best.score + 1e-9:
            best = Result(j, 0, score)
        if j < evidence.possible:
            score += SIDE * max(-1.0, evidence.side[j] - evidence.late[j])
    return best


class Window(NamedTuple):
    """A part of both texts: from the first token to before the last, of either."""

    first_committed: int
    last_committed: int
    first_new: int
    last_new: int


def _windows(committed: Sequence[TimedToken], new: Sequence[TimedToken]) -> list[Window]:
    """Return the parts of both texts in which the overlap may end.

    All of them if they are short. Otherwise the surroundings of the two places where it can end:
    where the last committed words are in the new text, and where the last new words are in the
    committed one.
    """
    n, m = len(committed), len(new)
    if n * m <= MAX_CELLS:
        return [Window(0, n, 0, m)]
    ours, theirs = [c.key for c in committed], [t.key for t in new]
    found = []
    at_new = _place_of_end(ours, theirs)
    if at_new is None:
        at_new = _common_end(ours, theirs)
    found.append(_around(n, m, n, at_new))
    if found[0].last_new < m:
        at_committed = _place_of_end(theirs, ours)
        if at_committed is not None:
            found.append(_around(n, m, at_committed, m))
    return found


def _around(n: int, m: int, at_committed: int, at_new: int) -> Window:
    behind = CONTEXT // 2
    return Window(
        max(0, at_committed - CONTEXT),
        min(n, at_committed + behind),
        max(0, at_new - CONTEXT),
        min(m, at_new + behind),
    )


def _place_of_end(text: Sequence[str], other: Sequence[str]) -> int | None:
    """Return about where in `other` the place is at which `text` ends; `None` if it is not found.

    Every pair of neighbors that both have votes for the distance between the two texts.
    """
    places: dict[tuple[str, str], list[int]] = {}
    for place, pair in enumerate(pairwise(other)):
        places.setdefault(pair, []).append(place)
    votes: dict[int, list[int]] = {}
    first = max(0, len(text) - CONTEXT)
    for place, pair in enumerate(pairwise(text[first:]), first):
        found = places.get(pair, ())
        if len(found) <= MAX_PLACES:
            for there in found:
                distance = there - place
                # Two rows of buckets, so that no distance is at the edge of both.
                for bucket in (distance // BUCKET * 2, (distance + BUCKET // 2) // BUCKET * 2 + 1):
                    votes.setdefault(bucket, []).append(distance)
    if not votes:
        return None
    distances = max(votes.values(), key=len)
    at = len(text) + sorted(distances)[len(distances) // 2]
    return max(0, min(len(other), at))


def _common_end(committed: Sequence[str], new: Sequence[str]) -> int:
    """Return about how many leading tokens of `new` repeat committed ones.

    By the longest common subsequence of all of `committed` and each beginning of `new`, with the
    bits of one integer for a row of the table (Crochemore et al. 2001; Hyyrö 2004). It holds for
    texts of few different words, too ("five five five").
    """
    places: dict[str, int] = {}
    for i, key in enumerate(committed):
        places[key] = places.get(key, 0) | 1 << i
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


class _Grid:
    """The table of one alignment."""

    def __init__(
        self,
        committed: Sequence[TimedToken],
        new: Sequence[TimedToken],
        window: Window,
        evidence: Evidence,
    ) -> None:
        self._committed = committed[window.first_committed : window.last_committed]
        self._new = new[window.first_new : window.last_new]
        self._window = window
        self._ends_committed = window.last_committed == len(committed)
        self._ends_new = window.last_new == len(new)
        self._evidence = evidence
        self._offset = window.first_new
        self._letters: dict[str, Letters] = {}

    def results(self) -> Iterator[Result]:
        """Yield each place at which the overlap can end, and its score."""
        if not (self._committed and self._new):
            return
        rows, window = self.fill(), self._window
        if self._ends_committed:
            for count, row in enumerate(rows):
                seam = window.first_new + count
                if count:
                    yield Result(seam, window.last_committed, row[-1])
                if count < len(self._new) and self._is_unit(self._new[count]):
                    yield Result(seam + 1, window.last_committed, row[-1] + UNIT)
        if self._ends_new:
            for count, score in enumerate(rows[-1][1:], 1):
                yield Result(window.last_new, window.first_committed + count, score)

    def _is_unit(self, token: TimedToken) -> bool:
        """Whether a token says what a committed text wrote as a sign: "dollars" behind "$60"."""
        units = [c.unit for c in self._committed[-UNIT_REACH:] if c.unit]
        return token.key.removesuffix("s") in units

    def fill(self) -> list[list[float]]:
        """Return the best score of every pair of beginnings."""
        committed, new = self._committed, self._new
        deletions = [_indel(c, DELETION) for c in committed]
        joins = self._joins()
        rows = [[0.0] * (len(committed) + 1)]
        for j, token in enumerate(new):
            late = SIDE * self._evidence.late[self._offset + j]
            above, insertion = rows[-1], self._insertion(j, token) + late
            pairs = self._pairs(token, late)
            left = above[0] - insertion
            row = [left]
            extra = joins.get(j + 1)
            for i, pair in enumerate(pairs):
                score = above[i] + pair
                other = above[i + 1] - insertion
                if other > score:
                    score = other
                other = left - deletions[i]
                if other > score:
                    score = other
                if extra and i + 1 in extra:
                    for size_c, size_n, gain in extra[i + 1]:
                        score = max(score, rows[j + 1 - size_n][i + 1 - size_c] + gain)
                left = score
                row.append(score)
            rows.append(row)
        return rows

    def _insertion(self, j: int, token: TimedToken) -> float:
        return _indel(token, self._evidence.insertion[self._offset + j])

    def _pairs(self, token: TimedToken, late: float) -> list[float]:
        """Return what it counts that `token` is each of the committed ones."""
        timed = token.start is not None
        scores: dict[str, float] = {}
        row = []
        for c in self._committed:
            score = scores.get(c.key)
            if score is None:
                score = scores[c.key] = self._spelling(c, token)
            if score < MIN_MATCH and c.written == token.written:
                score = _weight(c.key)
            if timed:
                score = self._with_times(c, token, score)
            if score < MIN_MATCH:
                score -= late
            row.append(score)
        return row

    def _spelling(self, c: TimedToken, token: TimedToken) -> float:
        if c.key == token.key:
            return _weight(c.key)
        likeness = self._of(c.key).likeness(self._of(token.key))
        if likeness >= MIN_FUZZY and min(len(c.key), len(token.key)) >= 4:
            return likeness * _weight(c.key)
        if number_value(c.key) is not None and number_value(token.key) is not None:
            return -0.1
        return SUBSTITUTION + LIKENESS * likeness

    def _with_times(self, c: TimedToken, token: TimedToken, score: float) -> float:
        tolerance = self._evidence.tolerance
        assert token.start is not None
        assert token.end is not None
        assert c.end is not None
        if c.start is None:
            return FORBIDDEN if token.start > c.end + tolerance else score
        apart = abs(c.start + c.end - token.start - token.end) / 2
        if apart > 2 * tolerance:
            return FORBIDDEN
        if score < MIN_MATCH:
            same = 1 - (abs(c.start - token.start) + abs(c.end - token.end)) / (2 * tolerance)
            return max(score, SUBSTITUTION + LIKENESS * same)
        return score - TIME_PENALTY * (apart / tolerance) ** 2

    def _of(self, key: str) -> Letters:
        found = self._letters.get(key)
        if found is None:
            found = self._letters[key] = Letters(key)
        return found

    def _joins(self) -> dict[int, dict[int, list[tuple[int, int, float]]]]:
        """Return where several tokens of one text are one of the other, by where they end."""
        found: dict[int, dict[int, list[tuple[int, int, float]]]] = {}

        def add(i: int, size_c: int, j: int, size_n: int, gain: float) -> None:
            if gain > 0:
                found.setdefault(j + size_n, {}).setdefault(i + size_c, []).append(
                    (size_c, size_n, gain)
                )

        ours, theirs = _spans(self._committed), _spans(self._new)
        for form, places in theirs.items():
            for i, size_c in ours.get(form, ()):
                for j, size_n in places:
                    if size_c != size_n and self._may_meet(i, size_c, j, size_n):
                        add(i, size_c, j, size_n, _weight(form) * min(size_c, size_n))
        self._fuzzy_joins(add)
        return found

    def _may_meet(self, i: int, size_c: int, j: int, size_n: int) -> bool:
        """Return whether the times of two spans allow that they are the same words."""
        first, last = self._committed[i], self._committed[i + size_c - 1]
        begin, end = self._new[j].start, self._new[j + size_n - 1].end
        tolerance = 2 * self._evidence.tolerance
        if begin is None or end is None or last.end is None:
            return True
        if first.start is None:
            return begin <= last.end + tolerance
        return begin <= last.end + tolerance and end >= first.start - tolerance

    def _fuzzy_joins(self, add) -> None:  # type: ignore[no-untyped-def]
        for one, many, swapped in (
            (self._committed, self._new, False),
            (self._new, self._committed, True),
        ):
            pairs: dict[str, list[tuple[int, str]]] = {}
            for k in range(len(many) - 1):
                form = many[k].key + many[k + 1].key
                pairs.setdefault(form[0], []).append((k, form))
            for i, token in enumerate(one):
                if len(token.key) < 3:
                    continue
                for k, form in pairs.get(token.key[0], ()):
                    if form == token.key:
                        continue
                    likeness = self._of(form).likeness(self._of(token.key))
                    if likeness < MIN_FUZZY:
                        continue
                    if swapped and self._may_meet(k, 2, i, 1):
                        add(k, 2, i, 1, likeness * _weight(form))
                    elif not swapped and self._may_meet(i, 1, k, 2):
                        add(i, 1, k, 2, likeness * _weight(form))


def _weight(key: str) -> float:
    """Return what a match of that form counts: a long word says more than a short one."""
    return 3 * FILLER_INDEL if key in FILLERS else 0.8 + 0.05 * min(len(key), 8)


def _indel(token: TimedToken, usual: float) -> float:
    if token.key in FILLERS:
        return FILLER_INDEL
    return min(usual, NUMBER_INDEL) if number_value(token.key) is not None else usual


def _spans(tokens: Sequence[TimedToken]) -> dict[str, list[tuple[int, int]]]:
    """Return all short runs of tokens by the form that they have together: (first, size)."""
    found: dict[str, list[tuple[int, int]]] = {}
    numbers = [number_value(t.key) is not None for t in tokens]
    for first in range(len(tokens)):
        form = ""
        for size in range(1, min(MAX_JOIN, len(tokens) - first) + 1):
            form += tokens[first + size - 1].key
            found.setdefault(form, []).append((first, size))
            if all(numbers[first : first + size]):
                number = read_number([t.key for t in tokens[first : first + size]])
                if number and number != form:
                    found.setdefault(number, []).append((first, size))
    return found
