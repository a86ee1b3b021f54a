"""The legs of a session, and what all who decide about them share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..events import AudioLost, Event, ProviderFailed
from .choice import Choice
from .commands import CloseLeg, Command, OpenLeg, Report, Role, Serve
from .health import Health, advice
from .inputs import LegFailed
from .ledger import Ledger, Spans
from .leg import Leg, open_leg, seam_at
from .loss import Loss
from .policy import Policies, Provider
from .routing import Routing
from .transcript import Transcript
from .watchdog import Watch

LOSS_STEP = 1.0
"""Seconds of lost speech after which a loss that still goes on is reported."""


class Legs:
    """Opens, feeds and closes legs; collects the commands of one input."""

    def __init__(
        self,
        routing: Routing,
        health: Mapping[str, Health],
        policies: Policies,
        *,
        hears: bool,
    ) -> None:
        """`hears`: local voice activity is reported."""
        self.routing = routing
        self.policies = policies
        self.health = health
        self.choice = Choice(routing.route.providers, health, policies.retry)
        self.ledger = Ledger(policies.replay, hears=hears)
        self.transcript = Transcript(policies.replay)
        self.input_ended = False
        self.out: list[Command] = []
        self._legs: dict[int, Leg] = {}
        self._next = 0
        self._loss = Loss()

    def __repr__(self) -> str:
        legs = ", ".join(f"{leg.provider.name}#{leg.id} {leg.role}" for leg in self)
        return f"Legs([{legs}], {self.ledger!r}, {self.transcript!r}, {self._loss!r})"

    def __iter__(self) -> Iterator[Leg]:
        return iter(list(self._legs.values()))

    @property
    def begun(self) -> bool:
        """Whether a leg was ever opened."""
        return self._next > 0

    @property
    def active(self) -> Leg | None:
        """The leg whose text is emitted."""
        return next((leg for leg in self if leg.role is Role.ACTIVE), None)

    def get(self, leg: int) -> Leg | None:
        """The living leg of that id, if it lives: what a closed one still says is ignored."""
        return self._legs.get(leg)

    # -- opening and closing

    def open(self, provider: Provider, role: Role, now: float, start: int | None = None) -> Leg:
        """A new leg that replays what is not settled, or hears from session sample `start` on."""
        latency, policy = self.health[provider.name].latency, self.policies.watchdog
        leg = open_leg(
            self._next,
            provider,
            role,
            now,
            self.ledger,
            self.transcript,
            lambda at: Watch(provider, latency, policy, at),
            provider.told(self.routing.language),
            start,
        )
        self._loss.opened(leg)
        flushed_late = provider.flushes and provider.finalises_late
        leg.flushes_pauses = flushed_late and policy.flush_at_end_of_speech
        self._legs[leg.id] = leg
        self._keep()
        self._next += 1
        self.out.append(OpenLeg(leg.id, provider.name, leg.start, leg.language, role))
        if role is Role.ACTIVE:
            self._serves(leg)
        return leg

    def promote(self, leg: Leg) -> None:
        """A leg that was not active becomes it; the seam is where things stand now."""
        leg.role = Role.ACTIVE
        self.reseam(leg)
        self._serves(leg)

    def reseam(self, leg: Leg) -> None:
        """The seam of a leg is where things stand now."""
        leg.seam = seam_at(leg.start, self.ledger, self.transcript, torn=leg.torn)

    def close(self, leg: Leg) -> None:
        """Nothing that the leg still says counts."""
        del self._legs[leg.id]
        self._keep()
        self.out.append(CloseLeg(leg.id))

    def close_all(self) -> None:
        """Close every leg, and report what is lost with the last."""
        for leg in self:
            self.close(leg)
        self.ledger.trim()
        self.flush_loss()

    def _serves(self, leg: Leg) -> None:
        self.out.append(Serve(leg.provider.name, leg.id))
        self.flush_loss()

    def fail(self, leg: Leg, failure: LegFailed, now: float, *, known: bool = False) -> None:
        """Close a leg that is not active and failed, and count it against its provider.

        `known`: the same was told already.
        """
        self.close(leg)
        news = self.choice.failed(leg.provider, failure, now)
        self.tell_failure(leg.provider, failure, news=news and not known)

    def tell_failure(self, provider: Provider, failure: LegFailed, *, news: bool) -> None:
        """Report a failure; one that is no news is not repeated."""
        if not news:
            return
        self.report(
            ProviderFailed(
                at=self.at,
                provider=provider.name,
                reason=failure.kind.value,
                detail=failure.detail,
                advice=advice(provider, failure.kind, self.policies.breaker),
            )
        )

    # -- feeding

    def pump(self, leg: Leg, now: float) -> bool:
        """Send what the pace allows and after the last of it the end; whether all is sent."""
        self.out += leg.send(self.ledger, now)
        self._keep()
        if leg.cursor < self.ledger.end:
            return False
        if self.input_ended and leg.ended_at is None:
            self.out.append(leg.end(self.ledger, now))
        return True

    def _keep(self) -> None:
        """What a leg has still before it stays, settled or not; a probe's text is for nobody."""
        cursors = [leg.cursor for leg in self if leg.role is not Role.PROBE]
        self.ledger.needed = min(cursors, default=None)

    # -- loss

    def overflowed(self, voiced: Spans) -> None:
        """Unsettled speech fell out of the window: who was not sent it will not be."""
        self._loss.overflowed(voiced, list(self))
        if self.ledger.seconds(self._loss.news(list(self))) >= LOSS_STEP:
            self.flush_loss()

    def covered(self, leg: Leg) -> None:
        """What the leg told has settled what it was sent, also of what is gone."""
        self._loss.covered(leg, self.ledger.told, list(self))

    def flush_loss(self) -> None:
        """Report what is lost for certain and not reported yet."""
        samples = self._loss.news(list(self))
        if samples > 0:
            self._loss.reported(samples)
            self.report(AudioLost(at=self.at, seconds=self.ledger.seconds(samples)))

    # -- small things

    def drained_at(self, leg: Leg) -> float | None:
        """When a leg that was told the end counts as fallen silent, its backlog granted.

        One that never falls silent counts as such after the outage limit: no stream hangs.
        """
        if leg.ended_at is None or leg.finished:
            return None
        silent = max(leg.ended_at, leg.heard_at or 0.0) + self.policies.watchdog.drain_timeout
        at_last = leg.ended_at + self.policies.retry.outage_limit
        return min(silent, at_last) + leg.backlog(leg.ended_at)

    def owes_words(self) -> bool:
        """Whether speech is not settled, give or take the edges of a segment."""
        return self.ledger.owes(at_least=self.policies.replay.segment_owes)

    @property
    def at(self) -> float:
        """Seconds of session audio at the live edge."""
        return self.ledger.seconds(self.ledger.end)

    def report(self, event: Event) -> None:
        """Tell whoever listens."""
        self.out.append(Report(event))
