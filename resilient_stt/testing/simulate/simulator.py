"""Simulated calls: the real `ResilientSTT` and its streams on virtual time, over providers in
process that fail as a seed says. After each call every promise is checked.

    python -m resilient_stt.testing.simulate --schedules 1000 --seed 0
    python -m resilient_stt.testing.simulate --replay FILE

The same seed gives the same call, to the byte of its log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import get_args
from unittest import mock

from livekit import rtc
from livekit.agents import APIConnectionError, stt
from livekit.agents.stt import SpeechEventType

from ...core.events import AudioLost, Event, HedgeFinished, ProviderFailed
from ...core.policy import FailbackPolicy, Pace, Policies, ProviderTraits, ReplayPolicy
from ...core.routing.language import DEFAULT, DETECT
from ...livekit.vad import SpeechEdge
from ...setup import Setup
from ...stt import ResilientSTT
from ..harness.clock import VirtualTimeLoop
from .schedule import ProviderScript, Schedule, smaller
from .scripted import NOISE, RATE, Call, ScriptedStream, ScriptedSTT, audio, runs, sounds

PATIENCE = 130.0
"""Seconds after the end of input within which a call must end: two outages of a minute."""
DISMISSED = 0.2
"""Seconds after which a second opinion that was heard must be closing."""
AFTERWARDS = 8.0
"""Seconds in which whatever was closed must be gone; a provider may refuse that for five."""
LATE = 18.0
"""Seconds after a word within which it must be told, whatever one provider does: several legs may
fall silent one after the other, and each is given its time. 14 s was the most in 860 calls."""
EXACT = 0.1
"""Seconds by which the time of a word may be wrong, beyond what its provider's clock is."""
_VOICE_DELAY, _SILENCE_DELAY, _PAD = 0.1, 0.35, 0.1
"""Seconds until local voice activity is sure of voice, and of silence; and how far it pads."""

_WORD = re.compile(r"\w+")
_FINAL, _INTERIM = SpeechEventType.FINAL_TRANSCRIPT, SpeechEventType.INTERIM_TRANSCRIPT
_EDGES = (SpeechEventType.START_OF_SPEECH, SpeechEventType.END_OF_SPEECH)


@dataclass(slots=True)
class SimulationResult:
    """What came of a call.

    Attributes:
        log: one line for each thing that happened, the same whenever the schedule is run.
        violations: the promises that were broken, in words; empty if all held.
    """

    schedule: Schedule
    log: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


def simulate(schedule: Schedule) -> SimulationResult:
    """Run one call to its end and check it."""
    result = SimulationResult(schedule)
    random.seed(schedule.seed)  # of waits and of breakers
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(settle=0.0)) as runner:
        runner.run(_call(schedule, result))
    return result


def shrunk(result: SimulationResult, *, tries: int = 2000) -> SimulationResult:
    """The simplest call found that still breaks a promise."""
    simplest = result
    while tries > 0:
        for simpler in smaller(simplest.schedule):
            tries -= 1
            found = simulate(simpler)
            if found.violations:
                simplest = found
                break
            if tries <= 0:
                break
        else:
            break
    return simplest


class _Voice:
    """Local voice activity that reads the samples: any but zero is voice."""

    def __init__(self) -> None:
        self._at = 0
        self._speaking = False
        self._voiced = 0
        """Samples of voice in a row, short pauses apart."""
        self._last = 0
        """Where voice was last heard."""
        self._end = 0

    def push(self, frame: rtc.AudioFrame) -> Iterator[SpeechEdge]:
        for value, samples in runs(frame):
            if value:
                yield from self._voice(samples)
            else:
                yield from self._silence(samples)

    def finish(self) -> Iterator[SpeechEdge]:
        if self._speaking:
            self._speaking = False
            yield SpeechEdge(started=False, at=min(self._at, self._last + round(_PAD * RATE)))

    def _voice(self, samples: int) -> Iterator[SpeechEdge]:
        if not self._speaking and self._at - self._last > round(_SILENCE_DELAY * RATE):
            self._voiced = 0
        self._at += samples
        self._voiced += samples
        self._last = self._at
        if not self._speaking and self._voiced >= round(_VOICE_DELAY * RATE):
            self._speaking = True
            start = self._at - self._voiced - round(_PAD * RATE)
            yield SpeechEdge(started=True, at=max(self._end, start, 0))

    def _silence(self, samples: int) -> Iterator[SpeechEdge]:
        self._at += samples
        if self._speaking and self._at - self._last >= round(_SILENCE_DELAY * RATE):
            self._speaking = False
            self._voiced = 0
            self._end = self._last + round(_PAD * RATE)
            yield SpeechEdge(started=False, at=self._end)


