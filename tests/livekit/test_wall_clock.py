from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.livekit.wall_clock import JITTER, MAX_CHANGES, WallClock


def test_audio_in_real_time_needs_one_number() -> None:
    """Frames with jitter are one pace; nothing is known before the first."""
    clock = WallClock()
    assert clock.at(0.0) is None
    for number in range(1, 1001):
        clock.pushed(0.02, 100.0 + number * 0.02 + (number % 3) * JITTER / 3)
    assert repr(clock) == "WallClock(seconds=20.00, changes=1)"
    assert clock.at(10.0) == pytest.approx(110.0, abs=JITTER)


def test_a_pause_and_a_burst() -> None:
    """Audio behind a pause was spoken later; what was pushed at once was spoken at once."""
    clock = WallClock()
    clock.pushed(1.0, 101.0)
    clock.pushed(1.0, 105.0)
    clock.pushed(1.0, 105.0)
    assert [clock.at(s) for s in (0.5, 1.5, 2.5, 3.0)] == [100.5, 104.5, 104.5, 105.0]


@given(st.lists(st.tuples(st.floats(0.01, 2.0), st.floats(0.0, 5.0)), min_size=1, max_size=30))
def test_every_frame_keeps_its_time(frames: list[tuple[float, float]]) -> None:
    """However frames come, the last moment of each was spoken when it was pushed."""
    clock, now, ends = WallClock(), 1_000.0, []
    for seconds, pause in frames:
        now += pause
        clock.pushed(seconds, now)
        ends.append((clock.seconds - 0.001, now))
    for at, pushed in ends:
        assert clock.at(at) == pytest.approx(pushed, abs=JITTER + 0.002)


def test_changes_are_bounded() -> None:
    """Of a stream that never has a pace, the oldest times are forgotten."""
    clock = WallClock()
    for number in range(MAX_CHANGES + 10):
        clock.pushed(0.1, 100.0 * number)
    assert clock.at(0.5) is None
    assert clock.at(clock.seconds) == pytest.approx(100.0 * (MAX_CHANGES + 9))


def test_old_audio_is_forgotten() -> None:
    """However unsteady the pace of a long call is, only the last minutes are kept."""
    clock, now = WallClock(60.0), 1_000.0
    for step in range(2_000):
        now += 1.0 if step % 2 else 0.5
        clock.pushed(0.5, now)
    assert len(clock._since) < 500
    assert clock.at(1_000.0 - 10.0) is not None
    assert clock.at(1_000.0 - 115.0) is not None
    assert clock.at(10.0) is None
