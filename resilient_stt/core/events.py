"""Typed public events: what the SDK decided (`Decision`), and what that was made of (`Detail`).

Logs, metrics and traces are made of them. Subscribe by name, as with LiveKit's own events:
`stt.on("switched", handler)`. No event carries an API key or transcript text. `at` and every other
position is seconds of session audio (0 = first frame of the stream); durations are seconds.
`stream_id` tells the streams of a process apart. The enums are string enums: their members compare
equal to their values and serialize to JSON as them.
"""

from __future__ import annotations

from collections.abc import Mapping
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


class Role(StrEnum):
    """What a connection is for."""

    ACTIVE = "active"
    """Its transcripts are emitted."""
    HEDGE = "hedge"
    """It is sent the audio of a silent active connection, to find out whether there are words. Its
    transcripts are held until it is promoted."""
    RECONNECT = "reconnect"
    """It is tried in an outage, perhaps beside others; the first with words is promoted."""
    PROBE = "probe"
    """It tests a provider that recovers; its transcripts are never emitted."""


class BreakerState(StrEnum):
    """Whether a provider gets traffic (closed), probes (half-open), or nothing (open, locked)."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    LOCKED = "locked"


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


class CloseReason(StrEnum):
    """Why a connection was closed that had not failed, and was not left for another one."""

    IDLE = "idle"
    """Its provider closed it while no transcript was due. This is not a failure."""
    REFUSED = "refused"
    """Its provider refused it because another connection of this process is open or closing."""
    RENEWED = "renewed"
    """It is opened anew: its plugin was about to reconnect, or has."""
    NOT_NEEDED = "not_needed"
    """Another connection serves the stream, or what it was to show is known."""
    STREAM_ENDED = "stream_ended"
    """The stream has ended."""


class StreamEndReason(StrEnum):
    """Why a stream has ended."""

    FINISHED = "finished"
    """Its input had ended, and everything was emitted or reported as lost."""
    GAVE_UP = "gave_up"
    """It raised `APIConnectionError`."""
    CLOSED = "closed"
    """The caller closed it: `aclose()`, or its task was cancelled."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class OfConnection(OfStream):
    """What every event about one connection has."""

    provider: str
    connection: int
    """Its number in the stream, from 0 on."""
    role: Role
    """What it is for at that moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOpened(OfConnection):
    """A connection is being opened. It will be sent the audio from `replay_from` on.

    `language` is the BCP 47 tag that it asks for; empty if the provider uses its own.
    """

    name: ClassVar[Literal["connection_opened"]] = "connection_opened"
    replay_from: float
    language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionEstablished(OfConnection):
    """A connection works as far as one can see: its plugin takes audio, or has given an event.

    That was `duration` seconds after it was opened, waits for its first audio included.
    """

    name: ClassVar[Literal["connection_established"]] = "connection_established"
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionPromoted(OfConnection):
    """A connection serves the stream from now on that was opened for another role, `from_role`."""

    name: ClassVar[Literal["connection_promoted"]] = "connection_promoted"
    from_role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionClosed(OfConnection):
    """A connection is closed, `duration` seconds after it was opened.

    `reason` is the kind of its failure, why the stream left it for another one, or why it was not
    needed any more. It was sent `seconds` of audio, in all its roles.
    """

    name: ClassVar[Literal["connection_closed"]] = "connection_closed"
    reason: ErrorKind | SwitchReason | CloseReason
    seconds: float
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StallSuspected(OfConnection):
    """The active connection gives no transcript where one is due; `trigger` says which.

    It is not left yet: another provider is asked. `StallCleared` follows, or the connection is
    closed.
    """

    name: ClassVar[Literal["stall_suspected"]] = "stall_suspected"
    trigger: StallReason


@dataclass(frozen=True, slots=True, kw_only=True)
class StallCleared(OfConnection):
    """The active connection is not suspect any more, after `duration` seconds, and stays.

    `trigger` is that of `StallSuspected`.
    """

    name: ClassVar[Literal["stall_cleared"]] = "stall_cleared"
    trigger: StallReason
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePassed(OfConnection):
    """A probe gave a final with words, `duration` seconds after it was opened.

    `BreakerPolicy.success_threshold` of them in a row bring `ProviderRecovered`.
    """

    name: ClassVar[Literal["probe_passed"]] = "probe_passed"
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFailed(OfConnection):
    """A probe failed, `duration` seconds after it was opened: the provider does not work yet.

    A probe that shows neither is only closed.
    """

    name: ClassVar[Literal["probe_failed"]] = "probe_failed"
    reason: ErrorKind
    detail: str = ""
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChanged(OfStream):
    """The circuit breaker of `provider` is in another state than this stream knew.

    A breaker is shared by the streams of a process, perhaps of a fleet, and each stream reports the
    change with the next input that is not audio. A stream begins with all breakers closed.
    """

    name: ClassVar[Literal["breaker_changed"]] = "breaker_changed"
    provider: str
    from_state: BreakerState
    state: BreakerState
    by_operator: bool = False
    """Whether it is locked because an operator has locked the provider, such as for its
    maintenance. Otherwise, one that is locked has refused the account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalEmitted(OfStream):
    """A final transcript of `words` words was emitted; the event does not say which.

    `start` and `end` are session seconds, `None` where the provider gave no time. `lateness` is how
    many seconds after the end of its last word it came, on the clock of the audio; `None` where
    that is not known.
    """

    name: ClassVar[Literal["final_emitted"]] = "final_emitted"
    provider: str
    connection: int
    words: int
    start: float | None = None
    end: float | None = None
    lateness: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioSent:
    """`seconds` of audio that connections to a provider were sent in a role: what is paid for."""

    provider: str
    role: Role
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchCount:
    """How often a stream switched from one provider to another for a reason."""

    from_provider: str
    to_provider: str
    reason: ErrorKind | SwitchReason
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    """How many seconds after their last word the finals of a stream came; 0 if none has.

    `count` is of the finals of which that is known.
    """

    p50: float = 0.0
    p99: float = 0.0
    worst: float = 0.0
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEnded(OfStream):
    """A stream has ended: its accounts. It is the last event of a stream.

    Only of one that gave up `AudioLost` may follow, for what it left to a next stream that did not
    come; here that is `buffered`.

    To the sample, `pushed` = `final` + `silence` + `lost` + `buffered`. All are seconds of audio.
    """

    name: ClassVar[Literal["stream_ended"]] = "stream_ended"
    reason: StreamEndReason
    pushed: float
    """What the stream was given, with what it took over."""
    taken_over: float = 0.0
    """What an earlier stream left of it when it gave up (`ReplayPolicy.handover_window`)."""
    final: float
    """What finals cover, with the short pauses in it."""
    silence: float
    """What holds no words, by local voice activity or because no provider found any."""
    lost: float
    """What was reported in `AudioLost`, unless a late final covered it after all."""
    buffered: float
    """What was pending at the end: the next stream may take it over, or nobody waited for it."""
    replayed: float
    """What serving connections were sent before they had caught up with the live audio."""
    hedged: float
    """What hedges were sent."""
    probed: float
    """What probes were sent."""
    sent: tuple[AudioSent, ...]
    """What all connections were sent, by provider and role."""
    words: Mapping[str, int] = field(hash=False)
    """Words in finals, by provider."""
    switches: tuple[SwitchCount, ...]
    lateness: Lateness


Decision = (
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
"""What was decided, and matters to whoever runs the agent. In most calls there is none."""

Detail = (
    ConnectionOpened
    | ConnectionEstablished
    | ConnectionPromoted
    | ConnectionClosed
    | StallSuspected
    | StallCleared
    | ProbePassed
    | ProbeFailed
    | BreakerChanged
    | FinalEmitted
    | StreamEnded
)
"""What makes the record of a call complete: connections, doubts, health, finals and accounts."""

Event = Decision | Detail
