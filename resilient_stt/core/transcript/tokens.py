"""Comparing what two providers wrote for the same speech.

They differ in case, punctuation, number words and spelling, so tokens are normalised and compared
by similarity. Scripts that are written without spaces are compared character by character.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")

SIMILARITY = 0.75
"""Similarity from which two longer tokens are taken for the same word: "reserv" and "reserve" are,
"four" and "for" are not (short tokens have to be equal)."""

_SPACELESS = (
    "\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana, Han
    "\U00020000-\U0003134f"
)
_MARKS = (  # written on letters, and no letters to `re`: accents, points, Indic vowels
    "\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u064b-\u065f\u0900-\u0963\u0966-\u0dff"
)
_LETTERS = rf"(?:(?![{_SPACELESS}_])[\w{_MARKS}])+"
_TOKEN = re.compile(rf"[{_SPACELESS}]|{_LETTERS}(?:['’]{_LETTERS})*")
_ALONE = re.compile(f"[{_SPACELESS}]")

_NUMBER_WORDS = {
    "en": "zero one two three four five six seven eight nine ten eleven twelve",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce",
    "de": "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf dix onze douze",
    "it": "zero uno due tre quattro cinque sei sette otto nove dieci undici dodici",
    "pt": "zero um dois três quatro cinco seis sete oito nove dez onze doze",
    "nl": "nul een twee drie vier vijf zes zeven acht negen tien elf twaalf",
    "zh": "零 一 二 三 四 五 六 七 八 九 十",
}
_DIGITS = {
    language: {word: str(number) for number, word in enumerate(words.split())}
    for language, words in _NUMBER_WORDS.items()
}


@dataclass(frozen=True, slots=True)
class Token:
    """A comparable piece of a text, and where in the text it stands."""

    norm: str
    start: int
    end: int
    written: str
    """The same, with number words as they are: a word may be none in the other's language."""


def tokenize(text: str, language: str = "") -> list[Token]:
    """The comparable pieces of `text`; `language` is a BCP-47 tag or empty if unknown."""
    digits = _DIGITS.get(language.split("-")[0].lower() or "en", {})
    found = []
    for match in _TOKEN.finditer(text):
        written = unicodedata.normalize("NFKC", match.group()).casefold().replace("’", "'")
        norm = digits.get(written, written)
        found.append(Token(norm, match.start(), match.end(), written))
    return found


def is_spaced(token: str) -> bool:
    """Whether a token is a word, and not one character of a script without spaces."""
    return not _ALONE.fullmatch(token)


MAX_COMPARED_LETTERS = 64
"""Letters of a word: comparing takes the square of them, and who loops tells thousands in one."""


def is_similar(a: str, b: str) -> bool:
    """Whether two normalised tokens are the same word, give or take a spelling."""
    if a == b:
        return True
    if min(len(a), len(b)) < 4 or max(len(a), len(b)) > MAX_COMPARED_LETTERS:
        return False
    return SequenceMatcher(None, a, b, autojunk=False).ratio() >= SIMILARITY


def match_repeated(
    told: Sequence[T], new: Sequence[U], same: Callable[[T, U], bool]
) -> tuple[int, int]:
    """How many leading tokens of `new` tell `told` again, and how many of `told` that uses up.

    The longest run of `told` that `new` begins with, if it goes on to the end of `told` (then new
    text follows) or of `new` (then more of `told` may follow); of equal runs the first.
    """
    best = (0, 0)
    for at in range(len(told)):
        length = _run_length(told, at, new, same)
        if length > best[0] and (at + length == len(told) or length == len(new)):
            best = (length, at + length)
    return best


def _run_length(told: Sequence[T], at: int, new: Sequence[U], same: Callable[[T, U], bool]) -> int:
    """How many tokens of `told` from `at` on are those that `new` begins with."""
    length = 0
    for ours, theirs in zip(islice(told, at, None), new, strict=False):
        if not same(ours, theirs):
            break
        length += 1
    return length
