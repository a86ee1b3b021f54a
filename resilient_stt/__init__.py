"""Speech-to-text for LiveKit Agents that keeps transcribing while its providers fail.

Names are imported when they are first used: a program that needs only the events, the policies or
the decision core (`resilient_stt.core`) imports neither LiveKit nor aiohttp.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    """The version of the distribution, `livekit-resilient-stt`."""

    from .core.events import (
        AudioLossReason,
        AudioLost,
        AudioSent,
        BreakerChanged,
        BreakerState,
        CloseReason,
        ConnectionClosed,
        ConnectionEstablished,
        ConnectionOpened,
        ConnectionPromoted,
        Decision,
        Detail,
        ErrorKind,
        Event,
        FinalEmitted,
        HedgeFinished,
        HedgeOutcome,
        LanguageReason,
        LanguageRouted,
        Lateness,
        OutageEnded,
        OutageStarted,
        ProbeFailed,
        ProbePassed,
        ProviderFailed,
        ProviderRecovered,
        Replayed,
        Role,
        StallCleared,
        StallReason,
        StallSuspected,
        StreamEnded,
        StreamEndReason,
        SwitchCount,
        Switched,
        SwitchReason,
    )
    from .core.messages import VoiceSound
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
    from .recording.recording_options import RecordingOptions
    from .stream import ResilientStream
    from .stt import ResilientSTT

__all__ = [
    "AudioFormatError",
    "AudioLossReason",
    "AudioLost",
    "AudioSent",
    "BreakerChanged",
    "BreakerPolicy",
    "BreakerState",
    "CloseReason",
    "ConfigurationError",
    "ConnectionClosed",
    "ConnectionEstablished",
    "ConnectionOpened",
    "ConnectionPromoted",
    "Decision",
    "Detail",
    "ErrorKind",
    "Event",
    "FailbackPolicy",
    "FinalEmitted",
    "HealthStore",
    "HedgeFinished",
    "HedgeOutcome",
    "LanguageReason",
    "LanguageRouted",
    "Lateness",
    "MemoryHealth",
    "OutageEnded",
    "OutageStarted",
    "Pace",
    "Policies",
    "ProbeFailed",
    "ProbePassed",
    "ProviderFailed",
    "ProviderRecovered",
    "RecordingOptions",
    "RedisHealth",
    "ReplayPolicy",
    "Replayed",
    "ResilientSTT",
    "ResilientSTTError",
    "ResilientStream",
    "RetryPolicy",
    "Role",
    "RoutingPolicy",
    "SpeechDetector",
    "SpeechDetectorError",
    "SpeechEdge",
    "StallCleared",
    "StallReason",
    "StallSuspected",
    "StreamClosedError",
    "StreamEndReason",
    "StreamEnded",
    "SwitchCount",
    "SwitchReason",
    "Switched",
    "UsageMetadata",
    "VoiceSound",
    "WatchdogPolicy",
]

_NAMES_BY_MODULE = {
    ".core.events": (
        "AudioLossReason",
        "AudioLost",
        "AudioSent",
        "BreakerChanged",
        "BreakerState",
        "CloseReason",
        "ConnectionClosed",
        "ConnectionEstablished",
        "ConnectionOpened",
        "ConnectionPromoted",
        "Decision",
        "Detail",
        "ErrorKind",
        "Event",
        "FinalEmitted",
        "HedgeFinished",
        "HedgeOutcome",
        "LanguageReason",
        "LanguageRouted",
        "Lateness",
        "OutageEnded",
        "OutageStarted",
        "ProbeFailed",
        "ProbePassed",
        "ProviderFailed",
        "ProviderRecovered",
        "Replayed",
        "Role",
        "StallCleared",
        "StallReason",
        "StallSuspected",
        "StreamEndReason",
        "StreamEnded",
        "SwitchCount",
        "SwitchReason",
        "Switched",
    ),
    ".core.messages": ("VoiceSound",),
    ".core.policy": (
        "BreakerPolicy",
        "FailbackPolicy",
        "Pace",
        "Policies",
        "ReplayPolicy",
        "RetryPolicy",
        "RoutingPolicy",
        "WatchdogPolicy",
    ),
    ".errors": (
        "AudioFormatError",
        "ConfigurationError",
        "ResilientSTTError",
        "SpeechDetectorError",
        "StreamClosedError",
    ),
    ".fleet": (
        "HealthStore",
        "MemoryHealth",
        "RedisHealth",
    ),
    ".livekit.usage": ("UsageMetadata",),
    ".livekit.vad": (
        "SpeechDetector",
        "SpeechEdge",
    ),
    ".recording.recording_options": ("RecordingOptions",),
    ".stream": ("ResilientStream",),
    ".stt": ("ResilientSTT",),
}
_MODULES = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}

if not TYPE_CHECKING:  # with it, a type checker would accept any name of the package

    def __getattr__(name: str) -> Any:
        """Import a public name from its module when it is first used."""
        if name == "__version__":
            return import_module("importlib.metadata").version("livekit-resilient-stt")
        module = _MODULES.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(module, __name__), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__, "__version__"})
