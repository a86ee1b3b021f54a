from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from resilient_stt.core.policy import (
    BreakerPolicy,
    Pace,
    Policies,
    Provider,
    ReplayPolicy,
    RetryPolicy,
    WatchdogPolicy,
)

CHECKED: list[type[Any]] = [RetryPolicy, BreakerPolicy, ReplayPolicy, WatchdogPolicy, Pace]


@pytest.mark.parametrize("wrong", [-0.1, math.nan, math.inf, -math.inf, "5", None])
@pytest.mark.parametrize("policy", CHECKED)
def test_numbers_that_steer_nothing_are_refused(policy: type[Any], wrong: object) -> None:
    """A negative or non-finite number is a ValueError that names its field."""
    for field in fields(policy):
        with pytest.raises(ValueError, match=rf"{policy.__name__}\.{field.name} must be a number"):
            policy(**{field.name: wrong})


@pytest.mark.parametrize("wrong", [{"burst": 0.0}, {"burst": 0.04}, {"rate": 0.9}])
def test_a_pace_that_cannot_keep_up_is_refused(wrong: dict[str, float]) -> None:
    """A burst shorter than a frame would never be sent, a rate below 1 would never catch up."""
    with pytest.raises(ValueError, match=r"Pace needs a burst of 0\.05 s"):
        Pace(**wrong)


def test_a_window_that_holds_no_frame_is_refused() -> None:
    """With a window shorter than a frame, no audio would ever be sent."""
    with pytest.raises(ValueError, match=r"ReplayPolicy\.window must be 1 s or more"):
        ReplayPolicy(window=0.5)
    assert ReplayPolicy(window=1).window == 1


@pytest.mark.parametrize("policy", [*CHECKED, Policies])
def test_policies_are_frozen(policy: type[Any]) -> None:
    """No policy changes under a running stream."""
    with pytest.raises(FrozenInstanceError):
        setattr(policy(), fields(policy)[0].name, 1.0)


def test_defaults() -> None:
    """Each object of policies has defaults of its own kind, and a provider needs only a name."""
    assert Policies() == Policies(
        retry=RetryPolicy(),
        breaker=BreakerPolicy(),
        replay=ReplayPolicy(),
        watchdog=WatchdogPolicy(),
    )
    assert Provider(name="a").pace == Pace()
