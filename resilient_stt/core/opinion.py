"""The second opinion: whether a silent leg is deaf, or there is nothing to hear."""

from __future__ import annotations

import math
from enum import StrEnum

from ..events import AudioLost, SecondOpinion
from .commands import Role
from .gap import Gap, find
from .hedging import HedgeBudget
from .inputs import ErrorKind, LegFailed, SaidKind
from .leg import HEARS_AT, Leg, Reach
from .legs import Legs
from .policy import Provider
from .transcript import Utterance
from .watchdog import Alarm, Sign
from .witness import (
    connects,
    has_heard,
    knows_nothing,
    news,
    news_since,
    patience,
)


class Verdict(StrEnum):
    """What came of a suspicion."""

    CONVICTED = "convicted"
    """The hedge heard words where the suspect heard none."""
    ANSWERED = "answered"
    """The suspect answered after all."""
    NOISE = "noise"
    """The hedge heard nothing either."""


class Opinion:
    """Watches the active leg, and opens a hedge beside it when it owes words for too long."""

    def __init__(self, legs: Legs, budget: HedgeBudget) -> None:
        """`budget`: of all streams together."""
        self._legs = legs
        self._policy = legs.policies.watchdog
        self._budget = budget
        self._scale = 1.0
        """How much noise has stretched the deadlines."""
        self._hedge: Leg | None = None
        self._until = 0
        """What the suspect owed words for when the hedge was opened."""
        self._overdue: Alarm | None = None
        """A final that was overdue while the hedge listened: speech that goes on is no answer."""
        self._asked: set[str] = set()
        """Who was asked since the suspicion began."""
        self._again = False
        """At the end of all, the others were asked once more."""
        self._chances = legs.policies.retry.reopenings
        """How often somebody who broke is asked once more at the end of all, however unwell."""
        self._last = -math.inf
        """When the last hedge was opened."""
        self._gap: Gap | None = None
        """What a FINAL of the active leg passed over, and is looked into."""
        self._passed = -1
        """The session sample before which no gap is looked into again."""
        self._gap_scale = 1.0
        """How much noise between words has stretched what is taken for a gap."""

    def __repr__(self) -> str:
        return f"Opinion(hedge={self._hedge and self._hedge.id}, scale={self._scale})"

    @property
    def asking(self) -> bool:
        """Whether a hedge listens."""
        return self._hedge is not None

    @property
    def waiting(self) -> bool:
        """Whether a FINAL of the active leg waits for a second opinion, and all that it says."""
        return self._gap is not None

    def doubts(self, new: Utterance, reach: Reach, now: float) -> bool:
        """Whether a FINAL of the active leg has to wait: it passes over voice that may hold words.

        `new`: what is new of it.
        """
        legs = self._legs
        scale = self._gap_scale
        gap = find(legs.ledger, self._policy, new, reach.skipped, reach.audio, now, scale)
        if gap is None or gap.to <= self._passed + legs.ledger.samples(self._tolerance):
            return False
        self._gap, self._passed = gap, gap.to
        # who failed when the final was only overdue may be asked again
        self._asked &= {self._hedge.provider.name} if self._hedge else set()
        return True

    def reset(self) -> None:
        """The active leg told words in a FINAL: deadlines are what they were."""
        self._scale = 1.0

    def take(self) -> Leg | None:
        """The hedge, for it becomes active."""
        hedge, self._hedge = self._hedge, None
        self._acquit()
        return hedge

    def drop(self, now: float) -> None:
        """Nobody has to be doubted any more."""
        if self._hedge:
            self._dismiss(Verdict.ANSWERED, now)
        self._acquit()

    def failed(self, hedge: Leg, failure: LegFailed, active: Leg, now: float) -> None:
        """The hedge failed: another may be asked."""
        self._hedge = None
        self._budget.spent(hedge.sent, now)
        self._legs.fail(hedge, failure, now)
        told = any(said.text.strip() for said, _ in hedge.held)
        if self._may_ask_again(hedge, active, now, told=told):
            self._asked.discard(hedge.provider.name)
        same = hedge.provider.name == active.provider.name
        if same and failure.kind is ErrorKind.RATE_LIMITED and not (active.finished or self._gap):
            # it lives, and takes no second leg: nobody knows better, and asking again helps nobody
            active.watch.acquitted(active.cursor)
            self._stretch()
            self._acquit()

    def _may_ask_again(self, hedge: Leg, active: Leg, now: float, *, told: bool) -> bool:
        """Who broke may be asked once more: it hears, and what it told is gone with it; or there
        will be no later chance."""
        last = active.finished or self._waits_for_more(now)
        if (told or last) and self._legs.choice.may_reopen(hedge.provider.name, now):
            return True
        if not last:
            return False
        self._chances -= 1
        return self._chances >= 0

    def _waits_for_more(self, now: float) -> bool:
        """Whether a FINAL waits that may wait for yet another answer."""
        return self._gap is not None and now < self._waits_until(self._gap)

    def step(self, active: Leg, now: float) -> Alarm | None:
        """Open, judge or dismiss the hedge; returns the alarm if the active leg is convicted."""
        if self._gap:
            return self._look_into(self._gap, active, now)
        alarm = self._alarm(active)
        if alarm is None or (now < alarm.early and not self._in_doubt(active)):
            self.drop(now)
            return None
        due = now >= alarm.due
        if due and self._hedge and alarm.sign is Sign.OVERDUE:
            self._overdue = alarm
        if not self._policy.hedging:
            if due:
                self._stretch()
            return alarm if due else None
        if self._hedge is None:
            return self._ask(active, alarm, now)
        return self._judge(self._hedge, active, alarm, now) if due else None

    def deadlines(self, active: Leg) -> list[float]:
        """When `step` may have something to do without any input."""
        if self._gap and self._hedge:
            heard_at = self._hedge.heard_by + patience(self._hedge, self._legs)
            return [heard_at, self._waits_until(self._gap)]
        alarm = self._alarm(active)
        if alarm is None:
            return []
        due = [alarm.early, alarm.due, self._speaks_until(active)]
        if self._hedge:
            judged = self._over_at(self._hedge, active), self._answers_by(active)
            due += [at for at in judged if at is not None]
        return due

    # -- inside

    @property
    def _tolerance(self) -> float:
        return self._legs.policies.replay.tolerance

    def _acquit(self) -> None:
        self._asked.clear()
        self._overdue = None
        self._gap = None

    def _look_into(self, gap: Gap, active: Leg, now: float) -> Alarm | None:
        """Ask one after the other, until somebody hears words in the gap, or what follows it."""
        alarm = Alarm(Sign.SKIPPED, gap.at, gap.at, gap.to)
        while (hedge := self._asked_about(gap, alarm, active, now)) is not None:
            told, decided = self._tells(hedge, gap)
            # who gives interim transcripts tells a word soon after he heard it
            to = gap.told_to if hedge.provider.interims else gap.end
            heard = has_heard(hedge, to, self._legs, now)
            if not (decided or heard or now >= self._waits_until(gap)):
                return None
            if told:
                self._gap_scale = 1.0
                self._passed = self._legs.ledger.watermark if decided else gap.to
                self._report(hedge, alarm, Verdict.CONVICTED)
                return alarm
            self._dismiss(Verdict.NOISE, now, alarm)
            if told is False:
                self._gap_scale = min(self._policy.suspicion_max, 2 * self._gap_scale)
                self._acquit()
                return None
        self._acquit()
        if not gap.drafted:
            return None
        if not self._policy.hedging:  # "um" may be drafted, and no word
            return alarm if gap.voice >= self._policy.skipped_voiced else None
        # its own word against its final, and nobody to turn to: it hears at least
        self._legs.report(AudioLost(at=self._legs.at, seconds=gap.voice))
        return None

    def _tells(self, hedge: Leg, gap: Gap) -> tuple[bool | None, bool]:
        """Whether it tells of the gap, and whether it will not think better of it."""
        found = list(news(hedge, self._legs))
        if not found:
            return None, False
        kind, latest = found[-1]
        final = kind is SaidKind.FINAL
        told = gap.is_told_by(latest, self._tolerance, final=final)
        return told, told is False or (final and told is True)

    def _waits_until(self, gap: Gap) -> float:
        wait = self._policy.skipped_wait
        if gap.drafted:
            wait += 2 * self._legs.ledger.seconds(gap.end - gap.since) / HEARS_AT
        return gap.at + wait

    def _asked_about(self, gap: Gap, alarm: Alarm, active: Leg, now: float) -> Leg | None:
        """Who listens, or is asked now; `None` if nobody can be."""
        if self._hedge is None and self._policy.hedging and self._waits_for_more(now):
            self._ask(active, alarm, now)
        return self._hedge

    def _in_doubt(self, active: Leg) -> bool:
        """Whether it has said nothing since the hedge was opened, and still owes words."""
        return self._hedge is not None and active.watch.told_at < self._hedge.opened_at

    def _alarm(self, active: Leg) -> Alarm | None:
        if active.finished:
            return self._missing(active)
        kept = self._overdue
        if kept and self._in_doubt(active) and self._legs.ledger.owes_before(kept.to):
            return kept
        return active.watch.alarm(self._legs.ledger, active.cursor, self._scale)

    def _missing(self, active: Leg) -> Alarm | None:
        """It will say no more, and owes words; no deadline has to be waited for."""
        if not self._legs.owes_words():
            return None
        return Alarm(Sign.MISSING, active.opened_at, active.opened_at, active.cursor)

    def _ask(self, active: Leg, alarm: Alarm, now: float) -> Alarm | None:
        due = now >= alarm.due
        if not (active.finished or self._allowed(now)):
            if due:
                self._stretch()
            return None
        provider = self._next(active, now, due=due)
        if provider is not None:
            self._last = now
            self._asked.add(provider.name)
            self._hedge = self._legs.open(provider, Role.HEDGE, now)
            self._until = active.watch.asked
            return None
        # nobody can be asked, not even on a connection of its own
        spared = self._again or now < self._speaks_until(active)
        return alarm if due and not spared else None

    def _speaks_until(self, active: Leg) -> float:
        """Until when it tells words all the while, and is not left only because a final is due."""
        speaks = active.provider.interims and not active.finished
        return active.watch.told_at + self._policy.quiet if speaks else -math.inf

    def _next(self, active: Leg, now: float, *, due: bool) -> Provider | None:
        """Before the deadline a healthy other provider, then anyone, at last the same again."""
        choice = self._legs.choice
        provider = choice.second(active.provider, self._asked, now, healthy=not due)
        if provider is None and due and active.provider.name not in self._asked:
            return active.provider
        return provider

    def _allowed(self, now: float) -> bool:
        """Whether the cap on hedged audio allows one; beyond it they are rare."""
        return now >= self._last + self._policy.hedge_interval or self._budget.allows(now)

    def _judge(self, hedge: Leg, active: Leg, alarm: Alarm, now: float) -> Alarm | None:
        news_at = news_since(hedge, self._legs)
        # what was spoken later the suspect may still tell in time
        if news_at is not None and news_at < self._legs.ledger.seconds(alarm.to):
            self._report(hedge, alarm, Verdict.CONVICTED)
            self._stretch()  # who takes over may need longer to tell the same
            return alarm
        denied = self._denied_to(hedge, active, now)
        if denied is not None and now >= (self._answers_by(active) or now):
            if knows_nothing(hedge):
                missing = LegFailed(hedge.id, ErrorKind.STALLED, alarm.sign.value)
                self.failed(hedge, missing, active, now)
                return self._ask(active, alarm, now)
            self._noise(hedge, active, alarm, news_at, denied, now)
        return None

    def _denied_to(self, hedge: Leg, active: Leg, now: float) -> int | None:
        """Before which session sample the hedge heard nothing new; `None` as long as it may."""
        watch = hedge.watch
        if hedge.finished or (watch.denied and hedge.ended_at is not None):
            return hedge.cursor
        if watch.denied and not active.finished:
            return watch.denied_to
        over = self._over_at(hedge, active)
        if over is None or now < over:
            return None
        own = None if active.finished else watch.alarm(self._legs.ledger, hedge.cursor)
        if own is None:
            return hedge.cursor
        if own.sign is Sign.QUIET:
            # what it has heard just now may still be told
            return min(own.to, hedge.heard(self._legs.ledger, now - self._policy.quiet / 2))
        return own.to

    def _answers_by(self, active: Leg) -> float | None:
        """By when the suspect may still tell what it owed when the hedge was opened."""
        return None if active.finished else active.watch.heard_by(self._until)

    def _over_at(self, hedge: Leg, active: Leg) -> float | None:
        """When the hedge had time enough as well, to connect too if it has said nothing yet."""
        if active.finished:  # then for all, to its end
            return self._legs.drained_at(hedge)
        alarm = hedge.watch.alarm(self._legs.ledger, hedge.cursor)
        if alarm is None:
            return None
        over = max(alarm.due, hedge.watch.heard_by(self._until) or 0.0)
        return over + connects(hedge, self._legs)

    def _noise(
        self,
        hedge: Leg,
        active: Leg,
        alarm: Alarm,
        news_at: float | None,
        denied: int,
        now: float,
    ) -> None:
        """It was not speech, up to where the hedge told words, or has heard: it goes on then.

        A second leg of the same provider may be as deaf as the first.
        """
        ledger = self._legs.ledger
        owed = max(alarm.to, self._until)
        to = min(owed, denied)
        if news_at is not None:
            to = min(to, ledger.samples(news_at))
        if alarm.sign not in (Sign.OVERDUE, Sign.MISSING):
            # what was said just now may still be told
            to = min(to, active.heard(ledger, now - self._policy.quiet))
        if hedge.provider.name != active.provider.name:
            ledger.settle(to)
        if news_at is None and denied < owed and alarm.sign is not Sign.QUIET:
            hedge.watch.acquitted(denied)
            return
        active.watch.acquitted(max(to, ledger.watermark))
        if news_at is not None:
            return
        self._stretch()
        self._dismiss(Verdict.NOISE, now, alarm)
        self._acquit()
        if active.finished and hedge.provider.name == active.provider.name and not self._again:
            # those who failed when they were asked get another chance: there will be no later one
            self._again = True
            self._asked.add(active.provider.name)
            self._ask(active, alarm, now)

    def _dismiss(self, verdict: Verdict, now: float, alarm: Alarm | None = None) -> None:
        assert self._hedge
        hedge, self._hedge = self._hedge, None
        self._budget.spent(hedge.sent, now)
        self._report(hedge, alarm, verdict)
        self._legs.close(hedge)

    def _stretch(self) -> None:
        self._scale = min(self._policy.suspicion_max, 2 * self._scale)

    def _report(self, hedge: Leg, alarm: Alarm | None, verdict: Verdict) -> None:
        legs = self._legs
        active = legs.active
        legs.report(
            SecondOpinion(
                at=legs.at,
                provider=active.provider.name if active else "",
                asked=hedge.provider.name,
                sign=alarm.sign.value if alarm else "",
                verdict=verdict.value,
                seconds=hedge.sent,
            )
        )
