"""Live streams in real time: the published plugins, over websockets to another process."""

from __future__ import annotations

import asyncio
import statistics
import sys
from dataclasses import dataclass
from typing import Any

from livekit.agents import stt
from livekit.agents.utils import http_context
from livekit.plugins import cartesia, deepgram

from resilient_stt.errors import StreamClosedError
from resilient_stt.testing import ReferenceSpeech
from resilient_stt.testing.fakes.server import FAKE_KEY
from resilient_stt.testing.harness.logs import no_logging

from .driver import drive
from .rounds import Rounds, alternate
from .servers import Addresses, running
from .subjects import SUBJECTS

CONNECTED = 4.0
"""Seconds in which all streams have connected, before anything is measured."""
TICK = 0.005
"""Seconds that the watcher of the loop sleeps; what it sleeps longer is the loop's lag."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How many streams are open at once, for how many seconds, and how many rounds."""

    streams: tuple[int, ...] = (20, 60, 200)
    seconds: float = 12.0
    rounds: int = 3


@dataclass(frozen=True, slots=True)
class Live:
    """What a number of streams took.

    Attributes:
        cpu: Milliseconds of CPU for each second of one stream's audio.
        lag: The 99th percentile of the loop's lag, in milliseconds.
    """

    cpu: Rounds
    lag: Rounds


def measure(plan: Plan = Plan()) -> dict[int, Live]:
    """Measure every subject, for each number of streams that this machine can serve.

    With more than that the fake servers fall behind, and streams give up.

    Raises:
        Exception: It cannot serve even the fewest, so that something else is wrong.
    """
    found: dict[int, Live] = {}
    with running() as addresses, no_logging():
        for streams in plan.streams:
            try:
                found[streams] = _measure(addresses, streams, plan)
            except (StreamClosedError, RuntimeError) as error:
                if not found:
                    raise
                sys.stderr.write(f"{streams} live streams are too many here: {error}\n")
                break
    return found


def _measure(addresses: Addresses, streams: int, plan: Plan) -> Live:
    lags: dict[str, list[float]] = {subject: [] for subject in SUBJECTS}

    def cpu(subject: str) -> float:
        spent, lag = asyncio.run(_run(subject, addresses, streams, plan.seconds))
        lags[subject].append(lag)
        return spent

    return Live(cpu=alternate([*SUBJECTS], plan.rounds, cpu), lag=Rounds(lags))


async def _run(
    subject: str, addresses: Addresses, streams: int, seconds: float
) -> tuple[float, float]:
    frames = [*ReferenceSpeech.load("english").padded(1.0).frames()][:-1]
    lags: list[float] = []
    watcher = asyncio.create_task(_watch(lags))
    async with http_context.open():
        target = SUBJECTS[subject](_plugins(addresses))
        try:
            driven = await drive(
                target,
                frames,
                streams=streams,
                seconds=seconds,
                warm_up=CONNECTED,
                on_warm=lags.clear,
                on_end=watcher.cancel,
            )
        finally:
            await target.aclose()
    if driven.errors or not driven.finals:
        raise RuntimeError(f"{subject}: {driven.finals} finals, errors: {driven.errors[:3]}")
    return 1e3 * driven.cpu / driven.audio, 1e3 * statistics.quantiles(lags, n=100)[98]


def _plugins(addresses: Addresses) -> list[stt.STT[Any]]:
    return [
        cartesia.STT(model="ink-whisper", api_key=FAKE_KEY, base_url=addresses["cartesia"]),
        deepgram.STT(api_key=FAKE_KEY, base_url=addresses["deepgram"]),
    ]


async def _watch(lags: list[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        until = loop.time() + TICK
        await asyncio.sleep(TICK)
        lags.append(loop.time() - until)
