"""Every fake server with its published plugin: words, times, faults, and what it logs."""

from __future__ import annotations

import asyncio
import gc
import importlib
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from livekit.agents import APIError
from livekit.agents.utils import http_context

from resilient_stt.testing import (
    Drop,
    EmptyFinals,
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
from resilient_stt.testing.fakes.registry import FAKES
from resilient_stt.testing.fakes.server import FakeServer
from resilient_stt.testing.fakes.web import FakeWebServer
from resilient_stt.testing.speech.accent import Accent

PLUGINS = {"flux": "livekit.plugins.deepgram", "inference": "livekit.agents.inference"}
"""Where a plugin is, if it has not the fake's name."""
UNTIMED = {"soniox", "openai", "sarvam", "speechmatics", "elevenlabs"}
"""Those whose finals have no times of words, with the options of `stt()`."""
REAL_TIME = {"azure"}
"""Those that keep real time; they have their own tests."""

pytestmark = [
    pytest.mark.stt_virtual_time,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(params=sorted(FAKES.keys() - REAL_TIME))
async def fake(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[FakeServer]:
    name: str = request.param
    pytest.importorskip(PLUGINS.get(name, f"livekit.plugins.{name}"))
    async with http_context.open(), FAKES[name]() as server:
        yield server
        if name == "speechmatics":
            await leave_no_task()
    if name == "google":
        # A logged error of gRPC keeps its call, and the channel, alive.
        caplog.get_records("call").clear()
        await collect_calls()


async def leave_no_task() -> None:
    """Cancel what Speechmatics' plugin leaves behind when a connection breaks."""
    await asyncio.sleep(15)  # its package closes its sockets later
    for task in asyncio.all_tasks():
        if "_process_messages" in str(task.get_coro()):
            task.cancel()


async def collect_calls() -> None:
    """Collect what Google's plugin leaves to the garbage collector when a call cannot begin: the
    generator of the requests, with a task that waits, and the channel of the client."""
    gc.collect()
    await asyncio.sleep(1)


def name_of(server: FakeServer) -> str:
    return next(name for name, kind in FAKES.items() if type(server) is kind)


async def played(server: FakeServer, *faults: Fault, seconds: int = 2) -> Played:
    """The first sentences, through the bare plugin."""
    server.faults = faults
    stt = server.stt()
    speech = ReferenceSpeech.load("english").excerpt(0, seconds).padded(1.0)
    try:
        return await play(stt, speech, patience=6.0)
    except APIError:  # of `aclose` of Speechmatics' streams
        return Played(speech)
    finally:
        await stt.aclose()


async def test_every_word_comes_once(fake: FakeServer) -> None:
    result = await played(fake)
    assert result.score.ok, result.score
    assert len(fake.connections) == 1


async def test_times_are_those_of_the_audio(fake: FakeServer) -> None:
    result = await played(fake)
    if name_of(fake) in UNTIMED:
        assert not any(final.words for final in result.finals)
    else:
        worst = result.score.ts_err_max_s
        assert worst is not None
        assert worst < 0.1


async def test_the_printed_call_connects(fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `serve` prints makes the plugin of another process connect to the server."""
    plugin = type(fake).plugin
    if plugin == "google":
        pytest.skip("no option leads it there")
    module = importlib.import_module(PLUGINS.get(plugin, f"livekit.plugins.{plugin}"))
    if "XAI_WEBSOCKET_URL" in fake.plugin_call:
        monkeypatch.setattr(module.stt, "XAI_WEBSOCKET_URL", "")  # restores it afterwards
    *patches, call = fake.plugin_call.split("; ")
    for patch in patches:
        exec(patch, {plugin: module})
    stt = eval(call, {plugin: module})
    speech = ReferenceSpeech.load("english").excerpt(0, 1).padded(1.0)
    try:
        result = await play(stt, speech, patience=6.0)
    finally:
        await stt.aclose()
    assert result.score.ok, result.score


async def test_no_key_is_logged(fake: FakeServer) -> None:
    await played(fake, seconds=1)
    (connection,) = fake.connections
    assert "fake-key" not in f"{connection.headers} {connection.query}"


@pytest.mark.parametrize("fault", [Refuse(), Hang(), Status(401), Status(429), Status(503)])
async def test_connections_are_not_accepted(fake: FakeServer, fault: Fault) -> None:
    result = await played(fake, fault, seconds=1)
    assert result.score.lost == result.score.words
    assert fake.triggered
    assert not any(connection.sent for connection in fake.connections)


async def test_a_drop_ends_the_connection_in_mid_word(fake: FakeServer) -> None:
    await played(fake, Drop(at_word=4, part=0.5, connections={0}))
    first = fake.connections[0]
    assert first.ended == "reset"
    assert 1.0 < first.audio < 3.0


async def test_a_stall_sends_nothing_more(fake: FakeServer) -> None:
    result = await played(fake, Stall(at_word=4))
    assert result.score.lost >= result.score.words - 4


async def test_finals_can_be_empty(fake: FakeServer) -> None:
    result = await played(fake, EmptyFinals())
    assert result.score.lost == result.score.words


async def test_a_final_can_be_lost(fake: FakeServer) -> None:
    result = await played(fake, LostFinal())
    assert result.score.lost > 0


@pytest.mark.parametrize("what", ["unparsable", "no_text", "wrong_types", "list", "unknown_type"])
async def test_garbage_comes_instead_of_transcripts(fake: FakeServer, what: Any) -> None:
    await played(fake, Garbage(what), seconds=1)
    assert any(sent.garbage is not None for sent in fake.connections[0].sent)


async def test_an_error_comes_as_a_message(fake: FakeServer) -> None:
    await played(fake, InBandError(429, message="slow down", at_word=4, then="close"), seconds=1)
    messages = [str(sent.message) for sent in fake.connections[0].sent]
    assert any("slow down" in message for message in messages)


async def test_the_fixtures_run_their_servers(
    fake_assemblyai: FakeServer, fake_soniox: FakeServer
) -> None:
    async with aiohttp.ClientSession() as session:
        for server in (fake_assemblyai, fake_soniox):
            assert isinstance(server, FakeWebServer)
            url = server.url + server.path.removeprefix(server.base_path)
            async with session.get(url) as response:
                assert response.status == 401
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("model", "least"), [("universal-3-6-pro", 2.9), ("universal-streaming-english", 0.2)]
)
async def test_the_interims_of_universal_3_are_few(model: str, least: float) -> None:
    """AssemblyAI's newer models, among them the plugin's default, give one every three seconds."""
    pytest.importorskip("livekit.plugins.assemblyai")
    async with http_context.open(), FAKES["assemblyai"]() as server:
        stt = server.stt(model=model)
        result = await play(stt, ReferenceSpeech.load("english").excerpt(0, 0).padded(1.0))
        await stt.aclose()
    interims = [at for at, event in result.events if event.type == "interim_transcript"]
    final = next(at for at, event in result.events if event.type == "final_transcript")
    gaps = [b - a for a, b in pairwise(at for at in interims if at < final - 0.5)]
    assert least <= min(gaps) <= least + 0.5


async def test_an_accent(fake: FakeServer) -> None:
    """Every provider writes with its accent; the score knows every word, told of the accent."""
    fake.accent = Accent(casing="lower", variants=1.0, splits=1.0, max_words=5)
    found = await played(fake)
    found.accents = [fake.accent]
    assert found.score.ok, str(found.score)
    text = " ".join(final.text for final in found.finals).lower()
    assert "thur sday" in text
    assert "it's" in text
