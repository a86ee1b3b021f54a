"""Run `python benchmarks/fleet.py` where `redis-server` is installed: what a fleet costs a Redis.

Many processes of a fleet, each with its own breaker, replica and connection to one real Redis, live
through an outage of their provider. They run in a few processes of the system, and everything is
slower by `--slower`: the interval of the syncs, every time of the policy, and the calls. So 10,000
processes need no more CPU per second than 1,000, and figures per second are divided by it.

What happens, in seconds of the fleet: until 5 all have text; from 5 to 15 the provider fails
every new connection, and each process opens one within 10 s; from 15 on it works again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from redis import Redis

from resilient_stt.core.events import ErrorKind
from resilient_stt.core.health.breaker import Breaker
from resilient_stt.core.health.provider import ProviderHealth
from resilient_stt.core.policy import BreakerPolicy
from resilient_stt.fleet import RedisHealth, link, redis, sync

PROVIDER = "benchmark:provider:0000000000000000"
OUTAGE, RECOVERY, END = 5.0, 15.0, 32.0
"""Seconds of the fleet at which the provider fails, works again, and the run ends."""
FIRST_TRY = 10.0
"""Seconds within which each process opens a connection in the outage."""
PROBE = 1.0
"""Seconds from the start of a probe to its first words, or its failure."""
TICK = 0.5
"""Seconds between two utterances of a call, at which it may probe."""
_TIMES = (
    "window",
    "break_duration",
    "max_break_duration",
    "success_interval",
    "backoff_reset_after",
    "probe_timeout",
    "probe_grant_timeout",
    "probe_refusal_cooldown",
    "max_probe_start_delay",
)
"""The fields of the policy that are times and matter here."""


@dataclass
class Seen:
    """What the processes of a fleet saw, in seconds of the fleet."""

    opened: list[float]
    """When each of them knew of the outage."""
    closed: list[float]
    """When each of them knew of the recovery."""
    probes: list[float]
    """When each probe began."""


class Member:
    """One process of the fleet."""

    def __init__(self, url: str, policy: BreakerPolicy, slower: float, start: float) -> None:
        """`start`: when the run begins, on the loop's clock; until then, all connect."""
        self._health = ProviderHealth(Breaker(policy, jitter=random.uniform(-1, 1)))
        self._sync = RedisHealth(url).sync([(PROVIDER, self._health)], max_wait=1.0)
        self._slower, self._start = slower, start
        self._first_try = OUTAGE + random.uniform(0, FIRST_TRY)
        self._has_failed = False

    async def live(self, seen: Seen) -> None:
        """Live through the outage."""
        await asyncio.sleep(random.uniform(0, 0.9) * max(0.0, self._start - _now()))
        breaker, knows = self._health.breaker, False
        async with self._sync.running():
            await asyncio.sleep(max(0.0, self._start - _now()) + random.random() * self._slower)
            while (at := self._at()) < END:
                admits = breaker.admits(_now())
                if knows is admits and at >= OUTAGE:
                    (seen.closed if knows else seen.opened).append(at)
                    knows = not knows
                await self._talk(breaker, at, admits, seen)
                await asyncio.sleep(TICK * self._slower)

    async def _talk(self, breaker: Breaker, at: float, admits: bool, seen: Seen) -> None:
        """One utterance."""
        works = at < OUTAGE or at >= RECOVERY
        if works and admits:
            breaker.record_text(_now())
        elif not works and admits and at >= self._first_try and not self._has_failed:
            self._has_failed = True
            breaker.record_failure(ErrorKind.SERVER, _now())
        elif not admits and breaker.acquire_probe(_now()):
            seen.probes.append(at)
            await asyncio.sleep(PROBE * self._slower)
            at = self._at()
            if OUTAGE <= at < RECOVERY:
                breaker.record_failure(ErrorKind.SERVER, _now())
            else:
                breaker.probe_passed(_now())

    def _at(self) -> float:
        return (_now() - self._start) / self._slower


def _now() -> float:
    return asyncio.get_running_loop().time()


def _run_members(url: str, count: int, slower: float, start: float, queue: Queue[Seen]) -> None:
    """One process of the system, with a part of the fleet."""
    policy = BreakerPolicy()
    policy = replace(policy, **{name: getattr(policy, name) * slower for name in _TIMES})
    sync.SYNC_INTERVAL = slower
    link.TIMEOUT *= slower
    redis.TIMEOUT = link.TIMEOUT  # type: ignore[attr-defined]
    logging.disable()
    seen = Seen([], [], [])

    async def run() -> None:
        members = [Member(url, policy, slower, start) for _ in range(count)]
        await asyncio.gather(*(member.live(seen) for member in members))

    asyncio.run(run())
    queue.put(seen)


