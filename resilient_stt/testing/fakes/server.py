"""What the fake providers share: a loopback server, the log of its connections, its faults.

A provider's module adds the dialogue: what it says to what it hears. A new kind of fault instead
of the 101 is hooked in at `FakeServer._met`, where the kinds are told apart.
"""

from __future__ import annotations

import asyncio
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, overload

from aiohttp import web
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
from ..speech.recognizer import AudioRecognizer
from ..speech.reference import ReferenceSpeech
from .dialogue import Dialogue, Sent, ServerConnection, reset

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = [
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

_BIGGEST_BODY = 2 * 1024**3  # bytes: what Deepgram takes
_SECRET_HEADERS = ("X-API-Key", "Authorization", "Cookie")
_SECRET_QUERY = ("api_key", "access_token", "token")


class Rejection(Exception):
    """A request that the provider answers with an HTTP error, for a reason of its own."""

    def __init__(self, status: int, message: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class TriggeredFault(NamedTuple):
    """A fault that has happened.

    Attributes:
        fault: As it is in the script.
        connection: The number of the connection that it met or struck.
        at: When, in seconds since the server's start; of a lasting one, when it began.
    """

    fault: Fault
    connection: int
    at: float


class FaultsInForce:
    """The attribute `faults` of a server: assigning any iterable of faults replaces them at once."""

    @overload
    def __get__(self, server: None, owner: type[FakeServer]) -> Iterable[Fault]: ...

    @overload
    def __get__(self, server: FakeServer, owner: type[FakeServer]) -> FaultScript: ...

    def __get__(self, server: FakeServer | None, owner: type[FakeServer]) -> Iterable[Fault]:
        # a dataclass asks the class for the default
        return FaultScript() if server is None else server._script

    def __set__(self, server: FakeServer, faults: Iterable[Fault]) -> None:
        server._replace_faults(FaultScript(faults))


@dataclass(kw_only=True, repr=False, eq=False)
class FakeServer(ABC):
    """A provider on loopback that transcribes what it hears, and misbehaves as its script says.

    Args:
        faults: What goes wrong; can be changed while the server runs.
        latency: Seconds from the audio that completes a message to the message.
        endpoint_silence: Seconds without speech after which a transcript becomes final.
        handshake: Seconds from the request to the 101.
        concurrency: Open websockets at once, beyond which a request for one is answered with 429;
            those whose peer has vanished count. None: any number.
        idle_timeout: Seconds without audio or text after which a connection is closed. Pings do not
            count. It does not act in a stall, nor once the client has sent its closing message.
        max_burst: Seconds of audio that may come in ahead of real time, counted from the 101;
            beyond that the connection is closed with 1008.
        speed: The multiple of real time at which audio is processed at most; None: any. It is that
            of the connections that open from then on.
        max_message: Bytes of a message beyond which the connection is closed with 1009.
        corpus: Recordings that it recognises; None: all that are shipped. The words of faults are
            those of whichever is heard.

    Attributes:
        connections: The log of all connections, in the order of their requests.
        struck: The log of the faults that happened, in their order.

    Raises:
        ValueError: A fault waits for a word that the corpus does not have.
    """

    path: ClassVar[str]
    base_path: ClassVar[str] = ""
    """The part of `path` that belongs to the plugin's `base_url`."""
    other_paths: ClassVar[tuple[str, ...]] = ()
    """Further paths of websockets."""
    batch_paths: ClassVar[tuple[str, ...]] = ()
    """Paths that take whole recordings by POST."""
    request_id_header: ClassVar[str]

    latency: float
    endpoint_silence: float
    handshake: float = 0.15
    concurrency: int | None = None
    idle_timeout: float | None = None
    max_burst: float | None = None
    speed: float | None = None
    max_message: int | None = None
    corpus: Sequence[ReferenceSpeech] | None = None
    connections: list[ServerConnection] = field(init=False, default_factory=list)
    triggered: list[TriggeredFault] = field(init=False, default_factory=list)
    _dialogues: list[Dialogue] = field(init=False, default_factory=list)
    _taken: int = field(init=False, default=0)
    """Open websockets that count against `concurrency`."""
    _transports: set[asyncio.Transport] = field(init=False, default_factory=set)
    _timers: list[asyncio.TimerHandle] = field(init=False, default_factory=list)
    _refused: set[str] = field(init=False, default_factory=set)
    """`Sec-WebSocket-Key`s of the requests that were refused."""
    _runner: web.AppRunner | None = field(init=False, default=None)
    _host: str = field(init=False, default=LOOPBACK)
    _started: float = field(init=False, default=0.0)
    _script: FaultScript = field(init=False, default=FaultScript())
    faults: FaultsInForce = FaultsInForce()  # last: assigning it uses the other fields

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
        """Listen. The server's clock starts here, at 0. `async with` does it with the defaults.

        Args:
            host: Name or address. On another than loopback other machines get in, with any key.
            port: 0 is any free one.

        Raises:
            OSError: It cannot listen there.
            RuntimeError: It does so already.
        """
        if self._runner is not None:
            raise RuntimeError(f"{type(self).__name__} listens already, at {self.url}")
        app = web.Application(client_max_size=_BIGGEST_BODY)
        for path in (self.path, *self.other_paths):
            app.router.add_get(path, self._answer)
        for path in self.batch_paths:
            app.router.add_post(path, self._answer)
        # a hung request must end with its client, not with the server
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
        """Close all connections without a word, as a process that ends, and stop listening."""
        if self._runner is None:
            return
        self._disarm()
        for connection in self.connections:
            if connection.closed is None:
                connection.end("server stopped")
        for transport in self._transports:
            # asyncio raises for one that has closed itself after its last byte
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
        return url_of(self._host, self.port, self.base_path)

    def inject(self, fault: Fault) -> None:
        """Add a fault to the script.

        One without a trigger strikes the open connections now, and later ones when they open.
        """
        self._script = self._checked(self._script + fault)
        if self._runner is not None:
            self._arm([fault])

    def trigger(self, fault: Fault) -> list[ServerConnection]:
        """Let a fault happen to connections that are open now, and to no later one.

        One without a trigger happens before this returns. It is added to the script as one of these
        connections alone, so that assigning `faults` ends it.

        Returns:
            The connections: those that are open, and in the fault's own `connections`.

        Raises:
            ValueError: It is one that meets connections before they are open, its time is over, or
                it waits for a word that the corpus does not have.
        """
        if not isinstance(fault, StreamFault):
            raise ValueError(f"{fault!r} meets connections before they are open: inject it")
        dialogues = [d for d in self._dialogues if d.connection.ended is None]
        met = [d.connection for d in dialogues if fault.meets(d.connection.index)]
        fault = replace(fault, connections=frozenset(connection.index for connection in met))
        if fault.by_audio or fault.at_time is not None or isinstance(fault, DropAfterClose):
            self.inject(fault)
            return met
        # the next one like it has another time: it is another one, and happens, too
        fault = replace(fault, at_time=self.now)
        self._script = self._checked(self._script + fault)
        self._strike_all(fault)
        return met

    def note_triggered(self, fault: Fault, connection: ServerConnection) -> None:
        """Log that a fault happens to a connection."""
        self.triggered.append(TriggeredFault(fault, connection.index, self.now))

    def _replace_faults(self, script: FaultScript) -> None:
        self._script = self._checked(script)
        self._disarm()
        if self._runner is not None:
            self._arm(self._script)

    def _checked(self, script: FaultScript) -> FaultScript:
        hearing = AudioRecognizer(self.corpus)
        for fault in script:
            if isinstance(fault, StreamFault) and fault.at_word is not None:
                hearing.reached(fault.at_word, fault.part)  # raises for a word that is not there
        return script

    def _arm(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            if isinstance(fault, StreamFault) and fault.at_time is not None:
                loop = asyncio.get_running_loop()
                when = self._started + fault.at_time
                self._timers.append(loop.call_at(when, self._strike_all, fault))
        for dialogue in list(self._dialogues):
            dialogue.arm(self._script)

    def _disarm(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _strike_all(self, fault: StreamFault) -> None:
        for dialogue in list(self._dialogues):
            if fault.meets(dialogue.connection.index):
                dialogue.trigger(fault)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        if request.headers.get("Sec-WebSocket-Key") in self._refused:
            # aiohttp's client asks once more when it gets no answer: still the same attempt
            reset(request.transport)
            return web.Response()
        connection = self._noted(request)
        self._transports.add(request.transport)
        try:
            return await self._met(request, connection)
        except Rejection as rejection:
            connection.end(f"rejected with {rejection.status}")
            return self.rejected(rejection.status, connection.request_id, rejection.message)
        finally:
            self._transports.discard(request.transport)
            connection.end("client vanished")
            connection.closed = self.now

    def _noted(self, request: web.Request) -> ServerConnection:
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

    async def _met(self, request: web.Request, connection: ServerConnection) -> web.StreamResponse:
        """Meet a request with a connect fault, or else serve it. Kinds of faults hook in here."""
        assert request.transport is not None
        fault = self._script.at_connect(connection.index, self.now)
        if fault is not None:
            self.note_triggered(fault, connection)
        match fault:
            case Refuse():
                connection.end("refused")
                self._refused.add(request.headers.get("Sec-WebSocket-Key", ""))
                reset(request.transport)
                return web.Response()  # goes nowhere
            case Hang():
                connection.end("hung")
                await asyncio.Event().wait()
                raise AssertionError("a hung request ends by cancellation")
            case Status(code=code, body=body, headers=headers):
                connection.end(f"status {code}")
                response = self.rejected(code, connection.request_id)
                if body is not None:
                    response.text = body
                response.headers.update(headers)
                return response
            case None:
                return await self._served(request, connection)
            case other:
                raise AssertionError(f"no hook for {other!r}")

    async def _served(
        self, request: web.Request, connection: ServerConnection
    ) -> web.StreamResponse:
        self.check(request)
        if request.method == "POST":
            return await self.transcribed(request, connection)
        if self.concurrency is not None and self._taken >= self.concurrency:
            raise Rejection(429)
        self._taken += 1
        try:
            return await self._talked(request, connection)
        finally:
            self._taken -= 1

    async def _talked(
        self, request: web.Request, connection: ServerConnection
    ) -> web.StreamResponse:
        assert request.transport is not None
        await asyncio.sleep(self.handshake)
        # pings are answered by the dialogue, for a vanished peer answers none
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

    async def transcribed(self, request: web.Request, connection: ServerConnection) -> web.Response:
        """The provider's answer to a batch request.

        Raises:
            Rejection: The provider would not take the audio.
        """
        raise AssertionError(f"{type(self).__name__} has no batch endpoint")

    @abstractmethod
    def check(self, request: web.Request) -> None:
        """Look at the credentials and the query of a request.

        Raises:
            Rejection: The provider would not take it.
        """

    @abstractmethod
    def languages(self, connection: ServerConnection) -> Sequence[str]:
        """The base subtags of the languages that it knows on a connection.

        Words of any other come as wrong words of the first.
        """

    @abstractmethod
    def rejected(self, status: int, request_id: str, message: str | None = None) -> web.Response:
        """The provider's answer to a request that it does not take."""

    @abstractmethod
    def error(self, connection: ServerConnection, fault: InBandError) -> Mapping[str, Any]:
        """The provider's in-band error on a connection."""

    @abstractmethod
    def dialogue(
        self,
        connection: ServerConnection,
        websocket: web.WebSocketResponse,
        transport: asyncio.Transport,
    ) -> Dialogue:
        """What the provider does on a connection that it has taken."""


def url_of(host: str, port: int, path: str = "") -> str:
    """The URL of what listens on a name or an address, for clients on this machine."""
    try:
        address = ip_address(host)
    except ValueError:
        return f"http://{host}:{port}{path}"
    if address.is_unspecified:
        host = LOOPBACK
    elif address.version == 6:
        host = f"[{host}]"
    return f"http://{host}:{port}{path}"


def _redacted_query(request: web.Request) -> MultiDict[str]:
    pairs = request.query.items()
    return MultiDict((k, REDACTED if k in _SECRET_QUERY else v) for k, v in pairs)


def _redacted_headers(request: web.Request) -> CIMultiDict[str]:
    headers = CIMultiDict(request.headers)
    for name in _SECRET_HEADERS:
        if name in headers:
            headers[name] = REDACTED
    return headers
