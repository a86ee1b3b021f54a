"""Local voice activity on the reference speech."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from livekit import rtc

from resilient_stt.livekit.vad import BundledDetector, DetectorOptions
from resilient_stt.testing.speech.reference import ReferenceSpeech

from ..support.fakes import frames

RATE = 16_000


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


def pause(seconds: float, *, noise: float = 0.0) -> tuple[np.ndarray[Any, Any], int]:
    """Two sentences with so much silence between the words, and the sample where the second one
    begins; `noise`: the RMS of what is under all of it."""
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
def test_an_end_is_not_told_in_the_next_word(length: float, noise: float) -> None:
    """Who is flushed there would hear that word in two parts.

    The model hears a word up to three windows late, so that the level has to tell.
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
    """Noise that begins in the pause ends speech all the same, a tenth of a second later."""
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
        return sum(not e.started for f in speech.frames() for e in detector.push(f))

    assert count(2.0) < count(0.35)
