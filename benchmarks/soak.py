"""Hold many streams open for an hour of virtual time while their providers fail in turn.

Run `python benchmarks/soak.py` from a checkout with the package installed. It prints, every ten
virtual minutes, what is alive: tasks, timers, memory, objects of this package. Memory must be flat
after the first ten minutes, and nothing may be left at the end; else the exit status is 1.

The streams are shared out to two processes, for that is what two cores can do in a quarter of an
hour: expect 0.15 s of a core for each stream and minute.

A few `ResilientSTT` are shared by all streams, as in production. Each caller speaks words with
pauses, and opens a new stream every minute or so, as AgentSession does at a cleared turn. The
providers are scripted and in process, the streams and the decisions are the real ones. What was
said is compared with what was told, word by word.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import logging
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
from resilient_stt.testing.harness.clock import VirtualTimeLoop
from resilient_stt.testing.simulate.schedule import (
    FaultSpec,
    Piece,
    Point,
    ProviderScript,
    Schedule,
    Way,
)
from resilient_stt.testing.simulate.scripted import RATE, Call, ScriptedStream, ScriptedSTT
from resilient_stt.testing.simulate.simulator import _Voice

FRAME = 0.5
"""Seconds of a pushed frame."""
SAMPLED = 10
"""Virtual minutes between two samples."""
SHARE, SPARE, SPARE_BLOCKS = 1.1, 20, 2000
"""How much more there may be later, as a factor and as a number beyond: streams come and go."""
HOURLY = "resilient_stt.core.hedging.budget._Minute"
"""What second opinions cost: one for each minute of the last hour and each `ResilientSTT`.
There are more after an hour than after ten minutes, and then no more."""
PATIENCE = 130.0
"""Seconds after the end of input within which a stream must end: two outages of a minute."""
AFTERWARDS = 10.0
"""Seconds in which whatever was closed must be gone; a provider may refuse that for five."""
PHASE = 25.0
"""Seconds of a line of `PHASES`; after the last comes the first."""
OUTAGE = 4.0
"""Seconds in which all providers are down. It is short because it is what takes the time of a run:
each attempt on each provider is sent what is to be replayed, whether it connects or not."""

LONG = 4
"""One of so many callers keeps his stream for the whole hour, as one whose turns are never cleared.
"""

_VOCABULARY = [a + v + b for a in "bdfgklmnprst" for v in "aeiou" for b in "bdfgk"]
_WORD = re.compile(r"\w+")
_LENGTHS = (0.25, 0.3, 0.4, 0.6)
_GAPS = (0.02, 0.1, 0.2)
_PAUSES = (0.8, 1.5, 3.0, 6.0)
_KINDS = ("dropped", "dropped", "dropped", "connect", "timeout", "429", "500", "503", "bug")
_LOUD_AT: tuple[Point, ...] = ("stream", "connect", "hear", "hear", "final", "told", "close")
_SILENT_AT: tuple[Point, ...] = ("hear", "interim", "final")
_SILENT_WAYS: tuple[Way, ...] = ("hang", "stall", "stall", "empty")

Trouble = Literal["none", "down", "hangs", "out", "silent", "slow", "loud"]
PHASES: tuple[tuple[Trouble, Trouble, Trouble], ...] = (
    ("none", "none", "none"),
    ("down", "none", "none"),
    ("silent", "none", "none"),
    ("slow", "none", "none"),
    ("none", "none", "none"),
    ("hangs", "down", "none"),
    ("none", "silent", "none"),
    ("loud", "loud", "loud"),
    ("out", "out", "out"),
    ("none", "hangs", "none"),
    ("silent", "none", "none"),
    ("hangs", "slow", "none"),
)
"""What is wrong with each of three providers. One at most is silent, and the others are up then:
more is not promised. All of them together divide the time between two samples: those of different
troubles could not be compared."""


@dataclass(frozen=True)
class Plan:
    """How much is to be run.

    Attributes:
        streams: open at the same time.
        stts: that they share; each has three providers of its own.
        minutes: of virtual time.
        sampled: minutes between two samples.
    """

    streams: int = 100
    stts: int = 2
    minutes: float = 60.0
    sampled: float = SAMPLED
    seed: int = 0


@dataclass(frozen=True)
class Sample:
    """What was alive at a moment.

    Attributes:
        blocks: of memory that Python has allocated since the start.
        ours: objects of this package by type, without the kit's: what its recognisers hear at a
            moment comes and goes.
    """

    minutes: float
    wall: float
    rss: int
    blocks: int
    tasks: int
    timers: int
    streams: int
    legs: int
    ours: Counter[str]


@dataclass
class Soak:
    """What came of a run.

    Attributes:
        samples: one every ten minutes.
        turns: streams that were opened and closed.
        spoken: words of the streams that were closed.
        wrong: what was told and not said next, or never told, each with the second.
        errors: what streams raised, by type; an outage limit is none.
        left: the names of tasks at the end.
        crashes: what the loop was told.
    """

    samples: list[Sample] = field(default_factory=list)
    turns: int = 0
    spoken: int = 0
    wrong: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)


def soak(plan: Plan, told: Callable[[Sample], None] = lambda _: None) -> Soak:
    """Run a plan to its end; `told` is called with each sample as it is taken."""
    random.seed(plan.seed)  # of waits and of breakers
    logging.disable(logging.CRITICAL)  # tens of thousands of legs fail on purpose
    try:
        with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(settle=0.0)) as runner:
            return runner.run(_run(plan, told))
    finally:
        logging.disable(logging.NOTSET)


async def _run(plan: Plan, told: Callable[[Sample], None]) -> Soak:
    return await _Hour(plan, told).run()


# -- what is said


class _Speech:
    """An endless call: sentences of a few words, and pauses between them."""

    def __init__(self, call: Call, seed: str) -> None:
        self._call = call
        self._runs = self._drawn(random.Random(seed))
        self._value, self._left = 0, 0
        self.said = 0
        """Words."""
        self.untold: deque[str] = deque()
        """Words that have been said to their end, and not yet been told."""

    def next_frame(self) -> rtc.AudioFrame:
        samples = np.zeros(round(FRAME * RATE), np.int16)
        at = 0
        while at < len(samples):
            if not self._left:
                self._value, self._left = next(self._runs)
            count = min(self._left, len(samples) - at)
            samples[at : at + count] = self._value
            at, self._left = at + count, self._left - count
            if self._value and not self._left:
                self.said += 1
                self.untold.append(self._call.texts[self._value])
        return rtc.AudioFrame(samples.tobytes(), RATE, 1, len(samples))

    @property
    def pausing(self) -> bool:
        """Whether no word is being said."""
        return not (self._value and self._left)

    def told(self, word: str) -> bool:
        """Whether it is the next word that was said."""
        return bool(self.untold) and self.untold.popleft() == word

    def _drawn(self, dice: random.Random) -> Iterator[tuple[int, int]]:
        while True:
            yield 0, round(dice.choice(_PAUSES) * RATE)
            for _ in range(dice.randint(2, 8)):
                value = dice.randint(1, len(self._call.lengths))
                yield value, self._call.lengths[value]
                yield 0, round(dice.choice(_GAPS) * RATE)


def _dictionary(seed: int) -> Schedule:
    """The words that callers may say, and how long each takes."""
    lengths = itertools.cycle(_LENGTHS)
    pieces = tuple(Piece(word, 0.0, length) for word, length in zip(_VOCABULARY, lengths))  # noqa: B905
    return Schedule(pieces=pieces, scripts=(), seed=seed)


# -- what goes wrong


class _Provider(ScriptedSTT):
    """A scripted provider whose trouble changes while it has connections."""

    def __init__(self, name: str, script: ProviderScript, call: Call, seed: int) -> None:
        super().__init__(name, script, call)
        self._healthy = script
        self._dice = random.Random(f"{seed} {name}")
        self._draw: Callable[[], FaultSpec | None] = lambda: None
        self._opened = 0
        self._open: WeakValueDictionary[int, ScriptedStream] = WeakValueDictionary()

    def suffer(self, trouble: Trouble) -> None:
        """Let trouble strike the connections that are open, and those that are opened from now."""
        script, now = self._healthy, self.call.now
        self.script = {
            "down": replace(script, down=((now, now + PHASE),)),
            "hangs": replace(script, down=((now, now + PHASE),), hangs=True),
            "out": replace(script, down=((now, now + OUTAGE),)),
            "slow": replace(script, latency=2.5),
        }.get(trouble, script)
        self._draw = {"silent": self._silent, "loud": self._loud}.get(trouble, lambda: None)
        for number in sorted(self._open):
            stream = self._open.get(number)
            if stream is None or stream._task.done() or not stream._busy:
                continue  # is gone, or not yet connected
            if self.script.down:
                stream._fail("dropped")
            stream._mishap = self._draw()

    def stream(self, **options: Any) -> ScriptedStream:
        self._mishaps = iter([self._draw()])
        stream = super().stream(**options)
        self._opened += 1
        self._open[self._opened] = stream
        return stream

    def _silent(self) -> FaultSpec:
        dice = self._dice
        way = dice.choice(_SILENT_WAYS)
        at: Point = "final" if way == "empty" else dice.choice(_SILENT_AT)
        return FaultSpec(at, way, seconds=dice.choice((2.0, 5.0, 1000.0)))

    def _loud(self) -> FaultSpec | None:
        dice = self._dice
        at = dice.choice(_LOUD_AT)
        if at == "close":
            return FaultSpec(at, "refuse_close", seconds=dice.choice((0.1, 1.0, 5.0)))
        nth = dice.uniform(0, 10) if at == "hear" else dice.choice((0, 1, 2))
        way: Way = dice.choice(("raise", "end")) if at == "hear" else "raise"
        found = FaultSpec(at, way, nth=nth, kind=dice.choice(_KINDS))
        return found if dice.random() < 0.5 else None


# -- one hour


class _Hour:
    """All callers of one run, on one loop."""

    def __init__(self, plan: Plan, told: Callable[[Sample], None]) -> None:
        self._plan = plan
        self._told = told
        self._found = Soak()
        self._call = Call(_dictionary(plan.seed))
        # the kit keeps every stream ever opened, for the checks of one short call
        self._call.streams = _Forgetful()
        self._streams = 0
        self._began = time.perf_counter()
        gc.collect()
        self._blocks = sys.getallocatedblocks()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, c: self._found.crashes.append(str(c.get("message"))))

    async def run(self) -> Soak:
        groups = [self._group(n) for n in range(self._plan.stts)]
        made = [ResilientSTT(group, vad=_Voice) for group in groups]
        for one in made:
            for kind in get_args(Event):
                one.on(kind.name, self._reported)
        work = [asyncio.create_task(self._roll(group)) for group in groups]
        work += [
            asyncio.create_task(self._caller(n, made[n % len(made)]))
            for n in range(self._plan.streams)
        ]
        await self._watch()
        for task in work:
            task.cancel()
        for ended in await asyncio.gather(*work, return_exceptions=True):
            if not isinstance(ended, asyncio.CancelledError):
                self._found.crashes.append(repr(ended))
        for one in made:
            await one.aclose()
        await asyncio.sleep(AFTERWARDS)
        current = asyncio.current_task()
        self._found.left = [t.get_name() for t in asyncio.all_tasks() if t is not current]
        return self._found

    def _group(self, number: int) -> list[_Provider]:
        scripts = (
            ProviderScript(endpointing=0.3, latency=0.2),
            ProviderScript(endpointing=0.5, latency=0.3, interim_results=False),
            ProviderScript(endpointing=0.3, latency=0.1, most=4),
        )
        seed = self._plan.seed
        return [_Provider(f"{number}-{n}", s, self._call, seed) for n, s in enumerate(scripts)]

    async def _roll(self, providers: list[_Provider]) -> None:
        for phase in itertools.cycle(PHASES):
            for provider, trouble in zip(providers, phase, strict=True):
                provider.suffer(trouble)
            await asyncio.sleep(PHASE)

    async def _watch(self) -> None:
        for _ in range(round(self._plan.minutes / self._plan.sampled)):
            await asyncio.sleep(self._plan.sampled * 60)
            sample = self._sample()
            self._found.samples.append(sample)
            self._told(sample)

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
            streams=self._streams,
            legs=ours["resilient_stt.livekit.provider_connection.ProviderConnection"],
            ours=ours,
        )

    def _reported(self, event: Event) -> None:
        self._found.events[event.name] += 1

    # -- one caller

    async def _caller(self, number: int, made: ResilientSTT) -> None:
        """One turn after the other, each on a stream of its own."""
        dice = random.Random(f"{self._plan.seed} caller {number}")
        await asyncio.sleep(dice.uniform(0, 5))  # nobody calls in step
        for turn in itertools.count():
            speech = _Speech(self._call, f"{self._plan.seed} {number} {turn}")
            patient = dice.random() < 0.5
            seconds = math.inf if number % LONG == 0 else dice.uniform(10, 110)
            await self._turn(made, speech, seconds, patient)
            self._found.turns += 1

    async def _turn(
        self, made: ResilientSTT, speech: _Speech, seconds: float, patient: bool
    ) -> None:
        """Speak for so long; then listen until the stream's end, or close it as it is."""
        async with made.stream() as stream:
            self._streams += 1
            listener = asyncio.create_task(self._listen(stream, speech), name="listener")
            try:
                await self._speak(stream, speech, seconds, listener)
                if patient and not listener.done():
                    stream.end_input()
                    await asyncio.wait([listener], timeout=PATIENCE)
            finally:
                self._streams -= 1
                ended = listener.done()
                listener.cancel()
        if patient and not ended:
            self._found.errors["does not end"] += 1
        elif patient and speech.untold:
            self._found.wrong.append(f"{self._call.now:.0f} s: not {' '.join(speech.untold)}")
        self._found.spoken += speech.said

    async def _speak(
        self,
        stream: stt.RecognizeStream,
        speech: _Speech,
        seconds: float,
        listener: asyncio.Task[None],
    ) -> None:
        """Push at the pace of speech, until a pause after so many seconds."""
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
                        if not speech.told(word):
                            self._found.wrong.append(f"{self._call.now:.0f} s: {word}")
        except Exception as error:  # a finding, not our failure
            self._found.errors[type(error).__name__] += 1


