"""What is measured: names, units, labels. Prometheus and OpenTelemetry spell them in their ways.

`Instrument("audio_lost", "seconds", ...)` is `resilient_stt_audio_lost_seconds_total` in
Prometheus, and `resilient_stt.audio_lost` with the unit `s` in OpenTelemetry.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Kind(Enum):
    """How values of an instrument add up."""

    COUNTER = auto()
    """They are added, and never below zero."""
    UP_DOWN = auto()
    """They are added; the sum is that of all processes that live."""
    STATE = auto()
    """The newest counts, whichever process it is from."""
    HISTOGRAM = auto()
    """They are counted by size."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """One thing that is measured."""

    name: str
    """Without prefix and unit."""
    unit: str
    """`seconds`, or empty for a count."""
    kind: Kind
    description: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram, in its unit."""


_SHORT = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Connecting: from a socket in the same region to what a plugin allows itself."""
_LATE = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0)
"""Finals: from a good provider's to those after an outage and the end of the call."""
_LONG = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
"""Outages, up to `RetryPolicy.outage_limit`."""

STREAMS = Instrument(
    "streams", "", Kind.COUNTER, "Streams that have ended, by how they ended.", ("reason",)
)
SWITCHES = Instrument(
    "switches",
    "",
    Kind.COUNTER,
    "Switches from one connection to another, by provider and reason.",
    ("from_provider", "to_provider", "reason"),
)
FAILURES = Instrument(
    "provider_failures",
    "",
    Kind.COUNTER,
    "Failed connections that were reported, by provider and kind of failure.",
    ("provider", "reason"),
)
RECONNECTS = Instrument(
    "reconnects",
    "",
    Kind.COUNTER,
    "Connections that were opened again: to the same provider, or in an outage.",
    ("provider",),
)
OPEN_CONNECTIONS = Instrument(
    "open_connections", "", Kind.UP_DOWN, "Connections that are open.", ("provider", "role")
)
CONNECT_DURATION = Instrument(
    "connect_duration",
    "seconds",
    Kind.HISTOGRAM,
    "Time until a connection took its first audio.",
    ("provider",),
    _SHORT,
)
BREAKER_STATE = Instrument(
    "breaker_state",
    "",
    Kind.STATE,
    "1 for the state in which a provider's circuit breaker is, 0 for the others.",
    ("provider", "state"),
)
OPERATOR_LOCK = Instrument(
    "operator_lock",
    "",
    Kind.STATE,
    "1 while an operator has locked a provider, else 0. Its breaker is in the state `locked` then.",
    ("provider",),
)
OUTAGES = Instrument("outages", "", Kind.COUNTER, "Times in which no provider worked.")
OUTAGE_DURATION = Instrument(
    "outage_duration", "seconds", Kind.HISTOGRAM, "How long outages lasted that ended.", (), _LONG
)
STALLS = Instrument(
    "stalls",
    "",
    Kind.COUNTER,
    "Times an active connection was suspect, by provider and missing transcript.",
    ("provider", "trigger"),
)
HEDGES = Instrument(
    "hedges",
    "",
    Kind.COUNTER,
    "Hedges that ended, by both providers and outcome.",
    ("provider", "hedge_provider", "outcome"),
)
PROBES = Instrument(
    "probes", "", Kind.COUNTER, "Probes that passed or failed.", ("provider", "outcome")
)
RECOVERIES = Instrument(
    "provider_recoveries",
    "",
    Kind.COUNTER,
    "Providers that probes have shown to work again.",
    ("provider",),
)
FINAL_LATENESS = Instrument(
    "final_lateness",
    "seconds",
    Kind.HISTOGRAM,
    "Time from the end of a final transcript's last word until it was emitted.",
    ("provider",),
    _LATE,
)
DELAY_ADDED = Instrument(
    "failover_delay",
    "seconds",
    Kind.HISTOGRAM,
    "Lateness of the first final after a failure of the provider that served.",
    ("reason",),
    _LATE,
)
WORDS = Instrument("words", "", Kind.COUNTER, "Words in final transcripts.", ("provider",))
AUDIO_PUSHED = Instrument(
    "audio_pushed", "seconds", Kind.COUNTER, "Audio that streams were given, when they end."
)
AUDIO_SENT = Instrument(
    "audio_sent",
    "seconds",
    Kind.COUNTER,
    "Audio that providers were sent, by the role of the connection, when a stream ends.",
    ("provider", "role"),
)
AUDIO_REPLAYED = Instrument(
    "audio_replayed",
    "seconds",
    Kind.COUNTER,
    "Audio that new connections were sent to catch up, when a stream ends.",
)
AUDIO_HEDGED = Instrument(
    "audio_hedged", "seconds", Kind.COUNTER, "Audio that hedges were sent, when a stream ends."
)
AUDIO_LOST = Instrument(
    "audio_lost", "seconds", Kind.COUNTER, "Speech that was reported as lost.", ("reason",)
)
LANGUAGES = Instrument(
    "language_changes",
    "",
    Kind.COUNTER,
    "Changes of a stream's language, by the route of the new one.",
    ("route", "reason"),
)

ALL = (
    STREAMS,
    SWITCHES,
    FAILURES,
    RECONNECTS,
    OPEN_CONNECTIONS,
    CONNECT_DURATION,
    BREAKER_STATE,
    OPERATOR_LOCK,
    OUTAGES,
    OUTAGE_DURATION,
    STALLS,
    HEDGES,
    PROBES,
    RECOVERIES,
    FINAL_LATENESS,
    DELAY_ADDED,
    WORDS,
    AUDIO_PUSHED,
    AUDIO_SENT,
    AUDIO_REPLAYED,
    AUDIO_HEDGED,
    AUDIO_LOST,
    LANGUAGES,
)
"""Everything that is measured."""
