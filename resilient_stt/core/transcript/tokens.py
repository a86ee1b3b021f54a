"""Comparing what two providers wrote for the same speech.

Providers differ in case, punctuation, number words and spelling. So a text is split into tokens,
each token is normalized, and two tokens are compared by similarity. In scripts that are written
without spaces every character is a token of its own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from .forms import DIGITS, UNITS, comparison_key
from .similarity import Letters

SPACELESS_LANGUAGES = frozenset({"zh", "yue", "ja", "th", "lo", "km", "my"})
"""Language subtags of the languages that are written without spaces between words."""

SPACELESS_CHARACTERS = (
    "\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana, Han
    "\U00020000-\U0003134f"
)
"""The characters of those languages, as the inside of a regular expression's `[...]`."""

_MARKS = (  # accents, points, Indic vowels: parts of a word that `\w` does not match
    "\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u064b-\u065f\u0900-\u0963\u0966-\u0dff"
)
_LETTERS = rf"(?:(?![{SPACELESS_CHARACTERS}_])[\w{_MARKS}])+"
_TOKEN = re.compile(rf"[{SPACELESS_CHARACTERS}&]|{_LETTERS}(?:['’]{_LETTERS})*")
_SPACELESS = re.compile(f"[{SPACELESS_CHARACTERS}]")

MIN_SIMILARITY = 0.75
"""The likeness (0 to 1, see `similarity`) from which two tokens count as one word in two spellings.

"reserv" and "reserve" reach it. This and `MIN_FUZZY_LETTERS` define "the same word" for everything
that compares texts; like the number words they belong to the comparison, not to a policy.
"""
MIN_FUZZY_LETTERS = 4
"""Shorter tokens must be equal: "for" and "four" are 0.86 similar, and different words."""


class Token(NamedTuple):
    """A comparable piece of a text; `text[start:end]` is where it stands."""

    norm: str
    """NFKC, case-folded, and a digit for a number word of the text's language."""
    start: int
    end: int
    written: str
    """As `norm`, with number words left as words.

    Compared too, because the other provider may have written the same word in a language in which
    it is not a number (tests/schedules/number-word-of-another-language.json).
    """
    key: str
    """The form in which two providers' words are aligned (`forms.comparison_key`)."""
    units: tuple[str, ...] = ()
    """What may be said for a sign beside it: "dollar" and "cent" for "$60"."""


OPENING = ("Ps", "Pi", "Sc")
"""Unicode's categories of opening brackets, opening quotes and currency signs."""
MAX_WORD = 32
"""Characters of a text that counts as one word for what is remembered."""
REMEMBERED = 2048
"""Words of which the tokens are remembered, by all streams together."""


def tokenize(text: str, language: str = "") -> tuple[Token, ...]:
    """Split a text into tokens.

    `language` is the BCP 47 tag of the text. It selects the number words; if it is empty, they are
    those of English.
    """
    subtag = language.split("-")[0].lower() or "en"
    return (_tokens_of_word if len(text) <= MAX_WORD else _tokens_of_text)(text, subtag)


def _tokens(text: str, subtag: str) -> tuple[Token, ...]:
    found = []
    for match in _TOKEN.finditer(text):
        norm, written, key = _forms(match.group(), subtag)
        start, end = match.span()
        units = UNITS.get(text[start - 1 : start]) or UNITS.get(text[end : end + 1], ())
        found.append(Token(norm, start, end, written, key, units))
    return tuple(found)


# A recognizer sends the words of a sentence again with each interim transcript, and several parts
# look at each text. What is remembered is bounded: a few hundred bytes for a word.
_Tokenizer = Callable[[str, str], tuple[Token, ...]]
_tokens_of_word: _Tokenizer = lru_cache(maxsize=REMEMBERED)(_tokens)
_tokens_of_text: _Tokenizer = lru_cache(maxsize=16)(_tokens)


@lru_cache(maxsize=REMEMBERED)
def _forms(word: str, subtag: str) -> tuple[str, str, str]:
    """Return `norm`, `written` and `key` of a word's token."""
    if not word.isascii():
        word = unicodedata.normalize("NFKC", word).replace("’", "'")
    written = word.casefold()
    norm = DIGITS.get(subtag, {}).get(written, written)
    return norm, written, comparison_key(norm)


def text_from(text: str, tokens: Sequence[Token], first: int) -> str:
    """Return what is left of a text from a token on that is not its first one.

    With the signs that stand before the token: "$60" without its sign is another amount. Those are
    what follows a space, or, where there is none, what opens something or stands for a currency.
    """
    since, start = tokens[first - 1].end, tokens[first].start
    *spaced, signs = re.split(r"\s", text[since:start])
    if spaced:
        return signs + text[start:]
    while start > since and unicodedata.category(text[start - 1]) in OPENING:
        start -= 1
    return text[start:]


def has_word(text: str) -> bool:
    """Whether a text holds a letter or a digit of any script.

    Without one it is no transcript: a recognizer that hears nothing may still write "." or "...".
    Accents and vowel signs stand on letters, so that they need no rule of their own. Symbols are
    none: several recognizers write "\u266a" for music, and none writes an emoji for a word.
    """
    return any(map(str.isalnum, text))


def is_spaced(token: str) -> bool:
    """Whether a token is a word, not a single character of a script without spaces."""
    return not _SPACELESS.fullmatch(token)


def is_similar(a: str, b: str) -> bool:
    """Whether two normalized tokens are the same word, spelling differences allowed."""
    if a == b:
        return True
    if min(len(a), len(b)) < MIN_FUZZY_LETTERS:
        return False
    return Letters(a).likeness(Letters(b)) >= MIN_SIMILARITY


@dataclass(slots=True)
class TimedToken:
    """A token, and when it was spoken, in seconds of session audio.

    Without times `start` is `None`. The `end` of a committed token is then the latest time at which
    it had ended, and that of a new one infinite. All tokens of a word have the times of the word.
    """

    key: str
    written: str
    start: float | None
    end: float
    units: tuple[str, ...] = ()
