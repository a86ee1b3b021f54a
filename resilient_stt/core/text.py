"""Comparing what two providers wrote for the same speech.

They differ in case, punctuation, number words and spelling, so tokens are normalised and compared
by similarity. Scripts that are written without spaces are compared character by character.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from difflib import SequenceMatcher

SIMILAR = 0.75
"""Similarity from which two longer tokens are taken for the same word: "reserv" and "reserve" are,
"four" and "for" are not (short tokens have to be equal)."""

_SPACELESS = (
    "\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana, Han
    "\U00020000-\U0003134f"
)
_TOKEN = re.compile(
    rf"[{_SPACELESS}]|(?:(?![{_SPACELESS}])[^\W_])+(?:['’](?:(?![{_SPACELESS}])\w)+)*"
)

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


def tokens(text: str, language: str = "") -> list[Token]:
    """The comparable pieces of `text`; `language` is a BCP-47 tag or empty if unknown."""
    digits = _DIGITS.get(language.split("-")[0].lower() or "en", {})
    found = []
    for match in _TOKEN.finditer(text):
        norm = unicodedata.normalize("NFKC", match.group()).casefold().replace("’", "'")
        found.append(Token(digits.get(norm, norm), match.start(), match.end()))
    return found


def similar(a: str, b: str) -> bool:
    """Whether two normalised tokens are the same word, give or take a spelling."""
    if a == b:
        return True
    if min(len(a), len(b)) < 4:
        return False
    return SequenceMatcher(None, a, b, autojunk=False).ratio() >= SIMILAR


def retold(told: list[str], new: list[str]) -> int:
    """How many leading tokens of `new` tell the end of `told` again.

    The longest prefix of `new` that matches a suffix of `told`; all of `new` if it matches a run
    inside `told` (a re-telling that has not come to its end). One leading token of `new` may be the
    torn rest of a word.
    """
    best = 0
    for torn in (0, 1):
        for length in range(min(len(told), len(new) - torn), 0, -1):
            if _same(told[-length:], new[torn : torn + length]):
                best = max(best, torn + length)
                break
        if best:
            return best
    inside = any(_same(told[i : i + len(new)], new) for i in range(len(told) - len(new) + 1))
    return len(new) if new and inside else 0


def _same(told: list[str], new: list[str]) -> bool:
    return len(told) == len(new) and all(map(similar, told, new))
