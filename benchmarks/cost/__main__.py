"""Run `python -m benchmarks.cost` from a checkout with the package and its extra `cli` installed.

Without arguments everything is measured, which takes about half an hour on two cores and means
nothing unless they are idle otherwise. `--quick` measures a few ratios, and fails if one is above
its limit.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from resilient_stt.cli.command_error import CommandError

from . import gate, page
from .results import MEASURES, Machine, Results, as_json, from_json


def main() -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(MEASURES)}; or all")
    parser.add_argument("--quick", action="store_true", help="the ratios that have a limit")
    parser.add_argument("--from", dest="kept", type=Path, help="results to add to: a JSON file")
    parser.add_argument("--none", action="store_true", help="measure nothing; needs --from")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--update", type=Path, help="write the page between its markers")
    given = parser.parse_args()
    if unknown := {*given.parts} - MEASURES.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    if given.quick:
        return _quick()
    results = from_json(given.kept.read_text()) if given.kept else Results()
    if not given.none:
        _measure(results, given.parts or [*MEASURES], given.json)
    if given.update:
        page.update(given.update, results)
    _print(page.text(results))
    return 0


def _quick() -> int:
    found, allowed = gate.measure(), gate.limits()
    _print(gate.table(found, allowed))
    if gate.exceeded(found, allowed):
        _print("a ratio is above its limit: see benchmarks/cost/limits.toml")
        return 1
    return 0


def _measure(results: Results, parts: list[str], path: Path | None) -> None:
    """Measure parts, and write the results after each: the next may take long."""
    for part in parts:
        begun = time.monotonic()
        results.machine = Machine()
        setattr(results, part, MEASURES[part]())
        if path:
            path.write_text(as_json(results))
        sys.stderr.write(f"{part}: measured in {time.monotonic() - begun:.0f} s\n")


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CommandError as error:
        sys.exit(str(error))
