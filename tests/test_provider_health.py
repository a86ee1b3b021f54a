"""Providers that did nothing wrong, and providers that say what is wrong: real plugins, sockets."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from email.utils import formatdate
from time import time

import aiohttp
import pytest
from livekit.agents import APIConnectionError
from livekit.agents.stt import RecognizeStream

from resilient_stt import Policies, ResilientSTT, RetryPolicy
from resilient_stt.core.events import OutageStarted, ProviderFailed, Switched
from resilient_stt.testing.fakes.cartesia import FakeCartesia
from resilient_stt.testing.faults import Drop, Fault, HalfOpen, Hang, Refuse, Status
from resilient_stt.testing.harness.play import play
from resilient_stt.testing.speech.noise import join, silence
from resilient_stt.testing.speech.reference import ReferenceSpeech

from .support.fakes import Arena, arena, collect, listen, texts
from .support.trials import check

pytestmark = pytest.mark.stt_virtual_time

SPEECH = ReferenceSpeech.load("english").excerpt(0, 1)
WORDS = [w.text for w in SPEECH.words]
SAID = SPEECH.padded(1.5)
MUTED = [SAID.duration + 4, SAID.duration + 10]
MUTED += [2 * SAID.duration + 12 + 10 * n for n in range(1, 5)]
CLOSES: dict[str, tuple[Fault, ...]] = {
    "1000": tuple(Drop(1000, at_time=at) for at in MUTED),
    "1001": tuple(Drop(1001, at_time=at) for at in MUTED),
    "idle": tuple(Drop(1011, "Did not receive audio data in time.", at_time=at) for at in MUTED),
}


async def speak(stream: RecognizeStream, speech: ReferenceSpeech) -> None:
    for frame in speech.frames():
        stream.push_frame(frame)
        await asyncio.sleep(frame.duration)


@pytest.mark.parametrize("close", CLOSES)
@pytest.mark.parametrize("model", ["ink-whisper", "ink-2", "deepgram"])
async def test_idle_connections_are_no_failures(model: str, close: str) -> None:
    """A caller who is muted for a minute, between sentences, costs nobody anything."""
    faults = CLOSES[close]
    errors: list[object] = []
    async with AsyncExitStack() as stack:
        a: Arena = await stack.enter_async_context(
            arena(cartesia=faults, deepgram=faults, only=("deepgram", "cartesia"))
        )
        if model != "deepgram":
            http = await stack.enter_async_context(aiohttp.ClientSession())
            first = a.cartesia.stt(http_session=http, model=model)
            a.stt = ResilientSTT([first, a.deepgram.stt(http_session=http)])
            listen(a.stt, a.events.append)
        a.stt.on("error", errors.append)
        async with a.stt.stream() as stream:
            results = asyncio.create_task(collect(stream))
            await asyncio.sleep(0.0)
            for muted in (12.0, 45.0, 0.0):
                await speak(stream, SAID)
                await asyncio.sleep(muted)
            stream.end_input()
            assert " ".join(texts(await results)).split() == WORDS * 3
    serving, other = (0, 1) if model != "deepgram" else (1, 0)
    assert not [e for e in a.events if isinstance(e, ProviderFailed | OutageStarted | Switched)]
    assert not errors
    assert a.connections[other] == 0
    assert a.connections[serving] <= 5


async def test_a_provider_that_closes_every_connection_is_not_stormed() -> None:
    """Silence that is pushed opens a connection every few seconds at most, and speech at once."""
    async with arena(cartesia=[Drop(1000)]) as a:
        played = await play(a.stt, join(silence(30.0), SPEECH).padded(1.0))
    check(played, "closed at once")
    assert len([c for c in a.cartesia.connections if c.opened < 30]) <= 8


# -- attempts of a provider that is alone


@pytest.mark.parametrize(
    ("fault", "most", "said"),
    [
        (Status(400), 3, "APIStatusError 400"),
        (Status(404), 3, "APIStatusError 404"),
        (Status(429), 5, "APIStatusError 429"),
        (Status(429, headers={"Retry-After": "12"}), 3, "APIStatusError 429"),
        (Status(500), 12, "APIStatusError 500"),
        (Status(401), 5, "APIStatusError 401"),
        (Refuse(), 90, "without an answer|reset"),
        (Hang(), 90, "timeout"),
    ],
    ids=lambda value: repr(value) if isinstance(value, Fault) else "",
)
@pytest.mark.parametrize("provider", ["cartesia", "deepgram"])
async def test_attempts_on_a_sole_provider(
    provider: str, fault: Fault, most: int, said: str
) -> None:
    """Attempts in 20 s are bounded by the kind of failure; the last error says why it failed."""
    policies = Policies(retry=RetryPolicy(outage_limit=20.0))
    async with (
        arena(cartesia=[fault], deepgram=[fault], only=(provider,), policies=policies) as a,
        a.stt.stream() as stream,
    ):
        with pytest.raises(APIConnectionError, match=said) as raised:
            await collect(stream)
    assert sum(a.connections) <= most
    assert isinstance(raised.value.__cause__, APIConnectionError)
    failures = [e for e in a.events if isinstance(e, ProviderFailed)]
    assert failures
    assert all(e.detail for e in failures)


async def test_retry_after_as_a_date() -> None:
    """A date is obeyed as a number of seconds is: the next attempt is its last second at most."""
    fault = Status(429, until=15, headers={"Retry-After": formatdate(time() + 21, usegmt=True)})
    async with arena(deepgram=[fault], only=("deepgram",)) as a:
        played = await play(a.stt, join(SPEECH, silence(25.0), SPEECH).padded(1.0))
    check(played, "a date")
    assert [round(c.opened) for c in a.deepgram.connections][:1] == [0]
    assert 15 <= a.deepgram.connections[1].opened <= 22


@pytest.mark.parametrize("fault", [Refuse(until=20), Hang(until=20), Status(503, until=20)])
async def test_recovery_is_noticed_within_a_second(fault: Fault) -> None:
    """Where the kind of failure may pass at any moment, it is tried often enough."""
    async with arena(deepgram=[fault], only=("deepgram",)) as a:
        played = await play(a.stt, join(SPEECH, silence(15.0), SPEECH).padded(1.0))
    check(played, "back")
    assert any(20 <= c.opened <= 21 for c in a.deepgram.connections)


@pytest.mark.parametrize("key", ["sk-one\n", "sk-\r\none"])
async def test_a_key_that_no_header_can_hold(key: str) -> None:
    """It is told as a matter of credentials, and the key is in no message."""
    events: list[object] = []
    policies = Policies(retry=RetryPolicy(outage_limit=3.0))
    async with FakeCartesia() as server, aiohttp.ClientSession() as http:
        stt = ResilientSTT([server.stt(http_session=http, api_key=key)], policies=policies)
        listen(stt, events.append)
        async with stt.stream() as stream:
            with pytest.raises(APIConnectionError, match="line break") as raised:
                await collect(stream)
    failures = [e for e in events if isinstance(e, ProviderFailed)]
    assert {e.reason for e in failures} == {"auth"}
    assert "line break" in failures[0].detail
    assert key.strip() not in f"{raised.value!r} {failures!r}"


# -- a peer that stops reading


@pytest.mark.parametrize("provider", ["cartesia", "deepgram"])
async def test_a_peer_that_stops_reading_in_silence(provider: str) -> None:
    """What the plugin has not sent is bounded: the connection is opened anew."""
    fault = HalfOpen(at_time=8.0, connections={0})
    async with arena(cartesia=[fault], deepgram=[fault], only=(provider,)) as a:
        played = await play(a.stt, join(SPEECH, silence(60.0), SPEECH).padded(1.0))
    check(played, "half-open in silence")
    assert sum(a.connections) >= 2
    (failed,) = [e for e in a.events if isinstance(e, ProviderFailed)][:1]
    assert failed.at < 8.0 + 50.0
