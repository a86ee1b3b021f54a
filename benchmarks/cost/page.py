"""The sections as Markdown, with plots beside the page, or as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from resilient_stt.cli.marked_files import update_marked

from .plots import bars
from .results import Machine, Results
from .sections import Row, Section, sections

MARKER = "cost"


def update(path: Path, results: Results) -> None:
    """Write the sections between the markers of a page, and the plots to a folder beside it.

    Raises:
        CommandError: The page cannot be read or written, or has no markers.
    """
    folder = path.with_suffix("")
    found = [*sections(results)]
    update_marked(path, MARKER, "\n".join(_markdown(results.machine, found, folder.name)))
    folder.mkdir(exist_ok=True)
    for section in found:
        for plot in section.plots:
            drawn = bars(plot.title, plot.unit, plot.values)
            (folder / f"{plot.name}.svg").write_text(drawn, encoding="utf-8")


def text(results: Results) -> str:
    """Return the sections for a terminal."""
    return "\n".join(line for section in sections(results) for line in _plain(section))


def _markdown(machine: Machine, found: Sequence[Section], folder: str) -> Iterator[str]:
    yield (
        f"Measured on {machine.day}: {machine.processor}, {machine.cores} cores, Python "
        f"{machine.python}, LiveKit Agents {machine.livekit}; load average {machine.load:g} when "
        "the last part began."
    )
    for section in found:
        yield from ("", f"## {section.title}", "", section.text, "")
        yield _row(section.header)
        yield _row(["---", *["--:"] * (len(section.header) - 1)])
        yield from map(_row, section.rows)
        for plot in section.plots:
            yield from ("", f"![{plot.title}]({folder}/{plot.name}.svg)")


def _row(cells: Row) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(section: Section) -> Iterator[str]:
    table = [section.header, *section.rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    yield f"\n{section.title}"
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()
