"""One connection of a fake provider: its log, and the dialogue on it with its faults.

A provider's module adds what is said to what is heard. A new kind of fault of an open connection is
hooked in at `Dialogue.strike`, where the kinds are told apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import WSMsgType, web
from multidict import CIMultiDict, MultiDict

from .faults import (
    NO_CLOSE_FRAME,
    Drop,
    DropAfterClose,
    EndCleanly,
    FaultScript,
    Latency,
    StreamFault,
)
from .hearing import HeardWord, Hearing
from .speech import ReferenceSpeech

if TYPE_CHECKING:
    from .server import FakeServer

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
