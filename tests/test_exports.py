"""The public surface."""

from __future__ import annotations

import inspect

import resilient_stt

NAMES = {
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
}


def test_names() -> None:
    """What can be imported is what is meant to be, all of it documented."""
    assert set(resilient_stt.__all__) == NAMES
    assert sorted(resilient_stt.__all__, key=str) == list(resilient_stt.__all__)
    for name in NAMES - {"Event"}:
        assert inspect.getdoc(getattr(resilient_stt, name)), name


def test_constructor() -> None:
    """The parameters of `ResilientSTT`: one positional, as in LiveKit's `FallbackAdapter`."""
    parameters = inspect.signature(resilient_stt.ResilientSTT).parameters
    assert list(parameters) == [
        "providers",
        "vad",
        "policies",
        "attempt_timeout",
        "max_retry_per_stt",
        "retry_interval",
    ]
    positional = [p.name for p in parameters.values() if p.kind is not p.KEYWORD_ONLY]
    assert positional == ["providers"]


def test_public_methods() -> None:
    """What `ResilientSTT` and its streams add to LiveKit's classes is known."""

    def added(cls: type) -> set[str]:
        inherited = {name for base in cls.__mro__[1:] for name in vars(base)}
        return {n for n in vars(cls) if not n.startswith("_")} - inherited

    assert added(resilient_stt.ResilientSTT) == {
        "draw_wait",
        "names",
        "provider_named",
        "report",
        "report_availability",
        "report_failure",
        "serve",
    }
    assert added(resilient_stt.ResilientStream) == {"options_changed"}
