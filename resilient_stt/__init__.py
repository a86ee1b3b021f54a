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
    Degraded,
    Event,
    LanguageRouted,
    ProviderFailed,
    Recovered,
    Replayed,
    Restored,
    SecondOpinion,
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
    "Degraded",
    "Event",
    "FailbackPolicy",
    "HealthStore",
    "LanguageRouted",
    "MemoryHealth",
    "Pace",
    "Policies",
    "ProviderFailed",
    "Recovered",
    "RedisHealth",
    "ReplayPolicy",
    "Replayed",
    "ResilientSTT",
    "ResilientSTTError",
    "ResilientStream",
    "Restored",
    "RetryPolicy",
    "RoutingPolicy",
    "SecondOpinion",
    "SpeechDetector",
    "SpeechEdge",
    "StreamClosedError",
    "Switched",
    "UsageMetadata",
    "WatchdogPolicy",
]
