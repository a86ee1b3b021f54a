"""The plan of one simulated call: the speech, the caller's pace, and the faults of each provider.

`draw` makes a `Schedule` from a seed. A schedule is plain data: it can be written as JSON, and
`smaller` makes simpler ones from it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from ...core.policy import ReplayPolicy
from ..speech.accent import Accent
from ..speech.written_forms import fillers, is_filler, phrases

Point = Literal[
    "stream",
    "connect",
    "audio",
    "flush",
    "interim",
    "final",
    "after_final",
    "end_input",
    "finished",
    "close",
]
"""Where a provider can fail.

In `stream()`, while it connects, when it receives audio or a flush, before it emits an interim or a
final transcript, after it emitted a final, when its input ends, once it has emitted everything, or
while it is closed.
"""

Effect = Literal[
    "drop",
    "end_cleanly",
    "hang",
    "half_open",
    "stall",
    "empty_finals",
    "lost_final",
    "ignore_close",
    "slow_close",
]
"""How a provider fails: the names of the faults of `resilient_stt.testing.faults`, and
`slow_close`.

* `drop`: the stream raises; `kind` says what.
* `end_cleanly`: the stream ends without an error.
* `hang`: connecting takes until the timeout.
* `half_open`: it reads and emits nothing any more, and never ends.
* `stall`: it emits nothing for a while, and then everything that it withheld.
* `empty_finals`: its finals have no text, and it emits no interims.
* `lost_final`: it leaves out one final.
* `ignore_close`: it does not end after its input has ended.
* `slow_close`: its `aclose()` takes long, even if it is cancelled.
"""

Times = Literal["words", "end", "none"]

_TIMES: tuple[Times, ...] = ("words", "end", "none")
_LOUD_AT: tuple[Point, ...] = (
    *("stream", "connect", "audio", "audio", "flush", "interim"),
    *("final", "after_final", "end_input", "finished", "close"),
)
_SILENT_AT: tuple[Point, ...] = (
    *("connect", "audio", "audio", "audio", "interim", "final", "after_final", "end_input"),
)
_LOUD_EFFECTS: tuple[Effect, ...] = ("drop", "end_cleanly")
_SILENT_EFFECTS: tuple[Effect, ...] = ("half_open", "stall", "stall", "empty_finals")
_KINDS = ("dropped", "connect", "timeout", "429", "500", "503", "bug")
FOR_EVER = 1e6
"""The second until which a provider is down that never comes back."""
_FOR_GOOD = ("401", "402", "400")
"""After these errors a provider is not asked again for a long time (`auth_cooldown`). They are
drawn only in calls in which no provider loses words silently: the provider that must make up for
that one has to stay available."""

_PLAIN_WORDS = (
    *("table", "window", "garden", "bridge", "letter", "mirror", "pocket", "rabbit", "silver"),
    *("candle", "morning", "holiday", "factory", "chicken", "village", "blanket", "surgeon"),
    *("promise", "whisper", "kitchen", "mountain", "elephant", "umbrella", "distance", "language"),
    *("treasure", "hospital", "universe", "dialogue", "yesterday", "sun", "fox", "map", "ink"),
    *("jug", "web", "yes", "bus", "lid", "hat"),
)
"""Words that are written in one way, no two of which are similar."""

MAX_ENDPOINTING = 0.5
"""Seconds of silence that end a transcript, at most, of a provider of which only silence does that
at the end: less than what it is sent there."""

MIN_SPEECH = ReplayPolicy().min_pending_speech
MIN_PAUSE_AROUND_NOISE = 0.6
"""Seconds of silence that make noise and a word beside it two stretches of voice."""

_VOCABULARY = [a + v + b for a in "bdfgklmnprst" for v in "aeiou" for b in "bdfgklmnprst"]
"""Words of three letters, no two of which count as similar (`core.transcript.tokens`)."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A word of `length` seconds after `before` seconds of silence; noise if `text` is empty.

    A phrase that is written in several ways, such as "twenty twenty", is one word here.
    """

    text: str
    before: float
    length: float


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """What goes wrong with one connection.

    Attributes:
        at: Where it happens.
        effect: What happens.
        after: At `audio`, the seconds of audio received before; elsewhere, how often that point is
            passed before.
        kind: Of a `drop`, an HTTP status or another kind of error that `scripted.failure` knows.
        seconds: How long a `stall` or a `slow_close` takes.
    """

    at: Point
    effect: Effect
    after: float = 0.0
    kind: str = "dropped"
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ProviderScript:
    """A provider: how it recognizes, and what goes wrong with its connections, in their order.

    Attributes:
        faults: The fault of each connection; None for a healthy one. Later connections are healthy.
        down: Periods, in seconds of the call, in which it has no connection and takes none.
        hangs: Whether it lets requests time out in these periods, instead of refusing them.
        times: What has times: each `words`, only the whole of a transcript (`end`), or nothing
            (`none`).
        connect_time: Seconds that connecting takes.
        latency: Seconds from audio to the transcript of it.
        endpointing: Seconds of silence that make a transcript final.
        max_words: Words after which a transcript is final without a pause.
        slow_endpointing: The trait of this name: whether it is to be flushed at the end of speech.
        finalizes_at_end: Whether the end of its input makes a transcript final. Otherwise only
            silence does, and that it does is not known of it.
        speed: Multiple of real time at which it processes audio.
        drift: Seconds by which a word's start and end may be wrong, either way.
        capitalizes: Whether it writes a capital letter at the start and a full stop at the end.
        accent: How it writes words, and how its times differ; None: as they are spoken.
        adds_offset: Whether it adds its stream's `start_time_offset` to times, as LiveKit's plugins
            do.
        language_detection: Whether it detects the language, instead of being given one.
        reports_turns: Whether it emits the start and the end of speech.
        one_session: Whether it refuses a connection while it has another one.
        burst, rate: The pace at which replayed audio is sent to it; see `Pace`.
    """

    faults: tuple[FaultSpec | None, ...] = ()
    down: tuple[tuple[float, float], ...] = ()
    hangs: bool = False
    times: Times = "words"
    connect_time: float = 0.05
    latency: float = 0.2
    endpointing: float = 0.3
    max_words: int = 99
    interim_results: bool = True
    manual_flush: bool = True
    slow_endpointing: bool = False
    finalizes_at_end: bool = True
    speed: float = 20.0
    drift: float = 0.0
    capitalizes: bool = False
    adds_offset: bool = True
    language_detection: bool = False
    reports_turns: bool = True
    one_session: bool = False
    burst: float = 5.0
    rate: float = 2.0
    accent: Accent | None = None

    @property
    def time_error(self) -> float:
        """Seconds by which a word's start and end may be wrong."""
        return self.drift + (self.accent.time_error if self.accent else 0.0)


