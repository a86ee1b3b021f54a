"""Whether voice without words at the end of a call is noise, because it was heard to its end."""

from __future__ import annotations

from .connection import Connection

ENOUGH = 2
"""A connection that has given text counts twice: it works."""


class CleanEnds:
    """Counts connections that ended by themselves after their input, since words came last.

    Each has been sent all audio, and would have told the words that are left. A provider that works
    is believed alone, as everywhere else; of others it takes two, for one may be deaf, or take a
    cut connection for the end of its stream (`LostTail`). Words that come later show that those
    before them had left some out.
    (tests/schedules/noise-behind-the-last-words-of-two-that-ended.json).
    """

    def __init__(self) -> None:
        self._count = 0

    def __repr__(self) -> str:
        return f"CleanEnds({self._count})"

    @property
    def are_enough(self) -> bool:
        """Whether what has no words yet is noise."""
        return self._count >= ENOUGH

    def text_received(self) -> None:
        """Note that a connection has given text."""
        self._count = 0

    def connection_ended(self, connection: Connection) -> None:
        """Note that a connection has ended by itself after its input."""
        if connection.interpreter.unfinished_text() is None:  # else it has left words out
            self._count += ENOUGH if connection.has_given_text else 1
