"""Local voice activity on the reference speech, and the check of detectors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from livekit import rtc

from resilient_stt.core.messages import VoiceSound
from resilient_stt.livekit.vad import (
    BundledDetector,
    CheckedDetector,
    DetectorOptions,
    SpeechEdge,
)
from resilient_stt.testing import babble, coughs, music
from resilient_stt.testing.speech.reference import ReferenceSpeech

from ..support.fakes import frames

RATE = 16_000


def edges(speech: ReferenceSpeech, **form: float) -> list[tuple[bool, float, float]]:
    """Return (started, at, pushed when reported) of each edge, in seconds."""
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
    """Edges alternate, never go back, lie in the past, and every word is in a segment."""
    speech = ReferenceSpeech.load(name).padded(1.0)
    found = edges(speech, **form)
    assert [started for started, *_ in found] == [True, False] * (len(found) // 2)
    places = [at for _, at, _ in found]
    assert places == sorted(places)
    assert all(0 <= at <= reported for _, at, reported in found)
    segments = list(zip(places[::2], places[1::2], strict=True))
    for word in speech.words:
        middle = (word.start + word.end) / 2
        assert any(start <= middle <= end for start, end in segments), word


def test_a_start_is_reported_in_time() -> None:
    """A start is reported within half a second, the time for which silence stays uncommitted."""
    found = edges(ReferenceSpeech.load("english").padded(1.0))
    assert all(reported - at <= 0.5 for started, at, reported in found if started)


def pause(seconds: float, *, noise: float = 0.0) -> tuple[np.ndarray[Any, Any], int]:
    """Two sentences with so much silence between the words, and the sample at which the second one
    begins. `noise`: RMS of the noise added to all of it.
    """
    speech = ReferenceSpeech.load("english")
    first, second = speech.excerpt(0, 0), speech.excerpt(1, 1)
    before = first.samples[: round(first.words[-1].end * RATE)]
    after = second.samples[round(second.words[0].start * RATE) :]
    gap = np.zeros(round(seconds * RATE), np.int16)
    samples = np.concatenate([before, gap, after])
    under = np.random.default_rng(0).normal(0, noise, len(samples)) if noise else 0
    return (samples + under).clip(-32768, 32767).astype(np.int16), len(before) + len(gap)


@pytest.mark.parametrize("noise", [0.0, 30.0])
@pytest.mark.parametrize("length", [0.01, 0.02, 0.05, 0.1])
def test_an_end_is_not_reported_in_the_next_word(length: float, noise: float) -> None:
    """An end is not reported inside the next word: a provider flushed there would split it.

    The model recognizes a word up to three windows late, so the level has to decide.
    """
    for hundredths in range(30, 62):
        samples, begins = pause(hundredths / 100, noise=noise)
        detector = BundledDetector()
        for start in range(0, len(samples), round(length * RATE)):
            part = samples[start : start + round(length * RATE)]
            for edge in detector.push(rtc.AudioFrame(part.tobytes(), RATE, 1, len(part))):
                assert edge.known_at is not None
                assert edge.at <= edge.known_at <= start + len(part)
                into = (edge.known_at - begins) / RATE
                assert edge.started or not 0.04 < into < 0.5, (hundredths, into)


def test_a_rising_level_delays_an_end_and_no_more() -> None:
    """Noise that begins in the pause delays the end of speech by a tenth of a second only."""
    samples, begins = pause(2.0)
    hum = np.random.default_rng(0).normal(0, 30, RATE).astype(np.int16)
    at = begins - 2 * RATE + round(0.36 * RATE)
    samples[at : at + RATE] += hum
    found = []
    for noisy in (samples, pause(2.0)[0]):
        pushed = BundledDetector().push(rtc.AudioFrame(noisy.tobytes(), RATE, 1, len(noisy)))
        found.append(max(e.known_at or 0 for e in pushed if not e.started and e.at < begins))
    late = (found[0] - found[1]) / RATE
    assert 0 < late <= 0.13


def test_silence_is_silent() -> None:
    """Digital silence is not speech."""
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
        return sum(not e.started for f in speech.frames() for e in detector.push(f))

    assert count(2.0) < count(0.35)


# -- the check of detectors


def sounds(recording: ReferenceSpeech) -> list[tuple[float, float]]:
    """Return the level and the spread of each stretch of voice that the bundled detector finds."""
    detector = BundledDetector()
    padded = recording.padded(1.0)
    found = [edge for frame in padded.frames() for edge in detector.push(frame)]
    return [(e.sound.level, e.sound.spread) for e in found if e.sound is not None]


class Scripted:
    """A detector that yields these edges with each frame."""

    def __init__(self, *edges: SpeechEdge, last: Sequence[SpeechEdge] = ()) -> None:
        self._edges = edges
        self._last = last

    def push(self, frame: rtc.AudioFrame) -> Iterator[SpeechEdge]:
        yield from self._edges

    def finish(self) -> Iterator[SpeechEdge]:
        yield from self._last


def second() -> rtc.AudioFrame:
    return frames(1.0, duration=1.0)[0]


def test_edges_in_order_are_passed_on() -> None:
    """NumPy's integers become plain ones, and a missing `known_at` the end of the frame."""
    at: Any = np.int64(4_000)
    detector = CheckedDetector(Scripted(SpeechEdge(True, at), SpeechEdge(False, 8_000, 9_000)))
    edges = detector.push(second())
    assert edges == [SpeechEdge(True, 4_000, RATE), SpeechEdge(False, 8_000, 9_000)]
    assert type(edges[0].at) is int
    assert detector.failure is None


