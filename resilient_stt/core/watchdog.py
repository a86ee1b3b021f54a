"""What silence from a leg means: signs, and when each becomes a suspicion.

Never a verdict: noise is speech to a voice detector and nothing to a recogniser. Only local voice
activity and what the leg was sent count; a leg that nobody speaks to may be silent forever.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from .inputs import Said, SaidKind
from .latency import Latency
from .ledger import Ledger
from .policy import Provider, WatchdogPolicy

ASKS = 64
"""Unanswered requests for a final that are remembered: the replay window holds no more turns."""


class Sign(StrEnum):
    """Why a leg is suspect."""

    QUIET = "no_sign_of_life"
    OVERDUE = "final_overdue"
    WORDLESS = "no_text"
    EMPTY = "empty_finals"
    MISSING = "words_missing"
    SKIPPED = "words_skipped"


@dataclass(frozen=True, slots=True)
class Alarm:
    """From `due` on the leg is suspect; from `early` on a hedge may be opened.

    It owes words for audio before session sample `to`.
    """

    sign: Sign
    early: float
    due: float
    to: int


@dataclass(frozen=True, slots=True)
class _Ask:
    """A final is due for what was sent up to `to`: at `at` the leg can have heard all of it.

    Not `flushed`: speech has ended there, and a recogniser that goes on listening is right to wait.
    """

    to: int
    at: float
    flushed: bool
    spoken: float
    """When the last of it was sent: what a final's delay is counted from."""
    words_to: int
    """The session sample where the last word may have ended, at the earliest."""


