"""`recognize()`: answers that lack speech, and the second answer that checks them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIConnectionError, LanguageCode, stt

from resilient_stt import Policies, ProviderFailed, ResilientSTT, SpeechEdge, WatchdogPolicy
from resilient_stt.testing.faults import DropAfterClose, EmptyFinals, Fault, Garbage
from resilient_stt.testing.speech.reference import ReferenceSpeech, plain

from .support.fakes import FakeStream, FakeSTT, arena, frames, listen, says

pytestmark = pytest.mark.stt_virtual_time

SPEECH = ReferenceSpeech.load("english").excerpt(0, 4)
MIDDLE = len(SPEECH.words) // 2

LIES = {
    "the end is lost": DropAfterClose(connections={0}),
    "the middle is lost": Garbage(at_word=MIDDLE, connections={0}),
    "all is garbage": Garbage(connections={0}),
    "finals are empty": EmptyFinals(connections={0}),
}


class Hears:
    """A detector of one stretch of speech, in seconds; also the factory of itself."""

    def __init__(self, start: float, end: float) -> None:
        self._start, self._end = start, end

    def __call__(self) -> Hears:
        return self

    def push(self, frame: rtc.AudioFrame) -> Iterator[SpeechEdge]:
        self._rate = frame.sample_rate
        yield from ()

    def finish(self) -> Iterator[SpeechEdge]:
        yield SpeechEdge(True, round(self._start * self._rate))
        yield SpeechEdge(False, round(self._end * self._rate))


HEARS = Hears(0.2, 1.9)


def down() -> APIConnectionError:
    return APIConnectionError("down")


def streams(text: str, **data: Any) -> FakeSTT:
    """A streaming-only provider that gives this final; none if the text is empty."""
    behavior = says(text, **data) if text else FakeStream.listen
    return FakeSTT(behavior, offline_recognize=False)


def watched(made: ResilientSTT) -> list[Any]:
    reported: list[Any] = []
    listen(made, reported.append)
    return reported


@pytest.mark.parametrize("lie", LIES.values(), ids=list(LIES))
@pytest.mark.parametrize("only", [("cartesia",), ("cartesia", "deepgram")], ids=["sole", "two"])
async def test_an_answer_with_missing_words_is_replaced(lie: Fault, only: tuple[str, ...]) -> None:
    """A provider that ends cleanly with speech missing has failed; another answer is returned."""
    async with arena([lie], only=only) as a:
        event = await a.stt.recognize(list(SPEECH.frames()))
        said = event.alternatives[0].text.split()
        assert [plain(w) for w in said] == [plain(w.text) for w in SPEECH.words]
        assert a.stt.provider == ("Cartesia" if len(only) == 1 else "Deepgram")
        [failure] = [e for e in a.events if isinstance(e, ProviderFailed)]
        assert (failure.provider, failure.reason) == ("cartesia", "stalled")
        assert failure.detail.endswith(" s of speech missing")


@pytest.mark.parametrize("kind", ["cartesia", "deepgram"])
async def test_a_complete_answer_is_not_checked(kind: str) -> None:
    """A complete answer needs no second one."""
    async with arena(only=(kind,)) as a:
        await a.stt.recognize(list(ReferenceSpeech.load("english").frames()))
        assert len(a.cartesia.connections) + len(a.deepgram.connections) == 1
        assert not a.events


async def test_an_empty_answer_is_checked() -> None:
    """An empty answer to speech is checked by a second one, whose usage has the role `hedge`."""
    deaf, vad_enabled = FakeSTT(text=""), FakeSTT(text="hi")
    made = ResilientSTT([deaf, vad_enabled], vad=HEARS)
    used: list[Any] = []
    made.on("metrics_collected", used.append)
    assert (await made.recognize(frames(2.0))).alternatives[0].text == "hi"
    reported = [(m.metadata.provider, m.metadata.role) for m in used]
    assert reported == [("fake", "active"), ("fake-2", "hedge")]
    await made.aclose()


@pytest.mark.parametrize("count", [1, 2])
async def test_noise_is_blamed_on_no_provider(count: int) -> None:
    """Detected speech that a second answer does not contain either was not speech."""
    fakes = [streams("") for _ in range(count)]
    made = ResilientSTT(list(fakes), vad=HEARS)
    reported = watched(made)
    event = await made.recognize(frames(2.0))
    assert event.alternatives[0].text == ""
    assert sum(len(fake.streams) for fake in fakes) == 2
    assert "serving='fake'" in repr(made)
    assert not reported
    await made.aclose()


async def test_the_better_of_two_is_returned() -> None:
    """Of two answers that lack speech, the one that lacks less is returned."""
    most, less = streams("a b", end_time=1.2), streams("a", end_time=0.6)
    for route in ([most, less], [less, most]):
        made = ResilientSTT(list(route), vad=HEARS)
        assert (await made.recognize(frames(2.0))).alternatives[0].text == "a b"
        await made.aclose()


@pytest.mark.parametrize("retries", [0, 2])
async def test_an_incomplete_answer_is_better_than_none(retries: int) -> None:
    """Without another answer, the incomplete one is returned, and its provider is not blamed."""
    first = streams("half of it", end_time=0.9)
    made = ResilientSTT([first, FakeSTT(error=down())], max_retry_per_stt=retries, vad=HEARS)
    reported = watched(made)
    assert (await made.recognize(frames(2.0))).alternatives[0].text == "half of it"
    assert len(first.streams) == (2 if retries else 1)
    assert {e.provider for e in reported if isinstance(e, ProviderFailed)} == {"fake-2"}
    await made.aclose()


@pytest.mark.parametrize(
    ("vad", "watchdog"),
    [(None, WatchdogPolicy()), (HEARS, WatchdogPolicy(hedging=False))],
    ids=["no voice activity", "no second opinions"],
)
async def test_without_second_answers(vad: Any, watchdog: WatchdogPolicy) -> None:
    """Without VAD or hedging, no answer is checked."""
    first, second = streams(""), FakeSTT(text="hi")
    made = ResilientSTT([first, second], vad=vad, policies=Policies(watchdog=watchdog))
    assert (await made.recognize(frames(2.0))).alternatives[0].text == ""
    assert not second.recognized
    await made.aclose()


async def test_second_answers_have_a_budget() -> None:
    """Second answers that change nothing are limited by the hedge budget."""
    mean = replace(WatchdogPolicy(), hedge_audio_share=0.5, hedge_audio_allowance=0.0)
    first, second = streams(""), streams("")
    made = ResilientSTT([first, second], vad=HEARS, policies=Policies(watchdog=mean))
    for _ in range(8):
        await made.recognize(frames(2.0))
    assert len(first.streams) == 8
    assert 3 <= len(second.streams) <= 5
    await made.aclose()


async def test_a_malformed_answer_is_a_failure() -> None:
    """A transcript that is not a string is a failure of the provider."""
    odd = stt.SpeechData(LanguageCode("en"), 7)  # type: ignore[arg-type]
    final = stt.SpeechEvent(stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives=[odd])

    async def behave(stream: FakeStream) -> None:
        await stream.listen()
        stream.send(final)

    made = ResilientSTT([FakeSTT(behave, offline_recognize=False), FakeSTT(text="hi")], vad=HEARS)
    assert (await made.recognize(frames(2.0))).alternatives[0].text == "hi"
    await made.aclose()
