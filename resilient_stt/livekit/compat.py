"""All access to LiveKit's private members, and all differences between its versions.

No other module of the package touches a member of LiveKit, or of one of its plugins, whose name
begins with an underscore; `tests/livekit/test_compat.py` checks this, and lists the members that
LiveKit has its subclasses override.

What older versions of LiveKit Agents lack, and what their users go without. No version loses or
repeats a word. `nox -s livekit` runs the contract tests with the oldest and the newest version.

before 1.8.9
    `STTCapabilities.manual_flush`: sessions do not flush a stream at the end of a turn. Providers
    that are known to flush are flushed at pauses all the same; another one cannot say that it does,
    and needs the trait `manual_flush`.
before 1.6.10
    `STT.metrics_metadata`: a session's turn does not say which provider served. Usage still does.
before 1.6.5
    `STTCapabilities.keyterms` and `_update_session_keyterms`: sessions have no keyterms. Deepgram's
    own can be set with `update_options(keyterm=[...])`.
    `STTCapabilities.chat_context` and `_push_conversation_item`: providers are not given the
    conversation.
before 1.6.1
    `inference.VAD`, which sessions use by default later: `turn_detection="vad"` and providers that
    cannot stream need the VAD of `livekit-plugins-silero`.
    `livekit-local-inference`, the model of our own voice activity: the package requires it itself,
    so nothing differs.
before 1.5.15
    Not supported. Cartesia's plugin did not know ink-2, and chose ink-whisper if no model was
    given, where our configuration says what the plugin chooses today.

LiveKit Agents before 1.6.10 imports `httpx` without requiring it. `openai` 2 brings it, `openai` 3,
which a fresh installation picks, does not: such an old version needs `openai<3`, too.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterable, Callable, Iterator
from typing import TYPE_CHECKING, Any

from livekit import rtc
from livekit.agents import inference, stt
from livekit.local_inference import VAD as VAD
from livekit.local_inference import VAD_WINDOW_SAMPLES as VAD_WINDOW_SAMPLES

if TYPE_CHECKING:
    from livekit.agents.llm.chat_context import MetricsMetadata
    from livekit.agents.voice.events import ConversationItemAddedEvent

A_VAD = (
    "livekit.agents.inference.VAD()"
    if hasattr(inference, "VAD")
    else "livekit.plugins.silero.VAD.load()"
)
"""How to make a `livekit.agents.vad.VAD`, for error messages; `inference` has one since 1.6.1."""

_NAMES = frozenset(field.name for field in dataclasses.fields(stt.STTCapabilities))

_EVENT_FIELDS = frozenset(field.name for field in dataclasses.fields(stt.SpeechEvent))


# -- streams


def pushed(stream: stt.RecognizeStream) -> AsyncIterable[object]:
    """What was pushed, in order: an `rtc.AudioFrame`, or something else for each flush."""
    return stream._input_ch


def end_input(stream: stt.RecognizeStream) -> None:
    """Let no more audio be pushed."""
    stream._input_ch.close()


def on_end(stream: stt.RecognizeStream, note: Callable[[], None]) -> None:
    """Call `note` when the stream's task is over, before its reader knows."""
    stream._task.add_done_callback(lambda _: note())


def input_ended(stream: stt.RecognizeStream) -> bool:
    """Whether `end_input()` or `aclose()` was called."""
    return stream._input_ch.closed


def output_ended(stream: stt.RecognizeStream) -> bool:
    """Whether the stream's task is over, so that no event can be sent any more."""
    return stream._event_ch.closed


def is_closed(stream: stt.RecognizeStream) -> bool:
    """Whether its input or its output has ended."""
    return stream._input_ch.closed or stream._event_ch.closed


def send(stream: stt.RecognizeStream, event: stt.SpeechEvent) -> None:
    """Send an event to the consumer of the stream."""
    stream._event_ch.send_nowait(event)


