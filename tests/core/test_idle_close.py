"""A connection that closes normally after all its words were told is no failure."""

from __future__ import annotations

import pytest

from resilient_stt.core.events import ErrorKind
from resilient_stt.core.messages import (
    AudioPushed,
    Command,
    ConnectionFailed,
    EventKind,
    Input,
    OpenConnection,
    ProviderEvent,
    SpeechEnded,
    SpeechStarted,
    StreamOpened,
    TranscriptEvent,
)

from ..support.promises import alone

RATE = 16_000


@pytest.mark.parametrize(("after", "opened"), [(5.0, 0), (0.5, 1)])
def test_voice_of_a_final_without_times(after: float, opened: int) -> None:
    """It is sent again only while another final of the same voice may be under way."""
    engine = alone()
    commands: list[Command] = []

    def take(message: Input, now: float) -> None:
        commands.extend(engine.handle(message, now))

    take(StreamOpened(), 0.0)
    take(SpeechStarted(0), 0.0)
    for step in range(1, 41):
        take(AudioPushed(RATE // 10, RATE), step / 10)
        if step == 30:
            take(SpeechEnded(3 * RATE), 3.0)
    (first,) = [c.connection for c in commands if isinstance(c, OpenConnection)]
    take(ProviderEvent(first, TranscriptEvent(EventKind.FINAL, "good morning")), 4.0)
    commands.clear()
    close = ConnectionFailed(first, ErrorKind.DROPPED, closed_normally=True)
    take(close, 4.0 + after)
    assert len([c for c in commands if isinstance(c, OpenConnection)]) == opened
