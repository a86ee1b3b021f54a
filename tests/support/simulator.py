"""A virtual clock, a speaker and scripted recognizers around one `FailoverEngine`.

A recognizer knows only the samples that it was sent. It transcribes a word correctly if it got all
of it, and as a wrong fragment if it got a part. So a lost, repeated or clipped word shows in the
text. Noise is a word without text: the voice detector reports it, but no recognizer transcribes it.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

from resilient_stt.core.engine import FailoverEngine
from resilient_stt.core.events import Decision, ErrorKind, Event, Role, StreamEnded
from resilient_stt.core.health.breaker import Breaker
from resilient_stt.core.health.provider import ProviderHealth
from resilient_stt.core.hedging.budget import HedgeBudget
from resilient_stt.core.messages import (
    AudioPushed,
    CloseConnection,
    Command,
    ConnectionEnded,
    ConnectionFailed,
    DeadlineReached,
    Emit,
    EndInput,
    EventKind,
    Finish,
    FlushConnection,
    FlushRequested,
    GiveUp,
    Input,
    InputEnded,
    OpenConnection,
    ProviderEvent,
    ReleaseAudio,
    ReportAvailability,
    ReportEvent,
    SendAudio,
    SendSilence,
    SetServing,
    SpeechEnded,
    SpeechStarted,
    StreamOpened,
    TranscriptEvent,
    VoiceSound,
    Word,
)
from resilient_stt.core.policy import Pace, Policies, ProviderTraits, RoutingPolicy
from resilient_stt.core.routing.language import LanguageTracker, Router
from resilient_stt.testing.speech.accent import Accent

from .accounts import assert_adds_up, assert_complete

RATE = 16_000
START_DELAY = 0.1
"""Seconds of voice after which the voice detector reports the start of speech."""
END_DELAY = 0.35
"""Seconds of silence after which the voice detector reports the end of speech."""
BUSY = 300
"""Inputs at one moment that show an endless loop: time no longer passes."""
MANY = 50_000
"""Inputs after which a simulation is taken for endless."""
SHORTEST_FRAGMENT = 0.1
"""Seconds of a clipped word from which on a recognizer writes a fragment."""


SPEECH, NOISE = VoiceSound(57.0, 13.5), VoiceSound(65.0, 4.0)
"""What words and noise sound like: as speech and babble of the kit."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A word as it was spoken, in seconds of the stream's audio, on whole samples."""

    text: str
    start: float
    end: float


def speak(*words: tuple[str, float, float]) -> list[Spoken]:
    """Return words at their times, from (text, silence before it, duration) in seconds."""
    spoken, at = [], 0.0
    for text, gap, length in words:
        start = round(at + gap, 3)
        at = round(start + length, 3)
        spoken.append(Spoken(text, start, at))
    return spoken


def noise(before: float, length: float) -> tuple[str, float, float]:
    """Return a cough or music for `speak`: voice for the detector, without words."""
    return ("", before, length)


def sentence(
    text: str, *, before: float = 0.6, word: float = 0.3, gap: float = 0.05
) -> list[tuple[str, float, float]]:
    """Return the words of a text for `speak`, with `before` seconds of silence at the start."""
    return [(piece, gap if index else before, word) for index, piece in enumerate(text.split())]


# -- what goes wrong with one connection


@dataclass(frozen=True)
class Refuse:
    """Opening the connection fails, and that takes `after` seconds."""

    kind: ErrorKind = ErrorKind.CONNECT
    after: float = 0.05


HANG = Refuse(after=1.5)
"""The handshake hangs until the connect timeout."""


@dataclass(frozen=True)
class Drop:
    """The connection drops `after` seconds after it was opened.

    `sends_final`: it sends a last FINAL of its pending words before that.
    """

    after: float
    sends_final: bool = False
    kind: ErrorKind = ErrorKind.DROPPED


@dataclass(frozen=True)
class EndCleanly:
    """It ends without an error `after` seconds after it was opened.

    If its input has ended by then, it drops.
    """

    after: float


