"""Aligns what a connection wrote with the words that were committed before.

Theory of operation
===================

A replay begins before the committed audio ends, so that a new connection writes committed words
again: in its own spelling, with other fillers, with a word more or less. The question is where the
repetition ends, the *seam*. Comparing word for word from the beginning does not answer it, because
two recognizers disagree about one word in ten. So both texts are aligned as a whole, as scoring a
speech recognizer does it, but with open ends ("semi-global"):

    committed   ... the fourth quarter of 2023
    new                 fourth quarter of twenty twenty three  this is consistent
                                                             ^ the seam

- The committed text may go on before the repetition begins: its first tokens cost nothing.
- The new text may go on behind it: the tokens behind the seam cost nothing.
- In between, every token either matches one of the other text, or stands against another one
  (substitution), or against none (insertion, deletion). A match counts for the repetition; each of
  the others counts against it.

The table of scores has a cell for each pair of beginnings: the best score of a repetition that ends
there. The overlap ends in the last column (all committed tokens are repeated, and the new ones
behind are new) or in the last row (all new tokens are repetitions, and more may follow in the next
final). The best of those cells is the seam. If none counts for a repetition, nothing is repeated.

So a word that both wrote differently is passed over, if matched words lie behind it. And words that
one connection really repeats are kept: "no no no" behind a committed "no no" matches two of the
committed words, and a third token that counts as a repetition would only cost.

What is known besides the text
------------------------------

- *Numbers, compounds, contractions* of several tokens that match one token: `joins`.
- *Fillers* say little. They cost little, and count little.
- *Long words* say more than short ones: "the" is found anywhere.
- *Times*. A new token more than `tolerance` before or behind the end of the committed audio is
  decided (`Evidence.certain`, `Evidence.possible`). In between, the closer one is to the committed
  audio, the more it counts for a repetition. Two tokens that both have times are the same word only
  if their times agree about; then they may be the same word even if their texts do not.
- *What was emitted*. Tokens of earlier finals are aligned too, for their context. That one of them
  repeats nothing is likely if it was emitted as new.

Cost: one step for each pair of tokens, in texts of two or three sentences. In longer ones only the
surroundings of the two possible places are aligned (`windows`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from .forms import FILLERS, number_value
from .joins import MAX_JOINED, Join, find_joins
from .similarity import Letters
from .tokens import MIN_FUZZY_LETTERS, MIN_SIMILARITY, TimedToken
from .windows import Window, find_windows

# The scores count in matches of a word of four letters. They define what a repetition is, like
# `tokens.MIN_SIMILARITY`. They were set by what is right for single words: a substitution and a
# match together are a repetition, two substitutions and a match are not.
INSERTION = 0.5
"""What it costs that a new token matches no committed one."""
EMITTED_INSERTION = 1.0
"""The same of a token that was emitted as a new one. Without it a last "no" that comes behind other
new words would be lost for a committed "no"."""
FRAGMENT_INSERTION = 0.2
"""The same of the first token of a connection, which may be the rest of a word."""
DELETION = 0.5
"""What it costs that a committed token inside the repetition is not repeated."""
UNHEARD = 0.5
"""What it costs to pass over committed tokens that the connection may not have heard: once, however
many they are. It is not 0, so that a text that fits before and behind them is found before them."""
EARLY_MATCH = 0.5
"""What it costs that a token is equal to a committed one before the audio of the replay, as by a
clock that is off, if there is such a word in that audio, too. Where several "no" were spoken, one
more would match if the repetition began one too early, and a new one would be lost
(test_overlap_in_repetitions)."""
FILLER_INDEL = 0.1
"""What an inserted or deleted filler costs."""
NUMBER_INDEL = 0.2
"""What an inserted or deleted number costs: providers cut numbers into pieces of their own."""
NUMBER_SUBSTITUTION = -0.1
"""What another number in place of a number counts."""
SUBSTITUTION = -0.6
"""What another word in place of a word counts. It costs less than an insertion and a deletion."""
LIKENESS = 0.8
"""What the likeness (0 to 1) of both words adds to that: "will" for "we'll" is not as far off."""
FILLER_MATCH = 0.3
"""What a match of a filler counts. It is the least that a match counts."""
SHORT_MATCH = 0.8
LETTER_MATCH = 0.05
MAX_MATCH_LETTERS = 8
"""What a match counts: `SHORT_MATCH`, and `LETTER_MATCH` for each letter, up to so many."""
AT_ONE_TIME = 0.0
"""What the times of several tokens and of one must count, for them to be the same words whatever
their letters: both ends together are then apart by half a tolerance at most."""
ONE_TO_SEVERAL = tuple(
    counts for size in range(2, MAX_JOINED + 1) for counts in ((1, size), (size, 1))
)
"""How many committed tokens and how many new ones may have the same time."""
UNIT_MATCH = 0.5
"""What "dollars" counts behind a committed "$60"."""
UNIT_REACH = 3
"""Tokens after a sign behind which the word for it may follow: "$481 million dollars"."""
TIME_SHARE = 0.6
"""What the side of the boundary on which a token lies counts, if it is a tolerance away."""
APART_PENALTY = 0.3
"""What it costs that two matched tokens are a tolerance apart. It grows with the square."""
MAX_APART = 2.0
"""Tolerances by which the middles of the same word may be apart. Each word begins and ends by its
own provider's measure."""
IMPOSSIBLE = -2.0
"""What it counts to pair tokens that cannot be the same word: more than an insertion and a deletion
cost together."""
TIE = 1e-9
"""Scores that differ by less are equal."""


