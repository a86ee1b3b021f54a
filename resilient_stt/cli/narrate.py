"""Describes a stream's events in English, a line each: for the live view, pipes and stderr."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never, get_args

from rich.text import Text

from ..core.events import (
    AudioLost,
    Decision,
    ErrorKind,
    HedgeFinished,
    HedgeOutcome,
    LanguageRouted,
    OutageEnded,
    OutageStarted,
    ProviderFailed,
    ProviderRecovered,
    Replayed,
    Switched,
    SwitchReason,
)
from ..plain_words import DETAILS, FAILURES, LOSSES, STALLS

EVENT_NAMES = tuple(kind.name for kind in get_args(Decision))
"""The names of the events that are told, for `ResilientSTT.on`."""

COLORS = {"cartesia": "bright_cyan", "deepgram": "bright_magenta"}

FAILURES_BEFORE_OPEN = (
    ErrorKind.CONNECT,
    ErrorKind.AUTH,
    ErrorKind.QUOTA,
    ErrorKind.RATE_LIMITED,
    ErrorKind.BAD_REQUEST,
    ErrorKind.SERVER,
)
"""Reasons of failures that usually come before a connection is open."""

_SHORT = 0.05  # seconds; a shorter replay or less skipped silence would be printed as 0.0 s

Part = str | tuple[str, str]
"""A piece of a line, with or without a style."""


def color_of(provider: str) -> str:
    """The color in which a provider and its words are shown."""
    return COLORS.get(provider, "bright_white")


class Narrator:
    """Turns events into lines, and leaves out those that would bury the others.

    - Failed attempts during an outage are left out: an outage is one line when it starts and one
      when it ends.
    - A failure that repeats in the background is printed once until the provider serves or has
      recovered.
    - A replay is printed once the connection on which the audio was queued has turned out to work.

    Args:
        serving: The name of the provider that serves first. If it is not known, every failure
            counts as one of the serving provider.
    """

    def __init__(self, serving: str = "") -> None:
        self._serving = serving
        self._in_outage = False
        self._hedge_promoted = False
        """The last line said that a hedge is promoted: the switch that follows replays nothing."""
        self._known_failures: set[tuple[str, ErrorKind]] = set()
        """Background failures that were printed: the provider and the reason."""
        self._held_replay: Replayed | None = None
        self._latest = 0.0

    def lines(self, event: Decision) -> list[Text]:
        """Return the lines to print now that `event` has happened; often one, sometimes none."""
        if not self._is_worth_a_line(event):
            return []
        held = self._held_replay
        if (
            held is not None
            and isinstance(event, ProviderFailed)
            and event.reason in FAILURES_BEFORE_OPEN
            and event.provider == held.provider
        ):
            # The replay was queued on a connection that never opened, so it did not happen.
            self._held_replay = None
        lines = self.held_lines()
        if isinstance(event, Replayed):
            self._held_replay = event
        else:
            lines.append(self._line(event))
        self._remember(event)
        return lines

    def held_lines(self) -> list[Text]:
        """Return the lines held back so far. Call it when a transcript comes, and at the end."""
        held, self._held_replay = self._held_replay, None
        return [self._line(held)] if held else []

    def _is_worth_a_line(self, event: Decision) -> bool:
        match event:
            case AudioLost() | OutageStarted() | OutageEnded():
                return True
            case ProviderFailed(provider=provider, reason=reason):
                if self._hedge_promoted and reason is ErrorKind.STALLED:
                    return False  # the line about the hedge has just said that it stalled
                return not self._in_outage and (provider, reason) not in self._known_failures
            case Replayed():
                # A promoted hedge was sent the audio before it was promoted. Its switch says so.
                return not self._in_outage and not self._hedge_promoted
            case Switched() | HedgeFinished() | ProviderRecovered() | LanguageRouted():
                return not self._in_outage
        assert_never(event)

    def _remember(self, event: Decision) -> None:
        match event:
            case HedgeFinished(outcome=outcome):
                self._hedge_promoted = outcome is HedgeOutcome.PROMOTED
                return
            case ProviderFailed(provider=provider, reason=reason) if self._in_background(provider):
                self._known_failures.add((provider, reason))
            case OutageStarted():
                self._in_outage = True
            case OutageEnded(provider=provider):
                self._in_outage = False
                self._set_serving(provider)
            case Switched(to_provider=provider):
                self._set_serving(provider)
                return  # a replay that follows belongs to the promoted hedge as well
            case ProviderRecovered(provider=provider):
                self._forget_failures(provider)
            case ProviderFailed() | Replayed() | LanguageRouted() | AudioLost():
                pass
            case _:
                assert_never(event)
        self._hedge_promoted = False

    def _set_serving(self, provider: str) -> None:
        self._serving = provider
        self._forget_failures(provider)

    def _forget_failures(self, provider: str) -> None:
        self._known_failures = {known for known in self._known_failures if known[0] != provider}

    def _in_background(self, provider: str) -> bool:
        return self._serving not in ("", provider)

    def _line(self, event: Decision) -> Text:
        # An event may carry an earlier time than the one before it. The times that are printed
        # never go back, so that nobody looks for a mistake in the order.
        self._latest = max(self._latest, event.at)
        return Text.assemble((f"{self._latest:6.2f} s  ", "dim"), *self._parts(event))

    def _parts(self, event: Decision) -> list[Part]:
        match event:
            case ProviderFailed(provider=provider):
                return _failure(event, in_background=self._in_background(provider))
            case Switched():
                return _switch(event, hedge_promoted=self._hedge_promoted)
            case Replayed(provider=provider, seconds=seconds, silence_trimmed=silence):
                skipped = f", {silence:.1f} s of silence skipped" if silence >= _SHORT else ""
                what = f" has caught up: {seconds:.1f} s replayed"
                return [_name(provider), what, (skipped, "dim")]
            case OutageStarted():
                return [("outage started", "red"), ": no provider works; audio is buffered"]
            case OutageEnded(provider=provider, duration=seconds):
                ended = f"outage ended after {seconds:.1f} s"
                return [(ended, "green"), ": ", _name(provider), " works again"]
            case HedgeFinished():
                return _hedge(event)
            case ProviderRecovered(provider=provider):
                return [_name(provider), (" has recovered", "green"), " (background probe)"]
            case LanguageRouted(language=language, route=route):
                return [(f"language is now {language or 'unknown'}", "cyan"), f": route {route}"]
            case AudioLost(seconds=seconds, reason=loss):
                return [(f"{seconds:.1f} s of speech lost", "bold red"), f": {LOSSES[loss]}"]


def narrate(events: Iterable[Decision], serving: str = "") -> list[Text]:
    """Return all lines about the events of a stream that began with the provider `serving`."""
    narrator = Narrator(serving)
    lines = [line for event in events for line in narrator.lines(event)]
    return lines + narrator.held_lines()


def _failure(event: ProviderFailed, *, in_background: bool) -> list[Part]:
    where = "in the background: " if in_background else ""
    detail = DETAILS.get(event.detail, event.detail)
    cause = STALLS[event.trigger] if event.trigger else detail
    notes = f" ({cause})" if cause else ""
    notes += f": {event.advice}" if event.advice else ""
    return [where, _name(event.provider), (f" {FAILURES[event.reason]}", "red"), (notes, "dim")]


def _switch(event: Switched, *, hedge_promoted: bool) -> list[Part]:
    new_provider = _name(event.to_provider)
    if event.from_provider == event.to_provider:
        what: list[Part] = ["reconnecting to ", new_provider]
    elif event.reason is SwitchReason.FAILBACK:
        what = [new_provider, " serves again (failback)"]
    elif event.reason is SwitchReason.SLOW:
        what = [new_provider, " takes over (it is faster)"]
    elif event.reason is SwitchReason.LOCKED:
        what = [new_provider, " takes over (the other one is locked)"]
    else:
        what = [new_provider, " takes over"]
    seconds = event.at - event.replay_from
    if seconds < _SHORT:
        replay = ""
    elif hedge_promoted:
        replay = f"; it has the last {seconds:.1f} s already"
    else:
        replay = f"; the last {seconds:.1f} s are replayed"
    return [*what, (replay, "dim")]


def _hedge(event: HedgeFinished) -> list[Part]:
    trigger = f" ({STALLS[event.trigger]})" if event.trigger else ""
    provider = _name(event.provider)
    # Where no other provider is healthy, the hedge is a second connection to the same one.
    second = "a second connection to " if event.hedge_provider == event.provider else ""
    hedge: list[Part] = [f"hedge on {second}", _name(event.hedge_provider)]
    match event.outcome:
        case HedgeOutcome.PROMOTED:
            return [provider, (" stalled", "red"), (trigger, "dim"), "; ", *hedge, " has text"]
        case HedgeOutcome.NO_SPEECH:
            return [provider, " is silent", (trigger, "dim"), "; ", *hedge, ": no speech found"]
        case HedgeOutcome.PRIMARY_RECOVERED:
            return [provider, " was slow but answered; ", *hedge, " not needed"]


def _name(provider: str) -> Part:
    return provider, color_of(provider)
