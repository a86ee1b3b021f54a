"""What the fake providers share: a loopback server, the log of its connections, and its faults.

A provider's subclass adds the protocol, in the abstract methods and in its `Dialogue`. To add a
kind of fault that answers requests, add a case to `FakeServer._respond`.
"""

from __future__ import annotations

import asyncio
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, overload

from aiohttp import web
from livekit.agents import stt
from multidict import CIMultiDict, MultiDict

from ..faults import (
    DropAfterClose,
    Fault,
    FaultScript,
    Hang,
    InBandError,
    Refuse,
    Status,
    StreamFault,
)
from ..speech.accent import Accent
from ..speech.recognizer import AudioRecognizer, HeardWord
from ..speech.reference import ReferenceSpeech
from .dialogue import Dialogue, Sent, ServerConnection, reset

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = [
    "FAKE_KEY",
    "LOOPBACK",
    "REDACTED",
    "Dialogue",
    "FakeServer",
    "Rejection",
    "Sent",
    "ServerConnection",
    "TriggeredFault",
    "url_of",
]

LOOPBACK = "127.0.0.1"
REDACTED = "<redacted>"
FAKE_KEY = "fake-key"
"""The key with which the plugins connect. Any other would do."""

_SECRET_HEADERS = (
    "X-API-Key",
    "Authorization",
    "Cookie",
    "xi-api-key",
    "X-Gladia-Key",
    "api-subscription-key",
)
_SECRET_QUERY = ("api_key", "access_token", "token")


