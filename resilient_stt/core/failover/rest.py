"""No connection is open, but nothing has failed: it was idle, or one of ours was in its way.

Providers close idle connections: a caller who is muted sends no audio. Another connection would be
closed the same way, so none is opened before there is audio for it. Audio is buffered meanwhile,
and a new connection is sent what is not committed. The interval bounds how often a provider that
closes every connection is connected to while nobody speaks.

A provider that allows one session may refuse a connection because another one of ours is still
closing (`OwnSessions`). Then the time is short, and ends whether there is audio or not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..audio.ledger import AudioLedger
from ..policy import ProviderTraits


@dataclass(slots=True)
class Rest:
    """The time without a connection, until one is opened again."""

    provider: ProviderTraits
    """The provider to open again."""
    since: int
    """The session sample at which it began."""
    reopen_at: float
    """When audio without words may open a connection again."""
    not_before: float = -math.inf
    """Before this time, not even words open one."""

    def is_over(self, ledger: AudioLedger, now: float, *, words_pending: bool) -> bool:
        """Return whether a connection is to be opened: for words at once, else for audio."""
        if now < self.not_before:
            return False
        return words_pending or (ledger.end > self.since and now >= self.reopen_at)

    def deadlines(self, ledger: AudioLedger) -> list[float]:
        """Return when a connection is to be opened without any input."""
        return [self.reopen_at] if ledger.end > self.since else []
