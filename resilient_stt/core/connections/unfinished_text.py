"""Words that the consumer was shown in interim transcripts, and that no final has followed.

A final is better: it is what the provider is sure of. But when a stream ends although no provider
answers any more, such words are all that is left of the speech.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..audio.ledger import AudioLedger
from ..messages import EventKind
from ..transcript.history import TranscriptHistory
from ..transcript.overlap import Utterance
from .connection import Connection, trimmer_of
from .interpreter import Interpreted

MAX_CONNECTIONS = 4
"""Connections that are remembered with their last interim text: a bound of memory only. The best
text is that of one of the last connections, for each has replayed what the one before it had."""


class Unfinished(NamedTuple):
    """A text of a connection, which may be closed by now, that no emitted FINAL has followed."""

    connection: Connection
    text: Interpreted
    new_words: Utterance
    """The part of it that is not committed."""
    through: int
    """The session sample up to which it covers the speech."""


@dataclass(slots=True)
class _Shown:
    """A connection that has shown interim transcripts."""

    connection: Connection
    recorded: int
    """`TranscriptHistory.recorded` when its last text was emitted. Its own trimmer knows what was
    committed by then, above all its own finals."""


class UnfinishedText:
    """Remembers which connections have shown interim transcripts."""

    def __init__(self, ledger: AudioLedger, history: TranscriptHistory) -> None:
        self._ledger = ledger
        self._history = history
        self._shown: dict[int, _Shown] = {}
        """By the connection's id, the oldest first."""

    def __repr__(self) -> str:
        return f"UnfinishedText({[*self._shown]})"

    def shown(self, connection: Connection) -> None:
        """Note that an interim transcript of the active connection was emitted, or a FINAL held."""
        self._shown[connection.id] = _Shown(connection, self._history.recorded)
        if len(self._shown) > MAX_CONNECTIONS:
            del self._shown[next(iter(self._shown))]

    def final_committed(self, connection: Connection) -> None:
        """Note that a FINAL of the active connection was committed."""
        if shown := self._shown.get(connection.id):
            shown.recorded = self._history.recorded

    def first_word_at(self) -> int | None:
        """Return the session sample of the first word that was shown and is not committed, if any.

        A text without times may begin at the watermark.
        """
        ledger = self._ledger
        starts = [
            text.new_words.start or 0.0
            for shown in self._shown.values()
            for text in self._texts(shown, ledger.end)
        ]
        return max(ledger.samples(min(starts)), ledger.watermark) if starts else None

    def take(self, before: int) -> list[Unfinished]:
        """Forget everything, and return the texts that cover most of the uncommitted speech.

        They are those of one connection, in order, and about audio before `before` only.
        """
        found = [texts for shown in self._shown.values() if (texts := self._texts(shown, before))]
        self._shown.clear()
        return max(found, key=lambda texts: texts[-1].through, default=[])

    def _texts(self, shown: _Shown, before: int) -> list[Unfinished]:
        """Return the FINALs of a connection that were held and never emitted, and its last words.

        A FINAL is held while others are asked about speech that it skips. If nobody answers, it is
        as good as an interim transcript (simulated call 3265).
        """
        connection = shown.connection
        held = [h for h in connection.held_events if h.event.kind is EventKind.FINAL]
        texts = [*held, connection.interpreter.unfinished_text()]
        unfinished = (self._unfinished(shown, t) for t in texts if t and t.event.text.strip())
        return [text for text in unfinished if text is not None and text.through <= before]

    def _unfinished(self, shown: _Shown, text: Interpreted) -> Unfinished | None:
        ledger, through = self._ledger, text.extent.words
        if text.utterance.end is not None:
            through = min(ledger.samples(text.utterance.end), through)
        elif ledger.vad_enabled and not ledger.has_pending_speech_before(through):
            return None  # another connection has spelled the same words in its own way
        new_words = self._trimmed(shown, text.utterance)
        if new_words is None:
            return None
        return Unfinished(shown.connection, text, new_words, through)

    def _trimmed(self, shown: _Shown, text: Utterance) -> Utterance | None:
        """Return what of a text is not committed, by its own connection or by a later one."""
        connection = shown.connection
        new_words = connection.trimmer.trim(text)
        # Its own finals lie before this text, and must not be found in it, however alike the words
        # are (test_shown_words_become_final_once: "seven", "eleven").
        later = trimmer_of(connection, self._ledger, self._history, since=shown.recorded)
        return new_words and later.trim(new_words)
