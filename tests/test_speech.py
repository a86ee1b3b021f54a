"""Local voice activity on the reference speech."""

from __future__ import annotations

import pytest
from livekit import rtc

from resilient_stt.speech import BundledDetector, DetectorOptions, SpeechEdge
from resilient_stt.testing.speech import ReferenceSpeech

from .fakes import frames


def edges(speech: ReferenceSpeech, **form: float) -> list[tuple[bool, float, float]]:
    """(started, at, told at) of each edge, in seconds."""
    detector = BundledDetector()
    found: list[tuple[bool, float, float]] = []
    pushed = 0
    for frame in speech.frames(**form):  # type: ignore[arg-type]
        pushed += frame.samples_per_channel
        rate = frame.sample_rate
        found += [(e.started, e.at / rate, pushed / rate) for e in detector.push(frame)]
    return found


@pytest.mark.parametrize("name", ReferenceSpeech.names())
@pytest.mark.parametrize(
    "form",
    [{}, {"sample_rate": 24_000}, {"sample_rate": 48_000}, {"sample_rate": 8_000}]
    + [{"frame_duration": d} for d in (0.007, 0.01, 1.0)],
    ids=str,
)
def test_covers_every_word(name: str, form: dict[str, float]) -> None:
    """Edges alternate, never go back, are of the past, and every word lies in a segment."""
    speech = ReferenceSpeech.load(name).padded(1.0)
    found = edges(speech, **form)
    assert [started for started, *_ in found] == [True, False] * (len(found) // 2)
    places = [at for _, at, _ in found]
    assert places == sorted(places)
    assert all(0 <= at <= told for _, at, told in found)
    segments = list(zip(places[::2], places[1::2], strict=True))
    for word in speech.words:
        middle = (word.start + word.end) / 2
        assert any(start <= middle <= end for start, end in segments), word


def test_tells_in_time() -> None:
    """A start is told within half a second of it, which is how long silence stays unsettled."""
    found = edges(ReferenceSpeech.load("english").padded(1.0))
    assert all(told - at <= 0.5 for started, at, told in found if started)


def test_silence_is_silent() -> None:
    """Digital silence is no speech."""
    detector = BundledDetector()
    assert [e for frame in frames(5.0) for e in detector.push(frame)] == []


def test_an_empty_frame() -> None:
    """A frame without samples changes nothing."""
    assert list(BundledDetector().push(rtc.AudioFrame(b"", 16_000, 1, 0))) == []


def test_longer_silence_joins_segments() -> None:
    """The silence that ends speech is an option."""

    def count(silence: float) -> int:
        detector = BundledDetector(DetectorOptions(silence=silence))
        speech = ReferenceSpeech.load("english").padded(3.0)
        return sum(e == SpeechEdge(False, e.at) for f in speech.frames() for e in detector.push(f))

    assert count(2.0) < count(0.35)
