"""The decision object of one stream: `handle(input, now)` returns what must be done.

`deadline()` says when it wants to be woken. It never raises for what a provider does; an order of
inputs that the shell must not produce raises `AssertionError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..events import (
    AudioLost,
    Degraded,
    Event,
    ProviderFailed,
    Replayed,
    Restored,
    Switched,
)
from .breaker import BADNESS, Breaker, State
from .commands import (
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
    SendAudio,
    Serve,
)
from .inputs import (
    AudioPushed,
    ErrorKind,
    Flushed,
    Input,
    InputEnded,
    LegEnded,
    LegFailed,
    LegSaid,
    Opened,
    Said,
    SaidKind,
    SpeechEnded,
    SpeechStarted,
    Woken,
    Word,
)
from .ledger import Ledger
from .pacing import Bucket
from .policy import QUANTUM, Policies, Provider
from .retry import RetryBudget
from .timeline import Timeline
from .transcript import Seam, Transcript, Utterance, usable

LOSS_STEP = 1.0
"""Seconds of lost speech after which a loss that still goes on is reported."""


@dataclass(slots=True)
class Leg:
    """One attempt on one provider."""

    id: int
    provider: Provider
    opened_at: float
    start: int
    edge: int
    """The live edge when it was opened: what lies before is replay."""
    bucket: Bucket
    seam: Seam
    timeline: Timeline | None = None
    cursor: int = 0
    mark: int = -1
    """The last flush mark it was given."""
    caught_up: bool = False
    ended_at: float | None = None
    """When it was told that the input has ended."""
    heard_at: float | None = None
    """When it last said something."""
    claims: list[int] = field(default_factory=list)
    """How far it had been sent audio when it said the finals without times that speak for some."""
    speech_open: bool = False
    """It announced speech that is held back until it says something new."""

    @property
    def sent(self) -> float:
        """Seconds of audio it was sent; 0 before the first."""
        return self.timeline.seconds if self.timeline else 0.0

    def backlog(self, now: float) -> float:
        """Seconds of audio that a provider which hears in real time has still before it."""
        return max(0.0, self.sent - (now - self.opened_at))


@dataclass(slots=True)
class Outage:
    """No provider works. `attempt_at`: when the next one is tried; `None` while one is."""

    since: float
    attempt_at: float | None
    announced: bool = False


class Session:
    """Decides for one stream."""

    def __init__(
        self,
        route: Sequence[Provider],
        breakers: Mapping[str, Breaker],
        policies: Policies,
        *,
        hears: bool,
    ) -> None:
        """`route`: providers in order of preference. `hears`: local voice activity is reported."""
        if not route:
            raise AssertionError("a session needs a provider")
        self._route = tuple(route)
        self._breakers = breakers
        self._policies = policies
        self._ledger = Ledger(policies.replay, hears=hears)
        self._hears = hears
        self._transcript = Transcript(policies.replay)
        self._budgets = {p.name: RetryBudget(policies.retry) for p in route}
        self._leg: Leg | None = None
        self._next_leg = 0
        self._tried: set[str] = set()
        self._unavailable: set[str] = set()
        self._outage: Outage | None = None
        self._lost = 0.0
        """Seconds of speech that fell out of the window and are not reported yet."""
        self._speech_leg: int | None = None
        self._input_ended = False
        self._tail: int | None = None
        """The watermark at which a leg had ended with a tail missing."""
        self.done = False
        self.failures = 0
        """Failures since a leg last worked: what the retry strategy draws its wait for."""
        self._out: list[Command] = []

    def __repr__(self) -> str:
        leg = f"{self._leg.provider.name}#{self._leg.id}" if self._leg else None
        return (
            f"Session(leg={leg}, {self._ledger!r}, {self._transcript!r}, outage={self._outage}, "
            f"input_ended={self._input_ended}, done={self.done})"
        )

    def handle(self, event: Input, now: float) -> list[Command]:
        """Take one input at `now` (seconds, never going back) and return the commands it causes."""
        if self.done:
            return []
        self._out = []
        self._dispatch(event, now)
        if not self.done:
            self._advance(now)
        return self._out

    def deadline(self) -> float | None:
        """When to send `Woken`, on the clock of `now`; `None` if nothing is due."""
        if self.done:
            return None
        due = [self._pump_at, self._drained_at, self._working_at]
        if self._outage:
            due += [self._outage.attempt_at, self._outage.since + self._policies.retry.outage_limit]
        return min((d for d in due if d is not None), default=None)

    # -- inputs

    def _dispatch(self, event: Input, now: float) -> None:
        self._check(event)
        match event:
            case Opened():
                self._open(self._least_bad(self._route, now), now)
            case AudioPushed(samples, rate):
                self._lose(self._ledger.push(samples, rate))
            case Flushed():
                self._ledger.mark()
            case InputEnded():
                self._input_ended = True
            case SpeechStarted(at):
                self._ledger.speech_started(at)
            case SpeechEnded(at):
                self._ledger.speech_ended(at)
            case LegSaid() | LegFailed() | LegEnded():
                if self._leg and self._leg.id == event.leg:
                    self._from_leg(self._leg, event, now)
            case Woken(wait):
                self._woken(now, wait)

    def _check(self, event: Input) -> None:
        if isinstance(event, AudioPushed | Flushed) and self._input_ended:
            raise AssertionError("the input has ended")
        if isinstance(event, Opened) and self._next_leg:
            raise AssertionError("opened twice")

    def _from_leg(self, leg: Leg, event: LegSaid | LegFailed | LegEnded, now: float) -> None:
        match event:
            case LegSaid(_, said):
                self._said(leg, said, now)
            case LegFailed(_, kind, detail, retry_after, wait):
                self._failed(leg, kind, detail, retry_after, now, wait)
            case LegEnded(_, wait):
                self._ended(leg, now, wait)

    def _advance(self, now: float) -> None:
        """What follows from any input: settle silence, send audio, balance, report."""
        leg = self._leg
        heard = leg.cursor - self._ledger.samples(leg.backlog(now)) if leg else 0
        if leg:
            self._settle_claims(
                leg, heard - self._ledger.samples(self._policies.replay.settle_grace)
            )
        self._ledger.settle_silence(heard)
        if leg:
            self._pump(leg, now)
        elif self._input_ended and self._hears and not self._owes_words():
            self._close(Finish())  # no provider has to come back for it
            return
        self._end_orphaned_speech()
        self._release()

    # -- what a leg says

    def _said(self, leg: Leg, said: Said, now: float) -> None:
        leg.heard_at = now
        if said.kind is SaidKind.USAGE:
            self._out.append(Emit(said.kind, source=said.source))
        elif said.kind in (SaidKind.START, SaidKind.END):
            self._speech(leg, said)
        else:
            self._told(leg, said, now)

    def _speech(self, leg: Leg, said: Said) -> None:
        """Pass START and END on, balanced; a START is held back while the leg may only re-tell."""
        if said.kind is SaidKind.START:
            if leg.seam.open:
                leg.speech_open = True
            else:
                self._start_speech(leg, said.source)
            return
        leg.speech_open = False
        if self._transcript.balance(SaidKind.END):
            self._speech_leg = None
            self._out.append(Emit(SaidKind.END, source=said.source))

    def _start_speech(self, leg: Leg, source: object = None) -> None:
        leg.speech_open = False
        self._speech_leg = leg.id
        if self._transcript.balance(SaidKind.START):
            self._out.append(Emit(SaidKind.START, source=source))

    def _told(self, leg: Leg, said: Said, now: float) -> None:
        utterance = self._on_session_time(leg, said)
        if said.text.strip():
            self._works(leg, now)
        kept = leg.seam.trim(utterance)
        if kept is not None:
            if leg.speech_open:
                self._start_speech(leg)
            self._out.append(
                Emit(said.kind, kept.text, kept.words, kept.start, kept.end, said.source)
            )
        if said.kind is SaidKind.FINAL:
            self._settle(leg, said, utterance, kept)

    def _settle(self, leg: Leg, said: Said, utterance: Utterance, kept: Utterance | None) -> None:
        ledger = self._ledger
        if kept is not None:
            self._transcript.commit(kept, ledger.seconds(leg.cursor))
        leg.seam.passed(utterance, kept)
        if not said.text.strip():
            return
        if utterance.end is not None:
            ledger.settle(min(ledger.samples(utterance.end), leg.cursor))
        else:
            late = ledger.samples(self._policies.replay.speaks_for)
            ledger.settle(ledger.ended_by(leg.cursor - late))
            leg.claims.append(leg.cursor)

    def _settle_claims(self, leg: Leg, heard: int) -> None:
        """Settle what finals without times speak for, of the audio before `heard`.

        Each speaks for the first segment that owes words and was over when it was said. A provider
        may tell a segment in several, or be about to die with half of one told: so the leg must
        have heard well past the segment, and be alive.
        """
        ledger = self._ledger
        while leg.claims:
            claim, segment = leg.claims[0], ledger.first_owed()
            if segment and segment.start < claim:
                end = segment.end
                if end is None and self._input_ended:
                    end = ledger.end
                if end is None or end > heard:
                    return
                if end <= claim:
                    ledger.settle(end)
            leg.claims.pop(0)

    def _on_session_time(self, leg: Leg, said: Said) -> Utterance:
        timeline = leg.timeline
        if timeline is None:
            return Utterance(said.text, language=said.language)
        words = said.words if usable(said.words, leg.sent) else ()
        mapped = tuple(
            Word(w.text, timeline.start_of(w.start), timeline.end_of(w.end)) for w in words
        )
        start, end = said.start, said.end
        if mapped:
            return Utterance(said.text, mapped, mapped[0].start, mapped[-1].end, said.language)
        if end is None or not 0 < end <= leg.sent + 0.5:
            return Utterance(said.text, language=said.language)
        begin = timeline.start_of(start) if start is not None and 0 <= start <= end else None
        return Utterance(said.text, (), begin, timeline.end_of(end), said.language)

    # -- how a leg ends

    def _works(self, leg: Leg, now: float) -> None:
        """The leg gave text: its provider is well, an outage is over."""
        name = leg.provider.name
        self.failures = 0
        self._tried.clear()
        self._breakers[name].succeeded(now)
        if name in self._unavailable:
            self._unavailable.discard(name)
            self._out.append(Availability(name, True))
        self._restore(leg, now)

    def _restore(self, leg: Leg, now: float) -> None:
        if self._outage is None:
            return
        if self._outage.announced:
            after = now - self._outage.since
            self._report(Restored(at=self._at, provider=leg.provider.name, after=after))
        self._outage = None

    def _ended(self, leg: Leg, now: float, wait: float) -> None:
        """A clean end: right after the end of input if no words are owed, else a failure."""
        if leg.ended_at is None:
            self._failed(leg, ErrorKind.DROPPED, "ended", None, now, wait)
        elif self._owes_tail(leg):
            self._tail = self._ledger.watermark
            self._failed(leg, ErrorKind.DROPPED, "ended with words missing", None, now, wait)
        else:
            self._close(Finish())

    def _owes_tail(self, leg: Leg) -> bool:
        """Whether words are missing at the end; a second leg that heard none there is believed."""
        self._settle_claims(leg, leg.cursor)
        return self._tail != self._ledger.watermark and self._owes_words()

    def _owes_words(self) -> bool:
        return self._ledger.owes(at_least=self._policies.replay.segment_owes)

    def _failed(
        self,
        leg: Leg,
        kind: ErrorKind,
        detail: str,
        retry_after: float | None,
        now: float,
        wait: float,
    ) -> None:
        name = leg.provider.name
        self.failures += 1
        self._leg = None
        self._out.append(CloseLeg(leg.id))
        self._report(ProviderFailed(at=self._at, provider=name, reason=kind.value, detail=detail))
        self._breakers[name].failed(kind, now, retry_after)
        worked = self._worked(leg, now)
        if worked:
            self._tried.clear()
            self._budgets[name].earn(now - leg.opened_at)
        again = worked and kind is ErrorKind.DROPPED and self._may_reopen(name, now)
        self._tried.add(name)
        target = leg.provider if again else self._choose(now)
        if target is None or target.name != name:
            self._mark_unavailable(name)
        if target is None:
            self._degrade(now, wait)
        else:
            self._switch(leg, target, kind, now)

    def _worked(self, leg: Leg, now: float) -> bool:
        return (
            leg.heard_at is not None or now - leg.opened_at >= self._policies.watchdog.working_after
        )

    def _may_reopen(self, name: str, now: float) -> bool:
        return self._breakers[name].admits(now) and self._budgets[name].spend()

    def _mark_unavailable(self, name: str) -> None:
        if name not in self._unavailable:
            self._unavailable.add(name)
            self._out.append(Availability(name, False))

    # -- which leg next

    def _choose(self, now: float) -> Provider | None:
        """The least bad provider of the route that was not tried since one has worked, if any.

        With all tried, an outage sets the pace. Locked ones are tried where all are locked, never
        because the others have just failed.
        """
        untried = [p for p in self._route if p.name not in self._tried]
        if not untried:
            return None
        best = self._least_bad(untried, now)
        if not self._locked(best, now) or self._locked(self._least_bad(self._route, now), now):
            return best
        return None

    def _least_bad(self, providers: Sequence[Provider], now: float) -> Provider:
        return min(providers, key=lambda p: BADNESS[self._breakers[p.name].state(now)])

    def _locked(self, provider: Provider, now: float) -> bool:
        return self._breakers[provider.name].state(now) is State.LOCKED

    def _switch(self, old: Leg, target: Provider, kind: ErrorKind, now: float) -> None:
        leg = self._open(target, now)
        self._report(
            Switched(
                at=self._at,
                from_provider=old.provider.name,
                to_provider=target.name,
                reason=kind.value,
                replay_from=self._ledger.seconds(leg.start),
            )
        )

    def _open(self, provider: Provider, now: float) -> Leg:
        start = self._replay_start()
        ledger = self._ledger
        leg = Leg(
            id=self._next_leg,
            provider=provider,
            opened_at=now,
            start=start,
            edge=ledger.end,
            bucket=Bucket(provider.pace, now),
            seam=self._transcript.seam(
                ledger.seconds(ledger.watermark),
                ledger.seconds(start),
                lambda end: ledger.seconds(ledger.voiced_until(ledger.samples(end))),
                torn=start == ledger.start and ledger.segment_start(start) not in (None, start),
            ),
            cursor=start,
            mark=ledger.watermark if ledger.end else -1,
            caught_up=start == ledger.end,
        )
        self._next_leg += 1
        self._leg = leg
        self._out += [OpenLeg(leg.id, provider.name, start), Serve(provider.name)]
        self._flush_loss()
        return leg

    def _replay_start(self) -> int:
        """A clean place at or before the watermark: hearing a word again beats clipping one."""
        ledger = self._ledger
        if not ledger.rate:
            return 0
        watermark, oldest = ledger.watermark, ledger.start
        inside = ledger.segment_start(watermark)
        if self._hears and inside is None:
            return watermark
        place = self._transcript.clean_start(ledger.seconds(watermark), ledger.seconds(oldest))
        if place is not None:
            return max(oldest, min(watermark, ledger.samples(place)))
        return max(oldest, min(watermark, inside)) if inside is not None else watermark

    # -- outage

    def _degrade(self, now: float, wait: float) -> None:
        if self._outage is None:
            self._outage = Outage(now, now + wait)
        self._outage.attempt_at = now + wait
        if not self._outage.announced:
            self._outage.announced = True
            self._report(Degraded(at=self._at))

    def _woken(self, now: float, wait: float) -> None:
        outage = self._outage
        if outage and now >= outage.since + self._policies.retry.outage_limit:
            self._give_up(now - outage.since)
        elif outage and outage.attempt_at is not None and now >= outage.attempt_at:
            outage.attempt_at = None
            self._tried.clear()
            self._open(self._least_bad(self._route, now), now)
        elif (leg := self._leg) and (due := self._drained_at) is not None and now >= due:
            self._drained(leg, now, wait)
        elif (leg := self._leg) and (due := self._working_at) is not None and now >= due:
            self._restore(leg, now)

    def _give_up(self, seconds: float) -> None:
        names = ", ".join(p.name for p in self._route)
        self._close(GiveUp(f"no speech-to-text provider answered for {seconds:.0f} s ({names})"))

    # -- the end

    def _drained(self, leg: Leg, now: float, wait: float) -> None:
        """A leg that should finish has fallen silent."""
        if self._owes_tail(leg):
            self._tail = self._ledger.watermark
            self._failed(leg, ErrorKind.STALLED, "no end", None, now, wait)
        else:
            self._close(Finish())

    def _close(self, last: Finish | GiveUp) -> None:
        """Nothing follows: no leg, speech or loss may be left open."""
        if self._leg:
            self._out.append(CloseLeg(self._leg.id))
            self._leg = None
        if self._transcript.balance(SaidKind.END):
            self._out.append(Emit(SaidKind.END))
        self._flush_loss()
        self.done = True
        self._out.append(last)

    # -- sending

    def _pump(self, leg: Leg, now: float) -> None:
        """Send what the pace allows, flush marks at their places, and the end."""
        while self._send(leg, now):
            pass
        ledger = self._ledger
        if leg.cursor < ledger.end:
            return
        if not leg.caught_up:
            self._caught_up(leg, now)
        if self._input_ended and leg.ended_at is None:
            leg.ended_at = now
            self._out.append(EndLeg(leg.id))

    def _send(self, leg: Leg, now: float) -> bool:
        """Send one span or one flush; false if nothing may be sent now."""
        ledger = self._ledger
        mark = ledger.next_mark(leg.mark)
        until = ledger.end if mark is None else mark
        leg.cursor = max(leg.cursor, ledger.start)  # what fell out of the window is gone
        if not leg.caught_up:
            leg.cursor = max(leg.cursor, min(ledger.skip_silence(leg.cursor), until))
        if mark is not None and mark <= leg.cursor:
            leg.mark = mark
            self._out.append(FlushLeg(leg.id))
            return True
        wanted = until - leg.cursor
        piece = min(wanted, self._piece)
        # a replay looks for silence to cut after every piece
        count = min(leg.bucket.granted(now, ledger.rate), wanted if leg.caught_up else piece)
        if not piece or count < piece:
            return False
        self._send_span(leg, count)
        return True

    @property
    def _piece(self) -> int:
        """Samples that are sent at a time, at least; no more than any burst holds."""
        return max(1, int(QUANTUM * self._ledger.rate))

    def _send_span(self, leg: Leg, count: int) -> None:
        if leg.timeline is None:
            leg.timeline = Timeline(self._ledger.rate)
        leg.timeline.append(leg.cursor, leg.cursor + count)
        leg.bucket.take(count / self._ledger.rate)
        self._out.append(SendAudio(leg.id, leg.cursor, leg.cursor + count))
        leg.cursor += count

    def _caught_up(self, leg: Leg, now: float) -> None:
        leg.caught_up = True
        timeline = leg.timeline
        if timeline is None:
            return
        self._report(
            Replayed(
                at=self._at,
                provider=leg.provider.name,
                seconds=timeline.seconds,
                cut=timeline.seconds_cut,
                took=now - leg.opened_at,
            )
        )

    def _release(self) -> None:
        if not self._out or not isinstance(self._out[-1], Release):
            self._out.append(Release(self._ledger.start))

    # -- deadlines

    @property
    def _pump_at(self) -> float | None:
        """When the leg's pace allows the next piece of what is waiting."""
        leg, ledger = self._leg, self._ledger
        if leg is None or leg.cursor >= ledger.end:
            return None
        return leg.bucket.when(min(self._piece, ledger.end - leg.cursor) / ledger.rate)

    @property
    def _drained_at(self) -> float | None:
        """When a leg that was told the end counts as fallen silent, its backlog granted."""
        leg = self._leg
        if leg is None or leg.ended_at is None:
            return None
        last = max(leg.ended_at, leg.heard_at or leg.ended_at)
        return last + self._policies.watchdog.drain_timeout + leg.backlog(leg.ended_at)

    @property
    def _working_at(self) -> float | None:
        """When an outage ends because a leg has lived long enough, also with nothing to say."""
        if self._outage is None or self._leg is None:
            return None
        return self._leg.opened_at + self._policies.watchdog.working_after

    # -- small things

    def _end_orphaned_speech(self) -> None:
        """End speech that a dead leg announced, once nobody speaks and nothing is owed."""
        alive = self._leg is not None and self._speech_leg == self._leg.id
        if alive or not self._transcript.speaking:
            return
        quiet = self._ledger.silent_for >= self._policies.watchdog.end_of_speech
        if self._hears and quiet and not self._ledger.owes():
            self._transcript.balance(SaidKind.END)
            self._out.append(Emit(SaidKind.END))

    def _lose(self, seconds: float) -> None:
        self._lost += seconds
        if self._lost >= LOSS_STEP:
            self._flush_loss()

    def _flush_loss(self) -> None:
        if self._lost > 0:
            self._report(AudioLost(at=self._at, seconds=self._lost))
            self._lost = 0.0

    @property
    def _at(self) -> float:
        return self._ledger.seconds(self._ledger.end)

    def _report(self, event: Event) -> None:
        self._out.append(Report(event))
