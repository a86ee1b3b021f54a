"""The engines, on stand-ins of their libraries that take what the real ones take."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from resilient_stt import ConfigurationError, local
from resilient_stt.local import decoding_thread
from resilient_stt.local.faster_whisper_engine import FasterWhisperEngine
from resilient_stt.local.local_engine import make_engine
from resilient_stt.local.moonshine_engine import MoonshineEngine
from resilient_stt.local.sherpa_engine import SherpaEngine

SECOND = np.zeros(16_000, np.float32)


def install(monkeypatch: pytest.MonkeyPatch, module: str, **members: Any) -> None:
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(**members))


# -- moonshine


@dataclass
class Transcriber:
    """Says how many samples it was given, in two lines."""

    folder: str
    architecture: str
    options: dict[str, str]

    def transcribe_without_streaming(self, samples: list[float], rate: int) -> Any:
        assert isinstance(samples, list)
        assert rate == 16_000
        lines = [" hello", "", f"{len(samples)} "]
        return SimpleNamespace(lines=[SimpleNamespace(text=text) for text in lines])


ARCHITECTURES = ("TINY", "BASE", "TINY_STREAMING", "BASE_STREAMING", "SMALL_STREAMING")


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A wheel of Moonshine that contains one model."""
    (tmp_path / "tiny-en").mkdir()
    (tmp_path / "tiny-en" / "encoder_model.ort").touch()
    install(
        monkeypatch,
        "moonshine_voice",
        get_model_path=lambda name: tmp_path / name,
        ModelArch={name: name for name in ARCHITECTURES},
        Transcriber=Transcriber,
    )
    return tmp_path


def test_moonshine_with_the_model_of_its_wheel(wheel: Path) -> None:
    """The model is not loaded before `load`, and an utterance's lines are one text."""
    engine = MoonshineEngine()
    assert (engine.model, engine.language) == ("moonshine/tiny-en", "en")
    engine.load()
    said = engine.utterance("en").decode(SECOND, final=True)
    assert said == local.Hypothesis("hello 16000", complete=True)


@pytest.mark.parametrize(
    ("folder", "architecture"),
    [("small-streaming-en/quantized", "SMALL_STREAMING"), ("base-en", "BASE")],
)
def test_moonshine_with_a_model_by_path(wheel: Path, folder: str, architecture: str) -> None:
    """The folders of Moonshine's own command name the architecture."""
    (wheel / folder).mkdir(parents=True)
    (wheel / folder / "model.ort").touch()
    engine = MoonshineEngine(str(wheel / folder))
    engine.load()
    assert engine._transcriber.architecture == architecture


def test_moonshine_without_its_model(wheel: Path) -> None:
    """The error has the command that fetches one: nothing is fetched here."""
    with pytest.raises(ConfigurationError, match=r"moonshine_voice\.download --stt") as raised:
        MoonshineEngine("base-en")
    assert "moonshine-voice>=0.0.59,<0.1.1" in str(raised.value)
    (wheel / "mine").mkdir()
    (wheel / "mine" / "model.ort").touch()
    with pytest.raises(ConfigurationError, match="does not name the architecture"):
        MoonshineEngine(str(wheel / "mine"))
    with pytest.raises(ConfigurationError, match="is not a folder"):
        MoonshineEngine(str(wheel / "nowhere"))


# -- sherpa-onnx


@dataclass
class SherpaStream:
    given: list[int] = field(default_factory=list)
    finished: bool = False

    def accept_waveform(self, rate: int, samples: local.Samples) -> None:
        assert rate == 16_000
        self.given.append(len(samples))

    def input_finished(self) -> None:
        self.finished = True


@dataclass
class OnlineRecognizer:
    """Has a word when it was given 0.5 s, and another one when its input has ended."""

    asked: dict[str, Any]
    decoded: int = 0

    @classmethod
    def from_transducer(cls, **asked: Any) -> OnlineRecognizer:
        return cls(asked)

    def create_stream(self) -> SherpaStream:
        return SherpaStream()

    def is_ready(self, stream: SherpaStream) -> bool:
        return self.decoded < sum(stream.given)

    def decode_stream(self, stream: SherpaStream) -> None:
        self.decoded = sum(stream.given)

    def get_result_all(self, stream: SherpaStream) -> Any:
        tokens = ["\u2581HEL", "LO", "\u2581YOU"] if stream.finished else ["\u2581HEL", "LO"]
        text = "".join(tokens).replace("\u2581", " ")
        return SimpleNamespace(text=text, tokens=tokens, timestamps=[0.1, 0.3, 0.5])