def on_exception(stream: stt.RecognizeStream, note: Callable[[BaseException], None]) -> None:
    """Call `note` with the exception that ends the stream's task, before its reader gets it.

    `RecognizeStream.__anext__` raises it anew, which replaces its `__context__` (1.8.9).
    """

    def done(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            note(error)

    stream._task.add_done_callback(done)


def queued_seconds(stream: stt.RecognizeStream) -> float:
    """Seconds of audio that were pushed and that the stream's task has not taken yet."""
    waiting = stream._input_ch._queue
    return sum(item.duration for item in waiting if isinstance(item, rtc.AudioFrame))


def recognize_utterances(
    stream: stt.RecognizeStream, wrap: Callable[[stt.STT[Any]], object]
) -> None:
    """Wrap what recognizes the utterances of a `StreamAdapter`'s stream, and of no other one."""
    if isinstance(stream, stt.StreamAdapterWrapper):
        stream._wrapped_stt = wrap(stream._wrapped_stt)  # type: ignore[assignment]


def queue_length(stream: stt.RecognizeStream) -> int:
    """How much of what was pushed the stream's task has not taken yet, in items."""
    return stream._input_ch.qsize()


def start_time(stream: stt.RecognizeStream) -> float:
    """The wall time from which a plugin's stream counts; 0 before LiveKit had it."""
    return float(getattr(stream, "start_time", 0.0))


def speech_times(start: float | None, end: float | None) -> dict[str, Any]:
    """The times of speech that LiveKit's `SpeechEvent` takes in this version."""
    times = {"speech_start_time": start, "speech_end_time": end}
    return {name: at for name, at in times.items() if name in _EVENT_FIELDS}


# -- STTs


def emit_error(of: stt.STT[Any], error: Exception, *, recoverable: bool) -> None:
    """Emit LiveKit's `error` event."""
    of._emit_error(error, recoverable=recoverable)


def forward_usage_only(of: stt.STT[Any]) -> None:
    """Keep `recognize()` from emitting metrics of its own: the providers' are forwarded."""
    of._recognize_metrics_needed = False


def keep(of: stt.STT[Any], capabilities: stt.STTCapabilities) -> stt.STTCapabilities:
    """Store capabilities where LiveKit's own methods read them; return them."""
    of._capabilities = capabilities
    return capabilities


# -- capabilities


def capabilities(**offered: Any) -> stt.STTCapabilities:
    """Make `STTCapabilities` in any version of LiveKit.

    The fields `manual_flush` (since 1.8.9), `keyterms` and `chat_context` (since 1.6.5) are set as
    attributes in older versions, where LiveKit does not read them.
    """
    known = {name: value for name, value in offered.items() if name in _NAMES}
    made = stt.STTCapabilities(**known)
    for name in offered.keys() - _NAMES:
        setattr(made, name, offered[name])
    return made


def takes_keyterms(of: stt.STT[Any]) -> bool:
    """Whether it has `STTCapabilities.keyterms`; none has before 1.6.5."""
    return getattr(of.capabilities, "keyterms", False)


def takes_chat_context(of: stt.STT[Any]) -> bool:
    """Whether it has `STTCapabilities.chat_context`; none has before 1.6.5."""
    return getattr(of.capabilities, "chat_context", False)


def manual_flush(of: stt.STT[Any]) -> bool:
    """Whether it has `STTCapabilities.manual_flush`; none has before 1.8.9."""
    return getattr(of.capabilities, "manual_flush", False)


# -- what a session hands to an STT


def set_keyterms(of: stt.STT[Any], keyterms: list[str]) -> None:
    """Hand the session's keyterms to a provider that takes keyterms."""
    of._update_session_keyterms(keyterms)


def push_conversation_item(of: stt.STT[Any], item: ConversationItemAddedEvent) -> None:
    """Hand a conversation item to a provider that takes chat context."""
    of._push_conversation_item(item)


def refuse_keyterms(of: stt.STT[Any], keyterms: list[str]) -> None:
    """Warn once, as LiveKit does where they are not supported; before 1.6.5 there are none."""
    if hasattr(stt.STT, "_update_session_keyterms"):
        stt.STT._update_session_keyterms(of, keyterms)


def refuse_conversation_item(of: stt.STT[Any], item: ConversationItemAddedEvent) -> None:
    """Warn once, as LiveKit does where they are not supported; before 1.6.5 there are none."""
    if hasattr(stt.STT, "_push_conversation_item"):
        stt.STT._push_conversation_item(of, item)


# -- what a session asks an STT


def labels(of: stt.STT[Any]) -> MetricsMetadata:
    """Return `STT.metrics_metadata`, or the same labels before 1.6.10, which lacks it."""
    if hasattr(of, "metrics_metadata"):
        return of.metrics_metadata
    return {"model_name": of.model, "model_provider": of.provider}


# -- plugins


def reconnect_event(stream: stt.RecognizeStream) -> asyncio.Event | None:
    """What a plugin sets to give its stream another socket, by convention `_reconnect_event`.

    LiveKit's plugins whose options can be changed have it (1.8.9). `None` where it is missing, or
    set from the beginning.
    """
    event = getattr(stream, "_reconnect_event", None)
    return event if isinstance(event, asyncio.Event) and not event.is_set() else None


def will_reconnect(stream: stt.RecognizeStream) -> bool:
    """Whether a plugin is about to give its stream another socket, for options that were changed.

    While somebody speaks, LiveKit's plugins put that off: they keep the keyterms as `_pending_...`
    until the speech is over (Deepgram's and Google's, 1.8.9). Others apply them to the open socket.
    """
    event = getattr(stream, "_reconnect_event", None)
    if not isinstance(event, asyncio.Event):
        return False
    waiting = (value for name, value in vars(stream).items() if name.startswith("_pending_key"))
    return event.is_set() or any(value is not None for value in waiting)


def options_of(provider: stt.STT[Any]) -> Any:
    """Return the options object that plugins keep by convention; `None` if this one does not."""
    return getattr(provider, "_opts", None)


def kept(provider: stt.STT[Any], name: str) -> Iterator[Any]:
    """Yield what a plugin may have kept of a constructor option; `None` where it has not.

    LiveKit's interface does not expose constructor options. Plugins keep them as `_<name>` or in
    their options object, whatever they call that.
    """
    yield getattr(provider, f"_{name}", None)
    yield getattr(options_of(provider), name, None)
    for holder in ("_config", "_params"):
        yield getattr(getattr(provider, holder, None), name, None)
