"""faster-whisper: OpenAI's Whisper on CTranslate2, by the path of a folder, in 99 languages."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigurationError
from .local_engine import Hypothesis, Samples, TimedWord, imported, model_folder

_INSTALL = "pip install faster-whisper"
_FETCH = "huggingface-cli download Systran/faster-whisper-tiny --local-dir faster-whisper-tiny"


class FasterWhisperEngine:
    """A `WhisperModel` on one core, with 8-bit weights."""

    def __init__(self, model: str = "") -> None:
        """Find the model.

        Args:
            model: the path of a folder with `model.bin`.

        Raises:
            ConfigurationError: faster-whisper is not installed, or the model is not there.
        """
        self._library = imported("faster_whisper", _INSTALL)
        if not model:
            raise ConfigurationError(
                f"faster-whisper: give the folder of a model; this command fetches one: {_FETCH}"
            )
        self._folder = model_folder(model, "faster-whisper")
        if not (self._folder / "model.bin").is_file():
            raise ConfigurationError(
                f"faster-whisper: the folder {self._folder.name} has no model.bin; "
                f"this command fetches one: {_FETCH}"
            )
        self._model: Any = None
        self.model = f"faster-whisper/{self._folder.name}"
        self.language = ""

    def load(self) -> None:
        """Load the model."""
        make = self._library.WhisperModel
        self._model = make(
            str(self._folder),
            device="cpu",
            compute_type="int8",
            cpu_threads=1,
            num_workers=1,
            local_files_only=True,
        )

    def utterance(self, language: str) -> WhisperUtterance:
        """Begin an utterance. Without a language, Whisper detects it in each."""
        return WhisperUtterance(self._model, language)


class WhisperUtterance:
    """Decodes an utterance as a whole, and only once: Whisper always decodes 30 s."""

    def __init__(self, model: Any, language: str) -> None:
        self._model = model
        self._language = language.partition("-")[0] or None

    def decode(self, samples: Samples, *, final: bool) -> Hypothesis:
        """Return the final transcript. This engine gives no interim ones."""
        if not final:
            return Hypothesis("")
        segments, _ = self._model.transcribe(
            samples,
            language=self._language,
            word_timestamps=True,
            condition_on_previous_text=False,
        )
        words = [word for segment in segments for word in segment.words or ()]
        timed = tuple(TimedWord(w.word.strip(), float(w.start), float(w.end)) for w in words)
        return Hypothesis("".join(word.word for word in words).strip(), timed)
