from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from resilient_stt.cli.audio import opened
from resilient_stt.cli.problems import Problem
from resilient_stt.testing.speech.reference import ReferenceSpeech

FORMATS = [
    ("speech.wav", "pcm_s16le", 16_000, "mono"),
    ("speech.flac", "flac", 44_100, "stereo"),
    ("speech.wav", "pcm_u8", 8_000, "stereo"),
    ("speech.mp3", "mp3", 48_000, "stereo"),
]


@pytest.mark.parametrize(("name", "codec", "rate", "layout"), FORMATS)
def test_any_format_becomes_mono_at_one_rate(
    record: Callable[..., Path], name: str, codec: str, rate: int, layout: str
) -> None:
    """Frames of 20 ms at 16 kHz that hold what was recorded."""
    speech = ReferenceSpeech.load("english").excerpt(0, 0).padded(1.0)
    with opened(record(name, codec, rate=rate, layout=layout)) as audio:
        frames = list(audio.frames())
        duration = audio.duration
    heard = np.concatenate([np.frombuffer(frame.data, np.int16) for frame in frames])
    assert {(frame.sample_rate, frame.num_channels) for frame in frames} == {(16_000, 1)}
    assert {frame.samples_per_channel for frame in frames[:-1]} == {320}
    assert len(heard) == pytest.approx(len(speech.samples), abs=2_000)  # MP3 pads
    assert duration == pytest.approx(speech.duration, abs=0.15)
    # a mono recording written as stereo is 3 dB lower
    assert np.abs(heard).max() == pytest.approx(np.abs(speech.samples).max(), rel=0.35)


def test_a_pcm_file_arrives_bit_by_bit(record: Callable[..., Path]) -> None:
    """What needs no conversion is not touched."""
    speech = ReferenceSpeech.load("english").excerpt(0, 0).padded(1.0)
    with opened(record("speech.wav", "pcm_s16le")) as audio:
        pcm = b"".join(bytes(frame.data) for frame in audio.frames())
    assert pcm == speech.samples.tobytes()


def test_a_scratch_is_skipped_and_counted(record: Callable[..., Path]) -> None:
    """Damage in the middle of a file does not end it."""
    path = record("speech.mp3", "mp3")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2_000] = random.Random(1).randbytes(2_000)
    path.write_bytes(data)
    with opened(path) as audio:
        seconds = sum(frame.duration for frame in audio.frames())
    assert audio.damaged > 0
    assert seconds > 4.0


def test_what_is_no_audio_is_refused(tmp_path: Path, record: Callable[..., Path]) -> None:
    """One line says what is wrong with the file."""
    empty, text, silent = tmp_path / "empty.wav", tmp_path / "text.wav", tmp_path / "no.wav"
    empty.write_bytes(b"")
    text.write_text("hello")
    silent.write_bytes(record("speech.wav", "pcm_s16le").read_bytes()[:78])
    wrong = {
        tmp_path / "missing.wav": "cannot be read: No such file",
        tmp_path: "cannot be read: Is a directory",
        empty: "is no audio file",
        text: "is no audio file",
        silent: "holds no audio",
    }
    for path, says in wrong.items():
        with pytest.raises(Problem, match=says) as caught, opened(path):
            pass
        assert caught.value.status == 2
