"""What the flight recorder costs: CPU of the process, and how late the event loop comes.

Run `python benchmarks/recorder.py` from a checkout with the package installed. Some streams run in
real time, with LiveKit's Cartesia plugin and local voice activity, against a fake server in another
process: first all without a recorder, then all with one, and so on. The exit status is 1 if the
recorder costs more than 5 % of the CPU of the streams.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from resilient_stt import ResilientSTT
from resilient_stt.cli.demo.fake_servers import in_own_process
from resilient_stt.cli.demo.scenarios import scenario_named
from resilient_stt.fleet import MemoryHealth
from resilient_stt.testing.harness.logs import no_logging
from resilient_stt.testing.harness.play import play
from resilient_stt.testing.speech.reference import ReferenceSpeech

MOST = 0.05
"""The share of a stream's CPU that the recorder may take."""
TICK = 0.005
"""Seconds between two looks at how late the loop comes."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took.

    `cpu`: seconds of CPU for a second of one stream. `ending`: seconds of CPU for writing the
    documents and pages of one stream. `late`: the latest that the loop came, in seconds, while the
    streams ran, and in 99 of 100 looks.
    """

    cpu: float
    ending: float
    late: tuple[float, float]

    @property
    def told(self) -> str:
        """The figures in a line, in milliseconds."""
        worst, p99 = self.late
        return (
            f"{self.cpu * 1e3:.2f} ms of CPU for a second of a stream, {self.ending * 1e3:.1f} ms "
            f"at its end; the loop at most {worst * 1e3:.0f} ms late, p99 {p99 * 1e3:.1f} ms"
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
        begun = time.process_time()
        await asyncio.gather(*(play(target, speech) for _ in range(streams)))
        played = time.process_time()
        await target.aclose()  # waits for the pages
        ended = time.process_time()
        watching.cancel()
    late.sort()
    seconds = streams * speech.duration
    worst = (late[-1], late[int(0.99 * len(late))])
    return Cost((played - begun) / seconds, (ended - played) / streams, worst)


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
            for recorded, runs in costs.items():
                where = Path(folder) if recorded else None
                runs.append(asyncio.run(run(options.streams, speech, where)))
                _print(("recorded: " if recorded else "plain:    ") + runs[-1].told)
    plain, with_recorder = (statistics.median(c.cpu for c in runs) for runs in costs.values())
    share = with_recorder / plain - 1
    _print(f"the recorder costs {share:.1%} of the CPU of a stream")
    return int(share > MOST)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
