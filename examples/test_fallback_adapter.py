"""Put your own speech-to-text under test: which failures of its providers does it survive?

    pip install ".[pytest]"
    pytest -rx test_fallback_adapter.py

The plugins are the real ones, over real sockets; the providers are fakes that transcribe exactly
the audio that reached them, and fail as told. No key, no network, and no waiting: the tests run in
virtual time.
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
"""In the middle of "Thursday", the 17th word that is spoken."""

SURVIVED: dict[str, tuple[Fault, ...]] = {
    "no connection": (Refuse(),),
    "wrong key": (Status(401),),
    "too many requests": (Status(429),),
    "out of order": (Status(503),),
}
LOSING_WORDS: dict[str, tuple[Fault, ...]] = {
    "accepts and hangs": (Hang(),),
    "drops once": (Drop(**MIDDLE, connections={0}),),
    "drops and stays down": (Drop(**MIDDLE, connections={0}), Refuse(connections=from_(1))),
    "falls silent": (Stall(**MIDDLE, connections={0}),),
    "out of credits": (InBandError(402, **MIDDLE, connections={0}),),
}
"""What Cartesia, the first provider, does. Deepgram, the fallback, works well all the time."""


@pytest.fixture
def reference_speech() -> ReferenceSpeech:
    """What is played: three sentences, and a second of silence."""
    return ReferenceSpeech.load("english").excerpt(0, 2).padded(1.0)


@pytest.fixture
def providers(fake_cartesia: FakeCartesia, fake_deepgram: FakeDeepgram) -> Providers:
    """The providers of your agent, with the fakes' addresses for `base_url`."""
    return [
        cartesia.STT(model="ink-whisper", api_key="any", base_url=fake_cartesia.url),
        deepgram.STT(model="nova-3", api_key="any", base_url=fake_deepgram.url),
    ]


def each(faults: dict[str, tuple[Fault, ...]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("faults", faults.values(), ids=faults.keys())


@each(SURVIVED)
async def test_fallback_adapter_survives(
    faults: tuple[Fault, ...],
    fake_cartesia: FakeCartesia,
    providers: Providers,
    play_speech: PlaySpeech,
) -> None:
    """A provider that turns the stream away at once costs no word: the next one gets it."""
    fake_cartesia.faults = faults
    played = await play_speech(stt.FallbackAdapter(providers))
    assert played.score.ok, str(played.score)


@pytest.mark.xfail(raises=AssertionError, strict=True, reason="words are lost: see --runxfail")
@each(LOSING_WORDS)
async def test_fallback_adapter_loses_words(
    faults: tuple[Fault, ...],
    fake_cartesia: FakeCartesia,
    providers: Providers,
    play_speech: PlaySpeech,
) -> None:
    """One that fails later takes words with it: audio that it has had is not sent again."""
    fake_cartesia.faults = faults
    played = await play_speech(stt.FallbackAdapter(providers))
    assert played.score.ok, str(played.score)


@each(SURVIVED | LOSING_WORDS)
async def test_resilient_stt_survives(
    faults: tuple[Fault, ...],
    fake_cartesia: FakeCartesia,
    providers: Providers,
    play_speech: PlaySpeech,
) -> None:
    """The same providers and the same faults: every word, once, in order."""
    fake_cartesia.faults = faults
    played = await play_speech(ResilientSTT(providers))
    assert played.score.ok, str(played.score)
