"""Which breakers have changed, as one stream sees it."""

from __future__ import annotations

from resilient_stt.core.events import BreakerState, ErrorKind
from resilient_stt.core.health.breaker import Breaker
from resilient_stt.core.health.breaker_watch import BreakerWatch
from resilient_stt.core.health.provider import ProviderHealth
from resilient_stt.core.health.report import OperatorLock
from resilient_stt.core.policy import BreakerPolicy

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
LOCKED = BreakerState.LOCKED


def test_a_stream_is_told_of_each_change_once() -> None:
    """Also of one before it began, by another stream, and by time alone."""
    health = {name: ProviderHealth(Breaker(BreakerPolicy())) for name in "ab"}
    health["a"].breaker.record_failure(ErrorKind.RATE_LIMITED, 0.0, retry_after=5.0)
    watch = BreakerWatch(health)
    assert watch.changes(1.0) == [("a", CLOSED, OPEN, False)]
    assert watch.changes(2.0) == []
    health["b"].breaker.record_failure(ErrorKind.AUTH, 3.0)
    assert watch.changes(3.0) == [("b", CLOSED, LOCKED, False)]
    assert watch.changes(10.0) == [("a", OPEN, HALF_OPEN, False)]
    health["a"].breaker.record_text(11.0)
    assert watch.changes(11.0) == [("a", HALF_OPEN, CLOSED, False)]
    assert repr(watch) == "BreakerWatch({'a': 'closed', 'b': 'locked'})"


def test_an_operator_s_lock_is_told_from_a_refused_account() -> None:
    """Also if the account was refused before it, and is still refused after it."""
    health = {"a": ProviderHealth(Breaker(BreakerPolicy()))}
    watch, breaker = BreakerWatch(health), health["a"].breaker
    breaker.record_failure(ErrorKind.AUTH, 0.0)
    assert watch.changes(1.0) == [("a", CLOSED, LOCKED, False)]
    breaker.operator_lock = OperatorLock(until=10.0, stamp=1)
    assert watch.changes(2.0) == [("a", LOCKED, LOCKED, True)]
    assert watch.changes(10.0) == [("a", LOCKED, LOCKED, False)]
