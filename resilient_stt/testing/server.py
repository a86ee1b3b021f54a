"""What the fake providers share: a loopback server, its connections' log and their faults.

A provider's module adds the dialogue: what it says to what it hears. A new kind of fault is hooked
in where the kinds are told apart: `FakeServer._met` for faults instead of the 101, and
`Dialogue.strike` for faults of an open connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import uuid
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from aiohttp import WSMsgType, web
from multidict import CIMultiDict, MultiDict

from .faults import (
    NO_CLOSE_FRAME,
    Drop,
    DropAfterClose,
    EndCleanly,
    Fault,
    FaultScript,
    Hang,
    Latency,
    Refuse,
    Status,
    StreamFault,
)
from .hearing import HeardWord, Hearing
from .speech import ReferenceSpeech

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

REDACTED = "<redacted>"

_SECRET_HEADERS = ("X-API-Key", "Authorization", "Cookie")
_SECRET_QUERY = ("api_key", "access_token", "token")
_SAMPLE_WIDTH = 2  # bytes: both providers are sent 16-bit mono
_STEP = 0.02  # seconds fed at once: how exactly a pause is measured
_FINE_STEP = 0.001  # the same while a fault waits for its place in the audio
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, 0 s


class Sent(NamedTuple):
    """A message of the server and when it was sent, in seconds since the server's start."""

    at: float
    message: Mapping[str, Any]


@dataclass(slots=True)
class Connection:
    """What happened on one connection. Times are seconds since the server's start.

    Attributes:
        index: Its 0-based number; refused requests count.
        path: The path of the request.
        query: The query of the request, credentials redacted.
        headers: The headers of the request, credentials redacted.
        request_id: The provider's name for the connection.
        opened: When the request came.
        closed: When it was over; None while it is open.
        audio: Seconds of audio heard. What came in after the end of the stream does not count.
        texts: The text messages of the client.
        sent: The messages of the server.
        ended: How it ended, in a few words; None while it is open.
    """

    index: int
    path: str
    query: MultiDict[str]
    headers: CIMultiDict[str]
    request_id: str
    opened: float
    closed: float | None = None
    audio: float = 0.0
    texts: list[str] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    ended: str | None = None

    def __repr__(self) -> str:
        state = f"open since {self.opened:.3f} s"
        if self.closed is not None:
            state = f"{self.opened:.3f} to {self.closed:.3f} s, {self.ended}"
        heard = f"heard {self.audio:.3f} s, {len(self.texts)} texts"
        return f"<Connection {self.index} {self.path} {state}; {heard}, sent {len(self.sent)}>"

    def end(self, how: str) -> None:
        """Note how the connection ended; what is noted first stays."""
        self.ended = self.ended or how


