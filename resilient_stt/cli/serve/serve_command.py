"""`resilient-stt serve`: runs fake providers for an agent in another process or language."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from importlib import resources
from typing import Annotated

import typer
from aiohttp import web

from ... import testing
from ...testing.fakes.registry import FAKES
from ...testing.fakes.server import LOOPBACK, FakeServer, url_of
from ..command_error import CommandError
from ..fake_names import known_fake
from ..standard_streams import stoppable
from .control import PATH, control_app

_FIRST_PORT = 8701
_DEFAULT = ("cartesia", "deepgram")
_ALL = "all"
_PORTS = 65_536


def serve(
    providers: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME[=PORT]]...",
            help=f"The providers, by default {' and '.join(_DEFAULT)}; {_ALL}: every one of "
            f"{', '.join(FAKES)}. Without a port, each has the one after that of the provider "
            f"before it, from {_FIRST_PORT} on; 0: any free port.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address on which the providers listen.")
    ] = LOOPBACK,
    control_host: Annotated[
        str, typer.Option(help="The address of the endpoint that injects faults.")
    ] = LOOPBACK,
    control_port: Annotated[
        int, typer.Option(min=0, max=_PORTS - 1, help="Its port; 0: any free port.")
    ] = 8700,
) -> None:
    """Run fake providers until Ctrl-C, and inject faults over HTTP.

    They are for agents in other processes and languages. They accept any API key and transcribe
    the reference speech that ships with this package, in real time, exactly as they receive it.
    """
    ports = ports_of(providers or _DEFAULT)
    for option, address in (("--host", host), ("--control-host", control_host)):
        if not _is_loopback(address):
            typer.echo(
                f"resilient-stt: warning: other machines can connect to {option} {address}; "
                "no API key is checked",
                err=True,
            )
    asyncio.run(stoppable(_serve_until_signal(host, ports, (control_host, control_port))))


def ports_of(providers: Sequence[str]) -> dict[str, int]:
    """Return the port of each provider by its name, in the order named.

    Raises:
        CommandError: There is no fake of that name, it is named twice, or a port is impossible.
    """
    ports: dict[str, int] = {}
    following = _FIRST_PORT
    for given in FAKES if [*providers] == [_ALL] else providers:
        name, equals, text = given.partition("=")
        if known_fake(name) in ports:
            raise CommandError(f"{name} is named twice; each provider has one address")
        port = int(text) if text.isdecimal() else following
        if (equals and not text.isdecimal()) or port >= _PORTS:
            raise CommandError(f"{given}: the port must be a number from 0 to {_PORTS - 1}")
        ports[name] = port
        following = port + 1 if port else following
    return ports


async def _serve_until_signal(
    host: str, ports: Mapping[str, int], control_address: tuple[str, int]
) -> None:
    servers = {name: FAKES[name]() for name in ports}
    async with _signal_received() as received, contextlib.AsyncExitStack() as running:
        for name, server in servers.items():
            await running.enter_async_context(_running(server, host, ports[name]))
        endpoint = _control_endpoint(servers, control_address)
        control_port = await running.enter_async_context(endpoint)
        _print_usage(servers, url_of(control_address[0], control_port, PATH))
        await received.wait()


def _print_usage(servers: Mapping[str, FakeServer], faults_url: str) -> None:
    """Print how to connect the plugins, how to inject faults and where the speech is."""
    first = next(iter(servers))
    stall = json.dumps({"provider": first, "fault": "stall", "after": 3})
    data = resources.files(testing) / "data"
    lines = [(name, server.plugin_call) for name, server in servers.items()]
    lines += [
        ("faults", f"curl {faults_url}"),
        ("", f"curl -d '{stall}' {faults_url}"),
        ("", f"curl -X DELETE {faults_url}"),
        ("speech", f"{data}{os.sep}*.flac"),
    ]
    width = max(len(title) for title, _ in lines)
    for title, text in lines:
        typer.echo(f"{title:<{width}}  {text}")


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
    servers: Mapping[str, FakeServer], address: tuple[str, int]
) -> AsyncIterator[int]:
    """Serve the control endpoint while the block runs; yields its port.

    Raises:
        CommandError: It cannot listen on that address.
    """
    app = control_app(servers)
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
