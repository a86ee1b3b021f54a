"""What a command says instead of a traceback."""

from __future__ import annotations


class Problem(Exception):
    """Ends a command with one line on stderr and an exit status.

    Args:
        message: The line; says what to do.
        status: 2 for a mistake of the user's, 1 for what went wrong without one.
    """

    def __init__(self, message: str, *, status: int = 2) -> None:
        super().__init__(message)
        self.status = status
