"""`recognize()`: whole buffers, by the first provider that answers."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import asdict
from typing import Any

import aiohttp
import numpy as np
import pytest
from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, APIStatusError
from livekit.agents.stt import AvailabilityChangedEvent, SpeechEventType, STTError
from livekit.agents.types import NOT_GIVEN
from livekit.agents.utils import http_context

from resilient_stt import (
    AudioFormatError,
    ConfigurationError,
    Policies,
    ProviderFailed,
    ResilientSTT,
    RetryPolicy,
    Switched,
)
from resilient_stt.core.policy import Pace
from resilient_stt.livekit.frames import PIECE, mono
from resilient_stt.testing.fakes.cartesia import FakeCartesia
from resilient_stt.testing.fakes.deepgram import FakeDeepgram
from resilient_stt.testing.fakes.elevenlabs import FakeElevenLabs
from resilient_stt.testing.faults import Fault, Hang, Refuse, Status
from resilient_stt.testing.speech.reference import ReferenceSpeech, plain

from .support.fakes import (
    Behavior,
    FakeStream,
    FakeSTT,
    a_vad,
    arena,
    collect,
    fails,
    frames,
    hangs,
    listen,
    routed,
    says,
    texts,
    transcribes,
)

pytestmark = pytest.mark.stt_virtual_time

SPEECH = ReferenceSpeech.load("english").excerpt(0, 1)

PACE = Pace()
WAIT_FLOOR = RetryPolicy().wait_floor


def down() -> APIConnectionError:
    return APIConnectionError("down")


async def test_the_first_that_answers() -> None:
    """Providers are tried in order, each once, without LiveKit's own retries."""
    first, second, third = FakeSTT(error=down()), FakeSTT(text="hi"), FakeSTT(text="ho")
    made = ResilientSTT([first, second, third])
    event = await made.recognize(frames(), conn_options=APIConnectOptions(max_retry=3, timeout=4))
    assert event.alternatives[0].text == "hi"
    assert [len(f.recognized) for f in (first, second, third)] == [1, 1, 0]
    assert (first.recognized[0].max_retry, first.recognized[0].timeout) == (0, 4)
    assert made.providers[1] is second
    assert "serving='fake-2'" in repr(made)
    await made.aclose()


async def test_the_language() -> None:
    """`recognize(language=...)` reaches the provider."""
    event = await ResilientSTT([FakeSTT(text="hola")]).recognize(frames(), language="es")
    assert event.alternatives[0].language == "es"


async def test_nobody_answers() -> None:
    """If no provider answers in any round, one final error names all of them."""
    loop = asyncio.get_running_loop()
    providers = FakeSTT(error=down()), FakeSTT(error=down(), provider="Other")
    made = ResilientSTT(providers)
    errors: list[STTError] = []
    failures: list[ProviderFailed] = []
    made.on("error", errors.append)
    made.on("provider_failed", failures.append)
    begun = loop.time()
    with pytest.raises(APIConnectionError, match=r"all STTs failed \(fake, other\)"):
        await made.recognize(frames(), conn_options=APIConnectOptions(max_retry=3))
    assert [len(p.recognized) for p in providers] == [
        4,
        4,
    ]  # once, and `reconnect_budget` times more
    retry = made.policies.retry
    assert 3 * WAIT_FLOOR <= loop.time() - begun <= 3 * retry.wait_max + 0.1
    assert [e.recoverable for e in errors] == [True, True, False], "of failures alike, the first"
    assert [(f.provider, f.reason) for f in failures] == [("fake", "dropped"), ("other", "dropped")]
    await made.aclose()


@pytest.mark.parametrize("error", [down(), RuntimeError("?"), NotImplementedError(), KeyError("x")])
async def test_any_error_is_a_failure(error: Exception) -> None:
    """Whatever a provider raises, the next one is asked."""
    made = ResilientSTT([FakeSTT(error=error), FakeSTT(text="hi")])
    assert (await made.recognize(frames())).alternatives[0].text == "hi"
    await made.aclose()


