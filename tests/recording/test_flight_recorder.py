"""The thread that writes: what a crash, a full disk or a hanging one do, and what stays."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resilient_stt.core.messages import (
    AudioPushed,
    Emit,
    EventKind,
    OpenConnection,
    SendAudio,
    SetServing,
    Word,
)
from resilient_stt.recording import flight_recorder as recorder_module
from resilient_stt.recording.assemble import assemble
from resilient_stt.recording.document import RecordedProvider
from resilient_stt.recording.flight_recorder import (
    FlightRecorder,
    StreamHead,
    read_lines,
    write_document,
)
from resilient_stt.recording.recording_options import RecordingOptions
from resilient_stt.recording.stream_recorder import MAX_NOTES, StreamRecorder

RATE = 16000
HEAD = StreamHead("STT_1", "en", (RecordedProvider(name="a", model="m"),), 60.0, 3.0)


def tone(start: int, end: int) -> bytes:
    """A loud tone for every second second."""
    at = np.arange(start, end)
    wave = 8000 * np.sin(at / 5) * (at // RATE % 2)
    return wave.astype(np.int16).tobytes()


def a_call(stream: StreamRecorder, seconds: int, clock: float = 100.0) -> None:
    """One connection serves, and gives a word each second."""
    stream.handled(AudioPushed(0, RATE), [OpenConnection(0, "a", 0), SetServing("a", 0)], clock)
    for frame in range(seconds * 50):
        now = clock + frame / 50
        stream.forwarded((0,), RATE // 50, RATE, now)
        if frame % 50 == 49:
            at = frame // 50
            word = Word(f"word{at}", at + 0.2, at + 0.6)
            final = Emit(EventKind.FINAL, word.text, (word,), word.start, word.end, None, "a")
            stream.handled(AudioPushed(0, RATE), [final], now)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "calls"


Logged = Callable[[], list[logging.LogRecord]]


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Logged:
    """Returns what was logged by now."""
    return lambda: [r for r in caplog.records if r.name == "livekit.resilient_stt"]


def test_a_stream_becomes_a_document_and_a_page(folder: Path) -> None:
    """When the stream has ended, there are both, and its lines are gone."""
    recorder = FlightRecorder(RecordingOptions(folder))
    stream = recorder.open(HEAD, tone)
    a_call(stream, 4)
    stream.ended(104.0)
    assert recorder.wait(10)
    (data,), (page,) = folder.glob("*.json"), folder.glob("*.html")
    document = json.loads(data.read_text())
    assert [final["text"] for final in document["finals"]] == ["word0", "word1", "word2", "word3"]
    assert [final["late"] for final in document["finals"]] == pytest.approx([0.4] * 4, abs=0.03)
    levels = document["loudness"]["dbfs"]
    assert set(levels[1:19]) == {-90}
    assert all(-17 < level < -13 for level in levels[21:39])
    assert page.read_text().startswith("<!doctype html>")
    assert sorted(path.suffix for path in folder.iterdir()) == [".html", ".json"]


def test_lines_are_there_within_a_second(folder: Path) -> None:
    """While the stream is open, what happened is in the file soon afterwards."""
    recorder = FlightRecorder(RecordingOptions(folder))
    stream = recorder.open(HEAD, tone)
    try:
        a_call(stream, 2)
        until = time.monotonic() + 20  # a busy machine; it takes half a second
        lines: list[dict[str, Any]] = []
        while time.monotonic() < until and sum(line["kind"] == "final" for line in lines) < 2:
            time.sleep(0.02)
            lines = [line for path in folder.glob("*.jsonl") for line in read_lines(path)]
        assert [line["text"] for line in lines if line["kind"] == "final"] == ["word0", "word1"]
    finally:
        stream.ended(102.0)
        assert recorder.wait(10)


CRASHING = """
import os, signal, sys, time
sys.path.insert(0, {tests!r})
from tests.recording.test_flight_recorder import HEAD, a_call, tone
from resilient_stt.recording.flight_recorder import FlightRecorder
from resilient_stt.recording.recording_options import RecordingOptions
stream = FlightRecorder(RecordingOptions(sys.argv[1])).open(HEAD, tone)
a_call(stream, 3)
print("noted", flush=True)
time.sleep({wait})
{end}
"""


def run_until(folder: Path, end: str, wait: float) -> subprocess.Popen[str]:
    tests = str(Path(__file__).parents[2])
    script = CRASHING.format(tests=tests, wait=wait, end=end)
    command = [sys.executable, "-c", script, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_killed_process_leaves_what_it_wrote(folder: Path) -> None:
    """After a kill, a document can be made of the lines; it says that it was cut off."""
    with run_until(folder, "", wait=60) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "noted\n"
        until = time.monotonic() + 20
        while time.monotonic() < until and not any(
            "word2" in path.read_text() for path in folder.glob("*.jsonl")
        ):
            time.sleep(0.05)
        process.kill()
    (lines,) = folder.glob("*.jsonl")
    with lines.open("a") as file:
        file.write('{"kind":"final","at":3.0,"cl')  # it was killed within a write
    document = assemble(read_lines(lines))
    assert document["outcome"] == "crashed"
    assert not document["accounts_complete"]
    assert document["accounts"]["words"] == {"a": 3}
    assert document["accounts"]["sent"] == [
        {"provider": "a", "role": "active", "seconds": pytest.approx(3.0, abs=0.3)}
    ]
    write_document(document, folder / "x.json", folder / "x.html")
    assert "the recording stops at" in (folder / "x.html").read_text()


def test_a_process_that_exits_finishes_its_recordings(folder: Path) -> None:
    """Python waits for the recorder at exit, and the recorder does not wait for the stream."""
    with run_until(folder, "", wait=0) as process:
        assert process.wait(30) == 0
    (data,) = folder.glob("*.json")
    assert len(json.loads(data.read_text())["finals"]) == 3


def test_a_folder_that_cannot_be_made(tmp_path: Path, logged: Logged) -> None:
    """It is logged once, for all streams, and what is noted is dropped."""
    (tmp_path / "file").write_text("")
    recorder = FlightRecorder(RecordingOptions(tmp_path / "file" / "calls"))
    for _ in range(2):
        stream = recorder.open(HEAD, tone)
        a_call(stream, 1)
        stream.ended(101.0)
    assert recorder.wait(10)
    (record,) = logged()
    assert "the flight recorder cannot write to" in record.getMessage()
    assert record.exc_info is None


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk(folder: Path, logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is logged once; the stream's notes are dropped, and nothing is raised."""
    monkeypatch.setattr(recorder_module._Journal, "path", lambda self, suffix: Path("/dev/full"))
    recorder = FlightRecorder(RecordingOptions(folder))
    stream = recorder.open(HEAD, tone)
    a_call(stream, 60)
    stream.ended(160.0)
    assert recorder.wait(10)
    (record,) = logged()
    assert "No space left on device" in record.getMessage()


