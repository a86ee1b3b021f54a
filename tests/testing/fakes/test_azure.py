"""The fake Azure with its published plugin, and behind `ResilientSTT`.

The SDK keeps real time, so each test plays all that it compares at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from livekit.agents import APIConnectionError, APIConnectOptions, stt
from livekit.agents.stt import SpeechEventType
from livekit.agents.utils import http_context

from resilient_stt import ResilientSTT
from resilient_stt.testing import (
    Drop,
    EmptyFinals,
    FakeAzure,
    FakeDeepgram,
    Fault,
    Garbage,
    Hang,
    InBandError,
    LostFinal,
    Played,
    ReferenceSpeech,
    Refuse,
    Stall,
    Status,
    play,
)
from resilient_stt.testing.speech.accent import Accent

from ...support.bare_stream import drain, failure_of, push


@pytest.fixture(autouse=True)
def needs_the_sdk() -> None:
    """The SDK is a native library: there is none for some systems."""
    pytest.importorskip("livekit.plugins.azure", exc_type=ImportError)


@pytest.fixture(autouse=True)
async def http(needs_the_sdk: None) -> AsyncIterator[None]:
    async with http_context.open():
        yield
        # `ResilientSTT` does not wait for a plugin whose SDK still waits for its server.
        if closing := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(closing, timeout=15)


SPEECH = ReferenceSpeech.load("english").excerpt(2, 2).padded(0.8)
SPANISH = ReferenceSpeech.load("spanish").excerpt(1, 1).padded(0.8)
WORD = 25
"""The number of a word in the middle of the English speech."""
ONCE = APIConnectOptions(max_retry=0, timeout=1.5)


async def heard(
    *faults: Fault,
    accent: Accent | None = None,
    speech: ReferenceSpeech = SPEECH,
    **options: Any,
) -> tuple[Played, FakeAzure]:
    """What the bare plugin gives, and the server's log."""
    async with FakeAzure(faults=faults, accent=accent) as server:
        provider = server.stt(**options)
        played = await play(provider, speech, patience=8.0, accents=[accent] if accent else [])
        await provider.aclose()
        return played, server


async def test_every_word_comes_once_with_the_times_of_the_audio() -> None:
    """Words, interim results, starts and ends of speech, in an accent and in a detected language;
    after a drop, the SDK connects by itself and sends again what no final had."""
    accent = Accent(casing="lower", variants=1.0, splits=1.0, max_words=5)
    plain, accented, spanish, misheard, dropped = await asyncio.gather(
        heard(),
        heard(accent=accent),
        heard(speech=SPANISH, language=["en-US", "es-MX"]),
        heard(speech=SPANISH),
        heard(Drop(at_word=WORD, part=0.5, connections={0})),
    )
    for played, _ in (plain, accented, spanish, dropped):
        assert played.score.ok, str(played.score)
        assert played.finished
    played, server = plain
    (final,) = [e for _, e in played.events if e.type is SpeechEventType.FINAL_TRANSCRIPT]
    data = final.alternatives[0]
    # The plugin adds an offset in a stream of LiveKit's own; it is that of the first word here.
    assert data.end_time - data.start_time == pytest.approx(
        SPEECH.words[-1].end - SPEECH.words[0].start, abs=0.1
    )
    assert any(e.type is SpeechEventType.INTERIM_TRANSCRIPT for _, e in played.events)
    assert played.balanced
    (connection,) = server.connections
    assert connection.audio == pytest.approx(SPEECH.duration, abs=0.05)
    assert "fake-key" not in f"{connection.headers} {connection.query}"
    assert "REDACTED" in str(connection.headers).upper()
    found = {e.alternatives[0].language for _, e in spanish[0].events if e.alternatives}
    assert found == {"es-MX"}
    assert misheard[0].score.lost == misheard[0].score.words
    assert [c.ended for c in dropped[1].connections] == ["reset", "closed by the client with 1000"]


async def failure(*faults: Fault) -> tuple[str, FakeAzure]:
    """The text of a bare stream's error, without LiveKit's retries, and the server's log."""
    async with FakeAzure(faults=faults) as server:
        error = await failure_of(server.stt(), SPEECH, ONCE, APIConnectionError, within=15)
        return str(error), server


async def test_connections_are_not_accepted_or_end_with_an_error() -> None:
    """The SDK tries again by itself, but for a wrong key; its message says what it was."""
    results = await asyncio.gather(
        failure(Refuse()),
        failure(Status(401)),
        failure(Status(403)),
        failure(Status(429)),
        failure(Status(503)),
        failure(Drop(1011, "sorry", at_audio=0.5)),
        failure(InBandError(429, message="slow down", at_audio=0.5, then="close")),
    )
    texts = [text for text, _ in results]
    assert "no connection to the remote host" in texts[0]
    assert "401" in texts[1]
    assert "403" in texts[2]
    assert "429" in texts[3]
    assert "503" in texts[4]
    assert "1011" in texts[5]
    assert "parallel requests" in texts[6]
    assert len(results[1][1].connections) == 1
    assert len(results[4][1].connections) == 5
    messages = [str(sent.message) for sent in results[6][1].connections[0].sent]
    assert any("slow down" in message for message in messages)


