from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.core.transcript.forms import (
    DIGITS,
    FILLERS,
    clock_time,
    comparison_key,
    number_value,
    read_number,
)
from resilient_stt.core.transcript.tokens import tokenize


@pytest.mark.parametrize(
    ("norm", "key"),
    [
        ("gonna", "goingto"),
        ("won't", "willnot"),
        ("haven't", "havenot"),
        ("we'll", "wewill"),
        ("we'd", "wewould"),
        ("i'm", "iam"),
        ("it's", "its"),
        ("o'clock", "oclock"),
        ("21st", "21"),
        ("2nd", "2"),
        ("q3", "q3"),
        ("007", "007"),
        ("ok", "okay"),
        ("&", "and"),
        ("'", "'"),
        ("n't", "nt"),
        ("plain", "plain"),
        ("third", "3"),
        ("3rd", "3"),
    ],
)
def test_comparison_keys(norm: str, key: str) -> None:
    """Contractions are written out and joined; ordinals are numbers."""
    assert comparison_key(norm) == key


@pytest.mark.parametrize(
    ("said", "digits"),
    [("half past 10", "1030"), ("quarter past 9", "915"), ("half past it", ""), ("one past 9", "")],
)
def test_times_of_day(said: str, digits: str) -> None:
    """What is said in words is compared by its digits."""
    assert clock_time(*said.split()) == digits


@pytest.mark.parametrize("language", ["en", "es", "de", ""])
@pytest.mark.parametrize(("short", "full"), [("gonna", "going to"), ("we'd", "we would")])
def test_short_forms_in_another_language(short: str, full: str, language: str) -> None:
    """A provider may take an English word for one of another language."""
    (token,) = tokenize(short, language)
    assert token.key == "".join(part.key for part in tokenize(full, "en"))


@pytest.mark.parametrize(
    ("keys", "digits"),
    [
        ("20 20", "2020"),
        ("2 thousand 20", "2020"),
        ("19 90 9", "1999"),
        ("20 1", "21"),
        ("20 first", "21"),
        ("60 000", "60000"),
        ("60 thousand", "60000"),
        ("hundred", "100"),
        ("1 hundred 20 3", "123"),
        ("4 hundred 80 1 million", "481000000"),
        ("2 million 5 hundred thousand", "2500000"),
        ("5 5 5", "555"),
        ("5 0 5", "505"),
        ("11 20 5", "1125"),
        ("2 thousand 1000", "20001000"),
        ("1 hundred 300", "100300"),
    ],
)
def test_numbers_of_several_tokens(keys: str, digits: str) -> None:
    """What makes one number is one; the rest is read one after the other."""
    assert read_number(keys.split()) == digits


@given(st.lists(st.sampled_from([*DIGITS["en"].values(), "hundred", "million", "000"]), max_size=5))
def test_any_numbers_can_be_read(keys: list[str]) -> None:
    """No run of numbers fails, and none but an empty one is read as nothing."""
    assert bool(read_number(keys)) is bool(keys)


def test_values() -> None:
    """Digits, ordinals and scales of any language are numbers; long numbers and words are not."""
    values = [number_value(key) for key in ("20", "third", "millones", "word", "1" * 19)]
    assert values == [20, 3, 10**6, None, None]


def test_fillers_are_no_words() -> None:
    """Words that mean something in a language of the tables are not passed over."""
    assert not {"no", "oh", "like", "este", "so"} & FILLERS
    assert {"um", "uh", "äh", "euh"} <= FILLERS
