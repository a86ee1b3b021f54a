"""`resilient-stt health`: shows what all processes know, and locks, unlocks and resets."""

from __future__ import annotations

import asyncio
import getpass
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ...config import VARIABLE
from ...config.models import seconds
from ...core.events import BreakerState
from ...fleet.operations import FleetOperations, FleetStatus
from ...fleet.sync import advice_of
from ...fleet.wire import LONGEST_BREAK
from ..command_error import CommandError
from ..env_files import read_env_files
from ..terminal import print_table, table_console
from .fleet_targets import FleetTargets, fleet_targets
from .health_table import duration, health_as_json, health_table

_ACTIONS = ("lock", "unlock", "reset")
_WIDTH = 140  # columns of the table where stdout is not a terminal
_REFRESH = 1.0  # seconds; processes sync as often
_T = TypeVar("_T")


def health(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="CONFIG|lock|unlock|reset",
            help=f"The configuration to look at; by default the one that {VARIABLE} names. Or what "
            "to do with PROVIDER.",
            show_default=False,
        ),
    ] = None,
    provider: Annotated[
        str | None,
        typer.Argument(
            metavar="PROVIDER",
            help="Its name in the configuration, its key in the store, or a plugin: all of its "
            "providers.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            "--config", metavar="CONFIG", help="The configuration, with lock, unlock and reset."
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="The Redis, instead of a configuration: redis://HOST:PORT/DB"
        ),
    ] = None,
    lasts: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long a lock lasts: 90s, 30m, 2h.")
    ] = "1h",
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why it is locked, for everybody who looks.")
    ] = "",
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again every second, until Ctrl-C.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON objects, one a line, and nothing else.")
    ] = False,
) -> None:
    """Show what all processes know of each provider; lock, unlock or reset one in all of them.

    `health lock PROVIDER` keeps new streams away from a provider within a second, whatever the
    processes observe, until the time is over or `health unlock PROVIDER`. A stream that is served
    by it leaves at the next turn boundary, if another provider of its route is healthy. If all
    providers of a route are locked, they are used all the same. `health reset PROVIDER` closes its
    breaker and takes a lock off.

    The health must be shared in Redis. A configuration needs the providers' keys, as an agent does:
    what a provider is called in the store depends on them. With --store none are needed.
    """
    read_env_files()
    action = what if what in _ACTIONS else None
    if action is None:
        _refuse_provider(what, provider)
        targets = fleet_targets(what or config, store)
        _run(targets, lambda fleet: _show(targets, fleet, watch=watch, as_json=as_json))
        return
    if provider is None:
        raise CommandError(f"health {action} needs the name of a provider")
    if watch or as_json:
        raise CommandError(f"--watch and --json do not go with {action}")
    length = _length(lasts)
    targets = fleet_targets(config, store)
    done = _run(targets, lambda fleet: _steer(targets, fleet, action, provider, length, reason))
    for line in done:
        typer.echo(line)


def _refuse_provider(what: str | None, provider: str | None) -> None:
    if provider is not None:
        raise CommandError(
            f"health {what} {provider}: to do something, write one of {', '.join(_ACTIONS)}, then "
            "the provider"
        )


def _length(text: str) -> float:
    """Return the seconds for which a lock lasts.

    Raises:
        CommandError: It is no duration, or a lock cannot last so long.
    """
    try:
        found = float(seconds(text))
    except ValueError as error:
        raise CommandError(f"--for {text}: {error}") from None
    if not 0 < found <= LONGEST_BREAK:
        raise CommandError(f"--for {text}: a lock lasts up to {duration(LONGEST_BREAK)}")
    return found


def _run(targets: FleetTargets, work: Callable[[FleetOperations], Awaitable[_T]]) -> _T:
    """Connect, and do something.

    Raises:
        CommandError: Redis cannot be reached, or refuses.
    """

    async def connected() -> _T:
        async with targets.store.operations() as fleet:
            return await work(fleet)

    try:
        return asyncio.run(connected())
    except CommandError:
        raise
    except Exception as error:
        if not _is_of_redis(error):
            raise
        raise CommandError(_unreachable(targets, error), status=1) from None


def _is_of_redis(error: Exception) -> bool:
    from redis.exceptions import RedisError  # an extra, which whoever has a store has

    return isinstance(error, RedisError | OSError)


def _unreachable(targets: FleetTargets, error: Exception) -> str:
    kind, advice = advice_of(error)
    return f"Redis at {targets.store.address} failed ({kind}): {advice}"


async def _show(
    targets: FleetTargets, fleet: FleetOperations, *, watch: bool, as_json: bool
) -> None:
    console = table_console(_WIDTH)
    if as_json:
        while True:
            typer.echo(json.dumps(health_as_json(targets, await _statuses(targets, fleet))))
            if not watch:
                return
            await asyncio.sleep(_REFRESH)
    if not watch:
        print_table(console, health_table(targets, await _statuses(targets, fleet)))
        return
    await _watch(targets, fleet, console)


async def _watch(targets: FleetTargets, fleet: FleetOperations, console: Console) -> None:
    """Show the table again and again; also that Redis is away, until it is back."""
    found = await _statuses(targets, fleet)
    note = ""
    with Live(console=console, auto_refresh=False) as live:
        while True:
            table = health_table(targets, found)
            live.update(Group(table, Text(note, style="bold red")), refresh=True)
            await asyncio.sleep(_REFRESH)
            try:
                found, note = await _statuses(targets, fleet), ""
            except Exception as error:
                if not _is_of_redis(error):
                    raise
                note = f"{_unreachable(targets, error)}; above is what was known before"


async def _statuses(targets: FleetTargets, fleet: FleetOperations) -> list[FleetStatus]:
    """What is known of the configured providers, or of all in the store."""
    return await fleet.read(targets.names or await fleet.providers())


async def _steer(
    targets: FleetTargets,
    fleet: FleetOperations,
    action: str,
    provider: str,
    length: float,
    reason: str,
) -> list[str]:
    """Lock, unlock or reset; return what was done, in words."""
    keys = targets.find(provider, await fleet.providers())
    if action == "lock":
        await fleet.lock(keys, length, reason, f"{getpass.getuser()}@{socket.gethostname()}")
        told = [f"locked {targets.title(key)} for {duration(length)}" for key in keys]
        return [*told, *await _without_others(targets, fleet)]
    if action == "unlock":
        had = await fleet.unlock(keys)
        return [
            f"unlocked {targets.title(key)}"
            if key in had
            else f"{targets.title(key)} was not locked by an operator; `reset` ends any other break"
            for key in keys
        ]
    await fleet.reset(keys)
    return [f"reset {targets.title(key)}" for key in keys]


async def _without_others(targets: FleetTargets, fleet: FleetOperations) -> list[str]:
    """A warning for each route of the configuration that has only locked providers."""
    if targets.config is None:
        return []
    statuses = await fleet.read(targets.names)
    locked = {targets.names[s.key] for s in statuses if s.state is BreakerState.LOCKED}
    return [
        f"every provider of the route {route} is locked, so they are used all the same"
        for route, chain in targets.config.routes.items()
        if locked.issuperset(chain)
    ]
