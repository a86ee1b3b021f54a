"""Breaks the code on purpose, in ways with names, and sees whether simulated calls notice.

Each mutant is one change of the source, in a copy. One that survives so many calls means that the
simulator does not look where it should.

    python scripts/mutants.py [--schedules 1000] [--only NAME]
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
PACKAGE = "resilient_stt"
PATIENCE = 300.0
"""Seconds for a mutant: one that lives for ever in one moment of virtual time never comes back."""
SIMULATE = ("-m", "resilient_stt.testing.simulate")


@dataclass(frozen=True, slots=True)
class Mutant:
    """`old` stands once in `file` (below the package), and becomes `new`."""

    name: str
    file: str
    old: str
    new: str


MUTANTS = (
    Mutant(
        "watermark a word too far",
        "core/telling.py",
        "ledger.settle(min(ledger.samples(utterance.end), reach.audio))",
        "ledger.settle(min(ledger.samples(utterance.end + 0.6), reach.audio))",
    ),
    Mutant(
        "seam off",
        "core/transcript.py",
        "self.open = bool(told) or replay_from < boundary",
        "self.open = False",
    ),
    Mutant(
        "what was told is forgotten",
        "core/telling.py",
        "self._legs.transcript.commit(kept, ledger.seconds(reach.words))",
        "pass",
    ),
    Mutant(
        "fencing off: a second opinion is told at once",
        "core/session.py",
        "case Role.ACTIVE:\n                self._tell(leg, said, reach, now)",
        "case Role.ACTIVE | Role.HEDGE:\n                self._tell(leg, said, reach, now)",
    ),
    Mutant(
        "replay starts late",
        "core/leg.py",
        "start = replay_start(ledger, transcript)",
        "start = max(replay_start(ledger, transcript), ledger.end - ledger.samples(0.5))",
    ),
    Mutant(
        "replay cuts into the next word",
        "core/ledger.py",
        "starts = [*(s.start - half for s in self._segments), self.hold_back_at]",
        "starts = [*(s.start + half for s in self._segments), self.hold_back_at]",
    ),
    Mutant(
        "times of a replay without its cuts",
        "core/leg.py",
        "self.timeline.append(start, end)",
        "self.timeline.append(0 if not self.sent else start, end)",
    ),
    Mutant(
        "breaker never closes",
        "core/breaker.py",
        "        self._go(Signal.SUCCESS)\n",
        "",
    ),
    Mutant(
        "ledger not trimmed",
        "core/ledger.py",
        "        self.start = max(self.start, before)\n",
        "",
    ),
    Mutant(
        "END not balanced",
        "core/speech.py",
        "        return [Emit(SaidKind.END, source=source)]",
        "        return []",
    ),
    Mutant(
        "silence is never doubted",
        "core/opinion.py",
        "        alarm = self._alarm(active)\n        if alarm is None or (now",
        "        alarm = None\n        if alarm is None or (now",
    ),
    Mutant(
        "what a second opinion heard is not told",
        "core/session.py",
        "for said, reach in waiting:",
        "for said, reach in ():",
    ),
    Mutant(
        "noise before the second opinion had time",
        "core/opinion.py",
        "        over = self._over_at(hedge, active)\n",
        "        over = now\n",
    ),
    Mutant(
        "an outage is given up at once",
        "core/outage.py",
        "return self.since + self._retry.outage_limit",
        "return self.since",
    ),
    Mutant(
        "an outage is never tried again",
        "core/outage.py",
        "if now >= self._next.setdefault(provider.name, now) and self._may_try(provider, now):",
        "if provider.name not in self._next:",
    ),
    Mutant(
        "speech that is owed is settled as silence",
        "core/ledger.py",
        "        if pending:\n            first = pending[0]",
        "        if False:\n            first = pending[0]",
    ),
    Mutant(
        "the end is not passed on",
        "core/legs.py",
        "if self.input_ended and leg.ended_at is None:",
        "if self.input_ended and leg.ended_at is None and not leg.start:",
    ),
    Mutant(
        "a missing tail is believed",
        "core/opinion.py",
        "if not self._legs.owes_words():",
        "if True:",
    ),
    Mutant(
        "silence is doubted at the end only",
        "core/watchdog.py",
        "        if not ledger.hears:\n            return None\n        alarms",
        "        if True:\n            return None\n        alarms",
    ),
    Mutant(
        "a final that was left out is not missed",
        "core/gap.py",
        "    if not ledger.hears or voice <",
        "    if True or voice <",
    ),
    Mutant(
        "a leg is left open",
        "core/opinion.py",
        "        self._report(hedge, alarm, verdict)\n        self._legs.close(hedge)",
        "        self._report(hedge, alarm, verdict)\n        hedge.role = Role.PROBE",
    ),
    Mutant(
        "providers' clocks are not told apart",
        "leg.py",
        "return time - self._stream.start_time_offset if time >= MARK / 2 else time",
        "return time - self._stream.start_time_offset",
    ),
)


@dataclass(frozen=True, slots=True)
class Fate:
    """What came of a mutant: the seed that broke a promise, if one did, and which."""

    seed: int | None
    promise: str
    seconds: float


def hunt(mutant: Mutant, schedules: int) -> Fate:
    """Simulate calls with the mutant until one breaks a promise.

    Raises:
        SystemExit: the code that it changes is not there any more.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, PACKAGE)
        shutil.copytree(ROOT / PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        path = copy / mutant.file
        source = path.read_text()
        if source.count(mutant.old) != 1:
            raise SystemExit(f"{mutant.name}: {mutant.file} does not hold {mutant.old!r} once")
        path.write_text(source.replace(mutant.old, mutant.new))
        begun = time.monotonic()
        command = [sys.executable, *SIMULATE, "--schedules", str(schedules), "--no-shrink"]
        # the copy is found first: `-m` looks where it is run
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE
            )
        except subprocess.TimeoutExpired:
            return Fate(-1, "a call hangs", PATIENCE)
        seconds = time.monotonic() - begun
    if done.returncode == 0:
        return Fate(None, "", seconds)
    seed = re.search(r"seed (\d+) breaks", done.stdout)
    if not seed:
        return Fate(-1, (done.stderr.strip().splitlines() or ["?"])[-1], seconds)
    promises = re.findall(r"^- (.*)$", done.stdout, re.MULTILINE)
    return Fate(int(seed[1]), promises[0] if promises else "", seconds)


def main(
    schedules: Annotated[int, typer.Option(min=1, help="Calls that a mutant may survive.")] = 1000,
    only: Annotated[
        list[str] | None, typer.Option(help="Mutants by a part of their names.")
    ] = None,
) -> None:
    """Break the code on purpose; exit status 1 if nobody notices."""
    console = Console(width=120)
    table = Table("mutant", "caught by seed", "promise", "seconds", box=None)
    survivors = []
    for mutant in MUTANTS:
        if only and not any(part in mutant.name for part in only):
            continue
        fate = hunt(mutant, schedules)
        caught = "survives" if fate.seed is None else "crash" if fate.seed < 0 else str(fate.seed)
        table.add_row(mutant.name, caught, fate.promise[:60], f"{fate.seconds:.0f}")
        survivors += [mutant.name] if fate.seed is None else []
    console.print(table)
    if survivors:
        console.print(f"not caught: {', '.join(survivors)}")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
