"""The limits of the fake providers: of connections, idle time, speed and size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from livekit.agents import APIConnectionError

from resilient_stt.testing.fakes.cartesia import FakeCartesia
from resilient_stt.testing.fakes.deepgram import FakeDeepgram
from resilient_stt.testing.faults import Drop, HalfOpen, Hang, IgnoreClose, Latency, Stall

from ...support.streams import (
    ENGLISH,
    FIRST_SENTENCE,
    SHORT,
    Provider,
    Server,
    both,
    listen,
    nothing_left_behind,
    texts,
)

pytestmark = pytest.mark.stt_virtual_time

KEYS = {"X-API-Key": "key", "Authorization": "Token key"}
PCM = ENGLISH.samples.tobytes()
SECOND = 32_000  # bytes
FIRST_END = ENGLISH.words[FIRST_SENTENCE[-1]].end


class Client:
    """A bare websocket client that keeps its messages, with their times since it was opened."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.received: list[tuple[float, dict[str, Any]]] = []
        self.closes: list[tuple[float, int, str]] = []
        self._opened = asyncio.get_running_loop().time()

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time() - self._opened

    async def receive(self) -> None:
        while True:
            message = await self.socket.receive()
            if message.type is aiohttp.WSMsgType.CLOSE:
                self.closes.append((self.now, message.data, message.extra or ""))
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            self.received.append((self.now, message.json()))

    def finals(self) -> list[tuple[float, dict[str, Any]]]:
        """The finals with text, with their times."""
        return [(at, m) for at, m in self.received if m.get("is_final") and text_of(m)]


def text_of(message: dict[str, Any]) -> str:
    if message["type"] == "Results":
        message = message["channel"]["alternatives"][0]
        return str(message["transcript"])
    return str(message["text"])


def spoken(client: Client) -> list[str]:
    return " ".join(text_of(message) for _, message in client.finals()).split()


@asynccontextmanager
async def connected(server: Server, **query: str) -> AsyncIterator[Client]:
    query = {"model": "m", "sample_rate": "16000", "punctuate": "true", **query}
    query["encoding"] = "pcm_s16le" if isinstance(server, FakeCartesia) else "linear16"
    url = f"http://127.0.0.1:{server.port}{server.path}"
    async with (
        aiohttp.ClientSession(headers=KEYS) as session,
        session.ws_connect(url, params=query) as socket,
    ):
        client = Client(socket)
        receiving = asyncio.create_task(client.receive())
        try:
            yield client
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)


