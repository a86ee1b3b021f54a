"""Measure the local provider on speech of people: all vendors fail for good in mid-sentence.

    python benchmarks/local.py [FILE ...] [--cuts 4] [--seconds 45] [--text FILE] [--json FILE]

The recordings are played in a row, in real time; without FILE, those in Moonshine's wheel that are
speech (`two_cities.wav`). Each run loses both vendors for good at another moment, in the middle of
speech, and is compared with a run in which the local provider serves from the beginning:

* words: the word error rate against the words of that undisturbed run; with the true words
  (`--text`, for `two_cities.wav` those in `two_cities.txt`) that of both runs, and the difference;
* delay: from the end of the voice of each final until it is emitted;
* lag: of the event loop, measured every 5 ms;
* cores: processor time of the process for each second of the call.

The vendors are the same recognizer behind a provider that fails, so a difference is the seam's. The
exit status is 1 if a limit is missed. Other work on the machine disturbs all but the words, so its
load is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import math
import os
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, stt
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, NotGivenOr

from resilient_stt import ResilientSTT, local
from resilient_stt.livekit import compat
from resilient_stt.livekit.vad import BundledDetector
from resilient_stt.testing.harness.in_process import InProcessSTT
from resilient_stt.testing.harness.seam_score import tokens
from resilient_stt.testing.harness.word_errors import word_error_rate
from resilient_stt.testing.speech.reference import SAMPLE_RATE, decoded

TWO_CITIES = Path(__file__).with_name("two_cities.txt")
"""What is read in Moonshine's recording: the beginning of a novel of 1859."""
RATE = SAMPLE_RATE
FRAME = RATE // 50
LIMITS = {"wer_points": 1.0, "delay_p95": 1.5, "lag_p99_ms": 10.0, "cores": 1.0}
LAG_STEP = 0.005


class Vendor(InProcessSTT):
    """The local recognizer as a vendor that is out from a moment on."""

    def __init__(self, name: str, until: float) -> None:
        """`until`: seconds of the call."""
        capabilities = compat.capabilities(streaming=True, interim_results=True)
        super().__init__(name, capabilities, model="vendor")
        self.recognizer = local.STT()
        self.until = until
        self.begun = math.inf
        """When the call began, on the clock of the loop."""

    @property
    def seconds_left(self) -> float:
        return self.begun + self.until - asyncio.get_running_loop().time()

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> VendorStream:
        return VendorStream(self, conn_options)


class VendorStream(stt.RecognizeStream):
    """Passes everything on, and drops when its vendor is out."""

    def __init__(self, vendor: Vendor, conn_options: APIConnectOptions) -> None:
        super().__init__(stt=vendor, conn_options=conn_options)
        self._vendor = vendor

    async def _run(self) -> None:
        try:
            async with asyncio.timeout(max(0.0, self._vendor.seconds_left)):
                async with self._vendor.recognizer.stream() as inner:
                    inner.start_time_offset = self.start_time_offset
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._push(inner))
                        group.create_task(self._pull(inner))
        except TimeoutError:
            raise APIConnectionError("the vendor is out") from None

    async def _push(self, inner: stt.RecognizeStream) -> None:
        async for item in compat.pushed(self):
            if isinstance(item, rtc.AudioFrame):
                inner.push_frame(item)
            else:
                inner.flush()
        inner.end_input()

    async def _pull(self, inner: stt.RecognizeStream) -> None:
        async for event in inner:
            compat.send(self, event)


@dataclass
class Run:
    """A call and what was measured."""

    cut: float | None
    """Second at which the vendors were out; `None` for the undisturbed run."""
    text: str = ""
    delays: list[float] = field(default_factory=list)
    """Seconds from the end of a final's voice until it came."""
    lags: list[float] = field(default_factory=list)
    cores: float = 0.0
    served: list[str] = field(default_factory=list)


