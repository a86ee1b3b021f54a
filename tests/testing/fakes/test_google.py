"""The fake Google with its published plugin, and behind `ResilientSTT`: what is Google's own."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from _pytest.mark import ParameterSet
from livekit.agents import APIConnectOptions, APIStatusError, stt
from livekit.agents.stt import SpeechEventType
from livekit.agents.utils import http_context

from resilient_stt import ResilientSTT
from resilient_stt.testing import (
    Accent,
    Drop,
    FakeDeepgram,
    FakeGoogle,
    Fault,
    Hang,
    InBandError,
    Played,
    ReferenceSpeech,
    Refuse,
    Stall,
    Status,
    play,
)

from ...support.bare_stream import failure_of

pytest.importorskip("livekit.plugins.google")

pytestmark = pytest.mark.stt_virtual_time

SPEECH = ReferenceSpeech.load("english").excerpt(0, 3).padded(1.0)


@pytest.fixture
async def google() -> AsyncIterator[FakeGoogle]:
    async with http_context.open(), FakeGoogle() as server:
        yield server
    gc.collect()  # what the plugin leaves of calls that were cut off
    await asyncio.sleep(1)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        # The plugin forgets it in a call that is closed before gRPC has begun it.
        if "Event.wait" in repr(task.get_coro()):
            task.cancel()
    await asyncio.sleep(1)
    gc.collect()
    await asyncio.sleep(1)


async def heard(provider: stt.STT[Any], speech: ReferenceSpeech = SPEECH) -> Played:
    try:
        return await play(provider, speech, patience=6.0)
    finally:
        await provider.aclose()


def of_type(played: Played, kind: SpeechEventType) -> list[stt.SpeechEvent]:
    return [event for _, event in played.events if event.type is kind]


LOST_STATUS = "Internal error from Core"
"""What `grpc.aio` may tell in place of the server's status, if the server ends a call while a
message is on its way (1.85)."""


async def failure(server: FakeGoogle, *faults: Fault) -> APIStatusError:
    """The error of a bare stream that is not tried again, unless gRPC has lost its status."""
    server.faults = faults
    options = APIConnectOptions(max_retry=0)
    for _ in range(5):
        error = await failure_of(server.stt(), SPEECH, options, APIStatusError, within=30)
        if not error.message.startswith(LOST_STATUS):
            break
    return error


# --- what it sends ---


async def test_interim_results_without_confidence_are_dropped_by_the_plugin(
    google: FakeGoogle,
) -> None:
    """Google gives no confidence before a result is final; the plugin wants 0.65."""
    by_default = await heard(google.stt())
    all_of_them = await heard(google.stt(min_confidence_threshold=0.0))
    assert not of_type(by_default, SpeechEventType.INTERIM_TRANSCRIPT)
    assert of_type(all_of_them, SpeechEventType.INTERIM_TRANSCRIPT)
    # On a busy machine gRPC's threads may fall behind, and the plugin opens another stream.
    assert sum(sum("isFinal" not in str(m) for m in c.sent) > 2 for c in google.connections) >= 2


async def test_voice_activity_events_are_sent_if_they_are_asked_for(google: FakeGoogle) -> None:
    played = await heard(google.stt(enable_voice_activity_events=True))
    assert len(of_type(played, SpeechEventType.START_OF_SPEECH)) == len(played.finals)
    assert played.balanced


@pytest.mark.parametrize("model", ["chirp_2", "chirp_3"])
async def test_version_2_of_the_api(google: FakeGoogle, model: str) -> None:
    """Chirp models are called by version 2; chirp_3 has no times of words."""
    played = await heard(google.stt(model=model, enable_voice_activity_events=True))
    assert played.score.ok, str(played.score)
    assert google.connections[0].path == "/google.cloud.speech.v2.Speech/StreamingRecognize"
    assert played.balanced
    if model == "chirp_3":
        assert not any(final.words for final in played.finals)
    else:
        assert played.score.ts_err_max_s is not None
        assert played.score.ts_err_max_s < 0.1


@pytest.mark.parametrize("model", ["latest_long", "chirp_2"])
async def test_a_recording_is_recognized(google: FakeGoogle, model: str) -> None:
    provider = google.stt(model=model)
    event = await provider.recognize([*SPEECH.frames()])
    await provider.aclose()
    expected = [word.text for word in SPEECH.words]
    assert event.alternatives[0].text.split() == expected
    assert google.connections[0].audio == pytest.approx(SPEECH.duration, abs=0.01)


async def test_languages_are_those_of_the_configuration(google: FakeGoogle) -> None:
    """A language that was not asked for becomes wrong words; one of several is named."""
    spanish = ReferenceSpeech.load("spanish").excerpt(0, 1).padded(1.0)
    wrong = await heard(google.stt(), spanish)
    right = await heard(google.stt(languages=["en-US", "es-MX"]), spanish)
    assert wrong.score.lost == wrong.score.words
    assert right.score.ok, str(right.score)
    assert {
        event.alternatives[0].language.lower() for _, event in right.events if event.alternatives
    } == {"es-mx"}


# --- how its calls end ---


@pytest.mark.parametrize(
    ("status", "reported", "words"),
    [
        (401, 401, "invalid authentication credentials"),
        (403, 403, "denied"),
        (402, 403, "billing"),
        (429, 429, "exhausted"),
        (503, 503, "unavailable"),
        (500, 500, "Error"),
    ],
)
async def test_a_status_is_the_one_of_grpc(
    google: FakeGoogle, status: int, reported: int, words: str
) -> None:
    error = await failure(google, Status(status))
    assert error.status_code == reported
    assert words in error.message


async def test_a_stream_that_lasts_too_long_is_out_of_range(google: FakeGoogle) -> None:
    """After 305 s Google ends a stream with OUT_OF_RANGE, which is status 400."""
    assert google.max_stream == 305
    google.max_stream = 3.0
    error = await failure(google)
    assert error.status_code == 400
    assert "maximum allowed stream duration of 3 seconds" in error.message
    assert google.connections[0].audio == pytest.approx(3.0, abs=0.3)


async def test_an_in_band_error_that_closes_is_the_status_of_the_call(google: FakeGoogle) -> None:
    error = await failure(google, InBandError(429, message="slow down", at_audio=2, then="close"))
    assert error.status_code == 429
    assert "slow down" in error.message


async def test_an_idle_stream_is_aborted_and_the_plugin_starts_another(google: FakeGoogle) -> None:
    """Status 409 is no failure to the plugin: it calls again, without a word to anybody."""
    google.idle_timeout = 1.0
    provider = google.stt()
    stream = provider.stream(conn_options=APIConnectOptions(max_retry=0))
    stream.push_frame(next(iter(SPEECH.frames())))
    await asyncio.sleep(2.5)
    await stream.aclose()
    await provider.aclose()
    assert [connection.ended for connection in google.connections][:2] == ["closed with 10"] * 2


async def test_a_call_without_a_configuration_is_refused(google: FakeGoogle) -> None:
    import grpc.aio  # type: ignore[import-untyped]

    async with grpc.aio.insecure_channel(google.url.removeprefix("http://")) as channel:
        call = channel.stream_stream("/google.cloud.speech.v1.Speech/StreamingRecognize")()
        await call.write(b"")
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        other = channel.unary_unary("/google.cloud.speech.v1.Speech/LongRunningRecognize")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await other(b"")
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
        del call, other, raised


# --- behind ResilientSTT ---


DROP = Drop(at_word=7, part=0.5, connections={0})
CUT = Drop(1006, at_word=4, part=0.5, connections={0})
ABORTED = InBandError(409, at_word=9, part=0.5, connections={0}, then="close")
STALL = Stall(at_word=7, connections={0})


def seldom(*values: object) -> ParameterSet:
    return pytest.param(*values, marks=pytest.mark.sweep)


@pytest.mark.parametrize(
    ("first", "fault"),
    [
        ("google", DROP),
        ("deepgram", DROP),
        ("google", ABORTED),
        seldom("google", CUT),
        seldom("deepgram", CUT),
        seldom("google", STALL),
        seldom("deepgram", STALL),
        seldom("google", Refuse()),
        seldom("google", Hang()),
        seldom("deepgram", Refuse()),
    ],
    ids=repr,
)
async def test_a_chain_loses_and_repeats_no_word(
    google: FakeGoogle, first: str, fault: Fault
) -> None:
    async with FakeDeepgram() as deepgram:
        pair = [google, deepgram] if first == "google" else [deepgram, google]
        pair[0].faults = [fault]
        played = await heard(ResilientSTT([server.stt() for server in pair]))
    assert played.score.ok, str(played.score)
    assert {item.fault for item in pair[0].triggered} == {fault}
    if fault in (DROP, CUT):  # the plugin is told at once, and does not find out by silence
        at = pair[0].triggered[0].at
        opened = [c.opened for server in pair for c in server.connections if c.opened >= at]
        assert min(opened) - at < 1.0


async def test_virtual_time_waits_while_grpc_connects() -> None:
    """To connect may take gRPC's threads long: the clock does not run ahead of them."""

    class Slow(FakeGoogle):
        async def _admit(self, link: Any) -> bool:
            loop, passed = asyncio.get_running_loop(), asyncio.Event()
            threading.Timer(0.2, loop.call_soon_threadsafe, [passed.set]).start()
            await passed.wait()
            return await super()._admit(link)

    async with http_context.open(), Slow() as server:
        played = await heard(server.stt())
    assert played.score.ok, str(played.score)
    assert server.connections[0].opened < 1.0


async def test_a_chain_whose_google_ends_streams_that_last_too_long(google: FakeGoogle) -> None:
    google.max_stream = 5.0
    async with FakeDeepgram() as deepgram:
        played = await heard(ResilientSTT([google.stt(), deepgram.stt()]))
    assert played.score.ok, str(played.score)
    assert google.connections[0].ended == "closed with 11"


@pytest.mark.sweep
@pytest.mark.parametrize("status", [401, 429, 503])
async def test_a_chain_whose_google_accepts_nobody(google: FakeGoogle, status: int) -> None:
    google.faults = [Status(status)]
    async with FakeDeepgram() as deepgram:
        played = await heard(ResilientSTT([google.stt(), deepgram.stt()]))
    assert played.score.ok, str(played.score)


async def test_accents_behind_a_chain(google: FakeGoogle) -> None:
    google.accent, accent = Accent.drawn(1), Accent.drawn(2)
    google.faults = [Drop(at_word=8, part=0.5, connections={0})]
    async with FakeDeepgram(accent=accent) as deepgram:
        played = await heard(ResilientSTT([google.stt(), deepgram.stt()]))
    played.accents = [google.accent, accent]
    assert played.score.ok, str(played.score)
