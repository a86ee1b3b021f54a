"""recognize(): whole buffers, by whoever answers first."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from livekit.agents import APIConnectionError, APIConnectOptions, APIStatusError
from livekit.agents.stt import AvailabilityChangedEvent, SpeechEventType, STTError

from resilient_stt import Policies, ProviderFailed, ResilientSTT, RetryPolicy, Switched
from resilient_stt.testing.faults import Hang, Refuse
from resilient_stt.testing.speech import ReferenceSpeech, plain

from .fakes import (
    FakeStream,
    FakeSTT,
    arena,
    collect,
    fails,
    frames,
    listen,
    says,
    texts,
    transcribes,
)

pytestmark = pytest.mark.virtual_time

SPEECH = ReferenceSpeech.load("english").excerpt(0, 1)


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
    assert made.provider_named("fake-2") is second
    assert "serving='fake-2'" in repr(made)
    await made.aclose()


async def test_the_language() -> None:
    """`recognize(language=...)` reaches the provider."""
    event = await ResilientSTT([FakeSTT(text="hola")]).recognize(frames(), language="es")
    assert event.alternatives[0].language == "es"


async def test_nobody_answers() -> None:
    """With nobody answering the error is raised at once, with the names, and told once as final."""
    loop = asyncio.get_running_loop()
    made = ResilientSTT([FakeSTT(error=down()), FakeSTT(error=down(), provider="Other")])
    errors: list[STTError] = []
    failures: list[ProviderFailed] = []
    made.on("error", errors.append)
    made.on("provider_failed", failures.append)
    begun = loop.time()
    with pytest.raises(APIConnectionError, match=r"all STTs failed \(fake, other\)"):
        await made.recognize(frames(), conn_options=APIConnectOptions(max_retry=3))
    assert loop.time() - begun < 0.1
    assert [e.recoverable for e in errors] == [True, True, False]
    assert [(f.provider, f.reason) for f in failures] == [("fake", "dropped"), ("other", "dropped")]
    await made.aclose()


@pytest.mark.parametrize("error", [down(), RuntimeError("?"), NotImplementedError(), KeyError("x")])
async def test_any_error_is_a_failure(error: Exception) -> None:
    """Whatever a provider raises, the next one is asked."""
    made = ResilientSTT([FakeSTT(error=error), FakeSTT(text="hi")])
    assert (await made.recognize(frames())).alternatives[0].text == "hi"
    await made.aclose()


async def test_who_failed_is_asked_last() -> None:
    """A provider that failed comes last until it has answered again, by itself."""
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
    """A provider that stays down is asked a few times in the background, then left alone."""
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
    """A provider that refused the key is not asked in the background every second."""
    first = FakeSTT(error=APIStatusError("no", status_code=401))
    made = ResilientSTT([first, FakeSTT(text="hi")])
    await made.recognize(frames())
    await asyncio.sleep(60.0)
    assert len(first.recognized) == 1
    await made.aclose()


async def test_aclose_stops_recovery() -> None:
    """`aclose()` ends what goes on in the background, also in the middle of a request."""
    first = FakeSTT(error=down())
    made = ResilientSTT([first, FakeSTT(text="hi")])
    await made.recognize(frames())
    first.delay = 1000.0
    await asyncio.sleep(1.0)
    await made.aclose()


async def test_aclose_does_not_wait_for_who_cannot_be_stopped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A provider that swallows its cancellation is left alone after half a second."""
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
    assert [r.message for r in caplog.records if r.levelname == "ERROR"] == [
        "provider cannot be stopped"
    ]
    released.set()
    await asyncio.sleep(1.0)


async def test_the_attempt_timeout() -> None:
    """`attempt_timeout` is what a provider gets, as in `FallbackAdapter`, if it was given."""
    first, second = FakeSTT(text="hi"), FakeSTT(text="hi")
    await ResilientSTT([first], attempt_timeout=2.5).recognize(frames())
    await ResilientSTT([second]).recognize(frames())
    assert [f.recognized[0].timeout for f in (first, second)] == [2.5, 10.0]


