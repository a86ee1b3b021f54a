"""Written forms of the same spoken words: numbers, contractions, fillers, units.

Every provider formats in its own way: "2020" or "twenty twenty", "we'll" or "we will", "$60" or
"60 dollars", with fillers or without. `alignment` compares two texts by the forms of this module.
They are for comparison only: what is emitted stays as the provider wrote it.

Why tables and no library. We measured two that the field uses:

- Whisper's `EnglishTextNormalizer` (`whisper-normalizer`) rewrites a whole text: it takes 13 ms for
  500 words, knows English only, and loses where in the text each word stood, which is what a seam
  needs. Its numbers also merge over the very place between two providers' words.
- `text2num` is fast (0.2 ms for 500 words) and finds numbers with their places, in seven languages.
  But it is a compiled extension, which the core would depend on for the one case that is left: a
  number at the very seam, of which no times are known. It reads "twenty twenty" as 20 and 20, so
  that joining is needed all the same.

So the tables hold what is short and certain. Where a language has none, nothing breaks: a run of
words that two providers write differently lies between words that they write alike, and the
alignment passes over it.
"""

from __future__ import annotations

from collections.abc import Sequence

_UNITS = {
    "en": "zero one two three four five six seven eight nine ten eleven twelve",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce",
    "de": "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf dix onze douze",
    "it": "zero uno due tre quattro cinque sei sette otto nove dieci undici dodici",
    "pt": "zero um dois três quatro cinco seis sete oito nove dez onze doze",
    "nl": "nul een twee drie vier vijf zes zeven acht negen tien elf twaalf",
    "zh": "零 一 二 三 四 五 六 七 八 九 十",
}
_TEENS = {
    "en": "thirteen fourteen fifteen sixteen seventeen eighteen nineteen",
    "es": "trece catorce quince dieciséis diecisiete dieciocho diecinueve",
    "de": "dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn",
    "fr": "treize quatorze quinze seize",
    "it": "tredici quattordici quindici sedici diciassette diciotto diciannove",
    "pt": "treze quatorze quinze dezesseis dezessete dezoito dezenove",
    "nl": "dertien veertien vijftien zestien zeventien achttien negentien",
}
_TENS = {
    "en": "twenty thirty forty fifty sixty seventy eighty ninety",
    "es": "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
    "de": "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig",
    "fr": "vingt trente quarante cinquante soixante",
    "it": "venti trenta quaranta cinquanta sessanta settanta ottanta novanta",
    "pt": "vinte trinta quarenta cinquenta sessenta setenta oitenta noventa",
    "nl": "twintig dertig veertig vijftig zestig zeventig tachtig negentig",
}
_SCALES = {
    "en": {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9},
    "es": {"cien": 100, "ciento": 100, "mil": 1000, "millón": 10**6, "millones": 10**6},
    "de": {"hundert": 100, "tausend": 1000, "million": 10**6, "millionen": 10**6},
    "fr": {"cent": 100, "cents": 100, "mille": 1000, "million": 10**6, "millions": 10**6},
    "it": {"cento": 100, "mille": 1000, "mila": 1000, "milione": 10**6, "milioni": 10**6},
    "pt": {"cem": 100, "cento": 100, "mil": 1000, "milhão": 10**6, "milhões": 10**6},
    "nl": {"honderd": 100, "duizend": 1000, "miljoen": 10**6},
}
_ORDINALS = {
    "en": "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth",
}
"""From the first on."""


def _number_words(language: str) -> dict[str, str]:
    """Return the digits of the number words of a language that have no other use."""
    found = {}
    for words, first, step in (
        (_UNITS.get(language, ""), 0, 1),
        (_TEENS.get(language, ""), 13, 1),
        (_TENS.get(language, ""), 20, 10),
    ):
        for place, word in enumerate(words.split()):
            found[word.casefold()] = str(first + step * place)
    return found


DIGITS = {language: _number_words(language) for language in _UNITS}
"""The number words of each language (its subtag), and the digits of each."""

_SCALE_VALUES = {
    word.casefold(): value for words in _SCALES.values() for word, value in words.items()
}
_ORDINAL_DIGITS = {
    word: str(place) for words in _ORDINALS.values() for place, word in enumerate(words.split(), 1)
}
_ORDINAL_ENDINGS = ("st", "nd", "rd", "th")

_FILLERS = "um uhm umm uh uhh er erm ah ahh eh hm hmm mm mmm mhm äh ähm öh euh heu ehm"
FILLERS = frozenset(_FILLERS.split())
"""Sounds of hesitation, which one provider writes and the other one leaves out."""

