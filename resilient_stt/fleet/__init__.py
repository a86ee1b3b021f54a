"""Where the health of providers is kept: in the process, or by Redis for a fleet of them."""

from __future__ import annotations

from .redis import RedisHealth
from .store import HealthStore, HealthSync, MemoryHealth

__all__ = ["HealthStore", "HealthSync", "MemoryHealth", "RedisHealth", "named"]


def named(store: str) -> HealthStore:
    """The store that a configuration names: `memory`, or the URL of a Redis.

    Raises:
        ConfigurationError: the URL is none, or a package is missing; holds nothing of the URL.
    """
    return MemoryHealth() if store == "memory" else RedisHealth(store)
