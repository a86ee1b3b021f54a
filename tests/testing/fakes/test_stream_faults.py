"""The faults of open connections, seen through the plugins. See also `test_server`."""

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
from resilient_stt.testing.faults import (
    EmptyFinals,
    Garbage,
    HalfOpen,
    IgnoreClose,
    InBandError,
    Latency,
    LostFinal,
    Stall,
)

from ...support.streams import (
    END,
    ENGLISH,
    FINAL,
    FIRST_SENTENCE,
    IN_SECOND,
    INTERIM,
    SHORT,
    START,
    Provider,
    Server,
    both,
    listen,
    nothing_left_behind,
    run_stream,
    texts,
)

pytestmark = pytest.mark.stt_virtual_time

FIRST_END = ENGLISH.words[FIRST_SENTENCE[-1]].end
SECOND_SENTENCE = ENGLISH.sentences[1]
BETWEEN = (FIRST_END + ENGLISH.words[SECOND_SENTENCE[0]].start) / 2  # in the pause
PATIENCE = 60.0  # seconds: longer than any timeout of the plugins
Socket = aiohttp.ClientWebSocketResponse
KEYS = {"X-API-Key": "key", "Authorization": "Token key"}


@asynccontextmanager
async def connected(server: Server, **options: Any) -> AsyncIterator[Socket]:
    """A bare websocket to either provider."""
    query = {"model": "m", "sample_rate": "16000", "punctuate": "true"}
    query["encoding"] = "pcm_s16le" if isinstance(server, FakeCartesia) else "linear16"
    url = f"http://127.0.0.1:{server.port}{server.path}"
    async with (
        aiohttp.ClientSession(headers=KEYS) as session,
        session.ws_connect(url, params=query, **options) as socket,
    ):
        yield socket


async def pong(socket: Socket) -> bool:
    """Whether a ping is answered within five seconds."""
    await socket.ping(b"?")
    try:
        return (await socket.receive(timeout=5)).type is aiohttp.WSMsgType.PONG
    except TimeoutError:
        return False


def goodbye(server: Server) -> str:
    """The client's closing message, as the plugin writes it."""
    return "close" if isinstance(server, FakeCartesia) else '{"type": "CloseStream"}'


# --- Stall ---


@both
async def test_a_stall_is_never_noticed(provider: Provider) -> None:
    """All audio is accepted, nothing is transcribed, and the closing message gets no response."""
    outcome, server = await run_stream(provider, [Stall(at_word=IN_SECOND)], patience=PATIENCE)
    (connection,) = server.connections
    assert outcome.hung
    assert outcome.words() == texts(FIRST_SENTENCE)
    assert connection.audio == pytest.approx(SHORT.duration, abs=0.001)
    assert goodbye(server) in connection.texts
    assert connection.sent[-1].at <= ENGLISH.words[IN_SECOND].start + server.latency + 0.2


@both
async def test_pings_are_answered_in_a_stall(provider: Provider) -> None:
    """The websocket stays alive while the recognizer is dead."""
    async with provider(faults=[Stall()]) as server, connected(server, autoping=False) as socket:
        assert await pong(socket)


@both
async def test_transcripts_not_sent_before_a_stall_are_lost(provider: Provider) -> None:
    """A final whose latency has not passed when the stall begins never comes."""
    stall = Stall(at_time=BETWEEN, until=BETWEEN + 0.3)
    faults = [Latency(2.0, until=BETWEEN), stall]
    outcome, _ = await run_stream(provider, faults, patience=PATIENCE)
    assert outcome.error is None
    assert not outcome.hung
    assert outcome.words() == texts(SECOND_SENTENCE)


@both
async def test_after_a_stall_only_new_audio_is_transcribed(provider: Provider) -> None:
    """Audio of the stall is never transcribed; a word that its end cuts comes as a fragment."""
    word = ENGLISH.words[3]
    until = (word.start + word.end) / 2 + 0.15  # the 101 takes this long
    outcome, _ = await run_stream(provider, [Stall(at_word=1, until=until)], patience=PATIENCE)
    rest = texts([*FIRST_SENTENCE[4:], *SECOND_SENTENCE])
    assert outcome.error is None
    assert outcome.words()[-len(rest) :] == rest
    assert len(outcome.words()) in (len(rest), len(rest) + 1)
    assert outcome.words()[0] != word.text


