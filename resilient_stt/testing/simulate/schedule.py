"""What one simulated call consists of: speech, pace, and what each provider does wrong and when.

A `Schedule` is drawn from a seed, and is plain data: it can be kept as JSON, and made smaller.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from ...core.policy import ReplayPolicy

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
"""Where a provider can fail: in `stream()`, while it connects, hears, is flushed, before it says an
interim or final transcript, after it told a final, when told the end, once it has told all, while
it is closed."""

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
"""How: by an exception, a clean end, reading and saying nothing any more, saying nothing for a
while, saying finals without text, leaving one final out, not letting itself be closed."""

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
_FOR_GOOD = ("401", "402", "400")
"""After these nobody asks again for long: whoever is the only honest one must not say so."""

MIN_SPEECH = ReplayPolicy().min_pending_speech
MIN_PAUSE_AROUND_NOISE = 0.6
"""Seconds of silence between noise and words that make two stretches of voice."""

_VOCABULARY = [a + v + b for a in "bdfgklmnprst" for v in "aeiou" for b in "bdfgklmnprst"]
"""Words that no two of are similar."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A word, or noise (`text` empty), after `before` seconds of silence, `length` seconds long."""

    text: str
    before: float
    length: float


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """What goes wrong with one connection.

    Attributes:
        at: where.
        way: how.
        nth: of `hear`: seconds of audio heard before; of others: how often it went well before.
        kind: of `raise`: an HTTP status, or in words, as `scripted.failure` takes it.
        seconds: how long a `stall`, a slow `connect` or a refused close takes.
    """

    at: Point
    effect: Effect
    after: float = 0.0
    kind: str = "dropped"
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ProviderScript:
    """A provider: how it recognises, and what goes wrong with its connections, in their order.

    Attributes:
        down: seconds of the call between which it refuses (or `hangs`) and has no connection.
        times: of words, of finals only (`end`), or none at all.
        most: words after which it finalises without a pause.
        speed: times real time at which it hears.
        detects: whether it reports the language that it hears, and is told none.
        drift: seconds by which its words' times are wrong, up and down.
        burst, rate: the pace at which it is sent a replay.
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
    speed: float = 20.0
    drift: float = 0.0
    capitalizes: bool = False
    adds_offset: bool = True
    language_detection: bool = False
    burst: float = 5.0
    rate: float = 2.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """One call.

    Attributes:
        frame: seconds of a pushed frame.
        rush: times real time at which the caller pushes.
        gaps: (second of audio, seconds) at which the caller pushes nothing for a while, to catch
            up at once.
        flushes: seconds of audio at which the caller flushes.
        tail: silence before the end of input.
        closed_at: second of the call at which the caller closes the stream, if it does.
        window: seconds of audio kept for replays.
        changes: (second of the call, language) at which the caller tells a language.
        turns: second of audio from which Spanish is spoken, if it is.
        retranscribe: whether the sentence that reveals a language is told again.
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
    spanish_from: float | None = None
    retranscribe: bool = False
    seed: int = 0

    def to_json(self) -> str:
        """As JSON, on lines of their own for each provider."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Schedule:
        """The schedule that `to_json` wrote.

        Raises:
            ValueError: it is none.
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
            return cls(pieces=pieces, scripts=scripts, push_gaps=pairs, flushes=flushes, **data)
        except (TypeError, KeyError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"no schedule: {error}") from None

    @property
    def words(self) -> list[str]:
        """What is said."""
        return [p.text for p in self.pieces if p.text]

    @property
    def lies(self) -> bool:
        """Whether a provider leaves words out without an exception."""
        return any(_is_lie(m) for s in self.scripts for m in s.faults)

    @property
    def routed(self) -> bool:
        """Whether languages have routes of their own in it."""
        return bool(self.language_changes) or any(s.language_detection for s in self.scripts)

    @property
    def length(self) -> float:
        """Seconds of audio."""
        return round(sum(p.before + p.length for p in self.pieces) + self.tail, 3)


def _script(data: dict[str, Any]) -> ProviderScript:
    faults = tuple(FaultSpec(**m) if m else None for m in data.pop("faults"))
    down = tuple((a, b) for a, b in data.pop("down"))
    return ProviderScript(faults=faults, down=down, **data)


# -- drawing


