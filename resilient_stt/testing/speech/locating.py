"""Find received samples in the reference recordings.

An `Atlas` holds all recordings end to end, with an index. A `Locator` follows one connection's
audio through it. While the audio continues as the recording does, following it takes one
comparison. Where it jumps, the new place is looked up: by the hash of any 24 samples, or, if a
resampler has changed the samples, by the correlation of 40 ms.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .reference import ReferenceSpeech

Samples = NDArray[np.int16]

HASHED = 24
"""Samples in a hashed window. In silence they have 7^24 possible values, so no two windows are
equal."""
WINDOW = 640
"""Samples (40 ms) that are correlated to find a place."""
HOP = 160
"""Samples (10 ms) that are correlated to follow a recording."""
LOUD = 40.0
"""RMS below which a window is not searched for by correlation: a pause is not worth the time."""
FOUND = 0.85
"""The smallest correlation that counts as a place."""
FOLLOWS = 0.8
"""The smallest correlation of a hop that continues as expected."""
QUIET = 8.0
"""RMS below which a hop need not be similar: little is left of the dither of a quieter
connection."""
_KEPT = 4 * WINDOW  # how far back a place that was found by correlation can reach
_PATIENCE = (
    25  # failed correlations (1 s of loud, foreign audio) after which only every tenth is tried
)
_SEGMENT = 4096
_BAND = 4  # samples; a resampler may leave nothing of the band above 2 kHz
_BETWEEN = 32_767  # separates two recordings, and is louder than any sample of them
_WEIGHTS = np.random.default_rng(24).integers(0, 2**64, HASHED, np.uint64) | np.uint64(1)


class Match(NamedTuple):
    """A run of `length` received samples: from `position` in the atlas on, or unknown (None)."""

    length: int
    position: int | None


class Atlas:
    """All recordings end to end, and the indexes to find samples in them."""

    def __init__(self, corpus: Sequence[ReferenceSpeech]) -> None:
        between = np.array([_BETWEEN], np.int16)
        parts: list[Samples] = []
        self.offsets: list[int] = []
        for speech in corpus:
            self.offsets.append(sum(map(len, parts)))
            parts += [speech.samples, between]
        self.samples: Samples = np.concatenate(parts)
        hashes = _hashes(self.samples)
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    def find(self, samples: Samples) -> tuple[int, int] | None:
        """Find the first known samples. Return their offset in `samples`, and their position
        here."""
        if len(samples) < HASHED:
            return None
        hashes = _hashes(samples)
        places = np.searchsorted(self._hashes, hashes).clip(max=len(self._hashes) - 1)
        for offset in np.flatnonzero(self._hashes[places] == hashes):
            position = int(self._order[places[offset]])
            expected = self.samples[position : position + HASHED]
            if np.array_equal(samples[offset : offset + HASHED], expected):
                return int(offset), position
        return None

    def find_similar(self, window: Samples) -> int | None:
        """Return the position of the `WINDOW` samples that are most similar, if they are similar
        enough."""
        wanted = _middle_band(window.astype(np.float32))
        spectrum = np.conj(np.fft.rfft(wanted, _SEGMENT))
        step = _SEGMENT - WINDOW
        products = np.fft.irfft(self._spectra * spectrum, _SEGMENT)[:, :step]
        likeness = products * self._inverse_norms
        best = int(np.argmax(likeness))
        found = float(likeness.flat[best]) / (float(np.linalg.norm(wanted)) or 1.0)
        return best if found > FOUND else None

    def expected(self, position: int, count: int) -> NDArray[np.float32]:
        """Return `count` samples from a position on; zeros where there is no recording."""
        result = np.zeros(count, np.float32)
        begin, end = max(position, 0), max(min(position + count, len(self.samples)), 0)
        if begin < end:
            part = self.samples[begin:end]
            result[begin - position : end - position] = np.where(part == _BETWEEN, 0, part)
        return result

    @functools.cached_property
    def _segments(self) -> NDArray[np.float32]:
        """The middle band in overlapping segments, one per row."""
        step = _SEGMENT - WINDOW
        rows = -(-len(self.samples) // step)
        band = _middle_band(self.expected(0, rows * step + WINDOW + _BAND))
        return np.lib.stride_tricks.sliding_window_view(band, _SEGMENT)[::step].copy()

    @functools.cached_property
    def _spectra(self) -> NDArray[np.complex64]:
        return np.fft.rfft(self._segments).astype(np.complex64)

    @functools.cached_property
    def _inverse_norms(self) -> NDArray[np.float32]:
        """One over the norm of every `WINDOW`, with a floor, so that pauses do not stand out."""
        energy = np.cumsum(self._segments.astype(np.float64) ** 2, axis=1)
        energy = np.pad(energy, ((0, 0), (1, 0)))
        step = _SEGMENT - WINDOW
        windows = energy[:, WINDOW - _BAND : WINDOW - _BAND + step] - energy[:, :step]
        floor = WINDOW * LOUD
        return (1.0 / np.sqrt(np.maximum(windows, floor))).astype(np.float32)


@functools.lru_cache(maxsize=8)
def atlas_of(corpus: tuple[ReferenceSpeech, ...]) -> Atlas:
    """Return the atlas of a corpus. It is built once, in about 0.2 s for all recordings."""
    return Atlas(corpus)


class Locator:
    """Follows one connection's audio through an atlas."""

    def __init__(self, atlas: Atlas) -> None:
        self._atlas = atlas
        self._at: int | None = None  # position of the next sample, if it continues
        self._resampled = False  # whether the place was found by correlation, and is followed by it
        self._before: int | None = (
            None  # where the first pending sample would have been, had it continued
        )
        self._gain = 1.0
        self._pending: Samples = np.zeros(0, np.int16)
        self._hashed = 0  # pending samples whose hashes have been looked up already
        self._fresh = 0  # pending samples since the last correlation
        self._failures = 0

    def feed(self, samples: Samples) -> list[Match]:
        """Add samples, and return the runs that are known by now. The rest of the samples is
        pending."""
        runs: list[Match] = []
        rest = np.concatenate([self._pending, samples]) if len(self._pending) else samples
        self._fresh += len(samples)
        lost = self._at is not None
        while len(rest) and lost is not (self._at is None):
            lost = self._at is None
            step = self._find if lost else self._follow_similar if self._resampled else self._follow
            rest = step(rest, runs)
        self._pending = rest.copy() if len(rest) else rest
        return runs

    @property
    def resampled(self) -> bool:
        """Whether the current place is known by correlation only."""
        return self._resampled

    def flush(self) -> list[Match]:
        """Return the pending samples as what they most probably are."""
        runs: list[Match] = []
        rest, self._pending = self._pending, self._pending[:0]
        if self._at is not None:
            runs.append(Match(len(rest), self._at))
            self._at += len(rest)
        elif len(rest):
            self._settle(rest, len(rest), runs)
        self._hashed = 0
        return [run for run in runs if run.length]

    def _follow(self, samples: Samples, runs: list[Match]) -> Samples:
        """Compare sample by sample. Return the samples from the first unexpected one on."""
        assert self._at is not None
        expected = self._atlas.samples[self._at : self._at + len(samples)]
        count = len(expected)
        if not np.array_equal(samples, expected):
            same = samples[:count] == expected
            count = count if same.all() else int(np.argmin(same))
        if count:
            runs.append(Match(count, self._at))
        self._at = self._at + count if count == len(samples) else None
        self._hashed = 0
        return samples[count:]

    def _follow_similar(self, samples: Samples, runs: list[Match]) -> Samples:
        """Compare hop by hop. Return the samples that are less than a hop, or do not continue."""
        assert self._at is not None
        count = 0
        while len(samples) - count >= HOP:
            hop = samples[count : count + HOP].astype(np.float32)
            expected = self._atlas.expected(self._at + count, HOP) * np.float32(self._gain)
            if not _alike(hop, expected):
                break
            count += HOP
        if count:
            runs.append(Match(count, self._at))
        self._at += count
        if len(samples) - count >= HOP:
            self._before, self._at, self._hashed = self._at, None, 0
        return samples[count:]

    def _find(self, samples: Samples, runs: list[Match]) -> Samples:
        """Look the samples up. Return those that are located or still pending."""
        skipped = max(self._hashed - HASHED + 1, 0)
        found = self._atlas.find(samples[skipped:])
        if found is not None:
            self._settle(samples[: skipped + found[0]], skipped + found[0], runs)
            self._at, self._resampled, self._failures = found[1], False, 0
            return samples[skipped + found[0] :]
        self._hashed = len(samples)
        if (
            self._fresh < WINDOW or len(samples) < WINDOW + HOP
        ):  # a jump may lie within the first hop
            return samples
        self._fresh = 0
        start = len(samples) - WINDOW
        position = self._search(samples[start:])
        if position is None:
            return self._give_up(samples, runs)
        return self._resume(samples, position - start, runs)

    def _search(self, window: Samples) -> int | None:
        if float(np.sqrt(np.mean(window.astype(np.float32) ** 2))) < LOUD:
            self._failures = 0
            return None
        self._failures += 1
        if self._failures > _PATIENCE and self._failures % 10:
            return None
        return self._atlas.find_similar(window)

    def _resume(self, samples: Samples, position: int, runs: list[Match]) -> Samples:
        """Continue from a place found by correlation. `position` is that of the first sample."""
        now = self._atlas.expected(position, len(samples))
        window, heard = now[-WINDOW:], samples[-WINDOW:].astype(np.float32)
        gain = float(heard @ window / (window @ window))
        boundary = _boundary(samples, self._was(len(samples)), now * np.float32(gain))
        self._settle(samples[:boundary], boundary, runs)
        self._gain, self._failures, self._resampled = gain, 0, True
        self._at = position + boundary
        if len(samples) > boundary:
            runs.append(Match(len(samples) - boundary, self._at))
            self._at += len(samples) - boundary
        return samples[:0]

    def _give_up(self, samples: Samples, runs: list[Match]) -> Samples:
        """Declare the oldest pending samples unknown once they are too old for any place to reach
        them."""
        count = len(samples) - _KEPT
        if count <= 0:
            return samples
        if self._before is not None:
            count = max(count, _boundary(samples, self._was(len(samples)), None))
        self._settle(samples[:count], count, runs)
        self._hashed = len(samples) - count
        return samples[count:]

    def _settle(self, samples: Samples, count: int, runs: list[Match]) -> None:
        """Account for the samples before a known place: first those of the place before, then
        unknown ones."""
        known = 0
        if self._before is not None:
            known = _boundary(samples, self._was(count), None)
        if known:
            runs.append(Match(known, self._before))
        if count > known:
            runs.append(Match(count - known, None))
        self._before = None

    def _was(self, count: int) -> NDArray[np.float32] | None:
        if self._before is None:
            return None
        return self._atlas.expected(self._before, count) * np.float32(self._gain)


