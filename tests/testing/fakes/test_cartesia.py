from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from livekit.agents import stt

from resilient_stt.testing.fakes.cartesia import FakeCartesia
from resilient_stt.testing.faults import Status
from resilient_stt.testing.speech.reference import ReferenceSpeech

from ...support.streams import SHORT, listen

pytestmark = pytest.mark.stt_virtual_time

ENGLISH = ReferenceSpeech.load("english")
QUERY = {"model": "ink-whisper", "sample_rate": "16000", "encoding": "pcm_s16le", "language": "en"}
HEADERS = {"X-API-Key": "key", "Cartesia-Version": "2025-04-16"}
BYTES_PER_SECOND = 32_000
BLOCK = 5_120  # the plugin's 160 ms


class Client:
    """A bare websocket client of Cartesia's protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def hear(self, start: float, end: float) -> None:
        """Send the recording between two times, at the pace of speech."""
        pcm = ENGLISH.samples.tobytes()
        begin, stop = (round(at * 16_000) * 2 for at in (start, end))
        for at in range(begin, stop, BLOCK):
            block = pcm[at : min(at + BLOCK, stop)]
            await self.socket.send_bytes(block)
            await asyncio.sleep(len(block) / BYTES_PER_SECOND)

    async def told(self, text: str, count: int) -> list[dict[str, Any]]:
        """Send a text, and receive `count` messages."""
        await self.socket.send_str(text)
        return [await self.socket.receive_json(timeout=5) for _ in range(count)]


@asynccontextmanager
async def connected(server: FakeCartesia, **query: str) -> AsyncIterator[Client]:
    async with (
        aiohttp.ClientSession(headers=HEADERS) as session,
        session.ws_connect(f"{server.url}/stt/websocket", params={**QUERY, **query}) as socket,
    ):
        yield Client(socket)


async def rejected(
    server: FakeCartesia, query: dict[str, str], headers: dict[str, str]
) -> tuple[int, dict[str, Any], str | None]:
    """The status, the body and the request id of a response that is not a 101."""
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{server.url}/stt/websocket", params=query) as response,
    ):
        return response.status, await response.json(), response.headers.get("X-Request-Id")


async def test_finalize_gives_a_final_and_flush_done() -> None:
    """`finalize` gives a final with the words so far and their times, and then `flush_done`, in 0.2
    s."""
    loop = asyncio.get_running_loop()
    async with FakeCartesia() as server, connected(server) as client:
        end = ENGLISH.words[1].end
        await client.hear(0, end)
        asked = loop.time()
        final, done = await client.told("finalize", 2)
        assert loop.time() - asked == pytest.approx(0.2, abs=1e-6)
        request_id = server.connections[0].request_id
    words = [(w.text, w.start, w.end) for w in ENGLISH.words[:2]]
    assert final == {
        "type": "transcript",
        "request_id": request_id,
        "text": "Hello, this",
        "is_final": True,
        "duration": pytest.approx(end, abs=0.002),
        "language": "en",
        "words": [
            {
                "word": text,
                "start": pytest.approx(start, abs=0.02),
                "end": pytest.approx(e, abs=0.02),
            }
            for text, start, e in words
        ],
    }
    assert done == {"type": "flush_done", "request_id": request_id}


async def test_texts_are_deltas_that_join() -> None:
    """Joined, the texts are the whole text, and the durations the length of the audio."""
    async with FakeCartesia() as server, connected(server) as client:
        middle, end = ENGLISH.words[4].end + 0.01, ENGLISH.words[9].end + 0.01
        await client.hear(0, middle)
        first, _ = await client.told("finalize", 2)
        await client.hear(middle, end)
        second, _ = await client.told("finalize", 2)
    assert first["text"] + second["text"] == " ".join(w.text for w in ENGLISH.words[:10])
    assert first["duration"] + second["duration"] == pytest.approx(end, abs=0.002)


async def test_silence_gives_a_final_by_itself() -> None:
    """A final comes by itself after `endpoint_silence`, and not before."""
    pause = ENGLISH.words[ENGLISH.sentences[0][-1]].end
    loop = asyncio.get_running_loop()
    for silence in (0.3, 0.6):
        async with (
            FakeCartesia(endpoint_silence=silence, latency=0) as server,
            connected(server) as client,
        ):
            begin = loop.time()
            sending = asyncio.create_task(client.hear(0, pause + 0.7))
            final = await client.socket.receive_json(timeout=9)
            took = loop.time() - begin
            await sending
        assert final["text"].endswith("Heron.")
        assert pause + silence <= took + BLOCK / BYTES_PER_SECOND
        assert took <= pause + silence + 0.05


async def test_interims_come_once_a_second_while_words_are_pending() -> None:
    """Each interim has the words since the last final, and the final has all of them."""
    pause = ENGLISH.words[ENGLISH.sentences[0][-1]].end
    async with FakeCartesia(interims=True) as server, connected(server) as client:
        await client.hear(0, pause + 3)
        messages = [sent.message for sent in server.connections[0].sent]
    finals = [message for message in messages if message["is_final"]]
    interims = messages[: messages.index(finals[0])]
    assert 3 <= len(interims) <= 5
    for one, other in pairwise([*interims, finals[0]]):
        assert other["text"].startswith(one["text"])
        assert other["duration"] > one["duration"]
    assert interims[0]["words"][0]["word"] == "Hello,"
    assert messages[-1]["text"].startswith(" It is")


async def test_interims_through_the_plugin() -> None:
    """The plugin emits interims and all words, but adds the interims' durations to the times of
    finals."""
    async with FakeCartesia(interims=True) as server:
        outcome = await listen(server)
    interims = [e for _, e in outcome.events if e.type is stt.SpeechEventType.INTERIM_TRANSCRIPT]
    assert len(interims) > 4
    assert outcome.words() == [word.text for word in SHORT.words]
    last = outcome.finals()[-1]
    assert last.end_time > SHORT.duration + 5
    assert last.words is not None
    assert last.words[-1].end_time == pytest.approx(SHORT.words[-1].end, abs=0.02)


async def test_finalize_within_a_word_makes_two_fragments() -> None:
    """A `finalize` within a word makes its start a wrong word, and its rest another one."""
    word = ENGLISH.words[8]
    cut = (word.start + word.end) / 2
    async with FakeCartesia() as server, connected(server) as client:
        await client.hear(word.start - 0.05, cut)
        before, _ = await client.told("finalize", 2)
        await client.hear(cut, word.end + 0.05)
        after, _ = await client.told("finalize", 2)
    texts = [message["words"][-1]["word"] for message in (before, after)]
    assert word.text not in texts
    assert all(texts)


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        ({}, ["flush_done"]),
        ({"empty_finals": True}, ["transcript", "flush_done"]),
        ({"empty_finals": True, "flush_done_first": True}, ["flush_done", "transcript"]),
    ],
)
async def test_finalize_with_nothing_to_say(settings: dict[str, Any], kinds: list[str]) -> None:
    """Options decide whether an empty final comes, and whether `flush_done` comes before it."""
    async with FakeCartesia(**settings) as server, connected(server) as client:
        await client.hear(0, 0.3)
        messages = await client.told("finalize", len(kinds))
    assert [message["type"] for message in messages] == kinds
    assert all(m["text"] == "" and m["words"] == [] for m in messages if m["type"] == "transcript")


@pytest.mark.parametrize("goodbye", ["close", "done"])
async def test_close_gives_the_rest_then_done_then_1000(goodbye: str) -> None:
    """After a closing message come a transcript of the rest, `done`, and a close frame."""
    async with FakeCartesia() as server, connected(server) as client:
        await client.hear(0, ENGLISH.words[2].end)
        rest, done = await client.told(goodbye, 2)
        message = await client.socket.receive(timeout=5)
    assert rest["text"] == "Hello, this is"
    assert done["type"] == "done"
    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1000)
    assert server.connections[0].texts == [goodbye]
    assert [sent.message for sent in server.connections[0].sent] == [rest, done]


async def test_other_texts_and_foreign_audio_get_no_response() -> None:
    """Neither an unknown text nor audio of unknown speech gets a response."""
    async with FakeCartesia() as server, connected(server) as client:
        await client.socket.send_bytes(bytes(BLOCK) * 20)
        await client.socket.send_str('{"type": "finalize"}')
        (answer,) = await client.told("finalize", 1)
    assert answer["type"] == "flush_done"
    assert len(server.connections[0].sent) == 1


async def test_the_configured_language_is_reported() -> None:
    """Transcripts have the language of the query."""
    async with (
        FakeCartesia(empty_finals=True) as server,
        connected(server, language="pt") as client,
    ):
        message, _ = await client.told("finalize", 2)
    assert message["language"] == "pt"


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        (QUERY, {}, 401),
        ({**QUERY, "model": ""}, HEADERS, 400),
        ({**QUERY, "encoding": "mp3"}, HEADERS, 400),
        ({**QUERY, "sample_rate": "fast"}, HEADERS, 400),
    ],
)
async def test_bad_requests_are_rejected(
    query: dict[str, str], headers: dict[str, str], status: int
) -> None:
    """A request without a key or with a wrong query gets Cartesia's error object."""
    async with FakeCartesia() as server:
        code, body, request_id = await rejected(server, query, headers)
        (connection,) = server.connections
    assert code == status
    assert set(body) == {"error_code", "title", "message", "request_id"}
    assert body["request_id"] == request_id == connection.request_id
    assert connection.ended == f"rejected with {status}"


async def test_a_status_fault_has_cartesias_body_unless_it_brings_its_own() -> None:
    """A `Status` fault looks like Cartesia's own error, unless it has a body and headers."""
    own = Status(429, body='{"mine": 1}', headers={"Retry-After": "3"}, connections={1})
    async with FakeCartesia(faults=[Status(429, connections={0}), own]) as server:
        _, body, _ = await rejected(server, QUERY, HEADERS)
        async with (
            aiohttp.ClientSession(headers=HEADERS) as session,
            session.get(f"{server.url}/stt/websocket", params=QUERY) as response,
        ):
            assert response.headers["Retry-After"] == "3"
            assert await response.json() == {"mine": 1}
    assert body["error_code"] == "concurrency_limited"