@both
async def test_a_stall_at_a_moment_is_a_state_of_the_server(provider: Provider) -> None:
    """Connections that open during the stall are stalled; those that open after it are not."""
    async with provider(faults=[Stall(at_time=1, until=40)]) as server:
        await asyncio.sleep(5)
        assert (await listen(server, patience=20)).words() == []
        await asyncio.sleep(20)
        assert (await listen(server)).words() == texts([*FIRST_SENTENCE, *SECOND_SENTENCE])


@both
async def test_a_stall_is_over_when_the_script_is_changed(provider: Provider) -> None:
    """When the fault is removed from the script, the server recognizes again."""
    async with provider(faults=[Stall()]) as server:
        task = asyncio.create_task(listen(server))
        await asyncio.sleep(BETWEEN)
        server.faults = []
        outcome = await task
    assert outcome.words() == texts(SECOND_SENTENCE)


# --- HalfOpen ---


async def test_a_half_open_socket_is_never_noticed_by_cartesias_plugin() -> None:
    """Cartesia's plugin goes on sending, and waits forever."""
    speech = ENGLISH.padded(PATIENCE)
    outcome, server = await run_stream(
        FakeCartesia, [HalfOpen(at_word=IN_SECOND)], speech, patience=PATIENCE
    )
    assert outcome.hung
    assert outcome.words() == texts(FIRST_SENTENCE)
    assert server.connections[0].ended == "half-open"


async def test_a_half_open_socket_is_noticed_by_deepgrams_plugin_after_45_s() -> None:
    """Deepgram's plugin sends a ping after 30 s without data, and 15 s later misses the pong."""
    fault = HalfOpen(at_word=IN_SECOND)
    outcome, _ = await run_stream(FakeDeepgram, [fault], ENGLISH.padded(PATIENCE))
    assert isinstance(outcome.error, APIConnectionError)
    assert 44 <= outcome.ended - ENGLISH.words[IN_SECOND].start <= 47


@both
async def test_a_half_open_socket_answers_no_ping(provider: Provider) -> None:
    """Neither a ping nor a close gets a response; the connection stays until the server stops."""
    loop = asyncio.get_running_loop()
    async with nothing_left_behind():
        async with provider(faults=[HalfOpen()]) as server:
            async with connected(server, autoping=False) as socket:
                assert not await pong(socket)
            async with connected(server) as socket:
                begin = loop.time()
                await socket.close()
                assert loop.time() - begin == pytest.approx(10, abs=0.1)  # aiohttp's timeout
            await asyncio.sleep(60)
            assert [connection.closed for connection in server.connections] == [None, None]
            begin = loop.time()
        assert loop.time() - begin < 0.1
    assert None not in [connection.closed for connection in server.connections]


@both
async def test_a_half_open_socket_in_a_burst(provider: Provider) -> None:
    """Of a burst, only the audio before the trigger is read."""
    faults = [HalfOpen(at_audio=1.5)]
    async with provider(faults=faults) as server, connected(server, autoping=False) as socket:
        for second in range(4):
            begin = second * 16_000
            await socket.send_bytes(ENGLISH.samples[begin : begin + 16_000].tobytes())
        assert not await pong(socket)
    assert server.connections[0].audio == pytest.approx(1.5, abs=0.002)


@both
async def test_a_half_open_socket_from_a_moment_on(provider: Provider) -> None:
    """Audio before the moment is received, later audio is not."""
    outcome, server = await run_stream(provider, [HalfOpen(at_time=2.5)], patience=20)
    assert outcome.hung
    assert server.connections[0].audio == pytest.approx(2.3, abs=0.2)


# --- InBandError ---


