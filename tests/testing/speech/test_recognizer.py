"""A connection's audio is turned back into exactly the words that arrived on it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from livekit import rtc
from numpy.typing import NDArray

from resilient_stt.testing.speech.recognizer import (
    EDGE,
    SHORTEST_FRAGMENT,
    AudioRecognizer,
    HeardWord,
)
from resilient_stt.testing.speech.reference import SAMPLE_RATE, ReferenceSpeech, plain

ENGLISH = ReferenceSpeech.load()
WORDS = ENGLISH.words
SPELLED = {plain(w.text) for n in ReferenceSpeech.names() for w in ReferenceSpeech.load(n).words}

Samples = NDArray[np.int16]


def listen(
    samples: Samples, *, block: int = 320, sample_rate: int = SAMPLE_RATE
) -> tuple[AudioRecognizer, list[HeardWord]]:
    """Feed everything in blocks and finish."""
    hearing = AudioRecognizer(sample_rate=sample_rate)
    pcm = samples.tobytes()
    heard: list[HeardWord] = []
    for start in range(0, len(pcm), block * 2):
        heard += hearing.feed(pcm[start : start + block * 2])
    return hearing, heard + hearing.finish()


def at(word: int, part: float = 0.0) -> int:
    """Return the sample at a part of an English word."""
    start, end = WORDS[word].start, WORDS[word].end
    return round((start + part * (end - start)) * SAMPLE_RATE)


def cut(first: int, last: int, part: float = 0.0, until: float = 1.0) -> Samples:
    """Return English from a part of one word to a part of another."""
    return ENGLISH.samples[at(first, part) : at(last, until)]


def noise(count: int, level: int, seed: int = 99) -> Samples:
    """Return noise that is in no recording."""
    return np.random.default_rng(seed).integers(-level, level + 1, count, np.int16)


def resampled(samples: Samples, source: int, target: int) -> Samples:
    """Resample as LiveKit's streams do."""
    resampler = rtc.AudioResampler(source, target, quality=rtc.AudioResamplerQuality.HIGH)
    frames = resampler.push(rtc.AudioFrame(samples.tobytes(), source, 1, len(samples)))
    frames += resampler.flush()
    return np.concatenate([np.frombuffer(frame.data, np.int16) for frame in frames])


def through(rate: int, samples: Samples) -> Samples:
    """Return samples that went through another rate."""
    return resampled(resampled(samples, SAMPLE_RATE, rate), rate, SAMPLE_RATE)


def texts(heard: Sequence[HeardWord]) -> list[str]:
    """Return the texts."""
    return [word.text for word in heard]


def spoken(first: int, last: int) -> list[str]:
    """Return the texts of English words, both ends inclusive."""
    return [word.text for word in WORDS[first : last + 1]]


@pytest.mark.parametrize("name", ReferenceSpeech.names())
@pytest.mark.parametrize("block", [7, 320, 2560, 1_000_000])
def test_all_words_are_recognized_at_their_times(name: str, block: int) -> None:
    """A recording is recognized word by word, to the sample, in blocks of any size."""
    speech = ReferenceSpeech.load(name)
    hearing, heard = listen(speech.samples, block=block)
    assert [(w.text, w.start, w.end) for w in heard] == [
        (w.text, w.start, w.end) for w in speech.words
    ]
    assert all(word.whole and word.speech == name for word in heard)
    assert [word.index for word in heard] == list(range(len(heard)))
    assert hearing.position == speech.duration


