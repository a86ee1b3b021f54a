"""Which Redis, and which of its providers, a command is about."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ...config import VARIABLE, Config, load
from ...fleet import RedisHealth
from ...phrasing import nearest
from ...setup import Setup
from ..command_error import CommandError


@dataclass(frozen=True, slots=True)
class FleetTargets:
    """A store, and the configuration whose providers it is asked about, if there is one."""

    store: RedisHealth
    config: Config | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    """The names of the configured providers, by their keys in the store."""

    def find(self, wanted: str, stored: Iterable[str]) -> list[str]:
        """Return the keys that a user means: by a configured name, by a key, or by all keys that
        begin with a plugin or a plugin and a model.

        Raises:
            CommandError: There is no such provider.
        """
        meant: dict[str, list[str]] = {}
        for key in [*self.names, *stored]:
            plugin, model, _ = (*key.split(":"), "", "")[:3]
            for alias in (plugin, f"{plugin}:{model}", key):
                meant.setdefault(alias, [])
                if key not in meant[alias]:
                    meant[alias].append(key)
        # A name of the configuration is one provider, also if a plugin is called the same.
        meant.update({name: [key] for key, name in self.names.items()})
        if wanted not in meant:
            where = "" if meant else "; the store knows none yet: name a configuration"
            raise CommandError(f"unknown provider {wanted!r}{nearest(wanted, meant)}{where}")
        return meant[wanted]

    def title(self, key: str) -> str:
        """What the user calls a provider: its configured name, else its key."""
        return self.names.get(key, key)


def fleet_targets(config: str | None, store: str | None) -> FleetTargets:
    """Return what the user names: a Redis by its URL, or the one of a configuration.

    Raises:
        ConfigurationError: The configuration has mistakes or needs keys, or the URL is not one of a
            Redis.
        CommandError: There is neither, or the configuration keeps health in memory.
    """
    source = config or os.environ.get(VARIABLE)
    if store is not None:
        if config is not None:
            raise CommandError("give a configuration or --store, not both")
        return FleetTargets(RedisHealth(store))
    if source is None:
        raise CommandError(
            f"name a configuration, set {VARIABLE}, or give the Redis: --store redis://HOST:PORT/DB"
        )
    loaded = load(source)
    if not isinstance(loaded.store, RedisHealth):
        raise CommandError(
            f"{loaded.name}: health is kept in the memory of each process, where nobody else can "
            'look; share it with  health: {store: "redis://HOST:PORT/DB"}'
        )
    return FleetTargets(loaded.store, loaded, asyncio.run(_names(loaded)))


async def _names(config: Config) -> dict[str, str]:
    """Make the providers, because their keys in the store depend on what they are made of.

    The plugins need a running event loop.
    """
    identities = Setup.from_config(config).identities()
    return {identity.key: name for name, identity in identities.items()}
