"""The word error rate."""

from __future__ import annotations

import pytest

from resilient_stt.testing import word_error_rate


@pytest.mark.parametrize(
    ("spoken", "transcript", "rate"),
    [
        ("He was not ill-disposed.", "he was not ill disposed", 0.0),
        ("He was not ill-disposed.", "he was not ill sposed", 0.2),
        ("one two three four", "one three four", 0.25),
        ("one two three four", "one two two three four", 0.25),
        ("one two three four", "", 1.0),
        ("one", "two three", 2.0),
    ],
)
def test_errors_count_by_words(spoken: str, transcript: str, rate: float) -> None:
    """Words substituted, left out and added count; case, punctuation and hyphens do not."""
    assert word_error_rate(spoken, transcript) == pytest.approx(rate)


def test_nothing_spoken_has_no_rate() -> None:
    """It would be a division by zero."""
    with pytest.raises(ValueError, match="without words"):
        word_error_rate("...", "word")
