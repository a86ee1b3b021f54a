"""What a health store is, and the one that keeps health in this process only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext

from ..core.health.provider import ProviderHealth


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

    @abstractmethod
    def sync(self, health: Sequence[tuple[str, ProviderHealth]], max_wait: float) -> HealthSync:
        """Make a sync for providers, each with its `provider_key`.

        `max_wait`: seconds for which `HealthSync.first_read` may wait.
        """


class MemoryHealth(HealthStore):
    """Shares health among the streams of one `ResilientSTT` only."""

    def __repr__(self) -> str:
        return "MemoryHealth()"

    def sync(self, health: Sequence[tuple[str, ProviderHealth]], max_wait: float) -> HealthSync:
        """Make a sync that does nothing: streams share the `ProviderHealth` objects anyway."""
        return _NoSync()


class _NoSync(HealthSync):
    def running(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def first_read(self) -> None:
        pass

    def refresh(self) -> None:
        pass

    async def aclose(self) -> None:
        pass
