"""CPU of a frame of 20 ms, in this process: many streams in virtual time, over a provider that
costs next to nothing.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from resilient_stt.livekit.compat import VAD, VAD_WINDOW_SAMPLES
from resilient_stt.testing.harness.clock import VirtualTimeLoop, wall_clock_follows
from resilient_stt.testing.harness.logs import no_logging

from .driver import WARM_UP, Driven, drive
from .rehearsed import FRAME, FRAMES_PER_SECOND, Rehearsal, RehearsedSTT, of_speech
from .rounds import Rounds, alternate
from .subjects import OURS, SUBJECTS

T = TypeVar("T")
MODEL = "the VAD's model alone"
FALLBACK = "ours, on the fallback"


@dataclass(frozen=True, slots=True)
class Size:
    """How many streams, how many seconds of audio for each, and how many rounds."""

    streams: int = 100
    seconds: float = 25.0
    rounds: int = 3


def measure(size: Size = Size()) -> Rounds:
    """Measure the microseconds of CPU for each frame, of every subject and of the VAD's model."""
    measured = [*SUBJECTS, FALLBACK, MODEL]
    return alternate(measured, size.rounds, functools.partial(_cpu_of_a_frame, size=size))


def _cpu_of_a_frame(subject: str, size: Size) -> float:
    if subject == MODEL:
        return _model()
    is_down = subject == FALLBACK
    driven = run(
        OURS if is_down else subject,
        of_speech(),
        streams=size.streams,
        seconds=size.seconds,
        primary_works=not is_down,
    )
    return 1e6 * driven.cpu / (driven.audio * FRAMES_PER_SECOND)


def run(
    subject: str,
    rehearsal: Rehearsal,
    *,
    streams: int,
    seconds: float,
    providers: int = 2,
    warm_up: float = WARM_UP,
    phases: int | None = None,
    primary_works: bool = True,
) -> Driven:
    """Let streams of a subject hear a rehearsal in virtual time; measure them after the warm-up.

    Raises:
        RuntimeError: It gave other finals than the provider did, so the figures mean nothing.
    """

    async def go() -> Driven:
        made = [
            RehearsedSTT(f"provider-{n}", rehearsal, works=primary_works or n > 0)
            for n in range(providers)
        ]
        target = SUBJECTS[subject](made)
        try:
            return await drive(
                target,
                rehearsal.frames,
                streams=streams,
                seconds=seconds,
                warm_up=warm_up,
                phases=phases,
            )
        finally:
            await target.aclose()

    driven = in_virtual_time(go())
    expected = streams * rehearsal.finals(warm_up + seconds)
    if driven.errors or driven.finals != expected:
        raise RuntimeError(
            f"{subject}: {driven.finals} finals instead of {expected}, errors: {driven.errors[:3]}"
        )
    return driven


def in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time, without the wait for traffic: there is none.

    Real time would not pass at the pace of the audio, and streams would note that of every frame.
    """

    async def on_one_clock() -> T:
        with wall_clock_follows(asyncio.get_running_loop()):
            return await main

    loop_factory = functools.partial(VirtualTimeLoop, settle=0.0)
    with no_logging(), asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(on_one_clock())


def _model() -> float:
    """The microseconds of CPU that the model takes for each 20 ms of audio."""
    samples = np.concatenate([np.frombuffer(f.data, np.int16) for f in of_speech().frames])
    samples = samples[: len(samples) // VAD_WINDOW_SAMPLES * VAD_WINDOW_SAMPLES]
    model, begun = VAD(), time.process_time()
    for window in samples.reshape(-1, VAD_WINDOW_SAMPLES):
        model.predict(window)
    return 1e6 * (time.process_time() - begun) * FRAME / len(samples)
