"""What the engine takes and gives: one frozen dataclass for each input, and for each command.

Positions are samples of the session's audio, counted from its first frame. Times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .events import ErrorKind, Event, Role, StallReason

ACCOUNT_ERRORS = (ErrorKind.AUTH, ErrorKind.QUOTA)
"""Failures that only the owner of the account can mend."""


class EventKind(StrEnum):
    """The kind of a provider's event. The values are those of LiveKit's `SpeechEventType`."""

    START = "start_of_speech"
    INTERIM = "interim_transcript"
    PREFLIGHT = "preflight_transcript"
    FINAL = "final_transcript"
    END = "end_of_speech"
    USAGE = "recognition_usage"


@dataclass(frozen=True, slots=True)
class Word:
    """A word and its times.

    In an input they are seconds of the audio that its connection was sent, in a command seconds of
    session audio.
    """

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class TranscriptEvent:
    """An event of a provider.

    Times are seconds of the audio that its connection was sent; `None` where it gave none. Those of
    the speech are what LiveKit's `SpeechEvent` has beside the transcript's, for the turn.
    `source` is the provider's own event; the core passes it on to the shell, and never looks at it.
    """

    kind: EventKind
    text: str = ""
    words: tuple[Word, ...] = ()
    start: float | None = None
    end: float | None = None
    language: str = ""
    source: object = None
    speech_start: float | None = None
    speech_end: float | None = None


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The stream begins. It must be the first input, and come once."""


@dataclass(frozen=True, slots=True)
class AudioPushed:
    """The caller pushed the next `samples` samples of session audio, at `rate` Hz."""

    samples: int
    rate: int


@dataclass(frozen=True, slots=True)
class FlushRequested:
    """The caller asked for finals of the audio that was pushed so far."""


@dataclass(frozen=True, slots=True)
class InputEnded:
    """The caller pushes no more audio."""


@dataclass(frozen=True, slots=True)
class VoiceSound:
    """The loudness of a stretch of voice, measured in windows of about 30 ms.

    Somebody who speaks alone is nearly silent between syllables, so that the level changes by some
    15 dB. Of several voices at once, of an engine or of music, it changes by 6 to 10 dB. A cough is
    loud and then over: 18 to 24 dB. (Measured on the recordings and noises of the kit.)
    """

    level: float
    """The mean level in dB, relative to a 16-bit sample of 1."""
    spread: float
    """The standard deviation of the level in dB."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Local voice activity began at sample `at`."""

    at: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Local voice activity ended at sample `at`; there was no voice from there to the live edge."""

    at: int
    sound: VoiceSound | None = None
    """How it sounded; `None` if that was not measured."""


@dataclass(frozen=True, slots=True)
class VoiceActivityLost:
    """Local voice activity is off from here on: open speech ends, and all audio may be speech."""


@dataclass(frozen=True, slots=True)
class OptionsChanged:
    """A provider has other options from now on, for which its plugin reconnects open streams.

    The clock of such a stream would begin anew in its middle, and lose the audio in flight.
    """

    provider: str


@dataclass(frozen=True, slots=True)
class LanguageChanged:
    """The caller said which language is spoken from now on; empty if it is not known."""

    language: str


@dataclass(frozen=True, slots=True)
class ProviderEvent:
    """The stream of a connection gave an event."""

    connection: int
    event: TranscriptEvent


@dataclass(frozen=True, slots=True)
class ConnectionFailed:
    """The stream of a connection raised an exception.

    `backoff`: seconds that the retry strategy drew, should a wait be needed. `trigger`: why the
    engine itself takes an open connection for failed. `closed_normally`: the provider closed it
    without an error, or because it was idle. `status`: the HTTP status, 0 if there was none.
    `other_closing`: beside it, another connection of ours to the same provider was still closing.
    `refused_language`: the tag that the plugin does not take, if that is the reason.
    """

    connection: int
    kind: ErrorKind
    detail: str = ""
    retry_after: float | None = None
    backoff: float = 0.0
    trigger: StallReason | None = None
    closed_normally: bool = False
    status: int = 0
    other_closing: bool = False
    refused_language: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionEnded:
    """The stream of a connection ended without an error. `backoff` is as in `ConnectionFailed`."""

    connection: int
    backoff: float = 0.0


@dataclass(frozen=True, slots=True)
class PluginReconnected:
    """The plugin has given the stream of a connection another socket, or is about to.

    Its clock begins anew in the middle, and the audio in flight is lost. `backoff` is as in
    `ConnectionFailed`.
    """

    connection: int
    backoff: float = 0.0


@dataclass(frozen=True, slots=True)
class AudioQueued:
    """`seconds` of the audio that a connection was sent wait in its plugin, for a slow peer.

    Reported for every second of audio that it is sent while much of it waits. `backoff` is as in
    `ConnectionFailed`.
    """

    connection: int
    seconds: float
    backoff: float = 0.0


@dataclass(frozen=True, slots=True)
class AudioUntaken:
    """The plugin has taken none of the audio that a connection was sent.

    Plugins take audio when they are connected. Reported again and again, from 1 s after the first
    audio on, until it has. `backoff` is as in `ConnectionFailed`.
    """

    connection: int
    backoff: float = 0.0


@dataclass(frozen=True, slots=True)
class AudioTaken:
    """The plugin has begun to take the audio that a connection was sent: it is connected."""

    connection: int


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """The caller has closed the stream: nobody listens any more.

    After `Finish` or `GiveUp` it does nothing.
    """


@dataclass(frozen=True, slots=True)
class DeadlineReached:
    """The time that `FailoverEngine.deadline` named has come.

    `backoff` is as in `ConnectionFailed`.
    """

    backoff: float = 0.0


AudioInput = AudioPushed | FlushRequested | InputEnded | SpeechStarted | SpeechEnded
"""What happens to the stream's audio: the caller pushes it, the voice detector listens to it."""

