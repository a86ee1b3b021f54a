"""`Runtime`: what streams and `recognize()` share."""

from __future__ import annotations

import random
from typing import Any

import pytest

from resilient_stt import Policies, RetryPolicy
from resilient_stt.errors import SpeechDetectorError
from resilient_stt.livekit.vad import BundledDetector
from resilient_stt.runtime import Runtime
from resilient_stt.setup import Setup

from .support.fakes import FakeSTT, a_vad


def runtime(vad: Any = None, **retry: Any) -> tuple[Runtime, list[object]]:
    """A runtime of two providers, and what it emits."""
    emitted: list[object] = []
    setup = Setup.from_objects([FakeSTT(), FakeSTT()], Policies(retry=RetryPolicy(**retry)))
    made = Runtime(setup, vad, emit=lambda name, _: emitted.append(name), emit_error=emitted.append)
    return made, emitted


def bounds(of: Runtime, failures: int, monkeypatch: pytest.MonkeyPatch) -> tuple[float, float]:
    """The shortest and the longest wait after so many failures."""
    found = []
    for choose in (min, max):
        monkeypatch.setattr(random, "uniform", lambda *ends, choose=choose: choose(ends))
        found.append(of.backoff(failures))
    return found[0], found[1]


def test_backoff_grows_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full jitter between a floor and an exponentially growing ceiling, up to `wait_max`."""
    made, _ = runtime(wait_min=0.1, wait_max=2.0)
    longest = [bounds(made, n, monkeypatch) for n in range(8)]
    floor = made.policies.retry.wait_floor
    assert [low for low, _ in longest] == [floor] * 8
    ceilings = [0.25, 0.25, 0.25, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert [high for _, high in longest] == pytest.approx(ceilings)
    assert bounds(made, 10**6, monkeypatch) == (floor, 2.0), "no overflow after many failures"


def test_a_short_wait_max_lowers_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The floor is at most half of `wait_max`, so that there is jitter left; 0 is no wait."""
    assert bounds(runtime(wait_max=0.2)[0], 9, monkeypatch) == (0.1, 0.2)
    assert bounds(runtime(wait_max=0.0)[0], 9, monkeypatch) == (0.0, 0.0)


def test_activity_grows() -> None:
    """Each number is above all before it."""
    made, _ = runtime()
    assert made.next_activity() < made.next_activity() < made.next_activity()


def test_each_stream_has_a_detector_of_its_own() -> None:
    """The factory makes one per stream; `None` turns them off."""
    made, emitted = runtime(vad=BundledDetector)
    first, second = made.new_detector(), made.new_detector()
    assert first is not None
    assert first is not second
    assert runtime(vad=None)[0].new_detector() is None
    assert not emitted


def test_a_factory_that_raises_is_reported() -> None:
    """It makes no detector, and one error with the exception as its cause."""

    def broken() -> BundledDetector:
        raise KeyError("model")

    made, emitted = runtime(vad=broken)
    assert made.new_detector() is None
    [error] = emitted
    assert isinstance(error, SpeechDetectorError)
    assert isinstance(error.__cause__, KeyError)


async def test_providers_that_cannot_stream_are_wrapped() -> None:
    """Only those; `setup.providers` keeps them as they were given."""
    batch, streaming = FakeSTT(streaming=False), FakeSTT()
    made = Runtime(
        Setup.from_objects([batch, streaming], None),
        a_vad(),
        emit=lambda *_: None,
        emit_error=lambda _: None,
    )
    assert made.providers["fake"].capabilities.streaming
    assert made.providers["fake-2"] is streaming
    assert list(made.setup.providers.values()) == [batch, streaming]
    await made.aclose()
