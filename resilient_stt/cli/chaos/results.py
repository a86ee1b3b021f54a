"""The results of the rows: judged, summed up by row, and shown as a table or as JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.table import Table
from rich.text import Text

from ...testing.harness.trial import extra_delay, slowest
from .fault_rows import NO_HEALTHY, NONE, Case, Row

_LATE = "late"

_PROMISES = {
    "lost": ("lost", "lost"),
    "twice": ("repeated", "repeated"),
    "torn": ("fragments", "fragments"),
    "disordered": ("out_of_order", "out of order"),
    "unbalanced": ("unbalanced", "start/end of speech unbalanced"),
    "unended": ("unended", "stream did not end"),
    "mistimed": ("mistimed", "wrong word times"),
    "left": ("left", "times a healthy provider was left"),
    _LATE: ("late", "late"),
}
"""By the keys of `violations`, and `_LATE`: the name in JSON, and what is printed."""

_COLUMNS = {"lost": "lost", "twice": "repeated", "torn": "fragments", "disordered": "order"}
"""The promises that have a column in the table, and its title."""

_FULL_WIDTH = 100  # console columns that the table needs with a column for each of `_COLUMNS`

LATE = 6.0
"""Seconds of delay beyond the usual that no word may have while one of two providers is healthy:
twice what the watchdog's deadlines give a silent provider."""

_Delays = Mapping[int | None, Sequence[float]]
"""The usual delay of each word in seconds, by `Case.hang_up`."""


@dataclass(frozen=True, slots=True)
class CaseOutcome:
    """The outcome of a case.

    Attributes:
        violations: How often each promise was broken, as `violations` counts; empty if all were
            kept.
        late: The delay from the end of each word to its final, in seconds; infinite if none came.
            Empty if the run did not end.
        served: The provider that served at the end; empty if none did.
        text_after: Seconds from the fault to the next transcript, or from its end if it ends; None
            if no transcript came after it.
        noticed: Whether a provider failed in any way but by silence.
    """

    violations: Mapping[str, int]
    late: tuple[float, ...]
    served: str
    text_after: float | None = None
    noticed: bool = True


@dataclass(frozen=True, slots=True)
class RowResult:
    """The outcomes of a row.

    Attributes:
        extra_delay: The most seconds by which a word came later than from the slower of the healthy
            providers.
    """

    row: Row
    outcomes: tuple[CaseOutcome, ...]
    extra_delay: float

    @property
    def violations(self) -> Counter[str]:
        """How often each promise was broken, in all cases; empty if all were kept."""
        total: Counter[str] = Counter()
        for outcome in self.outcomes:
            total.update(outcome.violations)
        return total

    @property
    def broken(self) -> list[tuple[Case, CaseOutcome]]:
        """The cases in which a promise was broken; none if this row promises nothing."""
        pairs = zip(self.row.cases, self.outcomes, strict=True)
        return [
            (case, outcome)
            for case, outcome in pairs
            if self.promised and outcome.violations and (outcome.noticed or not self.row.if_noticed)
        ]

    @property
    def promised(self) -> bool:
        """Whether the words must survive in any of the cases."""
        noticed = any(outcome.noticed for outcome in self.outcomes)
        return self.row.promised and (noticed or not self.row.if_noticed)

    @property
    def text_after(self) -> float | None:
        """The most seconds from a fault, or from its end, to the next transcript; None if there was
        none in any case."""
        known = [o.text_after for o in self.outcomes if o.text_after is not None]
        return max(known, default=None)

    @property
    def served(self) -> Counter[str]:
        """How often each provider served at the end."""
        return Counter(outcome.served for outcome in self.outcomes if outcome.served)


def judge(rows: Sequence[Row], outcomes: Sequence[Sequence[CaseOutcome]]) -> list[RowResult]:
    """Return the results of rows, given the outcomes of each row's cases.

    The healthy runs must be among the rows, because delays are measured against them. Where none of
    them ended, no delay is known.
    """
    healthy: dict[int | None, list[tuple[float, ...]]] = {}
    for row, of_row in zip(rows, outcomes, strict=True):
        if row.fault == NONE:
            for case, outcome in zip(row.cases, of_row, strict=True):
                if outcome.late:  # it is empty if the run did not end
                    healthy.setdefault(case.hang_up, []).append(outcome.late)
    usual = {hang_up: slowest(delays) for hang_up, delays in healthy.items()}
    return [
        RowResult(row, _with_late_words(row, of_row, usual), _extra_delay(row, of_row, usual))
        for row, of_row in zip(rows, outcomes, strict=True)
    ]