class _Forgetful(list[ScriptedStream]):
    """A list that keeps nothing but its length."""

    def __init__(self) -> None:
        super().__init__()
        self._length = 0

    def append(self, _: ScriptedStream) -> None:
        self._length += 1

    def __len__(self) -> int:
        return self._length


# -- the figures


def grown(samples: Sequence[Sample]) -> list[str]:
    """What there is more of in the last third of these samples than in the first, on average.

    One sample alone tells how busy its moment was.
    """
    third = max(1, len(samples) // 3)
    first, last = _means(samples[:third]), _means(samples[-third:])
    told = []
    for name in sorted((first | last).keys() - {HOURLY}):
        spare = SPARE_BLOCKS if name == "blocks" else SPARE
        if last[name] > first[name] * SHARE + spare:
            told.append(f"{name}: {first[name]} -> {last[name]}")
    return told


def _means(samples: Sequence[Sample]) -> Counter[str]:
    total: Counter[str] = Counter()
    for sample in samples:
        total.update(sample.ours)
        total.update(tasks=sample.tasks, timers=sample.timers, blocks=sample.blocks)
    return Counter({name: round(count / len(samples)) for name, count in total.items()})


def problems(found: Soak) -> list[str]:
    """All that should not be, a line each."""
    told = [f"told {words}" for words in found.wrong]
    told += [f"raised {count} times: {name}" for name, count in found.errors.items()]
    told += [f"the loop was told: {message}" for message in found.crashes]
    told += [f"left: {name}" for name in found.left]
    return told + [f"grown: {line}" for line in grown(found.samples)]


def _line(sample: Sample) -> str:
    ours = sum(sample.ours.values())
    return (
        f"{sample.minutes:7.1f} {sample.wall:8.0f} {sample.rss / 2**20:8.1f} {sample.blocks:9d} "
        f"{ours:9d} {sample.tasks:6d} {sample.timers:7d} {sample.streams:8d} {sample.legs:5d}"
    )


def _one_process(plan: Plan) -> list[str]:
    """Run a plan, telling its figures as they come; returns its problems."""
    found = soak(plan, lambda sample: _tell(f"{plan.seed:4d} {_line(sample)}"))
    _tell(
        f"{plan.seed:4d} {found.turns} streams closed, {found.spoken} words; {dict(found.events)}"
    )
    return problems(found)


def main() -> int:
    """Run the plan of the command line and print its figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--streams", type=int, default=Plan.streams, help="of each process")
    parser.add_argument("--stts", type=int, default=Plan.stts, help="of each process")
    parser.add_argument("--minutes", type=float, default=Plan.minutes)
    parser.add_argument("--sampled", type=float, default=Plan.sampled, help="minutes")
    parser.add_argument("--seed", type=int, default=Plan.seed, help="of the first process")
    given = vars(parser.parse_args())
    processes, seed = given.pop("processes"), given.pop("seed")
    plans = [Plan(**given, seed=seed + number) for number in range(processes)]
    _tell("seed minutes   wall s   RSS MB    blocks   objects  tasks  timers  streams  legs")
    with ProcessPoolExecutor(processes) as pool:
        bad = [line for lines in pool.map(_one_process, plans) for line in lines]
    _tell("\n".join(bad) or "all words told, nothing left, nothing grown")
    return 1 if bad else 0


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