@dataclass(frozen=True, slots=True)
class Schedule:
    """One call. Times are in seconds.

    Attributes:
        pieces: The words and noises that are spoken.
        scripts: The providers, in the order of preference.
        frame: Length of a pushed frame.
        push_speed: Multiple of real time at which the caller pushes.
        push_gaps: Pairs of a second of audio and the seconds for which the caller pushes nothing
            there. It then catches up at once.
        flushes: Seconds of audio at which the caller flushes.
        tail: Silence before the end of input.
        closed_at: Second of the call at which the caller closes the stream; None: at its end.
        window: Seconds of audio that are kept for replays.
        dwell: `FailbackPolicy.min_dwell`.
        language_changes: Pairs of a second of the call and the language that the caller sets then.
        option_changes: Pairs of a second of the call and the number of the provider whose options
            change then.
        spanish_from: Second of audio from which Spanish is spoken; None: English only.
        retranscribe: Whether the sentence that reveals a language is transcribed again.
        seed: The seed that it was drawn from. It also seeds the noise of word times.
    """

    pieces: tuple[Piece, ...]
    scripts: tuple[ProviderScript, ...]
    frame: float = 0.1
    push_speed: float = 1.0
    push_gaps: tuple[tuple[float, float], ...] = ()
    flushes: tuple[float, ...] = ()
    tail: float = 0.6
    closed_at: float | None = None
    window: float = 60.0
    dwell: float = 5.0
    language_changes: tuple[tuple[float, str], ...] = ()
    option_changes: tuple[tuple[float, int], ...] = ()
    spanish_from: float | None = None
    retranscribe: bool = False
    seed: int = 0

    def to_json(self) -> str:
        """Write the schedule as JSON, one value a line."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Schedule:
        """Read what `to_json` wrote.

        Raises:
            ValueError: The text is not the JSON of a schedule.
        """
        try:
            data = json.loads(text)
            scripts = tuple(_script(s) for s in data.pop("scripts"))
            pieces = tuple(Piece(**p) for p in data.pop("pieces"))
            pairs = tuple((a, b) for a, b in data.pop("push_gaps"))
            flushes = tuple(data.pop("flushes"))
            data["language_changes"] = tuple(
                (at, tag) for at, tag in data.get("language_changes", ())
            )
            data["option_changes"] = tuple((at, n) for at, n in data.get("option_changes", ()))
            return cls(pieces=pieces, scripts=scripts, push_gaps=pairs, flushes=flushes, **data)
        except (TypeError, KeyError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"not a schedule: {error}") from None

    @property
    def words(self) -> list[str]:
        """The words that are spoken, in order."""
        return [p.text for p in self.pieces if p.text]

    @property
    def accents(self) -> bool:
        """Whether words may be written in another form than they are spoken: providers have
        accents, or words are phrases."""
        return any(s.accent for s in self.scripts) or not all(w.isalpha() for w in self.words)

    @property
    def lies(self) -> bool:
        """Whether a provider loses words without an error."""
        return any(_is_lie(m) for s in self.scripts for m in s.faults)

    @property
    def abandoned(self) -> bool:
        """Whether all providers are down for good from some moment on."""
        return all(any(until >= FOR_EVER for _, until in s.down) for s in self.scripts)

    @property
    def refused(self) -> bool:
        """Whether a provider refuses as if for good, and takes a later connection all the same."""
        return any(m and m.kind in _FOR_GOOD for s in self.scripts for m in s.faults)

    @property
    def routed(self) -> bool:
        """Whether the call has routes for single languages."""
        return bool(self.language_changes) or any(s.language_detection for s in self.scripts)

    @property
    def length(self) -> float:
        """Seconds of audio."""
        return round(sum(p.before + p.length for p in self.pieces) + self.tail, 3)


def _script(data: dict[str, Any]) -> ProviderScript:
    faults = tuple(FaultSpec(**m) if m else None for m in data.pop("faults"))
    down = tuple((a, b) for a, b in data.pop("down"))
    accent = data.pop("accent", None)  # calls that were saved before there were any have none
    return ProviderScript(
        faults=faults, down=down, accent=Accent(**accent) if accent else None, **data
    )


# -- drawing


def draw(seed: int, *, accents: bool = False) -> Schedule:
    """Draw the schedule of a seed: any speech, pace and faults under which the promises hold.

    With `accents`, the same call is spoken in other words, and each provider writes them, and times
    them, in its own way.

    The promises hold if one provider loses words or falls silent without an error, as long as the
    others fail with errors only. A provider that is alone may do so once. Where no provider hears,
    it is promised that the call ends soon, with every word that was shown, and reports the rest. A
    final that is left out can only be noticed by the interim transcripts of its words, so it is
    drawn only where there are some.
    """
    dice = random.Random(seed)
    count = dice.choice([1, 2, 2, 2, 3])
    timed = dice.random() < 0.7
    exact = dice.random() < 0.5
    pieces = _draw_pieces(dice, repeats=timed and exact)
    length = sum(p.before + p.length for p in pieces)
    liar = dice.randrange(count) if dice.random() < 0.5 else None
    scripts = [_draw_provider(dice, timed, length, honest=liar is not None) for _ in range(count)]
    if exact:
        scripts = [replace(s, drift=0.0) for s in scripts]
    if liar is not None:
        scripts[liar] = _add_lies(dice, scripts[liar], length, alone=count == 1)
        losing = _lose_final(dice, scripts[liar], alone=count == 1)
        if _has_interims_of_all(losing) and not _repeats(pieces) and dice.random() < 0.3:
            scripts[liar] = losing
        if scripts[liar].times == "none":
            pieces = _separate_noise(pieces)
        pieces = _lengthen_last_word(pieces, _min_last_word(scripts))
    elif dice.random() < 0.4:
        scripts = _add_outage(dice, scripts, length)
    drawn = Schedule(
        pieces=pieces,
        scripts=tuple(scripts),
        frame=dice.choice([0.02, 0.05, 0.1, 0.1, 0.1, 0.5]),
        push_speed=dice.choice([1.0, 1.0, 1.0, 1.0, 4.0, 100.0]),
        push_gaps=_draw_times(dice, length, [0.3, 1.0, 3.0], chance=0.3),
        flushes=tuple(at for at, _ in _draw_times(dice, length, [0.0], chance=0.3)),
        tail=dice.choice([0.0, 0.05, 0.2, 0.6, 1.5, 4.0]),
        closed_at=round(dice.uniform(0, length + 1), 3) if dice.random() < 0.08 else None,
        dwell=dice.choice([1.0, 5.0, 30.0]),
        seed=seed,
    )
    drawn = _add_languages(random.Random(f"languages {seed}"), drawn, length)
    drawn = _silence_turns(random.Random(f"turns {seed}"), drawn)
    drawn = _add_option_changes(random.Random(f"options {seed}"), drawn)
    drawn = _abandon(random.Random(f"abandoned {seed}"), drawn)
    drawn = _leave_ends_open(random.Random(f"ends {seed}"), drawn)
    return _add_accents(random.Random(f"accents {seed}"), drawn) if accents else drawn


def _draw_pieces(dice: random.Random, *, repeats: bool) -> tuple[Piece, ...]:
    count = dice.randint(1, 14)
    words = dice.sample(_VOCABULARY, count)
    if repeats and dice.random() < 0.2:
        words = [words[n // 2] for n in range(count)]  # "nine nine four four"
    gaps = [0.0, 0.0, 0.02, 0.1, 0.2, 0.4, 0.6, 1.0, 2.0, 4.0]
    pieces = [
        Piece(word, dice.choice(gaps) if n else 0.4, dice.choice([0.25, 0.3, 0.4, 0.7]))
        for n, word in enumerate(words)
    ]
    for _ in range(dice.choice([0, 0, 0, 1, 2])):
        noise = Piece("", dice.choice(gaps), dice.choice([0.2, 0.5, 1.5, 4.0]))
        pieces.insert(dice.randrange(len(pieces) + 1), noise)
    return _shorten_noise(pieces)


def _shorten_noise(pieces: list[Piece]) -> tuple[Piece, ...]:
    """Shorten the second of two long noises without a word between them.

    Nobody could tell them from speech that no provider hears: of `max_unanswered_speech` seconds
    without a word, the promise is that they are reported as lost.
    """
    shortened = pieces[:1]
    for piece in pieces[1:]:
        both = _is_noise(piece) and _is_noise(shortened[-1])
        shortened.append(replace(piece, length=min(piece.length, 1.5)) if both else piece)
    return tuple(shortened)


def _lengthen_last_word(pieces: tuple[Piece, ...], seconds: float) -> tuple[Piece, ...]:
    """Make the last word at least `seconds` long."""
    last = max(n for n, piece in enumerate(pieces) if not _is_noise(piece))
    longer = replace(pieces[last], length=max(pieces[last].length, seconds))
    return (*pieces[:last], longer, *pieces[last + 1 :])


def _add_languages(dice: random.Random, drawn: Schedule, length: float) -> Schedule:
    """Let the language change in some calls: it is spoken, set by the caller, or detected.

    The draws come from dice of their own, so that this adds nothing to the draws of other calls.
    """
    if dice.random() < 0.7:
        return drawn
    scripts = [replace(s, language_detection=dice.random() < 0.4) for s in drawn.scripts]
    times = sorted(round(dice.uniform(0, length), 2) for _ in range(dice.choice([0, 1, 2])))
    return replace(
        drawn,
        scripts=tuple(scripts),
        language_changes=tuple((at, dice.choice(["es", "en", "fr", ""])) for at in times),
        spanish_from=round(dice.uniform(0, length), 2) if dice.random() < 0.7 else None,
        retranscribe=dice.random() < 0.5,
    )


def _add_accents(dice: random.Random, drawn: Schedule) -> Schedule:
    """Let the providers write differently, and speak words that can be written differently.

    Repeated words stay repeated: only times tell them apart. Where a final is left out, only the
    times of interims show it. So there the times stay right, and as without accents also where a
    provider gives none: wrong times of another one would let its replay begin within a word. Such
    a provider does not mishear or abbreviate words either: nothing would show that it repeats one.
    """
    untimed = any(script.times != "words" for script in drawn.scripts)
    exact = untimed or _repeats(drawn.pieces) or any(map(_loses_final, drawn.scripts))
    spoken = list(dict.fromkeys(drawn.words))
    plain = dice.sample(_PLAIN_WORDS, len(spoken))
    varied = dice.sample(phrases("en", abbreviations=not untimed), len(spoken))
    words = {word: varied[n] if dice.random() < 0.4 else plain[n] for n, word in enumerate(spoken)}
    scripts = [
        replace(s, accent=_draw_accent(dice, exact=exact, mishears=not untimed))
        if dice.random() < 0.8
        else s
        for s in drawn.scripts
    ]
    pieces = tuple(replace(p, text=words[p.text]) if p.text else p for p in drawn.pieces)
    pieces = _with_fillers(dice, pieces)
    if any(s.times == "none" for s in scripts):
        pieces = _separate_noise(pieces)
    pieces = _lengthen_last_word(pieces, _min_last_word(scripts))
    return replace(drawn, pieces=pieces, scripts=tuple(scripts))


def _draw_accent(dice: random.Random, *, exact: bool, mishears: bool) -> Accent:
    """Draw the accent of a provider. Two pieces of a call are never written as one word: at a
    failover between them, nobody could tell which part of it is new."""
    accent = replace(Accent.drawn(dice.randrange(2**31)), joins=0.0, max_words=None, pause=1.0)
    if not mishears:
        accent = replace(accent, substitutions=0.0)
    return replace(accent, shift=0.0, jitter=0.0) if exact else accent


def _with_fillers(dice: random.Random, pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """Put fillers between words in some calls; providers write them or leave them out."""
    spoken = [*pieces]
    for _ in range(dice.choice([0, 0, 1, 2])):
        filler = Piece(dice.choice(fillers("en")), dice.choice([0.0, 0.1, 0.4, 1.0]), 0.25)
        place = dice.randrange(len(spoken))
        if spoken[place].text:
            spoken.insert(place, filler)
    return tuple(spoken)


def _silence_turns(dice: random.Random, drawn: Schedule) -> Schedule:
    """Let some providers emit text only, with dice of their own."""
    scripts = [replace(s, reports_turns=dice.random() < 0.75) for s in drawn.scripts]
    return replace(drawn, scripts=tuple(scripts))


def _leave_ends_open(dice: random.Random, drawn: Schedule) -> Schedule:
    """Let some providers make no final of the last words when their input ends.

    Not where words may be missing for another reason, too: what two connections leave out at the
    end is noise. And such words show only if they are long enough.
    """
    if drawn.lies or drawn.abandoned or drawn.routed or dice.random() < 0.7:
        return drawn
    scripts = tuple(
        replace(s, finalizes_at_end=False)
        if not s.manual_flush and s.endpointing <= MAX_ENDPOINTING and dice.random() < 0.6
        else s
        for s in drawn.scripts
    )
    if scripts == drawn.scripts:
        return drawn
    pieces = _lengthen_last_word(drawn.pieces, _min_last_word(scripts))
    if any(s.times == "none" for s in scripts):
        pieces = _separate_noise(pieces)
    return replace(drawn, scripts=scripts, pieces=pieces)


def _add_option_changes(dice: random.Random, drawn: Schedule) -> Schedule:
    """Let options of providers change in some calls, with dice of their own: for any provider, in
    any role, and now and then several times in one moment."""
    if dice.random() < 0.6:
        return drawn
    changes: list[tuple[float, int]] = []
    for _ in range(dice.choice([1, 1, 2, 4])):
        at = round(dice.uniform(0, drawn.length + 2), 2)
        if changes and dice.random() < 0.2:
            at = round(changes[-1][0] + dice.choice([0.0, 0.05, 0.3]), 2)
        changes.append((at, dice.randrange(len(drawn.scripts))))
    drawn = replace(drawn, option_changes=tuple(sorted(changes)))
    if drawn.lies:
        return drawn  # a sole provider may have to be asked twice
    scripts = [replace(s, one_session=dice.random() < 0.3) for s in drawn.scripts]
    return replace(drawn, scripts=tuple(scripts))


def _separate_noise(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """Put pauses between noise and words, so that a stretch of voice holds only one of both."""
    apart = [*pieces[:1]]
    for piece in pieces[1:]:
        beside = _is_noise(piece) or _is_noise(apart[-1])
        apart.append(
            replace(piece, before=max(piece.before, MIN_PAUSE_AROUND_NOISE)) if beside else piece
        )
    return tuple(apart)


def _draw_provider(
    dice: random.Random, timed: bool, length: float, *, honest: bool
) -> ProviderScript:
    """Draw a provider that fails with errors only. With `honest`, it also answers in good time,
    because another one will lose words and this one has to make up for it."""
    flushes = dice.random() < 0.7
    kinds = _KINDS if honest else (*_KINDS, *_FOR_GOOD)
    faults = tuple(
        _draw_loud_fault(dice, length, kinds) if dice.random() < 0.6 else None
        for _ in range(dice.choice([0, 1, 3]))
    )
    times: Times = "words" if timed else dice.choice(_TIMES)
    whole = times == "none"
    return ProviderScript(
        faults=faults,
        times=times,
        connect_time=dice.choice([0.0, 0.05, 0.3]),
        latency=dice.choice([0.0, 0.1, 0.3, 0.5] if honest else [0.0, 0.1, 0.5, 0.9]),
        endpointing=dice.choice(
            [0.4, 0.5] if whole else [0.1, 0.3] if honest else [0.1, 0.3, 0.5, 0.8]
        ),
        max_words=99 if whole else dice.choice([1, 2, 3, 99, 99]),
        interim_results=dice.random() < 0.6,
        manual_flush=flushes,
        slow_endpointing=flushes and dice.random() < 0.3,
        speed=dice.choice([1.25, 2.0, 20.0]),
        drift=dice.choice([0.0, 0.03, 0.08]) if timed else 0.0,
        capitalizes=dice.random() < 0.3,
        adds_offset=dice.random() < 0.8,
        burst=dice.choice([0.05, 0.5, 5.0]),
        rate=dice.choice([1.5, 2.0]),
    )


def _draw_loud_fault(dice: random.Random, length: float, kinds: Sequence[str]) -> FaultSpec:
    at = dice.choice(_LOUD_AT)
    kind = dice.choice([*kinds, *["dropped"] * 8])
    if at == "close":
        return FaultSpec("close", "slow_close", seconds=dice.choice([0.1, 1.0, 5.0]))
    if at == "connect" and dice.random() < 0.4:
        return FaultSpec("connect", "hang")
    if at == "finished":
        return FaultSpec("finished", "ignore_close")
    if at == "audio":
        effect = dice.choice(_LOUD_EFFECTS)
        return FaultSpec("audio", effect, after=round(dice.uniform(0, length), 3), kind=kind)
    return FaultSpec(at, "drop", dice.choice([0, 0, 1, 2, 5]), kind)


def _add_lies(
    dice: random.Random, script: ProviderScript, length: float, *, alone: bool
) -> ProviderScript:
    """Let the first connections of a provider lose words silently; only one if it is `alone`."""
    count = 1 if alone else dice.choice([1, 1, 2, 4])
    lies = [_draw_silent_fault(dice, length) for _ in range(count)]
    return replace(script, faults=(*lies, *script.faults))


def _lose_final(dice: random.Random, script: ProviderScript, *, alone: bool) -> ProviderScript:
    """Let a provider emit interims of everything, and its first connection leave out one final.

    If it is `alone`, it does not say 429 then: that is taken for a limit of one connection, so
    that nobody is left to be asked.
    """
    lost = FaultSpec("final", "lost_final", after=dice.choice([0, 0, 1, 2, 4]))
    later = [
        replace(fault, kind="dropped") if alone and fault and fault.kind == "429" else fault
        for fault in script.faults[1:]
    ]
    return replace(script, faults=(lost, *later), interim_results=True, max_words=99)


def _draw_silent_fault(dice: random.Random, length: float) -> FaultSpec:
    at = dice.choice(_SILENT_AT)
    if at == "end_input":
        return FaultSpec("end_input", "half_open" if dice.random() < 0.5 else "end_cleanly")
    after = round(dice.uniform(0, length), 3) if at == "audio" else dice.choice([0, 0, 1, 2])
    effect: Effect = "hang" if at == "connect" else dice.choice(_SILENT_EFFECTS)
    return FaultSpec(at, effect, after=after, seconds=dice.choice([0.5, 2.0, 5.0, 1000.0]))


def _add_outage(
    dice: random.Random, scripts: Sequence[ProviderScript], length: float
) -> list[ProviderScript]:
    """Take all or almost all providers down at about the same time."""
    since = dice.uniform(0, length)
    lasts = dice.choice([0.3, 1.0, 3.0, 7.0, 12.0])
    return [
        replace(
            s,
            down=((round(since + dice.uniform(0, 0.5), 3), round(since + lasts, 3)),),
            hangs=dice.random() < 0.3,
        )
        if dice.random() < 0.85
        else s
        for s in scripts
    ]


def _abandon(dice: random.Random, drawn: Schedule) -> Schedule:
    """Take all providers of a few calls down for good, near the end or behind it.

    Not where words may be missing in any case, or come in another form.
    """
    loses_words = drawn.lies or drawn.refused or drawn.closed_at is not None
    is_plain = not drawn.push_gaps and drawn.push_speed == 1.0 and not _repeats(drawn.pieces)
    if dice.random() >= 0.25 or loses_words or drawn.routed or not is_plain:
        return drawn
    since = round(dice.uniform(max(0.0, drawn.length - 8.0), drawn.length + 0.5), 3)
    scripts = tuple(
        replace(s, down=(*s.down, (since, FOR_EVER)), hangs=dice.random() < 0.5)
        for s in drawn.scripts
    )
    return replace(drawn, scripts=scripts)


def _draw_times(
    dice: random.Random, length: float, seconds: Sequence[float], *, chance: float
) -> tuple[tuple[float, float], ...]:
    if dice.random() > chance:
        return ()
    count = dice.randint(1, 3)
    found = {round(dice.uniform(0, length), 2): dice.choice(seconds) for _ in range(count)}
    return tuple(sorted(found.items()))


def promised(schedule: Schedule) -> bool:
    """Whether the promises hold under a schedule; see `draw`."""
    untimed = [s for s in schedule.scripts if s.times == "none"]
    if any(map(_splits_speech, untimed)):
        return False
    lying = any(_is_lie(m) for s in untimed for m in s.faults)
    if lying and _noise_beside_words(schedule.pieces):
        # A final without times covers a whole stretch of voice. Of one that joins a word and noise,
        # this provider may transcribe a part and lose the rest, which cannot be noticed.
        return False
    lies = [sum(map(_is_lie, s.faults)) for s in schedule.scripts]
    if not any(lies):
        return True
    losing = [s for s in schedule.scripts if _loses_final(s)]
    if losing and (_repeats(schedule.pieces) or not all(map(_has_interims_of_all, losing))):
        # An interim of a word that is spoken twice may be taken for the other one, so that the
        # final that was left out is not missed.
        return False
    last = next((p for p in reversed(schedule.pieces) if not _is_noise(p)), None)
    if last and last.length < _min_last_word(schedule.scripts):
        return False
    alone = len(lies) == 1
    if alone and losing and any(m and m.kind == "429" for m in schedule.scripts[0].faults):
        return False
    return not any(s.down for s in schedule.scripts) and (
        lies == [1] if alone else lies.count(0) >= len(lies) - 1
    )


def _min_last_word(scripts: Sequence[ProviderScript]) -> float:
    """Seconds of a last word whose loss is noticed.

    A shorter rest of voice behind a final counts as the edge of its last word, and more so if the
    provider's times are late.
    """
    return round(MIN_SPEECH + max(s.time_error for s in scripts), 3)


def _repeats(pieces: Sequence[Piece]) -> bool:
    """Whether a word is spoken twice."""
    words = [p.text for p in pieces if p.text and not is_filler(p.text)]
    return len(set(words)) < len(words)


def _has_interims_of_all(script: ProviderScript) -> bool:
    """Whether a provider has emitted the words of each final before, with exact times."""
    timed = script.times == "words" and script.time_error == 0.0
    return timed and script.interim_results and script.max_words == 99


def _loses_final(script: ProviderScript) -> bool:
    """Whether a connection of a provider leaves out a final."""
    return any(fault and fault.effect == "lost_final" for fault in script.faults)


def _splits_speech(script: ProviderScript) -> bool:
    """Whether a provider's finals may cover less than one stretch of voice."""
    return script.max_words < 99 or script.endpointing < 0.4


