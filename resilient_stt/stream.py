"""`ResilientStream`: LiveKit's `RecognizeStream` over the engine and its connections.

One pump takes all inputs from one queue in order, hands each to the engine, executes the commands
that the engine returns, and arms one timer at the engine's deadline.

Only audio on which the engine has nothing to decide does not wait for the pump: it is sent when it
is pushed, unless something waits in the queue.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Sequence,
)
from functools import partial
from typing import TYPE_CHECKING, Any, Self, assert_never

from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, LanguageCode, stt
from livekit.agents.types import NOT_GIVEN, TimedString
from livekit.agents.utils import shortuuid

from .core.engine import FailoverEngine
from .core.events import ConnectionOpened, Event, FinalEmitted, Switched
from .core.handover import Handover
from .core.messages import (
    AudioPushed,
    CloseConnection,
    Command,
    DeadlineReached,
    Emit,
    EndInput,
    EventKind,
    Finish,
    FlushConnection,
    FlushRequested,
    GiveUp,
    Input,
    InputEnded,
    LanguageChanged,
    OpenConnection,
    OptionsChanged,
    ReleaseAudio,
    ReportAvailability,
    ReportEvent,
    SendAudio,
    SendSilence,
    SetServing,
    SpeechEnded,
    SpeechStarted,
    StreamClosed,
    StreamOpened,
    VoiceActivityLost,
    Word,
)
from .core.routing.language import LanguageTracker
from .errors import (
    AudioFormatError,
    StreamClosedError,
    classify_for,
    lacks_http_session,
    no_http_session,
)
from .livekit import compat
from .livekit.frames import FrameStore, check, mono, pieces, silence
from .livekit.provider_connection import ProviderConnection, connection_failed
from .livekit.vad import SpeechEdge
from .livekit.wall_clock import WallClock
from .observe import logger
from .recording.stream_recorder import RecordedEngine
from .runtime import Runtime
from .succession import StreamAudio

if TYPE_CHECKING:
    from livekit.agents.llm.chat_context import MetricsMetadata


_AUDIO = rtc.AudioFrame, AudioPushed, SpeechStarted, SpeechEnded, VoiceActivityLost
"""What is in the queue of a stream because of audio that was pushed."""


class ResilientStream(stt.RecognizeStream):
    """A stream that goes on while the providers behind it fail.

    Made by `ResilientSTT.stream()`.
    """

    def __init__(
        self,
        *,
        stt: stt.STT[Any],
        runtime: Runtime,
        language: str,
        conn_options: APIConnectOptions,
    ) -> None:
        """Start the stream's task.

        Args:
            stt: the object that LiveKit's base class emits errors on.
            runtime: providers and health, shared with the other streams.
            language: a BCP 47 tag, which chooses the route; empty if none is known.
            conn_options: of the caller; its retries are ignored.
        """
        # LiveKit's own retry must not compete with ours
        super().__init__(stt=stt, conn_options=dataclasses.replace(conn_options, max_retry=0))
        self.id = shortuuid("STT_")
        """Names this stream in its events (`stream_id`) and in the log."""
        self._loop = asyncio.get_running_loop()
        self._runtime = runtime
        self._opening = runtime.succession.opened(language)
        compat.on_end(self, self._end)
        self._detector = runtime.new_detector()
        self._routing = LanguageTracker(
            runtime.router,
            runtime.policies.routing,
            language,
            retranscribe=runtime.setup.retranscribe,
        )
        self._frames = FrameStore()
        self._recorder = runtime.record(self.id, language, self._samples)
        """Takes down what happens; `None` if nothing is recorded."""
        self._engine = self._make_engine()
        self.serving = self._routing.route.providers[0].name
        """Name of the provider that serves; before one was opened, of the route's first."""
        self.last_activity = runtime.next_activity()
        """A number that grows with every opened stream and every transcript of any stream."""
        self._wall_clock = WallClock(runtime.policies.replay.window)
        """When the caller pushed each second of audio."""
        self._origin = 0
        """Where the first frame of this stream lies in `_frames`: behind those of another stream
        that gave up, if it goes on with them."""
        self._pushed = 0
        """Samples of `_frames` that the engine knows of."""
        self._gave_up: GiveUp | None = None
        self._leaves_audio = False
        """Whether another stream may go on with its audio, now that its task is over."""
        self._connections: dict[int, ProviderConnection] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._inbox: asyncio.Queue[Input | rtc.AudioFrame] = asyncio.Queue()
        self._timer: asyncio.TimerHandle | None = None
        self._without_http_session: set[str] = set()
        """Providers that could not be opened because there is no HTTP session."""
        self._options_changed: set[str] = set()
        """Providers with changed options of which the engine does not know yet."""
        self._mixed_down = False
        self._rate = 0
        """Of the pushed audio in Hz; 0 before any was pushed."""
        self._is_idle = False
        """Whether the pump waits for an item."""
        self._piece: rtc.AudioFrame | None = None
        """The newest audio, while it is pushed."""

    def __repr__(self) -> str:
        state = "open" if self.is_open else "ended"
        return f"ResilientStream({self.id!r}, {state}, serving={self.serving!r}, {self._at:.1f} s)"

    async def __aenter__(self) -> Self:
        self._opening.note_use()
        return self

    def __aiter__(self) -> AsyncIterator[stt.SpeechEvent]:
        self._opening.note_use()
        return super().__aiter__()

    async def aclose(self) -> None:
        """Close the stream at once."""
        self._opening.note_use()
        await super().aclose()

    # -- what callers ask and do

    @property
    def model(self) -> str:
        """The model that serves this stream."""
        return self._provider.model

    @property
    def provider(self) -> str:
        """The provider that serves this stream, as its plugin calls it."""
        return self._provider.provider

    @property
    def metrics_metadata(self) -> MetricsMetadata:
        """Labels of the provider that serves this stream."""
        return compat.labels(self._provider)

    @property
    def is_open(self) -> bool:
        """Whether transcripts may still come."""
        return not compat.output_ended(self)

    def push_frame(self, frame: rtc.AudioFrame) -> None:
        """Push audio of any sample rate; several channels are mixed down, with one warning.

        Raises:
            StreamClosedError: `end_input()` or `aclose()` was called, or the stream has ended.
            AudioFormatError: the sample rate differs from that of the first frame.
        """
        self._check_open()
        is_like_others = type(frame) is rtc.AudioFrame and frame.sample_rate == self._rate
        if not is_like_others or frame.num_channels != 1:
            frame = self._checked(frame)
        if not self._opening.is_used:
            self._opening.note_use()
        if not frame.samples_per_channel:
            return
        if self._is_idle and self._inbox.empty():
            self._take_audio(frame)
        else:
            self._inbox.put_nowait(frame)

    def flush(self) -> None:
        """Ask for finals of the audio pushed so far."""
        self._check_open()
        self._inbox.put_nowait(FlushRequested())

    def end_input(self) -> None:
        """Note that no more audio will come; the stream ends when everything is transcribed."""
        self.flush()
        self._inbox.put_nowait(InputEnded())
        compat.end_input(self)

    def options_changed(self, provider: str) -> None:
        """Note that a provider's options changed; a connection to it is opened anew."""
        if provider not in self._options_changed:  # several changes cost one connection
            self._options_changed.add(provider)
            self._inbox.put_nowait(OptionsChanged(provider))

    def keyterms_changed(self, provider: str) -> None:
        """Note that a provider has other keyterms.

        A connection is opened anew only if its plugin would reconnect: others apply them at once
        (test_keyterms_that_a_plugin_applies_live).
        """
        if any(c.provider == provider and c.will_reconnect for c in self._connections.values()):
            self.options_changed(provider)

    def language_changed(self, language: str) -> None:
        """Note that another language is spoken from now on; empty if it is not known."""
        self._opening.language = language
        self._inbox.put_nowait(LanguageChanged(language))

    @property
    def _provider(self) -> stt.STT[Any]:
        return self._runtime.providers[self.serving]

    def _checked(self, frame: rtc.AudioFrame) -> rtc.AudioFrame:
        """Return a frame that is unlike those before as one like them, or refuse it."""
        check(frame)
        if (rate := frame.sample_rate) != self._rate:
            self._set_rate(rate)
        if (channels := frame.num_channels) > 1:
            self._warn_of_mixing(channels)
            frame = mono(frame)
        return frame

    def _set_rate(self, rate: int) -> None:
        if self._rate:
            raise AudioFormatError(
                f"the sample rate changed from {self._rate} to {rate} Hz in the "
                "middle of a stream; resample the audio to one rate (livekit.rtc.AudioResampler) "
                "or open a new stream"
            )
        self._rate = rate

    def _warn_of_mixing(self, channels: int) -> None:
        if not self._mixed_down:
            self._mixed_down = True
            logger.warning("audio is mixed down to mono", channels=channels, stream_id=self.id)

    def _check_open(self) -> None:
        if not compat.is_closed(self):
            return
        if compat.input_ended(self):
            raise StreamClosedError(
                "this stream takes no more audio: end_input() or aclose() was called; "
                "open a new one with ResilientSTT.stream()"
            )
        raise StreamClosedError("this stream has ended; open a new one with ResilientSTT.stream()")

    # -- the pump

    async def _run(self) -> None:
        async with self._runtime.sharing_health():
            await self._pump()
        if self._gave_up is not None:
            self._leaves_audio = True
            raise _gave_up(self._gave_up)

    async def _pump(self) -> None:
        try:
            # audio waits in the inbox meanwhile
            await self._runtime.first_health_read()
            first = await self._first_items()
            self._handle(StreamOpened())
            for item in first:
                self._process(item)
            while not self._engine.done:
                self._is_idle = True
                item = await self._inbox.get()
                self._is_idle = False
                self._process(item)
        finally:
            self._is_idle = False
            self._handle(StreamClosed())
            if self._timer:
                self._timer.cancel()
            await self._close_connections()

    def _process(self, item: Input | rtc.AudioFrame) -> None:
        if isinstance(item, rtc.AudioFrame):
            self._take_audio(item)
            return
        if isinstance(item, InputEnded) and self._detector is not None:
            self._report_voice(self._detector.finish())
        if isinstance(item, OptionsChanged):
            self._options_changed.discard(item.provider)
        self._handle(item)

    def _take_audio(self, frame: rtc.AudioFrame) -> None:
        """Keep audio, and tell the engine of it and of the speech that is found in it."""
        self._wall_clock.pushed(frame.samples_per_channel / self._rate, time.time())
        for piece in pieces(frame):
            self._piece = piece
            self._frames.append(piece)
            if self._detector is not None:
                edges = self._detector.push(piece)
                if edges or self._detector.failure is not None:
                    self._report_voice(edges)
            self._push_to(self._frames.end)
        self._piece = None  # its owner may change it now

    def _report_voice(self, edges: Iterable[SpeechEdge]) -> None:
        """Tell the engine of speech at the sample where it became certain.

        The rest of the frame is pushed afterwards: a provider that is flushed at an end of speech
        must not have been sent the beginning of the next word.
        """
        for edge in edges:
            self._push_to(self._frames.end if edge.known_at is None else edge.known_at)
            self._take_in(
                SpeechStarted(edge.at) if edge.started else SpeechEnded(edge.at, edge.sound)
            )
        if self._detector is not None and self._detector.failure is not None:
            self._runtime.report_detector_failure(self._detector.failure)
            self._detector = None
            self._take_in(VoiceActivityLost())

    def _push_to(self, position: int) -> None:
        start, rate = self._pushed, self._frames.rate
        end = min(position, self._frames.end)
        if end <= start:
            return
        self._pushed = end
        connections: Sequence[int] = ()
        if not (self._is_idle and self._inbox.qsize()):  # else what waits comes first
            connections = self._engine.forward(end - start, rate, self._loop.time())
        if not connections:
            self._take_in(AudioPushed(end - start, rate))
        for connection in connections:
            self._send(connection, start, end)

    def _take_in(self, item: Input) -> None:
        """Hand an input to the engine if this is the pump; else leave it to the pump."""
        if self._is_idle:
            self._inbox.put_nowait(item)
        else:
            self._handle(item)

    def _handle(self, item: Input) -> None:
        with self._runtime.health_lock:
            commands = self._engine.handle(item, self._loop.time())
        for command in commands:
            self._execute(command)
        self._arm()

    def _arm(self) -> None:
        deadline = self._engine.deadline()
        if self._timer:
            if self._timer.when() == deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._wake) if deadline is not None else None

    def _wake(self) -> None:
        self._timer = None
        self._inbox.put_nowait(DeadlineReached(self._draw_wait()))

    def _draw_wait(self) -> float:
        return self._runtime.backoff(self._engine.failures_in_a_row)

    # -- commands

    def _execute(self, command: Command) -> None:
        match command:
            case SendAudio(connection, start, end):
                self._send(connection, start, end)
            case OpenConnection():
                self._open(command)
            case FlushConnection(connection):
                self._with_connection(connection, ProviderConnection.flush)
            case SendSilence(connection, seconds):
                self._send_silence(connection, seconds)
            case EndInput(connection):
                self._with_connection(connection, ProviderConnection.end_input)
            case CloseConnection(connection):
                self._close(connection)
            case ReleaseAudio(before, kept):
                self._frames.release(before, kept)
            case Emit() | SetServing() | ReportAvailability() | ReportEvent() | Finish() | GiveUp():
                self._report(command)
            case _:
                assert_never(command)

    def _report(
        self,
        command: Emit | SetServing | ReportAvailability | ReportEvent | Finish | GiveUp,
    ) -> None:
        match command:
            case Emit():
                self._emit(command)
            case SetServing(provider, connection):
                self.serving = self._runtime.last_served = provider
                self._with_connection(connection, ProviderConnection.set_serving)
            case ReportAvailability(provider, available):
                self._runtime.report_availability(provider, available)
            case ReportEvent(event):
                self._runtime.report(self._of_stream(event))
            case GiveUp():
                self._gave_up = command  # the engine is done, which ends the pump
            case Finish():
                pass  # the engine is done, which ends the pump
            case _:
                assert_never(command)

    def _send(self, connection: int, start: int, end: int) -> None:
        if (stream := self._connections.get(connection)) is None:
            return  # it could not be opened, and the engine does not know yet
        piece = self._piece
        if piece is None or end != self._frames.end or end - start != piece.samples_per_channel:
            piece = self._frames.frame(start, end)
        stream.push(piece)

    def _send_silence(self, connection: int, seconds: float) -> None:
        if (stream := self._connections.get(connection)) is not None:
            for piece in silence(self._frames.rate, seconds):
                stream.push(piece)

    def _emit(self, command: Emit) -> None:
        if command.text:
            self.last_activity = self._runtime.next_activity()
            self._runtime.last_served = self.serving
        compat.send(self, self._event(command))

    def _open(self, order: OpenConnection) -> None:
        rate = self._frames.rate
        try:
            self._connections[order.connection] = ProviderConnection(
                order,
                self._runtime.providers[order.provider],
                inbox=self._inbox.put_nowait,
                closing_sessions=self._runtime.closing_sessions,
                wait=self._draw_wait,
                connect_timeout=self._runtime.stream_timeout(order.provider),
                start_time_offset=self._offset + (order.start / rate if rate else 0.0),
            )
        except Exception as error:
            self._not_opened(order, error)

    def _not_opened(self, order: OpenConnection, error: Exception) -> None:
        if lacks_http_session(error):
            self._without_http_session.add(order.provider)
            if self._without_http_session >= self._runtime.providers.keys():
                raise no_http_session() from None
        failure = classify_for(error, order.language)
        self._inbox.put_nowait(connection_failed(order.connection, failure, self._draw_wait()))

    def _with_connection(
        self, connection: int, action: Callable[[ProviderConnection], None]
    ) -> None:
        """Act on a connection, unless it could not be opened and the engine does not know yet."""
        if (stream := self._connections.get(connection)) is not None:
            action(stream)

    def _close(self, connection: int) -> None:
        stream = self._connections.pop(connection, None)
        if stream is None:
            return
        task = asyncio.create_task(
            stream.aclose(), name=f"resilient_stt.close-connection-{connection}"
        )
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close_connections(self) -> None:
        for connection in list(self._connections):
            self._close(connection)
        if self._closing:
            await asyncio.wait(list(self._closing))

    # -- what a stream that gives up leaves to the next

    def _make_engine(self, handover: Handover | None = None) -> FailoverEngine:
        runtime, recorder = self._runtime, self._recorder
        # a class of its own, so that a frame that is not recorded costs nothing more
        make = FailoverEngine if recorder is None else partial(RecordedEngine, recorder)
        return make(
            self._routing,
            runtime.health,
            runtime.policies,
            runtime.hedge_budget,
            vad_enabled=self._detector is not None,
            handover=handover,
        )

    async def _first_items(self) -> list[Input | rtc.AudioFrame]:
        """Go on with the audio of a stream that gave up; return what came before that was decided.

        Only the first frame shows whether it has the same sample rate.
        """
        left, items = self._opening.predecessor, list[Input | rtc.AudioFrame]()
        if left is None:
            return items
        left.on_drop = lambda: self._inbox.put_nowait(DeadlineReached())
        while not left.is_over:
            item = await self._inbox.get()
            items.append(item)
            if isinstance(item, rtc.AudioFrame) and item.sample_rate != left.rate:
                left.drop()
            elif isinstance(item, rtc.AudioFrame | InputEnded) and not left.is_over:
                self._go_on_with(left.take())
        return items

    def _go_on_with(self, audio: StreamAudio) -> None:
        self._frames, self._wall_clock = audio.frames, audio.wall_clock
        self._detector = audio.detector
        self._origin = self._pushed = audio.frames.end
        if self._recorder is not None:
            self._recorder.took_over(audio.frames.start, audio.frames.end, audio.frames.rate)
        self._engine = self._make_engine(audio.handover)

    def _end(self) -> None:
        """Note that the task is over: from now on no audio can be pushed."""
        self._handle(StreamClosed())  # a task that was cancelled at once has never run
        if self._leaves_audio:
            self._leave_audio()
        self._runtime.succession.ended(self._opening)
        if self._recorder is not None:
            self._recorder.ended(self._loop.time())

    def _samples(self, start: int, end: int) -> bytes:
        """Return the audio between two positions in `_frames`."""
        return bytes(self._frames.frame(start, end).data)

    def _leave_audio(self) -> None:
        """Leave what is pending to the next stream, with what was pushed by now."""
        unread = [self._inbox.get_nowait() for _ in range(self._inbox.qsize())]
        for item in unread:
            if isinstance(item, _AUDIO):
                self._process(item)
        handover = self._engine.handover
        if handover.pending_seconds:
            audio = StreamAudio(handover, self._frames, self._wall_clock, self._detector)
            self._runtime.succession.leave(self._opening, audio, self.id, self._at)

    # -- events

    @property
    def _at(self) -> float:
        """Seconds of this stream's audio so far."""
        rate = self._frames.rate
        return (self._frames.end - self._origin) / rate if rate else 0.0

    @property
    def _offset(self) -> float:
        """What is added to the engine's times, in seconds; negative if it knows older audio."""
        rate = self._frames.rate
        return self.start_time_offset - (self._origin / rate if rate else 0.0)

    def _of_stream(self, event: Event) -> Event:
        """Return an event with this stream's id, and positions in its own audio."""
        shift = self._offset - self.start_time_offset
        event = dataclasses.replace(event, stream_id=self.id, at=max(0.0, event.at + shift))
        match event:
            case Switched(replay_from=since) | ConnectionOpened(replay_from=since):
                return dataclasses.replace(event, replay_from=max(0.0, since + shift))
            case FinalEmitted(start=float() as start, end=float() as end):
                start, end = _time(start, shift), _time(end, shift)
                return dataclasses.replace(event, start=start, end=end)
            case _:
                return event

    def _event(self, emit: Emit) -> stt.SpeechEvent:
        """The provider's event with our text and times, or an event that the engine adds."""
        source = emit.source
        if not isinstance(source, stt.SpeechEvent):
            source = stt.SpeechEvent(type=stt.SpeechEventType(emit.kind.value))
        if emit.kind is EventKind.USAGE:
            return source
        times = compat.speech_times(
            self._pushed_at(emit.speech_start), self._pushed_at(emit.speech_end)
        )
        if emit.kind in (EventKind.START, EventKind.END):
            return dataclasses.replace(source, **times)
        alternatives = self._alternatives(emit, source.alternatives)
        # An interim transcript that no final follows is emitted as one at the end.
        kind = stt.SpeechEventType(emit.kind.value)
        return dataclasses.replace(source, type=kind, alternatives=alternatives, **times)

    def _pushed_at(self, seconds: float | None) -> float | None:
        return None if seconds is None else self._wall_clock.at(seconds)

    def _alternatives(self, emit: Emit, originals: list[stt.SpeechData]) -> list[stt.SpeechData]:
        offset = self._offset
        # An empty FINAL that answers a flush need not come from a provider.
        data = originals[0] if originals else stt.SpeechData(LanguageCode(emit.language), "")
        metadata = data.metadata if isinstance(data.metadata, dict) else {}
        words = _timed(emit.words, data.words, offset, self.start_time_offset)
        best = dataclasses.replace(
            data,
            text=emit.text,
            language=LanguageCode(emit.language) if emit.language else data.language,
            start_time=_time(emit.start, offset),
            end_time=_time(emit.end, offset),
            metadata={**metadata, "provider": emit.provider},
            words=words,
            confidence=data.confidence or _mean_confidence(words or data.words),
        )
        # The alternatives of a trimmed text would repeat what was trimmed, so they are dropped.
        # Those of a whole text keep no word times, which are on the connection's clock.
        others = originals[1:] if emit.text == data.text else []
        start, end = best.start_time, best.end_time
        others = [
            dataclasses.replace(other, words=None, start_time=start, end_time=end)
            for other in others
        ]
        return [best, *others]

    async def _metrics_monitor_task(self, event_aiter: AsyncIterable[stt.SpeechEvent]) -> None:
        """Leave all events to the consumer.

        Providers' own metrics are forwarded, and audio would be counted twice. A second reader
        would double what it takes to hand over an event.
        """
        async for _ in event_aiter:
            break  # a generator that has not begun stays in LiveKit's `tee` when it is closed
        assert isinstance(event_aiter, AsyncGenerator)
        await event_aiter.aclose()


