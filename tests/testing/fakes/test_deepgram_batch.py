"""The fake Deepgram's batch endpoint, with the plugin's `recognize` and with bare requests."""

from __future__ import annotations

import asyncio
import io
import wave
from typing import Any

import aiohttp
import numpy as np
import pytest
from livekit.agents import (
    APIConnectionError,
    APIConnectOptions,
    APIError,
    APITimeoutError,
    stt,
)

from resilient_stt.testing.fakes.deepgram import FakeDeepgram
from resilient_stt.testing.faults import Drop, Hang, Latency, Refuse, Stall, Status
from resilient_stt.testing.speech.reference import ReferenceSpeech

from ...support.streams import ENGLISH, SHORT, listen, nothing_left_behind

pytestmark = pytest.mark.stt_virtual_time

SPANISH = ReferenceSpeech.load("spanish")
Samples = np.ndarray[Any, np.dtype[np.int16]]
CONNECT = APIConnectOptions(max_retry=0, timeout=1.5)
HEADERS = {"Authorization": "Token key"}


async def recognized(
    server: FakeDeepgram, speech: ReferenceSpeech = SHORT, **options: Any
) -> stt.SpeechEvent:
    """Transcribe a recording with the plugin's `recognize`."""
    async with aiohttp.ClientSession() as session:
        plugin = server.stt(http_session=session, **options)
        return await plugin.recognize(list(speech.frames()), conn_options=CONNECT)


async def failure(server: FakeDeepgram) -> APIError:
    with pytest.raises(APIError) as raised:
        await recognized(server)
    return raised.value


async def posted(
    server: FakeDeepgram, body: bytes, query: dict[str, str], headers: dict[str, str] = HEADERS
) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(server.url, params=query, data=body) as response,
    ):
        assert response.headers["dg-request-id"] == server.connections[-1].request_id
        return response.status, await response.json()


def wav(
    samples: np.ndarray[Any, np.dtype[np.int16]], *, channels: int = 1, width: int = 2
) -> bytes:
    with io.BytesIO() as buffer, wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(16_000)
        file.writeframes(samples.tobytes())
        file.close()
        return buffer.getvalue()


async def test_the_plugin_gets_every_word_at_its_time() -> None:
    """The plugin gets all words at their times as one final; the log has the length and the
    response."""
    async with nothing_left_behind(), FakeDeepgram() as server:
        event = await recognized(server, ENGLISH)
    (data,) = event.alternatives
    assert event.type is stt.SpeechEventType.FINAL_TRANSCRIPT
    assert data.text == ENGLISH.text
    assert data.language == "en-US"
    assert data.words is not None
    for heard, spoken in zip(data.words, ENGLISH.words, strict=True):
        assert heard.start_time == pytest.approx(spoken.start, abs=0.02)
        assert heard.end_time == pytest.approx(spoken.end, abs=0.02)
    (connection,) = server.connections
    assert event.request_id == connection.request_id
    assert connection.audio == pytest.approx(ENGLISH.duration, abs=0.001)
    assert connection.ended == "answered with 200"
    assert connection.closed is not None
    assert len(connection.sent) == 1


async def test_the_language_is_detected_if_asked_for() -> None:
    """With `detect_language` the response has the language of the words, otherwise it has none."""
    async with FakeDeepgram() as server:
        event = await recognized(server, SPANISH, detect_language=True)
        assert event.alternatives[0].language == "es"
        _, body = await posted(server, wav(SPANISH.samples), {})
        assert "detected_language" not in body["results"]["channels"][0]
        _, body = await posted(server, wav(SHORT.samples), {"detect_language": "true"})
        assert body["results"]["channels"][0]["detected_language"] == "en"
        _, body = await posted(server, wav(SHORT.samples[:100]), {"detect_language": "true"})
        assert body["results"]["channels"][0]["detected_language"] == "en"


async def test_an_answer_has_deepgrams_form() -> None:
    """A response has metadata without a type, and one channel with one alternative."""
    async with FakeDeepgram() as server:
        query = {"punctuate": "true", "language": "multi", "model": "nova-3"}
        status, body = await posted(server, wav(SPANISH.samples), query)
    assert status == 200
    assert set(body) == {"metadata", "results"}
    assert "type" not in body["metadata"]
    assert body["metadata"]["duration"] == pytest.approx(SPANISH.duration, abs=0.001)
    ((alternative,),) = (channel["alternatives"] for channel in body["results"]["channels"])
    assert alternative["transcript"] == SPANISH.text
    assert alternative["languages"] == ["es"]
    assert alternative["words"][0]["punctuated_word"] == SPANISH.words[0].text


