from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.core.transcript.tokens import has_word, is_similar, tokenize


def norms(text: str, language: str = "") -> list[str]:
    return [t.norm for t in tokenize(text, language)]


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Hello, World!", "", ["hello", "world"]),
        ("ＦＵＬＬ ｗｉｄｔｈ", "", ["full", "width"]),
        ("don’t don't", "", ["don't", "don't"]),
        ("'quoted'", "", ["quoted"]),
        ("snake_case", "", ["snake", "case"]),
        ("Straße STRASSE", "de", ["strasse", "strasse"]),
        ("four 4", "en-US", ["4", "4"]),
        ("cuatro 4", "es", ["4", "4"]),
        ("four", "es", ["four"]),
        ("four", "fi", ["four"]),
        ("Q&A", "en", ["q", "&", "a"]),
        ("你好，world", "zh", ["你", "好", "world"]),
        ("三点", "zh-Hant", ["3", "点"]),
        ("こんにちは", "ja", list("こんにちは")),
        ("สวัส", "th", list("สวัส")),
        ("cafe\u0301", "", ["café"]),
        ("… — !", "", []),
        ("", "", []),
    ],
)
def test_tokens(text: str, language: str, expected: list[str]) -> None:
    """Case, punctuation, width, composition and number words do not count. Characters of scripts
    without spaces are tokens of their own.
    """
    assert norms(text, language) == expected


@given(st.text(max_size=60), st.sampled_from(["", "en", "zh", "x-nonsense", "-"]))
def test_tokens_have_positions(text: str, language: str) -> None:
    """Tokens are in order, not empty, inside the text, and do not overlap."""
    at = 0
    for token in tokenize(text, language):
        assert at <= token.start < token.end <= len(text)
        assert token.norm
        at = token.end


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("no", "no", True),
        ("four", "for", False),
        ("reservation", "reservations", True),
        ("colour", "color", True),
        ("house", "horse", True),
        ("tree", "lake", False),
        ("abc", "abd", False),
    ],
)
def test_similar(a: str, b: str, same: bool) -> None:
    """Long words may differ in spelling, short ones must be equal."""
    assert is_similar(a, b) is same
    assert is_similar(b, a) is same


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("$60 million", [("dollar", "cent"), ()]),
        ("60% of", [("percent", "prozent", "procent"), ()]),
        ("€5 5€", [("euro", "cent"), ("euro", "cent")]),
        ("5 ° 5 $ 5", [(), (), ()]),
    ],
)
def test_units(text: str, units: list[tuple[str, ...]]) -> None:
    """A token knows what may be said for a sign right beside it."""
    assert [token.units for token in tokenize(text)] == units


@pytest.mark.parametrize("text", ["a", "7", "½", "你", "ไ", "ع", "क्", "Ⅳ", "- b -", "4\u20e3"])
def test_a_letter_or_digit_of_any_script_is_a_word(text: str) -> None:
    """One letter or digit among anything else makes a text."""
    assert has_word(text)


@pytest.mark.parametrize("text", ["", " ", ".", "…", "¿?", "_", "\u266a", "🙂", "\u0301", "。"])
def test_signs_alone_are_no_word(text: str) -> None:
    """Punctuation, symbols and accents without a letter are no text."""
    assert not has_word(text)
