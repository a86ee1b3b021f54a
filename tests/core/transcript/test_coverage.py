"""Which speech of a buffer its finals cover."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.core.messages import EventKind, TranscriptEvent, Word
from resilient_stt.core.policy import ReplayPolicy
from resilient_stt.core.transcript.coverage import Stretch, best_answer, missing_speech

POLICY = ReplayPolicy()
PAD = 0.1
"""Seconds that voice activity reaches beyond a word."""


def timed(*words: Stretch) -> TranscriptEvent:
    """A FINAL of words with these times."""
    spoken_words = tuple(Word("word", since, until) for since, until in words)
    return TranscriptEvent(
        EventKind.FINAL, "word " * len(words), spoken_words, words[0][0], words[-1][1]
    )


def spoken(word: Stretch) -> Stretch:
    return max(0.0, word[0] - PAD), word[1] + PAD


@st.composite
def breaths(draw: st.DrawFn) -> list[list[Stretch]]:
    """Words, grouped by the stretches of voice in which they are spoken."""
    at, found = 0.0, []
    for _ in range(draw(st.integers(1, 5))):
        at += draw(st.floats(0.6, 4.0))
        words = []
        for _ in range(draw(st.integers(1, 6))):
            at += draw(st.floats(0.0, 0.3))
            words.append((at, at := at + draw(st.floats(0.25, 0.7))))
        found.append(words)
    return found


def voice(speech: list[list[Stretch]]) -> list[Stretch]:
    return [(spoken(words[0])[0], spoken(words[-1])[1]) for words in speech]


@given(breaths(), st.floats(-0.1, 0.1), st.sampled_from(["words", "spans", "none"]))
def test_finals_with_every_word_cover_everything(
    speech: list[list[Stretch]], drift: float, times: str
) -> None:
    """This holds for words with times, finals with times and none, and for slightly wrong times."""
    finals = [timed(*[(s + drift, e + drift) for s, e in words]) for words in speech]
    if times == "spans":
        finals = [TranscriptEvent(f.kind, f.text, (), f.start, f.end) for f in finals]
    elif times == "none":
        finals = [TranscriptEvent(f.kind, f.text) for f in finals]
    assert missing_speech(voice(speech), finals, speech[-1][-1][1] + 1.0, POLICY) == 0


@given(breaths(), st.data())
def test_a_missing_final_is_noticed(speech: list[list[Stretch]], data: st.DataObject) -> None:
    """Wherever in the buffer it was, the speech that it covered is missing."""
    missing = data.draw(st.integers(0, len(speech) - 1))
    finals = [timed(*words) for i, words in enumerate(speech) if i != missing]
    left = missing_speech(voice(speech), finals, speech[-1][-1][1] + 1.0, POLICY)
    since, until = voice(speech)[missing]
    assert 0 < left <= until - since + 0.001


def test_missing_words_at_the_end_of_a_stretch() -> None:
    """Voice after the last word counts as missing once it is long enough for a word."""
    final = timed((0.1, 0.5))
    assert missing_speech([(0.0, 0.9)], [final], 2.0, POLICY) == 0
    assert missing_speech([(0.0, 1.2)], [final], 2.0, POLICY) == pytest.approx(0.4)


def test_a_cough_is_not_missing() -> None:
    """Voice that is too short for a word does not count."""
    assert missing_speech([(0.0, 0.2)], [], 1.0, POLICY) == 0
    assert missing_speech([(0.0, 0.3)], [], 1.0, POLICY) == pytest.approx(0.3)


@pytest.mark.parametrize(
    "final",
    [
        TranscriptEvent(EventKind.FINAL, "word"),
        TranscriptEvent(EventKind.FINAL, "word", (), 0.0, 99.0),
        TranscriptEvent(EventKind.FINAL, "word", (Word("word", 50.0, 99.0),)),
        TranscriptEvent(EventKind.FINAL, "word", (), None, 5.0),
    ],
    ids=["none", "impossible", "words impossible", "an end alone"],
)
def test_unusable_times(final: TranscriptEvent) -> None:
    """A text without usable times may cover any of the speech."""
    assert missing_speech([(0.0, 5.0)], [final], 5.0, POLICY) == 0


def test_an_empty_final_covers_nothing() -> None:
    """Its times do not matter."""
    assert (
        missing_speech(
            [(0.0, 5.0)], [TranscriptEvent(EventKind.FINAL, " ", (), 0.0, 5.0)], 5.0, POLICY
        )
        > 4
    )


@pytest.mark.parametrize(
    ("answers", "best"),
    [([], None), ([0.0], 0), ([1.0], None), ([1.0, 0.0], 1), ([1.0, 1.0], 0), ([1.0, 2.0], 0)],
)
def test_best_answer(answers: list[float], best: int | None) -> None:
    """A complete answer is used, or the better of two; of equal ones the first."""
    assert best_answer(answers) == best


@pytest.mark.parametrize("text", ["", ".", "..."])
def test_a_final_without_letters_covers_nothing(text: str) -> None:
    """Otherwise "." would be believed to be the transcript of a whole buffer."""
    assert missing_speech([(0.0, 2.0)], [TranscriptEvent(EventKind.FINAL, text)], 3.0, POLICY) > 1
