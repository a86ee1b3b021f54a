"""Stretches of audio, against sets of samples."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.core.audio.spans import Spans, after, intersection, merged, total, without

edges = st.lists(st.integers(0, 30), unique=True, max_size=8).map(sorted)
spans = edges.map(lambda e: tuple(zip(e[::2], e[1::2], strict=False)))
"""Stretches that are apart and in order."""


def samples(of: Spans) -> set[int]:
    return {sample for start, end in of for sample in range(start, end)}


@given(spans, spans, st.integers(0, 30))
def test_stretches_are_sets_of_samples(one: Spans, other: Spans, at: int) -> None:
    """Every function returns the same samples as the one of sets, in order and apart."""
    found = [
        (after(one, at), {s for s in samples(one) if s >= at}),
        (intersection(one, other), samples(one) & samples(other)),
        (without(one, other), samples(one) - samples(other)),
        (merged(one + other), samples(one) | samples(other)),
    ]
    for result, expected in found:
        assert samples(result) == expected
        assert total(result) == len(expected)
        assert list(result) == sorted(result)
        assert all(start < end for start, end in result)
    assert total(one) == len(samples(one))
