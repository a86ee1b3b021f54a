"""What plugins do that LiveKit's interface does not say: the published ones over their fakes, and
odd ones of our own. No rule may know them by name."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from livekit.agents import APITimeoutError, stt
from livekit.agents.stt import SpeechEventType
from livekit.agents.utils import http_context

from resilient_stt import ProviderFailed, ResilientSTT, RetryPolicy, Switched
from resilient_stt.cli.chaos.fault_rows import speech_of
from resilient_stt.testing import Fault, Hang, Latency, Played, ReferenceSpeech, Refuse, play
from resilient_stt.testing.fakes.deepgram import FakeDeepgram
from resilient_stt.testing.fakes.registry import FAKES
from resilient_stt.testing.fakes.server import FakeServer
from resilient_stt.testing.speech.recognizer import AudioRecognizer

from .support.fakes import Behavior, FakeStream, FakeSTT, a_vad, frames, has_keyterms, transcribes

pytestmark = [
    pytest.mark.stt_virtual_time,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

THREE_SENTENCES = ReferenceSpeech.load("english").excerpt(0, 3).padded(1.0)


@pytest.fixture
async def session() -> AsyncIterator[None]:
    """LiveKit's HTTP session, which plugins use outside a worker."""
    async with http_context.open():
        yield


def fake_of(name: str, *faults: Fault) -> FakeServer:
    """The fake of a provider; the test is skipped without its plugin."""
    if name not in ("flux", "inference"):
        pytest.importorskip(f"livekit.plugins.{name}")
    return FAKES[name](faults=list(faults))


class Call:
    """One call over a `ResilientSTT`, and what it reported."""

    def __init__(self, *providers: stt.STT[Any], **options: Any) -> None:
        self.stt = ResilientSTT([*providers], **options)
        self.failures: list[str] = []
        self.streams: list[stt.RecognizeStream] = []
        self.stt.on("provider_failed", lambda e: self.failures.append(f"{e.provider} {e.reason}"))
        self.reported: list[object] = []
        self.unavailable: list[object] = []
        self.stt.on("stt_availability_changed", self.unavailable.append)
        for name in ("provider_failed", "switched", "audio_lost"):
            self.stt.on(name, self.reported.append)
        opened = self.stt.stream

        def remembered(**given: Any) -> Any:
            self.streams.append(opened(**given))
            return self.streams[-1]

        self.stt.stream = remembered  # type: ignore[method-assign]

    async def play(self, speech: ReferenceSpeech = THREE_SENTENCES, **options: Any) -> Played:
        return await play(self.stt, speech, **options)


@pytest.mark.parametrize("name", ["gladia", "assemblyai", "soniox", "xai"])
async def test_a_flush_in_mid_speech_harms_nobody(name: str, session: None) -> None:
    """Gladia ends its session when it is flushed, and AssemblyAI is sent a chunk that is too short:
    a provider is flushed only if it answers flushes."""

    def flush(_at: float, event: stt.SpeechEvent) -> None:
        if event.type is SpeechEventType.INTERIM_TRANSCRIPT:
            call.streams[0].flush()

    async with fake_of(name) as server, FakeDeepgram() as fallback:
        call = Call(server.stt(), fallback.stt())
        played = await call.play(on_event=flush)
        assert (played.score.lost, played.score.twice) == (0, 0)
        assert call.failures == []
        assert len(server.connections) == 1


