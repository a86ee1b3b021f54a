"""Translates a provider's `SpeechEvent` into the core's `TranscriptEvent`."""

from __future__ import annotations

from collections.abc import Callable

from livekit.agents import stt
from livekit.agents.types import NOT_GIVEN, TimedString
from livekit.agents.utils import is_given

from ..core.messages import EventKind, TranscriptEvent, Word


def normalize(
    event: stt.SpeechEvent, to_connection_time: Callable[[float], float] | None = float
) -> TranscriptEvent:
    """Return the event with plain values, and times in seconds of the audio that was sent.

    An `end_time` of 0 means that the provider gave no times: it is the default of LiveKit's
    `SpeechData`. Words are kept only if all of them have times.

    Args:
        event: as the plugin made it from what its server sent.
        to_connection_time: converts one of the event's times. `None` if its times are not those of
            the audio that was sent, and have to be left out.

    Raises:
        Exception: of any type; the event is not what LiveKit's types promise.
    """
    kind = EventKind(event.type.value)
    if not event.alternatives:
        return TranscriptEvent(kind, source=event)
    data = event.alternatives[0]
    if not isinstance(data.text or "", str):  # ink-2's plugin passes on whatever the server sent
        raise TypeError(f"the text of a transcript is of type {type(data.text).__name__}")
    if to_connection_time is None:
        language = str(data.language or "")
        return TranscriptEvent(kind, data.text or "", language=language, source=event)
    words = [_timed_word(word, to_connection_time) for word in data.words or []]
    timed = tuple(word for word in words if word is not None)
    end = to_connection_time(data.end_time)
    return TranscriptEvent(
        kind,
        data.text or "",
        timed if len(timed) == len(words) else (),
        to_connection_time(data.start_time) if end else None,
        end or None,
        str(data.language or ""),
        event,
    )


def _timed_word(word: TimedString, to_connection_time: Callable[[float], float]) -> Word | None:
    """Translate a word; `None` if it has no times."""
    start = getattr(word, "start_time", NOT_GIVEN)
    end = getattr(word, "end_time", NOT_GIVEN)
    if not (is_given(start) and is_given(end)):
        return None
    return Word(str(word), to_connection_time(start), to_connection_time(end))
