"""Trials: speech played through `ResilientSTT` and the real plugins, with faults of fake servers.

`violations` says which promises a trial broke.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import chain as chain_of
from itertools import repeat
from typing import Any, Protocol, TypeVar, get_args

from livekit.agents.utils import http_context

from ...core.events import (
    Decision,
    OutageEnded,
    ProviderFailed,
    StallReason,
    Switched,
    SwitchReason,
)
from ...core.policy import Policies
from ...core.routing.language import DEFAULT
from ...fleet import MemoryHealth
from ...providers.traits import traits_of
from ...setup import Setup
from ...stt import ResilientSTT
from ..fakes.registry import FAKES
from ..fakes.server import FakeServer
from ..faults import Fault, Refuse
from ..speech.accent import Accent
from ..speech.reference import ReferenceSpeech
from .clock import run_virtual
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

    def stt(self, servers: Mapping[str, FakeServer], policies: Policies | None) -> ResilientSTT:
        """Make the STT of the chain over running servers; its providers have the chain's names."""
        models = {"cartesia": {"model": self.model}}
        made = {name: server.stt(**models.get(name, {})) for name, server in servers.items()}
        setup = Setup(
            providers=made,
            traits={name: traits_of(name, provider) for name, provider in made.items()},
            routes={DEFAULT: tuple(made)},
            policies=policies or Policies(),
            health_store=MemoryHealth(isolated=True),
        )
        return ResilientSTT(setup)


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

    def stt(self, servers: Mapping[str, FakeServer], policies: Policies | None) -> ResilientSTT:
        """Make the STT of the chain over running servers."""


WHISPER = Chain()
HEALTHY = FaultPlan()
FALLBACK_ONLY = FaultPlan((Refuse(),))


@dataclass
class Trial:
    """The result of one run. Times are seconds since the first frame, as those of the faults are.

    Attributes:
        played: The transcripts.
        served: The provider that served at the end, or its name in the chain if the chain has
            several of that provider; empty if none did.
        events: The events of `ResilientSTT`, each with its time.
        servers: The fake servers, in the chain's order.
        plan: The faults that the chain's first two providers had.
        names: The names of the chain's providers, in order.
        timed: Whether the transcripts of every provider have times of words.
    """

    played: Played
    served: str
    events: list[tuple[float, Decision]] = field(default_factory=list)
    servers: list[FakeServer] = field(default_factory=list)
    plan: FaultPlan = FaultPlan()
    names: tuple[str, ...] = ()
    timed: bool = True

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind, in order."""
        return [event for _, event in self.events if isinstance(event, kind)]

    @property
    def connections(self) -> list[int]:
        """The number of connections of each server, in the chain's order."""
        return [len(server.connections) for server in self.servers]

    @property
    def left(self) -> int:
        """How often a provider without faults was taken for a failed or a slow one.

        One that gives no last words when the caller hangs up, as some plugins do, is rightly left.
        """
        faulty = {
            name
            for name, faults in zip(self.names, (self.plan.first, self.plan.second), strict=False)
            if faults
        }
        failed = [
            event.provider
            for event in self.of(ProviderFailed)
            if event.trigger is not StallReason.MISSING_TAIL
        ]
        slow = [e.from_provider for e in self.of(Switched) if e.reason is SwitchReason.SLOW]
        return sum(name not in faulty for name in failed + slow)

    def text_after(self, number: int) -> float | None:
        """Seconds until a transcript comes after the faults of a provider, given by its number.

        They count from the first of its faults that happened, or from the end of faults that end,
        but not from before the first word was spoken. None: no fault happened, or no transcript
        came.
        """
        faults = (self.plan.first, self.plan.second)[number]
        ends = [fault.until for fault in faults if fault.until is not None]
        begun = [triggered.at for triggered in self.servers[number].triggered]
        if not begun:
            return None
        since = max(self.played.speech.words[0].end, max(ends, default=begun[0]))
        texts = (at for at, e in self.played.events if e.alternatives and e.alternatives[0].text)
        return next((at - since for at in texts if at > since), None)


def accents_of(chain: AnyChain, seed: int) -> list[Accent]:
    """Draw an accent for each provider of a chain."""
    return [Accent.drawn(seed + number) for number in range(len(chain.plugins))]


def run_on_clock(plugins: Iterable[str], main: Coroutine[Any, Any, T]) -> T:
    """Run trials of some fake servers: in virtual time, or in real time if one of them needs it.

    Args:
        plugins: The names of the servers in `FAKES`.
        main: What is to be run.
    """
    is_real = any(FAKES[plugin].has_threads for plugin in plugins)
    return asyncio.run(main) if is_real else run_virtual(main)


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
        await stack.enter_async_context(http_context.open())
        stt = chain.stt(servers, policies)
        loop = asyncio.get_running_loop()
        begun, events = loop.time(), list[tuple[float, Decision]]()
        for kind in get_args(Decision):
            stt.on(kind.name, lambda event: events.append((loop.time() - begun, event)))
        try:
            played = await play(stt, speech, accents=[a for a in accents if a])
        finally:
            await stt.aclose()
        timed = all(p.capabilities.aligned_transcript == "word" for p in stt.providers)
        served = stt.provider
        if [provider.provider for provider in stt.providers].count(served) > 1:
            served = _last_serving(chain, (event for _, event in events))
        running = list(servers.values())
        return Trial(played, served, events, running, plan, tuple(chain.plugins), timed)


async def play_bare(name: str, speech: ReferenceSpeech) -> Played:
    """Play speech to the plugin of a fake server alone, without `ResilientSTT` and without faults.

    Args:
        name: The server's name in `FAKES`.
        speech: The speech.
    """
    async with http_context.open(), FAKES[name]() as server:
        plugin = server.stt()
        try:
            return await play(plugin, speech)
        finally:
            await plugin.aclose()


def _last_serving(chain: AnyChain, events: Iterable[Decision]) -> str:
    """The name of the provider that served at the end."""
    name = next(iter(chain.plugins))
    for event in events:
        if isinstance(event, Switched):
            name = event.to_provider
        elif isinstance(event, OutageEnded):
            name = event.provider
    return name


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
