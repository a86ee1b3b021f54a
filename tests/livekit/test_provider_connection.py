"""`ProviderConnection`: a provider's stream is opened, fed, read, translated and closed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from livekit import rtc
from livekit.agents import APIStatusError
from livekit.agents.stt import STT, RecognizeStream, SpeechEventType
from livekit.agents.types import NOT_GIVEN, TimedString
from livekit.plugins import cartesia, deepgram

from resilient_stt import ResilientSTT
from resilient_stt.core.events import ErrorKind
from resilient_stt.core.messages import (
    AudioTaken,
    AudioUntaken,
    ConnectionEnded,
    ConnectionFailed,
    ConnectionInput,
    EventKind,
    OpenConnection,
    ProviderEvent,
)
from resilient_stt.livekit.provider_connection import (
    CLOCK_OFFSET_SENTINEL,
    UNTAKEN_REPORTED_FROM,
    ProviderConnection,
)
from resilient_stt.livekit.sessions import ClosingSessions

from ..support.fakes import (
    Behavior,
    FakeStream,
    FakeSTT,
    collect,
    fails,
    frames,
    hangs,
    says,
    stt_error,
)

pytestmark = pytest.mark.stt_virtual_time

Report = ConnectionInput
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


def opened(provider: STT[Any], inbox: list[Report], *, offset: float = 0.0) -> ProviderConnection:
    return ProviderConnection(
        OpenConnection(7, "fake", 0),
        provider,
        inbox=inbox.append,
        closing_sessions=ClosingSessions(),
        wait=lambda: 0.25,
        connect_timeout=1.5,
        start_time_offset=offset,
    )


async def reported(behavior: Behavior, *, offset: float = 0.0) -> list[Report]:
    """Return what a connection reports of a provider with this behavior, once it is over."""
    inbox: list[Report] = []
    connection = opened(FakeSTT(behavior), inbox, offset=offset)
    connection.push(frames(4.0, duration=4.0)[0])
    connection.end_input()
    await asyncio.sleep(1.0)
    await connection.aclose()
    return inbox


# -- what it reports


async def test_events_carry_the_connections_id() -> None:
    """An event is reported with the connection's id, plain values, and the provider's event."""
    said, ended = await reported(says("hello", start_time=0.5, end_time=1.0))
    assert isinstance(said, ProviderEvent)
    assert said.connection == 7
    assert (said.event.kind, said.event.text) == (EventKind.FINAL, "hello")
    # LiveKit adds the time that a stream's task took to start, some microseconds, to its offset
    assert (said.event.start, said.event.end) == pytest.approx((0.5, 1.0), abs=0.01)
    assert said.event.language == "en"
    assert ended == ConnectionEnded(7, backoff=0.25)


async def test_translates_an_exception() -> None:
    """An exception is reported as its kind and never its text, with a drawn backoff."""
    [failed] = await reported(fails(APIStatusError("key abc is wrong", status_code=401)))
    assert failed == ConnectionFailed(
        7, ErrorKind.AUTH, "APIStatusError 401", None, 0.25, status=401
    )


@pytest.mark.parametrize("error", [KeyError("text"), TypeError(), AttributeError(), ValueError()])
async def test_translates_a_crash(error: Exception) -> None:
    """A plugin that crashes over a message has failed like any other."""
    [failed] = await reported(fails(error))
    assert failed == ConnectionFailed(7, ErrorKind.PROTOCOL, type(error).__name__, None, 0.25)


async def test_an_event_without_alternatives() -> None:
    """START and END have no alternatives; a FINAL without any is an empty one."""

    async def behave(stream: FakeStream) -> None:
        for kind in SpeechEventType:
            if kind is not SpeechEventType.RECOGNITION_USAGE:
                stream.say(kind)

    reports = await reported(behave)
    kinds = [r.event.kind for r in reports if isinstance(r, ProviderEvent)]
    assert len(kinds) == len(SpeechEventType) - 1
    assert all(not r.event.text for r in reports if isinstance(r, ProviderEvent))


async def test_words_without_times_are_left_out() -> None:
    """If one word has no times, the words are dropped and the text is kept."""

    async def behave(stream: FakeStream) -> None:
        words = [TimedString("a", 0.1, 0.2), TimedString("b")]
        stream.final("a b", words=words)

    said = (await reported(behave))[0]
    assert isinstance(said, ProviderEvent)
    assert said.event.text == "a b"
    assert said.event.words == ()


@pytest.mark.parametrize(
    ("adds", "at"), [(True, 0.5), (False, 0.5), (True, 33.0), (False, 33.0), (False, 0.0)]
)
async def test_times_are_of_the_connections_audio(adds: bool, at: float) -> None:
    """Times are of the connection's audio, whether or not a plugin adds the stream's offset."""

    async def behave(stream: FakeStream) -> None:
        named = stream.start_time_offset if adds else NOT_GIVEN
        start = at + (stream.start_time_offset if adds else 0.0)
        word = TimedString("hello", start, start + 0.25, start_time_offset=named)
        stream.final("hello", words=[word], start_time=start, end_time=start + 0.25)

    said = (await reported(behave, offset=30.0))[0]
    assert isinstance(said, ProviderEvent)
    [word] = said.event.words
    assert word.text == "hello"
    times = (at, at + 0.25)
    assert (word.start, word.end) == pytest.approx(times, abs=0.01)
    assert (said.event.start, said.event.end) == pytest.approx(times, abs=0.01)


# -- how it feeds


async def test_passes_audio_and_flush() -> None:
    """Frames and flushes reach the provider's stream in order."""
    fake = FakeSTT()
    inbox: list[Report] = []
    connection = opened(fake, inbox)
    connection.push(frames()[0])
    connection.flush()
    connection.push(frames()[0])
    connection.end_input()
    await asyncio.sleep(0.1)
    assert fake.streams[0].audio == pytest.approx(0.04)
    assert fake.streams[0].flushes == 2  # `end_input()` is a flush, too
    assert inbox == [ConnectionEnded(7, backoff=0.25)]
    await connection.aclose()


