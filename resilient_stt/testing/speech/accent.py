"""How a recognizer writes what it heard: two providers with other accents disagree.

The fakes transcribe what they received, and all write it alike. Real recognizers do not: two of
them agree on 88 to 93 of 100 words of the same call (earnings calls, and short clips of three
streaming vendors). The rest are other spellings, numbers, compounds, fillers, and words that one of
them misheard; and no two have the same times.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeVar, get_args

from .written_forms import LONGEST, Difference, Form, fillers, forms, is_filler

Casing = Literal["spoken", "lower"]

_CLOSE = 0.25
"""Seconds of silence between two words that are never written as one form. A recognizer joins words
that are spoken as one."""
_FILLER_GAP = (0.1, 0.5)
"""Seconds of silence in which a recognizer hears a filler. A longer one is a pause."""
_MARKS = ".,;:?!…。，、？！；："
_SHORTEST = 0.02
"""Seconds of a written word at least."""


class Transcribed(Protocol):
    """A word, or a part of one, as a recognizer heard it; a frozen dataclass.

    Attributes:
        index: The word's position in what is spoken.
        text: The word as spoken.
        start, end: Seconds.
        whole: Whether it is not a fragment.
        language: Subtag; empty if it is not known.
    """

    @property
    def index(self) -> int: ...

    @property
    def text(self) -> str: ...

    @property
    def start(self) -> float: ...

    @property
    def end(self) -> float: ...

    @property
    def whole(self) -> bool: ...

    @property
    def language(self) -> str: ...


W = TypeVar("W", bound=Transcribed)


@dataclass(frozen=True, slots=True)
class Accent:
    """How one provider writes. Without arguments it writes every word as it is spoken.

    What is written for a word depends only on the seed, the word, its position in the speech and
    its neighbors in the same transcript. So two connections of one provider write alike, whatever
    each of them received before.

    Attributes:
        seed: Seeds the choice of the words that are written otherwise.
        casing: `lower`: no capitals.
        punctuates: Whether it writes punctuation.
        variants: Share of numbers, contractions, compounds, abbreviations and spellings that are
            written in another of their forms: "2020" for "twenty twenty", "it's" for "it is".
        spellings: Share of long words that have one other letter.
        joins: Share of words that are written as one with the next.
        splits: Share of long words that are written as two.
        substitutions: Share of words in whose place another word is written.
        added_fillers: Share of short gaps between words in which a filler is written.
        dropped_fillers: Share of spoken fillers that are left out.
        shift: Seconds by which all times are late; negative if they are early.
        jitter: Seconds by which each start and each end may be wrong in addition, either way.
        max_words: Words after which a fake server makes its transcript final without a pause;
            None: as the server does.
        pause: Factor on the silence after which a fake server makes its transcript final.
    """

    seed: int = 0
    casing: Casing = "spoken"
    punctuates: bool = True
    variants: float = 0.0
    spellings: float = 0.0
    joins: float = 0.0
    splits: float = 0.0
    substitutions: float = 0.0
    added_fillers: float = 0.0
    dropped_fillers: float = 0.0
    shift: float = 0.0
    jitter: float = 0.0
    max_words: int | None = None
    pause: float = 1.0

    def __post_init__(self) -> None:
        for name in _SHARES:
            share = getattr(self, name)
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"{name} is a share from 0 to 1, not {share!r}")
        if self.jitter < 0.0:
            raise ValueError(f"jitter is not negative, but it is {self.jitter!r}")
        if self.pause <= 0.0:
            raise ValueError(f"pause is a positive factor, not {self.pause!r}")
        if self.max_words is not None and self.max_words < 1:
            raise ValueError(f"max_words is at least 1, not {self.max_words!r}")

    @classmethod
    def drawn(cls, seed: int) -> Accent:
        """Return an accent as real recognizers have them; another seed is another provider."""
        dice = random.Random(f"accent {seed}")
        return cls(
            seed=seed,
            casing=dice.choice(["spoken", "spoken", "lower"]),
            punctuates=dice.random() < 0.7,
            variants=dice.choice([0.0, 0.5, 1.0]),
            spellings=dice.choice([0.0, 0.02, 0.05]),
            joins=dice.choice([0.0, 0.01, 0.03]),
            splits=dice.choice([0.0, 0.02, 0.05]),
            substitutions=dice.choice([0.0, 0.02, 0.04]),
            added_fillers=dice.choice([0.0, 0.1]),
            dropped_fillers=dice.choice([0.0, 1.0]),
            shift=round(dice.uniform(-0.05, 0.05), 3),
            jitter=dice.choice([0.02, 0.05, 0.08]),
            max_words=dice.choice([None, None, 6, 12]),
            pause=dice.choice([0.8, 1.0, 1.3]),
        )

    @property
    def time_error(self) -> float:
        """Seconds by which a time may be wrong."""
        return abs(self.shift) + self.jitter

    def write(self, words: Sequence[W], *, complete: bool = True) -> list[W]:
        """Return what is written for words: as many entries as there are written words.

        Fragments are written as they are. The times of a form are those of the words it stands for,
        shared out by its letters.

        Args:
            words: The words of one transcript, in the order spoken.
            complete: False: more words follow, and what is returned must stay as it is. The last
                word is then left out if its form may depend on the next one.
        """
        written: list[W] = []
        at = 0
        while at < len(words):
            near = self._near(words, at)
            if not complete and at + len(near) == len(words) < at + LONGEST and near:
                break
            if filler := self._added_filler(words, at):
                written.append(filler)
            form = self._form(near) if near else None
            count = form.length if form else 1
            written += self._as_written(words[at : at + count], form)
            at += count
        return list(self._timed(written))

    def _near(self, words: Sequence[W], at: int) -> Sequence[W]:
        """Return the whole words from `at` on that could be written as one form."""
        end = at
        while end < min(len(words), at + LONGEST) and words[end].whole:
            if end > at and not _is_close(words[end - 1], words[end]):
                break
            end += 1
        return words[at:end]

    def _form(self, near: Sequence[W]) -> Form | None:
        """Return the form that is written for the first of some words; None: as it is spoken."""
        first = near[0]
        found = list(forms([word.text for word in near], first.language))
        for difference in get_args(Difference):
            fitting = [form for form in found if form.difference == difference]
            if fitting and self._chance(difference, first) < getattr(self, difference):
                return fitting[int(self._chance("which", first) * len(fitting))]
        return None

    def _as_written(self, spoken: Sequence[W], form: Form | None) -> Iterator[W]:
        """Yield the entries for the words of one form, with the time of each."""
        first, last = spoken[0], spoken[-1]
        if form is None and self._is_dropped(first):
            return
        text = first.text if form is None else _dressed(form.text, first.text, last.text)
        parts = (self._styled(part) if first.whole else part for part in text.split())
        shown = [part for part in parts if part]
        letters = sum(map(len, shown))
        at = first.start
        for part in shown:
            end = at + (last.end - first.start) * len(part) / letters
            yield _changed(first, text=part, start=at, end=end)
            at = end

    def _is_dropped(self, word: W) -> bool:
        """Whether a word is a filler that is left out."""
        filler = word.whole and is_filler(word.text)
        return filler and self._chance("dropped_fillers", word) < self.dropped_fillers

    def _styled(self, text: str) -> str:
        text = text if self.punctuates else text.strip(_MARKS) or text
        return text.lower() if self.casing == "lower" else text

    def _added_filler(self, words: Sequence[W], at: int) -> W | None:
        """Return the filler that is written before a word, in the silence there."""
        word = words[at]
        least, most = _FILLER_GAP
        known = fillers(word.language)
        if not (at and word.whole and known and words[at - 1].whole):
            return None
        gap = word.start - words[at - 1].end
        if not least <= gap <= most or self._chance("added_fillers", word) >= self.added_fillers:
            return None
        text = known[int(self._chance("which filler", word) * len(known))]
        return _changed(word, text=text, start=words[at - 1].end, end=word.start)

    def _timed(self, written: Sequence[W]) -> Iterator[W]:
        """Yield the entries with the times that this provider gives them, their starts in order."""
        before = 0.0
        for number, word in enumerate(written):
            wrong = [
                self.shift + self.jitter * (2 * self._chance(edge, word, word.text) - 1)
                for edge in ("start", "end")
            ]
            start = max(before, word.start + wrong[0])
            end = max(start + _SHORTEST, word.end + wrong[1])
            before = start
            yield _changed(written[number], start=start, end=end)

    def _chance(self, what: str, word: Transcribed, *more: str) -> float:
        """Return a number from 0 to 1 that is always the same for a word at its position."""
        about = f"{self.seed} {what} {word.index} {word.text} {more}"
        digest = hashlib.blake2b(about.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64


def _is_close(one: Transcribed, other: Transcribed) -> bool:
    """Whether two words may be written as one: they follow each other in one sentence."""
    follows = other.index == one.index + 1 and other.start - one.end < _CLOSE
    return follows and one.language == other.language and one.text[-1] not in _MARKS


def _dressed(form: str, first: str, last: str) -> str:
    """Return a form with the capital and the marks of the words that it stands for."""
    if first[0].isupper() and form[0].isalpha():
        form = form[0].upper() + form[1:]
    marks = last[len(last.rstrip(_MARKS)) :]
    return form if form.endswith(marks) else form + marks


def _changed(word: W, **changes: Any) -> W:
    return replace(word, **changes)  # type: ignore[type-var]


_SHARES = (*get_args(Difference), "added_fillers", "dropped_fillers")
