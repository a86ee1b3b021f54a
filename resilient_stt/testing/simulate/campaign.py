"""Run many simulated calls, and simplify the first that breaks a promise.

python -m resilient_stt.testing.simulate --schedules 1000 --seed 0
python -m resilient_stt.testing.simulate --replay FILE
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from .schedule import Schedule, draw
from .simulator import SimulationResult, shrunk, simulate

COMMAND = "python -m resilient_stt.testing.simulate"

Schedules = Annotated[int, typer.Option(min=1, help="How many calls to simulate.")]
Seed = Annotated[int, typer.Option(min=0, help="The first call's seed; the others count on.")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Processes; by default one for each core.")]
Replay = Annotated[Path | None, typer.Option(help="Run the schedule in this JSON file alone.")]
Save = Annotated[Path | None, typer.Option(help="Write a broken call's schedule to this file.")]
Shrink = Annotated[bool, typer.Option(help="Make a broken call as simple as it can be.")]
Accents = Annotated[bool, typer.Option(help="Let each provider write words in its own way.")]
Log = Annotated[bool, typer.Option(help="Print what happened in a replayed call.")]


def violations_of(seed: int, *, accents: bool = False) -> tuple[int, list[str]]:
    """Simulate the call of a seed. Return the seed and the promises that it breaks."""
    return seed, simulate(draw(seed, accents=accents)).violations


def run_seeds(
    seeds: Iterable[int], jobs: int, *, accents: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Simulate the calls of many seeds, in `jobs` processes, and yield them as they are done."""
    run = partial(violations_of, accents=accents)
    if jobs == 1:
        yield from map(run, seeds)
        return
    # Forked processes would inherit threads of LiveKit's and the locks that they hold.
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(run, seeds, chunksize=10)


def main(
    schedules: Schedules = 1000,
    seed: Seed = 0,
    jobs: Jobs = None,
    replay: Replay = None,
    save: Save = None,
    log: Log = False,
    shrink: Shrink = True,
    accents: Accents = False,
) -> None:
    """Simulate calls over failing providers, and check that every promise holds."""
    console = Console(highlight=False, soft_wrap=True)
    if replay:
        raise typer.Exit(_replay(console, replay, log=log))
    begun = time.perf_counter()
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("simulating", total=schedules)
        for number, promises in run_seeds(
            range(seed, seed + schedules), jobs or os.cpu_count() or 1, accents=accents
        ):
            progress.advance(task)
            if promises:
                progress.stop()
                _print_broken_call(console, number, save, shrink=shrink, accents=accents)
                raise typer.Exit(1)
    rate = schedules / (time.perf_counter() - begun)
    last = seed + schedules - 1
    console.print(
        f"{schedules} calls (seeds {seed} to {last}), 0 broken promises, {rate:.1f} per s"
    )


def _replay(console: Console, path: Path, *, log: bool) -> int:
    try:
        result = simulate(Schedule.from_json(path.read_text()))
    except (OSError, ValueError) as error:
        console.print(f"{path} cannot be replayed: {error}")
        return 2
    for line in result.log if log else ():
        console.print(line, markup=False)
    _print_violations(console, result)
    return 1 if result.violations else 0


def _print_broken_call(
    console: Console, seed: int, save: Path | None, *, shrink: bool, accents: bool
) -> None:
    result = simulate(draw(seed, accents=accents))
    again = f"{COMMAND} --schedules 1 --seed {seed}{' --accents' if accents else ''}"
    console.print(f"seed {seed} breaks a promise; again with: {again}")
    _print_violations(console, result)
    simple = shrunk(result) if shrink else result
    console.print("the simplest call that was found to break one:" if shrink else "the call:")
    console.print(simple.schedule.to_json(), markup=False)
    _print_violations(console, simple)
    if save:
        save.write_text(simple.schedule.to_json() + "\n")
        console.print(f"saved; again with: {COMMAND} --log --replay {save}")


def _print_violations(console: Console, result: SimulationResult) -> None:
    for promise in result.violations:
        console.print(f"- {promise}", markup=False)
    if not result.violations:
        console.print("every promise holds")
