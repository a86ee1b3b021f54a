"""Whoever only uses `ResilientSTT` imports nothing that an extra brings."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from resilient_stt.extras import IMPORTED, IMPORTED_LOCALLY

SCRIPT = f"""
import asyncio, sys

import livekit.agents, structlog, livekit.plugins.cartesia, livekit.plugins.deepgram

# LiveKit imports av, and structlog imports rich if it is there. From here on it is our turn.
for name in {sorted([*IMPORTED, *IMPORTED_LOCALLY, "sherpa_onnx", "faster_whisper"])!r}:
    for loaded in [m for m in sys.modules if m.partition(".")[0] == name]:
        del sys.modules[loaded]
    sys.modules[name] = None  # an import raises

from livekit import rtc
from resilient_stt import ResilientSTT, local

async def main() -> None:
    stt = ResilientSTT([
        livekit.plugins.cartesia.STT(api_key="key", base_url="http://127.0.0.1:9"),
        livekit.plugins.deepgram.STT(api_key="key", base_url="http://127.0.0.1:9"),
    ])
    async with livekit.agents.utils.http_context.open(), stt.stream() as stream:
        stream.push_frame(rtc.AudioFrame.create(16_000, 1, 320))
        await asyncio.sleep(0.3)  # no provider can be reached
    await stt.aclose()

asyncio.run(main())
"""


def test_the_sdk_imports_nothing_that_an_extra_brings() -> None:
    """A stream over the real plugins opens, fails over and closes without any of it."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "ModuleNotFoundError" not in done.stderr


def test_the_kit_without_av_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exception names the package and the pip command that brings it."""
    monkeypatch.setitem(sys.modules, "av", None)
    name = "resilient_stt.testing.speech.reference"
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"PyAV.*livekit-resilient-stt\[testing\]") as e:
        importlib.import_module(name)
    assert e.value.name == "av"
