"""`resilient-stt demo`: providers fail in front of your eyes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType

from ...testing.harness.clock import run_virtual
from ..logs import routed
from ..narrate import PlainLines
from ..problems import Problem
from . import tables
from .run import CANDIDATES, OURS, Candidate, DemoRun, compete
from .scenarios import SCENARIOS, Scenario, scenario_named
from .view import OneRun, SideBySide, shown

_ALL = "all"


def demo(
    fault: Annotated[
        str, typer.Option(help=f"What goes wrong: {', '.join(SCENARIOS)}; `all` with --compare.")
    ] = "both",
    list_faults: Annotated[bool, typer.Option(help="List the faults and what they do.")] = False,
    compare: Annotated[
        bool, typer.Option(help="Let the bare Cartesia plugin and FallbackAdapter run, too.")
    ] = False,
    fast: Annotated[
        bool,
        typer.Option(
            help="Run on a virtual clock, in a second or two; the fake providers then live in "
            "this process instead of one of their own."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object only.")] = False,
    markdown: Annotated[
        bool, typer.Option(help="With --compare: print a Markdown table. Runs --fast.")
    ] = False,
    update: Annotated[
        Path | None,
        typer.Option(help="With --compare: put the Markdown table between its markers in a file."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show log records.")] = False,
) -> None:
    """Stream half a minute of speech through Cartesia and Deepgram while they fail.

    No keys are needed: the providers are fakes on loopback that transcribe what they hear, reached
    through LiveKit's published plugins. Exit status 1 if a word was lost or said twice.
    """
    if list_faults:
        for scenario in SCENARIOS.values():
            typer.echo(f"{scenario.name:<13} {scenario.summary}")
        return
    markdown = markdown or update is not None
    _check(fault, compare=compare, as_json=as_json, markdown=markdown)
    scenarios = list(SCENARIOS.values()) if fault == _ALL else [scenario_named(fault)]
    contestants = CANDIDATES if compare else (OURS,)
    quiet = as_json or markdown
    stage = _Stage(
        Console(stderr=quiet, highlight=False), quiet=quiet, fast=fast or markdown, verbose=verbose
    )
    compared = {scenario: stage.perform(scenario, contestants) for scenario in scenarios}
    if as_json:
        _print_json(compared, compare=compare)
    elif markdown:
        _print_markdown(compared, update)
    if not all(tables.is_kept(runs[OURS]) for runs in compared.values()):
        raise typer.Exit(1)


def _check(fault: str, *, compare: bool, as_json: bool, markdown: bool) -> None:
    if fault == _ALL and not compare:
        raise Problem("--fault all goes with --compare only; see --list-faults for single ones")
    if markdown and not compare:
        raise Problem("--markdown and --update make a table of --compare; add it")
    if markdown and as_json:
        raise Problem("--markdown and --json exclude each other")


class _Stage:
    """Performs scenarios and shows them."""

    def __init__(self, console: Console, *, quiet: bool, fast: bool, verbose: bool) -> None:
        self.fast = fast
        self._console = console
        self._quiet = quiet
        self._verbose = verbose
        self._live = console.is_terminal and not console.options.ascii_only

    def perform(
        self, scenario: Scenario, contestants: Iterable[Candidate]
    ) -> dict[Candidate, DemoRun]:
        """Let contestants run a scenario, live on the console as far as it can."""
        speech = scenario.speech()
        single = contestants == (OURS,)
        plain = not self._live and not self._quiet
        listener = PlainLines(self._console).listen if plain and single else None
        runs = {c: DemoRun(speech, "cartesia", listener) for c in contestants}
        if plain:
            self._console.print(f"fault: {scenario.name} ({scenario.summary})", soft_wrap=True)
        with routed(self._console, verbose=self._verbose):
            self._run(self._shown(scenario, runs))
        if not self._quiet:
            self._console.print(tables.results(runs))
            self._console.print(tables.verdict(runs[OURS]))
        return runs

    def _run(self, work: Any) -> None:
        if self.fast:
            random.seed(0)  # the waits of retries draw from it: one table, whenever it is made
            run_virtual(work)
        else:
            asyncio.run(work)

    async def _shown(self, scenario: Scenario, runs: dict[Candidate, DemoRun]) -> None:
        picture: RenderableType = (
            OneRun(scenario, runs[OURS]) if len(runs) == 1 else SideBySide(scenario, runs)
        )
        live = shown(self._console, lambda: picture) if self._live else contextlib.nullcontext()
        async with live:
            await compete(scenario, runs, virtual=self.fast)


def _print_json(compared: dict[Scenario, dict[Candidate, DemoRun]], *, compare: bool) -> None:
    """Print the one object that `--json` promises."""

    def one(scenario: Scenario, runs: dict[Candidate, DemoRun]) -> dict[str, Any]:
        objects = {c.key: tables.as_json(scenario, run) for c, run in runs.items()}
        return objects if compare else objects[OURS.key]

    objects = {scenario.name: one(scenario, runs) for scenario, runs in compared.items()}
    only = next(iter(objects.values()))
    typer.echo(json.dumps(only if len(objects) == 1 else objects))


def _print_markdown(compared: dict[Scenario, dict[Candidate, DemoRun]], path: Path | None) -> None:
    table = tables.markdown(compared)
    if path is None:
        typer.echo(table)
    else:
        tables.update(path, table)
        typer.echo(f"{path}: comparison updated", err=True)
