"""The record of one candidate in a demo: its transcripts, its events and its score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from livekit.agents import stt
from livekit.agents.stt import SpeechEventType

from ...core.events import Decision, OutageEnded, OutageStarted, Switched
from ...testing.harness.play import Played
from ...testing.harness.score import Final, Score, score
from ...testing.harness.word_errors import word_error_rate
from ...testing.speech.reference import ReferenceSpeech


@dataclass(frozen=True, slots=True)
class AttributedFinal:
    """A final transcript and where it came from.

    Attributes:
        provider: The name of the provider.
        switches: How often the stream had changed its connection before.
    """

    final: Final
    provider: str
    switches: int


Listener = Callable[["DemoRun", "AttributedFinal | Decision"], None]


class DemoRun:
    """What one candidate has done so far. It is shown while it goes on, and scored at the end.

    Args:
        speech: The speech that is played to the candidate.
        provider: The name of the provider that serves first.
        listener: Called with each final transcript and event as it comes.
        real: Whether a real recognizer transcribes, which writes a word in any of its forms.

    Attributes:
        interim: The latest interim transcript; empty after its final.
        position: How much of the speech has been played, in seconds.
        played: What `play` returned; None while the run goes on.
        undisturbed_error_rate: The word error rate of the recognizer without a fault, if a real one
            transcribes and that was measured.
    """

    def __init__(
        self,
        speech: ReferenceSpeech,
        provider: str,
        listener: Listener | None = None,
        *,
        real: bool = False,
    ) -> None:
        self.speech = speech
        self.real = real
        self.attributed_finals: list[AttributedFinal] = []
        self.events: list[Decision] = []
        self.interim = ""
        self.first_provider = self.serving = provider
        self.position = 0.0
        self.played: Played | None = None
        self.undisturbed_error_rate = 0.0
        self._listener = listener
        self._switches = 0
        self._adapter_failovers = 0
        self._begun: float | None = None
        # The live view asks for the score ten times a second, so it is cached, by the number of
        # finals it was computed from.
        self._cached_score: tuple[int, Score] | None = None

    @property
    def finals(self) -> list[Final]:
        """The final transcripts so far."""
        return [attributed.final for attributed in self.attributed_finals]

    @property
    def score(self) -> Score:
        """How the final transcripts so far differ from the whole speech."""
        count = len(self.attributed_finals)
        if self._cached_score is None or self._cached_score[0] != count:
            found = score(self.speech.words, self.finals, accents=self.real)
            self._cached_score = (count, found)
        return self._cached_score[1]

    @property
    def word_error_rate(self) -> float:
        """Words of the finals so far that are wrong, missing or too many, as a share of those
        spoken."""
        text = " ".join(final.text for final in self.finals)
        return word_error_rate(self.speech.text, text)

    @property
    def switches(self) -> int:
        """How many other connections gave text; for LiveKit's adapter, how often it failed over."""
        with_text = {final.switches for final in self.attributed_finals if final.switches}
        return len(with_text) + self._adapter_failovers

    @property
    def outcome(self) -> str:
        """How the stream ended: `running`, `ended`, `never ended` or `failed`."""
        if self.played is None:
            return "running"
        if isinstance(self.played.error, TimeoutError):
            return "never ended"
        return "failed" if self.played.error else "ended"

    def tick(self, now: float) -> None:
        """Update `position`; `now` is the loop's time in seconds."""
        if self._begun is None:
            self._begun = now
        self.position = min(now - self._begun, self.speech.duration)

    def take(self, at: float, event: stt.SpeechEvent) -> None:
        """Record a speech event; `at` is in seconds since the first frame."""
        if not event.alternatives:
            return
        if event.type is SpeechEventType.INTERIM_TRANSCRIPT:
            self.interim = event.alternatives[0].text
        elif event.type is SpeechEventType.FINAL_TRANSCRIPT and event.alternatives[0].text:
            self.interim = ""
            final = AttributedFinal(Final.from_event(event, at), self.serving, self._switches)
            self.attributed_finals.append(final)
            self._notify(final)

    def take_event(self, event: Decision) -> None:
        """Record an event of `ResilientSTT`."""
        self.events.append(event)
        if isinstance(event, Switched | OutageEnded):
            self.serving = event.to_provider if isinstance(event, Switched) else event.provider
            self._switches += 1
            self.interim = ""
        elif isinstance(event, OutageStarted):
            self.interim = ""
        self._notify(event)

    def take_availability(self, event: stt.AvailabilityChangedEvent) -> None:
        """Record an event of LiveKit's `FallbackAdapter`."""
        self._adapter_failovers += not event.available

    def _notify(self, what: AttributedFinal | Decision) -> None:
        if self._listener:
            self._listener(self, what)
