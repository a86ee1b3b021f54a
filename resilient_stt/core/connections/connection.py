"""One attempt on one provider: what it was sent, at which pace, and what it says in its times."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..audio.ledger import AudioLedger, Spans
from ..audio.pacing import TokenBucket
from ..audio.timeline import Timeline
from ..events import Replayed
from ..messages import EndInput, EventKind, FlushConnection, Role, SendAudio, TranscriptEvent, Word
from ..policy import MIN_CHUNK, ProviderTraits
from ..stalls.detector import StallDetector
from ..stalls.skipped_speech import InterimTracker
from ..transcript.history import TranscriptHistory
from ..transcript.overlap import OverlapTrimmer, Utterance, are_usable

PROCESSING_RATE = 1.25
"""Times real time at which a recogniser hears at least what it is sent faster (Deepgram 1.25,
Cartesia 1.5, seen in production): deadlines grow by what it has still before it."""

VAD_PADDING = 0.15
"""Seconds that local voice activity may go on behind the last word: its padding."""

CLOCK_RESTART_GAP = 1.0
"""Seconds before the end of the last FINAL at which words begin only if a clock has begun anew."""

MAX_HELD_EVENTS = 1000
"""Events of a leg that is not active which are kept: ten times what Deepgram says in a minute."""

MAX_CHUNK = 0.2
"""Seconds of audio that a replay sends at a time, at most: each piece costs a decision and a frame,
and some services refuse messages of more than 25 kB."""

LAST_WORD_MARGIN = 0.25
"""Seconds that a pause is asked for behind the last word: that padding, and what follows it."""


class AudioExtent(NamedTuple):
    """How far a leg can have heard the session's audio when it said something, in samples."""

    audio: int
    words: int
    """The same for the words that it said: not further than when it first said them."""
    skipped: tuple[Word, ...] = ()
    """What it had told in interim transcripts before the words of this FINAL."""


