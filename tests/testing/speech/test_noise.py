"""The noises make the voice detector fire, and the fake recognizers find no word in them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import aiohttp
import numpy as np
import pytest

from resilient_stt.livekit.vad import BundledDetector
from resilient_stt.testing.fakes.cartesia import FakeCartesia
from resilient_stt.testing.harness.play import play
from resilient_stt.testing.speech.noise import babble, coughs, join, music, reversed_speech, silence
from resilient_stt.testing.speech.recognizer import AudioRecognizer, HeardWord
from resilient_stt.testing.speech.reference import SAMPLE_RATE, ReferenceSpeech

MAKERS: dict[str, Callable[..., ReferenceSpeech]] = {
    maker.__name__: maker for maker in (silence, coughs, music, babble, reversed_speech)
}
ENGLISH = ReferenceSpeech.load("english")
RATES = (16_000, 24_000, 48_000)

all_noises = pytest.mark.parametrize("name", MAKERS)
all_rates = pytest.mark.parametrize("rate", RATES)


@functools.cache
def minute(name: str, seed: int = 0) -> ReferenceSpeech:
    """60 s of a noise."""
    return MAKERS[name](60, seed=seed)


def fired(noise: ReferenceSpeech, rate: int = SAMPLE_RATE) -> list[float]:
    """The length in seconds of each segment that the detector takes for speech."""
    detector = BundledDetector()
    edges = [edge for f in noise.frames(sample_rate=rate) for edge in detector.push(f)]
    edges += detector.finish()
    starts, ends = edges[::2], edges[1::2]
    return [(end.at - start.at) / rate for start, end in zip(starts, ends, strict=True)]


def heard(speech: ReferenceSpeech, rate: int = SAMPLE_RATE) -> list[HeardWord]:
    """Every word, and every word begun, that a connection of this rate recognizes."""
    hearing = AudioRecognizer(sample_rate=rate)
    words: list[HeardWord] = []
    for frame in speech.frames(sample_rate=rate):
        words += hearing.feed(bytes(frame.data))
        words += [hearing.partial] if hearing.partial and not speech.words else []
    return words + hearing.finish()


@all_noises
class TestNoises:
    def test_last_as_long_as_asked_for(self, name: str) -> None:
        """The length is exact, even if it is very short; there are no words."""
        for seconds in (0, 0.01, 0.7, 60):
            noise = minute(name) if seconds == 60 else MAKERS[name](seconds)
            assert len(noise.samples) == round(seconds * SAMPLE_RATE)
            assert noise.samples.dtype == np.int16
            assert not noise.samples.flags.writeable
            assert (noise.words, noise.sentences, noise.text) == ((), (), "")
        assert repr(minute(name)) == f"<ReferenceSpeech {name} zxx 60.00 s, no words>"

    def test_are_the_same_for_the_same_seed(self, name: str) -> None:
        """The same seed gives the same samples, another one other samples."""
        make = MAKERS[name]
        assert np.array_equal(make(5, seed=3).samples, make(5, seed=3).samples)
        assert np.array_equal(make(5).samples, make(5, seed=0).samples)
        assert not np.array_equal(make(5, seed=3).samples, make(5, seed=4).samples)

    @pytest.mark.parametrize("seconds", [-0.1, float("inf"), float("nan")])
    def test_refuse_lengths_that_are_none(self, name: str, seconds: float) -> None:
        """A length must be a number of seconds from 0 on."""
        with pytest.raises(ValueError, match=f"cannot make {seconds} s of noise"):
            MAKERS[name](seconds)

    @all_rates
    def test_have_no_word(self, name: str, rate: int) -> None:
        """No word is recognized in them at any rate, not even the start of one."""
        assert heard(MAKERS[name](20), rate) == []

    def test_have_no_word_whatever_the_seed(self, name: str) -> None:
        """No seed makes them similar to a recording; 1 to 3 are the seeds of the recordings'
        dither."""
        for seed in (1, 2, 3):
            assert heard(MAKERS[name](6, seed=seed)) == []


@all_rates
class TestDetector:
    def test_never_fires_on_silence(self, rate: int) -> None:
        """The detector does not take the dither for voice."""
        assert fired(minute("silence"), rate) == []

    def test_fires_on_coughs(self, rate: int) -> None:
        """Each run of coughs is a segment (measured: 17 to 19 segments, 18 to 23 s in all)."""
        assert sum(length >= 0.25 for length in fired(minute("coughs"), rate)) >= 12

    def test_fires_on_music(self, rate: int) -> None:
        """Each sung phrase is a segment (measured: 8, 33 to 35 s in all)."""
        assert sum(length >= 0.5 for length in fired(minute("music"), rate)) >= 6

    def test_fires_on_reversed_speech(self, rate: int) -> None:
        """Reversed speech counts as speech (measured: 51 s in 14 to 16 segments)."""
        assert sum(fired(minute("reversed_speech"), rate)) > 40

    def test_fires_on_babble_all_the_time(self, rate: int) -> None:
        """One of several voices always speaks (measured: one segment of 60 s)."""
        assert sum(fired(minute("babble"), rate)) > 50


@pytest.mark.parametrize("seed", [1, 2])
def test_other_seeds_make_the_detector_fire_as_much(seed: int) -> None:
    """Other seeds give about the same results as the default one."""
    assert sum(length >= 0.25 for length in fired(minute("coughs", seed))) >= 12
    assert sum(length >= 0.5 for length in fired(minute("music", seed))) >= 6


class TestJoin:
    @pytest.mark.parametrize("noise", MAKERS)
    @all_rates
    def test_words_are_recognized_at_their_new_times(self, noise: str, rate: int) -> None:
        """Around a noise every word is recognized as before, and the noise gives none."""
        whole = join(ENGLISH.excerpt(0, 0), MAKERS[noise](5), ENGLISH.excerpt(1, 1))
        words = heard(whole, rate)
        assert [word.text for word in words] == [word.text for word in whole.words]
        assert all(word.whole for word in words)
        late = 1e-6 if rate == SAMPLE_RATE else 0.015
        for word, spoken in zip(words, whole.words, strict=True):
            assert word.start == pytest.approx(spoken.start, abs=late)
            assert word.end == pytest.approx(spoken.end, abs=late)

    def test_keeps_every_sample(self) -> None:
        """The joined recording has all samples of its parts, in order, and is read-only."""
        parts = [silence(0.3), ENGLISH.excerpt(0, 1), coughs(2), ENGLISH.excerpt(2, 2), music(1)]
        whole = join(*parts)
        assert np.array_equal(whole.samples, np.concatenate([part.samples for part in parts]))
        assert not whole.samples.flags.writeable

    def test_shifts_words_and_sentences(self) -> None:
        """Times move by what was before, indices of sentences by the words that were before."""
        first, second = ENGLISH.excerpt(0, 1), ENGLISH.excerpt(3, 4)
        whole = join(silence(0.5), first, coughs(2), second)
        assert [word.text for word in whole.words] == [w.text for w in first.words + second.words]
        assert whole.words[0].start == first.words[0].start + 0.5
        assert whole.words[-1].end == second.words[-1].end + 2.5 + first.duration
        assert whole.sentences == (range(13), range(13, 23), range(23, 31), range(31, 41))
        assert whole.text == f"{first.text} {second.text}"

    def test_is_cut_as_any_recording(self) -> None:
        """A sentence of a joined recording has its own words and audio, and a part of the noise."""
        whole = join(ENGLISH.excerpt(0, 0), coughs(2), ENGLISH.excerpt(4, 4))
        cut = whole.excerpt(1, 1)
        assert cut.text == ENGLISH.excerpt(4, 4).text
        assert cut.first_word == 13
        assert [(w.text, w.index) for w in heard(cut)] == [
            (word.text, 38 + index) for index, word in enumerate(cut.words)
        ]

    def test_sentences_that_go_on_keep_name_and_indices(self) -> None:
        """A recording with noise in a pause keeps its name and indices."""
        whole = join(ENGLISH.excerpt(1, 2), coughs(1), ENGLISH.excerpt(3, 3))
        assert (whole.name, whole.first_word, len(whole.words)) == ("english", 13, 25)
        assert join(ENGLISH).name == "english"

    @pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 2), (3, 2)])
    def test_other_sentences_are_a_recording_of_their_own(self, first: int, second: int) -> None:
        """If the indices cannot be those of the recording, the name is another one, too."""
        whole = join(ENGLISH.excerpt(first, first), coughs(1), ENGLISH.excerpt(second, second))
        assert (whole.name, whole.language, whole.first_word) == ("english+english", "en-US", 0)

    def test_noises_alone_have_no_words(self) -> None:
        """Recordings without words can be joined."""
        whole = join(coughs(1), silence(2))
        assert repr(whole) == "<ReferenceSpeech coughs+silence zxx 3.00 s, no words>"

    def test_refuses_to_join_nothing(self) -> None:
        """Joining nothing raises an error: it would have no language."""
        with pytest.raises(ValueError, match="nothing to join"):
            join()

    def test_languages_may_change(self) -> None:
        """Every word keeps its language; noise has none."""
        spanish, mandarin = ReferenceSpeech.load("spanish"), ReferenceSpeech.load("mandarin")
        assert join(coughs(1), spanish).language == spanish.language
        whole = join(
            ENGLISH.excerpt(7, 7), spanish.excerpt(2, 2), coughs(1), mandarin.excerpt(2, 2)
        )
        assert (whole.name, whole.language) == ("english+spanish+mandarin", "mul")
        assert [word.language for word in whole.words] == ["en-US"] * 5 + ["es"] * 7 + ["zh"] * 6
        assert whole.text == (
            "Thank you very much, goodbye. No no, mejor el sábado, muchas gracias. "
            "请安排安静的座位，谢谢。"
        )
        assert [len(sentence) for sentence in whole.sentences] == [5, 7, 6]
        assert [whole.excerpt(0, last).language for last in range(2)] == ["en-US", "mul"]

    def test_refuses_samples_that_are_no_recording(self) -> None:
        """Samples that are not 16-bit mono raise an error."""
        stereo = np.repeat(ENGLISH.samples[:, None], 2, axis=1)
        floats = ENGLISH.samples.astype(np.float64)
        for samples in (stereo, floats):
            wrong = replace(ENGLISH, samples=samples)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="is not 16-bit mono"):
                join(ENGLISH, wrong)

    def test_refuses_another_sample_rate(self) -> None:
        """Words beyond the end of the samples raise an error: the sample rate must be another
        one."""
        slower = replace(ENGLISH, samples=ENGLISH.samples[::2])
        with pytest.raises(ValueError, match="beyond its end: not 16000 Hz"):
            join(coughs(1), slower)


@pytest.mark.stt_virtual_time
@pytest.mark.parametrize(("noise", "rate"), [("coughs", 16_000), ("babble", 48_000)])
async def test_a_scenario_is_played_and_scored(noise: str, rate: int) -> None:
    """Of a sentence, a minute of noise and another sentence, the server transcribes the words
    only."""
    sentences = [ENGLISH.excerpt(2, 2), ENGLISH.excerpt(5, 5)]
    speech = join(sentences[0], minute(noise), sentences[1]).padded(1.0)
    async with FakeCartesia() as cartesia, aiohttp.ClientSession() as http:
        played = await play(cartesia.stt(http_session=http), speech, sample_rate=rate)
    assert played.error is None
    assert played.score.ok, str(played.score)
    assert played.score.ts_err_max_s == pytest.approx(0, abs=0.02)
