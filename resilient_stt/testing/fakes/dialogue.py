"""One connection of a fake provider: its log, and the dialogue on it with its faults.

A provider's subclass of `Dialogue` decides what to send in response to words and texts. To add a
kind of fault of open connections, add a case to `Dialogue.trigger`.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

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
    has_words,
    is_final,
    is_transcript,
)
from ..speech.recognizer import HeardWord
from .wires import Wire

if TYPE_CHECKING:
    from .server import FakeServer

_F = TypeVar("_F", bound=Fault)

_SAMPLE_WIDTH = 2  # bytes: all providers receive 16-bit mono audio
_STEP = 0.02  # seconds recognized at once: the precision with which pauses are measured
_FINE_STEP = 0.001  # the same while a fault waits for a place in the audio
_MOMENT = 1e-6  # seconds: a timer may fire earlier by less than this


class Sent(NamedTuple):
    """A message that the server has sent.

    Attributes:
        at: When it was sent, in seconds since the server's start.
        message: The provider's message.
        garbage: The frame that a `Garbage` fault sent instead; None if the message was sent as it
            is.
    """

    at: float
    message: Mapping[str, Any]
    garbage: str | bytes | None = None


class _Outgoing(NamedTuple):
    """A message that is to be sent when the loop's time is `due`; without a message, a close."""

    due: float
    message: Mapping[str, Any] | None
    garbage: str | bytes | None = None
    code: int = 1000
    reason: str = ""


