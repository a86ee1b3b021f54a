"""Ask a second provider about a silent connection, before the connection is left.

Theory of operation
===================

Silence is evidence, not proof: a cough, music or a television is speech to the local voice detector
and nothing to a recognizer. A connection that is silent is therefore not left at once. Another
connection, the hedge, is sent the same audio, and its transcript decides:

* The hedge transcribes words that the active connection has not: the hedge is promoted.
* The active connection transcribes words first: it has recovered, and the hedge is closed.
* Neither transcribes words: there was no speech. The audio is committed as silence, and the
  deadlines of the stream double, so that noise causes fewer and fewer hedges.

A connection may also transcribe some words and skip others: a provider may lose one final and go on
with the next. Such a FINAL is held until a hedge has shown whether there are words before it.

The controller is a state machine. `step` runs after every input. Its states are in `states`:

```
  state     what happens                                            next state         outcome
  --------  ------------------------------------------------------  -----------------  ---------
  Watching  a stall deadline comes near                             Hedging
            the stream ends with speech pending                     Hedging
            `hold_final`: a FINAL skips speech                      Checking
  Hedging   the active connection transcribes words                 Watching           recovered
            no speech is pending any more                           Watching           recovered
            the hedge transcribes the pending words                 Watching, by way   promoted
                                                                    of `take_hedge`
            neither transcribes words in its time                   Watching           no_speech
            the hedge fails, or is deaf as well                     Hedging: ask the
                                                                    next provider
            the deadline is over, and no provider can be asked      Watching, by way
                                                                    of `take_hedge`
            the sole provider refuses a second connection           Watching
            `hold_final`: a FINAL skips speech                      Checking, with
                                                                    the same hedge
  Checking  the hedge transcribes words of the skipped speech       Watching, by way   promoted
                                                                    of `take_hedge`
            the hedge begins with the words of the FINAL            Watching           no_speech
            the hedge fails                                         Checking: ask the
                                                                    next provider
            the hedge has had its time, and decides neither         the same           no_speech
            the time is over, or no provider can be asked           Watching
  any       `dismiss`: the engine moves to another connection       Watching           recovered
```

`Checking` is `CheckingSkippedSpeech`, `recovered` is `primary_recovered`. The outcome is what a
`HedgeFinished` event reports of the hedge.

When `step` returns a stall, the engine must leave the active connection, and must call
`take_hedge`: it returns the hedge to promote, or `None`, and leads back to `Watching`.

With hedging turned off, the controller never leaves `Watching` for a stall: silence alone makes
`step` return it.
"""

from __future__ import annotations

import math
from typing import assert_never

from ..audio.ledger import AudioLedger, Segment
from ..audio.spans import total
from ..connections.connection import Connection
from ..connections.interpreter import AudioExtent
from ..connections.pool import ConnectionPool
from ..connections.unfinished_text import UnfinishedText
from ..events import AudioLossReason, CloseReason, ErrorKind, HedgeOutcome, Role, StallReason
from ..messages import ConnectionFailed
from ..outbox import Outbox
from ..policy import Policies
from ..routing.selector import ProviderSelector
from ..stalls.detector import StallDeadline
from ..stalls.known_noise import KnownNoise
from ..stalls.noise_multiplier import NoiseMultiplier
from ..stalls.skipped_speech import SkippedSpeech, find_skipped_speech
from ..transcript.history import TranscriptHistory
from ..transcript.overlap import Utterance
from ..transcript.spoken_length import spoken_length
from ..transcript.tokens import tokenize
from .budget import HedgeBudget
from .evidence import (
    answer_timeout,
    first_new_word_at,
    had_time_to_answer,
    has_words,
    hedge_due_at,
    is_deaf,
    is_silent_to_the_end,
    primary_due_at,
    repeated_nothing,
    silent_through,
    skipped_speech_answer,
)
from .opener import HedgeOpener
from .states import CheckingSkippedSpeech, Hedging, State, Suspicion, Watching
from .suspicion_reports import SuspicionReports


