"""The commands that one input causes, collected in order."""

from __future__ import annotations

from .events import Event
from .messages import Command, ReportEvent


class Outbox:
    """Collects commands from every part of the engine; `FailoverEngine.handle` takes them out.

    Methods that decide usually have a result of their own (a connection, a stall), so commands are
    never returned beside it: they all go here, in the order in which they must be executed.
    """

    def __init__(self) -> None:
        self._commands: list[Command] = []

    def __repr__(self) -> str:
        return f"Outbox({len(self._commands)} commands)"

    def add(self, *commands: Command) -> None:
        """Append commands, to be executed after those that are already here."""
        self._commands += commands

    def report(self, event: Event) -> None:
        """Append a command that reports a public event."""
        self._commands.append(ReportEvent(event))

    def take(self) -> list[Command]:
        """Remove and return everything that was collected."""
        commands, self._commands = self._commands, []
        return commands