async def test_the_input_ends_after_the_stream_began() -> None:
    """A stream whose input ends at once runs all the same: Cartesia's would not connect."""

    async def behave(stream: FakeStream) -> None:
        stream.final("late" if stream._input_ch.closed else "open")

    said = (await reported(behave))[0]
    assert isinstance(said, ProviderEvent)
    assert said.event.text == "open"


async def test_a_dead_stream_takes_no_audio() -> None:
    """Sending audio to a dead stream raises nothing; the stream's own error is reported, once."""
    inbox: list[Report] = []
    connection = opened(FakeSTT(fails(stt_error())), inbox)
    await asyncio.sleep(0.01)
    connection.push(frames()[0])
    connection.flush()
    connection.end_input()
    await asyncio.sleep(1.0)
    assert [type(r) for r in inbox] == [ConnectionFailed]
    await connection.aclose()


async def test_a_stream_that_refuses_audio_has_ended() -> None:
    """A stream that raises on every frame and does nothing else is reported as ended."""

    class Refusing(FakeStream):
        def push_frame(self, frame: rtc.AudioFrame) -> None:
            raise RuntimeError("broken")

    class Broken(FakeSTT):
        kind = Refusing

    inbox: list[Report] = []
    connection = opened(Broken(hangs), inbox)
    connection.push(frames()[0])
    await asyncio.sleep(1.0)
    assert inbox == [ConnectionEnded(7, backoff=0.25)]
    await connection.aclose()


async def test_options_of_the_providers_stream() -> None:
    """The provider's stream gets our timeout, no retries, and the offset of its audio."""
    fake = FakeSTT()
    connection = opened(fake, [], offset=12.5)
    stream = fake.streams[0]
    assert (stream.conn_options.max_retry, stream.conn_options.timeout) == (0, 1.5)
    assert stream.start_time_offset == CLOCK_OFFSET_SENTINEL + 12.5
    await connection.aclose()


# -- how it closes


