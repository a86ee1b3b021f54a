"""A fake Google Cloud Speech-to-Text on loopback: gRPC, versions 1 and 2 of the API.

The messages are those of https://cloud.google.com/speech-to-text/docs/reference/rpc. The plugin has
no option for an address, so `FakeGoogle.stt` replaces what makes its client.

gRPC has threads, which virtual time cannot see. While the server runs, each jump of the clock waits
for them (`harness/clock.py: threads_at_work`), so the times of two runs differ a little.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from multidict import CIMultiDict, MultiDict

from ..faults import Hang, InBandError, Refuse, Status
from ..harness.clock import threads_at_work
from ..speech.languages import base, written
from ..speech.recognizer import HeardWord
from .recordings import take_time, words_in
from .server import FakeServer, Rejection, ServerConnection
from .utterances import UtteranceDialogue, language_of, parsed

if TYPE_CHECKING:
    from livekit.agents.stt import STT
    from livekit.plugins import google

    from .grpc_calls import Link, Relay
    from .wires import Content, Wire

_SERVICE = "google.cloud.speech"
_STREAM = {f"/{_SERVICE}.{v}.Speech/StreamingRecognize": v for v in ("v1", "v2")}
_BATCH = {f"/{_SERVICE}.{v}.Speech/Recognize": v for v in ("v1", "v2")}
_DEFAULT_RATE = 16_000
_DEFAULT_LANGUAGE = "en-US"
# Numbers of gRPC's statuses: https://grpc.io/docs/guides/status-codes
_UNKNOWN, _INVALID_ARGUMENT, _ABORTED, _OUT_OF_RANGE = 2, 3, 10, 11
_MESSAGES = {
    400: "Invalid argument.",
    401: "Request had invalid authentication credentials. Expected OAuth 2 access token, login "
    "cookie or other valid authentication credential.",
    402: "This API method requires billing to be enabled.",
    403: "Permission 'speech.recognizers.recognize' denied on resource.",
    409: "Stream timed out after receiving no more client requests.",
    429: "Resource has been exhausted (e.g. check quota).",
    503: "The service is currently unavailable.",
}
_TIMES_OF_V2 = ("startOffset", "endOffset")
_STABLE_AFTER = 1.0
"""Seconds of audio behind a word after which interim results count it as stable."""
_SETTLE = 0.5e-3
"""Real seconds that gRPC's threads need at most, on a machine with nothing else to do, to carry a
message from the client's loop to the server's."""

_CONNECTS_WITHIN = 1.0
"""Real seconds that virtual time waits for the first call of a client at most."""
_BACKOFF = 100
"""Milliseconds before a client's channel connects anew. gRPC's 1000 would be most of a call in
virtual time, as its threads wait in real time."""


@dataclass(frozen=True)
class _Settings:
    """What the first message of a stream asks for, or a request for a recording.

    Attributes:
        version: `v1` or `v2`.
        sample_rate: Hz.
        languages: BCP 47 tags; the first is the main one.
        word_times: Whether finals have words with times.
        interim_results: Whether there are interim results.
        voice_activity: Whether the start and the end of speech are reported.
    """

    version: str
    sample_rate: int = _DEFAULT_RATE
    languages: tuple[str, ...] = (_DEFAULT_LANGUAGE,)
    word_times: bool = True
    interim_results: bool = False
    voice_activity: bool = False

    @classmethod
    def of(cls, version: str, message: Mapping[str, Any]) -> _Settings:
        """Read a configuration as JSON, of a stream or a recording.

        Raises:
            ValueError: It is none.
        """
        config = message.get("config", {})
        features = {**message, **message.get("streamingFeatures", {}), **config.get("features", {})}
        decoding = config.get("explicitDecodingConfig", config)
        own = [config["languageCode"]] if "languageCode" in config else []
        tags = config.get("languageCodes", own + config.get("alternativeLanguageCodes", []))
        if not tags or decoding.get("encoding") != "LINEAR16":
            raise ValueError("Invalid recognition 'config': bad encoding or language.")
        return cls(
            version,
            sample_rate=decoding["sampleRateHertz"],
            languages=tuple(tags),
            word_times=bool({**config, **features}.get("enableWordTimeOffsets")),
            interim_results=bool(features.get("interimResults")),
            voice_activity=bool(features.get("enableVoiceActivityEvents")),
        )

    @property
    def bases(self) -> tuple[str, ...]:
        return tuple(map(base, self.languages))

    def result(self, words: Sequence[HeardWord], space: str = "") -> dict[str, Any]:
        """A final result with one transcript. Times are those of the stream's audio."""
        start, end = ("startTime", "endTime") if self.version == "v1" else _TIMES_OF_V2
        best: dict[str, Any] = {"transcript": space + written(words), "confidence": 0.94}
        if self.word_times:
            best["words"] = [
                {"word": w.text, start: _duration(w.start), end: _duration(w.end)} for w in words
            ]
        return {"alternatives": [best], "languageCode": self._tag(words)}

    def interim(self, words: Sequence[HeardWord], stability: float) -> dict[str, Any]:
        """An interim result. It has no confidence and no times."""
        return {
            "alternatives": [{"transcript": written(words)}],
            "stability": stability,
            "languageCode": self._tag(words),
        }

    def _tag(self, words: Sequence[HeardWord]) -> str:
        found = language_of(words, self.bases[0])
        tag = next((tag for tag in self.languages if base(tag) == found), self.languages[0])
        return tag.lower() if self.version == "v1" else tag