@dataclass(frozen=True)
class DropAfterClose:
    """It drops `after` seconds after the end of its input, without its last FINAL."""

    after: float = 0.05


@dataclass(frozen=True)
class LostTail:
    """It ends cleanly after the end of its input, but leaves out its last FINAL."""


@dataclass(frozen=True)
class IgnoreClose:
    """It stays open after the end of its input; `sends_final`: its last FINAL comes."""

    sends_final: bool = True


@dataclass(frozen=True)
class Stall:
    """It sends nothing for `lasts` seconds, from `after` seconds after it was opened on.

    What it held back then comes at once. `ends`: it ends all the same after the end of its input.
    """

    after: float
    lasts: float = math.inf
    ends: bool = False

    def mute(self, lived: float) -> bool:
        return self.after <= lived < self.after + self.lasts


DEAF = Stall(0.0)
"""It connects, and never sends anything."""


@dataclass(frozen=True)
class EmptyFinals:
    """Its finals are empty and no interims come, from `after` seconds after it was opened on."""

    after: float = 0.0


@dataclass(frozen=True)
class Latency:
    """Everything that it sends comes so many seconds later."""

    seconds: float


@dataclass(frozen=True)
class LostFinal:
    """Its `nth` FINAL, counted from 0, is never sent, and it goes on as if nothing had happened.

    `with_interims`: the interim transcripts before that FINAL are sent. `on`: all later finals are
    lost as well.
    """

    nth: int = 0
    with_interims: bool = True
    on: bool = False


Fault = (
    Refuse
    | Drop
    | EndCleanly
    | DropAfterClose
    | LostTail
    | IgnoreClose
    | Stall
    | EmptyFinals
    | Latency
    | LostFinal
)


@dataclass
class Recognizer:
    """A provider: how it transcribes, and the `faults` of its connections, in the order of opening.

    `down`: periods, in seconds since the start of the stream, in which it accepts no connection and
    drops the open ones. `stalled`: periods in which its connections stay open, but send nothing;
    those that were open never recover. `deaf`: periods in which all its connections stay open, but
    send nothing, and never recognize what they are sent then; they recover.
    """

    name: str = "a"
    faults: Sequence[Fault | None] = ()
    down: Sequence[tuple[float, float]] = ()
    stalled: Sequence[tuple[float, float]] = ()
    deaf: Sequence[tuple[float, float]] = ()
    times: str = "words"
    """`words`, `end` or `none`."""
    latency: float = 0.2
    endpointing: float = 0.3
    """Seconds of silence after which it sends a FINAL."""
    speed: float = 20.0
    """How many times faster than real time it processes audio."""
    most: int = 99
    """Words after which it sends a FINAL without a pause."""
    interims: bool = True
    flushes: bool = True
    """A flush makes it send a FINAL."""
    slow_endpointing: bool = False
    final_timeout: float = 1.2
    end_of_turn_timeout: float = 0.0
    finalizes_when_dropped: bool = False
    finalizes_at_end: bool = True
    """The end of its input makes it send a FINAL. Its stream then ends, else only with the call."""
    known: bool = True
    """Whether that it does not is among its traits."""
    endpointing_known: bool = False
    """Whether its endpointing is among its traits."""
    interim_interval: float = 0.0
    """Seconds between two of its interim transcripts of one utterance, at least."""
    last_resort: bool = False
    """Whether it is to serve only while no other provider works."""
    empties: bool = False
    """It sends an empty FINAL for each second of audio without words."""
    jitter: Callable[[int], float] = lambda _: 0.0
    """Error in seconds of the n-th start or end of a word."""
    spell: Callable[[str], str] = str
    accent: Accent | None = None
    """How it writes and times words that it was sent whole."""
    pace: Pace = field(default_factory=lambda: Pace(burst=5.0, rate=2.0))

    def is_down(self, at: float) -> bool:
        return any(since <= at < until for since, until in self.down)

    def is_deaf(self, at: float) -> bool:
        return any(since <= at < until for since, until in self.deaf)

    @property
    def traits(self) -> ProviderTraits:
        return ProviderTraits(
            name=self.name,
            pace=self.pace,
            interim_results=self.interims,
            manual_flush=self.flushes,
            slow_endpointing=self.slow_endpointing,
            final_timeout=self.final_timeout,
            end_of_turn_timeout=self.end_of_turn_timeout,
            finalizes_when_dropped=self.finalizes_when_dropped,
            endpointing=self.endpointing if self.endpointing_known else 0.0,
            interim_interval=self.interim_interval,
            finalizes_at_end=self.finalizes_at_end or not self.known,
            last_resort=self.last_resort,
        )


