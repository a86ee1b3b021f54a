from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from livekit.agents import APIConnectionError, stt

from resilient_stt.testing.fakes.cartesia import FakeCartesia
from resilient_stt.testing.faults import (
    Drop,
    DropAfterClose,
    EndCleanly,
    Fault,
    Garbage,
    InBandError,
    Latency,
    Refuse,
    Stall,
    Status,
    StreamFault,
)
from resilient_stt.testing.harness.score import Final, score
from resilient_stt.testing.speech.reference import ReferenceSpeech

from ...support import streams
from ...support.streams import CONNECT, END, ENGLISH, FINAL, SHORT, START, StreamResult, push

pytestmark = pytest.mark.stt_virtual_time

INTERIM = stt.SpeechEventType.INTERIM_TRANSCRIPT
PREFLIGHT = stt.SpeechEventType.PREFLIGHT_TRANSCRIPT

# the sentences of SHORT; 0.8 s of silence lies between them
FIRST = "Hello, this is Miguel Santos, I have a reservation at the Blue Heron."
SECOND = "It is for Thursday evening, a quiet table for four."
FIRST_END = ENGLISH.words[ENGLISH.sentences[0][-1]].end  # seconds, as all times here
PATH = "/stt/turns/websocket"
QUERY = {"model": "ink-2", "sample_rate": "16000", "encoding": "pcm_s16le"}
HEADERS = {"X-API-Key": "key", "Cartesia-Version": "2025-04-16"}
CLOSE = '{"type":"close"}'
BLOCK = 5_120  # bytes: the plugin's 160 ms
BLOCK_SECONDS = 0.16


def texts(outcome: StreamResult, kind: stt.SpeechEventType) -> list[str]:
    return [e.alternatives[0].text for _, e in outcome.events if e.type is kind]


def kinds(outcome: StreamResult) -> list[stt.SpeechEventType]:
    """The events without those about usage."""
    usage = stt.SpeechEventType.RECOGNITION_USAGE
    return [e.type for _, e in outcome.events if e.type is not usage]


def finals(outcome: StreamResult) -> list[Final]:
    return [Final.from_event(e, at) for at, e in outcome.events if e.type is FINAL]


async def listen(
    server: FakeCartesia, speech: ReferenceSpeech = SHORT, **options: Any
) -> StreamResult:
    return await streams.listen(server, speech, model="ink-2", **options)


async def run_stream(
    faults: Iterable[Fault], speech: ReferenceSpeech = SHORT
) -> tuple[StreamResult, FakeCartesia]:
    async with streams.nothing_left_behind(), FakeCartesia(faults=faults) as server:
        return await listen(server, speech), server


