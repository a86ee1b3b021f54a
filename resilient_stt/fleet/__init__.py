"""Where the health of providers is kept: in one process, or in Redis for a fleet of processes."""

from __future__ import annotations

from .memory import DefaultHealth, MemoryHealth
from .redis import RedisHealth
from .store import HealthStore, HealthSync

__all__ = [
    "DefaultHealth",
    "HealthStore",
    "HealthSync",
    "MemoryHealth",
    "RedisHealth",
    "store_by_name",
]


def store_by_name(name: str | None) -> HealthStore:
    """Make the store that a configuration names: `memory`, the URL of a Redis, or none.

    Raises:
        ConfigurationError: the URL is not one of a Redis, or a package is missing. The message
            contains nothing of the URL, which may hold a password.
    """
    if name is None:
        return DefaultHealth()
    return MemoryHealth() if name == "memory" else RedisHealth(name)
