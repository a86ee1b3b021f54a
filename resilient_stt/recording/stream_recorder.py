"""Notes what happens in a stream, on the event loop: as little work as possible.

A note is an object that the engine made anyway, with the time and the live edge. Everything else is
done by the thread of `flight_recorder.py`: making lines of them, computing the loudness, writing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.engine import FailoverEngine
from ..core.messages import (
    AudioPushed,
    CloseConnection,
    Command,
    ConnectionEnded,
    ConnectionFailed,
    Emit,
    EventKind,
    GiveUp,
    Input,
    InputEnded,
    OpenConnection,
    ProviderEvent,
    ReleaseAudio,
    ReportEvent,
    SendAudio,
    SendSilence,
    SetServing,
    SpeechEnded,
    SpeechStarted,
)
from ..observe import logger

BLOCK = 0.5
"""Seconds of audio that are noted at once, with what was sent of it and what is buffered."""

MAX_NOTES = 50_000
"""Notes that may wait for the thread, in all some ten minutes of a call. More wait only if the disk
hangs: then the recording gets a gap, and the memory of the call stays bounded."""

_INPUTS = {ConnectionEnded, ConnectionFailed, InputEnded, SpeechEnded, SpeechStarted}
_COMMANDS = {CloseConnection, GiveUp, OpenConnection, ReportEvent, SendSilence, SetServing}
_TEXTS = {EventKind.INTERIM, EventKind.PREFLIGHT, EventKind.FINAL}


@dataclass(frozen=True, slots=True)
class AudioBlock:
    """Audio that was pushed, 16 bit mono, and where the connections are. Positions are samples."""

    data: bytes
    rate: int
    held: int
    """Samples that are buffered for a replay."""
    sent: tuple[tuple[int, int, int], ...]
    """Of each connection that was sent audio since the last block: its number, and the span."""


@dataclass(frozen=True, slots=True)
class AudioTakenOver:
    """The stream goes on with the audio of one that gave up; its own begins at the live edge."""

    rate: int


@dataclass(frozen=True, slots=True)
class TextHeard:
    """A connection gave text: how many words, and of which kind."""

    connection: int
    kind: EventKind
    words: int


@dataclass(frozen=True, slots=True)
class RecordingEnded:
    """The stream's task is over."""


Noted = Input | Command | AudioBlock | AudioTakenOver | TextHeard | RecordingEnded
Note = tuple[float, int, Noted]
"""The time on the clock of the loop, the live edge in samples, and what happened."""


