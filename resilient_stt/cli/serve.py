"""`resilient-stt serve`: the fake providers alone, for an agent of another process or language."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import signal
from collections.abc import AsyncIterator
from importlib import resources
from typing import Annotated

import typer
from aiohttp import web

from .. import testing
from ..testing.cartesia import FakeCartesia
from ..testing.deepgram import FakeDeepgram
from ..testing.server import FakeServer
from .control import PATH, control
from .problems import Problem

_LOOPBACK = "127.0.0.1"


def serve(
    host: Annotated[str, typer.Option(help="Address on which the providers listen.")] = _LOOPBACK,
    cartesia_port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8701,
    deepgram_port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8702,
    control_host: Annotated[
        str, typer.Option(help="Address on which faults are injected.")
    ] = _LOOPBACK,
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
    cartesia = FixedCartesia(host, cartesia_port)
    deepgram = FixedDeepgram(host, deepgram_port)
    asyncio.run(_serve(cartesia, deepgram, (control_host, control_port)))


async def _serve(cartesia: FixedCartesia, deepgram: FixedDeepgram, desk: tuple[str, int]) -> None:
    async with (
        _ended_by_signal() as ended,
        cartesia,
        deepgram,
        _controlled(cartesia, deepgram, desk) as port,
    ):
        _tell(cartesia, deepgram, _url(desk[0], port, PATH))
        await ended.wait()


def _tell(cartesia: FixedCartesia, deepgram: FixedDeepgram, faults: str) -> None:
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


class _Fixed(FakeServer):
    """A mixin: a server on an address of one's choice."""

    address: tuple[str, int]

    async def start(self) -> None:
        """Listen there, and on a free port of 127.0.0.1 as every fake does.

        Raises:
            Problem: It cannot.
        """
        await super().start()
        assert self._runner is not None
        try:
            await _listen(self._runner, *self.address)
        except Problem:
            await self.stop()
            raise

    @property
    def port(self) -> int:
        """The port of the address."""
        assert self._runner is not None
        return int(self._runner.addresses[-1][1])


class FixedCartesia(_Fixed, FakeCartesia):
    """A fake Cartesia on an address of one's choice; port 0 is any free one."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self.address = host, port

    @property
    def url(self) -> str:
        return _url(self.address[0], self.port)


class FixedDeepgram(_Fixed, FakeDeepgram):
    """A fake Deepgram on an address of one's choice; port 0 is any free one."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self.address = host, port

    @property
    def url(self) -> str:
        return _url(self.address[0], self.port, self.path)


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
        await _listen(runner, *address)
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
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


def _url(host: str, port: int, path: str = "") -> str:
    """A URL for this machine."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            host = _LOOPBACK
        elif address.version == 6:
            host = f"[{host}]"
    return f"http://{host}:{port}{path}"
