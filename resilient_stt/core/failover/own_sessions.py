"""Recognizes refusals for which another connection of ours is the reason, not the provider.

Some plans allow one session at a time. A connection that is opened anew, a hedge, a probe or the
way back then comes while our other session is still closing, or open beside it, and is answered
with 429 or an equal close code. Counted as a failure, it would punish the provider for our own
doing, again and again. So it is told and counted nowhere, and tried again when the other one is
gone. The limit bounds that: a session of ours that the provider does not let go, or of somebody
else's, is a refusal like any other.
"""

from __future__ import annotations

from ..connections.connection import Connection
from ..connections.pool import ConnectionPool
from ..events import ErrorKind, Role
from ..messages import ConnectionFailed
from ..policy import RetryPolicy


class OwnSessions:
    """Tells refusals because of our own sessions from others, for the providers of one stream."""

    def __init__(self, pool: ConnectionPool, policy: RetryPolicy) -> None:
        self._pool = pool
        self._interval = policy.session_retry_interval
        self._limit = policy.session_release_limit
        self._refused_since: dict[str, float] = {}
        """Since when each provider has refused connections because of ours."""

    def __repr__(self) -> str:
        return f"OwnSessions(refused_since={self._refused_since})"

    def worked(self, connection: Connection) -> None:
        """Note that a connection gives events: its provider has let it in."""
        self._refused_since.pop(connection.traits.name, None)

    def refuse(self, connection: Connection, failure: ConnectionFailed, now: float) -> bool:
        """Note a failure; return whether a session of ours is the reason, and time is left."""
        name = connection.traits.name
        if failure.kind is not ErrorKind.RATE_LIMITED or connection.last_transcript_at is not None:
            return False
        beside = [c for c in self._pool if c is not connection and c.traits.name == name]
        if any(c.role is Role.ACTIVE for c in beside):
            return True  # it serves, so that there is nothing to wait for, and nothing is wrong
        # Another stream may keep its session for long: that is a refusal like any other.
        if not (beside or failure.other_closing):
            return False
        if now <= self._refused_since.setdefault(name, now) + self._limit:
            return True
        del self._refused_since[name]
        return False

    def retry_at(self, now: float) -> float:
        """Return when another attempt makes sense."""
        return now + self._interval
