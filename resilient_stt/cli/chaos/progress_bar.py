"""Rows that are run while a bar shows how many are done."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .results import CaseOutcome
from .row_runner import RunRow, T, run_rows


def run_with_progress(
    rows: Sequence[T], jobs: int, run: RunRow[T], size: Callable[[T], int]
) -> list[list[CaseOutcome]]:
    """Run the rows, with a progress bar if stderr is a terminal; returns the outcomes by row.

    `size` gives the number of a row's runs.
    """
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
        task = progress.add_task("runs", total=sum(map(size, rows)))
        for number, outcomes in run_rows(rows, min(jobs, len(rows)), run):
            by_row[number] = outcomes
            progress.update(task, advance=len(outcomes))
    return by_row
