from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from resilient_stt.cli.audio_file import open_audio_file
from resilient_stt.cli.command_error import CommandError
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
    """The frames have 20 ms at 16 kHz and hold the recording."""
    speech = ReferenceSpeech.load("english").excerpt(0, 0).padded(1.0)
    with open_audio_file(record(name, codec, rate=rate, layout=layout)) as audio:
        frames = list(audio.frames())
        duration = audio.duration
    decoded = np.concatenate([np.frombuffer(frame.data, np.int16) for frame in frames])
    assert {(frame.sample_rate, frame.num_channels) for frame in frames} == {(16_000, 1)}
    assert {frame.samples_per_channel for frame in frames[:-1]} == {320}
    assert len(decoded) == pytest.approx(len(speech.samples), abs=2_000)  # MP3 pads
    assert duration == pytest.approx(speech.duration, abs=0.15)
    # a mono recording written as stereo is 3 dB lower
    assert np.abs(decoded).max() == pytest.approx(np.abs(speech.samples).max(), rel=0.35)


def test_a_pcm_file_arrives_bit_by_bit(record: Callable[..., Path]) -> None:
    """Audio that needs no conversion is not changed."""
    speech = ReferenceSpeech.load("english").excerpt(0, 0).padded(1.0)
    with open_audio_file(record("speech.wav", "pcm_s16le")) as audio:
        pcm = b"".join(bytes(frame.data) for frame in audio.frames())
    assert pcm == speech.samples.tobytes()


def test_damaged_packets_are_skipped_and_counted(record: Callable[..., Path]) -> None:
    """Damage in the middle of a file does not end the audio."""
    path = record("speech.mp3", "mp3")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2_000] = random.Random(1).randbytes(2_000)
    path.write_bytes(data)
    with open_audio_file(path) as audio:
        seconds = sum(frame.duration for frame in audio.frames())
    assert audio.damaged > 0
    assert seconds > 4.0


def test_files_without_audio_are_refused(tmp_path: Path, record: Callable[..., Path]) -> None:
    """The error says what is wrong with the file."""
    empty, text, silent = tmp_path / "empty.wav", tmp_path / "text.wav", tmp_path / "no.wav"
    empty.write_bytes(b"")
    text.write_text("hello")
    silent.write_bytes(record("speech.wav", "pcm_s16le").read_bytes()[:78])
    wrong = {
        tmp_path / "missing.wav": "cannot read .*: No such file",
        tmp_path: "cannot read .*: Is a directory",
        empty: "is not an audio file",
        text: "is not an audio file",
        silent: "has no audio in it",
    }
    for path, says in wrong.items():
        with pytest.raises(CommandError, match=says) as caught, open_audio_file(path):
            pass
        assert caught.value.status == 2


@pytest.mark.parametrize(("first", "second"), [("stereo", "mono"), ("mono", "stereo")])
def test_joined_files_are_read_to_the_end(
    record: Callable[..., Path], tmp_path: Path, first: str, second: str
) -> None:
    """Each part may have another sample rate and number of channels."""
    one = record("one.mp3", "mp3", rate=44_100, layout=first)
    two = record("two.mp3", "mp3", rate=22_050, layout=second)
    both = tmp_path / "both.mp3"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    with open_audio_file(both) as audio:
        frames = list(audio.frames())
    speech = ReferenceSpeech.load("english").excerpt(0, 0).padded(1.0)
    assert {(frame.sample_rate, frame.num_channels) for frame in frames} == {(16_000, 1)}
    assert sum(f.duration for f in frames) == pytest.approx(2 * speech.duration, abs=0.3)


@pytest.mark.parametrize("codec", ["mp3", "flac", "pcm_s16le"])
def test_damage_anywhere_is_never_a_bug(record: Callable[..., Path], codec: str) -> None:
    """A damaged file is read as far as possible, or refused in words."""
    name = {"mp3": "speech.mp3", "flac": "speech.flac", "pcm_s16le": "speech.wav"}[codec]
    path = record(name, codec, rate=22_050, layout="mono")
    whole = path.read_bytes()
    for seed in range(60):
        draw = random.Random(seed)
        data = bytearray(whole)
        for _ in range(draw.choice([1, 3, 20])):
            begin = draw.randrange(len(data))
            size = min(draw.choice([1, 4, 50, 400, 3000]), len(data) - begin)
            data[begin : begin + size] = draw.choice([draw.randbytes(size), bytes(size), b""])
        path.write_bytes(data)
        with contextlib.suppress(CommandError), open_audio_file(path) as audio:
            assert sum(frame.duration for frame in audio.frames()) < 60
