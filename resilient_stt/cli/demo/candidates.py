"""The speech-to-text candidates that a demo compares, and how it runs them side by side."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from unittest import mock

import aiohttp
from livekit.agents import stt
from livekit.agents.utils import aio

from ...fleet import MemoryHealth
from ...recording.recording_options import RecordingOptions
from ...stt import ResilientSTT
from ...testing.harness.play import play
from ..narrate import EVENT_NAMES
from .demo_run import DemoRun
from .fake_servers import Endpoints, in_own_process, in_this_process
from .scenarios import Scenario

_END_TIMEOUT = 15.0
"""Seconds after the end of the speech; a stream that has not ended by then never will."""

_TICK = 0.05  # seconds between two updates of the position in the speech


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way to transcribe with Cartesia and Deepgram.

    Attributes:
        key: Its name in JSON.
        title: Its name in tables.
        make: Returns it, given the plugins of Cartesia and Deepgram, and how it is recorded; only
            ours can be.
    """

    key: str
    title: str
    make: Callable[[list[stt.STT[Any]], RecordingOptions | None], stt.STT[Any]]


PLUGIN = Candidate("plugin", "Cartesia plugin", lambda providers, _: providers[0])
ADAPTER = Candidate("fallback_adapter", "FallbackAdapter", lambda p, _: stt.FallbackAdapter(p))
OURS = Candidate(
    "resilient",
    "ResilientSTT",
    lambda providers, record: ResilientSTT(
        providers, health=MemoryHealth(isolated=True), record=record
    ),
)
CANDIDATES = (PLUGIN, ADAPTER, OURS)


async def compete(
    scenario: Scenario,
    runs: Mapping[Candidate, DemoRun],
    *,
    virtual: bool = False,
    record: RecordingOptions | None = None,
) -> None:
    """Let candidates transcribe side by side, each with a pair of fake providers of its own.

    Args:
        scenario: The faults of each pair of providers.
        runs: The record of each candidate; it is filled while the candidates transcribe.
        virtual: Whether the event loop's clock is virtual. The fake providers then run on this
            loop, because a process of their own would live in real time.
        record: How ours is recorded, if it is.
    """
    serve = in_this_process if virtual else in_own_process
    async with contextlib.AsyncExitStack() as stack:
        if virtual:
            stack.enter_context(_wall_clock_follows_loop())
        pairs = await stack.enter_async_context(serve(scenario, len(runs)))
        await stack.enter_async_context(_ticking(runs.values()))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        for (candidate, run), endpoints in zip(runs.items(), pairs, strict=True):
            group.create_task(_play_to(candidate, run, endpoints, record))


async def _play_to(
    candidate: Candidate, run: DemoRun, endpoints: Endpoints, record: RecordingOptions | None
) -> None:
    """Play the run's speech to a candidate, in the loop's real time, and record what comes."""
    async with aiohttp.ClientSession() as http:
        target = candidate.make(endpoints.providers(http), record)
        if isinstance(target, ResilientSTT):
            for name in EVENT_NAMES:
                target.on(name, run.take_event)
        elif isinstance(target, stt.FallbackAdapter):
            target.on("stt_availability_changed", run.take_availability)
        try:
            run.played = await play(target, run.speech, patience=_END_TIMEOUT, on_event=run.take)
        finally:
            await target.aclose()


@contextlib.asynccontextmanager
async def _ticking(runs: Iterable[DemoRun]) -> AsyncIterator[None]:
    """Update the position in the speech of all runs, also of those that have ended early."""
    loop = asyncio.get_running_loop()

    async def tick() -> None:
        while True:
            for run in runs:
                run.tick(loop.time())
            await asyncio.sleep(_TICK)

    task = asyncio.create_task(tick())
    try:
        yield
    finally:
        await aio.cancel_and_wait(task)


@contextlib.contextmanager
def _wall_clock_follows_loop() -> Iterator[None]:
    """Make `time.time` and `time.perf_counter` advance with the virtual clock of the loop.

    LiveKit measures its retry budgets with `time.time()`. On the real clock, a handshake that hangs
    for seconds of virtual time would seem instantaneous, and `FallbackAdapter` would fail over
    where in production it does not.
    """
    loop = asyncio.get_running_loop()
    shift = time.time() - loop.time()
    # LiveKit asks whether more time than a timeout has passed. On a virtual clock exactly the
    # timeout has passed. Each reading is 2 us later than the one before, as on a real clock.
    readings = itertools.count()

    def wall_clock() -> float:
        return shift + loop.time() + 2e-6 * next(readings)

    with (
        mock.patch.object(time, "time", wall_clock),
        mock.patch.object(time, "perf_counter", wall_clock),
    ):
        yield
