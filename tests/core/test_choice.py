from __future__ import annotations

import pytest

from resilient_stt.core.breaker import Breaker, State
from resilient_stt.core.choice import Choice
from resilient_stt.core.commands import Availability
from resilient_stt.core.health import Health
from resilient_stt.core.inputs import ErrorKind, LegFailed
from resilient_stt.core.policy import BreakerPolicy, Provider, RetryPolicy

A, B, C = (Provider(name=name) for name in "abc")
DROPPED = LegFailed(0, ErrorKind.DROPPED)
REFUSED = LegFailed(0, ErrorKind.CONNECT)
LOCKED = LegFailed(0, ErrorKind.AUTH)


@pytest.fixture
def health() -> dict[str, Health]:
    return {name: Health(Breaker(BreakerPolicy())) for name in "abc"}


@pytest.fixture
def choice(health: dict[str, Health]) -> Choice:
    return Choice([A, B, C], health, RetryPolicy())


def test_a_route_needs_a_provider() -> None:
    """A choice among none is a mistake of the caller."""
    with pytest.raises(AssertionError, match="provider"):
        Choice([], {}, RetryPolicy())


def test_the_first_that_is_well(choice: Choice, health: dict[str, Health]) -> None:
    """The order is the route's, those with an open breaker after the others, locked ones last."""
    assert choice.names == ["a", "b", "c"]
    assert choice.first(0.0) is A
    health["a"].breaker.failed(ErrorKind.AUTH, 0.0)
    health["b"].breaker.failed(ErrorKind.RATE_LIMITED, 0.0)
    assert choice.first(0.0) is C
    health["c"].breaker.failed(ErrorKind.AUTH, 0.0)
    assert choice.first(0.0) is B
    health["b"].breaker.failed(ErrorKind.QUOTA, 0.0)
    assert choice.first(0.0) is A


def test_each_is_tried_once(choice: Choice) -> None:
    """Without one that works, each provider is tried once; an attempt of an outage begins anew."""
    assert choice.after(A, REFUSED, None, 0.0) == (B, True)
    assert choice.after(B, REFUSED, None, 0.0) == (C, True)
    assert choice.after(C, REFUSED, None, 0.0) == (None, True)
    assert choice.first(0.0) is A
    assert choice.after(A, REFUSED, None, 0.0) == (B, True)


def test_a_provider_that_works_makes_the_others_worth_trying(choice: Choice) -> None:
    """Text, or a leg that had worked, ends the row of those that were tried."""
    assert choice.after(A, REFUSED, None, 0.0) == (B, True)
    choice.works("b", 0.0)
    assert choice.after(B, REFUSED, None, 1.0) == (A, True)
    assert choice.after(A, REFUSED, 6.0, 1.0) == (B, True)


def test_who_worked_and_was_dropped_is_reopened(choice: Choice) -> None:
    """A drop after work is worth the same provider, three times without earning."""
    for _ in range(3):
        choice.works("a", 0.0)
        assert choice.after(A, DROPPED, 1.0, 0.0) == (A, True)
    choice.works("a", 0.0)
    assert choice.after(A, DROPPED, 1.0, 0.0) == (B, True)


def test_work_earns_reopenings(choice: Choice) -> None:
    """A connection that drops every five seconds is reopened for ever."""
    for at in range(0, 100, 5):
        for second in range(5):
            choice.works("a", float(at + second))
        assert choice.after(A, DROPPED, 5.0, at + 4.9) == (A, True)


def test_who_did_not_come_back_is_left(choice: Choice) -> None:
    """A reopening that fails leads to the next provider."""
    assert choice.after(A, DROPPED, 9.0, 0.0) == (A, True)
    assert choice.after(A, REFUSED, None, 0.0) == (B, True)


def test_an_open_breaker_is_not_reopened(choice: Choice) -> None:
    """A drop that opens the breaker leads to the next provider."""
    for _ in range(2):
        choice.after(A, REFUSED, None, 0.0)
    assert choice.after(A, DROPPED, 9.0, 0.0) == (B, True)


def test_locked_ones_are_left_alone(choice: Choice) -> None:
    """A locked provider is not tried because all others have just failed, unless all are locked."""
    assert choice.after(A, LOCKED, None, 0.0) == (B, True)
    assert choice.after(B, LOCKED, None, 0.0) == (C, True)
    assert choice.first(0.0) is C
    assert choice.after(C, REFUSED, None, 0.0) == (None, True)
    assert choice.first(0.0) is C
    assert choice.after(C, LOCKED, None, 0.0) == (A, True)


