"""The options that `chaos` and `matrix` have in common."""

from __future__ import annotations

from typing import Annotated

import typer

from .fault_kinds import FAULT_KINDS

OnlyFaults = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="FAULT",
        help=f"Try this fault only; may be repeated. One of {', '.join(FAULT_KINDS)}.",
    ),
]
Moments = Annotated[
    int,
    typer.Option(min=1, help="Moments at which each fault begins: starts and middles of words."),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs", "-j", min=1, help="Number of processes; by default one for each CPU core."
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the results as one JSON object, nothing else.")
]
