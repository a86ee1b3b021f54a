"""Hold many streams open for an hour of virtual time while their providers fail in turn.

Run `python benchmarks/soak.py` from a checkout with the package installed. Every ten virtual
minutes it prints how many tasks, timers, objects of this package and how much memory there are. The
exit status is 1 if any of them grows after the first ten minutes, if anything is left at the end,
or if a word was lost, repeated or wrong.

The streams are divided among two processes. A stream takes about 0.15 s of a CPU core for each
virtual minute, so the default plan takes a quarter of an hour on two cores.

A few `ResilientSTT` are shared by all streams, as in production. Each caller speaks words with
pauses, and opens a new stream about every minute, as AgentSession does when a turn is cleared. The
providers are scripted and run in the process; the streams and the decisions are the real ones. The
words spoken are compared with the words of the final transcripts.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import math
import os
import random
import re
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args
from weakref import WeakValueDictionary

import numpy as np
from livekit import rtc
from livekit.agents import stt
from livekit.agents.stt import SpeechEventType

from resilient_stt import Event, ResilientSTT
from resilient_stt.testing.harness.clock import VirtualTimeLoop, wall_clock_follows
from resilient_stt.testing.harness.logs import no_logging
from resilient_stt.testing.simulate.schedule import (
    Effect,
    FaultSpec,
    Piece,
    Point,
    ProviderScript,
    Schedule,
)
from resilient_stt.testing.simulate.scripted import RATE, ScriptedStream, ScriptedSTT, SimulatedCall
from resilient_stt.testing.simulate.simulator import _Voice

FRAME = 0.5
"""Seconds of audio in a pushed frame."""
SAMPLE_INTERVAL = 10
"""Virtual minutes between two samples."""
GROWTH_FACTOR, GROWTH_MARGIN, GROWTH_MARGIN_BLOCKS = 1.1, 20, 2000
"""What still counts as flat: this factor and this number more, because streams come and go. Blocks
of memory vary more, and have a margin of their own."""
GROWS_FOR_AN_HOUR = "resilient_stt.core.hedging.budget._Minute"
"""The class that counts the cost of hedges: one object for each minute of the last hour and each
`ResilientSTT`. Their number grows for an hour and then stays the same."""
END_TIMEOUT = 130.0
"""Seconds after the end of input within which a stream must end: two outages of a minute."""
CLOSE_TIMEOUT = 10.0
"""Seconds after closing within which all tasks must have ended; a slow close takes up to five."""
PHASE = 25.0
"""Seconds that each phase of `PHASES` takes; the first follows the last."""
OUTAGE = 4.0
"""Seconds in which all providers are down. It is short, because outages take most of the time of a
run: each attempt is sent the audio to replay, whether it connects or not."""

LONG_STREAMS = 4
"""One of this many callers keeps one stream for the whole hour, as if no turn were ever cleared."""

_VOCABULARY = [a + v + b for a in "bdfgklmnprst" for v in "aeiou" for b in "bdfgk"]
_WORD = re.compile(r"\w+")
_LENGTHS = (0.25, 0.3, 0.4, 0.6)
_GAPS = (0.02, 0.1, 0.2)
_PAUSES = (0.8, 1.5, 3.0, 6.0)
_KINDS = ("dropped", "dropped", "dropped", "connect", "timeout", "429", "500", "503", "bug")
_LOUD_AT: tuple[Point, ...] = (
    "stream",
    "connect",
    "audio",
    "audio",
    "final",
    "after_final",
    "close",
)
_SILENT_AT: tuple[Point, ...] = ("audio", "interim", "final")
_SILENT_EFFECTS: tuple[Effect, ...] = ("half_open", "stall", "stall", "empty_finals")

Trouble = Literal["none", "down", "hangs", "outage", "silent", "slow", "loud"]
PHASES: tuple[tuple[Trouble, Trouble, Trouble], ...] = (
    ("none", "none", "none"),
    ("down", "none", "none"),
    ("silent", "none", "none"),
    ("slow", "none", "none"),
    ("none", "none", "none"),
    ("hangs", "down", "none"),
    ("none", "silent", "none"),
    ("loud", "loud", "loud"),
    ("outage", "outage", "outage"),
    ("none", "hangs", "none"),
    ("silent", "none", "none"),
    ("hangs", "slow", "none"),
)
"""The trouble of each of the three providers, phase by phase.

