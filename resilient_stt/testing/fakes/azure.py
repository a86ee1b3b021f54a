"""A fake Azure Speech on loopback: the websocket that Microsoft's Speech SDK speaks.

A message is a text, or a binary frame, with headers of its own: the protocol USP, as far as it can
be seen on the wire and in https://github.com/microsoft/cognitive-services-speech-sdk-js
(`src/common.speech`). Audio is in turns: times begin anew with each, and the SDK adds what was
before. If a connection breaks, the SDK opens another by itself, up to five times, and sends again
what no final has covered.

The SDK is native code with threads and timers of its own. So while the server runs, virtual time
runs like real time (`harness/clock.py: threads_at_work`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from aiohttp import web
from livekit.agents.types import NOT_GIVEN

from ..faults import IgnoreClose, InBandError
from ..harness.clock import threads_at_work
from ..speech.languages import base, written
from ..speech.recognizer import HeardWord
from .server import FAKE_KEY, Rejection, ServerConnection
from .utterances import UtteranceDialogue, language_of, parsed
from .web import FakeWebServer
from .wires import Content, WebSocketWire

if TYPE_CHECKING:
    from livekit.agents.stt import STT
    from livekit.plugins import azure

    from .wires import Wire

_RATE = 16_000  # Hz, until the client says another
_TICKS = 10**7  # of a second
_STATUSES = {
    400: "BadRequest",
    401: "Forbidden",
    402: "Forbidden",
    403: "Forbidden",
    429: "TooManyRequests",
    503: "ServiceUnavailable",
}
"""The `RecognitionStatus` of an error in a phrase."""
_NO_MESSAGE = "The request failed."


class _UspWire(WebSocketWire):
    """A websocket whose messages have headers. Those of a message to send are its keys `Path` and
    `X-RequestId`; what is no message goes out as a phrase."""

    _request_id = ""

    async def send(self, content: Content) -> None:
        body: Any = content
        if isinstance(content, str | bytes):
            body = parsed(content.decode() if isinstance(content, bytes) else content) or content
        path = "speech.phrase"
        if isinstance(body, Mapping):
            path = body.get("Path", path)
            self._request_id = body.get("X-RequestId", self._request_id)
            rest = {k: v for k, v in body.items() if k not in ("Path", "X-RequestId")}
            text = json.dumps(rest)
        else:
            text = str(body)
        headers = {
            "X-RequestId": self._request_id,
            "Content-Type": "application/json; charset=utf-8",
            "Path": path,
        }
        lines = [f"{name}:{value}" for name, value in headers.items()]
        await super().send("\r\n".join([*lines, "", text]))


@dataclass(frozen=True)
class _UspMessage:
    """A message of the client.

    Attributes:
        headers: Its headers.
        body: What follows them: a text, or samples.
    """

    headers: Mapping[str, str]
    body: str | bytes

    @classmethod
    def of(cls, message: str | bytes) -> _UspMessage:
        if isinstance(message, str):
            head, _, text = message.partition("\r\n\r\n")
            return cls(_headers(head), text)
        length = int.from_bytes(message[:2], "big")
        return cls(_headers(message[2 : 2 + length].decode()), message[2 + length :])


class _UspDialogue(UtteranceDialogue):
    def __init__(self, server: FakeAzure, connection: ServerConnection, wire: Wire) -> None:
        super().__init__(server, connection, wire)
        self._request_id = ""
        self._tags = _tags(connection)
        self._detects = False
        self._started = False  # whether the start of speech was reported, and not its end
        self._phrases = 0

    def unpacked(self, message: str | bytes) -> str | bytes:
        """Samples, or a text with headers. The end of the audio is an empty text."""
        if isinstance(message, str):
            return message
        body = _UspMessage.of(message).body
        assert isinstance(body, bytes)
        if body.startswith(b"RIFF"):
            return b""  # the header of a WAV file; the client has told the rate before
        return body or ""

    def on_text(self, text: str) -> None:
        if self.is_closing_message(text):
            self._end_turn()
            return
        message = _UspMessage.of(text)
        match message.headers.get("Path", "").lower():
            case "speech.config":
                source = parsed(str(message.body))["context"]["audio"]["source"]
                rate = int(source.get("samplerate", _RATE))
                self.configure(rate, [base(tag) for tag in self._tags])
            case "speech.context":
                self._begin_turn(message)
            case _:
                pass  # telemetry

    def is_closing_message(self, text: str) -> bool:
        return not text

    def is_transcript(self, message: Mapping[str, Any]) -> bool:
        return message["Path"] in ("speech.hypothesis", "speech.phrase")

    def is_final(self, message: Mapping[str, Any]) -> bool:
        return bool(message["Path"] == "speech.phrase")

    def report_start(self, at: float) -> None:
        if not self._started:
            self._started = True
            self._send_in_turn("speech.startDetected", Offset=_ticks(at))

    def report_interim(self, words: Sequence[HeardWord]) -> None:
        self._send_in_turn("speech.hypothesis", Text=written(words).lower(), **self._about(words))

    def report_final(self, words: Sequence[HeardWord], *, flushed: bool) -> None:
        self._send_in_turn(
            "speech.phrase",
            RecognitionStatus="Success",
            DisplayText=written(words),
            **self._about(words),
        )

    def _begin_turn(self, message: _UspMessage) -> None:
        """Begin a turn: the times of its audio start at 0."""
        self._request_id = message.headers.get("X-RequestId", "")
        asked = parsed(str(message.body)).get("languageId", {}).get("languages")
        self._tags, self._detects = asked or self._tags, bool(asked)
        self._started, self.words = False, []
        super().restart()
        self.configure(self.sample_rate, [base(tag) for tag in self._tags])
        service = {"serviceTag": self.connection.request_id}
        self._send_in_turn("turn.start", after=0.0, context=service)

    def _end_turn(self) -> None:
        position = self.recognizer.position
        self.conclude()
        if self._started:
            self._send_in_turn("speech.endDetected", Offset=_ticks(position))
        end = _ticks(position)
        self._send_in_turn(
            "speech.phrase", RecognitionStatus="EndOfDictation", Offset=end, Duration=0
        )
        if not self._in_force(IgnoreClose):
            self._send_in_turn("turn.end")

    def _about(self, words: Sequence[HeardWord]) -> dict[str, Any]:
        """What hypotheses and phrases have in common: their name, times and language."""
        about: dict[str, Any] = {"Id": f"{self.connection.request_id}-{self._phrases}"}
        self._phrases += 1
        if words:
            about["Offset"] = _ticks(words[0].start)
            about["Duration"] = _ticks(words[-1].end - words[0].start)
        if self._detects:
            found = language_of(words, base(self._tags[0]))
            tag = next((tag for tag in self._tags if base(tag) == found), self._tags[0])
            about["PrimaryLanguage"] = {"Language": tag, "Confidence": "High"}
        return about

    def _send_in_turn(self, path: str, *, after: float | None = None, **body: Any) -> None:
        self.send({"Path": path, "X-RequestId": self._request_id, **body}, after=after)


@dataclass(kw_only=True, repr=False, eq=False)
class FakeAzure(FakeWebServer):
    """An Azure Speech that transcribes the audio it receives, in real time only.

    Finals have the times of the utterance, and none of words. `speech.endDetected` comes once, at
    the end of the audio. A connection of the log is one websocket: the SDK opens several if it
    breaks.

    Args:
        faults: What goes wrong. Can be assigned while the server runs.
        latency: Seconds from the audio that completes a message to the message.
        endpoint_silence: Seconds without speech that end an utterance.

    Raises:
        ValueError: A fault waits for a word that is not in the corpus.
    """

    plugin = "azure"
    has_threads = True
    scheme = "ws"
    path = "/speech/recognition/conversation/cognitiveservices/v1"
    other_paths = ("/speech/universal/v2",)
    subprotocols = ("USP",)
    dialogue_class = _UspDialogue
    wire_class = _UspWire

    latency: float = 0.2
    endpoint_silence: float = 0.65
    _running: ExitStack = field(init=False, default_factory=ExitStack)

    def stt(self, **options: Any) -> azure.STT:
        """The published plugin, with its `speech_host` here. `options` are those of
        `azure.STT`."""
        from livekit.plugins import azure

        plugin = azure.STT(**{**self.plugin_options, **self.address, **options})
        self.redirect(plugin)
        return plugin

    def redirect(self, plugin: STT[Any]) -> STT[Any]:
        """Take away its region, which may come from the environment: the SDK wants one address."""
        azure: Any = plugin
        others = ("speech_region", "speech_endpoint", "speech_auth_token")
        azure._config = replace(azure._config, **dict.fromkeys(others, NOT_GIVEN))
        return plugin

    @property
    def address(self) -> dict[str, Any]:
        return {"speech_key": FAKE_KEY, "speech_host": self.url}

    async def _listen(self, host: str, port: int) -> int:
        self._running.enter_context(threads_at_work(None))
        try:
            return await super()._listen(host, port)
        except BaseException:
            self._running.close()
            raise

    async def _abort(self) -> None:
        await super()._abort()
        self._running.close()

    def sample_rate(self, connection: ServerConnection) -> int:
        return _RATE

    def languages(self, connection: ServerConnection) -> Sequence[str]:
        return [base(tag) for tag in _tags(connection)]

    def check(self, request: web.Request) -> None:
        if not request.headers.get("Ocp-Apim-Subscription-Key"):
            raise Rejection(401, "Access denied due to invalid subscription key.")

    def error_body(self, status: int, request_id: str, message: str | None) -> Mapping[str, Any]:
        return {"error": {"code": str(status), "message": message or _NO_MESSAGE}}

    def in_band_error(self, connection: ServerConnection, fault: InBandError) -> Mapping[str, Any]:
        status = _STATUSES.get(fault.code, "Error") if isinstance(fault.code, int) else "Error"
        return {
            "Path": "speech.phrase",
            "RecognitionStatus": status,
            "DisplayText": fault.message or _NO_MESSAGE,
            "Offset": 0,
            "Duration": 0,
        }


def _tags(connection: ServerConnection) -> list[str]:
    """The language that a request asks for; a `speech.context` may ask for several."""
    return [connection.query.get("language", "en-US")]


def _headers(text: str) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in text.split("\r\n") if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def _ticks(seconds: float) -> int:
    """A time in units of 100 ns."""
    return round(seconds * _TICKS)
