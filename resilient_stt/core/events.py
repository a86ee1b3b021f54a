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

    `reason` is the `ErrorKind` value of the failure, `options_changed` or `language` (see
    `LanguageRouted`); at a turn boundary `failback` (a preferred provider has recovered), between
    two words `slow` (finals came too late). The audio from `replay_from` on is replayed.
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
    silence_trimmed: float
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioLost:
    """`seconds` of unsettled speech are gone: older than the replay window; or passed over by a
    final that left out what interim transcripts had told, while nobody else could be asked."""

    name: ClassVar[Literal["audio_lost"]] = "audio_lost"
    at: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFailed:
    """A leg on `provider` failed, whatever it was for. `detail` names the kind of exception or the
    sign of silence, never the exception's text; `advice` says what to do, where that is known."""

    name: ClassVar[Literal["provider_failed"]] = "provider_failed"
    at: float
    provider: str
    reason: str
    detail: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageStarted:
    """No provider works; audio is buffered and all that are not locked are tried."""

    name: ClassVar[Literal["outage_started"]] = "outage_started"
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageEnded:
    """A provider answers again, `after` seconds of outage."""

    name: ClassVar[Literal["outage_ended"]] = "outage_ended"
    at: float
    provider: str
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeFinished:
    """A silent leg on `provider` was doubted, and `asked` was given the same audio.

    `verdict`: `convicted` (`asked` heard words, and takes over), `answered` (the doubted one did,
    after all), `noise` (nobody heard any). `sign`: what made it suspect, `no_sign_of_life`,
    `final_overdue`, `no_text`, `empty_finals`, `words_missing` (it ended without words for what was
    heard locally) or `words_skipped` (a final passed over words); empty if it answered. `seconds`
    of audio were given to `asked`.
    """

    name: ClassVar[Literal["hedge_finished"]] = "hedge_finished"
    at: float
    provider: str
    hedge_provider: str
    trigger: str
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRecovered:
    """A provider that had failed has proven in the background that it hears again."""

    name: ClassVar[Literal["provider_recovered"]] = "provider_recovered"
    at: float
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageRouted:
    """Another language is spoken from now on; `route` is the key of its route, `providers` who
    serves it in order of preference.

    `reason`: `asked` (by `update_options`), `finals_in_a_row` or `long_final` (a provider reported
    it). Languages are BCP 47 tags, empty where none is known.
    """

    name: ClassVar[Literal["language_routed"]] = "language_routed"
    at: float
    from_language: str
    language: str
    route: str
    providers: tuple[str, ...]
    reason: str


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
