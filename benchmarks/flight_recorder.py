"""What the flight recorder costs: CPU of the process, and how late the event loop comes.

Run `python benchmarks/flight_recorder.py` from a checkout with the package installed. Some streams
run in real time, with LiveKit's Cartesia plugin and local voice activity, against a fake server in
another process: first all without a recorder, then all with one, and so on.

The recorder works in two places. Its thread is measured as what other threads than that of the
event loop take, with and without a recorder. What it takes of the event loop is too little to be
seen there on a busy machine, so it is measured alone, for the frames of ten minutes. The exit
status is 1 if both together are more than 5 % of the CPU of a stream.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections import deque
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from livekit import rtc

from resilient_stt import ResilientSTT
from resilient_stt.cli.demo.fake_servers import in_own_process
from resilient_stt.cli.demo.scenarios import scenario_named
from resilient_stt.fleet import MemoryHealth
from resilient_stt.livekit.frames import FrameStore
from resilient_stt.recording.stream_recorder import Note, StreamRecorder
from resilient_stt.testing.harness.logs import no_logging
from resilient_stt.testing.harness.play import play
from resilient_stt.testing.speech.reference import ReferenceSpeech

MOST = 0.05
"""The share of a stream's CPU that the recorder may take."""
RATE, SAMPLES = 16000, 320
"""Frames of 20 ms."""
TICK = 0.005
"""Seconds between two looks at how late the loop comes."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took, to the last page.

    `cpu`: seconds of CPU for a second of one stream. `others`: what of it was not the thread of
    the event loop. `late`: the latest that the loop came, in seconds, and in 99 of 100 looks.
    """

    cpu: float
    others: float
    late: tuple[float, float]

    @property
    def told(self) -> str:
        """The figures in a line, in milliseconds."""
        worst, p99 = self.late
        return (
            f"{self.cpu * 1e3:.2f} ms of CPU for a second of a stream, {self.others * 1e3:.2f} ms "
            f"of it beside the loop, which was at most {worst * 1e3:.0f} ms late, p99 "
            f"{p99 * 1e3:.1f} ms"
        )


async def run(streams: int, speech: ReferenceSpeech, folder: Path | None) -> Cost:
    """Play the speech to all streams at once, in real time."""
    late: list[float] = []
    async with AsyncExitStack() as stack:
        (pair,) = await stack.enter_async_context(in_own_process(scenario_named("none"), 1))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        target = ResilientSTT(
            pair.providers(http)[:1], health=MemoryHealth(isolated=True), record=folder
        )
        watching = asyncio.create_task(watch(late))
        begun = time.process_time(), time.thread_time()
        await asyncio.gather(*(play(target, speech) for _ in range(streams)))
        await target.aclose()  # waits for the pages
        cpu, own = time.process_time() - begun[0], time.thread_time() - begun[1]
        watching.cancel()
    late.sort()
    seconds = streams * speech.duration
    worst = (late[-1], late[int(0.99 * len(late))])
    return Cost(cpu / seconds, (cpu - own) / seconds, worst)


def on_the_loop(seconds: int) -> float:
    """Return the seconds of CPU that a recorder takes of the loop for a second of a stream."""
    frames, notes = FrameStore(), deque[Note]()
    recorder = StreamRecorder(
        notes, lambda start, end: bytes(frames.frame(start, end).data), over=lambda: None
    )
    frame = rtc.AudioFrame(bytes(2 * SAMPLES), RATE, 1, SAMPLES)
    taken = 0.0
    for number in range(seconds * RATE // SAMPLES):
        frames.append(frame)
        begun = time.thread_time_ns()
        recorder.forwarded((0,), SAMPLES, RATE, number * SAMPLES / RATE)
        taken += (time.thread_time_ns() - begun) / 1e9
        frames.release(frames.end - RATE)
    return taken / seconds


async def watch(late: list[float]) -> None:
    """Note how late the loop comes back from each sleep."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + TICK
        await asyncio.sleep(TICK)
        late.append(loop.time() - due)


def main() -> int:
    """Print the cost with and without a recorder; return the exit status."""
    parser = argparse.ArgumentParser(description="Measure what the flight recorder costs.")
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    speech = ReferenceSpeech.load("english").padded(1.0)
    costs: dict[bool, list[Cost]] = {False: [], True: []}
    with no_logging(), tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(options.streams, speech.excerpt(0, 0), Path(folder)))  # imports
        for _ in range(options.rounds):
            for is_recorded, runs in costs.items():
                where = Path(folder) if is_recorded else None
                runs.append(asyncio.run(run(options.streams, speech, where)))
                _print(("recorded: " if is_recorded else "plain:    ") + runs[-1].told)
    loop = on_the_loop(600)
    stream, plain, recorded = (
        statistics.median(values)
        for values in (
            [cost.cpu for cost in costs[False]],
            [cost.others for cost in costs[False]],
            [cost.others for cost in costs[True]],
        )
    )
    thread = recorded - plain
    share = (thread + loop) / stream
    _print(
        f"for a second of a stream, {thread * 1e3:.2f} ms of the recorder's thread and "
        f"{loop * 1e3:.2f} ms of the event loop: {share:.1%} of its {stream * 1e3:.2f} ms"
    )
    return int(share > MOST)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
