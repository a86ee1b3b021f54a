"""What LiveKit keeps to itself, and what its versions have not in common: touched here alone.

No other module of the package touches a member of LiveKit, or of one of its plugins, that begins
with an underscore; `tests/livekit/test_compat.py` sees to it, and lists those that LiveKit has its
subclasses override.

What versions of LiveKit Agents lack, and what that costs who uses them. No word is lost or said
twice for it; `nox -s livekit` runs the contract tests with the oldest and with the newest.

before 1.8.9
    `STTCapabilities.manual_flush`: no session flushes a stream at the end of a turn. Providers that
    are known to flush are flushed at pauses all the same; one that is not cannot tell that it does,
    and needs the trait `manual_flush`.
before 1.6.10
    `STT.metrics_metadata`: a session's turn does not tell who served. Usage does, as ever.
before 1.6.5
    `STTCapabilities.keyterms` and `_update_session_keyterms`: sessions have no keyterms. Deepgram's
    own go through `update_options(keyterm=[...])`.
    `STTCapabilities.chat_context` and `_push_conversation_item`: no provider is told what was said.
before 1.6.1
    `inference.VAD`, nor has a session one by default: with `turn_detection="vad"` it needs
    that of `livekit-plugins-silero`, and so does a provider that cannot stream.
    `livekit-local-inference`, our own voice activity's model: we require it ourselves, so that
    this is as with the newest.
before 1.5.15
    Not supported. Cartesia's plugin was another one: it knew no ink-2, and chose ink-whisper where
    none was given, where our configuration says what it does now.

LiveKit Agents before 1.6.10 imports `httpx` and does not require it. It comes with `openai` 2, not
with 3, which a fresh installation picks: who pins so old a LiveKit needs `openai<3`, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterable, Iterator
from typing import TYPE_CHECKING, Any

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
"""What makes a `livekit.agents.vad.VAD`: that of `inference` is there from 1.6.1 on."""

_NAMES = frozenset(field.name for field in dataclasses.fields(stt.STTCapabilities))


# -- streams, seen from inside


def pushed(stream: stt.RecognizeStream) -> AsyncIterable[object]:
    """What was pushed, in order: `rtc.AudioFrame`s, and for each flush something else."""
    return stream._input_ch


def input_ended(stream: stt.RecognizeStream) -> bool:
    """Whether `end_input()` or `aclose()` was called."""
    return stream._input_ch.closed


def output_ended(stream: stt.RecognizeStream) -> bool:
    """Whether the stream's task is over, so that nobody hears an event any more."""
    return stream._event_ch.closed


def send(stream: stt.RecognizeStream, event: stt.SpeechEvent) -> None:
    """Emit an event to who reads the stream."""
    stream._event_ch.send_nowait(event)


def pushed_rate(stream: stt.RecognizeStream) -> int:
    """The sample rate of what was pushed, Hz; 0 if nothing was."""
    return stream._pushed_sr


# -- STTs, seen from inside


def emit_error(of: stt.STT[Any], error: Exception, *, recoverable: bool) -> None:
    """Emit LiveKit's `error` event."""
    of._emit_error(error, recoverable=recoverable)


def forward_usage_only(of: stt.STT[Any]) -> None:
    """Have `recognize()` emit no metrics of its own: the providers' are forwarded."""
    of._recognize_metrics_needed = False


def keep(of: stt.STT[Any], capabilities: stt.STTCapabilities) -> stt.STTCapabilities:
    """Let LiveKit's own methods see what `capabilities` tells now."""
    of._capabilities = capabilities
    return capabilities


# -- capabilities


def capabilities(**offered: Any) -> stt.STTCapabilities:
    """`STTCapabilities`; LiveKit before 1.8.9 knows no `manual_flush`, before 1.6.5 no `keyterms`
    and no `chat_context`. Those are there all the same, and nobody in LiveKit looks at them.
    """
    known = {name: value for name, value in offered.items() if name in _NAMES}
    made = stt.STTCapabilities(**known)
    for name in offered.keys() - _NAMES:
        setattr(made, name, offered[name])
    return made


def takes_keyterms(of: stt.STT[Any]) -> bool:
    """Whether it has `STTCapabilities.keyterms`; nobody has before 1.6.5."""
    return getattr(of.capabilities, "keyterms", False)


def takes_chat_context(of: stt.STT[Any]) -> bool:
    """Whether it has `STTCapabilities.chat_context`; nobody has before 1.6.5."""
    return getattr(of.capabilities, "chat_context", False)


def manual_flush(of: stt.STT[Any]) -> bool:
    """Whether it has `STTCapabilities.manual_flush`; nobody has before 1.8.9."""
    return getattr(of.capabilities, "manual_flush", False)


# -- what a session tells an STT


def set_keyterms(of: stt.STT[Any], keyterms: list[str]) -> None:
    """Give a provider that takes them the session's keyterms."""
    of._update_session_keyterms(keyterms)


def push_conversation_item(of: stt.STT[Any], item: ConversationItemAddedEvent) -> None:
    """Tell a provider that takes them what was said."""
    of._push_conversation_item(item)


def refuse_keyterms(of: stt.STT[Any], keyterms: list[str]) -> None:
    """As LiveKit does where they are not supported: warn, once. Before 1.6.5 no session has any."""
    if hasattr(stt.STT, "_update_session_keyterms"):
        stt.STT._update_session_keyterms(of, keyterms)


def refuse_conversation_item(of: stt.STT[Any], item: ConversationItemAddedEvent) -> None:
    """As LiveKit does where they are not supported: warn, once. Before 1.6.5 no session has any."""
    if hasattr(stt.STT, "_push_conversation_item"):
        stt.STT._push_conversation_item(of, item)


# -- what an STT tells a session


def labels(of: stt.STT[Any]) -> MetricsMetadata:
    """`metrics_metadata`; before 1.6.10 there is none, and nobody asks."""
    if hasattr(of, "metrics_metadata"):
        return of.metrics_metadata
    return {"model_name": of.model, "model_provider": of.provider}


# -- plugins


def options_of(provider: stt.STT[Any]) -> Any:
    """Where plugins keep what they were made with, by convention; None if this one does not."""
    return getattr(provider, "_opts", None)


def kept(provider: stt.STT[Any], name: str) -> Iterator[Any]:
    """What a plugin may have kept of an option that it was made with: LiveKit's interface does not
    tell, and plugins keep it in one of two places.
    """
    yield getattr(provider, f"_{name}", None)
    yield getattr(options_of(provider), name, None)
