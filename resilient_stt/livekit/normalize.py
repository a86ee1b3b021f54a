"""Translates a provider's `SpeechEvent` into the core's `TranscriptEvent`."""

from __future__ import annotations

from collections.abc import Callable

from livekit.agents import stt
from livekit.agents.types import NOT_GIVEN, TimedString
from livekit.agents.utils import is_given

from ..core.messages import EventKind, TranscriptEvent, Word
from ..core.routing.language import reported

MAX_TIME = 1e12
"""Seconds since 1970 that no clock shows for the next 30,000 years."""


def normalize(
    event: stt.SpeechEvent,
    to_connection_time: Callable[[float], float] = float,
    from_wall_clock: Callable[[float], float | None] = lambda _: None,
) -> TranscriptEvent:
    """Return the event with plain values, and times in seconds of the audio that was sent.

    An `end_time` of 0 means that the provider gave no times: it is the default of LiveKit's
    `SpeechData`. Words are kept only if all of them have times.

    Args:
        event: as the plugin made it from what its server sent.
        to_connection_time: converts one of the event's times.
        from_wall_clock: converts one that is on the wall clock, if it can be converted.

    Raises:
        Exception: of any type; the event is not what LiveKit's types promise.
    """
    kind = EventKind(event.type.value)
    speech_start, speech_end = (
        _converted(getattr(event, name, None), from_wall_clock)  # missing in older LiveKits
        for name in ("speech_start_time", "speech_end_time")
    )
    if not event.alternatives:
        return TranscriptEvent(kind, source=event, speech_start=speech_start, speech_end=speech_end)
    data = event.alternatives[0]
    if not isinstance(data.text or "", str):  # ink-2's plugin passes on whatever the server sent
        raise TypeError(f"the text of a transcript is of type {type(data.text).__name__}")
    words = [_timed_word(word, to_connection_time) for word in data.words or []]
    timed = tuple(word for word in words if word is not None)
    end = to_connection_time(data.end_time)
    return TranscriptEvent(
        kind,
        data.text or "",
        timed if len(timed) == len(words) else (),
        to_connection_time(data.start_time) if end else None,
        end or None,
        reported(str(data.language or "")),
        event,
        speech_start,
        speech_end,
    )


def _converted(at: object, from_wall_clock: Callable[[float], float | None]) -> float | None:
    """Convert a time of the wall clock; what is none is no reason to fail, for only metrics use it.

    The limit keeps infinity, NaN and integers too large for a float out.
    """
    if isinstance(at, float | int) and 0 <= at < MAX_TIME:
        return from_wall_clock(float(at))
    return None


def _timed_word(word: TimedString, to_connection_time: Callable[[float], float]) -> Word | None:
    """Translate a word; `None` if it has no times."""
    start = getattr(word, "start_time", NOT_GIVEN)
    end = getattr(word, "end_time", NOT_GIVEN)
    if not (is_given(start) and is_given(end)):
        return None
    return Word(str(word), to_connection_time(start), to_connection_time(end))