def test_a_mistake_of_ours_ends_the_recording_only(
    folder: Path, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception within the recorder is logged with its traceback, and the thread goes on."""
    monkeypatch.setattr(recorder_module, "assemble", lambda lines: 1 / 0)
    recorder = FlightRecorder(RecordingOptions(folder))
    stream = recorder.open(HEAD, tone)
    stream.ended(100.0)
    assert recorder.wait(10)
    (record,) = logged()
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    monkeypatch.undo()
    stream = recorder.open(HEAD, tone)
    a_call(stream, 1)
    stream.ended(101.0)
    assert recorder.wait(10)
    assert len(list(folder.glob("*.html"))) == 1


def test_notes_are_bounded() -> None:
    """If the disk hangs, the recording gets a gap; the call's memory does not grow."""
    notes: deque[Any] = deque()
    stream = StreamRecorder(notes, tone, over=lambda: None)
    for index in range(MAX_NOTES + 100):
        stream.handled(AudioPushed(0, RATE), [SetServing("a", 0)], float(index))
    assert len(notes) == MAX_NOTES


def test_audio_that_jumps_is_two_spans() -> None:
    """Silence that a replay leaves out is not counted as sent."""
    notes: deque[Any] = deque()
    stream = StreamRecorder(notes, lambda a, b: b"\0\0" * (b - a), over=lambda: None)
    stream.handled(AudioPushed(RATE, RATE), [], 0.0)
    stream.handled(AudioPushed(0, RATE), [SendAudio(0, 0, 4000), SendAudio(0, 8000, RATE)], 0.0)
    stream.ended(1.0)
    spans = [span for _, _, noted in notes for span in getattr(noted, "sent", ())]
    assert spans == [(0, 0, 4000), (0, 8000, RATE)]
