"""The public surface."""

from __future__ import annotations

import dataclasses
import inspect
from typing import get_args

import pytest

import resilient_stt
from resilient_stt import Event
from resilient_stt.runtime import EventName

NAMES = {
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
}


def test_names() -> None:
    """Exactly the intended names can be imported, and all are documented."""
    assert set(resilient_stt.__all__) == NAMES
    assert sorted(resilient_stt.__all__, key=str) == list(resilient_stt.__all__)
    for name in NAMES - {"Decision", "Detail", "Event"}:
        assert inspect.getdoc(getattr(resilient_stt, name)), name


def test_constructor() -> None:
    """The constructor has one positional parameter, as LiveKit's `FallbackAdapter` has."""
    parameters = inspect.signature(resilient_stt.ResilientSTT).parameters
    assert list(parameters) == [
        "stt",
        "language",
        "vad",
        "policies",
        "health",
        "record",
        "traits",
        "attempt_timeout",
        "max_retry_per_stt",
        "retry_interval",
    ]
    positional = [p.name for p in parameters.values() if p.kind is not p.KEYWORD_ONLY]
    assert positional == ["stt"]


def test_public_methods() -> None:
    """`ResilientSTT` and its streams add nothing else to LiveKit's classes."""

    def added(cls: type) -> set[str]:
        inherited = {name for base in cls.__mro__[1:] for name in vars(base)}
        return {n for n in vars(cls) if not n.startswith("_")} - inherited

    assert added(resilient_stt.ResilientSTT) == {
        "from_config",
        "policies",
        "providers",
        "update_options",
    }
    assert added(resilient_stt.ResilientStream) == {
        "is_open",
        "keyterms_changed",
        "language_changed",
        "metrics_metadata",
        "model",
        "options_changed",
        "provider",
    }


def test_every_event_is_exported_and_can_be_subscribed_to() -> None:
    """The union of all events, the exported classes and the names of `on()` agree."""
    events = get_args(Event)
    assert {getattr(resilient_stt, e.__name__) for e in events} == set(events)
    names = {e.name for e in events}
    assert len(names) == len(events)
    assert set(get_args(EventName)) == names | {"stt_availability_changed"}


def test_every_policy_is_exported() -> None:
    """Every policy of `Policies` can be imported from the package."""
    for field in dataclasses.fields(resilient_stt.Policies):
        kind = type(getattr(resilient_stt.Policies(), field.name))
        assert getattr(resilient_stt, kind.__name__) is kind


def test_unknown_names_are_refused() -> None:
    """The package imports lazily, and still refuses a name that it does not have."""
    with pytest.raises(AttributeError, match="has no attribute 'ResilientST'"):
        resilient_stt.ResilientST  # type: ignore[attr-defined]  # noqa: B018
    assert set(dir(resilient_stt)) >= NAMES | {"__version__"}