def _hashes(samples: Samples) -> NDArray[np.uint64]:
    """Return the hash of every `HASHED` samples in a row."""
    count = len(samples) - HASHED + 1
    values = samples.astype(np.uint64)
    result = np.zeros(count, np.uint64)
    for index, weight in enumerate(_WEIGHTS):
        result += values[index : index + count] * weight
    return result


def _middle_band(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Keep the band around 2 kHz, which tells vowels apart, and which every resampler leaves."""
    return samples[_BAND:] - samples[:-_BAND]


def _low_band(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Keep what is below about 2 kHz, with moving sums."""
    for _ in range(2):
        sums = np.cumsum(samples)
        samples = (sums[_BAND:] - sums[:-_BAND]) / np.float32(_BAND)
    return samples


def _alike(heard: NDArray[np.float32], expected: NDArray[np.float32]) -> bool:
    """Return whether two hops are the same sound. In a pause, anything quiet is."""
    heard, expected = _low_band(heard), _low_band(expected)
    norm, norm_expected = float(np.linalg.norm(heard)), float(np.linalg.norm(expected))
    if max(norm, norm_expected) < QUIET * HOP**0.5:
        return True
    return float(heard @ expected) > FOLLOWS * norm * norm_expected


def _boundary(
    samples: Samples, left: NDArray[np.float32] | None, right: NDArray[np.float32] | None
) -> int:
    """Return how many samples are more like `left` than like `right` (None: unknown audio)."""
    heard = samples.astype(np.float32)
    unknown = 0.5 * heard**2
    cost_left = unknown if left is None else (heard - left) ** 2
    cost_right = unknown if right is None else (heard - right) ** 2
    return int(np.argmin(np.concatenate([[0.0], np.cumsum(cost_left - cost_right)])))
