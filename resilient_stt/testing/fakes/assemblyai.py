"""A fake AssemblyAI on loopback: the websocket protocol `/v3/ws` of Universal-Streaming.

The messages are those of https://www.assemblyai.com/docs/api-reference/streaming-api/streaming-api.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ..faults import InBandError
from ..speech.languages import written
from ..speech.recognizer import HeardWord
from .server import Rejection, ServerConnection
from .utterances import UtteranceDialogue, language_of, parsed
from .web import FakeWebServer

if TYPE_CHECKING:
    from livekit.plugins import assemblyai

    from .wires import Wire

_LONGEST_CHUNK = 1.0
"""Seconds of audio in a message; a longer one is closed with 3007."""
_INPUT_DURATION = 3007
_PARTIALS = (0.75, 3.0)
"""Seconds from the start of a turn to its first interim transcript, and between two of them, of the
models of Universal-3 (assemblyai.com/docs/streaming; the plugin's `continuous_partials`)."""
_LANGUAGES = ("en", "es", "fr", "de", "it", "pt")

_CLOSES = {
    400: (3006, "Invalid Message"),
    401: (1008, "Unauthorized Connection: Missing Authorization header"),
    402: (1008, "Unauthorized Connection: Insufficient account balance"),
    403: (1008, "Unauthorized Connection: Not authorized"),
    429: (3009, "Unauthorized Connection: Too many concurrent sessions"),
    500: (3005, "Session Cancelled: An error occurred"),
}
"""Close codes and reasons by the HTTP statuses that mean the same:
https://www.assemblyai.com/docs/streaming/common-session-errors-and-closures."""


class _UniversalDialogue(UtteranceDialogue):
    interim_every = 0.3

    def __init__(self, server: FakeAssemblyAI, connection: ServerConnection, wire: Wire) -> None:
        super().__init__(server, connection, wire)
        self._settings = server
        self._turn = 0
        model = connection.query.get("speech_model", "")
        self._is_sparing = model.startswith(("u3-", "universal-3"))

    async def run(self) -> None:
        begin = {"type": "Begin", "id": self.connection.request_id, "expires_at": 4102444800}
        self.send(begin, after=0.0)
        await super().run()

    @property
    def end_silence(self) -> float:
        asked = float(self.connection.query.get("max_turn_silence", "0")) / 1000
        return max(self._settings.endpoint_silence, asked)

    def refusal(self, data: str | bytes) -> tuple[int, str] | None:
        shortest = self._settings.min_chunk
        if isinstance(data, bytes):
            seconds = self.seconds(data)
            if seconds > _LONGEST_CHUNK or (shortest is not None and seconds < shortest):
                return _INPUT_DURATION, "Input Duration Error"
        return None

    def on_text(self, text: str) -> None:
        if self.is_closing_message(text):
            self.conclude()
            self.finish(
                {
                    "type": "Termination",
                    "audio_duration_seconds": round(self.recognizer.position),
                    "session_duration_seconds": round(self.recognizer.position),
                }
            )
        elif parsed(text).get("type") == "ForceEndpoint":
            self.flush()

    def is_closing_message(self, text: str) -> bool:
        return parsed(text).get("type") == "Terminate"

    def is_transcript(self, message: Mapping[str, Any]) -> bool:
        return message.get("type") == "Turn"

    def is_final(self, message: Mapping[str, Any]) -> bool:
        return bool(message.get("end_of_turn"))

    def report_start(self, at: float) -> None:
        if self._is_sparing:
            self.interim_every = _PARTIALS[0]
        self.send({"type": "SpeechStarted", "timestamp": round(at * 1000), "confidence": 0.9})

    def report_interim(self, words: Sequence[HeardWord]) -> None:
        if self._is_sparing:
            self.interim_every = _PARTIALS[1]
        self._send_turn(words, ended=False)

    def report_final(self, words: Sequence[HeardWord], *, flushed: bool) -> None:
        if words:
            self._send_turn(words, ended=True)
            self._turn += 1

    def _send_turn(self, words: Sequence[HeardWord], *, ended: bool) -> None:
        self.send(
            {
                "type": "Turn",
                "turn_order": self._turn,
                "turn_is_formatted": ended,
                "end_of_turn": ended,
                "transcript": written(words),
                "utterance": written(words) if ended else "",
                "end_of_turn_confidence": 1.0 if ended else 0.1,
                "language_code": language_of(words, "en"),
                "words": [
                    {
                        "text": word.text,
                        "start": round(word.start * 1000),
                        "end": round(word.end * 1000),
                        "confidence": 0.99 if word.whole else 0.4,
                        "word_is_final": ended or word is not words[-1],
                    }
                    for word in words
                ],
            }
        )


@dataclass(kw_only=True, repr=False, eq=False)
class FakeAssemblyAI(FakeWebServer):
    """An AssemblyAI that transcribes the audio it receives in turns.

    Each `Turn` has all words of its turn, with times in milliseconds. The models of Universal-3,
    among them the plugin's default, give few interim transcripts.

    Args:
        min_chunk: Seconds of audio below which a message is closed with 3007, as AssemblyAI's
            documents say: 0.05. None: any length, because the plugin sends shorter ones at the
            end of a stream and at a flush, and no close is reported for that.
        faults: What goes wrong. Can be assigned while the server runs.
        latency: Seconds from the audio that completes a message to the message.
        endpoint_silence: Seconds without speech that end a turn; the `max_turn_silence` of the
            query, if it is longer, takes its place.

    Raises:
        ValueError: A fault waits for a word that is not in the corpus.
    """

    plugin = "assemblyai"
    path = "/v3/ws"
    scheme = "ws"
    dialogue_class = _UniversalDialogue

    latency: float = 0.2
    endpoint_silence: float = 0.4
    min_chunk: float | None = None

    def stt(self, **options: Any) -> assemblyai.STT:
        """The published plugin, with its `base_url` here. `options` are those of
        `assemblyai.STT`."""
        from livekit.plugins import assemblyai

        return assemblyai.STT(**{**self.plugin_options, **self.address, **options})

    def languages(self, connection: ServerConnection) -> Sequence[str]:
        model = connection.query.get("speech_model", "")
        return ("en",) if model == "universal-streaming-english" else _LANGUAGES

    def check(self, request: web.Request) -> None:
        if not request.headers.get("Authorization"):
            raise Rejection(401, "Unauthorized Connection: Missing Authorization header")
        if not request.query.get("sample_rate", "").isdecimal():
            raise Rejection(400, "Invalid sample_rate")

    def error_body(self, status: int, request_id: str, message: str | None) -> Mapping[str, Any]:
        return {"error": message or "Unauthorized Connection", "error_code": status}

    def in_band_error(self, connection: ServerConnection, fault: InBandError) -> Mapping[str, Any]:
        """AssemblyAI's error message, which has the code with which the connection then closes."""
        code, reason = self.close_after(fault)
        number = {} if fault.code is None else {"error_code": code}
        return {"type": "Error", **number, "error": fault.message or reason}

    def close_after(self, fault: InBandError) -> tuple[int, str]:
        status = fault.code if isinstance(fault.code, int) else 500
        return _CLOSES.get(status, _CLOSES[500] if status >= 500 else _CLOSES[400])
