"""The last committed words, and what a connection that is sent them again is not sent."""

from __future__ import annotations

from typing import NamedTuple


class KnownWords(NamedTuple):
    """The last committed words when they were noted."""

    start: int
    """The session sample at which they begin."""
    end: int
    """The session sample at which they have ended for certain."""
    recorded: int
    """How many tokens had been committed by then (`TranscriptHistory.recorded`)."""


class LeftOut(NamedTuple):
    """Committed audio that a connection is not sent, between known words and what is pending."""

    start: int
    """Its first session sample, behind the known words."""
    end: int
    """The session sample from which on the connection is sent audio again."""
    recorded: int
    """How many tokens had been committed with the known words: later ones lie behind `start`."""
