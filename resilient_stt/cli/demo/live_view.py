"""What the demo prints while it runs: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ...core.events import Decision
from ..narrate import COLORS, Narrator, color_of, narrate
from .candidates import Candidate
from .charts import LOST, PENDING, SYMBOLS, axis, lost_words, provider_chart, words_chart
from .demo_run import AttributedFinal, DemoRun
from .scenarios import Scenario
from .service_history import ServiceHistory

_REFRESH = 0.1  # seconds
_LOG_LINES = 6  # of the latest that a low terminal shows while the run goes on
_CHARTS_HEIGHT = 5  # lines of the charts and the frame beside those that are counted
MIN_WIDTH, MIN_HEIGHT = 50, 20
"""Columns and lines of a terminal below which plain lines say more than the live view."""
_MAX_WIDTH = 110  # columns; wider charts are harder to read
_FRAME = 4  # columns of the panel's border and padding
_TRANSCRIBED = "bright_green"


class SingleRunView:
    """One run: a chart of the words and one of each provider, the transcript, and a log."""

    def __init__(self, scenario: Scenario, run: DemoRun) -> None:
        self._scenario = scenario
        self._run = run

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width, _MAX_WIDTH)
        inner = width - _FRAME
        above = [self._charts(inner), *Text(SYMBOLS, style="dim").wrap(console, inner), Text()]
        below = [Text(), *_summary(self._scenario).wrap(console, inner)]
        transcript = list(_transcript(self._run).wrap(console, inner))
        log = [part for line in self._log() for part in line.wrap(console, inner)]
        if self._run.played is None:
            # Rich cuts off the end of what is higher than the terminal, and that is the latest. The
            # last state stays on the screen, so it is whole.
            room = console.height - _CHARTS_HEIGHT - len(above) - len(below) - 1
            log = log[-max(_LOG_LINES, room // 2) :][-max(room - 1, 1) :]
            transcript = transcript[-max(room - len(log), 1) :]
        body = Group(*above, *transcript, Text(), *log, *below)
        yield _framed(body, self._scenario, self._run, width)

    def _charts(self, width: int) -> RenderableType:
        label_width = 10
        chart_width = max(width - label_width, 1)
        run = self._run
        history = ServiceHistory.of(run.first_provider, run.events)
        table = _grid(label_width, chart_width)
        table.add_row("speech", words_chart(run, chart_width, color_of))
        for name, style in COLORS.items():
            chart = provider_chart(history, name, run, chart_width, style)
            table.add_row(Text(name, style=style), chart)
        table.add_row("", axis(run.speech.duration, chart_width))
        return table

    def _log(self) -> list[Text]:
        lines = narrate(self._run.events, self._run.first_provider)
        return lines or [Text("nothing has failed yet", style="dim")]


class ComparisonView:
    """The charts of the words of several candidates, one below the other."""

    def __init__(self, scenario: Scenario, runs: Mapping[Candidate, DemoRun]) -> None:
        self._scenario = scenario
        self._runs = runs

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width, _MAX_WIDTH)
        label_width = 17
        chart_width = max(width - _FRAME - label_width, 1)
        table = _grid(label_width, chart_width)
        for candidate, run in self._runs.items():
            table.add_row(candidate.title, words_chart(run, chart_width, lambda _: _TRANSCRIBED))
            table.add_row("", self._latest_words(run, chart_width))
            table.add_row()
        run = next(iter(self._runs.values()))
        table.add_row("", axis(run.speech.duration, chart_width))
        body = Group(table, Text(), _legend(), _summary(self._scenario))
        yield _framed(body, self._scenario, run, width)

    def _latest_words(self, run: DemoRun, width: int) -> Text:
        text = " ".join(final.text.strip() for final in run.finals)
        lost = lost_words(run)
        tail = f"  {lost} lost" if lost else ""
        tail += f"  ({run.outcome})" if run.played else ""
        room = width - len(tail)
        shown = text if len(text) <= room else f"…{text[len(text) - room + 1 :]}"
        return Text.assemble((shown, "dim"), (tail, LOST if lost else "dim"))


class PlainLines:
    """Prints the events and final transcripts of runs as lines: for pipes and simple terminals."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._narrators: dict[DemoRun, Narrator] = {}

    def print(self, run: DemoRun, what: AttributedFinal | Decision) -> None:
        """Print what has happened in a run; this is a `Listener` of `DemoRun`."""
        narrator = self._narrators.setdefault(run, Narrator(run.first_provider))
        if isinstance(what, AttributedFinal):
            lines = [*narrator.held_lines(), _final_line(what)]
        else:
            lines = narrator.lines(what)
        for line in lines:
            self._console.print(line, soft_wrap=True)


def _final_line(attributed: AttributedFinal) -> Text:
    final, provider = attributed.final, attributed.provider
    text = f"{provider}: {final.text.strip()}"
    return Text.assemble((f"{final.at:6.2f} s  ", "dim"), (text, color_of(provider)))


def _transcript(run: DemoRun) -> Text:
    """The final transcripts so far, and the interim transcript of the words after them."""
    finals = [(f.final.text.strip() + " ", color_of(f.provider)) for f in run.attributed_finals]
    text = Text.assemble(*finals, (run.interim, "dim italic"))
    return text if text.plain.strip() else Text("listening", style="dim italic")


def _summary(scenario: Scenario) -> Text:
    return Text(scenario.summary, style="dim")


def _legend() -> Text:
    return Text.assemble(
        ("▄", _TRANSCRIBED), " transcribed  ", ("▄", PENDING), " not yet  ", ("▄", LOST), " lost"
    )


def _grid(*widths: int) -> Table:
    table = Table.grid()
    for width in widths:
        table.add_column(width=width, no_wrap=True)
    return table


def _framed(body: RenderableType, scenario: Scenario, run: DemoRun, width: int) -> Panel:
    clock = f"{run.position:4.1f} of {run.speech.duration:.1f} s"
    return Panel(
        body,
        title=f"[bold]fault: {scenario.name}[/]  {clock}",
        title_align="left",
        width=width,
        border_style="dim",
    )


@contextlib.asynccontextmanager
async def live(console: Console, renderable: Callable[[], RenderableType]) -> AsyncIterator[None]:
    """Redraw a renderable while the block runs; its last state stays on the screen."""
    display = Live(console=console, get_renderable=renderable, auto_refresh=False)
    with display:
        task = asyncio.create_task(_keep_refreshing(display))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _keep_refreshing(display: Live) -> None:
    # Rich would refresh from a thread of its own. A task on the loop draws while nothing changes.
    while True:
        display.refresh()
        await asyncio.sleep(_REFRESH)