async def send(client: Client, start: float, end: float, *, pace: float = 1.0) -> None:
    """Send the recording in blocks of 100 ms at a multiple of the pace of speech."""
    for at in range(round(start * 10), round(end * 10)):
        begin = client.now
        await client.socket.send_bytes(PCM[at * SECOND // 10 : (at + 1) * SECOND // 10])
        await asyncio.sleep(max(0.0, begin + 0.1 / pace - client.now))


def farewell(server: Server) -> str:
    return "close" if isinstance(server, FakeCartesia) else '{"type": "CloseStream"}'


# --- concurrency ---


@both
async def test_more_connections_than_allowed_get_a_429(provider: Provider) -> None:
    """The plugin raises a retryable status; once a connection has ended, the next is accepted."""
    async with provider(concurrency=2) as server:
        first = await asyncio.gather(*(listen(server) for _ in range(3)))
        later = await listen(server)
    refused = [outcome for outcome in first if outcome.error]
    assert len(refused) == 1
    assert refused[0].status().status_code == 429
    assert refused[0].status().retryable
    assert later.error is None
    assert [c.ended for c in server.connections].count("rejected with 429") == 1


@both
async def test_only_open_connections_count(provider: Provider) -> None:
    """A vanished peer counts until the server stops; a request that hangs does not count."""
    faults = [Hang(connections={0}), HalfOpen(connections={1})]
    async with nothing_left_behind(), provider(faults=faults, concurrency=1) as server:
        assert isinstance((await listen(server)).error, APIConnectionError)
        assert (await listen(server, patience=20)).hung
        assert (await listen(server)).status().status_code == 429


# --- idleness ---


@pytest.mark.parametrize("server", [FakeCartesia(), FakeCartesia(idle_timeout=20)])
async def test_cartesia_closes_an_idle_connection(server: FakeCartesia) -> None:
    """After three minutes, or the option's time, comes a close with 1000; pings do not count."""
    assert server.idle_timeout in (180, 20)
    async with server, connected(server) as client:
        await send(client, 0, 1)
        for _ in range(20):
            await asyncio.sleep(10)
            if not client.closes:
                await client.socket.ping()
    ((at, code, _),) = client.closes
    assert at == pytest.approx(0.9 + server.idle_timeout, abs=0.01)
    assert code == 1000


async def test_deepgram_closes_an_idle_connection() -> None:
    """After ten seconds come Metadata, and a close with 1011 that says NET-0001."""
    async with FakeDeepgram(latency=0) as server, connected(server) as client:
        await send(client, 0, 1)
        await asyncio.sleep(15)
    ((at, code, reason),) = client.closes
    assert at == pytest.approx(10.9, abs=0.01)
    assert (code, reason[:8]) == (1011, "NET-0001")
    assert client.received[-1][1]["type"] == "Metadata"
    assert server.connections[0].ended == "closed with 1011"


@both
async def test_texts_keep_a_connection_alive(provider: Provider) -> None:
    """A text counts as much as audio; without a timeout nothing has to be sent."""
    async with provider(idle_timeout=10) as server, connected(server) as client:
        for _ in range(12):
            await asyncio.sleep(5)
            await client.socket.send_str('{"type": "KeepAlive"}')
        assert not client.closes
    async with provider(idle_timeout=None) as server, connected(server) as client:
        await asyncio.sleep(3600)
        assert not client.closes


@both
async def test_the_idle_timeout_ends_neither_a_stall_nor_a_close(provider: Provider) -> None:
    """A stall goes on beyond the timeout, and a late response to a closing message still comes."""
    faults = [
        Stall(connections={0}),
        IgnoreClose(connections={1}),
        Latency(30, connections={2}),
    ]
    async with provider(faults=faults, idle_timeout=10) as server:
        for hangs in (True, True, False):
            async with connected(server) as client:
                await send(client, 0, 1)
                await client.socket.send_str(farewell(server))
                await asyncio.sleep(100)
                assert (client.closes == []) is hangs
    assert spoken(client)[0] == ENGLISH.words[0].text


async def test_an_idle_connection_is_closed_once_its_stall_is_over() -> None:
    """The timeout runs again after the stall."""
    fault = Stall(until=60)
    async with FakeDeepgram(faults=[fault]) as server, connected(server) as client:
        await asyncio.sleep(100)
    assert 60 <= client.closes[0][0] <= 71


@both
async def test_the_plugin_in_a_long_pause(provider: Provider) -> None:
    """Deepgram's plugin keeps its connection alive; Cartesia's pings do not do that."""
    async with provider(idle_timeout=10) as server, aiohttp.ClientSession() as session:
        stream = server.stt(http_session=session).stream()
        await asyncio.sleep(60)
        ended = [connection.ended for connection in server.connections]
        await stream.aclose()
    assert (ended[0] is None) is (provider is FakeDeepgram)


# --- burst ---


@both
async def test_audio_that_comes_too_fast_is_refused(provider: Provider) -> None:
    """Audio that is further ahead of real time than the option allows gets a close with 1008."""
    async with provider(max_burst=2.0) as server, connected(server) as client:
        with pytest.raises(ConnectionError):
            await send(client, 0, 8, pace=2)  # one second ahead after one, two after two
    ((at, code, _),) = client.closes
    assert at == pytest.approx(2.0, abs=0.11)
    assert code == 1008


@both
async def test_a_burst_below_the_limit_is_accepted(provider: Provider) -> None:
    """At the pace of speech nothing adds up, and a backlog up to the limit is accepted."""
    async with provider(max_burst=2.0) as server, connected(server) as client:
        await send(client, 0, 1.9, pace=1000)
        await send(client, 1.9, 8)
        assert not client.closes


# --- speed ---


@both
async def test_at_the_pace_of_speech_a_speed_changes_nothing(provider: Provider) -> None:
    """At the pace of speech, messages come later only by the time that the plugin's short last
    block waits."""
    at = []
    for speed in (None, 1.25):
        async with provider(speed=speed) as server:
            outcome = await listen(server)
        assert outcome.error is None
        at.append([sent.at for sent in server.connections[0].sent])
    assert at[0] == pytest.approx(at[1], abs=0.16 / 1.25)


@both
@pytest.mark.parametrize("speed", [1.25, 2.0])
async def test_a_backlog_is_processed_at_the_speed(provider: Provider, speed: float) -> None:
    """A burst is accepted at once, and its transcripts come when it has been processed."""
    settings: Any = {"speed": speed, "latency": 0, "endpoint_silence": 0.3}
    async with provider(**settings) as server, connected(server) as client:
        await send(client, 0, 5, pace=1000)
        assert server.connections[0].audio == pytest.approx(0.1, abs=0.01)
        await asyncio.sleep(5 / speed)
    assert FIRST_END / speed - 0.1 <= client.finals()[-1][0] <= (FIRST_END + 0.4) / speed
    assert spoken(client) == texts(FIRST_SENTENCE)


@both
async def test_texts_wait_for_the_audio_before_them(provider: Provider) -> None:
    """The end of a burst is answered once all of it was processed, and no word is missing."""
    end = round(SHORT.duration, 1)
    async with provider(speed=1.5, latency=0) as server, connected(server) as client:
        await send(client, 0, end, pace=1000)
        await client.socket.send_str(farewell(server))
        await asyncio.sleep(20)
    assert client.closes[0][0] == pytest.approx(end / 1.5, abs=0.15)
    assert " ".join(spoken(client)).startswith(" ".join(w.text for w in SHORT.words))


@both
async def test_a_backlog_is_lost_in_a_stall(provider: Provider) -> None:
    """Audio that arrived before the end of a stall is not transcribed, even if it is processed
    later."""
    faults = [Stall(at_time=1, until=2)]
    async with provider(faults=faults, speed=1.0) as server, connected(server) as client:
        await send(client, 0, 4.9, pace=1000)
        await asyncio.sleep(5)
        await send(client, 4.9, 8.7)
        await client.socket.send_str(farewell(server))
        await asyncio.sleep(2)
    assert spoken(client) == texts(ENGLISH.sentences[1])


@both
async def test_a_backlog_is_lost_in_a_drop(provider: Provider) -> None:
    """Once the connection is closed, no more audio is processed."""
    faults = [Drop(1011, at_time=2)]
    async with provider(faults=faults, speed=1.0) as server, connected(server) as client:
        await send(client, 0, 5, pace=1000)
        await asyncio.sleep(5)
    assert [code for _, code, _ in client.closes] == [1011]
    assert server.connections[0].audio == pytest.approx(1.9, abs=0.11)


@both
async def test_a_backlog_is_forgotten_with_its_connection(provider: Provider) -> None:
    """A client that disconnects leaves no task behind, however much audio waits."""
    async with nothing_left_behind(), provider(speed=1.0) as server:
        async with connected(server) as client:
            await send(client, 0, 10, pace=1000)
        await asyncio.sleep(1)
        assert server.connections[0].closed is not None
        assert server.connections[0].audio < 1


# --- size ---


async def test_a_message_that_is_too_big_is_refused() -> None:
    """Cartesia closes with 1009 above the option's bytes, and accepts a message of exactly that
    size."""
    async with FakeCartesia(max_message=SECOND) as server, connected(server) as client:
        await client.socket.send_bytes(PCM[:SECOND])
        await asyncio.sleep(0.1)
        assert not client.closes
        await client.socket.send_bytes(PCM[: SECOND + 2])
        await asyncio.sleep(0.1)
    assert client.closes[0][1] == 1009
    assert server.connections[0].audio == pytest.approx(1)
