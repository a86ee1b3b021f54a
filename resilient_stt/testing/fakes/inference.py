"""A fake LiveKit Inference on loopback: the gateway of LiveKit Cloud.

Its protocol is documented nowhere but in LiveKit's client (`livekit.agents.inference.stt`), from
which the messages are taken. Audio comes as base64 in JSON. The token is not checked.
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
from .server import Rejection, ServerConnection
from .utterances import LANGUAGES, UtteranceDialogue, language_of, parsed
from .web import FakeWebServer

if TYPE_CHECKING:
    from livekit.agents import inference

_DEFAULT_RATE = 16_000


class _SessionDialogue(UtteranceDialogue):
    interim_every = 0.3

    def audio_in(self, text: str) -> bytes | None:
        message = parsed(text)
        return base64.b64decode(message["audio"]) if message.get("type") == "input_audio" else None

    def on_text(self, text: str) -> None:
        match parsed(text).get("type"):
            case "session.create":
                self._create(parsed(text))
            case "session.finalize":
                self.conclude()
                self._send_typed("session.finalized")
            case "session.close":
                self.conclude()
                self.finish({"type": "session.closed"})
            case _:
                pass  # `session.update`, and what the gateway does not know

    def is_closing_message(self, text: str) -> bool:
        return parsed(text).get("type") == "session.close"

    def is_transcript(self, message: Mapping[str, Any]) -> bool:
        return str(message.get("type", "")).endswith("_transcript")

    def is_final(self, message: Mapping[str, Any]) -> bool:
        return message.get("type") == "final_transcript"

    def report_start(self, at: float) -> None:
        self._send_typed("start_of_speech")

    def report_interim(self, words: Sequence[HeardWord]) -> None:
        self._send_transcript("interim_transcript", words)

    def report_final(self, words: Sequence[HeardWord], *, flushed: bool) -> None:
        self._send_transcript("final_transcript", words)

    def _create(self, message: Mapping[str, Any]) -> None:
        settings = message.get("settings", {})
        language = settings.get("language")
        known = LANGUAGES if language in (None, "multi") else (base(language),)
        self.configure(int(settings.get("sample_rate", _DEFAULT_RATE)), known)
        self._send_typed("session.created", after=0.0)

    def _send_transcript(self, kind: str, words: Sequence[HeardWord]) -> None:
        start = words[0].start if words else self.recognizer.position
        end = words[-1].end if words else start
        self._send_typed(
            kind,
            transcript=written(words),
            language=language_of(words, "en"),
            start=round(start, 3),
            duration=round(end - start, 3),
            confidence=0.95,
            words=[
                {
                    "word": word.text,
                    "start": round(word.start, 3),
                    "end": round(word.end, 3),
                    "confidence": 0.95 if word.whole else 0.4,
                }
                for word in words
            ],
        )

    def _send_typed(self, kind: str, *, after: float | None = None, **fields: Any) -> None:
        message = {"type": kind, "request_id": self.connection.request_id, **fields}
        self.send(message, after=after)


@dataclass(kw_only=True, repr=False, eq=False)
class FakeInference(FakeWebServer):
    """A LiveKit Inference that transcribes the audio it receives.

    Errors come as messages; the HTTP statuses are those of its load balancer.

    Args:
        faults: What goes wrong. Can be assigned while the server runs.
        latency: Seconds from the audio that completes a message to the message.
        endpoint_silence: Seconds without speech before a final.

    Raises:
        ValueError: A fault waits for a word that is not in the corpus.
    """

    plugin = "inference"
    plugin_options: ClassVar[Mapping[str, Any]] = {"model": "deepgram/nova-3", "language": "en"}
    path = "/stt"
    dialogue_class = _SessionDialogue

    latency: float = 0.2
    endpoint_silence: float = 0.4

    def stt(self, **options: Any) -> inference.STT:
        """LiveKit's client, with its `base_url` here. `options` are those of `inference.STT`."""
        from livekit.agents import inference

        return inference.STT(**{**self.plugin_options, **self.address, **options})

    @property
    def address(self) -> dict[str, Any]:
        return {**super().address, "api_secret": "fake-secret-of-thirty-two-letters"}

    def sample_rate(self, connection: ServerConnection) -> int:
        return _DEFAULT_RATE  # until `session.create` comes

    def languages(self, connection: ServerConnection) -> Sequence[str]:
        return LANGUAGES

    def check(self, request: web.Request) -> None:
        if not request.headers.get("Authorization", "").removeprefix("Bearer "):
            raise Rejection(401, "Unauthorized")

    def error_body(self, status: int, request_id: str, message: str | None) -> Mapping[str, Any]:
        return {"type": "error", "code": status, "message": message or "Error"}

    def in_band_error(self, connection: ServerConnection, fault: InBandError) -> Mapping[str, Any]:
        number = {} if fault.code is None else {"code": fault.code}
        return {"type": "error", **number, "message": fault.message or "Error"}
