"""Samples are found where they are in the recordings, and nowhere else."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from resilient_stt.testing.speech.locating import (
    HASHED,
    HOP,
    WINDOW,
    Atlas,
    Locator,
    Match,
    atlas_of,
)
from resilient_stt.testing.speech.reference import ReferenceSpeech

Samples = NDArray[np.int16]


@functools.cache
def atlas() -> Atlas:
    """Return the atlas of all recordings."""
    return atlas_of(tuple(ReferenceSpeech.load(name) for name in ReferenceSpeech.names()))


def quieter(samples: Samples) -> Samples:
    """Return samples each of which has changed."""
    return (samples * 0.7).astype(np.int16)


def joined(runs: list[Match]) -> list[Match]:
    """Join runs that continue each other."""
    result: list[Match] = []
    for run in runs:
        last = result[-1] if result else None
        if last is None or run.position != _end(last):
            result.append(run)
        else:
            result[-1] = Match(last.length + run.length, last.position)
    return result


def _end(run: Match) -> int | None:
    return None if run.position is None else run.position + run.length


def test_an_atlas_is_built_once() -> None:
    """The same corpus has the same atlas."""
    corpus = (ReferenceSpeech.load("spanish"),)
    assert atlas_of(corpus) is atlas_of(corpus)


def test_recordings_are_kept_apart() -> None:
    """Each recording begins at its offset, and no match continues from one to the next."""
    for offset, name in zip(atlas().offsets, ReferenceSpeech.names(), strict=True):
        samples = ReferenceSpeech.load(name).samples
        assert np.array_equal(atlas().samples[offset : offset + len(samples)], samples)
        assert atlas().expected(offset + len(samples), 1).tolist() == [0]


def test_expected_is_silence_outside() -> None:
    """Before the first and after the last recording there are zeros."""
    assert atlas().expected(-3, 3).tolist() == [0, 0, 0]
    assert atlas().expected(len(atlas().samples) + 5, 2).tolist() == [0, 0]
    assert atlas().expected(-1, 2).tolist() == [0, atlas().samples[0]]


@settings(deadline=None)
@given(position=st.integers(0, 470_000), lead=st.integers(0, 50))
def test_find_gives_the_first_known_sample(position: int, lead: int) -> None:
    """Known samples are found to the sample, whatever comes before them."""
    samples = atlas().samples[position : position + 2 * HASHED]
    unknown = np.full(lead, 20_000, np.int16)
    assert atlas().find(np.concatenate([unknown, samples])) == (lead, position)


def test_find_needs_a_full_window() -> None:
    """Fewer samples than a window are not found, and neither are unknown ones."""
    assert atlas().find(atlas().samples[: HASHED - 1]) is None
    assert atlas().find(np.zeros(1000, np.int16)) is None


@pytest.mark.parametrize("start", [20_000, 64_321, 300_000, 520_000, 780_000])
@pytest.mark.parametrize("gain", [1.0, 0.2])
def test_find_similar_gives_the_place(start: int, gain: float) -> None:
    """40 ms of speech are found by correlation, at any gain."""
    window = (atlas().samples[start : start + WINDOW] * gain).astype(np.int16)
    assert atlas().find_similar(window) == start


def test_find_similar_refuses_what_is_only_loud() -> None:
    """Noise is not similar to any place."""
    noise = np.random.default_rng(5).integers(-3000, 3000, WINDOW, np.int16)
    assert atlas().find_similar(noise) is None
    assert atlas().find_similar(np.zeros(WINDOW, np.int16)) is None


@settings(deadline=None)
@given(
    pieces=st.lists(
        st.tuples(st.integers(0, 460_000), st.integers(HASHED + 10, 5000)), min_size=1, max_size=4
    ),
    block=st.integers(HASHED, 2000),
)
def test_every_sample_is_accounted_for_once(pieces: list[tuple[int, int]], block: int) -> None:
    """The lengths of all runs are the samples received, and known runs are right."""
    heard = np.concatenate([atlas().samples[start : start + count] for start, count in pieces])
    locator = Locator(atlas())
    runs = [
        run for i in range(0, len(heard), block) for run in locator.feed(heard[i : i + block])
    ] + locator.flush()
    assert sum(run.length for run in runs) == len(heard)
    now = 0
    for run in runs:
        assert run.position is not None
        expected = atlas().samples[run.position : run.position + run.length]
        assert np.array_equal(heard[now : now + run.length], expected)
        now += run.length


def test_unknown_samples_stay_pending_until_flushed() -> None:
    """Samples that may still turn out to be known stay pending, but not forever."""
    locator = Locator(atlas())
    zeros = np.zeros(320, np.int16)
    runs = [run for _ in range(100) for run in locator.feed(zeros)]
    assert {run.position for run in runs} == {None}
    settled = sum(run.length for run in runs)
    assert 32_000 - 3200 <= settled < 32_000
    assert sum(run.length for run in locator.flush()) == 32_000 - settled
    assert locator.flush() == []


def test_changed_samples_are_followed_by_likeness() -> None:
    """With another gain, the place of the first sample is found and followed to the end."""
    locator = Locator(atlas())
    heard = quieter(atlas().samples[:60_000])
    runs = [run for i in range(0, len(heard), 320) for run in locator.feed(heard[i : i + 320])]
    assert locator.resampled
    known = [run for run in joined(runs + locator.flush()) if run.position is not None]
    assert len(known) == 1
    assert known[0].position is not None
    assert known[0].position <= 6400  # the first word's first sample
    assert _end(known[0]) == 60_000


def test_a_jump_of_changed_samples_is_found_nearly_to_the_sample() -> None:
    """The boundary between two places is where both fit best."""
    first, second = (30_000, 40_000), (100_000, 110_000)
    heard = quieter(
        np.concatenate([atlas().samples[slice(*first)], atlas().samples[slice(*second)]])
    )
    locator = Locator(atlas())
    runs = [run for i in range(0, len(heard), 320) for run in locator.feed(heard[i : i + 320])]
    (before, after) = joined(runs + locator.flush())
    assert before.position == first[0]
    assert before.length == pytest.approx(10_000, abs=HOP)
    assert _end(after) == second[1]
    assert before.length + after.length == len(heard)


def test_exact_samples_are_followed_exactly_again() -> None:
    """After changed samples, unchanged ones are located to the sample."""
    locator = Locator(atlas())
    heard = np.concatenate(
        [quieter(atlas().samples[30_000:40_000]), atlas().samples[90_000:95_000]]
    )
    for i in range(0, len(heard), 320):
        locator.feed(heard[i : i + 320])
    assert not locator.resampled