def _noise_beside_words(pieces: Sequence[Piece]) -> bool:
    """Whether noise and a word are one stretch of voice, of which a final may cover a part."""
    return any(
        _is_noise(first) is not _is_noise(second) and second.before < MIN_PAUSE_AROUND_NOISE
        for first, second in pairwise(pieces)
    )


def _is_noise(piece: Piece) -> bool:
    """Whether no provider need write anything for a piece."""
    return not piece.text or is_filler(piece.text)


def _is_lie(fault: FaultSpec | None) -> bool:
    """Whether a fault loses words without an error."""
    if fault is None:
        return False
    silent = fault.effect in ("half_open", "stall", "empty_finals", "lost_final")
    return silent or (fault.at, fault.effect) == ("end_input", "end_cleanly")


# -- making smaller

_SIMPLE = (
    *("language_changes", "option_changes", "spanish_from", "retranscribe", "push_gaps"),
    *("flushes",),
    *("frame", "push_speed", "tail", "closed_at", "window", "dwell"),
)
"""Fields of a schedule that are simplest at their defaults."""


def smaller(schedule: Schedule) -> Iterator[Schedule]:
    """Yield schedules that are simpler by one step each, the largest steps first."""
    return filter(promised, _steps(schedule))


def _steps(schedule: Schedule) -> Iterator[Schedule]:
    plain = Schedule(pieces=schedule.pieces, scripts=schedule.scripts, seed=schedule.seed)
    yield from _without(schedule, "scripts", least=1)
    for name in _SIMPLE:
        if getattr(schedule, name) != getattr(plain, name):
            yield _changed(schedule, **{name: getattr(plain, name)})
    half = len(schedule.pieces) // 2
    if half:
        yield replace(schedule, pieces=schedule.pieces[:half])
        yield replace(schedule, pieces=schedule.pieces[half:])
    yield from _without(schedule, "pieces", least=1)
    for number, script in enumerate(schedule.scripts):
        for simpler in _simpler(script):
            scripts = [*schedule.scripts]
            scripts[number] = simpler
            yield replace(schedule, scripts=tuple(scripts))


