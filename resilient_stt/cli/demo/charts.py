"""Charts of the live view, one line each, with the time of the speech from left to right."""

from __future__ import annotations

import math
from collections.abc import Callable

from rich.text import Text

from .demo_run import DemoRun
from .service_history import ServiceHistory

LOST, PENDING = "bright_red", "yellow"
"""Styles of words that were passed over, and of words that may still come."""

ColorOf = Callable[[str], str]
"""Returns the style of a provider, given its name."""

_AXIS_STEP = 5  # seconds between two labels
SYMBOLS = "━ serves  ░ is sent again  ✗ fails  ╌ outage"


def provider_chart(
    history: ServiceHistory, provider: str, run: DemoRun, width: int, style: str
) -> Text:
    """When a provider served (`━`), which audio it was sent again (`░`), when it failed (`✗`)."""
    cells = [("·", "dim")] * width
    scale = width / run.speech.duration

    def fill(begin: float, end: float, symbol: str, style: str) -> None:
        first, last = round(begin * scale), round(end * scale)
        for index in range(max(0, first), min(width, max(last, first + 1))):
            cells[index] = (symbol, style)

    for outage in history.outages:
        fill(outage.begin, outage.end or run.position, "╌", "red")
    for period in history.periods:
        if period.provider == provider:
            if period.replayed_from is not None and period.replayed_from < period.begin:
                fill(period.replayed_from, period.begin, "░", style)
            fill(period.begin, period.end or run.position, "━", style)
    for name, at in history.failures:
        if name == provider:
            fill(at, at, "✗", "bold bright_red")
    return Text.assemble(*cells)


def words_chart(run: DemoRun, width: int, color_of: ColorOf) -> Text:
    """The words where they are spoken: colored once they are transcribed, red if they are lost."""
    cells = [(" ", "")] * width
    scale = width / run.speech.duration
    for word, style in zip(run.speech.words, word_styles(run, color_of), strict=True):
        for index in range(int(word.start * scale), min(width, math.ceil(word.end * scale))):
            cells[index] = ("▄", style)
    for index in range(width):
        if (index + 0.5) / scale > run.position and cells[index][0] != " ":
            cells[index] = ("▁", "dim")  # not spoken yet
    return Text.assemble(*cells)


def word_styles(run: DemoRun, color_of: ColorOf) -> list[str]:
    """Return the style of each spoken word: its provider's color, `LOST` or `PENDING`.

    While the run goes on, a word counts as lost once a later word has been transcribed.
    """
    delays = run.score.late_s
    provider_at = {round(f.final.at, 3): f.provider for f in run.attributed_finals}
    last = max((index for index, delay in enumerate(delays) if delay < math.inf), default=-1)
    ended = run.played is not None
    styles = []
    for index, (word, delay) in enumerate(zip(run.speech.words, delays, strict=True)):
        if delay < math.inf:
            # The score gives the delay of each word, not its final: find the final by its time.
            styles.append(color_of(provider_at.get(round(word.end + delay, 3), "")))
        else:
            styles.append(LOST if ended or index < last else PENDING)
    return styles


def lost_words(run: DemoRun) -> int:
    """How many of the words spoken so far are lost."""
    styles = zip(run.speech.words, word_styles(run, str), strict=True)
    return sum(style == LOST and word.end <= run.position for word, style in styles)


def axis(duration: float, width: int) -> Text:
    """Labels below a chart, one for every 5 seconds."""
    line = [" "] * width
    for second in range(0, int(duration) + 1, _AXIS_STEP):
        label = f"{second}s"
        start = round(second / duration * width)
        if start + len(label) <= width:
            line[start : start + len(label)] = label
    return Text("".join(line), style="dim")
