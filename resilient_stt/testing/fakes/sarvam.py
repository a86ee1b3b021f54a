"""A fake Sarvam on loopback: the realtime websocket of Saaras.

The messages are those that `livekit-plugins-sarvam` reads (`stt_streaming.py`), by
https://docs.sarvam.ai.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ..faults import InBandError
from ..speech.languages import base, written
from ..speech.recognizer import HeardWord
from .server import Rejection, ServerConnection
from .utterances import UtteranceDialogue, language_of, parsed
from .web import FakeWebServer

if TYPE_CHECKING:
    from livekit.plugins import sarvam

    from .wires import Wire

_PATH = "/v1/stt/ws"
_LANGUAGES = ("en", "hi", "bn", "ta", "te", "es")
_CODES = {401: "invalid_api_key", 402: "insufficient_quota", 429: "rate_limit_exceeded"}


class _UtterancesDialogue(UtteranceDialogue):
    interim_every = 0.4

    def __init__(self, server: FakeSarvam, connection: ServerConnection, wire: Wire) -> None:
        super().__init__(server, connection, wire)
        self._utterance = 0

    async def run(self) -> None:
        self._send_event("session.begin", after=0.0, session_id=self.connection.request_id)
        await super().run()

    @property
    def end_silence(self) -> float:
        query = self.connection.query
        if query.get("endpointing") == "manual":
            return float("inf")
        asked = query.get("silence_duration_ms")
        return self._server.endpoint_silence if asked is None else float(asked) / 1000

    def on_text(self, text: str) -> None:
        match parsed(text).get("event"):
            case "speech_end":
                self.flush()
            case "config.update":
                self._send_event("config.updated", applied=[])
            case "end":
                self.conclude()
                duration = round(self.recognizer.position, 3)
                self.finish({"event": "session.end", "audio_duration_s": duration})
            case _:
                pass

    def is_closing_message(self, text: str) -> bool:
        return parsed(text).get("event") == "end"

    def is_transcript(self, message: Mapping[str, Any]) -> bool:
        return str(message["event"]).startswith("transcript.")

    def is_final(self, message: Mapping[str, Any]) -> bool:
        return message.get("event") == "transcript.final"

    def report_start(self, at: float) -> None:
        self._send_event("vad.speech_start", utterance_idx=self._utterance)

    def report_interim(self, words: Sequence[HeardWord]) -> None:
        self._send_event("transcript.partial", **self._transcript(words))

    def report_final(self, words: Sequence[HeardWord], *, flushed: bool) -> None:
        self._send_event("vad.speech_end", utterance_idx=self._utterance)
        times = {}
        if words and self.connection.query.get("return_timestamps") == "true":
            times = {"start_s": round(words[0].start, 3), "end_s": round(words[-1].end, 3)}
        self._send_event("transcript.final", **self._transcript(words), **times)
        self._utterance += 1

    def _transcript(self, words: Sequence[HeardWord]) -> dict[str, Any]:
        language = language_of(words, "en")
        return {
            "text": written(words),
            "language": f"{language}-IN",
            "language_confidence": 0.9,
            "utterance_idx": self._utterance,
        }

    def _send_event(self, event: str, *, after: float | None = None, **fields: Any) -> None:
        message = {"event": event, "request_id": self.connection.request_id, **fields}
        self.send(message, after=after)


@dataclass(kw_only=True, repr=False, eq=False)
class FakeSarvam(FakeWebServer):
    """A Sarvam that transcribes the audio it receives, without times of words.

    The plugin gives a final no start, and for its end the audio that it had sent when the end of
    speech came, unless it is made with `return_timestamps=True`.

    Args:
        faults: What goes wrong. Can be assigned while the server runs.
        latency: Seconds from the audio that completes a message to the message.
        endpoint_silence: Seconds without speech that end an utterance, unless the query says it.

    Raises:
        ValueError: A fault waits for a word that is not in the corpus.
    """

    plugin = "sarvam"
    plugin_class = "STTRealtime"
    path = base_path = _PATH
    scheme = "ws"
    dialogue_class = _UtterancesDialogue

    latency: float = 0.2
    endpoint_silence: float = 0.4

    def stt(self, **options: Any) -> sarvam.STTRealtime:
        """The published plugin, with its `base_url` here. `options` are those of
        `sarvam.STTRealtime`."""
        from livekit.plugins import sarvam

        return sarvam.STTRealtime(**{**self.plugin_options, **self.address, **options})

    def languages(self, connection: ServerConnection) -> Sequence[str]:
        language = connection.query.get("language_code", "auto")
        return _LANGUAGES if language in ("auto", "unknown") else (base(language),)

    def check(self, request: web.Request) -> None:
        if not request.headers.get("api-subscription-key"):
            raise Rejection(403, "Invalid API key")

    def sample_rate(self, connection: ServerConnection) -> int:
        return int(connection.query.get("sample_rate", "16000"))

    def error_body(self, status: int, request_id: str, message: str | None) -> Mapping[str, Any]:
        return {"error": {"code": _CODES.get(status, "error"), "message": message or "Error"}}

    def in_band_error(self, connection: ServerConnection, fault: InBandError) -> Mapping[str, Any]:
        number = {"status_code": fault.code} if isinstance(fault.code, int) else {}
        code = _CODES.get(fault.code, "error") if isinstance(fault.code, int) else fault.code
        fatal = fault.then != "go_on"
        about = {"code": code or "error", "message": fault.message or "Error", "is_fatal": fatal}
        return {"event": "error", **number, **about}