def gives_interims(*, every: float = 0.5, late: bool = False, deaf_after: float = 1e9) -> Behavior:
    """Recognize the reference speech with a FINAL per pause of 0.5 s, half a second later.

    `every`: seconds of audio between two interim transcripts of an utterance. `late`: they all come
    just before the FINAL. `deaf_after`: seconds of audio after which nothing is heard any more.
    """

    async def behave(stream: FakeStream) -> None:
        recognizer = AudioRecognizer()
        heard: list[str] = []
        told_at = 0.0
        async for frame in stream.received():
            if frame is None or stream.audio > deaf_after:
                continue
            new = [w.text for w in recognizer.feed(bytes(frame.data.cast("B")))]
            if new and not heard:
                told_at = stream.audio
            heard += new
            if heard and recognizer.silence >= 0.5:
                await asyncio.sleep(0.5)
                for count in range(1, len(heard) + 1) if late else ():
                    stream.say(SpeechEventType.INTERIM_TRANSCRIPT, " ".join(heard[:count]))
                    await asyncio.sleep(0.02)
                stream.final(" ".join(heard))
                heard.clear()
            elif new and not late and stream.audio >= told_at + every:
                told_at = stream.audio
                stream.say(SpeechEventType.INTERIM_TRANSCRIPT, " ".join(heard))
        stream.final(" ".join(heard))

    return behave


LONG = ReferenceSpeech.load("english").padded(3.0)


@pytest.mark.parametrize(
    "behavior", [transcribes(times=False), gives_interims(late=True), gives_interims(every=3.0)]
)
async def test_interims_that_are_promised_and_not_given(behavior: Behavior) -> None:
    """Of a plugin that we do not know, the promise counts once it was kept: whoever gives none,
    gives them after the turn, or seldom, is not left for it, not even in the first sentence."""
    call = Call(*[FakeSTT(behavior, interim_results=True, provider=p) for p in ("One", "Two")])
    for _ in range(2):
        played = await call.play(LONG)
        assert (played.score.lost, played.score.twice) == (0, 0)
    assert call.reported == []


@pytest.mark.parametrize("shown", [0.5, 1.0])
async def test_who_has_shown_interims_is_left_soon(shown: float) -> None:
    """What one call has shown holds for the next, also of another object in this process."""
    works = gives_interims(every=shown)
    for deaf_after, failures in ((1e9, []), (0.0, ["fake stalled"])):
        deaf = FakeSTT(gives_interims(every=shown, deaf_after=deaf_after), interim_results=True)
        deaf._api_key = "key"  # type: ignore[attr-defined]
        call = Call(deaf, FakeSTT(works, interim_results=True, provider="Two"))
        played = await call.play(LONG)
        assert (played.score.lost, played.score.twice) == (0, 0)
        assert call.failures[:1] == failures
    first = next(at for at, event in played.events if event.alternatives)
    assert first < LONG.words[0].start + 3.5


@pytest.mark.parametrize("name", ["soniox", "elevenlabs", "openai"])
async def test_streams_that_never_end(name: str, session: None) -> None:
    """Who has left a stream open once is not waited for again when all words are told."""
    async with fake_of(name) as server, FakeDeepgram() as fallback:
        ends = []
        for _ in range(2):
            call = Call(server.stt(), fallback.stt())
            began = asyncio.get_running_loop().time()
            played = await call.play()
            ends.append(asyncio.get_running_loop().time() - began - played.speech.duration)
            assert (played.score.lost, played.score.twice) == (0, 0)
        assert ends[1] < 1.2
        assert ends[1] < ends[0]


async def test_a_buffer_over_a_stream_that_never_ends(session: None) -> None:
    """Its finals count after some silence: no other provider is asked for them."""
    async with fake_of("soniox") as server, FakeDeepgram() as fallback:
        call = Call(server.stt(), fallback.stt())
        began = asyncio.get_running_loop().time()
        answer = await call.stt.recognize([*THREE_SENTENCES.frames()])
        took = asyncio.get_running_loop().time() - began
        said = answer.alternatives[0].text.split()
        assert len(said) == len(THREE_SENTENCES.words)
        assert fallback.connections == []
        assert call.reported == []
        assert took < THREE_SENTENCES.duration / 1.25 + 3.5


