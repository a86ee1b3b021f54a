"""The memory of a call that lasts: everything that a stream keeps is bounded."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

import pytest

from benchmarks.cost.in_process import in_virtual_time
from benchmarks.cost.memory import Caller
from benchmarks.cost.rehearsed import of_speech
from benchmarks.cost.subjects import OURS, WITHOUT_VAD
from resilient_stt import ResilientStream
from resilient_stt.livekit.frames import BLOCK, BYTES

SPEECH = of_speech().samples / 16_000
"""Seconds after which the caller is at the same word again."""
FINALS = of_speech().finals(SPEECH)
SETTLED = 4
"""Times that he has said it when everything has its size: the wall clock keeps 120 s."""
HOUR = 118

_SHARED = ModuleType, type, FunctionType, BuiltinFunctionType, MethodType


def kept(stream: ResilientStream) -> Counter[str]:
    """The bytes that a stream keeps, by type: of its audio, and of what was found out about it.

    What it shares with other streams does not count.
    """
    shared = {id(found) for found in _reachable([stream._runtime], set())}
    begin: list[object] = [stream._frames, stream._wall_clock, stream._detector, stream._engine]
    begin += stream._connections.values()
    ours = Counter[str]()
    for found in _reachable(begin, shared):
        ours[type(found).__name__] += sys.getsizeof(found)
    return ours


def _reachable(begin: list[object], seen: set[int]) -> Iterator[object]:
    """Yield the objects that are reached through containers and objects of ours, but those seen."""
    new = begin
    while new:
        found = new.pop()
        if id(found) in seen or isinstance(found, _SHARED):
            continue
        seen.add(id(found))
        yield found
        module = type(found).__module__
        if module in ("builtins", "collections") or module.startswith("resilient_stt."):
            new += gc.get_referents(found)


@pytest.mark.parametrize(
    ("subject", "times"),
    [
        (OURS, 4),
        pytest.param(OURS, HOUR, marks=pytest.mark.sweep),
        pytest.param(WITHOUT_VAD, HOUR, marks=pytest.mark.sweep),
    ],
)
def test_a_longer_call_takes_no_more_memory(subject: str, times: int) -> None:
    """A stream keeps as much after an hour as after two minutes, but for a number for each final.

    That is its lateness, for the accounts: 8 bytes, of 10 000 finals at most.
    """

    async def call() -> tuple[Counter[str], Counter[str]]:
        async with Caller(subject) as caller:
            await caller.open(1, spread=0.0)
            await caller.speak(SETTLED * SPEECH)
            (stream,) = caller.streams
            assert isinstance(stream, ResilientStream)
            settled = kept(stream)
            await caller.speak(times * SPEECH)
            return settled, kept(stream)

    settled, later = in_virtual_time(call())
    assert settled.total() > 50_000
    more = later - settled
    assert more.pop("bytearray", 0) <= 2 * BLOCK * BYTES  # a block may be full by now or not
    assert more.pop("array", 0) <= 1024 + times * FINALS * 8
    assert more.total() <= 1024, more
