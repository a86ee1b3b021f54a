"""Tells a FINAL that a provider sends twice from words that are spoken twice.

Duplicates reach the language model as words that nobody said, so they have to go. But "yes, yes"
has to stay. The evidence for a duplicate depends on what times a provider gives; in doubt, a FINAL
is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..audio.ledger import AudioLedger
from ..messages import EventKind, TranscriptEvent
from ..policy import ReplayPolicy
from .sender import AudioSender


@dataclass(frozen=True, slots=True)
class _LastFinal:
    text: str
    start: float | None
    end: float | None
    at: float
    cursor: int
    """What the connection had been sent when it came."""
    since: int
    """What it had been sent when the FINAL before it came."""
    was_live: bool
    """Whether the connection had processed all voice that it had been sent, at the latest."""


class DuplicateFinals:
    """Remembers the last FINAL with text of one connection."""

    def __init__(self, ledger: AudioLedger, policy: ReplayPolicy) -> None:
        self._ledger = ledger
        self._policy = policy
        self._last: _LastFinal | None = None
        self._clock_goes_on = False
        """Whether a FINAL began where another one had ended: its times are those of the connection,
        and not of the utterance."""
        self._went_on = False
        """Whether speech or text has come since the last FINAL."""

    def __repr__(self) -> str:
        return f"DuplicateFinals(clock_goes_on={self._clock_goes_on})"

    def is_duplicate(self, event: TranscriptEvent, cursor: int, now: float) -> bool:
        """Return whether a FINAL without word times repeats the last one.

        `cursor`: what its connection has been sent.
        """
        last = self._last
        if last is None or event.kind is not EventKind.FINAL or event.text != last.text:
            return False
        least = self._ledger.samples(self._policy.min_pending_speech)
        has_new_voice = self._ledger.voiced_samples(last.cursor, cursor) >= least
        if event.end is not None and last.end is not None:
            same = (event.start, event.end) == (last.start, last.end)
            return same and (self._clock_goes_on or not has_new_voice)
        # Without times, only what comes at once is a duplicate: a word takes longer to speak. A
        # provider that works off a backlog may well answer two utterances at once.
        at_once = now - last.at < self._policy.min_pending_speech
        spans = self._ledger.voiced_spans(last.since, last.cursor)
        return (
            at_once
            and last.was_live
            and len([1 for start, end in spans if end - start >= least]) <= 1
            and not (has_new_voice or self._went_on)
        )

    def note(self, event: TranscriptEvent, sender: AudioSender, now: float) -> None:
        """Note an event that is no duplicate."""
        if event.kind is not EventKind.FINAL:
            self._went_on |= event.kind is EventKind.START or bool(event.text.strip())
            return
        if not event.text.strip():
            return
        last, ledger, cursor = self._last, self._ledger, sender.cursor
        if last is not None and last.end and event.start is not None:
            self._clock_goes_on |= event.start >= last.end
        unprocessed = ledger.voiced_samples(sender.processed_through(ledger, now), cursor)
        self._last = _LastFinal(
            event.text,
            event.start,
            event.end,
            now,
            cursor,
            last.cursor if last else 0,
            unprocessed < ledger.samples(self._policy.min_pending_speech),
        )
        self._went_on = False
