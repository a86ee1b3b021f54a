"""The real model, on speech of a person: `nox -s local`, or wherever Moonshine is installed."""

from __future__ import annotations

import asyncio
import importlib
import os
import wave
from pathlib import Path
from typing import Any

import pytest
from livekit import rtc

from resilient_stt import ResilientSTT, local
from resilient_stt.livekit.frames import pieces

from ..support.fakes import collect, texts

if os.environ.get("CI_REQUIRES_LOCAL"):
    moonshine_voice = importlib.import_module("moonshine_voice")
else:
    moonshine_voice = pytest.importorskip("moonshine_voice")

SENTENCES = (
    "it was the best of times it was the worst of times it was the age of wisdom it was the age of "
    "foolishness"
)


def plain(text: str) -> str:
    return " ".join("".join(c for c in text.lower() if c.isalpha() or c == " ").split())


@pytest.fixture(scope="module")
def speech() -> list[rtc.AudioFrame]:
    """Nine seconds of a novel, at 48 kHz, which is in Moonshine's wheel."""
    path: Any = Path(moonshine_voice.get_assets_path()) / "two_cities.wav"
    with wave.open(str(path)) as file:
        rate = file.getframerate()
        data = file.readframes(9 * rate)
    return list(pieces(rtc.AudioFrame(data, rate, 1, len(data) // 2)))


async def test_a_buffer(speech: list[rtc.AudioFrame]) -> None:
    """All words of a buffer are recognized, in the times in which somebody speaks."""
    event = await local.STT().recognize(speech)
    data = event.alternatives[0]
    assert plain(data.text).startswith(SENTENCES)
    assert data.words is not None
    assert [str(word) for word in data.words] == data.text.split()
    assert 0.8 < data.start_time < 1.4


@pytest.mark.parametrize("alone", [True, False])
async def test_a_stream(speech: list[rtc.AudioFrame], alone: bool) -> None:
    """A stream recognizes the same, alone and as the only provider of a chain."""
    made = local.STT() if alone else ResilientSTT([local.STT()])
    async with made.stream() as stream:
        for frame in speech:
            stream.push_frame(frame)
            await asyncio.sleep(0.01)
        stream.end_input()
        said = plain(" ".join(texts(await collect(stream))))
    await made.aclose()
    assert said.startswith(SENTENCES)
