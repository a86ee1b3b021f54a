"""Where the health of providers is kept: in one process, or in Redis for a fleet of processes."""

from __future__ import annotations

from .redis import RedisHealth
from .store import HealthStore, HealthSync, MemoryHealth

__all__ = ["HealthStore", "HealthSync", "MemoryHealth", "RedisHealth", "store_by_name"]


def store_by_name(name: str) -> HealthStore:
    """Make the store that a configuration names: `memory`, or the URL of a Redis.

    Raises:
        ConfigurationError: the URL is not one of a Redis, or a package is missing. The message
            contains nothing of the URL, which may hold a password.
    """
    return MemoryHealth() if name == "memory" else RedisHealth(name)