@dataclass(slots=True)
class Connection:
    """A stream on a provider. `start`: the session sample from which on it hears the audio."""

    id: int
    traits: ProviderTraits
    role: Role
    opened_at: float
    start: int
    bucket: TokenBucket
    stall_detector: StallDetector
    trimmer: OverlapTrimmer
    language: str
    """The tag that it was opened with; empty if it uses its own."""
    cursor: int
    """The session sample up to which it was sent audio, silence left out included."""
    last_flush: int
    """The last flush mark that it was given, or needs not be given."""
    last_pause: int
    """The last end of speech at which it was asked for a final."""
    processed_by: float
    """When it can have heard all that it was sent."""
    caught_up: bool
    """It has come to the live edge once: its silence is not cut any more."""
    starts_mid_word: bool
    """Its audio begins in the middle of speech, the rest of which is gone."""
    missed_speech: Spans = ()
    """Unsettled speech that was gone before it could be sent to it."""
    flush_at_pauses: bool = False
    """It is flushed where speech ends."""
    held_events: deque[tuple[TranscriptEvent, AudioExtent]] = field(
        default_factory=lambda: deque(maxlen=MAX_HELD_EVENTS)
    )
    """What it said before it became active, each with what it can have heard of it."""
    last_final_end: float = 0.0
    """Seconds of its own audio at which its last timed FINAL ends."""
    last_final_text: str = ""
    """The text of that."""
    last_interim: tuple[str, int] = ("", 0)
    """Its last interim text since its last FINAL, and what it had been sent by then."""
    interims: InterimTracker = field(default_factory=InterimTracker)
    """What it told in interim transcripts since then."""
    speech_announced: bool = False
    """It announced speech since its last FINAL, and has told neither its words nor its end."""
    timeline: Timeline | None = None
    replay_report: Replayed | None = None
    """To be reported with its first text: what was only queued for it has not been replayed."""
    input_ended_at: float | None = None
    """When it was told that the input has ended."""
    finished: bool = False
    """Its stream has ended after that, and it will say no more."""
    too_slow: bool = False
    """Its finals come too late: it is left between two words."""
    last_transcript_at: float | None = None
    """When it last said a transcript, or none; neither usage nor turns are a sign of work."""
    untimed_finals: deque[int] = field(default_factory=lambda: deque(maxlen=64))
    """How far finals without times reach that are still to settle the audio they speak for."""
    held_speech_start: bool = False
    """It announced speech that is held back until it says something new."""

    # -- what it was sent

    @property
    def seconds_sent(self) -> float:
        """Seconds of audio it was sent."""
        return self.timeline.seconds if self.timeline else 0.0

    @property
    def silence_trimmed(self) -> float:
        """Seconds of silence that were left out of it."""
        return self.timeline.seconds_trimmed if self.timeline else 0.0

    def backlog(self, now: float) -> float:
        """Seconds that the provider may need to hear what it was sent already."""
        return max(0.0, self.processed_by - now)

    def processed_through(self, ledger: AudioLedger, now: float) -> int:
        """The session sample up to which it can have heard, at least."""
        unheard = self.backlog(now) * PROCESSING_RATE
        if not (unheard and self.timeline):
            return self.cursor
        return ledger.samples(self.timeline.end_of(max(0.0, self.seconds_sent - unheard)))

    def send(self, ledger: AudioLedger, now: float) -> list[SendAudio | FlushConnection]:
        """What the pace allows to send now: audio, and flushes at their places."""
        commands = []
        while (command := self._next_command(ledger, now)) is not None:
            commands.append(command)
        return commands

    def next_send_at(self, ledger: AudioLedger) -> float | None:
        """When the pace allows the next piece of what is waiting."""
        waiting = ledger.end - self.cursor
        if waiting <= 0:
            return None
        return self.bucket.available_at(min(waiting, _min_chunk(ledger)) / ledger.rate)

    def _next_command(self, ledger: AudioLedger, now: float) -> SendAudio | FlushConnection | None:
        while True:
            mark = ledger.next_flush(self.last_flush)
            pause = self._pause_to_flush(ledger)
            until = min(p for p in (ledger.end, mark, pause) if p is not None)
            self.cursor = max(self.cursor, ledger.start)  # what fell out of the window is gone
            if not self.caught_up:
                cut, after = ledger.next_trim(self.cursor)
                if cut <= self.cursor:
                    self.cursor = max(self.cursor, min(after, until))
                else:
                    until = min(until, cut)
            if mark is not None and mark <= self.cursor:
                self.last_flush = mark
                if self.traits.manual_flush:
                    self._expect_final(mark, ledger, now, flushed=True)
                return FlushConnection(self.id)
            if pause is None or pause > self.cursor:
                return self._send_audio(ledger, until, now)
            self.last_pause = pause
            self._expect_final(pause, ledger, now, flushed=self.flush_at_pauses)
            if self.flush_at_pauses:
                return FlushConnection(self.id)

    def _pause_to_flush(self, ledger: AudioLedger) -> int | None:
        """Where a final is due next.

        Not in a replay, whose pauses are cut short, from who gives finals only and is not flushed.

        A probe is asked by whoever judges it.
        """
        unsure = not (self.caught_up or self.flush_at_pauses or self.traits.interim_results)
        return None if unsure or self.role is Role.PROBE else ledger.next_pause(self.last_pause)

    def _expect_final(self, to: int, ledger: AudioLedger, now: float, *, flushed: bool) -> None:
        if not ledger.has_pending_speech_before(to):
            return
        ago, words_to = ledger.seconds(self.cursor - to), to - ledger.samples(LAST_WORD_MARGIN)
        at = max(now, self.processed_by)
        self.stall_detector.expect_final(to, at, flushed=flushed, ago=ago, words_to=words_to)

    def _send_audio(self, ledger: AudioLedger, until: int, now: float) -> SendAudio | None:
        waiting = until - self.cursor
        piece = min(waiting, _min_chunk(ledger))
        most = waiting if self.caught_up else min(waiting, max(piece, ledger.samples(MAX_CHUNK)))
        count = min(self.bucket.available(now, ledger.rate), most)
        if not piece or count < piece:
            return None
        start, end, seconds = self.cursor, self.cursor + count, count / ledger.rate
        if self.timeline is None:
            self.timeline = Timeline(ledger.rate)
        self.timeline.append(start, end)
        self.bucket.take(seconds)
        self.cursor = end
        self.processed_by = max(self.processed_by, now) + seconds / PROCESSING_RATE
        self.stall_detector.audio_sent(ledger, end, self.processed_by)
        return SendAudio(self.id, start, end)

    def end_input(self, ledger: AudioLedger, now: float) -> EndInput:
        """Tell it that no more audio will come, which asks for the last final."""
        self.input_ended_at = now
        self._expect_final(self.cursor, ledger, now, flushed=True)
        return EndInput(self.id)

    # -- what it says

    def to_session_time(self, event: TranscriptEvent) -> Utterance:
        """What it said, on session time; times that cannot be are left out."""
        timeline = self.timeline
        if timeline is None:
            return Utterance(event.text, language=event.language)
        if are_usable(event.words, self.seconds_sent):
            words = tuple(
                Word(w.text, timeline.start_of(w.start), timeline.end_of(w.end))
                for w in event.words
            )
            return Utterance(event.text, words, words[0].start, words[-1].end, event.language)
        start, end = event.start, event.end
        if end is None or not 0 < end <= self.seconds_sent + 0.5:
            return Utterance(event.text, language=event.language)
        begin = timeline.start_of(start) if start is not None and 0 <= start <= end else None
        return Utterance(event.text, (), begin, timeline.end_of(end), event.language)

    def is_duplicate_final(self, event: TranscriptEvent) -> bool:
        """Whether it says its last timed FINAL once more: no leg hears the same audio twice."""
        return (
            event.kind is EventKind.FINAL
            and are_usable(event.words, self.seconds_sent)
            and event.words[-1].end <= self.last_final_end
            and event.text == self.last_final_text
        )

    def clock_restarted(self, event: TranscriptEvent) -> bool:
        """Whether its clock has jumped back: its plugin has reconnected behind our back.

        LiveKit's plugins do so when their own options are changed; what was in flight is gone.
        """
        if not are_usable(event.words, self.seconds_sent):
            return False
        if event.words[0].start < self.last_final_end - CLOCK_RESTART_GAP:
            return True
        if event.kind is EventKind.FINAL:
            self.last_final_end, self.last_final_text = event.words[-1].end, event.text
        return False

    def extent(self, event: TranscriptEvent) -> AudioExtent:
        """How far it can have heard what it says now.

        A turn that ends with its last interim's words was heard no further than those: it may be
        the half of one that a dying plugin passes off as whole.
        """
        text, words = event.text.strip(), self.cursor
        if event.kind in (EventKind.START, EventKind.FINAL, EventKind.END):
            self.speech_announced = event.kind is EventKind.START
        skipped: tuple[Word, ...] = ()
        if event.kind is EventKind.INTERIM:
            self.last_interim = text, words
            self.stall_detector.interims_restarted(
                self.interims.add_interim(self.to_session_time(event))
            )
        elif event.kind is EventKind.FINAL and text:  # an empty one takes back no word
            (interim, heard), self.last_interim = self.last_interim, ("", 0)
            if text == interim:
                words = min(words, heard)
            skipped = self.interims.take_skipped(self.to_session_time(event))
        return AudioExtent(
            words if self.traits.end_of_turn_timeout else self.cursor, words, skipped
        )

    def commit_untimed_finals(self, ledger: AudioLedger, heard: int, *, input_ended: bool) -> None:
        """Settle what finals without times speak for, of the audio before `heard`.

        Each speaks for the first segment that owes words and was over when it was said, or for all
        of them, if it ends a turn. A provider may tell a segment in several, or be about to die
        with half of one told: so the leg must have heard well past the segment, and be alive.
        """
        while self.untimed_finals:
            claim, segment = self.untimed_finals[0], ledger.first_pending()
            if segment and segment.start < claim:
                end = segment.end
                if end is None and input_ended:
                    end = ledger.end
                if end is None or end > heard:
                    return
                # what it has begun to tell since, and not called final, is of the last voice it has
                text, seen = self.last_interim if self.last_interim[0] else ("", self.cursor)
                begun = (self.speech_announced or text) and not ledger.voiced_samples(end, seen)
                if end <= claim + ledger.samples(VAD_PADDING) and not begun:
                    ledger.commit(end)
                    if self.traits.end_of_turn_timeout:
                        continue
            self.untimed_finals.popleft()