@pytest.mark.parametrize("name", ["assemblyai", "gladia", "soniox"])
async def test_a_handshake_that_hangs_though_the_plugin_has_no_limit(
    name: str, session: None
) -> None:
    """A plugin that takes no audio is not connected: the next provider serves after 2 s."""
    async with fake_of(name, Hang()) as server, FakeDeepgram() as fallback:
        call = Call(server.stt(), fallback.stt())
        played = await call.play()
        assert (played.score.lost, played.score.twice) == (0, 0)
        assert call.failures[0].endswith(" connect")
        first = next(at for at, event in played.events if event.alternatives)
        assert first < 2.6


@pytest.mark.parametrize("name", ["assemblyai", "gladia"])
async def test_a_hanging_handshake_ends_no_outage(name: str, session: None) -> None:
    """While the caller is silent, an open connection ends an outage, and this one is not open."""
    async with fake_of(name, Refuse(connections={0}), Hang(connections={1, 2, 3})) as server:
        call = Call(server.stt())
        ended: list[float] = []
        loop = asyncio.get_running_loop()
        began = loop.time()
        call.stt.on("outage_ended", lambda _: ended.append(loop.time() - began))
        stream = call.stt.stream()
        for frame in frames(12.0):
            stream.push_frame(frame)
            await asyncio.sleep(frame.duration)
        (at,) = ended
        assert len(server.connections) >= 4
        assert at > 2.5
        await stream.aclose()


@has_keyterms
@pytest.mark.parametrize("at", [0.7, 2.3, 5.1])
@pytest.mark.parametrize("name", ["assemblyai", "flux", "inference", "openai", "deepgram"])
async def test_keyterms_that_a_plugin_applies_live(name: str, at: float, session: None) -> None:
    """Only a connection whose plugin would reconnect is opened anew, as Deepgram's."""
    async with fake_of(name) as server, FakeDeepgram() as fallback:
        call = Call(server.stt(), fallback.stt())
        set_keyterms = functools.partial(call.stt._update_session_keyterms, ["Santos"])
        asyncio.get_running_loop().call_later(at, set_keyterms)
        played = await call.play()
        assert (played.score.lost, played.score.twice) == (0, 0)
        assert call.failures == []
        assert len(server.connections) == (2 if name == "deepgram" else 1)


@pytest.mark.parametrize("name", ["sarvam", "odd"])
async def test_a_language_that_a_plugin_does_not_take(name: str, session: None) -> None:
    """It is told once, with what to do; the provider is as healthy as before for another one."""
    async with fake_of("sarvam") as server:
        provider = server.stt() if name == "sarvam" else Picky(transcribes())
        fallback = FakeSTT(transcribes(), provider="Two")
        call = Call(provider, fallback, language="hi")
        for _ in range(3):
            played = await call.play()
            assert (played.score.lost, played.score.twice) == (0, 0)
        (failure, *switched) = call.reported
        assert [type(event) for event in switched] == [Switched]
        assert isinstance(failure, ProviderFailed)
        assert failure.reason == "bad_request"
        assert failure.advice.startswith("leave ")
        assert call.unavailable == []
        call.stt.update_options(language="en-IN")
        before = len(fallback.streams)
        assert (await call.play()).score.lost == 0
        assert len(fallback.streams) == before


class Picky(FakeSTT):
    """Its stream raises for a language, once it runs."""

    def __init__(self, behavior: Behavior) -> None:
        async def behave(stream: FakeStream) -> None:
            if stream.language == "hi":
                raise ValueError("unknown language: hi")
            await behavior(stream)

        super().__init__(behave)


async def test_a_batch_provider_has_time_for_an_utterance() -> None:
    """Some apply `timeout` to all of a `recognize()`: 1.5 s, as for a handshake, are few."""
    provider = FakeSTT(text="hello", streaming=False, delay=1.0)
    played = await Call(provider, vad=a_vad()).play()
    assert played.finals
    (timeout,) = {options.timeout for options in provider.recognized}
    assert timeout == RetryPolicy().utterance_timeout


