"""A short run of `benchmarks/soak.py`: many streams with providers that fail in turn."""

from __future__ import annotations

import pytest

from resilient_stt.core.stalls import known_noise
from resilient_stt.core.transcript import history, tokens

from .support.scripts import load

soak = load("benchmarks/soak.py")


@pytest.mark.sweep
def test_objects_do_not_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """In eight minutes of ten streams, every word comes once, no task is left, and objects do not
    add up.

    What a stream remembers of words and noise takes ten minutes to reach its bound, so the bounds
    are lower here; and the memory of all streams for words is full from the beginning.
    """
    monkeypatch.setattr(history, "MAX_TOKENS", 16)
    monkeypatch.setattr(known_noise, "MAX_EXAMPLES", 4)
    for number in range(tokens.REMEMBERED):
        tokens.tokenize(f"a b c d {number}")
    found = soak.soak(soak.Plan(streams=10, stts=2, minutes=8, sampled=1))
    assert found.turns > 10
    assert found.spoken > 500
    assert {"switched", "replayed", "hedge_finished", "outage_started", "outage_ended"} <= set(
        found.events
    )
    found.samples = found.samples[2:]  # from the third minute on
    assert soak.problems(found) == []
