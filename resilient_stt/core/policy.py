"""Every constant that steers a decision, as small frozen objects with their defaults.

The defaults come from the design's research on LiveKit 1.8.9, Cartesia and Deepgram; where one was
changed by a measurement, the measurement stands beside it. All durations are seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields


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

    connect_timeout: float = 1.5
    """Handed to each leg as `conn_options.timeout`: a handshake that hangs longer has failed."""
    reopenings: int = 3
    """Reopenings of one provider that may be spent before they are earned back."""
    refill_after: float = 5.0
    """Working time of one connection that earns a reopening back."""
    outage_limit: float = 60.0
    """With no provider working for so long, the stream raises `APIConnectionError`."""
    wait_min: float = 0.1
    wait_max: float = 2.0
    """Bounds of the jittered exponential waits in an outage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy(_Checked):
    """When a provider is left alone."""

    failures: int = 3
    """Failures in a row, within `window`, that open the breaker."""
    window: float = 30.0
    open_for: float = 5.0
    open_max: float = 300.0
    """First and longest time a breaker stays open; doubles in between."""
    forgive_after: float = 60.0
    """Healthy time that takes one doubling back."""
    locked_for: float = 300.0
    """Time between two attempts with credentials that were refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPolicy(_Checked):
    """What is kept for a replay, and how it is sent."""

    window: float = 60.0
    """Audio kept for replay; older unsettled speech is reported lost."""
    lookback: float = 2.0
    """Settled audio kept before the watermark: two words must fit, so that a replay can begin
    before a whole one."""
    hold_back: float = 0.5
    """The newest silence is never cut: speech begins before a voice detector says so."""
    cut_above: float = 0.4
    cut_to: float = 0.3
    """Unsettled silence longer than the first is cut to the second inside a replay."""
    rest_owes: float = 0.5
    """Voiced audio left in a speech segment after a final that still owes words."""
    segment_owes: float = 0.25
    """Voiced audio of a speech segment of its own that owes words ("no" is a word)."""
    settle_grace: float = 2.0
    """Audio a leg must have heard after silence, or after voice too short to owe words, before that
    is settled: the final of a short last word may still be under way, or of a whisper that local
    voice activity missed, and a connection that drops meanwhile would lose it."""
    speaks_for: float = 6.0
    """Audio after a segment that makes any final without times speak for it: a provider may tell
    several segments in one final, and none of them takes so long."""
    tolerance: float = 0.3
    """Disagreement in seconds between two providers about when the same word was spoken."""

    def __post_init__(self) -> None:
        super(ReplayPolicy, self).__post_init__()
        if self.window < 1:
            # a frame that is longer than the window would be gone before it is sent
            raise ValueError("ReplayPolicy.window must be 1 s or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchdogPolicy(_Checked):
    """What silence from a leg means."""

    working_after: float = 5.0
    """A leg that lived so long was working, also if it had nothing to say."""
    drain_timeout: float = 3.0
    """After the end of input: silence for so long from a leg that should finish."""
    end_of_speech: float = 0.7
    """Silence after which speech that a dead leg announced is ended in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """All policies of one `ResilientSTT`."""

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
    replay: ReplayPolicy = field(default_factory=ReplayPolicy)
    watchdog: WatchdogPolicy = field(default_factory=WatchdogPolicy)


QUANTUM = 0.05
"""Seconds of audio that a replay sends at a time, at least: a frame as LiveKit's plugins cut it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace(_Checked):
    """How fast a provider takes audio: `burst` seconds at once, then `rate` times real time."""

    burst: float = 5.0
    rate: float = 1.5

    def __post_init__(self) -> None:
        super(Pace, self).__post_init__()
        if self.burst < QUANTUM or self.rate < 1:
            raise ValueError(
                f"Pace needs a burst of {QUANTUM} s or more and a rate of at least 1 x real time"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """What the decisions know of a provider."""

    name: str
    pace: Pace = field(default_factory=Pace)
