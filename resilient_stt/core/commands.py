"""What to do: one frozen dataclass per order of the session to its shell, executed in order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..events import Event
from .inputs import EventKind, Word


class Role(StrEnum):
    """What a leg is for."""

    ACTIVE = "active"
    """Its text is emitted."""
    HEDGE = "hedge"
    """A second opinion on a silent active leg; its text is held back until the verdict."""
    RECONNECT = "reconnect"
    """One of those that are tried in an outage; the first that tells words becomes active."""
    PROBE = "probe"
    """The shadow of a recovering provider; its text is never emitted."""


@dataclass(frozen=True, slots=True)
class OpenConnection:
    """Open a stream on `provider`, for `role`; its first sample will be session sample `start`.

    `language`: a tag for it; empty if it is to use its own.
    """

    connection: int
    provider: str
    start: int
    language: str = ""
    role: Role = Role.ACTIVE


@dataclass(frozen=True, slots=True)
class SendAudio:
    """Send session samples `start` to `end` to a leg."""

    connection: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class FlushConnection:
    """Ask a leg for finals of what it was sent."""

    connection: int


@dataclass(frozen=True, slots=True)
class EndInput:
    """Tell a leg that no more audio will come."""

    connection: int


@dataclass(frozen=True, slots=True)
class CloseConnection:
    """Close a leg; nothing it still says counts."""

    connection: int


@dataclass(frozen=True, slots=True)
class ReleaseAudio:
    """Audio before this session sample will not be sent again."""

    before: int


@dataclass(frozen=True, slots=True)
class Emit:
    """Give the consumer an event. Times are seconds of session audio; `None` where unknown.

    `source` is the provider's event that it was made of; `None` for one that the session adds.
    `provider` is the name of who heard a text.
    """

    kind: EventKind
    text: str = ""
    words: tuple[Word, ...] = ()
    start: float | None = None
    end: float | None = None
    source: object = None
    provider: str = ""


@dataclass(frozen=True, slots=True)
class SetServing:
    """From now on a leg on `provider` serves the stream."""

    provider: str
    connection: int


@dataclass(frozen=True, slots=True)
class ReportAvailability:
    """A provider's availability changed, in the sense of LiveKit's event of that name."""

    provider: str
    available: bool


@dataclass(frozen=True, slots=True)
class ReportEvent:
    """Tell whoever listens."""

    event: Event


@dataclass(frozen=True, slots=True)
class Finish:
    """Everything is said: end the stream."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Nobody answered for the outage limit: raise `APIConnectionError`."""

    message: str


Command = (
    OpenConnection
    | SendAudio
    | FlushConnection
    | EndInput
    | CloseConnection
    | ReleaseAudio
    | Emit
    | SetServing
    | ReportAvailability
    | ReportEvent
    | Finish
    | GiveUp
)
