"""The results of a demo: as a table in the terminal, as JSON, and as a table in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from .candidates import OURS, Candidate
from .demo_run import DemoRun
from .real_speech import ALLOWED
from .scenarios import Scenario

Runs = Mapping[Candidate, DemoRun]


def result_table(runs: Runs) -> Table:
    """Return a table with a row for each candidate."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    errors = ("word error rate",) if _are_real(runs) else ("lost", "repeated")
    for column in ("words", *errors, "longest delay", "switches"):
        table.add_column(column, justify="right")
    table.add_column("stream", no_wrap=True)
    for candidate, run in runs.items():
        score = run.score
        table.add_row(
            candidate.title,
            str(score.words),
            *_errors(run),
            "no text" if score.late_max_s is None else f"{score.late_max_s:.1f} s",
            str(run.switches),
            run.outcome,
        )
    return table


def _are_real(runs: Runs) -> bool:
    return any(run.real for run in runs.values())


def _errors(run: DemoRun) -> list[Text]:
    """Return the cells that say what is wrong with the words."""
    if run.real:
        return [Text(f"{run.word_error_rate:.1%}", style=_color(run))]
    return [_count(run.score.lost), _count(run.score.twice)]


def summary(run: DemoRun) -> Text:
    """Return a sentence that says whether all words came once, or which did not."""
    if run.real:
        return Text(
            f"Word error rate: {run.word_error_rate:.1%}. "
            f"Without faults it is {run.undisturbed_error_rate:.1%}: "
            "what the worse of the two recognizers mishears.",
            style=_color(run),
        )
    score = run.score
    if is_complete(run):
        return Text(f"All {score.words} words were transcribed, each exactly once.", style="green")
    parts = [
        f"{title}: {' '.join(words)}"
        for title, words in (("lost", score.lost_words), ("repeated", score.twice_words))
        if words
    ]
    return Text("; ".join(parts), style="bold red")


def _color(run: DemoRun) -> str:
    return "green" if is_complete(run) else "bold red"


def is_complete(run: DemoRun) -> bool:
    """Whether no word was lost and none repeated. If a real recognizer transcribes: whether there
    are hardly more errors than without a fault."""
    if run.real:
        return run.word_error_rate <= run.undisturbed_error_rate + ALLOWED
    return not (run.score.lost or run.score.twice)


def as_json(scenario: Scenario, run: DemoRun) -> dict[str, Any]:
    """Return the figures of a run; delays and errors of word times are in seconds, rates shares."""
    score = run.score
    errors: dict[str, Any] = {"lost": score.lost, "repeated": score.twice}
    if run.real:
        errors = {
            "word_error_rate": _rounded(run.word_error_rate),
            "undisturbed_word_error_rate": _rounded(run.undisturbed_error_rate),
        }
    return {
        "fault": scenario.name,
        "words": score.words,
        **errors,
        "late_max_s": _rounded(score.late_max_s),
        "ts_err_max_s": _rounded(score.ts_err_max_s),
        "switches": run.switches,
    }


def markdown_table(compared: Mapping[Scenario, Runs]) -> str:
    """Return the comparison as Markdown, with a row for each scenario."""
    candidates = list(next(iter(compared.values())))
    titles = [f"`{c.title}`" if c is OURS else c.title for c in candidates]
    lines = [
        f"| Fault | What happens | {' | '.join(titles)} |",
        f"|---|---|{'---|' * len(candidates)}",
    ]
    for scenario, runs in compared.items():
        cells = " | ".join(_markdown_cell(runs[candidate]) for candidate in candidates)
        lines.append(f"| `{scenario.name}` | {scenario.summary} | {cells} |")
    words = next(iter(next(iter(compared.values())).values())).score.words
    note = (
        f"The speech has {words} words. Times are the longest delay of a word: from its end to the "
        "final transcript that contains it. *Failed*: the stream raised an error or never ended."
    )
    return "\n".join([*lines, "", note])


def _markdown_cell(run: DemoRun) -> str:
    score = run.score
    if score.late_max_s is None:
        return "**no text**"
    lost = f"**{score.lost} lost**" if score.lost else "0 lost"
    repeated = f"**{score.twice} repeated**" if score.twice else "0 repeated"
    failed = "" if run.outcome == "ended" else ", *failed*"
    return f"{lost}, {repeated}, {score.late_max_s:.1f} s{failed}"


def _count(number: int) -> Text:
    return Text(str(number), style="bold red" if number else "green")


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 3)