class Client:
    """A bare websocket client of the protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def hear(self, start: float, end: float) -> None:
        """Send the recording between two times, at the pace of speech."""
        pcm = ENGLISH.samples.tobytes()
        begin, stop = (round(at * 16_000) * 2 for at in (start, end))
        await self.send(pcm[begin:stop])

    async def silence(self, seconds: float) -> None:
        await self.send(bytes(round(seconds * 16_000) * 2))

    async def send(self, pcm: bytes) -> None:
        for at in range(0, len(pcm), BLOCK):
            block = pcm[at : at + BLOCK]
            await self.socket.send_bytes(block)
            await asyncio.sleep(len(block) / 32_000)

    async def closed(self) -> list[dict[str, Any]]:
        """Close; return the messages up to the server's close frame, which must have the code
        1000."""
        await self.socket.send_str(CLOSE)
        return await self.rest()

    async def rest(self) -> list[dict[str, Any]]:
        messages = [message.json() async for message in self.socket]
        assert self.socket.close_code == 1000
        return messages


@asynccontextmanager
async def connected(server: FakeCartesia, **query: str) -> AsyncIterator[Client]:
    async with (
        aiohttp.ClientSession(headers=HEADERS) as session,
        session.ws_connect(f"{server.url}{PATH}", params={**QUERY, **query}) as socket,
    ):
        yield Client(socket)


def said(server: FakeCartesia, *but: str) -> list[tuple[str, str | None]]:
    """Type and transcript of each message on the only connection, without those of some types."""
    (connection,) = server.connections
    messages = [sent.message for sent in connection.sent]
    return [(m["type"], m.get("transcript")) for m in messages if m["type"] not in but]


# --- a healthy run ---


async def test_a_healthy_run_has_every_word_once() -> None:
    """The reference speech comes as turns, without a lost, repeated or invented word."""
    outcome, server = await run_stream([], ENGLISH)
    assert outcome.error is None
    result = score(ENGLISH.words, finals(outcome))
    assert result.ok
    assert (result.lost, result.twice, result.fragments) == (0, 0, 0)
    assert "".join(texts(outcome, FINAL)) == ENGLISH.text  # joined without formatting
    (connection,) = server.connections
    assert (connection.path, connection.ended) == (PATH, "closed with 1000")
    assert connection.texts == [CLOSE]
    assert connection.audio == pytest.approx(ENGLISH.duration, abs=0.001)


async def test_a_turn_is_a_start_growing_interims_and_a_final() -> None:
    """A turn gives START, growing interims, FINAL and END, and ends with its sentence."""
    outcome, _ = await run_stream([])
    turns: list[list[stt.SpeechEvent]] = []
    for _, event in outcome.events:
        if event.type is START:
            turns.append([])
        if event.type is not stt.SpeechEventType.RECOGNITION_USAGE:
            turns[-1].append(event)
    assert [turn[-2].alternatives[0].text for turn in turns] == [FIRST, f" {SECOND}"]
    for turn in turns:
        assert turn[0].type is START
        assert [event.type for event in turn[-2:]] == [FINAL, END]
        grown = [event.alternatives[0].text for event in turn[1:-1]]
        assert len(grown) > 5
        assert grown[:-2] == sorted(set(grown[:-2]), key=len)
        assert all(after.startswith(before) for before, after in pairwise(grown))


async def test_the_plugin_gives_no_times_and_its_own_language() -> None:
    """The plugin gives neither words nor times; its language is the configured one, by default
    English."""
    async with FakeCartesia() as server:
        outcome = await listen(server)
        french = await listen(server, language="fr")
        assert "language" not in server.connections[1].query
    (data, *_) = [e.alternatives[0] for _, e in outcome.events if e.type is FINAL]
    assert (data.words, data.start_time, data.end_time, data.confidence) == (None, 0, 0, 0)
    languages = {e.alternatives[0].language for _, e in french.events if e.alternatives}
    assert (data.language, languages) == ("en", {"fr"})


async def test_a_healthy_run_is_the_same_every_time() -> None:
    """Two runs in virtual time give the same events at the same times."""
    first, second = [(await run_stream([]))[0] for _ in range(2)]
    assert [(round(at, 6), e.type) for at, e in first.events] == [
        (round(at, 6), e.type) for at, e in second.events
    ]
    assert texts(first, INTERIM) == texts(second, INTERIM)


# --- the server's messages, and their times ---


async def test_the_messages_of_a_turn() -> None:
    """`connected` comes first; every message has the request's id, but only some have a
    transcript."""
    async with FakeCartesia() as server, connected(server) as client:
        hello = await client.socket.receive_json(timeout=1)
        await client.hear(0, FIRST_END + 0.7)
        await client.closed()
        (connection,) = server.connections
        assert hello == {"type": "connected", "request_id": connection.request_id}
        assert {sent.message["request_id"] for sent in connection.sent} == {connection.request_id}
        messages = said(server, "turn.update")
    assert messages == [
        ("connected", None),
        ("turn.start", None),
        ("turn.eager_end", FIRST),
        ("turn.end", FIRST),
    ]


@pytest.mark.parametrize("interval", [0.25, 0.5, 1.5])
async def test_updates_come_at_the_interval_while_the_text_grows(interval: float) -> None:
    """Two events of a turn are the interval apart, and each update has something new."""
    async with FakeCartesia(update_interval=interval) as server:
        await listen(server, ENGLISH.excerpt(0, 0))
    (connection,) = server.connections
    updates = [sent for sent in connection.sent if sent.message["type"] == "turn.update"]
    gaps = [b.at - a.at for a, b in pairwise(updates)]
    assert min(gaps) >= interval - BLOCK_SECONDS
    assert sum(gaps) / len(gaps) <= interval + 2 * BLOCK_SECONDS
    assert len({sent.message["transcript"] for sent in updates}) == len(updates)


@pytest.mark.parametrize("silence", [0.3, 0.7])
async def test_silence_ends_the_turn(silence: float) -> None:
    """`turn.end` comes after `turn_end_silence`, and not before."""
    loop = asyncio.get_running_loop()
    async with (
        FakeCartesia(turn_end_silence=silence, latency=0, eager_end=False) as server,
        connected(server) as client,
    ):
        begin = loop.time()
        sending = asyncio.create_task(client.hear(0, FIRST_END + 0.79))
        while (await client.socket.receive_json(timeout=9))["type"] != "turn.end":
            pass
        took = loop.time() - begin
        await sending
    # A block is received when it is sent, which is when it begins to be spoken.
    assert FIRST_END + silence - BLOCK_SECONDS <= took <= FIRST_END + silence + 0.05


async def test_a_shorter_timeout_in_the_query_ends_the_turn() -> None:
    """`turn_end_timeout_ms` ends a turn if it is shorter than `turn_end_silence`."""
    async with FakeCartesia(turn_end_silence=9) as server:
        patient = await listen(server)
        hurried = await listen(server, turn_end_timeout_ms=640)
    assert texts(patient, FINAL) == [f"{FIRST} {SECOND}"]
    assert texts(hurried, FINAL) == [FIRST, f" {SECOND}"]


async def test_an_eager_end_is_taken_back_when_speech_goes_on() -> None:
    """`turn.eager_end` comes after half the silence, and `turn.resume` if the turn goes on."""
    async with FakeCartesia(turn_end_silence=1.2) as server:
        outcome = await listen(server)
    assert said(server, "turn.update", "connected") == [
        ("turn.start", None),
        ("turn.eager_end", FIRST),
        ("turn.resume", None),
        ("turn.end", f"{FIRST} {SECOND}"),
    ]
    assert texts(outcome, PREFLIGHT) == [FIRST]
    spoken = [e for _, e in outcome.events if e.alternatives]
    (at,) = [i for i, event in enumerate(spoken) if event.type is PREFLIGHT]
    again = spoken[at + 1]  # the plugin's event for the resumption
    assert (again.type, again.alternatives[0].text) == (INTERIM, FIRST)


async def test_eager_ends_can_be_off() -> None:
    """With `eager_end=False` there are neither eager ends nor resumptions."""
    async with FakeCartesia(eager_end=False, turn_end_silence=1.2) as server:
        outcome = await listen(server)
    assert {kind for kind, _ in said(server)} == {
        "connected",
        "turn.start",
        "turn.update",
        "turn.end",
    }
    assert texts(outcome, PREFLIGHT) == []


async def test_audio_that_stops_in_mid_turn_leaves_it_open() -> None:
    """Without audio there is no `turn.end`, however long it takes; silence brings it."""
    async with FakeCartesia() as server, connected(server) as client:
        await client.hear(0, FIRST_END)
        await asyncio.sleep(60)
        assert "turn.end" not in dict(said(server))
        await client.silence(0.7)
        await asyncio.sleep(1)
        assert said(server)[-1] == ("turn.end", FIRST)


async def test_audio_without_speech_starts_no_turn() -> None:
    """Silence, and texts other than `close`, get no response."""
    async with FakeCartesia() as server, connected(server) as client:
        await client.silence(3)
        for text in ("finalize", "close", "[]", '{"type":"config"}'):
            await client.socket.send_str(text)
        await asyncio.sleep(1)
        assert said(server) == [("connected", None)]
        assert [m["type"] for m in await client.closed()] == ["connected"]


async def test_close_ends_the_running_turn() -> None:
    """`close` gives the rest as `turn.end`, then a close frame with 1000, without a `done`."""
    async with FakeCartesia() as server, connected(server) as client:
        await client.hear(0, ENGLISH.words[2].end)
        messages = await client.closed()
    assert [m["type"] for m in messages][-1] == "turn.end"
    assert messages[-1]["transcript"] == "Hello, this is"


async def test_close_in_a_word_makes_a_fragment() -> None:
    """The part of a word that was received comes as a wrong word."""
    word = ENGLISH.words[8]
    async with FakeCartesia() as server, connected(server) as client:
        await client.hear(word.start - 0.05, (word.start + word.end) / 2)
        messages = await client.closed()
    assert messages[-1]["transcript"]
    assert word.text not in messages[-1]["transcript"]


async def test_a_flush_sends_nothing() -> None:
    """The plugin ignores a flush: it sends nothing, and the turn goes on."""
    async with FakeCartesia() as server, aiohttp.ClientSession() as session:
        plugin = server.stt(model="ink-2", http_session=session)
        async with plugin.stream(conn_options=CONNECT) as stream:
            asyncio.get_running_loop().call_later(3, stream.flush)
            pusher = asyncio.create_task(push(stream, ENGLISH.excerpt(0, 0)))
            said_at_last = [e.alternatives[0].text async for e in stream if e.type is FINAL]
            await pusher
    assert said_at_last == [FIRST]
    assert server.connections[0].texts == [CLOSE]


# --- faults ---


@pytest.mark.parametrize("fault", [Drop(at_word=8, part=0.5), Drop(1011, at_word=8, part=0.5)])
async def test_a_drop_makes_the_plugin_emit_the_partial_text(fault: Drop) -> None:
    """The plugin emits the partial text of the turn as FINAL and END, and then the error."""
    outcome, _ = await run_stream([fault])
    assert kinds(outcome)[-2:] == [FINAL, END]
    assert (
        texts(outcome, FINAL)
        == texts(outcome, INTERIM)[-1:]
        == ["Hello, this is Miguel Santos, I have"]
    )
    assert isinstance(outcome.error, APIConnectionError)
    assert outcome.error.retryable


async def test_a_clean_end_is_a_drop_too() -> None:
    """A close with 1000 in the middle of a turn gives the partial text, and an error."""
    outcome, _ = await run_stream([EndCleanly(at_word=8)])
    assert kinds(outcome)[-2:] == [FINAL, END]
    assert FIRST.startswith(texts(outcome, FINAL)[0])
    assert outcome.error is not None


@pytest.mark.parametrize(
    ("fault", "events"),
    [(Drop(at_word=0), []), (Drop(at_audio=0.85), [START, END])],
)
async def test_a_drop_before_any_text(
    fault: StreamFault, events: list[stt.SpeechEventType]
) -> None:
    """A drop before a turn gives nothing, and a turn without text is just ended."""
    outcome, _ = await run_stream([fault])
    assert kinds(outcome) == events
    assert outcome.error is not None


async def test_a_reset_after_close_loses_the_tail_without_an_error() -> None:
    """The plugin emits the last interim as the final, as if nothing were missing."""
    outcome, _ = await run_stream([DropAfterClose()], ENGLISH.excerpt(0, 0))
    assert outcome.error is None
    assert texts(outcome, FINAL) == [FIRST.removesuffix(" Heron.")]
    assert kinds(outcome)[-2:] == [FINAL, END]


async def test_latency_delays_every_message() -> None:
    """Each message comes later by the latency, and nothing else changes."""
    sound, _ = await run_stream([])
    slow, _ = await run_stream([Latency(1.5)])
    assert texts(slow, FINAL) == texts(sound, FINAL)
    pairs = zip(finals(sound), finals(slow), strict=True)
    assert [b.at - a.at for a, b in pairs] == pytest.approx([1.5, 1.5], abs=0.001)


@pytest.mark.parametrize("fault", [Refuse(), Status(503), Status(401)])
async def test_connect_faults_happen_on_this_path_too(fault: Fault) -> None:
    """Connect faults happen on this path, too."""
    outcome, server = await run_stream([fault])
    assert outcome.error is not None
    assert outcome.events == []
    assert server.connections[0].path == PATH


@pytest.mark.parametrize(("code", "fatal"), [(429, False), (500, True), (None, True)])
async def test_errors_in_band_have_a_status_code(code: int | None, fatal: bool) -> None:
    """The plugin reads `status_code`: below 500 it goes on, otherwise the partial text becomes
    final."""
    outcome, server = await run_stream([InBandError(code, then="go_on", at_word=8)])
    errors = [s.message for s in server.connections[0].sent if s.message["type"] == "error"]
    assert [error.get("status_code") for error in errors] == [code]
    assert isinstance(outcome.error, APIConnectionError) is fatal
    assert (texts(outcome, FINAL) == [FIRST, f" {SECOND}"]) is not fatal
    assert kinds(outcome)[-2:] == [FINAL, END]


async def test_an_event_without_its_transcript_kills_the_plugin() -> None:
    """A KeyError ends the plugin's stream, after the partial text as FINAL and END."""
    outcome, _ = await run_stream([Garbage("no_text", at_word=8)])
    assert isinstance(outcome.error, KeyError)
    assert kinds(outcome)[-2:] == [FINAL, END]
    assert FIRST.startswith(texts(outcome, FINAL)[0])


