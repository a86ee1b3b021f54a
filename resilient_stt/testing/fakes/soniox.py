"""A fake Soniox on loopback: the real-time websocket.

The messages are those of https://soniox.com/docs/stt/api-reference/websocket-api. The first message
of the client is the configuration, with the key; then come audio, `finalize` and `keepalive`. An
empty message ends the stream.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from aiohttp import web

from ..faults import InBandError
from ..speech.languages import base, spaced
from ..speech.recognizer import HeardWord
from .server import Rejection, ServerConnection
from .utterances import UtteranceDialogue, parsed
from .web import FakeWebServer

if TYPE_CHECKING:
    from livekit.plugins import soniox

    from .wires import Wire

_LANGUAGES = ("en", "es", "fr", "de", "it", "pt", "zh", "ja", "hi", "ko", "ru", "nl")
_SETTLES_AFTER = 1.2
"""Seconds of audio behind a word after which its tokens are final, also in mid-utterance."""
_DEFAULT_RATE = 16_000


class _TokensDialogue(UtteranceDialogue):
    revises = False
    interim_every = 0.3

    def __init__(self, server: FakeSoniox, connection: ServerConnection, wire: Wire) -> None:
        super().__init__(server, connection, wire)
        self._configured = False
        self._settled = 0  # words of the utterance whose tokens were sent as final

    def on_text(self, text: str) -> None:
        message = parsed(text)
        if not self._configured:
            self._begin(message)
        elif self.is_closing_message(text):
            self.conclude()
            self.finish(self._message([], finished=True))
        elif message.get("type") == "finalize":
            self.flush()

    def is_closing_message(self, text: str) -> bool:
        return not text

    def is_transcript(self, message: Mapping[str, Any]) -> bool:
        return bool(message.get("tokens"))

    def is_final(self, message: Mapping[str, Any]) -> bool:
        return any(token["text"] == "<end>" for token in message.get("tokens", ()))

    def restart(self) -> None:
        super().restart()
        self._settled = 0

    def report_start(self, at: float) -> None:
        pass  # the first token says it

    def report_interim(self, words: Sequence[HeardWord]) -> None:
        until = self.recognizer.position - _SETTLES_AFTER
        settled = sum(word.end <= until for word in words)
        final = _tokens(words[self._settled : settled], is_final=True)
        self.send(self._message(final + _tokens(words[settled:], is_final=False)))
        self._settled = settled

    def report_final(self, words: Sequence[HeardWord], *, flushed: bool) -> None:
        final = _tokens(words[self._settled :], is_final=True)
        marks = ["<end>"] if words else []
        marks += ["<fin>"] if flushed else []
        self.send(self._message(final + [{"text": m, "is_final": True} for m in marks]))
        self._settled = 0

    def _begin(self, configuration: Mapping[str, Any]) -> None:
        """Take the configuration: the first message of the client."""
        self._configured = True
        rate = configuration.get("sample_rate", _DEFAULT_RATE)
        if "model" not in configuration or not isinstance(rate, int):
            self.send({"tokens": [], "error_code": 400, "error_message": "Missing model"})
            self.close_when_sent(1000)
            return
        hints = configuration.get("language_hints") or ()
        strict = configuration.get("language_hints_strict")
        self.configure(rate, tuple(map(base, hints)) if hints and strict else _LANGUAGES)

    def _message(self, tokens: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
        position = round(self.recognizer.position * 1000)
        processed = {"final_audio_proc_ms": position, "total_audio_proc_ms": position}
        return {"tokens": tokens, **processed, **fields}


@dataclass(kw_only=True, repr=False, eq=False)
class FakeSoniox(FakeWebServer):
    """A Soniox that transcribes the audio it receives in tokens.

    Tokens become final one after another; an endpoint is the token `<end>`. The times of tokens are
    milliseconds of the connection's audio.

    Args:
        faults: What goes wrong. Can be assigned while the server runs.
        latency: Seconds from the audio that completes a message to the message.
        endpoint_silence: Seconds without speech before the `<end>`.

    Raises:
        ValueError: A fault waits for a word that is not in the corpus.
    """

    plugin = "soniox"
    path = base_path = "/transcribe-websocket"
    scheme = "ws"
    dialogue_class = _TokensDialogue
    unnoticed: ClassVar[Mapping[str, str]] = {
        "lost-final": "tokens become final one after another. If the last of a sentence are lost, "
        "the plugin joins the rest to the next sentence, which looks like a revision"
    }

    latency: float = 0.15
    endpoint_silence: float = 0.6

    def stt(self, **options: Any) -> soniox.STT:
        """The published plugin, with its `base_url` here. `options` are those of `soniox.STT`."""
        from livekit.plugins import soniox

        return soniox.STT(**{**self.plugin_options, **self.address, **options})

    def sample_rate(self, connection: ServerConnection) -> int:
        return _DEFAULT_RATE  # until the configuration comes

    def languages(self, connection: ServerConnection) -> Sequence[str]:
        return _LANGUAGES

    def check(self, request: web.Request) -> None:
        if not request.headers.get("Authorization", "").removeprefix("Bearer "):
            raise Rejection(401, "Missing API key")

    def error_body(self, status: int, request_id: str, message: str | None) -> Mapping[str, Any]:
        return {"error_code": status, "error_message": message or "Error"}

    def in_band_error(self, connection: ServerConnection, fault: InBandError) -> Mapping[str, Any]:
        number = {} if fault.code is None else {"error_code": fault.code}
        return {"tokens": [], **number, "error_message": fault.message or "Cannot continue request"}


def _tokens(words: Sequence[HeardWord], *, is_final: bool) -> list[dict[str, Any]]:
    """Words as tokens of at most five letters; a word begins with a space."""
    tokens = []
    for word in words:
        text = f" {word.text}" if spaced(word.language) else word.text
        parts = [text[at : at + 5] for at in range(0, len(text), 5)]
        length = (word.end - word.start) / len(parts)
        tokens += [
            {
                "text": part,
                "start_ms": round((word.start + at * length) * 1000),
                "end_ms": round((word.start + (at + 1) * length) * 1000),
                "confidence": 0.98 if word.whole else 0.4,
                "is_final": is_final,
                "language": word.language,
            }
            for at, part in enumerate(parts)
        ]
    return tokens
