"""Runs of speech through `ResilientSTT` and the real plugins, with scripted faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args

import aiohttp

from resilient_stt import Event, Policies, ResilientSTT
from resilient_stt.testing.cartesia import FakeCartesia
from resilient_stt.testing.deepgram import FakeDeepgram
from resilient_stt.testing.faults import Fault, Refuse
from resilient_stt.testing.play import Played, play
from resilient_stt.testing.server import FakeServer
from resilient_stt.testing.speech import ReferenceSpeech

E = TypeVar("E")

CONCURRENT = 12
"""Runs side by side in one event loop."""


@dataclass(frozen=True)
class Chain:
    """Providers in order of preference, and the model of Cartesia."""

    order: tuple[str, ...] = ("cartesia", "deepgram")
    model: str = "ink-whisper"


WHISPER = Chain()
INK2 = Chain(model="ink-2")
DEEPGRAM = Chain(("deepgram", "cartesia"))


@dataclass(frozen=True)
class Script:
    """Faults of the chain's first provider and of its second."""

    first: tuple[Fault, ...] = ()
    second: tuple[Fault, ...] = ()


HEALTHY = Script()
FALLBACK_ONLY = Script((Refuse(),))


@dataclass
class Run:
    """What came of it. Times are seconds since the first frame, as the faults' are."""

    played: Played
    events: list[tuple[float, Event]] = field(default_factory=list)
    servers: list[FakeServer] = field(default_factory=list)

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind, in order."""
        return [event for _, event in self.events if isinstance(event, kind)]

    @property
    def connections(self) -> list[int]:
        """How many each server has seen, in the chain's order."""
        return [len(server.connections) for server in self.servers]


async def run(
    script: Script,
    speech: ReferenceSpeech,
    chain: Chain = WHISPER,
    policies: Policies | None = None,
) -> Run:
    """Play speech to the chain with these faults."""
    faults = dict(zip(chain.order, (script.first, script.second), strict=False))
    async with (
        FakeCartesia(faults=faults.get("cartesia", ())) as cartesia,
        FakeDeepgram(faults=faults.get("deepgram", ())) as deepgram,
        aiohttp.ClientSession() as http,
    ):
        plugins: dict[str, Callable[[], Any]] = {
            "cartesia": lambda: cartesia.stt(http_session=http, model=chain.model),
            "deepgram": lambda: deepgram.stt(http_session=http),
        }
        servers: dict[str, FakeServer] = {"cartesia": cartesia, "deepgram": deepgram}
        stt = ResilientSTT([plugins[name]() for name in chain.order], policies=policies)
        loop = asyncio.get_running_loop()
        begun, events = loop.time(), list[tuple[float, Event]]()
        for kind in get_args(Event):
            stt.on(kind.name, lambda event: events.append((loop.time() - begun, event)))
        try:
            played = await play(stt, speech)
        finally:
            await stt.aclose()
        return Run(played, events, [servers[name] for name in chain.order])


async def run_all(
    scripts: list[Script],
    speech: ReferenceSpeech,
    chain: Chain = WHISPER,
    policies: Policies | None = None,
) -> list[Run]:
    """Run scripts side by side, a few at a time."""
    gate = asyncio.Semaphore(CONCURRENT)

    async def one(script: Script) -> Run:
        async with gate:
            return await run(script, speech, chain, policies)

    return await asyncio.gather(*map(one, scripts))


def check(played: Played, where: str, *, accurate: bool = True) -> None:
    """Nothing lost, twice, torn, disordered or unbalanced; `accurate`: and nothing mistimed."""
    assert played.error is None, where
    assert played.finished, where
    assert played.score.ok, f"{where}: {played.score}"
    assert played.balanced, where
    if accurate:
        assert played.score.ts_err_max_s is not None
        assert played.score.ts_err_max_s <= 0.1, where


def check_delay(played: Played, slowest: list[float], allowed: float, where: str) -> None:
    """No word comes more than `allowed` seconds later than in a healthy run."""
    late = [a - b for a, b in zip(played.score.late_s, slowest, strict=True)]
    assert max(late) <= allowed, f"{where}: word {late.index(max(late))} is {max(late):.2f} s late"


async def slowest_healthy(speech: ReferenceSpeech, chain: Chain = WHISPER) -> list[float]:
    """Each word's delay in a healthy run, of the provider that takes longer for it."""
    runs = await run_all([HEALTHY, FALLBACK_ONLY], speech, chain)
    assert all(r.played.score.ok for r in runs)
    return [max(d) for d in zip(*(r.played.score.late_s for r in runs), strict=True)]