@asynccontextmanager
async def mute_websocket() -> AsyncIterator[int]:
    """The port of a server that accepts websockets and then never answers."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.split(": ", 1) for line in request.split("\r\n")[1:] if line)
        digest = hashlib.sha1((headers["Sec-WebSocket-Key"] + _GUID).encode()).digest()
        accept = base64.b64encode(digest).decode()
        writer.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        while await reader.read(65536):
            pass

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()
        await asyncio.gather(*(w.wait_closed() for w in writers), return_exceptions=True)


def plugins(port: int, http: aiohttp.ClientSession) -> list[STT[Any]]:
    url = f"http://127.0.0.1:{port}"
    return [
        cartesia.STT(model="ink-whisper", api_key="k", base_url=url, http_session=http),
        deepgram.STT(api_key="k", base_url=f"{url}/v1/listen", http_session=http),
    ]


@pytest.mark.parametrize("which", [0, 1], ids=["cartesia", "deepgram"])
@pytest.mark.parametrize("ended", [False, True], ids=["open", "ended"])
async def test_closes_though_the_server_is_mute(which: int, ended: bool) -> None:
    """A server that never answers the closing handshake delays closing by a bounded time."""
    loop = asyncio.get_running_loop()
    async with mute_websocket() as port, aiohttp.ClientSession() as http:
        connection = opened(plugins(port, http)[which], [])
        connection.push(frames(1.0, duration=1.0)[0])
        await asyncio.sleep(0.5)
        if ended:
            connection.end_input()
            await asyncio.sleep(0.5)
        begun = loop.time()
        await connection.aclose()
        assert loop.time() - begun <= 1.1


async def twice(stream: RecognizeStream) -> None:
    await asyncio.gather(stream.aclose(), stream.aclose())
    await stream.aclose()


@pytest.mark.parametrize("close", [RecognizeStream.aclose, twice], ids=["once", "twice"])
@pytest.mark.parametrize("moment", [0.0, 0.001, 0.1, 0.5, 2.0])
async def test_stream_closes_though_the_server_is_mute(close: Any, moment: float) -> None:
    """The same for a whole stream, closed once, twice, or by two tasks at once."""
    loop = asyncio.get_running_loop()
    async with mute_websocket() as port, aiohttp.ClientSession() as http:
        stream = ResilientSTT(plugins(port, http)).stream()
        stream.push_frame(frames(1.0, duration=1.0)[0])
        listening = asyncio.create_task(collect(stream))
        await asyncio.sleep(moment)
        begun = loop.time()
        await close(stream)
        assert loop.time() - begun <= 1.1
        await asyncio.gather(listening, return_exceptions=True)


async def test_a_stream_that_cannot_be_closed(caplog: pytest.LogCaptureFixture) -> None:
    """A plugin that swallows every cancellation is given up with an error in the log."""
    release = asyncio.Event()

    async def stubborn(_: FakeStream) -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    loop = asyncio.get_running_loop()
    connection = opened(FakeSTT(stubborn), [])
    await asyncio.sleep(0.1)
    begun = loop.time()
    await connection.aclose()
    assert loop.time() - begun <= 2.0
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("provider stream cannot be closed: ")
    release.set()
    await asyncio.sleep(0.1)


async def test_closing_is_silent_about_errors() -> None:
    """Exceptions of a stream that is being closed are not logged."""

    async def behave(_: FakeStream) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError

    inbox: list[Report] = []
    connection = opened(FakeSTT(behave), inbox)
    await asyncio.sleep(0.1)
    await connection.aclose()
    await connection.aclose()
    assert inbox == []


async def test_audio_that_is_not_taken_is_reported() -> None:
    """Until the plugin takes some, as when it has connected; then nothing more is reported."""

    async def connects_late(stream: FakeStream) -> None:
        await asyncio.sleep(1.9)
        await stream.listen()

    inbox: list[Report] = []
    connection = opened(FakeSTT(connects_late), inbox)
    for frame in frames(5.0):
        connection.push(frame)
        await asyncio.sleep(frame.duration)
    assert [type(report) for report in inbox] == [AudioUntaken] * 4 + [AudioTaken]
    await connection.aclose()


@pytest.mark.parametrize("goes_on", [True, False])
async def test_the_first_audio_that_is_taken_is_reported(goes_on: bool) -> None:
    """Once, with the next frame, or after a second if no other frame comes."""
    inbox: list[Report] = []
    connection = opened(FakeSTT(), inbox)
    for frame in frames(2.0 if goes_on else 0.02):
        connection.push(frame)
        await asyncio.sleep(frame.duration)
    if not goes_on:
        await asyncio.sleep(UNTAKEN_REPORTED_FROM)
    assert inbox == [AudioTaken(7)]
    await connection.aclose()
