"""The accounts of one stream: what became of its audio, who gave its words, and what that cost.

The parts of the engine note here what they do, each thing once. `ended` puts it into the last event
of the stream. What became of the audio itself, the ledger knows (`AudioAccounts`).
"""

from __future__ import annotations

import math
from array import array
from collections import Counter

from .audio.audio_accounts import AudioAccounts
from .audio.ledger import AudioLedger
from .events import (
    AudioSent,
    ErrorKind,
    FinalEmitted,
    Lateness,
    Role,
    StreamEnded,
    StreamEndReason,
    SwitchCount,
    Switched,
    SwitchReason,
)

MAX_LATENESS = 10_000
"""Finals whose lateness is kept, the newest, for about five hours of speech: a bound of memory
only."""


class StreamAccounts:
    """Collects what a stream does, for its last event."""

    def __init__(self, ledger: AudioLedger) -> None:
        """Begin the accounts of a stream that goes on with what is pending in `ledger`."""
        self._ledger = ledger
        ledger.accounts = AudioAccounts(ledger.watermark)
        self._taken_over = ledger.end - ledger.watermark
        self._sent: Counter[tuple[str, Role]] = Counter()
        self._replayed = 0
        self._words: Counter[str] = Counter()
        self._switches: Counter[tuple[str, str, ErrorKind | SwitchReason]] = Counter()
        self._lateness = array("d")
        """Of the newest finals, in seconds. A number in an array takes 8 bytes, in a list 32."""
        self._worst = 0.0

    def __repr__(self) -> str:
        return f"StreamAccounts({self._ledger.accounts!r}, words={self._words.total()})"

    def audio_sent(self, provider: str, role: Role, samples: int, replayed: int) -> None:
        """Count samples that a connection was sent in a role.

        `replayed`: how many of them it was sent before it had caught up with the live edge.
        """
        if samples:
            self._sent[provider, role] += samples
        if role in (Role.ACTIVE, Role.RECONNECT):
            self._replayed += replayed

    def final_emitted(self, final: FinalEmitted) -> None:
        """Count the words of a final, and how late they came."""
        self._words[final.provider] += final.words
        if final.lateness is not None:
            self._lateness.append(final.lateness)
            del self._lateness[:-MAX_LATENESS]
            self._worst = max(self._worst, final.lateness)

    def switched(self, switch: Switched) -> None:
        """Count a switch."""
        self._switches[switch.from_provider, switch.to_provider, switch.reason] += 1

    def ended(self, reason: StreamEndReason, *, gone: int) -> StreamEnded:
        """Return the accounts of the stream, whose connections must all be closed by now.

        `gone`: samples of speech that left the window, and that no words have covered since.
        """
        ledger, audio, seconds = self._ledger, self._ledger.accounts, self._ledger.seconds
        pending = ledger.end - ledger.watermark - audio.reported_pending
        # A stream that has finished has no word left, and nobody waits for the rest.
        silence = pending if reason is StreamEndReason.FINISHED else 0
        return StreamEnded(
            at=seconds(ledger.end),
            reason=reason,
            pushed=seconds(ledger.end - audio.begin),
            taken_over=seconds(self._taken_over),
            final=seconds(audio.final + audio.dropped - gone),
            silence=seconds(audio.silence + silence),
            lost=seconds(audio.lost + gone),
            buffered=seconds(pending - silence),
            replayed=seconds(self._replayed),
            hedged=seconds(self._sent_as(Role.HEDGE)),
            probed=seconds(self._sent_as(Role.PROBE)),
            sent=tuple(
                AudioSent(provider=provider, role=role, seconds=seconds(samples))
                for (provider, role), samples in self._sent.items()
            ),
            words=dict(self._words),
            switches=tuple(
                SwitchCount(from_provider=old, to_provider=new, reason=why, count=count)
                for (old, new, why), count in self._switches.items()
            ),
            lateness=self._lateness_of_finals(),
        )

    def _sent_as(self, role: Role) -> int:
        return sum(samples for (_, sent_as), samples in self._sent.items() if sent_as is role)

    def _lateness_of_finals(self) -> Lateness:
        known = sorted(self._lateness)
        if not known:
            return Lateness()
        return Lateness(
            p50=_percentile(known, 0.50),
            p99=_percentile(known, 0.99),
            worst=self._worst,
            count=len(known),
        )


def _percentile(known: list[float], share: float) -> float:
    """Return the least of some sorted values that is not below `share` of them."""
    return known[math.ceil(share * len(known)) - 1]
