"""Small LiveKit STTs in process, and a rehearsal of the real plugins on the loopback servers."""

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

from resilient_stt import Event, Policies, ResilientSTT
from resilient_stt.livekit import compat
from resilient_stt.providers.traits import traits_of
from resilient_stt.setup import Setup
from resilient_stt.testing.fakes.cartesia import FakeCartesia
from resilient_stt.testing.fakes.deepgram import FakeDeepgram
from resilient_stt.testing.faults import Fault
from resilient_stt.testing.speech.recognizer import AudioRecognizer, HeardWord

EVENTS = tuple(e.name for e in get_args(Event))

Behaviour = Callable[["FakeStream"], Awaitable[None]]


class FakeStream(stt.RecognizeStream):
    """A stream that does what its STT's behaviour says; counts what it is given."""

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
        await self.fake.behaviour(self)

    async def heard(self) -> AsyncIterator[rtc.AudioFrame | None]:
        """The frames it is given; `None` for a flush."""
        async for item in self._input_ch:
            if isinstance(item, rtc.AudioFrame):
                self.audio += item.duration
                yield item
            else:
                self.flushes += 1
                yield None

    async def listen(self) -> None:
        """Take everything until the end of the input."""
        async for _ in self.heard():
            pass

    def send(self, event: Any) -> None:
        """Emit anything."""
        self._event_ch.send_nowait(event)

    def say(self, kind: SpeechEventType, text: str | None = None, **data: Any) -> None:
        """Emit an event; with `text`, one that has an alternative."""
        told = [] if text is None else [stt.SpeechData(LanguageCode("en"), text, **data)]
        self.send(stt.SpeechEvent(type=kind, alternatives=told))

    def final(self, text: str, **data: Any) -> None:
        """Emit a FINAL alone."""
        self.say(SpeechEventType.FINAL_TRANSCRIPT, text, **data)


has_keyterms = pytest.mark.skipif(
    not hasattr(stt.STT, "_update_session_keyterms"), reason="LiveKit before 1.6.5 has no keyterms"
)


def a_vad() -> VAD:
    """LiveKit's own; before 1.6.1 that is a plugin, which the test needs."""
    if hasattr(inference, "VAD"):
        return inference.VAD()
    vad: VAD = pytest.importorskip("livekit.plugins.silero").VAD.load()
    return vad


class FakeSTT(stt.STT[str]):
    """A LiveKit STT of which everything can be chosen, also while it runs."""

    kind: type[FakeStream] = FakeStream

    def __init__(
        self,
        behaviour: Behaviour = FakeStream.listen,
        *,
        text: str = "",
        error: Exception | None = None,
        delay: float = 0.0,
        sample_rate: NotGivenOr[int] = NOT_GIVEN,
        provider: str = "Fake",
        **capabilities: Any,
    ) -> None:
        """`text`, `error`, `delay`: what `recognize` answers, and after how many seconds."""
        offered = {"streaming": True, "interim_results": False, **capabilities}
        super().__init__(capabilities=compat.capabilities(**offered))
        self.behaviour = behaviour
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
    """A `ResilientSTT` with routes; `traits` of a provider by its name, `options` ours."""
    given = traits or {}
    plan = Setup(
        providers=dict(providers),
        traits={name: traits_of(name, made, given.get(name)) for name, made in providers.items()},
        routes={key: tuple(names) for key, names in routes.items()},
        policies=policies or Policies(),
    )
    return ResilientSTT(plan, **options)


def says(text: str, **data: Any) -> Behaviour:
    """Say one FINAL at once, then listen."""

    async def behave(stream: FakeStream) -> None:
        stream.final(text, **data)
        await stream.listen()

    return behave


def fails(error: Exception, *, after: float = 0.0) -> Behaviour:
    """Raise after some seconds."""

    async def behave(_: FakeStream) -> None:
        await asyncio.sleep(after)
        raise error

    return behave


def fails_at_end(error: Exception) -> Behaviour:
    """Listen to everything, then raise."""

    async def behave(stream: FakeStream) -> None:
        await stream.listen()
        raise error

    return behave


async def hangs(_: FakeStream) -> None:
    """Never say, never end."""
    await asyncio.Event().wait()


def transcribes(
    *, times: bool = True, adds_offset: bool = True, told: bool = True, until: float = 0.0
) -> Behaviour:
    """Recognise the reference speech at 16 kHz, a FINAL per pause of 0.3 s.

    `times`: give word times. `adds_offset`: to which the stream's `start_time_offset` is added.
    `told`: and the words say so. `until`: seconds of audio after which the connection drops.
    """

    async def behave(stream: FakeStream) -> None:
        hearing = AudioRecognizer()
        pending: list[HeardWord] = []

        def tell() -> None:
            if not pending:
                return
            shift = stream.start_time_offset if adds_offset else 0.0
            offset = stream.start_time_offset if told else NOT_GIVEN
            words = [
                TimedString(w.text, w.start + shift, w.end + shift, start_time_offset=offset)
                for w in pending
            ]
            text = " ".join(w.text for w in pending)
            pending.clear()
            stream.final(text, words=words if times else None)

        async for frame in stream.heard():
            if frame is None:
                continue
            pending.extend(hearing.feed(bytes(frame.data.cast("B"))))
            if hearing.silence >= 0.3:
                tell()
            if until and stream.audio >= until:
                raise stt_error()
        pending.extend(hearing.finish())
        tell()

    return behave


def stt_error() -> Exception:
    """What a LiveKit plugin raises when its connection is gone."""
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
    """Both servers, and a `ResilientSTT` over the real plugins pointed at them."""

    cartesia: FakeCartesia
    deepgram: FakeDeepgram
    stt: ResilientSTT
    events: list[Event] = field(default_factory=list)

    @property
    def connections(self) -> tuple[int, int]:
        """How many the servers have seen: Cartesia, Deepgram."""
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
    """Subscribe to all events of ours."""
    for name in EVENTS:
        resilient.on(name, handler)


async def collect(stream: stt.RecognizeStream) -> list[stt.SpeechEvent]:
    """All events until the stream ends."""
    return [event async for event in stream]


def texts(events: Iterable[stt.SpeechEvent]) -> list[str]:
    """The texts of the finals."""
    return [e.alternatives[0].text for e in events if e.type is SpeechEventType.FINAL_TRANSCRIPT]