class Rejection(Exception):
    """A request that the provider answers with an HTTP error, for a reason of its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class FakeServer(ABC):
    """A provider on loopback that transcribes what it hears, and misbehaves as its script says.

    Args:
        faults: What goes wrong; can be changed while the server runs.
        latency: Seconds from the audio that completes a message to the message.
        endpoint_silence: Seconds without speech after which a transcript becomes final.
        handshake: Seconds from the request to the 101.
        corpus: Recordings that it recognises; None: all that are shipped. The words of faults are
            those of the first.

    Raises:
        ValueError: A fault waits for a word that the corpus does not have.
    """

    path: ClassVar[str]
    other_paths: ClassVar[tuple[str, ...]] = ()
    request_id_header: ClassVar[str]

    def __init__(
        self,
        *,
        faults: Iterable[Fault] = (),
        latency: float,
        endpoint_silence: float,
        handshake: float,
        corpus: Sequence[ReferenceSpeech] | None,
    ) -> None:
        self.latency = latency
        self.endpoint_silence = endpoint_silence
        self.handshake = handshake
        self.corpus = corpus
        self.connections: list[Connection] = []
        self._script = self._checked(FaultScript(faults))
        self._dialogues: list[Dialogue] = []
        self._transports: set[asyncio.Transport] = set()
        self._timers: list[asyncio.TimerHandle] = []
        self._refused: set[str] = set()  # handshake keys
        self._runner: web.AppRunner | None = None
        self._started = 0.0

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

    async def start(self) -> None:
        """Listen on a free port of 127.0.0.1. The server's clock starts here, at 0."""
        app = web.Application()
        for path in (self.path, *self.other_paths):
            app.router.add_get(path, self._answer)
        # a hung request must end with its client, not with the server
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self._runner = runner
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
            transport.abort()
        await self._runner.cleanup()
        self._runner = None

    @property
    def now(self) -> float:
        """Seconds since the start, on the event loop's clock."""
        return asyncio.get_running_loop().time() - self._started

    @property
    def port(self) -> int:
        """The port on 127.0.0.1.

        Raises:
            RuntimeError: The server is not running.
        """
        if self._runner is None:
            raise RuntimeError(f"{type(self).__name__} is not running")
        return int(self._runner.addresses[0][1])

    @property
    @abstractmethod
    def url(self) -> str:
        """The `base_url` for the provider's plugin."""

    @property
    def faults(self) -> FaultScript:
        """The script in force. Assigning any iterable of faults replaces it at once."""
        return self._script

    @faults.setter
    def faults(self, faults: Iterable[Fault]) -> None:
        self._script = self._checked(FaultScript(faults))
        self._disarm()
        if self._runner is not None:
            self._arm(self._script)

    def inject(self, fault: Fault) -> None:
        """Add a fault to the script. One without a trigger strikes the open connections now."""
        self._script = self._checked(self._script + fault)
        if self._runner is not None:
            self._arm([fault])

    def _checked(self, script: FaultScript) -> FaultScript:
        hearing = Hearing(self.corpus)
        for fault in script:
            if isinstance(fault, StreamFault) and fault.at_word is not None:
                hearing.reached(fault.at_word, fault.part)  # raises for a word that is not there
        return script

    def _arm(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            if isinstance(fault, StreamFault) and not fault.lasting and fault.at_time is not None:
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
                dialogue.strike(fault)

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

    def _noted(self, request: web.Request) -> Connection:
        index = len(self.connections)
        connection = Connection(
            index=index,
            path=request.path,
            query=_redacted_query(request),
            headers=_redacted_headers(request),
            request_id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.path}#{index}")),
            opened=self.now,
        )
        self.connections.append(connection)
        return connection

    async def _met(self, request: web.Request, connection: Connection) -> web.StreamResponse:
        """Meet a request with a connect fault, or else serve it. Kinds of faults hook in here."""
        assert request.transport is not None
        match self._script.at_connect(connection.index, self.now):
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

    async def _served(self, request: web.Request, connection: Connection) -> web.StreamResponse:
        assert request.transport is not None
        self.check(request)
        await asyncio.sleep(self.handshake)
        websocket = web.WebSocketResponse(compress=False)
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

    @abstractmethod
    def check(self, request: web.Request) -> None:
        """Look at the credentials and the query of a request.

        Raises:
            Rejection: The provider would not take it.
        """

    @abstractmethod
    def rejected(self, status: int, request_id: str, message: str | None = None) -> web.Response:
        """The provider's answer to a request that it does not take."""

    @abstractmethod
    def dialogue(
        self, connection: Connection, websocket: web.WebSocketResponse, transport: asyncio.Transport
    ) -> Dialogue:
        """What the provider does on a connection that it has taken."""


