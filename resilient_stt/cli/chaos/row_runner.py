"""Runs rows of faults: in this process or in several, each in fast virtual time if its
providers allow that.

The functions that run in other processes live here and not in the command's module, so that the
processes, which start with an empty interpreter, import little.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from rich.console import Console

from ...core.events import ErrorKind, ProviderFailed
from ...testing.harness.trial import (
    WHISPER,
    Accents,
    AnyChain,
    run_on_clock,
    run_trial,
    side_by_side,
    violations,
)
from ..command_error import CommandError
from ..terminal import log_records_to
from .fault_rows import FALLBACK, Case, Row, speech_of
from .results import CaseOutcome

_TIMEOUT = 90.0
"""Seconds after the end of the speech within which a run must end: enough for an outage, for the
end of the stream and for closing it."""

T = TypeVar("T")

RunRow = Callable[[T], list[CaseOutcome]]
"""Runs the cases of a row. It must be picklable if there are several processes."""


def run_rows(
    rows: Sequence[T], processes: int, run: RunRow[T]
) -> Iterator[tuple[int, list[CaseOutcome]]]:
    """Yield the number of each row and the outcomes of its cases, as soon as they are known.

    Raises:
        CommandError: A process died, for example because memory ran out.
    """
    if processes == 1:
        yield from enumerate(map(run, rows))
        return
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=spawn, initializer=_end_with_parent)
    try:
        with _sigint_blocked():
            numbers = {pool.submit(run, row): number for number, row in enumerate(rows)}
        for future in as_completed(numbers):
            yield numbers[future], future.result()
    except BrokenProcessPool:
        raise CommandError("one of the processes died; try --jobs 1", status=1) from None
    except BaseException:
        # After Ctrl-C or a bug the results are not wanted any more: do not wait for them.
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Block SIGINT while processes start; they inherit the block and keep it.

    A Ctrl-C in a terminal goes to all processes. Only this one must handle it: the others would
    print tracebacks. This process handles the signal when the `with` block ends.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    received: list[int] = []
    # The mask is that of this thread. If another thread gets the signal, such as one of numpy's,
    # Python calls the handler in this thread all the same. A KeyboardInterrupt here would leave a
    # process half started, which then prints a traceback.
    handler = signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        if received:
            signal.raise_signal(signal.SIGINT)


def _end_with_parent() -> None:
    """End this process when its parent ends, also if the parent was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait_and_exit() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait_and_exit, daemon=True).start()


def run_row(
    row: Row,
    chain: AnyChain = WHISPER,
    recording: str = "english",
    accents: Accents = (),
) -> list[CaseOutcome]:
    """Run the cases of a row side by side in one event loop, in virtual time if it can be.

    The random waits are seeded for each row, so a row has the same outcomes alone, in the whole
    matrix and in any process.
    """
    random.seed(0)
    with log_records_to(Console(stderr=True), verbose=False):
        run = functools.partial(
            _run_case, where=row.where, chain=chain, recording=recording, accents=accents
        )
        cases = side_by_side(functools.partial(run, case) for case in row.cases)
        return run_on_clock(chain.plugins.values(), cases)


async def _run_case(
    case: Case, where: str, chain: AnyChain, recording: str, accents: Accents
) -> CaseOutcome:
    speech = speech_of(case.hang_up, recording)
    try:
        async with asyncio.timeout(speech.duration + _TIMEOUT):
            trial = await run_trial(case.plan, speech, chain, accents=accents)
    except TimeoutError:
        return CaseOutcome({"unended": 1}, (), "")
    found = violations(trial.played, accurate=trial.timed)
    if trial.left:
        found["left"] = trial.left
    text_after = trial.text_after(1 if where == FALLBACK else 0)
    noticed = any(event.reason is not ErrorKind.STALLED for event in trial.of(ProviderFailed))
    return CaseOutcome(found, trial.played.score.late_s, trial.served, text_after, noticed)