async def silence(*faults: Fault) -> tuple[list[stt.SpeechEvent], FakeAzure]:
    """The events of a stream that never fails and tells nothing."""
    events: list[stt.SpeechEvent] = []
    async with FakeAzure(faults=faults) as server:
        provider = server.stt()
        stream = provider.stream(conn_options=ONCE)

        listener = asyncio.create_task(drain(stream, events.append))
        await push(stream, SPEECH)
        assert not listener.done()
        server.faults = ()  # else the SDK waits for an answer for 10 s, in a thread
        await stream.aclose()
        await asyncio.gather(listener, return_exceptions=True)
        await provider.aclose()
        return events, server


async def test_faults_of_open_connections() -> None:
    """Finals that are empty, lost or wrong lose words; garbage ends the session; a stall is
    silence, and no error."""
    (empty, lost, wrong), unparsable, (events, stalled) = await asyncio.gather(
        asyncio.gather(heard(EmptyFinals()), heard(LostFinal()), heard(Garbage("wrong_types"))),
        failure(Garbage("unparsable")),
        silence(Stall(at_word=WORD)),
    )
    for played, server in (empty, lost, wrong):
        assert played.score.lost == played.score.words
        assert len(server.triggered) == 1
    assert any(sent.garbage for sent in wrong[1].connections[0].sent)
    assert "Invalid response" in unparsable[0]
    assert SpeechEventType.FINAL_TRANSCRIPT not in {event.type for event in events}
    assert len(stalled.triggered) == 1
    assert stalled.connections[0].audio > 1.0


@pytest.mark.slow
async def test_a_stream_of_ours_closes_in_time_beside_a_server_that_hangs() -> None:
    """The plugin's own `aclose()` waits for the server for 10 s, in a thread of the executor."""
    async with FakeAzure(faults=[Hang()]) as server:
        ours = ResilientSTT([server.stt()])
        stream = ours.stream()
        listener = asyncio.create_task(drain(stream))
        await push(stream, SPEECH)
        async with asyncio.timeout(5):
            await stream.aclose()
            await ours.aclose()
        await asyncio.gather(listener, return_exceptions=True)
        assert asyncio.all_tasks() - {asyncio.current_task()}  # which the SDK still keeps waiting
        server.faults = ()


@pytest.mark.sweep  # because the SDK waits for 10 s, in a thread, before it gives a server up
async def test_a_server_that_never_answers_is_silent() -> None:
    """The plugin takes its session for started, and never tells that it is not."""
    (events, server), (played, azure), (stalled, _) = await asyncio.gather(
        silence(Hang()),
        chain(Hang(), azure_is_first=True),
        chain(Stall(at_word=WORD), azure_is_first=True),
    )
    assert SpeechEventType.FINAL_TRANSCRIPT not in {event.type for event in events}
    assert server.connections[0].ended == azure.connections[0].ended == "hung"
    assert played.score.ok, str(played.score)
    assert stalled.score.ok, str(stalled.score)


async def chain(*faults: Fault, azure_is_first: bool) -> tuple[Played, FakeAzure]:
    """What `ResilientSTT` gives with Azure and Deepgram, the first with these faults."""
    async with FakeAzure() as azure, FakeDeepgram() as deepgram:
        pair = [azure, deepgram] if azure_is_first else [deepgram, azure]
        pair[0].faults = faults
        ours = ResilientSTT([server.stt() for server in pair])
        played = await play(ours, SPEECH, patience=8.0)
        azure.faults = ()  # else the SDK waits for an answer for 10 s, in a thread
        await ours.aclose()
        return played, azure


async def test_a_chain_loses_and_repeats_no_word() -> None:
    """Behind `ResilientSTT`: a drop of either, a wrong key, a server error."""
    fault = Drop(at_word=WORD, part=0.5, connections={0})
    runs = {
        "azure drops": chain(fault, azure_is_first=True),
        "deepgram drops": chain(fault, azure_is_first=False),
        "deepgram refuses": chain(Status(503), azure_is_first=False),
        "azure's key": chain(Status(401), azure_is_first=True),
    }
    results = dict(zip(runs, await asyncio.gather(*runs.values()), strict=True))
    broken = {name: str(played.score) for name, (played, _) in results.items()}
    assert {k: v for k, v in broken.items() if not results[k][0].score.ok} == {}
