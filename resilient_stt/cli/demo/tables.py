"""Results: as a table in the terminal, as JSON, and as the table in the README."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ..problems import Problem
from .run import OURS, Candidate, DemoRun
from .scenarios import Scenario

Runs = Mapping[Candidate, DemoRun]

_BEGIN, _END = "<!-- comparison:begin -->", "<!-- comparison:end -->"


def results(runs: Runs) -> Table:
    """One row for each contestant."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for column in ("words", "lost", "said twice", "latest word", "switches"):
        table.add_column(column, justify="right")
    table.add_column("stream", no_wrap=True)
    for contestant, run in runs.items():
        score = run.score
        table.add_row(
            contestant.title,
            str(score.words),
            _count(score.lost),
            _count(score.twice),
            _seconds(score.late_max_s),
            str(run.switches),
            run.outcome,
        )
    return table


def verdict(run: DemoRun) -> Text:
    """Whether the promise was kept, in a sentence."""
    score = run.score
    if is_kept(run):
        return Text(f"All {score.words} words came, each of them once.", style="green")
    parts = [
        f"{title}: {' '.join(words)}"
        for title, words in (("lost", score.lost_words), ("said twice", score.twice_words))
        if words
    ]
    return Text("; ".join(parts), style="bold red")


def is_kept(run: DemoRun) -> bool:
    """Whether no word was lost and none said twice."""
    return not (run.score.lost or run.score.twice)


def as_json(scenario: Scenario, run: DemoRun) -> dict[str, Any]:
    """A run's figures."""
    score = run.score
    return {
        "fault": scenario.name,
        "words": score.words,
        "lost": score.lost,
        "twice": score.twice,
        "late_max_s": _rounded(score.late_max_s),
        "ts_err_max_s": _rounded(score.ts_err_max_s),
        "switches": run.switches,
    }


def markdown(compared: Mapping[Scenario, Runs]) -> str:
    """The comparison as it stands in the README."""
    contestants = list(next(iter(compared.values())))
    titles = [f"`{c.title}`" if c is OURS else c.title for c in contestants]
    lines = [
        f"| Fault | What happens | {' | '.join(titles)} |",
        f"|---|---|{'---|' * len(contestants)}",
    ]
    for scenario, runs in compared.items():
        cells = " | ".join(_cell(runs[contestant]) for contestant in contestants)
        lines.append(f"| `{scenario.name}` | {scenario.summary} | {cells} |")
    words = next(iter(next(iter(compared.values())).values())).score.words
    note = (
        f"Of {words} words. The time is that of the latest word: from its end to the final "
        "transcript that holds it. *Dead*: the stream raised or never ended."
    )
    return "\n".join([*lines, "", note])


def _cell(run: DemoRun) -> str:
    score = run.score
    if score.late_max_s is None:
        return "**nothing came**"
    lost = f"**{score.lost} lost**" if score.lost else "0 lost"
    twice = f"**{score.twice} twice**" if score.twice else "0 twice"
    dead = "" if run.outcome == "ended" else ", *dead*"
    return f"{lost}, {twice}, {score.late_max_s:.1f} s{dead}"


def update(path: Path, table: str) -> None:
    """Put the table between its markers in a file.

    Raises:
        Problem: There is no such file, or it has no markers.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}") from None
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise Problem(f"{path} has no lines {_BEGIN} and {_END} to put the table between")
    path.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")


def _count(number: int) -> Text:
    return Text(str(number), style="bold red" if number else "green")


def _seconds(value: float | None) -> str:
    return "nothing came" if value is None else f"{value:.1f} s late"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