def _with_late_words(
    row: Row, outcomes: Sequence[CaseOutcome], usual: _Delays
) -> tuple[CaseOutcome, ...]:
    """Add words that came too late to the violations, if one provider was healthy."""
    if row.where in NO_HEALTHY:
        return tuple(outcomes)  # words are late because no provider worked
    return tuple(
        _with_late_words_of_case(outcome, usual.get(case.hang_up, ()))
        for case, outcome in zip(row.cases, outcomes, strict=True)
    )


def _with_late_words_of_case(outcome: CaseOutcome, usual: Sequence[float]) -> CaseOutcome:
    pairs = zip(outcome.late, usual, strict=bool(outcome.late and usual))
    late = sum(LATE < delay - usual_delay < math.inf for delay, usual_delay in pairs)
    if not late:
        return outcome
    return replace(outcome, violations={**outcome.violations, _LATE: late})


def _extra_delay(row: Row, outcomes: Iterable[CaseOutcome], usual: _Delays) -> float:
    delays = (
        extra_delay(outcome.late, usual[case.hang_up])
        for case, outcome in zip(row.cases, outcomes, strict=True)
        if outcome.late and case.hang_up in usual
    )
    return max(delays, default=0.0)


def result_table(found: Iterable[RowResult], width: int) -> Table:
    """Return a table with a line for each row, for a console of `width` columns.

    In less than 100 columns, those of single promises are left out: the last column lists the
    broken ones, too.
    """
    columns = _COLUMNS if width >= _FULL_WIDTH else {}
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for title in ("fault", "where"):
        table.add_column(title, no_wrap=True)
    for title in ("runs", *columns.values(), "delay"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("served at the end", min_width=len("Cartesia 9,"))
    table.add_column("promises", min_width=len("12 lost"))
    for result in found:
        violations = result.violations
        table.add_row(
            result.row.fault,
            result.row.where,
            str(len(result.outcomes)),
            *(_count(violations[name]) for name in columns),
            f"+{result.extra_delay:.1f}s",
            _served(result.served),
            _verdict(violations, promised=result.promised),
        )
    return table


def describe_broken(case: Case, outcome: CaseOutcome) -> str:
    """Return which promises a case broke, and the faults with which that can be reproduced."""
    plan = f"primary={list(case.plan.first)} fallback={list(case.plan.second)}"
    end = "" if case.hang_up is None else f", the caller hangs up after word {case.hang_up}"
    return f"{listed(outcome.violations)}: {plan}{end}"


def as_json(found: Sequence[RowResult], *, moments: int) -> dict[str, Any]:
    """Return the object that `--json` prints."""
    return {
        "moments": moments,
        "runs": sum(len(result.outcomes) for result in found),
        "kept": not any(result.broken for result in found),
        "rows": [row_as_json(result) for result in found],
    }


def row_as_json(result: RowResult) -> dict[str, Any]:
    violations = result.violations
    return {
        "fault": result.row.fault,
        "where": result.row.where,
        "runs": len(result.outcomes),
        **{json_name: violations[name] for name, (json_name, _) in _PROMISES.items()},
        "extra_delay_s": round(result.extra_delay, 3),
        "text_after_s": None if result.text_after is None else round(result.text_after, 3),
        "served": dict(result.served),
        "promised": result.promised,
        "kept": not result.broken,
        "broken": [describe_broken(case, outcome) for case, outcome in result.broken],
    }


def _served(served: Counter[str]) -> str:
    if len(served) == 1:
        return next(iter(served))
    return ", ".join(f"{name} {times}" for name, times in sorted(served.items())) or "none"


def _verdict(violations: Mapping[str, int], *, promised: bool) -> Text:
    if not violations:
        return Text("kept", style="green")
    if not promised:
        return Text("none made", style="dim")
    return Text(listed(violations), style="bold red")


def listed(violations: Mapping[str, int]) -> str:
    """Return which promises were broken, and how often, in words."""
    return ", ".join(f"{times} {_PROMISES[name][1]}" for name, times in violations.items())


def _count(number: int) -> Text:
    return Text(str(number), style="bold red" if number else "green")
