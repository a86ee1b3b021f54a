"""The flight recorder: a thread that writes what the streams of a `ResilientSTT` do.

Lines are appended as they come, so a process that crashes loses at most the last second. When a
stream ends, its lines become a JSON document and a page. Nothing here may disturb a call: if the
disk is full or the folder cannot be written, that is logged once, and the call goes on.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from io import TextIOBase
from pathlib import Path

from ..observe import logger
from .assemble import assemble
from .document import VERSION, RecordedProvider, RecordingDocument
from .line_maker import Line, LineMaker
from .page import render
from .recording_options import RecordingOptions
from .recordings_folder import name_of, rotate, write_whole
from .stream_recorder import Note, RecordingEnded, StreamRecorder

INTERVAL = 0.5
"""Seconds between two writes: a crash loses no more than this and the time of a write."""


@cache
def _software() -> str:
    """Our name and version; reading the version takes milliseconds."""
    from .. import __version__  # the package imports this module

    return f"resilient_stt {__version__}"


@dataclass(frozen=True, slots=True)
class StreamHead:
    """What is known of a stream when it opens."""

    stream_id: str
    language: str
    providers: tuple[RecordedProvider, ...]
    replay_window: float
    late_after: float

    def line(self, started: datetime, *, text: bool) -> Line:
        """The first line of a recording."""
        return {
            "kind": "stream",
            "version": VERSION,
            "software": _software(),
            "stream_id": self.stream_id,
            "started": started.isoformat(timespec="milliseconds"),
            "text": text,
            "language": self.language,
            "providers": list(self.providers),
            "replay_window": self.replay_window,
            "late_after": self.late_after,
        }


@dataclass(slots=True)
class _Journal:
    """The lines of one stream, on their way to its file. Only the thread uses it."""

    options: RecordingOptions
    head: StreamHead
    started: datetime
    notes: deque[Note] = field(default_factory=deque)
    is_ending: bool = False
    """Whether the last note was made; it may not be written yet."""
    is_over: bool = False
    is_broken: bool = False
    """Whether it could not be written: what is noted from then on is dropped."""
    _maker: LineMaker = field(init=False)
    _file: TextIOBase | None = None

    def __post_init__(self) -> None:
        self._maker = LineMaker(self.options.text)

    @property
    def name(self) -> str:
        return name_of(self.head.stream_id, self.started)

    def path(self, suffix: str) -> Path:
        return Path(self.options.folder) / f"{self.name}.{suffix}"

    def write(self) -> None:
        """Append what was noted by now, and hand it to the system.

        Raises:
            OSError: it cannot be written.
        """
        if self._file is None and not self.is_broken:
            self._begin()
        while self.notes:
            note = self.notes.popleft()
            self.is_over |= isinstance(note[2], RecordingEnded)
            if self._file is not None:
                self._file.write(_dumped(self._maker.line(note)) + "\n")
        if self._file is not None:
            self._file.flush()

    def finish(self) -> None:
        """Make the document and the page, and remove the lines.

        Raises:
            OSError: they cannot be written.
        """
        if self.is_broken:
            return
        self._close()
        lines = self.path("jsonl")
        write_document(assemble(read_lines(lines)), self.path("json"), self.path("html"))
        lines.unlink()

    def give_up(self) -> None:
        """Drop what is noted from now on; what is in the file stays there."""
        self.is_broken = True
        with contextlib.suppress(OSError):  # it writes what is buffered, and the disk is full
            self._close()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _begin(self) -> None:
        # it holds what callers said
        Path(self.options.folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = self.path("jsonl").open("w", encoding="utf-8")
        self._file.write(_dumped(self.head.line(self.started, text=self.options.text)) + "\n")


class FlightRecorder:
    """Records the streams of one `ResilientSTT`.

    Its thread runs while a stream is open and until the last page is written. It is no daemon, so
    Python waits for it at exit; if the process ends before its streams, it writes what it has.
    """

    def __init__(self, options: RecordingOptions) -> None:
        self.options = options
        self._lock = threading.Lock()
        """Held while the thread or the list of streams changes; never while anything is written."""
        self._written = threading.Condition(self._lock)
        self._journals: list[_Journal] = []
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._has_failed = False
        """Whether it was logged that nothing can be written."""

    def open(self, head: StreamHead, read: Callable[[int, int], bytes]) -> StreamRecorder:
        """Begin the recording of a stream; `read` returns samples that it holds."""
        journal = _Journal(self.options, head, datetime.now(UTC))
        with self._lock:
            self._journals.append(journal)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="resilient_stt.recorder")
                self._thread.start()
        return StreamRecorder(journal.notes, read, over=lambda: self._end(journal))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the pages of all streams that have ended are written.

        Returns:
            Whether that was so within `timeout` seconds.
        """
        self._wake.set()
        with self._written:
            return self._written.wait_for(
                lambda: not any(journal.is_ending for journal in self._journals), timeout
            )

    def _end(self, journal: _Journal) -> None:
        journal.is_ending = True
        self._wake.set()

    def _run(self) -> None:
        self._rotate()
        while True:
            self._wake.wait(INTERVAL)
            self._wake.clear()
            is_exiting = not threading.main_thread().is_alive()
            for journal in list(self._journals):
                if self._advance(journal, is_exiting=is_exiting):
                    self._rotate()
            with self._lock:
                if not self._journals:
                    self._thread = None
                    return

    def _advance(self, journal: _Journal, *, is_exiting: bool) -> bool:
        """Write what is new of a stream. Returns whether its recording has ended."""
        try:
            journal.write()
            if journal.is_over or is_exiting:
                journal.finish()
        except Exception as error:  # the call goes on, whatever is wrong here
            journal.give_up()
            self._report(error)
        if not (journal.is_over or is_exiting):
            return False
        with self._written:
            self._journals.remove(journal)
            self._written.notify_all()
        return True

    def _rotate(self) -> None:
        try:
            rotate(self.options, {journal.name for journal in list(self._journals)})
        except FileNotFoundError:
            pass  # it is made with the first line
        except OSError as error:
            self._report(error)

    def _report(self, error: Exception) -> None:
        """Log once what keeps the recorder from writing."""
        if self._has_failed:
            return
        self._has_failed = True
        if isinstance(error, OSError):
            logger.error(
                f"the flight recorder cannot write to {self.options.folder}: "
                f"{error.strerror or type(error).__name__}; calls go on without it; free the "
                "disk, or choose a folder for record= that can be written"
            )
        else:
            logger.error("the flight recorder failed; calls go on without it", exc_info=error)


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the lines of a recording; a last line that was cut off by a crash is left out.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                read = json.loads(line)
            except ValueError:
                return
            if not isinstance(read, dict):
                return
            yield read


def write_document(document: RecordingDocument, json_path: Path, html_path: Path) -> None:
    """Write a document and its page.

    Raises:
        OSError: they cannot be written.
    """
    data = dumped(document)
    write_whole(json_path, data)
    write_whole(html_path, render(data, document))


def dumped(document: RecordingDocument) -> str:
    """Return a document as JSON, on many lines.

    It is made in small pieces: encoding all at once would keep the other threads waiting.
    """
    fields: list[str] = []
    for name, value in document.items():
        if isinstance(value, list) and value:
            parts = (value[at : at + _ITEMS] for at in range(0, len(value), _ITEMS))
            items = ",\n".join(_dumped(part)[1:-1] for part in parts)
            fields.append(f"{_dumped(name)}:[\n{items}\n]")
        else:
            fields.append(f"{_dumped(name)}:{_dumped(value)}")
    return "{\n" + ",\n".join(fields) + "\n}\n"


_ITEMS = 20
"""Items of a list that are encoded at once."""

_dumped = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""Writes a value as JSON; `json.dumps` would make an encoder each time."""
