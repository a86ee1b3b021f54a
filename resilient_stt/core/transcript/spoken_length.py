"""How long it takes to say a text.

A final without times still says how much was spoken: nobody says 200 letters in two seconds, or
five letters in a minute. `SpeechBounds` commits audio on that evidence, and `ProviderClock` finds
times that are too short for their words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..policy import ReplayPolicy
from .tokens import Token, is_spaced

LETTERS_PER_CHARACTER = 3
"""Letters that one character of a script without spaces stands for. A Chinese or Japanese character
is about a syllable. Like the number words it belongs to the comparison of texts, not to a
policy."""

LETTERS_PER_DIGIT = 5
"""Letters that a digit may stand for if it is read out: "7" is "seven"."""


HASTE = 4
"""How many times faster than `ReplayPolicy.max_speech_rate` a single word may be by a provider's
times: some give short words hardly any length."""


class SpokenLength(NamedTuple):
    """Seconds of voice that a text takes."""

    least: float
    """By a provider's own times it takes more, however inexact they are."""
    shortest: float
    longest: float


def spoken_length(tokens: Sequence[Token], policy: ReplayPolicy) -> SpokenLength:
    """Return how many seconds of voice it takes to say these tokens, at least and at most.

    A digit counts as one letter of the shortest length, and as a whole word of the longest.
    """
    fewest = most = 0
    for token in tokens:
        letters = len(token.written) if is_spaced(token.written) else LETTERS_PER_CHARACTER
        digits = sum(map(str.isdigit, token.written))
        fewest += letters
        most += letters + (LETTERS_PER_DIGIT - 1) * digits
    slack = policy.speech_rate_slack
    shortest = max(0.0, fewest / policy.max_speech_rate - slack)
    return SpokenLength(
        max(shortest, fewest / policy.max_speech_rate / HASTE),
        shortest,
        most / policy.min_speech_rate + slack if tokens else 0.0,
    )