class _CallDialogue(UtteranceDialogue):
    def __init__(self, server: FakeGoogle, connection: ServerConnection, wire: Wire) -> None:
        super().__init__(server, connection, wire)
        self._limit = server.max_stream
        self._began = asyncio.get_running_loop().time()
        self._settings = _Settings(_STREAM[connection.path])
        self._asked = False  # whether the first message has come
        self._told = 0  # finals

    def on_text(self, text: str) -> None:
        if self.is_closing_message(text):
            self.conclude()
            self.finish()
            return
        try:
            self._settings = _Settings.of(self._settings.version, parsed(text))
        except ValueError as error:
            self.close_when_sent(_INVALID_ARGUMENT, str(error))
            return
        self.configure(self._settings.sample_rate, self._settings.bases)

    def is_closing_message(self, text: str) -> bool:
        return not text  # the client's half-close

    def refusal(self, data: str | bytes) -> tuple[int, str] | None:
        is_config = isinstance(data, str) and not self.is_closing_message(data)
        if is_config == self._asked:
            return _INVALID_ARGUMENT, "The first message, and no other, must be a streaming_config."
        self._asked = True
        lasted = asyncio.get_running_loop().time() - self._began
        if self._limit is not None and lasted > self._limit:
            limit = f"{self._limit:g} seconds"
            return _OUT_OF_RANGE, f"Exceeded maximum allowed stream duration of {limit}."
        return None

    def expire(self) -> None:
        self.close_when_sent(_ABORTED, _MESSAGES[409])

    def is_transcript(self, message: Mapping[str, Any]) -> bool:
        return "results" in message

    def is_final(self, message: Mapping[str, Any]) -> bool:
        return any(result.get("isFinal") for result in message.get("results", ()))

    def report_start(self, at: float) -> None:
        self._report_activity("BEGIN", at)

    def report_interim(self, words: Sequence[HeardWord]) -> None:
        if not self._settings.interim_results:
            return
        until = self.recognizer.position - _STABLE_AFTER
        stable = sum(word.end <= until for word in words)
        parts = [(words[:stable], 0.9), (words[stable:], 0.1)]
        results = [self._settings.interim(part, sure) for part, sure in parts if part]
        self.send({"results": results})

    def report_final(self, words: Sequence[HeardWord], *, flushed: bool) -> None:
        result = self._settings.result(words, " " if self._told else "")
        self._told += 1
        self.send({"results": [{**result, "isFinal": True}]})
        self._report_activity("END", self.recognizer.position)

    def _report_activity(self, what: str, at: float) -> None:
        if self._settings.voice_activity:
            key = "speechEventTime" if self._settings.version == "v1" else "speechEventOffset"
            self.send({"speechEventType": f"SPEECH_ACTIVITY_{what}", key: _duration(at)})