def test_availability_is_told_when_it_changes(choice: Choice) -> None:
    """A provider is said to be unavailable when it is left, and available when it works again."""
    assert choice.works("a", 0.0) == []
    assert choice.lost("a") == [Availability("a", False)]
    assert choice.lost("a") == []
    assert choice.works("a", 0.0) == [Availability("a", True)]
    assert choice.works("a", 0.0) == []


def test_every_failure_counts(choice: Choice, health: dict[str, Health]) -> None:
    """The breaker hears of every failure, with what the server said about when to return."""
    choice.after(A, LegFailed(0, ErrorKind.RATE_LIMITED, retry_after=42.0), None, 0.0)
    assert health["a"].breaker.state(41.9) is State.OPEN
    assert health["a"].breaker.state(42.0) is State.HALF_OPEN


def test_refused_credentials_are_told_once(choice: Choice) -> None:
    """The same refusal again is no news, until the provider works again or fails otherwise."""
    assert choice.failed(A, LOCKED, 0.0)
    assert not choice.failed(A, LOCKED, 300.0)
    assert choice.failed(A, REFUSED, 300.1)
    assert choice.failed(A, LOCKED, 600.0)
    choice.works("a", 700.0)
    assert choice.failed(A, LOCKED, 800.0)


# --- a second opinion


def test_a_second_opinion_is_anothers(choice: Choice, health: dict[str, Health]) -> None:
    """The best of the others is asked; in time only a healthy one, at last any but a locked one."""
    assert choice.second(A, (), 0.0, healthy=True) is B
    assert choice.second(B, (), 0.0, healthy=True) is A
    assert choice.second(A, {"b"}, 0.0, healthy=True) is C
    assert choice.second(A, {"b", "c"}, 0.0, healthy=False) is None
    health["b"].breaker.failed(ErrorKind.RATE_LIMITED, 0.0)
    assert choice.second(A, (), 0.0, healthy=True) is C
    assert choice.second(A, {"c"}, 0.0, healthy=True) is None
    assert choice.second(A, {"c"}, 0.0, healthy=False) is B
    health["b"].breaker.failed(ErrorKind.AUTH, 0.0)
    assert choice.second(A, {"c"}, 0.0, healthy=False) is None


# --- coming back


def test_only_the_proven_are_preferred(choice: Choice, health: dict[str, Health]) -> None:
    """A provider before the active one is preferred once its health is proved."""
    assert choice.preferred(A, 0.0) is None
    assert choice.preferred(C, 0.0) is A
    choice.failed(A, REFUSED, 0.0)
    assert choice.preferred(C, 0.0) is B
    assert choice.preferred(B, 0.0) is None
    choice.works("a", 1.0)
    assert choice.preferred(B, 1.0) is A


def test_who_recovers_is_probed(choice: Choice, health: dict[str, Health]) -> None:
    """One probe at a time, of who is before the active one, failed a while ago, and is fit."""
    assert choice.recovering(C, 0.0) is None
    choice.failed(A, REFUSED, 0.0)
    assert choice.recovering(C, 4.9) is None
    assert choice.recovering(A, 5.0) is None
    assert choice.recovering(C, 5.0) is A
    assert choice.recovering(C, 5.0) is None
    assert choice.recovering(C, 20.0) is A


def test_a_refused_request_is_not_repeated(choice: Choice, health: dict[str, Health]) -> None:
    """A provider that refuses this stream's request is neither probed nor preferred by it."""
    choice.failed(A, LegFailed(0, ErrorKind.BAD_REQUEST), 0.0)
    assert health["a"].breaker.admits(0.0)
    assert choice.preferred(C, 0.0) is B
    assert choice.second(C, (), 0.0, healthy=True) is B
    choice.failed(A, REFUSED, 0.0)
    assert choice.recovering(C, 99.0) is None
    assert choice.first(99.0) is B


# --- an outage


def test_whom_to_try_in_an_outage(choice: Choice) -> None:
    """All that are not locked; all, where all are."""
    assert choice.attempts(0.0) == [A, B, C]
    choice.failed(A, LOCKED, 0.0)
    choice.failed(B, REFUSED, 0.0)
    assert choice.attempts(0.0) == [B, C]
    choice.failed(B, LOCKED, 0.0)
    choice.failed(C, LOCKED, 0.0)
    assert choice.attempts(0.0) == [A, B, C]
