"""No connection is open, because the provider closed one that owed nothing; nothing has failed.

Providers close idle connections: a caller who is muted sends no audio. Another connection would be
closed the same way, so none is opened before there is audio for it. Audio is buffered meanwhile,
and a new connection is sent what is not committed. The interval bounds how often a provider that
closes every connection is connected to while nobody speaks.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..audio.ledger import AudioLedger
from ..policy import ProviderTraits


@dataclass(slots=True)
class Rest:
    """The time without a connection, after the provider has closed an idle one."""

    provider: ProviderTraits
    """The provider to open again."""
    since: int
    """The session sample at which it began."""
    reopen_at: float
    """When audio without words may open a connection again."""

    def is_over(self, ledger: AudioLedger, now: float, *, words_pending: bool) -> bool:
        """Return whether a connection is to be opened: for words at once, else for audio."""
        return words_pending or (ledger.end > self.since and now >= self.reopen_at)

    def deadlines(self, ledger: AudioLedger) -> list[float]:
        """Return when a connection is to be opened without any input."""
        return [self.reopen_at] if ledger.end > self.since else []
