"""Every constant that steers a decision, as small frozen objects with their defaults.

The defaults come from the design's research on LiveKit 1.8.9, Cartesia and Deepgram; where one was
changed by a measurement, the measurement stands beside it. All durations are seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Annotated

Seconds = Annotated[float, "s"]
"""A duration; the configuration takes it with a unit, too."""


class _Checked:
    """Refuses negative and non-finite numbers in any field of a policy."""

    def __post_init__(self) -> None:
        for f in fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if not (isinstance(value, int | float) and math.isfinite(value) and value >= 0):
                raise ValueError(
                    f"{type(self).__name__}.{f.name} must be a number of 0 or more, got {value!r}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy(_Checked):
    """When a provider is reopened, and how long an outage is endured."""

    connect_timeout: Seconds = 1.5
    """Handed to each leg as `conn_options.timeout`: a handshake that hangs longer has failed."""
    reconnect_budget: int = 3
    """Reopenings of one provider that may be spent before they are earned back."""
    budget_refill_interval: Seconds = 5.0
    """Working time of one connection that earns a reopening back."""
    outage_limit: Seconds = 60.0
    """With no provider working for so long, the stream raises `APIConnectionError`."""
    wait_min: Seconds = 0.1
    wait_max: Seconds = 0.5
    """Bounds of the jittered exponential waits in an outage. Text has to come within 1 s after a
    provider is back: connecting takes up to 0.3 s, hearing 0.2 s, so that 2 s would be too long."""
    max_concurrent_attempts: int = 3
    """Connections that may be tried at once on one provider in an outage: one that hangs must not
    keep the next from being tried."""

    def __post_init__(self) -> None:
        super(RetryPolicy, self).__post_init__()
        if self.connect_timeout == 0:
            raise ValueError("RetryPolicy.connect_timeout must be more than 0, or nobody connects")
        if self.max_concurrent_attempts < 1:
            raise ValueError(
                "RetryPolicy.max_concurrent_attempts must be 1 or more, or no outage ends"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy(_Checked):
    """When a provider is left alone, and how it comes back."""

    consecutive_failures: int = 3
    """Failures in a row, within `window`, that open the breaker."""
    window: Seconds = 30.0
    minimum_calls: int = 5
    failure_rate_threshold: float = 0.5
    """Of at least so many outcomes within `window`, the share of failures that opens it."""
    success_interval: Seconds = 1.0
    """Text counts as one outcome in so long, however much of it comes from however many streams."""
    slow_call_threshold: int = 3
    """Finals in a row that were slow, which open it."""
    break_duration: Seconds = 5.0
    max_break_duration: Seconds = 300.0
    """First and longest time a breaker stays open; doubles in between."""
    jitter: float = 0.2
    """Share by which a breaker's own times are longer or shorter than another's."""
    max_retry_after: Seconds = 3600.0
    """Longest wait that is believed when a server asks for one: it is asked again by then."""
    backoff_reset_after: Seconds = 60.0
    """Healthy time that takes one doubling back."""
    auth_cooldown: Seconds = 300.0
    """Time between two attempts with credentials that were refused."""
    probe_timeout: Seconds = 15.0
    """Time a probe has; the next one waits for its verdict, or for so long."""
    success_threshold: int = 2
    """Probes in a row that must hear words in time to close it."""

    def __post_init__(self) -> None:
        super(BreakerPolicy, self).__post_init__()
        if self.jitter >= 1:
            raise ValueError("BreakerPolicy.jitter must be less than 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPolicy(_Checked):
    """What is kept for a replay, and how it is sent."""

    window: Seconds = 60.0
    """Audio kept for replay; older unsettled speech is reported lost."""
    lookback: Seconds = 2.0
    """Settled audio kept before the watermark: two words must fit, so that a replay can begin
    before a whole one."""
    hold_back: Seconds = 0.5
    """The newest silence is never cut: speech begins before a voice detector says so."""
    trim_silence_over: Seconds = 0.4
    trim_silence_to: Seconds = 0.3
    """Unsettled silence longer than the first is cut to the second inside a replay."""
    min_pending_remainder: Seconds = 0.5
    """Voiced audio left in a speech segment after a final that still owes words."""
    min_pending_speech: Seconds = 0.25
    """Voiced audio of a speech segment of its own that owes words ("no" is a word)."""
    commit_grace: Seconds = 2.0
    """Audio a leg must have heard after silence, or after voice too short to owe words, before that
    is settled: the final of a short last word may still be under way, or of a whisper that local
    voice activity missed, and a connection that drops meanwhile would lose it."""
    remainder_grace: Seconds = 10.0
    """The same after the rest of a segment that is long enough for a word, and too short to owe
    one: who has fallen silent there is found out by what is said next."""
    untimed_final_reach: Seconds = 6.0
    """Audio after a segment that makes any final without times speak for it: a provider may tell
    several segments in one final, and none of them takes so long."""
    word_time_tolerance: Seconds = 0.3
    """Disagreement in seconds between two providers about when the same word was spoken."""

    def __post_init__(self) -> None:
        super(ReplayPolicy, self).__post_init__()
        if self.window < 1:
            # a frame that is longer than the window would be gone before it is sent
            raise ValueError("ReplayPolicy.window must be 1 s or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchdogPolicy(_Checked):
    """What silence from a leg means, while local voice activity hears speech."""

    no_interim_timeout: Seconds = 2.5
    no_interim_p99_factor: float = 3.0
    """No text for the first, or for so many times the provider's own p99, whichever is longer, is
    no sign of life, where interim transcripts are expected."""
    min_speech_before_stall: Seconds = 0.8
    """Voiced audio without text, at least, before quiet means anything."""
    final_timeout: Seconds = 1.2
    final_p99_factor: float = 2.0
    """A final is overdue after the first, or after so many times the provider's own p99."""
    max_speech_without_text: Seconds = 15.0
    """Voiced audio without any text from a provider that gives finals only. A replay window that
    is shorter cannot tell."""
    empty_final_threshold: int = 3
    """Finals without text in a row, while speech is heard locally."""
    max_speech_in_empty_final: Seconds = 3.0
    """Voiced audio that even one such final must not deny: no cough is so long."""
    min_skipped_speech: Seconds = 1.5
    """Voiced audio that a final must not pass over: the one before it may be lost. People say "um"
    for less, and providers leave that out."""
    min_skipped_speech_with_interims: Seconds = 0.25
    """The same where interim transcripts had told words of it."""
    skipped_final_wait: Seconds = 4.0
    """How long such a final waits at most for a second opinion; where there were words in interim
    transcripts, for so much longer as two others take to hear all of it."""
    slow_final_threshold: Seconds = 3.0
    """A final that comes later than this is slow, whatever the provider's p99."""
    hedging: bool = True
    """Whether a silent leg gets a second opinion before it is convicted. Without, silence alone
    convicts, and noise can chase a call from provider to provider."""
    final_hedge_fraction: float = 0.5
    """Part of a final's deadline after which a healthy other provider is opened as a hedge."""
    no_interim_hedge_fraction: float = 0.7
    """The same without a sign of life: interim transcripts come once a second, and the first one
    later if its first word is long."""
    hedge_audio_share: float = 0.05
    """Of the audio of the last hour: how much may be given to second opinions in vain."""
    hedge_audio_allowance: Seconds = 60.0
    """Seconds of it that are always allowed: a process that has just begun has heard nothing yet of
    which to take a share, and must notice a second fault as fast as the first."""
    min_hedge_interval: Seconds = 30.0
    """Beyond that, one second opinion of a stream in so many seconds: none would leave it deaf."""
    max_deadline_multiplier: float = 8.0
    """Most times that noise stretches a stream's deadlines; the next final resets them."""
    flush_at_end_of_speech: bool = True
    """Flush providers that finalise late by themselves at the local end of speech."""
    working_after: Seconds = 5.0
    """A leg that lived so long was working, also if it had nothing to say."""
    connect_grace: Seconds = 0.5
    """Seconds beyond the connect timeout after which a leg that did not fail is connected."""
    drain_timeout: Seconds = 3.0
    """After the end of input: silence for so long from a leg that should finish."""
    end_of_speech_silence: Seconds = 0.7
    """Silence after which speech that a dead leg announced is ended in its place."""
    interim_word_jitter: Seconds = 0.1
    """By how much a provider moves a word from one interim transcript to the next."""
    max_interim_word_shift: Seconds = 0.5
    """By how much a provider moves a word at most between an interim transcript and the final. The
    same word further away is another one."""
    min_compared_words: int = 3
    """Words of a text without times that distinguish it from another text. In languages that are
    written without spaces it takes twice as many characters."""

    def __post_init__(self) -> None:
        super(WatchdogPolicy, self).__post_init__()
        if self.min_compared_words < 1:
            raise ValueError("WatchdogPolicy.min_compared_words must be 1 or more")
        if (
            self.max_deadline_multiplier < 1
            or max(
                self.final_hedge_fraction, self.no_interim_hedge_fraction, self.hedge_audio_share
            )
            > 1
        ):
            raise ValueError(
                "WatchdogPolicy: max_deadline_multiplier must be 1 or more, final_hedge_fraction, no_interim_hedge_fraction and "
                "hedge_audio_share at most 1"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FailbackPolicy(_Checked):
    """When a stream returns to a preferred provider that has recovered, at a turn boundary."""

    enabled: bool = True
    min_dwell: Seconds = 30.0
    """Time on the fallback, at least."""
    min_interval: Seconds = 120.0
    """Time between two returns, at least."""
    turn_silence: Seconds = 0.7
    """Local silence, with nothing unsettled, that makes a turn boundary."""
    drain_timeout: Seconds = 0.5
    """Time that the flushed old leg has for words that local voice activity missed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPolicy(_Checked):
    """When the language that providers report is believed."""

    consecutive_finals: int = 2
    """Finals in a row in another language, which change the route."""
    min_words: int = 6
    """Words of a final that changes it by itself."""
    max_hold: Seconds = 1.5
    """How long the final that reveals another language is held back at most, where the providers of
    that language are to tell the sentence again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """All policies of one `ResilientSTT`."""

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
    replay: ReplayPolicy = field(default_factory=ReplayPolicy)
    watchdog: WatchdogPolicy = field(default_factory=WatchdogPolicy)
    failback: FailbackPolicy = field(default_factory=FailbackPolicy)
    routing: RoutingPolicy = field(default_factory=RoutingPolicy)


MIN_CHUNK = 0.05
"""Seconds of audio that a replay sends at a time, at least: a frame as LiveKit's plugins cut it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace(_Checked):
    """How fast a provider takes audio: `burst` seconds at once, then `rate` times real time."""

    burst: Seconds = 5.0
    rate: float = 1.5

    def __post_init__(self) -> None:
        super(Pace, self).__post_init__()
        if self.burst < MIN_CHUNK or self.rate < 1:
            raise ValueError(
                f"Pace needs a burst of {MIN_CHUNK} s or more and a rate of at least 1 x real time"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderTraits:
    """What the decisions know of a provider."""

    name: str
    pace: Pace = field(default_factory=Pace)
    interim_results: bool = False
    """Gives interim transcripts: silence in mid-speech means something."""
    manual_flush: bool = False
    """A flush makes it answer with a final."""
    slow_endpointing: bool = False
    """Is flushed at the local end of speech, for it would wait long by itself."""
    final_timeout: Seconds = 1.2
    """Seconds after which a final is overdue, as long as its own p99 is not known."""
    end_of_turn_timeout: Seconds = 0.0
    """The same once interim transcripts have covered the speech: it decides itself when a turn is
    over, and may wait."""
    language_detection: bool = False
    """Reports which language it heard, and is left to find out by itself."""
    key_variable: str = ""
    """The environment variable that holds its key, for messages."""

    def language_hint(self, language: str) -> str:
        """The tag that it is told for a language: none, if it finds out by itself."""
        return "" if self.language_detection else language