@dataclass(frozen=True)
class TranscribedWord:
    """A word or a fragment, in seconds of the connection's own audio, as an `Accent` takes it."""

    index: int
    text: str
    start: float
    end: float
    whole: bool
    language: str = "en"


@dataclass
class PartialWord:
    """The part of a word that a connection was sent.

    `since` and `until` are samples of the stream, `start` and `end` seconds of the connection's
    own audio. `whole`: nothing is missing so far.
    """

    since: int
    until: int
    start: float
    end: float
    whole: bool = True


class SimulatedConnection:
    """One connection to a recognizer."""

    def __init__(
        self, sim: Simulation, connection: int, recognizer: Recognizer, fault: Fault | None
    ):
        self.sim = sim
        self.id = connection
        self.of = recognizer
        self.fault = fault
        self.spans: list[tuple[int, int]] = []
        self.sent = 0
        self.ended = False
        self.opened_at = self._busy = sim.now
        self._final_at = sim.now
        self._late = fault.seconds if isinstance(fault, Latency) else 0.0
        self._wordless_at = 0.0
        self._words = iter([w for w in sim.words if w.text])
        self._word = next(self._words, None)
        self._part: PartialWord | None = None
        self._pending: list[TranscribedWord] = []
        self._started = False
        self._interim_at = -math.inf
        """Second of its own audio of the last word that it gave an interim transcript for."""
        self._edges = itertools.count()
        self._finals = 0
        self._schedule_fault()

    # -- from the engine

    def receive(self, start: int, end: int) -> None:
        self.spans.append((start, end))
        at = self.sent / RATE
        self.sent += end - start
        self._busy = max(self._busy, self.sim.now) + (end - start) / RATE / self.of.speed
        if isinstance(self.fault, Refuse):
            return
        if self._is_deaf:
            self._miss(end)
            return
        while self._word and round(self._word.start * RATE) < end:
            if not self._process(self._word, start, end, at):
                break
            self._word = next(self._words, None)
        speaking = self._part is not None
        if not speaking:
            self._endpoint(self.sent / RATE)
        if speaking or self._pending:
            self._wordless_at = self.sent / RATE
        elif self.of.empties and self.sent / RATE >= self._wordless_at + 1.0:
            self._wordless_at = self.sent / RATE
            self._send(TranscriptEvent(EventKind.FINAL))

    def receive_silence(self, seconds: float) -> None:
        if isinstance(self.fault, Refuse) or self._is_deaf:
            return
        if self._word and self._part:  # the caller hung up in it
            self._finish_word(self._word, self._part, round(self._word.end * RATE))
            self._part = None
        self.sent += round(seconds * RATE)
        self._busy = max(self._busy, self.sim.now) + seconds / self.of.speed
        self._endpoint(self.sent / RATE)

    def flush(self) -> None:
        if self.of.flushes:
            self._finalize(len(self._pending))

    def end(self) -> None:
        self.ended = True
        if isinstance(self.fault, Refuse) or not self.of.finalizes_at_end:
            return
        if isinstance(self.fault, DropAfterClose):
            self._in(self.fault.after, ConnectionFailed(self.id, ErrorKind.DROPPED, "drop"))
        elif isinstance(self.fault, LostTail):
            self._deliver_at(self._busy + 0.05, ConnectionEnded(self.id))
        elif not isinstance(self.fault, IgnoreClose):
            self._finalize(len(self._pending))
            self._deliver_at(self._processed_at + 0.05, ConnectionEnded(self.id))
        elif self.fault.sends_final:
            self._finalize(len(self._pending))

    # -- transcribing

    @property
    def _is_deaf(self) -> bool:
        return self.of.is_deaf(self.sim.now - self.sim.base)

    def _miss(self, end: int) -> None:
        """Forget what it has recognized, and take what it is sent for silence."""
        self._pending, self._part, self._started = [], None, False
        while self._word and round(self._word.end * RATE) <= end:
            self._word = next(self._words, None)

    def _process(self, word: Spoken, start: int, end: int, at: float) -> bool:
        """Process the part of a word in a span of audio; return whether the word is over."""
        first, last = round(word.start * RATE), round(word.end * RATE)
        since, until = max(first, start), min(last, end)
        if since < until:
            edges = (at + (since - start) / RATE, at + (until - start) / RATE)
            part = self._part
            if part is None:
                self._endpoint(edges[0])
                part = self._part = PartialWord(since, until, *edges, whole=since == first)
            else:
                part.whole = part.whole and part.until == since
                part.until, part.end = until, edges[1]
            self._start_speech(part)
        if end < last:
            return False
        if self._part:
            self._finish_word(word, self._part, last)
        self._part = None
        return True

    def _start_speech(self, part: PartialWord) -> None:
        if not self._started and part.end - part.start >= SHORTEST_FRAGMENT:
            self._started = True
            self._send(TranscriptEvent(EventKind.START))

    def _finish_word(self, word: Spoken, part: PartialWord, last: int) -> None:
        whole = part.whole and part.until == last
        if not whole and part.end - part.start < SHORTEST_FRAGMENT:
            return
        text = self.of.spell(word.text) if whole else f"fragment{word.start:.0f}"
        jitter = [self.of.jitter(next(self._edges)) for _ in range(2)]
        start = max(0.0, part.start + jitter[0])
        end = max(start + 0.02, part.end + jitter[1])
        index = self.sim.words.index(word)
        self._pending.append(TranscribedWord(index, text, start, end, whole))
        if len(self._pending) >= self.of.most:
            self._finalize(self.of.most)
        elif self.of.interims and end - self._interim_at >= self.of.interim_interval:
            self._interim_at = end
            self._send(self._transcript(EventKind.INTERIM, self._pending))

    def _endpoint(self, at: float) -> None:
        """Send a FINAL after enough silence."""
        if self._started and not self._pending:
            self._finalize(0)
        elif self._pending and at - self._pending[-1].end >= self.of.endpointing:
            self._finalize(len(self._pending))

    def _finalize(self, count: int) -> None:
        event, self._pending = self._pending[:count], self._pending[count:]
        if event:
            self._interim_at = -math.inf
            self._final_at = self._processed_at
            self._send(self._transcript(EventKind.FINAL, event))
        if self._started and not self._pending:
            self._started = False
            self._send(TranscriptEvent(EventKind.END))

    def _transcript(self, kind: EventKind, heard: Sequence[TranscribedWord]) -> TranscriptEvent:
        written = self.of.accent.write(heard) if self.of.accent else heard
        words = [Word(w.text, w.start, w.end) for w in written]
        text = " ".join(w.text for w in words)
        if not words:  # all of it is fillers that are left out
            return TranscriptEvent(kind)
        if self.of.times == "words":
            return TranscriptEvent(kind, text, tuple(words), words[0].start, words[-1].end)
        if self.of.times == "end":
            return TranscriptEvent(kind, text, (), words[0].start, words[-1].end)
        return TranscriptEvent(kind, text)

    # -- sending events

    @property
    def _processed_at(self) -> float:
        """When it can send a transcript of the audio that it was sent."""
        return self._busy + self.of.latency + self._late

    def _send(self, event: TranscriptEvent) -> None:
        fault = self.fault
        if isinstance(fault, EmptyFinals) and self.sim.now >= self.opened_at + fault.after:
            if event.kind is EventKind.INTERIM:
                return
            event = TranscriptEvent(event.kind)
        if isinstance(fault, LostFinal) and event.text and self._loses(event, fault):
            return
        self._deliver_at(self._processed_at, ProviderEvent(self.id, event))

    def _loses(self, event: TranscriptEvent, fault: LostFinal) -> bool:
        """Return whether this event belongs to a FINAL that gets lost; count the finals."""
        number = self._finals
        self._finals += event.kind is EventKind.FINAL
        lost = number >= fault.nth if fault.on else number == fault.nth
        return lost and (event.kind is EventKind.FINAL or not fault.with_interims)

    def _deliver_at(self, at: float, event: Input) -> None:
        self.sim.at(at, lambda: self._deliver(event))

    def _in(self, seconds: float, event: Input) -> None:
        self._deliver_at(self.sim.now + seconds, event)

    def _deliver(self, event: Input) -> None:
        if self.id not in self.sim.connections:
            return
        if isinstance(event, ProviderEvent) and self._is_deaf:
            return
        until = self._mute_until(event)
        if until is None or until <= self.sim.now:
            self.sim.handle(event)
        elif until < math.inf:
            self._deliver_at(until, event)

    def _mute_until(self, event: Input) -> float | None:
        """Return until when a stall holds this event back; `None` if none does."""
        if isinstance(event, ConnectionFailed):
            return None
        now = self.sim.now
        for since, until in self.of.stalled:
            if now >= self.sim.base + since and self.opened_at < self.sim.base + until:
                return math.inf
        fault = self.fault
        if not isinstance(fault, Stall) or not fault.mute(now - self.opened_at):
            return None
        if fault.ends and isinstance(event, ConnectionEnded):
            return None
        return self.opened_at + fault.after + fault.lasts

    def _schedule_fault(self) -> None:
        match self.fault:
            case Refuse(kind, after):
                self._in(after, ConnectionFailed(self.id, kind, "refused", backoff=self.sim.wait))
            case Drop(after):
                self.sim.at(self.sim.now + after, self._drop)
            case EndCleanly(after):
                self.sim.at(self.sim.now + after, self._end_early)

    def _drop(self) -> None:
        assert isinstance(self.fault, Drop)
        # A plugin emits in order: nothing can overtake a FINAL that is still on its way.
        if self.fault.sends_final and self._pending and self.sim.now >= self._final_at:
            self._deliver(ProviderEvent(self.id, self._transcript(EventKind.FINAL, self._pending)))
        self._deliver(ConnectionFailed(self.id, self.fault.kind, "drop", backoff=self.sim.wait))

    def _end_early(self) -> None:
        wait = self.sim.wait
        if self.ended:  # a clean end would look as if all words had come
            self._deliver(ConnectionFailed(self.id, ErrorKind.DROPPED, "drop", backoff=wait))
        else:
            self._deliver(ConnectionEnded(self.id, backoff=wait))

    def go_down(self) -> None:
        self._deliver(ConnectionFailed(self.id, ErrorKind.DROPPED, "down", backoff=self.sim.wait))


