"""The real plugins over real sockets, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import aiohttp
import pytest
from livekit.agents import APIConnectOptions, APIStatusError, stt

from resilient_stt.testing.fakes.cartesia import FakeCartesia
from resilient_stt.testing.fakes.deepgram import FakeDeepgram
from resilient_stt.testing.faults import Fault
from resilient_stt.testing.speech.reference import ReferenceSpeech

START, END = stt.SpeechEventType.START_OF_SPEECH, stt.SpeechEventType.END_OF_SPEECH
FINAL = stt.SpeechEventType.FINAL_TRANSCRIPT
INTERIM = stt.SpeechEventType.INTERIM_TRANSCRIPT

ENGLISH = ReferenceSpeech.load("english")
SHORT = ENGLISH.excerpt(0, 1)  # "Hello ... Heron. It is for Thursday evening, ... four."
FIRST_SENTENCE = ENGLISH.sentences[0]
IN_SECOND = ENGLISH.sentences[1][3]  # a word of the second sentence
CONNECT = APIConnectOptions(max_retry=0, timeout=1.5)

both = pytest.mark.parametrize("provider", [FakeCartesia, FakeDeepgram])
Server = FakeCartesia | FakeDeepgram
Provider = type[FakeCartesia] | type[FakeDeepgram]


@dataclass
class StreamResult:
    """The events of a plugin's stream, with their times since its start, and how it ended."""

    events: list[tuple[float, stt.SpeechEvent]] = field(default_factory=list)
    error: Exception | None = None
    ended: float = 0.0
    hung: bool = False  # it was given up

    def finals(self) -> list[stt.SpeechData]:
        return [e.alternatives[0] for _, e in self.events if e.type is FINAL]

    def words(self) -> list[str]:
        return [word for final in self.finals() for word in final.text.split()]

    def balance(self) -> list[stt.SpeechEventType]:
        return [event.type for _, event in self.events if event.type in (START, END)]

    def status(self) -> APIStatusError:
        assert isinstance(self.error, APIStatusError)
        return self.error


async def push(stream: stt.RecognizeStream, speech: ReferenceSpeech) -> None:
    """Push speech at the pace of speech, until the stream has ended."""
    for frame in speech.frames():
        try:
            stream.push_frame(frame)
        except RuntimeError:  # the stream has ended
            return
        await asyncio.sleep(frame.duration)
    stream.end_input()


async def listen(
    server: Server,
    speech: ReferenceSpeech = SHORT,
    *,
    patience: float | None = None,
    **options: object,
) -> StreamResult:
    """Transcribe with the real plugin over a real socket, for `patience` seconds at most."""
    loop = asyncio.get_running_loop()
    outcome, begin = StreamResult(), loop.time()
    async with aiohttp.ClientSession() as session:
        plugin = server.stt(http_session=session, **options)
        async with plugin.stream(conn_options=CONNECT) as stream:
            pusher = asyncio.create_task(push(stream, speech))
            try:
                async with asyncio.timeout(patience):
                    async for event in stream:
                        outcome.events.append((loop.time() - begin, event))
            except TimeoutError:
                outcome.hung = True
            except Exception as error:  # any exception of the plugin
                outcome.error = error
            outcome.ended = loop.time() - begin
            pusher.cancel()
            await asyncio.gather(pusher, return_exceptions=True)
    return outcome


@asynccontextmanager
async def nothing_left_behind() -> AsyncIterator[None]:
    """Check that every task that was started inside has ended afterwards."""
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(1)  # for closing sockets
    assert asyncio.all_tasks() <= before


async def run_stream(
    provider: Provider,
    faults: Iterable[Fault],
    speech: ReferenceSpeech = SHORT,
    *,
    patience: float | None = None,
) -> tuple[StreamResult, Server]:
    """Transcribe with the plugin and these faults. Return the result, and the server with its
    log."""
    async with nothing_left_behind(), provider(faults=faults) as server:
        return await listen(server, speech, patience=patience), server


def texts(words: Iterable[int]) -> list[str]:
    """The texts of words of the recording."""
    return [ENGLISH.words[index].text for index in words]


def cut_after(word: int) -> ReferenceSpeech:
    """The recording up to the end of a word."""
    end = round(ENGLISH.words[word].end * 16_000)
    return replace(ENGLISH, samples=ENGLISH.samples[:end], words=ENGLISH.words[: word + 1])
