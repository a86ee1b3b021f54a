"""A fake Speechmatics on loopback: the Agent STT websocket, `/v2/agent`.

The messages are those of the package `speechmatics-agent-stt`, by https://docs.speechmatics.com.
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
from .utterances import UtteranceDialogue, parsed
from .web import FakeWebServer

if TYPE_CHECKING:
    from livekit.plugins import speechmatics

    from .wires import Wire

_RATE = 16_000
_LANGUAGES = ("en",)
_TYPES = {401: "not_authorised", 403: "not_allowed", 429: "quota_exceeded", 400: "invalid_message"}
_REASONS = {
    "quota_exceeded": "Maximum number of concurrent connections allowed has been reached",
}


class _AgentDialogue(UtteranceDialogue):
    interim_every = 0.4

    def __init__(self, server: FakeSpeechmatics, connection: ServerConnection, wire: Wire) -> None:
        super().__init__(server, connection, wire)
        self._finds_turns = True
        self._turn = 0

    @property
    def end_silence(self) -> float:
        return self._server.endpoint_silence if self._finds_turns else float("inf")

    def on_text(self, text: str) -> None:
        message = parsed(text)
        match message.get("message"):
            case "StartRecognition":
                self._start(message)
            case "ForceEndOfUtterance":
                self.flush()
            case "EndOfStream":
                self.conclude()
                self.finish({"message": "EndOfTranscript"})
            case _:
                pass

    def is_closing_message(self, text: str) -> bool:
        return parsed(text).get("message") == "EndOfStream"

    def is_transcript(self, message: Mapping[str, Any]) -> bool:
        return message["message"] in ("AddSegment", "AddPartialSegment")

    def is_final(self, message: Mapping[str, Any]) -> bool:
        return message.get("message") == "AddSegment"

    def report_start(self, at: float) -> None:
        self._send_timed("SpeechStarted", at, at)
        self._send_timed("StartOfTurn", at, at, turn_id=self._turn)

    def report_interim(self, words: Sequence[HeardWord]) -> None:
        self._send_segment("AddPartialSegment", words)

    def report_final(self, words: Sequence[HeardWord], *, flushed: bool) -> None:
        position = self.recognizer.position
        if words:
            self._send_segment("AddSegment", words)
        self._send_timed("SpeechEnded", position, position)
        self._send_timed("EndOfTurn", position, position, turn_id=self._turn)
        self._turn += 1

    def _start(self, message: Mapping[str, Any]) -> None:
        turns = message.get("turn_config", {})
        self._finds_turns = turns.get("turn_detection_mode", "vad") == "vad"
        language = message.get("transcription_config", {}).get("language", "en")
        self.configure(_RATE, (base(language),))
        pack = {"word_delimiter": " ", "writing_direction": "left-to-right", "itn": True}
        started = {"message": "RecognitionStarted", "id": self.connection.request_id}
        self.send({**started, "language_pack_info": pack}, after=0.0)

    def _send_segment(self, kind: str, words: Sequence[HeardWord]) -> None:
        segment = {"transcript": written(words), "speaker": "S1"}
        self._send_timed(kind, words[0].start, words[-1].end, segment=segment)

    def _send_timed(self, kind: str, start: float, end: float, **fields: Any) -> None:
        times = {"start_time": round(start, 3), "end_time": round(end, 3)}
        self.send({"message": kind, "metadata": times, **fields})


@dataclass(kw_only=True, repr=False, eq=False)
class FakeSpeechmatics(FakeWebServer):
    """A Speechmatics that transcribes the audio it receives in segments, without times of words.

    Args:
        faults: What goes wrong. Can be assigned while the server runs.
        latency: Seconds from the audio that completes a message to the message.
        endpoint_silence: Seconds without speech that end a turn, where the server finds the turns.
            With the plugin's default (`EXTERNAL`) only the client ends them.

    Raises:
        ValueError: A fault waits for a word that is not in the corpus.
    """

    plugin = "speechmatics"
    path = base_path = "/v2/agent"
    scheme = "ws"
    dialogue_class = _AgentDialogue

    latency: float = 0.2
    endpoint_silence: float = 0.5

    def stt(self, **options: Any) -> speechmatics.STT:
        """The published plugin, with its `base_url` here; the server finds the turns. `options` are
        those of `speechmatics.STT`."""
        from livekit.plugins import speechmatics

        mode = speechmatics.TurnDetectionMode.VAD
        return speechmatics.STT(**{"turn_detection_mode": mode, **self.address, **options})

    @property
    def plugin_call(self) -> str:
        mode = "turn_detection_mode=speechmatics.TurnDetectionMode.VAD"
        return super().plugin_call.replace("STT(", f"STT({mode}, ", 1)

    def sample_rate(self, connection: ServerConnection) -> int:
        return _RATE

    def languages(self, connection: ServerConnection) -> Sequence[str]:
        return _LANGUAGES  # until `StartRecognition` comes

    def check(self, request: web.Request) -> None:
        if not request.headers.get("Authorization", "").removeprefix("Bearer "):
            raise Rejection(401, "Missing token")

    def error_body(self, status: int, request_id: str, message: str | None) -> Mapping[str, Any]:
        return {"code": status, "error": message or "Error"}

    def in_band_error(self, connection: ServerConnection, fault: InBandError) -> Mapping[str, Any]:
        known = _TYPES.get(fault.code, "internal_error") if isinstance(fault.code, int) else None
        kind = known or fault.code or "internal_error"
        reason = _REASONS.get(str(kind), "Error")
        return {"message": "Error", "type": kind, "reason": fault.message or reason}
