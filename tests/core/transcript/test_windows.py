from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.core.transcript.windows import BEHIND, CONTEXT, MAX_CELLS, find_windows

OURS = [f"w{k}" for k in range(300)]


def test_short_texts_are_aligned_whole() -> None:
    """There is one window, which holds all of both."""
    assert find_windows(OURS[:40], OURS[:40]) == [(0, 40, 0, 40)]
    assert find_windows([], OURS) == [(0, 0, 0, 300)]


@given(st.integers(100, 299), st.integers(0, 80), st.integers(1, 7))
def test_an_overlap_that_ends_with_the_committed_text(first: int, new: int, changed: int) -> None:
    """The seam is in a window that holds the end of the committed text, whatever is changed in
    one of `changed` + 1 words and follows."""
    again = [w if k % (changed + 1) else "x" for k, w in enumerate(OURS[first:])]
    text = again + [f"n{k}" for k in range(new)]
    seam = len(again)
    assert (
        any(
            w.last_committed == len(OURS) and w.first_new < seam <= w.last_new
            for w in find_windows(OURS, text)
        )
        or seam < 8
    )


@given(st.integers(30, 250), st.integers(12, 100))
def test_an_overlap_that_ends_with_the_new_text(last: int, size: int) -> None:
    """Its end is in a window that holds the end of the new text."""
    first = max(0, last - size)
    assert any(
        w.last_new == last - first and w.first_committed < last <= w.last_committed
        for w in find_windows(OURS, OURS[first:last])
    )


@given(st.integers(60, 200), st.integers(60, 200))
def test_a_refrain_is_found_by_counting(committed: int, new: int) -> None:
    """Where all words are the same, as many are repeated as were committed."""
    windows = find_windows(["five"] * committed, ["five"] * new)
    seam = min(committed, new)
    assert any(w.first_new < seam <= w.last_new for w in windows)


@given(st.lists(st.sampled_from("abcdefgh"), max_size=400), st.data())
def test_windows_are_bounded(committed: list[str], data: st.DataObject) -> None:
    """However long the texts are, few pairs of tokens are left to align, all inside of both."""
    new = data.draw(st.lists(st.sampled_from("abcdefgh"), max_size=400))
    windows = find_windows(committed, new)
    assert 1 <= len(windows) <= 2
    for first_committed, last_committed, first_new, last_new in windows:
        assert 0 <= first_committed <= last_committed <= len(committed)
        assert 0 <= first_new <= last_new <= len(new)
        cells = (last_committed - first_committed) * (last_new - first_new)
        assert cells <= max(MAX_CELLS, (CONTEXT + BEHIND) ** 2)
