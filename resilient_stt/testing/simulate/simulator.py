"""Simulated calls: a real `ResilientSTT` on virtual time, over scripted providers in this process.

After each call, every promise is checked.

    python -m resilient_stt.testing.simulate --schedules 1000 --seed 0
    python -m resilient_stt.testing.simulate --replay FILE

The same seed gives the same call, to the byte of its log.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import get_args

from livekit import rtc
from livekit.agents import APIConnectionError, stt
from livekit.agents.stt import SpeechEventType

from ...core.events import (
    AudioLost,
    ConnectionClosed,
    ConnectionOpened,
    Event,
    HedgeFinished,
    ProviderFailed,
    Role,
    StreamEnded,
)
from ...core.messages import VoiceSound
from ...core.policy import (
    FailbackPolicy,
    Pace,
    Policies,
    ProviderTraits,
    ReplayPolicy,
    RetryPolicy,
    WatchdogPolicy,
)
from ...core.routing.language import DEFAULT, DETECT
from ...core.transcript.tokens import tokenize
from ...fleet import MemoryHealth
from ...livekit.vad import SpeechEdge
from ...setup import Setup
from ...stream import ResilientStream
from ...stt import ResilientSTT
from ..harness.clock import VirtualTimeLoop, wall_clock_follows
from ..harness.logs import no_logging
from ..harness.score import Final, Score, score, written_words
from ..speech.reference import SpokenWord
from .schedule import ProviderScript, Schedule, smaller
from .scripted import NOISE, RATE, ScriptedStream, ScriptedSTT, SimulatedCall, audio, runs, sounds

PATIENCE = 60.0
"""Seconds after the end of input within which a call must end. `RetryPolicy.end_input_limit` begins
anew with each text of a provider that is slow; the longest ending of 600 calls was 20.5 s."""
PATIENCE_IN_VAIN = RetryPolicy().end_input_limit + 8.0 / WatchdogPolicy().min_processing_rate + 1.0
"""The same where no provider hears any more: what may be processed by then was said in the last
eight seconds, and in the grace of a last answer."""
UNNOTICED = 0.25
"""Seconds of a word that local voice activity takes for the edge of another one."""
DISMISSED = 0.2
"""Seconds after which a hedge that is not needed any more must be closing."""
AFTERWARDS = 8.0
"""Seconds within which everything that was closed must be gone. A `slow_close` takes up to five."""
LATE = 18.0
"""Seconds within which a word must be emitted, whatever one provider does. Several connections may
fall silent one after the other, and each of them gets its time. The longest delay in 860 calls was
14 s."""
LATER_BY_A_CHANGE = 5.0
"""Seconds more for each change of options or of the language: the connection is opened anew, and
replays up to ten seconds at twice the speed of speech."""
LATER_BY_A_REFUSAL = RetryPolicy().rejected_interval
"""Seconds more where a provider rejects the request itself: it is not asked again before."""
STRAGGLER = 1.0
"""Seconds after the end of speech in which the text of a last short word may still come."""
EXACT = 0.1
"""Seconds by which a word's time may be wrong, beyond the drift of the provider."""
_VOICE_DELAY, _SILENCE_DELAY, _PAD = 0.1, 0.35, 0.1
"""Seconds of voice and of silence after which local voice activity reports them, and seconds by
which it pads speech."""

_WORD = re.compile(r"\w+")
_FINAL, _INTERIM = SpeechEventType.FINAL_TRANSCRIPT, SpeechEventType.INTERIM_TRANSCRIPT
_EDGES = (SpeechEventType.START_OF_SPEECH, SpeechEventType.END_OF_SPEECH)


@dataclass(slots=True)
class SimulationResult:
    """The outcome of a call.

    Attributes:
        schedule: The call.
        log: A line for each thing that happened; the same whenever the schedule is run.
        violations: The promises that were broken, as sentences; empty if all of them held.
    """

    schedule: Schedule
    log: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


def simulate(schedule: Schedule) -> SimulationResult:
    """Run one call to its end, and check it."""
    result = SimulationResult(schedule)
    random.seed(schedule.seed)  # the waits between attempts and of breakers draw from it
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(settle=0.0)) as runner:
        runner.run(_call(schedule, result))
    return result


