"""A short run of `benchmarks/soak.py`: many streams, providers that fail in turn, nothing left."""

from __future__ import annotations

import pytest

from resilient_stt.core.transcript import history

from .support.scripts import load

soak = load("benchmarks/soak.py")


@pytest.mark.sweep
def test_what_is_alive_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five minutes, ten streams: every word comes once, no task is left, no more objects than
    before.

    The words that a long stream remembers are bounded, but fill up for ten minutes: fewer here.
    """
    monkeypatch.setattr(history, "MAX_TOKENS", 16)
    found = soak.soak(soak.Plan(streams=10, stts=2, minutes=5, sampled=1))
    assert found.turns > 10
    assert found.spoken > 500
    assert {"switched", "replayed", "hedge_finished", "outage_started", "outage_ended"} <= set(
        found.events
    )
    found.samples = found.samples[1:]  # from the second minute on
    assert soak.problems(found) == []
