from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from resilient_stt.testing.fakes.deepgram import FakeDeepgram
from resilient_stt.testing.faults import Status
from resilient_stt.testing.speech.reference import ReferenceSpeech

from ...support.streams import END, SHORT, START, listen

pytestmark = pytest.mark.stt_virtual_time

ENGLISH = ReferenceSpeech.load("english")
QUERY = {
    "model": "nova-3",
    "punctuate": "true",
    "interim_results": "true",
    "vad_events": "true",
    "encoding": "linear16",
    "sample_rate": "16000",
    "channels": "1",
    "endpointing": "25",
    "language": "en-US",
}
HEADERS = {"Authorization": "Token key"}
BYTES_PER_SECOND = 32_000
BLOCK = 1_600  # the plugin's 50 ms
SENTENCE = ENGLISH.sentences[0]
PAUSE = ENGLISH.words[SENTENCE[-1]].end + 0.5


class Client:
    """A bare websocket client of Deepgram's protocol that keeps all messages."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.received: list[dict[str, Any]] = []
        self.close_code: int | None = None

    async def hear(self, start: float, end: float, speech: ReferenceSpeech = ENGLISH) -> None:
        """Send the recording between two times, at the pace of speech."""
        pcm = speech.samples.tobytes()
        begin, stop = (round(at * 16_000) * 2 for at in (start, end))
        for at in range(begin, stop, BLOCK):
            block = pcm[at : min(at + BLOCK, stop)]
            await self.socket.send_bytes(block)
            await asyncio.sleep(len(block) / BYTES_PER_SECOND)

    async def tell(self, kind: str) -> None:
        await self.socket.send_str(json.dumps({"type": kind}))
        await asyncio.sleep(0.5)

    async def receive(self) -> None:
        async for message in self.socket:
            self.received.append(message.json())
        self.close_code = self.socket.close_code

    def results(self, **flags: bool) -> list[dict[str, Any]]:
        """The received Results that have these flags."""
        messages = [m for m in self.received if m["type"] == "Results"]
        return [m for m in messages if all(m[name] is flag for name, flag in flags.items())]

    def texts(self, **flags: bool) -> list[str]:
        return [text_of(message) for message in self.results(**flags)]


def text_of(message: dict[str, Any]) -> str:
    return str(message["channel"]["alternatives"][0]["transcript"])


@asynccontextmanager
async def connected(server: FakeDeepgram, **query: str) -> AsyncIterator[Client]:
    async with (
        aiohttp.ClientSession(headers=HEADERS) as session,
        session.ws_connect(server.url, params={**QUERY, **query}) as socket,
    ):
        client = Client(socket)
        receiving = asyncio.create_task(client.receive())
        try:
            yield client
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)


async def heard(start: float, end: float, **query: str) -> Client:
    """Send a part of the recording, and wait for a second."""
    async with FakeDeepgram() as server, connected(server, **query) as client:
        await client.hear(start, end)
        await asyncio.sleep(1)
    return client


async def test_a_sentence_ends_in_a_speech_final() -> None:
    """A sentence gives SpeechStarted, interims, and finals of which the last is `speech_final`."""
    client = await heard(0, PAUSE)
    kinds = [message["type"] for message in client.received]
    assert kinds.count("SpeechStarted") == 1
    assert " ".join(client.texts(is_final=True)).strip() == " ".join(
        ENGLISH.words[index].text for index in SENTENCE
    )
    assert [m["speech_final"] for m in client.results(is_final=True)] == [False, True]
    started = next(m for m in client.received if m["type"] == "SpeechStarted")
    assert started["timestamp"] == pytest.approx(ENGLISH.words[0].start, abs=0.02)


async def test_results_have_all_their_fields() -> None:
    """A Results has the words in both forms, their times and confidence, and the model."""
    client = await heard(0, PAUSE)
    message = client.results(is_final=True)[0]
    assert set(message) == {
        "type", "channel_index", "start", "duration", "is_final", "speech_final",
        "from_finalize", "channel", "metadata",
    }  # fmt: skip
    assert message["start"] == 0
    assert message["metadata"]["request_id"]
    (alternative,) = message["channel"]["alternatives"]
    first = alternative["words"][0]
    assert (first["word"], first["punctuated_word"]) == ("hello", "Hello,")
    assert first["start"] == pytest.approx(ENGLISH.words[0].start, abs=0.02)
    assert 0.9 < alternative["confidence"] <= 1
    assert "languages" not in alternative


async def test_results_follow_each_other_without_gaps() -> None:
    """Each final begins where the last one ended."""
    client = await heard(0, 12)
    finals = client.results(is_final=True)
    assert len(finals) > 4
    for one, other in pairwise(finals):
        assert one["start"] + one["duration"] == pytest.approx(other["start"], abs=0.002)


async def test_interims_grow_about_once_a_second() -> None:
    """Interims have the pending words and those that came since."""
    client = await heard(0, 4)
    interims = client.texts(is_final=False)
    assert 2 <= len(interims) <= 4
    for one, other in pairwise(interims):
        assert other.startswith(one)


async def test_long_speech_becomes_final_in_between() -> None:
    """After about 4 s of speech, its words become final at a word's end, without `speech_final`."""
    client = await heard(0, PAUSE)
    first = client.results(is_final=True)[0]
    assert first["speech_final"] is False
    words = first["channel"]["alternatives"][0]["words"]
    assert 3.5 < words[-1]["end"] - words[0]["start"] < 5
    assert first["start"] + first["duration"] == pytest.approx(words[-1]["end"], abs=0.03)