@pytest.fixture
def transducer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with a transducer, its encoder in two precisions."""
    install(monkeypatch, "sherpa_onnx", OnlineRecognizer=OnlineRecognizer)
    for name in ("encoder.onnx", "encoder.int8.onnx", "decoder.onnx", "joiner.onnx", "tokens.txt"):
        (tmp_path / name).touch()
    return tmp_path


def test_sherpa_decodes_only_what_is_new(transducer: Path) -> None:
    """It is sent each sample once, then half a second of silence; its words have times."""
    engine = SherpaEngine(str(transducer))
    engine.load()
    assert engine._recognizer.asked["encoder"].endswith("encoder.int8.onnx")
    assert engine._recognizer.asked["num_threads"] == 1
    utterance = engine.utterance("")
    first = utterance.decode(SECOND[:8000], final=False)
    assert first == local.Hypothesis("HELLO", (local.TimedWord("HELLO", 0.1, 0.5),))
    last = utterance.decode(SECOND, final=True)
    assert last.words == (
        local.TimedWord("HELLO", 0.1, 0.5),
        local.TimedWord("YOU", 0.5, 1.0),
    )
    assert not last.complete
    assert utterance._stream.given == [8000, 8000, 8000]


def test_sherpa_without_a_part_of_its_model(transducer: Path) -> None:
    """The error names the file that is missing."""
    (transducer / "joiner.onnx").unlink()
    with pytest.raises(ConfigurationError, match=r"no \*joiner\*\.onnx"):
        SherpaEngine(str(transducer))
    with pytest.raises(ConfigurationError, match="give the folder of a streaming transducer"):
        SherpaEngine()


# -- faster-whisper


@dataclass
class WhisperModel:
    path: str
    asked: dict[str, Any]
    calls: list[dict[str, Any]] = field(default_factory=list)

    def __init__(self, path: str, **asked: Any) -> None:
        self.path, self.asked, self.calls = path, asked, []

    def transcribe(self, samples: local.Samples, **asked: Any) -> tuple[Any, Any]:
        self.calls.append(asked)
        words = [
            SimpleNamespace(word=w, start=s, end=s + 0.4) for w, s in ((" Hi", 0), (" you", 1))
        ]
        return iter([SimpleNamespace(words=words), SimpleNamespace(words=None)]), None


def test_whisper_decodes_finals_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It gives no interim transcripts, runs on one core, and fetches no model."""
    install(monkeypatch, "faster_whisper", WhisperModel=WhisperModel)
    with pytest.raises(ConfigurationError, match="huggingface-cli download"):
        FasterWhisperEngine()
    with pytest.raises(ConfigurationError, match=r"no model\.bin"):
        FasterWhisperEngine(str(tmp_path))
    (tmp_path / "model.bin").touch()
    engine = FasterWhisperEngine(str(tmp_path))
    engine.load()
    assert engine._model.asked["cpu_threads"] == 1
    assert engine._model.asked["local_files_only"]
    utterance = engine.utterance("de-DE")
    assert utterance.decode(SECOND, final=False) == local.Hypothesis("")
    said = utterance.decode(SECOND, final=True)
    assert said.text == "Hi you"
    assert said.words == (local.TimedWord("Hi", 0.0, 0.4), local.TimedWord("you", 1.0, 1.4))
    assert [call["language"] for call in engine._model.calls] == ["de"]
    engine.utterance("").decode(SECOND, final=True)
    assert engine._model.calls[-1]["language"] is None


# -- what is not installed


@pytest.mark.parametrize(
    ("engine", "module", "command"),
    [
        ("moonshine", "moonshine_voice", r'pip install "livekit-resilient-stt\[local\]"'),
        ("sherpa-onnx", "sherpa_onnx", "pip install sherpa-onnx"),
        ("faster-whisper", "faster_whisper", "pip install faster-whisper"),
    ],
)
def test_an_engine_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, engine: str, module: str, command: str
) -> None:
    """The error says which command installs it."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=f"not installed: {command}"):
        make_engine(engine, "")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("no", name="tqdm"), "needs tqdm, which is not: pip install"),
        (OSError("GLIBC_2.34 not found"), r"cannot be loaded on this system \(OSError\)"),
    ],
)
def test_an_engine_that_cannot_be_loaded(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    """A dependency that is missing, and a library of another system, are told apart."""

    def fail(name: str) -> Any:
        raise error

    monkeypatch.setattr("resilient_stt.local.local_engine.importlib.import_module", fail)
    with pytest.raises(ConfigurationError, match=said):
        make_engine("moonshine", "")


def test_one_process_loads_a_model_once(wheel: Path) -> None:
    """Two providers with one model share its thread; with the last of them it is gone."""
    first, second = local.STT(), local.STT()
    assert first._thread is second._thread
    thread = first._thread
    del first, second, thread
    assert not decoding_thread._shared