# -- one call


async def _call(schedule: Schedule, result: SimulationResult) -> None:
    loop = asyncio.get_running_loop()
    crashes: list[str] = []
    loop.set_exception_handler(lambda _, context: crashes.append(str(context.get("message"))))
    call = Call(schedule)
    with _wall_follows(loop), _quiet():
        made = _resilient(schedule, call)
        heard = _CallObserver(result, call, made)
        try:
            await heard.listen(made)
        finally:
            await made.aclose()
        await asyncio.sleep(AFTERWARDS)
    result.violations += [f"the loop was told: {c}" for c in crashes]
    left = [t.get_name() for t in asyncio.all_tasks() if t is not asyncio.current_task()]
    result.violations += [f"a task is left: {name}" for name in left]
    result.violations += [f"{s} is not closed" for s in call.streams if not s.closed]
    heard.check()


def _resilient(schedule: Schedule, call: Call) -> ResilientSTT:
    names = [f"p{n}" for n in range(len(schedule.scripts))]
    policies = Policies(
        replay=ReplayPolicy(window=schedule.window),
        failback=FailbackPolicy(min_dwell=schedule.dwell),
    )
    scripts = dict(zip(names, schedule.scripts, strict=True))
    plan = Setup(
        providers={name: ScriptedSTT(name, script, call) for name, script in scripts.items()},
        traits={name: _traits(name, script) for name, script in scripts.items()},
        routes=_routes(schedule, names) if schedule.routed else {DEFAULT: tuple(names)},
        policies=policies,
        retranscribe=schedule.retranscribe,
    )
    return ResilientSTT(plan, vad=_Voice)


def _routes(schedule: Schedule, names: list[str]) -> dict[str, tuple[str, ...]]:
    """Another order for each language; for English one provider less, if nobody lies."""
    others = tuple(names if schedule.lies else names[1:] or names)
    return {
        DEFAULT: tuple(names),
        "es": tuple(reversed(names)),
        "en": others,
        DETECT: tuple(names[1:] + names[:1]),
    }


def _traits(name: str, script: ProviderScript) -> ProviderTraits:
    return ProviderTraits(
        name=name,
        pace=Pace(burst=script.burst, rate=script.rate),
        interim_results=script.interim_results,
        manual_flush=script.manual_flush,
        slow_endpointing=script.slow_endpointing,
        language_detection=script.language_detection,
    )


