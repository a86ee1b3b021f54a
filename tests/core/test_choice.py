from __future__ import annotations

import pytest

from resilient_stt.core.breaker import Breaker
from resilient_stt.core.choice import Choice
from resilient_stt.core.commands import Availability
from resilient_stt.core.inputs import ErrorKind, LegFailed
from resilient_stt.core.policy import BreakerPolicy, Provider, RetryPolicy

A, B, C = (Provider(name=name) for name in "abc")
DROPPED = LegFailed(0, ErrorKind.DROPPED)
REFUSED = LegFailed(0, ErrorKind.CONNECT)
LOCKED = LegFailed(0, ErrorKind.AUTH)


@pytest.fixture
def breakers() -> dict[str, Breaker]:
    return {name: Breaker(BreakerPolicy()) for name in "abc"}


@pytest.fixture
def choice(breakers: dict[str, Breaker]) -> Choice:
    return Choice([A, B, C], breakers, RetryPolicy())


def test_a_route_needs_a_provider() -> None:
    """A choice among none is a mistake of the caller."""
    with pytest.raises(AssertionError, match="provider"):
        Choice([], {}, RetryPolicy())


def test_the_first_that_is_well(choice: Choice, breakers: dict[str, Breaker]) -> None:
    """The order is the route's, those with an open breaker after the others, locked ones last."""
    assert choice.names == ["a", "b", "c"]
    assert choice.first(0.0) is A
    breakers["a"].failed(ErrorKind.AUTH, 0.0)
    breakers["b"].failed(ErrorKind.RATE_LIMITED, 0.0)
    assert choice.first(0.0) is C
    breakers["c"].failed(ErrorKind.AUTH, 0.0)
    assert choice.first(0.0) is B
    breakers["b"].failed(ErrorKind.QUOTA, 0.0)
    assert choice.first(0.0) is A


def test_each_is_tried_once(choice: Choice) -> None:
    """Without one that works, each provider is tried once; an attempt of an outage begins anew."""
    assert choice.after(A, REFUSED, None, 0.0) is B
    assert choice.after(B, REFUSED, None, 0.0) is C
    assert choice.after(C, REFUSED, None, 0.0) is None
    assert choice.first(0.0) is A
    assert choice.after(A, REFUSED, None, 0.0) is B


def test_a_provider_that_works_makes_the_others_worth_trying(choice: Choice) -> None:
    """Text, or a leg that had worked, ends the row of those that were tried."""
    assert choice.after(A, REFUSED, None, 0.0) is B
    choice.works("b", 0.0)
    assert choice.after(B, REFUSED, None, 1.0) is A
    assert choice.after(A, REFUSED, 6.0, 1.0) is B


def test_who_worked_and_was_dropped_is_reopened(choice: Choice) -> None:
    """A drop after work is worth the same provider, three times without earning."""
    for _ in range(3):
        choice.works("a", 0.0)
        assert choice.after(A, DROPPED, 1.0, 0.0) is A
    choice.works("a", 0.0)
    assert choice.after(A, DROPPED, 1.0, 0.0) is B


def test_work_earns_reopenings(choice: Choice) -> None:
    """A connection that drops every five seconds is reopened for ever."""
    for at in range(0, 100, 5):
        choice.works("a", float(at))
        assert choice.after(A, DROPPED, 5.0, float(at)) is A


def test_who_did_not_come_back_is_left(choice: Choice) -> None:
    """A reopening that fails leads to the next provider."""
    assert choice.after(A, DROPPED, 9.0, 0.0) is A
    assert choice.after(A, REFUSED, None, 0.0) is B


def test_an_open_breaker_is_not_reopened(choice: Choice) -> None:
    """A drop that opens the breaker leads to the next provider."""
    for _ in range(2):
        choice.after(A, REFUSED, None, 0.0)
    assert choice.after(A, DROPPED, 9.0, 0.0) is B


def test_locked_ones_are_left_alone(choice: Choice) -> None:
    """A locked provider is not tried because all others have just failed, unless all are locked."""
    assert choice.after(A, LOCKED, None, 0.0) is B
    assert choice.after(B, LOCKED, None, 0.0) is C
    assert choice.first(0.0) is C
    assert choice.after(C, REFUSED, None, 0.0) is None
    assert choice.first(0.0) is C
    assert choice.after(C, LOCKED, None, 0.0) is A


def test_availability_is_told_when_it_changes(choice: Choice) -> None:
    """A provider is said to be unavailable when it is left, and available when it works again."""
    assert choice.works("a", 0.0) == []
    assert choice.lost("a") == [Availability("a", False)]
    assert choice.lost("a") == []
    assert choice.works("a", 0.0) == [Availability("a", True)]
    assert choice.works("a", 0.0) == []


def test_every_failure_counts(choice: Choice, breakers: dict[str, Breaker]) -> None:
    """The breaker hears of every failure, with what the server said about when to return."""
    choice.after(A, LegFailed(0, ErrorKind.RATE_LIMITED, retry_after=42.0), None, 0.0)
    assert not breakers["a"].admits(41.0)
    assert breakers["a"].admits(42.0)
