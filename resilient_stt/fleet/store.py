"""What a health store is, and the one that keeps everything in the process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext

from ..core.health.provider import ProviderHealth


class HealthSync(ABC):
    """Keeps the providers of one `ResilientSTT` in step with those of others.

    What it learns it puts into their `ProviderHealth`, which is all that anybody asks: nobody waits for it.
    """

    @abstractmethod
    def running(self) -> AbstractAsyncContextManager[None]:
        """While somebody is inside, it works; after the last one left, nothing of it is left."""

    @abstractmethod
    def refresh(self) -> None:
        """Find out, in the background and once, what others know: somebody will come soon."""

    @abstractmethod
    async def aclose(self) -> None:
        """End a glance that is under way."""


class HealthStore(ABC):
    """Where it is kept who is healthy; may be given to any number of `ResilientSTT`."""

    @abstractmethod
    def sync(self, health: Sequence[tuple[str, ProviderHealth]]) -> HealthSync:
        """Share the health of providers, each with its `provider_key`, with whoever has them."""


class MemoryHealth(HealthStore):
    """In the process: all streams of a `ResilientSTT` share it, and nobody else."""

    def __repr__(self) -> str:
        return "MemoryHealth()"

    def sync(self, health: Sequence[tuple[str, ProviderHealth]]) -> HealthSync:
        """Nothing is to be done: a `ProviderHealth` is in memory already."""
        return _NoSync()


class _NoSync(HealthSync):
    def running(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    def refresh(self) -> None:
        pass

    async def aclose(self) -> None:
        pass