At most one provider is silent at a time, and the others work then: `ResilientSTT` promises no more.
The phases together divide the time between two samples, so that samples of the same trouble are
compared."""


@dataclass(frozen=True)
class Plan:
    """The size of a run.

    Attributes:
        streams: Number of streams that are open at the same time.
        stts: Number of `ResilientSTT` that they share; each has three providers of its own.
        minutes: Virtual minutes.
        sampled: Virtual minutes between two samples.
        seed: Seed of speech, troubles and waits.
    """

    streams: int = 100
    stts: int = 2
    minutes: float = 60.0
    sampled: float = SAMPLE_INTERVAL
    seed: int = 0


@dataclass(frozen=True)
class Sample:
    """What exists at one moment.

    Attributes:
        minutes: Virtual minutes since the start.
        wall: Real seconds since the start.
        rss: Resident memory of the process, in bytes.
        blocks: Blocks of memory that Python has allocated since the start.
        ours: Number of objects by type, for the types of this package. Those of its testing
            package are not counted, because the simulated recognizers hold more or fewer of them
            depending on what is spoken.
    """

    minutes: float
    wall: float
    rss: int
    blocks: int
    tasks: int
    timers: int
    streams: int
    connections: int
    ours: Counter[str]


@dataclass
class Soak:
    """The results of a run.

    Attributes:
        turns: Number of streams that were opened and closed.
        spoken: Number of words spoken in the streams that were closed.
        wrong: Words that were lost, repeated or wrong, each with the second of the run.
        errors: How often streams raised each type of exception.
        events: How often there was an event of each name.
        left: The names of the tasks that are left at the end.
        crashes: Messages of errors that reached the event loop.
    """

    samples: list[Sample] = field(default_factory=list)
    turns: int = 0
    spoken: int = 0
    wrong: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)


def soak(plan: Plan, on_sample: Callable[[Sample], None] = lambda _: None) -> Soak:
    """Run a plan to its end; `on_sample` is called with each sample as it is taken."""
    random.seed(plan.seed)  # for the random waits of retries and breakers
    runner = asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(settle=0.0))
    with no_logging(), runner:
        return runner.run(_run(plan, on_sample))


async def _run(plan: Plan, on_sample: Callable[[Sample], None]) -> Soak:
    with wall_clock_follows(asyncio.get_running_loop()):
        return await _SoakRun(plan, on_sample).run()


# -- the speech


class _Speech:
    """The endless speech of a caller: sentences of a few words, and pauses between them.

    Attributes:
        spoken: Number of words spoken to their end.
        pending: Words spoken to their end that are not in a final transcript yet.
    """

    def __init__(self, call: SimulatedCall, seed: str) -> None:
        self._call = call
        self._runs = self._draw(random.Random(seed))
        self._value, self._left = 0, 0
        self.spoken = 0
        self.pending: deque[str] = deque()

    def next_frame(self) -> rtc.AudioFrame:
        """Speak on for one frame."""
        samples = np.zeros(round(FRAME * RATE), np.int16)
        at = 0
        while at < len(samples):
            if not self._left:
                self._value, self._left = next(self._runs)
            count = min(self._left, len(samples) - at)
            samples[at : at + count] = self._value
            at, self._left = at + count, self._left - count
            if self._value and not self._left:
                self.spoken += 1
                self.pending.append(self._call.texts[self._value])
        return rtc.AudioFrame(samples.tobytes(), RATE, 1, len(samples))

    @property
    def pausing(self) -> bool:
        """Whether the speech is between two words."""
        return not (self._value and self._left)

    def take(self, word: str) -> bool:
        """Take a transcribed word. Return whether it is the next of the words spoken."""
        return bool(self.pending) and self.pending.popleft() == word

    def _draw(self, dice: random.Random) -> Iterator[tuple[int, int]]:
        """Yield the number of the word (0 for silence) and the samples of each stretch of audio."""
        while True:
            yield 0, round(dice.choice(_PAUSES) * RATE)
            for _ in range(dice.randint(2, 8)):
                value = dice.randint(1, len(self._call.lengths))
                yield value, self._call.lengths[value]
                yield 0, round(dice.choice(_GAPS) * RATE)


def _dictionary(seed: int) -> Schedule:
    """Return the words that callers may speak, and the length of each."""
    lengths = itertools.cycle(_LENGTHS)
    pieces = tuple(Piece(word, 0.0, length) for word, length in zip(_VOCABULARY, lengths))  # noqa: B905
    return Schedule(pieces=pieces, scripts=(), seed=seed)


# -- the troubles


class _Provider(ScriptedSTT):
    """A scripted provider whose trouble changes from phase to phase."""

    def __init__(self, name: str, script: ProviderScript, call: SimulatedCall, seed: int) -> None:
        super().__init__(name, script, call)
        self._healthy = script
        self._dice = random.Random(f"{seed} {name}")
        self._draw_fault: Callable[[], FaultSpec | None] = lambda: None
        self._opened = 0
        self._open: WeakValueDictionary[int, ScriptedStream] = WeakValueDictionary()

    def set_trouble(self, trouble: Trouble) -> None:
        """Set the trouble of the open connections and of those that are opened from now on."""
        script, now = self._healthy, self.call.now
        self.script = {
            "down": replace(script, down=((now, now + PHASE),)),
            "hangs": replace(script, down=((now, now + PHASE),), hangs=True),
            "outage": replace(script, down=((now, now + OUTAGE),)),
            "slow": replace(script, latency=2.5),
        }.get(trouble, script)
        self._draw_fault = {"silent": self._silent, "loud": self._loud}.get(trouble, lambda: None)
        for number in sorted(self._open):
            stream = self._open.get(number)
            if stream is None or stream._task.done() or not stream._busy:
                continue  # it has ended, or is not connected yet
            if self.script.down:
                stream._fail("dropped")
            stream._fault = self._draw_fault()

    def stream(self, **options: Any) -> ScriptedStream:
        self._faults = iter([self._draw_fault()])
        stream = super().stream(**options)
        self._opened += 1
        self._open[self._opened] = stream
        return stream

    def _silent(self) -> FaultSpec:
        """Draw a fault after which the connection stays open and emits no text."""
        dice = self._dice
        effect = dice.choice(_SILENT_EFFECTS)
        at: Point = "final" if effect == "empty_finals" else dice.choice(_SILENT_AT)
        return FaultSpec(at, effect, seconds=dice.choice((2.0, 5.0, 1000.0)))

    def _loud(self) -> FaultSpec | None:
        """Draw a fault that ends the connection or is slow to close it; half the time, none."""
        dice = self._dice
        at = dice.choice(_LOUD_AT)
        if at == "close":
            return FaultSpec(at, "slow_close", seconds=dice.choice((0.1, 1.0, 5.0)))
        after = dice.uniform(0, 10) if at == "audio" else dice.choice((0, 1, 2))
        effect: Effect = dice.choice(("drop", "end_cleanly")) if at == "audio" else "drop"
        fault = FaultSpec(at, effect, after=after, kind=dice.choice(_KINDS))
        return fault if dice.random() < 0.5 else None


# -- the run


class _SoakRun:
    """All callers of one run, on one event loop."""

    def __init__(self, plan: Plan, on_sample: Callable[[Sample], None]) -> None:
        self._plan = plan
        self._on_sample = on_sample
        self._results = Soak()
        self._call = SimulatedCall(_dictionary(plan.seed))
        # The call would keep every stream ever opened, which is right for one short call only.
        self._call.streams = _CountingList()
        self._open_streams = 0
        self._began = time.perf_counter()
        gc.collect()
        self._blocks = sys.getallocatedblocks()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, c: self._results.crashes.append(str(c.get("message"))))

    async def run(self) -> Soak:
        groups = [self._providers(n) for n in range(self._plan.stts)]
        made = [ResilientSTT(group, vad=_Voice) for group in groups]
        for one in made:
            for kind in get_args(Event):
                one.on(kind.name, self._count_event)
        work = [asyncio.create_task(self._change_troubles(group)) for group in groups]
        work += [
            asyncio.create_task(self._caller(n, made[n % len(made)]))
            for n in range(self._plan.streams)
        ]
        await self._take_samples()
        for task in work:
            task.cancel()
        for ended in await asyncio.gather(*work, return_exceptions=True):
            if not isinstance(ended, asyncio.CancelledError):
                self._results.crashes.append(repr(ended))
        for one in made:
            await one.aclose()
        await asyncio.sleep(CLOSE_TIMEOUT)
        current = asyncio.current_task()
        self._results.left = [t.get_name() for t in asyncio.all_tasks() if t is not current]
        return self._results

    def _providers(self, number: int) -> list[_Provider]:
        scripts = (
            ProviderScript(endpointing=0.3, latency=0.2),
            ProviderScript(endpointing=0.5, latency=0.3, interim_results=False),
            ProviderScript(endpointing=0.3, latency=0.1, max_words=4),
        )
        seed = self._plan.seed
        return [_Provider(f"{number}-{n}", s, self._call, seed) for n, s in enumerate(scripts)]

    async def _change_troubles(self, providers: list[_Provider]) -> None:
        for phase in itertools.cycle(PHASES):
            for provider, trouble in zip(providers, phase, strict=True):
                provider.set_trouble(trouble)
            await asyncio.sleep(PHASE)

    async def _take_samples(self) -> None:
        for _ in range(round(self._plan.minutes / self._plan.sampled)):
            await asyncio.sleep(self._plan.sampled * 60)
            sample = self._sample()
            self._results.samples.append(sample)
            self._on_sample(sample)

    def _sample(self) -> Sample:
        gc.collect()
        ours = Counter(
            f"{type(o).__module__}.{type(o).__qualname__}"
            for o in gc.get_objects()
            if str(type(o).__module__).startswith("resilient_stt.")
            and not str(type(o).__module__).startswith("resilient_stt.testing.")
        )
        loop: Any = asyncio.get_running_loop()
        return Sample(
            minutes=self._call.now / 60,
            wall=time.perf_counter() - self._began,
            rss=int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
            blocks=sys.getallocatedblocks() - self._blocks,
            tasks=len(asyncio.all_tasks()),
            timers=len(loop._scheduled),
            streams=self._open_streams,
            connections=ours["resilient_stt.livekit.provider_connection.ProviderConnection"],
            ours=ours,
        )

    def _count_event(self, event: Event) -> None:
        self._results.events[event.name] += 1

    # -- one caller

    async def _caller(self, number: int, made: ResilientSTT) -> None:
        """Speak one turn after the other, each on a stream of its own."""
        dice = random.Random(f"{self._plan.seed} caller {number}")
        await asyncio.sleep(dice.uniform(0, 5))  # so that the callers are not in step
        for turn in itertools.count():
            speech = _Speech(self._call, f"{self._plan.seed} {number} {turn}")
            ends_input = dice.random() < 0.5
            seconds = math.inf if number % LONG_STREAMS == 0 else dice.uniform(10, 110)
            await self._turn(made, speech, seconds, ends_input)
            self._results.turns += 1

    async def _turn(
        self, made: ResilientSTT, speech: _Speech, seconds: float, ends_input: bool
    ) -> None:
        """Speak for `seconds`; then end the input and wait for the end, or close the stream."""
        async with made.stream() as stream:
            self._open_streams += 1
            listener = asyncio.create_task(self._listen(stream, speech), name="listener")
            try:
                await self._speak(stream, speech, seconds, listener)
                if ends_input and not listener.done():
                    stream.end_input()
                    await asyncio.wait([listener], timeout=END_TIMEOUT)
            finally:
                self._open_streams -= 1
                ended = listener.done()
                listener.cancel()
        if ends_input and not ended:
            self._results.errors["does not end"] += 1
        elif ends_input and speech.pending:
            self._results.wrong.append(f"{self._call.now:.0f} s: lost {' '.join(speech.pending)}")
        self._results.spoken += speech.spoken

    async def _speak(
        self,
        stream: stt.RecognizeStream,
        speech: _Speech,
        seconds: float,
        listener: asyncio.Task[None],
    ) -> None:
        """Push audio in real time until the first pause after `seconds`."""
        loop = asyncio.get_running_loop()
        begun, pushed = loop.time(), 0.0
        while pushed < seconds or not speech.pausing:
            pushed += FRAME
            await asyncio.sleep(begun + pushed - loop.time())
            if listener.done():
                return
            stream.push_frame(speech.next_frame())

    async def _listen(self, stream: stt.RecognizeStream, speech: _Speech) -> None:
        try:
            async for event in stream:
                if event.type is SpeechEventType.FINAL_TRANSCRIPT:
                    for word in _WORD.findall(event.alternatives[0].text.lower()):
                        if not speech.take(word):
                            self._results.wrong.append(f"{self._call.now:.0f} s: wrong {word}")
        except Exception as error:  # a result of the run, not a failure of it
            self._results.errors[type(error).__name__] += 1


class _CountingList(list[ScriptedStream]):
    """A list that counts what is appended, and keeps none of it."""

    def __init__(self) -> None:
        super().__init__()
        self._length = 0

    def append(self, _: ScriptedStream) -> None:
        self._length += 1

    def __len__(self) -> int:
        return self._length


# -- the results


def grown(samples: Sequence[Sample]) -> list[str]:
    """Return what there is more of in the last third of the samples than in the first.

    The samples of a third are averaged, because a single sample depends on how many connections
    happen to be open.
    """
    third = max(1, len(samples) // 3)
    first, last = _means(samples[:third]), _means(samples[-third:])
    lines = []
    for name in sorted((first | last).keys() - {GROWS_FOR_AN_HOUR}):
        margin = GROWTH_MARGIN_BLOCKS if name == "blocks" else GROWTH_MARGIN
        if last[name] > first[name] * GROWTH_FACTOR + margin:
            lines.append(f"{name}: {first[name]} -> {last[name]}")
    return lines


def _means(samples: Sequence[Sample]) -> Counter[str]:
    total: Counter[str] = Counter()
    for sample in samples:
        total.update(sample.ours)
        total.update(tasks=sample.tasks, timers=sample.timers, blocks=sample.blocks)
    return Counter({name: round(count / len(samples)) for name, count in total.items()})


def problems(results: Soak) -> list[str]:
    """Return everything that is wrong, a line for each."""
    lines = [f"words: {words}" for words in results.wrong]
    lines += [f"streams raised {name} {count} times" for name, count in results.errors.items()]
    lines += [f"error in the event loop: {message}" for message in results.crashes]
    lines += [f"task left: {name}" for name in results.left]
    return lines + [f"grown: {line}" for line in grown(results.samples)]


def _line(sample: Sample) -> str:
    ours = sum(sample.ours.values())
    return (
        f"{sample.minutes:7.1f} {sample.wall:8.0f} {sample.rss / 2**20:8.1f} {sample.blocks:9d} "
        f"{ours:9d} {sample.tasks:6d} {sample.timers:7d} {sample.streams:8d} "
        f"{sample.connections:11d}"
    )


def _one_process(plan: Plan) -> list[str]:
    """Run a plan and print its samples as they come. Return its problems."""
    results = soak(plan, lambda sample: _print(f"{plan.seed:4d} {_line(sample)}"))
    closed = f"{results.turns} streams closed, {results.spoken} words spoken"
    _print(f"{plan.seed:4d} {closed}; {dict(results.events)}")
    return problems(results)


def main() -> int:
    """Run the plan of the command line and print its results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--streams", type=int, default=Plan.streams, help="streams of each process")
    parser.add_argument("--stts", type=int, default=Plan.stts, help="ResilientSTTs of each process")
    parser.add_argument("--minutes", type=float, default=Plan.minutes, help="virtual minutes")
    parser.add_argument(
        "--sampled", type=float, default=Plan.sampled, help="minutes between samples"
    )
    parser.add_argument("--seed", type=int, default=Plan.seed, help="seed of the first process")
    given = vars(parser.parse_args())
    processes, seed = given.pop("processes"), given.pop("seed")
    plans = [Plan(**given, seed=seed + number) for number in range(processes)]
    _print("seed minutes   wall s   RSS MB    blocks   objects  tasks  timers  streams connections")
    with ProcessPoolExecutor(processes) as pool:
        bad = [line for lines in pool.map(_one_process, plans) for line in lines]
    _print("\n".join(bad) or "every word was transcribed once, nothing is left, nothing has grown")
    return 1 if bad else 0


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
