"""Fake providers for the demo: on its event loop, or in a process of their own."""

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
from ..command_error import CommandError
from ..standard_streams import stoppable
from . import real_speech
from .scenarios import Scenario, scenario_named

_EXIT_TIMEOUT = 3.0  # seconds for the servers' process to end after its stdin was closed


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The base URLs of a pair of fake providers."""

    cartesia: str
    deepgram: str

    def providers(self, http: aiohttp.ClientSession) -> list[stt.STT[Any]]:
        """Return the published plugins, connected to this pair."""
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
    """Run `pairs` pairs of fake providers on this event loop, each with the scenario's faults.

    Raises:
        CommandError: The speech is a recorded voice, and there is no recognizer for it.
    """
    async with contextlib.AsyncExitStack() as servers:
        started = []
        for _ in range(pairs):
            first, second = _pair(scenario)
            await servers.enter_async_context(first)
            await servers.enter_async_context(second)
            started.append(Endpoints(first.url, second.url))
        yield started


def _pair(scenario: Scenario) -> tuple[FakeCartesia, FakeDeepgram]:
    if not scenario.human:
        return FakeCartesia(faults=scenario.cartesia), FakeDeepgram(faults=scenario.deepgram)
    return (
        FakeCartesia(faults=scenario.cartesia, **real_speech.hearing("cartesia")),
        FakeDeepgram(faults=scenario.deepgram, **real_speech.hearing("deepgram")),
    )


@contextlib.asynccontextmanager
async def in_own_process(scenario: Scenario, pairs: int) -> AsyncIterator[list[Endpoints]]:
    """Run `pairs` pairs of fake providers in a process of their own, as real providers are.

    The process ends with the block, or when this process dies.

    Raises:
        CommandError: The process did not start.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "resilient_stt.cli", "serve-fakes", scenario.name),
        *("--pairs", str(pairs)),
        *(("--real",) if scenario.human else ()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        # Ctrl-C in a terminal goes to the whole process group. Only the demo must get it: it then
        # ends this process itself.
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line:
            raise CommandError("the process of the fake providers did not start", status=1)
        yield [Endpoints(**pair) for pair in json.loads(line)]
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Close the stdin of the process, which ends it; kill it if it is still alive after 3 s."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(_EXIT_TIMEOUT):
            await process.wait()
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if not isinstance(error, TimeoutError):
            raise


def serve_fakes(
    fault: Annotated[str, typer.Argument(help="The scenario; see `demo --list-faults`.")] = "none",
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of a Cartesia and a Deepgram.")] = 1,
    real: Annotated[bool, typer.Option("--real", help="They have a real recognizer.")] = False,
) -> None:
    """Run fake providers until stdin is closed; for `demo`.

    Prints their base URLs as one line of JSON.
    """
    scenario = scenario_named(fault)
    if real:
        scenario = real_speech.with_human_speech(scenario)
    asyncio.run(stoppable(_serve_until_stdin_closes(scenario, pairs)))


async def _serve_until_stdin_closes(scenario: Scenario, pairs: int) -> None:
    async with in_this_process(scenario, pairs) as endpoints:
        typer.echo(json.dumps([asdict(pair) for pair in endpoints]))
        sys.stdout.flush()
        # The system closes stdin also when the demo is killed, so this process never outlives it.
        await asyncio.to_thread(sys.stdin.buffer.read)
