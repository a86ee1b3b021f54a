"""A speech detector given as `vad=` that misbehaves costs its stream local voice activity only."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIConnectionError
from livekit.agents.stt import STTError

from resilient_stt import ConfigurationError, ResilientSTT, SpeechDetectorError, SpeechEdge
from resilient_stt.livekit.vad import BundledDetector
from resilient_stt.testing.faults import Drop
from resilient_stt.testing.harness.play import play
from resilient_stt.testing.speech.reference import ReferenceSpeech

from .support.fakes import FakeSTT, arena, frames, says

pytestmark = pytest.mark.stt_virtual_time

SPEECH = ReferenceSpeech.load("english").excerpt(0, 1)

Misbehavior = Callable[[int], Iterator[SpeechEdge]]
"""Yields edges for audio that was pushed up to a sample."""


def raises(at: int) -> Iterator[SpeechEdge]:
    yield from ()
    raise ZeroDivisionError


def starts_twice(at: int) -> Iterator[SpeechEdge]:
    yield SpeechEdge(True, at)
    yield SpeechEdge(True, at)


def ends_twice(at: int) -> Iterator[SpeechEdge]:
    yield SpeechEdge(False, at)
    yield SpeechEdge(False, at)


def goes_back(at: int) -> Iterator[SpeechEdge]:
    for started in (True, False, True, False):
        yield SpeechEdge(started, at)
        at -= 100


def looks_ahead(at: int) -> Iterator[SpeechEdge]:
    for started in (True, False, True, False):
        yield SpeechEdge(started, at + 16_000)


def is_not_a_number(at: int) -> Iterator[SpeechEdge]:
    nan: Any = math.nan
    for started in (True, False):
        yield SpeechEdge(started, nan)


def yields_something_else(at: int) -> Iterator[SpeechEdge]:
    edge: Any = (True, at)
    yield edge


def returns_nothing(at: int) -> Iterator[SpeechEdge]:
    nothing: Any = None
    return nothing  # type: ignore[no-any-return]


MISBEHAVIORS: list[Misbehavior] = [
    raises,
    starts_twice,
    ends_twice,
    goes_back,
    looks_ahead,
    is_not_a_number,
    yields_something_else,
    returns_nothing,
]


class Misbehaving:
    """The bundled detector for some seconds, then one that misbehaves on every frame."""

    def __init__(self, misbehavior: Misbehavior, after: float) -> None:
        self._misbehavior = misbehavior
        self._after = after
        self._sound = BundledDetector()
        self._pushed = 0
        self.calls = 0
        """How often it was called since it misbehaves."""

    def push(self, frame: rtc.AudioFrame) -> Iterator[SpeechEdge]:
        self._pushed += frame.samples_per_channel
        if self._pushed < self._after * frame.sample_rate:
            return self._sound.push(frame)
        self.calls += 1
        return self._misbehavior(self._pushed)

    def finish(self) -> Iterator[SpeechEdge]:
        return self._sound.finish()


def errors_of(made: ResilientSTT) -> list[STTError]:
    errors: list[STTError] = []
    made.on("error", errors.append)
    return errors


def check_one_report(errors: list[STTError], caplog: pytest.LogCaptureFixture) -> None:
    """One recoverable `error` event, and one log record."""
    [error] = [e for e in errors if isinstance(e.error, SpeechDetectorError)]
    assert error.recoverable
    records = [r for r in caplog.records if "local voice activity is switched off" in r.message]
    assert [r.levelno for r in records] == [logging.ERROR]


# -- streams


@pytest.mark.parametrize("after", [0.0, 2.0], ids=["at once", "in a word"])
@pytest.mark.parametrize("misbehavior", MISBEHAVIORS, ids=lambda m: m.__name__)
async def test_a_stream_goes_on(
    misbehavior: Misbehavior, after: float, caplog: pytest.LogCaptureFixture
) -> None:
    """The detector is switched off with one error, and no word is lost or repeated."""
    detector = Misbehaving(misbehavior, after)
    async with arena(vad=lambda: detector) as a:
        errors = errors_of(a.stt)
        played = await play(a.stt, SPEECH.padded(1.0))
    assert played.error is None
    assert played.finished
    assert played.balanced
    assert played.score.ok, str(played.score)
    assert len(errors) == 1
    check_one_report(errors, caplog)
    assert detector.calls <= 2  # the edges of the first frame may be in order


@pytest.mark.parametrize("at_word", [2, 8], ids=["before", "after"])
async def test_a_drop_costs_no_word_without_the_detector(at_word: int) -> None:
    """A connection that drops before or after the detector failed is replaced as ever."""
    drop = Drop(at_word=at_word, part=0.5, connections={0})
    async with arena([drop], vad=lambda: Misbehaving(raises, 2.5)) as a:
        played = await play(a.stt, SPEECH.padded(1.0))
    assert played.error is None
    assert played.finished
    assert played.balanced
    assert played.score.ok, str(played.score)


async def test_a_factory_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """A callable that makes no detector does not keep a stream from being opened."""

    def broken() -> BundledDetector:
        raise ZeroDivisionError

    async with arena(vad=broken) as a:
        errors = errors_of(a.stt)
        played = await play(a.stt, SPEECH.padded(1.0))
    assert played.score.ok, str(played.score)
    check_one_report(errors, caplog)
    assert isinstance(errors[0].error.__cause__, ZeroDivisionError)


async def test_the_error_says_what_was_wrong() -> None:
    """Which detector, which rule; and the detector's own exception is the cause."""
    wanted = {
        raises: "Misbehaving raised ZeroDivisionError",
        starts_twice: "Misbehaving reported a second start of speech",
        goes_back: r"Misbehaving reported speech at sample \d+, which must lie between",
    }
    for misbehavior, message in wanted.items():
        made = ResilientSTT(
            [FakeSTT(says("hi"))], vad=functools.partial(Misbehaving, misbehavior, 0.0)
        )
        errors = errors_of(made)
        async with made.stream() as stream:
            stream.push_frame(frames(0.1, duration=0.1)[0])
            stream.end_input()
            assert [event async for event in stream]
        [error] = errors
        with pytest.raises(SpeechDetectorError, match=message):
            raise error.error
        assert isinstance(error.error.__cause__, ZeroDivisionError) is (misbehavior is raises)


