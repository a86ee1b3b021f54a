"""The audio behind the ledger's spans."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit import rtc

from resilient_stt.livekit.frames import BYTES, FrameStore, mono, pieces


def frame(samples: list[int], rate: int = 16_000, channels: int = 1) -> rtc.AudioFrame:
    data = np.array(samples, np.int16).tobytes()
    return rtc.AudioFrame(data, rate, channels, len(samples) // channels)


def samples(of: rtc.AudioFrame) -> list[int]:
    return [int(value) for value in np.frombuffer(of.data, np.int16)]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.data())
def test_any_span_of_what_is_held(sizes: list[int], data: st.DataObject) -> None:
    """Any span comes back as it was pushed, however it was cut into frames."""
    store, total = FrameStore(), sum(sizes)
    at = 0
    for size in sizes:
        store.append(frame(list(range(at, at + size))))
        at += size
    released = data.draw(st.integers(0, total))
    store.release(released)
    start = data.draw(st.integers(released, total))
    end = data.draw(st.integers(start, total))
    got = store.frame(start, end)
    assert samples(got) == list(range(start, end))
    assert (got.sample_rate, got.num_channels) == (16_000, 1)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.data())
def test_kept_samples_survive_every_release(sizes: list[int], data: st.DataObject) -> None:
    """Samples that are kept stay, however often what is around them is released; others go."""
    store, at, released = FrameStore(), 0, 0
    total = sum(sizes)
    since = data.draw(st.integers(0, total - 1))
    kept = since, data.draw(st.integers(since + 1, total))
    for size in sizes:
        store.append(frame(list(range(at, at + size))))
        at += size
        released = data.draw(st.integers(released, at))
        store.release(released, kept if at > kept[0] else None)
        if released > kept[0] >= at:
            return  # words are kept once they are spoken; not so the audio behind them
    assert samples(store.frame(*kept)) == list(range(*kept))
    assert samples(store.frame(released, total)) == list(range(released, total))
    store.release(total)
    with pytest.raises(AssertionError, match="is not held"):
        store.frame(*kept)


def test_held_audio_takes_its_own_size() -> None:
    """What was released is given back at once: after a sentence it is half of the buffer."""
    store, second = FrameStore(), frame([1] * 16_000)
    tracemalloc.start()
    try:
        for _ in range(15):
            store.append(second)
        store.release(6 * 16_000)  # a `bytearray` shrinks by itself only to less than half
        held = (store.end - store.start) * BYTES
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < taken < 1.03 * held


def test_what_was_released_is_gone() -> None:
    """Asking for a span that was released raises `AssertionError`."""
    store = FrameStore()
    store.append(frame([1, 2, 3]))
    store.append(frame([4, 5, 6]))
    store.release(3)
    with pytest.raises(AssertionError, match=r"span 2\.\.4 is not held"):
        store.frame(2, 4)


def test_frames_are_copied() -> None:
    """The caller may reuse its buffer."""
    store, buffer = FrameStore(), bytearray(np.array([1, 2, 3], np.int16).tobytes())
    store.append(rtc.AudioFrame(buffer, 16_000, 1, 3))
    buffer[:] = bytes(6)
    assert samples(store.frame(0, 3)) == [1, 2, 3]


def test_mono_is_the_mean_of_channels() -> None:
    """Channels are averaged without overflow; a mono frame stays the object it is."""
    assert samples(mono(frame([32767, 32767, -32768, -32768, 100, 200], channels=2))) == [
        32767,
        -32768,
        150,
    ]
    single = frame([1, 2, 3])
    assert mono(single) is single


@pytest.mark.parametrize(
    ("count", "rate", "lengths"),
    [
        (1600, 16_000, [1600]),
        (1601, 16_000, [1600, 1]),
        (16_000, 16_000, [1600] * 10),
        (1, 8_000, [1]),
        (4800, 48_000, [4800]),
    ],
)
def test_pieces(count: int, rate: int, lengths: list[int]) -> None:
    """A long frame is split into pieces of a tenth of a second that make up the whole."""
    whole = frame([i % 1000 for i in range(count)], rate)
    cut = list(pieces(whole))
    assert [p.samples_per_channel for p in cut] == lengths
    assert [s for p in cut for s in samples(p)] == samples(whole)
    assert all(p.sample_rate == rate for p in cut)


def test_a_full_window_that_moves_on_is_not_copied_with_every_frame() -> None:
    """What is released frame by frame costs a few copies and no more than an eighth of memory."""
    store, piece, kept = FrameStore(), frame([1] * 320), 3_000
    for _ in range(kept):
        store.append(piece)
    copies, before = 0, (store._audio, 0)
    for _ in range(kept):
        store.append(piece)
        store.release(store.end - kept * 320)
        size = store._audio.__sizeof__()
        assert size < 1.15 * kept * 320 * BYTES
        copies += before[0] is not store._audio or before[1] != size
        before = store._audio, size
    assert copies < 30
