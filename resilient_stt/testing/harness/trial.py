"""Trials: speech played through `ResilientSTT` and the real plugins, with faults of fake servers.

`violations` says which promises a trial broke.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import chain as chain_of
from itertools import repeat
from typing import Protocol, TypeVar, get_args

import aiohttp
from livekit.agents.utils import http_context

from ...core.events import Event
from ...core.policy import Policies
from ...fleet import MemoryHealth
from ...stt import ResilientSTT
from ..fakes.registry import FAKES
from ..fakes.server import FakeServer
from ..faults import Fault, Refuse
from ..speech.accent import Accent
from ..speech.reference import ReferenceSpeech
from .play import Played, play

E = TypeVar("E")
T = TypeVar("T")

Corpus = Sequence[ReferenceSpeech] | None
"""The recordings that the servers recognize; None: all that are shipped."""
Accents = Sequence[Accent | None]
"""How providers write, in the chain's order; None: as it was spoken."""

CONCURRENT = 12
"""Trials that run at the same time in one event loop."""
ACCURACY = 0.1
"""Seconds by which a word's time may be wrong."""


@dataclass(frozen=True)
class Chain:
    """Providers in order of preference, and Cartesia's model."""

    order: tuple[str, ...] = ("cartesia", "deepgram")
    model: str = "ink-whisper"

    @property
    def title(self) -> str:
        """A title for people, such as `ink-whisper, Deepgram`."""
        names = {"cartesia": self.model, "deepgram": "Deepgram"}
        return ", ".join(names.get(name, name) for name in self.order)

    @property
    def plugins(self) -> dict[str, str]:
        """The plugin of each provider by name, in order."""
        return {name: name for name in self.order}

    def stt(
        self,
        servers: Mapping[str, FakeServer],
        http: aiohttp.ClientSession,
        policies: Policies | None,
    ) -> ResilientSTT:
        """Make the STT of the chain over running servers."""
        models = {"cartesia": {"model": self.model}}
        made = [server.stt(**models.get(name, {})) for name, server in servers.items()]
        return ResilientSTT(made, policies=policies, health=MemoryHealth(isolated=True))


@dataclass(frozen=True)
class FaultPlan:
    """The faults of the chain's first provider and of its second."""

    first: tuple[Fault, ...] = ()
    second: tuple[Fault, ...] = ()


class AnyChain(Protocol):
    """A chain of providers over fake servers, such as `Chain`."""

    @property
    def plugins(self) -> Mapping[str, str]:
        """The plugin of each provider by name, in order."""

    def stt(
        self,
        servers: Mapping[str, FakeServer],
        http: aiohttp.ClientSession,
        policies: Policies | None,
    ) -> ResilientSTT:
        """Make the STT of the chain over running servers."""


WHISPER = Chain()
HEALTHY = FaultPlan()
FALLBACK_ONLY = FaultPlan((Refuse(),))


@dataclass
class Trial:
    """The result of one run. Times are seconds since the first frame, as those of the faults are.

    Attributes:
        played: The transcripts.
        served: The provider that served at the end; empty if none did.
        events: The events of `ResilientSTT`, each with its time.
        servers: The fake servers, in the chain's order.
        timed: Whether the transcripts have times of words.
    """

    played: Played
    served: str
    events: list[tuple[float, Event]] = field(default_factory=list)
    servers: list[FakeServer] = field(default_factory=list)
    timed: bool = True

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind, in order."""
        return [event for _, event in self.events if isinstance(event, kind)]

    @property
    def connections(self) -> list[int]:
        """The number of connections of each server, in the chain's order."""
        return [len(server.connections) for server in self.servers]


def accents_of(chain: AnyChain, seed: int) -> list[Accent]:
    """Draw an accent for each provider of a chain."""
    return [Accent.drawn(seed + number) for number in range(len(chain.plugins))]


async def run_trial(
    plan: FaultPlan,
    speech: ReferenceSpeech,
    chain: AnyChain = WHISPER,
    policies: Policies | None = None,
    corpus: Corpus = None,
    accents: Accents = (),
) -> Trial:
    """Play speech to a chain whose first two providers have these faults.

    With fewer recordings in the `corpus`, servers tell noise from speech sooner. The `accents` are
    those of the chain's first providers; the others write what was spoken.
    """
    faults = [plan.first, plan.second, *[()] * len(chain.plugins)]
    servers = {
        name: FAKES[plugin](faults=own_faults, corpus=corpus, accent=accent)
        for (name, plugin), own_faults, accent in zip(
            chain.plugins.items(), faults, chain_of(accents, repeat(None)), strict=False
        )
    }
    async with AsyncExitStack() as stack:
        for server in servers.values():
            await stack.enter_async_context(server)
        http = await stack.enter_async_context(http_context.open())
        stt = chain.stt(servers, http, policies)
        loop = asyncio.get_running_loop()
        begun, events = loop.time(), list[tuple[float, Event]]()
        for kind in get_args(Event):
            stt.on(kind.name, lambda event: events.append((loop.time() - begun, event)))
        try:
            played = await play(stt, speech, accents=[a for a in accents if a])
        finally:
            await stt.aclose()
        timed = stt.capabilities.aligned_transcript == "word"
        return Trial(played, stt.provider, events, list(servers.values()), timed)


async def run_trials(
    plans: Iterable[FaultPlan],
    speech: ReferenceSpeech,
    chain: Chain = WHISPER,
    policies: Policies | None = None,
    accents: Accents = (),
) -> list[Trial]:
    """Run trials at the same time, at most `CONCURRENT` of them."""
    run = functools.partial(
        run_trial, speech=speech, chain=chain, policies=policies, accents=accents
    )
    return await side_by_side(functools.partial(run, plan) for plan in plans)


async def side_by_side(jobs: Iterable[Callable[[], Awaitable[T]]]) -> list[T]:
    """Run jobs in one event loop, at most `CONCURRENT` of them at the same time."""
    gate = asyncio.Semaphore(CONCURRENT)

    async def one(job: Callable[[], Awaitable[T]]) -> T:
        async with gate:
            return await job()

    return await asyncio.gather(*map(one, jobs))


def violations(played: Played, *, accurate: bool = True) -> dict[str, int]:
    """Count how often a run broke each promise; promises that it kept are left out.

    `lost`, `twice` and `torn` (never spoken) count words. With `accurate`, the words that came must
    have times, and these must be right, but for the errors of the providers' accents.
    """
    result = played.score
    unknown = math.inf if result.lost < result.words else 0.0
    allowed = ACCURACY + max((accent.time_error for accent in played.accents), default=0.0)
    worst = unknown if result.ts_err_max_s is None else result.ts_err_max_s
    found = {
        "lost": result.lost,
        "twice": result.twice,
        "torn": result.fragments,
        "disordered": not result.in_order,
        "unbalanced": not played.balanced,
        "unended": not played.finished or played.error is not None,
        "mistimed": accurate and worst > allowed,
    }
    return {promise: int(times) for promise, times in found.items() if times}


def slowest(healthy: Iterable[Sequence[float]]) -> list[float]:
    """Each word's delay with the provider that takes longest for it, from a healthy run of each."""
    return [max(delays) for delays in zip(*healthy, strict=True)]


def extra_delay(late: Sequence[float], usual: Sequence[float]) -> float:
    """The greatest number of seconds by which a word came later than usual; words that did not come
    are left out."""
    beyond = (a - b for a, b in zip(late, usual, strict=True))
    return max((seconds for seconds in beyond if 0 < seconds < math.inf), default=0.0)
