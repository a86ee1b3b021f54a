"""Recorded human speech: what is shipped, and recordings of one's own."""

from __future__ import annotations

import wave
from importlib import resources
from pathlib import Path

import pytest

from resilient_stt.testing import ReferenceSpeech, human_speech, read_speech
from resilient_stt.testing.speech.recognizer import AudioRecognizer
from resilient_stt.testing.speech.reference import SAMPLE_RATE

ENGLISH = ReferenceSpeech.load("english")
FIRST = ENGLISH.excerpt(0, 0)


def write(path: Path, speech: ReferenceSpeech, channels: int = 1, rate: int = SAMPLE_RATE) -> Path:
    """Write the samples of a speech as a WAV file of any rate."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(speech.samples.repeat(channels).tobytes())
    return path


def test_the_shipped_voice_has_its_words() -> None:
    """25 s in five sentences, whose words follow each other within the recording."""
    speech = human_speech()
    assert speech.duration == pytest.approx(24.7, abs=0.1)
    assert speech.text.startswith("And Mr. John Dashwood had then leisure")
    assert len(speech.sentences) == 5
    assert speech.sentences[-1].stop == len(speech.words) == 67
    edges = [edge for word in speech.words for edge in (word.start, word.end)]
    assert edges == sorted(edges)
    assert edges[-1] < speech.duration
    assert abs(speech.samples).max() > 5_000


def test_its_license_is_shipped() -> None:
    """The text beside it names its sources."""
    data = resources.files("resilient_stt.testing") / "data"
    text = (data / "austen-license.txt").read_text(encoding="utf-8")
    assert "LibriVox" in text
    assert "Carnegie Mellon University" in text


def test_the_servers_own_recognizer_does_not_know_it() -> None:
    """Without a real recognizer, it is noise."""
    recognizer = AudioRecognizer()
    assert not recognizer.feed(human_speech().samples.tobytes()) + recognizer.finish()


@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_of_ones_own(tmp_path: Path, channels: int) -> None:
    """It has the samples of the file, and every word of the text with an estimated time."""
    path = write(tmp_path / "call.wav", FIRST, channels)
    speech = read_speech(path, FIRST.text)
    assert speech.name == "call"
    assert speech.duration == pytest.approx(FIRST.duration, abs=0.01)
    assert speech.text == FIRST.text
    assert speech.language == "en-US"
    for estimated, spoken in zip(speech.words, FIRST.words, strict=True):
        assert estimated.start == pytest.approx(spoken.start, abs=0.6)


def test_another_rate_keeps_the_last_sample(tmp_path: Path) -> None:
    """A file of 8 kHz is as long as before at 16 kHz."""
    path = write(tmp_path / "call.wav", FIRST, rate=SAMPLE_RATE // 2)
    speech = read_speech(path, FIRST.text)
    assert len(speech.samples) == pytest.approx(2 * len(FIRST.samples), abs=2)


def test_mistakes_name_the_file(tmp_path: Path) -> None:
    """A file without audio, a missing file and a text without words are refused."""
    broken = tmp_path / "notes.wav"
    broken.write_text("no audio")
    with pytest.raises(ValueError, match=r"notes\.wav: it has no audio, or is damaged"):
        read_speech(broken, "hello")
    with pytest.raises(FileNotFoundError):
        read_speech(tmp_path / "missing.wav", "hello")
    with pytest.raises(ValueError, match="has no words"):
        read_speech(write(tmp_path / "call.wav", FIRST), " ")
