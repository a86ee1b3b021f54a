"""Time until something can be used: the imports, the first frame, and the help of the command."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

from .process import printed_by
from .rounds import Rounds, alternate

IMPORT = "import resilient_stt, after livekit.agents"
IMPORT_ALL = "resilient_stt.ResilientSTT, after livekit.agents"
ADAPTER_FRAME, OUR_FRAME = "FallbackAdapter, first frame", "ours, first frame"
HELP = "resilient-stt --help"
LIVEKIT = "import livekit.agents"

_SCRIPTS = {
    LIVEKIT: """
import time
begun = time.perf_counter()
import livekit.agents
print(1e3 * (time.perf_counter() - begun))
""",
    IMPORT: """
import time
import livekit.agents
begun = time.perf_counter()
import resilient_stt
print(1e3 * (time.perf_counter() - begun))
""",
    IMPORT_ALL: """
import time
import livekit.agents
begun = time.perf_counter()
from resilient_stt import ResilientSTT
print(1e3 * (time.perf_counter() - begun))
""",
    ADAPTER_FRAME: "from benchmarks.cost.first_frame import main\nmain('FallbackAdapter')\n",
    OUR_FRAME: "from benchmarks.cost.first_frame import main\nmain('ours')\n",
}


def measure(rounds: int = 7, subjects: Sequence[str] = (*_SCRIPTS, HELP)) -> Rounds:
    """Measure the milliseconds of each, in a new process every time."""
    return alternate(subjects, rounds, _milliseconds)


def _milliseconds(subject: str) -> float:
    if subject == HELP:
        begun = time.perf_counter()
        command = [sys.executable, "-m", "resilient_stt", "--help"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return 1e3 * (time.perf_counter() - begun)
    (found,) = printed_by(_SCRIPTS[subject])
    return found
