"""Which provider serves next: who was tried, whose breaker admits, who may be reopened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .breaker import BADNESS, Breaker, State
from .commands import Availability
from .inputs import ErrorKind, LegFailed
from .policy import Provider, RetryPolicy
from .retry import RetryBudget


class Choice:
    """The choice among the providers of one stream's route."""

    def __init__(
        self, route: Sequence[Provider], breakers: Mapping[str, Breaker], policy: RetryPolicy
    ) -> None:
        """`route`: providers in order of preference."""
        if not route:
            raise AssertionError("a session needs a provider")
        self._route = tuple(route)
        self._breakers = breakers
        self._budgets = {p.name: RetryBudget(policy) for p in route}
        self._tried: set[str] = set()
        """Who has failed since one has worked."""
        self._unavailable: set[str] = set()

    @property
    def names(self) -> list[str]:
        """The providers, in order of preference."""
        return [p.name for p in self._route]

    def first(self, now: float) -> Provider:
        """Whom to begin with, at the start of a stream and at every attempt of an outage."""
        self._tried.clear()
        return self._least_bad(self._route, now)

    def works(self, name: str, now: float) -> list[Availability]:
        """A provider gave text."""
        self._tried.clear()
        self._breakers[name].succeeded(now)
        if name not in self._unavailable:
            return []
        self._unavailable.remove(name)
        return [Availability(name, True)]

    def after(
        self, failed: Provider, failure: LegFailed, worked: float | None, now: float
    ) -> Provider | None:
        """Who serves after a failure; `None` if nobody is left to try, which makes an outage.

        `worked`: seconds for which the failed leg had worked; `None` if it never did. Only a leg
        that had worked and was dropped is worth another attempt on the same provider.
        """
        name = failed.name
        self._breakers[name].failed(failure.kind, now, failure.retry_after)
        if worked is not None:
            self._tried.clear()
            self._budgets[name].earn(worked)
            if failure.kind is ErrorKind.DROPPED and self._may_reopen(name, now):
                self._tried.add(name)
                return failed
        self._tried.add(name)
        return self._untried(now)

    def lost(self, name: str) -> list[Availability]:
        """A provider was left."""
        if name in self._unavailable:
            return []
        self._unavailable.add(name)
        return [Availability(name, False)]

    def _may_reopen(self, name: str, now: float) -> bool:
        return self._breakers[name].admits(now) and self._budgets[name].spend()

    def _untried(self, now: float) -> Provider | None:
        """The least bad provider that was not tried yet, if any.

        Locked ones are tried where all are locked, never because the others have just failed.
        """
        untried = [p for p in self._route if p.name not in self._tried]
        if not untried:
            return None
        best = self._least_bad(untried, now)
        if not self._locked(best, now) or self._locked(self._least_bad(self._route, now), now):
            return best
        return None

    def _least_bad(self, providers: Sequence[Provider], now: float) -> Provider:
        return min(providers, key=lambda p: BADNESS[self._breakers[p.name].state(now)])

    def _locked(self, provider: Provider, now: float) -> bool:
        return self._breakers[provider.name].state(now) is State.LOCKED
