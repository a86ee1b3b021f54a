"""Which provider serves next: who was tried, whose breaker admits, who may be reopened."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from ..events import ErrorKind
from ..health.breaker import PREFERENCE, BreakerState
from ..health.provider import ProviderHealth
from ..messages import ConnectionFailed, ReportAvailability
from ..policy import ProviderTraits, RetryPolicy
from .retry_budget import RetryBudget


class ProviderSelector:
    """The choice among the providers of one stream's route."""

    def __init__(
        self,
        route: Sequence[ProviderTraits],
        health: Mapping[str, ProviderHealth],
        policy: RetryPolicy,
    ) -> None:
        """`route`: providers in order of preference."""
        if not route:
            raise AssertionError("a session needs a provider")
        self._route = tuple(route)
        self._health = health
        self._policy = policy
        self._budgets = {p.name: RetryBudget(policy) for p in route}
        self._failed: set[str] = set()
        """Who has failed since one has worked."""
        self._rejected: set[str] = set()
        """Who refused this stream's request: that says nothing about anybody's health."""

    def set_route(self, route: Sequence[ProviderTraits]) -> None:
        """Others serve from now on, and another language: who refused the last may take this."""
        self._route = tuple(route)
        for provider in route:
            self._budgets.setdefault(provider.name, RetryBudget(self._policy))
        self._failed.clear()
        self._rejected.clear()

    @property
    def names(self) -> list[str]:
        """The providers, in order of preference."""
        return [p.name for p in self._route]

    # -- what happened

    def mark_working(self, name: str, now: float) -> list[ReportAvailability]:
        """A provider gave text to a caller."""
        self._failed.clear()
        self._health[name].breaker.record_text(now)
        return self.mark_recovered(name)

    def record_failure(
        self, provider: ProviderTraits, failure: ConnectionFailed, now: float
    ) -> bool:
        """A leg failed, whatever it was for. Returns whether that is news.

        Refused credentials are told once, until the provider works again.
        """
        health = self._health[provider.name]
        if failure.kind is ErrorKind.BAD_REQUEST:
            self._rejected.add(provider.name)
        health.breaker.record_failure(failure.kind, now, failure.retry_after)
        self._failed.add(provider.name)
        return health.note_failure(failure.kind)

    def mark_recovered(self, name: str) -> list[ReportAvailability]:
        """A provider has proven to be well, by text or by probes."""
        self._health[name].credentials_reported = False
        return self._availability(name, True)

    def mark_unavailable(self, name: str) -> list[ReportAvailability]:
        """A provider was left."""
        return self._availability(name, False)

    # -- who serves

    def initial(self, now: float) -> ProviderTraits:
        """Whom to begin with, at the start of a stream."""
        self._failed.clear()
        return self._least_bad(self._route, now)

    def on_failure(
        self, failed: ProviderTraits, failure: ConnectionFailed, worked: float | None, now: float
    ) -> tuple[ProviderTraits | None, bool]:
        """Who serves after a failure, and whether it is news, as `failed` says.

        `None` if nobody is left to try, which makes an outage. `worked`: seconds for which the
        failed leg had worked; `None` if it never did. Only a leg that had worked and was dropped is
        worth another attempt on the same provider.
        """
        if worked is not None:
            self._failed.clear()
            self._budgets[failed.name].earn(worked)
        news = self.record_failure(failed, failure, now)
        dropped = worked is not None and failure.kind is ErrorKind.DROPPED
        if dropped and self.spend_reconnect(failed.name, now):
            return failed, news
        return self._next_untried(now), news

    def hedge_candidate(
        self, active: ProviderTraits, asked: Collection[str], now: float, *, healthy: bool
    ) -> ProviderTraits | None:
        """Another provider for a second opinion; not one of those that were `asked`.

        Not `healthy`: also one whose breaker is not closed, if there is no better, but a locked one
        never.
        """
        others = [p for p in self._route if p.name not in (active.name, *asked)]
        if not others:
            return None
        best = self._least_bad(others, now)
        return (
            best
            if self._is_eligible(best, now) or not (healthy or self.is_locked(best.name, now))
            else None
        )

    def failback_candidate(self, active: ProviderTraits, now: float) -> ProviderTraits | None:
        """Who should serve instead: the first before `active` that has proven to be well."""
        for provider in self._preferred_over(active):
            if self._is_eligible(provider, now) and self._health[provider.name].breaker.is_proven(
                now
            ):
                return provider
        return None

    def lease_probe_candidate(self, active: ProviderTraits, now: float) -> ProviderTraits | None:
        """Whom to probe now: a provider before `active`, its one lease taken."""
        for provider in self._preferred_over(active):
            breaker = self._health[provider.name].breaker
            if provider.name not in self._rejected and breaker.acquire_probe(now):
                return provider
        return None

    def spend_reconnect(self, name: str, now: float) -> bool:
        """Whether a provider that had been working may be opened again; takes it off its budget."""
        return self._health[name].breaker.admits(now) and self._budgets[name].spend()

    def outage_candidates(self, now: float) -> list[ProviderTraits]:
        """Whom to try in an outage: all but the locked, if not all are locked."""
        return [p for p in self._route if not self.is_locked(p.name, now)] or list(self._route)

    def is_locked(self, name: str, now: float) -> bool:
        """Whether its credentials were refused."""
        return self._health[name].breaker.state(now) is BreakerState.LOCKED

    # -- inside

    def _availability(self, name: str, available: bool) -> list[ReportAvailability]:
        health = self._health[name]
        if health.available is available:
            return []
        health.available = available
        return [ReportAvailability(name, available)]

    def _preferred_over(self, active: ProviderTraits) -> Sequence[ProviderTraits]:
        """All, if it is not of this route any more."""
        names = self.names
        return self._route[: names.index(active.name) if active.name in names else None]

    def _is_eligible(self, provider: ProviderTraits, now: float) -> bool:
        name = provider.name
        return name not in self._rejected and self._health[name].breaker.admits(now)

    def _next_untried(self, now: float) -> ProviderTraits | None:
        """The least bad provider that was not tried yet, if any.

        Locked ones are tried where all are locked, never because the others have just failed.
        """
        untried = [p for p in self._route if p.name not in self._failed]
        if not untried:
            return None
        best = self._least_bad(untried, now)
        if not self.is_locked(best.name, now) or self._all_locked(now):
            return best
        return None

    def _least_bad(self, providers: Iterable[ProviderTraits], now: float) -> ProviderTraits:
        return min(
            providers,
            key=lambda p: (
                p.name in self._rejected,
                PREFERENCE[self._health[p.name].breaker.state(now)],
            ),
        )

    def _all_locked(self, now: float) -> bool:
        return all(self.is_locked(name, now) for name in self.names)
