"""In LiveKit's own AgentSession: the chat history contains the user's words once."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, Literal

import pytest
from livekit import rtc
from livekit.agents import Agent, AgentSession, APIConnectOptions, ErrorEvent, inference, llm
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN
from livekit.agents.voice import io

from resilient_stt import Policies, RetryPolicy
from resilient_stt.testing.faults import Drop, Fault, Hang, Refuse, from_
from resilient_stt.testing.speech.reference import ReferenceSpeech, plain

from .support.fakes import a_vad, arena

EXAMPLE = Path(__file__).parent.parent / "examples" / "agent.py"
SPEECH = ReferenceSpeech.load("english").excerpt(0, 3)
CUT = Drop(at_word=9, part=0.5, connections={0})


class Answers(llm.LLM[str]):
    """A language model that always gives the same answer."""

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        **_: Any,
    ) -> llm.LLMStream:
        return Answer(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class Answer(llm.LLMStream):
    async def _run(self) -> None:
        delta = llm.ChoiceDelta(role="assistant", content="Very well.")
        self._event_ch.send_nowait(llm.ChatChunk(id="answer", delta=delta))


class Microphone(io.AudioInput):
    """Plays a recording in real time, then nothing more."""

    def __init__(self, speech: ReferenceSpeech, sample_rate: int = 24_000) -> None:
        super().__init__(label="recording")
        self.finished = asyncio.Event()
        self.began = 0.0
        """When the first frame began, on the loop's clock."""
        self._frames = self._heard(speech, sample_rate)

    async def _heard(
        self, speech: ReferenceSpeech, sample_rate: int
    ) -> AsyncIterator[rtc.AudioFrame]:
        loop = asyncio.get_running_loop()
        due = self.began = loop.time()
        for frame in speech.frames(sample_rate=sample_rate, frame_duration=0.05):
            due += frame.duration
            await asyncio.sleep(due - loop.time())
            yield frame
        self.finished.set()
        await asyncio.Event().wait()

    async def __anext__(self) -> rtc.AudioFrame:
        return await anext(self._frames)


async def user_words(
    cartesia: Iterable[Fault],
    deepgram: Iterable[Fault],
    turns: Literal["stt", "vad"],
    *,
    clear_at: float | None = None,
    policies: Policies | None = None,
) -> list[str]:
    """The user's words in the chat history after a call with these faults."""
    async with arena(cartesia, deepgram, policies=policies) as a:
        session: AgentSession[None] = AgentSession(
            stt=a.stt,
            llm=Answers(),
            vad=NOT_GIVEN if hasattr(inference, "VAD") else a_vad(),  # a session's own by default
            turn_handling={"turn_detection": turns},
        )
        errors: list[ErrorEvent] = []
        session.on("error", errors.append)
        microphone = Microphone(SPEECH.padded(3.0))
        session.input.audio = microphone
        await session.start(Agent(instructions="Listen."))
        if clear_at is not None:
            await asyncio.sleep(clear_at)
            session.clear_user_turn()
        await microphone.finished.wait()
        await asyncio.sleep(2.0)
        said = [m.text_content or "" for m in session.history.messages() if m.role == "user"]
        await session.aclose()
        fatal = [e for e in errors if not getattr(e.error, "recoverable", True)]
        assert len(fatal) == (policies is not None)
        return [plain(word) for text in said for word in text.split()]


@pytest.mark.sweep
@pytest.mark.stt_virtual_time
@pytest.mark.parametrize("turns", ["stt", "vad"])
@pytest.mark.parametrize(
    ("cartesia", "deepgram"),
    [
        ([], []),
        ([CUT], []),
        ([CUT, Refuse(connections=from_(1))], []),
        ([Hang()], []),
        ([CUT], [Refuse(at_time=0, until=6)]),
        ([Refuse()], [Drop(1011, at_word=9, part=0.5, connections={0})]),
    ],
    ids=["healthy", "cut", "cut for good", "hang", "cut, fallback down for 6 s", "fallback cut"],
)
async def test_history_has_every_word_once(
    cartesia: list[Fault], deepgram: list[Fault], turns: Literal["stt", "vad"]
) -> None:
    """A provider cut in the middle of a sentence leaves no trace in what the LLM gets."""
    said = await user_words(cartesia, deepgram, turns)
    assert said == [plain(word.text) for word in SPEECH.words]


@pytest.mark.stt_virtual_time
@pytest.mark.parametrize("faults", [[], [Refuse()]], ids=["healthy", "refused"])
async def test_a_cleared_turn_opens_a_new_stream(faults: list[Fault]) -> None:
    """After `clear_user_turn()` the session's next stream transcribes what follows."""
    said = await user_words(faults, [], "stt", clear_at=SPEECH.words[12].end + 0.05)
    assert said == [plain(word.text) for word in SPEECH.words[13:]]


@pytest.mark.skipif(
    "_stt_error_counts" not in inspect.getsource(AgentSession),
    reason="this LiveKit (1.5.15) closes a session at the first error of its STT",
)
@pytest.mark.stt_virtual_time
@pytest.mark.parametrize("turns", ["stt", "vad"])
async def test_the_session_opens_another_stream(turns: Literal["stt", "vad"]) -> None:
    """After a stream gave up, the session's next one has what was said meanwhile."""
    retry = RetryPolicy(outage_limit=3.0)
    since = SPEECH.words[13].end
    outage: list[Fault] = [
        Drop(at_word=14, part=0.5, connections={0}),
        Refuse(at_time=since - 0.3, until=since + 3.8),
    ]
    said = await user_words(outage, outage, turns, policies=Policies(retry=retry))
    assert said == [plain(word.text) for word in SPEECH.words]


async def test_the_example_is_an_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """`examples/agent.py` can be imported without keys and registers an entrypoint."""
    for name in ("CARTESIA_API_KEY", "DEEPGRAM_API_KEY", "LIVEKIT_URL", "LIVEKIT_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    spec = importlib.util.spec_from_file_location("example_agent", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.server._entrypoint_fnc is module.entrypoint
