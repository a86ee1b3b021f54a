from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from resilient_stt.core.policy import (
    BreakerPolicy,
    FailbackPolicy,
    Pace,
    Policies,
    ProviderTraits,
    ReplayPolicy,
    RetryPolicy,
    RoutingPolicy,
    WatchdogPolicy,
)

CHECKED: list[type[Any]] = [
    RetryPolicy,
    BreakerPolicy,
    ReplayPolicy,
    WatchdogPolicy,
    FailbackPolicy,
    RoutingPolicy,
    Pace,
]


@pytest.mark.parametrize("wrong", [-0.1, math.nan, math.inf, -math.inf, 10**400, "5", None])
@pytest.mark.parametrize("policy", CHECKED)
def test_values_that_are_not_plain_numbers_are_refused(policy: type[Any], wrong: object) -> None:
    """A negative or non-finite number is a ValueError that names its field."""
    for field in fields(policy):
        with pytest.raises(ValueError, match=rf"{policy.__name__}\.{field.name} must be a number"):
            policy(**{field.name: wrong})


@pytest.mark.parametrize("wrong", [{"burst": 0.0}, {"burst": 0.04}, {"rate": 0.9}])
def test_a_pace_that_cannot_keep_up_is_refused(wrong: dict[str, float]) -> None:
    """A burst shorter than a frame would never be sent, a rate below 1 would never catch up."""
    with pytest.raises(ValueError, match=rf"Pace\.{next(iter(wrong))} must be"):
        Pace(**wrong)


def test_a_window_that_holds_no_frame_is_refused() -> None:
    """With a window shorter than a frame, no audio would ever be sent."""
    with pytest.raises(ValueError, match=r"ReplayPolicy\.window must be 1 s or more"):
        ReplayPolicy(window=0.5)
    assert ReplayPolicy(window=1).window == 1


@pytest.mark.parametrize(
    ("policy", "wrong"),
    [
        (RetryPolicy, {"min_attempt_interval": 0}),
        (RetryPolicy, {"session_retry_interval": 0}),
        (BreakerPolicy, {"max_probe_start_delay": 0}),
        (ReplayPolicy, {"clock_restart_gap": 0}),
        (ReplayPolicy, {"min_speech_rate": 0}),
        (ReplayPolicy, {"min_speech_rate": 9, "max_speech_rate": 8}),
    ],
)
def test_a_limit_of_0_that_breaks_its_rule_is_refused(
    policy: type[Any], wrong: dict[str, Any]
) -> None:
    """With it, attempts would not pause, no probe would begin, and each overlap be a new clock."""
    name = next(iter(wrong))
    with pytest.raises(ValueError, match=rf"{policy.__name__}\.{name} must be more than 0"):
        policy(**wrong)
    assert getattr(policy(**{name: 0.01}), name) == 0.01


def test_a_text_is_compared_by_its_words() -> None:
    """Without a word to compare, every text would be the same."""
    with pytest.raises(ValueError, match=r"WatchdogPolicy\.min_compared_words must be 1 or more"):
        WatchdogPolicy(min_compared_words=0)
    assert WatchdogPolicy(min_compared_words=1).min_compared_words == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_deadline_multiplier": 0.9},
        {"final_hedge_fraction": 1.1},
        {"no_interim_hedge_fraction": 2},
        {"hedge_audio_share": 5},
        {"min_processing_rate": 0.9},
        {"hedge_audio_window": 59.9},
    ],
)
def test_watchdog_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    """Noise never shortens a deadline, and no hedge begins after the deadline."""
    with pytest.raises(ValueError, match=rf"WatchdogPolicy\.{next(iter(wrong))} must be"):
        WatchdogPolicy(**wrong)
    assert (
        WatchdogPolicy(
            max_deadline_multiplier=1,
            final_hedge_fraction=1,
            no_interim_hedge_fraction=1,
            hedge_audio_share=1,
            min_processing_rate=1,
            hedge_audio_window=60,
        ).final_timeout
        == 1.2
    )


@pytest.mark.parametrize("wrong", [{"connect_timeout": 0}, {"max_concurrent_attempts": 0}])
def test_retries_that_never_connect_are_refused(wrong: dict[str, Any]) -> None:
    """A stream needs time to connect, and at least one attempt at a time in an outage."""
    with pytest.raises(ValueError, match=rf"RetryPolicy\.{next(iter(wrong))} must be"):
        RetryPolicy(**wrong)


def test_jitter_of_a_whole_break_is_refused() -> None:
    """Jitter of 1 could make a break last no time at all."""
    with pytest.raises(ValueError, match=r"BreakerPolicy\.jitter must be less than 1"):
        BreakerPolicy(jitter=1.0)


def test_words_without_characters_are_refused() -> None:
    """Characters are divided by this number, so it must not be 0."""
    with pytest.raises(ValueError, match=r"RoutingPolicy\.characters_per_word must be more than 0"):
        RoutingPolicy(characters_per_word=0.0)


@pytest.mark.parametrize("policy", [*CHECKED, Policies])
def test_policies_are_frozen(policy: type[Any]) -> None:
    """A policy cannot change while a stream runs."""
    with pytest.raises(FrozenInstanceError):
        setattr(policy(), fields(policy)[0].name, 1.0)


def test_defaults() -> None:
    """Every policy has defaults, and the traits of a provider need only its name."""
    assert Policies() == Policies(
        retry=RetryPolicy(),
        breaker=BreakerPolicy(),
        replay=ReplayPolicy(),
        watchdog=WatchdogPolicy(),
        failback=FailbackPolicy(),
    )
    assert ProviderTraits(name="a").pace == Pace()


@pytest.mark.parametrize("wrong", [1.1e15, 1e300, pytest.param(10**5000, id="huge")])
def test_a_value_that_is_too_large_is_told_its_bound(wrong: float) -> None:
    """Not that it must be 0 or more, which it is."""
    with pytest.raises(ValueError, match=r"RetryPolicy\.outage_limit .* at most 1e\+15$"):
        RetryPolicy(outage_limit=wrong)


@pytest.mark.parametrize("wrong", [{}, BreakerPolicy(), RetryPolicy, None])
def test_a_section_of_another_class_is_refused(wrong: Any) -> None:
    """A dict in the place of a policy would fail far away, in the middle of a call."""
    with pytest.raises(ValueError, match=r"Policies\.retry must be a RetryPolicy\(\.\.\.\)"):
        Policies(retry=wrong)