class _CallObserver:
    """Plays the caller and the consumer of one call, and checks what came."""

    def __init__(self, result: SimulationResult, call: Call, made: ResilientSTT) -> None:
        self._result = result
        self._schedule = result.schedule
        self._call = call
        self._said: list[stt.SpeechEvent] = []
        self._at: list[float] = []
        """When each of them was said, in seconds of the call."""
        self._made = made
        self._told: dict[str, float] = {}
        """When each provider told its last final."""
        self._failed: dict[str, float] = {}
        """And when it last failed."""
        self._kept = 0.0
        self._lost = 0.0
        self._error: Exception | None = None
        self._ended = False
        for kind in get_args(Event):
            made.on(kind.name, self._reported)

    # -- playing

    async def listen(self, made: ResilientSTT) -> None:
        """One call, from the first frame to the last event."""
        stream = made.stream()
        caller = asyncio.create_task(self._speak(stream), name="caller")
        consumer = asyncio.create_task(self._consume(stream), name="consumer")
        schedule = self._schedule
        for at, language in schedule.language_changes:
            tell = partial(made.update_options, language=language)
            asyncio.get_running_loop().call_later(at, tell)
        limit = schedule.closed_at
        if limit is None:
            limit = schedule.length + sum(s for _, s in schedule.push_gaps) + PATIENCE
        await asyncio.wait([consumer], timeout=limit)
        self._ended = consumer.done()
        ledger = stream._engine._ledger
        self._kept = ledger.seconds(ledger.end - ledger.start)
        await stream.aclose()
        caller.cancel()
        await asyncio.wait([caller, consumer])

    async def _speak(self, stream: stt.RecognizeStream) -> None:
        schedule = self._schedule
        samples, step = audio(schedule), max(1, round(schedule.frame * RATE))
        gaps, flushes = list(schedule.push_gaps), list(schedule.flushes)
        behind = 0.0
        for start in range(0, len(samples), step):
            piece = samples[start : start + step]
            end = (start + len(piece)) / RATE
            if gaps and gaps[0][0] <= end:
                behind = max(behind, end / schedule.push_speed + gaps.pop(0)[1])
            await asyncio.sleep(max(end / schedule.push_speed, behind) - self._call.now)
            stream.push_frame(rtc.AudioFrame(piece.tobytes(), RATE, 1, len(piece)))
            while flushes and flushes[0] <= end:
                flushes.pop(0)
                stream.flush()
        stream.end_input()

    async def _consume(self, stream: stt.RecognizeStream) -> None:
        try:
            async for event in stream:
                self._said.append(event)
                self._at.append(self._call.now)
                if event.type is _FINAL:
                    self._told[(event.alternatives[0].metadata or {})["provider"]] = self._call.now
                self._note(_line(event))
        except Exception as error:
            self._error = error
            self._note(f"raised {error!r}")
        self._note("end")

    def _reported(self, event: Event) -> None:
        if isinstance(event, AudioLost):
            self._lost += event.seconds
        if isinstance(event, ProviderFailed):
            self._failed[event.provider] = self._call.now
        if isinstance(event, HedgeFinished) and event.outcome != "promoted":
            opened = [
                s for s in self._call.streams if s.name == event.hedge_provider and not s.closing
            ]
            asyncio.get_running_loop().call_later(DISMISSED, self._dismissed, opened)
        self._note(repr(event))

    def _dismissed(self, opened: list[ScriptedStream]) -> None:
        """One of these was only asked, and is needed no more."""
        if opened and not any(stream.closing for stream in opened):  # none: it was refused
            self._result.violations.append(f"{opened} hear on, although they were dismissed")

    def _note(self, what: str) -> None:
        self._result.log.append(f"{self._call.now:.6f} {what}")

    # -- checking

    def check(self) -> None:
        """Every promise of the design, as far as this call was promised it."""
        whole = self._schedule.closed_at is None
        self._result.violations += [
            *self._words(whole=whole),
            *self._times(),
            *self._late(),
            *self._balance(whole=whole),
            *self._repeats(),
            *self._memory(whole=whole),
            *self._breakers(),
        ]
        if whole and not self._ended:
            self._result.violations.append("the stream did not end")
        if self._error and not (isinstance(self._error, APIConnectionError) and not whole):
            self._result.violations.append(f"the stream raised {self._error!r}")

    @property
    def _finals(self) -> list[stt.SpeechData]:
        return [e.alternatives[0] for e in self._said if e.type is _FINAL]

    def _words(self, *, whole: bool) -> Iterator[str]:
        spoken = self._schedule.words
        told = [w for data in self._finals for w in _plain(data.text)]
        if (told != spoken) if whole else (told != spoken[: len(told)]):
            yield f"told {told} of {spoken}"
        if self._lost:
            yield f"reported {self._lost:.2f} s lost"

    def _times(self) -> Iterator[str]:
        spoken = (s for s in sounds(self._schedule) if s.value != NOISE)
        truth = dict(zip(self._schedule.words, spoken, strict=True))
        if len(truth) < len(self._schedule.words):
            return  # a word that is said twice could be either
        allowed = EXACT + max(s.drift for s in self._schedule.scripts)
        for data in self._finals:
            for word in data.words or []:
                sound = truth.get("".join(_plain(word)))
                if sound is None:
                    continue
                off = abs(float(word.start_time) - sound.start / RATE)  # type: ignore[arg-type]
                if not off <= allowed:
                    yield f"{word!r} is told at {word.start_time}, off by {off:.3f} s"

    def _late(self) -> Iterator[str]:
        """A word is told in good time, where somebody can be reached and it was pushed when it was
        spoken."""
        schedule = self._schedule
        if (
            schedule.push_speed != 1.0
            or schedule.push_gaps
            or any(s.down for s in schedule.scripts)
        ):
            return
        words = (s for s in sounds(schedule) if s.value != NOISE)
        spoken = dict(zip(schedule.words, words, strict=True))
        if len(spoken) < len(schedule.words):
            return
        for at, event in zip(self._at, self._said, strict=True):
            if event.type is not _FINAL:
                continue
            for word in _plain(event.alternatives[0].text):
                late = at - spoken[word].end / RATE if word in spoken else 0.0
                if late > LATE:
                    yield f"{word!r} is told {late:.1f} s after it was spoken"

    def _memory(self, *, whole: bool) -> Iterator[str]:
        """What is told is forgotten, but for two seconds and what follows the last word."""
        last = max((s.start for s in sounds(self._schedule) if s.value != NOISE), default=0) / RATE
        untimed = any(s.times != "words" for s in self._schedule.scripts)
        if whole and not untimed and self._kept > self._schedule.length - last + 4:
            yield f"{self._kept:.1f} s of audio are kept"

    def _breakers(self) -> Iterator[str]:
        """Whoever told words since he failed may be given traffic."""
        now = asyncio.get_running_loop().time()
        # a final that is held back may be told when its provider has long failed
        held = self._made.policies.routing.max_hold if self._schedule.retranscribe else 0.0
        for name, at in self._told.items():
            breaker = self._made._runtime.health[name].breaker
            slow = breaker._opened_for_slowness
            if at - held > self._failed.get(name, 0.0) and not (slow or breaker.admits(now)):
                yield f"{name} serves, and is left alone: {breaker!r}"

    def _balance(self, *, whole: bool) -> Iterator[str]:
        edges = [e.type for e in self._said if e.type in _EDGES]
        turns = [_EDGES[n % 2] for n in range(len(edges))]
        if edges != turns or (whole and len(edges) % 2):
            yield f"starts and ends do not take turns: {[e.value for e in edges]}"

    def _repeats(self) -> Iterator[str]:
        """An interim transcript tells no word again that was final."""
        spoken = self._schedule.words
        if len(set(spoken)) < len(spoken):
            return
        final: set[str] = set()
        for event in self._said:
            if event.type is _FINAL:
                final |= set(_plain(event.alternatives[0].text))
            elif event.type is _INTERIM and (
                again := final & set(_plain(event.alternatives[0].text))
            ):
                yield f"an interim tells {sorted(again)} again"


def _plain(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _line(event: stt.SpeechEvent) -> str:
    data = event.alternatives[0] if event.alternatives else None
    if data is None:
        return event.type.value
    words = [f"{w}@{w.start_time:.3f}-{w.end_time:.3f}" for w in data.words or []]
    span = f"{data.start_time:.3f}-{data.end_time:.3f}"
    return f"{event.type.value} {data.text!r} {span} {words}"


@contextlib.contextmanager
def _wall_follows(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """LiveKit's offsets come from `time.time()`, and must be the same whenever a call is run."""
    with mock.patch.object(time, "time", loop.time):
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Thousands of calls fail on purpose: nobody wants to read of each."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
