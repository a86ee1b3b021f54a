"""The bill: the audio that providers were sent, in multiples of what callers pushed."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from multiprocessing import get_context

from livekit.agents.metrics import STTMetrics
from livekit.agents.utils import http_context

from resilient_stt import HedgeFinished, UsageMetadata
from resilient_stt.testing import (
    Drop,
    FakeCartesia,
    FakeDeepgram,
    Fault,
    ReferenceSpeech,
    Refuse,
    babble,
    coughs,
    join,
    music,
    play,
    run_virtual,
    silence,
)
from resilient_stt.testing.harness.logs import no_logging
from resilient_stt.testing.harness.trial import WHISPER

SETTLED = 3.0
"""Seconds after which the plugins have reported all audio: they do so every few seconds."""
BURST, BURSTS = 5.0, 7
"""Seconds of babble between two sentences, and how often, in the noisy café."""
PAUSE = 1.0
"""Seconds of silence around a noise."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is played, and what goes wrong.

    Attributes:
        speech: Makes what is played.
        first, second: The faults of the primary provider and of the fallback.
    """

    speech: Callable[[], ReferenceSpeech]
    first: tuple[Fault, ...] = ()
    second: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class Bill:
    """What a scenario cost.

    Attributes:
        pushed: Seconds of audio that the caller pushed.
        sent: Seconds of audio that a provider was sent, by provider and by the role of its
            connection, as plugins report it.
        received: Seconds of audio that each server received, connections of all roles together.
        hedges: Second opinions that were asked for.
        lost, repeated: Numbers of words.
    """

    pushed: float
    sent: dict[str, dict[str, float]]
    received: dict[str, float]
    hedges: int
    lost: int
    repeated: int

    @property
    def shares(self) -> dict[str, float]:
        """What each provider received in each role, in multiples of what was pushed.

        Plugins report their audio every few seconds, so what connections received that broke off
        before is `unreported`.
        """
        found = {}
        for provider, roles in self.sent.items():
            rest = self.received[provider] - sum(roles.values())
            for role, seconds in {**roles, "unreported": rest}.items():
                found[f"{provider} {role}"] = seconds / self.pushed
        return found

    @property
    def factor(self) -> float:
        """All audio that servers received, in multiples of what was pushed."""
        return sum(self.received.values()) / self.pushed


def _thrice() -> ReferenceSpeech:
    english = ReferenceSpeech.load("english")
    return join(english, silence(PAUSE), english, silence(PAUSE), english).padded(PAUSE)


def _cafe() -> ReferenceSpeech:
    english = ReferenceSpeech.load("english")
    parts = [english.excerpt(0, 0)]
    for number in range(BURSTS):
        parts += [silence(PAUSE, seed=number), babble(BURST, seed=number), silence(PAUSE, seed=99)]
        parts.append(english.excerpt(number + 1, number + 1))
    return join(*parts).padded(PAUSE)


def _between(noise: Callable[[float], ReferenceSpeech], seconds: float) -> ReferenceSpeech:
    english = ReferenceSpeech.load("english")
    before, after = english.excerpt(0, 1), english.excerpt(2, 3)
    return join(before, silence(PAUSE), noise(seconds), silence(PAUSE), after).padded(PAUSE)


def _down(since: float, until: float) -> tuple[Fault, ...]:
    return Drop(at_time=since), Refuse(at_time=since, until=until)


SCENARIOS = {
    "healthy": Scenario(_thrice),
    "noisy café": Scenario(_cafe),
    "hold music, 5 min": Scenario(lambda: _between(music, 300.0)),
    "coughs, 1 min": Scenario(lambda: _between(coughs, 60.0)),
    "outage of 6 s": Scenario(_thrice, _down(4.0, 10.0), _down(4.0, 10.0)),
    "flapping primary": Scenario(_thrice, (Drop(at_audio=3.0),)),
}


def measure(processes: int = 2) -> dict[str, Bill]:
    """Run every scenario in virtual time."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return dict(zip(SCENARIOS, pool.map(bill_of, SCENARIOS), strict=True))


def bill_of(name: str) -> Bill:
    """Run one scenario, over the real plugins and the kit's servers."""
    random.seed(0)
    with no_logging():
        return run_virtual(_run(SCENARIOS[name]))


async def _run(scenario: Scenario) -> Bill:
    speech, corpus = scenario.speech(), [ReferenceSpeech.load("english")]
    servers = {
        "cartesia": FakeCartesia(faults=scenario.first, corpus=corpus),
        "deepgram": FakeDeepgram(faults=scenario.second, corpus=corpus),
    }
    sent: dict[str, defaultdict[str, float]] = {name: defaultdict(float) for name in servers}
    hedges: list[HedgeFinished] = []

    def note(metrics: object) -> None:
        if isinstance(metrics, STTMetrics) and isinstance(metrics.metadata, UsageMetadata):
            labels = metrics.metadata
            sent[labels.provider][labels.role] += metrics.audio_duration

    async with AsyncExitStack() as stack:
        for server in servers.values():
            await stack.enter_async_context(server)
        await stack.enter_async_context(http_context.open())
        target = WHISPER.stt(servers, None)
        target.on("metrics_collected", note)
        target.on("hedge_finished", hedges.append)
        played = await play(target, speech)
        await asyncio.sleep(SETTLED)
        await target.aclose()
    return Bill(
        pushed=speech.duration,
        sent={name: dict(roles) for name, roles in sent.items()},
        received={n: sum(c.audio for c in s.connections) for n, s in servers.items()},
        hedges=len(hedges),
        lost=played.score.lost,
        repeated=played.score.twice,
    )
