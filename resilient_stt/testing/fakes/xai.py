"""A fake xAI on loopback: the streaming websocket.

The messages are those that `livekit-plugins-xai` reads, by https://docs.x.ai. The plugin's address
is a constant, so `FakeXAI.stt` gives it an HTTP session that goes here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from ..faults import InBandError
from ..speech.languages import base, written
from ..speech.recognizer import HeardWord
from .server import FAKE_KEY, Rejection, ServerConnection
from .utterances import LANGUAGES, UtteranceDialogue, language_of, parsed
from .web import FakeWebServer

if TYPE_CHECKING:
    from livekit.plugins import xai

    from .wires import Wire


class _TranscriptDialogue(UtteranceDialogue):
    revises = False
    interim_every = 0.3

    def __init__(self, server: FakeXAI, connection: ServerConnection, wire: Wire) -> None:
        super().__init__(server, connection, wire)
        self._settings = server
        self._chunked = 0  # words of the utterance that were sent as final

    async def run(self) -> None:
        self.send({"type": "transcript.created"}, after=0.0)
        await super().run()

    @property
    def end_silence(self) -> float:
        asked = float(self.connection.query.get("endpointing", "0")) / 1000
        return max(self._settings.endpoint_silence, asked)

    def on_text(self, text: str) -> None:
        if self.is_closing_message(text):
            self.words += self.recognizer.finish()
            rest, self.words = self._settings.written(self.words)[self._chunked :], []
            self.finish(self._transcript("transcript.done", rest))

    def is_closing_message(self, text: str) -> bool:
        return parsed(text).get("type") == "audio.done"

    def is_transcript(self, message: Mapping[str, Any]) -> bool:
        return message["type"] in ("transcript.partial", "transcript.done")

    def is_final(self, message: Mapping[str, Any]) -> bool:
        return message.get("type") == "transcript.done" or bool(message.get("is_final"))

    def restart(self) -> None:
        super().restart()
        self._chunked = 0

    def report_start(self, at: float) -> None:
        pass  # there is no message for it

    def report_interim(self, words: Sequence[HeardWord]) -> None:
        new = words[self._chunked :]
        if new and new[-1].end - new[0].start >= self._settings.chunk:
            self._send_partial(new, is_final=True)
            self._chunked = len(words)
        elif self.connection.query.get("interim_results") == "true":
            self._send_partial(new)

    def report_final(self, words: Sequence[HeardWord], *, flushed: bool) -> None:
        if words[self._chunked :] and self._chunked:
            self._send_partial(words[self._chunked :], is_final=True)
        self._send_partial(words, is_final=True, speech_final=True)
        self._chunked = 0

    def _send_partial(self, words: Sequence[HeardWord], **fields: Any) -> None:
        self.send({**self._transcript("transcript.partial", words), **fields})

    def _transcript(self, kind: str, words: Sequence[HeardWord]) -> dict[str, Any]:
        return {
            "type": kind,
            "text": written(words),
            "language": language_of(words, "en"),
            "words": [
                {"text": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}
                for word in words
            ],
        }


@dataclass(kw_only=True, repr=False, eq=False)
class FakeXAI(FakeWebServer):
    """An xAI that transcribes the audio it receives.

    An utterance's last final (`speech_final`) says all of it again.

    Args:
        faults: What goes wrong. Can be assigned while the server runs.
        latency: Seconds from the audio that completes a message to the message.
        endpoint_silence: Seconds without speech that end an utterance, if they are longer than the
            `endpointing` of the query (in milliseconds).
        chunk: Seconds of audio after which the words of an utterance that goes on become final.

    Raises:
        ValueError: A fault waits for a word that is not in the corpus.
    """

    plugin = "xai"
    path = base_path = "/v1/stt"
    scheme = "ws"
    dialogue_class = _TranscriptDialogue

    latency: float = 0.2
    endpoint_silence: float = 0.3
    chunk: float = 3.0

    def stt(self, **options: Any) -> xai.STT:
        """The published plugin, with an HTTP session that goes here. `options` are those of
        `xai.STT`."""
        from livekit.plugins import xai

        return xai.STT(**{**self.plugin_options, **self.address, **options})

    @property
    def address(self) -> dict[str, Any]:
        """The plugin's URL is a constant, so that an HTTP session leads it here: LiveKit's own,
        with another target."""
        from livekit.agents.utils import http_context

        session = _Redirected(http_context.http_session(), self.url)
        return {"api_key": FAKE_KEY, "http_session": session}

    @property
    def plugin_call(self) -> str:
        constant = "stt.XAI_WEBSOCKET_URL"
        return f"xai.{constant} = {self.url!r}; xai.STT(api_key={FAKE_KEY!r})"

    def languages(self, connection: ServerConnection) -> Sequence[str]:
        language = connection.query.get("language", "")
        return (base(language),) if language not in ("", "auto", "multi") else LANGUAGES

    def check(self, request: web.Request) -> None:
        if not request.headers.get("Authorization", "").removeprefix("Bearer "):
            raise Rejection(401, "Missing API key")
        if not request.query.get("sample_rate", "").isdecimal():
            raise Rejection(400, "Invalid sample_rate")

    def error_body(self, status: int, request_id: str, message: str | None) -> Mapping[str, Any]:
        return {"code": str(status), "error": message or "Error"}

    def in_band_error(self, connection: ServerConnection, fault: InBandError) -> Mapping[str, Any]:
        number = {} if fault.code is None else {"code": fault.code}
        return {"type": "error", **number, "message": fault.message or "Error"}


class _Redirected:
    """An HTTP session whose websockets go to another address."""

    def __init__(self, session: aiohttp.ClientSession, target: str) -> None:
        self._session = session
        self._target = target

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def ws_connect(self, url: str, **options: Any) -> Any:
        return self._session.ws_connect(self._target, **options)
