"""`resilient-stt serve`: runs fake providers for an agent in another process or language."""

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
from ..command_error import CommandError
from ..standard_streams import stoppable
from .control import PATH, control_app

_PORT_HELP = "0: any free port."


def serve(
    host: Annotated[
        str, typer.Option(help="The address on which the providers listen.")
    ] = LOOPBACK,
    cartesia_port: Annotated[int, typer.Option(min=0, max=65535, help=_PORT_HELP)] = 8701,
    deepgram_port: Annotated[int, typer.Option(min=0, max=65535, help=_PORT_HELP)] = 8702,
    control_host: Annotated[
        str, typer.Option(help="The address of the endpoint that injects faults.")
    ] = LOOPBACK,
    control_port: Annotated[int, typer.Option(min=0, max=65535, help=_PORT_HELP)] = 8700,
) -> None:
    """Run a fake Cartesia and a fake Deepgram until Ctrl-C, and inject faults over HTTP.

    They are for agents in other processes and languages. They accept any API key and transcribe
    the reference speech that ships with this package, in real time, exactly as they receive it.
    """
    for option, address in (("--host", host), ("--control-host", control_host)):
        if not _is_loopback(address):
            typer.echo(
                f"resilient-stt: warning: other machines can connect to {option} {address}; "
                "no API key is checked",
                err=True,
            )
    ports = (cartesia_port, deepgram_port)
    asyncio.run(stoppable(_serve_until_signal(host, ports, (control_host, control_port))))


async def _serve_until_signal(
    host: str, ports: tuple[int, int], control_address: tuple[str, int]
) -> None:
    cartesia, deepgram = FakeCartesia(), FakeDeepgram()
    async with (
        _signal_received() as received,
        _running(cartesia, host, ports[0]),
        _running(deepgram, host, ports[1]),
        _control_endpoint(cartesia, deepgram, control_address) as control_port,
    ):
        _print_usage(cartesia, deepgram, url_of(control_address[0], control_port, PATH))
        await received.wait()


def _print_usage(cartesia: FakeServer, deepgram: FakeServer, faults_url: str) -> None:
    """Print how to connect the plugins, how to inject faults and where the speech is."""
    stall = """'{"provider": "cartesia", "fault": "stall", "after": 3}'"""
    data = resources.files(testing) / "data"
    lines = (
        f"Cartesia  cartesia.STT(model='ink-whisper', api_key='any', base_url='{cartesia.url}')",
        f"Deepgram  deepgram.STT(api_key='any', base_url='{deepgram.url}')",
        f"Faults    curl {faults_url}",
        f"          curl -d {stall} {faults_url}",
        f"          curl -X DELETE {faults_url}",
        f"Speech    {data}{os.sep}*.flac",
    )
    for line in lines:
        typer.echo(line)


@contextlib.asynccontextmanager
async def _running(server: FakeServer, host: str, port: int) -> AsyncIterator[None]:
    """Run a fake provider while the block runs.

    Raises:
        CommandError: It cannot listen on that address.
    """
    with _listen_errors(host, port):
        await server.start(host, port)
    try:
        yield
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def _control_endpoint(
    cartesia: FakeServer, deepgram: FakeServer, address: tuple[str, int]
) -> AsyncIterator[int]:
    """Serve the control endpoint while the block runs; yields its port.

    Raises:
        CommandError: It cannot listen on that address.
    """
    app = control_app({"cartesia": cartesia, "deepgram": deepgram})
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        with _listen_errors(*address):
            await web.TCPSite(runner, *address).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def _listen_errors(host: str, port: int) -> Iterator[None]:
    """Turn an error of listening on an address into a `CommandError`."""
    try:
        yield
    except OSError as error:
        # asyncio puts the address into the text of some of these errors; the code is plainer.
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise CommandError(
            f"cannot listen on {host}, port {port}: {why}; "
            "choose another host or port, see `resilient-stt serve --help`"
        ) from None


@contextlib.asynccontextmanager
async def _signal_received() -> AsyncIterator[asyncio.Event]:
    """Yield an event that Ctrl-C and SIGTERM set; they do nothing else while the block runs."""
    loop, received = asyncio.get_running_loop(), asyncio.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    with contextlib.suppress(NotImplementedError):  # on Windows Ctrl-C raises KeyboardInterrupt
        for number in signals:
            loop.add_signal_handler(number, received.set)
    try:
        yield received
    finally:
        with contextlib.suppress(NotImplementedError):
            for number in signals:
                loop.remove_signal_handler(number)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
