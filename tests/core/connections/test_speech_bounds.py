from __future__ import annotations

from collections.abc import Iterable

import pytest

from resilient_stt.core.audio.ledger import AudioLedger
from resilient_stt.core.connections.speech_bounds import SpeechBounds
from resilient_stt.core.transcript.tokens import tokenize

from ...support.connections import POLICY, RATE, ledger_of

SENTENCE = "it takes about four seconds to say a sentence of sixty letters"


def covered(
    ledger: AudioLedger,
    text: str,
    *,
    processed: float,
    through: float | None = None,
    interims: Iterable[tuple[str, float]] = (),
    bounds: SpeechBounds | None = None,
) -> float:
    """Return the second at which a final without times ends at the earliest."""
    bounds = bounds or SpeechBounds(0, POLICY)
    for interim, at in interims:
        bounds.add_interim(tokenize(interim), round(at * RATE))
    limit = round((processed if through is None else through) * RATE)
    return bounds.add_untimed_final(tokenize(text), ledger, round(processed * RATE), limit) / RATE


def test_a_final_covers_what_was_processed_long_before() -> None:
    """No final comes `untimed_final_reach` late; a replay of speech begins `lookback` earlier."""
    ledger = ledger_of(20.0, (0.0, 20.0))
    expected = 10.0 - POLICY.untimed_final_reach + POLICY.lookback
    assert covered(ledger, SENTENCE * 2, processed=10.0) == pytest.approx(expected)


def test_a_final_that_comes_in_silence() -> None:
    """A replay that begins in silence has no lookback, so that the place is further back."""
    ledger = ledger_of(20.0, (0.0, 3.5), (8.0, 10.0))
    assert covered(ledger, SENTENCE, processed=9.0) == pytest.approx(
        9.0 - POLICY.untimed_final_reach
    )


def test_interim_transcripts_show_it_earlier() -> None:
    """A final covers what had been processed `untimed_interim_reach` before its last words came."""
    ledger = ledger_of(20.0, (0.0, 20.0))
    expected = 7.0 - POLICY.untimed_interim_reach + POLICY.lookback
    told = [("it takes", 3.0), (SENTENCE, 7.0), (SENTENCE, 7.9)]
    assert covered(ledger, SENTENCE, processed=8.0, interims=told) == pytest.approx(expected)


@pytest.mark.parametrize(
    "other", ["", "and then something else", f"{SENTENCE} and much more of it"]
)
def test_interim_transcripts_of_other_words(other: str) -> None:
    """An interim transcript with words that the final has not says nothing about the final."""
    ledger = ledger_of(20.0, (0.0, 20.0))
    alone = covered(ledger, SENTENCE, processed=10.0)
    assert covered(ledger, SENTENCE, processed=10.0, interims=[(other, 9.9)]) == alone


def test_so_few_words_do_not_cover_so_much_voice() -> None:
    """A recognizer that has fallen behind gives the words of an earlier time."""
    ledger = ledger_of(20.0, (0.0, 20.0))
    longest = len("hello") / POLICY.min_speech_rate + POLICY.speech_rate_slack
    assert covered(ledger, "hello", processed=19.0) == pytest.approx(longest, abs=0.01)


def test_silence_that_was_committed_since_holds_no_words() -> None:
    """What was committed as noise does not count as voice of the next final."""
    ledger = ledger_of(20.0, (0.0, 9.0), (10.0, 20.0), committed=9.5)
    assert covered(ledger, "hello", processed=19.0) > 10.0


def test_many_words_take_their_time() -> None:
    """Words take time, however late they come, and those of the next final come behind them."""
    ledger = ledger_of(20.0, (1.0, 20.0))
    bounds = SpeechBounds(0, POLICY)
    letters = len(SENTENCE.replace(" ", ""))
    shortest = letters / POLICY.max_speech_rate - POLICY.speech_rate_slack
    first = covered(ledger, SENTENCE, processed=3.0, through=19.0, bounds=bounds)
    assert first == pytest.approx(1.0 + shortest, abs=0.02)
    again = covered(ledger, SENTENCE, processed=3.0, through=19.0, bounds=bounds)
    assert again == first  # it came twice, and was spoken once
    other = SENTENCE.replace("four", "five")
    second = covered(ledger, other, processed=3.0, through=19.0, bounds=bounds)
    assert second == pytest.approx(1.0 + 2 * shortest, abs=0.03)


def test_words_that_the_detector_missed() -> None:
    """Where there is less voice than the words take, it is not known where they are."""
    assert covered(ledger_of(5.0, (4.8, 5.0)), SENTENCE, processed=5.0) == 0.0


def test_a_final_never_reaches_beyond_its_limit() -> None:
    """A final that answers a flush covers nothing behind the flush."""
    ledger = ledger_of(20.0, (0.0, 20.0))
    assert covered(ledger, SENTENCE * 4, processed=19.0, through=2.0) == 2.0


def test_without_voice_activity_the_delay_decides() -> None:
    """Without voice activity silence may be anywhere, and no text is too short."""
    ledger = ledger_of(20.0, vad_enabled=False)
    expected = 19.0 - POLICY.untimed_final_reach + POLICY.lookback
    assert covered(ledger, "hello", processed=19.0) == pytest.approx(expected)


def test_a_final_with_times_in_between() -> None:
    """Words behind a final with times begin at its end."""
    ledger = ledger_of(20.0, (0.0, 20.0))
    bounds = SpeechBounds(0, POLICY)
    bounds.add_timed_final(8 * RATE)
    assert covered(ledger, SENTENCE, processed=9.0, bounds=bounds) > 8.0
