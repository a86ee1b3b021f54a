"""sherpa-onnx: streaming transducers of k2, by the path of a folder, in many languages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigurationError
from .local_engine import RATE, Hypothesis, Samples, TimedWord, imported, model_folder

_INSTALL = "pip install sherpa-onnx"
_WHERE = "https://k2-fsa.github.io/sherpa/onnx/pretrained_models/online-transducer/"
_TAIL = np.zeros(RATE // 2, np.float32)
"""Silence behind the last word, without which the model keeps it back."""
_PARTS = ("encoder", "decoder", "joiner")


class SherpaEngine:
    """An `OnlineRecognizer` of sherpa-onnx with a transducer."""

    def __init__(self, model: str = "") -> None:
        """Find the files of the model.

        Args:
            model: the path of a folder with `tokens.txt` and one ONNX file each of the encoder,
                the decoder and the joiner; of a part in two precisions, `int8` is taken.

        Raises:
            ConfigurationError: sherpa-onnx is not installed, or a file is missing.
        """
        self._library = imported("sherpa_onnx", _INSTALL)
        if not model:
            raise ConfigurationError(
                "sherpa-onnx: give the folder of a streaming transducer as model; "
                f"there are some to download at {_WHERE}"
            )
        folder = model_folder(model, "sherpa-onnx")
        self._files = {part: _file(folder, f"*{part}*.onnx") for part in _PARTS}
        self._files["tokens"] = _file(folder, "tokens.txt")
        self._recognizer: Any = None
        self.model = f"sherpa-onnx/{folder.name}"
        self.language = ""

    def load(self) -> None:
        """Load the model."""
        make = self._library.OnlineRecognizer.from_transducer
        self._recognizer = make(**self._files, num_threads=1, sample_rate=RATE)

    def utterance(self, language: str) -> SherpaUtterance:
        """Begin an utterance, in the language of the model."""
        return SherpaUtterance(self._recognizer)


class SherpaUtterance:
    """A stream of the recognizer: it decodes only what is new."""

    def __init__(self, recognizer: Any) -> None:
        self._recognizer = recognizer
        self._stream = recognizer.create_stream()
        self._given = 0

    def decode(self, samples: Samples, *, final: bool) -> Hypothesis:
        """Decode what came since the last call."""
        self._stream.accept_waveform(RATE, samples[self._given :])
        self._given = max(self._given, len(samples))
        if final:
            self._stream.accept_waveform(RATE, _TAIL)
            self._stream.input_finished()
        while self._recognizer.is_ready(self._stream):
            self._recognizer.decode_stream(self._stream)
        result = self._recognizer.get_result_all(self._stream)
        text = str(result.text).strip()
        seconds = len(samples) / RATE
        return Hypothesis(text, _words(text, result.tokens, result.timestamps, seconds))


def _words(
    text: str, tokens: list[str], timestamps: list[float], seconds: float
) -> tuple[TimedWord, ...]:
    """Join tokens to words: a token that begins one begins with a space.

    Models give the time at which a token begins. A word ends where the next one begins.
    """
    begun: list[tuple[str, float]] = []
    for token, at in zip(tokens, timestamps, strict=False):
        if token.startswith((" ", "\u2581")) or not begun:
            begun.append((token.lstrip(" \u2581"), at))
        else:
            begun[-1] = begun[-1][0] + token, begun[-1][1]
    ends = [at for _, at in begun[1:]] + [seconds]
    if " ".join(word for word, _ in begun) != text:
        return ()  # the model writes no spaces, or its tokens do not spell the text
    return tuple(TimedWord(w, at, max(at, e)) for (w, at), e in zip(begun, ends, strict=True))


def _file(folder: Path, pattern: str) -> str:
    found = sorted(folder.glob(pattern), key=lambda path: ("int8" not in path.name, path.name))
    if not found:
        raise ConfigurationError(
            f"sherpa-onnx: the folder {folder.name} has no {pattern}; it needs those of a "
            f"streaming transducer, as at {_WHERE}"
        )
    return str(found[0])
