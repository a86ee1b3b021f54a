"""Measure the seam between two recognizers on words that real ones wrote for the same audio.

Two recognizers that hear the same call disagree: on numbers, compounds, fillers, mumbled words, and
on every time. This program plays what they wrote, cuts the first of two at random moments, and
compares the joint transcript with the best possible one: the first one's words up to a word on
which both agree, and the second one's from there on.

    python benchmarks/seam.py FOLDER [--only "amazon > google"] [--cuts 40] [--show 5]

FOLDER holds JSON files (`*.json` or `*.json.gz`), each with what several recognizers wrote:

* with times: `{"vendor": [["word", start, end], ...], ...}`, in seconds of one recording. Files
  that differ only behind the last hyphen (`earnings21-4344338.json.gz`) are one set.
* without times: `{"vendor": {"clip": "text", ...}, ...}`, one set. The clips are strung together;
  the first vendor's words get times by their letters, the second one's where they agree. The part
  behind the last hyphen is the language (`texts-es.json`).

No such data is part of this repository. Recordings with times: the NIST files of Amazon, Google,
Speechmatics and Rev in https://github.com/revdotcom/speech-datasets, folder `earnings21` (CC BY-SA
4.0). Texts: https://github.com/verliapp/stt-benchmark (MIT).

Calls run in virtual time, without sockets. The same seed gives the same figures.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
import random
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NoReturn, get_args

from livekit import rtc
from livekit.agents import stt
from livekit.agents.stt import SpeechEventType

from resilient_stt import Replayed, ResilientSTT
from resilient_stt.testing.harness.clock import run_virtual
from resilient_stt.testing.harness.logs import no_logging
from resilient_stt.testing.harness.recorded import (
    NOVA,
    RATE,
    TURNS,
    WHISPER,
    Cut,
    RecognizerStyle,
    RecordedSTT,
    RecordedVoice,
    numbered_audio,
)
from resilient_stt.testing.harness.score import Final
from resilient_stt.testing.harness.seam_score import (
    SEAM_BEFORE,
    SeamScore,
    judge_seam,
    tokens,
)
from resilient_stt.testing.harness.word_folder import (
    CALL,
    MIN_WORDS,
    FolderError,
    RecordingSet,
    Timed,
    read_folder,
)

CUT_BETWEEN = (8.0, 30.0)
"""Seconds of the call between which the first recognizer is cut."""
PATIENCE = 20.0
"""Seconds after the end of input within which a stream must end."""
FRAME = 0.05
"""Seconds of a pushed frame."""

CUTS: tuple[Cut, ...] = get_args(Cut)
STYLES: dict[str, tuple[tuple[RecognizerStyle, RecognizerStyle], ...]] = {
    "both": ((WHISPER, NOVA), (NOVA, WHISPER), (NOVA, NOVA)),
    "one": ((TURNS, NOVA), (WHISPER, TURNS)),
}
"""Which of the two recognizers gives times, and how they emit their words, in turn."""
LEAST_EXACT = {"both": 0.98, "one": 0.95}
"""Shares of the cuts that must be exact."""
LONGEST_RUN = 2
"""Words in a row that may be lost or come twice at a cut. A compound, a number or a mumbled word
that the two cut differently costs one or two."""


# --- one call, in a process of its own ---


@dataclass(frozen=True)
class Job:
    """One call: a pair of a set, and how the first of the two is cut.

    Attributes:
        times: Which of the two gives times: a key of `STYLES`.
        number: Of the cut within its row.
        against: `resilient`, or `fallback` for LiveKit's `FallbackAdapter`.
    """

    folder: Path
    set: str
    first: str
    second: str
    times: str
    number: int
    seed: int
    against: str

    @property
    def row(self) -> str:
        """The name of the row that the call belongs to."""
        return f"{self.set} {self.first} > {self.second} ({self.times})"


@dataclass(frozen=True)
class CutResult:
    """The outcome of one call.

    Attributes:
        cut: What happened to the first recognizer, and `at` which second.
        score: How the transcript differs from the best possible one.
        delay: Seconds from the cut to the first final after it that has new words; None if none
            came.
        replayed: Seconds of audio that were sent again.
        error: What the stream raised; empty if it ended.
        finals: The finals as text, for people.
        spoken: What both recognizers wrote around the cut, for people.
    """

    job: Job
    cut: Cut
    at: float
    score: SeamScore
    delay: float | None
    replayed: float
    error: str
    finals: tuple[str, ...]
    spoken: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Whether the transcript is the best possible one."""
        return not self.score.wrong and not self.error


