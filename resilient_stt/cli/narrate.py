"""The story of a run, line by line, for people: what the live view logs and a pipe gets."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from ..core.events import (
    AudioLossReason,
    AudioLost,
    ErrorKind,
    Event,
    HedgeFinished,
    HedgeOutcome,
    LanguageRouted,
    OutageEnded,
    OutageStarted,
    ProviderFailed,
    ProviderRecovered,
    Replayed,
    StallReason,
    Switched,
    SwitchReason,
)
from .demo.run import DemoRun, HeardTranscript

STYLES = {"cartesia": "bright_cyan", "deepgram": "bright_magenta"}

_REASONS = {
    ErrorKind.AUTH: "refused the key",
    ErrorKind.QUOTA: "has no credits left",
    ErrorKind.RATE_LIMITED: "asks to come back later",
    ErrorKind.BAD_REQUEST: "refused the request",
    ErrorKind.CONNECT: "cannot be reached",
    ErrorKind.DROPPED: "dropped the connection",
    ErrorKind.STALLED: "went silent",
    ErrorKind.SERVER: "has an internal error",
    ErrorKind.PROTOCOL: "talks nonsense",
}

_LOSSES = {
    AudioLossReason.WINDOW_EXCEEDED: "they did not fit the buffer",
    AudioLossReason.FINAL_SKIPPED: "a final left them out, and nobody else could be asked",
}

_SIGNS = {
    StallReason.NO_INTERIM: "no sign of life",
    StallReason.FINAL_OVERDUE: "its final is overdue",
    StallReason.NO_TEXT: "no text for all that was said",
    StallReason.EMPTY_FINALS: "empty finals",
    StallReason.MISSING_TAIL: "words are missing at its end",
    StallReason.SKIPPED_SPEECH: "a final was left out",
}

_DETAILS = {"heard nothing": "no words for what another heard"}
"""Short texts of the core, in the words of the story; kinds of exceptions stay as they are."""

_TAKEN_OVER: dict[ErrorKind | SwitchReason, str] = {
    SwitchReason.FAILBACK: " is back",
    SwitchReason.SLOW: " takes over, for it is faster,",
}

UNOPENED = ("connect", "auth", "quota", "rate_limited", "bad_request", "server")
"""Reasons of failures that come, as a rule, before a connection is open."""


def style_of(provider: str) -> str:
    """The colour of a provider."""
    return STYLES.get(provider, "bright_white")


class Narrator:
    """Words for events, without those that would drown the rest.

    Attempts during an outage make one line when it begins and one when it is over. What fails in
    the background, again and again, is told once until that provider serves or has recovered. A
    replay is told once it is certain that the connection it was queued on was ever made.
    """

    def __init__(self, serving: str = "") -> None:
        """`serving`: who serves first; unknown, whoever fails counts as the one who served."""
        self._serving = serving
        self._outage = False
        self._convicted = False
        """The provider that takes over now was asked before, and has heard the audio already."""
        self._known: set[tuple[str, str]] = set()
        """Failures in the background that were told: of whom, why."""
        self._replayed: Replayed | None = None
        self._at = 0.0

    def tell(self, event: Event) -> list[Text]:
        """Lines that can be told now that this has happened."""
        if not self._is_news(event):
            return []
        if isinstance(event, ProviderFailed) and event.reason in UNOPENED:
            self._replayed = None
        lines = self.rest()
        if isinstance(event, Replayed):
            self._replayed = event
        else:
            lines.append(self._line(event))
        self._remember(event)
        return lines

    def rest(self) -> list[Text]:
        """Lines held back; to be told when words come, or in the end."""
        held, self._replayed = self._replayed, None
        return [self._line(held)] if held else []

    def _is_news(self, event: Event) -> bool:
        match event:
            case AudioLost() | OutageStarted() | OutageEnded():
                return True
            case ProviderFailed(provider=provider, reason=reason):
                if self._convicted and reason is ErrorKind.STALLED:
                    return False  # the line before has said it
                return not self._outage and (provider, reason) not in self._known
            case Replayed():
                return not self._outage and not self._convicted
        return not self._outage

    def _remember(self, event: Event) -> None:
        match event:
            case HedgeFinished(outcome=verdict):
                self._convicted = verdict is HedgeOutcome.PROMOTED
                return
            case ProviderFailed(provider=provider, reason=reason) if self._in_background(provider):
                self._known.add((provider, reason))
            case OutageStarted():
                self._outage = True
            case OutageEnded(provider=provider):
                self._outage = False
                self._serves(provider)
            case Switched(to_provider=provider):
                self._serves(provider)
                return  # the replay that follows is the one that was heard already
            case ProviderRecovered(provider=provider):
                self._forget(provider)
        self._convicted = False

    def _serves(self, provider: str) -> None:
        self._serving = provider
        self._forget(provider)

    def _forget(self, provider: str) -> None:
        self._known = {known for known in self._known if known[0] != provider}

    def _in_background(self, provider: str) -> bool:
        return self._serving not in ("", provider)

    def _line(self, event: Event) -> Text:
        # an event may be about a moment before the last one's, and is told afterwards all the same
        self._at = max(self._at, event.at)
        return Text.assemble((f"{self._at:6.2f} s  ", "dim"), *self._described(event))

    def _described(self, event: Event) -> list[str | tuple[str, str]]:
        match event:
            case ProviderFailed():
                return self._failure(event)
            case Switched():
                return self._switch(event)
            case Replayed(provider=provider, seconds=seconds, silence_trimmed=cut):
                what = f" has caught up: {seconds:.1f} s replayed"
                left_out = f", {cut:.1f} s of silence left out" if cut >= 0.05 else ""
                return [_name(provider), what, (left_out, "dim")]
            case OutageStarted():
                return [("no provider works: ", "red"), "buffering, trying all of them"]
            case OutageEnded(provider=provider, duration=after):
                return [_name(provider), (" answers again", "green"), f" after {after:.1f} s"]
            case HedgeFinished():
                return _opinion(event)
            case ProviderRecovered(provider=provider):
                return [_name(provider), (" hears again", "green"), " (tried in the background)"]
            case LanguageRouted(language=language, route=route):
                return [(f"speaks {language or 'any language'} from now on", "cyan"), f": {route}"]
            case AudioLost(seconds=seconds, reason=loss):
                return [(f"{seconds:.1f} s of speech are lost: {_LOSSES[loss]}", "bold red")]

    def _failure(self, event: ProviderFailed) -> list[str | tuple[str, str]]:
        why = _REASONS[event.reason]
        sign = _SIGNS[event.trigger] if event.trigger else _DETAILS.get(event.detail, event.detail)
        told = f" ({sign})" if sign else ""
        told += f": {event.advice}" if event.advice else ""
        aside = ", tried in the background," if self._in_background(event.provider) else ""
        return [_name(event.provider), aside, (f" {why}", "red"), (told, "dim")]

    def _switch(self, event: Switched) -> list[str | tuple[str, str]]:
        seconds = event.at - event.replay_from
        if event.from_provider == event.to_provider:
            verb = " is opened again"
        else:
            verb = _TAKEN_OVER.get(event.reason, " takes over")
        heard = "has heard the last" if self._convicted else "hears the last"
        tail = "already" if self._convicted else "again"
        again = f" and {heard} {seconds:.1f} s {tail}" if seconds >= 0.05 else ""
        return [_name(event.to_provider), verb, (again, "dim")]


def story(events: Iterable[Event], serving: str = "") -> list[Text]:
    """All lines so far, of a run that began with `serving`."""
    narrator = Narrator(serving)
    lines = [line for event in events for line in narrator.tell(event)]
    return lines + narrator.rest()


def _opinion(event: HedgeFinished) -> list[str | tuple[str, str]]:
    sign = f" ({_SIGNS[event.trigger]})" if event.trigger else ""
    second = "a second connection to " if event.hedge_provider == event.provider else ""
    asked: list[str | tuple[str, str]] = [second, _name(event.hedge_provider)]
    match event.outcome:
        case HedgeOutcome.PROMOTED:
            silent = (" says nothing", "red")
            return [_name(event.provider), silent, (sign, "dim"), "; ", *asked, " hears words"]
        case HedgeOutcome.NO_SPEECH:
            heard = " hears no words either: it was noise"
            return [_name(event.provider), " says nothing", (sign, "dim"), "; ", *asked, heard]
        case HedgeOutcome.PRIMARY_RECOVERED:
            late = " took its time; "
            return [_name(event.provider), late, *asked, " was asked, too, and not needed"]


def _name(provider: str) -> tuple[str, str]:
    return provider, style_of(provider)


class PlainLines:
    """Prints a run as lines: for pipes, logs and terminals that can do no more."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._narrators: dict[DemoRun, Narrator] = {}

    def listen(self, run: DemoRun, what: HeardTranscript | Event) -> None:
        """Print what happened."""
        narrator = self._narrators.setdefault(run, Narrator(run.first))
        for line in _told(what, narrator):
            self._console.print(line, soft_wrap=True)


def _told(what: HeardTranscript | Event, narrator: Narrator) -> list[Text]:
    if not isinstance(what, HeardTranscript):
        return narrator.tell(what)
    return [*narrator.rest(), _heard(what)]


def _heard(heard: HeardTranscript) -> Text:
    said = f"{heard.provider}: {heard.final.text.strip()}"
    return Text.assemble((f"{heard.final.at:6.2f} s  ", "dim"), (said, style_of(heard.provider)))
