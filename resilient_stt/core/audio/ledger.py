"""The ledger of a stream's audio: which of it is committed, and which may have to be sent again.

Theory of operation
-------------------

Positions are samples from the first frame of the session, so they never depend on wall time. The
ledger holds positions only; the shell keeps the frames from `start` on. Four positions split the
session's audio, and none of them ever moves back:

    0 ....... start ......... committed_through <= watermark ......... end
      gone          lookback                               pending          (live edge)

- Audio before the `watermark` is finished with: a final transcript covers it, or it is silence.
- Audio between the watermark and `end` is pending. If the active connection fails, the next one
  is sent this audio again.
- `ReplayPolicy.lookback` seconds before the watermark are kept too, so that a replay can begin
  before a whole word.
- The last committed words are kept as well (`known_words`), even if they are older than the window.
- The ledger holds `ReplayPolicy.window` seconds at most. If pending audio grows older than that,
  the watermark passes over it, and `push` returns the speech in it, which is lost. Nothing else
  moves the watermark beyond `committed_through`.

Local voice activity divides the audio into segments. A segment may hold words that no final has
covered yet; it is then called pending. A segment that the watermark has not touched is pending from
`ReplayPolicy.min_pending_speech` (0.25 s) on: "no" is a word. The remainder of a segment that the
watermark is inside of is pending only from `min_pending_remainder` (0.5 s) on, because a detector's
end of speech and a provider's end of the last word are never the same. A segment of known noise is
not pending: nobody waits for its words. But it may hold some all the same, so that it is kept for a
replay for `remainder_grace`, and asked about at the end of the input.

Without local voice activity (`vad_enabled` is false) all audio may be speech: nothing is committed
as silence, and no silence is cut out of a replay.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

from ..messages import VoiceSound
from ..policy import ReplayPolicy
from .audio_accounts import AudioAccounts
from .known_words import KnownWords
from .spans import Spans, after, total


@dataclass(slots=True)
class Segment:
    """A stretch of local voice activity in samples; `end` is `None` while it lasts."""

    start: int
    end: int | None = None
    sound: VoiceSound | None = None
    """How it sounded; `None` while it lasts, and if that was not measured."""
    has_words: bool = False
    """Whether a final had words in it."""
    is_known_noise: bool = False
    """Whether it sounds like noise in which no words were found (`stalls.known_noise`)."""

    @property
    def samples(self) -> int:
        """How long it is; 0 while it lasts."""
        return 0 if self.end is None else self.end - self.start


class AudioLedger:
    """The positions, voice segments and flushes of one stream's audio."""

    def __init__(self, policy: ReplayPolicy, *, vad_enabled: bool) -> None:
        """Start an empty ledger.

        Args:
            policy: how much is kept, and how much voice may hold a word.
            vad_enabled: whether local voice activity is reported; without it all audio may be
                speech.
        """
        self._policy = policy
        self.vad_enabled = vad_enabled
        """The engine sets it to false if the detector fails in mid-stream."""
        self.rate = 0
        """Samples per second; 0 before the first frame."""
        self._window = 0
        """The policy's window in samples."""
        self.start = 0
        self.end = 0
        self.watermark = 0
        self.committed_through = 0
        """Where `commit` has moved the watermark. Audio that left the window moves the watermark
        without having been transcribed, and so does not move this."""
        self.retain_from: int | None = None
        """Keep committed audio from here on, because an open connection is still to be sent it. A
        hedge that skipped it could miss the middle of a word
        (tests/schedules/hedge-beside-committed-words.json)."""
        self.known_words: KnownWords | None = None
        """The last committed words. They are kept, however old they are: a hedge is sent them, to
        show that it hears."""
        self.known_words_in_use = False
        """Whether a connection is still to be sent them."""
        self._flushes: list[int] = []
        self._segments: list[Segment] = []
        self.accounts = AudioAccounts(0)
        """What became of the audio before the watermark; each stream begins its own."""

    def __repr__(self) -> str:
        return (
            f"AudioLedger(start={self.start}, watermark={self.watermark}, end={self.end}, "
            f"rate={self.rate}, flushes={self._flushes}, segments={len(self._segments)})"
        )

    # -- what happened

    def push(self, samples: int, rate: int) -> Spans:
        """Append `samples` of audio at `rate` Hz.

        Returns:
            The pending speech that fell out of the window and is lost by that; usually nothing.

        Raises:
            AssertionError: `samples` is negative, or `rate` differs from that of earlier audio.
        """
        if samples < 0 or rate < 1 or self.rate not in (0, rate):
            raise AssertionError(f"{samples} samples at {rate} Hz after {self.rate} Hz")
        if not self.rate:
            self.rate, self._window = rate, round(self._policy.window * rate)
        self.end += samples
        excess = self.end - self.start - self._window
        if excess <= 0:
            return ()
        oldest = self.start + excess
        lost = self.accounts.unreported(self.voiced_spans(self.watermark, oldest))
        self.accounts.dropped += total(lost)
        self._finish_with(oldest, of_it=total(lost))
        self._forget(oldest)
        return lost

    def abandon(self, before: int) -> Spans:
        """Finish with all audio before `before`, in which no words will be found any more.

        Returns:
            The voice in it that may have held a word, which is lost by that and must be reported.
        """
        if before <= self.watermark:
            return ()
        lost = self.accounts.unreported(self.pending_voice(before))
        self.accounts.gave_up(total(lost))
        self._finish_with(before, of_it=total(lost))
        self._forget(before)
        return lost

    def lose(self, voice: Spans) -> int:
        """Note that pending voice is reported as lost, though a final is about to skip it.

        Returns:
            How many samples of it are lost by that.
        """
        lost = self.accounts.unreported(after(voice, self.watermark))
        self.accounts.reported_lost(lost)
        return total(lost)

    def add_flush(self) -> None:
        """Note that the user flushed at the live edge. A replay repeats the flush at its place."""
        if not self._flushes or self._flushes[-1] != self.end:
            self._flushes.append(self.end)

    def speech_started(self, position: int) -> None:
        """Open a segment at `position`.

        Raises:
            AssertionError: the last segment is still open.
        """
        if self.speaking:
            raise AssertionError("speech started twice")
        if self._segments:
            # A detector pads what it reports, so a segment may begin before the last one's end.
            position = max(position, self._segments[-1].end or 0)
        self._segments.append(Segment(position))

    def speech_ended(self, position: int, sound: VoiceSound | None = None) -> Segment:
        """Close the open segment at `position`, and return it.

        `sound`: how it sounded, if that was measured.

        Raises:
            AssertionError: no segment is open.
        """
        if not self.speaking:
            raise AssertionError("speech ended without having started")
        segment = self._segments[-1]
        segment.end = max(segment.start, position)
        segment.sound = sound
        return segment

    # -- committing

    def commit(self, position: int) -> None:
        """Finish with all audio before `position`, because a final covers it.

        A position before the watermark does nothing.
        """
        self.accounts.final += self._commit(position)

    def commit_noise(self, position: int) -> None:
        """Finish with all audio before `position`, because no provider has found words in it."""
        self.accounts.silence += self._commit(position)

    def commit_silence(self, processed_through: int) -> None:
        """Commit audio in which no word can be pending any more.

        `processed_through` is how far the active connection can have processed the audio. Silence
        is committed only when the connection is `ReplayPolicy.commit_grace` past it. The final of
        a short last word may still be under way, or that of a whisper that local voice activity
        missed, and a connection that drops now would lose it
        (tests/schedules/short-last-word-of-a-sentence.json).
        """
        self.trim()
        if not self.vad_enabled:
            return
        until = processed_through - self.samples(self._policy.commit_grace)
        pending = self.unfinished_segments()
        # A segment too short for a word waits while a later segment is pending: recognizers join
        # short segments to the next one, so its word may come with that final. Once nothing is
        # pending, it waits for its own grace.
        if not any(s.end is None or self._is_pending(s, s.end) for s in pending):
            pending = [
                s for s in pending if (s.end or self.end) > processed_through - self._grace(s)
            ]
        if pending:
            first = pending[0]
            # Keep as much silence before the segment as a replay sends before speech.
            padding = self.samples(self._policy.trim_silence_to / 2)
            until = min(
                until, self.watermark if self._is_remainder(first) else first.start - padding
            )
        if until > self.watermark:
            self.commit_noise(until)

    def trim(self) -> None:
        """Forget committed audio that is older than the lookback and that no connection needs."""
        before = self.watermark - self.samples(self._policy.lookback)
        self._forget(before if self.retain_from is None else min(before, self.retain_from))

    def note_known_words(self, words: KnownWords) -> None:
        """Keep these committed words, in place of those before."""
        if words.start >= self.start and not self.known_words_in_use and self.vad_enabled:
            self.known_words = words

    @property
    def lookback_start(self) -> int:
        """Where a replay may begin at the earliest."""
        return max(self.start, self.watermark - self.samples(self._policy.lookback))

    # -- what is pending

    def has_pending_speech(self, *, at_least: float | None = None) -> bool:
        """Whether a word may be pending after the watermark.

        Args:
            at_least: seconds of voice that count in the remainder of a segment; half as many count
                in a segment of its own. By default the policy's `min_pending_remainder` and
                `min_pending_speech`. A shorter time is asked for where a connection is about to be
                left: a last word of 0.25 s was lost behind a final whose end was 0.08 s too late
                (commit 91b9df6).
        """
        if not self.vad_enabled:
            return False
        if at_least is None:
            return self.first_pending() is not None
        return any(self._may_hold_word(s, at_least) for s in self.unfinished_segments())

    def pending_voice(self, before: int) -> Spans:
        """The voice between the watermark and `before` that may hold a word.

        All of that audio without voice activity. A stretch too short for a word does not count.
        """
        if not self.vad_enabled:
            return self.voiced_spans(self.watermark, before)
        least = self._policy.min_pending_speech
        clipped = (
            (max(s.start, self.watermark), min(self._segment_end(s), before))
            for s in self.unfinished_segments()
            if self._may_hold_word(s, least)
        )
        return tuple((since, until) for since, until in clipped if since < until)

    def has_pending_speech_before(self, position: int) -> bool:
        """Whether a word may be pending between the watermark and `position`."""
        return self.vad_enabled and any(
            self._is_pending(s, min(self._segment_end(s), position))
            for s in self.unfinished_segments()
            if s.start < position
        )

    def speech_continues(self, after: int, until: int) -> bool:
        """Whether voice between `after` and `until` lasts or is pending.

        A final is then due later, so there will be another chance to ask about the audio before.
        """
        return any(
            s.start < until
            and self._segment_end(s) > after
            and (s.end is None or self._is_pending(s, s.end))
            for s in self.unfinished_segments()
        )

    def pause_after(self, position: int) -> float | None:
        """Seconds of silence between the segments before and after `position`.

        `None` if it lies within a segment, or there is none before or after it.
        """
        end = max((s.end for s in self._segments if s.start < position and s.end), default=None)
        start = next((s.start for s in self._segments if s.start >= position), None)
        if end is None or start is None or end > position:
            return None
        return self.seconds(start - end)

    def first_pending(self) -> Segment | None:
        """The first segment in which a word may be pending, or `None`."""
        for segment in self.unfinished_segments():
            if self._is_pending(segment, self._segment_end(segment)):
                return segment
        return None

    def remainder_end(self) -> int:
        """The end of the segment around the watermark; the watermark itself if none is there."""
        for segment in self.unfinished_segments():
            if self._is_remainder(segment):
                return self._segment_end(segment)
        return self.watermark

    def segments_within(self, start: int, end: int) -> list[Segment]:
        """The segments that lie between `start` and `end` as a whole."""
        return [
            s for s in self._segments if s.end is not None and start <= s.start and s.end <= end
        ]

    def known_noise_through(self, before: int) -> int:
        """The end of the known noise between the watermark and `before`.

        The watermark if other voice comes first.
        """
        through = self.watermark
        for segment in self.unfinished_segments():
            if not segment.is_known_noise or segment.end is None or segment.end > before:
                break
            through = segment.end
        return through

    def unfinished_segments(self) -> list[Segment]:
        """The segments that end behind the watermark, the open one included, long enough for a word
        or not."""
        return [s for s in self._segments if s.end is None or s.end > self.watermark]

    # -- where voice is

    def last_speech_end(self, position: int) -> int:
        """The end of the last segment that ended at or before `position`; 0 if there is none."""
        return max((s.end for s in self._segments if s.end and s.end <= position), default=0)

    def last_voice_end(self, position: int) -> int:
        """The latest place at or before `position` where voice can have ended.

        Forgotten audio counts as voice, because its segments are forgotten with it
        (tests/schedules/seam-after-all-voice-was-forgotten.json).
        """
        if not self.vad_enabled:
            return position
        segments = (s for s in self._segments if self._segment_end(s) >= self.start)
        ends = [min(self._segment_end(s), position) for s in segments if s.start < position]
        return ends[-1] if ends else min(position, self.start)

    def segment_start(self, position: int) -> int | None:
        """Where the segment around `position` begins; `None` if `position` is in silence."""
        for segment in reversed(self._segments):
            if segment.start <= position:
                inside = segment.end is None or position < segment.end
                return segment.start if inside else None
        return None

    def segment_before(self, position: int) -> tuple[int, int] | None:
        """Where the segment begins and ends that ends at `position`; `None` if none does."""
        spans = ((s.start, s.end) for s in self._segments if s.end is not None)
        return next((span for span in spans if span[1] == position), None)

    def clean_cut(self, position: int) -> int:
        """A place near `position` that cuts no speech; `position` itself if there is none.

        It is before the segment around `position`, or else before the next one, and not further
        away than `ReplayPolicy.lookback`.
        """
        start, reach = self.segment_start(position), self.samples(self._policy.lookback)
        if start is None:
            return position
        following = [s.start for s in self._segments if s.start > position]
        padding = self.samples(self._policy.trim_silence_to / 2)
        places = [start - padding, *(at - padding for at in following)]
        return next((at for at in places if abs(at - position) <= reach), position)

    def voiced_samples(self, start: int, end: int) -> int:
        """How many samples between `start` and `end` are voice; all without voice activity."""
        return sum(until - since for since, until in self.voiced_spans(start, end))

    def voice_end(self, start: int, samples: int) -> int | None:
        """The position at which so many samples of voice have passed since `start`.

        `None` if there has not been so much voice yet.
        """
        if samples <= 0:
            return start
        for since, until in self.voiced_spans(start, self.end):
            if samples <= until - since:
                return since + samples
            samples -= until - since
        return None

    def voiced_spans(self, start: int, end: int) -> Spans:
        """The voice between `start` and `end`; all of it without voice activity."""
        if not self.vad_enabled:
            return ((start, end),) if start < end else ()
        return self._within(self._segments, start, end)

    def unexplained_voice(self, start: int, end: int) -> Spans:
        """The voice between `start` and `end` that is not known noise."""
        if not self.vad_enabled:
            return self.voiced_spans(start, end)
        return self._within((s for s in self._segments if not s.is_known_noise), start, end)

    @property
    def speaking(self) -> bool:
        """Whether the last segment is still open."""
        return bool(self._segments) and self._segments[-1].end is None

    @property
    def silence_duration(self) -> float:
        """Seconds of silence up to the live edge; 0 while a segment is open."""
        if self.speaking or not self.rate:
            return 0.0
        last = (self._segments[-1].end or 0) if self._segments else 0
        return (self.end - last) / self.rate

    # -- what audio alone brings

    def voice_due(self, since: int, seconds: float) -> int | None:
        """Where there may be so many seconds of unexplained voice since `since`, if it goes on.

        `None` if there are already, or if no voice goes on at the live edge.
        """
        if not self.speaking:
            return None
        voiced = total(self.unexplained_voice(since, self.end))
        if self.seconds(voiced) >= seconds:
            return None
        return self.end + max(1, int(seconds * self.rate) - voiced)

    @property
    def pending_due(self) -> int | None:
        """Where the open segment becomes long enough to be pending; `None` if it is, or is none."""
        if not self.speaking or self._is_pending(self._segments[-1], self.end):
            return None
        policy, start = self._policy, self._segments[-1].start
        if self._is_remainder(self._segments[-1]):
            return self.watermark + self.samples(policy.min_pending_remainder)
        return start + self.samples(policy.min_pending_speech)

    @property
    def window_due(self) -> int:
        """Where the oldest audio begins to leave the window, unless some is committed before."""
        return self.start + self._window + 1

    # -- what to send

    def next_flush(self, after: int) -> int | None:
        """The position of the first user flush later than `after`, or `None`."""
        index = bisect_right(self._flushes, after)
        return self._flushes[index] if index < len(self._flushes) else None

    def next_pause(self, after: int) -> int | None:
        """The first position later than `after` where pending speech has ended, or `None`.

        A connection may be flushed there. The position is half of `trim_silence_to` (0.15 s)
        behind the voice, so that the last sound is whole, but not inside the next segment.
        """
        if not self.vad_enabled:
            # The segment that was open when the detector failed ends there, perhaps inside a word.
            return None
        half = self.samples(self._policy.trim_silence_to / 2)
        segments = self.unfinished_segments()
        for segment, following in zip_longest(segments, segments[1:]):
            if segment.end is None or not self._is_long_enough(segment, segment.end):
                continue
            place = segment.end + half
            if following is not None:
                place = min(place, max(segment.end, following.start))
            if place > after:
                return place
        return None

    def next_trim(self, position: int) -> tuple[int, int]:
        """The first (start, end) of silence that a replay from `position` leaves out.

        Both are the live edge if nothing is left out.
        """
        edge = self.end, self.end
        return next((cut for cut in self._trims() if cut[1] > position), edge)

    @property
    def hold_back_position(self) -> int:
        """Silence behind this position may still turn out to be speech.

        Detectors report the start of speech late, so `ReplayPolicy.hold_back` seconds before the
        live edge are never cut.
        """
        return self.end - self.samples(self._policy.hold_back)

    # -- units

    def samples(self, seconds: float) -> int:
        """Seconds as samples; 0 before the first frame, which sets the rate."""
        return round(seconds * self.rate)

    def seconds(self, position: int) -> float:
        """Samples as seconds; 0 before the first frame, which sets the rate."""
        return position / self.rate if self.rate else 0.0

    @property
    def window(self) -> float:
        """Seconds of audio that are kept at most."""
        return self._policy.window

    # -- inside

    def _within(self, segments: Iterable[Segment], start: int, end: int) -> Spans:
        """The segments, cut off at `start` and `end`."""
        clipped = ((max(s.start, start), min(self._segment_end(s), end)) for s in segments)
        return tuple((since, until) for since, until in clipped if since < until)

    def _trims(self) -> Iterator[tuple[int, int]]:
        """Every stretch of pending silence that is long enough to be cut, without its padding.

        Half of `trim_silence_to` stays on either side of speech, because detectors are not exact
        about its edges.
        """
        if not self.vad_enabled:
            return
        half = self.samples(self._policy.trim_silence_to / 2)
        shortest = self.samples(self._policy.trim_silence_over) - half
        ends = [0, *(s.end for s in self._segments if s.end is not None)]
        starts = [*(s.start - half for s in self._segments), self.hold_back_position]
        # An open segment has a start and no end, so the lists may differ in length by one.
        for since, until in zip(ends, starts, strict=False):
            if until - max(since, self.watermark) > shortest:
                yield (since + half if since else 0), until

    def _grace(self, segment: Segment) -> int:
        """Samples a connection must have processed behind a segment before it may be committed.

        A remainder that is long enough for a word, and too short to be pending, waits for
        `remainder_grace`. If the connection has stalled there, that is noticed by the next
        speech, and until then the remainder must stay available for a replay.
        """
        left = self._segment_end(segment) - max(segment.start, self.watermark)
        may_be_word = left >= self.samples(self._policy.min_pending_speech)
        return self.samples(
            self._policy.remainder_grace if may_be_word else self._policy.commit_grace
        )

    def _segment_end(self, segment: Segment) -> int:
        return segment.end if segment.end is not None else self.end

    def _is_pending(self, segment: Segment, end: int) -> bool:
        """Whether a segment that is cut off at `end` may hold a pending word."""
        return not segment.is_known_noise and self._is_long_enough(segment, end)

    def _is_long_enough(self, segment: Segment, end: int) -> bool:
        """Whether a segment that is cut off at `end` is long enough to hold a pending word."""
        if self._is_remainder(segment):
            return end - self.watermark >= self.samples(self._policy.min_pending_remainder)
        return end - segment.start >= self.samples(self._policy.min_pending_speech)

    def _may_hold_word(self, segment: Segment, at_least: float) -> bool:
        """Whether a segment has so many seconds of pending voice; half as many of its own."""
        least = self.samples(at_least if self._is_remainder(segment) else at_least / 2)
        return self._segment_end(segment) - max(segment.start, self.watermark) >= least

    def _is_remainder(self, segment: Segment) -> bool:
        """Whether the watermark has passed the beginning of a segment."""
        return segment.start < self.watermark

    def _commit(self, position: int) -> int:
        """Finish with all audio before `position`. Returns the samples to count for that."""
        self.committed_through = max(self.committed_through, min(position, self.end))
        passed = self.accounts.passed(self.watermark, max(self.watermark, self.committed_through))
        self.watermark = max(self.watermark, self.committed_through)
        self.trim()
        return passed

    def _finish_with(self, before: int, *, of_it: int) -> None:
        """Finish with audio in which no final was found; all but `of_it` samples are silence."""
        if before > self.watermark:
            self.accounts.silence += self.accounts.passed(self.watermark, before) - of_it
            self.watermark = before

    def _forget(self, before: int) -> None:
        """Drop everything before a position; the shell releases its frames up to `start`."""
        self.start = max(self.start, before)
        self._flushes = [m for m in self._flushes if m >= self.start]
        known_start, known_end, _ = self.known_words or (0, 0, 0)
        while (
            self._segments
            and (end := self._segments[0].end) is not None
            and end < self.start
            and not (end > known_start and self._segments[0].start < known_end)
        ):
            self._segments.pop(0)