class StreamRecorder:
    """Takes down what one stream does. All methods must be called on its event loop."""

    def __init__(
        self, notes: deque[Note], read: Callable[[int, int], bytes], over: Callable[[], None]
    ) -> None:
        """Begin with an empty stream.

        Args:
            notes: takes the notes; another thread takes them out.
            read: returns the samples between two positions, which the stream still holds.
            over: called after the last note.
        """
        self._notes = notes
        self._read = read
        self._over = over
        self._live = self._block_start = self._released = 0
        self._rate = self._block_size = 0
        self._sent: dict[int, list[int]] = {}
        self._last_now = 0.0
        self.has_failed = False
        """Whether nothing more is noted, because of a mistake in here."""

    def took_over(self, start: int, end: int, rate: int) -> None:
        """Note that the stream goes on with audio of another one, from `start` to `end`."""
        self._live = self._block_start = end
        self._released = start
        self._set_rate(rate)
        self._note(AudioTakenOver(rate), self._last_now)

    def forwarded(self, connections: Sequence[int], samples: int, rate: int, now: float) -> None:
        """Note audio on which nothing was decided, and which goes to these connections."""
        start = self._live
        self._pushed(samples, rate)
        for connection in connections:
            self._was_sent(connection, start, self._live)
        if self._live - self._block_start >= self._block_size:
            self._take_block(now)

    def handled(self, message: Input, commands: Iterable[Command], now: float) -> None:
        """Note an input and the commands that it caused, before they are executed."""
        kind = type(message)
        if isinstance(message, AudioPushed):
            self._pushed(message.samples, message.rate)
        elif isinstance(message, ProviderEvent):
            event = message.event
            if event.kind in _TEXTS and event.text:
                count = len(event.words) or len(event.text.split())
                self._note(TextHeard(message.connection, event.kind, count), now)
        elif kind in _INPUTS:
            self._note(message, now)
        for command in commands:
            self._take(command, now)
        if self._live - self._block_start >= self._block_size and self._rate:
            self._take_block(now)

    def ended(self, now: float) -> None:
        """Note that the stream is over: its page is written now."""
        if self._rate and not self.has_failed:
            self._take_block(now)
        self._notes.append((now, self._live, RecordingEnded()))
        self._over()

    def fail(self, error: Exception) -> None:
        """Note nothing more, because of an exception in here: what is noted may be wrong."""
        self.has_failed = True
        logger.error("a stream is not recorded any more; the call goes on", exc_info=error)

    def _take(self, command: Command, now: float) -> None:
        if isinstance(command, SendAudio):
            self._was_sent(command.connection, command.start, command.end)
        elif isinstance(command, ReleaseAudio):
            if command.before > self._block_start:
                self._take_block(now)  # afterwards its audio may be gone
            self._released = max(self._released, min(command.before, self._live))
        elif isinstance(command, Emit):
            if command.kind is EventKind.FINAL and command.text:
                self._note(command, now)
        elif type(command) in _COMMANDS:
            self._note(command, now)

    def _set_rate(self, rate: int) -> None:
        self._rate, self._block_size = rate, max(1, round(BLOCK * rate))

    def _pushed(self, samples: int, rate: int) -> None:
        if rate != self._rate:
            self._set_rate(rate)
        self._live += samples

    def _was_sent(self, connection: int, start: int, end: int) -> None:
        span = self._sent.get(connection)
        if span is not None and span[1] == start:
            span[1] = end
            return
        if span is not None:  # silence was left out between the two
            skipped = ((connection, span[0], span[1]),)
            self._note(AudioBlock(b"", self._rate, 0, skipped), self._last_now)
        self._sent[connection] = [start, end]

    def _take_block(self, now: float) -> None:
        self._last_now = now
        start, end = self._block_start, self._live
        if end <= start and not self._sent:
            return
        self._block_start = end
        data = self._read(start, end) if end > start else b""
        sent = tuple((connection, span[0], span[1]) for connection, span in self._sent.items())
        self._sent.clear()
        self._note(AudioBlock(data, self._rate, end - self._released, sent), now)

    def _note(self, noted: Any, now: float) -> None:
        self._last_now = now
        if len(self._notes) < MAX_NOTES:
            self._notes.append((now, self._live, noted))


class RecordedEngine(FailoverEngine):
    """An engine whose inputs and commands are taken down. It decides nothing else.

    A mistake in taking them down ends the recording, and never the call.
    """

    def __init__(self, recorder: StreamRecorder, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._recorder = recorder
        self._is_handling = False
        """Whether `handle` notes the audio: it may call `forward`."""

    def handle(self, message: Input, now: float) -> list[Command]:
        """Handle an input, and note it with its commands."""
        self._is_handling = True
        commands = super().handle(message, now)
        self._is_handling = False
        recorder = self._recorder
        if not recorder.has_failed:
            try:
                recorder.handled(message, commands, now)
            except Exception as error:
                recorder.fail(error)
        return commands

    def forward(self, samples: int, rate: int, now: float) -> Sequence[int]:
        """Take audio in a lull, and note it."""
        connections = super().forward(samples, rate, now)
        recorder = self._recorder
        if connections and not self._is_handling and not recorder.has_failed:
            try:
                recorder.forwarded(connections, samples, rate, now)
            except Exception as error:
                recorder.fail(error)
        return connections
