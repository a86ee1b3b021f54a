"""Which breakers have changed, as one stream sees it."""

from __future__ import annotations

from collections.abc import Mapping

from ..events import BreakerState
from .breaker import Breaker
from .provider import ProviderHealth


class BreakerWatch:
    """Compares the breakers, which other streams and processes change too, with what was known."""

    def __init__(self, health: Mapping[str, ProviderHealth]) -> None:
        """Begin with all breakers closed; `health` is that of all providers by name."""
        self._breakers = {name: h.breaker for name, h in health.items()}
        self._known = dict.fromkeys(health, (BreakerState.CLOSED, False))

    def __repr__(self) -> str:
        return f"BreakerWatch({ {name: state.value for name, (state, _) in self._known.items()} })"

    def changes(self, now: float) -> list[tuple[str, BreakerState, BreakerState, bool]]:
        """Return what has changed since the last call.

        Each change is (provider, old state, new state, whether an operator has locked it).
        """
        changed = []
        for name, breaker in self._breakers.items():
            before, (state, by_operator) = self._known[name], _look_at(breaker, now)
            if (state, by_operator) != before:
                self._known[name] = state, by_operator
                changed.append((name, before[0], state, by_operator))
        return changed


def _look_at(breaker: Breaker, now: float) -> tuple[BreakerState, bool]:
    return breaker.state(now), breaker.is_locked_by_operator(now)
