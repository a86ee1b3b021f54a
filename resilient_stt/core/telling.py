"""What the active leg says becomes events for the consumer, and settles the audio it speaks for."""

from __future__ import annotations

from .failback import Probe
from .inputs import Said, SaidKind
from .leg import Leg, Reach
from .legs import Legs
from .opinion import Opinion
from .policy import QUANTUM
from .retelling import Held, emitted
from .routing import Routing
from .speech import Speech
from .transcript import Utterance


class Telling:
    """Trims, tells and settles; holds back the final that reveals another language."""

    def __init__(self, legs: Legs, routing: Routing, opinion: Opinion, probe: Probe) -> None:
        self._legs = legs
        self._ledger = legs.ledger
        self._routing = routing
        self._opinion = opinion
        self._probe = probe
        self._held: Held | None = None
        self._speech = Speech()

    def __repr__(self) -> str:
        return f"Telling({self._speech!r}, holding={self.holding})"

    @property
    def holding(self) -> bool:
        """Whether a final is held back."""
        return self._held is not None

    @property
    def deadlines(self) -> list[float]:
        """When `step` may have something to do without any input."""
        return [self._held.until] if self._held else []

    def step(self, now: float) -> None:
        """Tell a final that was held back for long enough."""
        if self._held and now >= self._held.until:
            self.tell_held()

    def said(self, leg: Leg, said: Said, reach: Reach, now: float) -> None:
        """The active leg says something, or said it before it became active.

        `reach`: how far it can have heard. While a gap is looked into, it is kept for later.
        """
        if self._opinion.waiting:
            leg.held.append((said, reach))
            return
        if said.kind in (SaidKind.START, SaidKind.END):
            self._legs.out += self._speech.said(leg, said)
            return
        utterance = leg.understood(said)
        kept = leg.seam.trim(utterance)
        if said.kind is SaidKind.FINAL and self._passes_over(kept, reach, now):
            leg.held.append((said, reach))
            return
        if said.text.strip():
            self._works(leg, now)
        if kept is not None:
            if said.kind is SaidKind.FINAL and self._waits(leg, said, utterance, kept, reach, now):
                return
            self._legs.out += self._speech.told(leg)
            self._legs.out.append(emitted(leg, said, kept))
        if said.kind is SaidKind.FINAL:
            self._settle(leg, utterance, kept, reach, now)

    def tell_held(self) -> None:
        """Tell the final that was held back, if one is."""
        held, self._held = self._held, None
        if held is not None:
            if active := self._legs.active:
                self._legs.out += self._speech.told(active)
            self._legs.out.append(held.tell(self._legs))

    def end_orphaned_speech(self) -> None:
        """End speech that a dead leg announced, once nobody speaks and nothing is owed."""
        ledger = self._ledger
        quiet = ledger.silent_for >= self._legs.policies.watchdog.end_of_speech
        orphaned = self._speech.orphaned(self._legs.active)
        if orphaned and ledger.hears and quiet and not ledger.owes():
            self.end_speech()

    def end_speech(self) -> None:
        """Nothing follows: no speech is left open."""
        self._legs.out += self._speech.end()

    # -- inside

    def _passes_over(self, kept: Utterance | None, reach: Reach, now: float) -> bool:
        """Whether a FINAL passes over voice that is looked into before it is told."""
        if kept is None or self.holding:  # what is held back is not settled, and no gap
            return False
        return self._opinion.doubts(kept, reach, now)

    def _waits(
        self, leg: Leg, said: Said, utterance: Utterance, kept: Utterance, reach: Reach, now: float
    ) -> bool:
        """Whether new words in a FINAL are held back; what they say of the language is noted."""
        held = self._held
        if held is not None and held.leg is not leg and held.is_retold_by(kept):
            self._held = None
        self.tell_held()
        finder = leg.provider
        if not finder.detects or not self._routing.heard(utterance.language, kept.text, finder):
            return False
        if not self._routing.retranscribe:
            return False
        until = now + self._legs.policies.routing.hold
        self._held = Held(leg, said, utterance, kept, reach, until)
        return True

    def _settle(
        self, leg: Leg, utterance: Utterance, kept: Utterance | None, reach: Reach, now: float
    ) -> None:
        """Settle what a FINAL tells, by the best evidence it gives, re-told or not."""
        ledger = self._ledger
        if kept is not None:
            self._legs.transcript.commit(kept, ledger.seconds(reach.words))
        again = leg.seam.passed(utterance, kept)
        if not utterance.text.strip():
            return
        if utterance.end is not None:
            ledger.settle(min(ledger.samples(utterance.end), reach.audio))
        else:
            self._claim(leg, reach.audio, now, again=again, new=kept is not None)
        self._legs.covered(leg)
        self._opinion.reset()
        self._probe.rival_told()
        since = None if utterance.end is None else ledger.samples(utterance.start or 0.0)
        delay = leg.watch.answered(ledger, now, since)
        if utterance.end is not None:
            delay = (
                ledger.seconds(reach.audio) - utterance.end
            )  # every final says it, asked for or not
        if delay is not None and leg.backlog(now) < QUANTUM:
            self._count_delay(leg, max(0.0, delay), now)

    def _claim(self, leg: Leg, reach: int, now: float, *, again: bool, new: bool) -> None:
        """A FINAL without times speaks for voice that was over when it was said, or flushed.

        `again`: it begins with what is settled; `new`: it tells more. Then it speaks for the rest
        of that voice, and no more; if there is no rest, new words may be those of the next.
        """
        ledger = self._ledger
        late = ledger.samples(self._legs.policies.replay.speaks_for)
        owed = ledger.first_owed()
        if (flushed := leg.watch.flushed) is not None:
            reach = min(reach, flushed)
        heard = min(reach, leg.heard(ledger, now))
        ledger.settle(ledger.ended_by(heard - late))
        rest = ledger.rest_until()
        if again and not (new and (leg.provider.turn_after or rest == ledger.watermark)):
            reach = min(reach, rest)
        if leg.provider.turn_after or ledger.first_owed() is owed:
            leg.claims.append(reach)

    def _count_delay(self, leg: Leg, seconds: float, now: float) -> None:
        """Whether a final came in time: three slow ones in a row, and the provider is left."""
        policy, health = self._legs.policies.watchdog, self._legs.health[leg.provider.name]
        p99 = health.latency.p99
        usual = policy.slow_final if p99 is None else max(policy.final, policy.final_p99 * p99)
        health.latency.add(seconds)
        if seconds <= min(policy.slow_final, usual):
            health.breaker.in_time(now)
            return
        health.breaker.slow(now)
        leg.slow = leg.slow or not health.breaker.admits(now)

    def _works(self, leg: Leg, now: float) -> None:
        """The active leg gave text: its provider is well."""
        self._legs.out += self._legs.choice.works(leg.provider.name, now)
        if leg.replayed:
            self._legs.report(leg.replayed)
            leg.replayed = None
