"""Fake providers to talk to: on this loop for virtual time, in their own process for real time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import aiohttp
import typer
from livekit.agents import stt
from livekit.plugins import cartesia, deepgram

from ...testing.fakes.cartesia import FakeCartesia
from ...testing.fakes.deepgram import FakeDeepgram
from ..problems import Problem
from .scenarios import Scenario, scenario_named

_PATIENCE = 3.0  # seconds in which the servers' process must end by itself


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Base URLs of one Cartesia and one Deepgram."""

    cartesia: str
    deepgram: str

    def providers(self, http: aiohttp.ClientSession) -> list[stt.STT[Any]]:
        """The published plugins, pointed here."""
        return [
            cartesia.STT(
                model="ink-whisper",
                language="en",
                api_key="fake-key",
                base_url=self.cartesia,
                http_session=http,
            ),
            deepgram.STT(api_key="fake-key", base_url=self.deepgram, http_session=http),
        ]


@contextlib.asynccontextmanager
async def in_this_process(scenario: Scenario, pairs: int) -> AsyncIterator[list[Endpoints]]:
    """Serve `pairs` of providers, each pair with the scenario's faults, on this event loop."""
    async with contextlib.AsyncExitStack() as servers:
        started = []
        for _ in range(pairs):
            first = await servers.enter_async_context(FakeCartesia(faults=scenario.cartesia))
            second = await servers.enter_async_context(FakeDeepgram(faults=scenario.deepgram))
            started.append(Endpoints(first.url, second.url))
        yield started


@contextlib.asynccontextmanager
async def in_own_process(scenario: Scenario, pairs: int) -> AsyncIterator[list[Endpoints]]:
    """The same from a process of its own, as providers are; it ends with the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "resilient_stt.cli", "serve-fakes", scenario.name),
        *("--pairs", str(pairs)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C in the terminal is for us; we then end it
    )
    try:
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line:
            raise Problem("the fake providers did not start", status=1)
        yield [Endpoints(**pair) for pair in json.loads(line)]
    finally:
        await _ended(process)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """See a process to its end: it goes when its stdin does, so it never outlives us."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), _PATIENCE)
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if not isinstance(error, TimeoutError):
            raise


def serve_fakes(
    fault: Annotated[str, typer.Argument(help="What goes wrong.")] = "none",
    pairs: Annotated[int, typer.Option(min=1, help="How many of each.")] = 1,
) -> None:
    """Serve a fake Cartesia and a fake Deepgram until stdin ends.

    Prints their base URLs as one line of JSON.
    """
    asyncio.run(_serve(scenario_named(fault), pairs))


async def _serve(scenario: Scenario, pairs: int) -> None:
    async with in_this_process(scenario, pairs) as endpoints:
        typer.echo(json.dumps([asdict(pair) for pair in endpoints]))
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.buffer.read)
