"""One attempt on one provider: what it was sent, at which pace, and what it says in its times."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ..events import Replayed
from .commands import FlushLeg, SendAudio
from .inputs import Said, Word
from .ledger import Ledger
from .pacing import Bucket
from .policy import QUANTUM, Provider
from .timeline import Timeline
from .transcript import Seam, Transcript, Utterance, usable


@dataclass(slots=True)
class Leg:
    """A stream on a provider. `start`: the session sample from which on it hears the audio."""

    id: int
    provider: Provider
    opened_at: float
    start: int
    bucket: Bucket
    seam: Seam
    cursor: int
    """The session sample up to which it was sent audio, silence left out included."""
    mark: int
    """The last flush mark that it was given, or needs not be given."""
    caught_up: bool
    """It has come to the live edge once: its silence is not cut any more."""
    timeline: Timeline | None = None
    replayed: Replayed | None = None
    """To be reported with its first text: what was only queued for it has not been replayed."""
    ended_at: float | None = None
    """When it was told that the input has ended."""
    heard_at: float | None = None
    """When it last said something about speech; usage is no sign of work."""
    claims: deque[int] = field(default_factory=lambda: deque(maxlen=64))
    """Its cursor at finals without times that are still to settle the audio they speak for."""
    speech_open: bool = False
    """It announced speech that is held back until it says something new."""

    @classmethod
    def opened(
        cls, leg: int, provider: Provider, now: float, ledger: Ledger, transcript: Transcript
    ) -> Leg:
        """A new leg that replays what is not settled."""
        start = replay_start(ledger, transcript)
        seam = transcript.seam(
            ledger.seconds(ledger.watermark),
            ledger.seconds(start),
            lambda end: ledger.seconds(ledger.voiced_until(ledger.samples(end))),
            torn=start == ledger.start and ledger.segment_start(start) not in (None, start),
        )
        return cls(
            id=leg,
            provider=provider,
            opened_at=now,
            start=start,
            bucket=Bucket(provider.pace, now),
            seam=seam,
            cursor=start,
            mark=ledger.watermark if ledger.end else -1,
            caught_up=start == ledger.end,
        )

    # -- what it was sent

    @property
    def sent(self) -> float:
        """Seconds of audio it was sent."""
        return self.timeline.seconds if self.timeline else 0.0

    @property
    def cut(self) -> float:
        """Seconds of silence that were left out of it."""
        return self.timeline.seconds_cut if self.timeline else 0.0

    def backlog(self, now: float) -> float:
        """Seconds of audio that a provider which hears in real time has still before it."""
        return max(0.0, self.sent - (now - self.opened_at))

    def send(self, ledger: Ledger, now: float) -> list[SendAudio | FlushLeg]:
        """What the pace allows to send now: audio, and flushes at their places."""
        commands = []
        while (command := self._next(ledger, now)) is not None:
            commands.append(command)
        return commands

    def send_at(self, ledger: Ledger) -> float | None:
        """When the pace allows the next piece of what is waiting."""
        waiting = ledger.end - self.cursor
        if waiting <= 0:
            return None
        return self.bucket.when(min(waiting, _piece(ledger)) / ledger.rate)

    def _next(self, ledger: Ledger, now: float) -> SendAudio | FlushLeg | None:
        mark = ledger.next_mark(self.mark)
        until = ledger.end if mark is None else mark
        self.cursor = max(self.cursor, ledger.start)  # what fell out of the window is gone
        if not self.caught_up:
            self.cursor = max(self.cursor, min(ledger.skip_silence(self.cursor), until))
        if mark is not None and mark <= self.cursor:
            self.mark = mark
            return FlushLeg(self.id)
        waiting = until - self.cursor
        piece = min(waiting, _piece(ledger))
        # a replay looks for silence to cut after every piece
        count = min(self.bucket.granted(now, ledger.rate), waiting if self.caught_up else piece)
        if not piece or count < piece:
            return None
        return self._audio(count, ledger.rate)

    def _audio(self, count: int, rate: int) -> SendAudio:
        start, end = self.cursor, self.cursor + count
        if self.timeline is None:
            self.timeline = Timeline(rate)
        self.timeline.append(start, end)
        self.bucket.take(count / rate)
        self.cursor = end
        return SendAudio(self.id, start, end)

    # -- what it says

    def understood(self, said: Said) -> Utterance:
        """What it said, on session time; times that cannot be are left out."""
        timeline = self.timeline
        if timeline is None:
            return Utterance(said.text, language=said.language)
        if usable(said.words, self.sent):
            words = tuple(
                Word(w.text, timeline.start_of(w.start), timeline.end_of(w.end)) for w in said.words
            )
            return Utterance(said.text, words, words[0].start, words[-1].end, said.language)
        start, end = said.start, said.end
        if end is None or not 0 < end <= self.sent + 0.5:
            return Utterance(said.text, language=said.language)
        begin = timeline.start_of(start) if start is not None and 0 <= start <= end else None
        return Utterance(said.text, (), begin, timeline.end_of(end), said.language)

    def settle_claims(self, ledger: Ledger, heard: int, *, input_ended: bool) -> None:
        """Settle what finals without times speak for, of the audio before `heard`.

        Each speaks for the first segment that owes words and was over when it was said. A provider
        may tell a segment in several, or be about to die with half of one told: so the leg must
        have heard well past the segment, and be alive.
        """
        while self.claims:
            claim, segment = self.claims[0], ledger.first_owed()
            if segment and segment.start < claim:
                end = segment.end
                if end is None and input_ended:
                    end = ledger.end
                if end is None or end > heard:
                    return
                if end <= claim:
                    ledger.settle(end)
            self.claims.popleft()


def replay_start(ledger: Ledger, transcript: Transcript) -> int:
    """A clean place at or before the watermark: hearing a word again beats clipping one."""
    watermark, oldest = ledger.watermark, ledger.start
    inside = ledger.segment_start(watermark)
    if ledger.hears and inside is None:
        return watermark
    place = transcript.clean_start(ledger.seconds(watermark), ledger.seconds(oldest))
    if place is not None:
        return max(oldest, min(watermark, ledger.samples(place)))
    return watermark if inside is None else max(oldest, inside)


def _piece(ledger: Ledger) -> int:
    """Samples that are sent at a time, at least; no more than any burst holds."""
    return max(1, int(QUANTUM * ledger.rate))
