from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.core.audio.timeline import Timeline

RATE = 16_000

cuts = st.lists(
    st.tuples(st.integers(0, 5 * RATE), st.integers(1, 3 * RATE)), min_size=1, max_size=12
)
"""Spans as (samples left out before, samples sent)."""


def sent(script: list[tuple[int, int]]) -> tuple[Timeline, list[tuple[int, int]]]:
    timeline, spans, at = Timeline(RATE), [], 0
    for gap, length in script:
        spans.append((at + gap, at + gap + length))
        timeline.append(*spans[-1])
        at += gap + length
    return timeline, spans


@given(cuts, st.data())
def test_round_trip(script: list[tuple[int, int]], data: st.DataObject) -> None:
    """Every sample that was sent maps back to its session time."""
    timeline, spans = sent(script)
    start, end = data.draw(st.sampled_from(spans))
    at = data.draw(st.integers(start, end))
    connection = sum(max(0, min(e, at) - s) for s, e in spans)
    if at < end:
        assert timeline.start_of(connection / RATE) == pytest.approx(at / RATE, abs=1e-6)
    if at > start:
        assert timeline.end_of(connection / RATE) == pytest.approx(at / RATE, abs=1e-6)


@given(cuts)
def test_sent_and_trimmed_audio(script: list[tuple[int, int]]) -> None:
    """Sent and trimmed audio add up to the span between the first and the last sample."""
    timeline, spans = sent(script)
    assert timeline.position == spans[-1][1]
    assert timeline.sent == sum(length for _, length in script)
    assert timeline.sent + timeline.trimmed == spans[-1][1] - spans[0][0]
    assert timeline.seconds == timeline.sent / RATE
    assert timeline.seconds_trimmed == timeline.trimmed / RATE


@given(cuts, st.lists(st.floats(-1, 40), min_size=2, max_size=10))
def test_session_time_never_goes_back(script: list[tuple[int, int]], at: list[float]) -> None:
    """A later time of the connection is never an earlier time of the session."""
    timeline, _ = sent(script)
    at.sort()
    for mapped in ([timeline.start_of(s) for s in at], [timeline.end_of(s) for s in at]):
        assert mapped == sorted(mapped)


def test_at_a_cut() -> None:
    """At a cut an end belongs before it, and a start after it."""
    timeline, _ = sent([(RATE, RATE), (2 * RATE, RATE)])
    assert timeline.end_of(1.0) == 2.0
    assert timeline.start_of(1.0) == 4.0
    assert timeline.end_of(1.5) == timeline.start_of(1.5) == 4.5


def test_times_outside_what_was_sent() -> None:
    """Times before the first and behind the last sample continue at the same rate."""
    timeline, _ = sent([(RATE, RATE)])
    assert timeline.start_of(-0.25) == 0.75
    assert timeline.end_of(1.5) == 2.5


def test_nothing_sent() -> None:
    """Without audio every time is 0."""
    assert Timeline(RATE).start_of(1.0) == Timeline(RATE).end_of(1.0) == 0.0


@pytest.mark.parametrize("span", [(10, 10), (10, 9), (4, 8)])
def test_spans_go_forward(span: tuple[int, int]) -> None:
    """An empty span, or one before the last one, is an error of the caller."""
    timeline = Timeline(RATE)
    timeline.append(0, 5)
    with pytest.raises(AssertionError, match="after 5"):
        timeline.append(*span)


def test_spans_that_touch_are_one() -> None:
    """Audio without a cut is one span, in however many pieces it was sent."""
    timeline, _ = sent([(0, 100)] * 5)
    assert repr(timeline) == "Timeline(sent=500, position=500, spans=1)"
