"""Chooses the next provider: in order of preference, by health, by what was tried, by budget.

The one place that decides this, for streams and for whole buffers (`recognize()`). Methods either
answer a question and change nothing, or record what happened. `initial` and `on_failure` do both on
purpose: their choice starts from what they record.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from ..events import BreakerState, ErrorKind, StallReason
from ..health.breaker import PREFERENCE
from ..health.provider import ProviderHealth
from ..health.report import OperatorLock
from ..messages import ConnectionFailed, ReportAvailability
from ..policy import ProviderTraits, RetryPolicy
from .retry_budget import RetryBudget

GATEWAY_STATUSES = (502, 503, 504)
"""HTTP statuses of a gateway whose server is away (RFC 9110, 15.6)."""


class ProviderSelector:
    """Chooses among the providers of one stream's route, or of one buffer's."""

    def __init__(
        self,
        route: Sequence[ProviderTraits],
        health: Mapping[str, ProviderHealth],
        policy: RetryPolicy,
        *,
        rejecting: Collection[ErrorKind] = (ErrorKind.BAD_REQUEST,),
        language: str = "",
    ) -> None:
        """Begin with no provider tried.

        Args:
            route: the providers in order of preference; at least one.
            health: of all providers by name, shared with the other streams.
            policy: how often a provider may be reconnected.
            rejecting: the kinds of failure that say that the provider will never take this request.
                A stream leaves refused credentials to the breaker, which probes them again later;
                a buffer is not around for that long.
            language: that of the route, which a provider's plugin may not take.
        """
        if not route:
            raise AssertionError("a route needs a provider")
        self._route = tuple(route)
        self._health = health
        self._policy = policy
        self._rejecting = rejecting
        self._budgets = {p.name: RetryBudget(policy) for p in route}
        self._failed: set[str] = set()
        """Providers that failed since one last worked."""
        self._worked: set[str] = set()
        """Providers that gave text on this route."""
        self.silent: set[str] = set()
        """Providers that were left for their silence, and have given no text since."""
        self._rejected = self._refusing(language)
        """Providers that rejected the request itself, which says nothing about their health."""
        self._retry_at: dict[str, float] = {}
        """When a provider may be tried again in an outage, after the kind of its last failure."""
        self._reasons: dict[str, str] = {}
        """Why each provider failed last, for error messages."""

    # -- what happened

    def set_route(self, route: Sequence[ProviderTraits], language: str = "") -> None:
        """Use another route, for another language; a provider may take what it rejected before."""
        self._route = tuple(route)
        for provider in route:
            self._budgets.setdefault(provider.name, RetryBudget(self._policy))
        self._failed.clear()
        self._worked.clear()
        self._rejected = self._refusing(language)
        self._retry_at.clear()

    def mark_working(self, name: str, now: float) -> list[ReportAvailability]:
        """Record that a provider gave text to a caller; return what to report."""
        self._failed.clear()
        self._worked.add(name)
        self._health[name].breaker.record_text(now)
        return self.mark_recovered(name)

    def mark_recovered(self, name: str) -> list[ReportAvailability]:
        """Record that text or probes proved a provider healthy; return what to report."""
        self._health[name].account_error_reported = False
        self.silent.discard(name)
        return self._set_available(name, True)

    def mark_unavailable(self, name: str) -> list[ReportAvailability]:
        """Record that a provider was left; return what to report."""
        return self._set_available(name, False)

    def record_failure(
        self,
        name: str,
        kind: ErrorKind,
        retry_after: float | None,
        now: float,
        *,
        detail: str = "",
        status: int = 0,
    ) -> bool:
        """Record a failure of a provider, in whatever role; return whether it is to be reported.

        Refused credentials are reported once, until the provider works again or fails otherwise.
        `retry_after`: the seconds that the provider asked to be left alone, if it did.
        """
        health = self._health[name]
        self._retry_at[name] = now + self._wait_after(kind, retry_after, status)
        self._reasons[name] = f"{kind} ({detail})" if detail else kind.value
        if kind in self._rejecting:
            self._rejected.add(name)
        health.breaker.record_failure(kind, now, retry_after)
        self._failed.add(name)
        unreported = health.should_report(kind)
        health.record_reported(kind)
        return unreported

    def record_connection_failure(self, name: str, failure: ConnectionFailed, now: float) -> bool:
        """Record the failure of a connection, as `record_failure` does."""
        if failure.refused_language:
            return self.record_refused_language(name, failure.refused_language, now)
        # One that skips speech still tells the rest (test_one_that_skips_speech_is_asked).
        is_skip = failure.trigger is StallReason.SKIPPED_SPEECH
        if failure.kind is ErrorKind.STALLED and not is_skip:
            self.silent.add(name)
        return self.record_failure(
            name,
            failure.kind,
            failure.retry_after,
            now,
            detail=failure.trigger or failure.detail,
            status=failure.status,
        )

    def record_refused_language(self, name: str, language: str, now: float) -> bool:
        """Record that a provider's plugin does not take a language; return whether that is news.

        It is a mistake in the configuration: the provider is healthy, for other languages.
        """
        self._rejected.add(name)
        self._failed.add(name)
        self._retry_at[name] = now + self._policy.rejected_interval
        self._reasons[name] = f"does not take the language {language}"
        return self._health[name].habits.refuses(language)

    def spend_reconnect(self, name: str) -> None:
        """Take a reconnect off a provider's budget; `may_reconnect` must have allowed it."""
        self._budgets[name].spend()

    def acquire_probe(self, name: str, active: ProviderTraits, now: float) -> bool:
        """Try to take a provider's probe lease, of which there is one in the fleet.

        Where other processes have a say, the first try fails and asks them: try again.
        """
        breaker = self._health[name].breaker
        return breaker.acquire_probe(now, urgent=active.last_resort)

    # -- who serves

    @property
    def names(self) -> list[str]:
        """The names of the route's providers, in order of preference."""
        return [p.name for p in self._route]

    def initial(self, now: float) -> ProviderTraits:
        """Choose the provider to begin with, and count no provider as tried any more."""
        self._failed.clear()
        return self._least_bad(self._route, now)

    def on_failure(
        self, failed: ProviderTraits, failure: ConnectionFailed, worked: float | None, now: float
    ) -> tuple[ProviderTraits | None, bool]:
        """Record the failure of the active connection, and choose the provider that serves next.

        Args:
            failed: whose connection failed.
            failure: what happened.
            worked: the seconds for which the connection had been working; `None` if it never did.
            now: seconds on the engine's clock.

        Returns:
            The provider, or `None` if all were tried, which makes an outage; and whether the
            failure is to be reported, as from `record_failure`.
        """
        if worked is not None:
            self._failed.clear()
            self._budgets[failed.name].earn(worked)
        unreported = self.record_connection_failure(failed.name, failure, now)
        # only a drop after work is likely to be a hiccup: any other failure would happen again
        dropped = worked is not None and failure.kind is ErrorKind.DROPPED
        if dropped and self.may_reconnect(failed.name, now):
            self.spend_reconnect(failed.name)
            return failed, unreported
        return self._next_untried(now), unreported

    def may_reconnect(self, name: str, now: float) -> bool:
        """Whether a provider that had been working may be connected again at once."""
        return self._health[name].breaker.admits(now) and not self._budgets[name].exhausted

    def hedge_candidate(
        self, active: ProviderTraits, asked: Collection[str], now: float, *, healthy: bool
    ) -> ProviderTraits | None:
        """Choose the provider to hedge a silent connection with.

        Args:
            active: the provider of that connection.
            asked: the names of providers that were asked already.
            now: seconds on the engine's clock.
            healthy: whether its breaker must be closed. Otherwise any provider will do if there is
                no better one, except one whose credentials were refused.
        """
        others = [p for p in self._route if p.name not in (active.name, *asked)]
        if not others:
            return None
        best = self._least_bad(others, now)
        if self._is_eligible(best, now) or not (healthy or self.is_locked(best.name, now)):
            return best
        return None

    def failback_candidate(self, active: ProviderTraits, now: float) -> ProviderTraits | None:
        """Choose the first provider preferred over `active` whose health is proven, if any."""
        for provider in self._preferred_over(active):
            proven = self._health[provider.name].breaker.is_proven()
            if proven and self._is_eligible(provider, now):
                return provider
        return None

    def has_preferred(self, active: ProviderTraits) -> bool:
        """Whether a provider is preferred over `active`, and may be probed or returned to."""
        return bool(self._preferred_over(active))

    def probe_candidates(self, active: ProviderTraits, now: float) -> list[ProviderTraits]:
        """The providers preferred over `active` for which a probe is due, in order.

        If `active` is a last resort, none has to wait for a break that grew.
        """
        return [
            provider
            for provider in self._preferred_over(active)
            if (at := self._probe_at(provider, active, now)) is not None and at <= now
        ]

    def probes_at(self, active: ProviderTraits, now: float) -> list[float]:
        """When a probe of each provider preferred over `active` is due; `now` if it is."""
        times = (self._probe_at(p, active, now) for p in self._preferred_over(active))
        return [at for at in times if at is not None]

    def outage_candidates(self, now: float) -> list[ProviderTraits]:
        """The providers to try in an outage: all that are not locked, or all if all are locked."""
        return self._unlocked(self._route, now) or list(self._route)

    def buffer_candidates(self, now: float) -> list[ProviderTraits]:
        """The providers to ask for a whole buffer, one after the other.

        Healthy ones come first. A buffer is over before a breaker has counted enough failures, so a
        provider whose last buffer or stream failed counts as unhealthy even while its breaker is
        closed, as in LiveKit's `FallbackAdapter`. Providers that rejected the buffer are left out,
        and locked ones as long as there are others.
        """
        fit = [p for p in self._route if p.name not in self._rejected]
        return sorted(
            self._unlocked(fit, now) or fit, key=lambda p: not self._is_healthy(p.name, now)
        )

    def recovery_candidates(self, now: float) -> list[ProviderTraits]:
        """The providers to try in the background: unavailable, with a breaker that admits them."""
        return [
            p
            for p in self._route
            if not self._health[p.name].available and self._health[p.name].breaker.admits(now)
        ]

    def retry_at(self, name: str) -> float:
        """When a provider may be tried again in an outage; in the past if it may be at once."""
        return self._retry_at.get(name, -math.inf)

    def why_failed(self) -> str:
        """Say why each provider of the route failed last, for error messages."""
        reasons = self._reasons
        return "; ".join(f"{name}: {reasons[name]}" for name in self.names if name in reasons)

    def has_worked(self, name: str) -> bool:
        """Whether the provider gave text on this route, so that its requests can be answered."""
        return name in self._worked

    def is_rejected(self, name: str) -> bool:
        """Whether the provider rejected this request, so that asking again is useless."""
        return name in self._rejected

    def is_locked(self, name: str, now: float) -> bool:
        """Whether the provider's credentials were refused, or an operator locked it."""
        return self._health[name].breaker.state(now) is BreakerState.LOCKED

    def operator_lock(self, name: str) -> OperatorLock | None:
        """The lock that an operator set on the provider; it may be over."""
        return self._health[name].breaker.operator_lock

    def is_locked_by_operator(self, name: str, now: float) -> bool:
        """Whether an operator wants no traffic to the provider."""
        return self._health[name].breaker.is_locked_by_operator(now)

    # -- inside

    def _wait_after(self, kind: ErrorKind, retry_after: float | None, status: int) -> float:
        """Return the seconds before another attempt in an outage makes sense, by kind of failure.

        None for what may pass at any moment: a refused connection, a timeout, a drop.
        """
        match kind:
            case ErrorKind.BAD_REQUEST:
                return self._policy.rejected_interval
            case ErrorKind.RATE_LIMITED:
                return retry_after or self._policy.rate_limited_interval
            case ErrorKind.SERVER:
                wait = 0.0 if status in GATEWAY_STATUSES else self._policy.server_error_interval
                return max(wait, retry_after or 0.0)
            case _:
                return retry_after or 0.0

    def _refusing(self, language: str) -> set[str]:
        """The providers of the route whose plugins were seen not to take the language."""
        return {
            p.name
            for p in self._route
            if p.language_hint(language) in self._health[p.name].habits.refused_languages
        }

    def _set_available(self, name: str, available: bool) -> list[ReportAvailability]:
        health = self._health[name]
        if health.available is available:
            return []
        health.available = available
        return [ReportAvailability(name, available)]

    def _preferred_over(self, active: ProviderTraits) -> Sequence[ProviderTraits]:
        """The providers before `active`; all of them if the route changed and it is not in it."""
        names = self.names
        return self._route[: names.index(active.name) if active.name in names else None]

    def _probe_at(
        self, provider: ProviderTraits, active: ProviderTraits, now: float
    ) -> float | None:
        if provider.name in self._rejected:
            return None
        return self._health[provider.name].breaker.probe_at(now, urgent=active.last_resort)

    def _is_eligible(self, provider: ProviderTraits, now: float) -> bool:
        name = provider.name
        return name not in self._rejected and self._health[name].breaker.admits(now)

    def _is_healthy(self, name: str, now: float) -> bool:
        return self._health[name].available and self._health[name].breaker.admits(now)

    def _next_untried(self, now: float) -> ProviderTraits | None:
        untried = [p for p in self._route if p.name not in self._failed]
        if not untried:
            return None
        best = self._least_bad(untried, now)
        # locked providers are not tried because the others have just failed: that makes an outage
        if self.is_locked(best.name, now) and self._unlocked(self._route, now):
            return None
        return best

    def _least_bad(self, providers: Iterable[ProviderTraits], now: float) -> ProviderTraits:
        return min(
            providers,
            key=lambda p: (
                p.name in self._rejected,
                PREFERENCE[self._health[p.name].breaker.state(now)],
            ),
        )

    def _unlocked(self, providers: Iterable[ProviderTraits], now: float) -> list[ProviderTraits]:
        return [p for p in providers if not self.is_locked(p.name, now)]