def shrunk(result: SimulationResult, *, tries: int = 2000) -> SimulationResult:
    """Simplify a call that breaks a promise, in at most `tries` simulations, as long as it breaks
    one."""
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


_WORD_SOUND, _NOISE_SOUND = VoiceSound(57.0, 13.5), VoiceSound(65.0, 4.0)
"""What words and noise sound like: as speech and babble of the kit."""


def _mixed_sound(words: int, noise: int) -> VoiceSound:
    """Return what so many samples of words and of noise sound like together."""
    share = noise / max(1, words + noise)
    word, other = _WORD_SOUND, _NOISE_SOUND
    return VoiceSound(
        word.level + share * (other.level - word.level),
        word.spread + share * (other.spread - word.spread),
    )


class _Voice:
    """Local voice activity that reads the samples: each that is not zero is voice."""

    def __init__(self) -> None:
        self._at = 0
        self._speaking = False
        self._voiced = 0
        """Samples of voice so far, pauses shorter than the silence delay left out."""
        self._last = 0
        """The sample after the last voice."""
        self._end = 0
        self._words = 0
        """Samples of words in the speech that lasts, or may begin; those of noise beside them."""
        self._noise = 0

    def push(self, frame: rtc.AudioFrame) -> Iterator[SpeechEdge]:
        for value, samples in runs(frame):
            if value:
                yield from self._voice(samples, is_noise=value == NOISE)
            else:
                yield from self._silence(samples)

    def finish(self) -> Iterator[SpeechEdge]:
        if self._speaking:
            self._speaking = False
            yield self._ended(min(self._at, self._last + round(_PAD * RATE)))

    def _ended(self, at: int) -> SpeechEdge:
        sound = _mixed_sound(self._words, self._noise)
        self._words = self._noise = 0
        return SpeechEdge(started=False, at=at, sound=sound)

    def _voice(self, samples: int, *, is_noise: bool) -> Iterator[SpeechEdge]:
        if not self._speaking and self._at - self._last > round(_SILENCE_DELAY * RATE):
            self._voiced = self._words = self._noise = 0
        self._noise += samples if is_noise else 0
        self._words += 0 if is_noise else samples
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
            yield self._ended(self._end)


# -- one call


async def _call(schedule: Schedule, result: SimulationResult) -> None:
    loop = asyncio.get_running_loop()
    crashes: list[str] = []
    loop.set_exception_handler(lambda _, context: crashes.append(str(context.get("message"))))
    call = SimulatedCall(schedule)
    with wall_clock_follows(loop), no_logging():
        resilient = _make_resilient(schedule, call)
        observer = _CallObserver(result, call, resilient)
        try:
            await observer.listen(resilient)
        finally:
            await resilient.aclose()
        await asyncio.sleep(AFTERWARDS)
    result.violations += [f"the event loop reported: {c}" for c in crashes]
    left = [t.get_name() for t in asyncio.all_tasks() if t is not asyncio.current_task()]
    result.violations += [f"task {name} is still running" for name in left]
    result.violations += [f"{s} is not closed" for s in call.streams if not s.closed]
    observer.check()


def _make_resilient(schedule: Schedule, call: SimulatedCall) -> ResilientSTT:
    names = [f"p{n}" for n in range(len(schedule.scripts))]
    policies = Policies(
        replay=ReplayPolicy(window=schedule.window),
        failback=FailbackPolicy(min_dwell=schedule.dwell),
        # The pauses after several refusals would add up to more than the limit.
        retry=RetryPolicy(end_input_limit=PATIENCE) if schedule.refused else RetryPolicy(),
    )
    scripts = dict(zip(names, schedule.scripts, strict=True))
    setup = Setup(
        providers={name: ScriptedSTT(name, script, call) for name, script in scripts.items()},
        traits={name: _traits(name, script) for name, script in scripts.items()},
        routes=_routes(schedule, names) if schedule.routed else {DEFAULT: tuple(names)},
        policies=policies,
        retranscribe=schedule.retranscribe,
        health_store=MemoryHealth(isolated=True),
    )
    return ResilientSTT(setup, vad=_Voice)