@pytest.mark.parametrize(
    ("fault", "reason", "said"),
    [
        (Status(401), "auth", "auth (APIStatusError 401)"),
        (Status(402), "quota", "quota (APIStatusError 402)"),
        (Status(404), "bad_request", "bad_request (APIStatusError 404)"),
        (Status(429), "rate_limited", "rate_limited (APIStatusError 429)"),
        (Status(503), "server", "server (APIStatusError 503)"),
        (Refuse(), "connect", "connect (APIConnectionError: connection reset)"),
        (Hang(), "connect", "connect (TimeoutError)"),
    ],
    ids=lambda value: repr(value) if isinstance(value, Fault) else "",
)
async def test_the_last_error_says_why(fault: Fault, reason: str, said: str) -> None:
    """The kind, and the status or the cause, of a real plugin's error, in the event and at last."""
    pytest.importorskip("livekit.plugins.elevenlabs")
    failures: list[ProviderFailed] = []
    async with http_context.open(), FakeElevenLabs(faults=[fault]) as server:
        provider = server.stt(model="scribe_v1")
        made = ResilientSTT(
            [provider], vad=a_vad(), policies=Policies(retry=RetryPolicy(outage_limit=5.0))
        )
        made.on("provider_failed", failures.append)
        with pytest.raises(APIConnectionError, match=re.escape(f"elevenlabs: {said}")) as raised:
            await made.recognize(frames(), conn_options=APIConnectOptions(timeout=1.0))
        await made.aclose()
        await provider.aclose()
    assert {failure.reason for failure in failures} == {reason}
    assert all(failure.detail in said for failure in failures)
    assert isinstance(raised.value.__cause__, APIConnectionError)
    assert "fake-key" not in f"{raised.value!r} {raised.value.__cause__!r} {failures!r}"


async def test_a_failed_provider_is_asked_last() -> None:
    """A provider that failed is asked last until background recovery gets an answer from it."""
    first, second = FakeSTT(error=down()), FakeSTT(text="hi")
    made = ResilientSTT([first, second])
    await made.recognize(frames())
    await made.recognize(frames())
    assert (len(first.recognized), len(second.recognized)) == (1, 2)
    first.error, first.text = None, "ho"
    await asyncio.sleep(3.0)
    assert (await made.recognize(frames())).alternatives[0].text == "ho"
    await made.aclose()


async def test_recovery_has_an_end() -> None:
    """A provider that stays down is tried in the background a few times only."""
    first = FakeSTT(error=down())
    made = ResilientSTT([first, FakeSTT(text="hi")])
    await made.recognize(frames())
    await asyncio.sleep(60.0)
    tries = len(first.recognized)
    assert 2 <= tries <= 10
    await asyncio.sleep(600.0)
    assert len(first.recognized) == tries
    await made.aclose()


async def test_wrong_credentials_are_not_asked_again() -> None:
    """A provider that refused the API key is not tried in the background."""
    first = FakeSTT(error=APIStatusError("no", status_code=401))
    made = ResilientSTT([first, FakeSTT(text="hi")])
    await made.recognize(frames())
    await asyncio.sleep(60.0)
    assert len(first.recognized) == 1
    await made.aclose()


async def test_aclose_stops_recovery() -> None:
    """`aclose()` stops background recovery, also in the middle of a request."""
    first = FakeSTT(error=down())
    made = ResilientSTT([first, FakeSTT(text="hi")])
    await made.recognize(frames())
    first.delay = 1000.0
    await asyncio.sleep(1.0)
    await made.aclose()