@dataclass(slots=True)
class ServerConnection:
    """The log of one connection. Times are seconds since the server's start.

    Attributes:
        index: The 0-based number of the connection; refused requests count.
        path: The path of the request.
        query: The query of the request, with credentials redacted.
        headers: The headers of the request, with credentials redacted.
        request_id: The provider's name for the connection.
        opened: When the request came.
        closed: When it was over; None while it is open.
        audio: Seconds of audio received, without what came after the end of the stream.
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
        """Log how the connection ended, unless that is logged already."""
        self.ended = self.ended or how


class Dialogue(ABC):
    """One open connection: recognizes audio, reacts to texts, sends messages.

    Messages leave in the order in which they were queued, each after its latency. After the end of
    the dialogue, nothing is recognized or sent.

    With a `speed`, an audio message is recognized as a whole, once the time for the message before
    it has passed, and texts wait for the audio before them. If audio arrives at the pace of speech,
    only a message that is shorter than the one before it has to wait.
    """

    def __init__(self, server: FakeServer, connection: ServerConnection, wire: Wire) -> None:
        self.connection = connection
        self._server = server
        self.configure(server.sample_rate(connection), server.languages(connection))
        self._wire = wire
        self._outbox: asyncio.Queue[_Outgoing] = asyncio.Queue()
        self._sender: asyncio.Task[None] | None = None
        self._closer: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._armed: list[StreamFault] = []
        self._triggered: list[StreamFault] = []
        self._speed = server.speed
        self._inbox: asyncio.Queue[tuple[float, str | bytes]] = asyncio.Queue()
        self._deaf_until = -1.0  # loop time up to which input is lost because of a stall
        self._opened = self._active = asyncio.get_running_loop().time()
        self._received = 0.0  # seconds of audio received
        self._idle: asyncio.TimerHandle | None = None
        self._close_requested = False  # by the client's closing message
        self._over = False
        self._must_restart = False  # it has stalled since it last recognized anything
        self._lost_finals: list[LostFinal] = []  # faults that have had their final

    @abstractmethod
    def on_words(self, words: list[HeardWord]) -> None:
        """React to a short piece of audio that was given to `recognizer` and completed these
        words."""

    @abstractmethod
    def on_text(self, text: str) -> None:
        """React to a text message of the client."""

    @abstractmethod
    def is_closing_message(self, text: str) -> bool:
        """Whether a text message says that the client sends no more audio."""

    def audio_in(self, text: str) -> bytes | None:
        """The samples in a text message, for protocols that send audio as text; None if it has
        none."""
        return None

    def unpacked(self, message: str | bytes) -> str | bytes:
        """What a message of the client is: samples as bytes, or a text."""
        audio = self.audio_in(message) if isinstance(message, str) else None
        return message if audio is None else audio

    def refusal(self, data: str | bytes) -> tuple[int, str] | None:
        """The close code and the reason for a message that the provider does not accept; None if it
        does."""
        return None

    def is_transcript(self, message: Mapping[str, Any]) -> bool:
        """Whether a message of the server is a transcript, which `Garbage` and `EmptyFinals`
        change."""
        return is_transcript(message)

    def is_final(self, message: Mapping[str, Any]) -> bool:
        """Whether a message of the server is a transcript that will not change any more."""
        return is_final(message)

    def configure(self, sample_rate: int, languages: Sequence[str]) -> None:
        """Begin to listen at another rate, in Hz, or to other languages, as a first message of the
        client asks. Audio that was received before is forgotten."""
        self.sample_rate = sample_rate
        self.recognizer = self._server.new_recognizer(sample_rate, languages)

    def restart(self) -> None:
        """Discard everything that was recognized but not sent, as a restarted recognizer does."""
        self.recognizer.finish()

    def send(self, message: Mapping[str, Any], *, after: float | None = None) -> None:
        """Queue a message to be sent in `after` seconds (None: the server's latency).

        Faults may delay, change or lose it.
        """
        if self._stalled:
            return
        garbage = None
        final = self.is_final(message)
        if final and has_words(message) and self._is_lost():
            return
        if self.is_transcript(message):
            for empty in self._in_force(EmptyFinals)[:1]:
                if not final:
                    return
                message = empty.distorted(message)
            garbage = next((fault.distorted(message) for fault in self._in_force(Garbage)), None)
        delay = self._server.latency if after is None else after
        due = asyncio.get_running_loop().time() + delay + self._extra_latency(final)
        self._outbox.put_nowait(_Outgoing(due, message, garbage))

    def _is_lost(self) -> bool:
        """Whether a `LostFinal` fault takes this final."""
        taking = [fault for fault in self._in_force(LostFinal) if fault not in self._lost_finals][
            :1
        ]
        self._lost_finals += taking
        return bool(taking)

    def finish(self, last: Mapping[str, Any] | None = None) -> None:
        """Answer the client's closing message by a `last` message and a close with 1000."""
        if not (self._stalled or self._in_force(IgnoreClose)):
            self.close_when_sent(1000, last=last)

    def close_when_sent(
        self, code: int, reason: str = "", *, last: Mapping[str, Any] | None = None
    ) -> None:
        """Queue a `last` message, and close once all queued messages have been sent."""
        if last is not None:
            self.send(last)
        self._outbox.put_nowait(_Outgoing(0.0, None, code=code, reason=reason))

    def expire(self) -> None:
        """Close the connection because no audio or text came for the server's `idle_timeout`."""
        self.close_when_sent(1000, "Idle for too long.")

    def arm(self, script: FaultScript) -> None:
        """Wait for the triggers of the script's faults that have not happened to this connection
        yet."""
        self._armed = [
            fault
            for fault in script.of(StreamFault, self.connection.index)
            if fault not in self._triggered
            and (
                fault.at_time is None or fault.lasting
            )  # other times are watched by the server's timer
            and not isinstance(fault, DropAfterClose)
        ]
        self._trigger_reached()

    def trigger(self, fault: StreamFault) -> None:
        """Let a fault happen. A new kind of fault needs a case here."""
        if self._over or fault in self._triggered:
            return
        self._triggered.append(fault)
        self._server.note_triggered(fault, self.connection)
        match fault:
            case Drop(code=None) | DropAfterClose():
                self._end("reset")
                self._wire.reset()
            case Drop(code=code) if code == NO_CLOSE_FRAME:
                self._end("ended without a close frame")
                self._wire.cut()
            case Drop(code=int(code), reason=reason):
                self._close(code, reason)
            case EndCleanly():
                self._close(1000)
            case HalfOpen():
                self._end("half-open")
                self._wire.freeze()
            case InBandError():
                self._send_error(fault)
            case Stall():
                self._begin_stall()
            case Latency() | Garbage() | EmptyFinals() | LostFinal() | IgnoreClose():
                pass  # states, looked up by `_in_force` where they matter
            case _:
                raise AssertionError(f"no hook for {fault!r}")

    async def run(self) -> None:
        """Read and send until the connection is over."""
        self._sender = self._spawn(self._send())
        if self._speed is not None:
            self._spawn(self._recognize_paced(self._speed))
        self._watch_idleness()
        try:
            self.connection.end(await self._wire.read(self._receive))
            if self._closer is not None:
                await self._closer  # the server's close waits for the client's
        finally:
            self._over = True
            if self._idle is not None:
                self._idle.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _receive(self, data: str | bytes) -> None:
        """Take a message: refuse it, process it at once, or queue it."""
        if self._over:
            return
        self._active = asyncio.get_running_loop().time()
        if self._stalled:
            self._deaf_until = self._active
        size = len(data.encode() if isinstance(data, str) else data)
        data = self.unpacked(data)
        if isinstance(data, str):
            self.connection.texts.append(data)
        else:
            self._received += self.seconds(data)
        if (refusal := self._exceeded(size) or self.refusal(data)) is not None:
            self._close(*refusal)
        elif self._speed is None:
            self._process(data, self._active)
        else:
            self._inbox.put_nowait((self._active, data))

    def _exceeded(self, size: int) -> tuple[int, str] | None:
        """The close code and the reason for a message of `size` bytes that exceeds a limit; None if
        it does not."""
        limit, burst = self._server.max_message, self._server.max_burst
        if limit is not None and size > limit:
            return 1009, "The message is too big."
        if burst is not None and self._received - (self._active - self._opened) > burst:
            return 1008, "The audio comes too fast."
        return None

    async def _recognize_paced(self, speed: float) -> None:
        """Process the queued messages, audio at no more than this multiple of real time."""
        loop = asyncio.get_running_loop()
        free = loop.time()  # when the audio before has been processed
        while not self._over:
            came, data = await self._inbox.get()
            if isinstance(data, bytes):
                await asyncio.sleep(free - loop.time())
                free = max(free, loop.time()) + self.seconds(data) / speed
            self._process(data, came)

    def _process(self, data: str | bytes, came: float) -> None:
        if self._over:
            return
        if isinstance(data, str):
            self._process_text(data, came)
        else:
            self._process_audio(data, came)

    def seconds(self, pcm: bytes) -> float:
        """Seconds of audio in 16-bit samples."""
        return len(pcm) / _SAMPLE_WIDTH / self.sample_rate

    def _watch_idleness(self) -> None:
        """Close the connection if the client was idle for too long; otherwise check again later."""
        timeout = self._server.idle_timeout
        if timeout is None or self._over:
            return
        loop = asyncio.get_running_loop()
        due = self._active + timeout
        if loop.time() >= due - _MOMENT:
            if not (self._close_requested or self._stalled):
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
            with contextlib.suppress(ConnectionError):  # the reader notices that the client is gone
                await self._wire.send(out.message if out.garbage is None else out.garbage)
                self.connection.sent.append(Sent(self._server.now, out.message, out.garbage))

    def _process_audio(self, pcm: bytes, came: float) -> None:
        for piece in self._pieces(pcm):
            self.connection.audio += self.seconds(piece)
            accepted = self._accepts(came)
            words = self.recognizer.feed(piece)
            if accepted:
                self.on_words(words)
            self._trigger_reached()
            if self._over:
                return

    def _pieces(self, pcm: bytes) -> Iterator[bytes]:
        fine = any(fault.by_audio for fault in self._armed)
        step = round((_FINE_STEP if fine else _STEP) * self.sample_rate) * _SAMPLE_WIDTH
        return (pcm[at : at + step] for at in range(0, len(pcm), step))

    def _process_text(self, text: str, came: float) -> None:
        if self.is_closing_message(text):
            self._close_requested = True
            for fault in self._server.faults.of(DropAfterClose, self.connection.index):
                self.trigger(fault)
        if not self._over and self._accepts(came):
            self.on_text(text)

    def _trigger_reached(self) -> None:
        for fault in [fault for fault in self._armed if self._reached(fault)]:
            self._armed.remove(fault)
            self.trigger(fault)

    def _reached(self, fault: StreamFault) -> bool:
        if not fault.in_period(self._server.now):
            return False
        if fault.at_word is not None:
            return self.recognizer.reached(fault.at_word, fault.part)
        # Half a sample of tolerance, because the sum of many durations is not exact.
        return self.connection.audio + 0.5 / self.sample_rate >= (fault.at_audio or 0.0)

    def _in_force(self, kind: type[_F]) -> list[_F]:
        """The faults of a kind that have happened to this connection and are not over."""
        now = self._server.now
        faults = self._server.faults.of(kind, self.connection.index)
        return [fault for fault in faults if fault in self._triggered and not fault.is_over(now)]

    def _extra_latency(self, final: bool) -> float:
        faults = self._in_force(Latency)
        return sum(fault.seconds for fault in faults if final or not fault.finals_only)

    @property
    def _stalled(self) -> bool:
        """Whether the recognizer is dead."""
        errors = self._in_force(InBandError)
        return bool(self._in_force(Stall)) or any(error.then == "silence" for error in errors)

    def _accepts(self, came: float) -> bool:
        """Whether input that arrived at `came` is recognized. After a stall, the recognizer
        restarts first."""
        if self._stalled or came <= self._deaf_until:
            return False
        if self._must_restart:
            self._must_restart = False
            self.restart()
        return True

    def _begin_stall(self) -> None:
        """Discard the messages that were not sent yet."""
        self._must_restart = True
        self._deaf_until = asyncio.get_running_loop().time()
        self._outbox = asyncio.Queue()
        if self._sender is not None:
            self._sender.cancel()
            self._sender = self._spawn(self._send())

    def _send_error(self, fault: InBandError) -> None:
        if fault.then == "silence":
            self._begin_stall()
        now = asyncio.get_running_loop().time()
        self._outbox.put_nowait(_Outgoing(now, self._server.in_band_error(self.connection, fault)))
        if fault.then == "close":
            code, reason = self._server.close_after(fault)
            self._outbox.put_nowait(_Outgoing(now, None, code=code, reason=reason))

    def _end(self, how: str) -> None:
        self._over = True
        self.connection.end(how)

    def _close(self, code: int, reason: str = "") -> None:
        self._end(f"closed with {code}")
        self._closer = self._spawn(self._wire.close(code, reason))
