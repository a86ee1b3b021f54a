"""The files of a folder of recordings, and how long they stay.

A recording is `STREAM.jsonl` while its stream is open; afterwards it is `STREAM.json` and
`STREAM.html`. `STREAM` begins with the UTC time, so that names sort by it.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from .recording_options import RecordingOptions

_OURS = re.compile(r"\d{8}T\d{6}Z-[\w-]+\.(jsonl|json|html)(\.part)?")
_IN_USE = 60.0
"""Seconds since its last line in which the lines of another process are left alone: a stream that
is open writes several times a second."""


def name_of(stream_id: str, started: datetime) -> str:
    """Return `STREAM`, the name of the files of a stream."""
    return f"{started.astimezone(UTC):%Y%m%dT%H%M%SZ}-{stream_id}"


def write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody ever sees a part of it.

    Raises:
        OSError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def rotate(options: RecordingOptions, in_use: Collection[str]) -> None:
    """Delete the oldest recordings beyond the limits, but for those of open streams.

    Several processes may do so at once. Other files of the folder are left alone.
    """
    recordings = _recordings(Path(options.folder))
    count, size = len(recordings), sum(size for _, size, _ in recordings.values())
    for name, (paths, bytes_, newest) in sorted(recordings.items()):
        if count <= options.max_recordings and size <= options.max_bytes:
            return
        is_open = any(".jsonl" in p.name for p in paths) and time.time() - newest < _IN_USE
        if name in in_use or is_open:
            continue
        for path in paths:
            with contextlib.suppress(OSError):
                path.unlink()
        count, size = count - 1, size - bytes_


def _recordings(folder: Path) -> dict[str, tuple[list[Path], int, float]]:
    """The files of each recording, how many bytes they have, and when the newest was written."""
    paths = defaultdict(list)
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name):
            paths[path.name.partition(".")[0]].append(path)
    found = {}
    for name, own in paths.items():
        size, newest = 0, 0.0
        for path in own:
            with contextlib.suppress(OSError):  # another process deletes, too
                status = path.stat()
                size, newest = size + status.st_size, max(newest, status.st_mtime)
        found[name] = (own, size, newest)
    return found
