"""The regression gate: a few ratios, measured in about a minute, against limits in a file.

Only ratios, because times depend on the machine; and what is compared is measured in turn, in one
run. The limits are 1.3 to 2 times what was measured when they were set, so a busy machine stays
green. What makes a frame twice as dear does not.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from . import alignment, in_process, memory, startup
from .bill import bill_of
from .in_process import FALLBACK, Size
from .rounds import Rounds
from .subjects import ADAPTER, OURS, WITHOUT_VAD

LIMITS = Path(__file__).with_name("limits.toml")
"""The greatest ratio that is allowed, by its name."""
_SIZE = Size(streams=20, seconds=6.0, rounds=5)
_ROUNDS = 3


def limits() -> dict[str, float]:
    """Return the limits."""
    return {name: float(limit) for name, limit in tomllib.loads(LIMITS.read_text()).items()}


def measure() -> dict[str, float]:
    """Measure every ratio that has a limit."""
    frame = in_process.measure(_SIZE)
    started = startup.measure(_ROUNDS, first_frames=False)
    return {
        "frame_to_adapter": frame.ratio(OURS, ADAPTER),
        "frame_without_vad_to_adapter": frame.ratio(WITHOUT_VAD, ADAPTER),
        "frame_on_fallback_to_served": frame.ratio(FALLBACK, OURS),
        **_memory(),
        **_startup(started),
        "bill_healthy": bill_of("healthy").factor,
        "bill_noisy_cafe": bill_of("noisy café").factor,
        "final_after_40_s_to_10_s": alignment.growth(_ROUNDS),
    }


def _memory() -> dict[str, float]:
    ours, adapter = memory.kib(OURS, "healthy"), memory.kib(ADAPTER, "healthy")
    return {
        "memory_to_adapter": ours / adapter,
        "unsettled_to_its_audio": memory.kib(OURS, "unsettled") / memory.AUDIO_KIB,
    }


def _startup(found: Rounds) -> dict[str, float]:
    return {
        "import_to_livekit": found.ratio(startup.IMPORT_ALL, startup.LIVEKIT),
        "help_to_livekit": found.ratio(startup.HELP, startup.LIVEKIT),
    }


def exceeded(found: Mapping[str, float], allowed: Mapping[str, float]) -> list[str]:
    """Return the names of the ratios that are above their limit.

    Raises:
        ValueError: A ratio has no limit, or a limit no ratio.
    """
    if odd := found.keys() ^ allowed.keys():
        raise ValueError(f"only measured, or only in {LIMITS.name}: {', '.join(sorted(odd))}")
    return [name for name, ratio in found.items() if ratio > allowed[name]]


def table(found: Mapping[str, float], allowed: Mapping[str, float]) -> str:
    """Return a line for each ratio: what was measured, and what is allowed."""
    wrong = exceeded(found, allowed)
    width = max(map(len, found))
    return "\n".join(
        f"{name:<{width}}  {ratio:6.2f}  at most {allowed[name]:.2f}"
        f"{'  EXCEEDED' if name in wrong else ''}"
        for name, ratio in found.items()
    )
