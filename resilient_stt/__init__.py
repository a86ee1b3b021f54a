"""Speech-to-text for LiveKit Agents that keeps transcribing while its providers fail."""

from .core.policy import (
    BreakerPolicy,
    FailbackPolicy,
    Pace,
    Policies,
    ReplayPolicy,
    RetryPolicy,
    RoutingPolicy,
    WatchdogPolicy,
)
from .errors import AudioFormatError, ConfigurationError, ResilientSTTError, StreamClosedError
from .events import (
    AudioLost,
    Event,
    HedgeFinished,
    LanguageRouted,
    OutageEnded,
    OutageStarted,
    ProviderFailed,
    ProviderRecovered,
    Replayed,
    Switched,
)
from .health import HealthStore, MemoryHealth, RedisHealth
from .speech import SpeechDetector, SpeechEdge
from .stream import ResilientStream
from .stt import ResilientSTT
from .usage import UsageMetadata

__all__ = [
    "AudioFormatError",
    "AudioLost",
    "BreakerPolicy",
    "ConfigurationError",
    "Event",
    "FailbackPolicy",
    "HealthStore",
    "HedgeFinished",
    "LanguageRouted",
    "MemoryHealth",
    "OutageEnded",
    "OutageStarted",
    "Pace",
    "Policies",
    "ProviderFailed",
    "ProviderRecovered",
    "RedisHealth",
    "ReplayPolicy",
    "Replayed",
    "ResilientSTT",
    "ResilientSTTError",
    "ResilientStream",
    "RetryPolicy",
    "RoutingPolicy",
    "SpeechDetector",
    "SpeechEdge",
    "StreamClosedError",
    "Switched",
    "UsageMetadata",
    "WatchdogPolicy",
]
