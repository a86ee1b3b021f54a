from __future__ import annotations

import math

from resilient_stt.core.audio.arrivals import MAX_ENTRIES, Arrivals


def test_what_was_pushed_before_a_time() -> None:
    """Audio belongs to the time of its push, to a tenth of a second."""
    arrivals = Arrivals()
    assert arrivals.newest_at == -math.inf
    assert arrivals.pushed_before(1e9) == 0
    for step in range(1, 501):
        arrivals.pushed(step * 320, 100 + step * 0.02, window=5.0)
    assert arrivals.newest_at == 110
    for at in (106.0, 107.35, 109.99):
        assert 0 <= (at - 100) * 16_000 - arrivals.pushed_before(at) <= 0.12 * 16_000
    assert arrivals.pushed_before(111.0) == 500 * 320


def test_a_silent_push_ages() -> None:
    """Without any push the audio gets older all the same."""
    arrivals = Arrivals()
    arrivals.pushed(16_000, 1.0, window=5.0)
    assert arrivals.pushed_before(1.0) == 0
    assert arrivals.pushed_before(1.1) == 16_000


def test_memory_is_bounded() -> None:
    """What is older than the window is forgotten, and so is the oldest of too much."""
    arrivals = Arrivals()
    for second in range(1000):
        arrivals.pushed(second, float(second), window=10.0)
    assert repr(arrivals) == "Arrivals(entries=12)"
    for second in range(2 * MAX_ENTRIES):
        arrivals.pushed(second, 1000.0 + second, window=math.inf)
    assert repr(arrivals) == f"Arrivals(entries={MAX_ENTRIES})"