def test_an_edge_of_another_class() -> None:
    """A detector need not import our class: an object with `started` and `at` is an edge."""
    start: Any = SimpleNamespace(started=True, at=10)
    end: Any = SimpleNamespace(started=False, at=20, known_at=30)
    detector = CheckedDetector(Scripted(start, end))
    assert detector.push(second()) == [SpeechEdge(True, 10, RATE), SpeechEdge(False, 20, 30)]
    nothing: Any = object()
    assert CheckedDetector(Scripted(nothing)).push(second()) == []


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (VoiceSound(60.0, 9.0), VoiceSound(60.0, 9.0)),
        (VoiceSound(math.nan, 9.0), None),
        ("loud", None),
    ],
)
def test_the_sound_of_speech(given: Any, passed: VoiceSound | None) -> None:
    """A sound is passed on, and anything else is taken for one that was not measured."""
    end = SpeechEdge(False, 20, 30, given)
    assert CheckedDetector(Scripted(SpeechEdge(True, 10), end)).push(second())[1].sound == passed


def test_speech_does_not_sound_like_noise() -> None:
    """The levels of speech change more than those of babble and music, and less than of coughs."""
    speech, crowd, song, cough = (
        [spread for _, spread in sounds(recording)]
        for recording in (ReferenceSpeech.load("english"), babble(10.0), music(20.0), coughs(10.0))
    )
    assert min(speech) > 10.0
    assert max(crowd) < 8.0
    assert max(song) < 9.0
    assert max(speech) < max(cough)


def test_an_edge_a_rounding_error_ahead() -> None:
    """A position less than a millisecond beyond the audio is moved to its end."""
    detector = CheckedDetector(Scripted(SpeechEdge(True, RATE + 16)))
    assert detector.push(second()) == [SpeechEdge(True, RATE, RATE)]
    detector = CheckedDetector(Scripted(SpeechEdge(True, RATE + 17)))
    assert detector.push(second()) == []
    assert detector.failure is not None


def test_edges_before_a_failure_count() -> None:
    """The detector is not called again after its first wrong edge."""
    detector = CheckedDetector(
        Scripted(SpeechEdge(True, 10), SpeechEdge(True, 20), last=[SpeechEdge(False, 30)])
    )
    assert detector.push(second()) == [SpeechEdge(True, 10, RATE)]
    failure = detector.failure
    assert "second start" in str(failure)
    assert detector.push(second()) == []
    assert detector.finish() == []
    assert detector.failure is failure


def test_speech_left_open_ends_with_the_audio() -> None:
    """A detector that forgets the last end does not leave a speaker forever."""
    detector = CheckedDetector(Scripted(SpeechEdge(True, 10)))
    detector.push(second())
    assert detector.finish() == [SpeechEdge(False, RATE, RATE)]


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_the_bundled_detector_passes(rate: int) -> None:
    """The bundled detector keeps the rules at every rate."""
    detector = CheckedDetector(BundledDetector())
    speech = ReferenceSpeech.load("english").excerpt(0, 3).padded(1.0)
    found = [e for frame in speech.frames(sample_rate=rate) for e in detector.push(frame)]
    assert len(found) >= 4
    assert detector.failure is None
