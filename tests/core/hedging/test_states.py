from __future__ import annotations

from itertools import pairwise

import pytest

from resilient_stt.core.audio.ledger import AudioLedger
from resilient_stt.core.engine import FailoverEngine
from resilient_stt.core.events import HedgeFinished, StallReason
from resilient_stt.core.hedging.evidence import had_time_to_answer
from resilient_stt.core.hedging.states import CheckingSkippedSpeech
from resilient_stt.core.messages import Command, Input, StreamOpened
from resilient_stt.core.policy import ReplayPolicy, WatchdogPolicy
from resilient_stt.core.stalls.skipped_speech import SkippedSpeech
from resilient_stt.core.transcript.overlap import Utterance

from ...support.connections import a_connection, ledger_of
from ...support.promises import TWO, assert_promises, events
from ...support.simulator import (
    DEAF,
    RATE,
    LostFinal,
    Recognizer,
    Simulation,
    Spoken,
    Stall,
    noise,
    sentence,
    speak,
)

POLICY = WatchdogPolicy(skipped_final_wait=4.0)


def checking(*, had_interims: bool) -> CheckingSkippedSpeech:
    """A FINAL that came at 10 s, of audio from 2 s to 7 s, and skips speech up to 5 s."""
    skipped = SkippedSpeech(
        since=10.0,
        committed_through=2 * RATE,
        interims_through=4 * RATE,
        first_word_at=5 * RATE,
        end=7 * RATE,
        final=Utterance("so"),
        voice=((3 * RATE, 5 * RATE),),
        speech=2.0,
        had_interims=had_interims,
    )
    return CheckingSkippedSpeech(skipped=skipped)


@pytest.mark.parametrize(
    ("had_interims", "deadline"),
    [(False, 14.0), (True, 14.0 + 2 * 5.0 / POLICY.min_processing_rate)],
)
def test_how_long_a_final_is_held(had_interims: bool, deadline: float) -> None:
    """4 s; with interim transcripts two hedges also have time to process all of the audio."""
    ledger = AudioLedger(ReplayPolicy(), vad_enabled=True)
    ledger.push(20 * RATE, RATE)
    state = checking(had_interims=had_interims)
    assert state.deadline(POLICY, ledger) == deadline
    assert state.awaits_hedges(POLICY, ledger, deadline - 0.01)
    assert not state.awaits_hedges(POLICY, ledger, deadline)


def test_the_stall_of_skipped_speech() -> None:
    """It is due at once, and reaches to the first word of the FINAL."""
    stall = checking(had_interims=True).stall
    assert stall.reason is StallReason.SKIPPED_SPEECH
    assert (stall.hedge_at, stall.due, stall.through) == (10.0, 10.0, 5 * RATE)


# --- the transitions that `controller` draws

W, H, C = "Watching", "Hedging", "CheckingSkippedSpeech"


def without_repeats(path: list[str]) -> list[str]:
    """Drop each state that is the same as the one before."""
    return path[:1] + [after for before, after in pairwise(path) if after != before]


NOISY = speak(*sentence("one two"), noise(1.5, 1.0), ("three", 9.0, 0.4))
LATE = speak(*sentence("one two three"), ("four", 4.0, 0.4))
NOISE_BEFORE_A_FINAL = speak(
    *sentence("one two three"), noise(0.5, 2.0), *sentence("four five", before=0.5)
)
LONG = speak(
    *sentence("one two three four"),
    *sentence("five six seven eight nine", before=0.6, gap=0.05),
    *sentence("ten eleven", before=0.6),
)


@pytest.mark.parametrize(
    ("words", "first", "latency", "path", "outcomes"),
    [
        (TWO, Recognizer("a"), 0.0, [W], []),
        (TWO, Recognizer("a", [DEAF]), 0.0, [W, H, W], ["promoted"]),
        (LATE, Recognizer("a", [Stall(1.0, lasts=3.0)]), 2.9, [W, H, W], ["primary_recovered"]),
        (NOISY, Recognizer("a"), 0.0, [W, H, W], ["no_speech"]),
        (
            LONG,
            Recognizer("a", [LostFinal(1, with_interims=False)], interims=False),
            0.5,
            [W, C, W],
            ["promoted"],
        ),
        (
            NOISE_BEFORE_A_FINAL,
            Recognizer("a"),
            0.5,
            [W, H, W, C, W],
            ["primary_recovered", "no_speech"],
        ),
    ],
)
def test_transitions(
    monkeypatch: pytest.MonkeyPatch,
    words: list[Spoken],
    first: Recognizer,
    latency: float,
    path: list[str],
    outcomes: list[str],
) -> None:
    """Each outcome leads through the states that the controller's table has for it."""
    visited = []
    handle = FailoverEngine.handle

    def spy(engine: FailoverEngine, message: Input, now: float) -> list[Command]:
        commands = handle(engine, message, now)
        visited.append(type(engine._hedging._state).__name__)
        return commands

    monkeypatch.setattr(FailoverEngine, "handle", spy)
    route = [first, Recognizer("b", latency=latency)]
    sim = Simulation(words, route, tail=1.0).run()
    assert_promises(sim)
    assert without_repeats(visited) == path
    assert [e.outcome for e in events(sim, HedgeFinished)] == outcomes


def test_words_of_an_interim_transcript_that_no_other_provider_has() -> None:
    """Both providers' finals skip them, so nobody else is asked. Their voice is no known noise."""
    route = [
        Recognizer("a", [LostFinal(1)]),
        Recognizer("b", [LostFinal(1, with_interims=False)]),
    ]
    sim = Simulation(LONG, route, sounds=True, tail=3.0).run()
    assert [e.outcome for e in events(sim, HedgeFinished)] == ["no_speech"]
    assert sim.served == ["a"]
    assert "noise=0" in repr(sim.engine._hedging._known_noise)


def test_nothing_is_due_before_a_hedge_is_asked_about_a_held_final() -> None:
    """`step` comes first, and opens the hedge or ends the check."""
    engine = Simulation(TWO, [Recognizer("a"), Recognizer("b")]).engine
    engine.handle(StreamOpened(), 0.0)
    controller = engine._hedging
    controller.hold_final(checking(had_interims=False).skipped)
    ledger = ledger_of(4.0, (0.0, 4.0))
    assert controller.deadlines(a_connection(ledger)) == []


def test_a_hedge_whose_stream_has_ended_had_its_time() -> None:
    """It transcribes no more, however much audio it has not processed."""
    ledger = ledger_of(4.0, (0.0, 4.0))
    hedge = a_connection(ledger)
    assert not had_time_to_answer(hedge, 400, ledger, 1.5, now=10.0)
    hedge.mark_finished()
    assert had_time_to_answer(hedge, 400, ledger, 1.5, now=10.0)
