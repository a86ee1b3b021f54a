from __future__ import annotations

import pytest

from resilient_stt.cli.chaos.fault_kinds import FAULT_KINDS, fault_kinds_named
from resilient_stt.cli.chaos.fault_rows import OUTAGE, make_rows, speech_of
from resilient_stt.testing import faults
from resilient_stt.testing.faults import Fault, Refuse, Stall, StreamFault
from resilient_stt.testing.harness.clock import run_virtual
from resilient_stt.testing.harness.trial import run_trial
from resilient_stt.testing.speech.reference import ReferenceSpeech

PLACES = ("primary", "fallback", "both")


@pytest.mark.parametrize("recording", ReferenceSpeech.names())
def test_faults_are_triggered_in_every_recording(recording: str) -> None:
    """A fault at a word is at a word of the excerpt that is played."""
    rows = make_rows(fault_kinds_named(["drop"]), 3, recording)
    (primary,) = [row for row in rows if row.where == "primary"]
    for case in primary.cases:
        trial = run_virtual(run_trial(case.plan, speech_of(None, recording)))
        triggered = [triggered.fault for triggered in trial.servers[0].triggered]
        assert triggered[:1] == [case.plan.first[0]]


def test_every_class_of_faults_is_at_every_place() -> None:
    """The primary provider, the fallback and both have every class of faults there is."""
    bases = {Fault, faults.ConnectFault, StreamFault}
    all_classes = {k for k in vars(faults).values() if isinstance(k, type) and issubclass(k, Fault)}
    by_place: dict[str, set[type[Fault]]] = {where: set() for where in PLACES}
    for row in make_rows(FAULT_KINDS, 1)[1:]:
        for case in row.cases:
            planned = case.plan.second if row.where == "fallback" else case.plan.first
            by_place[row.where] |= {type(fault) for fault in planned}
    assert all(classes == all_classes - bases for classes in by_place.values())


def test_moments_are_starts_and_middles_of_words_from_the_first_to_the_last() -> None:
    """There are as many as asked for. Faults of both providers begin at the same moments."""
    (_, primary, _, both) = make_rows(fault_kinds_named(["stall"]), 3)
    speech = speech_of(None)
    first, last = speech.first_word, speech.first_word + len(speech.words) - 1
    (early, middle, late) = (case.plan.first[0] for case in primary.cases)
    assert early == Stall(at_word=first)
    assert isinstance(middle, Stall)
    assert middle.part == 0.5
    assert late == Stall(at_word=last)
    at = speech.words[-1].start
    assert both.cases[2].plan.first == (Stall(at_time=at, until=at + OUTAGE),)
    assert both.cases[2].plan.first == both.cases[2].plan.second


def test_the_primary_is_back_when_the_fallback_fails() -> None:
    """It refuses connections before. If it did so afterwards, no provider would be left."""
    row = make_rows(fault_kinds_named(["stall"]), 1)[2]
    (case,) = row.cases
    (stall,) = case.plan.second
    assert isinstance(stall, Stall)
    assert stall.at_word is not None
    word = ReferenceSpeech.load("english").words[stall.at_word]
    spoken = speech_of(None).words[stall.at_word - speech_of(None).first_word]
    assert case.plan.first == (Refuse(until=spoken.start),)
    assert spoken.text == word.text


def test_faults_at_the_end_have_callers_who_hang_up() -> None:
    """Their moments are ends of the speech, and each end has healthy runs of its own."""
    healthy, primary, *_ = make_rows(fault_kinds_named(["drop-after-close"]), 2)
    endings = {case.hang_up for case in primary.cases}
    assert len(endings) == 2
    assert {case.hang_up for case in healthy.cases} == endings
    for hang_up in endings:
        speech = speech_of(hang_up)
        assert speech.duration == pytest.approx(speech.words[-1].end, abs=0.1)