class HedgeController:
    """Watches the active connection of one stream, and opens hedges beside it."""

    def __init__(
        self,
        *,
        pool: ConnectionPool,
        ledger: AudioLedger,
        history: TranscriptHistory,
        selector: ProviderSelector,
        unfinished: UnfinishedText,
        outbox: Outbox,
        policies: Policies,
        budget: HedgeBudget,
    ) -> None:
        """`budget`: shared by all streams."""
        self._pool = pool
        self._ledger = ledger
        self._history = history
        self._unfinished = unfinished
        self._policy = policies.watchdog
        self._replay_policy = policies.replay
        self._word_time_tolerance = policies.replay.word_time_tolerance
        self._connect_timeout = policies.retry.connect_timeout
        self._opener = HedgeOpener(
            pool=pool, selector=selector, outbox=outbox, policies=policies, budget=budget
        )
        self._state: State = Watching()
        self._reports = SuspicionReports(pool, outbox)
        self._known_noise = KnownNoise(ledger, self._policy)
        self._multiplier = NoiseMultiplier(self._policy.max_deadline_multiplier)
        """Stretches the stall deadlines."""
        self._skipped_multiplier = NoiseMultiplier(self._policy.max_deadline_multiplier)
        """Stretches how much voice a FINAL may skip."""
        self._skipped_checked_through = -1
        """The session sample before which no skipped speech is checked again."""
        self._asked_through = 0
        """The session sample before which a hedge was asked that may be deaf as well."""
        self._nobody_hears = False
        """Whether no provider is left that may hear, for the stall that `step` returned."""
        self._had_second_round = False
        """Whether the other providers were asked once more, after the end of the input."""

    def __repr__(self) -> str:
        hedge = self._hedge
        return (
            f"HedgeController({type(self._state).__name__}, hedge={hedge and hedge.id}, "
            f"multiplier={self._multiplier.value})"
        )

    @property
    def is_hedging(self) -> bool:
        """Whether a hedge listens."""
        return self._hedge is not None

    def is_waiting(self, now: float) -> bool:
        """Return whether a provider is waited for, to be asked."""
        return not isinstance(self._state, Watching) and self._opener.is_waiting(now)

    @property
    def holds_final(self) -> bool:
        """Whether a FINAL of the active connection is held, and all its later events with it."""
        return isinstance(self._state, CheckingSkippedSpeech)

    # -- what the engine and the emitter report

    def find_skipped_speech(
        self, new_words: Utterance, extent: AudioExtent, now: float
    ) -> SkippedSpeech | None:
        """Return the speech that a FINAL of the active connection skips, if it may hold words.

        `new_words`: what of the FINAL is not committed. `extent`: how much audio the connection
        can have processed.
        """
        ledger, begin = self._ledger, self._asked_through
        asked = ledger.seconds(ledger.voiced_samples(ledger.watermark, begin))
        if asked >= self.unanswered_limit:
            begin = 0  # no noise explains so much voice, so that it is asked about again
        tokens = tokenize(new_words.text, new_words.language)
        skipped = find_skipped_speech(
            self._ledger,
            self._policy,
            new_words,
            longest=spoken_length(tokens, self._replay_policy).longest,
            interim_words=extent.skipped,
            heard_through=extent.audio,
            begin=begin,
            now=now,
            multiplier=self._skipped_multiplier.value,
        )
        if skipped is None:
            return None
        # The same speech is checked once. The tolerance is for the times of two providers: the
        # hedge that was promoted for this speech puts the same word a little later.
        checked = self._skipped_checked_through + self._ledger.samples(self._word_time_tolerance)
        return skipped if skipped.first_word_at > checked else None

    def hold_final(self, skipped: SkippedSpeech) -> None:
        """Hold a FINAL of the active connection until a hedge was asked about `skipped`.

        The caller must keep the FINAL, and all later events of the connection, until `holds_final`
        is false again.
        """
        hedge = self._hedge
        # Providers that failed while the final was only overdue may be asked again: now words are
        # known to be missing (schedule lost-final-after-a-hedge-failed).
        asked = {hedge.traits.name} if hedge is not None else set()
        self._state = CheckingSkippedSpeech(skipped=skipped, hedge=hedge, hedged_providers=asked)
        self._skipped_checked_through = skipped.first_word_at
        active = self._pool.active
        assert active is not None
        self._reports.suspected(active, StallReason.SKIPPED_SPEECH, skipped.since)

    def speech_ended(self, segment: Segment) -> None:
        """Take voice that sounds like known noise for that: nobody waits for its words."""
        self._known_noise.speech_ended(segment)

    def final_emitted(self, final: Utterance) -> None:
        """Learn what voice with words sounds like. Its audio must not be committed yet."""
        hedge = self._hedge
        if hedge is not None and final.start is not None and has_words(hedge):
            # It has heard the noise before these words, too, and goes on behind it like the active
            # connection (test_coughs_that_are_too_short_to_be_skipped_speech).
            new_word_at = first_new_word_at(hedge, self._ledger, self._history)
            if new_word_at:
                through = self._ledger.samples(min(final.start, new_word_at))
                self._known_noise.no_words_found(self._ledger.watermark, through)
        self._known_noise.words_found(final)

    def final_committed(self) -> None:
        """Reset the stall deadlines: the active connection has transcribed words in a FINAL."""
        self._multiplier.reset()

    def take_nobody_hears(self) -> bool:
        """Return whether the stall that `step` returned showed that no provider may hear."""
        nobody_hears, self._nobody_hears = self._nobody_hears, False
        return nobody_hears

    @property
    def unanswered_limit(self) -> float:
        """Seconds of voice without words, from no provider known to hear, that are no noise."""
        policy = self._policy
        if self._history.has_words:
            return policy.max_unanswered_speech
        return max(policy.max_unanswered_speech, policy.max_unanswered_speech_at_start)

    def is_unanswered(self, active: Connection) -> bool:
        """Return whether nobody gives words for so much voice that it is no noise."""
        ledger, since = self._ledger, self._unanswered_since(active)
        voice = ledger.unexplained_voice(since, ledger.end)
        return ledger.seconds(total(voice)) >= self.unanswered_limit

    def unanswered_due(self, active: Connection) -> int | None:
        """Return the session sample at which `is_unanswered` may be true; `None` if it is."""
        return self._ledger.voice_due(self._unanswered_since(active), self.unanswered_limit)

    def take_hedge(self) -> Connection | None:
        """End the suspicion, and return the hedge, which the caller must promote."""
        hedge = self._hedge
        self._state = Watching()
        self._reports.left()
        return hedge

    def dismiss(self, now: float, outcome: HedgeOutcome = HedgeOutcome.PRIMARY_RECOVERED) -> None:
        """End the suspicion, and close the hedge with an outcome.

        By default the active connection is not suspect any more.
        """
        if not isinstance(self._state, Watching) and self._state.hedge is not None:
            self._opener.close(self._state, outcome, now)
        self._state = Watching()
        self._reports.cleared(now)

    def hedge_failed(
        self, hedge: Connection, failure: ConnectionFailed, active: Connection, now: float
    ) -> None:
        """Close a hedge whose connection failed; the next `step` may ask another provider."""
        suspicion = self._state
        assert not isinstance(suspicion, Watching)
        suspicion.hedge = None
        self._opener.charge(hedge, now)
        self._pool.fail(hedge, failure, now)
        # After the end of the active stream no later stall asks for these words, and a FINAL that
        # is held is emitted without them.
        # A hedge that has been silent all the time would be silent again, and the FINAL late
        # (test_a_provider_that_is_silent_beside_a_deaf_one).
        name, had_words = hedge.traits.name, has_words(hedge)
        last_chance = active.finished or (
            isinstance(suspicion, CheckingSkippedSpeech)
            and (had_words or failure.kind is not ErrorKind.STALLED)
            and suspicion.awaits_hedges(self._policy, self._ledger, now)
        )
        if self._opener.spend_retry(name, now, had_words=had_words, last_chance=last_chance):
            suspicion.hedged_providers.discard(name)

    def hedge_refused(
        self, hedge: Connection, active: Connection, retry_at: float, now: float
    ) -> None:
        """Close a hedge that its provider has refused because of another connection of ours.

        If that is the active one, the provider will take no second connection. Otherwise it is
        asked again at `retry_at`.
        """
        suspicion = self._state
        assert not isinstance(suspicion, Watching)
        suspicion.hedge = None
        self._pool.close(hedge, CloseReason.REFUSED, now)
        if hedge.traits.name != active.traits.name:
            suspicion.hedged_providers.discard(hedge.traits.name)
            self._opener.wait(hedge.traits.name, retry_at)
        elif isinstance(suspicion, Hedging) and not active.finished:
            # The provider is alive, and there is no other one to ask. A third connection would be
            # refused like the second (test_refused_connections_are_not_repeated).
            active.stall_detector.clear(active.cursor)
            self._multiplier.double()
            self._state = Watching()
            self._reports.cleared(now)

    def renew_hedge(self, hedge: Connection, now: float) -> None:
        """Open the hedge anew: its audio begins again, and what it has transcribed is forgotten.

        For another clock than that of the audio it was sent. It is neither an answer nor a failure,
        and the provider still counts as asked (test_a_change_while_a_hedge_is_under_way).
        """
        suspicion = self._state
        assert not isinstance(suspicion, Watching)
        self._opener.charge(hedge, now)
        self._pool.close(hedge, CloseReason.RENEWED, now)
        suspicion.hedge = self._pool.open(hedge.traits, Role.HEDGE, now)

    # -- the state machine

    def step(self, active: Connection, now: float) -> StallDeadline | None:
        """Open, evaluate or close the hedge.

        Returns the stall for which the caller must leave the active connection, if any.
        """
        match self._state:
            case CheckingSkippedSpeech() as checking:
                return self._check_skipped_speech(checking, active, now)
            case Watching() | Hedging():
                return self._check_stall(active, now)
            case _ as never:
                assert_never(never)

    def deadlines(self, active: Connection) -> list[float]:
        """Return when `step` may have something to do without any input."""
        match self._state:
            case CheckingSkippedSpeech(hedge=Connection() as hedge) as checking:
                answered_at = hedge.processed_by + answer_timeout(hedge, self._connect_timeout)
                return [answered_at, checking.deadline(self._policy, self._ledger)]
            case CheckingSkippedSpeech():
                # Unless a provider is waited for, `step` has not run since, and will ask one or end
                # the check.
                return self._opener.waits
            case Watching() | Hedging() as state:
                return self._stall_deadlines(state, active)
            case _ as never:
                assert_never(never)

    def positions(self, active: Connection, now: float) -> list[int]:
        """Return the session samples at which audio alone may give `step` something to do."""
        state, places, stall = self._state, list[int](), self._next_stall(active)
        match state:
            case Watching():
                # Audio that was sent just now may have made a deadline that is over already.
                is_idle = stall is None or now < stall.hedge_at
            case Hedging(hedge=Connection() as hedge) if stall is not None:
                is_idle = self._waits(state, hedge, active, stall, now)
                if state.found_deaf and (due := self.unanswered_due(active)) is not None:
                    places.append(due)
            case _:
                is_idle = False
        if not is_idle:
            return [self._ledger.end]
        return places + active.stall_detector.positions(self._ledger, self._multiplier.value)

    def _waits(
        self,
        hedging: Hedging,
        hedge: Connection,
        active: Connection,
        stall: StallDeadline,
        now: float,
    ) -> bool:
        """Return whether there is nothing to decide about a hedge before one of `deadlines`."""
        # With every frame, a later word of it counts (`StallDeadline.through`).
        if first_new_word_at(hedge, self._ledger, self._history) is not None:
            return False
        # A final may wait from the first audio on in which somebody speaks on.
        if self._ledger.segment_start(self._ledger.end) == self._ledger.end:
            return False
        if now < stall.due:
            return True
        primary_due = primary_due_at(active, hedging.expected_through)
        if primary_due is not None and now < primary_due:
            return True
        hedge_due = self._hedge_due_at(hedging, hedge, active)
        is_answered = hedge.stall_detector.answered_empty
        return not is_answered and (hedge_due is None or now < hedge_due)

    @property
    def _hedge(self) -> Connection | None:
        return None if isinstance(self._state, Watching) else self._state.hedge

    def _unanswered_since(self, active: Connection) -> int:
        return max(self._ledger.watermark, active.stall_detector.text_through)

    # -- a stall

    def _check_stall(self, active: Connection, now: float) -> StallDeadline | None:
        stall = self._next_stall(active)
        # The deadline may have moved only because the user speaks on. So a hedge stays open until
        # the active connection gives text.
        is_silent = isinstance(self._state, Hedging) and self._state.is_silent_beside_hedge(active)
        if stall is None or (now < stall.hedge_at and not is_silent):
            self.dismiss(now)
            return None
        due = now >= stall.due
        if not self._policy.hedging:
            # No hedge may be opened, so silence alone decides. The next connection gets more time:
            # it is sent the same audio, which may be noise.
            if due:
                self._multiplier.double()
            return stall if due else None
        hedging = self._state if isinstance(self._state, Hedging) else None
        if hedging is None:
            self._state = hedging = Hedging()
            self._reports.suspected(active, stall.reason, now)
        if due and hedging.hedge is not None and self._is_outage(hedging, active):
            # An outage asks all providers at once, and again and again.
            self._opener.close(hedging, HedgeOutcome.NO_SPEECH, now, stall)
            self._nobody_hears = True
            return stall
        if hedging.hedge is None:
            return self._open_hedge(hedging, active, stall, now)
        if not due:
            return None
        if stall.reason is StallReason.FINAL_OVERDUE:
            hedging.overdue_final = stall
        return self._evaluate(hedging, hedging.hedge, active, stall, now)

    def _is_outage(self, suspicion: Suspicion, active: Connection) -> bool:
        """Return whether two providers are known to be deaf, to more voice than noise explains."""
        return suspicion.found_deaf and not active.finished and self.is_unanswered(active)

    def _stall_deadlines(self, state: Watching | Hedging, active: Connection) -> list[float]:
        stall = self._next_stall(active)
        if stall is None:
            return []
        due = [stall.hedge_at, stall.due, self._alive_until(active), *self._opener.waits]
        if isinstance(state, Hedging) and state.hedge is not None:
            answers = (
                self._hedge_due_at(state, state.hedge, active),
                primary_due_at(active, state.expected_through),
            )
            due += [at for at in answers if at is not None]
        return due

    def _next_stall(self, active: Connection) -> StallDeadline | None:
        """Return the next stall of the active connection, if speech is pending."""
        if active.finished:
            # Its stream has ended, so there is no deadline to wait for.
            if not self._misses_words(active):
                return None
            opened_at = active.opened_at
            return StallDeadline(StallReason.MISSING_TAIL, opened_at, opened_at, active.cursor)
        state = self._state
        if isinstance(state, Hedging) and (overdue := state.overdue_final):
            pending = self._ledger.has_pending_speech_before(overdue.through)
            if pending and state.is_silent_beside_hedge(active):
                return overdue
        return active.stall_detector.next_stall(self._ledger, active.cursor, self._multiplier.value)

    def _misses_words(self, finished: Connection) -> bool:
        """Return whether the active connection, which gives no more events, has left words out.

        A stream that has ended by itself, and had given a FINAL behind all voice, is believed about
        the inexact end of its last word, as in mid-call
        (test_the_end_of_the_last_word_is_not_asked_about). Others may owe a shorter word
        (test_a_hedge_that_loses_the_tail_as_well).
        """
        ledger, told_through = self._ledger, finished.interpreter.final_through
        if finished.ended and told_through >= ledger.last_voice_end(ledger.end):
            return ledger.has_pending_speech()
        return self._pool.has_pending_words()

    def _alive_until(self, active: Connection) -> float:
        """Return until when the active connection counts as alive because of its interim text."""
        timeout = active.stall_detector.interim_timeout
        if timeout is None or active.finished:
            return -math.inf
        return active.stall_detector.last_text_at + timeout

    def _open_hedge(
        self, suspicion: Suspicion, active: Connection, stall: StallDeadline, now: float
    ) -> StallDeadline | None:
        """Open a hedge if one may be opened.

        Returns the stall if it is due and no provider can be asked: then silence alone decides.
        """
        due = now >= stall.due
        # Words that are missing at the end of the call are worth more than the budget.
        if not (active.finished or self._opener.within_budget(now)):
            if due:
                self._multiplier.double()
            return None
        hedge = self._opener.open(active, suspicion.hedged_providers, now, due=due)
        if hedge is not None:
            suspicion.hedge = hedge
            suspicion.expected_through = active.stall_detector.expected_through
            return None
        if self._opener.is_waiting(now):
            return None  # the provider will be asked, and silence alone does not decide
        # A connection that keeps giving interim text works, at least. Without a hedge that does
        # better, it is not left for an overdue final
        # (test_a_sole_provider_that_takes_no_second_connection).
        # After the second round all providers were asked, so leaving cannot help.
        spared = self._had_second_round or now < self._alive_until(active)
        if not due or spared:
            return None
        self._nobody_hears = suspicion.found_deaf and not active.finished
        return stall

    def _evaluate(
        self,
        hedging: Hedging,
        hedge: Connection,
        active: Connection,
        stall: StallDeadline,
        now: float,
    ) -> StallDeadline | None:
        """Compare the transcripts of the hedge and the active connection. The stall is due."""
        new_word_at = first_new_word_at(hedge, self._ledger, self._history)
        # The active connection still has time for words that were spoken after `stall.through`.
        if new_word_at is not None and new_word_at < self._ledger.seconds(stall.through):
            self._known_noise.forget()
            self._opener.report(hedge, HedgeOutcome.PROMOTED, stall)
            # The hedge replays, and may need longer for the same words than its own deadlines say.
            self._multiplier.double()
            return stall
        silent = silent_through(
            hedge,
            self._ledger,
            self._policy,
            due_at=self._hedge_due_at(hedging, hedge, active),
            primary_finished=active.finished,
            now=now,
        )
        if silent is None:
            return None
        # The hedge may be the faster one: its silence commits nothing that the active connection
        # still has time to transcribe (schedule no-speech-before-the-suspect-had-time).
        primary_due = primary_due_at(active, hedging.expected_through)
        if primary_due is not None and now < primary_due:
            return None
        is_silent = is_silent_to_the_end(hedge) and not self._pool.never_ends(hedge)
        may_be_deaf = (active.finished and is_silent) or repeated_nothing(hedge)
        if may_be_deaf or is_deaf(hedge, self._ledger, self._connect_timeout, now):
            self._deaf_hedge_failed(hedging, hedge, active, stall, now)
            return self._open_hedge(hedging, active, stall, now)
        self._conclude_no_speech(hedging, hedge, active, stall, new_word_at, silent, now)
        return None

    def _deaf_hedge_failed(
        self,
        suspicion: Suspicion,
        hedge: Connection,
        active: Connection,
        stall: StallDeadline,
        now: float,
    ) -> None:
        """Close a hedge that has left out committed words: its silence means nothing."""
        suspicion.found_deaf = True
        deaf = ConnectionFailed(hedge.id, ErrorKind.STALLED, trigger=stall.reason)
        self.hedge_failed(hedge, deaf, active, now)

    def _hedge_due_at(
        self, hedging: Hedging, hedge: Connection, active: Connection
    ) -> float | None:
        """Return when the hedge has had time enough to transcribe the pending speech."""
        if active.finished:
            # There is no later chance for the rest of the call, so the hedge must process all of it
            # (schedule hedge-judged-before-its-end-of-input).
            return self._pool.drained_at(hedge)
        return hedge_due_at(hedge, self._ledger, hedging.expected_through, self._connect_timeout)

    def _conclude_no_speech(
        self,
        hedging: Hedging,
        hedge: Connection,
        active: Connection,
        stall: StallDeadline,
        new_word_at: float | None,
        silent: int,
        now: float,
    ) -> None:
        """Commit as silence the audio in which neither connection found words.

        If the hedge has no words at all, it may be as deaf as the active connection: then nothing
        is committed.

        `silent`: the session sample before which the hedge found no words. `new_word_at`: the
        session time (seconds) of a word that the hedge has transcribed after `stall.through`.
        """
        ledger = self._ledger
        if self._ask_others_once_more(hedging, hedge, active, stall, now):
            return
        pending_through = max(stall.through, hedging.expected_through)
        through = min(pending_through, silent)
        if new_word_at is not None:
            # Audio in which the hedge found words is not noise (schedule
            # hedge-beside-committed-words, test_words_after_noise).
            through = min(through, ledger.samples(new_word_at))
        if stall.reason not in (StallReason.FINAL_OVERDUE, StallReason.MISSING_TAIL):
            # These two are about speech that is over. The other stalls come while the user speaks:
            # the text for what the active connection has processed just now may be on its way.
            recent = now - self._policy.no_interim_timeout
            through = min(through, active.processed_through(ledger, recent))
        shown_at = self._unfinished.first_word_at()
        if not active.finished and shown_at is not None:
            # The consumer was shown words there, so it is not noise: both have left them out
            # (schedule shown-words-and-two-half-open-connections).
            through = min(through, shown_at)
        if has_words(hedge):
            wordless = through
            if new_word_at is None and shown_at is None:
                # Both may have left out more by now than the hedge was opened for.
                overdue = (each.stall_detector.overdue_through(now) for each in (active, hedge))
                wordless = max(through, min(*overdue, silent))
            self._known_noise.no_words_found(ledger.watermark, wordless)
            ledger.commit_noise(through)
            ledger.commit_noise(ledger.known_noise_through(wordless))
        else:
            # Nothing shows that it hears: no words were committed that it could repeat
            # (test_a_second_connection_commits_no_silence, test_no_provider_ever_gives_a_word).
            self._asked_through = max(self._asked_through, through)
        if (
            new_word_at is None
            and silent < pending_through
            and stall.reason is not StallReason.NO_INTERIM
        ):
            # The hedge has found no words in a part only: it listens on to the rest (commit
            # d3443fa).
            hedge.stall_detector.clear(silent)
            return
        active.stall_detector.clear(max(through, ledger.watermark))
        if new_word_at is not None:
            return  # the hedge stays open: its words may still be missing at the next deadline
        self._multiplier.double()
        self._opener.close(hedging, HedgeOutcome.NO_SPEECH, now, stall)
        self._state = Watching()
        self._reports.cleared(now)

    def _ask_others_once_more(
        self,
        hedging: Hedging,
        hedge: Connection,
        active: Connection,
        stall: StallDeadline,
        now: float,
    ) -> bool:
        """Ask the providers again that have failed, after the end of the input.

        Only the active connection's own provider has answered, and there will be no later chance
        (schedules other-providers-once-more-at-the-end, a-repetition-and-no-more-at-the-end).
        Returns whether one is asked, or will be.
        """
        same_provider = hedge.traits.name == active.traits.name
        if not (self._pool.input_ended and same_provider) or self._had_second_round:
            return False
        self._had_second_round = True
        again = Hedging(hedged_providers={active.traits.name})
        self._open_hedge(again, active, stall, now)
        if again.hedge is None and not self._opener.is_waiting(now):
            return False
        self._opener.close(hedging, HedgeOutcome.NO_SPEECH, now, stall)
        self._state = again
        return True

    # -- skipped speech

    def _check_skipped_speech(
        self, checking: CheckingSkippedSpeech, active: Connection, now: float
    ) -> StallDeadline | None:
        """Ask one provider after the other, until one decides whether the speech holds words."""
        skipped, stall = checking.skipped, checking.stall
        while (hedge := self._hedge_for_skipped(checking, active, now)) is not None:
            if is_deaf(hedge, self._ledger, self._connect_timeout, now):
                self._deaf_hedge_failed(checking, hedge, active, stall, now)
                continue
            covered, is_certain = skipped_speech_answer(
                hedge,
                skipped,
                self._ledger,
                self._history,
                word_time_tolerance=self._word_time_tolerance,
                min_compared_words=self._policy.min_compared_words,
            )
            # Interim transcripts come soon after the words. So a hedge that gives them need not
            # process the rest of the FINAL's audio first.
            gives_soon = hedge.stall_detector.gives_interims_soon
            through = skipped.interims_through if gives_soon else skipped.end
            if (
                not is_certain
                and checking.awaits_hedges(self._policy, self._ledger, now)
                and not had_time_to_answer(hedge, through, self._ledger, self._connect_timeout, now)
                and not checking.is_too_far_behind(self._policy, self._ledger, now)
            ):
                return None
            if covered:
                self._skipped_multiplier.reset()
                self._known_noise.forget()
                # An interim transcript may be revised. If the hedge's own FINAL skips the same
                # speech, it is believed: two providers would otherwise hold each other's finals.
                self._skipped_checked_through = (
                    self._ledger.watermark if is_certain else skipped.first_word_at
                )
                self._opener.report(hedge, HedgeOutcome.PROMOTED, stall)
                return stall
            self._opener.close(checking, HedgeOutcome.NO_SPEECH, now, stall)
            if covered is False:
                self._skipped_multiplier.double()
                if not skipped.had_interims:
                    self._known_noise.no_words_found(
                        skipped.committed_through, skipped.first_word_at
                    )
                self._state = Watching()
                self._reports.cleared(now)
                return None
        has_time = checking.awaits_hedges(self._policy, self._ledger, now)
        if has_time and self._opener.is_waiting(now):
            return None
        self._state = Watching()
        leaves = self._conclude_unchecked(checking, stall)
        if leaves is None:
            self._reports.cleared(now)
        return leaves

    def _conclude_unchecked(
        self, checking: CheckingSkippedSpeech, stall: StallDeadline
    ) -> StallDeadline | None:
        """Decide about skipped speech for which no hedge had an answer."""
        skipped = checking.skipped
        if not skipped.had_interims:
            # Voice alone may be a cough or music. But no cough is so long, and if a hedge was deaf,
            # or there are no words yet that it could repeat, nothing speaks for noise.
            may_be_deaf = checking.found_deaf or self._ledger.known_words is None
            if may_be_deaf and skipped.speech >= self.unanswered_limit:
                self._pool.report_skipped(skipped.voice, AudioLossReason.UNANSWERED)
            return None
        if not self._policy.hedging:
            # An "um" may be in an interim transcript and in no final. It is too short to fail over.
            return stall if skipped.speech >= self._policy.min_skipped_speech else None
        # The connection transcribes, at least, and no other one does better: it is not left. But
        # its final lacks words of its own interim transcripts, and that is reported.
        self._pool.report_skipped(skipped.voice, AudioLossReason.FINAL_SKIPPED)
        return None

    def _hedge_for_skipped(
        self, checking: CheckingSkippedSpeech, active: Connection, now: float
    ) -> Connection | None:
        """Return the hedge; open one if there is none. `None` if no provider can be asked."""
        has_time = checking.awaits_hedges(self._policy, self._ledger, now)
        if checking.hedge is None and self._policy.hedging and has_time:
            self._open_hedge(checking, active, checking.stall, now)
        return checking.hedge
