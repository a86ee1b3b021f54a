"""Typed public events: what the SDK decided, for logs, metrics and subscribers.

Subscribe by name, as with LiveKit's own events: `stt.on("switched", handler)`. No event carries an
API key or transcript text. `at` and every other position is seconds of session audio (0 = first
frame of the stream); durations are seconds. `stream_id` tells the streams of a process apart. The
enums are string enums: their members compare
equal to their values and serialize to JSON as them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Literal


class ErrorKind(StrEnum):
    """Why a connection failed, as far as a decision depends on it."""

    AUTH = "auth"
    """The credentials were refused."""
    QUOTA = "quota"
    """The account has no credit left."""
    RATE_LIMITED = "rate_limited"
    """The provider asks to come back later."""
    BAD_REQUEST = "bad_request"
    """The provider refused this stream's request; that does not count against its health."""
    CONNECT = "connect"
    """No connection could be made in time."""
    DROPPED = "dropped"
    """An open connection broke, ended too early, or was replaced by the plugin itself."""
    STALLED = "stalled"
    """An open connection gave no transcript where one was due (see `StallReason`)."""
    SERVER = "server"
    """The provider reported an error of its own."""
    PROTOCOL = "protocol"
    """The provider sent something that is not its protocol."""


class StallReason(StrEnum):
    """Which missing transcript made an open connection suspect."""

    NO_INTERIM = "no_interim"
    """Somebody speaks, and no interim transcript comes."""
    FINAL_OVERDUE = "final_overdue"
    """Speech has ended or a flush was sent, and no final came in time."""
    NO_TEXT = "no_text"
    """Long speech without any text, from a provider that gives finals only."""
    EMPTY_FINALS = "empty_finals"
    """Finals without text while somebody speaks."""
    MISSING_TAIL = "missing_tail"
    """The connection ended cleanly, without words for the last of the speech."""
    SKIPPED_SPEECH = "skipped_speech"
    """A final left out speech before its first word."""


class HedgeOutcome(StrEnum):
    """How a hedge ended."""

    PROMOTED = "promoted"
    """The hedge has words where the suspect connection has none, and takes over."""
    PRIMARY_RECOVERED = "primary_recovered"
    """The suspect connection answered after all."""
    NO_SPEECH = "no_speech"
    """The hedge has no words either: it was noise."""


class SwitchReason(StrEnum):
    """Why a stream left a connection that had not failed."""

    FAILBACK = "failback"
    """At a turn boundary: a preferred provider has recovered."""
    SLOW = "slow"
    """Between two words: the provider's finals came too late."""
    LOCKED = "locked"
    """At a turn boundary: an operator locked the provider."""
    OPTIONS_CHANGED = "options_changed"
    """`update_options` changed the provider's own options."""
    LANGUAGE = "language"
    """Another language is spoken (see `LanguageRouted`)."""


class AudioLossReason(StrEnum):
    """Why speech has no transcript and never will have one."""

    WINDOW_EXCEEDED = "window_exceeded"
    """It is older than the replay window (`ReplayPolicy.window`)."""
    FINAL_SKIPPED = "final_skipped"
    """A final left out words of its interim transcripts, and no other provider could be asked."""
    UNANSWERED = "unanswered"
    """No provider gave a word for so much voice that it can hardly be noise."""
    STREAM_ENDED = "stream_ended"
    """The stream ended, or gave up, before any provider had transcribed it, and no later stream
    could."""


class LanguageReason(StrEnum):
    """What changed the language of a stream."""

    REQUESTED = "requested"
    """The caller named it in `update_options`."""
    CONSECUTIVE_FINALS = "consecutive_finals"
    """A provider reported it in several finals in a row."""
    LONG_FINAL = "long_final"
    """A provider reported it in one long final."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfStream:
    """What every event has: where in which stream it happened."""

    at: float
    """Seconds of the stream's audio."""
    stream_id: str = field(default="", compare=False)
    """`ResilientStream.id`; empty for `recognize()`. The decision core leaves it to the shell, and
    two events that say the same of two streams are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched(OfStream):
    """Another connection serves the stream from now on.

    `to_provider` equals `from_provider` where the same provider was reopened. `reason` is the kind
    of failure, or why a connection was left that had not failed. The audio from `replay_from` on is
    sent again.
    """

    name: ClassVar[Literal["switched"]] = "switched"
    from_provider: str
    to_provider: str
    reason: ErrorKind | SwitchReason
    replay_from: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed(OfStream):
    """A new connection has caught up with the live audio and given text.

    It was sent `seconds` of buffered audio in its first `duration` seconds; `silence_trimmed`
    seconds of silence were left out.
    """

    name: ClassVar[Literal["replayed"]] = "replayed"
    provider: str
    seconds: float
    silence_trimmed: float
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioLost(OfStream):
    """`seconds` of speech have no transcript and will not get one; `reason` says why."""

    name: ClassVar[Literal["audio_lost"]] = "audio_lost"
    seconds: float
    reason: AudioLossReason


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFailed(OfStream):
    """A connection to `provider` failed, in whatever role.

    `detail` names the kind of exception or is a short text; it never quotes the exception.
    `trigger` is set where a stall is the reason. `advice` tells the user what to do, where that is
    known.
    """

    name: ClassVar[Literal["provider_failed"]] = "provider_failed"
    provider: str
    reason: ErrorKind
    detail: str = ""
    trigger: StallReason | None = None
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageStarted(OfStream):
    """No provider works: all have failed, or nobody gives words although there is voice.

    Audio is buffered, and every provider that is not locked is tried.
    """

    name: ClassVar[Literal["outage_started"]] = "outage_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageEnded(OfStream):
    """`provider` works again; the outage lasted `duration` seconds."""

    name: ClassVar[Literal["outage_ended"]] = "outage_ended"
    provider: str
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeFinished(OfStream):
    """A connection to `provider` was suspect, and `hedge_provider` was sent the same audio.

    `trigger` is what made it suspect; `None` if it answered after all. `hedge_provider` was sent
    `seconds` of audio.
    """

    name: ClassVar[Literal["hedge_finished"]] = "hedge_finished"
    provider: str
    hedge_provider: str
    trigger: StallReason | None
    outcome: HedgeOutcome
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRecovered(OfStream):
    """Background probes have shown that a provider that had failed transcribes again."""

    name: ClassVar[Literal["provider_recovered"]] = "provider_recovered"
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageRouted(OfStream):
    """Another language is spoken from now on.

    `route` is the key of its route; `providers` serve it, in order of preference. Languages are
    BCP 47 tags, empty where none is known.
    """

    name: ClassVar[Literal["language_routed"]] = "language_routed"
    from_language: str
    language: str
    route: str
    providers: tuple[str, ...]
    reason: LanguageReason


Event = (
    Switched
    | Replayed
    | AudioLost
    | ProviderFailed
    | OutageStarted
    | OutageEnded
    | HedgeFinished
    | ProviderRecovered
    | LanguageRouted
)
