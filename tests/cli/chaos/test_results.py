from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest
from livekit.agents import LanguageCode
from livekit.agents.stt import SpeechData, SpeechEvent, SpeechEventType

from resilient_stt.cli.chaos import results
from resilient_stt.cli.chaos.fault_rows import NONE, Case, Row
from resilient_stt.cli.chaos.results import CaseOutcome
from resilient_stt.testing.harness.clock import run_virtual
from resilient_stt.testing.harness.play import Played
from resilient_stt.testing.harness.trial import (
    HEALTHY,
    extra_delay,
    run_trial,
    slowest,
    violations,
)
from resilient_stt.testing.speech.reference import ReferenceSpeech, SpokenWord


@pytest.fixture(scope="module")
def healthy() -> Played:
    """A run of two sentences without faults."""
    speech = ReferenceSpeech.load("english").excerpt(0, 1).padded(1.0)
    return run_virtual(run_trial(HEALTHY, speech)).played


def finals_of(played: Played) -> list[tuple[float, SpeechEvent]]:
    return [pair for pair in played.events if pair[1].type is SpeechEventType.FINAL_TRANSCRIPT]


def without(played: Played, *removed: tuple[float, SpeechEvent]) -> Played:
    return replace(played, events=[pair for pair in played.events if pair not in removed])


# Each function breaks the promise that `violations` counts under the function's name.


def lost(played: Played) -> Played:
    return without(played, finals_of(played)[-1])


def twice(played: Played) -> Played:
    return replace(played, events=[*played.events, finals_of(played)[-1]])


def torn(played: Played) -> Played:
    data = SpeechData(language=LanguageCode("en"), text="rsday")
    event = SpeechEvent(SpeechEventType.FINAL_TRANSCRIPT, alternatives=[data])
    return replace(played, events=[*played.events, (20.0, event)])


def disordered(played: Played) -> Played:
    first = finals_of(played)[0]
    return replace(played, events=[*without(played, first).events, first])


def unbalanced(played: Played) -> Played:
    ends = [pair for pair in played.events if pair[1].type is SpeechEventType.END_OF_SPEECH]
    return without(played, ends[-1])


def unended(played: Played) -> Played:
    return replace(played, error=TimeoutError(), finished=False)


def mistimed(played: Played) -> Played:
    words = tuple(SpokenWord(w.text, w.start - 0.13, w.end) for w in played.speech.words)
    return replace(played, speech=replace(played.speech, words=words))


BREAKERS = (lost, twice, torn, disordered, unbalanced, unended, mistimed)


@pytest.mark.parametrize("break_promise", BREAKERS, ids=lambda f: f.__name__)
def test_each_broken_promise_is_found(
    healthy: Played, break_promise: Callable[[Played], Played]
) -> None:
    """A healthy run breaks no promise; one that is tampered with breaks exactly one."""
    assert violations(healthy) == {}
    assert list(violations(break_promise(healthy))) == [break_promise.__name__]


def test_words_without_times_are_mistimed_if_times_are_promised(healthy: Played) -> None:
    """Missing times are a violation only of a provider that gives times, and of words that came."""
    for _, event in finals_of(untimed := deepcopy(healthy)):
        event.alternatives[0].words = None
    assert violations(untimed) == {"mistimed": 1}
    assert violations(untimed, accurate=False) == {}
    assert list(violations(without(healthy, *finals_of(healthy)))) == ["lost"]


def test_extra_delay_is_measured_against_the_slower_provider() -> None:
    """Words that came sooner and words that never came have no extra delay."""
    usual = slowest([[1.0, 2.0, 1.0], [2.0, 1.0, 1.0]])
    assert extra_delay([2.5, 1.0, math.inf], usual) == 0.5
    assert extra_delay([1.0, 1.0, 1.0], usual) == 0.0


@pytest.mark.parametrize(
    ("where", "late", "broken"),
    [
        ("primary", (1.0, 8.5), {"late": 1}),
        ("fallback", (1.0, 6.9), {}),
        ("both", (1.0, 8.5), {}),
        ("primary", (math.inf, 1.0), {}),
        ("primary", (), {"unended": 1}),
    ],
)
def test_words_are_late_after_six_seconds_if_one_provider_is_healthy(
    where: str, late: tuple[float, ...], broken: dict[str, int]
) -> None:
    """The usual delay here is one second, so the limit is seven."""
    case = Case(HEALTHY)
    usual = CaseOutcome({}, (1.0, 1.0), "a")
    outcome = CaseOutcome({} if late else {"unended": 1}, late, "a")
    rows = [Row(NONE, "", (case,)), Row("stall", where, (case,))]
    _, result = results.judge(rows, [[usual], [outcome]])
    assert dict(result.violations) == broken
    assert [o.violations for _, o in result.broken] == ([broken] if broken else [])


def test_a_healthy_run_that_did_not_end_is_a_broken_promise_and_no_measure() -> None:
    """Delays are measured against the healthy runs that ended; without any, none is known."""
    case, unended = Case(HEALTHY), CaseOutcome({"unended": 1}, (), "")
    rows = [Row(NONE, "", (case, case)), Row("stall", "primary", (case,))]
    late = CaseOutcome({}, (1.0, 8.5), "a")
    for healthy, broken in ((CaseOutcome({}, (1.0, 1.0), "a"), {"late": 1}), (unended, {})):
        usual, stalled = results.judge(rows, [[unended, healthy], [late]])
        assert usual.violations["unended"] >= 1
        assert dict(stalled.violations) == broken
