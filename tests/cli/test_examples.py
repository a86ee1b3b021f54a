from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from resilient_stt.testing.fakes.cartesia import FakeCartesia

EXAMPLE = Path(__file__).parents[2] / "examples" / "transcribe_file.py"


@pytest.mark.stt_virtual_time
async def test_transcribe_file(
    record: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The example prints the text of an audio file."""
    example = runpy.run_path(str(EXAMPLE))
    async with FakeCartesia() as cartesia:
        monkeypatch.setattr("resilient_stt.stt.from_environment", lambda: [cartesia.stt()])
        await example["transcribe"](str(record("speech.wav", "pcm_s16le")))
    assert capsys.readouterr().out.startswith("Hello, this is Miguel Santos")
