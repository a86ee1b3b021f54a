"""Which stream goes on with the audio of one that gave up: only the next one of the same call.

Theory of operation
===================

After a stream has raised, LiveKit's session opens the next: `_STTPipeline._stt_pump` catches the
`APIError`, waits 0.5 s, and iterates `Agent.stt_node` again (livekit-agents 1.8.9,
`voice/audio_recognition.py`). `stt_node` calls `STT.stream()` inside that loop, so both streams are
opened by one task, which belongs to one session. Another session, a cleared turn and another
participant have other tasks. `RecognizeStream._main_task` would call `_run` of the same object
again, but never does for our streams: their `max_retry` is 0.

So what a stream leaves is for the next stream that the same task opens, and only if the task serves
one call: it never had two streams open at the same time, it used the stream itself (an event
handler that opens the streams of all participants does not), and the language and the sample rate
are the same. Nobody may get another caller's audio, so in doubt it is reported as lost. So it is if
no stream comes in time, the task ends, or the `ResilientSTT` is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary, ref

from .core.events import AudioLossReason, AudioLost, Event
from .core.handover import Handover
from .livekit.frames import FrameStore
from .livekit.vad import CheckedDetector
from .livekit.wall_clock import WallClock


@dataclass(frozen=True, slots=True, eq=False)
class StreamAudio:
    """The audio of a stream, and what was found out about it; positions go on in the next."""

    handover: Handover
    frames: FrameStore
    wall_clock: WallClock
    detector: CheckedDetector | None


class LeftAudio:
    """What a stream left when it gave up: taken once, or reported as lost."""

    def __init__(
        self, audio: StreamAudio, stream_id: str, at: float, report: Callable[[Event], None]
    ) -> None:
        """Keep `audio` of the stream `stream_id`, which ended at its second `at`.

        `report`: takes the event that it is lost.
        """
        self._audio: StreamAudio | None = audio
        self._stream_id = stream_id
        self._at = at
        self._report = report
        self._stop_waiting: Callable[[], None] = _do_nothing
        self.rate = audio.frames.rate
        """Hz."""
        self.on_drop: Callable[[], None] = _do_nothing
        """Called when it is lost."""

    def __repr__(self) -> str:
        return f"LeftAudio({self._stream_id!r}, is_over={self.is_over})"

    @property
    def is_over(self) -> bool:
        """Whether it was taken or reported as lost."""
        return self._audio is None

    def wait(self, opener: asyncio.Task[Any]) -> None:
        """Wait until it is too old, or `opener` ends: no other task may open the next stream."""
        assert self._audio is not None
        expires_at = self._audio.handover.expires_at
        timer = asyncio.get_running_loop().call_at(expires_at, self.drop)
        task = ref(opener)  # a task that has ended must not be kept

        def stop() -> None:
            timer.cancel()
            if (still_there := task()) is not None:
                still_there.remove_done_callback(self._opener_done)

        opener.add_done_callback(self._opener_done)
        self._stop_waiting = stop

    def take(self) -> StreamAudio:
        """Return the audio; what is lost of it from now on, the taker has to report.

        Raises:
            AssertionError: it is over.
        """
        assert self._audio is not None
        audio, self._audio = self._audio, None
        self._stop_waiting()
        return audio

    def drop(self) -> None:
        """Report it as lost, unless it is over."""
        if self.is_over:
            return
        lost = AudioLost(
            at=self._at,
            seconds=self.take().handover.pending_seconds,
            reason=AudioLossReason.STREAM_ENDED,
            stream_id=self._stream_id,
        )
        self._report(lost)
        self.on_drop()

    def _opener_done(self, _: asyncio.Task[Any]) -> None:
        self.drop()


@dataclass(slots=True)
class Opener:
    """What a task has opened."""

    open: set[StreamOpening] = field(default_factory=set)
    serves_one_call: bool = True
    """It never had two streams open at the same time."""
    last: StreamOpening | None = None
    """The stream that gave up last."""
    left: LeftAudio | None = None
    """What that stream left."""


class StreamOpening:
    """One stream, as opened by a task."""

    def __init__(self, language: str, task: asyncio.Task[Any] | None, opener: Opener) -> None:
        """`task`: the one that opens it; `None` outside of tasks, as in an event handler."""
        self.language = language
        """The language that was asked for last; empty if none."""
        self.opener = opener
        self.predecessor: LeftAudio | None = None
        """What the last stream of the same call left, if it gave up a moment ago."""
        self.is_used = False
        """Whether the task that opened it has used it as well."""
        self._task = None if task is None else ref(task)

    @property
    def task(self) -> asyncio.Task[Any] | None:
        """The task that has opened it; `None` if there was none, or it is gone."""
        return None if self._task is None else self._task()

    def note_use(self) -> None:
        """Note that the current task uses the stream."""
        self.is_used = self.is_used or _current_task() is self.task


class Succession:
    """The streams of one `ResilientSTT`, and what they leave to one another."""

    def __init__(self, report: Callable[[Event], None]) -> None:
        """`report`: takes the event that audio is lost."""
        self._report = report
        self._openers: WeakKeyDictionary[asyncio.Task[Any], Opener] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"Succession({len(self._openers)} tasks)"

    def opened(self, language: str) -> StreamOpening:
        """Note that the current task opens a stream, and find the audio it is to go on with.

        `language`: the one that is asked for; empty if none.
        """
        task = _current_task()
        opener = Opener() if task is None else self._openers.setdefault(task, Opener())
        opening = StreamOpening(language, task, opener)
        opener.serves_one_call = opener.serves_one_call and not opener.open
        opener.open.add(opening)
        last, left, opener.last, opener.left = opener.last, opener.left, None, None
        if last is not None and left is not None:
            if opener.serves_one_call and last.is_used and last.language == language:
                opening.predecessor = left
            else:
                left.drop()
        return opening

    def leave(self, opening: StreamOpening, audio: StreamAudio, stream_id: str, at: float) -> None:
        """Offer the audio of a stream that gives up, at its second `at`, to the next stream."""
        self.ended(opening)
        opener, task = opening.opener, opening.task
        left = LeftAudio(audio, stream_id, at, self._report)
        if task is None or task.done() or not opener.serves_one_call:
            left.drop()
            return
        left.wait(task)
        opener.last, opener.left = opening, left

    def ended(self, opening: StreamOpening) -> None:
        """Note that a stream has ended, whether it has taken its predecessor's audio or not."""
        opening.opener.open.discard(opening)
        if opening.predecessor is not None:
            opening.predecessor.drop()

    def close(self) -> None:
        """Report everything as lost that was not taken: no stream can be opened any more."""
        for opener in list(self._openers.values()):
            if opener.left is not None:
                opener.left.drop()


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None  # no event loop runs in this thread


def _do_nothing() -> None:
    pass
