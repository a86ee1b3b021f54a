"""Words that the consumer was shown in interim transcripts, and that no final has followed.

A final is better: it is what the provider is sure of. But when a stream ends although no provider
answers any more, such words are all that is left of the speech.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from ..audio.ledger import AudioLedger
from ..connections.connection import Connection
from ..connections.interpreter import Interpreted
from ..connections.pool import ConnectionPool
from ..transcript.overlap import Utterance

MAX_CONNECTIONS = 4
"""Connections that are remembered with their last interim text: a bound of memory only. The best
text is that of one of the last connections, for each has replayed what the one before it had."""


class Unfinished(NamedTuple):
    """The last interim text of a connection, which may be closed by now."""

    connection: Connection
    interim: Interpreted
    new_words: Utterance
    """What of it is not committed."""
    through: int
    """The session sample up to which it covers the speech."""


class UnfinishedText:
    """Remembers which connections have shown interim transcripts."""

    def __init__(self, pool: ConnectionPool, ledger: AudioLedger) -> None:
        self._pool = pool
        self._ledger = ledger
        self._connections: deque[Connection] = deque(maxlen=MAX_CONNECTIONS)

    def __repr__(self) -> str:
        return f"UnfinishedText({[connection.id for connection in self._connections]})"

    def shown(self, connection: Connection) -> None:
        """Note that an interim transcript of a connection was emitted."""
        if connection not in self._connections:
            self._connections.append(connection)

    def take(self) -> Unfinished | None:
        """Forget everything, and return the text that covers most of the uncommitted speech."""
        found = [text for text in map(self._unfinished, self._connections) if text is not None]
        self._connections.clear()
        return max(found, key=lambda text: text.through, default=None)

    def _unfinished(self, connection: Connection) -> Unfinished | None:
        ledger, interim = self._ledger, connection.interpreter.unfinished_text()
        if interim is None:
            return None
        through = interim.extent.words
        if interim.utterance.end is not None:
            through = min(ledger.samples(interim.utterance.end), through)
        elif ledger.vad_enabled and not ledger.has_pending_speech_before(through):
            return None  # another connection has spelled the same words in its own way
        self._pool.reset_trimmer(connection)
        new_words = connection.trimmer.trim(interim.utterance)
        if new_words is None:
            return None
        return Unfinished(connection, interim, new_words, through)
