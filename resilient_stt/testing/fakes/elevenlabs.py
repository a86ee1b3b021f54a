"""A fake ElevenLabs on loopback: the websocket of Scribe v2 Realtime, and the batch endpoint.

The messages are those of https://elevenlabs.io/docs/api-reference/speech-to-text/v-1-speech-to-text
-realtime. Audio comes as base64 in JSON.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from aiohttp import web

from ..faults import InBandError
from ..speech.languages import base, written
from ..speech.recognizer import HeardWord
from .recordings import posted_form, recognized
from .server import Rejection, ServerConnection
from .utterances import LANGUAGES, UtteranceDialogue, language_of, parsed
from .web import FakeWebServer

if TYPE_CHECKING:
    from livekit.plugins import elevenlabs

    from .wires import Wire

_BATCH_PATH = "/v1/speech-to-text"
_SHORTEST_COMMIT = 0.3
"""Seconds of audio since the last commit below which a commit closes the session, as the plugin
notes."""
_KINDS = {401: "auth_error", 402: "quota_exceeded", 403: "auth_error", 429: "rate_limited"}


class _ScribeDialogue(UtteranceDialogue):
    interim_every = 0.3

    def __init__(self, server: FakeElevenLabs, connection: ServerConnection, wire: Wire) -> None:
        super().__init__(server, connection, wire)
        self._committed = 0.0  # seconds of audio
        self.longest = server.longest_segment

    async def run(self) -> None:
        self._send_typed("session_started", after=0.0, session_id=self.connection.request_id)
        await super().run()

    @property
    def end_silence(self) -> float:
        if self.connection.query.get("commit_strategy") != "vad":
            return float("inf")
        asked = self.connection.query.get("vad_silence_threshold_secs")
        return self._server.endpoint_silence if asked is None else float(asked)

    def audio_in(self, text: str) -> bytes | None:
        return base64.b64decode(parsed(text).get("audio_base_64", "")) or None

    def on_text(self, text: str) -> None:
        if not parsed(text).get("commit"):
            return  # a keepalive
        if self.recognizer.position - self._committed < _SHORTEST_COMMIT:
            self._send_typed("commit_throttled", error="Commit needs at least 0.3 s of audio")
            self.close_when_sent(1008)
            return
        self.flush()

    def is_closing_message(self, text: str) -> bool:
        return False  # a stream has no end but the client's close

    def is_transcript(self, message: Mapping[str, Any]) -> bool:
        return "transcript" in message["message_type"]

    def is_final(self, message: Mapping[str, Any]) -> bool:
        # A commit comes twice. This is the copy that the plugin reads: without a language, or if it
        # asks for times, the one that has them.
        query = self.connection.query
        timed = "include_timestamps" in query or "include_language_detection" in query
        kind = "committed_transcript_with_timestamps" if timed else "committed_transcript"
        return bool(message.get("message_type") == kind)

    def report_start(self, at: float) -> None:
        pass  # there is no message for it

    def report_interim(self, words: Sequence[HeardWord]) -> None:
        self._send_typed("partial_transcript", text=written(words))

    def report_final(self, words: Sequence[HeardWord], *, flushed: bool) -> None:
        self._committed = self.recognizer.position
        self._send_typed("committed_transcript", text=written(words))
        self._send_typed(
            "committed_transcript_with_timestamps",
            text=written(words),
            language_code=language_of(words, "en"),
            words=_words(words),
        )

    def _send_typed(self, kind: str, *, after: float | None = None, **fields: Any) -> None:
        self.send({"message_type": kind, **fields}, after=after)


@dataclass(kw_only=True, repr=False, eq=False)
class FakeElevenLabs(FakeWebServer):
    """An ElevenLabs that transcribes the audio it receives.

    With `commit_strategy=manual`, which is the plugin's default, a final comes only when the client
    commits, and `longest_segment` of audio forces one. With `vad` a pause ends a segment. Each
    final comes twice, the second time with words and their times.

    Args:
        faults: What goes wrong. Can be assigned while the server runs.
        latency: Seconds from the audio that completes a message to the message.
        endpoint_silence: Seconds without speech that end a segment (`vad`), unless the query says
            it.
        longest_segment: Seconds of audio after which an uncommitted segment is committed by itself.

    Raises:
        ValueError: A fault waits for a word that is not in the corpus.
    """

    plugin = "elevenlabs"
    plugin_options: ClassVar[Mapping[str, Any]] = {"model_id": "scribe_v2_realtime"}
    path = "/v1/speech-to-text/realtime"
    dialogue_class = _ScribeDialogue
    base_path = "/v1"
    post_paths = (_BATCH_PATH,)
    request_id_header = "x-trace-id"

    latency: float = 0.15
    endpoint_silence: float = 0.7
    longest_segment: float = 90.0

    def stt(self, **options: Any) -> elevenlabs.STT:
        """The published plugin, with its `base_url` here. `options` are those of
        `elevenlabs.STT`."""
        from livekit.plugins import elevenlabs

        return elevenlabs.STT(**{**self.plugin_options, **self.address, **options})

    def sample_rate(self, connection: ServerConnection) -> int:
        return int(connection.query.get("audio_format", "pcm_16000").removeprefix("pcm_"))

    def languages(self, connection: ServerConnection) -> Sequence[str]:
        language = connection.query.get("language_code")
        return (base(language),) if language else LANGUAGES

    def check(self, request: web.Request) -> None:
        if not request.headers.get("xi-api-key"):
            raise Rejection(401, "Invalid API key")

    def error_body(self, status: int, request_id: str, message: str | None) -> Mapping[str, Any]:
        kind = _KINDS.get(status, "server_error")
        return {"detail": {"status": kind, "message": message or kind}}

    async def answer_post(self, request: web.Request, connection: ServerConnection) -> web.Response:
        form = await posted_form(request)
        language = form.fields.get("language_code")
        languages = (base(language),) if language else LANGUAGES
        words = await recognized(self, connection, form, languages)
        body = {
            "language_code": language_of(words, "en"),
            "language_probability": 0.98,
            "text": written(words),
            "words": _words(words),
        }
        return web.json_response(body, headers={self.request_id_header: connection.request_id})

    def in_band_error(self, connection: ServerConnection, fault: InBandError) -> Mapping[str, Any]:
        kind = _KINDS.get(fault.code, "transcriber_error") if isinstance(fault.code, int) else None
        return {"message_type": kind or fault.code or "error", "error": fault.message or "Error"}


def _words(words: Sequence[HeardWord]) -> list[dict[str, Any]]:
    return [
        {
            "text": word.text,
            "start": round(word.start, 3),
            "end": round(word.end, 3),
            "type": "word",
            "logprob": -0.05 if word.whole else -2.0,
        }
        for word in words
    ]
