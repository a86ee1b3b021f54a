"""recognize(): whole buffers, by whoever answers first."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit.agents import APIConnectionError, APIConnectOptions, APIStatusError
from livekit.agents.stt import SpeechEventType, STTError

from resilient_stt import Policies, ProviderFailed, ResilientSTT, RetryPolicy, Switched
from resilient_stt.testing.faults import Hang, Refuse
from resilient_stt.testing.speech import ReferenceSpeech, plain

from .fakes import FakeStream, FakeSTT, arena, collect, frames, listen, says, transcribes

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
    with pytest.raises(APIConnectionError, match=r"no speech-to-text .* \(fake, other\)"):
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


async def test_a_cut_buffer_is_asked_for_elsewhere() -> None:
    """A connection lost in the middle of a buffer moves the whole buffer to the next provider."""
    first = FakeSTT(transcribes(until=1.0), offline_recognize=False)
    second = FakeSTT(transcribes(), offline_recognize=False)
    made = ResilientSTT([first, second])
    event = await made.recognize(list(SPEECH.padded(0.5).frames()))
    assert event.alternatives[0].text == SPEECH.text
    await made.aclose()
