"""The story of a run, line by line, for people: what the live view logs and a pipe gets."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from ..events import (
    AudioLost,
    Degraded,
    Event,
    ProviderFailed,
    Replayed,
    Recovered,
    Restored,
    SecondOpinion,
    Switched,
)
from .run import Heard, Run

STYLES = {"cartesia": "bright_cyan", "deepgram": "bright_magenta"}

_REASONS = {
    "auth": "refused the key",
    "quota": "has no credits left",
    "rate_limited": "asks to come back later",
    "bad_request": "refused the request",
    "connect": "cannot be reached",
    "dropped": "dropped the connection",
    "stalled": "went silent",
    "server": "has an internal error",
    "protocol": "talks nonsense",
}

UNOPENED = ("connect", "auth", "quota", "rate_limited", "bad_request", "server")
"""Reasons of failures that come, as a rule, before a connection is open."""


def style_of(provider: str) -> str:
    """The colour of a provider."""
    return STYLES.get(provider, "bright_white")


class Narrator:
    """Words for events, without those that would drown the rest.

    Attempts during an outage make one line when it begins and one when it is over. A replay is
    told once it is certain that the connection it was queued on was ever made.
    """

    def __init__(self) -> None:
        self._outage = False
        self._replayed: Replayed | None = None

    def tell(self, event: Event) -> list[Text]:
        """Lines that can be told now that this has happened."""
        if isinstance(event, Degraded | Restored):
            self._outage = isinstance(event, Degraded)
        elif self._outage and not isinstance(event, AudioLost):
            return []
        if isinstance(event, ProviderFailed) and event.reason in UNOPENED:
            self._replayed = None
        lines = self.rest()
        if isinstance(event, Replayed):
            self._replayed = event
        else:
            lines.append(_line(event))
        return lines

    def rest(self) -> list[Text]:
        """Lines held back; to be told when words come, or in the end."""
        held, self._replayed = self._replayed, None
        return [_line(held)] if held else []


def story(events: Iterable[Event]) -> list[Text]:
    """All lines so far."""
    narrator = Narrator()
    lines = [line for event in events for line in narrator.tell(event)]
    return lines + narrator.rest()


def _line(event: Event) -> Text:
    return Text.assemble((f"{event.at:6.2f} s  ", "dim"), *_described(event))


def _described(event: Event) -> list[str | tuple[str, str]]:
    match event:
        case ProviderFailed(provider=provider, reason=reason, detail=detail, advice=advice):
            why = _REASONS.get(reason, reason)
            told = f" ({detail})" + (f": {advice}" if advice else "")
            return [_name(provider), (f" {why}", "red"), (told, "dim")]
        case Switched(from_provider=old, to_provider=new, at=at, replay_from=start, reason=reason):
            verb = " is opened again" if old == new else " takes over"
            verb = " is back" if reason == "failback" else verb
            again = f" and hears the last {at - start:.1f} s again" if at - start >= 0.05 else ""
            return [_name(new), verb, (again, "dim")]
        case Replayed(provider=provider, seconds=seconds, cut=cut):
            what = f" has caught up: {seconds:.1f} s replayed"
            left_out = f", {cut:.1f} s of silence left out" if cut >= 0.05 else ""
            return [_name(provider), what, (left_out, "dim")]
        case Degraded():
            return [("no provider works: ", "red"), "buffering, trying both"]
        case Restored(provider=provider, after=after):
            return [_name(provider), (" answers again", "green"), f" after {after:.1f} s"]
        case SecondOpinion(provider=provider, asked=asked, verdict=verdict):
            return [_name(provider), " is silent, ", _name(asked), f" {_VERDICTS[verdict]}"]
        case Recovered(provider=provider):
            return [_name(provider), (" hears again", "green"), " (probed in the background)"]
        case AudioLost(seconds=seconds):
            return [(f"{seconds:.1f} s of speech did not fit the buffer and are lost", "bold red")]


_VERDICTS = {
    "convicted": "hears words: it is deaf",
    "answered": "was asked; it answered by itself",
    "noise": "hears nothing either: it was noise",
}


def _name(provider: str) -> tuple[str, str]:
    return provider, style_of(provider)


class PlainLines:
    """Prints a run as lines: for pipes, logs and terminals that can do no more."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._narrators: dict[Run, Narrator] = {}

    def listen(self, run: Run, what: Heard | Event) -> None:
        """Print what happened."""
        narrator = self._narrators.setdefault(run, Narrator())
        for line in _told(what, narrator):
            self._console.print(line, soft_wrap=True)


def _told(what: Heard | Event, narrator: Narrator) -> list[Text]:
    if not isinstance(what, Heard):
        return narrator.tell(what)
    return [*narrator.rest(), _heard(what)]


def _heard(heard: Heard) -> Text:
    said = f"{heard.provider}: {heard.final.text.strip()}"
    return Text.assemble((f"{heard.final.at:6.2f} s  ", "dim"), (said, style_of(heard.provider)))