@both
async def test_an_in_band_error_of_the_client_is_only_logged(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """An error with a code below 500 ends nothing: all words come."""
    fault = InBandError(400, at_word=2, then="go_on")
    outcome, server = await run_stream(provider, [fault])
    assert outcome.error is None
    assert outcome.words() == texts([*FIRST_SENTENCE, *SECOND_SENTENCE])
    kind = "error" if provider is FakeCartesia else "Error"
    assert kind in [sent.message["type"] for sent in server.connections[0].sent]
    logged = "cartesia sent an error received unexpected message from deepgram"
    assert any(record.getMessage() in logged for record in caplog.records)


@pytest.mark.parametrize(
    "fault",
    [
        InBandError(500, at_word=2),
        InBandError(None, at_word=2),
        InBandError(400, shape="status_code", at_word=2),  # the plugin sees no code
    ],
    ids=["500", "none", "400 as status_code"],
)
async def test_an_in_band_error_of_the_server_is_raised_by_cartesias_plugin(
    fault: InBandError,
) -> None:
    """A code from 500 on, or one that the plugin does not see, is a retryable error."""
    outcome, _ = await run_stream(FakeCartesia, [fault], patience=PATIENCE)
    assert isinstance(outcome.error, APIConnectionError)
    assert outcome.error.retryable
    assert outcome.ended == pytest.approx(ENGLISH.words[2].start, abs=0.2)


@pytest.mark.parametrize("code", [500, None])
async def test_an_in_band_error_is_never_raised_by_deepgrams_plugin(code: int | None) -> None:
    """Deepgram's plugin logs the error, and does not notice the silence after it."""
    fault = InBandError(code, at_word=IN_SECOND)
    outcome, server = await run_stream(FakeDeepgram, [fault], patience=PATIENCE)
    assert outcome.hung
    assert outcome.words() == texts(FIRST_SENTENCE)
    last = server.connections[0].sent[-1].message
    assert last["type"] == "Error"
    assert ("err_code" in last) is (code is not None)


async def test_a_code_that_is_a_string_kills_cartesias_stream() -> None:
    """Cartesia's plugin compares the code with a number, which raises."""
    outcome, _ = await run_stream(FakeCartesia, [InBandError("500", at_word=2)], patience=PATIENCE)
    assert isinstance(outcome.error, TypeError)


@both
@pytest.mark.parametrize(("code", "close_code"), [(400, 1008), (503, 1011)])
async def test_an_in_band_error_before_a_close(
    provider: Provider, code: int, close_code: int
) -> None:
    """With `close`, the error is sent and then the connection closed."""
    fault = InBandError(code, at_word=2, then="close")
    outcome, server = await run_stream(provider, [fault], patience=PATIENCE)
    assert server.connections[0].ended == f"closed with {close_code}"
    if provider is FakeDeepgram:
        assert outcome.status().status_code == close_code
    else:
        assert isinstance(outcome.error, APIConnectionError)


@both
async def test_an_in_band_error_at_once(provider: Provider) -> None:
    """Without a trigger, the error is the first message, and the last."""
    faults = [InBandError(400, message="no such model")]
    async with provider(faults=faults) as server, connected(server) as socket:
        message = await socket.receive_json(timeout=1)
        await socket.send_str(goodbye(server))
        with pytest.raises(TimeoutError):
            await socket.receive(timeout=30)
    assert message["message"] == "no such model"
    assert [sent.message for sent in server.connections[0].sent] == [message]


@pytest.mark.parametrize("shape", ["code", "status_code"])
async def test_the_shapes_of_cartesias_errors(shape: Any) -> None:
    """The shape is the server's option, unless the fault has one."""
    faults = [InBandError(402, connections={0}), InBandError(402, shape="code", connections={1})]
    messages = []
    async with FakeCartesia(faults=faults, error_shape=shape) as server:
        for _ in range(2):
            async with connected(server) as socket:
                messages.append(await socket.receive_json(timeout=1))
        about = {"message": "Credit limit reached.", "request_id": server.connections[0].request_id}
    named = {"error_code": "quota_exceeded", "title": "Credit limit reached"}
    expected = {"type": "error", shape: 402, **about, **(named if shape != "code" else {})}
    assert messages[0] == expected
    assert messages[1]["code"] == 402


@both
async def test_an_in_band_errors_silence_ends(provider: Provider) -> None:
    """After `until` the server recognizes again, as after a stall."""
    fault = InBandError(400, at_word=2, until=BETWEEN)
    outcome, _ = await run_stream(provider, [fault], patience=PATIENCE)
    assert outcome.words() == texts(SECOND_SENTENCE)


# --- Garbage ---


@both
@pytest.mark.parametrize("what", ["unparsable", "binary", "unknown_type"])
async def test_garbage_that_is_only_logged(provider: Provider, what: Any) -> None:
    """The stream goes on to its end, without any word."""
    outcome, server = await run_stream(provider, [Garbage(what)])
    assert outcome.error is None
    assert outcome.finals() == []
    assert any(sent.garbage for sent in server.connections[0].sent)


@both
@pytest.mark.parametrize(
    ("what", "error"),
    [("no_text", KeyError), ("wrong_types", AttributeError), ("list", AttributeError)],
)
async def test_garbage_that_kills_a_stream(
    provider: Provider, what: Any, error: type[Exception]
) -> None:
    """Cartesia's plugin raises an error that is no APIError; Deepgram's plugin logs it."""
    outcome, _ = await run_stream(provider, [Garbage(what)])
    assert outcome.finals() == []
    if provider is FakeCartesia:
        assert type(outcome.error) is error
    else:
        assert outcome.error is None


@both
async def test_garbage_has_a_beginning_and_an_end(provider: Provider) -> None:
    """Transcripts outside the fault's period are unchanged."""
    until = ENGLISH.words[ENGLISH.sentences[3][0]].start
    fault = Garbage("unparsable", at_word=SECOND_SENTENCE[0], until=until)
    outcome, _ = await run_stream(provider, [fault], ENGLISH.excerpt(0, 3))
    assert outcome.words() == texts([*FIRST_SENTENCE, *ENGLISH.sentences[3]])


# --- EmptyFinals ---


@both
async def test_empty_finals(provider: Provider) -> None:
    """Cartesia's plugin emits the empty finals, Deepgram's drops them; neither emits a word."""
    outcome, server = await run_stream(provider, [EmptyFinals()])
    assert outcome.error is None
    kinds = [event.type for _, event in outcome.events]
    if provider is FakeCartesia:
        assert [final.text for final in outcome.finals()] == [""] * len(outcome.finals())
        assert outcome.balance() == [START, END] * len(outcome.finals()) != []
    else:
        assert FINAL not in kinds
        healthy, _ = await run_stream(provider, [])
        assert outcome.balance() == healthy.balance() != []
    assert INTERIM not in kinds
    assert all(m.get("is_final", True) for _, m, _ in server.connections[0].sent)


# --- LostFinal ---


@both
async def test_a_lost_final(provider: Provider) -> None:
    """One final is missing, and there is no error."""
    fault = LostFinal(at_word=SECOND_SENTENCE[0])
    speech = ENGLISH.excerpt(0, 3)
    healthy, _ = await run_stream(provider, [], speech)
    outcome, server = await run_stream(provider, [fault], speech)
    assert outcome.error is None
    lost = {f.text for f in healthy.finals()} - {f.text for f in outcome.finals()}
    assert len(lost) == 1
    assert len(outcome.finals()) == len(healthy.finals()) - 1
    assert lost.pop().strip().startswith(texts(SECOND_SENTENCE)[0])
    assert [struck.fault for struck in server.triggered] == [fault]


# --- IgnoreClose ---


@both
async def test_an_ignored_close_hangs_forever(provider: Provider) -> None:
    """All words come, and then the plugin waits forever."""
    outcome, server = await run_stream(provider, [IgnoreClose()], patience=PATIENCE)
    assert outcome.hung
    assert outcome.words() == texts([*FIRST_SENTENCE, *SECOND_SENTENCE])
    assert not {sent.message["type"] for sent in server.connections[0].sent} & {"done", "Metadata"}


@both
async def test_an_ignored_close_gets_its_last_transcript(provider: Provider) -> None:
    """Pending words are transcribed; before the fault's trigger, the close is answered."""
    end = ENGLISH.words[2].end
    pcm = ENGLISH.samples[: round(end * 16_000)].tobytes()
    faults = [IgnoreClose(at_audio=1, connections={0}), IgnoreClose(at_audio=9, connections={1})]
    async with provider(faults=faults) as server:
        for last in ("transcript", "close"):
            async with connected(server) as socket:
                await socket.send_bytes(pcm)
                await socket.send_str(goodbye(server))
                received = await received_in(socket, 30)
            assert "Hello, this is" in str(received)
            assert (received[-1] == "closed") is (last == "close")


async def received_in(socket: Socket, seconds: float) -> list[str]:
    """The texts that come within some seconds, and whether the connection was closed."""
    received: list[str] = []
    try:
        async with asyncio.timeout(seconds):
            async for message in socket:
                received.append(message.data)  # noqa: PERF401
            received.append("closed")
    except TimeoutError:
        pass
    return received
