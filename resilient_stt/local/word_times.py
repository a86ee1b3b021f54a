"""Estimates when words were spoken, for models that give a text without times.

A word takes as long as it has letters, of the time in which the audio is loud. Pauses inside of an
utterance are left out that way. docs/local.md says how far these times are off.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .local_engine import RATE, Hypothesis, Samples, TimedWord

_FRAME = RATE // 50
"""Samples of a frame whose loudness is measured: 20 ms."""
_QUIET = 0.06
"""Share of the loudness of the loudest frames below which a frame is a pause: -24 dB."""
_EXTRA = 2.0
"""Letters that a word has in addition: short words take longer than their letters say."""


def with_times(said: Hypothesis, audio: bytes) -> Hypothesis:
    """Return the hypothesis with estimated times of its words, in seconds of the utterance.

    `audio`: its samples of 16 bits.
    """
    samples = np.frombuffer(audio, np.int16).astype(np.float32)
    texts = said.text.split()
    if not texts:
        return said
    # Seconds of loud audio before each frame, and the time of each frame's end.
    loud = _loud_frames(samples)
    if not loud.any():
        loud[:] = True
    spoken = np.concatenate(([0], np.cumsum(loud))) * (_FRAME / RATE)
    times = np.arange(len(spoken)) * (_FRAME / RATE)
    weights = np.array([len(text) + _EXTRA for text in texts])
    bounds = np.concatenate(([0.0], np.cumsum(weights))) / weights.sum() * spoken[-1]
    # A start lies behind a pause, an end before it.
    starts = times[np.searchsorted(spoken, bounds[:-1] + 1e-9, side="left") - 1]
    ends = times[np.searchsorted(spoken, bounds[1:] - 1e-9, side="left")]
    starts[1:] = np.maximum(starts[1:], ends[:-1])  # a frame in which both are loud
    words = zip(texts, starts.tolist(), ends.tolist(), strict=True)
    return replace(said, words=tuple(TimedWord(t, s, max(s, e)) for t, s, e in words))


def _loud_frames(samples: Samples) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    count = max(1, len(samples) // _FRAME)
    padded = np.zeros(count * _FRAME, np.float32)
    padded[: min(len(samples), len(padded))] = samples[: len(padded)]
    levels = np.sqrt((padded.reshape(count, _FRAME) ** 2).mean(axis=1))
    found: np.ndarray[tuple[int], np.dtype[np.bool_]] = levels > _QUIET * np.percentile(levels, 95)
    return found
