"""Speech-to-text for LiveKit Agents that keeps transcribing while its providers fail."""

from .core.policy import (
    BreakerPolicy,
    Pace,
    Policies,
    ReplayPolicy,
    RetryPolicy,
    WatchdogPolicy,
)
from .errors import AudioFormatError, ConfigurationError, ResilientSTTError, StreamClosedError
from .events import (
    AudioLost,
    Degraded,
    Event,
    ProviderFailed,
    Replayed,
    Restored,
    Switched,
)
from .speech import SpeechDetector, SpeechEdge
from .stream import ResilientStream
from .stt import ResilientSTT

__all__ = [
    "AudioFormatError",
    "AudioLost",
    "BreakerPolicy",
    "ConfigurationError",
    "Degraded",
    "Event",
    "Pace",
    "Policies",
    "ProviderFailed",
    "ReplayPolicy",
    "Replayed",
    "ResilientSTT",
    "ResilientSTTError",
    "ResilientStream",
    "Restored",
    "RetryPolicy",
    "SpeechDetector",
    "SpeechEdge",
    "StreamClosedError",
    "Switched",
    "WatchdogPolicy",
]
