"""Balances START_OF_SPEECH and END_OF_SPEECH over all connections of a stream.

The consumer must see them alternate, and must not be left with a user who speaks for ever. But a
new connection announces speech that its predecessor has announced and ended already, and a
connection may die between the two. So a start is held back while the connection may only repeat
committed words, and the end is added where the connection that would send it is gone.
"""

from __future__ import annotations

from ..connections.connection import Connection
from ..messages import Emit, EventKind, TranscriptEvent


class SpeechBalancer:
    """Knows whether speech is open for the consumer, and which connection will end it."""

    def __init__(self) -> None:
        self.speaking = False
        self._announced_by: int | None = None
        """The connection that announced speech last."""
        self._held_for: int | None = None
        """The connection whose START is held back until its first new words."""

    def __repr__(self) -> str:
        return f"SpeechBalancer(speaking={self.speaking})"

    def on_event(self, connection: Connection, event: TranscriptEvent) -> list[Emit]:
        """Pass a START or END of the active connection on, unless it has to be held back."""
        if event.kind is EventKind.END:
            self._forget_held(connection)
            return self.end(event.source)
        if connection.trimmer.open:
            self._held_for = connection.id
            return []
        return self._start(connection, event.source)

    def words_emitted(self, connection: Connection) -> list[Emit]:
        """Return the START that is due before new words of a connection, if one was held back."""
        return self._start(connection) if self._held_for == connection.id else []

    def is_orphaned(self, active: Connection | None) -> bool:
        """Return whether speech is open that the active connection has not announced."""
        return self.speaking and (active is None or active.id != self._announced_by)

    def end(self, source: object = None) -> list[Emit]:
        """End the speech that is open, if any."""
        if not self.speaking:
            return []
        self.speaking = False
        return [Emit(EventKind.END, source=source)]

    def _start(self, connection: Connection, source: object = None) -> list[Emit]:
        self._forget_held(connection)
        self._announced_by = connection.id
        if self.speaking:
            return []
        self.speaking = True
        return [Emit(EventKind.START, source=source)]

    def _forget_held(self, connection: Connection) -> None:
        if self._held_for == connection.id:
            self._held_for = None
