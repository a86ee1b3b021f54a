"""Any input in any state: a state machine throws all of them at one session, in any order.

It keeps a small model of the world (what was pushed, which legs live, what each was sent) and holds
every command against it. At the end the legs answer, fail or stay silent, and the session must end.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from resilient_stt.core.breaker import Breaker
from resilient_stt.core.commands import (
    Availability,
    CloseLeg,
    Command,
    Emit,
    EndLeg,
    Finish,
    FlushLeg,
    GiveUp,
    OpenLeg,
    Release,
    Report,
    Role,
    SendAudio,
    Serve,
)
from resilient_stt.core.health import Health
from resilient_stt.core.hedging import HedgeBudget
from resilient_stt.core.inputs import (
    AudioPushed,
    ErrorKind,
    Flushed,
    Input,
    InputEnded,
    LegEnded,
    LegFailed,
    LegSaid,
    Opened,
    OptionsChanged,
    Said,
    SaidKind,
    SpeechEnded,
    SpeechStarted,
    Woken,
    Word,
)
from resilient_stt.core.policy import (
    FailbackPolicy,
    Pace,
    Policies,
    Provider,
    ReplayPolicy,
    RetryPolicy,
    WatchdogPolicy,
)
from resilient_stt.core.session import Session
from resilient_stt.core.text import similar
from resilient_stt.events import AudioLost

from .promises import alone
from .simulator import routing

MORE = int(os.environ.get("FUZZ", "1"))
"""Times as many examples as in CI."""
RATE = 16_000
AT_ONCE = 3
"""Times that a session may ask to be woken at the moment that it is."""
WAKES = 10_000
"""Wake-ups that no end needs: an outage has attempts ten times a second at most, a replay sends
fifty milliseconds at a time."""
ENDS_WITHIN = 450.0
"""Seconds in which a session ends whatever its legs do: two silent legs of each of three providers
that take a window of 60 s no faster than in real time, and the outage limit."""
WAYS = ["ends", "fails", "silent"]
"""What the legs do once the input has ended."""
TEXT = (SaidKind.INTERIM, SaidKind.PREFLIGHT, SaidKind.FINAL)

POLICIES = [
    Policies(),
    Policies(
        retry=RetryPolicy(outage_limit=8.0),
        replay=ReplayPolicy(window=5.0),
        failback=FailbackPolicy(dwell=1.0, interval=2.0),
    ),
    Policies(replay=ReplayPolicy(window=1.0)),
    Policies(watchdog=WatchdogPolicy(hedging=False)),
]
DELAYS = st.sampled_from([0.0, 0.0, 0.01, 0.1, 0.7, 3.0, 31.0, 400.0])
"""Seconds until the next input; the long ones are a process that was stopped, or slept."""
WAITS = st.sampled_from([0.0, 0.1, 0.5])
WHICH = st.integers(0, 5)
PROVIDERS = st.builds(
    Provider,
    name=st.just(""),
    pace=st.builds(
        Pace, burst=st.sampled_from([0.05, 0.5, 8.0]), rate=st.sampled_from([1.0, 1.5, 2.0])
    ),
    interims=st.booleans(),
    flushes=st.booleans(),
    finalises_late=st.booleans(),
    final_after=st.sampled_from([0.0, 1.2]),
    turn_after=st.sampled_from([0.0, 6.0]),
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
class Fed:
    """What a living leg was sent."""

    provider: str
    start: int
    opened_at: float
    cursor: int
    samples: int = 0
    ended: bool = False


@dataclass
class Source:
    """The event that an utterance came with: it tells whose it was."""

    leg: int
    kind: SaidKind
    told: int = field(default=0)


class AnyInput(RuleBasedStateMachine):
    """One session, its caller, its legs and its clock."""

    @initialize(
        route=st.lists(PROVIDERS, min_size=1, max_size=3),
        policy=st.integers(0, len(POLICIES) - 1),
        hears=st.booleans(),
        base=st.sampled_from([0.0, 1_000.7]),
    )
    def opened(self, route: list[Provider], policy: int, hears: bool, base: float) -> None:
        policies = self.policies = POLICIES[policy]
        self.hears, self.now = hears, base
        traits = [
            Provider(
                name=name,
                pace=p.pace,
                interims=p.interims,
                flushes=p.flushes,
                finalises_late=p.flushes and p.finalises_late,
                final_after=p.final_after,
                turn_after=p.turn_after,
            )
            for name, p in zip("abc", route, strict=False)
        ]
        self.route = {p.name: p for p in traits}
        self.health = {name: Health(Breaker(policies.breaker)) for name in self.route}
        watchdog = policies.watchdog
        budget = HedgeBudget(watchdog.hedge_share, watchdog.hedge_allowance)
        self.session = Session(routing(traits), self.health, policies, budget, hears=hears)
        self.legs: dict[int, Fed] = {}
        self.closed: set[int] = set()
        self.serving: int | None = None
        self.sources: list[Source] = []
        self.pushed = self.released = 0
        self.voice: list[tuple[int, int | None]] = []
        self.ended = self.speaking = False
        self.lost = 0.0
        self.handle(Opened())

    # -- one input, and everything that must be true after it

    def handle(self, event: Input) -> list[Command]:
        """Give the session an input, check what it does, and wake it if it wants that at once."""
        commands = self._take(event)
        for _ in range(AT_ONCE):
            due = self.session.deadline()
            if due is None or due > self.now:
                break
            commands += self._take(Woken(0.1))
        due = self.session.deadline()
        assert due is None or self.now < due < math.inf, f"woken for nothing: {self.session!r}"
        assert self.session.done or due is not None or self.legs, "nothing will ever happen again"
        return commands

    def _take(self, event: Input) -> list[Command]:
        done = self.session.done
        commands = self.session.handle(event, self.now)
        assert not (done and commands), "something follows the end"
        released = max([self.released, *(c.before for c in commands if isinstance(c, Release))])
        for number, command in enumerate(commands):
            if isinstance(command, Finish | GiveUp):
                assert number == len(commands) - 1
            self._check(command, released)
        self._check_state()
        return commands

    def _check_state(self) -> None:
        living = {leg.id: leg for leg in self.session._legs}
        assert set(living) == set(self.legs), "a leg that the session does not know of"
        roles = Counter(leg.role for leg in living.values())
        assert roles[Role.HEDGE] <= roles[Role.ACTIVE] <= 1
        assert roles[Role.PROBE] <= 1
        assert not (roles[Role.ACTIVE] and roles[Role.ATTEMPT])
        window = self.policies.replay.window
        assert self.session.done or self.pushed - self.released <= window * RATE + 1
        assert repr(self.session)

    def _check(self, command: Command, released: int) -> None:
        match command:
            case OpenLeg(leg, provider, start):
                assert leg not in self.legs
                assert leg not in self.closed
                assert self.released <= start <= self.pushed
                self.legs[leg] = Fed(provider, start, self.now, start)
            case SendAudio(leg, start, end):
                self._check_audio(self.legs[leg], start, end, released)
            case FlushLeg(leg):
                assert not self.legs[leg].ended
            case EndLeg(leg):
                assert self.ended
                assert not self.legs[leg].ended
                assert self.legs[leg].cursor <= self.pushed
                self.legs[leg].ended = True
            case CloseLeg(leg):
                del self.legs[leg]
                self.closed.add(leg)
            case Release(before):
                assert self.released <= before <= self.pushed
                self.released = before
            case _:
                self._check_told(command)

    def _check_told(self, command: Command) -> None:
        match command:
            case Emit():
                self._check_emitted(command)
            case Report(event):
                assert 0 <= event.at <= self.pushed / RATE
                if isinstance(event, AudioLost):
                    assert event.seconds > 0
                    self.lost += event.seconds
                    assert self.lost <= self.pushed / RATE + 0.001
            case Finish() | GiveUp():
                assert self.session.done
                assert not self.legs, "a leg is still open"
                assert not self.speaking, "a user who speaks for ever"
            case Serve(provider, leg):
                assert self.legs[leg].provider == provider
                self.serving = leg
            case Availability(provider, _):
                assert provider in self.route
            case _:
                raise AssertionError(f"unknown command {command!r}")

    def _check_audio(self, leg: Fed, start: int, end: int, released: int) -> None:
        assert not leg.ended
        assert self.released <= start < end <= self.pushed
        assert leg.cursor <= start, "sent twice, or out of order"
        gap = max(leg.cursor, released), start
        assert not self._voiced(*gap), f"speech left out of what a leg hears: {gap}"
        leg.cursor = end
        leg.samples += end - start
        pace = self.route[leg.provider].pace
        allowed = pace.burst + pace.rate * (self.now - leg.opened_at)
        assert leg.samples / RATE <= allowed + 0.001

    def _voiced(self, since: int, until: int) -> bool:
        if not self.hears:
            return since < until
        return any(
            max(start, since) < min(self.pushed if end is None else end, until)
            for start, end in self.voice
        )

    def _check_emitted(self, emit: Emit) -> None:
        if emit.kind is SaidKind.START:
            assert not self.speaking
            self.speaking = True
        elif emit.kind is SaidKind.END:
            assert self.speaking
            self.speaking = False
        elif emit.kind in TEXT:
            self._check_text(emit)

    def _check_text(self, emit: Emit) -> None:
        """A text is news, its times are times, and its leg serves."""
        assert emit.text.strip()
        times = [emit.start, emit.end, *(t for w in emit.words for t in (w.start, w.end))]
        assert all(t is None or math.isfinite(t) for t in times)
        source = emit.source
        assert isinstance(source, Source)
        assert source.kind is emit.kind
        assert source.leg == self.serving, "a text of a leg that does not serve"
        assert source.leg in self.legs
        assert emit.provider == self.legs[source.leg].provider
        source.told += 1
        assert source.told == 1, "one event told twice"

    # -- the caller

    @rule(seconds=st.sampled_from([0.0, 1 / RATE, 0.02, 0.1, 1.3, 7.0, 90.0]), later=DELAYS)
    def push(self, seconds: float, later: float) -> None:
        """Audio, of any size and at any time."""
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
            self.handle(Flushed())

    @precondition(lambda self: not self.ended)
    @rule(later=DELAYS, sure=st.integers(0, 7))
    def end(self, later: float, sure: int) -> None:
        """The end of the input; rarely, for much comes before it."""
        if not sure:
            self.now += later
            self._end()

    def _end(self) -> None:
        self._edge(self.pushed, started=False)
        self.ended = True
        self.handle(InputEnded())

    @precondition(lambda self: self.hears)
    @rule(ago=st.sampled_from([0, 1, 1_600, 5_600, 200_000]), later=DELAYS)
    def speech_edge(self, ago: int, later: float) -> None:
        """Somebody began to speak, or fell silent, so many samples ago."""
        self.now += later
        speaking = bool(self.voice) and self.voice[-1][1] is None
        self._edge(self.pushed - ago, started=not speaking)

    def _edge(self, at: int, *, started: bool) -> None:
        """What a voice detector tells: starts and ends alternate, and never go back."""
        if not self.hears or started is (bool(self.voice) and self.voice[-1][1] is None):
            return
        if started:
            at = max(min(at, self.pushed), 0, *(end or 0 for _, end in self.voice[-1:]))
            self.voice.append((at, None))
            self.handle(SpeechStarted(at))
        elif self.voice:
            start, _ = self.voice[-1]
            at = max(min(at, self.pushed), start)
            self.voice[-1] = start, at
            self.handle(SpeechEnded(at))

    @rule(voice=st.sampled_from([0.1, 0.3, 1.0, 4.0]), pause=st.sampled_from([0.2, 0.6, 2.5]))
    def speak(self, voice: float, pause: float) -> None:
        """Real time: speech and a pause, in frames, the session woken when it wants to be."""
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
        """Nothing happens, but that the session is woken when it wants to be."""
        self._pass(seconds)

    def _pass(self, seconds: float) -> None:
        until = self.now + seconds
        for _ in range(WAKES):
            due = self.session.deadline()
            if due is None or due > until:
                break
            self.now = due
            self.handle(Woken(0.1))
        else:
            raise AssertionError(f"no end of wake-ups: {self.session!r}")
        self.now = until

    @rule(later=DELAYS, wait=WAITS)
    def woken(self, later: float, wait: float) -> None:
        """At any time: before the deadline, long after it, or without one."""
        self.now += later
        self.handle(Woken(wait))

    @rule(wait=WAITS)
    def woken_in_time(self, wait: float) -> None:
        due = self.session.deadline()
        if due is not None:
            self.now = due
            self.handle(Woken(wait))

    @rule(provider=st.sampled_from("abcd"), later=DELAYS)
    def options_changed(self, provider: str, later: float) -> None:
        self.now += later
        self.handle(OptionsChanged(provider))

    @rule(which=WHICH, what=st.sampled_from(["text", "slow", *ErrorKind]))
    def another_stream(self, which: int, what: str) -> None:
        """Health is shared: what another stream of this process saw."""
        breaker = list(self.health.values())[which % len(self.health)].breaker
        if what == "text":
            breaker.succeeded(self.now)
        elif what == "slow":
            breaker.slow(self.now)
        else:
            breaker.failed(ErrorKind(what), self.now)

    # -- the legs

    def _leg(self, which: int) -> int:
        """A living leg for the most part, else a closed one or one that never was."""
        legs = sorted(self.legs) * 2 + sorted(self.closed)[-1:] + [99]
        return legs[which % len(legs)]

    def _say(self, leg: int, said: Said) -> None:
        source = Source(leg, said.kind)
        self.sources.append(source)
        told = Said(said.kind, said.text, said.words, said.start, said.end, said.language, source)
        self.handle(LegSaid(leg, told))

    @rule(
        which=WHICH,
        kind=st.sampled_from([*SaidKind, SaidKind.FINAL, SaidKind.FINAL]),
        text=SANE,
        ago=st.sampled_from([0.0, 0.1, 0.5, 3.0]),
        times=st.sampled_from(["words", "end", "none"]),
        odd=st.sampled_from([None, None, None, math.nan, math.inf, -math.inf, 1e308]),
        later=DELAYS,
    )
    def leg_says_what_can_be(
        self,
        which: int,
        kind: SaidKind,
        text: str,
        ago: float,
        times: str,
        odd: float | None,
        later: float,
    ) -> None:
        """Words with times inside the audio that the leg was sent; or one that is no time."""
        self.now += later
        leg = self._leg(which)
        sent = self.legs[leg].samples / RATE if leg in self.legs else 1.0
        end = max(0.0, sent - ago)
        pieces = text.split() if kind in TEXT else []
        begin = [max(0.0, end - 0.3 * n) for n in range(len(pieces), 0, -1)]
        words = tuple(Word(w, at, min(end, at + 0.3)) for w, at in zip(pieces, begin, strict=True))
        if words and odd is not None:
            words = (*words[:-1], Word(words[-1].text, words[-1].start, odd))
        if times == "words" and words:
            said = Said(kind, text, words, words[0].start, words[-1].end, "en")
        elif times == "none" or not words:
            said = Said(kind, text if kind in TEXT else "", language="en")
        else:
            said = Said(kind, text, (), words[0].start, words[-1].end, "en")
        self._say(leg, said)

    @rule(
        which=WHICH,
        kind=st.sampled_from(SaidKind),
        text=SANE | WILD,
        words=st.lists(st.builds(Word, SANE | WILD, WILD_TIMES, WILD_TIMES), max_size=4),
        start=st.none() | WILD_TIMES,
        end=st.none() | WILD_TIMES,
        language=LANGUAGES,
        later=DELAYS,
    )
    def leg_says_anything(
        self,
        which: int,
        kind: SaidKind,
        text: str,
        words: list[Word],
        start: float | None,
        end: float | None,
        language: str,
        later: float,
    ) -> None:
        self.now += later
        self._say(self._leg(which), Said(kind, text, tuple(words), start, end, language))

    @rule(which=WHICH, times=st.integers(2, 40), text=SANE)
    def leg_repeats_itself(self, which: int, times: int, text: str) -> None:
        """The same final at one moment, many times."""
        for _ in range(times):
            self._say(self._leg(which), Said(SaidKind.FINAL, text))

    @rule(
        which=WHICH,
        kind=st.sampled_from([*ErrorKind, ErrorKind.DROPPED, ErrorKind.DROPPED]),
        retry_after=st.none() | WILD_TIMES,
        wait=WAITS,
        later=DELAYS,
    )
    def leg_fails(
        self, which: int, kind: ErrorKind, retry_after: float | None, wait: float, later: float
    ) -> None:
        self.now += later
        self.handle(LegFailed(self._leg(which), kind, "x", retry_after, wait))

    @rule(which=WHICH, wait=WAITS, later=DELAYS)
    def leg_ends(self, which: int, wait: float, later: float) -> None:
        self.now += later
        self.handle(LegEnded(self._leg(which), wait))

    # -- the end

    def teardown(self) -> None:
        """The input ends, and the legs end as asked, or fail, or go on for ever."""
        if not hasattr(self, "session"):
            return
        if not self.ended:
            self._end()
        end = self.now
        way = WAYS[(len(self.sources) + self.pushed) % len(WAYS)]
        for _ in range(WAKES):
            self._finish_legs(way)
            due = self.session.deadline()
            if due is None:
                break
            self.now = due
            self.handle(Woken(0.1))
        assert self.session.done, f"{way}: it never ends: {self.session!r}"
        assert self.now - end < ENDS_WITHIN, f"{way}: took {self.now - end:.0f} s"

    def _finish_legs(self, way: str) -> None:
        for leg, fed in list(self.legs.items()):
            if leg not in self.legs:
                continue
            if way == "fails":
                self.handle(LegFailed(leg, ErrorKind.DROPPED, "x", None, 0.1))
            elif way == "ends" and fed.ended:
                self.handle(LegEnded(leg, 0.1))


TestAnyInput = pytest.mark.sweep(AnyInput.TestCase)
TestAnyInput.settings = settings(
    max_examples=100 * MORE,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


# -- what was found, smallest first


def test_a_final_that_is_said_again_with_the_same_times_is_no_news() -> None:
    """A repeated message tells no second word: the same leg cannot hear the same audio twice."""
    session = alone()
    session.handle(Opened(), 0.0)
    session.handle(AudioPushed(RATE, RATE), 1.0)
    final = Said(SaidKind.FINAL, "one", (Word("one", 0.2, 0.5),), 0.2, 0.5, "en")
    commands = [c for _ in range(2) for c in session.handle(LegSaid(0, final), 1.0)]
    assert [c.text for c in commands if isinstance(c, Emit)] == ["one"]


def test_words_of_thousands_of_letters_are_compared_in_no_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A recogniser that loops ("aaaa...") must not stop the event loop: 4000 letters take 3 s."""
    compared: list[int] = []

    class Matcher:
        def __init__(self, _: None, a: str, b: str, autojunk: bool) -> None:
            compared.append(len(a) * len(b))

        def ratio(self) -> float:
            return 1.0

    monkeypatch.setattr("resilient_stt.core.text.SequenceMatcher", Matcher)
    similar("a" * 4_000, "a" * 4_001)
    similar("reserve", "reserves")
    assert compared, "nothing was compared"
    assert max(compared) <= 100 * 100


def test_a_stream_without_hedging_ends_although_its_provider_is_silent() -> None:
    """After the end of the input no leg says anything: the stream ends all the same."""
    policies = Policies(watchdog=WatchdogPolicy(hedging=False))
    health = {"a": Health(Breaker(policies.breaker))}
    route = [Provider(name="a", final_after=0.0)]
    session = Session(routing(route), health, policies, HedgeBudget(), hears=True)
    for event in (Opened(), AudioPushed(RATE, RATE), SpeechStarted(0), SpeechEnded(RATE)):
        session.handle(event, 0.0)
    session.handle(InputEnded(), 0.0)
    for _ in range(WAKES):
        if (due := session.deadline()) is None:
            break
        session.handle(Woken(0.1), due)
    assert session.done
