"""In how many ways the same spoken words are written: numbers, contractions, compounds, fillers.

The kit compares what providers wrote with what was spoken, and knows every form that an `Accent`
writes. It uses no table of `core/`: a judge that shares the table of what it judges sees nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Literal, NamedTuple

from .languages import base, spaced
from .reference import plain

Difference = Literal["variants", "joins", "splits", "spellings", "substitutions"]
"""How a form differs: another way to write the same words, two words as one, one word as two, a
letter, or another word altogether."""

LONGEST = 4
"""The most spoken words that one form stands for."""

_NUMBERS = {
    "en": "zero one two three four five six seven eight nine ten eleven twelve",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce",
    "zh": "零 一 二 三 四 五 六 七 八 九 十",
}
_VARIANTS = {
    "en": (
        ("twenty twenty", "2020", "20-20", "20 20"),
        ("nineteen ninety nine", "1999", "19 99"),
        ("forty two", "42", "forty-two"),
        ("one hundred", "100", "a hundred"),
        ("sixty billion dollars", "$60 billion", "60 billion dollars"),
        ("half past ten", "10:30", "half past 10"),
        ("third", "3rd"),
        ("January first", "January 1st", "January 1"),
        ("percent", "per cent"),
        ("Q four", "Q4"),
        ("U.K.", "U. K.", "UK"),
        ("A P I", "API", "A.P.I."),
        ("going to", "gonna"),
        ("want to", "wanna"),
        ("kind of", "kinda"),
        ("it is", "it's"),
        ("I have", "I've"),
        ("we would", "we'd"),
        ("do not", "don't"),
        ("has not", "hasn't"),
        ("cannot", "can't", "can not"),
        ("long-term", "long term", "longterm"),
        ("follow-up", "follow up", "followup"),
        ("e-mail", "email"),
        ("every day", "everyday"),
        ("data base", "database"),
        ("health care", "healthcare"),
        ("ongoing", "on-going", "on going"),
        ("color", "colour"),
        ("gray", "grey"),
        ("canceled", "cancelled"),
        ("organize", "organise"),
    ),
    "es": (("para el", "pa'l"), ("vale", "bale"), ("está", "esta")),
}
_ABBREVIATIONS = {
    "en": (
        ("okay", "OK", "O.K."),
        ("doctor", "Dr."),
        ("mister", "Mr."),
        ("versus", "vs."),
        ("because", "'cause"),
    ),
}
_FILLERS = {"en": ("um", "uh"), "es": ("eh", "em"), "zh": ("嗯", "呃")}
ALL_FILLERS = frozenset(filler for of_language in _FILLERS.values() for filler in of_language)

_ONSETS, _VOWELS, _ENDS = "bdfgklmnprstvz", "aeiou", "lmnrs"
_CHARACTERS = (0x4E00, 0x51A6)
"""The first Chinese character, and how many there are."""
_MIN_MISSPELLED, _MIN_SPLIT = 6, 8
"""Letters of the words that are misspelled and split. In shorter words, one letter is more than a
difference of spelling."""


class Form(NamedTuple):
    """Another way to write the first `length` of some words; `text` may be several words."""

    difference: Difference
    length: int
    text: str


def fillers(language: str) -> tuple[str, ...]:
    """Return the fillers of a language, which are written or left out as a provider likes."""
    return _FILLERS.get(base(language), ())


def is_filler(text: str) -> bool:
    """Return whether a word is a filler of any language."""
    return plain(text) in ALL_FILLERS


def phrases(language: str, *, abbreviations: bool = True) -> tuple[str, ...]:
    """Return words and phrases that are written in several ways, each in the form spoken.

    Without `abbreviations`, the forms of each are alike, or are numbers or contractions.
    """
    groups = _groups(base(language)) if abbreviations else _VARIANTS.get(base(language), ())
    return tuple(group[0] for group in groups)


def _groups(language: str) -> tuple[tuple[str, ...], ...]:
    return _VARIANTS.get(language, ()) + _ABBREVIATIONS.get(language, ())


def tokens(text: str) -> tuple[str, ...]:
    """Split a text at its spaces, without case and punctuation."""
    return tuple(filter(None, map(plain, text.split())))


def forms(words: Sequence[str], language: str) -> Iterator[Form]:
    """Yield the ways to write the first word, or the first few, other than they are given.

    A form depends on nothing but the words. Which one is written where is up to the `Accent`.

    Args:
        words: Words as spoken, with case and punctuation. At most `LONGEST` are looked at.
        language: BCP 47 tag of all of them.
    """
    if is_filler(words[0]):
        return
    language = base(language)
    for count in range(1, min(len(words), LONGEST) + 1):
        for text in _written_otherwise(words[:count], language):
            yield Form("variants", count, text)
    together = spaced(language)
    if len(words) > 1 and together and not is_filler(words[1]):
        yield Form("joins", 2, plain(words[0]) + plain(words[1]))
    yield from _wrong_forms(plain(words[0]), together=together)


def _written_otherwise(words: Sequence[str], language: str) -> Iterator[str]:
    """Yield the right forms of some words together."""
    spoken = sum(map(tokens, words), ())
    as_given = " ".join(words).lower()
    yield from (text for text in _variants(language).get(spoken, ()) if text.lower() != as_given)
    if digits := _digits(spoken, language):
        yield digits


def _wrong_forms(letters: str, *, together: bool) -> Iterator[Form]:
    """Yield what is written for one word by mistake."""
    if together and letters.isalpha():
        if len(letters) >= _MIN_SPLIT:
            half = len(letters) // 2
            yield Form("splits", 1, f"{letters[:half]} {letters[half:]}")
        if len(letters) >= _MIN_MISSPELLED:
            yield Form("spellings", 1, _misspelled(letters))
    if letters:
        yield Form("substitutions", 1, _other_word(letters, together=together))


@cache
def _variants(language: str) -> dict[tuple[str, ...], list[str]]:
    """Return all forms by the words of each form, in small letters without punctuation."""
    return {tokens(form): [*group] for group in _groups(language) for form in group}


def _digits(spoken: Sequence[str], language: str) -> str:
    """Write number words as one number: "nine four four" as 944. Empty if there are others."""
    numbers = _NUMBERS.get(language, "").split()
    if not spoken or any(word not in numbers for word in spoken):
        return ""
    return "".join(str(numbers.index(word)) for word in spoken)


def _misspelled(letters: str) -> str:
    """Return a word with another vowel, or another letter, in its middle."""
    middle = len(letters) // 2
    other = _VOWELS if letters[middle] in _VOWELS else _ONSETS
    letter = other[(other.find(letters[middle]) + 1) % len(other)]
    return letters[:middle] + letter + letters[middle + 1 :]


def _other_word(letters: str, *, together: bool) -> str:
    """Return a word that is not similar, and always the same for a word."""
    digest = hashlib.blake2b(letters.encode(), digest_size=16).digest()
    if not together:
        first, count = _CHARACTERS
        places = (int.from_bytes(digest[n : n + 2], "big") for n in range(len(letters)))
        return "".join(chr(first + place % count) for place in places)
    sounds = (_ONSETS, _VOWELS, _ONSETS, _VOWELS, _ONSETS, _VOWELS, _ENDS)
    return "".join(sound[byte % len(sound)] for sound, byte in zip(sounds, digest, strict=False))
