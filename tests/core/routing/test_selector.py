from __future__ import annotations

import pytest

from resilient_stt.core.events import BreakerState, ErrorKind, StallReason
from resilient_stt.core.health.breaker import Breaker
from resilient_stt.core.health.provider import ProviderHealth
from resilient_stt.core.messages import ConnectionFailed, ReportAvailability
from resilient_stt.core.policy import BreakerPolicy, ProviderTraits, RetryPolicy
from resilient_stt.core.routing.selector import ProviderSelector

A, B, C = (ProviderTraits(name=name) for name in "abc")
DROPPED = ConnectionFailed(0, ErrorKind.DROPPED)
REFUSED = ConnectionFailed(0, ErrorKind.CONNECT)
LOCKED = ConnectionFailed(0, ErrorKind.AUTH)

Health = dict[str, ProviderHealth]


@pytest.fixture
def health() -> Health:
    return {name: ProviderHealth(Breaker(BreakerPolicy())) for name in "abc"}


@pytest.fixture
def selector(health: Health) -> ProviderSelector:
    return ProviderSelector([A, B, C], health, RetryPolicy())


def fail(selector: ProviderSelector, name: str, kind: ErrorKind, now: float = 0.0) -> bool:
    """Record a failure without a `Retry-After`."""
    return selector.record_failure(name, kind, None, now)


def test_a_route_needs_a_provider() -> None:
    """An empty route is a mistake of the caller."""
    with pytest.raises(AssertionError, match="provider"):
        ProviderSelector([], {}, RetryPolicy())


def test_initial_prefers_healthy_providers(selector: ProviderSelector, health: Health) -> None:
    """The route's order counts among the healthy; open breakers come after, locked ones last."""
    assert selector.names == ["a", "b", "c"]
    assert selector.initial(0.0) is A
    health["a"].breaker.record_failure(ErrorKind.AUTH, 0.0)
    health["b"].breaker.record_failure(ErrorKind.RATE_LIMITED, 0.0)
    assert selector.initial(0.0) is C
    health["c"].breaker.record_failure(ErrorKind.AUTH, 0.0)
    assert selector.initial(0.0) is B
    health["b"].breaker.record_failure(ErrorKind.QUOTA, 0.0)
    assert selector.initial(0.0) is A


def test_each_provider_is_tried_once(selector: ProviderSelector) -> None:
    """While none works, each provider is tried once; `initial` begins anew."""
    assert selector.on_failure(A, REFUSED, None, 0.0) == (B, True)
    assert selector.on_failure(B, REFUSED, None, 0.0) == (C, True)
    assert selector.on_failure(C, REFUSED, None, 0.0) == (None, True)
    assert selector.initial(0.0) is A
    assert selector.on_failure(A, REFUSED, None, 0.0) == (B, True)


def test_work_makes_the_others_worth_trying_again(selector: ProviderSelector) -> None:
    """Text, or a connection that had worked, forgets which providers were tried."""
    assert selector.on_failure(A, REFUSED, None, 0.0) == (B, True)
    selector.mark_working("b", 0.0)
    assert selector.on_failure(B, REFUSED, None, 1.0) == (A, True)
    assert selector.on_failure(A, REFUSED, 6.0, 1.0) == (B, True)


# --- reconnects


def test_a_dropped_connection_is_reconnected(selector: ProviderSelector) -> None:
    """A drop after work is worth the same provider, three times before the budget is earned."""
    for _ in range(3):
        selector.mark_working("a", 0.0)
        assert selector.on_failure(A, DROPPED, 1.0, 0.0) == (A, True)
    selector.mark_working("a", 0.0)
    assert selector.on_failure(A, DROPPED, 1.0, 0.0) == (B, True)


def test_work_earns_reconnects(selector: ProviderSelector) -> None:
    """A connection that drops every five seconds is reconnected for ever."""
    for at in range(0, 100, 5):
        for second in range(5):
            selector.mark_working("a", float(at + second))
        assert selector.on_failure(A, DROPPED, 5.0, at + 4.9) == (A, True)


def test_a_failed_reconnect_leads_to_the_next(selector: ProviderSelector) -> None:
    """A provider that does not come back is left."""
    assert selector.on_failure(A, DROPPED, 9.0, 0.0) == (A, True)
    assert selector.on_failure(A, REFUSED, None, 0.0) == (B, True)


def test_an_open_breaker_is_not_reconnected(selector: ProviderSelector) -> None:
    """A drop that opens the breaker leads to the next provider."""
    for _ in range(2):
        selector.on_failure(A, REFUSED, None, 0.0)
    assert selector.on_failure(A, DROPPED, 9.0, 0.0) == (B, True)


def test_asking_for_a_reconnect_spends_nothing(selector: ProviderSelector, health: Health) -> None:
    """`may_reconnect` is a query; it needs a closed breaker and a budget."""
    assert all(selector.may_reconnect("a", 0.0) for _ in range(5))
    for _ in range(3):
        selector.spend_reconnect("a")
    assert not selector.may_reconnect("a", 0.0)
    health["b"].breaker.record_failure(ErrorKind.RATE_LIMITED, 0.0)
    assert not selector.may_reconnect("b", 0.0)


