"""What traffic showed of a provider lately, here and in other processes, and when it is too much.

Three failures of three calls are as bad as three failures of one, and where each call is a process
of its own, no process ever sees more than one. So a window holds the outcomes of a whole fleet. Its
own are exact and known at once. Those of the others are what the store had at the last round trip,
dated too early by a round trip at most.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from ..policy import BreakerPolicy

MAX_OUTCOMES = 256
"""Outcomes that are remembered. A memory bound: the default policy needs 61."""


@dataclass(frozen=True, slots=True)
class FleetOutcomes:
    """What other processes saw of a provider lately; times are on the clock of this one."""

    failures: tuple[float, ...] = ()
    texts: tuple[float, ...] = ()
    """When text came; one time stands for all text within a second."""


NO_OUTCOMES = FleetOutcomes()


class OutcomeWindow:
    """What traffic showed within `BreakerPolicy.window` while the breaker was closed.

    Every stream gives text several times a second. If each text counted as a success, no number of
    failures could reach a share of one half. So text counts as one success per `success_interval`
    (1 s), however many streams give it; the share then compares failures with seconds of text.
    """

    def __init__(self, policy: BreakerPolicy, since: float = -math.inf) -> None:
        """`since`: outcomes of other processes from before do not count any more."""
        self._policy = policy
        self._since = since
        self._outcomes: deque[tuple[float, bool]] = deque(maxlen=MAX_OUTCOMES)
        """(when, whether it was a failure) of this process, oldest first."""
        self._failures_in_a_row: list[float] = []
        """When each failure of this process since its last text was."""
        self._text_at = -math.inf
        self._success_at = -math.inf
        self._others = NO_OUTCOMES

    def record_success(self, now: float) -> None:
        """Note text. It always ends a row of failures, whether it counts as an outcome or not."""
        self._failures_in_a_row.clear()
        self._text_at = now
        if now >= self._success_at + self._policy.success_interval:
            self._success_at = now
            self._outcomes.append((now, False))

    def record_failure(self, now: float) -> None:
        """Note a failure."""
        horizon = now - self._policy.window
        self._failures_in_a_row = [at for at in self._failures_in_a_row if at > horizon] + [now]
        while self._outcomes and self._outcomes[0][0] <= horizon:
            self._outcomes.popleft()
        self._outcomes.append((now, True))

    def share(self, others: FleetOutcomes) -> None:
        """Replace what is known of other processes."""
        self._others = FleetOutcomes(
            tuple(sorted(at for at in others.failures if at > self._since)),
            tuple(sorted(at for at in others.texts if at > self._since)),
        )

    def texts_after(self, at: float) -> list[float]:
        """When this process had text after `at`: once for each success, and the last time."""
        texts = [when for when, failed in self._outcomes if not failed]
        return sorted({when for when in (*texts, self._text_at) if when > at})

    @property
    def too_many_failures_at(self) -> float | None:
        """When the failures became too many: the time of the last one; `None` if they are not.

        They are not, if there was text after the last one.
        """
        last = max((at for at, failed in self._outcomes if failed), default=-math.inf)
        last = max(last, *self._others.failures, -math.inf)
        last_text = max(self._text_at, *self._others.texts, -math.inf)
        if last == -math.inf or last_text > last:
            return None
        horizon = last - self._policy.window
        if self._row(horizon) >= self._policy.consecutive_failures:
            return last
        failures, successes = self._counts(horizon)
        calls = failures + successes
        enough = calls >= self._policy.minimum_calls
        return last if enough and failures / calls >= self._policy.failure_rate_threshold else None

    def _row(self, horizon: float) -> int:
        """Count the failures since the last text anywhere."""
        others = self._others
        foreign_text = max(others.texts, default=-math.inf)
        own = [at for at in self._failures_in_a_row if at > horizon and at >= foreign_text]
        row_from = max(horizon, foreign_text, self._text_at)
        return len(own) + sum(at > row_from for at in others.failures)

    def _counts(self, horizon: float) -> tuple[int, int]:
        """Count the failures, and the seconds with text, of all processes."""
        others = self._others
        recent = [outcome for outcome in self._outcomes if outcome[0] > horizon]
        failures = sum(failed for _, failed in recent)
        failures += sum(at > horizon for at in others.failures)
        own = [at for at, failed in recent if not failed]
        successes, counted = len(own), -math.inf
        if others.texts:
            successes = 0
            for at in sorted([*own, *(at for at in others.texts if at > horizon)]):
                if at >= counted + self._policy.success_interval:
                    successes, counted = successes + 1, at
        return failures, successes
