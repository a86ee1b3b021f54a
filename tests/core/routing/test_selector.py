from __future__ import annotations

import pytest

from resilient_stt.core.events import ErrorKind
from resilient_stt.core.health.breaker import Breaker, BreakerState
from resilient_stt.core.health.provider import ProviderHealth
from resilient_stt.core.messages import ConnectionFailed, ReportAvailability
from resilient_stt.core.policy import BreakerPolicy, ProviderTraits, RetryPolicy
from resilient_stt.core.routing.selector import ProviderSelector

A, B, C = (ProviderTraits(name=name) for name in "abc")
DROPPED = ConnectionFailed(0, ErrorKind.DROPPED)
REFUSED = ConnectionFailed(0, ErrorKind.CONNECT)
LOCKED = ConnectionFailed(0, ErrorKind.AUTH)


@pytest.fixture
def health() -> dict[str, ProviderHealth]:
    return {name: ProviderHealth(Breaker(BreakerPolicy())) for name in "abc"}


@pytest.fixture
def choice(health: dict[str, ProviderHealth]) -> ProviderSelector:
    return ProviderSelector([A, B, C], health, RetryPolicy())


def test_a_route_needs_a_provider() -> None:
    """A choice among none is a mistake of the caller."""
    with pytest.raises(AssertionError, match="provider"):
        ProviderSelector([], {}, RetryPolicy())


def test_the_first_that_is_well(
    choice: ProviderSelector, health: dict[str, ProviderHealth]
) -> None:
    """The order is the route's, those with an open breaker after the others, locked ones last."""
    assert choice.names == ["a", "b", "c"]
    assert choice.initial(0.0) is A
    health["a"].breaker.record_failure(ErrorKind.AUTH, 0.0)
    health["b"].breaker.record_failure(ErrorKind.RATE_LIMITED, 0.0)
    assert choice.initial(0.0) is C
    health["c"].breaker.record_failure(ErrorKind.AUTH, 0.0)
    assert choice.initial(0.0) is B
    health["b"].breaker.record_failure(ErrorKind.QUOTA, 0.0)
    assert choice.initial(0.0) is A


def test_each_is_tried_once(choice: ProviderSelector) -> None:
    """Without one that works, each provider is tried once; an attempt of an outage begins anew."""
    assert choice.on_failure(A, REFUSED, None, 0.0) == (B, True)
    assert choice.on_failure(B, REFUSED, None, 0.0) == (C, True)
    assert choice.on_failure(C, REFUSED, None, 0.0) == (None, True)
    assert choice.initial(0.0) is A
    assert choice.on_failure(A, REFUSED, None, 0.0) == (B, True)


def test_a_provider_that_works_makes_the_others_worth_trying(choice: ProviderSelector) -> None:
    """Text, or a leg that had worked, ends the row of those that were tried."""
    assert choice.on_failure(A, REFUSED, None, 0.0) == (B, True)
    choice.mark_working("b", 0.0)
    assert choice.on_failure(B, REFUSED, None, 1.0) == (A, True)
    assert choice.on_failure(A, REFUSED, 6.0, 1.0) == (B, True)


def test_who_worked_and_was_dropped_is_reopened(choice: ProviderSelector) -> None:
    """A drop after work is worth the same provider, three times without earning."""
    for _ in range(3):
        choice.mark_working("a", 0.0)
        assert choice.on_failure(A, DROPPED, 1.0, 0.0) == (A, True)
    choice.mark_working("a", 0.0)
    assert choice.on_failure(A, DROPPED, 1.0, 0.0) == (B, True)


def test_work_earns_reopenings(choice: ProviderSelector) -> None:
    """A connection that drops every five seconds is reopened for ever."""
    for at in range(0, 100, 5):
        for second in range(5):
            choice.mark_working("a", float(at + second))
        assert choice.on_failure(A, DROPPED, 5.0, at + 4.9) == (A, True)


def test_who_did_not_come_back_is_left(choice: ProviderSelector) -> None:
    """A reopening that fails leads to the next provider."""
    assert choice.on_failure(A, DROPPED, 9.0, 0.0) == (A, True)
    assert choice.on_failure(A, REFUSED, None, 0.0) == (B, True)


def test_an_open_breaker_is_not_reopened(choice: ProviderSelector) -> None:
    """A drop that opens the breaker leads to the next provider."""
    for _ in range(2):
        choice.on_failure(A, REFUSED, None, 0.0)
    assert choice.on_failure(A, DROPPED, 9.0, 0.0) == (B, True)


def test_locked_ones_are_left_alone(choice: ProviderSelector) -> None:
    """A locked provider is not tried because all others have just failed, unless all are locked."""
    assert choice.on_failure(A, LOCKED, None, 0.0) == (B, True)
    assert choice.on_failure(B, LOCKED, None, 0.0) == (C, True)
    assert choice.initial(0.0) is C
    assert choice.on_failure(C, REFUSED, None, 0.0) == (None, True)
    assert choice.initial(0.0) is C
    assert choice.on_failure(C, LOCKED, None, 0.0) == (A, True)


