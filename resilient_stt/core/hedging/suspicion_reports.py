"""Reports when the active connection becomes suspect, and when it is not any more."""

from __future__ import annotations

from ..connections.connection import Connection
from ..connections.pool import ConnectionPool
from ..events import StallCleared, StallReason, StallSuspected
from ..outbox import Outbox


class SuspicionReports:
    """Reports each suspicion once, and its end unless the connection is left."""

    def __init__(self, pool: ConnectionPool, outbox: Outbox) -> None:
        self._pool = pool
        self._outbox = outbox
        self._reported: StallSuspected | None = None
        """The suspicion that was reported, and not its end."""
        self._since = 0.0

    def __repr__(self) -> str:
        return f"SuspicionReports({self._reported})"

    def suspected(self, active: Connection, trigger: StallReason, now: float) -> None:
        """Report that the active connection is suspect, and that an earlier suspicion is over."""
        self.cleared(now)
        self._since = now
        self._reported = StallSuspected(
            at=self._pool.at,
            provider=active.traits.name,
            connection=active.id,
            role=active.role,
            trigger=trigger,
        )
        self._outbox.report(self._reported)

    def cleared(self, now: float) -> None:
        """Report that the connection is not suspect any more, if it was and is still open."""
        suspected, self._reported = self._reported, None
        if suspected is not None and self._pool.get(suspected.connection) is not None:
            self._outbox.report(
                StallCleared(
                    at=self._pool.at,
                    provider=suspected.provider,
                    connection=suspected.connection,
                    role=suspected.role,
                    trigger=suspected.trigger,
                    duration=now - self._since,
                )
            )

    def left(self) -> None:
        """Note that the suspect connection is left: its closing says so."""
        self._reported = None