class Watch:
    """What one leg owes, and since when."""

    def __init__(
        self, provider: Provider, latency: Latency, policy: WatchdogPolicy, start: int
    ) -> None:
        """`start`: the session sample from which on the leg hears."""
        self._provider = provider
        self._latency = latency
        self._policy = policy
        self._from = start
        """Voice after it is unanswered by any text."""
        self._text_at = 0
        """What the leg had been sent when its last text came."""
        self._interim = ""
        """Its last text that is not final."""
        self.told_at = -math.inf
        """When that was."""
        self._voice_since: float | None = None
        self._voice_at = 0
        self._wordless_at: list[tuple[float, int]] = []
        """When so much speech without text was heard, twice as much and so on, and what was sent by
        then."""
        self._asks: deque[_Ask] = deque(maxlen=ASKS)
        self._denials = 0
        """Requests that finals without text have answered since the last text."""
        self.denied_to = 0
        """The session sample before which the last of them said that there are no words."""
        self._anew = 0.0
        """The session time from which on interim transcripts are of what follows a final that the
        leg has not told."""
        self._empty = 0
        self._empty_since = 0.0
        self._empty_to = 0

    def __repr__(self) -> str:
        return f"Watch(asks={list(self._asks)}, empty={self._empty}, from={self._from})"

    # -- what happens to the leg

    def ask(
        self, to: int, at: float, *, flushed: bool, ago: float = 0.0, words_to: int | None = None
    ) -> None:
        """A final is due for audio before `to`, heard by `at`, the last of it sent `ago`.

        `words_to`: where its last word may have ended, at the earliest.
        """
        self._asks.append(_Ask(to, at, flushed, at - ago, to if words_to is None else words_to))

    def sent(self, ledger: Ledger, cursor: int, heard_by: float) -> None:
        """The leg was sent audio up to `cursor`, which it can have heard by `heard_by`."""
        voiced = self._unanswered(ledger, cursor)
        owes = ledger.owes_before(cursor)
        if not owes:
            self._empty = 0
        while self._asks and not ledger.owes_before(self._asks[0].to):
            self._asks.popleft()  # settled by others' evidence
        if not voiced or self._is_trifle(ledger, cursor, voiced, owes=owes):
            self._voice_since = None  # no clock for what follows
        elif self._voice_since is None:
            self._voice_since, self._voice_at = heard_by, cursor
        full = int(voiced / max(1.0, self._policy.wordless))
        del self._wordless_at[full:]
        self._wordless_at += [(heard_by, cursor)] * (full - len(self._wordless_at))

    def _is_trifle(self, ledger: Ledger, cursor: int, voiced: float, *, owes: bool) -> bool:
        """Whether the unanswered voice is over and too short to mean anything."""
        silence = cursor - ledger.voiced_until(cursor)
        if not owes:
            return silence > 0
        return voiced < self._policy.quiet_voiced and (
            silence >= ledger.samples(self._policy.quiet / 2)
        )

    def said(self, said: Said, cursor: int, now: float) -> None:
        """The leg said something at `now`, when it had been sent audio up to `cursor`."""
        if said.text.strip():
            is_final = said.kind is SaidKind.FINAL
            again, self._interim = said.text == self._interim, "" if is_final else said.text
            if not is_final:
                self._text_at = cursor
                if again:
                    return  # no new word: one that goes on so while somebody speaks may be deaf
            self._from = cursor
            self.told_at = now
            self._voice_since = None
            self._wordless_at.clear()
            self._empty = self._denials = 0
        elif said.kind is SaidKind.FINAL:
            if self._asks and self._asks[0].at <= now:
                self.denied_to = self._asks.popleft().to  # an answer: no words there
                self._denials += 1
            self._empty += 1
            self._empty_since, self._empty_to = now, cursor

    def answered(self, ledger: Ledger, now: float, since: int | None) -> float | None:
        """A FINAL with text has settled what it tells: seconds that it came after the speech.

        `since`: the session sample at which its words begin; what was asked for before them had
        none. `None` if it has no times: then it answers everything asked so far. Returns `None` if
        it was not waited for.
        """
        delay = None
        while self._asks and not (
            ledger.owes_before(self._asks[0].to) and (since is not None or self._asks[0].at > now)
        ):
            ask = self._asks.popleft()
            if (since is None or ask.to > since) and not self._turn_undecided(ask):
                delay = max(0.0, now - ask.spoken)
        return delay

    def went_on(self, at: float | None) -> None:
        """Its interim transcripts begin anew at `at` (session seconds), a final being due."""
        if at is not None:
            self._anew = at

    def acquitted(self, to: int) -> None:
        """There was nothing to be heard before `to`."""
        self._from = max(self._from, to)
        self._voice_since = None
        self._wordless_at.clear()
        self._empty = 0
        while self._asks and self._asks[0].to <= to:
            self._asks.popleft()

    @property
    def denied(self) -> bool:
        """It has answered that there were no words in what it was asked for."""
        return self._denials > 0 and not self._asks

    # -- what it owes

    @property
    def asked(self) -> int:
        """The session sample up to which it owes finals."""
        return max((ask.to for ask in self._asks), default=0)

    @property
    def flushed(self) -> int | None:
        """The session sample up to which its next final can tell: a flush ends it there."""
        return min((ask.to for ask in self._asks if ask.flushed), default=None)

    def heard_by(self, to: int) -> float | None:
        """When it had time enough to tell the words before `to`; `None` if it was not asked."""
        asked = [a.at + self._final_limit(a) for a in self._asks if a.to <= to]
        return max(asked, default=None)

    def alarm(self, ledger: Ledger, cursor: int, scale: float = 1.0) -> Alarm | None:
        """The first suspicion to come, if the leg owes anything.

        `scale` stretches its deadline, not the time that a hedge has before it.
        """
        if not ledger.hears:
            return None
        alarms = [
            self._quiet(ledger, cursor, scale),
            self._overdue(ledger, cursor, scale),
            self._wordless(ledger, cursor, scale),
            self._emptied(ledger, cursor, scale),
        ]
        return min((a for a in alarms if a), key=lambda a: a.due, default=None)

    def _quiet(self, ledger: Ledger, cursor: int, scale: float) -> Alarm | None:
        since = self._voice_since
        if not self._provider.interims or since is None:
            return None
        if self._unanswered(ledger, cursor) < self._policy.quiet_voiced or not ledger.owes():
            return None
        p99 = self._latency.p99 or 0.0
        limit = max(self._policy.quiet, self._policy.quiet_p99 * p99)
        lead = (1 - self._policy.quiet_hedge_at) * limit
        due = since + scale * limit
        # what came later may yet be told
        to = max(
            cursor - ledger.samples(self._policy.quiet / 2),
            min(cursor, self._voice_at + ledger.samples(self._policy.quiet_voiced)),
        )
        return Alarm(Sign.QUIET, due - lead, due, to)

    def _overdue(self, ledger: Ledger, cursor: int, scale: float) -> Alarm | None:
        alarms = []
        for ask in self._asks:
            if ledger.owes_before(ask.to) and self._is_over(ask, ledger, cursor):
                limit = self._final_limit(ask)
                due = ask.at + scale * limit
                lead = (1 - self._policy.hedge_at) * limit
                alarms.append(Alarm(Sign.OVERDUE, due - lead, due, ask.to))
        return min(alarms, key=lambda a: a.due, default=None)

    def _is_over(self, ask: _Ask, ledger: Ledger, cursor: int) -> bool:
        """Whether a final is due although speech may go on: it was flushed, or left behind."""
        left = ask.words_to < ledger.samples(self._anew)
        return ask.flushed or left or not ledger.goes_on(ask.to, cursor)

    def _wordless(self, ledger: Ledger, cursor: int, scale: float) -> Alarm | None:
        limit = max(1.0, self._policy.wordless)
        # what has left the window can be counted no more
        stretched = max(limit, min(scale * limit, ledger.window / 2))
        full = math.ceil(stretched / limit)
        if self._provider.interims or len(self._wordless_at) < full:
            return None
        if self._unanswered(ledger, cursor) < stretched:
            return None
        heard_by, _ = self._wordless_at[full - 1]
        return Alarm(Sign.WORDLESS, heard_by, heard_by, self._wordless_at[0][1])

    def _emptied(self, ledger: Ledger, cursor: int, scale: float) -> Alarm | None:
        policy = self._policy
        many = self._empty >= scale * policy.empty_finals
        denied = self._unanswered(ledger, self._empty_to) if self._empty else 0.0
        if not (many or denied >= scale * policy.empty_voiced):
            return None
        if not ledger.owes_before(self._empty_to):
            return None
        return Alarm(Sign.EMPTY, self._empty_since, self._empty_since, self._empty_to)

    @property
    def final_limit(self) -> float:
        """Seconds within which it has to tell what it has heard, and been asked for."""
        p99 = self._latency.p99
        if p99 is None:
            return self._provider.final_after
        return max(self._policy.final, self._policy.final_p99 * p99)

    def _final_limit(self, ask: _Ask) -> float:
        limit = self.final_limit
        return max(limit, self._provider.turn_after) if self._turn_undecided(ask) else limit

    def _turn_undecided(self, ask: _Ask) -> bool:
        """Whether the leg has told the words already, and only does not call them final yet."""
        return self._provider.turn_after > 0 and self._text_at >= ask.words_to

    def _unanswered(self, ledger: Ledger, cursor: int) -> float:
        """Seconds of voice that the leg was sent since its last text."""
        since = max(self._from, ledger.watermark)
        return ledger.voiced(since, cursor) / ledger.rate if ledger.rate else 0.0
