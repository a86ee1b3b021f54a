from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from typer.testing import CliRunner

from resilient_stt.cli.app import app
from resilient_stt.testing.speech.reference import SAMPLE_RATE, ReferenceSpeech

Cli = Callable[..., Any]


@pytest.fixture
def cli() -> Cli:
    """Run the command line in this process; gives typer's result."""

    def run(*args: str) -> Any:
        return CliRunner().invoke(app, list(args), prog_name="resilient-stt")

    return run


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """Handle SIGINT, which shells ignore for background jobs and everything these start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user without keys, in an empty directory."""
    for name in ("CARTESIA_API_KEY", "DEEPGRAM_API_KEY"):
        # Set and then deleted, so that monkeypatch also undoes what a test loads from an .env file.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user with both keys."""
    monkeypatch.setenv("CARTESIA_API_KEY", "a-key")
    monkeypatch.setenv("DEEPGRAM_API_KEY", "another-key")


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Path]:
    """Write the first sentence of the reference speech and a second of silence to an audio file."""

    def write(name: str, codec: str, *, rate: int = SAMPLE_RATE, layout: str = "mono") -> Path:
        path = tmp_path / name
        speech = ReferenceSpeech.load("english").excerpt(0, 0).padded(1.0)
        frame = av.AudioFrame.from_ndarray(speech.samples[None, :], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate)
            assert isinstance(stream, av.AudioStream)
            stream.layout = layout
            resampler = av.AudioResampler(stream.format, layout, rate)
            for whole in (frame, None):
                for part in resampler.resample(whole):
                    container.mux(stream.encode(part))
            container.mux(stream.encode(None))
        return path

    return write


@pytest.fixture
def fakes() -> Iterator[dict[str, str]]:
    """Base URLs of fake providers in their own process; Cartesia drops the first connection."""
    process = subprocess.Popen(
        [sys.executable, "-m", "resilient_stt.cli", "serve-fakes", "drop"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())[0]
        process.communicate(timeout=10)  # closes stdin, which ends the process
    assert process.returncode == 0
