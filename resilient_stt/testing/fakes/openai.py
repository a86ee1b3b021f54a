"""A fake OpenAI on loopback: the realtime transcription websocket, and the batch endpoint.

The messages are those of https://platform.openai.com/docs/guides/realtime-transcription and
https://platform.openai.com/docs/api-reference/audio/createTranscription. On the websocket audio
comes as base64 in JSON, at 24 kHz. Groq's batch endpoint is the same, under another address.
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
    from livekit.plugins import openai

    from .wires import Wire

_RATE = 24_000
_BATCH_PATH = "/v1/audio/transcriptions"
_CODES = {
    401: "invalid_api_key",
    403: "insufficient_permissions",
    429: "rate_limit_exceeded",
    402: "insufficient_quota",
}
_DELTA = 4  # words in a delta


class _RealtimeDialogue(UtteranceDialogue):
    def __init__(self, server: FakeOpenAI, connection: ServerConnection, wire: Wire) -> None:
        super().__init__(server, connection, wire)
        self._silence = server.endpoint_silence
        self._item = 0

    async def run(self) -> None:
        self._send_typed("session.created", after=0.0)
        await super().run()

    @property
    def end_silence(self) -> float:
        return self._silence

    def audio_in(self, text: str) -> bytes | None:
        message = parsed(text)
        if message.get("type") != "input_audio_buffer.append":
            return None
        return base64.b64decode(message["audio"])

    def on_text(self, text: str) -> None:
        message = parsed(text)
        match message.get("type"):
            case "session.update":
                self._update(message.get("session", {}))
            case "input_audio_buffer.commit":
                self.flush()
            case _:
                pass

    def is_closing_message(self, text: str) -> bool:
        return False  # a stream has no end but the client's close

    def is_transcript(self, message: Mapping[str, Any]) -> bool:
        return "input_audio_transcription" in message["type"]

    def is_final(self, message: Mapping[str, Any]) -> bool:
        return str(message.get("type", "")).endswith("input_audio_transcription.completed")

    def report_start(self, at: float) -> None:
        if self._silence < float("inf"):
            self._send_item("input_audio_buffer.speech_started", audio_start_ms=round(at * 1000))

    def report_interim(self, words: Sequence[HeardWord]) -> None:
        pass  # the deltas come after the turn

    def report_final(self, words: Sequence[HeardWord], *, flushed: bool) -> None:
        if not flushed:
            position = round(self.recognizer.position * 1000)
            self._send_item("input_audio_buffer.speech_stopped", after=0.0, audio_end_ms=position)
        self._send_item("input_audio_buffer.committed", after=0.0)
        kind = "conversation.item.input_audio_transcription"
        for at in range(0, len(words), _DELTA):
            self._send_item(f"{kind}.delta", delta=f" {written(words[at : at + _DELTA])}")
        self._send_item(f"{kind}.completed", transcript=written(words))
        self._item += 1

    def _update(self, session: Mapping[str, Any]) -> None:
        audio = session.get("audio", {}).get("input", {})
        detection = audio.get("turn_detection")
        if detection is None and "turn_detection" in audio:
            self._silence = float("inf")
        elif detection is not None:
            self._silence = float(detection.get("silence_duration_ms", 500)) / 1000
        language = audio.get("transcription", {}).get("language")
        self.configure(_RATE, (base(language),) if language else LANGUAGES)
        self._send_typed("session.updated", after=0.0)

    def _send_item(self, kind: str, *, after: float | None = None, **fields: Any) -> None:
        self._send_typed(kind, after=after, item_id=f"item_{self._item}", **fields)

    def _send_typed(self, kind: str, *, after: float | None = None, **fields: Any) -> None:
        self.send({"type": kind, "event_id": self.connection.request_id, **fields}, after=after)


@dataclass(kw_only=True, repr=False, eq=False)
class FakeOpenAI(FakeWebServer):
    """An OpenAI that transcribes the audio it receives, without any times.

    The server finds the turns, unless the session has no `turn_detection`; then the client commits
    each. The text of a turn comes in deltas after the turn has ended.

    Args:
        faults: What goes wrong. Can be assigned while the server runs.
        latency: Seconds from the end of a turn to its first delta, and of a batch request.
        endpoint_silence: Seconds without speech that end a turn, unless the session says it.

    Raises:
        ValueError: A fault waits for a word that is not in the corpus.
    """

    plugin = "openai"
    plugin_options: ClassVar[Mapping[str, Any]] = {"use_realtime": True}
    path = "/v1/realtime"
    dialogue_class = _RealtimeDialogue
    base_path = "/v1"
    post_paths = (_BATCH_PATH,)

    latency: float = 0.3
    endpoint_silence: float = 0.5

    def stt(self, **options: Any) -> openai.STT:
        """The published plugin in its realtime mode, with its `base_url` here. `options` are those
        of `openai.STT`; `use_realtime=False` makes it a batch provider."""
        from livekit.plugins import openai

        return openai.STT(**{**self.plugin_options, **self.address, **options})

    def sample_rate(self, connection: ServerConnection) -> int:
        return _RATE

    def languages(self, connection: ServerConnection) -> Sequence[str]:
        return LANGUAGES

    def check(self, request: web.Request) -> None:
        if not request.headers.get("Authorization", "").removeprefix("Bearer "):
            raise Rejection(401, "You didn't provide an API key.")

    def error_body(self, status: int, request_id: str, message: str | None) -> Mapping[str, Any]:
        return {"error": _error(status, message)}

    async def answer_post(self, request: web.Request, connection: ServerConnection) -> web.Response:
        form = await posted_form(request)
        language = form.fields.get("language")
        languages = (base(language),) if language else LANGUAGES
        words = await recognized(self, connection, form, languages)
        body: dict[str, Any] = {"text": written(words)}
        if form.fields.get("response_format") == "verbose_json":
            body |= {"language": language_of(words, "en"), "duration": connection.audio}
        return web.json_response(body, headers={self.request_id_header: connection.request_id})

    def in_band_error(self, connection: ServerConnection, fault: InBandError) -> Mapping[str, Any]:
        return {"type": "error", "error": _error(fault.code, fault.message or None)}


def _error(code: int | str | None, message: str | None) -> dict[str, Any]:
    name = _CODES.get(code, "server_error") if isinstance(code, int) else code or "server_error"
    kind = "server_error" if name == "server_error" else "invalid_request_error"
    return {"type": kind, "code": name, "message": message or name, "param": None}