class Dialogue(ABC):
    """One open connection: hears audio, is told texts, says messages.

    Messages leave in the order in which they are said, each after its latency. Once the dialogue
    is over, nothing more is heard or sent.
    """

    def __init__(
        self,
        server: FakeServer,
        connection: Connection,
        websocket: web.WebSocketResponse,
        transport: asyncio.Transport,
    ) -> None:
        self.connection = connection
        self.sample_rate = int(connection.query["sample_rate"])
        self.hearing = Hearing(server.corpus, sample_rate=self.sample_rate)
        self._server = server
        self._websocket = websocket
        self._transport = transport
        self._outbox: asyncio.Queue[tuple[float, Mapping[str, Any] | None]] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._armed: list[StreamFault] = []
        self._struck: list[StreamFault] = []
        self._over = False

    @abstractmethod
    def heard(self, words: list[HeardWord]) -> None:
        """React to a short piece of audio that `hearing` was fed and that completed `words`."""

    @abstractmethod
    def told(self, text: str) -> None:
        """React to a text message of the client."""

    @abstractmethod
    def is_goodbye(self, text: str) -> bool:
        """Whether this text message says that the client sends no more audio."""

    def say(self, message: Mapping[str, Any], *, after: float | None = None) -> None:
        """Send a message `after` seconds, the server's latency if None, plus `Latency` faults."""
        delay = self._server.latency if after is None else after
        due = asyncio.get_running_loop().time() + delay + self._extra_latency()
        self._outbox.put_nowait((due, message))

    def hang_up(self) -> None:
        """Close with 1000 when all that was said has been sent."""
        self._outbox.put_nowait((0.0, None))

    def arm(self, script: FaultScript) -> None:
        """Watch for the faults of a script that this connection has not had yet."""
        self._armed = [
            fault
            for fault in script.of(StreamFault, self.connection.index)
            if fault not in self._struck
            and fault.at_time is None  # those are on the server's timer, or states of the server
            and not isinstance(fault, DropAfterClose)
        ]
        self._strike_reached()

    def strike(self, fault: StreamFault) -> None:
        """Let a fault happen. Kinds of faults hook in here."""
        if self._over:
            return
        self._struck.append(fault)
        match fault:
            case Drop(code=None) | DropAfterClose():
                self._break_off("reset")
                reset(self._transport)
            case Drop(code=code) if code == NO_CLOSE_FRAME:
                self._break_off("ended without a close frame")
                self._transport.abort()
            case Drop(code=int(code), reason=reason):
                self._close(code, reason)
            case EndCleanly():
                self._close(1000)
            case Latency():
                pass  # a state: `_extra_latency` looks it up
            case _:
                raise AssertionError(f"no hook for {fault!r}")

    async def run(self) -> None:
        """Read and send until the connection is over."""
        self._spawn(self._send())
        try:
            async for message in self._websocket:
                if self._over:
                    continue
                if message.type is WSMsgType.BINARY:
                    self._hear(message.data)
                elif message.type is WSMsgType.TEXT:
                    self._read(message.data)
            self.connection.end(f"closed by the client with {self._websocket.close_code}")
            await asyncio.gather(*self._tasks[1:])  # a close of ours waits for the client's
        finally:
            self._over = True
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, message = await self._outbox.get()
            await asyncio.sleep(due - loop.time())
            if self._over:
                return
            if message is None:
                self._close(1000)
                return
            with contextlib.suppress(ConnectionError):  # the reader learns that the client is gone
                await self._websocket.send_json(message)
                self.connection.sent.append(Sent(self._server.now, message))

    def _hear(self, pcm: bytes) -> None:
        for piece in self._pieces(pcm):
            self.connection.audio += len(piece) / _SAMPLE_WIDTH / self.sample_rate
            self.heard(self.hearing.feed(piece))
            self._strike_reached()
            if self._over:
                return

    def _pieces(self, pcm: bytes) -> Iterator[bytes]:
        fine = any(fault.by_audio for fault in self._armed)
        step = round((_FINE_STEP if fine else _STEP) * self.sample_rate) * _SAMPLE_WIDTH
        return (pcm[at : at + step] for at in range(0, len(pcm), step))

    def _read(self, text: str) -> None:
        self.connection.texts.append(text)
        if self.is_goodbye(text):
            for fault in self._server.faults.of(DropAfterClose, self.connection.index):
                self.strike(fault)
        if not self._over:
            self.told(text)

    def _strike_reached(self) -> None:
        for fault in [fault for fault in self._armed if self._reached(fault)]:
            self._armed.remove(fault)
            self.strike(fault)

    def _reached(self, fault: StreamFault) -> bool:
        if not fault.in_period(self._server.now):
            return False
        if fault.at_word is not None:
            return self.hearing.reached(fault.at_word, fault.part)
        # half a sample of tolerance: the sum of many pieces is not exact
        return self.connection.audio + 0.5 / self.sample_rate >= (fault.at_audio or 0.0)

    def _extra_latency(self) -> float:
        script, now = self._server.faults, self._server.now
        return sum(
            fault.seconds
            for fault in script.of(Latency, self.connection.index)
            if fault.in_period(now) and (fault.at_time is not None or fault in self._struck)
        )

    def _break_off(self, how: str) -> None:
        self._over = True
        self.connection.end(how)

    def _close(self, code: int, reason: str = "") -> None:
        self._break_off(f"closed with {code}")
        self._spawn(_closing(self._websocket, code, reason))


async def _closing(websocket: web.WebSocketResponse, code: int, reason: str) -> None:
    await websocket.close(code=code, message=reason.encode())


def reset(transport: asyncio.Transport) -> None:
    """End a TCP connection with a reset (RST) instead of a FIN; unsent data is thrown away."""
    if (raw := transport.get_extra_info("socket")) is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


def text_of(words: Sequence[HeardWord]) -> str:
    """Words as their language writes them one after the other."""
    if not words:
        return ""
    return ReferenceSpeech.load(words[0].speech).separator.join(word.text for word in words)


def _redacted_query(request: web.Request) -> MultiDict[str]:
    pairs = request.query.items()
    return MultiDict((k, REDACTED if k in _SECRET_QUERY else v) for k, v in pairs)


def _redacted_headers(request: web.Request) -> CIMultiDict[str]:
    headers = CIMultiDict(request.headers)
    for name in _SECRET_HEADERS:
        if name in headers:
            headers[name] = REDACTED
    return headers
