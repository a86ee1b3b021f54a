"""Bounded audio by session position: what is settled, what is voiced, what still owes words.

Positions are samples from the first frame of the session. The ledger holds no audio, only spans;
the shell keeps the frames from `start` on.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from ..policy import ReplayPolicy


@dataclass(slots=True)
class Segment:
    """A stretch of local voice activity; `end` is `None` while it lasts."""

    start: int
    end: int | None = None


Spans = tuple[tuple[int, int], ...]
"""Stretches of audio from a position to another, in order and apart."""


class AudioLedger:
    """What of the session's audio is settled, and what may have to be sent again."""

    def __init__(self, policy: ReplayPolicy, *, vad_enabled: bool) -> None:
        """`vad_enabled`: local voice activity will be reported; without it all audio may be speech."""
        self._policy = policy
        self.vad_enabled = vad_enabled
        self.rate = 0
        self.start = 0
        self.end = 0
        self.watermark = 0
        self.committed_through = 0
        """The watermark as evidence has set it: what left the window was not told by that."""
        self.retain_from: int | None = None
        """What is settled is kept from here on: a second opinion that is sent it may not miss the
        middle of a word."""
        self._flushes: list[int] = []
        self._segments: list[Segment] = []

    def __repr__(self) -> str:
        return (
            f"AudioLedger(start={self.start}, watermark={self.watermark}, end={self.end}, "
            f"rate={self.rate}, marks={self._flushes}, segments={len(self._segments)})"
        )

    # -- what happened

    def push(self, samples: int, rate: int) -> Spans:
        """Append audio; returns the unsettled speech that fell out of the window, if any did."""
        if samples < 0 or rate < 1 or self.rate not in (0, rate):
            raise AssertionError(f"{samples} samples at {rate} Hz after {self.rate} Hz")
        self.rate = rate
        self.end += samples
        excess = self.end - self.start - self.samples(self._policy.window)
        if excess <= 0:
            return ()
        oldest = self.start + excess
        gone = self.voiced_spans(self.watermark, oldest)
        self.watermark = max(self.watermark, oldest)
        self._forget(oldest)
        return gone

    def add_flush(self) -> None:
        """Note a flush at the live edge."""
        if not self._flushes or self._flushes[-1] != self.end:
            self._flushes.append(self.end)

    def speech_started(self, at: int) -> None:
        """Voice began at `at`."""
        if self.speaking:
            raise AssertionError("speech started twice")
        self._segments.append(
            Segment(max(at, self._segments[-1].end or 0) if self._segments else at)
        )

    def speech_ended(self, at: int) -> None:
        """Voice ended at `at`."""
        if not self.speaking:
            raise AssertionError("speech ended without having started")
        segment = self._segments[-1]
        segment.end = max(segment.start, at)

    # -- what is settled

    def commit(self, to: int) -> None:
        """Everything before `to` is finished with. Never moves back."""
        self.committed_through = max(self.committed_through, min(to, self.end))
        self.watermark = max(self.watermark, self.committed_through)
        self.trim()

    def commit_silence(self, heard: int) -> None:
        """Settle what owes no words; `heard`: how far the active leg can have heard the audio.

        A leg must have heard well past it: the final of a short last word may be under way, or of
        a whisper that local voice activity missed. Voice too short to owe words waits as long as
        later words are owed: its word may come with theirs. What may be a word is kept for longer,
        in case that the leg turns out to have gone deaf.
        """
        self.trim()
        if not self.vad_enabled:
            return
        until = heard - self.samples(self._policy.commit_grace)
        pending = self._pending_segments()
        if not any(s.end is None or self._is_pending(s, s.end) for s in pending):
            pending = [s for s in pending if (s.end or self.end) > heard - self._grace(s)]
        if pending:
            first = pending[0]
            pad = self.samples(self._policy.trim_silence_to / 2)
            until = min(until, self.watermark if self._is_remainder(first) else first.start - pad)
        if until > self.watermark:
            self.commit(until)

    def trim(self) -> None:
        """Forget what is settled, and before nobody who is still to be sent it."""
        before = self.watermark - self.samples(self._policy.lookback)
        self._forget(before if self.retain_from is None else min(before, self.retain_from))

    def has_pending_speech(self, *, at_least: float | None = None) -> bool:
        """Whether audio after the watermark owes words.

        `at_least`: seconds of voiced audio that count, half as many in a segment of its own; by
        default the policy's distinction between such a segment and a remainder.
        """
        if not self.vad_enabled:
            return False
        if at_least is None:
            return self.first_pending() is not None
        return any(
            self._segment_end(s) - max(s.start, self.watermark)
            >= self.samples(at_least if self._is_remainder(s) else at_least / 2)
            for s in self._pending_segments()
        )

    def has_pending_speech_before(self, position: int) -> bool:
        """Whether audio between the watermark and `position` owes words."""
        return self.vad_enabled and any(
            self._is_pending(s, min(self._segment_end(s), position))
            for s in self._pending_segments()
            if s.start < position
        )

    def speech_continues(self, after: int, until: int) -> bool:
        """Whether voice between `after` and `until` lasts, or owes words: another ask will come."""
        return any(
            s.start < until
            and self._segment_end(s) > after
            and (s.end is None or self._is_pending(s, s.end))
            for s in self._pending_segments()
        )

    def first_pending(self) -> Segment | None:
        """The first segment that owes words, if there is one."""
        for segment in self._pending_segments():
            if self._is_pending(segment, self._segment_end(segment)):
                return segment
        return None

    def remainder_end(self) -> int:
        """Where the segment around the watermark ends, or the watermark, if it is in none."""
        inside = [self._segment_end(s) for s in self._pending_segments() if self._is_remainder(s)]
        return inside[0] if inside else self.watermark

    def last_speech_end(self, position: int) -> int:
        """Where the last segment that had ended by `position` ends; 0 if there is none."""
        return max((s.end for s in self._segments if s.end and s.end <= position), default=0)

    def last_voice_end(self, position: int) -> int:
        """Where the last voice before `position` ends, at the latest.

        What is forgotten may have been voice.
        """
        if not self.vad_enabled:
            return position
        ends = [min(self._segment_end(s), position) for s in self._segments if s.start < position]
        return ends[-1] if ends else min(position, self.start)

    # -- what to send

    def next_flush(self, after: int) -> int | None:
        """The first flush mark later than `after`."""
        index = bisect_right(self._flushes, after)
        return self._flushes[index] if index < len(self._flushes) else None

    def next_pause(self, after: int) -> int | None:
        """The first place later than `after` where speech that owes words has ended.

        A little behind the voice, so that the last sound is whole.
        """
        if not self.vad_enabled:
            return None  # speech that was open when VAD was lost was cut there, perhaps in a word
        half = self.samples(self._policy.trim_silence_to / 2)
        pending = self._pending_segments()
        for segment, following in zip_longest(pending, pending[1:]):
            if segment.end is None or not self._is_pending(segment, segment.end):
                continue
            place = segment.end + half
            if following is not None:
                place = min(place, max(segment.end, following.start))
            if place > after:
                return place
        return None

    def next_trim(self, position: int) -> tuple[int, int]:
        """The first silence that a replay from `position` on leaves out: from where, to where.

        Both are the live edge, if there is none.
        """
        edge = self.end, self.end
        return next((cut for cut in self._trims() if cut[1] > position), edge)

    @property
    def hold_back_position(self) -> int:
        """The position before which silence is certain to be silence."""
        return self.end - self.samples(self._policy.hold_back)

    def segment_start(self, position: int) -> int | None:
        """Where the speech segment around `position` began, if it is inside one."""
        for segment in reversed(self._segments):
            if segment.start <= position:
                inside = segment.end is None or position < segment.end
                return segment.start if inside else None
        return None

    # -- arithmetic

    @property
    def speaking(self) -> bool:
        """Whether local voice activity lasts."""
        return bool(self._segments) and self._segments[-1].end is None

    @property
    def silence_duration(self) -> float:
        """Seconds of local silence up to the live edge; 0 while somebody speaks."""
        if self.speaking or not self.rate:
            return 0.0
        last = (self._segments[-1].end or 0) if self._segments else 0
        return (self.end - last) / self.rate

    def voiced_samples(self, start: int, end: int) -> int:
        """Samples of voice in a span; all of it when nobody listens."""
        return sum(until - since for since, until in self.voiced_spans(start, end))

    def voiced_spans(self, start: int, end: int) -> Spans:
        """The voice in a span; all of it when nobody listens."""
        if not self.vad_enabled:
            return ((start, end),) if start < end else ()
        cut = ((max(s.start, start), min(self._segment_end(s), end)) for s in self._segments)
        return tuple((since, until) for since, until in cut if since < until)

    def samples(self, seconds: float) -> int:
        """Seconds as samples; 0 before the first frame has told the rate."""
        return round(seconds * self.rate)

    def seconds(self, position: int) -> float:
        """A position as seconds; 0 before the first frame has told the rate."""
        return position / self.rate if self.rate else 0.0

    @property
    def window(self) -> float:
        """Seconds of audio that are kept."""
        return self._policy.window

    # -- inside

    def _trims(self) -> Iterator[tuple[int, int]]:
        """All silence that is long enough to be cut, without what is kept around speech."""
        if not self.vad_enabled:
            return
        half = self.samples(self._policy.trim_silence_to / 2)
        least = self.samples(self._policy.trim_silence_over) - half
        ends = [0, *(s.end for s in self._segments if s.end is not None)]
        starts = [*(s.start - half for s in self._segments), self.hold_back_position]
        # while somebody speaks there is an end less
        for since, until in zip(ends, starts, strict=False):
            if until - max(since, self.watermark) > least:
                yield (since + half if since else 0), until

    def _grace(self, segment: Segment) -> int:
        """How much a leg must have heard after voice that owes nothing, before that is settled."""
        left = self._segment_end(segment) - max(segment.start, self.watermark)
        word = left >= self.samples(self._policy.min_pending_speech)
        return self.samples(self._policy.remainder_grace if word else self._policy.commit_grace)

    def _segment_end(self, segment: Segment) -> int:
        return segment.end if segment.end is not None else self.end

    def _is_pending(self, segment: Segment, end: int) -> bool:
        if self._is_remainder(segment):
            return end - self.watermark >= self.samples(self._policy.min_pending_remainder)
        return end - segment.start >= self.samples(self._policy.min_pending_speech)

    def _is_remainder(self, segment: Segment) -> bool:
        return segment.start < self.watermark

    def _pending_segments(self) -> list[Segment]:
        return [s for s in self._segments if s.end is None or s.end > self.watermark]

    def _forget(self, before: int) -> None:
        self.start = max(self.start, before)
        self._flushes = [m for m in self._flushes if m >= self.start]
        while self._segments and (end := self._segments[0].end) is not None and end < self.start:
            self._segments.pop(0)
