from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.core.commands import Emit, Role
from resilient_stt.core.inputs import Said, SaidKind
from resilient_stt.core.latency import Latency
from resilient_stt.core.ledger import Ledger
from resilient_stt.core.leg import Leg, open_leg
from resilient_stt.core.policy import Provider, ReplayPolicy, WatchdogPolicy
from resilient_stt.core.speech import Speech
from resilient_stt.core.transcript import Transcript
from resilient_stt.core.watchdog import Watch

START, END = SaidKind.START, SaidKind.END


def a_leg(number: int = 0, *, seam_open: bool = False) -> Leg:
    policy, provider = ReplayPolicy(), Provider(name="a")
    ledger = Ledger(policy, hears=True)

    def watch(start: int) -> Watch:
        return Watch(provider, Latency(), WatchdogPolicy(), start)

    leg = open_leg(number, provider, Role.ACTIVE, 0.0, ledger, Transcript(policy), watch)
    leg.seam.open = seam_open
    return leg


def test_start_and_end_pass() -> None:
    """START and END of a leg are given on with the provider's own event."""
    speech, leg, source = Speech(), a_leg(), object()
    assert speech.said(leg, Said(START, source=source)) == [Emit(START, source=source)]
    assert repr(speech) == "Speech(speaking=True)"
    assert speech.said(leg, Said(END, source=source)) == [Emit(END, source=source)]


def test_a_start_is_held_back_at_a_seam() -> None:
    """A leg that may only re-tell announces speech with the first new text, and once."""
    speech, leg = Speech(), a_leg(seam_open=True)
    assert speech.said(leg, Said(START)) == []
    assert speech.told(leg) == [Emit(START)]
    assert speech.told(leg) == []


def test_a_start_at_a_seam_is_forgotten_with_its_end() -> None:
    """Speech that a leg only re-told is never announced."""
    speech, leg = Speech(), a_leg(seam_open=True)
    speech.said(leg, Said(START))
    assert speech.said(leg, Said(END)) == []
    assert speech.told(leg) == []


def test_speech_without_its_leg_is_orphaned() -> None:
    """Speech is an orphan when its leg is gone, until another announces it too."""
    speech, first, second = Speech(), a_leg(0), a_leg(1)
    assert not speech.orphaned(None)
    speech.said(first, Said(START))
    assert not speech.orphaned(first)
    assert speech.orphaned(None)
    assert speech.orphaned(second)
    assert speech.said(second, Said(START)) == []
    assert not speech.orphaned(second)
    assert speech.end() == [Emit(END)]
    assert speech.end() == []


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([START, END, None]), st.booleans())),
)
def test_start_and_end_alternate(script: list[tuple[int, SaidKind | None, bool]]) -> None:
    """Whatever legs announce, re-tell and tell, START and END alternate."""
    speech, legs, emitted = Speech(), [a_leg(i) for i in range(3)], list[Emit]()
    for number, kind, seam_open in script:
        legs[number].seam.open = seam_open
        said = speech.told(legs[number]) if kind is None else speech.said(legs[number], Said(kind))
        emitted += said
    emitted += speech.end()
    assert [e.kind for e in emitted] == [START, END] * (len(emitted) // 2)