def _timed(
    words: tuple[Word, ...],
    originals: list[TimedString] | None,
    offset: float,
    start_time_offset: float,
) -> list[TimedString] | None:
    """The provider's last words, as many as were kept, with times on the session's clock."""
    if not words:
        return None
    originals = (originals or [])[-len(words) :]
    # Words of several interim transcripts may be more than those of the last one.
    originals = [
        *(TimedString(word.text) for word in words[: len(words) - len(originals)]),
        *originals,
    ]
    return [
        TimedString(
            str(original),
            start_time=_time(word.start, offset),
            end_time=_time(word.end, offset),
            confidence=getattr(original, "confidence", NOT_GIVEN),
            start_time_offset=start_time_offset,
            speaker_id=getattr(original, "speaker_id", None),
        )
        for word, original in zip(words, originals, strict=True)
    ]


def _time(seconds: float | None, offset: float) -> float:
    """A time for the consumer, to whom no time is negative; 0 if it is not known.

    What another stream heard before it gave up lies before this stream's own audio.
    """
    return 0.0 if seconds is None else max(0.0, offset + seconds)


def _gave_up(command: GiveUp) -> APIConnectionError:
    reasons = command.reasons
    error = APIConnectionError(
        f"{command.message}; {reasons}" if reasons else command.message, retryable=False
    )
    # The providers' own exceptions may carry keys, so the cause is one of ours.
    error.__cause__ = APIConnectionError(reasons, retryable=False) if reasons else None
    return error


def _mean_confidence(words: list[TimedString] | None) -> float:
    """What the words say of a transcript that has no confidence of its own; 0 if they say nothing.

    LiveKit averages the confidences of a turn, and takes 0 for "none" nowhere.
    """
    given = [getattr(word, "confidence", None) for word in words or []]
    known = [c for c in given if isinstance(c, float | int) and 0 <= c <= 1]
    return sum(known) / len(known) if len(known) == len(given) and known else 0.0