def routing(providers: Sequence[ProviderTraits]) -> LanguageTracker:
    """The routing of an engine that has one route."""
    return LanguageTracker(Router({"default": providers}), RoutingPolicy())


class Simulation:
    """Runs an engine to its end, checks every command, and records all of them."""

    def __init__(
        self,
        words: Sequence[Spoken],
        recognizers: Sequence[Recognizer],
        *,
        vad_enabled: bool = True,
        tail: float = 0.6,
        flushes: Sequence[float] = (),
        policies: Policies | None = None,
        frame: float = 0.05,
        base: float = 1_000.7,
        pad: float = 0.0,
        rush: float = 1.0,
        sounds: bool = False,
        noisy_words: Collection[str] = (),
    ) -> None:
        """`pad`: seconds by which the voice detector's segments reach beyond the voice.

        `sounds`: the voice detector tells words from noise by their sound, but for `noisy_words`.

        `rush`: how many times faster than real time the audio is pushed.
        """
        self.words = list(words)
        self.recognizers = {r.name: r for r in recognizers}
        self.policies = policies or Policies()
        self.health = {r.name: ProviderHealth(Breaker(self.policies.breaker)) for r in recognizers}
        watchdog = self.policies.watchdog
        self.budget = HedgeBudget(
            watchdog.hedge_audio_share,
            watchdog.hedge_audio_allowance,
            watchdog.hedge_audio_window,
        )
        self.engine = FailoverEngine(
            routing([r.traits for r in recognizers]),
            self.health,
            self.policies,
            self.budget,
            vad_enabled=vad_enabled,
        )
        self.vad_enabled = vad_enabled
        self.pad = pad
        self.rush = rush
        self.sounds = sounds
        self.noisy_words = frozenset(noisy_words)
        self.base = base
        self.now = base
        self.connections: dict[int, SimulatedConnection] = {}
        self.roles: dict[int, Role] = {}
        """The role in which each connection was opened."""
        self.closed: list[SimulatedConnection] = []
        self.commands: list[tuple[float, Command]] = []
        self.inputs: list[tuple[float, Input]] = []
        self.pushed = 0
        self.released = 0
        self.kept: tuple[int, int] | None = None
        """Committed words that are not released."""
        self._world = {
            "tail": tail,
            "frame": frame,
            "base": base,
            "pad": pad,
            "vad_enabled": vad_enabled,
        }
        self._busy = 0
        """Inputs at this moment so far."""
        self._queue: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._faults = {r.name: iter(r.faults) for r in recognizers}
        self._speak(frame, tail, flushes)
        for recognizer in recognizers:
            for since, _ in recognizer.down:
                self.at(base + since, partial(self._go_down, recognizer.name))

    def __repr__(self) -> str:
        words = [(w.text, w.start, w.end) for w in self.words]
        return f"Simulation({words}, {list(self.recognizers.values())}, {self._world})"

    # -- the world

    def at(self, when: float, action: Callable[[], object]) -> None:
        heapq.heappush(self._queue, (when, next(self._order), action))

    @property
    def wait(self) -> float:
        retry = self.policies.retry
        return min(retry.wait_max, retry.wait_min * 2.0 ** min(self.engine.failures_in_a_row, 10))

    def _speak(self, frame: float, tail: float, flushes: Sequence[float]) -> None:
        length = (self.words[-1].end if self.words else 0.0) + tail
        total = round(length * RATE)
        step = round(frame * RATE)
        edges = [*range(step, total, step), *([total] if total else [])]
        self._happens(0, StreamOpened())
        voices = self._voices() if self.vad_enabled else []
        marks = sorted(round(f * RATE) for f in flushes)
        for before, edge in itertools.pairwise([0, *edges]):
            self._happens(edge, AudioPushed(edge - before, RATE))
            while voices and voices[0][0] <= edge:
                self._happens(edge, voices.pop(0)[1])
            while marks and marks[0] <= edge:
                marks.pop(0)
                self._happens(edge, FlushRequested())
        self.ended_at = self.base + total / RATE / self.rush
        self._happens(total, InputEnded())

    def _happens(self, position: int, event: Input) -> None:
        self.at(self.base + position / RATE / self.rush, lambda: self.handle(event))

    def _voices(self) -> list[tuple[int, Input]]:
        """Return what the voice detector reports, with the sample at which it can."""
        reports: list[tuple[int, Input]] = []
        delays, pad = (round(START_DELAY * RATE), round(END_DELAY * RATE)), round(self.pad * RATE)
        for start, end in voiced(self.words):
            reports.append((start + delays[0], SpeechStarted(max(0, start - pad))))
            sound = self._sound(start, end) if self.sounds else None
            reports.append((end + delays[1], SpeechEnded(end + pad, sound)))
        return reports

    def _sound(self, start: int, end: int) -> VoiceSound:
        """Return what the voice between two samples sounds like: a word in it makes it speech."""
        inside = (w.text for w in self.words if start < w.end * RATE and w.start * RATE < end)
        return SPEECH if {*inside} - self.noisy_words - {""} else NOISE

    def _go_down(self, name: str) -> None:
        for connection in list(self.connections.values()):
            if connection.of.name == name:
                connection.go_down()

    # -- the loop

    def run(self, *, within: float | None = None) -> Simulation:
        """Run until the engine is done, at most `within` seconds after the end of input."""
        limit = self.ended_at + (within if within is not None else 130.0)
        while not self.engine.done:
            assert len(self.inputs) < MANY, f"no end of inputs: {self.engine!r}"
            due = self.engine.deadline()
            if due is not None and (not self._queue or due <= self._queue[0][0]):
                self.now = max(self.now, due)
                self._wake()
            elif self._queue:
                when, _, action = heapq.heappop(self._queue)
                self.now = max(self.now, when)
                action()
            else:
                raise AssertionError(f"nothing will ever happen again: {self.engine!r}")
            assert self.now <= limit, f"not finished {self.now - self.ended_at:.1f} s after the end"
        assert not self.connections, "a connection is still open"
        assert self.engine.deadline() is None
        return self

    def _wake(self) -> None:
        did = self.handle(DeadlineReached(backoff=self.wait))
        due = self.engine.deadline()
        progress = [c for c in did if not isinstance(c, ReleaseAudio)]
        assert progress or due is None or due > self.now, f"woken for nothing: {self.engine!r}"

    def handle(self, event: Input) -> list[Command]:
        self._busy = self._busy + 1 if self.inputs and self.inputs[-1][0] == self.now else 0
        assert self._busy < BUSY, f"no end of inputs at one moment: {self.engine!r}"
        self.inputs.append((self.now, event))
        if isinstance(event, AudioPushed):
            self.pushed += event.samples
        commands = self.engine.handle(event, self.now)
        for command in commands:
            self.commands.append((self.now, command))
            self._execute(command)
        assert self.pushed - self.released <= (self.policies.replay.window + 0.001) * RATE
        if any(isinstance(c, OpenConnection | CloseConnection) for c in commands):
            self._check_roles()
        return commands

    def _check_roles(self) -> None:
        """Check that one connection is active, with at most one hedge and one probe beside it.

        In an outage none is active, and each provider may have a few reconnects.
        """
        living = {connection.id: connection for connection in self.engine._pool}
        assert set(living) == set(self.connections), "a connection that the engine does not know"
        for connection in living.values():
            self.roles.setdefault(connection.id, connection.role)
        roles = Counter(connection.role for connection in living.values())
        assert roles[Role.HEDGE] <= roles[Role.ACTIVE] <= 1
        assert roles[Role.PROBE] <= 1
        assert not (roles[Role.ACTIVE] and roles[Role.RECONNECT])
        attempts = Counter(x.traits.name for x in living.values() if x.role is Role.RECONNECT)
        assert all(n <= self.policies.retry.max_concurrent_attempts for n in attempts.values())

    def _execute(self, command: Command) -> None:
        match command:
            case OpenConnection(number, name, start):
                assert all(number > c.id for c in [*self.closed, *self.connections.values()])
                assert self._is_held(start, start)
                assert start <= self.pushed
                self.connections[number] = self._connect(number, self.recognizers[name])
            case SendAudio(number, start, end):
                connection = self.connections[number]
                assert not connection.ended
                assert self._is_held(start, end)
                assert start < end <= self.pushed
                assert not connection.spans or connection.spans[-1][1] <= start
                connection.receive(start, end)
                pace, lived = connection.of.pace, self.now - connection.opened_at
                assert connection.sent / RATE <= pace.burst + pace.rate * lived + 0.001
            case FlushConnection(number):
                assert not self.connections[number].ended
                self.connections[number].flush()
            case SendSilence() | EndInput():
                self._end_input(command)
            case CloseConnection(number):
                self.closed.append(self.connections.pop(number))
            case ReleaseAudio(before, kept):
                assert before >= self.released
                assert kept is None or self._is_held(*kept)
                self.released, self.kept = before, kept
            case Finish() | GiveUp():
                assert not self.connections, "a connection is still open"
            case ReportEvent(StreamEnded() as ended):
                assert_adds_up(ended, RATE)
                events = self.all_events
                assert_complete(events[: events.index(ended) + 1])
            case Emit() | SetServing() | ReportAvailability() | ReportEvent():
                pass

    def _end_input(self, command: SendSilence | EndInput) -> None:
        connection = self.connections[command.connection]
        assert not connection.ended
        assert self.now >= self.ended_at
        if isinstance(command, SendSilence):
            connection.receive_silence(command.seconds)
        else:
            connection.end()

    def _is_held(self, start: int, end: int) -> bool:
        """Return whether the audio between two samples was not released."""
        kept = self.kept
        return start >= self.released or (kept is not None and kept[0] <= start <= end <= kept[1])

    def _connect(self, connection: int, recognizer: Recognizer) -> SimulatedConnection:
        fault = next(self._faults[recognizer.name], None)
        if recognizer.is_down(self.now - self.base):
            fault = Refuse()
        return SimulatedConnection(self, connection, recognizer, fault)

    # -- the results

    @property
    def emitted(self) -> list[Emit]:
        return [c for _, c in self.commands if isinstance(c, Emit)]

    @property
    def finals(self) -> list[Emit]:
        return [e for e in self.emitted if e.kind is EventKind.FINAL]

    @property
    def text(self) -> list[str]:
        """The committed words."""
        return " ".join(e.text for e in self.finals).split()

    @property
    def speech(self) -> list[EventKind]:
        """START and END, in order."""
        return [e.kind for e in self.emitted if e.kind in (EventKind.START, EventKind.END)]

    @property
    def all_events(self) -> list[Event]:
        return [c.event for _, c in self.commands if isinstance(c, ReportEvent)]

    @property
    def events(self) -> list[Decision]:
        return [event for event in self.all_events if isinstance(event, Decision)]

    @property
    def opened(self) -> list[str]:
        """The providers of the connections, in order."""
        return [c.provider for _, c in self.commands if isinstance(c, OpenConnection)]

    def opened_as(self, role: Role) -> list[str]:
        """The providers of the connections that were opened in this role, in order."""
        connections = [c for _, c in self.commands if isinstance(c, OpenConnection)]
        return [c.provider for c in connections if self.roles.get(c.connection) is role]

    @property
    def served(self) -> list[str]:
        """The providers of the active connections, in order."""
        return [c.provider for _, c in self.commands if isinstance(c, SetServing)]

    @property
    def spoken(self) -> list[str]:
        """The words that were spoken."""
        return [w.text for w in self.words if w.text]

    @property
    def gave_up(self) -> bool:
        return any(isinstance(c, GiveUp) for _, c in self.commands)

    @property
    def seconds(self) -> float:
        """Seconds from the end of input to the end of the stream."""
        return self.now - self.ended_at


def voiced(words: Sequence[Spoken]) -> list[tuple[int, int]]:
    """Return the segments of voice in samples; pauses too short for the detector join them."""
    segments: list[tuple[int, int]] = []
    for word in words:
        start, end = round(word.start * RATE), round(word.end * RATE)
        if segments and start - segments[-1][1] < round(END_DELAY * RATE):
            segments[-1] = (segments[-1][0], end)
        else:
            segments.append((start, end))
    return segments