async def test_cancelled() -> None:
    """A cancelled `recognize()` is no failure of the provider's."""
    made = ResilientSTT([FakeSTT(delay=100.0)])
    told: list[Any] = []
    listen(made, told.append)
    task = asyncio.create_task(made.recognize(frames()))
    await asyncio.sleep(1.0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert not told
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


# -- providers that can only stream


async def test_streams_the_buffer() -> None:
    """A streaming-only provider is streamed the buffer; its finals are one event."""
    made = ResilientSTT([FakeSTT(transcribes(), offline_recognize=False)])
    event = await made.recognize(list(SPEECH.padded(0.5).frames()))
    assert event.type is SpeechEventType.FINAL_TRANSCRIPT
    data = event.alternatives[0]
    assert data.text == SPEECH.text
    assert [w.text for w in SPEECH.words] == [str(w) for w in data.words or ()]
    await made.aclose()


@pytest.mark.parametrize("faults", [[], [Refuse()], [Hang()]], ids=["healthy", "refused", "hung"])
async def test_the_real_plugin(faults: list[Any]) -> None:
    """Cartesia's plugin, which cannot recognise a buffer by itself, does so over a stream."""
    async with arena(faults, only=("cartesia",)) as a:
        if not faults:
            event = await a.stt.recognize(list(SPEECH.frames()))
            said = event.alternatives[0].text.split()
            assert [plain(w) for w in said] == [plain(w.text) for w in SPEECH.words]
        else:
            with pytest.raises(APIConnectionError):
                await a.stt.recognize(list(SPEECH.frames()))


async def test_nothing_said() -> None:
    """Silence is an empty transcript, not a failure."""
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
    """A provider locked for its key in `recognize()` is not where the next stream begins."""
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
    """What a stream without audio says."""
    async with made.stream() as stream:
        stream.end_input()
        return texts(await collect(stream))


class Told:
    """Of whom it was told that it is available, or is not, in this order."""

    def __init__(self, made: ResilientSTT) -> None:
        self.changes: list[tuple[str, bool]] = []
        made.on("stt_availability_changed", self._changed)

    def _changed(self, event: AvailabilityChangedEvent) -> None:
        self.changes.append((event.stt.provider, event.available))


async def test_availability_is_told_once_per_change() -> None:
    """A provider that fails in streams and in buffers is lost once, and back once."""
    first = FakeSTT(fails(down()), error=down(), provider="First")
    made = ResilientSTT([first, FakeSTT(says("hi"), text="hi", provider="Second")])
    told = Told(made)
    for _ in range(2):
        assert await streamed(made) == ["hi"]
        assert (await made.recognize(frames())).alternatives[0].text == "hi"
    assert told.changes == [("First", False)]
    first.behaviour, first.error, first.text = says("ho"), None, "ho"
    await asyncio.sleep(30.0)
    assert told.changes == [("First", False), ("First", True)], "found out in the background"
    assert (await made.recognize(frames())).alternatives[0].text == "ho"
    assert await streamed(made) == ["ho"]
    assert len(told.changes) == 2
    await made.aclose()


async def test_a_stream_tells_that_a_provider_is_back() -> None:
    """What a buffer lost, the text of a stream brings back, and the next buffer begins there."""
    first = FakeSTT(says("ho"), error=down(), provider="First")
    made = ResilientSTT([first, FakeSTT(says("hi"), text="hi", provider="Second")])
    told = Told(made)
    await made.recognize(frames())
    assert told.changes == [("First", False)]
    first.error, first.text = None, "ho"
    assert await streamed(made) == ["ho"]
    assert told.changes == [("First", False), ("First", True)]
    assert (await made.recognize(frames())).alternatives[0].text == "ho"
    await asyncio.sleep(30.0)
    assert len(told.changes) == 2
    await made.aclose()


async def test_streams_at_the_same_time_tell_it_once() -> None:
    """Two streams and a buffer that lose the same provider at the same moment: one event."""
    first = FakeSTT(fails(down()), error=down(), provider="First")
    made = ResilientSTT([first, FakeSTT(says("hi"), text="hi", provider="Second")])
    told = Told(made)
    await asyncio.gather(streamed(made), streamed(made), made.recognize(frames()))
    assert told.changes == [("First", False)]
    await made.aclose()


async def test_wrong_credentials_are_told_once() -> None:
    """A refused key is one event for buffers, too, which says what to do."""
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


async def test_a_cut_buffer_is_asked_for_elsewhere() -> None:
    """A connection lost in the middle of a buffer moves the whole buffer to the next provider."""
    first = FakeSTT(transcribes(until=1.0), offline_recognize=False)
    second = FakeSTT(transcribes(), offline_recognize=False)
    made = ResilientSTT([first, second])
    event = await made.recognize(list(SPEECH.padded(0.5).frames()))
    assert event.alternatives[0].text == SPEECH.text
    await made.aclose()