@contextmanager
def _redis() -> Iterator[str]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder) / "redis.sock"
        command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", ""]
        server = subprocess.Popen(
            [*command, "--maxclients", "100000", "--dir", folder], stdout=subprocess.DEVNULL
        )
        try:
            while not path.exists():
                time.sleep(0.01)
            yield f"unix://{path}"
        finally:
            server.terminate()
            server.wait()


def measure(count: int, systems: int, slower: float, connect: float) -> dict[str, Any]:
    """Run a fleet of `count` processes in `systems` processes of the system.

    `connect`: real seconds before the run, in which all connect.
    """
    context = multiprocessing.get_context("spawn")
    queue: Queue[Seen] = context.Queue()
    with _redis() as url, Redis.from_url(url) as client:
        start = time.monotonic() + connect
        parts = [
            context.Process(target=_run_members, args=(url, count // systems, slower, start, queue))
            for _ in range(systems)
        ]
        for part in parts:
            part.start()
        marks = [_info_at(client, start + at * slower) for at in (2.0, OUTAGE, RECOVERY, END)]
        seen = [queue.get() for _ in parts]
        for part in parts:
            part.join()
    return _figures(count, slower, marks, seen)


def _info_at(client: Redis, at: float) -> dict[str, Any]:
    time.sleep(max(0.0, at - time.monotonic()))
    info: dict[str, Any] = client.info()
    return info


def _figures(
    count: int, slower: float, marks: Sequence[dict[str, Any]], seen: Sequence[Seen]
) -> dict[str, Any]:
    opened = sorted(at for one in seen for at in one.opened)
    closed = sorted(at for one in seen for at in one.closed)
    probes = [at for one in seen for at in one.probes]
    phases = dict(zip(("healthy", "outage", "recovery"), pairwise(marks), strict=True))
    lengths = {"healthy": OUTAGE - 2.0, "outage": RECOVERY - OUTAGE, "recovery": END - RECOVERY}
    rates = {
        phase: (after["total_commands_processed"] - before["total_commands_processed"])
        / lengths[phase]
        / count
        for phase, (before, after) in phases.items()
    }
    used = [mark["used_cpu_user"] + mark["used_cpu_sys"] for mark in marks]
    commands = marks[-1]["total_commands_processed"] - marks[0]["total_commands_processed"]
    ways = ("total_net_input_bytes", "total_net_output_bytes")
    traffic = sum(marks[-1][way] - marks[0][way] for way in ways)
    return {
        "processes": count,
        "slower": slower,
        "commands_per_process_and_second": {k: round(v, 2) for k, v in rates.items()},
        "redis_cpu_us_per_command": round((used[-1] - used[0]) / commands * 1e6, 2),
        "bytes_per_process_and_second": round(traffic / (END - 2.0) / count),
        "clients": marks[1]["connected_clients"],
        "memory_mb": round(marks[-1]["used_memory_peak"] / 1e6),
        "knew_of_the_outage": _share_known(opened, count, OUTAGE),
        "knew_of_the_recovery": _share_known(closed, count, RECOVERY),
        "probes_in_the_outage": sum(at < RECOVERY for at in probes),
        "probes_at_recovery": sum(at >= RECOVERY for at in probes),
    }


def _share_known(times: Sequence[float], count: int, since: float) -> dict[str, float | int | None]:
    """How many knew, and seconds until the first, half and 99 % of them did."""

    def at(share: float) -> float | None:
        place = max(0, round(share * count) - 1)
        return round(times[place] - since, 2) if place < len(times) else None

    return {"of": len(times), "first": at(0.0), "half": at(0.5), "99 %": at(0.99)}


def main() -> None:
    """Measure what the command line says, and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=10_000)
    parser.add_argument("--systems", type=int, default=2, help="processes of the system")
    parser.add_argument("--slower", type=float, default=10.0)
    parser.add_argument("--connect", type=float, default=40.0, help="seconds in which all connect")
    given = parser.parse_args()
    found = measure(given.processes, given.systems, given.slower, given.connect)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