class Rejection(Exception):
    """A request that the provider answers with an HTTP error, without any fault."""

    def __init__(self, status: int, message: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class TriggeredFault(NamedTuple):
    """A fault that has happened.

    Attributes:
        fault: The fault as it is in the script.
        connection: The number of the connection.
        at: When it happened, in seconds since the server's start; when it began, if it lasts.
    """

    fault: Fault
    connection: int
    at: float


class FaultsInForce:
    """The attribute `faults` of a server. Assigning an iterable of faults replaces all of them."""

    @overload
    def __get__(self, server: None, owner: type[FakeServer]) -> Iterable[Fault]: ...

    @overload
    def __get__(self, server: FakeServer, owner: type[FakeServer]) -> FaultScript: ...

    def __get__(self, server: FakeServer | None, owner: type[FakeServer]) -> Iterable[Fault]:
        # The default of the dataclass's field is looked up on the class.
        return FaultScript() if server is None else server._script

    def __set__(self, server: FakeServer, faults: Iterable[Fault]) -> None:
        server._replace_faults(FaultScript(faults))


@dataclass(kw_only=True, repr=False, eq=False)
class FakeServer(ABC):
    """A provider on loopback that transcribes the audio it receives, with faults.

    Args:
        faults: What goes wrong. Can be assigned while the server runs.
        latency: Seconds from the audio that completes a message to the message.
        endpoint_silence: Seconds without speech after which a transcript becomes final.
        handshake: Seconds from the request to the 101.
        concurrency: Open websockets at once. A request for a websocket beyond them is answered with
            429. Connections whose peer has vanished count. None: no limit.
        idle_timeout: Seconds without audio or text after which a connection is closed. Pings do not
            count. It has no effect during a stall, or once the client has sent its closing message.
        max_burst: Seconds of audio that may arrive ahead of real time, counted from the 101. Beyond
            them the connection is closed with 1008. None: no limit.
        speed: The multiple of real time at which audio is processed at most, on connections that
            open from then on. None: no limit.
        max_message: Bytes of a message beyond which the connection is closed with 1009. None: no
            limit.
        corpus: The recordings that it recognizes. None: all that are shipped. A fault's word is the
            word with this index in any of them.
        accent: How it writes and times what it recognizes. Can be assigned while the server runs.
            None: as it was spoken.

    Attributes:
        connections: The log of all connections, in the order of their requests.
        triggered: The log of the faults that have happened, in order.

    Raises:
        ValueError: A fault waits for a word that is not in the corpus.
    """

    path: ClassVar[str]
    base_path: ClassVar[str] = ""
    """The part of `path` that belongs to the plugin's `base_url`."""
    scheme: ClassVar[str] = "http"
    """The scheme of the plugin's `base_url`."""
    plugin: ClassVar[str]
    """The plugin that connects here: `livekit.plugins.PLUGIN`; `inference` is LiveKit's own."""
    plugin_class: ClassVar[str] = "STT"
    """The name of its class."""
    plugin_options: ClassVar[Mapping[str, Any]] = {}
    """Options of the class with which it speaks this protocol, beside its `address`."""
    other_paths: ClassVar[tuple[str, ...]] = ()
    """Further paths of websockets."""
    post_paths: ClassVar[tuple[str, ...]] = ()
    """Paths to which whole recordings are posted, or requests for a session."""
    request_id_header: ClassVar[str] = "x-request-id"
    dialogue_class: ClassVar[Callable[..., Dialogue]]
    """Makes the `Dialogue` of an accepted connection, unless `dialogue` is overridden."""
    max_body: ClassVar[int] = 2 * 1024**3
    """Bytes of a batch request; 2 GB is Deepgram's limit."""

    latency: float = 0.2
    endpoint_silence: float = 0.5
    handshake: float = 0.15
    concurrency: int | None = None
    idle_timeout: float | None = None
    max_burst: float | None = None
    speed: float | None = None
    max_message: int | None = None
    corpus: Sequence[ReferenceSpeech] | None = None
    accent: Accent | None = None
    connections: list[ServerConnection] = field(init=False, default_factory=list)
    triggered: list[TriggeredFault] = field(init=False, default_factory=list)
    _dialogues: list[Dialogue] = field(init=False, default_factory=list)
    _open_websockets: int = field(init=False, default=0)
    """The number of open websockets, for `concurrency`."""
    _transports: set[asyncio.Transport] = field(init=False, default_factory=set)
    _timers: list[asyncio.TimerHandle] = field(init=False, default_factory=list)
    _refused: set[str] = field(init=False, default_factory=set)
    """The `Sec-WebSocket-Key`s of refused requests."""
    _runner: web.AppRunner | None = field(init=False, default=None)
    _host: str = field(init=False, default=LOOPBACK)
    _started: float = field(init=False, default=0.0)
    _script: FaultScript = field(init=False, default=FaultScript())
    faults: FaultsInForce = FaultsInForce()  # last, because assigning it uses the other fields

    def __repr__(self) -> str:
        where = self.url if self._runner else "stopped"
        alive = sum(c.closed is None for c in self.connections)
        count = f"{len(self.connections)} connections, {alive} open"
        return f"<{type(self).__name__} {where}, {count}, {len(self._script)} faults>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self, host: str = LOOPBACK, port: int = 0) -> None:
        """Start listening. The server's clock starts here, at 0. `async with` does this with the
        defaults.

        Args:
            host: Name or address to listen on. On any but loopback, other machines can connect with
                any key.
            port: The port; 0 is any free one.

        Raises:
            OSError: It cannot listen there.
            RuntimeError: It listens already.
        """
        if self._runner is not None:
            raise RuntimeError(f"{type(self).__name__} is already running, at {self.url}")
        app = web.Application(client_max_size=self.max_body)
        for path in (self.path, *self.other_paths):
            app.router.add_get(path, self._answer)
        for path in self.post_paths:
            app.router.add_post(path, self._answer)
        # A request that hangs must end when its client disconnects, not only when the server stops.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner, self._host = runner, host
        self._started = asyncio.get_running_loop().time()
        self._arm(self._script)

    async def stop(self) -> None:
        """Stop listening, and abort all connections, as a process does that ends."""
        if self._runner is None:
            return
        self._disarm()
        for connection in self.connections:
            if connection.closed is None:
                connection.end("server stopped")
        for transport in self._transports:
            # asyncio raises for a transport that has closed itself after its last byte.
            if transport.get_extra_info("socket").fileno() >= 0:
                transport.abort()
        await self._runner.cleanup()
        self._runner = None

    @property
    def now(self) -> float:
        """Seconds since the start, on the event loop's clock."""
        return asyncio.get_running_loop().time() - self._started

    @property
    def port(self) -> int:
        """The port that it listens on.

        Raises:
            RuntimeError: The server is not running.
        """
        if self._runner is None:
            raise RuntimeError(f"{type(self).__name__} is not running")
        return int(self._runner.addresses[0][1])

    @property
    def url(self) -> str:
        """The `base_url` for the provider's plugin.

        Raises:
            RuntimeError: The server is not running.
        """
        return url_of(self._host, self.port, self.base_path, self.scheme)

    @property
    def address(self) -> dict[str, Any]:
        """The options of the plugin's class that lead it here, with a key.

        Raises:
            RuntimeError: The server is not running.
        """
        return {"api_key": FAKE_KEY, "base_url": self.url}

    @property
    def plugin_call(self) -> str:
        """The Python that makes the plugin connect here, for an agent in another process.

        Raises:
            RuntimeError: The server is not running.
        """
        options = {**self.plugin_options, **self.address}
        listed = ", ".join(f"{name}={value!r}" for name, value in options.items())
        return f"{self.plugin}.{self.plugin_class}({listed})"

    def written(self, words: Sequence[HeardWord], *, complete: bool = True) -> list[HeardWord]:
        """The words as this provider writes them; see `Accent.write`."""
        return self.accent.write(words, complete=complete) if self.accent else [*words]

    def pause(self, seconds: float) -> float:
        """The silence after which it makes a transcript final, if that is usually so many
        seconds."""
        return seconds * (self.accent.pause if self.accent else 1.0)

    def is_long(self, words: Sequence[HeardWord]) -> bool:
        """Whether it makes these words final without a pause, because of its accent."""
        most = self.accent.max_words if self.accent else None
        return most is not None and len(words) >= most

    def inject(self, fault: Fault) -> None:
        """Add a fault to the script.

        A fault without a trigger happens to the open connections now, and to later ones when they
        open.
        """
        self._script = self._checked(self._script + fault)
        if self._runner is not None:
            self._arm([fault])

    def trigger(self, fault: Fault) -> list[ServerConnection]:
        """Let a fault happen to connections that are open now, and to no later one.

        A fault without a trigger happens before this returns. The fault is added to the script for
        these connections only, so assigning `faults` ends it.

        Returns:
            The connections: those that are open, and in the fault's own `connections`.

        Raises:
            ValueError: The fault is a `ConnectFault`, its period is over, or it waits for a word
                that is not in the corpus.
        """
        if not isinstance(fault, StreamFault):
            raise ValueError(f"{fault!r} does not happen to open connections: add it with `inject`")
        dialogues = [d for d in self._dialogues if d.connection.ended is None]
        connections = [d.connection for d in dialogues if fault.applies_to(d.connection.index)]
        fault = replace(
            fault, connections=frozenset(connection.index for connection in connections)
        )
        if fault.by_audio or fault.at_time is not None or isinstance(fault, DropAfterClose):
            self.inject(fault)
            return connections
        # With a time it differs from an equal fault that is triggered later, so that each of them
        # happens.
        fault = replace(fault, at_time=self.now)
        self._script = self._checked(self._script + fault)
        self._trigger_on_all(fault)
        return connections

    def note_triggered(self, fault: Fault, connection: ServerConnection) -> None:
        """Log that a fault happens to a connection."""
        self.triggered.append(TriggeredFault(fault, connection.index, self.now))

    def _replace_faults(self, script: FaultScript) -> None:
        self._script = self._checked(script)
        self._disarm()
        if self._runner is not None:
            self._arm(self._script)

    def _checked(self, script: FaultScript) -> FaultScript:
        recognizer = AudioRecognizer(self.corpus)
        for fault in script:
            if isinstance(fault, StreamFault) and fault.at_word is not None:
                recognizer.reached(
                    fault.at_word, fault.part
                )  # raises for a word that is not in the corpus
        return script

    def _arm(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            if isinstance(fault, StreamFault) and fault.at_time is not None:
                loop = asyncio.get_running_loop()
                when = self._started + fault.at_time
                self._timers.append(loop.call_at(when, self._trigger_on_all, fault))
        for dialogue in list(self._dialogues):
            dialogue.arm(self._script)

    def _disarm(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _trigger_on_all(self, fault: StreamFault) -> None:
        for dialogue in list(self._dialogues):
            if fault.applies_to(dialogue.connection.index):
                dialogue.trigger(fault)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        if request.headers.get("Sec-WebSocket-Key") in self._refused:
            # aiohttp's client repeats a request that got no response. That is still the same
            # attempt.
            reset(request.transport)
            return web.Response()
        connection = self.resumed(request)
        is_new = connection is None
        if connection is None:
            connection = self._log_connection(request)
        self._transports.add(request.transport)
        try:
            if is_new:
                return await self._respond(request, connection)
            return await self._serve(request, connection)
        except Rejection as rejection:
            connection.end(f"rejected with {rejection.status}")
            return self.rejection(rejection.status, connection.request_id, rejection.message)
        finally:
            self._transports.discard(request.transport)
            if not self.is_awaited(connection):
                connection.end("client vanished")
                connection.closed = self.now

    def _log_connection(self, request: web.Request) -> ServerConnection:
        index = len(self.connections)
        connection = ServerConnection(
            index=index,
            path=request.path,
            query=_redacted_query(request),
            headers=_redacted_headers(request),
            request_id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.path}#{index}")),
            opened=self.now,
        )
        self.connections.append(connection)
        return connection

    async def _respond(
        self, request: web.Request, connection: ServerConnection
    ) -> web.StreamResponse:
        """Answer a request with a connect fault, or serve it. A new kind of fault needs a case
        here."""
        assert request.transport is not None
        fault = self._script.at_connect(connection.index, self.now)
        if fault is not None:
            self.note_triggered(fault, connection)
        match fault:
            case Refuse():
                connection.end("refused")
                self._refused.add(request.headers.get("Sec-WebSocket-Key", ""))
                reset(request.transport)
                return web.Response()  # is not sent: the connection is gone
            case Hang():
                connection.end("hung")
                await asyncio.Event().wait()
                raise AssertionError("a hung request ends by cancellation")
            case Status(code=code, body=body, headers=headers):
                connection.end(f"status {code}")
                response = self.rejection(code, connection.request_id)
                if body is not None:
                    response.text = body
                response.headers.update(headers)
                return response
            case None:
                return await self._serve(request, connection)
            case other:
                raise AssertionError(f"no hook for {other!r}")

    async def _serve(
        self, request: web.Request, connection: ServerConnection
    ) -> web.StreamResponse:
        self.check(request)
        if request.method == "POST":
            return await self.answer_post(request, connection)
        if self.concurrency is not None and self._open_websockets >= self.concurrency:
            raise Rejection(429)
        self._open_websockets += 1
        try:
            return await self._converse(request, connection)
        finally:
            self._open_websockets -= 1

    async def _converse(
        self, request: web.Request, connection: ServerConnection
    ) -> web.StreamResponse:
        assert request.transport is not None
        await asyncio.sleep(self.handshake)
        # The dialogue answers pings, because a peer that has vanished must not.
        websocket = web.WebSocketResponse(compress=False, autoping=False)
        websocket.headers[self.request_id_header] = connection.request_id
        await websocket.prepare(request)
        dialogue = self.dialogue(connection, websocket, request.transport)
        self._dialogues.append(dialogue)
        try:
            dialogue.arm(self._script)
            await dialogue.run()
        finally:
            self._dialogues.remove(dialogue)
        return websocket

    async def answer_post(self, request: web.Request, connection: ServerConnection) -> web.Response:
        """The provider's response to a recording that is to be transcribed, or to a request for a
        session.

        Raises:
            Rejection: The provider does not accept the request.
        """
        raise AssertionError(f"{type(self).__name__} has no endpoint for POST")

    def resumed(self, request: web.Request) -> ServerConnection | None:
        """The connection that a request goes on with, where a provider needs two requests for one:
        a POST that asks for a session, and its websocket. None: a new connection."""
        return None

    def is_awaited(self, connection: ServerConnection) -> bool:
        """Whether a request is expected that goes on with a connection."""
        return False

    @abstractmethod
    def stt(self, **options: Any) -> stt.STT[Any]:
        """The published plugin, so configured that it connects here. `options` are those of its
        constructor."""

    @abstractmethod
    def check(self, request: web.Request) -> None:
        """Check the credentials and the query of a request.

        Raises:
            Rejection: The provider does not accept the request.
        """

    def sample_rate(self, connection: ServerConnection) -> int:
        """Hz of the audio on a connection, as far as its request says; by default the query's
        `sample_rate`. A `Dialogue` that learns it later calls its `configure`."""
        return int(connection.query["sample_rate"])

    @abstractmethod
    def languages(self, connection: ServerConnection) -> Sequence[str]:
        """The base subtags of the languages that the provider knows on a connection.

        Words of any other language are recognized as wrong words of the first.
        """

    def rejection(self, status: int, request_id: str, message: str | None = None) -> web.Response:
        """The provider's response to a request that it does not accept."""
        body = self.error_body(status, request_id, message)
        return web.json_response(body, status=status, headers={self.request_id_header: request_id})

    @abstractmethod
    def error_body(self, status: int, request_id: str, message: str | None) -> Mapping[str, Any]:
        """The JSON of a response with an error status; `message` says more than the status."""

    @abstractmethod
    def in_band_error(self, connection: ServerConnection, fault: InBandError) -> Mapping[str, Any]:
        """The provider's in-band error message on a connection."""

    def dialogue(
        self,
        connection: ServerConnection,
        websocket: web.WebSocketResponse,
        transport: asyncio.Transport,
    ) -> Dialogue:
        """The dialogue for an accepted connection."""
        return type(self).dialogue_class(self, connection, websocket, transport)


def url_of(host: str, port: int, path: str = "", scheme: str = "http") -> str:
    """The URL of a server that listens on a name or an address, for clients on this machine."""
    try:
        address = ip_address(host)
    except ValueError:
        return f"{scheme}://{host}:{port}{path}"
    if address.is_unspecified:
        host = LOOPBACK
    elif address.version == 6:
        host = f"[{host}]"
    return f"{scheme}://{host}:{port}{path}"


def _redacted_query(request: web.Request) -> MultiDict[str]:
    pairs = request.query.items()
    return MultiDict((k, REDACTED if k in _SECRET_QUERY else v) for k, v in pairs)


def _redacted_headers(request: web.Request) -> CIMultiDict[str]:
    headers = CIMultiDict(request.headers)
    for name in _SECRET_HEADERS:
        if name in headers:
            headers[name] = REDACTED
    return headers
