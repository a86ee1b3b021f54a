"""`resilient-stt chaos`: tries every fault, at every place and many moments, in virtual time."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ...testing.harness.trial import WHISPER, accents_of
from ..env_files import read_env_files
from ..terminal import table_console
from . import results
from .configured_chain import configured_chain, recording_in
from .fault_kinds import FAULT_KINDS, fault_kinds_named
from .matrix import Row, make_rows
from .results import CaseOutcome, RowResult
from .row_runner import RunRow, run_row, run_rows

_WIDTH = 140  # columns of the table where stdout is not a terminal


def chaos(
    config: Annotated[
        str | None,
        typer.Argument(
            metavar="CONFIG",
            help="A YAML or TOML file; the chain of its route is tried. By default Cartesia, then "
            "Deepgram.",
            show_default=False,
        ),
    ] = None,
    language: Annotated[
        str, typer.Option(help="The language spoken, and the route that is tried: en, es or zh.")
    ] = "en",
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="FAULT",
            help=f"Try this fault only; may be repeated. One of {', '.join(FAULT_KINDS)}.",
        ),
    ] = None,
    moments: Annotated[
        int,
        typer.Option(
            min=1, help="Moments at which each fault begins: starts and middles of words."
        ),
    ] = 4,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", min=1, help="Number of processes; by default one for each CPU core."
        ),
    ] = None,
    accents: Annotated[
        int | None,
        typer.Option(
            metavar="SEED",
            min=0,
            help="Let each provider write words in its own way, drawn from this seed; by default "
            "all write what was spoken.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the results as one JSON object, nothing else.")
    ] = False,
) -> None:
    """Try every fault on the primary provider, on the fallback and on both, at many moments.

    The providers are those of the language's route in the configuration, or Cartesia ink-whisper
    and Deepgram nova-3. LiveKit's published plugins connect to fake providers on this machine, in
    virtual time. No API keys are needed; other variables of a configuration come from the
    environment, .env.local and .env.

    The exit status is 1 if a promise was broken: a word was lost or repeated, is a fragment, is out
    of order or has a wrong time; a word came over 6 s later than usual while one provider was
    healthy; start and end of speech do not alternate; a stream did not end.
    """
    begun = time.monotonic()
    read_env_files()
    recording = recording_in(language)
    default = config is None and language == "en"
    chain = WHISPER if default else configured_chain(config, language)
    rows = make_rows(fault_kinds_named(only or []), moments, recording)
    drawn = () if accents is None else accents_of(chain, accents)
    run = functools.partial(run_row, chain=chain, recording=recording, accents=drawn)
    outcomes = _run_with_progress(rows, jobs or os.cpu_count() or 1, run)
    found = results.judge(rows, outcomes)
    if as_json:
        typer.echo(json.dumps(results.as_json(found, moments=moments)))
    else:
        _print(found, time.monotonic() - begun)
    if any(result.broken for result in found):
        raise typer.Exit(1)


def _print(found: Sequence[RowResult], seconds: float) -> None:
    console = table_console(_WIDTH)
    console.print(results.result_table(found, console.width))
    runs = sum(len(result.outcomes) for result in found)
    broken = sum(len(result.broken) for result in found)
    for result in found:
        for case, outcome in result.broken:
            row = f"{result.row.fault} {result.row.where}".strip()
            line = f"{row}: {results.describe_broken(case, outcome)}"
            console.print(line, soft_wrap=True, markup=False)
    verdict = f"{broken} broke a promise" if broken else "every promise was kept"
    console.print(f"{runs} runs in {seconds:.0f} s: {verdict}")


def _run_with_progress(rows: Sequence[Row], jobs: int, run: RunRow) -> list[list[CaseOutcome]]:
    """Run the rows, with a progress bar if stderr is a terminal; returns the outcomes by row."""
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=False,
    )
    by_row: list[list[CaseOutcome]] = [[] for _ in rows]
    with progress:
        task = progress.add_task("runs", total=sum(len(row.cases) for row in rows))
        for number, outcomes in run_rows(rows, min(jobs, len(rows)), run):
            by_row[number] = outcomes
            progress.update(task, advance=len(outcomes))
    return by_row
