"""Events of `ResilientSTT`, and typical sequences of them, for tests of what is made of events."""

from __future__ import annotations

from resilient_stt.core.events import (
    Decision,
    ErrorKind,
    HedgeFinished,
    HedgeOutcome,
    OutageEnded,
    OutageStarted,
    ProviderFailed,
    Replayed,
    StallReason,
    Switched,
    SwitchReason,
)


def failed(at: float, provider: str, reason: ErrorKind = ErrorKind.DROPPED) -> ProviderFailed:
    """A failure with an exception of LiveKit's."""
    return ProviderFailed(at=at, provider=provider, reason=reason, detail="APIConnectionError")


def switched(
    at: float,
    old: str,
    new: str,
    start: float,
    reason: ErrorKind | SwitchReason = ErrorKind.DROPPED,
) -> Switched:
    """A switch that replays the audio from `start` on."""
    return Switched(at=at, from_provider=old, to_provider=new, reason=reason, replay_from=start)


def replayed(at: float, provider: str, seconds: float) -> Replayed:
    """A replay that left out half a second of silence."""
    return Replayed(at=at, provider=provider, seconds=seconds, silence_trimmed=0.5, duration=0.0)


def hedge(
    at: float,
    outcome: HedgeOutcome,
    trigger: StallReason | None = StallReason.FINAL_OVERDUE,
    hedge_provider: str = "deepgram",
) -> HedgeFinished:
    """The end of a hedge for cartesia that was sent 8 s of audio."""
    return HedgeFinished(
        at=at,
        provider="cartesia",
        hedge_provider=hedge_provider,
        trigger=trigger,
        outcome=outcome,
        seconds=8.0,
    )


OUTAGE: list[Decision] = [
    failed(6.0, "cartesia"),
    switched(6.0, "cartesia", "deepgram", 4.0),
    replayed(6.0, "deepgram", 1.5),
    failed(13.0, "deepgram"),
    OutageStarted(at=13.0),
    failed(14.0, "cartesia", ErrorKind.CONNECT),
    failed(14.0, "deepgram", ErrorKind.CONNECT),
    OutageEnded(at=17.0, provider="cartesia", duration=4.0),
    replayed(16.0, "cartesia", 5.5),
]
"""A failover, and an outage that the first provider ends."""

STALL: list[Decision] = [
    hedge(12.7, HedgeOutcome.PROMOTED),
    ProviderFailed(
        at=12.7, provider="cartesia", reason=ErrorKind.STALLED, trigger=StallReason.FINAL_OVERDUE
    ),
    switched(12.7, "cartesia", "deepgram", 3.9, reason=ErrorKind.STALLED),
    replayed(11.9, "deepgram", 7.2),
]
"""A stall that a hedge ends."""