async def test_raw_audio_and_stereo_are_accepted() -> None:
    """Raw audio needs its encoding and rate in the query; of several channels the first is used."""
    raw = {"encoding": "linear16", "sample_rate": "16000", "punctuate": "true"}
    stereo = np.stack([SHORT.samples, np.zeros_like(SHORT.samples)], axis=1)
    async with FakeDeepgram() as server:
        answers = [
            await posted(server, SHORT.samples.tobytes(), raw),
            await posted(server, wav(stereo, channels=2), {"punctuate": "true"}),
        ]
    for status, body in answers:
        assert status == 200
        alternative = body["results"]["channels"][0]["alternatives"][0]
        assert alternative["transcript"] == " ".join(word.text for word in SHORT.words)


@pytest.mark.parametrize(
    ("body", "query", "headers", "status"),
    [
        (b"sound", {}, HEADERS, 400),
        (b"sound", {"encoding": "linear16"}, HEADERS, 400),
        (b"RIFF", {}, HEADERS, 400),
        (wav(SHORT.samples, width=1), {}, HEADERS, 400),
        (wav(SHORT.samples), {}, {}, 401),
    ],
    ids=["no form", "no rate", "no file", "8 bit", "no key"],
)
async def test_bad_batch_requests_are_rejected(
    body: bytes, query: dict[str, str], headers: dict[str, str], status: int
) -> None:
    """A body that is not audio, or a request without a key, gets Deepgram's error object."""
    async with FakeDeepgram() as server:
        answer = await posted(server, body, query, headers)
        assert server.connections[0].ended == f"rejected with {status}"
    assert answer[0] == status
    assert set(answer[1]) == {"err_code", "err_msg", "request_id"}


async def test_a_refused_batch_request() -> None:
    """A reset is a connection error of the plugin, and counts as one attempt."""
    async with FakeDeepgram(faults=[Refuse()]) as server:
        assert type(await failure(server)) is APIConnectionError
    assert [connection.ended for connection in server.connections] == ["refused"]


async def test_a_hung_batch_request() -> None:
    """The plugin gives up a request that hangs after 30 s, whatever its options are."""
    loop = asyncio.get_running_loop()
    async with nothing_left_behind(), FakeDeepgram(faults=[Hang()]) as server:
        begin = loop.time()
        assert type(await failure(server)) is APITimeoutError
        assert loop.time() - begin == pytest.approx(30, abs=1)
    assert server.connections[0].ended == "hung"


@pytest.mark.parametrize("code", [401, 429, 500])
async def test_a_status_for_a_batch_request(code: int) -> None:
    """The plugin takes Deepgram's error object for a response, and raises a connection error."""
    async with FakeDeepgram(faults=[Status(code)]) as server:
        error = await failure(server)
    assert type(error) is APIConnectionError
    assert isinstance(error.__cause__, KeyError)
    assert server.connections[0].ended == f"status {code}"


async def test_latency_delays_batch_answers() -> None:
    """The option and the faults without a place in the audio add up."""
    loop = asyncio.get_running_loop()
    faults = [Latency(2), Latency(4, at_time=0), Latency(8, at_word=1), Latency(16, at_time=99)]
    async with FakeDeepgram(latency=0.5, faults=faults) as server:
        begin = loop.time()
        await recognized(server)
        assert loop.time() - begin == pytest.approx(6.5, abs=0.1)


async def test_streams_and_batches_are_numbered_together() -> None:
    """Batch requests are counted together with connections, for the faults' `connections`."""
    async with FakeDeepgram(faults=[Status(500, connections={1}), Drop(at_word=0)]) as server:
        assert (await listen(server)).error is not None
        await failure(server)
        assert (await recognized(server)).alternatives[0].text
    assert [connection.index for connection in server.connections] == [0, 1, 2]


async def test_faults_of_streams_do_not_affect_batches() -> None:
    """Neither a stall nor the concurrency of websockets affects batch requests."""
    faults = [Stall(), Drop(at_time=0.1)]
    async with FakeDeepgram(faults=faults, concurrency=0, latency=0.3) as server:
        assert (await recognized(server)).alternatives[0].text
