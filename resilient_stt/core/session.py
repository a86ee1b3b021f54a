"""The decision object of one stream: `handle(input, now)` returns what must be done.

`deadline()` says when it wants to be woken. It never raises for what a provider does; an order of
inputs that the shell must not produce raises `AssertionError`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..events import Degraded, LanguageRouted, Replayed, Restored, Switched
from .commands import Command, Emit, Finish, GiveUp, Release, Role
from .failback import Failback, Probe
from .health import Health
from .hedging import HedgeBudget
from .inputs import (
    AudioPushed,
    ErrorKind,
    Flushed,
    Input,
    InputEnded,
    LanguageChanged,
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
from .leg import Leg, Reach
from .legs import Legs
from .opinion import Opinion
from .outage import Outage
from .policy import Policies, Provider
from .routing import Routing
from .telling import Telling
from .watchdog import Alarm, Sign


class Session:
    """Decides for one stream."""

    def __init__(
        self,
        routing: Routing,
        health: Mapping[str, Health],
        policies: Policies,
        budget: HedgeBudget,
        *,
        hears: bool,
    ) -> None:
        """`routing`: its own. `hears`: local voice activity is reported.

        `health`, `budget`: shared with the other streams.
        """
        self._policies = policies
        self._routing = routing
        self._legs = Legs(routing, health, policies, hears=hears)
        self._ledger = self._legs.ledger
        self._choice = self._legs.choice
        self._budget = budget
        self._opinion = Opinion(self._legs, budget)
        self._failback = Failback(self._legs)
        self._probe = Probe(self._legs)
        self._telling = Telling(self._legs, routing, self._opinion, self._probe)
        self._outage: Outage | None = None
        self._tail: int | None = None
        """The watermark at which a leg had ended with a tail missing."""
        self._row = (0, 0)
        """The watermark, and how many active legs have failed since it last moved."""
        self._out = (-1, 0.0)
        """The watermark at the last outage, and since when that lasted."""
        self._now = 0.0
        self.done = False
        self.failures = 0
        """Failures since a leg last worked: what the retry strategy draws its wait for."""

    def __repr__(self) -> str:
        return (
            f"Session({self._legs!r}, {self._telling!r}, {self._opinion!r}, {self._failback!r}, "
            f"{self._probe!r}, {self._routing!r}, outage={self._outage}, done={self.done})"
        )

    def handle(self, event: Input, now: float) -> list[Command]:
        """Take one input at `now` (seconds, never going back) and return the commands it causes."""
        if self.done:
            return []
        self._now = now
        self._legs.out = []
        self._dispatch(event, now)
        wait = event.wait if isinstance(event, Woken) else self._policies.retry.wait_max
        self._advance(now, wait)
        return self._legs.out

    def deadline(self) -> float | None:
        """When to send `Woken`, on the clock of `now`; `None` if nothing is due."""
        if self.done:
            return None
        due = [*self._probe.deadlines, *self._telling.deadlines]
        if self._outage:
            due += self._outage.deadlines(self._now)
        if active := self._legs.active:
            due += [*self._opinion.deadlines(active), *self._failback.deadlines]
            if (drained := self._legs.drained_at(active)) is not None:
                due.append(drained)
        sends = [at for leg in self._legs if (at := leg.send_at(self._ledger)) is not None]
        # what was due by now has been done, as far as it could be
        return min([*sends, *(d for d in due if d > self._now)], default=None)

    # -- inputs

    def _dispatch(self, event: Input, now: float) -> None:
        match event:
            case LegSaid() | LegFailed() | LegEnded():
                if leg := self._legs.get(event.leg):
                    self._from_leg(leg, event, now)
            case Woken():
                pass
            case OptionsChanged(provider):
                self._renew(provider, now)
            case LanguageChanged(language):
                self._routing.asked(language)
            case _:
                self._from_caller(event, now)

    def _from_caller(
        self,
        event: Opened | AudioPushed | Flushed | InputEnded | SpeechStarted | SpeechEnded,
        now: float,
    ) -> None:
        if self._legs.input_ended and isinstance(event, AudioPushed | Flushed):
            raise AssertionError("the input has ended")
        match event:
            case Opened():
                if self._legs.begun:
                    raise AssertionError("opened twice")
                self._open(self._choice.first(now), now)
            case AudioPushed(samples, rate):
                if gone := self._ledger.push(samples, rate):
                    self._legs.overflowed(gone)
                self._budget.heard(samples / rate, now)
            case Flushed():
                self._ledger.mark()
            case SpeechStarted(at):
                self._ledger.speech_started(at)
            case SpeechEnded(at):
                self._ledger.speech_ended(at)
                self._probe.speech_ended(now)
            case _:
                self._legs.input_ended = True
                self._probe.cancel(now)

    def _from_leg(self, leg: Leg, event: LegSaid | LegFailed | LegEnded, now: float) -> None:
        match event:
            case LegSaid(_, said):
                self._said(leg, said, now)
            case LegFailed():
                self._broke(leg, event, now)
            case _:
                self._ended(leg, event.wait, now)

    def _advance(self, now: float, wait: float) -> None:
        """What follows from any input: settle silence, doubt, return, feed, balance, release."""
        self._telling.step(now)
        self._settle_silence(now)
        self._reroute(now)
        if self._outage:
            self._attempt(self._outage, now, wait)
        if active := self._legs.active:
            self._judge(active, now, wait)
        if self.done:
            return
        for leg in self._legs:
            self._pump(leg, now)
        self._telling.end_orphaned_speech()
        self._legs.out.append(Release(self._ledger.start))

    def _settle_silence(self, now: float) -> None:
        heard = 0
        if active := self._legs.active:
            heard = active.heard(self._ledger, now)
            past = heard - self._ledger.samples(self._policies.replay.settle_grace)
            if active.finished:
                past = active.cursor
            active.settle_claims(self._ledger, past, input_ended=self._legs.input_ended)
            self._legs.covered(active)
        self._ledger.settle_silence(heard)

    def _pump(self, leg: Leg, now: float) -> None:
        if self._legs.pump(leg, now) and not leg.caught_up:
            leg.caught_up = True
            leg.replayed = Replayed(
                at=self._legs.at,
                provider=leg.provider.name,
                seconds=leg.sent,
                cut=leg.cut,
                took=now - leg.opened_at,
            )

    def _judge(self, active: Leg, now: float, wait: float) -> None:
        """A healthy active leg may be doubted, or left for a better one, or have done its work."""
        if (due := self._legs.drained_at(active)) is not None and now >= due:
            active.finished = True
        alarm = self._opinion.step(active, now)
        if alarm is not None:
            self._convict(active, alarm, now, wait)
            return
        if active.held and not self._opinion.waiting:
            self._retell(active, now)
            self._judge(active, now, wait)  # there may be another gap in it
            return
        if active.finished:
            if not self._opinion.asking:
                self._close(Finish())
            return
        self._probe.step(active, now)
        move = self._failback.step(active, now)
        if move is not None:
            self._move(active, *move, now)

    def _convict(self, active: Leg, alarm: Alarm, now: float, wait: float) -> None:
        """Leave a silent leg. Where two have ended without the same words, there are none, unless
        a hedge has told them: one that only begins to, again and again, is not believed for ever.
        """
        if active.finished and alarm.sign is not Sign.SKIPPED:
            known = self._tail == self._ledger.watermark
            if known and (not self._opinion.asking or self._goes_nowhere()):
                self._close(Finish())
                return
            self._tail = self._ledger.watermark
        kind, sign = ErrorKind.STALLED, alarm.sign.value
        self._failed(active, LegFailed(active.id, kind, sign, None, wait), now)
        if successor := self._legs.active:  # it was a hedge, and may be done or silent by now
            self._judge(successor, now, wait)

    # -- what a leg says

    def _said(self, leg: Leg, said: Said, now: float) -> None:
        if said.kind is SaidKind.USAGE:
            self._legs.out.append(Emit(said.kind, source=said.source))
            return
        if leg.repeats(said):
            return
        if leg.rewound(said):
            wait = self._policies.retry.wait_max
            anew = LegFailed(leg.id, ErrorKind.DROPPED, "reconnected by itself", None, wait)
            self._broke(leg, anew, now)
            return
        if said.kind not in (SaidKind.START, SaidKind.END):
            leg.heard_at = now
        leg.watch.said(said, leg.cursor, now)
        reach = leg.reach(said)
        match leg.role:
            case Role.ACTIVE:
                self._tell(leg, said, reach, now)
            case Role.PROBE:
                self._probe.said(leg, said, now)
            case _:
                leg.held.append((said, reach))
                if leg.role is Role.ATTEMPT and said.text.strip():
                    self._win(leg, now)

    def _tell(self, leg: Leg, said: Said, reach: Reach, now: float) -> None:
        if said.text.strip():
            self.failures = 0
        self._telling.said(leg, said, reach, now)

    # -- how a leg ends

    def _broke(self, leg: Leg, failure: LegFailed, now: float) -> None:
        match leg.role:
            case Role.ACTIVE:
                self._failed(leg, failure, now)
            case Role.PROBE:
                self._probe.failed(leg, failure, now)
            case Role.HEDGE:
                active = self._legs.active
                assert active is not None
                self._opinion.failed(leg, failure, active, now)
            case _:
                self.failures += 1
                assert self._outage is not None
                self._outage.failed(leg, failure, now)

    def _ended(self, leg: Leg, wait: float, now: float) -> None:
        """A clean end: a failure while there is input."""
        if leg.ended_at is None:
            self._broke(leg, LegFailed(leg.id, ErrorKind.DROPPED, "ended", None, wait), now)
            return
        leg.finished = True
        if leg.role is Role.ATTEMPT:
            self._win(leg, now)

    def _failed(self, leg: Leg, failure: LegFailed, now: float) -> None:
        """The active leg failed: its hedge takes over, or the next provider, or nobody."""
        self.failures += 1
        name = leg.provider.name
        hedge = self._opinion.take()
        self._legs.close(leg)
        if hedge is None:
            target, news = self._choice.after(leg.provider, failure, self._worked(leg, now), now)
        else:
            target, news = hedge.provider, self._choice.failed(leg.provider, failure, now)
        if hedge is None and self._goes_nowhere():
            target = None  # who greets and drops must not be asked in a circle without a pause
        self._legs.tell_failure(leg.provider, failure, news=news)
        if target is None or target.name != name:
            self._legs.out += self._choice.lost(name)
        if target is None:
            self._probe.cancel(now)
            self._outage = Outage(self._legs, self._out_since(now), now, failure.wait)
            self._legs.report(Degraded(at=self._legs.at))
        elif hedge is None:
            self._switch(name, self._open(target, now), failure.kind.value)
        else:
            self._promote(hedge, now)
            self._switch(name, hedge, failure.kind.value)
            self._retell(hedge, now)

    def _goes_nowhere(self) -> bool:
        """Whether legs fail one after the other and nothing gets settled."""
        mark, row = self._row
        watermark = self._ledger.watermark
        self._row = (watermark, row + 1 if watermark == mark else 1)
        return self._row[1] > self._policies.retry.reopenings + 2 * len(self._choice.names)

    def _out_since(self, now: float) -> float:
        """Since when nobody works. Once no more audio comes, outages between which nothing gets
        settled are one: who connects and stays silent must not keep the stream for ever."""
        mark, since = self._out
        watermark = self._ledger.watermark
        since = since if self._legs.input_ended and watermark == mark else now
        self._out = (watermark, since)
        return since

    def _worked(self, leg: Leg, now: float) -> float | None:
        """For how long a leg had been working, if it had."""
        lived = now - leg.opened_at
        if leg.heard_at is None and lived < self._policies.watchdog.working_after:
            return None
        return lived

    def _renew(self, provider: str, now: float) -> None:
        """Open a healthy leg anew, on the same provider; its shadows are opened when needed."""
        active = self._legs.active
        if active and active.provider.name == provider:
            self._move(active, active.provider, "options_changed", now)

    def _reroute(self, now: float) -> None:
        """Go over to another language: in mid-speech at once, else when nothing is owed."""
        ledger, routing = self._ledger, self._routing
        if routing.pending is None or not (
            self._telling.holding or ledger.speaking or not ledger.owes()
        ):
            return
        before = routing.language
        change = routing.change()
        assert change is not None
        providers = routing.route.providers
        self._choice.reroute(providers)
        self._legs.report(
            LanguageRouted(
                at=self._legs.at,
                from_language=before,
                language=change.language,
                route=routing.route.key,
                providers=tuple(p.name for p in providers),
                reason=change.reason,
            )
        )
        if self._outage:
            self._outage.rerouted()
        elif active := self._legs.active:
            self._speak(active, now)

    def _speak(self, active: Leg, now: float) -> None:
        """Leave a leg that does not speak the language, or not as the first of its route."""
        target = self._choice.first(now)
        same = active.provider.name == target.name
        if same and active.language == target.told(self._routing.language):
            self._telling.tell_held()
        elif self._telling.holding or not active.finished:
            self._probe.cancel(now)
            self._move(active, target, "language", now)

    def _move(self, leg: Leg, target: Provider, reason: str, now: float) -> None:
        """Leave a leg that works; nobody has to be asked about it any more."""
        self._opinion.drop(now)
        self._legs.close(leg)
        if reason == "failback":
            self._failback.returned(now)
        elif reason == "slow":
            self._legs.out += self._choice.lost(leg.provider.name)
        self._switch(leg.provider.name, self._open(target, now), reason)

    def _switch(self, left: str, leg: Leg, reason: str) -> None:
        self._legs.report(
            Switched(
                at=self._legs.at,
                from_provider=left,
                to_provider=leg.provider.name,
                reason=reason,
                replay_from=self._ledger.seconds(leg.start),
            )
        )

    def _open(self, provider: Provider, now: float) -> Leg:
        self._failback.served(now)
        return self._legs.open(provider, Role.ACTIVE, now)

    def _promote(self, leg: Leg, now: float) -> None:
        self._failback.served(now)
        self._legs.promote(leg)

    def _retell(self, leg: Leg, now: float) -> None:
        """What a leg said before it became active, or while it was doubted, is told now."""
        waiting = list(leg.held)
        leg.held.clear()
        for said, reach in waiting:
            self._tell(leg, said, reach, now)

    # -- outage

    def _attempt(self, outage: Outage, now: float, wait: float) -> None:
        if self._legs.input_ended and self._ledger.hears and not self._legs.owes_words():
            self._close(Finish())  # no provider has to come back for it
        elif now >= outage.limit_at:
            self._give_up(now - outage.since)
        elif winner := outage.step(now, wait):
            self._win(winner, now)

    def _win(self, leg: Leg, now: float) -> None:
        """An attempt works: the outage is over."""
        outage = self._outage
        assert outage is not None
        for other in outage.attempts:
            if other is not leg:
                self._legs.close(other)
        self._outage = None
        after = now - outage.since
        self._legs.report(Restored(at=self._legs.at, provider=leg.provider.name, after=after))
        self._promote(leg, now)
        self._retell(leg, now)

    def _give_up(self, seconds: float) -> None:
        names = ", ".join(self._choice.names)
        self._close(GiveUp(f"all STTs failed ({names}): none answered for {seconds:.0f} s"))

    def _close(self, last: Finish | GiveUp) -> None:
        """Nothing follows: no leg, speech or loss may be left open."""
        self._telling.tell_held()
        self._probe.cancel(self._now)
        self._legs.close_all()
        self._telling.end_speech()
        self.done = True
        self._legs.out.append(last)
