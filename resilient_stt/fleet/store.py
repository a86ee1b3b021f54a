"""What a health store is."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext

from ..core.health.breaker import Breaker
from ..core.health.latency import FinalLatency
from ..core.health.provider import ProviderHealth
from ..core.policy import Policies
from .identity import ProviderIdentity


class HealthSync(ABC):
    """Keeps the providers of one `ResilientSTT` in step with those of other processes.

    It writes what it learns into their `ProviderHealth`, in the background. Decisions read only
    that, so no decision ever waits for a store.
    """

    @abstractmethod
    def running(self) -> AbstractAsyncContextManager[None]:
        """Run the sync while at least one stream is open; stop and clean up after the last.

        Every stream enters this context for as long as it is open.
        """

    @abstractmethod
    async def first_read(self) -> None:
        """Wait until what other processes know has been read, for a bounded time.

        Every stream calls this in `running()`, before its first connection. Its audio is buffered
        meanwhile.
        """

    @abstractmethod
    def refresh(self) -> None:
        """Read once, in the background, what other processes know. Call it before a stream opens.

        Does nothing outside of an event loop.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Cancel a refresh that is under way."""


class HealthStore(ABC):
    """Where health is shared. One store may be given to any number of `ResilientSTT`."""

    @property
    def lock(self) -> AbstractContextManager[object]:
        """Held during every decision, in case several threads share what `health` returns."""
        return nullcontext()

    def health(self, identity: ProviderIdentity, policies: Policies) -> ProviderHealth:
        """Return the health of a provider, by default a new one that only `sync` connects."""
        return new_health(policies)

    @abstractmethod
    def sync(self, health: Sequence[tuple[str, ProviderHealth]], max_wait: float) -> HealthSync:
        """Make a sync for providers, each with its `provider_key`.

        `max_wait`: seconds for which `HealthSync.first_read` may wait.
        """


def new_health(policies: Policies) -> ProviderHealth:
    """Make the health of a provider of which nothing is known."""
    return ProviderHealth(
        # one draw per provider and process: the processes of a fleet do not probe in step
        Breaker(policies.breaker, jitter=random.uniform(-1, 1)),
        FinalLatency(policies.watchdog.min_latency_samples),
    )
