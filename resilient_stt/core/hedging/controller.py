"""The second opinion: whether a silent leg is deaf, or there is nothing to hear."""

from __future__ import annotations

import math

from ..connections.connection import PROCESSING_RATE, AudioExtent, Connection
from ..connections.pool import ConnectionPool
from ..events import AudioLossReason, AudioLost, ErrorKind, HedgeFinished, HedgeOutcome, StallReason
from ..messages import ConnectionFailed, EventKind, Role
from ..policy import ProviderTraits
from ..stalls.detector import StallDeadline
from ..stalls.skipped_speech import SkippedSpeech, find_skipped
from ..transcript.overlap import Utterance
from .budget import HedgeBudget
from .evidence import (
    answer_timeout,
    connect_allowance,
    first_new_word_at,
    had_time_to_answer,
    new_transcripts,
    repeated_nothing,
)


class HedgeController:
    """Watches the active leg, and opens a hedge beside it when it owes words for too long."""

    def __init__(self, pool: ConnectionPool, budget: HedgeBudget) -> None:
        """`budget`: of all streams together."""
        self._pool = pool
        self._policy = pool.policies.watchdog
        self._budget = budget
        self._deadline_multiplier = 1.0
        """How much noise has stretched the deadlines."""
        self._hedge: Connection | None = None
        self._expected_through = 0
        """What the suspect owed words for when the hedge was opened."""
        self._overdue_final: StallDeadline | None = None
        """A final that was overdue while the hedge listened: speech that goes on is no answer."""
        self._hedged_providers: set[str] = set()
        """Who was asked since the suspicion began."""
        self._second_round = False
        """At the end of all, the others were asked once more."""
        self._last_chances = pool.policies.retry.reconnect_budget
        """How often somebody who broke is asked once more at the end of all, however unwell."""
        self._last_hedge_at = -math.inf
        """When the last hedge was opened."""
        self._skipped: SkippedSpeech | None = None
        """What a FINAL of the active leg passed over, and is looked into."""
        self._skipped_checked_through = -1
        """The session sample before which no gap is looked into again."""
        self._skipped_multiplier = 1.0
        """How much noise between words has stretched what is taken for a gap."""

    def __repr__(self) -> str:
        return f"HedgeController(hedge={self._hedge and self._hedge.id}, scale={self._deadline_multiplier})"

    @property
    def is_hedging(self) -> bool:
        """Whether a hedge listens."""
        return self._hedge is not None

    @property
    def holds_final(self) -> bool:
        """Whether a FINAL of the active leg waits for a second opinion, and all that it says."""
        return self._skipped is not None

    def hold_skipping_final(self, new: Utterance, extent: AudioExtent, now: float) -> bool:
        """Whether a FINAL of the active leg has to wait: it passes over voice that may hold words.

        `new`: what is new of it.
        """
        pool = self._pool
        scale = self._skipped_multiplier
        gap = find_skipped(pool.ledger, self._policy, new, extent.skipped, extent.audio, now, scale)
        if gap is None or gap.first_word_at <= self._skipped_checked_through + pool.ledger.samples(
            self._tolerance
        ):
            return False
        self._skipped, self._skipped_checked_through = gap, gap.first_word_at
        # who failed when the final was only overdue may be asked again
        self._hedged_providers &= {self._hedge.traits.name} if self._hedge else set()
        return True

    def final_committed(self) -> None:
        """The active leg told words in a FINAL: deadlines are what they were."""
        self._deadline_multiplier = 1.0

    def take_hedge(self) -> Connection | None:
        """The hedge, for it becomes active."""
        hedge, self._hedge = self._hedge, None
        self._clear()
        return hedge

    def dismiss(self, now: float) -> None:
        """Nobody has to be doubted any more."""
        if self._hedge:
            self._close_hedge(HedgeOutcome.PRIMARY_RECOVERED, now)
        self._clear()

    def hedge_failed(
        self, hedge: Connection, failure: ConnectionFailed, active: Connection, now: float
    ) -> None:
        """The hedge failed: another may be asked."""
        self._hedge = None
        self._budget.record_hedged(hedge.seconds_sent, now)
        self._pool.fail(hedge, failure, now)
        told = any(event.text.strip() for event, _ in hedge.held_events)
        if self._may_retry(hedge, active, now, told=told):
            self._hedged_providers.discard(hedge.traits.name)
        same = hedge.traits.name == active.traits.name
        if (
            same
            and failure.kind is ErrorKind.RATE_LIMITED
            and not (active.finished or self._skipped)
        ):
            # it lives, and takes no second leg: nobody knows better, and asking again helps nobody
            active.stall_detector.clear(active.cursor)
            self._extend_deadlines()
            self._clear()

    def _may_retry(self, hedge: Connection, active: Connection, now: float, *, told: bool) -> bool:
        """Who broke may be asked once more: it hears, and what it told is gone with it; or there
        will be no later chance."""
        last = active.finished or self._may_wait_longer(now)
        if (told or last) and self._pool.selector.spend_reconnect(hedge.traits.name, now):
            return True
        if not last:
            return False
        self._last_chances -= 1
        return self._last_chances >= 0

    def _may_wait_longer(self, now: float) -> bool:
        """Whether a FINAL waits that may wait for yet another answer."""
        return self._skipped is not None and now < self._skipped_deadline(self._skipped)

    def step(self, active: Connection, now: float) -> StallDeadline | None:
        """Open, judge or dismiss the hedge; returns the alarm if the active leg is convicted."""
        if self._skipped:
            return self._check_skipped(self._skipped, active, now)
        stall = self._next_stall(active)
        if stall is None or (now < stall.hedge_at and not self._is_suspect(active)):
            self.dismiss(now)
            return None
        due = now >= stall.due
        if due and self._hedge and stall.reason is StallReason.FINAL_OVERDUE:
            self._overdue_final = stall
        if not self._policy.hedging:
            if due:
                self._extend_deadlines()
            return stall if due else None
        if self._hedge is None:
            return self._open_hedge(active, stall, now)
        return self._evaluate(self._hedge, active, stall, now) if due else None

    def deadlines(self, active: Connection) -> list[float]:
        """When `step` may have something to do without any input."""
        if self._skipped and self._hedge:
            heard_at = self._hedge.processed_by + answer_timeout(self._hedge, self._pool)
            return [heard_at, self._skipped_deadline(self._skipped)]
        stall = self._next_stall(active)
        if stall is None:
            return []
        due = [stall.hedge_at, stall.due, self._alive_until(active)]
        if self._hedge:
            judged = self._hedge_due_at(self._hedge, active), self._primary_due_by(active)
            due += [at for at in judged if at is not None]
        return due

    # -- inside

    @property
    def _tolerance(self) -> float:
        return self._pool.policies.replay.word_time_tolerance

    def _clear(self) -> None:
        self._hedged_providers.clear()
        self._overdue_final = None
        self._skipped = None

    def _check_skipped(
        self, gap: SkippedSpeech, active: Connection, now: float
    ) -> StallDeadline | None:
        """Ask one after the other, until somebody hears words in the gap, or what follows it."""
        stall = StallDeadline(StallReason.SKIPPED_SPEECH, gap.since, gap.since, gap.first_word_at)
        while (hedge := self._hedge_for_skipped(gap, stall, active, now)) is not None:
            told, decided = self._hedge_answer(hedge, gap)
            # who gives interim transcripts tells a word soon after he heard it
            to = gap.interims_through if hedge.traits.interim_results else gap.end
            heard = had_time_to_answer(hedge, to, self._pool, now)
            if not (decided or heard or now >= self._skipped_deadline(gap)):
                return None
            if told:
                self._skipped_multiplier = 1.0
                self._skipped_checked_through = (
                    self._pool.ledger.watermark if decided else gap.first_word_at
                )
                self._report(hedge, stall, HedgeOutcome.PROMOTED)
                return stall
            self._close_hedge(HedgeOutcome.NO_SPEECH, now, stall)
            if told is False:
                self._skipped_multiplier = min(
                    self._policy.max_deadline_multiplier, 2 * self._skipped_multiplier
                )
                self._clear()
                return None
        self._clear()
        if not gap.had_interims:
            return None
        if not self._policy.hedging:  # "um" may be drafted, and no word
            return stall if gap.speech >= self._policy.min_skipped_speech else None
        # its own word against its final, and nobody to turn to: it hears at least
        self._pool.outbox.report(
            AudioLost(at=self._pool.at, seconds=gap.speech, reason=AudioLossReason.FINAL_SKIPPED)
        )
        return None

    def _hedge_answer(self, hedge: Connection, gap: SkippedSpeech) -> tuple[bool | None, bool]:
        """Whether it tells of the gap, and whether it will not think better of it."""
        found = list(new_transcripts(hedge, self._pool))
        if not found:
            return None, False
        kind, latest = found[-1]
        final = kind is EventKind.FINAL
        told = gap.is_covered_by(latest, self._tolerance, final=final)
        return told, told is False or (final and told is True)

    def _skipped_deadline(self, gap: SkippedSpeech) -> float:
        wait = self._policy.skipped_final_wait
        if gap.had_interims:
            wait += 2 * self._pool.ledger.seconds(gap.end - gap.committed_through) / PROCESSING_RATE
        return gap.since + wait

    def _hedge_for_skipped(
        self, gap: SkippedSpeech, stall: StallDeadline, active: Connection, now: float
    ) -> Connection | None:
        """Who listens, or is asked now; `None` if nobody can be."""
        if self._hedge is None and self._policy.hedging and self._may_wait_longer(now):
            self._open_hedge(active, stall, now)
        return self._hedge

    def _is_suspect(self, active: Connection) -> bool:
        """Whether it has said nothing since the hedge was opened, and still owes words."""
        return (
            self._hedge is not None and active.stall_detector.last_text_at < self._hedge.opened_at
        )

    def _next_stall(self, active: Connection) -> StallDeadline | None:
        if active.finished:
            return self._missing_tail(active)
        kept = self._overdue_final
        if (
            kept
            and self._is_suspect(active)
            and self._pool.ledger.has_pending_speech_before(kept.through)
        ):
            return kept
        return active.stall_detector.next_stall(
            self._pool.ledger, active.cursor, self._deadline_multiplier
        )

    def _missing_tail(self, active: Connection) -> StallDeadline | None:
        """It will say no more, and owes words; no deadline has to be waited for."""
        if not self._pool.has_pending_words():
            return None
        return StallDeadline(
            StallReason.MISSING_TAIL, active.opened_at, active.opened_at, active.cursor
        )

    def _open_hedge(
        self, active: Connection, stall: StallDeadline, now: float
    ) -> StallDeadline | None:
        due = now >= stall.due
        if not (active.finished or self._budget_allows(now)):
            if due:
                self._extend_deadlines()
            return None
        provider = self._next_provider(active, now, due=due)
        if provider is not None:
            self._last_hedge_at = now
            self._hedged_providers.add(provider.name)
            self._hedge = self._pool.open(provider, Role.HEDGE, now)
            self._expected_through = active.stall_detector.expected_through
            return None
        # nobody can be asked, not even on a connection of its own
        spared = self._second_round or now < self._alive_until(active)
        return stall if due and not spared else None

    def _alive_until(self, active: Connection) -> float:
        """Until when it tells words all the while, and is not left only because a final is due."""
        speaks = active.traits.interim_results and not active.finished
        return (
            active.stall_detector.last_text_at + self._policy.no_interim_timeout
            if speaks
            else -math.inf
        )

    def _next_provider(self, active: Connection, now: float, *, due: bool) -> ProviderTraits | None:
        """Before the deadline a healthy other provider, then anyone, at last the same again."""
        choice = self._pool.selector
        provider = choice.hedge_candidate(
            active.traits, self._hedged_providers, now, healthy=not due
        )
        if provider is None and due and active.traits.name not in self._hedged_providers:
            return active.traits
        return provider

    def _budget_allows(self, now: float) -> bool:
        """Whether the cap on hedged audio allows one; beyond it they are rare."""
        return now >= self._last_hedge_at + self._policy.min_hedge_interval or self._budget.allows(
            now
        )

    def _evaluate(
        self, hedge: Connection, active: Connection, stall: StallDeadline, now: float
    ) -> StallDeadline | None:
        news_at = first_new_word_at(hedge, self._pool)
        # what was spoken later the suspect may still tell in time
        if news_at is not None and news_at < self._pool.ledger.seconds(stall.through):
            self._report(hedge, stall, HedgeOutcome.PROMOTED)
            self._extend_deadlines()  # who takes over may need longer to tell the same
            return stall
        denied = self._no_speech_through(hedge, active, now)
        if denied is not None and now >= (self._primary_due_by(active) or now):
            if repeated_nothing(hedge):
                missing = ConnectionFailed(hedge.id, ErrorKind.STALLED, trigger=stall.reason)
                self.hedge_failed(hedge, missing, active, now)
                return self._open_hedge(active, stall, now)
            self._conclude_no_speech(hedge, active, stall, news_at, denied, now)
        return None

    def _no_speech_through(self, hedge: Connection, active: Connection, now: float) -> int | None:
        """Before which session sample the hedge heard nothing new; `None` as long as it may."""
        watch = hedge.stall_detector
        if hedge.finished or (watch.answered_empty and hedge.input_ended_at is not None):
            return hedge.cursor
        if watch.answered_empty and not active.finished:
            return watch.answered_empty_through
        over = self._hedge_due_at(hedge, active)
        if over is None or now < over:
            return None
        own = None if active.finished else watch.next_stall(self._pool.ledger, hedge.cursor)
        if own is None:
            return hedge.cursor
        if own.reason is StallReason.NO_INTERIM:
            # what it has heard just now may still be told
            return min(
                own.through,
                hedge.processed_through(
                    self._pool.ledger, now - self._policy.no_interim_timeout / 2
                ),
            )
        return own.through

    def _primary_due_by(self, active: Connection) -> float | None:
        """By when the suspect may still tell what it owed when the hedge was opened."""
        return (
            None if active.finished else active.stall_detector.answer_due_by(self._expected_through)
        )

    def _hedge_due_at(self, hedge: Connection, active: Connection) -> float | None:
        """When the hedge had time enough as well, to connect too if it has said nothing yet."""
        if active.finished:  # then for all, to its end
            return self._pool.drained_at(hedge)
        stall = hedge.stall_detector.next_stall(self._pool.ledger, hedge.cursor)
        if stall is None:
            return None
        over = max(stall.due, hedge.stall_detector.answer_due_by(self._expected_through) or 0.0)
        return over + connect_allowance(hedge, self._pool)

    def _conclude_no_speech(
        self,
        hedge: Connection,
        active: Connection,
        stall: StallDeadline,
        news_at: float | None,
        denied: int,
        now: float,
    ) -> None:
        """It was not speech, up to where the hedge told words, or has heard: it goes on then.

        A second leg of the same provider may be as deaf as the first.
        """
        ledger = self._pool.ledger
        owed = max(stall.through, self._expected_through)
        to = min(owed, denied)
        if news_at is not None:
            to = min(to, ledger.samples(news_at))
        if stall.reason not in (StallReason.FINAL_OVERDUE, StallReason.MISSING_TAIL):
            # what was said just now may still be told
            to = min(to, active.processed_through(ledger, now - self._policy.no_interim_timeout))
        if hedge.traits.name != active.traits.name:
            ledger.commit(to)
        if news_at is None and denied < owed and stall.reason is not StallReason.NO_INTERIM:
            hedge.stall_detector.clear(denied)
            return
        active.stall_detector.clear(max(to, ledger.watermark))
        if news_at is not None:
            return
        self._extend_deadlines()
        self._close_hedge(HedgeOutcome.NO_SPEECH, now, stall)
        self._clear()
        if active.finished and hedge.traits.name == active.traits.name and not self._second_round:
            # those who failed when they were asked get another chance: there will be no later one
            self._second_round = True
            self._hedged_providers.add(active.traits.name)
            self._open_hedge(active, stall, now)

    def _close_hedge(
        self, verdict: HedgeOutcome, now: float, stall: StallDeadline | None = None
    ) -> None:
        assert self._hedge
        hedge, self._hedge = self._hedge, None
        self._budget.record_hedged(hedge.seconds_sent, now)
        self._report(hedge, stall, verdict)
        self._pool.close(hedge)

    def _extend_deadlines(self) -> None:
        self._deadline_multiplier = min(
            self._policy.max_deadline_multiplier, 2 * self._deadline_multiplier
        )

    def _report(
        self, hedge: Connection, stall: StallDeadline | None, verdict: HedgeOutcome
    ) -> None:
        pool = self._pool
        active = pool.active
        pool.outbox.report(
            HedgeFinished(
                at=pool.at,
                provider=active.traits.name if active else "",
                hedge_provider=hedge.traits.name,
                trigger=stall.reason if stall else None,
                outcome=verdict,
                seconds=hedge.seconds_sent,
            )
        )
