"""Small LiveKit STTs in process, and the real plugins on the loopback servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, get_args

import aiohttp
import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, LanguageCode, inference, stt
from livekit.agents.stt import SpeechEventType
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, NotGivenOr, TimedString
from livekit.agents.utils import AudioBuffer, is_given
from livekit.agents.vad import VAD

from resilient_stt import Decision, Policies, ResilientSTT
from resilient_stt.livekit import compat
from resilient_stt.providers.traits import traits_of
from resilient_stt.setup import Setup
from resilient_stt.testing.fakes.cartesia import FakeCartesia
from resilient_stt.testing.fakes.deepgram import FakeDeepgram
from resilient_stt.testing.faults import Fault
from resilient_stt.testing.speech.recognizer import AudioRecognizer, HeardWord

EVENTS = tuple(e.name for e in get_args(Decision))
"""The names of the events that matter to whoever runs the agent."""

Behavior = Callable[["FakeStream"], Awaitable[None]]


class FakeStream(stt.RecognizeStream):
    """A stream that follows its STT's behavior, and counts its audio and flushes."""

    def __init__(
        self,
        fake: FakeSTT,
        language: NotGivenOr[str],
        conn_options: APIConnectOptions,
        sample_rate: NotGivenOr[int],
    ) -> None:
        super().__init__(stt=fake, conn_options=conn_options, sample_rate=sample_rate)
        self.fake = fake
        self.language = language
        self.conn_options = conn_options
        self.audio = 0.0
        self.flushes = 0

    async def _run(self) -> None:
        await self.fake.behavior(self)

    async def received(self) -> AsyncIterator[rtc.AudioFrame | None]:
        """Yield the frames it is given, and `None` for a flush."""
        async for item in self._input_ch:
            if isinstance(item, rtc.AudioFrame):
                self.audio += item.duration
                yield item
            else:
                self.flushes += 1
                yield None

    async def listen(self) -> None:
        """Take all audio until the end of the input."""
        async for _ in self.received():
            pass

    def send(self, event: Any) -> None:
        """Emit anything."""
        self._event_ch.send_nowait(event)

    def say(self, kind: SpeechEventType, text: str | None = None, **data: Any) -> None:
        """Emit an event; with `text`, one that has an alternative."""
        alternatives = [] if text is None else [stt.SpeechData(LanguageCode("en"), text, **data)]
        self.send(stt.SpeechEvent(type=kind, alternatives=alternatives))

    def final(self, text: str, **data: Any) -> None:
        """Emit a FINAL alone."""
        self.say(SpeechEventType.FINAL_TRANSCRIPT, text, **data)


has_keyterms = pytest.mark.skipif(
    not hasattr(stt.STT, "_update_session_keyterms"), reason="LiveKit before 1.6.5 has no keyterms"
)


def a_vad() -> VAD:
    """LiveKit's VAD; before 1.6.1 it is a plugin, without which the test is skipped."""
    if hasattr(inference, "VAD"):
        return inference.VAD()
    vad: VAD = pytest.importorskip("livekit.plugins.silero").VAD.load()
    return vad


