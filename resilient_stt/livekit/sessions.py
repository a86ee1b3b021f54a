"""Which sessions of ours a provider may still count although we are done with them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

RELEASE_TIME = 1.0
"""Seconds that a server may need to notice that a connection of ours is closed, at most."""


@dataclass(slots=True)
class ClosingSessions:
    """The connections that are being closed, of all streams of one `ResilientSTT`.

    Those that had failed or ended before are left out: the provider counts them no more.
    """

    _closing: Counter[str] = field(default_factory=Counter)
    _closed_at: dict[str, float] = field(default_factory=dict)

    def begin(self, provider: str) -> None:
        """Note that a connection to the provider of this name is being closed."""
        self._closing[provider] += 1

    def end(self, provider: str, now: float) -> None:
        """Note that it is closed, at `now` on the loop's clock."""
        self._closing[provider] -= 1
        self._closed_at[provider] = now

    def may_count(self, provider: str, now: float) -> bool:
        """Whether the provider may still count one of them."""
        closed_at = self._closed_at.get(provider)
        lately = closed_at is not None and now < closed_at + RELEASE_TIME
        return self._closing[provider] > 0 or lately
