"""`resilient-stt serve`: the fake providers alone, for an agent of another process or language."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import signal
from collections.abc import AsyncIterator, Iterator
from importlib import resources
from typing import Annotated

import typer
from aiohttp import web

from ... import testing
from ...testing.fakes.cartesia import FakeCartesia
from ...testing.fakes.deepgram import FakeDeepgram
from ...testing.fakes.server import LOOPBACK, FakeServer, url_of
from ..problems import Problem
from .control import PATH, control


def serve(
    host: Annotated[str, typer.Option(help="Address on which the providers listen.")] = LOOPBACK,
    cartesia_port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8701,
    deepgram_port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8702,
    control_host: Annotated[
        str, typer.Option(help="Address on which faults are injected.")
    ] = LOOPBACK,
    control_port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8700,
) -> None:
    """Serve a fake Cartesia and a fake Deepgram, and make them fail by hand, until Ctrl-C.

    For agents of other processes and languages. They transcribe the reference speech of this
    package, exactly as they heard it, in real time.
    """
    for option, address in (("--host", host), ("--control-host", control_host)):
        if not _is_loopback(address):
            typer.echo(
                f"resilient-stt: {option} {address} lets other machines in; any key is accepted",
                err=True,
            )
    ports = (cartesia_port, deepgram_port)
    asyncio.run(_serve(host, ports, (control_host, control_port)))


async def _serve(host: str, ports: tuple[int, int], desk: tuple[str, int]) -> None:
    cartesia, deepgram = FakeCartesia(), FakeDeepgram()
    async with (
        _ended_by_signal() as ended,
        _started(cartesia, host, ports[0]),
        _started(deepgram, host, ports[1]),
        _controlled(cartesia, deepgram, desk) as port,
    ):
        _tell(cartesia, deepgram, url_of(desk[0], port, PATH))
        await ended.wait()


def _tell(cartesia: FakeServer, deepgram: FakeServer, faults: str) -> None:
    """Say how to talk to the servers."""
    stall = """'{"provider": "cartesia", "fault": "stall", "after": 3}'"""
    data = resources.files(testing) / "data"
    lines = (
        f"Cartesia  cartesia.STT(model='ink-whisper', api_key='any', base_url='{cartesia.url}')",
        f"Deepgram  deepgram.STT(api_key='any', base_url='{deepgram.url}')",
        f"Faults    curl {faults}",
        f"          curl -d {stall} {faults}",
        f"          curl -X DELETE {faults}",
        f"Speech    {data}{os.sep}*.flac",
    )
    for line in lines:
        typer.echo(line)


@contextlib.asynccontextmanager
async def _started(server: FakeServer, host: str, port: int) -> AsyncIterator[None]:
    """Run a server.

    Raises:
        Problem: It cannot listen there.
    """
    with _explained(host, port):
        await server.start(host, port)
    try:
        yield
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def _controlled(
    cartesia: FakeServer, deepgram: FakeServer, address: tuple[str, int]
) -> AsyncIterator[int]:
    """Serve the control endpoint; gives its port.

    Raises:
        Problem: It cannot listen there.
    """
    app = control({"cartesia": cartesia, "deepgram": deepgram})
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        with _explained(*address):
            await web.TCPSite(runner, *address).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def _explained(host: str, port: int) -> Iterator[None]:
    """Turn what prevents listening into a line for people."""
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise Problem(
            f"cannot listen on {host}, port {port}: {why}; see --help for other addresses"
        ) from None


@contextlib.asynccontextmanager
async def _ended_by_signal() -> AsyncIterator[asyncio.Event]:
    """An event that Ctrl-C and SIGTERM set instead of what they usually do."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    with contextlib.suppress(NotImplementedError):  # on Windows Ctrl-C interrupts
        for number in signals:
            loop.add_signal_handler(number, ended.set)
    try:
        yield ended
    finally:
        with contextlib.suppress(NotImplementedError):
            for number in signals:
                loop.remove_signal_handler(number)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
