"""`resilient-stt chaos`: every fault, everywhere, at many moments, in fast virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ...testing.harness.clock import run_virtual
from ...testing.harness.trial import WHISPER, AnyChain, run_trial, side_by_side, violations
from ..environment import read_env_files
from ..logs import routed
from ..problems import Problem
from . import results as outcomes
from .configured import configured, recording_in
from .matrix import KINDS, Case, Row, kinds_named, rows, speech_of
from .results import CaseOutcome, Result

_PATIENCE = 90.0  # seconds after the end of the speech: the outage, the stream's end, closing
Work = Callable[[Row], list[CaseOutcome]]
"""What is done to a row."""

_WIDTH = 140  # columns of a table that is not for a terminal


def chaos(
    config: Annotated[
        str | None,
        typer.Argument(
            metavar="CONFIG",
            help="A YAML or TOML file, whose chain is tried; by default Cartesia, then Deepgram.",
            show_default=False,
        ),
    ] = None,
    language: Annotated[
        str, typer.Option(help="What is spoken, and the route that is tried: en, es or zh.")
    ] = "en",
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help=f"One fault; repeatable: {', '.join(KINDS)}."),
    ] = None,
    moments: Annotated[
        int, typer.Option(min=1, help="Words at whose start or middle each fault begins.")
    ] = 4,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="Processes; by default one for each core."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document only.")] = False,
) -> None:
    """Try every fault on the primary, on the fallback and on both, at many moments.

    The chain is that of the language in the configuration, or Cartesia ink-whisper, then Deepgram
    nova-3: the published plugins, against fakes on loopback that transcribe what they hear, on a
    virtual clock. No key is needed; a configuration's variables come from the environment,
    .env.local and .env. Exit status 1 if a promise was broken: a word lost, said twice, torn, out
    of order or mistimed, or 6 s later than usual while one provider is well; speech events out of
    balance, a stream that does not end.
    """
    begun = time.monotonic()
    read_env_files()
    recording = recording_in(language)
    chain = WHISPER if config is None and language == "en" else configured(config, language)
    matrix = rows(kinds_named(only or []), moments, recording)
    work = functools.partial(perform, chain=chain, recording=recording)
    done = _all_done(matrix, jobs or os.cpu_count() or 1, work)
    found = outcomes.results(matrix, done)
    if as_json:
        typer.echo(json.dumps(outcomes.as_json(found, moments=moments)))
    else:
        _print(found, time.monotonic() - begun)
    if any(result.broken for result in found):
        raise typer.Exit(1)


def _print(found: Sequence[Result], seconds: float) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)
    console.print(outcomes.table(found))
    runs = sum(len(result.outcomes) for result in found)
    broken = sum(len(result.broken) for result in found)
    for result in found:
        for case, outcome in result.broken:
            row = f"{result.row.fault} {result.row.where}".strip()
            console.print(f"{row}: {outcomes.told(case, outcome)}", soft_wrap=True, markup=False)
    verdict = f"{broken} broke a promise" if broken else "every promise was kept"
    console.print(f"{runs} runs in {seconds:.0f} s: {verdict}")


def _all_done(matrix: Sequence[Row], jobs: int, work: Work) -> list[list[CaseOutcome]]:
    """Run the matrix with a progress bar, if stderr is a terminal."""
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
    done: list[list[CaseOutcome]] = [[] for _ in matrix]
    with progress:
        task = progress.add_task("runs", total=sum(len(row.cases) for row in matrix))
        for number, came in performed(matrix, min(jobs, len(matrix)), work):
            done[number] = came
            progress.update(task, advance=len(came))
    return done


def performed(
    matrix: Sequence[Row], jobs: int, work: Work
) -> Iterator[tuple[int, list[CaseOutcome]]]:
    """The numbers of rows and what came of them, as they are done."""
    if jobs == 1:
        yield from enumerate(map(work, matrix))
        return
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=spawn, initializer=_end_with_parent)
    try:
        with _ctrl_c_held_back():  # the processes that this starts inherit it
            numbers = {pool.submit(work, row): number for number, row in enumerate(matrix)}
        for future in as_completed(numbers):
            yield numbers[future], future.result()
    except BrokenProcessPool:
        raise Problem("a process of the runs died; try --jobs 1", status=1) from None
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()  # nobody wants to wait for the rows that they are at
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """It comes afterwards; processes that are started meanwhile inherit the mask: none for them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """Do not outlive a parent that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def perform(row: Row, chain: AnyChain = WHISPER, recording: str = "english") -> list[CaseOutcome]:
    """Run the cases of a row side by side, in one loop with a virtual clock.

    A row is the same alone as in the whole matrix, for the draws of its waits are its own.
    """
    random.seed(0)
    with routed(Console(stderr=True), verbose=False):
        works = (functools.partial(_outcome, case, chain, recording) for case in row.cases)
        return run_virtual(side_by_side(works))


async def _outcome(case: Case, chain: AnyChain, recording: str) -> CaseOutcome:
    speech = speech_of(case.hang_up, recording)
    try:
        async with asyncio.timeout(speech.duration + _PATIENCE):
            done = await run_trial(case.script, speech, chain)
    except TimeoutError:
        return CaseOutcome({"unended": 1}, (), "")
    score = done.played.score
    return CaseOutcome(violations(done.played, accurate=done.timed), score.late_s, done.served)
