"""Moonshine: small English models that decode a second of speech in a few hundredths of one.

Its wheels up to 0.1.0 contain the smallest model. Later ones do not, and Moonshine's own command
fetches it; nothing is fetched here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from .helper_threads import low_priority_helpers
from .local_engine import RATE, Hypothesis, Samples, imported, model_folder

_MODULE = "moonshine_voice"
DEFAULT_MODEL = "tiny-en"
"""The model that is in the wheel."""

_FETCH = "python -m moonshine_voice.download --stt --language en"

_ARCHITECTURES = (
    ("tiny-streaming", "TINY_STREAMING"),
    ("base-streaming", "BASE_STREAMING"),
    ("small-streaming", "SMALL_STREAMING"),
    ("medium-streaming", "MEDIUM_STREAMING"),
    ("tiny", "TINY"),
    ("base", "BASE"),
)
"""What a folder of a model is called, and Moonshine's name of its architecture."""

_OPTIONS = {
    # We cut the audio into utterances ourselves: with 0 all of it is one.
    "vad_threshold": "0.0",
    "return_audio_data": "false",
    "identify_speakers": "false",
}


class MoonshineEngine:
    """Moonshine's transcriber, without its own voice activity detection."""

    def __init__(self, model: str = "") -> None:
        """Find the model.

        Args:
            model: the name of a model in the wheel, or the path of a folder whose path names the
                architecture (`tiny-en`, `base-en`, `small-streaming-en`).

        Raises:
            ConfigurationError: Moonshine is not installed, or the model is not there.
        """
        library = imported(_MODULE)
        name = model or DEFAULT_MODEL
        bundled = Path(str(library.get_model_path(name)))
        self._folder = bundled if "/" not in name else model_folder(name, "moonshine")
        if not any(self._folder.glob("*.ort")):
            raise ConfigurationError(
                f"moonshine: the model {name} is not there. The wheels of moonshine-voice from "
                f"0.0.59 to 0.1.0 contain {DEFAULT_MODEL}: "
                'pip install "moonshine-voice>=0.0.59,<0.1.1". Or fetch one and give the folder '
                f"that this command prints as the model: {_FETCH}"
            )
        self._architecture = _architecture(library, self._folder)
        self._library = library
        self._transcriber: Any = None
        self.model = f"moonshine/{self._folder.name}"
        self.language = "en"

    def load(self) -> None:
        """Load the model: 0.5 s on an idle core."""
        make = self._library.Transcriber
        with low_priority_helpers():
            self._transcriber = make(str(self._folder), self._architecture, options=_OPTIONS)

    def utterance(self, language: str) -> MoonshineEngine:
        """Begin an utterance. It is decoded as a whole each time, so nothing is kept of it."""
        return self

    def decode(self, samples: Samples, *, final: bool) -> Hypothesis:
        """Decode a whole utterance, the same way whether it is final or not."""
        transcript = self._transcriber.transcribe_without_streaming(samples.tolist(), RATE)
        texts = (line.text.strip() for line in transcript.lines)
        return Hypothesis(" ".join(filter(None, texts)), complete=True)


def _architecture(library: Any, folder: Path) -> Any:
    path = "/".join(folder.parts[-3:])
    for name, architecture in _ARCHITECTURES:
        if name in path:
            return library.ModelArch[architecture]
    raise ConfigurationError(
        f"moonshine: the folder {folder.name} does not name the architecture of its model; "
        "call it as Moonshine does, such as tiny-en"
    )
