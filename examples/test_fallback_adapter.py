"""Test your own speech-to-text: which failures of its providers does it survive?

    pip install ".[pytest]"
    pytest -rx test_fallback_adapter.py

LiveKit's published plugins connect over real sockets to fake providers, which transcribe exactly
the audio that reaches them and have the faults that a test gives them. The tests need no API keys
and no network, and take little time, because they run in virtual time.
"""

from __future__ import annotations

from typing import Any

import pytest
from livekit.agents import stt
from livekit.plugins import cartesia, deepgram

from resilient_stt import ResilientSTT
from resilient_stt.testing import (
    Drop,
    FakeCartesia,
    FakeDeepgram,
    Fault,
    Hang,
    InBandError,
    PlaySpeech,
    ReferenceSpeech,
    Refuse,
    Stall,
    Status,
    from_,
)

pytestmark = [pytest.mark.asyncio, pytest.mark.stt_virtual_time]

Providers = list[stt.STT[Any]]

MIDDLE: dict[str, Any] = {"at_word": 16, "part": 0.5}
"""In the middle of "Thursday": words are numbered from 0."""

SURVIVED: dict[str, tuple[Fault, ...]] = {
    "refuses connections": (Refuse(),),
    "rejects the API key": (Status(401),),
    "too many requests": (Status(429),),
    "unavailable": (Status(503),),
}
LOSING_WORDS: dict[str, tuple[Fault, ...]] = {
    "never answers": (Hang(),),
    "drops once": (Drop(**MIDDLE, connections={0}),),
    "drops and stays down": (Drop(**MIDDLE, connections={0}), Refuse(connections=from_(1))),
    "stalls": (Stall(**MIDDLE, connections={0}),),
    "out of credits": (InBandError(402, **MIDDLE, connections={0}),),
}
"""The faults of Cartesia, the primary provider. Deepgram, the fallback, has none."""


@pytest.fixture
def reference_speech() -> ReferenceSpeech:
    """The speech that `play_speech` plays: three sentences and a second of silence."""
    return ReferenceSpeech.load("english").excerpt(0, 2).padded(1.0)


@pytest.fixture
def providers(fake_cartesia: FakeCartesia, fake_deepgram: FakeDeepgram) -> Providers:
    """The providers of your agent, with the URLs of the fake providers."""
    return [
        cartesia.STT(model="ink-whisper", api_key="any", base_url=fake_cartesia.url),
        deepgram.STT(model="nova-3", api_key="any", base_url=fake_deepgram.url),
    ]


def for_each(faults: dict[str, tuple[Fault, ...]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("faults", faults.values(), ids=faults.keys())


@for_each(SURVIVED)
async def test_fallback_adapter_survives(
    faults: tuple[Fault, ...],
    fake_cartesia: FakeCartesia,
    providers: Providers,
    play_speech: PlaySpeech,
) -> None:
    """If a provider rejects the connection at once, the next one gets all the audio."""
    fake_cartesia.faults = faults
    played = await play_speech(stt.FallbackAdapter(providers))
    assert played.score.ok, str(played.score)


@pytest.mark.xfail(raises=AssertionError, strict=True, reason="words are lost")
@for_each(LOSING_WORDS)
async def test_fallback_adapter_loses_words(
    faults: tuple[Fault, ...],
    fake_cartesia: FakeCartesia,
    providers: Providers,
    play_speech: PlaySpeech,
) -> None:
    """If a provider fails later, its words are lost: its audio is not sent to the next one."""
    fake_cartesia.faults = faults
    played = await play_speech(stt.FallbackAdapter(providers))
    assert played.score.ok, str(played.score)


@for_each(SURVIVED | LOSING_WORDS)
async def test_resilient_stt_survives(
    faults: tuple[Fault, ...],
    fake_cartesia: FakeCartesia,
    providers: Providers,
    play_speech: PlaySpeech,
) -> None:
    """With the same providers and faults, every word comes once and in order."""
    fake_cartesia.faults = faults
    played = await play_speech(ResilientSTT(providers))
    assert played.score.ok, str(played.score)