async def test_a_turn_whose_end_is_garbled_is_lost() -> None:
    """The plugin takes the next turn for the same one, and forgets the words of the first."""
    outcome, _ = await run_stream([Garbage(at_word=12, until=5.6)])
    assert outcome.error is None
    assert kinds(outcome).count(START) == 1
    assert texts(outcome, FINAL) == [f" {SECOND}"]


async def test_a_stall_discards_the_turn() -> None:
    """After a stall, a new turn begins with the audio that comes from then on."""
    outcome, server = await run_stream([Stall(at_word=4, until=4)])
    starts = [kind for kind, _ in said(server) if kind == "turn.start"]
    assert len(starts) == 2 + 1  # the one that was discarded, its rest, and the second sentence
    assert kinds(outcome).count(START) == 2  # the plugin takes the rest for the same turn
    assert not texts(outcome, FINAL)[0].startswith("Hello")


# --- the query ---


async def test_the_plugins_options_are_in_the_query() -> None:
    """Thresholds and key terms arrive, each term by itself."""
    options: dict[str, Any] = {
        "turn_start_threshold": 0.7,
        "turn_eager_end_threshold": 0.5,
        "turn_end_threshold": 0.1,
        "turn_end_timeout_ms": 5600,
        "keyterm": ["Blue Heron", "Santos"],
    }
    async with FakeCartesia() as server:
        outcome = await listen(server, **options)
    query = server.connections[0].query
    assert query.getall("keyterm") == ["Blue Heron", "Santos"]
    assert {name: query[name] for name in options if name != "keyterm"} == {
        name: str(value) for name, value in options.items() if name != "keyterm"
    }
    assert texts(outcome, FINAL) == [FIRST, f" {SECOND}"]


