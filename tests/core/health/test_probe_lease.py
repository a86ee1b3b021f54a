from __future__ import annotations

import pytest

from resilient_stt.core.events import ErrorKind
from resilient_stt.core.health.breaker import Breaker
from resilient_stt.core.health.probe_lease import ProbeLease
from resilient_stt.core.policy import BreakerPolicy

POLICY = BreakerPolicy()


def shared() -> ProbeLease:
    """A lease that a store has to grant."""
    lease = ProbeLease(POLICY)
    lease.shared = True
    return lease


def granted() -> ProbeLease:
    """A lease that a store granted at 1.0."""
    lease = shared()
    assert not lease.acquire(1.0)
    lease.mark_requested()
    lease.record_grant(1.0)
    return lease


def test_without_a_store_it_is_granted_at_once() -> None:
    """No store is asked, and nothing has to be returned."""
    lease = ProbeLease(POLICY)
    assert lease.acquire(1.0)
    assert lease.until == 16.0
    lease.release()
    assert not lease.must_return(20.0)


def test_with_a_store_it_is_requested_first() -> None:
    """The first `acquire` fails; once granted, the next one takes it for the time of a probe."""
    lease = shared()
    assert not lease.acquire(1.0)
    wanted = [lease.wanted]
    lease.mark_requested()
    lease.record_grant(1.0)
    assert [*wanted, lease.wanted] == [True, False]
    assert lease.acquire(1.02)
    assert lease.until == 16.02
    assert not lease.acquire(1.04)  # a grant is for one


def test_a_refusal_causes_a_wait() -> None:
    """The store is not asked again at once, and nothing has to be returned."""
    lease = shared()
    assert not lease.acquire(1.0)
    lease.mark_requested()
    lease.record_refusal(1.1)
    assert lease.until == 1.1 + POLICY.probe_refusal_cooldown
    assert not lease.wanted
    assert not lease.must_return(99.0)


def test_an_unused_grant_is_returned() -> None:
    """The stream that asked may have fallen silent; after the return it can be requested again."""
    lease = granted()
    assert not lease.must_return(1.0 + POLICY.probe_grant_timeout - 0.01)
    assert lease.must_return(1.0 + POLICY.probe_grant_timeout)
    assert not lease.acquire(1.0 + POLICY.probe_grant_timeout)
    lease.mark_returned()
    assert not lease.must_return(99.0)


def test_it_is_returned_after_the_probe() -> None:
    """It must be returned once it is released, or once its time is over."""
    for release in (True, False):
        lease = granted()
        assert lease.acquire(1.0)
        assert not lease.must_return(15.9)
        if release:
            lease.release()
        assert lease.must_return(2.0 if release else 16.0)


def test_a_request_without_an_answer_is_returned() -> None:
    """The store may hold the lease in our name."""
    lease = shared()
    assert not lease.acquire(1.0)
    lease.mark_requested()
    lease.store_lost()
    assert lease.must_return(2.0)
    assert lease.acquire(2.0)  # alone
    assert not lease.must_return(3.0)
    assert repr(lease) == "ProbeLease(until=17.0, shared=False, wanted=False)"


def test_a_breaker_notifies_once_that_a_lease_is_wanted() -> None:
    """However many frames ask, it notifies once, and again when the lease is not needed."""
    breaker, notified = Breaker(BreakerPolicy()), []
    breaker.record_failure(ErrorKind.SERVER, 0.0)
    breaker.notify = lambda: notified.append(len(notified))
    breaker.probe_lease.shared = True
    assert not breaker.acquire_probe(4.9)
    assert not notified
    for n in range(10):
        assert not breaker.acquire_probe(5.0 + n / 50)
    assert notified == [0]
    breaker.probe_lease.mark_requested()
    breaker.probe_lease.record_grant(5.2)
    assert breaker.acquire_probe(5.2)
    assert notified == [0]
    breaker.release_probe(6.0)
    assert notified == [0, 1]


def test_a_refused_breaker_waits() -> None:
    """While other processes probe, the next probe waits for the cooldown."""
    breaker = Breaker(BreakerPolicy())
    breaker.record_failure(ErrorKind.SERVER, 0.0)
    breaker.probe_lease.shared = True
    assert not breaker.acquire_probe(5.0)
    breaker.probe_lease.mark_requested()
    breaker.probe_lease.record_refusal(5.1)
    assert breaker.probe_at(5.2) == pytest.approx(6.1)


def test_the_store_holds_a_lease_for_the_wait_and_the_probe() -> None:
    """A lease that expired earlier in the store would let a second process probe."""
    assert ProbeLease(POLICY).longest == POLICY.probe_timeout + POLICY.probe_grant_timeout