async def test_a_plugin_that_loses_patience_at_the_end() -> None:
    """Sarvam's waits for the end of its stream as long as for a handshake, and then raises."""

    async def impatient(stream: FakeStream) -> None:
        await transcribes()(stream)
        await asyncio.sleep(1.5)
        raise APITimeoutError

    call = Call(FakeSTT(impatient), FakeSTT(transcribes(), provider="Two"))
    played = await call.play()
    assert (played.score.lost, played.score.twice) == (0, 0)
    assert call.reported == []


@pytest.mark.parametrize("words", [False, True])
async def test_a_batch_plugin_that_raises_for_what_it_cannot_read(words: bool) -> None:
    """Clova's raises a `ValueError` for noise. It has failed only if another one finds words."""
    clova = FakeSTT(error=ValueError("confidence"), streaming=False)
    other = FakeSTT(transcribes() if words else FakeStream.listen, provider="Two")
    call = Call(clova, other, vad=a_vad())
    await call.play(THREE_SENTENCES)
    assert len(clova.recognized) >= 1
    assert not [failure for failure in call.failures if failure.endswith("protocol")]
    assert ("fake stalled" in call.failures) is words


async def test_a_batch_plugin_whose_server_answers_garbage_has_failed() -> None:
    """What is raised for the answer of a server is no noise."""
    broken = FakeSTT(error=json.JSONDecodeError("no", "", 0), streaming=False)
    call = Call(broken, FakeSTT(transcribes(), provider="Two"), vad=a_vad())
    played = await call.play(THREE_SENTENCES)
    assert call.failures[:1] == ["fake protocol"]
    assert (played.score.lost, played.score.twice) == (0, 0)


async def test_finals_that_are_empty_by_design() -> None:
    """LiveKit's `MultiSpeakerAdapter` empties those of background speakers: where another provider
    hears no words either, nobody has failed."""

    async def suppresses(stream: FakeStream) -> None:
        recognizer, heard = AudioRecognizer(), 0
        async for frame in stream.received():
            if frame is not None:
                heard += len(recognizer.feed(bytes(frame.data.cast("B"))))
            if heard and recognizer.silence >= 0.3:
                stream.final("")
                heard = 0

    call = Call(FakeSTT(suppresses), FakeSTT(provider="Two"))
    await call.play(LONG)
    assert call.failures == []
    assert call.unavailable == []


async def test_who_is_deaf_from_the_start_is_left_in_the_first_sentences() -> None:
    """Of a plugin that we do not know, and that has never given any text in this process."""
    deaf = FakeSTT(gives_interims(deaf_after=0.0), interim_results=True)
    call = Call(deaf, FakeSTT(gives_interims(), interim_results=True, provider="Two"))
    played = await call.play(LONG)
    assert (played.score.lost, played.score.twice) == (0, 0)
    first = next(at for at, event in played.events if event.alternatives)
    assert first < 12.0


@pytest.mark.parametrize("name", ["gladia", "openai", "soniox"])
async def test_a_caller_who_hangs_up_in_mid_sentence(name: str, session: None) -> None:
    """These plugins make no final of the last words at the end of the input, but in silence: so
    they are sent some, and nobody else is asked. Alone they lose the words."""
    speech = speech_of(25)
    async with fake_of(name) as server, FakeDeepgram() as other:
        bare = server.stt()
        alone = await play(bare, speech, patience=8.0)
        await bare.aclose()
        assert alone.score.lost
        call = Call(server.stt(), other.stt())
        played = await call.play(speech)
        await call.stt.aclose()
        assert played.score.ok, str(played.score)
        assert not call.failures
        assert not other.connections


async def test_a_late_final_of_sarvam_ends_where_it_was_spoken(session: None) -> None:
    """The plugin takes for its end what it had sent when the end of speech was told. That is in the
    next sentence if the server is late, and of that sentence nothing is lost."""
    late = Latency(3.0, at_time=4.2, until=10.2)
    async with fake_of("sarvam", late) as server:
        call = Call(server.stt())
        played = await call.play(ReferenceSpeech.load("english").excerpt(1, 3).padded(1.0))
        await call.stt.aclose()
        assert played.score.ok, str(played.score)
        assert not call.failures
