"""`resilient-stt matrix`: tries every fault on every provider that has a fake, in every place."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...testing.fakes.registry import FAKES
from ..chaos import results
from ..chaos.fault_kinds import fault_kinds_named
from ..chaos.fault_rows import NONE
from ..chaos.progress_bar import run_with_progress
from ..chaos.run_options import AsJson, Jobs, Moments, OnlyFaults
from ..command_error import CommandError
from ..fake_names import healthy_partner, is_installed, usable_fake
from ..marked_files import update_marked
from ..terminal import print_table, table_console
from .cells import (
    LATER,
    Cell,
    MatrixRow,
    ProviderCells,
    ProviderPlace,
    judged,
    matrix_rows,
    run_matrix_row,
)
from .providers_page import markdown_page

_WIDTH = 140  # columns of the table where stdout is not a terminal
_MARKER = "matrix"


def matrix(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="The providers that are tried, by default all whose plugins are installed, but "
            f"those whose SDK has threads, which need real time. One of {', '.join(FAKES)}.",
            show_default=False,
        ),
    ] = None,
    beside: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The healthy provider beside each of them. By default Deepgram, and Cartesia "
            "beside Deepgram.",
            show_default=False,
        ),
    ] = None,
    only: OnlyFaults = None,
    moments: Moments = 1,
    jobs: Jobs = None,
    as_json: AsJson = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the results as a page of Markdown.")
    ] = False,
    update: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write that page between its markers in a file."),
    ] = None,
) -> None:
    """Try every fault on every provider: as the primary one, as the fallback, and alone.

    It makes the runs that `chaos` makes, for each provider beside a healthy other one. They are in
    virtual time, but those of Azure and Google, whose SDKs have threads. A provider without any
    fault is compared with its bare plugin, too.

    The exit status is 1 if a promise was broken, as `chaos` has it, or if a final came over 1 s
    later than the bare plugin gives it.
    """
    begun = time.monotonic()
    if as_json and (markdown or update):
        raise CommandError("--json cannot be combined with --markdown or --update")
    partners = _partners(names or _installed(), beside)
    rows = matrix_rows(partners, fault_kinds_named(only or []), moments)
    processes = jobs or os.cpu_count() or 1
    outcomes = run_with_progress(rows, processes, run_matrix_row, size=_size)
    found = judged(partners, rows, outcomes)
    if as_json:
        typer.echo(json.dumps(_as_json(found, moments)))
    elif update:
        update_marked(update, _MARKER, markdown_page(found, moments))
        typer.echo(f"{update}: matrix updated", err=True)
    elif markdown:
        typer.echo(markdown_page(found, moments))
    else:
        _print(found, sum(map(_size, rows)), time.monotonic() - begun)
    if not all(provider.kept for provider in found):
        raise typer.Exit(1)


def _installed() -> list[str]:
    """The fakes whose plugins are installed; tells which others there are."""
    missing = [name for name in FAKES if not is_installed(name)]
    if missing:
        typer.echo(
            f"resilient-stt: without {', '.join(missing)}, whose plugins are not installed",
            err=True,
        )
    return [name for name in FAKES if name not in missing and not FAKES[name].has_threads]


def _partners(names: Sequence[str], beside: str | None) -> dict[str, str]:
    """Return the healthy provider beside each provider, by its name.

    Raises:
        CommandError: A name is wrong, or its plugin is not installed.
        ConfigurationError: A plugin cannot be imported.
    """
    partners = {usable_fake(name): beside or healthy_partner(name) for name in names}
    for name, partner in partners.items():
        if usable_fake(partner) == name:
            raise CommandError(f"--beside {name}: a provider cannot stand beside itself")
    return partners


def _size(item: MatrixRow) -> int:
    return len(item.row.cases)


def _print(found: Sequence[ProviderCells], runs: int, seconds: float) -> None:
    console = table_console(_WIDTH)
    print_table(console, _table(found))
    for provider in found:
        for cell in provider.broken:
            _print_broken(console, provider, cell)
        if provider.later is not None and provider.later > LATER:
            console.print(
                f"{provider.name}: finals come {provider.later:.1f} s later than the bare plugin's"
            )
    broken = sum(len(provider.broken) for provider in found)
    cells = sum(len(provider.cells) for provider in found)
    verdict = f"in {broken} a promise was broken" if broken else "every promise was kept"
    console.print(f"{runs} runs in {seconds:.0f} s, {cells} cells: {verdict}")


def _print_broken(console: Console, provider: ProviderCells, cell: Cell) -> None:
    where = f"{provider.name}, {cell.place}, {cell.result.row.fault}"
    for case, outcome in cell.result.broken:
        line = f"{where}: {results.describe_broken(case, outcome)}"
        console.print(line, soft_wrap=True, markup=False)


def _table(found: Sequence[ProviderCells]) -> Table:
    """Return a table with a line for each provider and place."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for title in ("provider", "place"):
        table.add_column(title, no_wrap=True)
    for title in ("faults kept", "lost", "repeated", "fragments", "late", "text after", "delay"):
        table.add_column(title, justify="right", no_wrap=True)
    for provider in found:
        for place in ProviderPlace:
            cells = [c for c in provider.cells if c.place is place and c.result.row.fault != NONE]
            if cells:
                table.add_row(provider.name, place, *_figures(cells))
    return table


def _figures(cells: Sequence[Cell]) -> list[str | Text]:
    promised = [cell.result for cell in cells if cell.result.promised]
    kept = sum(not result.broken for result in promised)
    style = "green" if kept == len(promised) else "bold red"
    counts = [
        sum(result.violations[name] for result in promised)
        for name in ("lost", "twice", "torn", "late")
    ]
    texts = [r.text_after for r in promised if r.text_after is not None]
    return [
        Text(f"{kept} of {len(promised)}", style=style),
        *(Text(str(count), style="bold red" if count else "green") for count in counts),
        f"{max(texts, default=0.0):.1f}s",
        f"+{max((r.extra_delay for r in promised), default=0.0):.1f}s",
    ]


def _as_json(found: Sequence[ProviderCells], moments: int) -> dict[str, Any]:
    return {
        "moments": moments,
        "kept": all(provider.kept for provider in found),
        "providers": {provider.name: _provider_as_json(provider) for provider in found},
    }


def _provider_as_json(provider: ProviderCells) -> dict[str, Any]:
    later = provider.later
    return {
        "beside": provider.partner,
        "later_than_bare_s": None if later is None else round(later, 3),
        "bare": dict(provider.bare.violations),
        "kept": provider.kept,
        "cells": [
            {"place": cell.place, **results.row_as_json(cell.result)} for cell in provider.cells
        ],
    }
