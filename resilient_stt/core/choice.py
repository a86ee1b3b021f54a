"""Which provider serves next: who was tried, whose breaker admits, who may be reopened."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from .breaker import BADNESS, State
from .commands import Availability
from .health import Health
from .inputs import ErrorKind, LegFailed
from .policy import Provider, RetryPolicy
from .retry import RetryBudget


class Choice:
    """The choice among the providers of one stream's route."""

    def __init__(
        self, route: Sequence[Provider], health: Mapping[str, Health], policy: RetryPolicy
    ) -> None:
        """`route`: providers in order of preference."""
        if not route:
            raise AssertionError("a session needs a provider")
        self._route = tuple(route)
        self._health = health
        self._policy = policy
        self._budgets = {p.name: RetryBudget(policy) for p in route}
        self._tried: set[str] = set()
        """Who has failed since one has worked."""
        self._unfit: set[str] = set()
        """Who refused this stream's request: that says nothing about anybody's health."""

    def reroute(self, route: Sequence[Provider]) -> None:
        """Others serve from now on, and another language: who refused the last may take this."""
        self._route = tuple(route)
        for provider in route:
            self._budgets.setdefault(provider.name, RetryBudget(self._policy))
        self._tried.clear()
        self._unfit.clear()

    @property
    def names(self) -> list[str]:
        """The providers, in order of preference."""
        return [p.name for p in self._route]

    # -- what happened

    def works(self, name: str, now: float) -> list[Availability]:
        """A provider gave text to a caller."""
        self._tried.clear()
        self._health[name].breaker.succeeded(now)
        return self.recovered(name)

    def failed(self, provider: Provider, failure: LegFailed, now: float) -> bool:
        """A leg failed, whatever it was for. Returns whether that is news.

        Refused credentials are told once, until the provider works again.
        """
        health = self._health[provider.name]
        if failure.kind is ErrorKind.BAD_REQUEST:
            self._unfit.add(provider.name)
        health.breaker.failed(failure.kind, now, failure.retry_after)
        self._tried.add(provider.name)
        return health.is_news(failure.kind)

    def recovered(self, name: str) -> list[Availability]:
        """A provider has proven to be well, by text or by probes."""
        self._health[name].refused = False
        return self._availability(name, True)

    def lost(self, name: str) -> list[Availability]:
        """A provider was left."""
        return self._availability(name, False)

    # -- who serves

    def first(self, now: float) -> Provider:
        """Whom to begin with, at the start of a stream."""
        self._tried.clear()
        return self._least_bad(self._route, now)

    def after(
        self, failed: Provider, failure: LegFailed, worked: float | None, now: float
    ) -> tuple[Provider | None, bool]:
        """Who serves after a failure, and whether it is news, as `failed` says.

        `None` if nobody is left to try, which makes an outage. `worked`: seconds for which the
        failed leg had worked; `None` if it never did. Only a leg that had worked and was dropped is
        worth another attempt on the same provider.
        """
        if worked is not None:
            self._tried.clear()
            self._budgets[failed.name].earn(worked)
        news = self.failed(failed, failure, now)
        dropped = worked is not None and failure.kind is ErrorKind.DROPPED
        if dropped and self.may_reopen(failed.name, now):
            return failed, news
        return self._untried(now), news

    def second(
        self, active: Provider, asked: Collection[str], now: float, *, healthy: bool
    ) -> Provider | None:
        """Another provider for a second opinion; not one of those that were `asked`.

        Not `healthy`: also one whose breaker is not closed, if there is no better, but a locked one
        never.
        """
        others = [p for p in self._route if p.name not in (active.name, *asked)]
        if not others:
            return None
        best = self._least_bad(others, now)
        return (
            best if self._fit(best, now) or not (healthy or self.locked(best.name, now)) else None
        )

    def preferred(self, active: Provider, now: float) -> Provider | None:
        """Who should serve instead: the first before `active` that has proven to be well."""
        for provider in self._before(active):
            if self._fit(provider, now) and self._health[provider.name].breaker.sound(now):
                return provider
        return None

    def recovering(self, active: Provider, now: float) -> Provider | None:
        """Whom to probe now: a provider before `active`, its one lease taken."""
        for provider in self._before(active):
            breaker = self._health[provider.name].breaker
            if provider.name not in self._unfit and breaker.lease(now):
                return provider
        return None

    def may_reopen(self, name: str, now: float) -> bool:
        """Whether a provider that had been working may be opened again; takes it off its budget."""
        return self._health[name].breaker.admits(now) and self._budgets[name].spend()

    def attempts(self, now: float) -> list[Provider]:
        """Whom to try in an outage: all but the locked, if not all are locked."""
        return [p for p in self._route if not self.locked(p.name, now)] or list(self._route)

    def locked(self, name: str, now: float) -> bool:
        """Whether its credentials were refused."""
        return self._health[name].breaker.state(now) is State.LOCKED

    # -- inside

    def _availability(self, name: str, available: bool) -> list[Availability]:
        health = self._health[name]
        if health.available is available:
            return []
        health.available = available
        return [Availability(name, available)]

    def _before(self, active: Provider) -> Sequence[Provider]:
        """All, if it is not of this route any more."""
        names = self.names
        return self._route[: names.index(active.name) if active.name in names else None]

    def _fit(self, provider: Provider, now: float) -> bool:
        name = provider.name
        return name not in self._unfit and self._health[name].breaker.admits(now)

    def _untried(self, now: float) -> Provider | None:
        """The least bad provider that was not tried yet, if any.

        Locked ones are tried where all are locked, never because the others have just failed.
        """
        untried = [p for p in self._route if p.name not in self._tried]
        if not untried:
            return None
        best = self._least_bad(untried, now)
        if not self.locked(best.name, now) or self._all_locked(now):
            return best
        return None

    def _least_bad(self, providers: Iterable[Provider], now: float) -> Provider:
        return min(
            providers,
            key=lambda p: (p.name in self._unfit, BADNESS[self._health[p.name].breaker.state(now)]),
        )

    def _all_locked(self, now: float) -> bool:
        return all(self.locked(name, now) for name in self.names)