ConnectionInput = (
    ProviderEvent
    | ConnectionFailed
    | ConnectionEnded
    | PluginReconnected
    | AudioQueued
    | AudioUntaken
    | AudioTaken
)
"""What the stream of one connection does."""

Input = (
    StreamOpened
    | AudioInput
    | VoiceActivityLost
    | OptionsChanged
    | LanguageChanged
    | ConnectionInput
    | DeadlineReached
    | StreamClosed
)


# --- commands


@dataclass(frozen=True, slots=True)
class OpenConnection:
    """Open a stream on `provider`, for `role`; its first sample will be session sample `start`.

    `language`: the tag that the provider is given; empty if it uses its own.
    """

    connection: int
    provider: str
    start: int
    language: str = ""
    role: Role = Role.ACTIVE


@dataclass(frozen=True, slots=True)
class SendAudio:
    """Send session samples `start` to `end` to a connection."""

    connection: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class FlushConnection:
    """Flush a connection: ask it for finals of what it was sent."""

    connection: int


@dataclass(frozen=True, slots=True)
class SendSilence:
    """Send so many seconds of silence to a connection, behind the last of the session's audio."""

    connection: int
    seconds: float


@dataclass(frozen=True, slots=True)
class EndInput:
    """Tell a connection that no more audio comes."""

    connection: int


@dataclass(frozen=True, slots=True)
class CloseConnection:
    """Close a connection. Whatever its stream still gives has no effect."""

    connection: int


@dataclass(frozen=True, slots=True)
class ReleaseAudio:
    """Forget audio before this session sample, but for what is `kept`: it will not be sent again.

    `kept`: where the last committed words begin and end; `None` if there are none.
    """

    before: int
    kept: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Emit:
    """Give the consumer an event. Times are seconds of session audio; `None` where unknown.

    `source` is the provider's event that it was made of; `None` for an event that the engine adds.
    `provider` is the name of the provider that a text comes from. `language` is the stream's tag
    for its language. `speech_start` and `speech_end` are those of LiveKit's `SpeechEvent`.
    """

    kind: EventKind
    text: str = ""
    words: tuple[Word, ...] = ()
    start: float | None = None
    end: float | None = None
    source: object = None
    provider: str = ""
    language: str = ""
    speech_start: float | None = None
    speech_end: float | None = None


@dataclass(frozen=True, slots=True)
class SetServing:
    """Note that a connection to `provider` serves the stream from now on."""

    provider: str
    connection: int


@dataclass(frozen=True, slots=True)
class ReportAvailability:
    """Report that a provider's availability changed, with LiveKit's event for that."""

    provider: str
    available: bool


@dataclass(frozen=True, slots=True)
class ReportEvent:
    """Report a public event."""

    event: Event


@dataclass(frozen=True, slots=True)
class Finish:
    """End the stream: everything was emitted."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Raise `APIConnectionError`: no provider worked for as long as `RetryPolicy.outage_limit`.

    `reasons`: why each provider failed last; empty if none has said. What is still pending by then
    may be taken over by another stream (`FailoverEngine.handover`), or is lost.
    """

    message: str
    reasons: str = ""


Command = (
    OpenConnection
    | SendAudio
    | FlushConnection
    | SendSilence
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
