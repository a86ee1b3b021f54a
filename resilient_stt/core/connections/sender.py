"""Sends the session's audio to one connection.

Theory of operation
===================

`cursor` is the session sample up to which the connection was sent audio. `send` moves it towards
the live edge, as far as the pace of the provider allows (a token bucket), and stops at three kinds
of places on the way:

* A flush mark of the user. The connection is flushed there if its provider answers flushes. Others
  make something else of it: Gladia ends its session, and AssemblyAI is sent a chunk that is too
  short for it.
* A pause, where pending speech has ended. A final is due there. Providers with slow
  endpointing are flushed at pauses, so that the final comes early.
* Silence that a replay leaves out, until the connection has caught up with the live edge. The
  `Timeline` remembers what was left out, so that times can be put back on session time.

At each place where a final becomes due, the stall detector records its position and the time.

A recognizer that is sent audio faster than real time has not processed it at once. `processed_by`
is when it has processed everything that it was sent, at `WatchdogPolicy.min_processing_rate`.
"""

from __future__ import annotations

from ..audio.known_words import LeftOut
from ..audio.ledger import AudioLedger
from ..audio.pacing import TokenBucket
from ..audio.timeline import Timeline
from ..messages import EndInput, FlushConnection, SendAudio, SendSilence
from ..policy import MIN_CHUNK, ProviderTraits, ReplayPolicy
from ..stalls.detector import StallDetector


