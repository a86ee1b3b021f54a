"""What came of the matrix: sums for each row, as a table and as JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.table import Table
from rich.text import Text

from ...testing.harness.trial import extra_delay, slowest
from .matrix import BOTH, NONE, Case, Row

_TITLES = {
    "lost": "lost",
    "twice": "twice",
    "torn": "torn",
    "disordered": "out of order",
    "unbalanced": "START/END unbalanced",
    "unended": "did not end",
    "mistimed": "times off",
    "late": "late",
}
LATE = 6.0
"""Seconds that no word comes later than usual, as long as one of two providers is well: twice what
the deadlines give a silent one."""
_COLUMNS = ("lost", "twice", "torn", "disordered")


@dataclass(frozen=True, slots=True)
class CaseOutcome:
    """What came of a case.

    Attributes:
        breaches: How often each promise was broken, as `rehearsal.breaches` counts.
        late: The delay from the end of each word to its final, in seconds; infinite if none came.
        served: The provider that served in the end.
    """

    violations: Mapping[str, int]
    late: tuple[float, ...]
    served: str


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a row.

    `extra`: by how many seconds a word came later than from the slower of the healthy providers.
    """

    row: Row
    outcomes: tuple[CaseOutcome, ...]
    extra: float

    @property
    def violations(self) -> Counter[str]:
        """How often each promise was broken; empty if all were kept."""
        total: Counter[str] = Counter()
        for outcome in self.outcomes:
            total.update(outcome.violations)
        return total

    @property
    def broken(self) -> list[tuple[Case, CaseOutcome]]:
        """The cases in which a promise was broken."""
        if not self.row.promised:
            return []
        pairs = zip(self.row.cases, self.outcomes, strict=True)
        return [(case, outcome) for case, outcome in pairs if outcome.violations]

    @property
    def served(self) -> Counter[str]:
        """How often each provider served in the end."""
        return Counter(outcome.served for outcome in self.outcomes if outcome.served)


def results(rows: Sequence[Row], done: Sequence[Sequence[CaseOutcome]]) -> list[Result]:
    """The results of rows; that of the healthy runs must be among them."""
    late: dict[int | None, list[tuple[float, ...]]] = {}
    for row, outcomes in zip(rows, done, strict=True):
        if row.fault == NONE:
            for case, outcome in zip(row.cases, outcomes, strict=True):
                late.setdefault(case.hang_up, []).append(outcome.late)
    usual = {hang_up: slowest(delays) for hang_up, delays in late.items()}
    return [
        Result(row, _judged(row, outcomes, usual), _extra(row, outcomes, usual))
        for row, outcomes in zip(rows, done, strict=True)
    ]


def _judged(
    row: Row, outcomes: Sequence[CaseOutcome], usual: Mapping[int | None, Sequence[float]]
) -> tuple[CaseOutcome, ...]:
    """The outcomes, with the words that came too late where one provider was well."""
    if row.where == BOTH:
        return tuple(outcomes)
    return tuple(
        _with_late(outcome, usual[case.hang_up])
        for case, outcome in zip(row.cases, outcomes, strict=True)
    )


def _with_late(outcome: CaseOutcome, usual: Sequence[float]) -> CaseOutcome:
    pairs = zip(outcome.late, usual, strict=bool(outcome.late))
    late = sum(LATE < a - b < math.inf for a, b in pairs)
    return replace(outcome, violations={**outcome.violations, "late": late}) if late else outcome


def _extra(
    row: Row, outcomes: Iterable[CaseOutcome], usual: Mapping[int | None, Sequence[float]]
) -> float:
    pairs = [p for p in zip(row.cases, outcomes, strict=True) if p[1].late]  # or it never ended
    delays = (extra_delay(outcome.late, usual[case.hang_up]) for case, outcome in pairs)
    return max(delays, default=0.0)


def table(found: Iterable[Result]) -> Table:
    """A line for each row."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))  # fits into 80 columns
    for title in ("fault", "where"):
        drawn.add_column(title, no_wrap=True)
    for title in ("runs", "lost", "twice", "torn", "order", "delay"):
        drawn.add_column(title, justify="right", no_wrap=True)
    drawn.add_column("served in the end", min_width=len("Cartesia 9,"))
    drawn.add_column("verdict", min_width=len("12 lost"))
    for result in found:
        breaches = result.violations
        drawn.add_row(
            result.row.fault,
            result.row.where,
            str(len(result.outcomes)),
            *(_count(breaches[name]) for name in _COLUMNS),
            f"+{result.extra:.1f}s",
            _served(result.served),
            _verdict(breaches, promised=result.row.promised),
        )
    return drawn


def told(case: Case, outcome: CaseOutcome) -> str:
    """A case that broke a promise: what was broken, and the faults that show it."""
    script = f"first={list(case.script.first)} second={list(case.script.second)}"
    end = "" if case.hang_up is None else f", the caller hangs up after word {case.hang_up}"
    return f"{_listed(outcome.violations)}: {script}{end}"


def as_json(found: Sequence[Result], *, moments: int) -> dict[str, Any]:
    """The one document that `--json` promises."""
    return {
        "moments": moments,
        "runs": sum(len(result.outcomes) for result in found),
        "kept": not any(result.broken for result in found),
        "rows": [_row(result) for result in found],
    }


def _row(result: Result) -> dict[str, Any]:
    breaches = result.violations
    return {
        "fault": result.row.fault,
        "where": result.row.where,
        "runs": len(result.outcomes),
        **{name: breaches[name] for name in _TITLES},
        "extra_delay_s": round(result.extra, 3),
        "served": dict(result.served),
        "promised": result.row.promised,
        "kept": not result.broken,
        "broken": [told(case, outcome) for case, outcome in result.broken],
    }


def _served(served: Counter[str]) -> str:
    if len(served) == 1:
        return next(iter(served))
    return ", ".join(f"{name} {times}" for name, times in sorted(served.items())) or "nobody"


def _verdict(breaches: Mapping[str, int], *, promised: bool) -> Text:
    if not breaches:
        return Text("kept", style="green")
    if not promised:
        return Text("nobody hears", style="dim")
    return Text(_listed(breaches), style="bold red")


def _listed(breaches: Mapping[str, int]) -> str:
    return ", ".join(f"{times} {_TITLES[name]}" for name, times in breaches.items())


def _count(number: int) -> Text:
    return Text(str(number), style="bold red" if number else "green")