@pytest.mark.parametrize(
    ("change", "headers", "status"),
    [
        ({}, {}, 401),
        ({"model": ""}, HEADERS, 400),
        ({"encoding": ""}, HEADERS, 400),
        ({"sample_rate": ""}, HEADERS, 400),
        ({"turn_end_threshold": "low"}, HEADERS, 400),
        ({"turn_end_timeout_ms": "5 s"}, HEADERS, 400),
    ],
)
async def test_bad_requests_are_rejected(
    change: dict[str, str], headers: dict[str, str], status: int
) -> None:
    """A request without a key or with a wrong query gets Cartesia's error object."""
    async with (
        FakeCartesia() as server,
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{server.url}{PATH}", params={**QUERY, **change}) as response,
    ):
        assert response.status == status
        assert set(await response.json()) == {"error_code", "title", "message", "request_id"}


async def test_a_model_of_the_other_endpoint_is_an_error_in_band() -> None:
    """A model of the other endpoint gets a 101, then an error with `status_code`, then the
    close."""
    async with FakeCartesia() as server, connected(server, model="ink-whisper") as client:
        (error,) = await client.rest()
    assert (error["type"], error["status_code"]) == ("error", 400)
    assert error["error_code"] == "model_not_found"
    assert "code" not in error


async def test_a_dated_model_is_one_of_this_endpoint() -> None:
    """A model's name with a date is accepted as the model."""
    async with FakeCartesia() as server, connected(server, model="ink-2-2026-03-01") as client:
        assert [m["type"] for m in await client.closed()] == ["connected"]
