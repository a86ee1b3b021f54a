"""The main promise, at every word: the real plugins over real sockets, in virtual time.

Each run plays a sentence of the reference speech with its neighbors, and injects a fault at one
word's start or middle. The runs of one sentence share an event loop.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from resilient_stt.testing.faults import Drop, Hang, Refuse, Status, from_
from resilient_stt.testing.speech.reference import ReferenceSpeech

from .support.trials import (
    WHISPER,
    FaultPlan,
    accents_of,
    check,
    check_delay,
    run_trials,
    slowest_healthy,
)

pytestmark = [pytest.mark.stt_virtual_time, pytest.mark.sweep]

SPEECH = ReferenceSpeech.load("english")

WHOLE = os.environ.get("SWEEP") == "whole"
"""Whether each fault happens at both the start and the middle of every word, as in `nox -s sweep`.
Otherwise it happens at one of them in turn, and `drop_for_good` only at every third word: until the
fallback drops, `drop_both_in_turn` is the same."""

DROP_DELAY = 0.3
HANG_DELAY = 1.6
"""Seconds of delay that a fault may add, for a drop or a refusal, and for a handshake that hangs.
In virtual time they are the same on every machine."""


def drop_once(word: int, part: float) -> FaultPlan:
    return FaultPlan((Drop(at_word=word, part=part, connections={0}),))


def drop_for_good(word: int, part: float) -> FaultPlan:
    return FaultPlan((Drop(at_word=word, part=part, connections={0}), Refuse(connections=from_(1))))


def drop_both_in_turn(word: int, part: float) -> FaultPlan:
    later = min(word + 3, len(SPEECH.words) - 1)
    return FaultPlan(
        (Drop(at_word=word, part=part, connections={0}), Refuse(connections={1})),
        (Drop(1011, at_word=later, part=part, connections={0}),),
    )


def drop_fallback(word: int, part: float) -> FaultPlan:
    return FaultPlan((Refuse(),), (Drop(1011, at_word=word, part=part, connections={0}),))


FAULTS: list[Callable[[int, float], FaultPlan]] = [
    drop_once,
    drop_for_good,
    drop_both_in_turn,
    drop_fallback,
]


@pytest.mark.parametrize("sentence", range(len(SPEECH.sentences)))
@pytest.mark.parametrize("fault", FAULTS, ids=[f.__name__ for f in FAULTS])
async def test_drop_at_every_word(fault: Callable[[int, float], FaultPlan], sentence: int) -> None:
    """A connection cut at any word's start or middle loses, repeats and delays nothing."""
    last = len(SPEECH.sentences) - 1
    speech = SPEECH.excerpt(max(0, sentence - 1), min(sentence + 1, last)).padded(1.0)
    turn = FAULTS.index(fault)
    every = 3 if fault is drop_for_good and not WHOLE else 1
    moments = [
        (word, part)
        for word in SPEECH.sentences[sentence][::every]
        for part in ((0.0, 0.5) if WHOLE else (0.5 * ((word + turn) % 2),))
    ]
    slowest = await slowest_healthy(speech)
    runs = await run_trials([fault(word, part) for word, part in moments], speech)
    for (word, part), done in zip(moments, runs, strict=True):
        where = f"{fault.__name__} at {part} of word {word} ({SPEECH.words[word].text})"
        check(done.played, where)
        check_delay(done.played, slowest, DROP_DELAY, where)


@pytest.mark.parametrize("sentence", range(len(SPEECH.sentences)))
async def test_drop_between_two_accents(sentence: int) -> None:
    """A provider that writes and times words in another way continues where the first one ended."""
    speech = SPEECH.excerpt(sentence, min(sentence + 1, len(SPEECH.sentences) - 1)).padded(1.0)
    words = SPEECH.sentences[sentence][:: 1 if WHOLE else 4]
    fault = (drop_for_good, drop_both_in_turn)[sentence % 2]
    plans = [fault(word, 0.5 * (word % 2)) for word in words]
    runs = await run_trials(plans, speech, accents=accents_of(WHISPER, sentence))
    for word, done in zip(words, runs, strict=True):
        where = f"{fault.__name__} in word {word} ({SPEECH.words[word].text}), accents {sentence}"
        check(done.played, where)


@pytest.mark.parametrize("connections", [None, {0}], ids=["always", "first"])
async def test_connect_faults(connections: set[int] | None) -> None:
    """A provider that cannot be reached from the start costs no word, and little time."""
    faults = {
        "refuse": Refuse(connections=connections),
        **{f"{s}": Status(s, connections=connections) for s in (401, 402, 403, 429, 500, 503)},
        "hang": Hang(connections=connections),
    }
    speech = SPEECH.excerpt(0, 3).padded(1.0)
    slowest = await slowest_healthy(speech)
    runs = await run_trials([FaultPlan((fault,)) for fault in faults.values()], speech)
    for name, done in zip(faults, runs, strict=True):
        check(done.played, name)
        check_delay(done.played, slowest, HANG_DELAY if name == "hang" else DROP_DELAY, name)
