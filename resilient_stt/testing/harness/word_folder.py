"""Words that real recognizers wrote for the same audio, read from a folder, as calls to play.

`benchmarks/seam.py` describes the files. Nothing of such data is part of this package.
"""

from __future__ import annotations

import gzip
import json
import math
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...core.transcript.tokens import SPACELESS_CHARACTERS
from ..speech.reference import SpokenWord
from .seam_score import matched, tokens

CALL = 40.0
"""Seconds of a call."""
MIN_WORDS = 20
"""Words that each recognizer must have in a call."""
CLIPS = 14
"""Clips that are strung together for a call; the rest of them is not played."""
_MARGINS = (0.3, 1.0)
"""Seconds without words at the start and at the end of a call."""
_AGREEMENT = 0.5
"""Share of a text's words on which another one must agree to be about the same clip."""

_UNIT = re.compile(rf"[{SPACELESS_CHARACTERS}]|[^\s{SPACELESS_CHARACTERS}]+")

Timed = tuple[SpokenWord, ...]


class FolderError(Exception):
    """The folder does not hold what can be played; the message says what is wrong, and where."""


# --- the folder ---


@dataclass(frozen=True)
class RecordingSet:
    """What several recognizers wrote for the same audio.

    Attributes:
        name: The file's name, or what the names of its files have in common.
        language: Subtag; empty if it is not known.
        recordings: With times: the words of each recognizer, for each recording.
        texts: Without times: the texts of each recognizer, by clip.
    """

    name: str
    language: str = ""
    recordings: tuple[Mapping[str, Timed], ...] = ()
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The ordered pairs of recognizers."""
        vendors = {v for recording in self.recordings for v in recording} | {*self.texts}
        return [(a, b) for a in sorted(vendors) for b in sorted(vendors) if a != b]

    def call(self, first: str, second: str, dice: random.Random) -> tuple[Timed, Timed] | None:
        """Draw a call of `CALL` seconds. Return the words of both, or None if there are too few."""
        drawn = self._excerpt(first, second, dice) if self.recordings else None
        if self.texts:
            drawn = self._strung_together(first, second, dice)
        if drawn is None or min(map(len, drawn)) < MIN_WORDS:
            return None
        return drawn

    def _excerpt(self, first: str, second: str, dice: random.Random) -> tuple[Timed, Timed] | None:
        both = [r for r in self.recordings if r.get(first) and r.get(second)]
        if not both:
            return None
        recording = dice.choice(both)
        length = min(recording[first][-1].end, recording[second][-1].end)
        begin = dice.uniform(0.0, max(0.0, length - CALL))
        return excerpt(recording[first], begin), excerpt(recording[second], begin)

    def _strung_together(
        self, first: str, second: str, dice: random.Random
    ) -> tuple[Timed, Timed] | None:
        one, other = self.texts.get(first, {}), self.texts.get(second, {})
        clips = sorted(clip for clip in one.keys() & other.keys() if one[clip] and other[clip])
        dice.shuffle(clips)
        at = 0.6
        words: tuple[list[SpokenWord], list[SpokenWord]] = ([], [])
        for clip in clips[:CLIPS]:
            laid = laid_out(one[clip], other[clip], at, self.language, dice)
            if laid is None:
                continue
            for collected, more in zip(words, laid, strict=True):
                collected += more
            at = max(word.end for part in laid for word in part) + 0.9
            if at > CALL:
                break
        return excerpt(words[0], 0.0), excerpt(words[1], 0.0)


def read_folder(folder: Path) -> list[RecordingSet]:
    """Return the sets in a folder, by name.

    Raises:
        FolderError: There is nothing to play, or a file has another form.
    """
    if not folder.is_dir():
        raise FolderError(f"{folder} is not a folder")
    paths = sorted(p for p in folder.iterdir() if p.name.endswith((".json", ".json.gz")))
    if not paths:
        raise FolderError(f"{folder} has no *.json or *.json.gz; see benchmarks/seam.py")
    timed: dict[str, list[Mapping[str, Timed]]] = {}
    sets = []
    for path in paths:
        stem = path.name.removesuffix(".gz").removesuffix(".json")
        name, _, last = stem.rpartition("-")
        content = _vendors(path)
        if all(isinstance(words, list) for words in content.values()):
            timed.setdefault(name or stem, []).append(
                {vendor: _timed(path, vendor, words) for vendor, words in content.items()}
            )
        elif all(map(_is_texts, content.values())):
            sets.append(RecordingSet(stem, language=last, texts=content))
        else:
            raise FolderError(
                f"{path} must hold for each vendor either a list of [word, start, end] or an "
                "object of texts by clip"
            )
    sets += [RecordingSet(name, recordings=tuple(found)) for name, found in timed.items()]
    if not any(found.pairs for found in sets):
        raise FolderError(f"{folder} has no file with two vendors, and a seam needs two")
    return sorted(sets, key=lambda found: found.name)


def _vendors(path: Path) -> dict[str, Any]:
    """Return the object in a file."""
    try:
        raw = path.read_bytes()
        content = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    except (OSError, EOFError, ValueError) as error:
        raise FolderError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict) or not content:
        raise FolderError(f"{path} must hold an object with the name of each vendor")
    return content


def _is_texts(texts: object) -> bool:
    return isinstance(texts, dict) and all(isinstance(text, str) for text in texts.values())


def _timed(path: Path, vendor: str, words: list[Any]) -> Timed:
    """Return the words of one vendor."""
    found = []
    for number, entry in enumerate(words):
        match entry:
            case [str(text), int() | float() as start, int() | float() as end] if (
                0 <= start <= end < math.inf
            ):
                found.append(SpokenWord(text, float(start), float(end)))
            case _:
                raise FolderError(
                    f"{path}: word {number} of {vendor!r} must be [word, start, end] in seconds, "
                    f"not {json.dumps(entry)[:60]}"
                )
    return tuple(found)


def excerpt(words: Iterable[SpokenWord], begin: float) -> Timed:
    """Return the words of `CALL` seconds from `begin` on, with times from there.

    Some vendors' words have no length, and some overlap: a word begins when the one before it has
    ended, and lasts 0.08 s at least.
    """
    found: list[SpokenWord] = []
    for word in words:
        start, end = word.start - begin, word.end - begin
        if start >= _MARGINS[0] and end <= CALL - _MARGINS[1]:
            start = max(start, found[-1].end) if found else start
            end = max(end, start + 0.08)
            found.append(SpokenWord(word.text, start, end, word.language))
    return tuple(found)


def laid_out(
    first: str, second: str, at: float, language: str, dice: random.Random
) -> tuple[list[SpokenWord], list[SpokenWord]] | None:
    """Give times to two texts of one clip that begins at second `at`.

    The words of the first take as long as their letters. Those of the second have the times of the
    words on which both agree, with small errors; the others share the time between these. None if
    the texts agree on less than half of their words.
    """
    one, other = ([u for u in _UNIT.findall(text) if tokens(u)] for text in (first, second))
    agreed = matched([*map(_key, one)], [*map(_key, other)])
    if not one or not other or len(agreed) < _AGREEMENT * len(one):
        return None
    words = []
    for unit in one:
        length = (
            0.22 if re.fullmatch(f"[{SPACELESS_CHARACTERS}]", unit) else 0.08 + 0.055 * len(unit)
        )
        words.append(SpokenWord(unit, at, at + length, language))
        at += length + (0.55 if re.search(r"(?<!\.)[.?!。？！]$", unit) else 0.03)
    known: dict[int, tuple[float, float]] = {}
    for mine, theirs in agreed:
        error = dice.gauss(0.02, 0.05)
        known[theirs] = (words[mine].start + error, words[mine].end + error)
    spans = _between(known, len(other), words[0].start - 0.3, words[-1].end + 0.3)
    laid = [SpokenWord(u, max(0.0, a), b, language) for u, (a, b) in zip(other, spans, strict=True)]
    return words, sorted(laid, key=lambda word: word.start)


def _between(
    known: Mapping[int, tuple[float, float]], count: int, begin: float, end: float
) -> Iterator[tuple[float, float]]:
    """Yield a span for each of `count` words; the unknown ones share the time between others."""
    fixed = {-1: (begin, begin), **known, count: (end, end)}
    for number in range(count):
        if number in known:
            yield known[number]
            continue
        before = max(n for n in fixed if n < number)
        after = min(n for n in fixed if n > number)
        low, high = fixed[before][1], max(fixed[after][0], fixed[before][1] + 0.02)
        share = (high - low) / (after - before - 1)
        start = low + share * (number - before - 1)
        yield start, start + 0.9 * share


def _key(unit: str) -> str:
    return " ".join(tokens(unit))