def draw(seed: int) -> Schedule:
    """The schedule of a seed: any speech, pace and faults for which the promises hold.

    They hold for one provider that lies or falls silent, as long as the others, if they fail, say
    so; a sole provider may lie once. Nothing is promised where nobody hears. One that leaves a
    final out is found out by the interim transcripts that had told its words.
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
        losing = _lose_final(dice, scripts[liar])
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
    return _add_languages(random.Random(f"languages {seed}"), drawn, length)


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
    return tuple(pieces)


def _lengthen_last_word(pieces: tuple[Piece, ...], seconds: float) -> tuple[Piece, ...]:
    """The same, with a last word of so many seconds at least."""
    last = max(n for n, piece in enumerate(pieces) if piece.text)
    longer = replace(pieces[last], length=max(pieces[last].length, seconds))
    return (*pieces[:last], longer, *pieces[last + 1 :])


def _add_languages(dice: random.Random, drawn: Schedule, length: float) -> Schedule:
    """Of some calls the language changes, is told, or is found out."""
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


def _separate_noise(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """The same with pauses around noise, as far as needed."""
    apart = [*pieces[:1]]
    for piece in pieces[1:]:
        beside = "" in (piece.text, apart[-1].text)
        apart.append(
            replace(piece, before=max(piece.before, MIN_PAUSE_AROUND_NOISE)) if beside else piece
        )
    return tuple(apart)


def _draw_provider(
    dice: random.Random, timed: bool, length: float, *, honest: bool
) -> ProviderScript:
    """One that may fail loudly; `honest`: and answers in good time, for another may lie."""
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
    """The same provider, silent or lying on some connections; one that is `alone` once."""
    count = 1 if alone else dice.choice([1, 1, 2, 4])
    lies = [_draw_silent_fault(dice, length) for _ in range(count)]
    return replace(script, faults=(*lies, *script.faults))


def _lose_final(dice: random.Random, script: ProviderScript) -> ProviderScript:
    """The same provider, which tells all in interim transcripts, its first connection leaving one
    final out."""
    lost = FaultSpec("final", "lost_final", after=dice.choice([0, 0, 1, 2, 4]))
    return replace(script, faults=(lost, *script.faults[1:]), interim_results=True, max_words=99)


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
    """An outage of all, or almost all, at about the same time."""
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


def _draw_times(
    dice: random.Random, length: float, seconds: Sequence[float], *, chance: float
) -> tuple[tuple[float, float], ...]:
    if dice.random() > chance:
        return ()
    count = dice.randint(1, 3)
    found = {round(dice.uniform(0, length), 2): dice.choice(seconds) for _ in range(count)}
    return tuple(sorted(found.items()))


def promised(schedule: Schedule) -> bool:
    """Whether the promises hold for it, as `draw` says."""
    untimed = [s for s in schedule.scripts if s.times == "none"]
    if any(map(_splits_speech, untimed)):
        return False
    lying = any(_is_lie(m) for s in untimed for m in s.faults)
    if lying and _noise_beside_words(schedule.pieces):
        return False  # of one stretch of voice it tells a part, and lies about the rest
    lies = [sum(map(_is_lie, s.faults)) for s in schedule.scripts]
    if not any(lies):
        return True
    losing = [s for s in schedule.scripts if any(m and m.effect == "lost_final" for m in s.faults)]
    if losing and (_repeats(schedule.pieces) or not all(map(_has_interims_of_all, losing))):
        return False  # a draft of a word that is said again is taken for that
    last = next((p for p in reversed(schedule.pieces) if p.text), None)
    if last and last.length < _min_last_word(schedule.scripts):
        return False
    alone = len(lies) == 1
    return not any(s.down for s in schedule.scripts) and (
        lies == [1] if alone else lies.count(0) >= len(lies) - 1
    )


def _min_last_word(scripts: Sequence[ProviderScript]) -> float:
    """Seconds of a last word that is missed if somebody leaves it out at the end: behind a final
    whose time is late, a shorter rest of voice is taken for the edge of that."""
    return round(MIN_SPEECH + max(s.drift for s in scripts), 3)


def _repeats(pieces: Sequence[Piece]) -> bool:
    """Whether a word is said twice."""
    words = [p.text for p in pieces if p.text]
    return len(set(words)) < len(words)


def _has_interims_of_all(script: ProviderScript) -> bool:
    """Whether it has told the words of any final before, and exactly where."""
    timed = script.times == "words" and script.drift == 0.0
    return timed and script.interim_results and script.max_words == 99


def _splits_speech(script: ProviderScript) -> bool:
    """Whether its finals may hold less than a stretch of voice."""
    return script.max_words < 99 or script.endpointing < 0.4


def _noise_beside_words(pieces: Sequence[Piece]) -> bool:
    """Whether noise joins two words to one stretch of voice, of which a final may tell half."""
    return any(
        first.text != second.text
        and "" in (first.text, second.text)
        and second.before < MIN_PAUSE_AROUND_NOISE
        for first, second in pairwise(pieces)
    )


def _is_lie(fault: FaultSpec | None) -> bool:
    """Whether it leaves words out without an exception."""
    if fault is None:
        return False
    silent = fault.effect in ("half_open", "stall", "empty_finals", "lost_final")
    return silent or (fault.at, fault.effect) == ("end_input", "end_cleanly")


# -- making smaller

_SIMPLE = (
    *("language_changes", "spanish_from", "retranscribe", "push_gaps", "flushes"),
    *("frame", "push_speed", "tail", "closed_at", "window", "dwell"),
)
"""What is simplest as it is by default."""


def smaller(schedule: Schedule) -> Iterator[Schedule]:
    """Schedules that are simpler by one step each, the boldest steps first."""
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


def _without(schedule: Schedule, name: str, *, least: int) -> Iterator[Schedule]:
    items = getattr(schedule, name)
    if len(items) > least:
        for number in range(len(items)):
            yield _changed(schedule, **{name: items[:number] + items[number + 1 :]})


def _changed(of: Any, **changes: Any) -> Any:
    return replace(of, **changes)
