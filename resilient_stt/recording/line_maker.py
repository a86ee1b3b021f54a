"""Makes the lines of a recording from what was noted: JSON objects, each on a line.

Every line has `kind`, `at` (seconds of the stream's audio at the live edge) and `clock` (seconds
since the stream was opened). Positions are seconds of the stream's audio; they are negative in
audio that was taken over from a stream that gave up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from ..core.events import Event
from ..core.messages import (
    CloseConnection,
    ConnectionEnded,
    ConnectionFailed,
    Emit,
    GiveUp,
    InputEnded,
    OpenConnection,
    ReportEvent,
    SendSilence,
    SetServing,
    SpeechEnded,
    SpeechStarted,
)
from .stream_recorder import AudioBlock, AudioTakenOver, Note, RecordingEnded, TextHeard

LOUDNESS_STEP = 0.05
"""Seconds of audio for each value of the loudness."""

_FULL_SCALE = 32768

SILENCE = -90
"""dBFS of digital silence, and the lowest that is written; 16 bits reach no lower."""

Line = dict[str, Any]


def loudness(audio: bytes, size: int) -> list[int]:
    """Return the loudness of each `size` samples in whole dBFS: the root of their mean square.

    `audio` is 16 bit mono; a rest of less than `size` samples is left out.
    """
    blocks = len(audio) // (2 * size)
    samples = np.frombuffer(audio, np.int16, blocks * size).astype(np.float32)
    rows = samples.reshape(blocks, size)
    mean = np.einsum("ij,ij->i", rows, rows) / (size * _FULL_SCALE**2)
    lowest = 10.0 ** (SILENCE / 10)
    levels: list[float] = (10 * np.log10(np.maximum(mean, lowest))).tolist()
    return [round(level) for level in levels]


@dataclass(slots=True)
class LineMaker:
    """Turns the notes of one stream into lines, in their order."""

    text: bool
    """Whether words are written."""
    _opened: float | None = None
    """The clock at the first note."""
    _rate: int = 0
    _origin: int = 0
    """Where the stream's own audio begins, in samples."""
    _rest: bytes = b""
    """Audio that is too short for a value of its loudness."""

    def line(self, note: Note) -> Line:
        """Return the line of a note."""
        now, live, noted = note
        self._opened = now if self._opened is None else self._opened
        if isinstance(noted, AudioBlock | AudioTakenOver):
            self._rate = noted.rate
        if isinstance(noted, AudioTakenOver):
            self._origin = live
        kind, content = self._content(noted)
        at, clock = self._seconds(live), round(now - self._opened, 3)
        return {"kind": kind, "at": at, "clock": clock, **content}

    def _content(self, noted: object) -> tuple[str, Mapping[str, Any]]:
        match noted:
            case AudioBlock():
                return "audio", self._audio(noted)
            case Emit():
                return "final", self._final(noted)
            case ReportEvent(event):
                return "event", self._event(event)
            case SpeechStarted(at) | SpeechEnded(at):
                started = isinstance(noted, SpeechStarted)
                return "voice", {"started": started, "from": self._seconds(at)}
            case GiveUp(message):
                return "gave_up", {"message": message}
            case InputEnded():
                return "input_ended", {}
            case AudioTakenOver():
                return "taken_over", {}
            case RecordingEnded():
                return "ended", {}
        return self._of_connection(noted)

    def _of_connection(self, noted: object) -> tuple[str, Mapping[str, Any]]:
        match noted:
            case TextHeard(connection, kind, words):
                return "heard", {"connection": connection, "what": kind.value, "words": words}
            case OpenConnection(connection, provider, start, language, role):
                of = {"provider": provider, "role": role.value, "language": language}
                return "opened", {"connection": connection, "from": self._seconds(start), **of}
            case CloseConnection(connection):
                return "closed", {"connection": connection}
            case SendSilence(connection, seconds):
                return "silence", {"connection": connection, "seconds": round(seconds, 3)}
            case SetServing(provider, connection):
                return "serving", {"connection": connection, "provider": provider}
            case ConnectionFailed() | ConnectionEnded():
                return "failed", _failure(noted)
        raise AssertionError(f"nothing is known of {noted!r}")

    def _seconds(self, samples: int) -> float:
        return round((samples - self._origin) / self._rate, 3) if self._rate else 0.0

    def _shifted(self, seconds: float | None) -> float | None:
        """Convert seconds of the engine's audio to seconds of the stream's own."""
        if seconds is None:
            return None
        return round(seconds - (self._origin / self._rate if self._rate else 0.0), 3)

    def _audio(self, block: AudioBlock) -> Mapping[str, Any]:
        sent = {str(c): [self._seconds(a), self._seconds(b)] for c, a, b in block.sent}
        content: Line = {"sent": sent} if sent else {}
        if block.data:
            size = max(1, round(LOUDNESS_STEP * block.rate))
            data = self._rest + block.data
            whole = len(data) // (2 * size) * 2 * size
            self._rest = data[whole:]
            content["loudness"] = loudness(data, size)
            content["held"] = round(block.held / block.rate, 3)
        return content

    def _final(self, emit: Emit) -> Mapping[str, Any]:
        words = [
            # a recording without text has the lengths of the words
            [w.text if self.text else len(w.text), self._shifted(w.start), self._shifted(w.end)]
            for w in emit.words
        ]
        return {
            "provider": emit.provider,
            "start": self._shifted(emit.start),
            "end": self._shifted(emit.end),
            "language": emit.language,
            "text": emit.text.strip() if self.text else "",
            "words": words,
            "count": len(words) or len(emit.text.split()),
        }

    def _event(self, event: Event) -> Mapping[str, Any]:
        """The fields of an event, its positions in the stream's own audio.

        Its `at` is `event_at`: it may be earlier than the line, which is when it was reported.
        """
        fields: Line = _plain(asdict(event))
        for name in ("at", "replay_from", "start", "end"):
            if name in fields:
                fields[name] = self._shifted(fields[name])
        fields["event_at"] = fields.pop("at")
        return {"name": event.name, **fields}


def _failure(noted: ConnectionFailed | ConnectionEnded) -> Mapping[str, Any]:
    if isinstance(noted, ConnectionEnded):
        return {"connection": noted.connection, "reason": "", "detail": ""}
    of = {"reason": noted.kind.value, "detail": noted.detail}
    return {"connection": noted.connection, "closed_normally": noted.closed_normally, **of}


def _plain(value: Any) -> Any:
    """Return a value of an event as JSON has it: milliseconds, and strings where enums are."""
    match value:
        case dict():
            return {str(_plain(key)): _plain(content) for key, content in value.items()}
        case list() | tuple():
            return [_plain(content) for content in value]
        case StrEnum():
            return value.value
        case float():
            return round(value, 3)
    return value
