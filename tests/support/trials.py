"""Checks of trials."""

from __future__ import annotations

from resilient_stt.testing.harness.play import Played
from resilient_stt.testing.harness.trial import (
    FALLBACK_ONLY,
    HEALTHY,
    WHISPER,
    Chain,
    FaultPlan,
    Trial,
    accents_of,
    run_trial,
    run_trials,
    slowest,
    violations,
)
from resilient_stt.testing.speech.reference import ReferenceSpeech

__all__ = [
    "DEEPGRAM",
    "HEALTHY",
    "INK2",
    "WHISPER",
    "Chain",
    "FaultPlan",
    "Trial",
    "accents_of",
    "check",
    "check_delay",
    "run_trial",
    "run_trials",
    "slowest_healthy",
]

INK2 = Chain(model="ink-2")
DEEPGRAM = Chain(("deepgram", "cartesia"))


def check(played: Played, where: str, *, accurate: bool = True) -> None:
    """Nothing is lost, repeated, torn, disordered or unbalanced, and with `accurate` nothing
    mistimed."""
    assert played.error is None, where
    assert not violations(played, accurate=accurate), f"{where}: {played.score}"


def check_delay(played: Played, slowest: list[float], allowed: float, where: str) -> None:
    """No word comes more than `allowed` seconds later than in a healthy run."""
    late = [a - b for a, b in zip(played.score.late_s, slowest, strict=True)]
    assert max(late) <= allowed, f"{where}: word {late.index(max(late))} is {max(late):.2f} s late"


async def slowest_healthy(speech: ReferenceSpeech, chain: Chain = WHISPER) -> list[float]:
    """Each word's delay in a healthy run, with the provider that takes longest for it."""
    runs = await run_trials([HEALTHY, FALLBACK_ONLY], speech, chain)
    assert all(r.played.score.ok for r in runs)
    return slowest(r.played.score.late_s for r in runs)
