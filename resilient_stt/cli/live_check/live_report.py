"""What `check --live` prints: a table or JSON, and which routes have nobody who works."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...config import Config
from ...phrasing import listed
from ..terminal import log_records_to, print_table, table_console
from .live_rows import LiveRow, run_fake, run_live

_WIDTH = 140  # columns of the table where stdout is not a terminal


def check_live(config: Config, models: Mapping[str, str], *, fake: bool, as_json: bool) -> None:
    """Ask the providers of a configuration, and print what came of it.

    Args:
        config: the configuration.
        models: what to call the model of each provider.
        fake: ask fake servers instead.
        as_json: print one JSON object.

    Raises:
        typer.Exit: A route has no provider that works.
    """
    ask = run_fake if fake else run_live
    with log_records_to(Console(stderr=True), verbose=False):  # they may contain anything
        rows = asyncio.run(ask(config, models))
    dead = dead_routes(config, rows)
    if as_json:
        typer.echo(json.dumps(live_as_json(config, rows)))
    else:
        console = table_console(_WIDTH)
        print_table(console, live_table(rows))
        for route in dead:
            console.print(Text(f"nobody works in the route {route}"), soft_wrap=True)
        if not dead:
            console.print(Text(f"{config.name}: every route works"), soft_wrap=True)
    if dead:
        raise typer.Exit(1)


def dead_routes(config: Config, rows: Iterable[LiveRow]) -> list[str]:
    """The routes in which no provider works."""
    alive = {route for row in rows if row.works for route in row.routes}
    return [route for route in config.routes if route not in alive]


def live_table(rows: Iterable[LiveRow]) -> Table:
    """A line for each provider and language."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("provider", no_wrap=True)
    for column in ("model", "languages"):
        table.add_column(column, overflow="fold")
    for column in ("connected", "first word", "final"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold", min_width=len("no words within 10 s"))
    for row in rows:
        times = (row.found.connect, row.found.first_word, row.found.final)
        table.add_row(
            Text(row.provider),
            Text(row.model),
            Text(listed(row.routes)),
            *("" if seconds is None else f"{seconds:.2f} s" for seconds in times),
            Text(row.verdict, style="green" if row.works else "bold red"),
        )
    return table


def live_as_json(config: Config, rows: Iterable[LiveRow]) -> dict[str, Any]:
    """The object that `--json` prints."""
    rows = list(rows)
    dead = dead_routes(config, rows)
    return {
        "works": not dead,
        "providers": [
            {
                "provider": row.provider,
                "model": row.model,
                "routes": list(row.routes),
                "works": row.works,
                "verdict": row.verdict,
                "connect_s": _rounded(row.found.connect),
                "first_word_s": _rounded(row.found.first_word),
                "final_s": _rounded(row.found.final),
            }
            for row in rows
        ],
        "routes": [
            {"route": route, "providers": list(chain), "works": route not in dead}
            for route, chain in config.routes.items()
        ],
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
