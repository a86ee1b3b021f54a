"""A fake Gladia on loopback: a POST opens a live session, and its websocket transcribes.

The messages are those of https://docs.gladia.io/api-reference/v2/live/init and .../websocket. Audio
comes as base64 in JSON.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ..faults import InBandError
from ..speech.languages import base, written
from ..speech.recognizer import HeardWord
from .server import Rejection, ServerConnection, url_of
from .utterances import LANGUAGES, UtteranceDialogue, language_of, parsed
from .web import FakeWebServer

if TYPE_CHECKING:
    from livekit.plugins import gladia

    from .wires import Wire


class _LiveDialogue(UtteranceDialogue):
    interim_every = 0.3

    def __init__(self, server: FakeGladia, connection: ServerConnection, wire: Wire) -> None:
        super().__init__(server, connection, wire)
        self._asked = server.sessions[connection.request_id]
        self._utterances = 0
        self.longest = float(self._asked.get("maximum_duration_without_endpointing", 5))

    @property
    def end_silence(self) -> float:
        return max(self._server.endpoint_silence, float(self._asked.get("endpointing", 0.05)))

    def audio_in(self, text: str) -> bytes | None:
        message = parsed(text)
        if message.get("type") != "audio_chunk":
            return None
        return base64.b64decode(message["data"]["chunk"])

    def on_text(self, text: str) -> None:
        if self.is_closing_message(text):
            self.conclude()
            self.finish({"type": "post_final_transcript", "data": {}})

    def is_closing_message(self, text: str) -> bool:
        return parsed(text).get("type") == "stop_recording"

    def is_transcript(self, message: Mapping[str, Any]) -> bool:
        return message.get("type") == "transcript"

    def is_final(self, message: Mapping[str, Any]) -> bool:
        transcribes = message.get("type") == "transcript"
        return transcribes and bool(message["data"].get("is_final"))

    def report_start(self, at: float) -> None:
        self._send_typed("speech_start", time=round(at, 3), channel=0)

    def report_interim(self, words: Sequence[HeardWord]) -> None:
        if self._asked.get("messages_config", {}).get("receive_partial_transcripts", True):
            self._send_transcript(words, is_final=False)

    def report_final(self, words: Sequence[HeardWord], *, flushed: bool) -> None:
        if words:
            self._send_transcript(words, is_final=True)
            self._utterances += 1

    def _send_transcript(self, words: Sequence[HeardWord], *, is_final: bool) -> None:
        self._send_typed(
            "transcript",
            id=f"00_{self._utterances:08d}",
            is_final=is_final,
            utterance={
                "text": written(words),
                "language": language_of(words, "en"),
                "start": round(words[0].start, 3),
                "end": round(words[-1].end, 3),
                "confidence": 0.9,
                "channel": 0,
                "words": [
                    {
                        "word": word.text if at == 0 else f" {word.text}",
                        "start": round(word.start, 3),
                        "end": round(word.end, 3),
                        "confidence": 0.9 if word.whole else 0.4,
                    }
                    for at, word in enumerate(words)
                ],
            },
        )

    def _send_typed(self, kind: str, **data: Any) -> None:
        self.send({"type": kind, "session_id": self.connection.request_id, "data": data})


@dataclass(kw_only=True, repr=False, eq=False)
class FakeGladia(FakeWebServer):
    """A Gladia that transcribes the audio it receives.

    A session and its websocket are one connection: faults that answer a request answer the POST,
    and those of an open connection happen on the websocket. `stop_recording` ends the session.

    Args:
        faults: What goes wrong. Can be assigned while the server runs.
        latency: Seconds from the audio that completes a message to the message.
        endpoint_silence: Seconds without speech that end an utterance, if they are longer than the
            `endpointing` that the client asks for.

    Raises:
        ValueError: A fault waits for a word that is not in the corpus.
    """

    plugin = "gladia"
    path = base_path = "/v2/live"
    dialogue_class = _LiveDialogue
    post_paths = ("/v2/live",)

    latency: float = 0.2
    endpoint_silence: float = 0.25
    sessions: dict[str, Mapping[str, Any]] = field(init=False, default_factory=dict)
    """What was asked for, by the session's id, which is the connection's `request_id`."""
    _awaited: dict[str, ServerConnection] = field(init=False, default_factory=dict)

    def stt(self, **options: Any) -> gladia.STT:
        """The published plugin, with its `base_url` here. `options` are those of `gladia.STT`."""
        from livekit.plugins import gladia

        return gladia.STT(**{**self.plugin_options, **self.address, **options})

    def sample_rate(self, connection: ServerConnection) -> int:
        return int(self.sessions[connection.request_id].get("sample_rate", 16_000))

    def languages(self, connection: ServerConnection) -> Sequence[str]:
        asked = self.sessions[connection.request_id].get("language_config") or {}
        return tuple(map(base, asked.get("languages") or LANGUAGES))

    def check(self, request: web.Request) -> None:
        if request.method == "POST" and not request.headers.get("X-Gladia-Key"):
            raise Rejection(401, "Missing X-Gladia-Key")
        if request.method == "GET" and "token" not in request.query:
            raise Rejection(403, "Missing token")

    async def answer_post(self, request: web.Request, connection: ServerConnection) -> web.Response:
        asked = await request.json()
        if not isinstance(asked, dict):
            raise Rejection(400, "The body is no object.")
        session = connection.request_id
        self.sessions[session], self._awaited[session] = asked, connection
        url = url_of(self._host, self.port, f"{self.path}?token={session}", "ws")
        body = {"id": session, "url": url}
        return web.json_response(body, status=201)

    def resumed(self, request: web.Request) -> ServerConnection | None:
        if request.method == "POST":
            return None
        return self._awaited.pop(request.query.get("token", ""), None)

    def is_awaited(self, connection: ServerConnection) -> bool:
        return connection.request_id in self._awaited

    def error_body(self, status: int, request_id: str, message: str | None) -> Mapping[str, Any]:
        return {"statusCode": status, "message": message or "Error", "request_id": request_id}

    def in_band_error(self, connection: ServerConnection, fault: InBandError) -> Mapping[str, Any]:
        number = {} if fault.code is None else {"code": fault.code}
        return {"type": "error", "data": {**number, "message": fault.message or "Error"}}
