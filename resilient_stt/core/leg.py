"""One attempt on one provider: what it was sent, at which pace, and what it says in its times."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..events import Replayed
from .commands import EndLeg, FlushLeg, Role, SendAudio
from .gap import Drafts
from .inputs import Said, SaidKind, Word
from .ledger import Ledger, Spans
from .pacing import Bucket
from .policy import QUANTUM, Provider
from .timeline import Timeline
from .transcript import Seam, Transcript, Utterance, usable
from .watchdog import Watch

HEARS_AT = 1.25
"""Times real time at which a recogniser hears at least what it is sent faster (Deepgram 1.25,
Cartesia 1.5, seen in production): deadlines grow by what it has still before it."""

EDGE = 0.15
"""Seconds that local voice activity may go on behind the last word: its padding."""

REWOUND = 1.0
"""Seconds before the end of the last FINAL at which words begin only if a clock has begun anew."""

HELD = 1000
"""Events of a leg that is not active which are kept: ten times what Deepgram says in a minute."""

CHUNK = 0.2
"""Seconds of audio that a replay sends at a time, at most: each piece costs a decision and a frame,
and some services refuse messages of more than 25 kB."""

TAIL = 0.25
"""Seconds that a pause is asked for behind the last word: that padding, and what follows it."""


class Reach(NamedTuple):
    """How far a leg can have heard the session's audio when it said something, in samples."""

    audio: int
    words: int
    """The same for the words that it said: not further than when it first said them."""
    skipped: tuple[Word, ...] = ()
    """What it had told in interim transcripts before the words of this FINAL."""


