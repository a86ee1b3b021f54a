from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.core.audio.pacing import TokenBucket
from resilient_stt.core.policy import MIN_CHUNK, Pace

RATE = 16_000

paces = st.builds(Pace, burst=st.floats(MIN_CHUNK, 10), rate=st.floats(1, 4))
bases = st.sampled_from([0.0, 1_000.7, 123_456.789, 9_876_543.21])


@given(paces, bases, st.lists(st.tuples(st.floats(0, 3), st.floats(0, 1)), max_size=40))
def test_the_pace_is_never_exceeded(
    pace: Pace, base: float, script: list[tuple[float, float]]
) -> None:
    """In any span of time, no more is granted than the burst and the rate allow."""
    bucket, now, taken = TokenBucket(pace, base), base, [(base, 0.0)]
    for later, share in script:
        now += later
        samples = int(bucket.available(now, RATE) * share)
        bucket.take(samples / RATE)
        taken.append((now, taken[-1][1] + samples / RATE))
    for (then, before), (now, after) in itertools.combinations(taken, 2):
        assert after - before <= pace.burst + pace.rate * (now - then) + 1e-3


@given(paces, bases, st.sampled_from([80, 160, 320, 800]), st.integers(1, 300))
def test_live_audio_is_granted_at_once(pace: Pace, base: float, frame: int, frames: int) -> None:
    """Audio that arrives in real time never waits."""
    bucket = TokenBucket(pace, base)
    for index in range(frames):
        now = base + (index + 1) * frame / RATE
        assert bucket.available(now, RATE) >= frame
        bucket.take(frame / RATE)


@given(paces, bases, st.lists(st.integers(1, 800), min_size=1, max_size=100))
def test_the_promised_time_is_right(pace: Pace, base: float, pieces: list[int]) -> None:
    """At that time the bucket grants the audio, and not much earlier."""
    bucket, now = TokenBucket(pace, base), base
    for piece in pieces:
        due = bucket.available_at(piece / RATE)
        if due > now:
            assert bucket.available(now + (due - now) * 0.9, RATE) < piece or due - now < 1e-3
        now = max(now, due)
        assert bucket.available(now, RATE) >= piece
        bucket.take(piece / RATE)


def test_a_burst_then_the_rate() -> None:
    """The burst is granted at once, then a multiple of real time."""
    bucket = TokenBucket(Pace(burst=2.0, rate=1.5), 10.0)
    assert bucket.available(10.0, RATE) == 2 * RATE
    bucket.take(2.0)
    assert bucket.available(10.0, RATE) == 0
    assert bucket.available_at(1.5) == pytest.approx(11.0)
    assert bucket.available(11.0, RATE) == 1.5 * RATE


def test_a_clock_that_goes_back_grants_nothing() -> None:
    """A time before the last one counts as the last one."""
    bucket = TokenBucket(Pace(burst=1.0, rate=2.0), 10.0)
    bucket.take(1.0)
    assert bucket.available(9.0, RATE) == 0
    assert bucket.available(10.1, RATE) == 0.2 * RATE
