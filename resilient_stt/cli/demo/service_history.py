"""Which provider was active when, from the events of a stream."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ...core.events import Decision, OutageEnded, OutageStarted, ProviderFailed, Replayed, Switched
from ..narrate import FAILURES_BEFORE_OPEN


@dataclass(slots=True)
class ServicePeriod:
    """A period in which a provider served, or an outage. All times are seconds of audio.

    Attributes:
        provider: Its name; empty for an outage.
        end: None while the period lasts.
        replayed_from: Where the audio that was replayed to the provider began, if any was.
    """

    provider: str
    begin: float
    end: float | None = None
    replayed_from: float | None = None


@dataclass(slots=True)
class ServiceHistory:
    """The periods of service, failures and outages of one stream, in order.

    Attributes:
        failures: The provider and the time of each failure outside of outages. A failure may be
            one of the serving provider or one of a background probe.
    """

    periods: list[ServicePeriod]
    failures: list[tuple[str, float]] = field(default_factory=list)
    outages: list[ServicePeriod] = field(default_factory=list)

    @classmethod
    def of(cls, provider: str, events: Iterable[Decision]) -> ServiceHistory:
        """Return the history of a stream that began with `provider`."""
        history = cls([ServicePeriod(provider, 0.0)])
        for event in events:
            history._add(event)
        return history

    def _add(self, event: Decision) -> None:
        in_outage = bool(self.outages) and self.outages[-1].end is None
        match event:
            case OutageEnded(at=at, provider=provider):
                self.outages[-1].end = at
                self._begin_period(provider, at, None)
            case Replayed(at=at, provider=provider, seconds=seconds, silence_trimmed=silence):
                # After an outage no `Switched` shows where the replay began.
                current = self.periods[-1] if self.periods else None
                if current and current.provider == provider and current.replayed_from is None:
                    current.replayed_from = at - seconds - silence
            case OutageStarted(at=at):
                self._end_period(at)
                self.outages.append(ServicePeriod("", at))
            case Switched(at=at, to_provider=provider, reason=reason, replay_from=start):
                self._end_period(at, has_served=reason not in FAILURES_BEFORE_OPEN)
                self._begin_period(provider, at, start)
            case ProviderFailed(at=at, provider=provider) if not in_outage:
                self.failures.append((provider, at))

    def _begin_period(self, provider: str, at: float, replayed_from: float | None) -> None:
        self.periods.append(ServicePeriod(provider, at, replayed_from=replayed_from))

    def _end_period(self, at: float, *, has_served: bool = True) -> None:
        """End the current period; drop it if the provider never had an open connection."""
        if self.periods and self.periods[-1].end is None:
            self.periods[-1].end = at
            if not has_served:
                self.periods.pop()
