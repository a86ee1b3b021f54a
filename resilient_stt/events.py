"""Typed public events: what the SDK decided, for logs, metrics and whoever subscribes.

Subscribe by name, as with LiveKit's own events: `stt.on("switched", handler)`. None of them carries
an API key or transcript text. `at` and every other position is seconds of session audio (0 = first
frame of the stream); durations are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """Another leg serves the stream from now on; `provider` may be the one that failed, reopened.

    `reason` is the `ErrorKind` value of the failure, or `options_changed`. The audio from
    `replay_from` on is replayed.
    """

    name: ClassVar[Literal["switched"]] = "switched"
    at: float
    from_provider: str
    to_provider: str
    reason: str
    replay_from: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A new leg has caught up and given text: it was sent `seconds` of buffered audio in its first
    `took` seconds, `cut` seconds of silence left out."""

    name: ClassVar[Literal["replayed"]] = "replayed"
    at: float
    provider: str
    seconds: float
    cut: float
    took: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioLost:
    """`seconds` of unsettled speech were older than the replay window and are gone."""

    name: ClassVar[Literal["audio_lost"]] = "audio_lost"
    at: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFailed:
    """A leg on `provider` failed. `detail` names the kind of exception, never its text."""

    name: ClassVar[Literal["provider_failed"]] = "provider_failed"
    at: float
    provider: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Degraded:
    """No provider works; audio is buffered and all that are not locked are tried."""

    name: ClassVar[Literal["degraded"]] = "degraded"
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A provider answers again, `after` seconds of outage."""

    name: ClassVar[Literal["restored"]] = "restored"
    at: float
    provider: str
    after: float


Event = Switched | Replayed | AudioLost | ProviderFailed | Degraded | Restored
