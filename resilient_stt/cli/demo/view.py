"""What a terminal shows while runs go on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..narrate import STYLES, story, style_of
from .lanes import LOST, PENDING, History, axis, missing_words, provider_lane, words_lane
from .run import Candidate, DemoRun
from .scenarios import Scenario

_REFRESH = 0.1  # seconds
_LOG_LINES = 9
_HEARD = "bright_green"


class OneRun:
    """A lane per provider, the words in the colour of who heard them, and what happens."""

    def __init__(self, scenario: Scenario, run: DemoRun) -> None:
        self._scenario = scenario
        self._run = run

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width, 110)
        body = Group(
            self._lanes(width - 4 - 10), Text(), _words(self._run), Text(), self._log(width - 4)
        )
        yield _framed(body, self._scenario, self._run, width)

    def _lanes(self, width: int) -> RenderableType:
        run = self._run
        history = History.of(run.first, run.events)
        table = _grid(10, width)
        table.add_row("speech", words_lane(run, width, style_of))
        for name, style in STYLES.items():
            lane = provider_lane(history, name, run, width, style)
            table.add_row(Text(name, style=style), lane)
        table.add_row("", axis(run.speech.duration, width))
        table.add_row("", Text("━ serves  ░ hears again  ✗ fails  ╌ nobody serves", style="dim"))
        return table

    def _log(self, width: int) -> RenderableType:
        lines = story(self._run.events, self._run.first)[-_LOG_LINES:]
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        return Group(*lines) if lines else Text("nothing has failed yet", style="dim")


class SideBySide:
    """The words of each contestant, missing ones in red."""

    def __init__(self, scenario: Scenario, runs: Mapping[Candidate, DemoRun]) -> None:
        self._scenario = scenario
        self._runs = runs

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width, 110)
        lane = width - 4 - 17
        table = _grid(17, lane)
        for contestant, run in self._runs.items():
            table.add_row(contestant.title, words_lane(run, lane, lambda _: _HEARD))
            table.add_row("", self._newest(run, lane))
            table.add_row()
        run = next(iter(self._runs.values()))
        table.add_row("", axis(run.speech.duration, lane))
        yield _framed(Group(table, Text(), _legend()), self._scenario, run, width)

    def _newest(self, run: DemoRun, width: int) -> Text:
        text = " ".join(heard.final.text.strip() for heard in run.heard)
        missing = missing_words(run)
        state = run.outcome if run.played else ""
        tail = f"  {missing} missing" if missing else ""
        tail += f"  ({state})" if state else ""
        room = width - len(tail)
        shown = text if len(text) <= room else f"…{text[len(text) - room + 1 :]}"
        return Text.assemble((shown, "dim"), (tail, LOST if missing else "dim"))


def _words(run: DemoRun) -> Text:
    """The transcript so far, and what the provider makes of the words of this moment."""
    parts = [(heard.final.text.strip() + " ", style_of(heard.provider)) for heard in run.heard]
    text = Text.assemble(*parts, (run.interim, "dim italic"))
    return text if text.plain.strip() else Text("listening", style="dim italic")


def _legend() -> Text:
    return Text.assemble(
        ("▄", _HEARD), " heard  ", ("▄", PENDING), " not yet  ", ("▄", LOST), " lost"
    )


def _grid(first: int, second: int) -> Table:
    table = Table.grid()
    for width in (first, second):
        table.add_column(width=max(width, 1), no_wrap=True)
    return table


def _framed(body: RenderableType, scenario: Scenario, run: DemoRun, width: int) -> Panel:
    clock = f"{run.position:4.1f} of {run.speech.duration:.1f} s"
    return Panel(
        body,
        title=f"[bold]fault: {scenario.name}[/]  {clock}",
        subtitle=f"[dim]{scenario.summary}[/]",
        title_align="left",
        subtitle_align="left",
        width=width,
        border_style="dim",
    )


@contextlib.asynccontextmanager
async def shown(console: Console, renderable: Callable[[], RenderableType]) -> AsyncIterator[None]:
    """Show something live while the block runs; its last state stays."""
    live = Live(console=console, get_renderable=renderable, auto_refresh=False)
    with live:
        task = asyncio.create_task(_refreshing(live))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _refreshing(live: Live) -> None:
    # drawn from the loop, not from rich's thread: nothing changes while it is drawn
    while True:
        live.refresh()
        await asyncio.sleep(_REFRESH)
