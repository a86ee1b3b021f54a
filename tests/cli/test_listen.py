from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from resilient_stt import ConfigurationError
from resilient_stt.local.decoding_thread import DecodingThread
from resilient_stt.testing.speech.reference import ReferenceSpeech

from ..support.local_engines import SpeechEngine

Cli = Callable[..., Any]
SHORT = ReferenceSpeech.load("english").excerpt(0, 0).padded(1.0)


class PortAudioError(Exception):
    pass


class FakeSound(SimpleNamespace):
    """A `sounddevice` whose microphone hears the reference speech, and is unplugged then."""

    PortAudioError = PortAudioError

    def __init__(self, *, devices: int = 1) -> None:
        super().__init__()
        self.devices = devices
        self.asked: dict[str, Any] = {}

    def query_devices(self, kind: str) -> dict[str, str]:
        if not self.devices:
            raise PortAudioError("Error querying device -1")
        return {"name": "Fake microphone"}

    def RawInputStream(self, *, callback: Any, **asked: Any) -> FakeSound:
        self.asked, self.callback = asked, callback
        return self

    def __enter__(self) -> None:
        self.thread = threading.Thread(target=self._hear)
        self.thread.start()

    def _hear(self) -> None:
        for frame in SHORT.frames():
            self.callback(bytes(frame.data), frame.samples_per_channel, None, None)

    def __exit__(self, *_: object) -> None:
        self.thread.join()


@pytest.fixture
def sound(monkeypatch: pytest.MonkeyPatch) -> FakeSound:
    fake = FakeSound()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


@pytest.fixture
def recognizer(monkeypatch: pytest.MonkeyPatch) -> SpeechEngine:
    """The engine of the local provider that is made without keys."""
    engine = SpeechEngine()
    monkeypatch.setattr(
        "resilient_stt.local.local_stt.shared_thread",
        lambda *_: DecodingThread(engine),
    )
    return engine


@pytest.mark.usefixtures("recognizer")
def test_the_microphone_is_transcribed(
    cli: Cli, sound: FakeSound, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without keys, the recognizer in this process transcribes until Ctrl-C, and that is said."""
    listening = importlib.import_module("resilient_stt.cli.listen")
    take = listening._Printer.take

    def take_and_end(printer: Any, event: Any) -> None:
        take(printer, event)
        if event.type.value == "final_transcript":
            raise KeyboardInterrupt

    monkeypatch.setattr(listening._Printer, "take", take_and_end)
    result = cli("listen")
    assert result.stdout.split() == [word.text for word in SHORT.words]
    assert "no key is set: stand-in/exact transcribes, in this process" in result.stderr
    assert "listening to Fake microphone" in result.stderr
    assert (sound.asked["samplerate"], sound.asked["channels"]) == (16_000, 1)


@pytest.mark.usefixtures("recognizer")
def test_without_a_microphone(cli: Cli, sound: FakeSound) -> None:
    """The error says what takes a recording instead."""
    sound.devices = 0
    result = cli("listen")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no microphone can be used" in result.stderr
    assert "transcribe FILE" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.usefixtures("recognizer")
@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (ModuleNotFoundError("no", name="sounddevice"), "livekit-resilient-stt[local]"),
        (OSError("PortAudio library not found"), "apt-get install libportaudio2"),
    ],
)
def test_without_what_a_microphone_needs(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: Exception, advice: str
) -> None:
    """The error says what to install."""

    def fail(name: str) -> Any:
        if name == "sounddevice":
            raise error
        return load(name)

    load = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", fail)
    result = cli("listen")
    assert (result.exit_code, result.stdout) == (2, "")
    assert advice in result.stderr


def test_without_keys_and_recognizer(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the keys, and the command that installs the recognizer."""

    def missing(name: str, model: str) -> Any:
        raise ConfigurationError("pip install it")

    monkeypatch.setattr("resilient_stt.local.local_stt.shared_thread", missing)
    result = cli("listen")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "CARTESIA_API_KEY and DEEPGRAM_API_KEY" in result.stderr
    assert "pip install it" in result.stderr
