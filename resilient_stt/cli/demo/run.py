"""One run of one contestant: what was heard, by whom, what happened, and how it scores."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args
from unittest import mock

import aiohttp
from livekit.agents import stt
from livekit.agents.stt import SpeechEventType
from livekit.agents.utils import aio

from ...core.events import Event, OutageEnded, OutageStarted, Switched
from ...runtime import EventName
from ...stt import ResilientSTT
from ...testing.harness.play import Played, play
from ...testing.harness.score import Final, Score, score
from ...testing.speech.reference import ReferenceSpeech
from .scenarios import Scenario
from .servers import Endpoints, in_own_process, in_this_process

PATIENCE = 15.0
"""Seconds after the end of the speech before a contestant that has not ended is left."""

EVENTS: tuple[EventName, ...] = tuple(kind.name for kind in get_args(Event))


@dataclass(frozen=True, slots=True)
class HeardTranscript:
    """A final transcript and the provider that it came from."""

    final: Final
    provider: str
    leg: int


Listener = Callable[["DemoRun", "HeardTranscript | Event"], None]


class DemoRun:
    """What a contestant did so far; shown while it goes on, scored in the end.

    Args:
        speech: That it is played.
        provider: That it starts with.
        listener: Told what happens when it happens.
    """

    def __init__(
        self, speech: ReferenceSpeech, provider: str, listener: Listener | None = None
    ) -> None:
        self.speech = speech
        self.heard: list[HeardTranscript] = []
        self.events: list[Event] = []
        self.interim = ""
        self.first = self.serving = provider
        self.position = 0.0
        self.failovers = 0
        self.played: Played | None = None
        self._listener = listener
        self._leg = 0
        self._begun: float | None = None
        self._scored: tuple[int, Score] | None = None  # by the number of finals: it is shown live

    @property
    def finals(self) -> list[Final]:
        return [heard.final for heard in self.heard]

    @property
    def score(self) -> Score:
        """How the finals so far differ from the whole speech."""
        if self._scored is None or self._scored[0] != len(self.heard):
            self._scored = (len(self.heard), score(self.speech.words, self.finals))
        return self._scored[1]

    @property
    def switches(self) -> int:
        """Changes to another connection that then gave words, or LiveKit's failovers."""
        return len({h.leg for h in self.heard if h.leg}) + self.failovers

    @property
    def outcome(self) -> str:
        """How the stream ended, in a word or two."""
        if self.played is None:
            return "runs"
        if isinstance(self.played.error, TimeoutError):
            return "never ended"
        return "died" if self.played.error else "ended"

    def tick(self, now: float) -> None:
        """Note how far the speech is."""
        if self._begun is None:
            self._begun = now
        self.position = min(now - self._begun, self.speech.duration)

    def take(self, at: float, event: stt.SpeechEvent) -> None:
        """Note what the stream said."""
        if not event.alternatives:
            return
        if event.type is SpeechEventType.INTERIM_TRANSCRIPT:
            self.interim = event.alternatives[0].text
        elif event.type is SpeechEventType.FINAL_TRANSCRIPT and event.alternatives[0].text:
            self.interim = ""
            heard = HeardTranscript(Final.from_event(event, at), self.serving, self._leg)
            self.heard.append(heard)
            self._tell(heard)

    def happened(self, event: Event) -> None:
        """Note an event of ours."""
        self.events.append(event)
        if isinstance(event, Switched | OutageEnded):
            self.serving = event.to_provider if isinstance(event, Switched) else event.provider
            self._leg += 1
            self.interim = ""
        elif isinstance(event, OutageStarted):
            self.interim = ""
        self._tell(event)

    def failed_over(self, event: stt.AvailabilityChangedEvent) -> None:
        """Note an event of LiveKit's adapter."""
        self.failovers += not event.available

    def _tell(self, what: HeardTranscript | Event) -> None:
        if self._listener:
            self._listener(self, what)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that can transcribe with the two providers."""

    key: str
    title: str
    make: Callable[[list[stt.STT[Any]]], stt.STT[Any]]


PLUGIN = Candidate("plugin", "Cartesia plugin", lambda providers: providers[0])
ADAPTER = Candidate("fallback_adapter", "FallbackAdapter", lambda p: stt.FallbackAdapter(p))
OURS = Candidate("resilient", "ResilientSTT", lambda providers: ResilientSTT(providers))
CANDIDATES = (PLUGIN, ADAPTER, OURS)


async def perform(contestant: Candidate, run: DemoRun, endpoints: Endpoints) -> None:
    """Play the run's speech to a contestant in real time of the loop; fills `run`."""
    async with aiohttp.ClientSession() as http:
        target = contestant.make(endpoints.providers(http))
        if isinstance(target, ResilientSTT):
            for name in EVENTS:
                target.on(name, run.happened)
        elif isinstance(target, stt.FallbackAdapter):
            target.on("stt_availability_changed", run.failed_over)
        try:
            run.played = await play(target, run.speech, patience=PATIENCE, on_event=run.take)
        finally:
            await target.aclose()


async def compete(
    scenario: Scenario, runs: Mapping[Candidate, DemoRun], *, virtual: bool = False
) -> None:
    """Let contestants transcribe side by side, each with fake providers of its own.

    Args:
        scenario: The faults of every pair of providers.
        runs: Filled as the contestants go on.
        virtual: The loop's clock is virtual; the providers must then live on it.
    """
    serve = in_this_process if virtual else in_own_process
    async with contextlib.AsyncExitStack() as stack:
        if virtual:
            stack.enter_context(_wall_follows_loop())
        endpoints = await stack.enter_async_context(serve(scenario, len(runs)))
        await stack.enter_async_context(_ticking(runs.values()))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        for (contestant, run), pair in zip(runs.items(), endpoints, strict=True):
            group.create_task(perform(contestant, run, pair))


@contextlib.asynccontextmanager
async def _ticking(runs: Iterable[DemoRun]) -> AsyncIterator[None]:
    """Tell runs how the speech goes on, also those that are over before it is."""
    loop = asyncio.get_running_loop()

    async def tick() -> None:
        while True:
            for run in runs:
                run.tick(loop.time())
            await asyncio.sleep(0.05)

    task = asyncio.create_task(tick())
    try:
        yield
    finally:
        await aio.cancel_and_wait(task)


@contextlib.contextmanager
def _wall_follows_loop() -> Iterator[None]:
    """Let the wall's clock go with the loop's.

    LiveKit's retry budgets and offsets come from `time.time()`. A handshake that hangs on a
    virtual clock would look short to it, and fail over as it never does in truth.
    """
    loop = asyncio.get_running_loop()
    shift = time.time() - loop.time()
    # each reading is a little later than the one before, as on a real clock: LiveKit asks whether
    # more time than the timeout has passed, and here exactly the timeout has
    readings = itertools.count()

    def wall() -> float:
        return shift + loop.time() + 2e-6 * next(readings)

    with mock.patch.object(time, "time", wall), mock.patch.object(time, "perf_counter", wall):
        yield
