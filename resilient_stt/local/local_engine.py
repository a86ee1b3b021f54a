"""The small interface behind which a recognizer in this process stands.

An engine is a library with a model: Moonshine, sherpa-onnx or faster-whisper. It knows nothing of
asyncio, of LiveKit or of when people speak: it is given the samples of an utterance, and returns
its text. All of its methods but the constructor are called on one thread (`DecodingThread`).
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError
from ..extras import install_command
from ..phrasing import listed, nearest

RATE = 16_000
"""Samples per second of the audio that engines take."""

Samples = NDArray[np.float32]
"""Mono audio at `RATE`, from -1 to 1."""

EngineName = Literal["moonshine", "sherpa-onnx", "faster-whisper"]


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word, and when it was spoken, in seconds of the utterance."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What an engine makes of an utterance so far."""

    text: str
    words: tuple[TimedWord, ...] = ()
    """With the model's own times; empty if it gives none."""
    complete: bool = False
    """Whether a final decoding of the same audio would give the same: it is not made then."""


class UtteranceDecoder(Protocol):
    """Decodes one utterance. Whoever streams keeps the state of the model here."""

    def decode(self, samples: Samples, *, final: bool) -> Hypothesis:
        """Return what was said.

        Args:
            samples: the whole utterance so far, which begins with what it was given last time.
            final: whether nothing follows; it is not called again then.
        """


class LocalEngine(Protocol):
    """A library and a model. Its constructor checks that both are there, and loads neither."""

    @property
    def model(self) -> str:
        """The engine and its model, for users: `moonshine/tiny-en`."""

    @property
    def language(self) -> str:
        """The BCP 47 tag of what it transcribes; empty if it takes any language."""

    def load(self) -> None:
        """Load the model, which may take a second. Called once, before all else.

        Raises:
            Exception: of any type; the model cannot be loaded.
        """

    def utterance(self, language: str) -> UtteranceDecoder:
        """Begin an utterance in a language; empty if it is not known."""


def make_engine(name: str, model: str) -> LocalEngine:
    """Make the engine of a name.

    Args:
        name: one of `EngineName`.
        model: a name that the engine knows, or the path of a folder; empty for its default.

    Raises:
        ConfigurationError: there is no such engine, or it is not installed, or the model is not
            there; says which command brings it.
    """
    from .faster_whisper_engine import FasterWhisperEngine
    from .moonshine_engine import MoonshineEngine
    from .sherpa_engine import SherpaEngine

    engines: dict[str, type[LocalEngine]] = {
        "moonshine": MoonshineEngine,
        "sherpa-onnx": SherpaEngine,
        "faster-whisper": FasterWhisperEngine,
    }
    if name not in engines:
        raise ConfigurationError(
            f"there is no local engine {name!r}{nearest(name, engines)}; there is {listed(engines)}"
        )
    made: LocalEngine = engines[name](model)  # type: ignore[call-arg]
    return made


def imported(module: str, install: str = "") -> Any:
    """Import the library of an engine.

    Args:
        module: its name.
        install: the command that installs it; by default that of the extra.

    Raises:
        ConfigurationError: it is not installed, or cannot be imported.
    """
    command = install or install_command("local")
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise ConfigurationError(
                f"{module} is installed, but needs {error.name}, which is not: {command}"
            ) from None
        raise ConfigurationError(
            f"the local recognizer needs {module}, which is not installed: {command}"
        ) from None
    except (ImportError, OSError) as error:
        # a library that was built for another system
        raise ConfigurationError(
            f"{module} is installed, but cannot be loaded on this system "
            f"({type(error).__name__}); see docs/local.md"
        ) from None


def model_folder(path: str, engine: str) -> Path:
    """Return the folder of a model that was given by its path.

    Raises:
        ConfigurationError: there is no such folder.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ConfigurationError(f"{engine}: the model {path} is not a folder")
    return folder