class FakeSTT(stt.STT[str]):
    """A LiveKit STT whose behavior and capabilities can be chosen, also while it runs."""

    kind: type[FakeStream] = FakeStream

    def __init__(
        self,
        behavior: Behavior = FakeStream.listen,
        *,
        text: str = "",
        error: Exception | None = None,
        delay: float = 0.0,
        sample_rate: NotGivenOr[int] = NOT_GIVEN,
        provider: str = "Fake",
        **capabilities: Any,
    ) -> None:
        """`text`, `error`, `delay`: what `recognize` answers or raises, after how many seconds."""
        offered = {"streaming": True, "interim_results": False, **capabilities}
        super().__init__(capabilities=compat.capabilities(**offered))
        self.behavior = behavior
        self.text, self.error, self.delay = text, error, delay
        self.streams: list[FakeStream] = []
        self.recognized: list[APIConnectOptions] = []
        self.languages: list[str] = []
        self.keyterms: list[str] = []
        self.items: list[object] = []
        self.prewarmed = 0
        self._sample_rate = sample_rate
        self._provider = provider

    @property
    def model(self) -> str:
        return f"{self._provider.lower()}-1"

    @property
    def provider(self) -> str:
        return self._provider

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> FakeStream:
        stream = self.kind(self, language, conn_options, self._sample_rate)
        self.streams.append(stream)
        return stream

    async def _recognize_impl(
        self,
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        self.recognized.append(conn_options)
        self.languages.append(language if is_given(language) else "")
        await asyncio.sleep(self.delay)
        if self.error:
            raise self.error
        code = LanguageCode(language if is_given(language) else "en")
        return stt.SpeechEvent(
            type=SpeechEventType.FINAL_TRANSCRIPT, alternatives=[stt.SpeechData(code, self.text)]
        )

    def _update_session_keyterms(self, keyterms: list[str]) -> None:
        compat.refuse_keyterms(self, keyterms)
        self.keyterms = keyterms

    def _push_conversation_item(self, ev: Any) -> None:
        compat.refuse_conversation_item(self, ev)
        self.items.append(ev)

    def prewarm(self) -> None:
        self.prewarmed += 1


def routed(
    providers: Mapping[str, stt.STT[Any]],
    routes: Mapping[str, Sequence[str]],
    *,
    traits: Mapping[str, Mapping[str, Any]] | None = None,
    policies: Policies | None = None,
    **options: Any,
) -> ResilientSTT:
    """A `ResilientSTT` with routes; `traits` by provider name, `options` of `ResilientSTT`."""
    given = traits or {}
    plan = Setup(
        providers=dict(providers),
        traits={name: traits_of(name, made, given.get(name)) for name, made in providers.items()},
        routes={key: tuple(names) for key, names in routes.items()},
        policies=policies or Policies(),
    )
    return ResilientSTT(plan, **options)


def says(text: str, **data: Any) -> Behavior:
    """Give one FINAL at once, then take audio."""

    async def behave(stream: FakeStream) -> None:
        stream.final(text, **data)
        await stream.listen()

    return behave


def fails(error: Exception, *, after: float = 0.0) -> Behavior:
    """Raise after some seconds."""

    async def behave(_: FakeStream) -> None:
        await asyncio.sleep(after)
        raise error

    return behave


def fails_at_end(error: Exception) -> Behavior:
    """Take all audio, then raise."""

    async def behave(stream: FakeStream) -> None:
        await stream.listen()
        raise error

    return behave


async def hangs(_: FakeStream) -> None:
    """Give nothing and never end."""
    await asyncio.Event().wait()


def transcribes(
    *, times: bool = True, adds_offset: bool = True, names_offset: bool = True, until: float = 0.0
) -> Behavior:
    """Recognize the reference speech at 16 kHz, with a FINAL per pause of 0.3 s.

    `times`: give word times. `adds_offset`: add the stream's `start_time_offset` to them.
    `names_offset`: give that offset with each word. `until`: seconds of audio after which the
    connection drops.
    """

    async def behave(stream: FakeStream) -> None:
        recognizer = AudioRecognizer()
        pending: list[HeardWord] = []

        def give_final() -> None:
            if not pending:
                return
            shift = stream.start_time_offset if adds_offset else 0.0
            offset = stream.start_time_offset if names_offset else NOT_GIVEN
            words = [
                TimedString(w.text, w.start + shift, w.end + shift, start_time_offset=offset)
                for w in pending
            ]
            text = " ".join(w.text for w in pending)
            pending.clear()
            stream.final(text, words=words if times else None)

        async for frame in stream.received():
            if frame is None:
                continue
            pending.extend(recognizer.feed(bytes(frame.data.cast("B"))))
            if recognizer.silence >= 0.3:
                give_final()
            if until and stream.audio >= until:
                raise stt_error()
        pending.extend(recognizer.finish())
        give_final()

    return behave


def stt_error() -> Exception:
    """The error that a LiveKit plugin raises when its connection is lost."""
    from livekit.agents import APIConnectionError

    return APIConnectionError("connection closed unexpectedly")


def frames(
    seconds: float = 1.0, *, duration: float = 0.02, rate: int = 16_000, channels: int = 1
) -> list[rtc.AudioFrame]:
    """Digital silence."""
    count = round(duration * rate)
    data = bytes(2 * count * channels)
    return [rtc.AudioFrame(data, rate, channels, count) for _ in range(round(seconds / duration))]


@dataclass
class Arena:
    """Both servers, and a `ResilientSTT` over the real plugins connected to them."""

    cartesia: FakeCartesia
    deepgram: FakeDeepgram
    stt: ResilientSTT
    events: list[Decision] = field(default_factory=list)

    @property
    def connections(self) -> tuple[int, int]:
        """How many connections the servers have had: Cartesia, Deepgram."""
        return len(self.cartesia.connections), len(self.deepgram.connections)


@asynccontextmanager
async def arena(
    cartesia: Iterable[Fault] = (),
    deepgram: Iterable[Fault] = (),
    *,
    only: Sequence[str] = ("cartesia", "deepgram"),
    **options: Any,
) -> AsyncIterator[Arena]:
    """`options` are those of `ResilientSTT`; `only` names the providers in order."""
    async with (
        FakeCartesia(faults=cartesia) as c,
        FakeDeepgram(faults=deepgram) as d,
        aiohttp.ClientSession() as http,
    ):
        plugins = {"cartesia": c.stt(http_session=http), "deepgram": d.stt(http_session=http)}
        resilient = ResilientSTT([plugins[name] for name in only], **options)
        made = Arena(c, d, resilient)
        listen(resilient, made.events.append)
        try:
            yield made
        finally:
            await resilient.aclose()


def listen(resilient: ResilientSTT, handler: Callable[[Any], None]) -> None:
    """Subscribe to all events of the package."""
    for name in EVENTS:
        resilient.on(name, handler)


async def collect(stream: stt.RecognizeStream) -> list[stt.SpeechEvent]:
    """All events until the stream ends."""
    return [event async for event in stream]


def texts(events: Iterable[stt.SpeechEvent]) -> list[str]:
    """The texts of the finals."""
    return [e.alternatives[0].text for e in events if e.type is SpeechEventType.FINAL_TRANSCRIPT]
