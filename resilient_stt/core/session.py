"""The decision object of one stream: `handle(input, now)` returns what must be done.

`deadline()` says when it wants to be woken. It never raises for what a provider does; an order of
inputs that the shell must not produce raises `AssertionError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..events import (
    AudioLost,
    Degraded,
    Event,
    ProviderFailed,
    Replayed,
    Restored,
    Switched,
)
from .breaker import Breaker
from .choice import Choice
from .commands import (
    CloseLeg,
    Command,
    Emit,
    EndLeg,
    Finish,
    GiveUp,
    OpenLeg,
    Release,
    Report,
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
    OptionsChanged,
    Said,
    SaidKind,
    SpeechEnded,
    SpeechStarted,
    Woken,
)
from .ledger import Ledger
from .leg import Leg
from .policy import Policies, Provider
from .speech import Speech
from .transcript import Transcript, Utterance

LOSS_STEP = 1.0
"""Seconds of lost speech after which a loss that still goes on is reported."""


@dataclass(slots=True)
class Outage:
    """No provider works. `attempt_at`: when the next one is tried; `None` while one is."""

    since: float
    attempt_at: float | None


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
        self._choice = Choice(route, breakers, policies.retry)
        self._policies = policies
        self._ledger = Ledger(policies.replay, hears=hears)
        self._transcript = Transcript(policies.replay)
        self._speech = Speech()
        self._leg: Leg | None = None
        self._next_leg = 0
        self._outage: Outage | None = None
        self._lost = 0.0
        """Seconds of speech that fell out of the window and are not reported yet."""
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
            f"Session(leg={leg}, {self._ledger!r}, {self._transcript!r}, {self._speech!r}, "
            f"outage={self._outage}, input_ended={self._input_ended}, done={self.done})"
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
        due = [self._send_at, self._drained_at, self._working_at]
        if self._outage:
            due += [self._outage.attempt_at, self._give_up_at(self._outage)]
        return min((d for d in due if d is not None), default=None)

    # -- inputs

    def _dispatch(self, event: Input, now: float) -> None:
        match event:
            case LegSaid() | LegFailed() | LegEnded():
                if self._leg and self._leg.id == event.leg:
                    self._from_leg(self._leg, event, now)
            case Woken(wait):
                self._woken(now, wait)
            case OptionsChanged(provider):
                if self._leg and self._leg.provider.name == provider:
                    self._renew(self._leg, now)
            case _:
                self._from_caller(event, now)

    def _from_caller(
        self,
        event: Opened | AudioPushed | Flushed | InputEnded | SpeechStarted | SpeechEnded,
        now: float,
    ) -> None:
        if self._input_ended and isinstance(event, AudioPushed | Flushed):
            raise AssertionError("the input has ended")
        match event:
            case Opened():
                if self._next_leg:
                    raise AssertionError("opened twice")
                self._open(self._choice.first(now), now)
            case AudioPushed(samples, rate):
                self._lose(self._ledger.push(samples, rate))
            case Flushed():
                self._ledger.mark()
            case SpeechStarted(at):
                self._ledger.speech_started(at)
            case SpeechEnded(at):
                self._ledger.speech_ended(at)
            case _:
                self._input_ended = True

    def _from_leg(self, leg: Leg, event: LegSaid | LegFailed | LegEnded, now: float) -> None:
        match event:
            case LegSaid(_, said):
                self._said(leg, said, now)
            case LegFailed():
                self._failed(leg, event, now)
            case _:
                self._ended(leg, event.wait, now)

    def _advance(self, now: float) -> None:
        """What follows from any input: settle silence, send audio, balance, release."""
        leg, ledger, replay = self._leg, self._ledger, self._policies.replay
        heard = 0
        if leg:
            heard = leg.cursor - ledger.samples(leg.backlog(now))
            past = heard - ledger.samples(replay.settle_grace)
            leg.settle_claims(ledger, past, input_ended=self._input_ended)
        ledger.settle_silence(heard)
        if leg:
            self._pump(leg, now)
        elif self._input_ended and ledger.hears and not self._owes_words:
            self._close(Finish())  # no provider has to come back for it
            return
        self._end_orphaned_speech()
        self._out.append(Release(ledger.start))

    # -- what a leg says

    def _said(self, leg: Leg, said: Said, now: float) -> None:
        if said.kind is SaidKind.USAGE:
            self._out.append(Emit(said.kind, source=said.source))
            return
        leg.heard_at = now
        if said.kind in (SaidKind.START, SaidKind.END):
            self._out += self._speech.said(leg, said)
        else:
            self._told(leg, said, now)

    def _told(self, leg: Leg, said: Said, now: float) -> None:
        utterance = leg.understood(said)
        if said.text.strip():
            self._works(leg, now)
        kept = leg.seam.trim(utterance)
        if kept is not None:
            self._out += self._speech.told(leg)
            self._out.append(
                Emit(
                    said.kind,
                    kept.text,
                    kept.words,
                    kept.start,
                    kept.end,
                    said.source,
                    leg.provider.name,
                )
            )
        if said.kind is SaidKind.FINAL:
            self._settle(leg, utterance, kept)

    def _settle(self, leg: Leg, utterance: Utterance, kept: Utterance | None) -> None:
        """Settle what a FINAL tells, by the best evidence it gives, re-told or not."""
        ledger = self._ledger
        if kept is not None:
            self._transcript.commit(kept, ledger.seconds(leg.cursor))
        leg.seam.passed(utterance, kept)
        if not utterance.text.strip():
            return
        if utterance.end is not None:
            ledger.settle(min(ledger.samples(utterance.end), leg.cursor))
        else:
            late = ledger.samples(self._policies.replay.speaks_for)
            ledger.settle(ledger.ended_by(leg.cursor - late))
            leg.claims.append(leg.cursor)

    def _works(self, leg: Leg, now: float) -> None:
        """The leg gave text: its provider is well, an outage is over."""
        self.failures = 0
        self._out += self._choice.works(leg.provider.name, now)
        if leg.replayed:
            self._report(leg.replayed)
            leg.replayed = None
        self._restore(leg, now)

    # -- how a leg ends

    def _ended(self, leg: Leg, wait: float, now: float) -> None:
        """A clean end: right after the end of input if no words are owed, else a failure."""
        if leg.ended_at is None:
            self._failed(leg, LegFailed(leg.id, ErrorKind.DROPPED, "ended", None, wait), now)
        else:
            self._end(leg, ErrorKind.DROPPED, "ended with words missing", wait, now)

    def _end(self, leg: Leg, kind: ErrorKind, detail: str, wait: float, now: float) -> None:
        """A leg has no more to say after the end of input: finish, unless words are missing.

        A second leg that heard none there either is believed.
        """
        leg.settle_claims(self._ledger, leg.cursor, input_ended=True)
        if self._owes_words and self._tail != self._ledger.watermark:
            self._tail = self._ledger.watermark
            self._failed(leg, LegFailed(leg.id, kind, detail, None, wait), now)
        else:
            self._close(Finish())

    def _failed(self, leg: Leg, failure: LegFailed, now: float) -> None:
        name, kind = leg.provider.name, failure.kind
        self.failures += 1
        self._leg = None
        self._out.append(CloseLeg(leg.id))
        self._report(
            ProviderFailed(at=self._at, provider=name, reason=kind.value, detail=failure.detail)
        )
        target = self._choice.after(leg.provider, failure, self._worked(leg, now), now)
        if target is None or target.name != name:
            self._out += self._choice.lost(name)
        if target is None:
            self._degrade(now, failure.wait)
        else:
            self._switch(name, target, kind.value, now)

    def _worked(self, leg: Leg, now: float) -> float | None:
        """For how long a leg had been working, if it had."""
        lived = now - leg.opened_at
        if leg.heard_at is None and lived < self._policies.watchdog.working_after:
            return None
        return lived

    def _renew(self, leg: Leg, now: float) -> None:
        """Open a healthy leg anew, on the same provider."""
        self._leg = None
        self._out.append(CloseLeg(leg.id))
        self._switch(leg.provider.name, leg.provider, "options_changed", now)

    def _switch(self, left: str, target: Provider, reason: str, now: float) -> None:
        leg = self._open(target, now)
        if self._outage:
            return  # an attempt; who serves is told when the outage is over
        self._report(
            Switched(
                at=self._at,
                from_provider=left,
                to_provider=target.name,
                reason=reason,
                replay_from=self._ledger.seconds(leg.start),
            )
        )

    def _open(self, provider: Provider, now: float) -> Leg:
        leg = Leg.opened(self._next_leg, provider, now, self._ledger, self._transcript)
        self._next_leg += 1
        self._leg = leg
        self._out += [OpenLeg(leg.id, provider.name, leg.start), Serve(provider.name)]
        self._flush_loss()
        return leg

    # -- outage

    def _degrade(self, now: float, wait: float) -> None:
        if self._outage is None:
            self._outage = Outage(now, None)
            self._report(Degraded(at=self._at))
        self._outage.attempt_at = now + wait

    def _restore(self, leg: Leg, now: float) -> None:
        if self._outage:
            after = now - self._outage.since
            self._report(Restored(at=self._at, provider=leg.provider.name, after=after))
            self._outage = None

    def _woken(self, now: float, wait: float) -> None:
        outage, leg = self._outage, self._leg
        if outage and now >= self._give_up_at(outage):
            self._give_up(now - outage.since)
        elif outage and outage.attempt_at is not None and now >= outage.attempt_at:
            outage.attempt_at = None
            self._open(self._choice.first(now), now)
        elif leg and (due := self._drained_at) is not None and now >= due:
            self._end(leg, ErrorKind.STALLED, "no end", wait, now)
        elif leg and (due := self._working_at) is not None and now >= due:
            self._restore(leg, now)

    def _give_up(self, seconds: float) -> None:
        names = ", ".join(self._choice.names)
        self._close(GiveUp(f"no speech-to-text provider answered for {seconds:.0f} s ({names})"))

    def _close(self, last: Finish | GiveUp) -> None:
        """Nothing follows: no leg, speech or loss may be left open."""
        if self._leg:
            self._out.append(CloseLeg(self._leg.id))
            self._leg = None
        self._out += self._speech.end()
        self._flush_loss()
        self.done = True
        self._out.append(last)

    # -- sending

    def _pump(self, leg: Leg, now: float) -> None:
        """Send what the pace allows, and after the last of it the end."""
        self._out += leg.send(self._ledger, now)
        if leg.cursor < self._ledger.end:
            return
        if not leg.caught_up:
            leg.caught_up = True
            leg.replayed = Replayed(
                at=self._at,
                provider=leg.provider.name,
                seconds=leg.sent,
                cut=leg.cut,
                took=now - leg.opened_at,
            )
        if self._input_ended and leg.ended_at is None:
            leg.ended_at = now
            self._out.append(EndLeg(leg.id))

    # -- deadlines

    @property
    def _send_at(self) -> float | None:
        return self._leg.send_at(self._ledger) if self._leg else None

    @property
    def _drained_at(self) -> float | None:
        """When a leg that was told the end counts as fallen silent, its backlog granted.

        One that never falls silent counts as such after the outage limit: no stream hangs.
        """
        leg = self._leg
        if leg is None or leg.ended_at is None:
            return None
        silent = max(leg.ended_at, leg.heard_at or 0.0) + self._policies.watchdog.drain_timeout
        at_last = leg.ended_at + self._policies.retry.outage_limit
        return min(silent, at_last) + leg.backlog(leg.ended_at)

    @property
    def _working_at(self) -> float | None:
        """When an outage ends because a leg has lived long enough, also with nothing to say."""
        if self._outage is None or self._leg is None:
            return None
        return self._leg.opened_at + self._policies.watchdog.working_after

    def _give_up_at(self, outage: Outage) -> float:
        return outage.since + self._policies.retry.outage_limit

    # -- small things

    @property
    def _owes_words(self) -> bool:
        return self._ledger.owes(at_least=self._policies.replay.segment_owes)

    def _end_orphaned_speech(self) -> None:
        """End speech that a dead leg announced, once nobody speaks and nothing is owed."""
        ledger = self._ledger
        quiet = ledger.silent_for >= self._policies.watchdog.end_of_speech
        if self._speech.orphaned(self._leg) and ledger.hears and quiet and not ledger.owes():
            self._out += self._speech.end()

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