def test_availability_is_told_when_it_changes(choice: ProviderSelector) -> None:
    """A provider is said to be unavailable when it is left, and available when it works again."""
    assert choice.mark_working("a", 0.0) == []
    assert choice.mark_unavailable("a") == [ReportAvailability("a", False)]
    assert choice.mark_unavailable("a") == []
    assert choice.mark_working("a", 0.0) == [ReportAvailability("a", True)]
    assert choice.mark_working("a", 0.0) == []


def test_every_failure_counts(choice: ProviderSelector, health: dict[str, ProviderHealth]) -> None:
    """The breaker hears of every failure, with what the server said about when to return."""
    choice.on_failure(A, ConnectionFailed(0, ErrorKind.RATE_LIMITED, retry_after=42.0), None, 0.0)
    assert health["a"].breaker.state(41.9) is BreakerState.OPEN
    assert health["a"].breaker.state(42.0) is BreakerState.HALF_OPEN


def test_refused_credentials_are_told_once(choice: ProviderSelector) -> None:
    """The same refusal again is no news, until the provider works again or fails otherwise."""
    assert choice.record_failure(A, LOCKED, 0.0)
    assert not choice.record_failure(A, LOCKED, 300.0)
    assert choice.record_failure(A, REFUSED, 300.1)
    assert choice.record_failure(A, LOCKED, 600.0)
    choice.mark_working("a", 700.0)
    assert choice.record_failure(A, LOCKED, 800.0)


# --- a second opinion


def test_a_second_opinion_is_anothers(
    choice: ProviderSelector, health: dict[str, ProviderHealth]
) -> None:
    """The best of the others is asked; in time only a healthy one, at last any but a locked one."""
    assert choice.hedge_candidate(A, (), 0.0, healthy=True) is B
    assert choice.hedge_candidate(B, (), 0.0, healthy=True) is A
    assert choice.hedge_candidate(A, {"b"}, 0.0, healthy=True) is C
    assert choice.hedge_candidate(A, {"b", "c"}, 0.0, healthy=False) is None
    health["b"].breaker.record_failure(ErrorKind.RATE_LIMITED, 0.0)
    assert choice.hedge_candidate(A, (), 0.0, healthy=True) is C
    assert choice.hedge_candidate(A, {"c"}, 0.0, healthy=True) is None
    assert choice.hedge_candidate(A, {"c"}, 0.0, healthy=False) is B
    health["b"].breaker.record_failure(ErrorKind.AUTH, 0.0)
    assert choice.hedge_candidate(A, {"c"}, 0.0, healthy=False) is None


# --- coming back


def test_only_the_proven_are_preferred(
    choice: ProviderSelector, health: dict[str, ProviderHealth]
) -> None:
    """A provider before the active one is preferred once its health is proved."""
    assert choice.failback_candidate(A, 0.0) is None
    assert choice.failback_candidate(C, 0.0) is A
    choice.record_failure(A, REFUSED, 0.0)
    assert choice.failback_candidate(C, 0.0) is B
    assert choice.failback_candidate(B, 0.0) is None
    choice.mark_working("a", 1.0)
    assert choice.failback_candidate(B, 1.0) is A


def test_who_recovers_is_probed(
    choice: ProviderSelector, health: dict[str, ProviderHealth]
) -> None:
    """One probe at a time, of who is before the active one, failed a while ago, and is fit."""
    assert choice.lease_probe_candidate(C, 0.0) is None
    choice.record_failure(A, REFUSED, 0.0)
    assert choice.lease_probe_candidate(C, 4.9) is None
    assert choice.lease_probe_candidate(A, 5.0) is None
    assert choice.lease_probe_candidate(C, 5.0) is A
    assert choice.lease_probe_candidate(C, 5.0) is None
    assert choice.lease_probe_candidate(C, 20.0) is A


def test_a_refused_request_is_not_repeated(
    choice: ProviderSelector, health: dict[str, ProviderHealth]
) -> None:
    """A provider that refuses this stream's request is neither probed nor preferred by it."""
    choice.record_failure(A, ConnectionFailed(0, ErrorKind.BAD_REQUEST), 0.0)
    assert health["a"].breaker.admits(0.0)
    assert choice.failback_candidate(C, 0.0) is B
    assert choice.hedge_candidate(C, (), 0.0, healthy=True) is B
    choice.record_failure(A, REFUSED, 0.0)
    assert choice.lease_probe_candidate(C, 99.0) is None
    assert choice.initial(99.0) is B


# --- an outage


def test_whom_to_try_in_an_outage(choice: ProviderSelector) -> None:
    """All that are not locked; all, where all are."""
    assert choice.outage_candidates(0.0) == [A, B, C]
    choice.record_failure(A, LOCKED, 0.0)
    choice.record_failure(B, REFUSED, 0.0)
    assert choice.outage_candidates(0.0) == [B, C]
    choice.record_failure(B, LOCKED, 0.0)
    choice.record_failure(C, LOCKED, 0.0)
    assert choice.outage_candidates(0.0) == [A, B, C]
