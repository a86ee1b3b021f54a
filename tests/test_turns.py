"""In LiveKit's own AgentSession: turns follow the caller, whichever provider reports them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp
import pytest
from livekit.agents import Agent, AgentSession, inference, stt
from livekit.agents.stt import SpeechEventType
from livekit.agents.types import NOT_GIVEN, APIConnectOptions, NotGivenOr
from livekit.agents.utils import AudioBuffer, combine_frames

from resilient_stt import ResilientSTT
from resilient_stt.testing.fakes.cartesia import FakeCartesia
from resilient_stt.testing.fakes.deepgram import FakeDeepgram
from resilient_stt.testing.faults import Drop, Fault, Hang, Refuse, from_
from resilient_stt.testing.speech.recognizer import AudioRecognizer
from resilient_stt.testing.speech.reference import ReferenceSpeech

from .support.fakes import FakeStream, FakeSTT, a_vad, stt_error, transcribes
from .test_agent_session import Answers, Microphone

pytestmark = pytest.mark.stt_virtual_time


@pytest.fixture(autouse=True)
async def wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiveKit counts on the wall clock, which has to go as fast as the loop's."""
    monkeypatch.setattr(time, "time", asyncio.get_running_loop().time)


Turns = Literal["stt", "vad", "manual"]
SPEECH = ReferenceSpeech.load("english").excerpt(0, 3)
SENTENCES = [" ".join(SPEECH.words[i].text for i in s) for s in SPEECH.sentences]


@dataclass
class Session:
    """What the agent of one call got."""

    session: AgentSession[None]
    microphone: Microphone
    said: list[str] = field(default_factory=list)
    """The user's messages."""
    listening: list[float] = field(default_factory=list)
    """Seconds of the call at which the user was thought to have stopped speaking."""

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time() - self.microphone.began


@asynccontextmanager
async def calls(
    resilient: ResilientSTT, turns: Turns, speech: ReferenceSpeech = SPEECH
) -> AsyncIterator[Session]:
    """A call in which the speech is played, at the rate that the in-process fakes know."""
    session: AgentSession[None] = AgentSession(
        stt=resilient,
        llm=Answers(),
        vad=NOT_GIVEN if hasattr(inference, "VAD") else a_vad(),
        turn_handling={"turn_detection": turns},
    )
    call = Session(session, Microphone(speech.padded(3.0), sample_rate=16_000))
    session.input.audio = call.microphone

    def on_item(event: Any) -> None:
        if getattr(event.item, "role", "") == "user":  # it may be a handoff
            call.said.append(event.item.text_content)

    def on_state(event: Any) -> None:
        if event.new_state == "listening":
            call.listening.append(call.now)

    session.on("conversation_item_added", on_item)
    session.on("user_state_changed", on_state)
    await session.start(Agent(instructions="Listen."))
    try:
        yield call
    finally:
        await session.aclose()
        await resilient.aclose()


async def listen(
    providers: Iterable[stt.STT[Any]], turns: Turns, speech: ReferenceSpeech = SPEECH
) -> Session:
    """Play the whole speech to an agent."""
    async with calls(ResilientSTT(list(providers)), turns, speech) as call:
        await call.microphone.finished.wait()
        await asyncio.sleep(2.0)
    return call


