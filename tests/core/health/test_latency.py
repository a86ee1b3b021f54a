from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resilient_stt.core.health.latency import MAX_SAMPLES, FinalLatency
from resilient_stt.core.policy import WatchdogPolicy

MIN_SAMPLES = WatchdogPolicy().min_latency_samples

durations = st.floats(0, 1e6, allow_nan=False)


@given(st.lists(durations, max_size=3 * MAX_SAMPLES))
@example([float(n) for n in range(3 * MAX_SAMPLES)])
@example([1.0] * 2 * MAX_SAMPLES)
@example([9.0, *[1.0] * (MAX_SAMPLES - 1)])
def test_p99_is_that_of_the_last_hundred(samples: list[float]) -> None:
    """At any time the p99 is the nearest rank among the last samples, if there are enough."""
    latency = FinalLatency()
    assert latency.p99 is None
    for n, seconds in enumerate(samples, 1):
        latency.add(seconds)
        last = sorted(samples[max(0, n - MAX_SAMPLES) : n])
        assert latency.p99 == (last[math.ceil(0.99 * len(last)) - 1] if n >= MIN_SAMPLES else None)


def test_one_outlier_in_a_hundred_is_ignored() -> None:
    """With 100 samples one outlier is ignored, two are not; with fewer none is."""
    latency = FinalLatency()
    for seconds in [0.3] * (MAX_SAMPLES - 2) + [60.0]:
        latency.add(seconds)
    assert latency.p99 == 60.0
    latency.add(0.3)
    assert latency.p99 == 0.3
    latency.add(50.0)
    assert latency.p99 == 50.0


@pytest.mark.parametrize("nonsense", [-0.1, -math.inf, math.nan, math.inf])
def test_values_that_are_no_durations_are_ignored(nonsense: float) -> None:
    """A clock that jumped says nothing about the provider."""
    latency = FinalLatency()
    for _ in range(MIN_SAMPLES - 1):
        latency.add(0.0)
    latency.add(nonsense)
    assert latency.p99 is None
    latency.add(0.25)
    latency.add(nonsense)
    assert latency.p99 == 0.25


def test_it_shows_its_state() -> None:
    """The repr shows the number of samples and the p99."""
    latency = FinalLatency()
    assert repr(latency) == "FinalLatency(samples=0, p99=None)"
    for _ in range(2 * MAX_SAMPLES):
        latency.add(0.5)
    assert repr(latency) == "FinalLatency(samples=100, p99=0.5)"
