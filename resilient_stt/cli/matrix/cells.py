"""The cells of the matrix: a provider in a place of a chain, with a fault. Rows of `chaos` fill
them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rich.console import Console

from ...testing.fakes.registry import FAKES
from ...testing.harness.trial import (
    HEALTHY,
    Chain,
    extra_delay,
    play_bare,
    run_on_clock,
    violations,
)
from ..chaos import results
from ..chaos.fault_kinds import FaultKind
from ..chaos.fault_rows import ALONE, FALLBACK, NONE, PRIMARY, Case, Row, make_rows, speech_of
from ..chaos.results import CaseOutcome, RowResult
from ..chaos.row_runner import run_row
from ..terminal import log_records_to

LATER = 1.0
"""Seconds by which a final may come later than the bare plugin gives it, without any fault."""


class ProviderPlace(StrEnum):
    """The place of a provider in a chain, and which of the two providers has the fault."""

    PRIMARY = "primary"
    """It serves, and fails. The other provider is healthy."""
    TAKES_OVER = "takes over"
    """It is the healthy fallback of another provider that fails."""
    FALLBACK = "fallback"
    """It serves because the primary provider was down, and fails. The primary one is back."""
    ALONE = "alone"
    """It is the only provider, and fails for some seconds."""


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """One row of faults and the chain that is tried with it.

    Attributes:
        provider: The provider whose row it is, by its name in `FAKES`.
        chain: The chain; None for the provider's plugin alone, without `ResilientSTT`.
        row: The faults; without any for the bare plugin.
    """

    provider: str
    chain: Chain | None
    row: Row

    @property
    def place(self) -> ProviderPlace:
        """What the provider is in the chain."""
        if self.chain is None or len(self.chain.order) == 1:
            return ProviderPlace.ALONE
        if self.chain.order[0] == self.provider:
            return ProviderPlace.PRIMARY
        return ProviderPlace.FALLBACK if self.row.where == FALLBACK else ProviderPlace.TAKES_OVER


@dataclass(frozen=True, slots=True)
class Cell:
    """The result of one fault in one place."""

    place: ProviderPlace
    result: RowResult


@dataclass(frozen=True, slots=True)
class ProviderCells:
    """What was measured of one provider.

    Attributes:
        name: The provider.
        partner: The healthy provider beside it.
        later: Without any fault, the most seconds by which a final comes later than the bare plugin
            gives it. None if the bare plugin loses words.
        bare: What the bare plugin did without any fault.
        cells: The results of all faults, and of none, in all places.
    """

    name: str
    partner: str
    later: float | None
    bare: CaseOutcome
    cells: tuple[Cell, ...]

    @property
    def broken(self) -> list[Cell]:
        """The cells in which a promise was broken, but for faults that cannot be noticed."""
        return [c for c in self.cells if c.result.broken and not self.excuse(c)]

    def excuse(self, cell: Cell) -> str:
        """Why nobody can notice the fault of a cell behind this provider's plugin; empty if one
        can, or if another provider fails there."""
        if cell.place is ProviderPlace.TAKES_OVER:
            return ""
        return FAKES[self.name].unnoticed.get(cell.result.row.fault, "")

    @property
    def kept(self) -> bool:
        """Whether every promise was kept, and no final came too late."""
        return not self.broken and (self.later is None or self.later <= LATER)

    def cell(self, fault: str, place: ProviderPlace) -> Cell | None:
        """The cell of a fault, or of none, in a place."""
        fitting = (c for c in self.cells if (c.result.row.fault, c.place) == (fault, place))
        return next(fitting, None)


def matrix_rows(
    partners: Mapping[str, str], kinds: dict[str, FaultKind], moments: int
) -> list[MatrixRow]:
    """Return all rows of the matrix, with `moments` moments of each fault.

    `partners` are the healthy providers beside the providers, by name.
    """
    found: list[MatrixRow] = []
    for name, partner in partners.items():
        found.append(MatrixRow(name, None, Row(NONE, "", (Case(HEALTHY),))))
        for order, places in (
            ((name, partner), (PRIMARY,)),
            ((partner, name), (PRIMARY, FALLBACK)),
            ((name,), (ALONE,)),
        ):
            rows = make_rows(kinds, moments, places=places)
            found += [MatrixRow(name, Chain(order), row) for row in rows]
    return found


def run_matrix_row(item: MatrixRow) -> list[CaseOutcome]:
    """Run the cases of a row of the matrix, in virtual time if it can be."""
    if item.chain is not None:
        return run_row(item.row, chain=item.chain)
    random.seed(0)
    with log_records_to(Console(stderr=True), verbose=False):
        bare = play_bare(item.provider, speech_of(None))
        played = run_on_clock([item.provider], bare)
    return [CaseOutcome(violations(played, accurate=False), played.score.late_s, item.provider)]


def judged(
    partners: Mapping[str, str],
    rows: Sequence[MatrixRow],
    outcomes: Sequence[Sequence[CaseOutcome]],
) -> list[ProviderCells]:
    """Return what was measured of each provider, given the outcomes of each row's cases."""
    done = [*zip(rows, outcomes, strict=True)]
    return [
        _of_provider(name, partner, [pair for pair in done if pair[0].provider == name])
        for name, partner in partners.items()
    ]


_Done = list[tuple[MatrixRow, Sequence[CaseOutcome]]]


def _of_provider(name: str, partner: str, done: _Done) -> ProviderCells:
    (bare,) = next(outcomes for item, outcomes in done if item.chain is None)
    cells = tuple(
        cell
        for chain in dict.fromkeys(item.chain for item, _ in done if item.chain)
        for cell in _of_chain([pair for pair in done if pair[0].chain == chain])
    )
    healthy = next(
        outcome.late
        for item, outcomes in done
        for case, outcome in zip(item.row.cases, outcomes, strict=True)
        if item.place is ProviderPlace.PRIMARY and (case.plan, case.hang_up) == (HEALTHY, None)
    )
    comparable = healthy and "lost" not in bare.violations
    later = extra_delay(healthy, bare.late) if comparable else None
    return ProviderCells(name, partner, later, bare, cells)


def _of_chain(done: _Done) -> Iterator[Cell]:
    found = results.judge([item.row for item, _ in done], [outcomes for _, outcomes in done])
    for (item, _), result in zip(done, found, strict=True):
        yield Cell(item.place, result)