def _simpler(script: ProviderScript) -> Iterator[ProviderScript]:
    plain = ProviderScript()
    for name in ProviderScript.__dataclass_fields__:
        if name != "faults" and getattr(script, name) != getattr(plain, name):
            yield _changed(script, **{name: getattr(plain, name)})
    for accent in _simpler_accents(script.accent) if script.accent else ():
        yield replace(script, accent=accent)
    for number, fault in enumerate(script.faults):
        rest = script.faults[:number], script.faults[number + 1 :]
        yield replace(script, faults=(*rest[0], *rest[1]))
        if fault:
            yield replace(script, faults=(*rest[0], None, *rest[1]))
            if fault.kind != "dropped":
                yield replace(script, faults=(*rest[0], replace(fault, kind="dropped"), *rest[1]))
            if fault.after:
                after = round(fault.after / 2, 1) if fault.at == "audio" else fault.after - 1
                if after < fault.after:
                    yield replace(script, faults=(*rest[0], replace(fault, after=after), *rest[1]))


def _simpler_accents(accent: Accent) -> Iterator[Accent]:
    plain = Accent()
    for name in Accent.__dataclass_fields__:
        if name != "seed" and getattr(accent, name) != getattr(plain, name):
            yield _changed(accent, **{name: getattr(plain, name)})


def _without(schedule: Schedule, name: str, *, least: int) -> Iterator[Schedule]:
    items = getattr(schedule, name)
    if len(items) > least:
        for number in range(len(items)):
            yield _changed(schedule, **{name: items[:number] + items[number + 1 :]})


def _changed(of: Any, **changes: Any) -> Any:
    return replace(of, **changes)
