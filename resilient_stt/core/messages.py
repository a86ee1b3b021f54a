"""What happened: one frozen dataclass per thing. Positions are samples of session audio."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .events import ErrorKind, Event, StallReason

ACCOUNT_ERRORS = (ErrorKind.AUTH, ErrorKind.QUOTA)
"""What only the account's owner can mend."""


class EventKind(StrEnum):
    """What a leg said. The values are those of LiveKit's `SpeechEventType`."""

    START = "start_of_speech"
    INTERIM = "interim_transcript"
    PREFLIGHT = "preflight_transcript"
    FINAL = "final_transcript"
    END = "end_of_speech"
    USAGE = "recognition_usage"


@dataclass(frozen=True, slots=True)
class Word:
    """A word and its times in seconds: of leg audio in an input, of session audio in a command."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class TranscriptEvent:
    """One event of a leg. Times are seconds of the leg's own audio; `None` where it gave none.

    `source` is the provider's own event, carried along for the shell and never looked at.
    """

    kind: EventKind
    text: str = ""
    words: tuple[Word, ...] = ()
    start: float | None = None
    end: float | None = None
    language: str = ""
    source: object = None


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The stream has begun."""


@dataclass(frozen=True, slots=True)
class AudioPushed:
    """The next `samples` samples of session audio, at `rate` Hz."""

    samples: int
    rate: int


@dataclass(frozen=True, slots=True)
class FlushRequested:
    """The user asked for finals of what was pushed so far."""


@dataclass(frozen=True, slots=True)
class InputEnded:
    """No more audio will come."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Local voice activity began at sample `at`."""

    at: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Local voice activity ended at sample `at`: nothing voiced from there to here."""

    at: int


@dataclass(frozen=True, slots=True)
class VoiceActivityLost:
    """Local voice activity is off from here on: open speech ends, and all audio may be speech."""


@dataclass(frozen=True, slots=True)
class OptionsChanged:
    """A provider takes other options from now on: its plugin reconnects streams that are open.

    A stream's clock would begin anew in the middle, and the audio in flight would be gone.
    """

    provider: str


@dataclass(frozen=True, slots=True)
class LanguageChanged:
    """The caller says that another language is spoken from now on; empty: nobody knows which."""

    language: str


@dataclass(frozen=True, slots=True)
class ProviderEvent:
    """A leg's stream gave an event."""

    connection: int
    event: TranscriptEvent


@dataclass(frozen=True, slots=True)
class ConnectionFailed:
    """A connection's stream raised.

    `backoff`: seconds that the retry strategy drew, should a wait be needed. `trigger`: why the
    engine itself takes an open connection for failed.
    """

    connection: int
    kind: ErrorKind
    detail: str = ""
    retry_after: float | None = None
    backoff: float = 0.0
    trigger: StallReason | None = None


@dataclass(frozen=True, slots=True)
class ConnectionEnded:
    """A leg's stream ended without an error. `backoff` as in `ConnectionFailed`."""

    connection: int
    backoff: float = 0.0


@dataclass(frozen=True, slots=True)
class DeadlineReached:
    """The deadline that the session had asked for has come."""

    backoff: float = 0.0


AudioInput = AudioPushed | FlushRequested | InputEnded | SpeechStarted | SpeechEnded
"""What happens to the stream's audio: the caller pushes it, the voice detector listens to it."""

ConnectionInput = ProviderEvent | ConnectionFailed | ConnectionEnded
"""What the stream of one connection does."""

Input = (
    StreamOpened
    | AudioInput
    | VoiceActivityLost
    | OptionsChanged
    | LanguageChanged
    | ConnectionInput
    | DeadlineReached
)


# --- commands


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
