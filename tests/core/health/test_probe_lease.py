from __future__ import annotations

import pytest

from resilient_stt.core.events import ErrorKind
from resilient_stt.core.health.breaker import Breaker
from resilient_stt.core.health.probe_lease import ProbeLease
from resilient_stt.core.policy import BreakerPolicy

POLICY = BreakerPolicy()


def shared() -> ProbeLease:
    """One that a store has to grant."""
    lease = ProbeLease(POLICY)
    lease.shared = True
    return lease


def granted() -> ProbeLease:
    """One that a store has granted at 1.0."""
    lease = shared()
    assert not lease.acquire(1.0)
    lease.mark_requested()
    lease.record_grant(1.0)
    return lease


def test_alone_it_is_taken_at_once() -> None:
    """Without a store nobody is asked, and nothing is to be given back."""
    lease = ProbeLease(POLICY)
    assert lease.acquire(1.0)
    assert lease.until == 16.0
    lease.release()
    assert not lease.must_return(20.0)


def test_beside_others_it_is_asked_for_first() -> None:
    """The first ask is refused; once granted the next takes it, for as long as a probe takes."""
    lease = shared()
    assert not lease.acquire(1.0)
    wanted = [lease.wanted]
    lease.mark_requested()
    lease.record_grant(1.0)
    assert [*wanted, lease.wanted] == [True, False]
    assert lease.acquire(1.02)
    assert lease.until == 16.02
    assert not lease.acquire(1.04)  # a grant is for one


def test_who_is_refused_waits() -> None:
    """It is not asked for again at once, and there is nothing to be given back."""
    lease = shared()
    assert not lease.acquire(1.0)
    lease.mark_requested()
    lease.record_refusal(1.1)
    assert lease.until == 1.1 + POLICY.probe_refusal_cooldown
    assert not lease.wanted
    assert not lease.must_return(99.0)


def test_a_grant_that_nobody_takes_is_given_back() -> None:
    """Who asked may have fallen silent meanwhile; what was given back may be asked for again."""
    lease = granted()
    assert not lease.must_return(1.0 + POLICY.probe_grant_timeout - 0.01)
    assert lease.must_return(1.0 + POLICY.probe_grant_timeout)
    assert not lease.acquire(1.0 + POLICY.probe_grant_timeout)
    lease.mark_returned()
    assert not lease.must_return(99.0)


def test_it_is_given_back_after_the_probe() -> None:
    """When it is released, or when its time is over."""
    for release in (True, False):
        lease = granted()
        assert lease.acquire(1.0)
        assert not lease.must_return(15.9)
        if release:
            lease.release()
        assert lease.must_return(2.0 if release else 16.0)


def test_a_claim_whose_answer_was_lost_is_given_back() -> None:
    """The store may hold it in our name."""
    lease = shared()
    assert not lease.acquire(1.0)
    lease.mark_requested()
    lease.store_lost()
    assert lease.must_return(2.0)
    assert lease.acquire(2.0)  # alone
    assert not lease.must_return(3.0)
    assert repr(lease) == "ProbeLease(until=17.0, shared=False, wanted=False)"


def test_a_breaker_tells_once_that_a_lease_is_wanted() -> None:
    """However many frames ask; and when it is not needed any more."""
    breaker, told = Breaker(BreakerPolicy()), []
    breaker.record_failure(ErrorKind.SERVER, 0.0)
    breaker.notify = lambda: told.append(len(told))
    breaker.probe_lease.shared = True
    assert not breaker.acquire_probe(4.9)
    assert not told
    for n in range(10):
        assert not breaker.acquire_probe(5.0 + n / 50)
    assert told == [0]
    breaker.probe_lease.mark_requested()
    breaker.probe_lease.record_grant(5.2)
    assert breaker.acquire_probe(5.2)
    assert told == [0]
    breaker.release_probe(6.0)
    assert told == [0, 1]


def test_a_refused_breaker_waits() -> None:
    """As long as others probe, asking again at once is no use."""
    breaker = Breaker(BreakerPolicy())
    breaker.record_failure(ErrorKind.SERVER, 0.0)
    breaker.probe_lease.shared = True
    assert not breaker.acquire_probe(5.0)
    breaker.probe_lease.mark_requested()
    breaker.probe_lease.record_refusal(5.1)
    assert breaker.probe_at(5.2) == pytest.approx(6.1)