@dataclass(kw_only=True, repr=False, eq=False)
class FakeGoogle(FakeServer):
    """A Google Cloud Speech-to-Text that transcribes the audio it receives.

    Interim results have no confidence, so the plugin drops them, unless its
    `min_confidence_threshold` is 0. A connection of the log is one call; refused and hanging TCP
    connections are logged, too. An in-band error that closes is the status with which a call ends.

    Args:
        faults: What goes wrong. Can be assigned while the server runs.
        latency: Seconds from the audio that completes a message to the message.
        endpoint_silence: Seconds without speech that end an utterance.
        max_stream: Seconds after which a stream ends with OUT_OF_RANGE. None: no limit.

    Raises:
        ValueError: A fault waits for a word that is not in the corpus.
        ImportError: By `start`: `livekit-plugins-google` is not installed.
    """

    plugin = "google"
    has_threads = True
    dialogue_class = _CallDialogue

    latency: float = 0.25
    endpoint_silence: float = 0.6
    max_stream: float | None = 305.0
    _relay: Relay | None = field(init=False, default=None)
    _grpc: Any = field(init=False, default=None)
    _channels: list[Any] = field(init=False, default_factory=list)
    """Of the clients of `stt()`."""
    _awaited: list[ExitStack] = field(init=False, default_factory=list)
    """For each new client whose call has not arrived yet: what makes virtual time wait."""
    _running: ExitStack = field(init=False, default_factory=ExitStack)

    def stt(self, **options: Any) -> google.STT:
        """The published plugin, with clients that connect here. `options` are those of
        `google.STT`."""
        from livekit.plugins import google

        plugin = google.STT(**{**self.plugin_options, **self.address, **options})
        self.redirect(plugin)
        return plugin

    def redirect(self, plugin: STT[Any]) -> STT[Any]:
        """Give it other clients: it has no option for an address."""
        google: Any = plugin

        async def connect(timeout: float) -> Any:
            self._await_call()
            return self._client(google._config.version)

        google._pool._connect_cb = connect
        return plugin

    @property
    def address(self) -> dict[str, Any]:
        """Credentials are asked for by the constructor, and used by the client that is replaced."""
        return {"credentials_info": {}, "project": "fake-project"}

    @property
    def plugin_call(self) -> str:
        host = self.url.removeprefix("http://")
        return f"google.STT with another client, as FakeGoogle.stt makes it: gRPC at {host}"

    def languages(self, connection: ServerConnection) -> Sequence[str]:
        return (base(_DEFAULT_LANGUAGE),)  # until the configuration comes

    def sample_rate(self, connection: ServerConnection) -> int:
        return _DEFAULT_RATE  # until the configuration comes

    def in_band_error(self, connection: ServerConnection, fault: InBandError) -> Mapping[str, Any]:
        number = fault.code if isinstance(fault.code, int) else 500
        return {"error": {"code": number, "message": fault.message or _MESSAGES.get(number, "")}}

    def close_after(self, fault: InBandError) -> tuple[int, str]:
        code = fault.code if isinstance(fault.code, int) else _UNKNOWN
        return code, fault.message or _MESSAGES.get(code, "Error")

    def _client(self, version: int) -> Any:
        """A client of Google's package, with a TCP connection of its own."""
        import grpc.aio  # type: ignore[import-untyped]
        from google.cloud import speech_v1, speech_v2

        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_http_proxy", 0),
            ("grpc.initial_reconnect_backoff_ms", _BACKOFF),
            ("grpc.max_reconnect_backoff_ms", _BACKOFF),
        ]
        address = self.url.removeprefix("http://")
        channel = grpc.aio.insecure_channel(address, options=options)
        self._channels.append(channel)
        package: Any = speech_v2 if version == 2 else speech_v1
        client = package.SpeechAsyncClient
        return client(transport=client.get_transport_class("grpc_asyncio")(channel=channel))

    def _await_call(self) -> None:
        """Let virtual time run like real time until a new client's call arrives. To connect takes
        gRPC's threads many times as long as to carry a message."""
        hold = ExitStack()
        hold.enter_context(threads_at_work(None))
        timer = asyncio.get_running_loop().call_later(_CONNECTS_WITHIN, hold.close)
        hold.callback(timer.cancel)
        self._awaited.append(hold)

    def _log_connection(
        self, path: str, query: MultiDict[str], headers: CIMultiDict[str]
    ) -> ServerConnection:
        if self._awaited:
            self._awaited.pop(0).close()
        return super()._log_connection(path, query, headers)

    async def _listen(self, host: str, port: int) -> int:
        try:
            import grpc.aio
            from google.cloud import speech  # noqa: F401
        except ImportError as error:
            advice = "pip install livekit-plugins-google"
            raise ImportError(f"FakeGoogle needs Google's packages: {advice}") from error
        from .grpc_calls import Methods, Relay

        self._running.enter_context(threads_at_work(_SETTLE))
        self._grpc = grpc.aio.server()
        self._grpc.add_generic_rpc_handlers(
            [Methods(_STREAM, self.answer_stream, _BATCH, self.answer_recording)]
        )
        try:
            inner = self._grpc.add_insecure_port("127.0.0.1:0")
            await self._grpc.start()
            self._relay = Relay(inner, self._admit)
            return await self._relay.listen(host, port)
        except BaseException:
            await self._abort()
            raise

    async def _abort(self) -> None:
        for channel in self._channels:
            await channel.close()
        if self._relay is not None:
            await self._relay.stop()
        await self._grpc.stop(None)
        self._channels, self._relay, self._grpc = [], None, None
        while self._awaited:
            self._awaited.pop().close()
        self._running.close()

    async def _admit(self, link: Link) -> bool:
        """Whether a TCP connection is passed on to gRPC. If it has a fault that comes before any
        call, that happens here."""
        fault = self._script.at_connect(len(self.connections), self.now)
        if not isinstance(fault, Refuse | Hang):
            return True
        connection = self._log_connection("", MultiDict(), CIMultiDict())
        try:
            await self._deny(connection, link)
        finally:
            connection.closed = self.now
        return False

    async def _deny(self, connection: ServerConnection, link: Link) -> bool:
        """Let the connect fault of a connection happen, if it has one. A new kind of fault needs a
        case here.

        Raises:
            Rejection: The fault is a status.
        """
        match self._connect_fault(connection):
            case Refuse():
                connection.end("refused")
                link.reset()
                return True
            case Hang():
                connection.end("hung")
                await link.gone()
                return True
            case Status(code=code, body=body):
                connection.end(f"status {code}")
                await asyncio.sleep(self.handshake)
                raise Rejection(code, body)
            case None:
                return False
            case other:
                raise AssertionError(f"no hook for {other!r}")

    @asynccontextmanager
    async def _call(self, path: str, context: Any) -> AsyncIterator[ServerConnection]:
        """Log a call, and end it with a status if it is rejected."""
        from .grpc_calls import status_code

        metadata = CIMultiDict((key, str(value)) for key, value in context.invocation_metadata())
        connection = self._log_connection(path, MultiDict(), metadata)
        try:
            yield connection
        except Rejection as rejection:
            status = rejection.status
            connection.end(f"rejected with {status}")
            reason = rejection.message or _MESSAGES.get(status, "Error")
            await context.abort(status_code(status), reason)
        finally:
            connection.end("client vanished")
            connection.closed = self.now

    def _link(self, context: Any) -> Link:
        assert self._relay is not None
        return self._relay.link_of(context.peer())

    async def answer_stream(self, path: str, requests: AsyncIterator[bytes], context: Any) -> None:
        """Serve a call of `StreamingRecognize`."""
        from .grpc_calls import CallWire

        messages = _Messages(_STREAM[path])
        wire = CallWire(requests, context, self._link(context), messages.read, messages.encoded)
        async with self._call(path, context) as connection:
            if await self._deny(connection, self._link(context)):
                return
            await self._converse(connection, wire.accept)
            await wire.finish()

    async def answer_recording(self, path: str, request: bytes, context: Any) -> bytes:
        """Serve a call of `Recognize`."""
        messages = _Messages(_BATCH[path])
        async with self._call(path, context) as connection:
            if await self._deny(connection, self._link(context)):
                return b""
            asked, pcm = messages.recording(request)
            try:
                settings = _Settings.of(messages.version, asked)
            except ValueError as error:
                raise Rejection(400, str(error)) from error
            connection.audio = len(pcm) / 2 / settings.sample_rate
            words = words_in(self, pcm, settings.sample_rate, settings.bases)
            await take_time(self, connection)
            connection.end("answered with 0")
            results = [settings.result(self.written(words))] if words else []
            return messages.encoded({"results": results}, kind="RecognizeResponse")
        raise AssertionError("a rejected call is aborted")


