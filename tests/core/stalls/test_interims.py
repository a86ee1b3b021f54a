from __future__ import annotations

import pytest

from resilient_stt.core.messages import Word
from resilient_stt.core.policy import WatchdogPolicy
from resilient_stt.core.stalls.interims import MAX_INTERIM_WORDS, InterimTracker
from resilient_stt.core.transcript.overlap import Utterance

Span = tuple[str, float, float]  # a word, and its start and end in seconds

HELLO, THERE = ("hello", 1.0, 1.3), ("there", 1.4, 1.7)
HOW, ARE = ("how", 2.0, 2.2), ("are", 2.3, 2.5)


def a_tracker() -> InterimTracker:
    return InterimTracker(WatchdogPolicy())


def words(*spans: Span) -> tuple[Word, ...]:
    return tuple(Word(*span) for span in spans)


def utterance(*spans: Span) -> Utterance:
    found = words(*spans)
    return Utterance(" ".join(w.text for w in found), found, found[0].start, found[-1].end)


# --- with times


def test_words_in_the_final_are_not_skipped() -> None:
    """A FINAL that tells all words of the interim transcripts before it skips none."""
    tracker = a_tracker()
    tracker.add_interim(utterance(HELLO))
    tracker.add_interim(utterance(HELLO, THERE))
    assert tracker.take_skipped(utterance(HELLO, THERE)) == ()
    assert tracker.take_skipped(utterance(HOW, ARE)) == ()


def test_words_before_the_final_are_skipped() -> None:
    """Words that a FINAL does not tell, and that lie before it, are returned once."""
    tracker = a_tracker()
    tracker.add_interim(utterance(HELLO, THERE))
    tracker.add_interim(utterance(HOW))
    assert tracker.take_skipped(utterance(HOW, ARE)) == words(HELLO, THERE)
    assert tracker.take_skipped(utterance(HOW, ARE)) == ()


def test_a_revision_replaces_words() -> None:
    """An interim transcript replaces earlier interim transcripts of the same audio."""
    tracker = a_tracker()
    tracker.add_interim(utterance(("yellow", 1.0, 1.2)))
    tracker.add_interim(utterance(("hell", 0.95, 1.2), ("oh", 1.2, 1.3)))
    assert tracker.take_skipped(utterance(HELLO)) == ()


def test_a_restart_is_returned() -> None:
    """An interim transcript that leaves earlier words alone returns where it begins."""
    tracker = a_tracker()
    assert tracker.add_interim(utterance(HELLO)) is None
    assert tracker.add_interim(utterance(HELLO, THERE)) is None
    assert tracker.add_interim(utterance(HOW)) == 2.0
    assert tracker.add_interim(Utterance("how are you")) is None


def test_a_word_that_moved_is_not_skipped() -> None:
    """A final may put a word up to 0.5 s later; the same word further away is another one."""
    tracker = a_tracker()
    tracker.add_interim(utterance(("Hello,", 0.7, 0.9)))
    assert tracker.take_skipped(utterance(HELLO, THERE)) == ()
    tracker.add_interim(utterance(("hello", 0.1, 0.3)))
    assert tracker.take_skipped(utterance(HELLO, THERE)) == words(("hello", 0.1, 0.3))


def test_an_utterance_without_word_times_is_one_word() -> None:
    """Where only the utterance has times, all of it is skipped or nothing."""
    tracker = a_tracker()
    tracker.add_interim(Utterance("hello there", (), 1.0, 1.7))
    skipped = tracker.take_skipped(Utterance("how are", (), 2.0, 2.5))
    assert skipped == words(("hello there", 1.0, 1.7))


def test_memory_is_bounded() -> None:
    """No more words are remembered than the replay window holds."""
    tracker = a_tracker()
    for n in range(1000):
        tracker.add_interim(utterance((f"w{n}", float(n), n + 0.5)))
    assert repr(tracker) == f"InterimTracker({MAX_INTERIM_WORDS} words)"
    assert len(tracker.take_skipped(utterance(("end", 2000.0, 2000.5)))) == MAX_INTERIM_WORDS
    assert repr(tracker) == "InterimTracker(0 words)"


# --- without times


@pytest.mark.parametrize(
    ("interims", "final", "skipped"),
    [
        (["Hello", "Hello there", "Hello there Joe"], "Hello there, Joe.", ""),
        (["Hello there Joe", "How", "How are"], "How are you?", "Hello there Joe"),
        (["Hello there Joe"], "How are you?", "Hello there Joe"),
        (["Hello there Joe", "How are", "How are you"], "How are you", "Hello there Joe"),
        (["Yellow fair go", "Hello there Joe"], "Hello there Joe", ""),
        (["Yellow fair go"], "Hello there Joe", "Yellow fair go"),
        (["twenty one twenty one", "21"], "21 21 no", ""),
        (["twenty one twenty one no"], "21 21", ""),
        (["Hell there though", "Hello there Joe"], "Hello there Joe", ""),
        (["Hello there", "How"], "How are you?", ""),
        (["Hello there Joe", " "], "Hello there Joe", ""),
        (["你好吗", "您好嘛我"], "您好嘛我是", ""),
        (["你好吗你是谁", "今天"], "今天天气很好", "你好吗你是谁"),
    ],
)
def test_another_turn_without_times(interims: list[str], final: str, skipped: str) -> None:
    """A turn of three words or more is skipped if the next text has little in common with it."""
    tracker = a_tracker()
    for text in interims:
        tracker.add_interim(Utterance(text))
    found = tracker.take_skipped(Utterance(final))
    assert [word.text for word in found] == ([skipped] if skipped else [])
    assert tracker.take_skipped(Utterance("something else entirely")) == ()


def test_times_of_some_texts_only() -> None:
    """A text with times and one without are never compared."""
    tracker = a_tracker()
    tracker.add_interim(Utterance("hello there"))
    assert tracker.take_skipped(utterance(HOW)) == ()
    tracker.add_interim(utterance(HELLO))
    assert tracker.take_skipped(Utterance("how are")) == ()
    tracker.add_interim(Utterance("", (), 1.0, 1.7))
    assert tracker.take_skipped(utterance(HOW)) == ()


# --- what no FINAL has followed


def test_all_words_that_have_no_final_are_unfinished() -> None:
    """The last interim transcript is one of several, if the provider begins it anew."""
    tracker = a_tracker()
    assert tracker.unfinished(Utterance("")) is None
    tracker.add_interim(utterance(HELLO, THERE))
    latest = utterance(HELLO, THERE)
    assert tracker.unfinished(latest) is latest
    latest = utterance(HOW, ARE)
    tracker.add_interim(latest)
    assert tracker.unfinished(latest) == utterance(HELLO, THERE, HOW, ARE)
    tracker.take_skipped(utterance(HELLO, THERE, HOW, ARE))
    assert tracker.unfinished(latest) is None


def test_unfinished_words_without_word_times() -> None:
    """Texts with a start and an end alone are joined, and have those of all."""
    tracker = a_tracker()
    tracker.add_interim(Utterance("hello there", start=1.0, end=1.7))
    latest = Utterance("how", start=2.0, end=2.2)
    tracker.add_interim(latest)
    assert tracker.unfinished(latest) == Utterance("hello there how", (), 1.0, 2.2)