class BatchSTT(FakeSTT):
    """Recognizes the reference speech in a buffer."""

    def __init__(self) -> None:
        super().__init__(streaming=False)

    async def _recognize_impl(
        self,
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        recognizer = AudioRecognizer()
        words = [*recognizer.feed(bytes(combine_frames(buffer).data.cast("B")))]
        self.text = " ".join(w.text for w in [*words, *recognizer.finish()])
        return await super()._recognize_impl(buffer, conn_options=conn_options)


Make = Callable[[FakeDeepgram, FakeCartesia, aiohttp.ClientSession], stt.STT[Any]]

FALLBACKS: dict[str, Make] = {
    "reports turns": lambda d, _, http: d.stt(http_session=http),
    "ends every final": lambda _, c, http: c.stt(http_session=http),
    "in a StreamAdapter": lambda *_: stt.StreamAdapter(stt=BatchSTT(), vad=a_vad()),
    "reports no turns": lambda *_: FakeSTT(transcribes()),
}


def in_a_sentence(at: float) -> bool:
    """Whether somebody speaks then: between the first and the last word of a sentence."""
    spans = [(SPEECH.words[s[0]].start, SPEECH.words[s[-1]].end) for s in SPEECH.sentences]
    return any(start < at < end for start, end in spans)


@pytest.mark.parametrize("word", [None, 3, 9, 15, 18, 24])
@pytest.mark.parametrize("fallback", FALLBACKS)
async def test_nobody_stops_speaking_in_a_switch(fallback: str, word: int | None) -> None:
    """A switch in a sentence leaves the turn alone, whatever the fallback reports of a replay."""
    faults: list[Fault] = []
    if word is not None:
        faults = [Drop(at_word=word, part=0.5, connections={0}), Refuse(connections=from_(1))]
    async with (
        FakeDeepgram(faults=faults) as first,
        FakeDeepgram() as deepgram,
        FakeCartesia() as cartesia,
        aiohttp.ClientSession() as http,
    ):
        spare = FALLBACKS[fallback](deepgram, cartesia, http)
        call = await listen([first.stt(http_session=http), spare], "stt")
    assert [at for at in call.listening if in_a_sentence(at)] == []
    if fallback != "in a StreamAdapter":  # its VAD cuts words where there is hardly a pause
        assert " ".join(call.said).split() == " ".join(SENTENCES).split()
    assert len(call.said) >= 2


@pytest.mark.parametrize("turns", ["stt", "vad"])
@pytest.mark.parametrize("afterwards", [[], [Hang(connections=from_(1))]], ids=["drop", "hang"])
@pytest.mark.parametrize("word", [3, 9, 18])
async def test_no_half_sentence_of_a_dying_plugin(
    word: int, afterwards: list[Fault], turns: Turns
) -> None:
    """What ink-2's plugin makes up when its socket dies is no turn: nobody answers half of one."""
    faults = [Drop(at_word=word, part=0.5, connections={0}), *afterwards]
    async with (
        FakeCartesia(faults=faults) as cartesia,
        FakeDeepgram() as deepgram,
        aiohttp.ClientSession() as http,
    ):
        first = cartesia.stt(http_session=http, model="ink-2")
        call = await listen([first, deepgram.stt(http_session=http)], turns)
    for said in call.said:
        assert said.strip().endswith((".", "?")), call.said
    assert " ".join(call.said).split() == " ".join(SENTENCES).split()


@pytest.mark.parametrize("dies_at", [0.0, 4.0])
async def test_every_turn_of_a_provider_that_reports_none(dies_at: float) -> None:
    """Finals alone are enough for turns, from the first one on and after a switch."""
    providers: list[stt.STT[Any]] = [FakeSTT(transcribes())]
    if dies_at:
        providers.insert(0, FakeSTT(transcribes(until=dies_at)))
    call = await listen(providers, "stt")
    assert " ".join(call.said).split() == " ".join(SENTENCES).split()
    assert len(call.said) == 2  # the other pauses are shorter than `end_of_speech_silence`
    assert [at for at in call.listening if in_a_sentence(at)] == []


@pytest.mark.parametrize("dies", [False, True])
async def test_a_flush_is_answered_without_words(dies: bool) -> None:
    """`commit_user_turn()` waits for no more than the provider's answer, empty or not; if the
    provider dies instead of answering, for no more than a switch."""

    async def behave(stream: FakeStream) -> None:
        async for frame in stream.received():
            if frame is None:
                await asyncio.sleep(0.1)
                stream.say(SpeechEventType.FINAL_TRANSCRIPT, "")

    async def dies_of_it(stream: FakeStream) -> None:
        async for frame in stream.received():
            if frame is None:
                raise stt_error()

    providers = [FakeSTT(b, manual_flush=True) for b in [dies_of_it] * dies + [behave]]
    async with calls(ResilientSTT(providers), "manual") as call:
        await asyncio.sleep(0.2)
        began = call.now
        await call.session.commit_user_turn(transcript_timeout=2.0, skip_reply=True)
        assert call.now - began < 0.3
