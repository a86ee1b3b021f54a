"""The reference recordings are what their descriptions say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from livekit import local_inference, rtc

from resilient_stt.testing.speech.reference import SAMPLE_RATE, ReferenceSpeech, plain

ROOT = Path(__file__).parents[3]
NAMES = ReferenceSpeech.names()


def speech_mask(speech: ReferenceSpeech) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which samples belong to a word."""
    mask = np.zeros(len(speech.samples), np.bool_)
    for word in speech.words:
        mask[round(word.start * SAMPLE_RATE) : round(word.end * SAMPLE_RATE)] = True
    return mask


def joined(frames: list[rtc.AudioFrame]) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """Return the samples of all frames."""
    return np.concatenate([np.frombuffer(frame.data, np.int16) for frame in frames])


@pytest.mark.parametrize("name", NAMES)
class TestRecordings:
    def test_is_loaded_once_and_shared(self, name: str) -> None:
        """Loading a recording again gives the same object, which nobody can write to."""
        speech = ReferenceSpeech.load(name)
        assert speech is ReferenceSpeech.load(name)
        assert not speech.samples.flags.writeable

    def test_words_are_in_order_and_inside(self, name: str) -> None:
        """Words follow each other without overlap, and every sentence is a run of them."""
        speech = ReferenceSpeech.load(name)
        times = [time for word in speech.words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert times[0] > 0
        assert times[-1] < speech.duration
        assert [i for s in speech.sentences for i in s] == list(range(len(speech.words)))

    def test_sound_is_where_the_words_are(self, name: str) -> None:
        """Outside the words there is only the dither, and each word has sound up to its end."""
        speech = ReferenceSpeech.load(name)
        mask = speech_mask(speech)
        assert int(np.abs(speech.samples[~mask]).max()) <= 40  # a resampler rings
        for sentence in speech.sentences:
            first, last = speech.words[sentence.start], speech.words[sentence.stop - 1]
            start, end = round(first.start * SAMPLE_RATE), round(last.end * SAMPLE_RATE)
            loud = start + np.flatnonzero(np.abs(speech.samples[start:end]) > 60)
            assert loud[0] - start < 0.05 * SAMPLE_RATE  # a stop's closure is silent
            assert end - loud[-1] < 0.01 * SAMPLE_RATE

    def test_voice_activity_agrees(self, name: str) -> None:
        """LiveKit's voice detector hears speech in the words, and none in the middle of pauses."""
        speech = ReferenceSpeech.load(name)
        mask = speech_mask(speech)
        model = local_inference.VAD()
        starts = range(0, len(speech.samples) - 511, 512)
        said = np.array([model.predict(speech.samples[i : i + 512]) for i in starts])
        inside = np.array([mask[i : i + 512].all() for i in starts])
        # The model needs a moment after a word's end.
        outside = np.array([not mask[max(i - 3200, 0) : i + 512].any() for i in starts])
        assert np.mean(said[inside] > 0.5) > 0.95
        assert outside.sum() > 20
        assert said[outside].max() < 0.3

    def test_frames_carry_the_samples(self, name: str) -> None:
        """At its own rate, the frames are exactly the recording in 20 ms pieces."""
        speech = ReferenceSpeech.load(name)
        frames = list(speech.frames())
        assert {frame.samples_per_channel for frame in frames[:-1]} == {320}
        assert np.array_equal(joined(frames), speech.samples)


def test_every_moment_occurs_once() -> None:
    """No 2 ms of all recordings together occur twice, so 20 ms never do."""
    length = 32
    windows = np.concatenate(
        [
            np.lib.stride_tricks.sliding_window_view(ReferenceSpeech.load(name).samples, length)
            for name in NAMES
        ]
    )
    assert len({window.tobytes() for window in windows}) == len(windows)


def test_english_is_as_long_as_promised() -> None:
    """English has 55 to 70 words in 25 to 32 s, in 6 to 8 sentences, some of them repeated."""
    speech = ReferenceSpeech.load()
    assert 55 <= len(speech.words) <= 70
    assert 25 <= speech.duration <= 32
    assert 6 <= len(speech.sentences) <= 8
    assert "No no no" in speech.text


def test_mandarin_is_written_without_spaces() -> None:
    """The text has spaces only where the language has them."""
    assert ReferenceSpeech.load("mandarin").text.startswith("你好，我想预订一张桌子")


def test_unknown_names_are_refused() -> None:
    """The error for an unknown name lists the known ones."""
    with pytest.raises(ValueError, match="english, spanish, mandarin"):
        ReferenceSpeech.load("klingon")


def test_excerpt_is_the_same_sound_at_other_times() -> None:
    """Every word of an excerpt has the samples that it has in the recording."""
    whole = ReferenceSpeech.load()
    part = whole.excerpt(2, 4)
    assert part.first_word == whole.sentences[2].start
    assert len(part.words) == whole.sentences[4].stop - whole.sentences[2].start
    for index, word in enumerate(part.words):
        original = whole.words[part.first_word + index]
        assert word.text == original.text
        here = part.samples[round(word.start * SAMPLE_RATE) : round(word.end * SAMPLE_RATE)]
        there = whole.samples[
            round(original.start * SAMPLE_RATE) : round(original.end * SAMPLE_RATE)
        ]
        assert np.array_equal(here, there)


def test_excerpts_put_together_are_the_recording() -> None:
    """Excerpts neither overlap nor leave anything out."""
    whole = ReferenceSpeech.load("spanish")
    parts = [whole.excerpt(i, i).samples for i in range(len(whole.sentences))]
    assert np.array_equal(np.concatenate(parts), whole.samples)


def test_excerpt_of_an_excerpt_counts_from_the_recording() -> None:
    """`first_word` is an index into the full recording, however often it was cut."""
    whole = ReferenceSpeech.load()
    assert whole.excerpt(1, 5).excerpt(2, 3).first_word == whole.sentences[3].start
    assert repr(whole.excerpt(2, 2)) == "<ReferenceSpeech english en-US 2.60 s, words 23..29>"


@pytest.mark.parametrize(("first", "last"), [(-1, 0), (2, 1), (0, 8)])
def test_excerpts_that_are_none_are_refused(first: int, last: int) -> None:
    """A range that is not within the sentences raises an error."""
    with pytest.raises(ValueError, match="of 8"):
        ReferenceSpeech.load().excerpt(first, last)


def test_padding_is_silence_unlike_any_recording() -> None:
    """Padding adds quiet samples, the same every time, and no word."""
    speech = ReferenceSpeech.load()
    padded = speech.padded(1.5)
    tail = padded.samples[len(speech.samples) :]
    assert len(tail) == 24_000
    assert 0 < int(np.abs(tail).max()) <= 4
    assert np.array_equal(padded.samples, speech.padded(1.5).samples)
    assert padded.words == speech.words


@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100, 48_000])
def test_frames_at_other_rates_last_as_long(rate: int) -> None:
    """Resampling loses nothing at the end, and keeps the speech in its place."""
    speech = ReferenceSpeech.load().excerpt(0, 0)
    samples = joined(list(speech.frames(sample_rate=rate)))
    assert len(samples) / rate == pytest.approx(speech.duration, abs=0.001)
    word = speech.words[-1]
    assert np.abs(samples[round((word.end + 0.05) * rate) :]).max() < 50
    assert np.abs(samples[round(word.start * rate) : round(word.end * rate)]).max() > 1000