class Overlap(NamedTuple):
    """Where the seam lies."""

    seam: int
    """So many leading new tokens are repetitions."""
    used: int
    """They repeat committed ones up to this index; 0 if no text shows which."""
    score: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about the new tokens besides their text."""

    certain: int
    """So many leading tokens are repetitions for certain."""
    possible: int
    """Tokens from this index on are new for certain."""
    side: Sequence[float]
    """For each possible token, how much its middle speaks for a repetition (1) or against it
    (-1)."""
    late: Sequence[float]
    """For each possible token, how far it reaches into audio that is not committed, in tolerances.
    It speaks against a repetition, too, but not of a token that matches a committed one."""
    insertion: Sequence[float]
    """For each token, what it costs that it matches no committed one."""
    timed: bool
    """The times alone tell what is repeated, if texts do not."""
    tolerance: float
    """Seconds by which two providers may disagree about when a word was spoken."""
    early: int = 0
    """So many leading committed tokens lie before the audio of the replay, or most of each."""
    unheard: tuple[int, int] = (0, 0)
    """The first and the end of the committed tokens that the connection may not have heard."""


def align(
    committed: Sequence[TimedToken], new: Sequence[TimedToken], evidence: Evidence
) -> Overlap:
    """Find the seam: how many leading tokens of `new` repeat committed ones."""
    ahead = new[: evidence.possible]
    side = [0.0, *accumulate(TIME_SHARE * value for value in evidence.side[: evidence.possible])]
    best = _by_time(evidence) if evidence.timed else Overlap(0, 0, 0.0)
    for window in find_windows([c.key for c in committed], [t.key for t in ahead]):
        for found in _Table(committed, ahead, window, evidence).overlaps():
            if found.score <= 0 or found.seam < evidence.certain:
                continue
            score = found.score + side[found.seam]
            # Of two committed words that fit the first is repeated: the other one may follow.
            is_earlier = found.seam == best.seam and found.used < best.used
            if score > best.score + (-TIE if is_earlier else TIE):
                best = found._replace(score=score)
    return best


def _by_time(evidence: Evidence) -> Overlap:
    """Return the seam where the times of the new tokens alone put it."""
    score, best = 0.0, Overlap(0, 0, -math.inf)
    for seam in range(evidence.possible + 1):
        if seam >= evidence.certain and score > best.score + TIE:
            best = Overlap(seam, 0, score)
        if seam < evidence.possible:
            score += TIME_SHARE * max(-1.0, evidence.side[seam] - evidence.late[seam])
    return best


class _Table:
    """The scores of one alignment."""

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
        # Behind tokens that are followed by new words the overlap is over, so that all committed
        # tokens must be repeated by then (test_new_words_in_the_middle_of_the_committed_ones).
        is_open = evidence.timed or evidence.possible >= len(evidence.insertion)
        self._ends_new = is_open and window.last_new == len(new)
        self._evidence = evidence
        early = max(0, evidence.early - window.first_committed)
        keys_in_audio = {c.key for c in self._committed[early:]}
        self._said_again = [n for n in range(early) if self._committed[n].key in keys_in_audio]
        """The committed tokens before the audio of the replay that are in that audio, too."""
        self._letters = {t.key: Letters(t.key) for t in (*self._committed, *self._new)}
        self._numbers = {
            key: value for key in self._letters if (value := number_value(key)) is not None
        }
        self._spelled: dict[str, dict[str, float]] = {}
        """What it counts by their spelling that a new token is a committed one, by their keys."""
        self._heard: dict[int, int | None] = {}
        """Up to which committed token a beginning of the new text was heard, by its length, if all
        tokens behind were passed over."""
        self._places = [None if c.start is None else c.start + c.end for c in self._committed]
        """Twice the middle of each committed token, in seconds; `None` without times."""

    def overlaps(self) -> Iterator[Overlap]:
        """Yield each place at which the overlap can end."""
        if not (self._committed and self._new):
            return
        rows, window = self._fill(), self._window
        if self._ends_committed:
            for count, row in enumerate(rows):
                # What was passed over up to the end may still be repeated behind other words
                # (test_a_torn_word_behind_known_ones).
                heard = self._heard.get(count)
                used = window.last_committed if heard is None else window.first_committed + heard
                yield Overlap(window.first_new + count, used, row[-1])
        if self._ends_new:
            for count, score in enumerate(rows[-1][1:], 1):
                yield Overlap(window.last_new, window.first_committed + count, score)

    def _fill(self) -> list[list[float]]:
        """Return the rows of the table: one for each beginning of the new text, the empty one
        first, and in it a cell for each beginning of the committed text."""
        said = {unit for t in self._new for unit in t.units}
        first, end = (place - self._window.first_committed for place in self._evidence.unheard)
        unheard = range(max(0, first), min(end, len(self._committed)))
        deletions = [
            FILLER_INDEL if _unit(c) in said else self._indel(c, DELETION) for c in self._committed
        ]
        joins = self._joins()
        rows = [[0.0] * (len(self._committed) + 1)]
        for count, token in enumerate(self._new, 1):
            place = self._window.first_new + count - 1
            late = TIME_SHARE * self._evidence.late[place]
            insertion = self._indel(token, self._evidence.insertion[place]) + late
            above, joined = rows[-1], joins.get(count, {})
            left = above[0] - insertion
            row = [left]
            for i, pair in enumerate(self._pairs(token, late)):
                score = above[i] + pair
                # No `max`: this is the innermost loop.
                if above[i + 1] - insertion > score:
                    score = above[i + 1] - insertion
                if left - deletions[i] > score:
                    score = left - deletions[i]
                for join, gain in joined.get(i + 1, ()):
                    before = rows[count - join.new][i + 1 - join.committed]
                    score = max(score, before + gain)
                row.append(score)
                left = score
            if unheard:
                self._heard[count] = _pass_over(unheard, row, deletions)
            rows.append(row)
        return rows

    def _indel(self, token: TimedToken, usual: float) -> float:
        """Return what it costs that a token has no counterpart; `usual` if it is a word."""
        if token.key in FILLERS:
            return FILLER_INDEL
        return min(usual, NUMBER_INDEL) if token.key in self._numbers else usual

    def _pairs(self, token: TimedToken, late: float) -> list[float]:
        """Return what it counts that a new token is each of the committed ones."""
        spelled = self._spelled.setdefault(token.key, {})
        scores = []
        reach = 2 * MAX_APART * self._evidence.tolerance
        place = math.inf if token.start is None else token.start + token.end
        for c, other in zip(self._committed, self._places, strict=True):
            if other is not None and reach < abs(place - other) < math.inf:
                scores.append(IMPOSSIBLE - late)  # whatever they are: most pairs of a long text
                continue
            score = spelled.get(c.key)
            if score is None:
                score = spelled[c.key] = self._spelling(c.key, token.key)
            if score < FILLER_MATCH and c.written == token.written:
                score = _match(c.key)
            if token.start is not None:
                score = self._with_times(c, token.start, token.end, score)
            scores.append(score if score >= FILLER_MATCH else score - late)
        for n in self._said_again:
            if self._committed[n].key == token.key:
                scores[n] -= EARLY_MATCH
        return scores

    def _spelling(self, committed: str, new: str) -> float:
        """Return what it counts by their spelling that two tokens are the same word."""
        if committed == new:
            return _match(committed)
        likeness = self._letters[committed].likeness(self._letters[new])
        if likeness >= MIN_SIMILARITY and min(len(committed), len(new)) >= MIN_FUZZY_LETTERS:
            return likeness * _match(committed)
        if committed in self._numbers and new in self._numbers:
            is_same = self._numbers[committed] == self._numbers[new]
            return _match(committed) if is_same else NUMBER_SUBSTITUTION
        return min(0.0, SUBSTITUTION + LIKENESS * likeness)

    def _with_times(self, c: TimedToken, start: float, end: float, score: float) -> float:
        """Return what it counts by their spelling (`score`) and times that may be one word's."""
        tolerance = self._evidence.tolerance
        if c.start is None:
            return IMPOSSIBLE if start > c.end + tolerance else score
        apart = abs(c.start + c.end - start - end) / 2 / tolerance
        if score < FILLER_MATCH:
            if end > c.end and self._is_last(c):
                # Another word that begins there, for instance "gamers" for "you", reaches further.
                end = c.end + abs(c.start - start)
            return max(score, self._at_one_time((c.start, c.end), (start, end)))
        return score - APART_PENALTY * apart**2

    def _is_last(self, c: TimedToken) -> bool:
        """Whether no committed token stands behind a token."""
        return self._ends_committed and c is self._committed[-1]

    def _joins(self) -> dict[int, dict[int, list[tuple[Join, float]]]]:
        """Return the joins and what each counts, by where they end in the new text, and then by
        where they end in the committed one."""
        gains: list[tuple[Join, float]] = []
        for join in find_joins(self._committed, self._new):
            if self._may_meet(join):
                # All tokens of the text that has fewer of them are matched.
                gain = join.likeness * _match(join.form) * min(join.committed, join.new)
                gains.append((join, gain))
        gains += [(unit, UNIT_MATCH) for unit in self._units()]
        if self._evidence.timed:
            gains += self._at_the_same_time()
        found: dict[int, dict[int, list[tuple[Join, float]]]] = {}
        for join, gain in gains:
            ends = found.setdefault(join.end_new, {})
            ends.setdefault(join.end_committed, []).append((join, gain))
        return found

    def _units(self) -> Iterator[Join]:
        """Yield the words for what the committed text wrote as a sign: "dollars" behind "$60"."""
        ends: dict[str, set[int]] = {}
        for place, c in enumerate(self._committed, 1):
            for unit in c.units:
                last = min(place + UNIT_REACH, len(self._committed) + 1)
                ends.setdefault(unit, set()).update(range(place, last))
        if ends:
            for count, token in enumerate(self._new, 1):
                for end in ends.get(_unit(token), ()):
                    yield Join(end, count, 0, 1, token.key, 1.0)

    def _at_the_same_time(self) -> Iterator[tuple[Join, float]]:
        """Yield runs that take the time of one token of the other text, with what each counts.

        "F D L" for a committed "FPO": nothing in their letters shows it. Only tokens that times
        have not decided are looked at.
        """
        committed, new, evidence = self._committed, self._new, self._evidence
        decided = max(0, evidence.certain - self._window.first_new)
        ends = (
            (end, end_new)
            for end_new in range(decided + 1, len(new) + 1)
            for end in range(1, len(committed) + 1)
            if abs(committed[end - 1].end - new[end_new - 1].end) <= evidence.tolerance / 2
        )
        for end, end_new in ends:
            late = TIME_SHARE * evidence.late[self._window.first_new + end_new - 1]
            for count, count_new in ONE_TO_SEVERAL:
                if count > end or count_new > end_new:
                    continue
                start, start_new = committed[end - count].start, new[end_new - count_new].start
                if start is None or start_new is None:
                    continue
                score = self._at_one_time(
                    (start, committed[end - 1].end), (start_new, new[end_new - 1].end)
                )
                if score >= AT_ONE_TIME:
                    yield Join(end, end_new, count, count_new, "", 1.0), score - late

    def _at_one_time(self, ours: tuple[float, float], theirs: tuple[float, float]) -> float:
        """Return what it counts that words were spoken from then to then, if they are not alike."""
        apart = abs(ours[0] - theirs[0]) + abs(ours[1] - theirs[1])
        return SUBSTITUTION + LIKENESS * (1 - apart / (2 * self._evidence.tolerance))

    def _may_meet(self, join: Join) -> bool:
        """Whether the times of both runs allow that they are the same words."""
        first = self._committed[join.end_committed - join.committed]
        last = self._committed[join.end_committed - 1]
        begin, end = self._new[join.end_new - join.new].start, self._new[join.end_new - 1].end
        tolerance = MAX_APART * self._evidence.tolerance
        if begin is None:
            return True
        is_behind = first.start is not None and end < first.start - tolerance
        return begin <= last.end + tolerance and not is_behind


def _pass_over(unheard: range, row: list[float], deletions: Sequence[float]) -> int | None:
    """Let a row go on behind any of the committed tokens that may not have been heard.

    Returns up to which of them the text was heard, if the last cell is best reached that way.
    """
    without, since = row[unheard.start] - UNHEARD, unheard.start
    passed: int | None = None
    """The same for the cell before."""
    for place in range(unheard.start + 1, len(row)):
        left = row[place - 1] - deletions[place - 1]
        over = without if place <= unheard.stop else -math.inf
        if over > row[place] and over >= left:
            row[place], passed = over, since
        elif left > row[place]:
            row[place] = left
        else:
            passed = None
        if row[place] - UNHEARD > without:
            without, since = row[place] - UNHEARD, place
    return passed


def _unit(token: TimedToken) -> str:
    """Return a word as `TimedToken.units` has it, if it is one: "dollars" is "dollar"."""
    return token.key.removesuffix("s")


def _match(form: str) -> float:
    """Return what a match of a form counts."""
    if form in FILLERS:
        return FILLER_MATCH
    return SHORT_MATCH + LETTER_MATCH * min(len(form), MAX_MATCH_LETTERS)
