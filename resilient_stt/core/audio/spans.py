"""Stretches of audio, and what one does with them."""

from __future__ import annotations

Spans = tuple[tuple[int, int], ...]
"""Stretches of audio as (start, end) in samples; ordered, and none overlaps another."""


def total(spans: Spans) -> int:
    """Return how many samples the stretches have together."""
    return sum(end - start for start, end in spans)


def after(spans: Spans, at: int) -> Spans:
    """Return what of the stretches lies after a sample."""
    return tuple((max(start, at), end) for start, end in spans if end > at)


def merged(spans: Spans) -> Spans:
    """Return the same audio in as few stretches as possible, in order."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return tuple(joined)


def intersection(first: Spans, second: Spans) -> Spans:
    """Return the audio that is in both."""
    return tuple(
        (max(a, c), min(b, d)) for a, b in first for c, d in second if max(a, c) < min(b, d)
    )


def without(spans: Spans, others: Spans) -> Spans:
    """Return the audio that is in `spans` and not in `others`."""
    for start, end in others:
        spans = tuple(
            piece
            for a, b in spans
            for piece in ((a, min(b, start)), (max(a, end), b))
            if piece[0] < piece[1]
        )
    return spans