# --- failures


def test_locked_providers_are_left_alone(selector: ProviderSelector) -> None:
    """A locked provider is not tried because all others have just failed, unless all are locked."""
    assert selector.on_failure(A, LOCKED, None, 0.0) == (B, True)
    assert selector.on_failure(B, LOCKED, None, 0.0) == (C, True)
    assert selector.initial(0.0) is C
    assert selector.on_failure(C, REFUSED, None, 0.0) == (None, True)
    assert selector.initial(0.0) is C
    assert selector.on_failure(C, LOCKED, None, 0.0) == (A, True)


def test_availability_is_reported_when_it_changes(selector: ProviderSelector) -> None:
    """A provider becomes unavailable when it is left, and available when it works again."""
    assert selector.mark_working("a", 0.0) == []
    assert selector.mark_unavailable("a") == [ReportAvailability("a", False)]
    assert selector.mark_unavailable("a") == []
    assert selector.mark_working("a", 0.0) == [ReportAvailability("a", True)]
    assert selector.mark_working("a", 0.0) == []


def test_every_failure_reaches_the_breaker(selector: ProviderSelector, health: Health) -> None:
    """The breaker records every failure, with the time that the server asked for."""
    selector.on_failure(A, ConnectionFailed(0, ErrorKind.RATE_LIMITED, retry_after=42.0), None, 0.0)
    assert health["a"].breaker.state(41.9) is BreakerState.OPEN
    assert health["a"].breaker.state(42.0) is BreakerState.HALF_OPEN


def test_refused_credentials_are_reported_once(selector: ProviderSelector) -> None:
    """The same refusal is reported again only after the provider worked or failed otherwise."""
    assert fail(selector, "a", ErrorKind.AUTH, 0.0)
    assert not fail(selector, "a", ErrorKind.AUTH, 300.0)
    assert fail(selector, "a", ErrorKind.CONNECT, 300.1)
    assert fail(selector, "a", ErrorKind.AUTH, 600.0)
    selector.mark_working("a", 700.0)
    assert fail(selector, "a", ErrorKind.AUTH, 800.0)


# --- hedges


def test_a_hedge_is_another_provider(selector: ProviderSelector, health: Health) -> None:
    """The best of the others; early only a healthy one, late any but a locked one."""
    assert selector.hedge_candidate(A, (), 0.0, healthy=True) is B
    assert selector.hedge_candidate(B, (), 0.0, healthy=True) is A
    assert selector.hedge_candidate(A, {"b"}, 0.0, healthy=True) is C
    assert selector.hedge_candidate(A, {"b", "c"}, 0.0, healthy=False) is None
    health["b"].breaker.record_failure(ErrorKind.RATE_LIMITED, 0.0)
    assert selector.hedge_candidate(A, (), 0.0, healthy=True) is C
    assert selector.hedge_candidate(A, {"c"}, 0.0, healthy=True) is None
    assert selector.hedge_candidate(A, {"c"}, 0.0, healthy=False) is B
    health["b"].breaker.record_failure(ErrorKind.AUTH, 0.0)
    assert selector.hedge_candidate(A, {"c"}, 0.0, healthy=False) is None


# --- failback and probes


def test_failback_needs_proven_health(selector: ProviderSelector) -> None:
    """A provider before the active one is preferred again once its health is proven."""
    assert selector.failback_candidate(A, 0.0) is None
    assert selector.failback_candidate(C, 0.0) is A
    fail(selector, "a", ErrorKind.CONNECT)
    assert selector.failback_candidate(C, 0.0) is B
    assert selector.failback_candidate(B, 0.0) is None
    selector.mark_working("a", 1.0)
    assert selector.failback_candidate(B, 1.0) is A


def test_a_recovering_provider_is_probed(selector: ProviderSelector) -> None:
    """A probe is due for a provider before the active one that failed a while ago."""
    assert selector.probe_candidates(C, 0.0) == []
    fail(selector, "a", ErrorKind.CONNECT)
    assert selector.probe_candidates(C, 4.9) == []
    assert selector.probe_candidates(A, 5.0) == []
    assert selector.probe_candidates(C, 5.0) == [A]
    fail(selector, "b", ErrorKind.CONNECT)
    assert selector.probe_candidates(C, 5.0) == [A, B]


def test_one_probe_at_a_time(selector: ProviderSelector) -> None:
    """Asking takes no lease; while it is taken, no probe is due."""
    fail(selector, "a", ErrorKind.CONNECT)
    assert [selector.probe_candidates(C, 5.0) for _ in range(3)] == [[A]] * 3
    assert selector.acquire_probe("a", B, 5.0)
    assert selector.probe_candidates(C, 5.0) == []
    assert not selector.acquire_probe("a", B, 5.0)
    assert selector.probe_candidates(C, 20.0) == [A]


