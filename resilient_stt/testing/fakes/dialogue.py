"""One connection of a fake provider: its log, and the dialogue on it with its faults.

A provider's module adds what is said to what is heard. A new kind of fault of an open connection is
hooked in at `Dialogue.strike`, where the kinds are told apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from aiohttp import WSMessage, WSMsgType, web
from multidict import CIMultiDict, MultiDict

from ..faults import (
    NO_CLOSE_FRAME,
    Drop,
    DropAfterClose,
    EmptyFinals,
    EndCleanly,
    Fault,
    FaultScript,
    Garbage,
    HalfOpen,
    IgnoreClose,
    InBandError,
    Latency,
    LostFinal,
    Stall,
    StreamFault,
    is_final,
    is_transcript,
    says_words,
)
from ..speech.recognizer import AudioRecognizer, HeardWord

if TYPE_CHECKING:
    from .server import FakeServer

_F = TypeVar("_F", bound=Fault)

_SAMPLE_WIDTH = 2  # bytes: both providers are sent 16-bit mono
_STEP = 0.02  # seconds fed at once: how exactly a pause is measured
_FINE_STEP = 0.001  # the same while a fault waits for its place in the audio
_MOMENT = 1e-6  # seconds: a timer may come early by less
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, 0 s


class Sent(NamedTuple):
    """A message of the server.

    Attributes:
        at: When it was sent, in seconds since the server's start.
        message: What the provider says.
        garbage: The frame that `Garbage` has made of it; None if the message was sent as it is.
    """

    at: float
    message: Mapping[str, Any]
    garbage: str | bytes | None = None


class _Outgoing(NamedTuple):
    """What waits to be sent, until the loop's time is `due`. No message means to close."""

    due: float
    message: Mapping[str, Any] | None
    garbage: str | bytes | None = None
    code: int = 1000
    reason: str = ""


@dataclass(slots=True)
class ServerConnection:
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