class _Messages:
    """Reads and writes the messages of one version of the API. In the log they are JSON."""

    def __init__(self, version: str) -> None:
        from google.cloud import speech_v1, speech_v2

        self.version = version
        package = speech_v1.types if version == "v1" else speech_v2.types
        self._types = package.cloud_speech

    def _type(self, name: str) -> Any:
        return getattr(self._types, name).pb()

    def read(self, request: bytes) -> str | bytes:
        """The audio of a client's message in a stream, or its configuration as JSON."""
        from google.protobuf.json_format import MessageToJson

        message = self._type("StreamingRecognizeRequest").FromString(request)
        if message.HasField("streaming_config"):
            return str(MessageToJson(message.streaming_config))
        return bytes(message.audio_content if self.version == "v1" else message.audio)

    def recording(self, request: bytes) -> tuple[dict[str, Any], bytes]:
        """The configuration as JSON, and the audio, of a request for a recording."""
        from google.protobuf.json_format import MessageToDict

        message = self._type("RecognizeRequest").FromString(request)
        audio = message.audio.content if self.version == "v1" else message.content
        return {"config": MessageToDict(message.config)}, bytes(audio)

    def encoded(self, content: Content, *, kind: str = "StreamingRecognizeResponse") -> bytes:
        """The bytes of a message in JSON. Of one that is none, as it is: it cannot be parsed."""
        from google.protobuf.json_format import ParseDict, ParseError

        try:
            fields = json.loads(content) if isinstance(content, str | bytes) else {**content}
            message = ParseDict(fields, self._type(kind)(), ignore_unknown_fields=True)
        except (ValueError, TypeError, AttributeError, ParseError):
            return content if isinstance(content, bytes) else str(content).encode()
        return bytes(message.SerializeToString())


def _duration(seconds: float) -> str:
    """A `google.protobuf.Duration` as JSON."""
    return f"{seconds:.3f}s"
