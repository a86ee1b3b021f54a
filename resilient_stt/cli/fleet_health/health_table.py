"""What `health` shows of each provider, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ...core.events import BreakerState
from ...fleet.operations import FleetStatus
from .fleet_targets import FleetTargets

_STYLES = {
    BreakerState.CLOSED: "green",
    BreakerState.HALF_OPEN: "yellow",
    BreakerState.OPEN: "bold red",
    BreakerState.LOCKED: "bold red",
}


def health_table(targets: FleetTargets, found: Iterable[FleetStatus]) -> Table:
    """A line for each provider."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("provider", overflow="fold")
    for column in ("state", "since", "until"):
        table.add_column(column, no_wrap=True)
    for column in ("why", "by", "probes"):
        table.add_column(column, overflow="fold")
    table.add_column("finals", justify="right", no_wrap=True)
    for status in found:
        table.add_row(
            Text(targets.title(status.key)),
            Text(status.state.value, style=_STYLES[status.state]),
            "" if status.since is None else f"{duration(status.since)} ago",
            "" if status.until is None else f"in {duration(status.until)}",
            Text(_why(status)),
            Text(status.by),
            Text(_probes(status)),
            "" if status.final_delay is None else f"{status.final_delay:.2f} s",
        )
    return table


def health_as_json(targets: FleetTargets, found: Iterable[FleetStatus]) -> dict[str, Any]:
    """The object that `--json` prints; times are seconds from now."""
    return {
        "providers": [
            {
                "provider": targets.names.get(status.key),
                "key": status.key,
                "state": status.state.value,
                "since_s": _rounded(status.since),
                "until_s": _rounded(status.until),
                "why": status.why,
                "by": status.by,
                "failures": status.failures,
                "probing": status.probing,
                "passes": status.passes,
                "final_delay_s": _rounded(status.final_delay),
            }
            for status in found
        ]
    }


def duration(seconds: float) -> str:
    """Return seconds as people say them, in one unit or two: `45 s`, `1 min 30 s`, `3 h 5 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    units = ((hours, "h"), (minutes, "min"), (0 if hours else rest, "s"))
    return " ".join(f"{count} {unit}" for count, unit in units if count) or "0 s"


def _why(status: FleetStatus) -> str:
    if status.why:
        return status.why
    if status.failures:
        return "1 failure lately" if status.failures == 1 else f"{status.failures} failures lately"
    return "" if status.since is not None or status.final_delay is not None else "nothing reported"


def _probes(status: FleetStatus) -> str:
    passed = f"{status.passes} passed" if status.passes else ""
    running = f"{status.probing} probes" if status.probing else ""
    return ", ".join(filter(None, (passed, running)))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
