"""Time lanes: which words came, which provider served when, what was replayed to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rich.text import Text

from ...core.events import Event, OutageEnded, OutageStarted, ProviderFailed, Replayed, Switched
from ..narrate import UNOPENED
from .run import DemoRun

LOST, PENDING = "bright_red", "yellow"

Tint = Callable[[str], str]
"""The style of a provider."""


@dataclass(slots=True)
class Spell:
    """A time in which a provider served, in seconds of audio; `end` is None while it does."""

    provider: str
    begin: float
    end: float | None = None
    replayed_from: float | None = None


@dataclass(slots=True)
class History:
    """What the events of a run say about its providers."""

    spells: list[Spell]
    failures: list[tuple[str, float]] = field(default_factory=list)
    outages: list[Spell] = field(default_factory=list)

    @classmethod
    def of(cls, provider: str, events: Iterable[Event]) -> History:
        """Read the events of a run that began with `provider`."""
        history = cls([Spell(provider, 0.0)])
        for event in events:
            history._add(event)
        return history

    def _add(self, event: Event) -> None:
        out = bool(self.outages) and self.outages[-1].end is None
        match event:
            case OutageEnded(at=at, provider=provider):
                self.outages[-1].end = at
                self._serve(provider, at, None)
            case Replayed(at=at, provider=provider, seconds=seconds, silence_trimmed=cut):
                now = self.spells[-1] if self.spells else None
                if now and now.provider == provider and now.replayed_from is None:
                    now.replayed_from = at - seconds - cut
            case OutageStarted(at=at):
                self._stop(at)
                self.outages.append(Spell("", at))
            case Switched(at=at, to_provider=provider, reason=reason, replay_from=start):
                self._stop(at, served=reason not in UNOPENED)
                self._serve(provider, at, start)
            case ProviderFailed(at=at, provider=provider) if not out:
                # of whom served, or was tried in the background: what follows says which
                self.failures.append((provider, at))

    def _serve(self, provider: str, at: float, start: float | None) -> None:
        self.spells.append(Spell(provider, at, replayed_from=start))

    def _stop(self, at: float, *, served: bool = True) -> None:
        if self.spells and self.spells[-1].end is None:
            self.spells[-1].end = at
            if not served:
                self.spells.pop()


def provider_lane(history: History, provider: str, run: DemoRun, width: int, style: str) -> Text:
    """When a provider served (`━`), what it heard again (`░`), where it failed (`✗`)."""
    cells = [("·", "dim")] * width
    scale = width / run.speech.duration

    def fill(begin: float, end: float, mark: str, look: str) -> None:
        first, last = round(begin * scale), round(end * scale)
        for index in range(max(0, first), min(width, max(last, first + 1))):
            cells[index] = (mark, look)

    for outage in history.outages:
        fill(outage.begin, outage.end or run.position, "╌", "red")
    for spell in history.spells:
        if spell.provider == provider:
            if spell.replayed_from is not None and spell.replayed_from < spell.begin:
                fill(spell.replayed_from, spell.begin, "░", style)
            fill(spell.begin, spell.end or run.position, "━", style)
    for name, at in history.failures:
        if name == provider:
            fill(at, at, "✗", "bold bright_red")
    return Text.assemble(*cells)


def words_lane(run: DemoRun, width: int, tint: Tint) -> Text:
    """The words as they are spoken: coloured once they came, red if they were passed over."""
    cells = [(" ", "")] * width
    scale = width / run.speech.duration
    for word, style in zip(run.speech.words, word_styles(run, tint), strict=True):
        for index in range(int(word.start * scale), min(width, math.ceil(word.end * scale))):
            cells[index] = ("▄", style)
    for index in range(width):
        if (index + 0.5) / scale > run.position and cells[index][0] != " ":
            cells[index] = ("▁", "dim")
    return Text.assemble(*cells)


def word_styles(run: DemoRun, tint: Tint) -> list[str]:
    """A style for each spoken word: of who heard it, `LOST`, or `PENDING`."""
    score = run.score
    heard_by = {round(h.final.at, 3): h.provider for h in run.heard}
    came = [late < math.inf for late in score.late_s]
    last = max((index for index, known in enumerate(came) if known), default=-1)
    over = run.played is not None
    styles = []
    for index, (word, late) in enumerate(zip(run.speech.words, score.late_s, strict=True)):
        if came[index]:
            styles.append(tint(heard_by.get(round(word.end + late, 3), "")))
        else:
            styles.append(LOST if over or index < last else PENDING)
    return styles


def missing_words(run: DemoRun) -> int:
    """How many words of those spoken so far were passed over."""
    styles = zip(run.speech.words, word_styles(run, str), strict=True)
    return sum(style == LOST and word.end <= run.position for word, style in styles)


def axis(duration: float, width: int) -> Text:
    """Seconds below a lane, every five."""
    line = [" "] * width
    for second in range(0, int(duration) + 1, 5):
        label = f"{second}s"
        start = round(second / duration * width)
        if start + len(label) <= width:
            line[start : start + len(label)] = label
    return Text("".join(line), style="dim")