def test_stereo_frames_carry_everything_twice() -> None:
    """Both channels carry the recording."""
    speech = ReferenceSpeech.load().excerpt(0, 0)
    frames = list(speech.frames(channels=2, frame_duration=0.01))
    assert frames[0].num_channels == 2
    assert frames[0].samples_per_channel == 160
    stereo = joined(frames).reshape(-1, 2)
    assert np.array_equal(stereo[:, 0], speech.samples)
    assert np.array_equal(stereo[:, 1], speech.samples)


def test_plain_ignores_case_punctuation_and_spaces() -> None:
    """Case, punctuation and spaces do not count; letters of any script do."""
    assert plain("Hello,") == plain("hello") == "hello"
    assert plain("don’t") == plain("Don't")
    assert plain("你好，") == "你好"
    assert plain("sábado") != plain("sabado")
    assert plain(" ... ") == ""


def _decoded(path: Path) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    with av.open(path, mode="r") as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def _espeak_version() -> str:
    try:
        run = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        return "none"
    return run.stdout


@pytest.mark.skipif("text-to-speech: 1.51" not in _espeak_version(), reason="needs espeak-ng 1.51")
def test_the_script_makes_the_shipped_recordings(tmp_path: Path) -> None:
    """Speaking the scripts again gives the recordings that are shipped."""
    script = ROOT / "scripts" / "make_reference_speech.py"
    subprocess.run([sys.executable, script, tmp_path], check=True)
    shipped = ROOT / "resilient_stt" / "testing" / "data"
    for name in NAMES:
        assert (tmp_path / f"{name}.json").read_text() == (shipped / f"{name}.json").read_text()
        assert np.array_equal(
            _decoded(tmp_path / f"{name}.flac"), ReferenceSpeech.load(name).samples
        )