@functools.lru_cache(maxsize=1)
def sets_of(folder: Path) -> dict[str, RecordingSet]:
    """Return the sets of a folder by name; a process reads them once."""
    return {found.name: found for found in read_folder(folder)}


def run_job(job: Job) -> CutResult | None:
    """Play the call of a job. None if the two have no such call in common."""
    dice = random.Random(f"{job.seed} {job.row} {job.number}")
    random.seed(dice.random())  # the waits of outages draw from it
    source = sets_of(job.folder)[job.set]
    drawn = next((c for _ in range(50) if (c := source.call(job.first, job.second, dice))), None)
    if drawn is None:
        return None
    styles = STYLES[job.times][job.number % len(STYLES[job.times])]
    cut, at = CUTS[job.number // len(STYLES[job.times]) % len(CUTS)], dice.uniform(*CUT_BETWEEN)
    first = RecordedSTT("first", drawn[0], styles[0], cut, at)
    second = RecordedSTT("second", drawn[1], styles[1])
    with no_logging():
        played = run_virtual(play_call(first, second, job.against))
    # A recognizer whose connection drops once may go on itself: then all words are its own.
    others = drawn if cut == "drop-once" else drawn[1:]
    scores = (judge_seam(played.words, drawn[0], other, at) for other in others)
    score = min(scores, key=lambda found: found.wrong)
    return CutResult(
        job,
        cut,
        round(at, 2),
        score,
        delay=first_new(played.finals, score, at),
        replayed=played.replayed,
        error=played.error,
        finals=tuple(f"{final.at:6.2f} {final.text}" for final in played.finals),
        spoken=tuple(_around(words, at) for words in drawn),
    )


def first_new(finals: Iterable[Final], score: SeamScore, at: float) -> float | None:
    """Return how long after second `at` the first final came that is not only a repetition."""
    steps = iter(score.emitted)
    for final in finals:
        own = [next(steps) for _ in tokens(final.text)]
        if final.at > at and any(step != "twice" for step in own):
            return final.at - at
    return None


def _around(words: Timed, at: float) -> str:
    near = (f"{w.text}@{w.start:.1f}" for w in words if abs(w.start - at) < SEAM_BEFORE)
    return " ".join(near)


@dataclass
class PlayedCall:
    """What came out of one call.

    Attributes:
        finals: The finals, with the second of the call at which each came.
        replayed: Seconds of audio that were sent again.
        error: What the stream raised.
    """

    finals: list[Final] = field(default_factory=list)
    replayed: float = 0.0
    error: str = ""

    @property
    def words(self) -> list[str]:
        """The tokens of all finals."""
        return [token for final in self.finals for token in tokens(final.text)]


async def play_call(first: RecordedSTT, second: RecordedSTT, against: str) -> PlayedCall:
    """Play a call through an STT over two recognizers, in real time on the loop's clock."""
    played = PlayedCall()

    def note_replay(event: Replayed) -> None:
        played.replayed += event.seconds

    target: stt.STT[Any]
    if against == "fallback":
        target = stt.FallbackAdapter([first, second])
    else:
        voice = functools.partial(RecordedVoice, first.words, second.words)
        target = ResilientSTT([first, second], vad=voice)
        target.on(Replayed.name, note_replay)
    loop = asyncio.get_running_loop()
    stream = target.stream()
    begun = loop.time()

    async def listen() -> None:
        async for event in stream:
            if event.type is SpeechEventType.FINAL_TRANSCRIPT:
                played.finals.append(Final.from_event(event, loop.time() - begun))

    listener = asyncio.create_task(listen())
    samples, size = numbered_audio(CALL), round(FRAME * RATE)
    for start in range(0, len(samples), size):
        piece = samples[start : start + size]
        await asyncio.sleep(begun + (start + len(piece)) / RATE - loop.time())
        if not listener.done():
            stream.push_frame(rtc.AudioFrame(piece.tobytes(), RATE, 1, len(piece)))
    if not listener.done():
        stream.end_input()
    try:
        async with asyncio.timeout(PATIENCE):
            await listener
    except Exception as error:  # a result of the call, not a failure of this program
        played.error = type(error).__name__
    await stream.aclose()
    await target.aclose()
    return played


# --- results ---


@dataclass(frozen=True)
class RowFigures:
    """The figures of some cuts.

    Attributes:
        name: Of the row.
        times: A key of `STYLES`; empty for a total of both.
    """

    name: str
    times: str
    results: Sequence[CutResult]

    def delay(self, percent: int) -> float | None:
        """A percentile of the delays in seconds; None if no final came after a cut."""
        delays = sorted(r.delay for r in self.results if r.delay is not None)
        if not delays:
            return None
        if len(delays) == 1:
            return delays[0]
        return statistics.quantiles(delays, n=100, method="inclusive")[percent - 1]

    @property
    def kept(self) -> bool:
        """Whether enough of the cuts are exact, and no run of words is lost or repeated."""
        exact = sum(r.exact for r in self.results)
        short = all(r.score.longest_run <= LONGEST_RUN and not r.error for r in self.results)
        return short and exact >= LEAST_EXACT[self.times] * len(self.results)

    def as_json(self) -> dict[str, Any]:
        """The figures by name."""
        return {
            "row": self.name,
            "times": self.times,
            "cuts": len(self.results),
            "exact": sum(r.exact for r in self.results),
            "lost": sum(r.score.lost for r in self.results),
            "twice": sum(r.score.twice for r in self.results),
            "changed": sum(r.score.changed for r in self.results),
            "longest_run": max((r.score.longest_run for r in self.results), default=0),
            "errors": sum(bool(r.error) for r in self.results),
            "delay_p50_s": _rounded(self.delay(50)),
            "delay_p95_s": _rounded(self.delay(95)),
            "replayed_s": round(sum(r.replayed for r in self.results), 1),
        }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)