class AudioSender:
    """Sends audio to one connection, and knows what it was sent."""

    def __init__(
        self,
        connection_id: int,
        provider: ProviderTraits,
        stall_detector: StallDetector,
        policy: ReplayPolicy,
        ledger: AudioLedger,
        start: int,
        now: float,
        *,
        asks_at_pauses: bool,
        flush_at_pauses: bool,
        left_out: LeftOut | None = None,
    ) -> None:
        """`start`: the session sample that is sent first. `left_out`: committed audio to leave
        out, behind the known words that come first.

        `asks_at_pauses`: a final is due where speech ends; `flush_at_pauses`: by a flush.
        """
        self._id = connection_id
        self._provider = provider
        self._stall_detector = stall_detector
        self._max_chunk = policy.max_chunk
        self._processing_rate = stall_detector.policy.min_processing_rate
        self._last_word_margin = stall_detector.policy.last_word_margin
        self._asks_at_pauses = asks_at_pauses
        self._flush_at_pauses = flush_at_pauses
        self.left_out = left_out
        """Committed audio that it leaves out, behind the known words that come first."""
        self._bucket = TokenBucket(provider.pace, now)
        self._last_flush = ledger.watermark if ledger.end else -1
        """The last flush mark that is done with: those before the watermark need not be repeated
        (test_committed_flushes_are_not_repeated)."""
        self._last_pause = start
        """The last end of speech at which a final became due."""
        self.timeline: Timeline | None = None
        """Maps the connection's own time to session time; `None` until audio was sent."""
        self.cursor = start
        """The session sample up to which it was sent audio, or silence was left out."""
        self.caught_up = start == ledger.end
        """Whether it has reached the live edge once. From then on no silence is left out: a live
        recognizer needs it to find the ends of sentences."""
        self._samples_replayed = 0 if self.caught_up else None
        """Samples that it had been sent when it caught up; `None` before."""
        self.processed_by = now
        """When the provider has processed everything that it was sent."""
        self.input_ended_at: float | None = None
        """When it was asked for its last final; `None` before."""
        self._silence = 0
        """Samples of silence that it was sent at the end of its input."""
        self._end_due_at: float | None = None
        """When the end of its input is due, behind the silence; `None` if it is not."""

    def __repr__(self) -> str:
        return f"AudioSender(cursor={self.cursor}, caught_up={self.caught_up})"

    @property
    def seconds_sent(self) -> float:
        """Seconds of audio that it was sent."""
        return self.timeline.seconds if self.timeline else 0.0

    @property
    def samples_sent(self) -> int:
        """Samples that it was sent, with the silence at the end of its input."""
        return self._silence + (self.timeline.sent if self.timeline else 0)

    @property
    def samples_replayed(self) -> int:
        """Samples that it was sent before it had caught up with the live edge."""
        return self.samples_sent if self._samples_replayed is None else self._samples_replayed

    @property
    def flushed_through(self) -> int:
        """The session sample of the last flush of the user that it has passed or may leave out."""
        return self._last_flush

    @property
    def silence_trimmed(self) -> float:
        """Seconds of silence that were left out."""
        return self.timeline.seconds_trimmed if self.timeline else 0.0

    @property
    def sends_known_words(self) -> bool:
        """Whether it is still to be sent the known words that come first."""
        return self.left_out is not None and self.cursor < self.left_out.start

    def backlog(self, now: float) -> float:
        """Return the seconds that the provider may need for what it was sent already."""
        return max(0.0, self.processed_by - now)

    def processed_through(self, ledger: AudioLedger, now: float) -> int:
        """Return the session sample up to which the provider has processed the audio, at least.

        Counted in the connection's own audio, without the silence that was left out: a replay
        sends several seconds of the session in one (schedule voice-processed-later-than-sent).
        """
        processed = self.seconds_processed(now)
        if self.timeline is None or processed == self.seconds_sent:
            return self.cursor
        return ledger.samples(self.timeline.end_of(processed))

    def seconds_processed(self, now: float) -> float:
        """Return the seconds of its audio that the provider has processed at `now`, at least.

        `now` may lie in the past, but then it has to lie behind the last pause in the sending.
        """
        return max(0.0, self.seconds_sent - self.backlog(now) * self._processing_rate)

    def next_send_at(self, ledger: AudioLedger) -> float | None:
        """Return when the pace allows the next piece of waiting audio, or when the end is due.

        `None` if neither waits.
        """
        waiting = ledger.end - self.cursor
        if waiting <= 0:
            return self._end_due_at
        return self._bucket.available_at(min(waiting, _min_chunk(ledger)) / ledger.rate)

    def send(self, ledger: AudioLedger, now: float) -> list[SendAudio | FlushConnection]:
        """Return the audio that the pace allows now, with flushes at their places."""
        commands = []
        while (command := self._next_command(ledger, now)) is not None:
            commands.append(command)
        return commands

    def available(self, now: float, rate: int) -> int:
        """Return how many samples the pace allows now."""
        return self._bucket.available(now, rate)

    def seconds_per_sample(self, rate: int) -> float:
        """Return how long the provider may need for a sample at `rate` Hz; 0 before any audio."""
        return 1 / (rate * self._processing_rate) if rate else 0.0

    def forwarded(self, samples: int, rate: int, processed_by: float) -> None:
        """Note that live audio was sent before the first of `positions`, as the pace allowed.

        There was nothing to do on the way, and the stall detector learns nothing from it.
        `processed_by`: when the provider has processed all of that.
        """
        self._take(samples, rate)
        self.processed_by = processed_by

    def note_voice(self, ledger: AudioLedger) -> None:
        """Tell the stall detector of the audio that was forwarded."""
        self._stall_detector.audio_sent(ledger, self.cursor, self.processed_by)

    def positions(self, ledger: AudioLedger) -> list[int]:
        """Return the session samples at which `send` does more than send audio, once caught up."""
        pause = self._next_pause(ledger)
        return [] if pause is None else [pause]

    def mark_caught_up(self) -> None:
        """Note that it has reached the live edge. From now on it is sent live audio."""
        self.caught_up = True
        self._samples_replayed = self.samples_sent

    @property
    def awaits_end(self) -> bool:
        """Whether it was not sent the end of its input yet."""
        return self.input_ended_at is None or self._end_due_at is not None

    def end_input(self, now: float) -> EndInput:
        """End the connection's input; no final is due for it."""
        self.input_ended_at = now
        return EndInput(self._id)

    def ask_for_last_final(
        self, ledger: AudioLedger, now: float, silence: float
    ) -> SendSilence | EndInput:
        """Ask for the last final: by the end of the input, or by so many seconds of silence.

        Behind silence the end becomes due as soon as the final has come (`finish_input`), or is
        overdue.
        """
        self._expect_final(self.cursor, ledger, now, flushed=True)
        if not silence:
            return self.end_input(now)
        self.input_ended_at = now
        self._silence = ledger.samples(silence)
        self._note_sent(silence, now)
        self._end_due_at = self.processed_by + self._stall_detector.final_timeout
        return SendSilence(self._id, silence)

    def finish_input(self, now: float, *, is_answered: bool) -> list[EndInput]:
        """Return the end of the input, if it is due behind the silence.

        `is_answered`: the last final has come.
        """
        if self._end_due_at is None or not (is_answered or now >= self._end_due_at):
            return []
        self._end_due_at = None
        return [EndInput(self._id)]

    # -- inside

    def _next_command(self, ledger: AudioLedger, now: float) -> SendAudio | FlushConnection | None:
        while True:
            flush = ledger.next_flush(self._last_flush)
            pause = self._next_pause(ledger)
            until = min(place for place in (ledger.end, flush, pause) if place is not None)
            if not self.sends_known_words:
                self.cursor = max(self.cursor, ledger.start)  # audio that left the window is gone
            if not self.caught_up:
                trim_from, trim_to = self._next_cut(ledger)
                if trim_from <= self.cursor:
                    self.cursor = max(self.cursor, min(trim_to, until))
                else:
                    until = min(until, trim_from)
            if flush is not None and flush <= self.cursor:
                self._last_flush = flush
                # test_only_a_provider_that_answers_flushes_is_flushed
                if not self._provider.manual_flush:
                    continue
                self._expect_final(flush, ledger, now, flushed=True)
                return FlushConnection(self._id)
            if pause is None or pause > self.cursor:
                command = self._take_audio(ledger, until, now)
                if command is not None:
                    self._stall_detector.audio_sent(ledger, self.cursor, self.processed_by)
                return command
            self._last_pause = pause
            self._expect_final(pause, ledger, now, flushed=self._flush_at_pauses)
            if self._flush_at_pauses:
                return FlushConnection(self._id)

    def _next_cut(self, ledger: AudioLedger) -> tuple[int, int]:
        """Return the first (start, end) of audio that a replay leaves out."""
        if self.left_out is not None and self.cursor < self.left_out.end:
            return self.left_out.start, self.left_out.end
        return ledger.next_trim(self.cursor)

    def _next_pause(self, ledger: AudioLedger) -> int | None:
        """Return the next place where a final becomes due because speech has ended there."""
        if not self._asks_at_pauses:
            return None
        # A replay shortens pauses, so that a provider that finds them itself may not. Where it
        # gives interim transcripts, a missing final shows all the same
        # (test_a_final_is_expected_where_live_speech_ends).
        gives_interims = self._stall_detector.interim_timeout is not None
        finds_pauses = self.caught_up or self._flush_at_pauses or gives_interims
        return ledger.next_pause(self._last_pause) if finds_pauses else None

    def _expect_final(
        self, through: int, ledger: AudioLedger, now: float, *, flushed: bool
    ) -> None:
        if not ledger.has_pending_speech_before(through):
            return  # no speech since the last final: none is due
        processed_at = max(now, self.processed_by)
        sent_ago = ledger.seconds(self.cursor - through)
        last_word_end = through - ledger.samples(self._last_word_margin)
        self._stall_detector.expect_final(
            through, processed_at, flushed=flushed, sent_ago=sent_ago, last_word_end=last_word_end
        )

    def _take_audio(self, ledger: AudioLedger, until: int, now: float) -> SendAudio | None:
        waiting = until - self.cursor
        least = min(waiting, _min_chunk(ledger))
        # A live frame is sent whole: cutting it would only delay its rest.
        largest = max(least, ledger.samples(self._max_chunk))
        most = waiting if self.caught_up else min(waiting, largest)
        count = min(self._bucket.available(now, ledger.rate), most)
        if not least or count < least:
            return None
        start = self.cursor
        self._take(count, ledger.rate)
        self._note_sent(count / ledger.rate, now)
        return SendAudio(self._id, start, self.cursor)

    def _take(self, samples: int, rate: int) -> None:
        start, end = self.cursor, self.cursor + samples
        if self.timeline is None:
            self.timeline = Timeline(rate)
        self.timeline.append(start, end)
        self._bucket.take(samples / rate)
        self.cursor = end

    def _note_sent(self, seconds: float, now: float) -> None:
        begins_at = self.processed_by if self.processed_by > now else now
        self.processed_by = begins_at + seconds / self._processing_rate


def _min_chunk(ledger: AudioLedger) -> int:
    """Return the samples that are sent at a time, at least; no more than any burst holds.

    One at any rate: below 20 Hz a chunk would hold none
    (test_a_replay_of_hardly_any_samples_goes_on).
    """
    return max(1, int(MIN_CHUNK * ledger.rate))