def read(paths: Sequence[Path], seconds: float) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Read recordings, with half a second of silence between them."""
    pause = np.zeros(RATE // 2, np.int16)
    parts = [part for path in paths for part in (decoded(str(path)), pause)]
    return np.concatenate(parts)[: round(seconds * RATE)]


def frames_of(samples: np.ndarray[Any, np.dtype[np.int16]]) -> list[rtc.AudioFrame]:
    padded = np.concatenate([samples, np.zeros(RATE + -len(samples) % FRAME, np.int16)])
    return [
        rtc.AudioFrame(padded[at : at + FRAME].tobytes(), RATE, 1, FRAME)
        for at in range(0, len(padded), FRAME)
    ]


def voiced_moments(frames: Sequence[rtc.AudioFrame]) -> list[float]:
    """Seconds of the call at which somebody speaks, and has for a second."""
    detector, since, found = BundledDetector(), None, []
    for number, frame in enumerate(frames):
        for edge in detector.push(frame):
            since = edge.at if edge.started else None
        now = number * FRAME
        if since is not None and detector.pause_start is None and now - since > RATE:
            found.append(now / RATE)
    return found


@asynccontextmanager
async def measured(run: Run) -> AsyncIterator[None]:
    """Measure lag and processor time while the context is open."""

    async def watch() -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_STEP
            await asyncio.sleep(LAG_STEP)
            run.lags.append(loop.time() - due)

    watching = asyncio.create_task(watch())
    began, used = time.monotonic(), time.process_time()
    try:
        yield
    finally:
        run.cores = (time.process_time() - used) / (time.monotonic() - began)
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def play(frames: Sequence[rtc.AudioFrame], cut: float | None) -> Run:
    """Play a call in real time."""
    run = Run(cut)
    vendors = [] if cut is None else [Vendor("vendor", cut), Vendor("other", cut)]
    made = ResilientSTT([*vendors, local.STT()])
    made.on("switched", lambda event: run.served.append(event.to_provider))
    made.prewarm()
    await asyncio.sleep(2)  # a call begins long after the process
    loop = asyncio.get_running_loop()
    finals: list[str] = []
    async with measured(run), made.stream() as stream:
        begun = loop.time()
        for vendor in vendors:
            vendor.begun = begun

        async def push() -> None:
            for number, frame in enumerate(frames, 1):
                await asyncio.sleep(begun + number * FRAME / RATE - loop.time())
                stream.push_frame(frame)
            stream.end_input()

        pushing = asyncio.create_task(push())
        async for event in stream:
            if event.type is stt.SpeechEventType.FINAL_TRANSCRIPT and event.alternatives[0].text:
                data = event.alternatives[0]
                finals.append(data.text)
                run.delays.append(loop.time() - begun - data.end_time)
        await pushing
    await made.aclose()
    run.text = " ".join(finals)
    return run


def rate(true: str, said: str) -> float:
    """The word error rate in points (percent)."""
    return 100 * word_error_rate(true, said)


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else math.nan


def summary(runs: Sequence[Run], text: str) -> dict[str, Any]:
    """The figures of all runs; the first one is undisturbed."""
    whole, *cut = runs
    delays = [delay for run in cut for delay in run.delays]
    lags = [lag for run in runs for lag in run.lags]
    against_itself = [rate(whole.text, run.text) for run in cut]
    figures: dict[str, Any] = {
        "words": len(tokens(whole.text)),
        "runs": len(cut),
        "wer_against_undisturbed": [round(value, 2) for value in against_itself],
        "delay_p50": round(statistics.median(delays), 2),
        "delay_p95": round(percentile(delays, 0.95), 2),
        "delay_max": round(max(delays), 2),
        "delay_max_undisturbed": round(max(whole.delays), 2),
        "lag_p99_ms": round(1000 * percentile(lags, 0.99), 2),
        "lag_max_ms": round(1000 * max(lags), 2),
        "cores_undisturbed": round(whole.cores, 2),
        "cores": round(max(run.cores for run in cut), 2),
        "load": [round(value, 1) for value in os.getloadavg()],
    }
    points = statistics.mean(against_itself)
    if text:
        undisturbed = rate(text, whole.text)
        disturbed = statistics.mean(rate(text, run.text) for run in cut)
        figures["wer_undisturbed"] = round(undisturbed, 2)
        figures["wer_disturbed"] = round(disturbed, 2)
        points = disturbed - undisturbed
    figures["wer_points"] = round(points, 2)
    return figures


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def recordings() -> list[Path]:
    """The speech of a person that is in Moonshine's wheel."""
    library = importlib.import_module("moonshine_voice")
    return [Path(library.get_assets_path()) / "two_cities.wav"]


async def run_all(args: argparse.Namespace) -> int:
    frames = frames_of(read(args.files or recordings(), args.seconds))
    moments = [at for at in voiced_moments(frames) if at < len(frames) * FRAME / RATE - 3]
    draw = random.Random(args.seed)
    cuts = sorted(draw.sample(moments, args.cuts))
    runs = [await play(frames, cut) for cut in [None, *cuts]]
    true_words = args.text or (None if args.files else TWO_CITIES)
    text = true_words.read_text() if true_words else ""
    figures = summary(runs, text)
    for run in runs:
        where = "undisturbed" if run.cut is None else f"cut at {run.cut:.2f} s, then {run.served}"
        say(f"{where}: delay at most {max(run.delays):.2f} s")
        if args.show:
            say(f"    {run.text}")
    say(json.dumps(figures, indent=1))
    if args.json:
        args.json.write_text(json.dumps([figures, *map(asdict, runs)]))
    missed = [name for name, limit in LIMITS.items() if figures[name] > limit]
    for name in missed:
        say(f"missed: {name} is {figures[name]}, the limit {LIMITS[name]}")
    return 1 if missed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--cuts", type=int, default=4, help="runs that lose all vendors")
    parser.add_argument("--seconds", type=float, default=45.0, help="of the recordings")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--text", type=Path, help="a file with the true words")
    parser.add_argument("--json", type=Path, help="where to write all that was measured")
    parser.add_argument("--show", action="store_true", help="print the texts")
    return asyncio.run(run_all(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