def open_connection(
    connection_id: int,
    provider: ProviderTraits,
    role: Role,
    now: float,
    ledger: AudioLedger,
    transcript: TranscriptHistory,
    watch: Callable[[int], StallDetector],
    language: str = "",
    start: int | None = None,
) -> Connection:
    """A new leg that replays what is not settled, or hears from `start` on."""
    if start is None:
        start = replay_start(ledger, transcript)
    starts_mid_word = start == ledger.start and ledger.segment_start(start) not in (None, start)
    return Connection(
        id=connection_id,
        traits=provider,
        role=role,
        opened_at=now,
        start=start,
        bucket=TokenBucket(provider.pace, now),
        stall_detector=watch(start),
        trimmer=trimmer_at(start, ledger, transcript, starts_mid_word=starts_mid_word),
        language=language,
        cursor=start,
        last_flush=ledger.watermark if ledger.end else -1,
        last_pause=start,
        processed_by=now,
        caught_up=start == ledger.end,
        starts_mid_word=starts_mid_word,
    )


def trimmer_at(
    start: int, ledger: AudioLedger, transcript: TranscriptHistory, *, starts_mid_word: bool
) -> OverlapTrimmer:
    """The seam for a leg that hears from session sample `start` on, as things stand."""
    return transcript.trimmer(
        ledger.seconds(ledger.committed_through),
        ledger.seconds(start),
        lambda end: ledger.seconds(ledger.last_voice_end(ledger.samples(end))),
        starts_mid_word=starts_mid_word,
    )


def replay_start(ledger: AudioLedger, transcript: TranscriptHistory) -> int:
    """A clean place at or before the watermark: hearing a word again beats clipping one."""
    watermark, oldest = ledger.watermark, ledger.start
    inside = ledger.segment_start(watermark)
    if ledger.vad_enabled and inside is None:
        return watermark
    place = transcript.replay_start(ledger.seconds(watermark), ledger.seconds(oldest))
    if place is not None:
        return max(oldest, min(watermark, ledger.samples(place)))
    return watermark if inside is None else max(oldest, inside)


def _min_chunk(ledger: AudioLedger) -> int:
    """Samples that are sent at a time, at least; no more than any burst holds."""
    return max(1, int(MIN_CHUNK * ledger.rate))