class Dialogue(ABC):
    """One open connection: hears audio, is told texts, says messages.

    Messages leave in the order in which they are said, each after its latency. Once the dialogue
    is over, nothing more is heard or sent.

    With a `speed`, a message with audio is heard as a whole once the recogniser has had the time
    for the one before it, and texts wait for the audio before them. At the pace of speech only a
    message shorter than the one before it waits.
    """

    def __init__(
        self,
        server: FakeServer,
        connection: ServerConnection,
        websocket: web.WebSocketResponse,
        transport: asyncio.Transport,
    ) -> None:
        self.connection = connection
        self.sample_rate = int(connection.query["sample_rate"])
        self.hearing = AudioRecognizer(
            server.corpus, sample_rate=self.sample_rate, languages=server.languages(connection)
        )
        self._server = server
        self._websocket = websocket
        self._transport = transport
        self._outbox: asyncio.Queue[_Outgoing] = asyncio.Queue()
        self._sender: asyncio.Task[None] | None = None
        self._closer: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._armed: list[StreamFault] = []
        self._triggered: list[StreamFault] = []
        self._speed = server.speed
        self._inbox: asyncio.Queue[tuple[float, str | bytes]] = asyncio.Queue()
        self._missed = -1.0  # the loop's time: what came in until then is lost in a stall
        self._opened = self._active = asyncio.get_running_loop().time()
        self._received = 0.0  # seconds of audio that came in
        self._idle: asyncio.TimerHandle | None = None
        self._parting = False  # the client has sent its closing message
        self._over = False
        self._vanished = False  # half-open
        self._must_forget = False  # has stalled since it was last awake
        self._lost: list[LostFinal] = []  # those that have taken their final

    @abstractmethod
    def on_words(self, words: list[HeardWord]) -> None:
        """React to a short piece of audio that `hearing` was fed and that completed `words`."""

    @abstractmethod
    def transcribe(self, text: str) -> None:
        """React to a text message of the client."""

    @abstractmethod
    def is_goodbye(self, text: str) -> bool:
        """Whether this text message says that the client sends no more audio."""

    def forget(self) -> None:
        """Forget what was heard and not said, as a recogniser that starts anew."""
        self.hearing.finish()

    def say(self, message: Mapping[str, Any], *, after: float | None = None) -> None:
        """Send a message `after` seconds, the server's latency if None, plus `Latency` faults."""
        if self._stalled:
            return
        garbage = None
        if is_final(message) and says_words(message) and self._is_lost():
            return
        if is_transcript(message):
            for empty in self._in_force(EmptyFinals)[:1]:
                if (emptied := empty.of(message)) is None:
                    return
                message = emptied
            garbage = next((fault.of(message) for fault in self._in_force(Garbage)), None)
        delay = self._server.latency if after is None else after
        due = asyncio.get_running_loop().time() + delay + self._extra_latency(message)
        self._outbox.put_nowait(_Outgoing(due, message, garbage))

    def _is_lost(self) -> bool:
        """Whether a final is the one that a fault takes."""
        taking = [fault for fault in self._in_force(LostFinal) if fault not in self._lost][:1]
        self._lost += taking
        return bool(taking)

    def hang_up(self, last: Mapping[str, Any] | None = None) -> None:
        """Answer the client's closing message by a `last` message and a close with 1000."""
        if not (self._stalled or self._in_force(IgnoreClose)):
            self.leave(1000, last=last)

    def leave(self, code: int, reason: str = "", *, last: Mapping[str, Any] | None = None) -> None:
        """Say a `last` message and close when all that was said has been sent."""
        if last is not None:
            self.say(last)
        self._outbox.put_nowait(_Outgoing(0.0, None, code=code, reason=reason))

    def expire(self) -> None:
        """End because neither audio nor text came for the server's `idle_timeout`."""
        self.leave(1000, "Idle for too long.")

    def arm(self, script: FaultScript) -> None:
        """Watch for the faults of a script that this connection has not had yet."""
        self._armed = [
            fault
            for fault in script.of(StreamFault, self.connection.index)
            if fault not in self._triggered
            and (fault.at_time is None or fault.lasting)  # others are on the server's timer alone
            and not isinstance(fault, DropAfterClose)
        ]
        self._strike_reached()

    def trigger(self, fault: StreamFault) -> None:
        """Let a fault happen. Kinds of faults hook in here."""
        if self._over or fault in self._triggered:
            return
        self._triggered.append(fault)
        self._server.note_triggered(fault, self.connection)
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
            case HalfOpen():
                self._break_off("half-open")
                self._vanished = True
                self._transport.pause_reading()
            case InBandError():
                self._fail(fault)
            case Stall():
                self._fall_silent()
            case Latency() | Garbage() | EmptyFinals() | LostFinal() | IgnoreClose():
                pass  # states: looked up where they matter
            case _:
                raise AssertionError(f"no hook for {fault!r}")

    async def run(self) -> None:
        """Read and send until the connection is over."""
        self._sender = self._spawn(self._send())
        if self._speed is not None:
            self._spawn(self._recognise(self._speed))
        self._watch_idleness()
        try:
            async for message in self._websocket:
                await self._take(message)
            self.connection.end(f"closed by the client with {self._websocket.close_code}")
            if self._closer is not None:
                await self._closer  # a close of ours waits for the client's
        finally:
            self._over = True
            if self._idle is not None:
                self._idle.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, message: WSMessage) -> None:
        if self._vanished:
            await asyncio.Event().wait()  # until the handler is cancelled: read no more
        if self._over:
            return
        if message.type in (WSMsgType.BINARY, WSMsgType.TEXT):
            self._receive(message.data)
        elif message.type is WSMsgType.PING:
            with contextlib.suppress(ConnectionError):
                await self._websocket.pong(message.data)

    def _receive(self, data: str | bytes) -> None:
        """Take a message in: refuse it, recognise it at once, or queue it."""
        self._active = asyncio.get_running_loop().time()
        if self._stalled:
            self._missed = self._active
        if isinstance(data, str):
            self.connection.texts.append(data)
        else:
            self._received += self._seconds(data)
        if (refusal := self._refusal(data)) is not None:
            self._close(*refusal)
        elif self._speed is None:
            self._process(data, self._active)
        else:
            self._inbox.put_nowait((self._active, data))

    def _refusal(self, data: str | bytes) -> tuple[int, str] | None:
        """The close code and the reason if a message is too much."""
        limit, burst = self._server.max_message, self._server.max_burst
        if limit is not None and len(data if isinstance(data, bytes) else data.encode()) > limit:
            return 1009, "The message is too big."
        if burst is not None and self._received - (self._active - self._opened) > burst:
            return 1008, "The audio comes too fast."
        return None

    async def _recognise(self, speed: float) -> None:
        """Process what is in the inbox, audio at no more than this multiple of real time."""
        loop = asyncio.get_running_loop()
        free = loop.time()  # when the audio before is done with
        while not self._over:
            came, data = await self._inbox.get()
            if isinstance(data, bytes):
                await asyncio.sleep(free - loop.time())
                free = max(free, loop.time()) + self._seconds(data) / speed
            self._process(data, came)

    def _process(self, data: str | bytes, came: float) -> None:
        if self._over:
            return
        if isinstance(data, str):
            self._read(data, came)
        else:
            self._hear(data, came)

    def _seconds(self, pcm: bytes) -> float:
        return len(pcm) / _SAMPLE_WIDTH / self.sample_rate

    def _watch_idleness(self) -> None:
        """Expire if the client was idle for too long, and otherwise look again."""
        timeout = self._server.idle_timeout
        if timeout is None or self._over:
            return
        loop = asyncio.get_running_loop()
        due = self._active + timeout
        if loop.time() >= due - _MOMENT:
            if not (self._parting or self._stalled):
                self.expire()
                return
            due = loop.time() + timeout
        self._idle = loop.call_at(due, self._watch_idleness)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self._tasks.append(asyncio.create_task(work))
        return self._tasks[-1]

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            out = await self._outbox.get()
            await asyncio.sleep(out.due - loop.time())
            if self._over:
                return
            if out.message is None:
                self._close(out.code, out.reason)
                return
            with contextlib.suppress(ConnectionError):  # the reader learns that the client is gone
                await self._transmit(out.message if out.garbage is None else out.garbage)
                self.connection.sent.append(Sent(self._server.now, out.message, out.garbage))

    async def _transmit(self, content: Mapping[str, Any] | str | bytes) -> None:
        if isinstance(content, bytes):
            await self._websocket.send_bytes(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content)
            await self._websocket.send_str(text)

    def _hear(self, pcm: bytes, came: float) -> None:
        for piece in self._pieces(pcm):
            self.connection.audio += self._seconds(piece)
            awake = self._awake(came)
            words = self.hearing.feed(piece)
            if awake:
                self.on_words(words)
            self._strike_reached()
            if self._over:
                return

    def _pieces(self, pcm: bytes) -> Iterator[bytes]:
        fine = any(fault.by_audio for fault in self._armed)
        step = round((_FINE_STEP if fine else _STEP) * self.sample_rate) * _SAMPLE_WIDTH
        return (pcm[at : at + step] for at in range(0, len(pcm), step))

    def _read(self, text: str, came: float) -> None:
        if self.is_goodbye(text):
            self._parting = True
            for fault in self._server.faults.of(DropAfterClose, self.connection.index):
                self.trigger(fault)
        if not self._over and self._awake(came):
            self.transcribe(text)

    def _strike_reached(self) -> None:
        for fault in [fault for fault in self._armed if self._reached(fault)]:
            self._armed.remove(fault)
            self.trigger(fault)

    def _reached(self, fault: StreamFault) -> bool:
        if not fault.in_period(self._server.now):
            return False
        if fault.at_word is not None:
            return self.hearing.reached(fault.at_word, fault.part)
        # half a sample of tolerance: the sum of many pieces is not exact
        return self.connection.audio + 0.5 / self.sample_rate >= (fault.at_audio or 0.0)

    def _in_force(self, kind: type[_F]) -> list[_F]:
        """The faults of a kind that have struck and are not over."""
        now = self._server.now
        faults = self._server.faults.of(kind, self.connection.index)
        return [fault for fault in faults if fault in self._triggered and not fault.is_over(now)]

    def _extra_latency(self, message: Mapping[str, Any]) -> float:
        faults, final = self._in_force(Latency), is_final(message)
        return sum(fault.seconds for fault in faults if final or not fault.finals_only)

    @property
    def _stalled(self) -> bool:
        """Whether the recogniser is dead."""
        errors = self._in_force(InBandError)
        return bool(self._in_force(Stall)) or any(error.then == "silence" for error in errors)

    def _awake(self, came: float) -> bool:
        """Whether the recogniser lives for what came then; one that had died forgets all before."""
        if self._stalled or came <= self._missed:
            return False
        if self._must_forget:
            self._must_forget = False
            self.forget()
        return True

    def _fall_silent(self) -> None:
        """Withhold what was said and not yet sent."""
        self._must_forget = True
        self._missed = asyncio.get_running_loop().time()
        self._outbox = asyncio.Queue()
        if self._sender is not None:
            self._sender.cancel()
            self._sender = self._spawn(self._send())

    def _fail(self, fault: InBandError) -> None:
        if fault.then == "silence":
            self._fall_silent()
        now = asyncio.get_running_loop().time()
        self._outbox.put_nowait(_Outgoing(now, self._server.error(self.connection, fault)))
        if fault.then == "close":
            clients = isinstance(fault.code, int) and fault.code < 500
            self._outbox.put_nowait(_Outgoing(now, None, code=1008 if clients else 1011))

    def _break_off(self, how: str) -> None:
        self._over = True
        self.connection.end(how)

    def _close(self, code: int, reason: str = "") -> None:
        self._break_off(f"closed with {code}")
        self._closer = self._spawn(_closing(self._websocket, code, reason))


async def _closing(websocket: web.WebSocketResponse, code: int, reason: str) -> None:
    await websocket.close(code=code, message=reason.encode())


def reset(transport: asyncio.Transport) -> None:
    """End a TCP connection with a reset (RST) instead of a FIN; unsent data is thrown away."""
    if (raw := transport.get_extra_info("socket")) is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
