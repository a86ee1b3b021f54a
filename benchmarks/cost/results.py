"""Everything that is measured, as one object that can be kept in a file."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from . import alignment, bill, growth, in_process, live, memory, startup, way
from .alignment import Alignment
from .bill import Bill
from .growth import Growth
from .live import Live
from .memory import Memory
from .rounds import Rounds
from .way import Way


def _processor() -> str:
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.exists() else []
    names = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _load() -> float:
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else 0.0


@dataclass(frozen=True)
class Machine:
    """What the figures were measured on, and when."""

    processor: str = field(default_factory=_processor)
    cores: int = field(default_factory=lambda: os.cpu_count() or 1)
    python: str = field(default_factory=platform.python_version)
    livekit: str = field(default_factory=lambda: version("livekit-agents"))
    load: float = field(default_factory=_load)
    """The load average when the last part began: above 1, other programs had a part in it."""
    day: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%d}")


@dataclass
class Results:
    """What was measured; None: it was not.

    Attributes:
        machine: What all of it was measured on.
        frame: Microseconds of CPU for each frame of 20 ms, in this process.
        live: By the number of streams, over websockets to another process.
        way: Of an event, from provider to consumer.
        memory: KiB of a stream.
        startup: Milliseconds until something can be used.
        growth: What a frame costs with more of something.
        bill: By scenario, the audio that providers were sent.
        alignment: What a seam costs.
    """

    machine: Machine = field(default_factory=Machine)
    frame: Rounds | None = None
    live: dict[int, Live] | None = None
    way: Way | None = None
    memory: Memory | None = None
    startup: Rounds | None = None
    growth: list[Growth] | None = None
    bill: dict[str, Bill] | None = None
    alignment: Alignment | None = None


MEASURES: dict[str, Callable[[], Any]] = {
    "frame": in_process.measure,
    "live": live.measure,
    "way": way.measure,
    "memory": memory.measure,
    "startup": startup.measure,
    "growth": growth.measure,
    "bill": bill.measure,
    "alignment": alignment.measure,
}
"""How each part of the results is measured."""

_ADAPTER = TypeAdapter(Results)


def as_json(results: Results) -> str:
    """Return the results as JSON."""
    return _ADAPTER.dump_json(results, indent=2).decode()


def from_json(text: str) -> Results:
    """Return results from their JSON."""
    return _ADAPTER.validate_json(text)