def by_row(results: Iterable[CutResult]) -> list[RowFigures]:
    """Group cuts by set, pair and times; a pair is cut in both kinds of styles."""
    groups: dict[tuple[str, str], list[CutResult]] = {}
    for result in results:
        job = result.job
        groups.setdefault((f"{job.set} {job.first} > {job.second}", job.times), []).append(result)
    return [RowFigures(name, times, found) for (name, times), found in groups.items()]


def by_set(results: Iterable[CutResult]) -> list[RowFigures]:
    """Group cuts by set and times."""
    groups: dict[tuple[str, str], list[CutResult]] = {}
    for result in results:
        groups.setdefault((result.job.set, result.job.times), []).append(result)
    return [RowFigures(name, times, found) for (name, times), found in groups.items()]


_COLUMNS = {
    "row": "set and pair",
    "times": "times",
    "cuts": "cuts",
    "exact": "exact",
    "lost": "lost",
    "twice": "twice",
    "changed": "changed",
    "longest_run": "longest run",
    "delay_p50_s": "delay p50 s",
    "delay_p95_s": "p95 s",
    "replayed_s": "replayed s",
}


def table(rows: Iterable[RowFigures]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield f"| {' | '.join(_COLUMNS.values())} |"
    yield "|---" * 2 + "|--:" * (len(_COLUMNS) - 2) + "|"
    for row in rows:
        figures = row.as_json()
        yield f"| {' | '.join(str(figures[name]) for name in _COLUMNS)} |"


def worst(results: Iterable[CutResult], count: int) -> Iterator[str]:
    """Yield the texts of the worst cuts."""
    bad = sorted((r for r in results if not r.exact), key=lambda r: -r.score.wrong)
    for result in bad[:count]:
        score = result.score
        yield ""
        yield (
            f"{result.job.row}, cut {result.job.number}: {result.cut} at {result.at} s; "
            f"{score.lost} lost, {score.twice} twice, {score.changed} changed {result.error}"
        )
        yield from (f"  {name}: {words}" for name, words in zip("12", result.spoken, strict=True))
        yield from (f"  {final}" for final in result.finals)


# --- the command ---


class Parser(argparse.ArgumentParser):
    """Prints errors as one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def parser() -> Parser:
    """Return the parser of the command line."""
    about, _, rest = (__doc__ or "").partition("\n\n")
    made = Parser(
        description=about, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("folder", type=Path, metavar="FOLDER", help="the recognizers' words")
    made.add_argument(
        "--only",
        action="append",
        metavar="TEXT",
        help='play only rows whose "SET FIRST > SECOND" contains this; may be repeated',
    )
    made.add_argument("--times", choices=[*STYLES], help="both give times, or one of them")
    made.add_argument("--cuts", type=int, default=20, help="cuts of each row (20)")
    made.add_argument("--seed", type=int, default=0, help="seed of the calls and moments (0)")
    made.add_argument(
        "--against",
        choices=["resilient", "fallback"],
        default="resilient",
        help="ResilientSTT, or LiveKit's FallbackAdapter",
    )
    made.add_argument("--show", type=int, default=0, metavar="N", help="print the worst N cuts")
    made.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    made.add_argument("--json", action="store_true", help="print one JSON object, nothing else")
    return made


def jobs_of(given: argparse.Namespace) -> list[Job]:
    """Return the calls that were asked for.

    Raises:
        FolderError: The folder cannot be played, or has no such row.
    """
    if given.cuts < 1 or given.jobs < 1:
        raise FolderError("--cuts and --jobs must be at least 1")
    rows = [
        (found.name, first, second)
        for found in sets_of(given.folder).values()
        for first, second in found.pairs
    ]
    wanted = [
        row
        for row in rows
        if not given.only or any(part in f"{row[0]} {row[1]} > {row[2]}" for part in given.only)
    ]
    if not wanted:
        known = ", ".join(f'"{name} {first} > {second}"' for name, first, second in rows[:8])
        raise FolderError(f"no row contains {' or '.join(given.only)}; there are {known} ...")
    return [
        Job(given.folder, *row, times, number, given.seed, given.against)
        for row in wanted
        for times in ([given.times] if given.times else STYLES)
        for number in range(given.cuts)
    ]


def run_jobs(jobs: Sequence[Job], processes: int) -> list[CutResult]:
    """Play the calls; pairs that have none in common are left out."""
    if processes == 1:
        return [result for result in map(run_job, jobs) if result]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return [result for result in pool.map(run_job, jobs, chunksize=5) if result]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Return 1 if too many cuts are not exact, 2 for a mistake."""
    made = parser()
    given = made.parse_args(arguments)
    try:
        results = run_jobs(jobs_of(given), given.jobs)
        if not results:
            raise FolderError(
                f"no two vendors in {given.folder} have {MIN_WORDS} words of one call in common"
            )
    except FolderError as error:
        made.error(str(error))
    totals = by_set(results)
    kept = all(total.kept for total in totals)
    if given.json:
        content = {
            "seed": given.seed,
            "against": given.against,
            "kept": kept,
            "sets": [total.as_json() for total in totals],
            "rows": [row.as_json() for row in by_row(results)],
        }
        sys.stdout.write(json.dumps(content) + "\n")
        return 0 if kept else 1
    sys.stdout.writelines(f"{line}\n" for line in table([*by_row(results), *totals]))
    sys.stdout.writelines(f"{line}\n" for line in worst(results, given.show))
    exact = sum(result.exact for result in results)
    verdict = "the promise is kept" if kept else "the promise is broken"
    sys.stdout.write(f"\n{exact} of {len(results)} cuts are exact: {verdict}\n")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