@dataclass(slots=True)
class Leg:
    """A stream on a provider. `start`: the session sample from which on it hears the audio."""

    id: int
    provider: Provider
    role: Role
    opened_at: float
    start: int
    bucket: Bucket
    watch: Watch
    seam: Seam
    language: str
    """The tag that it was opened with; empty if it uses its own."""
    cursor: int
    """The session sample up to which it was sent audio, silence left out included."""
    mark: int
    """The last flush mark that it was given, or needs not be given."""
    pause: int
    """The last end of speech at which it was asked for a final."""
    heard_by: float
    """When it can have heard all that it was sent."""
    caught_up: bool
    """It has come to the live edge once: its silence is not cut any more."""
    torn: bool
    """Its audio begins in the middle of speech, the rest of which is gone."""
    missed: Spans = ()
    """Unsettled speech that was gone before it could be sent to it."""
    flushes_pauses: bool = False
    """It is flushed where speech ends."""
    held: deque[tuple[Said, Reach]] = field(default_factory=lambda: deque(maxlen=HELD))
    """What it said before it became active, each with what it can have heard of it."""
    told_to: float = 0.0
    """Seconds of its own audio at which its last timed FINAL ends."""
    told: str = ""
    """The text of that."""
    interim: tuple[str, int] = ("", 0)
    """Its last interim text since its last FINAL, and what it had been sent by then."""
    drafts: Drafts = field(default_factory=Drafts)
    """What it told in interim transcripts since then."""
    began: bool = False
    """It announced speech since its last FINAL, and has told neither its words nor its end."""
    timeline: Timeline | None = None
    replayed: Replayed | None = None
    """To be reported with its first text: what was only queued for it has not been replayed."""
    ended_at: float | None = None
    """When it was told that the input has ended."""
    finished: bool = False
    """Its stream has ended after that, and it will say no more."""
    slow: bool = False
    """Its finals come too late: it is left between two words."""
    heard_at: float | None = None
    """When it last said a transcript, or none; neither usage nor turns are a sign of work."""
    claims: deque[int] = field(default_factory=lambda: deque(maxlen=64))
    """How far finals without times reach that are still to settle the audio they speak for."""
    speech_open: bool = False
    """It announced speech that is held back until it says something new."""

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
        """Seconds that the provider may need to hear what it was sent already."""
        return max(0.0, self.heard_by - now)

    def heard(self, ledger: Ledger, now: float) -> int:
        """The session sample up to which it can have heard, at least."""
        unheard = self.backlog(now) * HEARS_AT
        if not (unheard and self.timeline):
            return self.cursor
        return ledger.samples(self.timeline.end_of(max(0.0, self.sent - unheard)))

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
        while True:
            mark = ledger.next_mark(self.mark)
            pause = self._next_pause(ledger)
            until = min(p for p in (ledger.end, mark, pause) if p is not None)
            self.cursor = max(self.cursor, ledger.start)  # what fell out of the window is gone
            if not self.caught_up:
                cut, after = ledger.next_cut(self.cursor)
                if cut <= self.cursor:
                    self.cursor = max(self.cursor, min(after, until))
                else:
                    until = min(until, cut)
            if mark is not None and mark <= self.cursor:
                self.mark = mark
                if self.provider.flushes:
                    self._ask(mark, ledger, now, flushed=True)
                return FlushLeg(self.id)
            if pause is None or pause > self.cursor:
                return self._audio(ledger, until, now)
            self.pause = pause
            self._ask(pause, ledger, now, flushed=self.flushes_pauses)
            if self.flushes_pauses:
                return FlushLeg(self.id)

    def _next_pause(self, ledger: Ledger) -> int | None:
        """Where a final is due next.

        Not in a replay, whose pauses are cut short, from who gives finals only and is not flushed.

        A probe is asked by whoever judges it.
        """
        unsure = not (self.caught_up or self.flushes_pauses or self.provider.interims)
        return None if unsure or self.role is Role.PROBE else ledger.next_pause(self.pause)

    def _ask(self, to: int, ledger: Ledger, now: float, *, flushed: bool) -> None:
        if not ledger.owes_before(to):
            return
        ago, words_to = ledger.seconds(self.cursor - to), to - ledger.samples(TAIL)
        at = max(now, self.heard_by)
        self.watch.ask(to, at, flushed=flushed, ago=ago, words_to=words_to)

    def _audio(self, ledger: Ledger, until: int, now: float) -> SendAudio | None:
        waiting = until - self.cursor
        piece = min(waiting, _piece(ledger))
        most = waiting if self.caught_up else min(waiting, max(piece, ledger.samples(CHUNK)))
        count = min(self.bucket.granted(now, ledger.rate), most)
        if not piece or count < piece:
            return None
        start, end, seconds = self.cursor, self.cursor + count, count / ledger.rate
        if self.timeline is None:
            self.timeline = Timeline(ledger.rate)
        self.timeline.append(start, end)
        self.bucket.take(seconds)
        self.cursor = end
        self.heard_by = max(self.heard_by, now) + seconds / HEARS_AT
        self.watch.sent(ledger, end, self.heard_by)
        return SendAudio(self.id, start, end)

    def end(self, ledger: Ledger, now: float) -> EndLeg:
        """Tell it that no more audio will come, which asks for the last final."""
        self.ended_at = now
        self._ask(self.cursor, ledger, now, flushed=True)
        return EndLeg(self.id)

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

    def repeats(self, said: Said) -> bool:
        """Whether it says its last timed FINAL once more: no leg hears the same audio twice."""
        return (
            said.kind is SaidKind.FINAL
            and usable(said.words, self.sent)
            and said.words[-1].end <= self.told_to
            and said.text == self.told
        )

    def rewound(self, said: Said) -> bool:
        """Whether its clock has jumped back: its plugin has reconnected behind our back.

        LiveKit's plugins do so when their own options are changed; what was in flight is gone.
        """
        if not usable(said.words, self.sent):
            return False
        if said.words[0].start < self.told_to - REWOUND:
            return True
        if said.kind is SaidKind.FINAL:
            self.told_to, self.told = said.words[-1].end, said.text
        return False

    def reach(self, said: Said) -> Reach:
        """How far it can have heard what it says now.

        A turn that ends with its last interim's words was heard no further than those: it may be
        the half of one that a dying plugin passes off as whole.
        """
        text, words = said.text.strip(), self.cursor
        if said.kind in (SaidKind.START, SaidKind.FINAL, SaidKind.END):
            self.began = said.kind is SaidKind.START
        skipped: tuple[Word, ...] = ()
        if said.kind is SaidKind.INTERIM:
            self.interim = text, words
            self.watch.went_on(self.drafts.interim(self.understood(said)))
        elif said.kind is SaidKind.FINAL and text:  # an empty one takes back no word
            (interim, heard), self.interim = self.interim, ("", 0)
            if text == interim:
                words = min(words, heard)
            skipped = self.drafts.final(self.understood(said))
        return Reach(words if self.provider.turn_after else self.cursor, words, skipped)

    def settle_claims(self, ledger: Ledger, heard: int, *, input_ended: bool) -> None:
        """Settle what finals without times speak for, of the audio before `heard`.

        Each speaks for the first segment that owes words and was over when it was said, or for all
        of them, if it ends a turn. A provider may tell a segment in several, or be about to die
        with half of one told: so the leg must have heard well past the segment, and be alive.
        """
        while self.claims:
            claim, segment = self.claims[0], ledger.first_owed()
            if segment and segment.start < claim:
                end = segment.end
                if end is None and input_ended:
                    end = ledger.end
                if end is None or end > heard:
                    return
                # what it has begun to tell since, and not called final, is of the last voice it has
                text, seen = self.interim if self.interim[0] else ("", self.cursor)
                begun = (self.began or text) and not ledger.voiced(end, seen)
                if end <= claim + ledger.samples(EDGE) and not begun:
                    ledger.settle(end)
                    if self.provider.turn_after:
                        continue
            self.claims.popleft()


def open_leg(
    leg: int,
    provider: Provider,
    role: Role,
    now: float,
    ledger: Ledger,
    transcript: Transcript,
    watch: Callable[[int], Watch],
    language: str = "",
    start: int | None = None,
) -> Leg:
    """A new leg that replays what is not settled, or hears from `start` on."""
    if start is None:
        start = replay_start(ledger, transcript)
    torn = start == ledger.start and ledger.segment_start(start) not in (None, start)
    return Leg(
        id=leg,
        provider=provider,
        role=role,
        opened_at=now,
        start=start,
        bucket=Bucket(provider.pace, now),
        watch=watch(start),
        seam=seam_at(start, ledger, transcript, torn=torn),
        language=language,
        cursor=start,
        mark=ledger.watermark if ledger.end else -1,
        pause=start,
        heard_by=now,
        caught_up=start == ledger.end,
        torn=torn,
    )


def seam_at(start: int, ledger: Ledger, transcript: Transcript, *, torn: bool) -> Seam:
    """The seam for a leg that hears from session sample `start` on, as things stand."""
    return transcript.seam(
        ledger.seconds(ledger.told),
        ledger.seconds(start),
        lambda end: ledger.seconds(ledger.voiced_until(ledger.samples(end))),
        torn=torn,
    )


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
