"""Moves the watermark: decides which audio is finished with.

Theory of operation
===================

Audio before the watermark is committed: its words were emitted, or there were none. It is not sent
to a new connection again, but for the words around the watermark. So committing too little costs
a repetition, which the trimmer removes; committing too much loses words.

The evidence for a commit, best first:

1. A FINAL with times commits up to its end, but no further than its connection was sent audio.
2. A FINAL without times commits what it covers at least (`SpeechBounds`). It may cover all speech
   that had ended when it came. That shows only later, so that it is kept as a claim
   (`Connection.untimed_finals`) until the connection has been sent enough audio behind it
   (`commit_silence`).
3. Silence by local voice activity, which the active connection has processed.

The fourth is a hedge that has no words either; `HedgeController` commits that itself.
"""

from __future__ import annotations

from ..audio.known_words import KnownWords
from ..audio.ledger import AudioLedger
from ..connections.connection import Connection
from ..connections.interpreter import AudioExtent, Interpreted
from ..connections.pool import ConnectionPool
from ..policy import ReplayPolicy
from ..transcript.history import TranscriptHistory
from ..transcript.overlap import Utterance


class Committer:
    """Commits audio on the evidence of finals and silence."""

    def __init__(
        self,
        *,
        pool: ConnectionPool,
        ledger: AudioLedger,
        history: TranscriptHistory,
        policy: ReplayPolicy,
    ) -> None:
        self._pool = pool
        self._ledger = ledger
        self._history = history
        self._policy = policy

    def __repr__(self) -> str:
        return f"Committer(watermark={self._ledger.watermark})"

    def commit_final(
        self, connection: Connection, final: Interpreted, new_words: Utterance | None, now: float
    ) -> None:
        """Commit the speech that a FINAL of the active connection covers.

        `new_words`: what of it is emitted; `None` if it only repeats what is committed.
        """
        repeats_committed = self._record(connection, final, new_words)
        if not final.utterance.text.strip():
            return  # an empty FINAL is no evidence for silence: the recognizer may be deaf
        if final.utterance.end is None:
            self._claim(
                connection,
                final.extent,
                now,
                repeats_committed=repeats_committed,
                has_new_words=new_words is not None,
            )
        else:
            self._commit_timed(final, final.utterance.end)
        self._note_known_words()
        self._pool.audio_covered(connection)

    def commit_held_final(
        self, connection: Connection, final: Interpreted, new_words: Utterance
    ) -> None:
        """Commit a FINAL that was held back and is emitted after all.

        Its connection may be closed by now, and others have been sent the same audio.
        """
        self._record(connection, final, new_words)
        # Without times nothing is committed: the connection that serves now was sent the audio from
        # its start on, and commits it with its own words.
        if final.utterance.end is not None:
            self._commit_timed(final, final.utterance.end)
            self._note_known_words()
        self._pool.audio_covered(connection)
        for other in self._pool:
            if other is not connection:  # its own text never repeats another connection's
                self._pool.reset_trimmer(other)

    def commit_silence(self, active: Connection | None, now: float) -> None:
        """Commit what needs no words, as far as the active connection has processed the audio."""
        ledger, processed_through = self._ledger, 0
        if active is not None:
            processed_through = active.processed_through(ledger, now)
            past = processed_through - ledger.samples(self._policy.commit_grace)
            if active.finished:  # no more events come, so there is nothing to wait for
                past = active.cursor
            self.commit_untimed_finals(active, past)
            self._pool.audio_covered(active)
        ledger.commit_silence(processed_through)

    def positions(self, active: Connection) -> list[int]:
        """Return the session samples at which `commit_silence` may commit speech.

        It commits silence with every frame. That changes nothing but what a replay is sent.
        """
        ledger, claims = self._ledger, active.untimed_finals
        if not claims:
            return []
        segment, end = ledger.first_pending(), ledger.remainder_end()
        if segment is not None:
            if segment.start >= claims[0]:
                return [ledger.end]
            if segment.end is None:
                return []
            end = segment.end
        elif not ledger.watermark < end <= claims[0]:
            return [ledger.end]
        return [end + ledger.samples(self._policy.commit_grace)]

    # -- inside

    def _record(
        self, connection: Connection, final: Interpreted, new_words: Utterance | None
    ) -> bool:
        """Record the words of a FINAL. Returns whether it begins with committed ones."""
        repeats = connection.trimmer.observe_final(final.utterance, new_words)
        if new_words is not None:
            heard = self._ledger.seconds(final.extent.words)
            self._history.record(new_words, heard, before=connection.trimmer.next_repeat)
        return repeats

    def _note_known_words(self) -> None:
        """Keep the audio of the words that were committed just now: hedges are to repeat them."""
        ledger, words = self._ledger, self._history.last_words()
        if words is not None:
            margin = self._policy.word_time_tolerance
            start, end = ledger.samples(words[0]), ledger.samples(words[1] + margin)
            ledger.note_known_words(KnownWords(start, end, self._history.recorded))
            return
        # Words without times are somewhere in the segment that they have committed.
        segment = ledger.segment_before(ledger.watermark)
        longest = ledger.samples(self._policy.untimed_final_reach)
        if segment is not None and segment[1] - segment[0] <= longest:
            ledger.note_known_words(KnownWords(*segment, self._history.recorded))

    def _commit_timed(self, final: Interpreted, end: float) -> None:
        # The clocks of recognizers run ahead: no FINAL is about audio that was not sent.
        self._ledger.commit(min(self._ledger.samples(end), final.extent.audio))

    def _claim(
        self,
        connection: Connection,
        extent: AudioExtent,
        now: float,
        *,
        repeats_committed: bool,
        has_new_words: bool,
    ) -> None:
        """Note how far a FINAL without times reaches, and commit what it covers for certain."""
        ledger = self._ledger
        ends_turn = connection.traits.end_of_turn_timeout > 0
        through, first_pending = extent.audio, ledger.first_pending()
        # A FINAL that answers a flush ends there: what follows in one breath is not in it
        # (schedule flushed-final-commits-what-follows).
        if (flushed := connection.stall_detector.flushed_through) is not None:
            through = min(through, flushed)
        processed_through = min(through, connection.processed_through(ledger, now))
        # A FINAL may cover several segments, but none comes this late.
        reach = ledger.samples(self._policy.untimed_final_reach)
        ledger.commit(
            max(
                ledger.last_speech_end(processed_through - reach),
                min(extent.covered, processed_through),
            )
        )
        # A FINAL that begins with committed words is about the voice around the watermark, and
        # covers the rest of it at most (schedules repeated-final-commits-the-next,
        # repeated-final-beside-noise). If there is no rest, its new words may be of the next
        # segment; at the end of a turn they are (new-words-behind-repeated-ones).
        remainder_end = ledger.remainder_end()
        reaches_on = has_new_words and (ends_turn or remainder_end == ledger.watermark)
        if repeats_committed and not reaches_on:
            through = min(through, remainder_end)
        # What the commit above has used up needs no claim, unless the FINAL reaches into the next
        # segment; a turn may cover more segments.
        pending = ledger.first_pending()
        is_covered = pending is not None and pending.start < extent.covered
        if ends_turn or pending is first_pending or is_covered:
            connection.untimed_finals.append(through)
        elif ledger.watermark < remainder_end <= through:
            connection.untimed_finals.append(remainder_end)

    def commit_untimed_finals(self, connection: Connection, past: int) -> None:
        """Commit the segments that finals without times cover, of the audio before `past`.

        Each covers the first pending segment that had ended when it came, or all of them if it ends
        a turn. A provider may split a segment into several finals, or fail between two of them. So
        the connection must have processed well past the segment, and be alive (schedule
        final-commits-the-next-sentence).
        """
        ledger, claims = self._ledger, connection.untimed_finals
        while claims:
            claim, segment = claims[0], ledger.first_pending()
            if segment is not None and segment.start < claim:
                end = segment.end
                if end is None and self._pool.input_ended:
                    end = ledger.end
                if end is None or end > past:
                    return
                claim_end = claim + ledger.samples(self._policy.vad_padding)
                if end <= claim_end and not self._has_begun_within(connection, end):
                    ledger.commit(end)
                    self._note_known_words()
                    if connection.traits.end_of_turn_timeout:
                        continue
            elif segment is None and not self._commit_remainder(connection, claim, past):
                return
            claims.popleft()

    def _commit_remainder(self, connection: Connection, claim: int, past: int) -> bool:
        """Commit what is left of the segment that a FINAL without times was about.

        It is too short to be pending, but at the end of the input it would count as missing
        (test_a_late_final_without_times_at_the_end). Returns whether the claim is used up.
        """
        ledger = self._ledger
        end = ledger.remainder_end()
        if ledger.watermark < end <= claim:
            if end > past:
                return False
            if not self._has_begun_within(connection, end):
                ledger.commit(end)
                self._note_known_words()
        return True

    def _has_begun_within(self, connection: Connection, segment_end: int) -> bool:
        """Return whether text that is not final yet may be about a segment that ends there.

        It is about the last voice that the connection had been sent when it came (schedules
        interim-behind-a-flushed-final, interim-behind-a-repeated-final).
        """
        through = connection.interpreter.unfinished_text_through(connection.cursor)
        if through is None:
            return False
        return not self._ledger.voiced_samples(segment_end, through)
