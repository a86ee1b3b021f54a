"""Which breakers have changed, as one stream sees it."""

from __future__ import annotations

from collections.abc import Mapping

from ..events import BreakerState
from .provider import ProviderHealth


class BreakerWatch:
    """Compares the breakers, which other streams and processes change too, with what was known."""

    def __init__(self, health: Mapping[str, ProviderHealth]) -> None:
        """Begin with all breakers closed; `health` is that of all providers by name."""
        self._known = {name: (h.breaker, BreakerState.CLOSED) for name, h in health.items()}

    def __repr__(self) -> str:
        return f"BreakerWatch({ {name: state.value for name, (_, state) in self._known.items()} })"

    def changes(self, now: float) -> list[tuple[str, BreakerState, BreakerState]]:
        """Return (provider, old state, new state) of what has changed since the last call."""
        changed = []
        for name, (breaker, known) in self._known.items():
            if (state := breaker.state(now)) is not known:
                changed.append((name, known, state))
        for name, _, state in changed:
            self._known[name] = self._known[name][0], state
        return changed
