"""Speech-to-text for LiveKit Agents that keeps transcribing while its providers fail."""

from .core.events import (
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
from .errors import (
    AudioFormatError,
    ConfigurationError,
    ResilientSTTError,
    SpeechDetectorError,
    StreamClosedError,
)
from .fleet import HealthStore, MemoryHealth, RedisHealth
from .livekit.usage import UsageMetadata
from .livekit.vad import SpeechDetector, SpeechEdge
from .stream import ResilientStream
from .stt import ResilientSTT

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
    "SpeechDetectorError",
    "SpeechEdge",
    "StreamClosedError",
    "Switched",
    "UsageMetadata",
    "WatchdogPolicy",
]
