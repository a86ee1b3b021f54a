"""Open and close hedges: which provider is asked, what it may cost, and what is reported."""

from __future__ import annotations

import math

from ..connections.connection import Connection
from ..connections.pool import ConnectionPool
from ..events import CloseReason, HedgeFinished, HedgeOutcome, Role
from ..outbox import Outbox
from ..policy import Policies, ProviderTraits
from ..routing.selector import ProviderSelector
from ..stalls.detector import StallDeadline
from .budget import HedgeBudget
from .states import Suspicion


class HedgeOpener:
    """Opens and closes the hedges of one stream. It outlives every suspicion."""

    def __init__(
        self,
        *,
        pool: ConnectionPool,
        selector: ProviderSelector,
        outbox: Outbox,
        policies: Policies,
        budget: HedgeBudget,
    ) -> None:
        """`budget`: shared by all streams."""
        self._pool = pool
        self._selector = selector
        self._outbox = outbox
        self._min_interval = policies.watchdog.min_hedge_interval
        self._budget = budget
        self._last_opened_at = -math.inf
        self._not_before: dict[str, float] = {}
        """When providers may be asked that have refused a hedge because of another connection."""
        self._last_chances = policies.retry.reconnect_budget
        """How many more hedges may be retried because there will be no later chance to ask.

        Without a bound, a provider that accepts and drops connections would be asked for ever.
        """

    def __repr__(self) -> str:
        return f"HedgeOpener(last_chances={self._last_chances})"

    def within_budget(self, now: float) -> bool:
        """Return whether the cap on hedged audio allows another hedge.

        Once the cap is reached, a stream may still hedge once in `min_hedge_interval`, so that a
        dead provider is noticed (test_a_deaf_provider_is_noticed_without_a_budget).
        """
        return now >= self._last_opened_at + self._min_interval or self._budget.allows(now)

    def wait(self, name: str, until: float) -> None:
        """Ask a provider not before a time, on the clock of `now`: its hedge was refused.

        Such a hedge has cost nothing.
        """
        self._not_before[name] = until
        self._last_opened_at = -math.inf

    def is_waiting(self, now: float) -> bool:
        """Return whether there is a provider that may be asked soon, but not yet."""
        return any(at > now for at in self._not_before.values())

    @property
    def waits(self) -> list[float]:
        """When providers may be asked that are waited for, or were."""
        return list(self._not_before.values())

    def open(
        self, active: Connection, hedged_providers: set[str], now: float, *, due: bool
    ) -> Connection | None:
        """Open a hedge on the best provider that is not in `hedged_providers`, and add it there.

        `due`: the stall deadline is over. Returns `None` if no provider can be asked.
        """
        provider = self._candidate(active, hedged_providers, now, due=due)
        if provider is None:
            return None
        self._last_opened_at = now
        self._not_before.pop(provider.name, None)
        hedged_providers.add(provider.name)
        return self._pool.open(provider, Role.HEDGE, now)

    def _candidate(
        self, active: Connection, hedged_providers: set[str], now: float, *, due: bool
    ) -> ProviderTraits | None:
        # Before the deadline a hedge is only a precaution: it must not bother a provider that is
        # recovering. After it, any provider is better than none.
        waiting = {name for name, at in self._not_before.items() if at > now}
        excluded = hedged_providers | waiting
        if active.finished:
            # It would be silent again, and the stream would end seconds later, behind all its words
            # (test_a_silent_provider_is_not_asked_at_the_end).
            excluded |= self._selector.silent
        provider = self._selector.hedge_candidate(active.traits, excluded, now, healthy=not due)
        if provider is not None:
            return provider
        # A second connection to the same provider shows whether the first connection is deaf, but
        # not whether the provider is. That is why another provider comes first.
        if due and not waiting and active.traits.name not in hedged_providers:
            return active.traits
        return None

    def spend_retry(self, name: str, now: float, *, had_words: bool, last_chance: bool) -> bool:
        """Spend a retry of a provider whose hedge failed. Returns whether there was one to spend.

        `had_words`: the hedge had transcribed words, which are lost with its connection
        (test_a_hedge_that_had_words_is_retried). `last_chance`: no later hedge will be opened for
        this speech.
        """
        if (had_words or last_chance) and self._selector.may_reconnect(name, now):
            self._selector.spend_reconnect(name)
            return True
        if not last_chance:
            return False
        # Even a provider whose breaker is open is worth a try when the words would be lost
        # otherwise (schedules hedge-has-words-and-breaks-for-good and
        # lost-final-with-one-connection-allowed).
        self._last_chances -= 1
        return self._last_chances >= 0

    def close(
        self,
        suspicion: Suspicion,
        outcome: HedgeOutcome,
        now: float,
        stall: StallDeadline | None = None,
    ) -> None:
        """Close the hedge of `suspicion`, and report its outcome.

        `stall`: what made the active connection suspect; `None` if it has recovered.
        """
        hedge, suspicion.hedge = suspicion.hedge, None
        assert hedge is not None
        self.charge(hedge, now)
        self.report(hedge, outcome, stall)
        self._pool.close(hedge, CloseReason.NOT_NEEDED, now)

    def report(self, hedge: Connection, outcome: HedgeOutcome, stall: StallDeadline | None) -> None:
        """Report how a hedge has ended."""
        active = self._pool.active
        self._outbox.report(
            HedgeFinished(
                at=self._pool.at,
                provider=active.traits.name if active else "",
                hedge_provider=hedge.traits.name,
                trigger=stall.reason if stall else None,
                outcome=outcome,
                seconds=hedge.seconds_sent,
            )
        )

    def charge(self, hedge: Connection, now: float) -> None:
        """Count the audio of a hedge that found nothing wrong, or failed, against the budget."""
        self._budget.record_hedged(hedge.seconds_sent, now)
