"""Time until something can be used: the imports, the first frame, and the help of the command."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import defaultdict

from .process import printed_by
from .rounds import Rounds
from .subjects import ADAPTER, OURS

LIVEKIT = "import livekit.agents"
IMPORT = "then import resilient_stt"
IMPORT_ALL = "then resilient_stt.ResilientSTT"
HELP = "resilient-stt --help"
FIRST_FRAMES = {subject: f"{subject}, first frame" for subject in (ADAPTER, OURS)}

_IMPORTS = """
import time
begun = time.perf_counter()
import livekit.agents
print(time.perf_counter() - begun)
begun = time.perf_counter()
import resilient_stt
print(time.perf_counter() - begun)
resilient_stt.ResilientSTT
print(time.perf_counter() - begun)
"""


def measure(rounds: int = 7, *, first_frames: bool = True) -> Rounds:
    """Measure the milliseconds of each, in new processes every time."""
    figures = defaultdict[str, list[float]](list)
    for _ in range(rounds):
        for name, seconds in zip((LIVEKIT, IMPORT, IMPORT_ALL), printed_by(_IMPORTS), strict=True):
            figures[name].append(1e3 * seconds)
        figures[HELP].append(1e3 * _help())
        for subject, name in FIRST_FRAMES.items() if first_frames else ():
            figures[name] += printed_by(
                f"from benchmarks.cost.first_frame import main\nmain({subject!r})\n"
            )
    return Rounds(dict(figures))


def _help() -> float:
    begun = time.perf_counter()
    command = [sys.executable, "-m", "resilient_stt", "--help"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun
