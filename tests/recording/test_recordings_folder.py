"""Old recordings go, by count and by size; everything else stays."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from resilient_stt import ConfigurationError
from resilient_stt.recording.recording_options import RecordingOptions, recording_options
from resilient_stt.recording.recordings_folder import name_of, rotate, write_whole

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
LONG_AGO = time.time() - 3600


def recording(folder: Path, number: int, suffixes: str = "json html", size: int = 100) -> str:
    name = name_of(f"STT_{number}", BEGIN + timedelta(minutes=number))
    for suffix in suffixes.split():
        path = folder / f"{name}.{suffix}"
        path.write_bytes(b"x" * size)
        os.utime(path, (LONG_AGO, LONG_AGO))
    return name


def kept(folder: Path) -> set[str]:
    return {path.name.partition(".")[0] for path in folder.iterdir()}


def test_the_oldest_go_beyond_the_count(tmp_path: Path) -> None:
    """Both files of a recording go together, also the lines that a crash has left."""
    names = [recording(tmp_path, n, "jsonl" if n == 0 else "json html") for n in range(5)]
    rotate(RecordingOptions(tmp_path, max_recordings=3), set())
    assert kept(tmp_path) == set(names[2:])
    assert len(list(tmp_path.iterdir())) == 6


def test_the_oldest_go_beyond_the_size(tmp_path: Path) -> None:
    """The size counts all files of all recordings."""
    names = [recording(tmp_path, n) for n in range(5)]
    rotate(RecordingOptions(tmp_path, max_bytes=650), set())
    assert kept(tmp_path) == set(names[2:])


def test_open_streams_and_other_files_stay(tmp_path: Path) -> None:
    """What is written at the moment stays, of any process; so does what is not ours."""
    ours, theirs = recording(tmp_path, 0, "jsonl"), recording(tmp_path, 1, "jsonl")
    os.utime(tmp_path / f"{theirs}.jsonl")
    recording(tmp_path, 2)
    (tmp_path / "notes.json").write_text("mine")
    rotate(RecordingOptions(tmp_path, max_recordings=1), {ours})
    assert kept(tmp_path) == {ours, theirs, "notes"}


def test_a_file_is_never_seen_in_part(tmp_path: Path) -> None:
    """A write that fails leaves neither the file nor its part."""
    write_whole(tmp_path / "a.json", "{}")
    assert (tmp_path / "a.json").read_text() == "{}"
    (tmp_path / "taken.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "taken.json", "{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "taken.json"]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"folder": 3}, "record must be the path of a folder, not a number"),
        ({"folder": ""}, "record must be the path of a folder, not a text"),
        ({"folder": "x", "text": "no"}, "text must be true or false, not a text"),
        ({"folder": "x", "max_recordings": 0}, "max_recordings must be a whole number"),
        ({"folder": "x", "max_bytes": 1.5}, "max_bytes must be a whole number"),
        ({"folder": "x", "max_bytes": True}, "max_bytes must be a whole number"),
    ],
)
def test_options_are_checked(wrong: dict[str, object], why: str) -> None:
    """A mistake is told where it is made, before there is a stream."""
    with pytest.raises(ConfigurationError, match=why):
        RecordingOptions(**wrong)  # type: ignore[arg-type]


def test_what_record_may_be() -> None:
    """A path means the defaults; nothing means no recording."""
    assert recording_options(None) is None
    assert recording_options("calls") == RecordingOptions("calls")
    options = RecordingOptions("calls", text=False)
    assert recording_options(options) is options
    with pytest.raises(ConfigurationError, match="not true or false"):
        recording_options(True)  # type: ignore[arg-type]