def _routes(schedule: Schedule, names: list[str]) -> dict[str, tuple[str, ...]]:
    """Give each language another order of providers, and English one provider less unless words get
    lost silently."""
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
    """Plays the caller and the consumer of one call, and checks what the consumer gets."""

    def __init__(
        self, result: SimulationResult, call: SimulatedCall, resilient: ResilientSTT
    ) -> None:
        self._result = result
        self._schedule = result.schedule
        self._call = call
        self._events: list[stt.SpeechEvent] = []
        self._event_times: list[float] = []
        """When each event came, in seconds of the call."""
        self._in_speech: list[bool] = []
        """Whether local voice activity heard the caller when each event came."""
        self._pushed_at, self._spoke_before = -1.0, False
        """When the last frame was pushed, and what local voice activity said before it."""
        self._resilient = resilient
        self._last_final_at: dict[str, float] = {}
        """When the last final of each provider came, in seconds of the call."""
        self._last_failed_at: dict[str, float] = {}
        """When each provider last failed, in seconds of the call."""
        self._seconds_kept = 0.0
        self._seconds_lost = 0.0
        self._ended: list[StreamEnded] = []
        """The accounts that were reported."""
        self._opened: list[int] = []
        self._closed: list[ConnectionClosed] = []
        self._samples_pushed = 0
        """Samples that the stream has taken of those that the caller pushed."""
        self._error: Exception | None = None
        self._has_ended = False
        for kind in get_args(Event):
            resilient.on(kind.name, self._on_event)

    # -- playing

    async def listen(self, resilient: ResilientSTT) -> None:
        """Run one call, from the first frame to the last event."""
        stream = resilient.stream()
        caller = asyncio.create_task(self._speak(stream), name="caller")
        consumer = asyncio.create_task(self._consume(stream), name="consumer")
        schedule = self._schedule
        for at, language in schedule.language_changes:
            set_language = partial(resilient.update_options, language=language)
            asyncio.get_running_loop().call_later(at, set_language)
        for count, (at, number) in enumerate(schedule.option_changes):
            if number < len(schedule.scripts):  # a simpler call may have fewer
                change = partial(resilient.update_options, provider=f"p{number}", number=count)
                asyncio.get_running_loop().call_later(at, change)
        limit = schedule.closed_at
        if limit is None:
            limit = schedule.length + sum(s for _, s in schedule.push_gaps)
            limit += PATIENCE_IN_VAIN if schedule.abandoned else PATIENCE
        await asyncio.wait([consumer], timeout=limit)
        self._has_ended = consumer.done()
        ledger = stream._engine._ledger
        self._seconds_kept = ledger.seconds(ledger.end - ledger.start)
        await stream.aclose()
        self._samples_pushed = stream._pushed
        caller.cancel()
        await asyncio.wait([caller, consumer])

    async def _speak(self, stream: ResilientStream) -> None:
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
            self._pushed_at, self._spoke_before = self._call.now, stream._engine._ledger.speaking
            stream.push_frame(rtc.AudioFrame(piece.tobytes(), RATE, 1, len(piece)))
            while flushes and flushes[0] <= end:
                flushes.pop(0)
                stream.flush()
        stream.end_input()

    async def _consume(self, stream: ResilientStream) -> None:
        try:
            async for event in stream:
                self._events.append(event)
                self._event_times.append(self._call.now)
                # What was pushed at this very moment came behind the event.
                same_moment = self._call.now == self._pushed_at
                speaking = stream._engine._ledger.speaking
                self._in_speech.append(speaking and (self._spoke_before or not same_moment))
                if event.type is _FINAL:
                    self._last_final_at[(event.alternatives[0].metadata or {})["provider"]] = (
                        self._call.now
                    )
                self._note(_describe(event))
        except Exception as error:
            self._error = error
            self._note(f"raised {error!r}")
        self._note("end")

    def _on_event(self, event: Event) -> None:
        if isinstance(event, AudioLost):
            self._seconds_lost += event.seconds
        if isinstance(event, StreamEnded):
            self._ended.append(event)
        if isinstance(event, ConnectionOpened):
            self._opened.append(event.connection)
        if isinstance(event, ConnectionClosed):
            self._closed.append(event)
        if isinstance(event, ProviderFailed):
            self._last_failed_at[event.provider] = self._call.now
        if isinstance(event, HedgeFinished) and event.outcome != "promoted":
            opened = [
                s for s in self._call.streams if s.name == event.hedge_provider and not s.closing
            ]
            asyncio.get_running_loop().call_later(DISMISSED, self._check_dismissed, opened)
        self._note(repr(replace(event, stream_id="")))  # a random name, and logs are compared

    def _check_dismissed(self, opened: list[ScriptedStream]) -> None:
        """Check that one of the streams that may have been the hedge is closing."""
        if opened and not any(
            stream.closing for stream in opened
        ):  # there is none if opening it failed
            self._result.violations.append(f"a hedge has ended, but {opened} stay open")

    def _note(self, what: str) -> None:
        self._result.log.append(f"{self._call.now:.6f} {what}")

    # -- checking

    def check(self) -> None:
        """Check every promise that holds for this call."""
        whole = self._schedule.closed_at is None
        self._result.violations += [
            *self._check_words(whole=whole),
            *self._check_times(),
            *self._check_delays(),
            *self._check_balance(whole=whole),
            *self._check_turns(),
            *self._check_repeats(),
            *self._check_memory(whole=whole),
            *self._check_breakers(),
            *self._check_accounts(whole=whole),
        ]
        if whole and not self._has_ended:
            self._result.violations.append("the stream did not end")
        expected = not whole or (self._schedule.abandoned and self._seconds_lost)
        if self._error and not (isinstance(self._error, APIConnectionError) and expected):
            self._result.violations.append(f"the stream raised {self._error!r}")

    @property
    def _finals(self) -> list[stt.SpeechData]:
        return [e.alternatives[0] for e in self._events if e.type is _FINAL]

    def _spoken(self) -> list[SpokenWord]:
        """The words of the call, with their times."""
        spoken = (s for s in sounds(self._schedule) if s.value != NOISE)
        return [
            SpokenWord(text, s.start / RATE, s.end / RATE, self._call.languages[s.value])
            for text, s in zip(self._schedule.words, spoken, strict=True)
        ]

    @cached_property
    def _score(self) -> Score:
        """The finals against the words of the call, which each provider may write in its way."""
        finals = [
            Final.from_event(event, at)
            for at, event in zip(self._event_times, self._events, strict=True)
            if event.type is _FINAL
        ]
        return score(self._spoken(), finals, accents=True)

    def _check_words(self, *, whole: bool) -> Iterator[str]:
        if self._schedule.abandoned:
            yield from self._check_abandoned()
        elif self._schedule.accents:
            yield from self._check_written_words(whole=whole)
        else:
            yield from self._check_exact_words(whole=whole)
        if self._seconds_lost and not self._schedule.abandoned:
            yield f"reported {self._seconds_lost:.2f} s lost"

    def _check_abandoned(self) -> Iterator[str]:
        """Yield what is wrong with the end of a call in which no provider hears any more: words
        that an interim has shown and no final has, and lost words that were not reported."""
        found = self._score
        if found.twice_words or found.fragment_words or not found.in_order:
            yield f"not each word once and in order: {[data.text for data in self._finals]}"
        told = self._told(" ".join(data.text for data in self._finals))
        interims = (e.alternatives[0].text for e in self._events if e.type is _INTERIM)
        if unsaid := {word for text in interims for word in self._told(text)} - told:
            yield f"{sorted(unsaid)} were shown and never final"
        missing = sum(w.end - w.start for w in self._spoken() if w.text in found.lost_words)
        slack = UNNOTICED * len(found.lost_words) + 2 * EXACT
        if self._seconds_lost < missing - slack:
            yield f"{missing:.2f} s of words are missing, {self._seconds_lost:.2f} s reported lost"

    def _check_written_words(self, *, whole: bool) -> Iterator[str]:
        """Yield words that are missing, come twice or were never spoken, however they are
        written."""
        found = self._score
        missing = found.lost_words if whole else found.lost_before_last
        wrong = {
            "lost": missing,
            "twice": found.twice_words,
            "never spoken": found.fragment_words,
            "out of order": () if found.in_order else ("words",),
        }
        if any(wrong.values()):
            emitted = " | ".join(data.text for data in self._finals)
            listed = ", ".join(f"{what}: {list(words)}" for what, words in wrong.items() if words)
            yield f"{listed} in {emitted!r} for {self._schedule.words}"

    def _check_exact_words(self, *, whole: bool) -> Iterator[str]:
        spoken = [w for text in self._schedule.words for w in _words_of(text)]
        emitted = [w for data in self._finals for w in _words_of(data.text)]
        if (emitted != spoken) if whole else (emitted != spoken[: len(emitted)]):
            yield f"emitted {emitted} instead of {spoken}"

    def _check_times(self) -> Iterator[str]:
        allowed = EXACT + max(s.time_error for s in self._schedule.scripts)
        if self._schedule.accents:
            worst = self._score.ts_err_max_s
            if worst is not None and not worst <= allowed:
                yield f"a word's time is {worst:.3f} s off"
            return
        spoken = (s for s in sounds(self._schedule) if s.value != NOISE)
        truth = dict(zip(self._schedule.words, spoken, strict=True))
        if len(truth) < len(self._schedule.words):
            return  # the time may be that of either word
        for data in self._finals:
            for word in data.words or []:
                sound = truth.get("".join(_words_of(word)))
                if sound is None:
                    continue
                off = abs(float(word.start_time) - sound.start / RATE)  # type: ignore[arg-type]
                if not off <= allowed:
                    yield f"{word!r} has the start {word.start_time}, which is {off:.3f} s off"

    def _check_delays(self) -> Iterator[str]:
        """Yield words that came too late. Only for calls in which the caller pushes each word when
        it is spoken, and some provider can be reached."""
        schedule = self._schedule
        if (
            schedule.push_speed != 1.0
            or schedule.push_gaps
            or any(s.down for s in schedule.scripts)
        ):
            return
        changes = len(schedule.option_changes) + len(schedule.language_changes)
        limit = LATE + changes * LATER_BY_A_CHANGE + schedule.refused * LATER_BY_A_REFUSAL
        if schedule.accents:
            late = self._score.late_max_s
            if late is not None and late > limit:
                yield f"a word came {late:.1f} s after it was spoken"
            return
        words = (s for s in sounds(schedule) if s.value != NOISE)
        spoken = dict(zip(schedule.words, words, strict=True))
        if len(spoken) < len(schedule.words):
            return
        for at, event in zip(self._event_times, self._events, strict=True):
            if event.type is not _FINAL:
                continue
            for word in _words_of(event.alternatives[0].text):
                late = at - spoken[word].end / RATE if word in spoken else 0.0
                if late > limit:
                    yield f"{word!r} came {late:.1f} s after it was spoken"

    def _check_memory(self, *, whole: bool) -> Iterator[str]:
        """Yield audio that is kept too long: committed audio is forgotten, but for two seconds
        (`lookback`) and what follows the last word."""
        last = max((s.start for s in sounds(self._schedule) if s.value != NOISE), default=0) / RATE
        untimed = any(s.times != "words" for s in self._schedule.scripts)
        if whole and not untimed and self._seconds_kept > self._schedule.length - last + 4:
            yield f"{self._seconds_kept:.1f} s of audio are kept"

    def _check_breakers(self) -> Iterator[str]:
        """Yield providers that are avoided although they have emitted words since they last
        failed."""
        if self._schedule.abandoned:
            return  # the last words of a provider that failed are emitted at the end
        now = asyncio.get_running_loop().time()
        # A final that is held back may be emitted long after its provider has failed.
        held = self._resilient.policies.routing.max_hold if self._schedule.retranscribe else 0.0
        for name, at in self._last_final_at.items():
            breaker = self._resilient._runtime.health[name].breaker
            slow = breaker._opened_for_slowness
            if at - held > self._last_failed_at.get(name, 0.0) and not (
                slow or breaker.admits(now)
            ):
                yield f"{name} emits words, but is avoided: {breaker!r}"

    def _check_balance(self, *, whole: bool) -> Iterator[str]:
        edges = [e.type for e in self._events if e.type in _EDGES]
        turns = [_EDGES[n % 2] for n in range(len(edges))]
        if edges != turns or (whole and len(edges) % 2):
            yield f"START_OF_SPEECH and END_OF_SPEECH do not alternate: {[e.value for e in edges]}"

    def _check_turns(self) -> Iterator[str]:
        """Yield ends of speech while the caller speaks, and text outside of speech.

        Local voice activity is noise if the serving provider gives no text for so long. Only for
        calls in which audio is pushed as it is spoken: in others, silence is over too soon. In a
        long frame, the caller may fall silent and begin again.
        """
        schedule = self._schedule
        if schedule.push_speed != 1.0 or schedule.push_gaps or schedule.frame > _SILENCE_DELAY:
            return
        hold = self._resilient.policies.watchdog.end_of_speech_hold
        last_text = last_open = -hold
        for at, event, in_speech in zip(
            self._event_times, self._events, self._in_speech, strict=True
        ):
            if event.type in _EDGES:
                last_open = math.inf if event.type is _EDGES[0] else at
            if event.type is _EDGES[1] and in_speech and at - last_text < hold:
                yield f"END_OF_SPEECH at {at:.2f} s, while the caller speaks"
            if event.alternatives and event.alternatives[0].text:
                last_text = at
                if at - last_open > STRAGGLER:
                    yield f"{event.type.value} at {at:.2f} s outside of speech"

    def _check_accounts(self, *, whole: bool) -> Iterator[str]:
        """Yield what does not add up in the accounts, or is not what the providers got."""
        if len(self._ended) != 1:
            yield f"{len(self._ended)} accounts were reported"
            return
        (ended,) = self._ended
        parts = [ended.final, ended.silence, ended.lost, ended.buffered]
        samples = [round(seconds * RATE) for seconds in parts]
        pushed = round(ended.pushed * RATE)
        if sum(samples) != pushed or min(samples) < 0:
            yield f"the audio does not add up: {ended}"
        if pushed != self._samples_pushed:
            yield f"{self._samples_pushed} samples were pushed, and accounted are {pushed}"
        if ended.lost > self._seconds_lost + 1e-6:
            yield f"{ended.lost:.3f} s are lost, and {self._seconds_lost:.3f} s were reported"
        if whole and not self._error and round(ended.buffered * RATE):
            yield f"the stream has finished, and {ended.buffered:.3f} s are buffered"
        words = Counter[str]()
        for data in self._finals:
            words[(data.metadata or {})["provider"]] += len(tokenize(data.text, data.language))
        if whole and +Counter(ended.words) != +words:
            yield f"words {dict(words)} were emitted, and accounted are {ended.words}"
        yield from self._check_audio_sent(ended)

    def _check_audio_sent(self, ended: StreamEnded) -> Iterator[str]:
        """Yield audio that connections got beyond the accounts, and connections without an end."""
        if sorted(self._opened) != sorted(c.connection for c in self._closed):
            yield f"connections {self._opened} were opened, and closed were {self._closed}"
        sent, closed, received = Counter[str](), Counter[str](), Counter[str]()
        for part in ended.sent:
            sent[part.provider] += round(part.seconds * RATE)
        for connection in self._closed:
            closed[connection.provider] += round(connection.seconds * RATE)
        for stream in self._call.streams:
            received[stream.name] += stream.samples_received
        if +sent != +closed or not received <= sent:
            yield f"samples sent: {sent}, by connection {closed}, received {received}"
        serving = sum(a.seconds for a in ended.sent if a.role in (Role.ACTIVE, Role.RECONNECT))
        if not 0 <= ended.replayed <= serving + 1e-6:
            yield f"{ended.replayed} s of {serving} s are a replay"

    def _check_repeats(self) -> Iterator[str]:
        """Yield words of interims that were final before."""
        spoken = self._schedule.words
        if len(set(spoken)) < len(spoken):
            return
        told = self._told if self._schedule.accents else lambda text: set(_words_of(text))
        final: set[str] = set()
        for event in self._events:
            if event.type is _FINAL:
                final |= told(event.alternatives[0].text)
            elif event.type is _INTERIM and (again := final & told(event.alternatives[0].text)):
                yield f"an interim repeats final words: {sorted(again)}"

    def _told(self, text: str) -> set[str]:
        """The spoken words that a text holds, however they are written."""
        return written_words(self._spoken(), text)


def _words_of(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _describe(event: stt.SpeechEvent) -> str:
    data = event.alternatives[0] if event.alternatives else None
    if data is None:
        return event.type.value
    words = [f"{w}@{w.start_time:.3f}-{w.end_time:.3f}" for w in data.words or []]
    span = f"{data.start_time:.3f}-{data.end_time:.3f}"
    return f"{event.type.value} {data.text!r} {span} {words}"
