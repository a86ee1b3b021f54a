"""`VoiceActivityLost`: the engine goes on as a stream that never had local voice activity."""

from __future__ import annotations

import pytest

from resilient_stt.core.engine import FailoverEngine
from resilient_stt.core.events import Role
from resilient_stt.core.health.breaker import Breaker
from resilient_stt.core.health.provider import ProviderHealth
from resilient_stt.core.hedging.budget import HedgeBudget
from resilient_stt.core.messages import (
    AudioPushed,
    Command,
    FlushConnection,
    InputEnded,
    OpenConnection,
    SpeechStarted,
    StreamOpened,
    VoiceActivityLost,
)
from resilient_stt.core.policy import Policies, ProviderTraits
from resilient_stt.core.routing.language import DEFAULT, LanguageTracker, Router

RATE = 16_000


def engine_of(*names: str) -> FailoverEngine:
    """An engine whose providers are flushed at the end of speech."""
    policies = Policies()
    traits = [ProviderTraits(name=n, manual_flush=True, slow_endpointing=True) for n in names]
    health = {n: ProviderHealth(Breaker(policies.breaker)) for n in names}
    routing = LanguageTracker(Router({DEFAULT: traits}), policies.routing, "")
    return FailoverEngine(routing, health, policies, HedgeBudget(), vad_enabled=True)


def speak(engine: FailoverEngine, since: float, until: float) -> list[Command]:
    """Push audio in pieces of a tenth of a second, and wake the engine as it asks."""
    commands: list[Command] = []
    for tenth in range(round(since * 10), round(until * 10)):
        commands += engine.handle(AudioPushed(RATE // 10, RATE), tenth / 10)
    return commands


def test_the_cut_end_of_open_speech_is_not_flushed() -> None:
    """Speech that was open ends there, perhaps inside a word, which a flush would split."""
    engine = engine_of("a", "b")
    engine.handle(StreamOpened(), 0.0)
    speak(engine, 0.0, 1.0)
    engine.handle(SpeechStarted(RATE // 10), 1.0)
    commands = engine.handle(VoiceActivityLost(), 1.0) + speak(engine, 1.0, 8.0)
    assert not [c for c in commands if isinstance(c, FlushConnection)]


@pytest.mark.parametrize("speaking", [True, False])
def test_silence_is_not_suspected_any_more(speaking: bool) -> None:
    """Without VAD, a provider that gives nothing may just hear silence."""
    engine = engine_of("a", "b")
    engine.handle(StreamOpened(), 0.0)
    speak(engine, 0.0, 1.0)
    if speaking:
        engine.handle(SpeechStarted(RATE // 10), 1.0)
    commands = engine.handle(VoiceActivityLost(), 1.0) + speak(engine, 1.0, 30.0)
    assert not [c for c in commands if isinstance(c, OpenConnection) and c.role is Role.HEDGE]


def test_it_may_come_at_the_end() -> None:
    """A detector may fail when it is told that no more audio will come; twice changes nothing."""
    engine = engine_of("a")
    engine.handle(StreamOpened(), 0.0)
    speak(engine, 0.0, 1.0)
    engine.handle(SpeechStarted(RATE // 10), 1.0)
    for message in (VoiceActivityLost(), VoiceActivityLost(), InputEnded()):
        engine.handle(message, 1.0)
    assert not engine.done
