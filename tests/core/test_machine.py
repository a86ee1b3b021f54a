"""Any input in any state: a Hypothesis state machine gives one engine all of them, in any order.

It keeps a small model (what was pushed, which connections are open, what each was sent) and checks
every command against it. At the end the connections end, fail or stay silent, and the engine must
finish.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from resilient_stt.core.engine import FailoverEngine
from resilient_stt.core.events import AudioLost, ErrorKind, Role, StreamEndReason
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
    OptionsChanged,
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
    VoiceActivityLost,
    Word,
)
from resilient_stt.core.policy import (
    FailbackPolicy,
    Pace,
    Policies,
    ProviderTraits,
    ReplayPolicy,
    RetryPolicy,
    WatchdogPolicy,
)
from resilient_stt.core.transcript.similarity import MAX_FUZZY_LETTERS
from resilient_stt.core.transcript.tokens import is_similar

from ..support.accounts import assert_adds_up
from ..support.promises import alone
from ..support.simulator import routing

MORE = int(os.environ.get("FUZZ", "1"))
"""Factor on the number of examples; CI runs 1."""
RATE = 16_000
AT_ONCE = 3
"""Times in a row that a deadline may lie at the current moment."""
WAKES = 10_000
"""Wake-ups after which a stream is taken for endless: an outage makes at most ten attempts a
second, and a replay sends 50 ms at a time."""
ENDS_WITHIN = 450.0
"""Seconds within which an engine finishes whatever its connections do. Two silent connections to
each of three providers take a window of 60 s in real time; the outage limit comes on top."""
WAYS = ["ends", "fails", "silent"]
"""What the connections do once the input has ended."""
TEXT = (EventKind.INTERIM, EventKind.PREFLIGHT, EventKind.FINAL)

POLICIES = [
    Policies(),
    Policies(
        retry=RetryPolicy(outage_limit=8.0),
        replay=ReplayPolicy(window=5.0),
        failback=FailbackPolicy(min_dwell=1.0, min_interval=2.0),
    ),
    Policies(replay=ReplayPolicy(window=1.0)),
    Policies(watchdog=WatchdogPolicy(hedging=False)),
]
DELAYS = st.sampled_from([0.0, 0.0, 0.01, 0.1, 0.7, 3.0, 31.0, 400.0])
"""Seconds until the next input; the long ones stand for a process that was suspended."""
WAITS = st.sampled_from([0.0, 0.1, 0.5])
WHICH = st.integers(0, 5)
PROVIDERS = st.builds(
    ProviderTraits,
    name=st.just(""),
    pace=st.builds(
        Pace, burst=st.sampled_from([0.05, 0.5, 8.0]), rate=st.sampled_from([1.0, 1.5, 2.0])
    ),
    interim_results=st.booleans(),
    manual_flush=st.booleans(),
    slow_endpointing=st.booleans(),
    final_timeout=st.sampled_from([0.0, 1.2]),
    end_of_turn_timeout=st.sampled_from([0.0, 6.0]),
)
TOKENS = st.sampled_from(
    ["one", "two", "three", "four", "2", "no", "no", "今", "reserve", "reserv"]
)
SANE = st.lists(TOKENS, max_size=4).map(" ".join)
WILD = st.text(st.characters(), max_size=12) | st.sampled_from(
    ["", " ", "\ud800", "\x00", "...", "x" * 300, "a b " * 300]
)
WILD_TIMES = st.floats() | st.floats(-2, 60) | st.sampled_from([1e308, -1e308, 5e-324])
LANGUAGES = st.sampled_from(["", "en", "zh-Hant", "--", "\ud800"])


@dataclass
class FedConnection:
    """What an open connection was sent."""

    provider: str
    start: int
    opened_at: float
    cursor: int
    committed: int
    """Audio before this sample was committed when it was opened."""
    samples: int = 0
    ended: bool = False


@dataclass
class Source:
    """The source of a transcript event: it identifies its connection, and counts its emissions."""

    connection: int
    kind: EventKind
    emitted: int = 0


class AnyInput(RuleBasedStateMachine):
    """One engine with its caller, its connections and its clock."""

    @initialize(
        route=st.lists(PROVIDERS, min_size=1, max_size=3),
        policy=st.integers(0, len(POLICIES) - 1),
        vad_enabled=st.booleans(),
        base=st.sampled_from([0.0, 1_000.7]),
    )
    def opened(
        self, route: list[ProviderTraits], policy: int, vad_enabled: bool, base: float
    ) -> None:
        policies = self.policies = POLICIES[policy]
        self.vad_enabled, self.now = vad_enabled, base
        self.vad_lost = False
        traits = [
            ProviderTraits(
                name=name,
                pace=p.pace,
                interim_results=p.interim_results,
                manual_flush=p.manual_flush,
                slow_endpointing=p.manual_flush and p.slow_endpointing,
                final_timeout=p.final_timeout,
                end_of_turn_timeout=p.end_of_turn_timeout,
            )
            for name, p in zip("abc", route, strict=False)
        ]
        self.route = {p.name: p for p in traits}
        self.health = {name: ProviderHealth(Breaker(policies.breaker)) for name in self.route}
        watchdog = policies.watchdog
        budget = HedgeBudget(
            watchdog.hedge_audio_share,
            watchdog.hedge_audio_allowance,
            watchdog.hedge_audio_window,
        )
        self.engine = FailoverEngine(
            routing(traits), self.health, policies, budget, vad_enabled=vad_enabled
        )
        self.connections: dict[int, FedConnection] = {}
        self.closed: set[int] = set()
        self.serving: int | None = None
        self.sources: list[Source] = []
        self.pushed = self.released = 0
        self.kept: tuple[int, int] | None = None
        """Committed words that are not released."""
        self.voice: list[tuple[int, int | None]] = []
        self.known: list[int] = []  # how much audio there was when its start was reported
        self.ended = self.speaking = False
        self.flush_unanswered = False
        self.idle_since: int | None = None
        self.lost = 0.0
        self.handle(StreamOpened())

    # -- one input, and what must hold after it

    def handle(self, event: Input) -> list[Command]:
        """Give the engine an input, check its commands, and wake it while its deadline is now."""
        commands = self._take(event)
        for _ in range(AT_ONCE):
            due = self.engine.deadline()
            if due is None or due > self.now:
                break
            commands += self._take(DeadlineReached(0.1))
        due = self.engine.deadline()
        assert due is None or self.now < due < math.inf, f"woken for nothing: {self.engine!r}"
        # After the normal close of an idle connection there is neither until there is audio.
        rests = self.pushed == self.idle_since and not self.ended
        assert self.engine.done or due is not None or self.connections or rests, (
            "no deadline and no connection"
        )
        return commands

    def _take(self, event: Input) -> list[Command]:
        done = self.engine.done
        commands = self.engine.handle(event, self.now)
        # Audio that comes too late is for the next stream, and may be lost by that.
        late = [c for c in commands if not isinstance(c, ReportEvent)]
        assert not (done and late), "commands after the end"
        released = max(
            [self.released, *(c.before for c in commands if isinstance(c, ReleaseAudio))]
        )
        for number, command in enumerate(commands):
            if isinstance(command, Finish | GiveUp):
                assert number == len(commands) - 1
            self._check(command, released)
        self._check_state()
        return commands

    def _check_state(self) -> None:
        living = {connection.id: connection for connection in self.engine._pool}
        assert set(living) == set(self.connections), "a connection that the engine does not know"
        roles = Counter(connection.role for connection in living.values())
        assert roles[Role.HEDGE] <= roles[Role.ACTIVE] <= 1
        assert roles[Role.PROBE] <= 1
        assert not (roles[Role.ACTIVE] and roles[Role.RECONNECT])
        window = self.policies.replay.window
        assert self.engine.done or self.pushed - self.released <= window * RATE + 1
        assert repr(self.engine)
        gone = self.engine._pool.gone_samples
        accounts = self.engine._accounts.ended(StreamEndReason.CLOSED, gone=gone)
        assert_adds_up(accounts, RATE)

    def _check(self, command: Command, released: int) -> None:
        match command:
            case OpenConnection(connection, provider, start):
                assert connection not in self.connections
                assert connection not in self.closed
                assert self._is_held(start, start)
                assert start <= self.pushed
                committed = self.engine._ledger.watermark
                self.connections[connection] = FedConnection(
                    provider, start, self.now, start, committed
                )
            case SendAudio(connection, start, end):
                self._check_audio(self.connections[connection], start, end, released)
            case FlushConnection(connection):
                assert not self.connections[connection].ended
            case SendSilence(connection, seconds):
                fed = self.connections[connection]
                assert self.ended
                assert not fed.ended
                assert fed.cursor == self.pushed, "silence before the last of the audio"
                assert seconds > 0
            case EndInput(connection):
                assert self.ended
                assert not self.connections[connection].ended
                assert self.connections[connection].cursor <= self.pushed
                self.connections[connection].ended = True
            case CloseConnection(connection):
                del self.connections[connection]
                self.closed.add(connection)
                self.idle_since = None if self.connections else self.pushed
            case ReleaseAudio(before, kept):
                assert self.released <= before <= self.pushed
                assert kept is None or self._is_held(*kept)
                self.released, self.kept = before, kept
            case _:
                self._check_output(command)

    def _check_output(self, command: Command) -> None:
        match command:
            case Emit():
                self._check_emitted(command)
            case ReportEvent(event):
                assert 0 <= event.at <= self.pushed / RATE
                if isinstance(event, AudioLost):
                    assert event.seconds > 0
                    self.lost += event.seconds
                    assert self.lost <= self.pushed / RATE + 0.001
            case Finish() | GiveUp():
                assert self.engine.done
                assert not self.connections, "a connection is still open"
                assert not self.speaking, "START without END"
            case SetServing(provider, connection):
                assert self.connections[connection].provider == provider
                self.serving = connection
            case ReportAvailability(provider, _):
                assert provider in self.route
            case _:
                raise AssertionError(f"unknown command {command!r}")

    def _check_audio(self, connection: FedConnection, start: int, end: int, released: int) -> None:
        assert not connection.ended
        assert self._is_held(start, end)
        assert start < end <= self.pushed
        assert connection.cursor <= start, "sent twice, or out of order"
        # A hedge is sent known words, and not what was committed behind them.
        gap = max(connection.cursor, released, connection.committed), start
        assert not self._voiced(*gap), f"speech was not sent to a connection: {gap}"
        connection.cursor = end
        connection.samples += end - start
        pace = self.route[connection.provider].pace
        allowed = pace.burst + pace.rate * (self.now - connection.opened_at)
        assert connection.samples / RATE <= allowed + 0.001

    def _is_held(self, start: int, end: int) -> bool:
        """Return whether the audio between two samples was not released."""
        kept = self.kept
        return start >= self.released or (kept is not None and kept[0] <= start <= end <= kept[1])

    def _voiced(self, since: int, until: int) -> bool:
        if not self.vad_enabled:
            return since < until
        # Silence may be left out until somebody says that it was speech after all.
        hold_back = round(self.policies.replay.hold_back * RATE)
        return any(
            max(start, known - hold_back, since) < min(self.pushed if end is None else end, until)
            for (start, end), known in zip(self.voice, self.known, strict=True)
        )

    def _check_emitted(self, emit: Emit) -> None:
        if emit.kind is EventKind.START:
            assert not self.speaking
            self.speaking = True
        elif emit.kind is EventKind.END:
            assert self.speaking
            self.speaking = False
        elif emit.kind in TEXT:
            self._check_text(emit)

    def _check_text(self, emit: Emit) -> None:
        """Check that a text is not empty, its times are finite, and its connection is active.

        One empty FINAL answers a flush of the caller, if no words have.
        """
        if emit.kind is EventKind.FINAL:
            answers, self.flush_unanswered = self.flush_unanswered, False
            if not emit.text.strip():
                assert answers, "an empty FINAL that nobody waits for"
                assert (emit.words, emit.start, emit.end) == ((), None, None)
                assert emit.source is None or isinstance(emit.source, Source)
                return
        assert emit.text.strip()
        times = [emit.start, emit.end, *(t for w in emit.words for t in (w.start, w.end))]
        assert all(t is None or math.isfinite(t) for t in times)
        source = emit.source
        assert isinstance(source, Source)
        if emit.kind is EventKind.FINAL and source.kind is not emit.kind:
            # words that only interim transcripts had, at the end of the stream
            assert self.engine.done
            source.kind = emit.kind
            return
        assert source.kind is emit.kind
        assert source.connection == self.serving, "a text of a connection that is not active"
        assert source.connection in self.connections
        assert emit.provider == self.connections[source.connection].provider
        source.emitted += 1
        assert source.emitted == 1, "one event was emitted twice"

    # -- the caller

    @rule(seconds=st.sampled_from([0.0, 1 / RATE, 0.02, 0.1, 1.3, 7.0, 90.0]), later=DELAYS)
    def push(self, seconds: float, later: float) -> None:
        """Push audio of any length at any time."""
        self.now += later
        if not self.ended:
            self._push(seconds)

    def _push(self, seconds: float) -> None:
        samples = round(seconds * RATE)
        self.pushed += samples
        self.handle(AudioPushed(samples, RATE))

    @rule(later=DELAYS)
    def flush(self, later: float) -> None:
        self.now += later
        if not self.ended:
            self.flush_unanswered = True
            self.handle(FlushRequested())

    @precondition(lambda self: not self.ended)
    @rule(later=DELAYS, sure=st.integers(0, 7))
    def end(self, later: float, sure: int) -> None:
        """End the input, in one of eight cases only, so that much comes before it."""
        if not sure:
            self.now += later
            self._end()

    def _end(self) -> None:
        self._edge(self.pushed, started=False)
        self.ended, self.flush_unanswered = True, False
        self.handle(InputEnded())

    @precondition(lambda self: self.vad_enabled and not (self.vad_lost or self.ended))
    @rule()
    def lose_voice_activity(self) -> None:
        """The voice detector fails: open speech ends, and all later audio may be speech."""
        if self.voice and self.voice[-1][1] is None:
            self.voice[-1] = self.voice[-1][0], self.pushed
        self.voice.append((self.pushed, None))
        self.known.append(self.pushed)
        self.vad_lost = True
        self.handle(VoiceActivityLost())

    @precondition(lambda self: self.vad_enabled and not self.vad_lost)
    @rule(ago=st.sampled_from([0, 1, 1_600, 5_600, 200_000]), later=DELAYS)
    def speech_edge(self, ago: int, later: float) -> None:
        """Speech began or ended `ago` samples before the newest audio."""
        self.now += later
        speaking = bool(self.voice) and self.voice[-1][1] is None
        self._edge(self.pushed - ago, started=not speaking)

    def _edge(self, at: int, *, started: bool) -> None:
        """Report a start or end of speech; they alternate, and their positions never go back."""
        if (
            self.vad_lost
            or not self.vad_enabled
            or started is (bool(self.voice) and self.voice[-1][1] is None)
        ):
            return
        if started:
            at = max(min(at, self.pushed), 0, *(end or 0 for _, end in self.voice[-1:]))
            self.voice.append((at, None))
            self.known.append(self.pushed)
            self.handle(SpeechStarted(at))
        elif self.voice:
            start, _ = self.voice[-1]
            at = max(min(at, self.pushed), start)
            self.voice[-1] = start, at
            self.handle(SpeechEnded(at))

    @rule(voice=st.sampled_from([0.1, 0.3, 1.0, 4.0]), pause=st.sampled_from([0.2, 0.6, 2.5]))
    def speak(self, voice: float, pause: float) -> None:
        """Push speech and a pause in real time; the engine is woken at its deadlines."""
        if self.ended:
            return
        start = self.pushed
        for number in range(round((voice + pause) * 10)):
            self._pass(0.1)
            self._push(0.1)
            if number == 1:
                self._edge(start, started=True)
            if number == round(voice * 10) + 3:
                self._edge(start + round(voice * RATE), started=False)
        self._edge(start + round(voice * RATE), started=False)

    @rule(seconds=st.sampled_from([0.5, 4.0, 20.0, 65.0]))
    def time_passes(self, seconds: float) -> None:
        """Let time pass; the engine is woken at its deadlines."""
        self._pass(seconds)

    def _pass(self, seconds: float) -> None:
        until = self.now + seconds
        for _ in range(WAKES):
            due = self.engine.deadline()
            if due is None or due > until:
                break
            self.now = due
            self.handle(DeadlineReached(0.1))
        else:
            raise AssertionError(f"endless wake-ups: {self.engine!r}")
        self.now = until

    @rule(later=DELAYS, wait=WAITS)
    def woken(self, later: float, wait: float) -> None:
        """Wake the engine at any time: before its deadline, long after it, or without one."""
        self.now += later
        self.handle(DeadlineReached(wait))

    @rule(wait=WAITS)
    def woken_in_time(self, wait: float) -> None:
        due = self.engine.deadline()
        if due is not None:
            self.now = due
            self.handle(DeadlineReached(wait))

    @rule(provider=st.sampled_from("abcd"), later=DELAYS)
    def options_changed(self, provider: str, later: float) -> None:
        self.now += later
        self.handle(OptionsChanged(provider))

    @rule(which=WHICH, what=st.sampled_from(["text", "slow", *ErrorKind]))
    def another_stream(self, which: int, what: str) -> None:
        """Another stream of this process records an outcome in the shared health."""
        breaker = list(self.health.values())[which % len(self.health)].breaker
        if what == "text":
            breaker.record_text(self.now)
        elif what == "slow":
            breaker.record_slow_final(self.now)
        else:
            breaker.record_failure(ErrorKind(what), self.now)

    # -- the connections

    def _pick(self, which: int) -> int:
        """Return an open connection in most cases, else a closed one or one that never existed."""
        connections = sorted(self.connections) * 2 + sorted(self.closed)[-1:] + [99]
        return connections[which % len(connections)]

    def _provider_event(self, connection: int, event: TranscriptEvent) -> None:
        source = Source(connection, event.kind)
        self.sources.append(source)
        sourced = TranscriptEvent(
            event.kind, event.text, event.words, event.start, event.end, event.language, source
        )
        self.handle(ProviderEvent(connection, sourced))

    @rule(
        which=WHICH,
        kind=st.sampled_from([*EventKind, EventKind.FINAL, EventKind.FINAL]),
        text=SANE,
        ago=st.sampled_from([0.0, 0.1, 0.5, 3.0]),
        times=st.sampled_from(["words", "end", "none"]),
        odd=st.sampled_from([None, None, None, math.nan, math.inf, -math.inf, 1e308]),
        later=DELAYS,
    )
    def a_plausible_event(
        self,
        which: int,
        kind: EventKind,
        text: str,
        ago: float,
        times: str,
        odd: float | None,
        later: float,
    ) -> None:
        """Words with times inside the audio that the connection was sent; one time may be odd."""
        self.now += later
        connection = self._pick(which)
        sent = (
            self.connections[connection].samples / RATE if connection in self.connections else 1.0
        )
        end = max(0.0, sent - ago)
        pieces = text.split() if kind in TEXT else []
        begin = [max(0.0, end - 0.3 * n) for n in range(len(pieces), 0, -1)]
        words = tuple(Word(w, at, min(end, at + 0.3)) for w, at in zip(pieces, begin, strict=True))
        if words and odd is not None:
            words = (*words[:-1], Word(words[-1].text, words[-1].start, odd))
        if times == "words" and words:
            event = TranscriptEvent(kind, text, words, words[0].start, words[-1].end, "en")
        elif times == "none" or not words:
            event = TranscriptEvent(kind, text if kind in TEXT else "", language="en")
        else:
            event = TranscriptEvent(kind, text, (), words[0].start, words[-1].end, "en")
        self._provider_event(connection, event)

    @rule(
        which=WHICH,
        kind=st.sampled_from(EventKind),
        text=SANE | WILD,
        words=st.lists(st.builds(Word, SANE | WILD, WILD_TIMES, WILD_TIMES), max_size=4),
        start=st.none() | WILD_TIMES,
        end=st.none() | WILD_TIMES,
        language=LANGUAGES,
        later=DELAYS,
    )
    def any_event(
        self,
        which: int,
        kind: EventKind,
        text: str,
        words: list[Word],
        start: float | None,
        end: float | None,
        language: str,
        later: float,
    ) -> None:
        self.now += later
        self._provider_event(
            self._pick(which), TranscriptEvent(kind, text, tuple(words), start, end, language)
        )

    @rule(which=WHICH, times=st.integers(2, 40), text=SANE)
    def a_repeated_final(self, which: int, times: int, text: str) -> None:
        """The same final many times at one moment."""
        for _ in range(times):
            self._provider_event(self._pick(which), TranscriptEvent(EventKind.FINAL, text))

    @rule(
        which=WHICH,
        kind=st.sampled_from([*ErrorKind, ErrorKind.DROPPED, ErrorKind.DROPPED]),
        retry_after=st.none() | WILD_TIMES,
        wait=WAITS,
        later=DELAYS,
    )
    def connection_fails(
        self, which: int, kind: ErrorKind, retry_after: float | None, wait: float, later: float
    ) -> None:
        self.now += later
        self.handle(ConnectionFailed(self._pick(which), kind, "x", retry_after, wait))

    @rule(which=WHICH, wait=WAITS, later=DELAYS)
    def connection_ends(self, which: int, wait: float, later: float) -> None:
        self.now += later
        self.handle(ConnectionEnded(self._pick(which), wait))

    # -- the end

    def teardown(self) -> None:
        """End the input; the connections then end, fail, or stay silent for ever."""
        if not hasattr(self, "engine"):
            return
        if not self.ended:
            self._end()
        end = self.now
        way = WAYS[(len(self.sources) + self.pushed) % len(WAYS)]
        for _ in range(WAKES):
            self._finish_connections(way)
            due = self.engine.deadline()
            if due is None:
                break
            self.now = due
            self.handle(DeadlineReached(0.1))
        assert self.engine.done, f"{way}: it never ends: {self.engine!r}"
        assert self.now - end < ENDS_WITHIN, f"{way}: took {self.now - end:.0f} s"

    def _finish_connections(self, way: str) -> None:
        for connection, fed in list(self.connections.items()):
            if connection not in self.connections:
                continue
            if way == "fails":
                self.handle(ConnectionFailed(connection, ErrorKind.DROPPED, "x", None, 0.1))
            elif way == "ends" and fed.ended:
                self.handle(ConnectionEnded(connection, 0.1))


TestAnyInput = pytest.mark.sweep(AnyInput.TestCase)
TestAnyInput.settings = settings(
    max_examples=100 * MORE,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


# -- regressions that the state machine found


def test_a_repeated_final_with_the_same_times_is_ignored() -> None:
    """A final that is repeated with its times is emitted once: a connection gets its audio once."""
    engine = alone()
    engine.handle(StreamOpened(), 0.0)
    engine.handle(AudioPushed(RATE, RATE), 1.0)
    final = TranscriptEvent(EventKind.FINAL, "one", (Word("one", 0.2, 0.5),), 0.2, 0.5, "en")
    commands = [c for _ in range(2) for c in engine.handle(ProviderEvent(0, final), 1.0)]
    assert [c.text for c in commands if isinstance(c, Emit)] == ["one"]


def test_very_long_words_are_compared_fast() -> None:
    """A looping recognizer ("aaaa...") must not block the event loop: its word is only compared for
    equality, and prepared no further than the letters that are compared."""
    steps = 0

    class Counted(str):
        def __getitem__(self, index: object) -> str:
            nonlocal steps
            found = super().__getitem__(index)  # type: ignore[index]
            steps += len(found)
            return found

    long = Counted("a" * 4_000)
    assert not is_similar(long, "a" * 4_001)
    assert is_similar(long, "a" * 4_000)
    assert steps <= MAX_FUZZY_LETTERS
    assert is_similar("reserve", "reserves")


def test_a_stream_without_hedging_ends_although_its_provider_is_silent() -> None:
    """Without hedging, a stream finishes even if no transcript comes after the end of input."""
    policies = Policies(watchdog=WatchdogPolicy(hedging=False))
    health = {"a": ProviderHealth(Breaker(policies.breaker))}
    route = [ProviderTraits(name="a", final_timeout=0.0)]
    engine = FailoverEngine(routing(route), health, policies, HedgeBudget(), vad_enabled=True)
    for event in (StreamOpened(), AudioPushed(RATE, RATE), SpeechStarted(0), SpeechEnded(RATE)):
        engine.handle(event, 0.0)
    engine.handle(InputEnded(), 0.0)
    for _ in range(WAKES):
        if (due := engine.deadline()) is None:
            break
        engine.handle(DeadlineReached(0.1), due)
    assert engine.done
