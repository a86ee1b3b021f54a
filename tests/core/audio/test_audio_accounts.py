"""The ledger counts each sample once, whatever the watermark passes over it for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.core.audio.ledger import AudioLedger
from resilient_stt.core.audio.spans import total
from resilient_stt.core.policy import ReplayPolicy

RATE = 100

steps = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 400)),
        st.tuples(st.sampled_from(["edge", "silence", "final", "noise", "abandon"]), st.just(0)),
        st.tuples(st.just("lose"), st.integers(0, 300)),
        st.tuples(st.sampled_from(["final", "noise", "abandon", "silence"]), st.integers(0, 900)),
    ),
    max_size=40,
)


@given(steps, st.booleans())
def test_each_sample_is_counted_once(steps: list[tuple[str, int]], vad_enabled: bool) -> None:
    """What was pushed is final, silence, lost, dropped or pending; what is lost was returned."""
    ledger = AudioLedger(ReplayPolicy(window=5.0), vad_enabled=vad_enabled)
    lost = dropped = 0
    for what, number in steps:
        at = ledger.watermark + number
        match what:
            case "push":
                dropped += total(ledger.push(number, RATE))
            case "edge" if ledger.rate:
                end = ledger.speech_ended if ledger.speaking else ledger.speech_started
                end(ledger.end)
            case "final":
                ledger.commit(min(at, ledger.end))
            case "noise":
                ledger.commit_noise(min(at, ledger.end))
            case "silence":
                ledger.commit_silence(min(at, ledger.end))
            case "abandon":
                lost += total(ledger.abandon(min(at, ledger.end)))
            case "lose":
                voice = ledger.voiced_spans(ledger.watermark, min(at, ledger.end))
                lost += ledger.lose(voice)
                assert ledger.lose(voice) == 0  # it is lost once
            case _:
                pass
        accounts = ledger.accounts
        pending = ledger.end - ledger.watermark - accounts.reported_pending
        assert ledger.end == (
            accounts.final + accounts.silence + accounts.lost + accounts.dropped + pending
        )
        assert min(accounts.final, accounts.silence, pending) >= 0
        assert (accounts.lost, accounts.dropped) == (lost, dropped)


def speech(*, vad_enabled: bool = True) -> AudioLedger:
    """Four seconds with voice from 1 s to 3 s."""
    ledger = AudioLedger(ReplayPolicy(), vad_enabled=vad_enabled)
    ledger.push(4 * RATE, RATE)
    ledger.speech_started(RATE)
    ledger.speech_ended(3 * RATE)
    return ledger


def test_a_final_counts_the_silence_before_its_words_too() -> None:
    """What it commits is its own, from the last commit to its end."""
    ledger = speech()
    ledger.commit(3 * RATE)
    assert (ledger.accounts.final, ledger.accounts.silence) == (3 * RATE, 0)


def test_given_up_audio_is_lost_as_far_as_it_is_voice() -> None:
    """The silence in it is silence."""
    ledger = speech()
    assert ledger.abandon(ledger.end) == ((RATE, 3 * RATE),)
    assert (ledger.accounts.lost, ledger.accounts.silence) == (2 * RATE, 2 * RATE)


def test_skipped_speech_stays_lost() -> None:
    """The final that skips it, and the window that it leaves, do not count it again."""
    ledger = speech()
    assert ledger.lose(((RATE, 2 * RATE),)) == RATE
    ledger.commit(3 * RATE)
    assert (ledger.accounts.final, ledger.accounts.lost) == (2 * RATE, RATE)
    ledger = speech()
    ledger.lose(((RATE, 2 * RATE),))
    assert ledger.abandon(ledger.end) == ((2 * RATE, 3 * RATE),)
    assert ledger.accounts.lost == 2 * RATE
