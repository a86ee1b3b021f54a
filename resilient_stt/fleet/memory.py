"""Health that is kept in this process: by default, for all `ResilientSTT` in it."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from weakref import WeakKeyDictionary

from ..core.health.provider import ProviderHealth
from ..core.policy import BreakerPolicy, Policies
from .identity import ProviderIdentity
from .store import HealthStore, HealthSync, new_health

MAX_PROVIDERS = 1024
"""Providers whose health is remembered. A memory bound; those that were not used for longest go."""

_Key = tuple[str, BreakerPolicy, int]
_Known = OrderedDict[_Key, ProviderHealth]


class _Memory:
    """The health of providers by their identity and by the policies that it was judged by.

    Breakers count in the time of their event loop. That of asyncio's loops is one clock for the
    whole process. Loops that bring a clock of their own, such as virtual time, share nothing with
    others.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._known: _Known = OrderedDict()
        self._of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Known] = WeakKeyDictionary()

    def find(self, identity: ProviderIdentity, policies: Policies) -> ProviderHealth:
        """Find a provider's health, or begin it; only what it is, and what it does, is shared."""
        key = identity.key, policies.breaker, policies.watchdog.min_latency_samples
        with self.lock:
            known = self._by_clock()
            if key not in known:
                known[key] = new_health(policies)
                if len(known) > MAX_PROVIDERS:
                    known.popitem(last=False)
            known.move_to_end(key)
            # What was reported to users was reported by one object to its own.
            return ProviderHealth(known[key].breaker, known[key].latency, known[key].habits)

    def forget(self) -> None:
        """Begin anew. Objects that were made before go on sharing what they share."""
        with self.lock:
            self._known.clear()
            self._of_loops.clear()

    def _by_clock(self) -> _Known:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return self._known
        if type(loop).time is asyncio.BaseEventLoop.time:
            return self._known
        return self._of_loops.setdefault(loop, OrderedDict())


_PROCESS = _Memory()


class MemoryHealth(HealthStore):
    """Shares health among all `ResilientSTT` of this process, in any of its threads.

    Providers with the same plugin, class, model, address, key and language share their health, if
    their policies are the same. The keys of `ResilientSTT`'s providers are kept as digests only.
    """

    def __init__(self, *, isolated: bool = False) -> None:
        """Make a store; all that are not isolated are one.

        Args:
            isolated: share only among those that are given this very object. For tests and
                simulations.
        """
        self._isolated = isolated
        self._memory = _Memory() if isolated else _PROCESS

    def __repr__(self) -> str:
        return "MemoryHealth(isolated=True)" if self._isolated else "MemoryHealth()"

    @property
    def lock(self) -> AbstractContextManager[object]:
        """Held during every decision: streams of several threads may share a breaker."""
        return self._memory.lock

    def health(self, identity: ProviderIdentity, policies: Policies) -> ProviderHealth:
        """Return the health that all with this identity share."""
        return self._memory.find(identity, policies)

    def sync(self, health: Sequence[tuple[str, ProviderHealth]], max_wait: float) -> HealthSync:
        """Make a sync that does nothing: breakers are shared as they are."""
        return _NoSync()


class DefaultHealth(MemoryHealth):
    """What `ResilientSTT` uses if it is given no store: `MemoryHealth` without guesses.

    If neither an address nor a credential of a provider can be found, two that look alike may be
    two servers. Whoever asks for `MemoryHealth` or a fleet wants them to be one; nobody else does.
    """

    def health(self, identity: ProviderIdentity, policies: Policies) -> ProviderHealth:
        """Return the health that all with this identity share; a new one if it is not certain."""
        return super().health(identity, policies) if identity.certain else new_health(policies)


def forget_health() -> None:
    """Begin anew in this process. The pytest plugin does so before each test."""
    _PROCESS.forget()


class _NoSync(HealthSync):
    def running(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def first_read(self) -> None:
        pass

    def refresh(self) -> None:
        pass

    async def aclose(self) -> None:
        pass
