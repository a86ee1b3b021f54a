"""What is measured, side by side: each takes the same providers and gives a LiveKit STT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from livekit.agents import stt

from resilient_stt import MemoryHealth, ResilientSTT

Providers = Sequence[stt.STT[Any]]
Make = Callable[[Providers], stt.STT[Any]]

BARE, ADAPTER, OURS, WITHOUT_VAD = "bare plugin", "FallbackAdapter", "ours", "ours, vad=None"


def _bare(providers: Providers) -> stt.STT[Any]:
    return providers[0]


def _adapter(providers: Providers) -> stt.STT[Any]:
    return stt.FallbackAdapter([*providers])


def _ours(providers: Providers) -> stt.STT[Any]:
    return ResilientSTT([*providers], health=MemoryHealth(isolated=True))


def _without_vad(providers: Providers) -> stt.STT[Any]:
    return ResilientSTT([*providers], vad=None, health=MemoryHealth(isolated=True))


SUBJECTS: dict[str, Make] = {
    BARE: _bare,
    ADAPTER: _adapter,
    OURS: _ours,
    WITHOUT_VAD: _without_vad,
}
