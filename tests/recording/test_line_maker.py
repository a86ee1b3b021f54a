"""Loudness, and the times of a stream that goes on with the audio of another one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.core.events import Switched, SwitchReason
from resilient_stt.core.messages import OpenConnection, ReportEvent
from resilient_stt.recording.line_maker import SILENCE, LineMaker, loudness
from resilient_stt.recording.stream_recorder import AudioBlock, AudioTakenOver

RATE = 1000


@pytest.mark.parametrize(
    ("level", "expected"), [(0, SILENCE), (1, SILENCE), (328, -40), (3277, -20), (32767, 0)]
)
def test_loudness_of_a_level(level: int, expected: int) -> None:
    """dBFS: 0 is the loudest that 16 bits can hold, a tenth of it is -20."""
    assert loudness(np.full(100, level, np.int16).tobytes(), 50) == [expected] * 2


@given(st.lists(st.integers(1, 700), min_size=1, max_size=20))
def test_no_audio_is_left_out_of_the_loudness(sizes: list[int]) -> None:
    """However the audio is cut into blocks, the values are those of the whole."""
    wave = (np.arange(sum(sizes)) * 7919 % 20011 - 10000).astype(np.int16)
    maker, start = LineMaker(text=True), 0
    levels: list[int] = []
    for size in sizes:
        block = AudioBlock(wave[start : start + size].tobytes(), RATE, 0, ())
        start += size
        levels += maker.line((0.0, start, block))["loudness"]
    assert levels == loudness(wave.tobytes(), 50)


def test_times_of_a_stream_that_took_audio_over() -> None:
    """They are those of its own audio; what the other stream was given lies before 0."""
    maker = LineMaker(text=True)
    maker.line((10.0, 4 * RATE, AudioTakenOver(RATE)))
    opened = maker.line((10.0, 4 * RATE, OpenConnection(0, "a", start=1 * RATE)))
    assert opened["at"] == 0.0
    assert opened["from"] == -3.0
    switched = Switched(
        at=4.5, from_provider="a", to_provider="b", reason=SwitchReason.SLOW, replay_from=3.0
    )
    line = maker.line((10.5, 4 * RATE + 500, ReportEvent(switched)))
    assert (line["at"], line["clock"], line["event_at"]) == (0.5, 0.5, 0.5)
    assert line["replay_from"] == -1.0
    assert line["reason"] == "slow"
