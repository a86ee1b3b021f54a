from __future__ import annotations

import asyncio
import inspect
import logging
import socket

import aiohttp
import pytest
from livekit.agents import APIConnectionError, stt

from resilient_stt.testing.fakes.cartesia import FakeCartesia
from resilient_stt.testing.fakes.deepgram import FakeDeepgram
from resilient_stt.testing.fakes.server import REDACTED, FakeServer
from resilient_stt.testing.faults import (
    ConnectFault,
    Drop,
    DropAfterClose,
    EndCleanly,
    Hang,
    InBandError,
    Latency,
    Refuse,
    Stall,
    Status,
    StreamFault,
    from_,
)

from ...support.streams import (
    CONNECT,
    END,
    ENGLISH,
    FINAL,
    FIRST_SENTENCE,
    IN_SECOND,
    INTERIM,
    START,
    Provider,
    StreamResult,
    both,
    cut_after,
    listen,
    nothing_left_behind,
    run_stream,
    texts,
)

pytestmark = pytest.mark.stt_virtual_time


@both
async def test_a_healthy_run_has_every_word_once_at_its_time(provider: Provider) -> None:
    """Every word comes once, in order, with its times right to 20 ms."""
    outcome, server = await run_stream(provider, [], ENGLISH)
    assert outcome.error is None
    assert outcome.words() == ENGLISH.text.split()
    timed = [word for final in outcome.finals() for word in final.words or []]
    assert len(timed) == len(ENGLISH.words)
    for heard, spoken in zip(timed, ENGLISH.words, strict=True):
        assert heard.start_time == pytest.approx(spoken.start, abs=0.02)
        assert heard.end_time == pytest.approx(spoken.end, abs=0.02)
    assert outcome.balance() == [START, END] * (len(outcome.balance()) // 2)
    assert server.connections[0].ended == "closed with 1000"
    assert server.connections[0].audio == pytest.approx(ENGLISH.duration, abs=0.001)


@both
async def test_a_healthy_run_is_the_same_every_time(provider: Provider) -> None:
    """Two runs in virtual time give the same events at the same times."""

    async def run() -> list[tuple[float, str, str]]:
        outcome, _ = await run_stream(provider, [])
        return [
            (round(at, 6), event.type, event.alternatives[0].text if event.alternatives else "")
            for at, event in outcome.events
            # Deepgram's plugin reports usage by the wall clock.
            if event.type is not stt.SpeechEventType.RECOGNITION_USAGE
        ]

    assert await run() == await run()


@both
@pytest.mark.parametrize(
    ("code", "retryable"),
    [(400, False), (401, False), (402, False), (403, False), (429, True), (500, True), (503, True)],
)
async def test_a_status_instead_of_the_101(provider: Provider, code: int, retryable: bool) -> None:
    """The plugin raises an APIStatusError, which is retryable only for 429 and 5xx."""
    outcome, server = await run_stream(provider, [Status(code)])
    assert outcome.status().status_code == code
    assert outcome.status().retryable is retryable
    assert server.connections[0].ended == f"status {code}"


@both
async def test_a_refused_connection(provider: Provider) -> None:
    """A reset before the response is a retryable connection error, at once."""
    outcome, server = await run_stream(provider, [Refuse()])
    assert isinstance(outcome.error, APIConnectionError)
    assert outcome.error.retryable
    assert outcome.ended < 0.1
    assert server.connections[0].ended == "refused"


@both
async def test_a_hung_handshake(provider: Provider) -> None:
    """A request that is never answered times out at the connect timeout."""
    outcome, server = await run_stream(provider, [Hang()])
    assert isinstance(outcome.error, APIConnectionError)
    assert outcome.ended == pytest.approx(CONNECT.timeout, abs=0.05)
    assert server.connections[0].ended == "hung"
    assert server.connections[0].closed == pytest.approx(CONNECT.timeout, abs=0.1)


@both
@pytest.mark.parametrize(
    ("fault", "close_code"),
    [
        (Drop(at_word=IN_SECOND, part=0.5), 1006),
        (Drop(1006, at_word=IN_SECOND, part=0.5), 1006),
        (Drop(1011, "NET-0001", at_word=IN_SECOND, part=0.5), 1011),
        (EndCleanly(at_word=IN_SECOND, part=0.5), 1000),
    ],
    ids=["reset", "no close frame", "1011", "1000"],
)
async def test_an_unexpected_end(provider: Provider, fault: StreamFault, close_code: int) -> None:
    """The plugin raises at once, and words without a final are lost."""
    outcome, server = await run_stream(provider, [fault])
    word = ENGLISH.words[IN_SECOND]
    middle = (word.start + word.end) / 2
    if provider is FakeDeepgram:
        assert outcome.status().status_code == close_code
    else:
        assert isinstance(outcome.error, APIConnectionError)
        assert outcome.error.retryable
    assert outcome.words() == texts(FIRST_SENTENCE)
    assert server.connections[0].audio == pytest.approx(middle, abs=0.002)
    # A frame is pushed at its start, and a block may hold it back for 160 ms.
    assert middle - 0.02 <= outcome.ended <= middle + 0.2


@both
async def test_a_drop_leaves_the_speech_open(provider: Provider) -> None:
    """A drop while words are pending is not followed by an END_OF_SPEECH."""
    outcome, _ = await run_stream(provider, [Drop(at_word=FIRST_SENTENCE[-1])])
    assert outcome.finals() == []
    assert outcome.balance() == ([START] if provider is FakeDeepgram else [])


@both
async def test_a_reset_after_close_loses_the_tail_without_an_error(provider: Provider) -> None:
    """The plugin ends without an error, and the words without a final are missing."""
    cut = ENGLISH.excerpt(0, 0)
    outcome, server = await run_stream(provider, [DropAfterClose()], cut)
    assert outcome.error is None
    assert server.connections[0].audio == pytest.approx(cut.duration, abs=0.001)
    assert server.connections[0].ended == "reset"
    spoken = [word.text for word in cut.words]
    assert outcome.words() in ([], spoken)  # a final may have come by itself before the end


@both
async def test_a_healthy_close_has_the_tail(provider: Provider) -> None:
    """Speech that is cut in the middle of a sentence is transcribed up to the cut."""
    cut = cut_after(FIRST_SENTENCE[4])
    outcome, _ = await run_stream(provider, [], cut)
    assert outcome.error is None
    assert outcome.words() == texts(FIRST_SENTENCE[:5])
    outcome, _ = await run_stream(provider, [DropAfterClose()], cut)
    assert outcome.error is None
    assert outcome.words() == []


@both
async def test_latency_delays_finals(provider: Provider) -> None:
    """Every final comes later by the latency, and none is missing."""
    healthy, _ = await run_stream(provider, [])
    late, _ = await run_stream(provider, [Latency(0.7)])

    def times(outcome: StreamResult) -> list[float]:
        return [at for at, event in outcome.events if event.type is FINAL]

    assert late.words() == healthy.words()
    assert times(late) == pytest.approx([at + 0.7 for at in times(healthy)], abs=0.001)


@both
@pytest.mark.parametrize("by_word", [True, False])
async def test_latency_from_a_moment_on(provider: Provider, by_word: bool) -> None:
    """Finals before the moment come as usual, later ones come late."""
    second = ENGLISH.sentences[1][0]
    fault = Latency(2, at_word=second)
    if not by_word:
        fault = Latency(2, at_time=ENGLISH.words[second].start + 0.2)
    healthy, sound = await run_stream(provider, [])
    late, slow = await run_stream(provider, [fault])
    assert late.words() == healthy.words()
    assert closed(slow) == pytest.approx(closed(sound) + 2, abs=0.001)
    first = [next(at for at, e in o.events if e.type is FINAL) for o in (healthy, late)]
    assert first[0] == pytest.approx(first[1])


@both
async def test_latency_of_finals_only(provider: Provider) -> None:
    """Finals come later by the latency, and an interim before the first of them on time."""
    healthy, _ = await run_stream(provider, [])
    late, slow = await run_stream(provider, [Latency(0.7, finals_only=True)])
    assert late.words() == healthy.words()
    for kind, delay in ((FINAL, 0.7), (INTERIM, 0.0)):
        times = [[at for at, e in o.events if e.type is kind][:1] for o in (healthy, late)]
        assert times[1] == pytest.approx([at + delay for at in times[0]], abs=0.001)
    sent = [sent.at for sent in slow.connections[0].sent]
    assert sent == sorted(sent)


@both
async def test_latency_is_over_at_its_end(provider: Provider) -> None:
    """A latency that is over delays nothing."""
    _, sound = await run_stream(provider, [])
    _, slow = await run_stream(provider, [Latency(1, until=6)])
    assert closed(slow) == pytest.approx(closed(sound), abs=0.001)


def closed(server: FakeServer) -> float:
    """When the server's only connection ended."""
    (connection,) = server.connections
    assert connection.closed is not None
    return connection.closed


@both
async def test_a_refused_client_that_asks_again_is_the_same_attempt(provider: Provider) -> None:
    """aiohttp repeats a request without a response: it is refused again, and counts once."""
    async with provider(faults=[Refuse(connections={0})]) as server:
        assert (await listen(server)).error is not None
        assert (await listen(server)).error is None
    assert [c.ended for c in server.connections] == ["refused", "closed with 1000"]


@both
@pytest.mark.parametrize("part", [0.0, 1.0])
async def test_a_drop_at_a_word_boundary(provider: Provider, part: float) -> None:
    """The parts 0 and 1 of a word are its start and its end, to the millisecond."""
    _, server = await run_stream(provider, [Drop(at_word=3, part=part)])
    word = ENGLISH.words[3]
    expected = word.end if part else word.start
    assert server.connections[0].audio == pytest.approx(expected, abs=0.002)


@both
async def test_a_drop_after_an_amount_of_audio(provider: Provider) -> None:
    """`at_audio` counts the audio of the connection, to the millisecond."""
    _, server = await run_stream(provider, [Drop(at_audio=2.3456)])
    assert server.connections[0].audio == pytest.approx(2.3456, abs=0.0011)


@both
async def test_a_drop_at_a_moment(provider: Provider) -> None:
    """`at_time` concerns the connections that are open at that moment, and no later one."""
    async with provider(faults=[Drop(at_time=2.5)]) as server:
        outcomes = await asyncio.gather(listen(server), listen(server))
        later = await listen(server)
    assert [type(outcome.error) for outcome in outcomes] != [type(None)] * 2
    assert [outcome.ended for outcome in outcomes] == pytest.approx([2.5, 2.5], abs=0.05)
    assert later.error is None


@both
async def test_a_drop_at_a_moment_spares_other_connections(provider: Provider) -> None:
    """`at_time` with `connections` concerns only these of the open connections."""
    async with provider(faults=[Drop(at_time=2.5, connections={1})]) as server:
        outcomes = await asyncio.gather(listen(server), listen(server))
    assert [outcome.error is None for outcome in outcomes] == [True, False]


async def test_a_refusal_is_a_reset_on_the_wire() -> None:
    """The client's TCP connection gets an RST, not a FIN."""
    async with FakeCartesia(faults=[Refuse()]) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /stt/websocket HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_the_101_comes_after_the_handshake_time() -> None:
    """The option delays the 101 by exactly that much."""
    loop = asyncio.get_running_loop()
    query = {"model": "ink-whisper", "encoding": "pcm_s16le", "sample_rate": "16000"}
    headers = {"X-API-Key": "key"}
    async with FakeCartesia(handshake=0.3) as server, aiohttp.ClientSession() as session:
        begin = loop.time()
        url = f"{server.url}/stt/websocket"
        async with session.ws_connect(url, params=query, headers=headers):
            assert loop.time() - begin == pytest.approx(0.3, abs=1e-6)


@both
async def test_faults_happen_to_the_listed_connections_only(provider: Provider) -> None:
    """Connections count from 0 in the order of their requests; refused requests count."""
    faults = [
        Status(503, connections={0}),
        Drop(at_word=1, connections={1}),
        Refuse(connections=from_(3)),
    ]
    async with provider(faults=faults) as server:
        errors = [(await listen(server)).error for _ in range(4)]
    assert [c.ended for c in server.connections] == [
        "status 503",
        "reset",
        "closed with 1000",
        "refused",
    ]
    assert [error is None for error in errors] == [False, False, True, False]


@both
async def test_a_drop_at_a_word_happens_to_every_connection_that_receives_it(
    provider: Provider,
) -> None:
    """Without `connections`, each connection drops at the word, unless the word never comes on
    it."""
    async with provider(faults=[Drop(at_word=2)]) as server:
        assert [(await listen(server)).error is None for _ in range(2)] == [False, False]
        assert (await listen(server, ENGLISH.excerpt(1, 1))).error is None


@both
@pytest.mark.parametrize("fault", [Refuse(until=5), Hang(until=5), Status(500, until=5)])
async def test_a_connect_fault_is_over_at_its_end(provider: Provider, fault: ConnectFault) -> None:
    """Before `until` no connection is accepted, and after it every one."""
    async with provider(faults=[fault]) as server:
        assert (await listen(server)).error is not None
        await asyncio.sleep(5 - server.now)
        assert (await listen(server)).error is None


@both
async def test_faults_can_be_injected_while_running(provider: Provider) -> None:
    """A fault without a trigger happens to the open connection when it is injected."""
    async with provider() as server:
        task = asyncio.create_task(listen(server))
        await asyncio.sleep(2)
        server.inject(Drop(connections={0}))
        outcome = await task
        assert outcome.error is not None
        assert outcome.ended == pytest.approx(2, abs=0.05)
        assert (await listen(server)).error is None


@both
async def test_open_connections_can_be_dropped(provider: Provider) -> None:
    """`trigger` drops the open connections before it returns, and spares later ones."""
    async with provider() as server:
        task = asyncio.create_task(listen(server, patience=20))
        await asyncio.sleep(2)
        (connection,) = server.trigger(Drop())
        assert (connection.index, connection.ended) == (0, "reset")
        assert server.trigger(Drop()) == []
        assert (await task).ended == pytest.approx(2, abs=0.05)
        assert (await listen(server, patience=20)).error is None


@both
async def test_a_triggered_stall_affects_open_connections_only(provider: Provider) -> None:
    """A triggered stall affects the open connections, until it is over or removed."""
    async with provider() as server:
        first = asyncio.create_task(listen(server, patience=20))
        await asyncio.sleep(1)
        server.trigger(Stall())
        second = asyncio.create_task(listen(server, patience=20))
        assert (await second).words() == ENGLISH.excerpt(0, 1).text.split()
        assert (await first).hung
        third = asyncio.create_task(listen(server, patience=20))
        await asyncio.sleep(0.3)
        server.trigger(Stall())
        server.faults = []
        assert (await third).words()


async def test_a_fault_can_be_triggered_twice() -> None:
    """A fault that is triggered twice happens twice."""
    error = InBandError(400, then="go_on")
    async with FakeCartesia() as server:
        task = asyncio.create_task(listen(server))
        for _ in range(3):
            await asyncio.sleep(1)
            server.trigger(error)
        await task
        said = [sent.message["type"] for sent in server.connections[0].sent]
        assert said.count("error") == 3
        assert [struck.at for struck in server.triggered] == pytest.approx([1, 2, 3], abs=0.01)


async def test_a_triggered_fault_may_wait_for_its_trigger() -> None:
    """With a trigger of its own, a fault waits on the open connections; `connections` selects
    some."""
    async with FakeCartesia() as server:
        tasks = [asyncio.create_task(listen(server)) for _ in range(2)]
        await asyncio.sleep(0.5)
        (met,) = server.trigger(Drop(at_word=4, connections={1, 2}))
        assert met.ended is None
        assert [(await task).error is None for task in tasks] == [True, False]
        assert (await listen(server)).error is None


async def test_faults_that_cannot_be_triggered() -> None:
    """Connect faults, and faults whose period is over, cannot be triggered."""
    async with FakeCartesia() as server:
        with pytest.raises(ValueError, match=r"Refuse\(\) .* add it with `inject`"):
            server.trigger(Refuse())
        await asyncio.sleep(3)
        with pytest.raises(ValueError, match="until=2 is not after"):
            server.trigger(Stall(until=2))
        with pytest.raises(ValueError, match="no word 999"):
            server.trigger(Drop(at_word=999))
        assert list(server.faults) == []


@both
async def test_the_log_has_the_faults_that_happened(provider: Provider) -> None:
    """The log has each fault that happened, with its connection and time, and no others."""
    faults = [
        Status(503, connections={0}),
        Drop(at_audio=1.0, connections={1}),
        Stall(at_word=69),
        Latency(0.1, at_time=3.0),
    ]
    async with provider(faults=faults) as server:
        for _ in range(3):
            await listen(server)
            await asyncio.sleep(1)
    assert [(struck.fault, struck.connection) for struck in server.triggered[:2]] == [
        (faults[0], 0),
        (faults[1], 1),
    ]
    (last,) = server.triggered[2:]
    assert (last.fault, last.connection) == (faults[3], 2)
    assert last.at == pytest.approx(3.0, abs=0.3)


@pytest.mark.parametrize(
    ("host", "shown"), [("localhost", "localhost"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]")]
)
async def test_a_server_may_listen_elsewhere(host: str, shown: str) -> None:
    """The server may listen on any address of the machine; its URL is for clients on this
    machine."""
    server = FakeCartesia()
    port = free_port(host)
    await server.start(host, port)
    try:
        assert server.url == f"http://{shown}:{port}"
        assert (await listen(server)).error is None
    finally:
        await server.stop()


async def test_a_port_in_use_is_an_error() -> None:
    """A port in use raises an error, and the server leaves nothing behind."""
    async with FakeCartesia() as first:
        second = FakeDeepgram()
        with pytest.raises(OSError, match="in use"):
            await second.start("127.0.0.1", first.port)
        assert "stopped" in repr(second)
        await second.start()
        assert second.port != first.port
        await second.stop()


def free_port(host: str) -> int:
    """A port that nobody listens on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            pytest.skip(f"this machine has no {host}")
        return int(probe.getsockname()[1])


@both
async def test_the_script_can_be_replaced_while_running(provider: Provider) -> None:
    """A new script takes effect at once, and the faults of the old one do not happen any more."""
    async with provider(faults=[Drop(at_word=5), Drop(at_time=4), Latency(9)]) as server:
        task = asyncio.create_task(listen(server))
        await asyncio.sleep(0.5)
        server.faults = [Drop(1011, at_time=4.5)]
        outcome = await task
        assert outcome.ended == pytest.approx(4.5, abs=0.05)
        server.faults = []
        assert (await listen(server)).error is None


@both
async def test_a_fault_for_a_word_that_does_not_exist_is_refused(provider: Provider) -> None:
    """A fault at a word beyond the recordings raises a ValueError, in the constructor and later."""
    beyond = Drop(at_word=len(ENGLISH.words))
    with pytest.raises(ValueError, match="no word"):
        provider(faults=[beyond])
    async with provider() as server:
        with pytest.raises(ValueError, match="no word"):
            server.inject(beyond)
        with pytest.raises(ValueError, match="no word"):
            server.faults = [beyond]
        assert len(server.faults) == 0


@both
async def test_the_log_has_no_secrets(provider: Provider, caplog: pytest.LogCaptureFixture) -> None:
    """The log has everything but credentials, and its repr has no transcripts either."""
    caplog.set_level(logging.DEBUG)
    async with provider() as server:
        await listen(server, api_key="s3cret")
    (connection,) = server.connections
    assert connection.path == provider.path
    assert connection.query["sample_rate"] == "16000"
    assert REDACTED in connection.headers.values()
    assert connection.opened == pytest.approx(0, abs=0.01)
    assert connection.closed is not None
    assert connection.sent[-1].at <= connection.closed
    assert connection.request_id
    assert "s3cret" not in f"{connection.headers} {connection.query} {connection!r} {server!r}"
    assert "Heron" not in repr(connection)
    assert f"<Connection 0 {provider.path} 0.000 to " in repr(connection)
    assert "closed with 1000; heard " in repr(connection)


@both
async def test_stopping_ends_everything(provider: Provider) -> None:
    """Stopping ends pending requests and open connections at once, and leaves nothing behind."""
    async with nothing_left_behind():
        async with provider(faults=[Hang(connections={1})]) as server:
            tasks = [asyncio.create_task(listen(server)) for _ in range(2)]
            await asyncio.sleep(1)
            assert "2 connections, 2 open" in repr(server)
        assert server.now == pytest.approx(1, abs=0.05)
        outcomes = await asyncio.gather(*tasks)
        assert all(outcome.error for outcome in outcomes)
        assert [c.ended for c in server.connections] == ["server stopped", "hung"]
        assert all(c.closed is not None for c in server.connections)
    assert "stopped" in repr(server)


async def test_a_server_that_is_not_running_has_no_address() -> None:
    """Before `start` there is no port, and `stop` does nothing; a second `start` raises an
    error."""
    server: FakeServer = FakeCartesia()
    await server.stop()
    with pytest.raises(RuntimeError, match="FakeCartesia is not running"):
        _ = server.url
    async with server:
        with pytest.raises(RuntimeError, match="FakeCartesia is already running, at http://"):
            await server.start()


@both
async def test_a_client_that_disconnects_ends_the_connection(provider: Provider) -> None:
    """A client that closes its stream early ends the connection, and leaves nothing behind."""
    async with nothing_left_behind(), provider() as server:
        task = asyncio.create_task(listen(server))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.1)
        (connection,) = server.connections
        assert connection.closed == pytest.approx(1, abs=0.05)
        assert connection.ended is not None
        assert connection.ended.startswith(("closed by the client", "client vanished"))


@both
async def test_options_are_listed_and_checked(provider: Provider) -> None:
    """The signature of a server has the options that all servers share, and refuses others."""
    shared = {*inspect.signature(FakeServer).parameters}
    assert shared <= {*inspect.signature(provider).parameters}
    with pytest.raises(TypeError, match="unexpected keyword argument 'latncy'"):
        provider(latncy=1.0)  # type: ignore[call-arg]