async def test_aclose_does_not_wait_for_a_stubborn_provider(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """`aclose()` waits half a second at most for a provider that swallows its cancellation."""
    begun, released = asyncio.Event(), asyncio.Event()

    class Stubborn(FakeSTT):
        async def _recognize_impl(self, *args: Any, **kwargs: Any) -> Any:
            if not self.recognized:
                return await super()._recognize_impl(*args, **kwargs)
            begun.set()
            while not released.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await released.wait()
            raise down()

    made = ResilientSTT([Stubborn(error=down()), FakeSTT(text="hi")])
    await made.recognize(frames())
    await begun.wait()
    at = asyncio.get_running_loop().time()
    await made.aclose()
    assert asyncio.get_running_loop().time() - at < 1.0
    released.set()  # first, so that a failure does not hang
    await asyncio.sleep(1.0)
    assert [r.message for r in caplog.records if r.levelname == "ERROR"] == [
        "provider cannot be stopped: resilient_stt.recover-fake"
    ]


async def test_the_attempt_timeout() -> None:
    """A provider gets `attempt_timeout` if it was given, as in `FallbackAdapter`."""
    first, second = FakeSTT(text="hi"), FakeSTT(text="hi")
    await ResilientSTT([first], attempt_timeout=2.5).recognize(frames())
    await ResilientSTT([second]).recognize(frames())
    assert [f.recognized[0].timeout for f in (first, second)] == [2.5, 10.0]


async def test_cancelled() -> None:
    """Cancelling `recognize()` does not count as a failure of the provider."""
    made = ResilientSTT([FakeSTT(delay=100.0)])
    reported: list[Any] = []
    listen(made, reported.append)
    task = asyncio.create_task(made.recognize(frames()))
    await asyncio.sleep(1.0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert not reported
    await made.aclose()


async def test_a_hanging_provider_is_left() -> None:
    """A provider that does not answer is left after the timeout."""
    loop = asyncio.get_running_loop()
    made = ResilientSTT([FakeSTT(delay=10_000.0), FakeSTT(text="hi")])
    begun = loop.time()
    event = await made.recognize(frames(), conn_options=APIConnectOptions(timeout=4.0))
    assert event.alternatives[0].text == "hi"
    assert loop.time() - begun <= 4.0 + 1.0 + 0.1  # the timeout, and the length of the buffer
    await made.aclose()


# -- rounds


def limited(retry_after: float) -> APIStatusError:
    return APIStatusError("no", status_code=429, body={"retry-after": retry_after})


REFUSED = APIStatusError("no", status_code=401)
BAD = APIStatusError("no", status_code=400)


async def test_asks_again_until_one_answers() -> None:
    """Failures that may pass are retried; a provider that is back in the next round answers."""
    first, second = FakeSTT(error=down()), FakeSTT(error=down(), provider="Second")
    made = ResilientSTT([first, second])
    reported = AvailabilityLog(made)
    asyncio.get_running_loop().call_later(0.2, setattr, second, "error", None)
    second.text = "hi"
    event = await made.recognize(frames())
    assert event.alternatives[0].text == "hi"
    assert (len(first.recognized), len(second.recognized)) == (2, 2)
    assert reported.changes == [("Fake", False), ("Second", False), ("Second", True)]
    assert made.provider == "Second"
    await made.aclose()


async def test_no_retries() -> None:
    """`max_retry_per_stt=0` means one round without a wait."""
    loop = asyncio.get_running_loop()
    providers = FakeSTT(error=down()), FakeSTT(error=down())
    made = ResilientSTT(providers, max_retry_per_stt=0)
    begun = loop.time()
    with pytest.raises(APIConnectionError, match=r"all STTs failed \(fake, fake-2\)"):
        await made.recognize(frames())
    assert [len(p.recognized) for p in providers] == [1, 1]
    assert loop.time() - begun < WAIT_FLOOR
    await made.aclose()


@pytest.mark.parametrize(
    ("errors", "asked"),
    [((REFUSED, BAD), [1, 1]), ((BAD, down()), [1, 4]), ((down(), REFUSED), [4, 1])],
    ids=["none", "second", "first"],
)
async def test_permanent_failures_are_not_retried(
    errors: tuple[Exception, Exception], asked: list[int]
) -> None:
    """After a refused API key or a bad request a provider is not asked in later rounds."""
    providers = [FakeSTT(error=error) for error in errors]
    made = ResilientSTT(providers)
    with pytest.raises(APIConnectionError, match=r"all STTs failed \(fake, fake-2\)"):
        await made.recognize(frames())
    assert [len(p.recognized) for p in providers] == asked
    await made.aclose()


@pytest.mark.parametrize(
    ("errors", "waited", "asked"),
    [
        ((limited(7.0), limited(9.0)), 7.0, 4),
        ((limited(7.0), down()), WAIT_FLOOR, 4),
        ((limited(99.0),), 0.0, 1),
    ],
    ids=["soonest", "one did not ask", "too long"],
)
async def test_waits_as_long_as_it_is_asked_to(
    errors: tuple[Exception, ...], waited: float, asked: int
) -> None:
    """If all ask to be left alone, the shortest time is waited, within the outage limit."""
    loop = asyncio.get_running_loop()
    providers = [FakeSTT(error=error) for error in errors]
    made = ResilientSTT(providers)
    begun = loop.time()
    with pytest.raises(APIConnectionError):
        await made.recognize(frames())
    rounds = asked - 1
    assert waited * rounds <= loop.time() - begun <= (waited + 0.5) * rounds + 0.1
    assert len(providers[0].recognized) == asked
    await made.aclose()


@pytest.mark.parametrize("limit", [0.0, 3.0, 6.0])
async def test_the_outage_limit(limit: float) -> None:
    """Rounds among hanging providers end at the limit plus the length of the audio."""
    loop = asyncio.get_running_loop()
    providers = FakeSTT(delay=10_000.0), FakeSTT(delay=10_000.0)
    made = ResilientSTT(providers, policies=Policies(retry=RetryPolicy(outage_limit=limit)))
    begun = loop.time()
    with pytest.raises(APIConnectionError):
        await made.recognize(frames(1.0), conn_options=APIConnectOptions(timeout=4.0))
    first_round = 2 * (4.0 + 1.0)
    lasted = loop.time() - begun - first_round
    assert limit - WAIT_FLOOR <= lasted <= limit + 1.0 + 0.1
    assert max(o.timeout for p in providers for o in p.recognized) == 4.0
    await made.aclose()


# -- routes


def spanish(**providers: FakeSTT) -> ResilientSTT:
    """`es` has the reverse route of `default`; `detect` has the third provider alone."""
    routes = {"default": ["a", "b"], "es": ["b", "a"], "detect": ["multi"]}
    traits = {"multi": {"language_detection": True}}
    return routed({"multi": FakeSTT(text="?"), **providers}, routes, traits=traits)


@pytest.mark.parametrize(
    ("language", "served", "heard_in"),
    [
        ("es", "b", "es"),
        ("es-MX", "b", "es-MX"),
        ("spanish", "b", "es"),
        ("fr", "a", "fr"),
        ("", "multi", ""),
        (None, "multi", ""),
        ("multi", "multi", ""),
    ],
)
async def test_the_route_of_a_language(language: str | None, served: str, heard_in: str) -> None:
    """`language=` chooses the route; it is passed on, except to a provider that detects it."""
    fakes = {"a": FakeSTT(text="a"), "b": FakeSTT(text="b"), "multi": FakeSTT(text="multi")}
    made = spanish(**fakes)
    given = NOT_GIVEN if language is None else language
    event = await made.recognize(frames(), language=given)
    assert event.alternatives[0].text == served
    assert {name: fake.languages for name, fake in fakes.items() if fake.languages} == {
        served: [heard_in]
    }


async def test_our_own_language() -> None:
    """Without `language=`, the constructor's or the last one given to `update_options` counts."""
    a, b = FakeSTT(text="a"), FakeSTT(text="b")
    made = spanish(a=a, b=b)
    made.update_options(language="es")
    await made.recognize(frames())
    assert (a.languages, b.languages) == ([], ["es"])
    await made.recognize(frames(), language="de")
    assert (a.languages, b.languages) == (["de"], ["es"])


async def test_fails_over_within_the_route() -> None:
    """Only the providers of the route are asked, the one that failed last comes last."""
    a, b, multi = FakeSTT(text="a"), FakeSTT(error=down()), FakeSTT(text="?")
    made = spanish(a=a, b=b, multi=multi)
    event = await made.recognize(frames(), language="es")
    assert event.alternatives[0].text == "a"
    a.error = down()
    with pytest.raises(APIConnectionError, match=r"all STTs failed \(a, b\)"):
        await made.recognize(frames(), language="es")
    assert not multi.recognized
    await made.aclose()


async def test_without_a_language() -> None:
    """Without a known language and a route for that, each provider uses its own language."""
    fake = FakeSTT(text="hi")
    await ResilientSTT([fake]).recognize(frames())
    assert fake.languages == [""]


async def test_a_language_that_is_not_a_string() -> None:
    """A language that is not a string is refused before any provider is asked."""
    fake = FakeSTT(text="hi")
    wrong: Any = 7
    with pytest.raises(ConfigurationError, match="language must be a BCP 47 tag"):
        await ResilientSTT([fake]).recognize(frames(), language=wrong)
    assert not fake.recognized


SPANISH = ReferenceSpeech.load("spanish").excerpt(0, 1)


@pytest.mark.parametrize("down", [False, True], ids=["streamed", "posted"])
async def test_the_real_plugins_in_spanish(down: bool) -> None:
    """Cartesia's plugin is streamed the buffer, Deepgram's posts it, in the order of the route."""
    async with (
        FakeCartesia(faults=[Refuse()] if down else []) as c,
        FakeDeepgram() as d,
        aiohttp.ClientSession() as http,
    ):
        plugins = {
            "deepgram": d.stt(http_session=http),
            "cartesia": c.stt(model="ink-whisper", http_session=http),
        }
        routes = {"default": ["deepgram"], "es": ["cartesia", "deepgram"]}
        made = routed(plugins, routes)
        event = await made.recognize(list(SPANISH.frames()), language="es")
        data = event.alternatives[0]
        assert [plain(w) for w in data.text.split()] == [plain(w.text) for w in SPANISH.words]
        assert data.language == "es"
        assert made.provider == ("Deepgram" if down else "Cartesia")
        assert [x.query["language"] for x in c.connections] == ["es"]
        assert [x.query["language"] for x in d.connections] == (["es"] if down else [])
        await made.aclose()


# -- providers that can only stream


async def test_streams_the_buffer() -> None:
    """A streaming-only provider is streamed the buffer; its finals are joined into one event."""
    made = ResilientSTT([FakeSTT(transcribes(), offline_recognize=False)])
    event = await made.recognize(list(SPEECH.padded(0.5).frames()))
    assert event.type is SpeechEventType.FINAL_TRANSCRIPT
    data = event.alternatives[0]
    assert data.text == SPEECH.text
    assert [w.text for w in SPEECH.words] == [str(w) for w in data.words or ()]
    await made.aclose()


@pytest.mark.parametrize("faults", [[], [Refuse()], [Hang()]], ids=["healthy", "refused", "hung"])
async def test_the_real_plugin(faults: list[Any]) -> None:
    """Cartesia's plugin, which only streams, recognizes a buffer over a stream."""
    async with arena(faults, only=("cartesia",)) as a:
        if not faults:
            event = await a.stt.recognize(list(SPEECH.frames()))
            said = event.alternatives[0].text.split()
            assert [plain(w) for w in said] == [plain(w.text) for w in SPEECH.words]
        else:
            with pytest.raises(APIConnectionError):
                await a.stt.recognize(list(SPEECH.frames()))


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
async def test_the_real_plugin_with_all_of_a_recording(rate: int) -> None:
    """A buffer longer than the burst comes back with every word once and in order, at any rate."""
    speech = ReferenceSpeech.load("english")
    async with arena(only=("cartesia",)) as a:
        event = await a.stt.recognize(list(speech.frames(sample_rate=rate, channels=2)))
    said = event.alternatives[0].text.split()
    assert [plain(w) for w in said] == [plain(w.text) for w in speech.words]


async def test_silence_is_an_empty_transcript() -> None:
    """Silence gives an empty transcript and counts as an answer."""
    made = ResilientSTT([FakeSTT(offline_recognize=False)])
    event = await made.recognize(frames(), language="es")
    assert event.alternatives[0].text == ""
    assert event.alternatives[0].language == "es"
    await made.aclose()


async def test_several_channels() -> None:
    """A stereo buffer is mixed down for a provider that is streamed it."""
    made = ResilientSTT([FakeSTT(transcribes(), offline_recognize=False)])
    event = await made.recognize(list(SPEECH.padded(0.5).frames(channels=2)))
    assert event.alternatives[0].text == SPEECH.text
    await made.aclose()


async def test_a_stream_that_never_ends_is_left() -> None:
    """A streaming-only provider that never ends its stream does not hold up the caller forever."""

    async def behave(stream: FakeStream) -> None:
        await stream.listen()
        await asyncio.Event().wait()

    loop = asyncio.get_running_loop()
    made = ResilientSTT([FakeSTT(behave, offline_recognize=False), FakeSTT(text="hi")])
    begun = loop.time()
    event = await made.recognize(frames(1.0), conn_options=APIConnectOptions(timeout=4.0))
    assert event.alternatives[0].text == "hi"
    assert loop.time() - begun <= 6.0
    await made.aclose()


# -- batch and stream share their providers' health


async def test_failures_in_batch_steer_streams() -> None:
    """A provider whose key was refused in `recognize()` is not the first of the next stream."""
    first = FakeSTT(error=APIStatusError("no", status_code=401))
    second = FakeSTT(says("hi"), text="hi")
    made = ResilientSTT([first, second], policies=Policies(retry=RetryPolicy()))
    switches: list[Switched] = []
    made.on("switched", switches.append)
    await made.recognize(frames())
    async with made.stream() as stream:
        stream.end_input()
        await collect(stream)
    assert (len(first.streams), len(second.streams)) == (0, 1)
    assert not switches
    await made.aclose()


async def streamed(made: ResilientSTT) -> list[str]:
    """Return the texts that a stream without audio gives."""
    async with made.stream() as stream:
        stream.end_input()
        return texts(await collect(stream))


class AvailabilityLog:
    """Records availability changes, in order."""

    def __init__(self, made: ResilientSTT) -> None:
        self.changes: list[tuple[str, bool]] = []
        made.on("stt_availability_changed", self._changed)

    def _changed(self, event: AvailabilityChangedEvent) -> None:
        self.changes.append((event.stt.provider, event.available))


async def test_availability_is_reported_once_per_change() -> None:
    """A provider that fails in streams and buffers becomes unavailable once and available once."""
    first = FakeSTT(fails(down()), error=down(), provider="First")
    made = ResilientSTT([first, FakeSTT(says("hi"), text="hi", provider="Second")])
    reported = AvailabilityLog(made)
    for _ in range(2):
        assert await streamed(made) == ["hi"]
        assert (await made.recognize(frames())).alternatives[0].text == "hi"
    assert reported.changes == [("First", False)]
    first.behavior, first.error, first.text = says("ho"), None, "ho"
    await asyncio.sleep(30.0)
    assert reported.changes == [("First", False), ("First", True)], "found out in the background"
    assert (await made.recognize(frames())).alternatives[0].text == "ho"
    assert await streamed(made) == ["ho"]
    assert len(reported.changes) == 2
    await made.aclose()


async def test_text_in_a_stream_makes_a_provider_available() -> None:
    """Text in a stream makes a provider available that failed at a buffer, and preferred again."""
    first = FakeSTT(says("ho"), error=down(), provider="First")
    made = ResilientSTT([first, FakeSTT(says("hi"), text="hi", provider="Second")])
    reported = AvailabilityLog(made)
    await made.recognize(frames())
    assert reported.changes == [("First", False)]
    first.error, first.text = None, "ho"
    assert await streamed(made) == ["ho"]
    assert reported.changes == [("First", False), ("First", True)]
    assert (await made.recognize(frames())).alternatives[0].text == "ho"
    await asyncio.sleep(30.0)
    assert len(reported.changes) == 2
    await made.aclose()


async def test_simultaneous_failures_are_reported_once() -> None:
    """Two streams and a buffer that lose one provider at the same moment make one event."""
    first = FakeSTT(fails(down()), error=down(), provider="First")
    made = ResilientSTT([first, FakeSTT(says("hi"), text="hi", provider="Second")])
    reported = AvailabilityLog(made)
    await asyncio.gather(streamed(made), streamed(made), made.recognize(frames()))
    assert reported.changes == [("First", False)]
    await made.aclose()


async def test_wrong_credentials_are_reported_once() -> None:
    """A refused API key is reported once for buffers, too, with what to do."""
    made = ResilientSTT([FakeSTT(error=APIStatusError("no", status_code=401))])
    failures: list[ProviderFailed] = []
    made.on("provider_failed", failures.append)
    try:
        for _ in range(3):
            with pytest.raises(APIConnectionError):
                await made.recognize(frames())
    finally:
        await made.aclose()
    [failure] = failures
    assert (failure.reason, failure.advice[:18]) == ("auth", "check its API key;")


async def test_a_cut_buffer_goes_to_the_next_provider() -> None:
    """If a connection drops in the middle of a buffer, the next provider gets the whole buffer."""
    first = FakeSTT(transcribes(until=1.0), offline_recognize=False)
    second = FakeSTT(transcribes(), offline_recognize=False)
    made = ResilientSTT([first, second])
    event = await made.recognize(list(SPEECH.padded(0.5).frames()))
    assert event.alternatives[0].text == SPEECH.text
    await made.aclose()


# -- how a buffer is streamed


class Fed:
    """A stream's audio, and when it came."""

    def __init__(self) -> None:
        self.pieces: list[tuple[float, rtc.AudioFrame]] = []

    async def __call__(self, stream: FakeStream) -> None:
        loop = asyncio.get_running_loop()
        async for frame in stream.received():
            if frame is not None:
                self.pieces.append((loop.time(), frame))
        stream.final("done")

    @property
    def samples(self) -> bytes:
        return b"".join(bytes(frame.data.cast("B")) for _, frame in self.pieces)


def noise(seconds: float, rate: int = 16_000, channels: int = 1) -> rtc.AudioFrame:
    """One frame."""
    count = round(seconds * rate)
    drawn = np.random.default_rng(1).integers(-999, 999, count * channels).astype(np.int16)
    return rtc.AudioFrame(drawn.tobytes(), rate, channels, count)


def streamed_by(behavior: Behavior, pace: Pace = PACE) -> ResilientSTT:
    fake = FakeSTT(behavior, offline_recognize=False)
    return routed({"fake": fake}, {"default": ["fake"]}, traits={"fake": {"pace": asdict(pace)}})


@pytest.mark.parametrize("pace", [PACE, Pace(burst=0.05, rate=1.0), Pace(burst=20.0, rate=3.0)])
@pytest.mark.parametrize("rate", [8_000, 48_000])
async def test_a_buffer_is_paced(pace: Pace, rate: int) -> None:
    """A buffer is sent as a burst and then at the provider's rate."""
    fed, loop = Fed(), asyncio.get_running_loop()
    begun = loop.time()
    event = await streamed_by(fed, pace).recognize(noise(30.0, rate))
    assert event.alternatives[0].text == "done"
    sent = 0.0
    for at, frame in fed.pieces:
        sent += frame.duration
        assert sent <= pace.burst + pace.rate * (at - begun) + PIECE
    assert loop.time() - begun == pytest.approx((30.0 - pace.burst) / pace.rate, abs=2 * PIECE)


async def test_ten_minutes() -> None:
    """The timeout is extended by the length of the buffer."""
    loop = asyncio.get_running_loop()
    fed, begun = Fed(), loop.time()
    buffer = noise(600.0, 8_000)
    event = await streamed_by(fed).recognize(buffer, conn_options=APIConnectOptions(timeout=1.0))
    assert event.alternatives[0].text == "done"
    assert fed.samples == bytes(buffer.data.cast("B"))
    assert loop.time() - begun == pytest.approx((600.0 - PACE.burst) / PACE.rate, abs=1.0)


LENGTHS = [0.01, 0.35, 0.0, 1.0, 0.1, 0.0001]


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("lengths", [[2.0], LENGTHS], ids=["one", "several"])
async def test_any_format(rate: int, channels: int, lengths: list[float]) -> None:
    """Frames of any length, rate and number of channels are sent complete, mono and in short
    pieces.
    """
    fed = Fed()
    parts = [noise(seconds, rate, channels) for seconds in lengths]
    await streamed_by(fed).recognize(parts if len(parts) > 1 else parts[0])
    assert fed.samples == b"".join(bytes(mono(part).data.cast("B")) for part in parts)
    for _, piece in fed.pieces:
        assert 0 < piece.samples_per_channel <= PIECE * rate
        assert (piece.num_channels, piece.sample_rate) == (1, rate)


NOTHING: list[Any] = [[], noise(0.0), [noise(0.0), noise(0.0)]]


@pytest.mark.parametrize("buffer", NOTHING, ids=["empty list", "no samples", "frames without"])
async def test_an_empty_buffer(buffer: Any) -> None:
    """An empty buffer is not streamed to streaming-only providers; others answer it themselves."""
    streams, posts = FakeSTT(offline_recognize=False), FakeSTT(text="?")
    event = await ResilientSTT([streams, posts]).recognize(buffer, language="es")
    assert event.type is SpeechEventType.FINAL_TRANSCRIPT
    assert [(a.text, a.language) for a in event.alternatives] == [("", "es")]
    assert not streams.streams
    assert not posts.recognized
    event = await ResilientSTT([posts]).recognize(buffer)
    assert event.alternatives[0].text == "?"


async def test_an_empty_buffer_proves_nothing() -> None:
    """An empty answer to an empty buffer does not make a failed provider available."""
    first = FakeSTT(fails(down()), offline_recognize=False, provider="First")
    second = FakeSTT(text="hi", provider="Second")
    made = ResilientSTT([first, second])
    reported = AvailabilityLog(made)
    await made.recognize(frames())
    await made.recognize([])
    assert reported.changes == [("First", False)]
    assert made.provider == "Second"
    await made.aclose()


@pytest.mark.parametrize(
    ("buffer", "message"),
    [
        (b"\0\0", r"takes a livekit.rtc.AudioFrame or a list of them, not a bytes"),
        ([noise(0.1), None], r"not a list with a NoneType"),
        ((noise(0.1),), r"not a tuple"),
        ([noise(0.1), noise(0.1, 8_000)], r"several: 8000 Hz with 1 channels, 16000 Hz with 1"),
        ([noise(0.1), noise(0.1, channels=2)], r"16000 Hz with 1 channels, 16000 Hz with 2"),
        (rtc.AudioFrame(b"", 0, 1, 0), r"1 channels at 0 Hz holds no audio"),
    ],
)
async def test_refuses_what_is_not_audio(buffer: Any, message: str) -> None:
    """What is not audio is refused, and no provider is blamed."""
    fake = FakeSTT(text="hi")
    made = ResilientSTT([fake])
    reported: list[Any] = []
    listen(made, reported.append)
    with pytest.raises(AudioFormatError, match=message):
        await made.recognize(buffer)
    assert not fake.recognized
    assert not reported


async def test_the_next_provider_gets_the_whole_buffer() -> None:
    """If a provider dies in the middle of a paced buffer, its error is reported, and the next one
    gets all of it.
    """
    loop = asyncio.get_running_loop()
    fed = Fed()

    async def dies(stream: FakeStream) -> None:
        async for frame in stream.received():
            if frame is not None and stream.audio > 12.0:
                raise APIStatusError("gone", status_code=1011)

    first = FakeSTT(dies, offline_recognize=False)
    made = ResilientSTT([first, FakeSTT(fed, offline_recognize=False)])
    failures: list[ProviderFailed] = []
    made.on("provider_failed", failures.append)
    begun, buffer = loop.time(), noise(20.0)
    event = await made.recognize(buffer)
    assert event.alternatives[0].text == "done"
    assert fed.samples == bytes(buffer.data.cast("B"))
    assert fed.pieces[0][0] - begun == pytest.approx((12.0 - PACE.burst) / PACE.rate, abs=0.2)
    assert [f.detail for f in failures] == ["APIStatusError 1011"]
    await made.aclose()


async def test_a_stream_that_ends_too_early() -> None:
    """The finals of a stream that ended before the buffer was sent are not used."""

    async def leaves(stream: FakeStream) -> None:
        stream.final("half")

    first = FakeSTT(leaves, offline_recognize=False)
    made = ResilientSTT([first, FakeSTT(text="whole")])
    assert (await made.recognize(noise(20.0))).alternatives[0].text == "whole"
    await made.aclose()


@pytest.mark.parametrize(
    ("behavior", "detail"),
    [
        (hangs, "RuntimeError"),
        (fails(APIStatusError("gone", status_code=1011), after=0.01), "APIStatusError 1011"),
    ],
    ids=["hangs", "dies"],
)
async def test_a_stream_that_takes_no_audio(behavior: Behavior, detail: str) -> None:
    """A stream that refuses frames is left at once, with its own error if it has one."""

    class Refusing(FakeStream):
        def push_frame(self, frame: rtc.AudioFrame) -> None:
            raise RuntimeError("broken")

    class RefusingSTT(FakeSTT):
        kind = Refusing

    loop = asyncio.get_running_loop()
    made = ResilientSTT([RefusingSTT(behavior, offline_recognize=False), FakeSTT(text="hi")])
    failures: list[ProviderFailed] = []
    made.on("provider_failed", failures.append)
    begun = loop.time()
    assert (await made.recognize(noise(20.0))).alternatives[0].text == "hi"
    assert loop.time() - begun < 1.0
    assert [f.detail for f in failures] == [detail]
    await made.aclose()


@pytest.mark.parametrize(
    ("finals", "text"),
    [
        (["one", " two ", ""], "one two"),
        (["你好。", "世界"], "你好。世界"),
        (["你好", "Bob", "再见"], "你好 Bob 再见"),
        ([], ""),
    ],
)
async def test_finals_are_joined(finals: list[str], text: str) -> None:
    """Finals are joined with spaces, except in scripts without spaces."""

    async def tells(stream: FakeStream) -> None:
        await stream.listen()
        for final in finals:
            stream.final(final)

    event = await streamed_by(tells).recognize(noise(1.0))
    assert event.alternatives[0].text == text
