"""The balance of START_OF_SPEECH and END_OF_SPEECH over all legs of a session."""

from __future__ import annotations

from ..connections.connection import Connection
from ..messages import Emit, EventKind, TranscriptEvent


class SpeechBalancer:
    """Whether the consumer was told that somebody speaks, and which leg has to tell the end."""

    def __init__(self) -> None:
        self.speaking = False
        self._announced_by: int | None = None

    def __repr__(self) -> str:
        return f"SpeechBalancer(speaking={self.speaking})"

    def on_event(self, connection: Connection, event: TranscriptEvent) -> list[Emit]:
        """Pass a START or END on; a START is held back while the leg may only re-tell."""
        if event.kind is EventKind.END:
            connection.held_speech_start = False
            return self.end(event.source)
        if connection.trimmer.open:
            connection.held_speech_start = True
            return []
        return self._start(connection, event.source)

    def words_emitted(self, connection: Connection) -> list[Emit]:
        """A leg says something new: a START that was held back is due."""
        return self._start(connection) if connection.held_speech_start else []

    def is_orphaned(self, connection: Connection | None) -> bool:
        """Whether the leg that announced the speech cannot tell its end any more."""
        return self.speaking and (connection is None or connection.id != self._announced_by)

    def end(self, source: object = None) -> list[Emit]:
        """Somebody stopped speaking, or nobody is left to say so."""
        if not self.speaking:
            return []
        self.speaking = False
        return [Emit(EventKind.END, source=source)]

    def _start(self, connection: Connection, source: object = None) -> list[Emit]:
        connection.held_speech_start = False
        self._announced_by = connection.id
        if self.speaking:
            return []
        self.speaking = True
        return [Emit(EventKind.START, source=source)]
