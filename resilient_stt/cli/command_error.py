"""The exception that a command raises to end with one line instead of a traceback."""

from __future__ import annotations


class CommandError(Exception):
    """Ends a command with one line on stderr and an exit status.

    Args:
        message: The line. It says what is wrong and what the user can do.
        status: 2 if the user made a mistake, 1 if something else failed.
    """

    def __init__(self, message: str, *, status: int = 2) -> None:
        super().__init__(message)
        self.status = status
