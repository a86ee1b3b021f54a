"""Answers a flush of the consumer, also if there are no words to answer it with.

LiveKit's `commit_user_turn()` flushes the stream and then waits for a FINAL, with or without text.
A provider answers with an empty one if it has nothing to add. That one has to reach the consumer,
while all other empty finals mean nothing to him. Others cannot be flushed. If such a one has given
no words within the time that its finals take, it has none, and the answer is ours. But never while
speech is pending: the words may still come, from this connection or from a hedge, and the turn must
not be closed without them.
Nobody waits for an answer once the input has ended, which LiveKit's streams flush for, too.
"""

from __future__ import annotations

from ..audio.ledger import AudioLedger
from ..connections.connection import Connection
from ..messages import Emit, EventKind


class FlushAnswers:
    """Knows which flush of the consumer no FINAL has answered yet."""

    def __init__(self, ledger: AudioLedger) -> None:
        self._ledger = ledger
        self._flushed_at: int | None = None
        """The session sample of the last flush that has no answer; `None` if there is none."""
        self._requested_at = 0.0
        """When the consumer flushed, in seconds of `now`."""
        self._connection: int | None = None
        """The connection that was active then; `None` in an outage."""
        self._answer: Emit | None = None
        """The empty FINAL that answers it, until it can be emitted."""

    def __repr__(self) -> str:
        return f"FlushAnswers(flushed_at={self._flushed_at})"

    def flush_requested(self, active: Connection | None, now: float) -> None:
        """Note that the consumer flushes at the live edge."""
        self._flushed_at, self._answer = self._ledger.end, None
        self._requested_at = now
        self._connection = active.id if active else None

    def final_emitted(self) -> None:
        """Note that a FINAL with words was emitted, which answers any flush."""
        self._flushed_at = self._answer = None

    def wordless_final(self, connection: Connection, source: object) -> None:
        """Note a FINAL of the active connection that has no new words."""
        at = self._flushed_at
        if at is not None and connection.sender.flushed_through >= at:
            self._answer = Emit(EventKind.FINAL, source=source, provider=connection.traits.name)

    def input_ended(self) -> None:
        """Note that no more audio comes."""
        self.final_emitted()

    def deadlines(self, active: Connection | None) -> list[float]:
        """When `step` may have something to do without any input."""
        due = self._due_without_flush(active)
        return [] if due is None else [due]

    def step(self, active: Connection | None, now: float) -> list[Emit]:
        """Return the empty FINAL that answers a flush, once it is due."""
        at = self._flushed_at
        if at is None or active is None or self._ledger.has_pending_speech_before(at):
            return []
        answer = self._answer
        if answer is None and active.id != self._connection and active.start >= at:
            # The connection that was flushed is gone, and this one need not be flushed there.
            answer = Emit(EventKind.FINAL, provider=active.traits.name)
        due = self._due_without_flush(active)
        if answer is None and due is not None and now >= due:
            answer = Emit(EventKind.FINAL, provider=active.traits.name)
        if answer is None:
            return []
        self.final_emitted()
        return [answer]

    def _due_without_flush(self, active: Connection | None) -> float | None:
        """Return when a connection that cannot be flushed has had its time; `None` for others.

        The words of speech that local voice activity has not noticed yet come within that.
        """
        at = self._flushed_at
        if at is None or active is None or active.traits.manual_flush or active.cursor < at:
            return None
        return self._requested_at + active.stall_detector.final_timeout
