"""`resilient-stt demo`: shows what happens to a transcript while providers fail."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType

from ...recording.recording_options import RecordingOptions
from ...testing.harness.clock import run_virtual
from ..command_error import CommandError
from ..html_page import HtmlOption, recorded_to
from ..marked_files import update_marked
from ..standard_streams import stoppable
from ..terminal import log_records_to, print_table
from . import real_speech, tables
from .candidates import CANDIDATES, OURS, Candidate, compete
from .demo_run import DemoRun
from .live_view import MIN_HEIGHT, MIN_WIDTH, ComparisonView, PlainLines, SingleRunView, live
from .scenarios import SCENARIOS, Scenario, scenario_named

_ALL = "all"

Comparison = dict[Scenario, dict[Candidate, DemoRun]]


def demo(
    fault: Annotated[
        str,
        typer.Option(help=f"What goes wrong: {', '.join(SCENARIOS)}; with --compare also all."),
    ] = "both",
    list_faults: Annotated[
        bool, typer.Option("--list-faults", help="List the faults and what they do, and exit.")
    ] = False,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Also run the Cartesia plugin alone and LiveKit's FallbackAdapter."
        ),
    ] = False,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast",
            help="Run in virtual time, in a second or two. The fake providers then run in this "
            "process.",
        ),
    ] = False,
    real: Annotated[
        bool,
        typer.Option(
            "--real",
            help="Play a recorded human voice to a real recognizer on this machine. Needs the "
            "extra local, and most of a core; with --fast it may take its time.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the results as one JSON object, nothing else.")
    ] = False,
    markdown: Annotated[
        bool,
        typer.Option(
            "--markdown",
            help="Print the results as a Markdown table. Needs --compare; implies --fast.",
        ),
    ] = False,
    update: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the Markdown table between its markers in a file. Needs --compare.",
        ),
    ] = None,
    html: HtmlOption = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show log records.")] = False,
) -> None:
    """Stream half a minute of speech through Cartesia and Deepgram while they fail.

    No API keys are needed. LiveKit's published plugins connect to fake providers on this machine;
    these transcribe exactly the audio that reaches them.

    The exit status is 1 if ResilientSTT lost or repeated a word; with --real, if its word error
    rate is more than a point above that of the recognizer without faults.
    """
    if list_faults:
        width = max(map(len, SCENARIOS))
        for scenario in SCENARIOS.values():
            typer.echo(f"{scenario.name:<{width}} {scenario.summary}")
        return
    markdown = markdown or update is not None
    _check_options(fault, compare=compare, as_json=as_json, markdown=markdown)
    if real and markdown:
        raise CommandError("--real cannot be combined with --markdown or --update")
    if fault == _ALL and html is not None:
        raise CommandError("--html shows one call; name one fault, such as --fault drop")
    scenarios = list(SCENARIOS.values()) if fault == _ALL else [scenario_named(fault)]
    if real:
        real_speech.recognizers()  # raises before anything is printed
        scenarios = [real_speech.with_human_speech(scenario) for scenario in scenarios]
    candidates = CANDIDATES if compare else (OURS,)
    quiet = as_json or markdown
    presenter = _Presenter(
        Console(stderr=quiet, highlight=False), quiet=quiet, fast=fast or markdown, verbose=verbose
    )
    with recorded_to(html) as record:
        compared = {scenario: presenter.run(scenario, candidates, record) for scenario in scenarios}
    if as_json:
        _print_json(compared, compare=compare)
    elif markdown:
        _print_markdown(compared, update)
    if not all(tables.is_complete(runs[OURS]) for runs in compared.values()):
        raise typer.Exit(1)


def _check_options(fault: str, *, compare: bool, as_json: bool, markdown: bool) -> None:
    if fault == _ALL and not compare:
        raise CommandError("--fault all needs --compare; --list-faults lists the single faults")
    if markdown and not compare:
        raise CommandError("--markdown and --update need --compare")
    if markdown and as_json:
        raise CommandError("--json cannot be combined with --markdown or --update")


class _Presenter:
    """Runs scenarios and shows them on a console, as far as the console can."""

    def __init__(self, console: Console, *, quiet: bool, fast: bool, verbose: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._fast = fast
        self._verbose = verbose
        # The charts need room, and characters that ASCII terminals do not have.
        fits = console.width >= MIN_WIDTH and console.height >= MIN_HEIGHT
        self._live = console.is_terminal and fits and not console.options.ascii_only

    def run(
        self,
        scenario: Scenario,
        candidates: Iterable[Candidate],
        record: RecordingOptions | None = None,
    ) -> dict[Candidate, DemoRun]:
        """Let candidates transcribe under a scenario; returns what each of them did."""
        candidates = tuple(candidates)
        speech = scenario.speech()
        plain = not self._live and not self._quiet
        # The lines of several candidates would be mixed, so a comparison prints its table only.
        listener = PlainLines(self._console).print if plain and len(candidates) == 1 else None
        runs = {
            candidate: DemoRun(speech, "cartesia", listener, real=scenario.human)
            for candidate in candidates
        }
        if scenario.human and not self._quiet:
            self._console.print(real_speech.EXPLANATION, style="dim")
        if plain:
            self._console.print(f"fault: {scenario.name} ({scenario.summary})", soft_wrap=True)
        with log_records_to(self._console, verbose=self._verbose):
            self._run_on_its_clock(self._compete(scenario, runs, record))
        if scenario.human:
            undisturbed = real_speech.undisturbed_error_rate(speech)
            for run in runs.values():
                run.undisturbed_error_rate = undisturbed
        if not self._quiet:
            print_table(self._console, tables.result_table(runs))
            self._console.print(tables.summary(runs[OURS]))
        return runs

    def _run_on_its_clock(self, work: Coroutine[Any, Any, None]) -> None:
        if self._fast:
            # The waits between retries are random. With a fixed seed the table in
            # docs/comparison.md is the same whenever it is generated.
            random.seed(0)
            run_virtual(stoppable(work))
        else:
            asyncio.run(stoppable(work))

    async def _compete(
        self,
        scenario: Scenario,
        runs: dict[Candidate, DemoRun],
        record: RecordingOptions | None,
    ) -> None:
        view: RenderableType = (
            SingleRunView(scenario, runs[OURS])
            if len(runs) == 1
            else ComparisonView(scenario, runs)
        )
        shown = live(self._console, lambda: view) if self._live else contextlib.nullcontext()
        async with shown:
            await compete(scenario, runs, virtual=self._fast, record=record)


def _print_json(compared: Comparison, *, compare: bool) -> None:
    """Print one object: the figures, by candidate if several ran, by fault if there are several."""

    def figures(scenario: Scenario, runs: dict[Candidate, DemoRun]) -> dict[str, Any]:
        by_candidate = {c.key: tables.as_json(scenario, run) for c, run in runs.items()}
        return by_candidate if compare else by_candidate[OURS.key]

    by_fault = {scenario.name: figures(scenario, runs) for scenario, runs in compared.items()}
    only = next(iter(by_fault.values()))
    typer.echo(json.dumps(only if len(by_fault) == 1 else by_fault))


def _print_markdown(compared: Comparison, path: Path | None) -> None:
    table = tables.markdown_table(compared)
    if path is None:
        typer.echo(table)
    else:
        update_marked(path, "comparison", table)
        typer.echo(f"{path}: comparison updated", err=True)