async def test_silence_gives_empty_results_once_a_second() -> None:
    """In audio without speech, an empty final comes about once a second."""
    silence = ENGLISH.padded(10)
    async with FakeDeepgram() as server, connected(server) as client:
        await client.hear(ENGLISH.duration, silence.duration, silence)
        await asyncio.sleep(0.5)
    assert client.texts(is_final=True) == [""] * 9 or client.texts(is_final=True) == [""] * 10


@pytest.mark.parametrize(
    ("query", "absent"),
    [({"interim_results": "false"}, "interims"), ({"vad_events": "false"}, "SpeechStarted")],
)
async def test_messages_that_were_not_asked_for_do_not_come(
    query: dict[str, str], absent: str
) -> None:
    """Interims and SpeechStarted only come if the query asks for them."""
    client = await heard(0, PAUSE, **query)
    present = {message["type"] for message in client.received}
    if client.results(is_final=False):
        present.add("interims")
    assert absent not in present
    assert "Results" in present


async def test_without_endpointing_speech_never_ends() -> None:
    """With `endpointing=false`, no Results is `speech_final`."""
    client = await heard(0, PAUSE, endpointing="false")
    assert client.results(is_final=True)
    assert not client.results(speech_final=True)


async def test_utterance_end_comes_after_the_silence_asked_for() -> None:
    """UtteranceEnd comes once per utterance, with the end of its last word, if the query asks for
    it."""
    for query in ({}, {"utterance_end_ms": "700"}):
        client = await heard(0, 11.6, **query)  # the third utterance follows the second too soon
        ends = [message for message in client.received if message["type"] == "UtteranceEnd"]
        assert len(ends) == (2 if query else 0)
    first, second = (ENGLISH.words[sentence[-1]].end for sentence in ENGLISH.sentences[:3:2])
    assert ends[0]["last_word_end"] == pytest.approx(first, abs=0.02)
    assert ends[1]["last_word_end"] == pytest.approx(second, abs=0.02)


async def test_utterance_end_ends_speech_in_the_plugin() -> None:
    """Without endpointing, UtteranceEnd is the plugin's only end of speech."""
    async with FakeDeepgram() as server:
        speech = SHORT.padded(2)
        outcome = await listen(server, speech, endpointing_ms=0, utterance_end_ms=1000)
    assert outcome.balance() == [START, END]
    ended = next(at for at, event in outcome.events if event.type is END)
    assert ended == pytest.approx(SHORT.words[-1].end + 1.15, abs=0.1)


async def test_without_punctuation_words_are_bare() -> None:
    """With `punctuate=false`, the transcript is in lower case, and words have one form."""
    client = await heard(0, PAUSE, punctuate="false")
    message = client.results(is_final=True)[0]
    assert text_of(message).startswith("hello this is miguel")
    assert "punctuated_word" not in message["channel"]["alternatives"][0]["words"][0]


@pytest.mark.parametrize("ends_speech", [False, True])
async def test_finalize_gives_the_pending_words(ends_speech: bool) -> None:
    """The response to Finalize is marked as such; an option decides whether it ends speech."""
    async with (
        FakeDeepgram(finalize_ends_speech=ends_speech) as server,
        connected(server) as client,
    ):
        await client.hear(0, ENGLISH.words[2].end)
        await client.tell("Finalize")
        (answer,) = client.results(from_finalize=True)
    assert text_of(answer) == "Hello, this is"
    assert (answer["is_final"], answer["speech_final"]) == (True, ends_speech)


