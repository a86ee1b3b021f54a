"""A provider's event as the core takes it."""

from __future__ import annotations

from collections.abc import Callable

from livekit.agents import stt
from livekit.agents.types import NOT_GIVEN, TimedString
from livekit.agents.utils import is_given

from ..core.messages import EventKind, TranscriptEvent, Word


def normalize(
    event: stt.SpeechEvent, to_connection_time: Callable[[float], float] = float
) -> TranscriptEvent:
    """Plain values, and times as seconds of the audio that the provider was sent.

    Args:
        event: as the plugin made it of what a server sent.
        own: makes such a time of one of the event's.

    Raises:
        Exception: of any type; the event is not what LiveKit's types say.
    """
    kind = EventKind(event.type.value)
    if not event.alternatives:
        return TranscriptEvent(kind, source=event)
    data = event.alternatives[0]
    if not isinstance(data.text or "", str):  # ink-2's plugin passes on what the server sent
        raise TypeError(f"a text of type {type(data.text).__name__}")
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


def _timed_word(word: TimedString, own: Callable[[float], float]) -> Word | None:
    """A word of the provider's; `None` if it has no times."""
    start = getattr(word, "start_time", NOT_GIVEN)
    end = getattr(word, "end_time", NOT_GIVEN)
    if not (is_given(start) and is_given(end)):
        return None
    return Word(str(word), own(start), own(end))