def test_a_rejected_request_is_not_repeated(selector: ProviderSelector, health: Health) -> None:
    """A provider that rejected this stream's request is neither probed nor preferred by it."""
    fail(selector, "a", ErrorKind.BAD_REQUEST)
    assert health["a"].breaker.admits(0.0)
    assert selector.is_rejected("a")
    assert selector.failback_candidate(C, 0.0) is B
    assert selector.hedge_candidate(C, (), 0.0, healthy=True) is B
    fail(selector, "a", ErrorKind.CONNECT)
    assert selector.probe_candidates(C, 99.0) == []
    assert selector.initial(99.0) is B
    selector.set_route([A, B])
    assert selector.initial(99.0) is A


# --- an outage


def test_outage_candidates(selector: ProviderSelector) -> None:
    """All that are not locked; all, where all are."""
    assert selector.outage_candidates(0.0) == [A, B, C]
    fail(selector, "a", ErrorKind.AUTH)
    fail(selector, "b", ErrorKind.CONNECT)
    assert selector.outage_candidates(0.0) == [B, C]
    fail(selector, "b", ErrorKind.AUTH)
    fail(selector, "c", ErrorKind.AUTH)
    assert selector.outage_candidates(0.0) == [A, B, C]


# --- whole buffers


def test_buffers_go_to_healthy_providers_first(selector: ProviderSelector, health: Health) -> None:
    """An unavailable provider comes last, though its breaker is closed; so does an open one."""
    assert selector.buffer_candidates(0.0) == [A, B, C]
    selector.mark_unavailable("a")
    assert selector.buffer_candidates(0.0) == [B, C, A]
    health["b"].breaker.record_failure(ErrorKind.RATE_LIMITED, 0.0)
    assert selector.buffer_candidates(0.0) == [C, A, B]
    selector.mark_working("a", 0.0)
    assert selector.buffer_candidates(0.0) == [A, C, B]


def test_buffers_skip_locked_providers(selector: ProviderSelector) -> None:
    """Locked providers are asked only where all are locked."""
    fail(selector, "a", ErrorKind.AUTH)
    assert selector.buffer_candidates(0.0) == [B, C]
    fail(selector, "b", ErrorKind.QUOTA)
    fail(selector, "c", ErrorKind.AUTH)
    assert selector.buffer_candidates(0.0) == [A, B, C]


def test_buffers_are_not_offered_to_who_rejected_them(health: Health) -> None:
    """Which failures reject is the caller's choice; a rejecting provider is not asked again."""
    rejecting = (ErrorKind.AUTH, ErrorKind.BAD_REQUEST)
    selector = ProviderSelector([A, B, C], health, RetryPolicy(), rejecting=rejecting)
    fail(selector, "a", ErrorKind.BAD_REQUEST)
    fail(selector, "b", ErrorKind.AUTH)
    assert selector.buffer_candidates(0.0) == [C]
    fail(selector, "c", ErrorKind.AUTH)
    assert selector.buffer_candidates(0.0) == []


def test_recovery_candidates(selector: ProviderSelector, health: Health) -> None:
    """Unavailable providers are tried in the background while their breaker admits them."""
    assert selector.recovery_candidates(0.0) == []
    for name in "ab":
        selector.mark_unavailable(name)
    health["a"].breaker.record_failure(ErrorKind.RATE_LIMITED, 0.0)
    assert selector.recovery_candidates(0.0) == [B]


def test_a_language_that_a_plugin_does_not_take(health: Health) -> None:
    """Whoever refuses it is as healthy as before, is not asked for it again, and is told once."""
    refused = ConnectionFailed(0, ErrorKind.BAD_REQUEST, refused_language="hi")
    for number in range(4):
        selector = ProviderSelector([A, B], health, RetryPolicy(), language="hi")
        assert selector.initial(0.0) == (B if number else A)
        assert selector.on_failure(A, refused, None, 0.0) == (B, number == 0)
        assert selector.is_rejected("a")
        assert selector.why_failed() == "a: does not take the language hi"
    assert health["a"].breaker.state(0.0) is BreakerState.CLOSED
    selector.set_route([A, B], "en")
    assert selector.initial(0.0) == A
    selector.set_route([A, B], "hi")
    assert selector.initial(0.0) == B


def test_one_that_skips_speech_is_asked(selector: ProviderSelector) -> None:
    """A provider is silent until it gives text again, but not one that only left words out."""
    silent = ConnectionFailed(0, ErrorKind.STALLED, trigger=StallReason.FINAL_OVERDUE)
    skips = ConnectionFailed(0, ErrorKind.STALLED, trigger=StallReason.SKIPPED_SPEECH)
    selector.record_connection_failure("a", silent, 0.0)
    selector.record_connection_failure("b", skips, 0.0)
    selector.record_connection_failure("c", DROPPED, 0.0)
    assert selector.silent == {"a"}
    selector.mark_working("a", 1.0)
    assert not selector.silent


def test_what_has_worked(selector: ProviderSelector) -> None:
    """A provider has worked on a route once it gave text; for another route it must again."""
    assert not selector.has_worked("a")
    selector.mark_working("a", 1.0)
    assert selector.has_worked("a")
    selector.set_route([A, B])
    assert not selector.has_worked("a")
