"""A fleet of real processes, with the real plugins, real servers and a real Redis.

Each call is a process of its own, as in a LiveKit worker. So no process sees a provider fail more
than once, and each knows of the others only what Redis has before its first connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from resilient_stt import BreakerPolicy
from resilient_stt.testing import Fault, ReferenceSpeech, Stall, Status
from resilient_stt.testing.fakes.cartesia import FakeCartesia
from resilient_stt.testing.fakes.deepgram import FakeDeepgram

from ..support.fleet_process import FleetProcess
from ..support.redis_server import Server, redis_server

__all__ = ["redis_server"]

LONG = {"break_duration": 300, "window": 300, "max_store_wait": 30}
SPEECH = ReferenceSpeech.load().excerpt(2, 2)
SAID = SPEECH.text


@dataclass
class Fleet:
    """The servers of a fleet, and its processes."""

    redis: Server
    cartesia: FakeCartesia
    deepgram: FakeDeepgram

    def start(self, **order: Any) -> FleetProcess:
        """Start a process, with what `FleetProcess` takes."""
        urls = {
            "redis": self.redis.url,
            "cartesia": self.cartesia.url,
            "deepgram": self.deepgram.url,
        }
        # a break outlasts the test on a machine that is busy
        return FleetProcess({**urls, **order, "breaker": {**LONG, **order.get("breaker", {})}})

    async def call(self, **order: Any) -> dict[str, Any]:
        """Take a call in a process of its own."""
        report = await self.start(**order).take_call()
        assert not report.get("left")
        return report

    async def calls(self, count: int, **order: Any) -> list[str]:
        """Take calls one after the other; returns who served."""
        return [(await self.call(**order)).get("served", "") for _ in range(count)]

    @property
    def asked(self) -> int:
        """How many connections Cartesia has had."""
        return len(self.cartesia.connections)


@asynccontextmanager
async def fleet(redis: Server, *faults: Fault) -> AsyncIterator[Fleet]:
    """Run a Cartesia with faults, the primary, and a healthy Deepgram."""
    async with FakeCartesia(faults=faults) as cartesia, FakeDeepgram() as deepgram:
        yield Fleet(redis, cartesia, deepgram)


@pytest.mark.slow
async def test_three_failures_of_three_processes_are_three(redis_server: Server) -> None:
    """The fourth process begins with the fallback, although nobody saw more than one failure."""
    async with fleet(redis_server, Status(503, connections=range(3))) as made:
        assert await made.calls(3) == ["Deepgram"] * 3
        fourth = await made.call()
        assert (fourth["served"], fourth["text"]) == ("Deepgram", SAID)
        assert made.asked == 3


@pytest.mark.slow
async def test_stalls_of_three_processes_at_once(redis_server: Server) -> None:
    """Each finds out by a hedge, which takes it seconds; the fourth loses no time."""
    async with fleet(
        redis_server, Stall(at_word=SPEECH.first_word + 1, connections=range(3))
    ) as made:
        await asyncio.gather(*(made.call() for _ in range(3)))
        assert await made.calls(1) == ["Deepgram"]
        assert made.asked == 3


@pytest.mark.parametrize("end", [{"hangs_up": True}, {"dies": 1.0}], ids=["hangs up", "dies"])
async def test_a_failure_outlives_its_process(end: dict[str, Any], redis_server: Server) -> None:
    """It is written when it happens, so it counts even if the process ends at once."""
    async with fleet(redis_server, Status(503, connections=range(3))) as made:
        await made.calls(3, **end)
        assert made.asked == 3
        assert await made.calls(1) == ["Deepgram"]
        assert made.asked == 3


@pytest.mark.slow
async def test_text_of_another_process_ends_the_row(redis_server: Server) -> None:
    """Two failures, text, and a failure are no row of three."""
    never = {"minimum_calls": 1000}  # the share of failures is not what this test is about
    async with fleet(redis_server, Status(503, connections={0, 1, 3})) as made:
        served = await made.calls(5, breaker=never)
        assert served == ["Deepgram", "Deepgram", "Cartesia", "Deepgram", "Cartesia"]


@pytest.mark.slow
async def test_a_refused_key_is_tried_once(redis_server: Server) -> None:
    """The next process makes no connection with it, but one with another key does."""
    async with fleet(redis_server, Status(401)) as made:
        assert await made.calls(2) == ["Deepgram", "Deepgram"]
        assert made.asked == 1
        await made.calls(1, key="another")
        assert made.asked == 2


async def test_a_redis_that_hangs_costs_a_call_little(redis_server: Server) -> None:
    """The first connection is opened after 50 ms, and every word is transcribed."""
    async with fleet(redis_server) as made:
        redis_server.ask("CLIENT", "PAUSE", 60_000)
        wait = BreakerPolicy().max_store_wait
        report = await made.call(breaker={"max_store_wait": wait})
        assert report["text"] == SAID
        assert report["waited"] > wait / 2


async def test_a_healthy_fleet_writes_no_outcomes(redis_server: Server) -> None:
    """A call leaves samples of how late finals come, and nothing else."""
    async with fleet(redis_server) as made:
        assert await made.calls(2) == ["Cartesia", "Cartesia"]
        assert all(name.endswith(":samples") for name in redis_server.everything())
