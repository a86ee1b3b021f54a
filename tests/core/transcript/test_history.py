"""The words that a session has committed."""

from __future__ import annotations

import pytest

from resilient_stt.core.messages import Word
from resilient_stt.core.policy import ReplayPolicy
from resilient_stt.core.transcript.history import MIN_TOKENS, TranscriptHistory
from resilient_stt.core.transcript.overlap import Utterance

POLICY = ReplayPolicy(window=10.0)


def said(history: TranscriptHistory, begin: int, end: int) -> None:
    """Commit a word for each half second between two seconds."""
    for number in range(2 * begin, 2 * end):
        word = Word(f"word{number}", number / 2, number / 2 + 0.4)
        history.record(Utterance(word.text, (word,), word.start, word.end), number / 2 + 0.5)


def test_words_that_nobody_can_hear_again_are_forgotten() -> None:
    """A long call takes no more memory than a short one."""
    history = TranscriptHistory(POLICY)
    said(history, 0, 60)
    assert repr(history) == f"TranscriptHistory(committed={MIN_TOKENS})"
    said(history, 60, 3600)
    assert repr(history) == f"TranscriptHistory(committed={MIN_TOKENS})"
    assert history.recorded == 7200
    assert history.last_words() == (3598.95, 3599.9)


def test_words_within_the_window_are_kept() -> None:
    """However fast they were spoken."""
    history = TranscriptHistory(POLICY)
    for number in range(1000):
        at = number / 20
        word = Word(f"word{number}", at, at + 0.04)
        history.record(Utterance(word.text, (word,), at, at + 0.04), at + 0.05)
    assert repr(history) == "TranscriptHistory(committed=240)"  # of 12 s


def test_the_last_words_before_a_long_silence_are_kept() -> None:
    """A hedge behind it is sent them, and repeats them while newer ones are committed."""
    history = TranscriptHistory(POLICY)
    said(history, 0, 40)
    said(history, 200, 205)
    replayed = history.trimmer(200.0, 38.9, float, starts_mid_word=False)
    late = Utterance("word78 word79", (Word("word78", 39.0, 39.4), Word("word79", 39.5, 39.9)))
    assert replayed.trim(late) is None


@pytest.mark.parametrize("times", [True, False])
def test_words_that_a_replay_leaves_out_are_not_expected(times: bool) -> None:
    """A hedge is sent the known words, and then what is pending, without what lies in between.

    The words in between would hide that it repeats the others: in a call of real words, two
    sentences were told twice.
    """
    history, known = TranscriptHistory(ReplayPolicy()), 0
    for number, text in enumerate(["below eight", "a year and a half of it", "you can see"]):
        at = 10.0 * number
        word = Word(text, at, at + 2.0)
        history.record(Utterance(text, (word,) * times, None, None), at + 2.0)
        known = known or history.recorded
    trimmer = history.trimmer(
        20.0, 0.0, float, starts_mid_word=False, left_out=(2.5, 19.0), known=known
    )
    assert trimmer.next_repeat is not None
    for text, rest in (("below eight", None), ("you can see all", "all")):
        heard = Utterance(text)
        kept = trimmer.trim(heard)
        assert (kept and kept.text) == rest
        trimmer.observe_final(heard, kept)
    assert not trimmer.open


@pytest.mark.parametrize(("left", "first"), [(1, "word198"), (2, "word199")])
def test_known_words_are_counted_from_the_first_of_the_call(left: int, first: str) -> None:
    """A token's place among all that were ever recorded decides, however few are still kept."""
    history = TranscriptHistory(POLICY)
    said(history, 0, 100)
    known = history.recorded - left
    trimmer = history.trimmer(
        100.0, 99.0, float, starts_mid_word=False, left_out=(99.5, 99.6), known=known
    )
    assert trimmer.next_repeat is not None
    assert trimmer.next_repeat.written == first


@pytest.mark.parametrize(
    ("end", "keys"), [(3.3, "um silver ink"), (9.5, "silver ink um"), (None, "silver ink um")]
)
def test_words_before_those_that_are_still_to_be_repeated(end: float | None, keys: str) -> None:
    """They are recorded before them only where their times allow it (seed 760003548)."""
    history = TranscriptHistory(ReplayPolicy())
    history.record(Utterance("silver ink"), 5.0)
    trimmer = history.trimmer(0.0, 0.0, float, starts_mid_word=False)
    words = () if end is None else (Word("um", end - 0.2, end),)
    um = Utterance("um", words, end and end - 0.2, end)
    history.record(um, 10.0, before=trimmer.next_repeat)
    assert [token.key for token in history._tokens] == keys.split()