_EXPANDED = {
    "gonna": "goingto",
    "wanna": "wantto",
    "gotta": "gotto",
    "kinda": "kindof",
    "sorta": "sortof",
    "lemme": "letme",
    "gimme": "giveme",
    "dunno": "dontknow",
    "won't": "willnot",
    "can't": "cannot",
    "shan't": "shallnot",
    "ok": "okay",
    "cuz": "because",
    "'cause": "because",
    "mr": "mister",
    "dr": "doctor",
    "vs": "versus",
    "&": "and",
}
"""English words and abbreviations, and what is said for them in full, joined."""
_EXPANDED_ENDINGS = {
    "n't": "not",
    "'ll": "will",
    "'ve": "have",
    "'re": "are",
    "'m": "am",
    "'d": "would",
}

_MINUTES_PAST = {"quarter": "15", "half": "30"}

MAX_DIGITS = 18
"""Digits of a number that is compared by its value: a bound on CPU time only."""

HUNDRED = 100

UNITS = {
    "$": ("dollar", "cent"),
    "€": ("euro", "cent"),
    "£": ("pound", "penny", "pence"),
    "¥": ("yen",),
    "₹": ("rupee",),
    "%": ("percent", "prozent", "procent"),
    "¢": ("cent",),
    "°": ("degree",),
}
"""What is said for a sign that is written beside a number: "$3.60" is three dollars and sixty
cents."""


def comparison_key(norm: str) -> str:
    """Return the form in which a normalized token is compared.

    Words that are written together or apart have forms that join: "gonna" has that of "going to",
    without the space. English ones have it in every language: English is spoken in many calls of
    other languages, and two providers need not agree about which it is
    (test_short_forms_in_another_language).
    """
    if norm.isalpha():
        return _EXPANDED.get(norm) or _ORDINAL_DIGITS.get(norm, norm)
    if (expanded := _EXPANDED.get(norm)) is not None:
        return expanded
    stem, apostrophe, _ = norm.rpartition("n't")
    if not apostrophe:
        stem, apostrophe, _ = norm.rpartition("'")
    if stem and (full := _EXPANDED_ENDINGS.get(norm.removeprefix(stem))) is not None:
        return stem.replace("'", "") + full
    number = norm.rstrip("".join(_ORDINAL_ENDINGS))
    if number.isdecimal():
        return number
    return norm.replace("'", "") or norm


def spelled_out(letters: str) -> str:
    """Return the key of an abbreviation that is spelled in several tokens: "O. K." is "okay".

    Empty if it is none that is known.
    """
    return _EXPANDED.get(letters, "")


def clock_time(first: str, second: str, hour: str) -> str:
    """Return the digits of a time of day that three tokens say in words: "1030" for "half past 10".

    Empty if they say none.
    """
    minutes = _MINUTES_PAST.get(first) if second == "past" else None
    return f"{hour}{minutes}" if minutes and hour.isdecimal() else ""


def number_value(key: str) -> int | None:
    """Return the value of a token that is a number or a part of one; `None` for other tokens."""
    if key.isdecimal():
        return int(key) if len(key) <= MAX_DIGITS else None
    if (ordinal := _ORDINAL_DIGITS.get(key)) is not None:
        return int(ordinal)
    return _SCALE_VALUES.get(key)


def read_number(keys: Sequence[str]) -> str:
    """Return the digits of a number that is written in several tokens, all of them numbers.

    "two thousand twenty", "twenty twenty" and "20 20" are all "2020": parts that do not make one
    number are read one after the other, as years and telephone numbers are.
    """
    parts: list[str] = []
    total = current = 0
    for key in keys:
        value = number_value(key) or 0
        if key in _SCALE_VALUES and value == HUNDRED:
            current = (current or 1) * HUNDRED
        elif key in _SCALE_VALUES:
            total, current = total + (current or 1) * value, 0
        elif _takes_in(total, current, value):
            current += value
        else:
            if total or current:
                parts.append(str(total + current))
            total = current = 0
            if value and key[0] != "0":
                current = value
            else:
                parts.append(key)  # leading zeros count: "60,000" is "60" and "000"
    if total or current:
        parts.append(str(total + current))
    return "".join(parts)


def _takes_in(total: int, current: int, value: int) -> bool:
    """Return whether the next part of a number adds to what was read before."""
    if not value:
        return False
    if not current:
        return total > 0 and value < 1000
    if current % HUNDRED == 0:
        return value < HUNDRED
    return current % 10 == 0 and current % HUNDRED >= 20 and value < 10