async def test_finalize_within_a_word_makes_an_unsure_fragment() -> None:
    """A word that was received in part comes as a wrong word with less confidence."""
    word = ENGLISH.words[8]
    async with FakeDeepgram() as server, connected(server) as client:
        await client.hear(word.start - 0.05, (word.start + word.end) / 2)
        await client.tell("Finalize")
        (answer,) = client.results(from_finalize=True)
    fragment = answer["channel"]["alternatives"][0]["words"][-1]
    assert fragment["punctuated_word"] != word.text
    assert fragment["confidence"] < 0.9


async def test_close_stream_gives_the_rest_then_metadata_then_1000() -> None:
    """After CloseStream come a transcript of the rest, Metadata, and a close frame."""
    async with FakeDeepgram() as server, connected(server) as client:
        await client.hear(0, ENGLISH.words[2].end)
        await client.tell("CloseStream")
    assert client.texts(is_final=True) == ["Hello, this is"]
    metadata = client.received[-1]
    assert metadata["type"] == "Metadata"
    assert metadata["duration"] == pytest.approx(ENGLISH.words[2].end, abs=0.002)
    assert client.close_code == 1000


async def test_keepalive_and_unknown_texts_get_no_response() -> None:
    """KeepAlive, unknown messages and invalid JSON get no response."""
    async with FakeDeepgram() as server, connected(server) as client:
        for text in ('{"type": "KeepAlive"}', '{"type": "Sing"}', "not json", "[1]"):
            await client.socket.send_str(text)
        await asyncio.sleep(2)
        assert client.received == []
        assert len(server.connections[0].texts) == 4
        assert server.connections[0].ended is None


async def test_multi_reports_the_language_spoken() -> None:
    """With `language=multi`, alternatives and words have the language that was spoken."""
    spanish = ReferenceSpeech.load("spanish")
    async with FakeDeepgram() as server, connected(server, language="multi") as client:
        await client.hear(0, 4, spanish)
        await client.tell("Finalize")
    spoken = [m["channel"]["alternatives"][0] for m in client.results(is_final=True)]
    spoken = [alternative for alternative in spoken if alternative["words"]]
    assert spoken
    assert all(alternative["languages"] == ["es"] for alternative in spoken)
    assert all(word["language"] == "es" for a in spoken for word in a["words"])


async def test_everything_comes_after_the_latency() -> None:
    """The option `latency` delays each message by exactly that much."""
    loop = asyncio.get_running_loop()
    for latency in (0.15, 0.4):
        async with FakeDeepgram(latency=latency) as server, connected(server) as client:
            await client.hear(0, ENGLISH.words[0].end)
            asked = loop.time()
            await client.tell("Finalize")
            at = server.connections[0].sent[-1].at
        assert at - (asked - server._started) == pytest.approx(latency, abs=1e-6)


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        (QUERY, {}, 401),
        (QUERY, {"Authorization": "Token "}, 401),
        (QUERY, {"Authorization": "Basic key"}, 401),
        ({**QUERY, "encoding": "gsm"}, HEADERS, 400),
        ({**QUERY, "sample_rate": ""}, HEADERS, 400),
        ({**QUERY, "utterance_end_ms": "soon"}, HEADERS, 400),
    ],
)
async def test_bad_requests_are_rejected(
    query: dict[str, str], headers: dict[str, str], status: int
) -> None:
    """A request without a key or with a wrong query gets Deepgram's error object."""
    async with (
        FakeDeepgram() as server,
        aiohttp.ClientSession(headers=headers) as session,
        session.get(server.url, params=query) as response,
    ):
        body = await response.json()
    (connection,) = server.connections
    assert response.status == status
    assert set(body) == {"err_code", "err_msg", "request_id"}
    assert response.headers["dg-error"] == body["err_msg"]
    assert response.headers["dg-request-id"] == body["request_id"] == connection.request_id


async def test_a_status_fault_has_deepgrams_body() -> None:
    """A `Status` fault looks like Deepgram's own error."""
    async with (
        FakeDeepgram(faults=[Status(429)]) as server,
        aiohttp.ClientSession(headers=HEADERS) as session,
        session.get(server.url, params=QUERY) as response,
    ):
        assert (response.status, (await response.json())["err_code"]) == (429, "TOO_MANY_REQUESTS")