def test_odd_bytes_are_kept_for_the_next_block() -> None:
    """A block may end in the middle of a sample, or be half a sample."""
    hearing = AudioRecognizer()
    pcm = cut(0, 4).tobytes()
    sizes = [1] * 5001 + [333] * (len(pcm) // 333)
    heard = []
    for start, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
        heard += hearing.feed(pcm[start : start + size])
    assert texts(heard) == spoken(0, 4)
    assert hearing.position == len(pcm) / 2 / SAMPLE_RATE


def test_words_come_with_the_block_that_completes_them() -> None:
    """A word is returned as soon as its last sample is there, and not before."""
    hearing = AudioRecognizer()
    assert hearing.feed(cut(0, 0)[:-1].tobytes()) == []
    assert texts(hearing.feed(ENGLISH.samples[at(0, 1) - 1 : at(0, 1)].tobytes())) == ["Hello,"]


def test_an_excerpt_has_the_indices_of_the_recording() -> None:
    """Words have the indices of the full recording, and times of the connection."""
    excerpt = ENGLISH.excerpt(3, 3)
    _, heard = listen(excerpt.samples)
    assert [word.index for word in heard] == list(ENGLISH.sentences[3])
    assert [word.start for word in heard] == pytest.approx([word.start for word in excerpt.words])


def test_a_corpus_can_be_an_excerpt() -> None:
    """A recognizer knows only its corpus, and its words have the indices of the recording."""
    hearing = AudioRecognizer([ENGLISH.excerpt(1, 1)])
    heard = hearing.feed(ENGLISH.samples.tobytes()) + hearing.finish()
    assert [word.index for word in heard] == list(ENGLISH.sentences[1])
    assert texts(heard) == spoken(13, 22)


class TestFragments:
    def test_a_word_from_its_middle_on_is_its_tail(self) -> None:
        """A connection that begins within a word gets the last letters of the word."""
        _, heard = listen(cut(8, 10, part=0.5))
        assert texts(heard) == ["vation", "at", "the"]
        assert [word.whole for word in heard] == [False, True, True]
        assert heard[0].start == 0
        assert heard[0].index == 8

    def test_a_word_cut_off_is_its_head(self) -> None:
        """A connection that ends within a word gets the first letters of the word."""
        _, heard = listen(cut(7, 8, until=0.5))
        assert texts(heard) == ["a", "reserv"]
        assert heard[1].end == pytest.approx(at(8, 0.5) / SAMPLE_RATE - WORDS[7].start, abs=1e-4)

    def test_a_jump_ends_the_word_it_leaves(self) -> None:
        """The part of a word before a jump comes before the words after it."""
        _, heard = listen(np.concatenate([cut(7, 8, until=0.5), cut(30, 31)]))
        assert texts(heard) == ["a", "reserv", "No", "no"]

    def test_a_hole_in_a_word_makes_two_fragments(self) -> None:
        """A word is whole only if it arrived in one piece."""
        _, heard = listen(np.concatenate([cut(8, 8, until=0.4), cut(8, 9, part=0.6)]))
        assert [word.whole for word in heard] == [False, False, True]

    def test_too_little_of_a_word_gives_nothing(self) -> None:
        """Less than 60 ms of a word give nothing."""
        start, end = at(8), at(8) + round(SHORTEST_FRAGMENT * SAMPLE_RATE)
        assert listen(ENGLISH.samples[start : end - 20])[1] == []
        assert len(listen(ENGLISH.samples[start : end + 20])[1]) == 1

    def test_the_edges_of_a_word_may_be_missing(self) -> None:
        """15 ms at either end do not make a fragment; more do."""
        edge = round(EDGE * SAMPLE_RATE)
        start, end = at(8), at(8, 1.0)
        _, heard = listen(ENGLISH.samples[start + edge : end - edge])
        assert [(word.text, word.whole) for word in heard] == [("reservation", True)]
        _, heard = listen(ENGLISH.samples[start + edge + 20 : end])
        assert [word.whole for word in heard] == [False]

    def test_a_short_word_is_whole_or_nothing(self) -> None:
        """No part of a word of 65 ms is long enough for a fragment."""
        assert [word.whole for word in listen(cut(7, 7, part=0.2, until=0.8))[1]] == [True]
        assert listen(cut(7, 7, part=0.3))[1] == []

    @pytest.mark.parametrize("name", ReferenceSpeech.names())
    @settings(deadline=None)  # the first example builds the atlas
    @given(data=st.data())
    def test_a_fragment_is_never_a_word(self, name: str, data: st.DataObject) -> None:
        """No fragment is spelled as any word of any recording."""
        speech = ReferenceSpeech.load(name)
        word = data.draw(st.sampled_from(speech.words))
        start, end = round(word.start * SAMPLE_RATE), round(word.end * SAMPLE_RATE)
        first = data.draw(st.integers(start, end - 400))
        last = data.draw(st.integers(first + 400, end))
        for heard in listen(speech.samples[first:last])[1]:
            assert (heard.text == word.text) if heard.whole else (heard.text not in SPELLED)

    def test_a_fragment_without_spaces_has_no_right_character(self) -> None:
        """In languages whose single characters may be words, a fragment has no right character."""
        mandarin = ReferenceSpeech.load("mandarin")
        word = mandarin.words[13]
        start, end = round(word.start * SAMPLE_RATE), round(word.end * SAMPLE_RATE)
        _, heard = listen(mandarin.samples[start : (start + end) // 2])
        assert texts(heard) == ["咦" * round(len(plain(word.text)) / 2)]


class TestReplay:
    def test_a_repetition_is_recognized_again(self) -> None:
        """Audio that is sent twice is recognized twice."""
        _, heard = listen(np.concatenate([cut(0, 4), cut(2, 6)]))
        assert texts(heard) == spoken(0, 4) + spoken(2, 6)

    def test_silence_cut_out_leaves_the_words(self) -> None:
        """A replay without a pause has all words, each at the connection's own time."""
        _, heard = listen(np.concatenate([cut(11, 12), cut(13, 14)]))
        assert texts(heard) == spoken(11, 14)
        assert heard[2].start == pytest.approx(heard[1].end, abs=0.002)

    def test_silence_put_in_leaves_the_words(self) -> None:
        """Digital silence between two words only takes time."""
        _, heard = listen(np.concatenate([cut(11, 12), np.zeros(8000, np.int16), cut(13, 14)]))
        assert texts(heard) == spoken(11, 14)
        assert heard[2].start == pytest.approx(heard[1].end + 0.5, abs=0.002)

    def test_languages_may_alternate(self) -> None:
        """One connection may carry several recordings."""
        spanish = ReferenceSpeech.load("spanish").excerpt(2, 2)
        _, heard = listen(np.concatenate([cut(30, 32), spanish.samples, cut(33, 34)]))
        assert texts(heard) == [
            "No",
            "no",
            "no,",
            *(w.text for w in spanish.words),
            "not",
            "Sunday,",
        ]
        assert [word.speech for word in heard[2:5]] == ["english", "spanish", "spanish"]


class TestState:
    def test_the_partial_word_grows(self) -> None:
        """While a word arrives, its letters so far can be read."""
        hearing = AudioRecognizer()
        seen = []
        for part in np.array_split(cut(8, 8), 12):
            hearing.feed(part.tobytes())
            seen.append(hearing.partial.text if hearing.partial else "")
        assert seen[0] == ""
        assert seen[5] == "reserv"
        assert seen[-1] == ""
        assert [len(text) for text in seen[:-1]] == sorted(len(text) for text in seen[:-1])

    def test_finish_gives_the_part_of_the_word(self) -> None:
        """After a flush within a word, the rest of the word is a fragment, too."""
        hearing = AudioRecognizer()
        assert hearing.feed(cut(8, 8, until=0.5).tobytes()) == []
        assert texts(hearing.finish()) == ["reserv"]
        assert hearing.finish() == []
        assert texts(hearing.feed(cut(8, 9, part=0.5).tobytes())) == ["vation", "at"]

    def test_silence_counts_from_the_last_word(self) -> None:
        """Silence counts from the last sample of any word, even of a fragment."""
        hearing = AudioRecognizer()
        hearing.feed(np.zeros(1600, np.int16).tobytes())
        assert hearing.silence == pytest.approx(0.1)
        hearing.feed(cut(8, 8, until=0.5).tobytes())
        assert hearing.silence == 0
        hearing.feed(np.zeros(3200, np.int16).tobytes())
        assert hearing.silence == pytest.approx(0.2, abs=0.002)

    def test_silence_in_a_pause_of_the_recording(self) -> None:
        """The pauses of a recording are silence as well."""
        hearing = AudioRecognizer()
        hearing.feed(ENGLISH.samples[at(12) : at(12, 1.0) + 4800].tobytes())
        assert hearing.silence == pytest.approx(0.3, abs=1e-3)
        hearing.feed(ENGLISH.samples[at(22, 1.0) + 800 : at(22, 1.0) + 2400].tobytes())
        assert hearing.silence == pytest.approx(0.4, abs=1e-3)

    def test_reached_is_true_for_moments_that_arrived(self) -> None:
        """`reached` says whether a moment of a word has arrived."""
        hearing = AudioRecognizer()
        assert not hearing.reached(8, 0.0)
        hearing.feed(cut(6, 8, until=0.5).tobytes())
        assert hearing.reached(8, 0.0)
        assert hearing.reached(8, 0.49)
        assert not hearing.reached(8, 0.51)
        assert not hearing.reached(5, 1.0)
        hearing.feed(cut(3, 5).tobytes())
        assert hearing.reached(5, 1.0)
        assert hearing.reached(7, 0.5)
        assert not hearing.reached(3, 0.0, speech="spanish")
        assert hearing.reached(3, 0.0, speech="english")

    def test_reached_takes_any_recording(self) -> None:
        """`reached` takes a word of any recording, or of a given one."""
        hearing = AudioRecognizer()
        spanish = ReferenceSpeech.load("spanish")
        word = spanish.words[5]
        hearing.feed(spanish.samples[: round(word.end * 16_000)].tobytes())
        assert hearing.reached(5, 0.5)
        assert not hearing.reached(6, 0.0)

    def test_reached_refuses_words_that_are_not_there(self) -> None:
        """`reached` raises an error for a word of no recording."""
        with pytest.raises(ValueError, match="no word 170 of any recording"):
            AudioRecognizer().reached(170, 0.0)

    def test_repr_shows_the_state(self) -> None:
        """The state can be read in a failed assertion."""
        hearing = AudioRecognizer()
        hearing.feed(cut(7, 7).tobytes())
        assert repr(hearing) == "<Hearing 0.06 s, 1 runs, None>"


class TestUnknown:
    @pytest.mark.parametrize(
        "samples",
        [
            pytest.param(np.zeros(32_000, np.int16), id="digital silence"),
            pytest.param(noise(32_000, 3), id="dither"),
            pytest.param(noise(32_000, 3000), id="loud noise"),
            pytest.param((9000 * np.sin(np.arange(32_000) * 0.17)).astype(np.int16), id="tone"),
            pytest.param(ENGLISH.padded(2).samples[-32_000:], id="padding"),
        ],
    )
    def test_unknown_audio_only_takes_time(self, samples: Samples) -> None:
        """Audio that is in no recording gives no word, but counts as time."""
        hearing, heard = listen(samples)
        assert heard == []
        assert hearing.position == hearing.silence == len(samples) / SAMPLE_RATE

    def test_reversed_speech_gives_no_words(self) -> None:
        """Sounds similar to those of a recording are not its words."""
        assert listen(cut(0, 12)[::-1].copy())[1] == []

    def test_words_after_noise_are_recognized(self) -> None:
        """Words after a long noise are recognized."""
        samples = np.concatenate([noise(64_000, 3000), cut(0, 4), noise(16_000, 3000)])
        _, heard = listen(samples)
        assert texts(heard) == spoken(0, 4)
        assert heard[0].start == pytest.approx(4.0, abs=0.002)


class TestResampled:
    @pytest.mark.parametrize("gain", [1.0, 0.3])
    @pytest.mark.parametrize("rate", [24_000, 44_100, 48_000])
    @pytest.mark.parametrize("name", ReferenceSpeech.names())
    def test_all_words_are_recognized(self, name: str, rate: int, gain: float) -> None:
        """Another rate on the way and a gain change the samples, but not the words."""
        speech = ReferenceSpeech.load(name)
        samples = (through(rate, speech.samples) * gain).astype(np.int16)
        _, heard = listen(samples)
        assert texts(heard) == [word.text for word in speech.words]
        for word, expected in zip(heard, speech.words, strict=True):
            assert word.start == pytest.approx(expected.start, abs=0.015)
            assert word.end == pytest.approx(expected.end, abs=0.015)

    @pytest.mark.parametrize("rate", [24_000, 48_000])
    def test_a_connection_may_have_another_rate(self, rate: int) -> None:
        """A connection at 24 kHz is given its own bytes, and has its own clock."""
        hearing, heard = listen(
            resampled(ENGLISH.samples, SAMPLE_RATE, rate), sample_rate=rate, block=rate // 50
        )
        assert texts(heard) == [word.text for word in WORDS]
        assert hearing.position == pytest.approx(ENGLISH.duration, abs=0.001)
        assert heard[-1].end == pytest.approx(WORDS[-1].end, abs=0.015)

    def test_jumps_are_found(self) -> None:
        """Cuts, replays and holes are found as they are without resampling."""
        samples = through(48_000, ENGLISH.samples)

        def piece(first: int, last: int, part: float = 0.0, until: float = 1.0) -> Samples:
            return samples[at(first, part) : at(last, until)]

        _, heard = listen(
            np.concatenate(
                [
                    piece(2, 8, until=0.5),
                    piece(12, 15),
                    piece(5, 7),
                    np.zeros(4000, np.int16),
                    piece(41, 43, part=0.5),
                ]
            )
        )
        assert [word.text for word in heard if word.whole] == [
            *spoken(2, 7),
            *spoken(12, 15),
            *spoken(5, 7),
            *spoken(42, 43),
        ]
        assert [word.index for word in heard if not word.whole] == [8, 41]


def expected_words(
    pieces: Sequence[tuple[int, int] | None], gap: int
) -> Iterator[tuple[int, bool, int]]:
    """Yield index, wholeness and end (in samples) of the words that a perfect recognizer finds."""
    now = 0
    for piece in pieces:
        if piece is None:
            now += gap
            continue
        first, last = piece
        for index in range(len(WORDS)):
            start, end = at(index), at(index, 1.0)
            begin, until = max(start, first), min(end, last)
            edge = EDGE * SAMPLE_RATE
            missing = max(begin - start, end - until)
            assume(abs(missing - edge) > 20)  # chance decides the last few samples of a cut
            assume(abs(until - begin - SHORTEST_FRAGMENT * SAMPLE_RATE) > 20)
            if missing <= edge or until - begin > SHORTEST_FRAGMENT * SAMPLE_RATE:
                yield index, missing <= edge, now + until - first
        now += last - first


@st.composite
def pieces_of_english(draw: st.DrawFn) -> list[tuple[int, int] | None]:
    """Any pieces of the recording in any order, some with a gap (`None`) between them."""
    total = len(ENGLISH.samples)
    result: list[tuple[int, int] | None] = []
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, total - 400))
        if result and result[-1] and result[-1][1] == start:
            start = max(0, start - 1000)  # a piece that continues the last one is not another piece
        result.append((start, min(start + draw(st.integers(400, 40_000)), total)))
        if draw(st.booleans()):
            result.append(None)
    return result


@settings(deadline=None)
@given(pieces=pieces_of_english(), block=st.integers(1, 3000))
def test_any_pieces_are_recognized_exactly(
    pieces: list[tuple[int, int] | None], block: int
) -> None:
    """However a recording is cut and replayed, exactly the words that arrived are recognized."""
    gap = noise(1000, 3)
    expected = list(expected_words(pieces, len(gap)))
    parts = [gap if piece is None else ENGLISH.samples[slice(*piece)] for piece in pieces]
    hearing, heard = listen(np.concatenate(parts), block=max(block, 20))
    assert [(word.index, word.whole) for word in heard] == [(i, whole) for i, whole, _ in expected]
    for word, (_, _, end) in zip(heard, expected, strict=True):
        assert word.end == pytest.approx(end / SAMPLE_RATE, abs=20 / SAMPLE_RATE)
    assert hearing.position == sum(map(len, parts)) / SAMPLE_RATE


def test_listening_is_cheap() -> None:
    """Following a recording costs well under 1 % of real time (measured: 9 µs for 20 ms)."""
    began = time.perf_counter()
    listen(ENGLISH.samples)
    assert time.perf_counter() - began < ENGLISH.duration * 0.01