@pytest.mark.parametrize("vad", [BundledDetector(), 7, "silero"], ids=lambda v: type(v).__name__)
async def test_refuses_what_makes_no_detector(vad: Any) -> None:
    """A detector instead of a callable that makes one is refused where it is given."""
    with pytest.raises(ConfigurationError, match=r"vad must be .* a callable that makes"):
        ResilientSTT([FakeSTT()], vad=vad)


# -- recognize()


@pytest.mark.parametrize("misbehavior", MISBEHAVIORS, ids=lambda m: m.__name__)
async def test_a_buffer_is_not_checked(
    misbehavior: Misbehavior, caplog: pytest.LogCaptureFixture
) -> None:
    """The first answer is returned, and no provider is blamed for the detector."""
    first, second = FakeSTT(text="hi"), FakeSTT(text="ho")
    made = ResilientSTT([first, second], vad=lambda: Misbehaving(misbehavior, 0.0))
    errors = errors_of(made)
    failures: list[object] = []
    made.on("provider_failed", failures.append)
    event = await made.recognize(frames(2.0))
    assert event.alternatives[0].text == "hi"
    assert not second.recognized
    assert not failures
    assert len(errors) == 1
    check_one_report(errors, caplog)
    assert made._runtime.health["fake"].available
    await made.aclose()


async def test_a_failed_detector_is_reported_once_per_buffer() -> None:
    """However many providers answer, the detector is asked, and reported, once."""
    made = ResilientSTT(
        [FakeSTT(error=APIConnectionError("down")), FakeSTT(text="ho")],
        vad=lambda: Misbehaving(raises, 0.0),
    )
    errors = errors_of(made)
    await made.recognize(frames(2.0))
    assert sum(isinstance(e.error, SpeechDetectorError) for e in errors) == 1
    await made.aclose()
