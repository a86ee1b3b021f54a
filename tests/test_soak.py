"""A short run of `benchmarks/soak.py`: many streams with providers that fail in turn."""

from __future__ import annotations

import pytest

from resilient_stt.core.transcript import history

from .support.scripts import load

soak = load("benchmarks/soak.py")


@pytest.mark.sweep
def test_objects_do_not_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """In eight minutes of ten streams, every word comes once, no task is left, and objects do not
    add up.

    The words that a stream remembers take ten minutes to reach their bound, so it is lower here.
    """
    monkeypatch.setattr(history, "MAX_TOKENS", 16)
    found = soak.soak(soak.Plan(streams=10, stts=2, minutes=8, sampled=1))
    assert found.turns > 10
    assert found.spoken > 500
    assert {"switched", "replayed", "hedge_finished", "outage_started", "outage_ended"} <= set(
        found.events
    )
    found.samples = found.samples[1:]  # from the second minute on
    assert soak.problems(found) == []
