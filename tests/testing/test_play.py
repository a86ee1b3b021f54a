"""`play` raises for mistakes of its caller, instead of counting them against the STT."""

from __future__ import annotations

from typing import Any

import pytest

from resilient_stt.testing.harness.play import play
from resilient_stt.testing.speech.reference import ReferenceSpeech

from ..support.fakes import FakeSTT, says

pytestmark = pytest.mark.stt_virtual_time

SPEECH = ReferenceSpeech.load().excerpt(0, 0)


@pytest.mark.parametrize(
    "form",
    [
        {"sample_rate": 0},
        {"channels": 0},
        {"frame_duration": 0.0},
        {"frame_duration": -1.0},
        {"frame_duration": 1e-9},
    ],
    ids=str,
)
async def test_impossible_frames(form: dict[str, Any]) -> None:
    """Impossible frames raise a ValueError, and nothing is played."""
    with pytest.raises(ValueError, match=r"no frames of .* s, \d channels at \d+ Hz"):
        await play(FakeSTT(), SPEECH, **form)


async def test_a_name_instead_of_speech() -> None:
    """The name of a recording raises a TypeError: it has to be loaded."""
    with pytest.raises(TypeError, match=r"must be a ReferenceSpeech, .* not 'spanish'"):
        await play(FakeSTT(), "spanish")  # type: ignore[arg-type]


async def test_a_listener_that_raises() -> None:
    """An exception of the listener is raised, and is not taken for one of the stream."""

    def fail(at: float, event: object) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await play(FakeSTT(says("hello")), SPEECH, on_event=fail)
