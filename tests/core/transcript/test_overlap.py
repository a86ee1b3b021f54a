from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from resilient_stt.core.messages import Word
from resilient_stt.core.policy import ReplayPolicy
from resilient_stt.core.transcript.history import TranscriptHistory
from resilient_stt.core.transcript.overlap import OverlapTrimmer, Utterance, are_usable
from resilient_stt.core.transcript.tokens import tokenize

POLICY = ReplayPolicy()
DISTINCT = ["alpha", "brave", "chair", "delta", "eight", "fjord", "go", "house", "in", "juice"]
DIGITS = {"eight": "8", "four": "4", "two": "2"}


@dataclass(frozen=True)
class Spoken:
    text: str
    start: float
    end: float


@dataclass
class Recogniser:
    """Tells the words from a place on, in its own spelling, with its own idea of the times."""

    language: str
    spell: Callable[[str], str]
    jitter: list[float]
    most: list[int]
    joint: str = " "

    def tell(self, words: list[Spoken]) -> list[Utterance]:
        errors = itertools.cycle(self.jitter)
        told = [
            Word(self.spell(w.text), w.start + next(errors), w.end + next(errors)) for w in words
        ]
        utterances, sizes = [], itertools.cycle(self.most)
        while told:
            size = next(sizes)
            piece, told = tuple(told[:size]), told[size:]
            text = self.joint.join(w.text for w in piece)
            utterances.append(Utterance(text, piece, piece[0].start, piece[-1].end, self.language))
        return utterances


def untimed(utterance: Utterance) -> Utterance:
    return Utterance(utterance.text, language=utterance.language)


spellings: st.SearchStrategy[Callable[[str], str]] = st.sampled_from(
    [str, str.upper, str.title, lambda w: w + ",", lambda w: f"“{w}”.", lambda w: DIGITS.get(w, w)]
)


def told_by(language: str, jitter: float, joint: str = " ") -> st.SearchStrategy[Recogniser]:
    return st.builds(
        Recogniser,
        st.just(language),
        spellings,
        st.lists(st.floats(-jitter, jitter), min_size=1, max_size=7),
        st.lists(st.integers(1, 4), min_size=1, max_size=4),
        st.just(joint),
    )


@st.composite
def speech(draw: st.DrawFn, vocabulary: list[str], *, unique: bool) -> list[Spoken]:
    texts = draw(st.lists(st.sampled_from(vocabulary), min_size=2, max_size=10, unique=unique))
    words, at = [], 1.0
    for text in texts:
        start = at + draw(st.sampled_from([0.0, 0.05, 0.1, 0.5]))
        at = start + draw(st.sampled_from([0.25, 0.3, 0.5]))
        words.append(Spoken(text, start, at))
    return words


@dataclass(frozen=True)
class Switch:
    """The first recogniser told `settled` words; the second hears from word `again` on."""

    words: list[Spoken]
    settled: int
    again: int

    @property
    def replay_from(self) -> float:
        return self.words[self.again].start


@st.composite
def switches(draw: st.DrawFn, vocabulary: list[str], *, unique: bool) -> Switch:
    words = draw(speech(vocabulary, unique=unique))
    settled = draw(st.integers(1, len(words)))
    again = draw(st.integers(max(0, settled - 4), settled - 1))
    assume(words[settled - 1].end - words[again].start <= POLICY.lookback)
    return Switch(words, settled, again)


def run(
    switch: Switch,
    first: Recogniser,
    second: Recogniser,
    *,
    times: tuple[bool, bool] = (True, True),
) -> list[str]:
    """What the consumer gets of the second leg, as normalised tokens."""
    transcript = TranscriptHistory(POLICY)
    live = switch.words[switch.settled - 1].end
    settled = first.tell(switch.words[: switch.settled])
    for utterance in settled:
        transcript.record(utterance if times[0] else untimed(utterance), live)
    watermark = min(settled[-1].end or 0.0, live) if times[0] else live
    seam = transcript.trimmer(watermark, switch.replay_from, float, starts_mid_word=False)
    event = []
    for whole in second.tell(switch.words[switch.again :]):
        utterance = whole if times[1] else untimed(whole)
        kept = seam.trim(utterance)
        if kept is not None:
            event += [t.norm for t in tokenize(kept.text, kept.language)]
            if kept.words:
                assert [t.norm for w in kept.words for t in tokenize(w.text, kept.language)] == [
                    t.norm for t in tokenize(kept.text, kept.language)
                ]
                assert kept.start == kept.words[0].start
        seam.observe_final(utterance, kept)
    return event


def expected(switch: Switch, second: Recogniser) -> list[str]:
    new = switch.words[switch.settled :]
    return [t.norm for w in new for t in tokenize(w.text, second.language)]


@given(switches(DISTINCT, unique=True), told_by("en", 0.1), told_by("en", 0.1))
def test_seam_by_times(switch: Switch, first: Recogniser, second: Recogniser) -> None:
    """With times that disagree by 0.2 s and other spellings, each word comes once, in order."""
    assert run(switch, first, second) == expected(switch, second)


@given(
    switches(DISTINCT, unique=True),
    told_by("en", 0.03),
    told_by("en", 0.03),
    st.floats(-0.2, 0.2),
)
@example(
    Switch([Spoken("alpha", 1.0, 1.25), Spoken("brave", 1.25, 1.5)], settled=1, again=0),
    Recogniser("en", str, [0.0], [1]),
    Recogniser("en", str, [0.0], [1]),
    -0.125,
)
def test_seam_by_clocks_that_differ(
    switch: Switch, first: Recogniser, second: Recogniser, offset: float
) -> None:
    """A provider whose times are all early or late by 0.2 s still gives each word once."""
    second.jitter = [offset + error for error in second.jitter]
    assert run(switch, first, second) == expected(switch, second)


@given(switches(["no", "yes", "four"], unique=False), told_by("en", 0.05), told_by("en", 0.05))
def test_seam_in_repetitions(switch: Switch, first: Recogniser, second: Recogniser) -> None:
    """Where a user says "no no no", the times tell which of them are new."""
    assert run(switch, first, second) == expected(switch, second)


@given(switches(DISTINCT, unique=True), told_by("en", 0.1), told_by("en", 0.1))
def test_seam_by_text(switch: Switch, first: Recogniser, second: Recogniser) -> None:
    """A second leg without times is trimmed by its text alone."""
    assert run(switch, first, second, times=(True, False)) == expected(switch, second)


@given(switches(DISTINCT, unique=True), told_by("en", 0.0), told_by("en", 0.0), st.booleans())
def test_seam_after_text(
    switch: Switch, first: Recogniser, second: Recogniser, timed: bool
) -> None:
    """After a first leg without times, what it told is found by its text."""
    assert run(switch, first, second, times=(False, timed)) == expected(switch, second)


CHINESE = [*"今天气很好我们去公园", "三", "北京"]


@given(
    switches(CHINESE, unique=True),
    told_by("zh", 0.05, ""),
    told_by("zh-CN", 0.05, ""),
    st.booleans(),
)
def test_seam_in_chinese(
    switch: Switch, first: Recogniser, second: Recogniser, timed: bool
) -> None:
    """A text without spaces is trimmed character by character."""
    assert run(switch, first, second, times=(True, timed)) == expected(switch, second)


@given(switches(DISTINCT, unique=True), told_by("en", 0.1), told_by("en", 0.1), st.integers(1, 9))
def test_interims_re_tell_nothing(
    switch: Switch, first: Recogniser, second: Recogniser, count: int
) -> None:
    """An interim of any length is trimmed as a final of the same words would be."""
    transcript = TranscriptHistory(POLICY)
    for utterance in first.tell(switch.words[: switch.settled]):
        transcript.record(utterance, 99.0)
    watermark = switch.words[switch.settled - 1].end
    seam = transcript.trimmer(watermark, switch.replay_from, float, starts_mid_word=False)
    second.most = [count]
    kept = seam.trim(second.tell(switch.words[switch.again :])[0])
    new = switch.words[switch.settled : switch.again + count]
    assert [t.norm for t in tokenize(kept.text if kept else "", "en")] == [
        t.norm for w in new for t in tokenize(w.text, "en")
    ]


# --- the seam, case by case


def seam_after(
    *texts: str, boundary: float | None = None, since: float = 0.0, starts_mid_word: bool = False
) -> OverlapTrimmer:
    """The seam after words of half a second each, from 0 on."""
    transcript = TranscriptHistory(POLICY)
    for utterance in timed(*texts):
        transcript.record(utterance, 99.0)
    end = len(texts) / 2 if boundary is None else boundary
    return transcript.trimmer(end, since, float, starts_mid_word=starts_mid_word)


def timed(*texts: str, at: float = 0.0) -> list[Utterance]:
    return [
        Utterance(text, (Word(text, at + i / 2, at + i / 2 + 0.5),), at + i / 2, at + i / 2 + 0.5)
        for i, text in enumerate(texts)
    ]


def test_a_first_leg_has_no_seam() -> None:
    """With nothing told, everything is new, also what is said twice."""
    seam = TranscriptHistory(POLICY).trimmer(0.0, 0.0, float, starts_mid_word=False)
    assert not seam.open
    utterance = Utterance("no no no")
    assert seam.trim(utterance) is utterance
    assert seam.trim(Utterance("  ")) is None


def test_a_seam_closes_with_the_first_new_final() -> None:
    """After something new, words that were told before are speech again."""
    seam = seam_after("no")
    new = Utterance("no yes", (Word("no", 0.0, 0.5), Word("yes", 0.5, 1.0)), 0.0, 1.0)
    kept = seam.trim(new)
    assert kept == Utterance("yes", (Word("yes", 0.5, 1.0),), 0.5, 1.0)
    seam.observe_final(new, kept)
    assert not seam.open
    again = Utterance("no")
    assert seam.trim(again) is again


def test_a_leg_that_re_tells_nothing_is_not_trimmed() -> None:
    """Where a leg says nothing of what it was replayed, all of its first final is new."""
    transcript = TranscriptHistory(POLICY)
    transcript.record(Utterance("alpha", (Word("alpha", 1.0, 1.5),), 1.0, 1.5), 2.0)
    seam = transcript.trimmer(1.5, 1.0, float, starts_mid_word=False)
    new = Utterance("brave", (Word("brave", 2.5, 3.0),), 2.5, 3.0)
    assert seam.open
    assert seam.trim(new) is new


def test_text_without_a_word_tells_nothing() -> None:
    """Punctuation alone is not emitted at a seam, and does not close it."""
    seam = seam_after("no")
    assert seam.trim(Utterance("...")) is None
    seam.observe_final(Utterance("..."), None)
    assert seam.open


def test_a_torn_word_is_dropped() -> None:
    """The rest of a settled word at the beginning of a replay is not a new word."""
    seam = seam_after("alpha", "reservation", since=0.7)
    torn = Word("vation", 0.7, 1.06)
    utterance = Utterance("vation new", (torn, Word("new", 1.0, 1.5)), 0.7, 1.5)
    kept = seam.trim(utterance)
    assert kept is not None
    assert kept.text == "new"


@pytest.mark.parametrize(
    ("torn", "kept"),
    [((1.1, 1.5), None), ((1.2, 1.6), "vation"), ((1.34, 1.4), "vation"), ((1.8, 2.2), "vation")],
)
def test_a_torn_word_whose_time_is_late_is_dropped(
    torn: tuple[float, float], kept: str | None
) -> None:
    """Its middle lies behind the watermark by clocks that disagree: it lies over the last word."""
    transcript = TranscriptHistory(POLICY)
    told = (Word("reservation", 0.95, 1.28),)
    transcript.record(Utterance("reservation", told, 0.95, 1.28), 1.5)
    seam = transcript.trimmer(1.28, 0.9, float, starts_mid_word=False)
    found = seam.trim(Utterance("vation", (Word("vation", *torn),), *torn))
    assert (found.text if found else None) == kept


def test_a_torn_word_is_dropped_by_text() -> None:
    """Without times, a torn word is known by the re-told words after it."""
    seam = seam_after("alpha", "brave", since=0.0)
    kept = seam.trim(Utterance("fa brave new"))
    assert kept is not None
    assert kept.text == "new"


def test_a_torn_word_alone_is_dropped_by_text() -> None:
    """A leg that begins in the middle of speech begins with a torn word, also without times."""
    seam = seam_after("alpha", "brave", since=0.0, starts_mid_word=True)
    for told in ("fa", "brave"):
        assert seam.trim(Utterance(told)) is None
        seam.observe_final(Utterance(told), None)
    assert seam.trim(Utterance("fa")) == Utterance("fa")


def test_a_word_that_begins_later_is_not_the_torn_one() -> None:
    """A torn word is where the leg's audio begins; of what begins later nothing is dropped."""
    for start, is_new in ((None, False), (0.2, False), (2.0, True)):
        seam = seam_after("alpha", since=0.1, starts_mid_word=True)
        utterance = Utterance("new", (), start, 2.6)
        assert seam.trim(utterance) == (utterance if is_new else None)


def test_a_final_that_ends_before_the_boundary_is_settled() -> None:
    """A final without words that ends before the boundary is not new, whatever it says."""
    seam = seam_after("alpha", "brave")
    assert seam.trim(Utterance("misheard", (), 0.5, 0.9)) is None
    assert seam.trim(Utterance("misheard", (), 0.5, 1.4)) is not None


def test_a_word_on_the_boundary_is_judged_by_its_text() -> None:
    """A word that straddles the boundary is new, unless it is the one told last."""
    seam = seam_after("alpha", "brave", "chair", since=0.5)
    told = Word("brave", 0.5, 1.0)
    for text, count in (("chair", 0), ("other", 1)):
        last = Word(text, 1.0, 1.9)
        kept = seam.trim(Utterance(f"brave {text}", (told, last), 0.5, 1.9))
        assert len(kept.words if kept else ()) == count


def test_text_that_is_not_made_of_its_words() -> None:
    """Where text and words disagree, the text of the new words is made of them."""
    seam = seam_after("four", "brave")
    words = (Word("4", 0.0, 0.5), Word("brave", 0.5, 1.0), Word(" new ", 1.0, 1.5))
    kept = seam.trim(Utterance("number four is brave, new", words, 0.0, 1.5))
    assert kept is not None
    assert kept.text == "new"


def test_words_without_a_token() -> None:
    """Words that are only punctuation are no new text."""
    seam = seam_after("brave")
    words = (Word("brave", 0.0, 0.5), Word("!", 0.6, 1.0))
    assert seam.trim(Utterance("brave !", words, 0.0, 1.0)) is None


def test_text_decides_where_words_were_told_beyond_the_boundary() -> None:
    """Words whose times are unknown are found by text, and the times of the new ones kept."""
    transcript = TranscriptHistory(POLICY)
    transcript.record(Utterance("alpha brave"), 5.0)
    seam = transcript.trimmer(0.0, 0.0, float, starts_mid_word=False)
    words = (Word("alpha", 1.0, 1.5), Word("brave", 1.5, 2.0), Word("new", 2.0, 2.5))
    kept = seam.trim(Utterance("alpha brave new", words, 1.0, 2.5))
    assert kept == Utterance("new", words[2:], 2.0, 2.5)


def test_what_was_told_before_the_replay_is_not_looked_for() -> None:
    """A word that was told, and over, before the replay begins may be said again."""
    transcript = TranscriptHistory(POLICY)
    transcript.record(Utterance("yes"), 5.0)
    seam = transcript.trimmer(2.0, 2.0, lambda _: 2.0, starts_mid_word=False)
    assert not seam.open


# --- where to begin a replay


def start_of_replay(*words: tuple[float, float], watermark: float, oldest: float = 0.0) -> object:
    transcript = TranscriptHistory(POLICY)
    for start, end in words:
        transcript.record(Utterance("x", (Word("x", start, end),)), 99.0)
    return transcript.replay_start(watermark, oldest)


@pytest.mark.parametrize(
    ("words", "watermark", "oldest", "place"),
    [
        ([], 5.0, 0.0, None),
        ([(1.0, 1.5)], 1.5, 0.0, 0.85),
        ([(1.0, 1.5)], 1.5, 0.9, 0.95),
        ([(1.0, 1.5)], 1.5, 1.2, None),
        ([(1.0, 1.5), (1.5, 2.0)], 2.0, 0.0, 0.85),
        ([(0.5, 0.9), (1.0, 1.5), (1.5, 2.0)], 2.0, 0.0, 0.95),
        ([(0.5, 1.0), (1.0, 1.5), (1.6, 2.0)], 2.0, 0.0, 1.55),
        ([(0.1, 0.2), (0.5, 1.0), (1.0, 1.5), (1.5, 2.0)], 2.0, 0.0, 1.0),
    ],
)
def test_a_replay_begins_in_the_widest_gap(
    words: list[tuple[float, float]], watermark: float, oldest: float, place: float | None
) -> None:
    """A replay begins before one of the last two settled words, where the gap is wider."""
    found = start_of_replay(*words, watermark=watermark, oldest=oldest)
    assert found == (place if place is None else pytest.approx(place))


@given(
    st.lists(st.tuples(st.floats(0, 20), st.floats(0, 1)), max_size=6),
    st.floats(0, 25),
    st.floats(0, 25),
)
def test_a_replay_begins_inside_the_ledger(
    words: list[tuple[float, float]], watermark: float, oldest: float
) -> None:
    """A clean place is one that the ledger still holds, before the watermark."""
    place = start_of_replay(
        *[(start, start + length) for start, length in words], watermark=watermark, oldest=oldest
    )
    assert place is None or (isinstance(place, float) and oldest <= place < watermark)


# --- the rest


numbers = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-2, 12)


@given(st.lists(st.builds(Word, st.just("x"), numbers, numbers), max_size=5), st.floats(0, 10))
def test_usable_times_are_sane(words: list[Word], sent: float) -> None:
    """Times count only if they are finite, in order and inside what was sent, give or take."""
    if are_usable(tuple(words), sent):
        assert words
        for word in words:
            assert math.isfinite(word.start + word.end)
            assert -0.5 <= word.start <= word.end <= sent + 0.5


@pytest.mark.parametrize(
    ("times", "good"),
    [
        ([(0.0, 0.5), (0.5, 1.0)], True),
        ([(0.0, 0.5), (0.4, 1.4)], True),
        ([(0.5, 0.5)], True),
        ([(-0.4, 0.5)], True),
        ([], False),
        ([(0.0, 0.0), (0.0, 0.0)], False),
        ([(0.5, 0.4)], False),
        ([(0.5, 1.6)], False),
        ([(-0.6, 0.5)], False),
        ([(math.nan, 0.5)], False),
        ([(2.5, 2.6), (0.1, 0.2)], False),
    ],
)
def test_usable(times: list[tuple[float, float]], good: bool) -> None:
    """All-zero, backward, negative and late times are no times."""
    assert are_usable(tuple(Word("x", *t) for t in times), 1.0) is (good)


def test_they_show_their_state() -> None:
    """The reprs tell where a transcript and a seam stand, and no text."""
    transcript = TranscriptHistory(POLICY)
    transcript.record(Utterance("secret", (Word("secret", 0.0, 1.0),)), 1.0)
    assert repr(transcript) == "TranscriptHistory(committed=1)"
    seam = transcript.trimmer(1.0, 0.2, float, starts_mid_word=False)
    assert repr(seam) == "OverlapTrimmer(boundary=1.000, repeats=1, open=True)"


def test_a_final_that_tells_what_is_settled_says_so() -> None:
    """It speaks for nothing behind the boundary; a word told beyond it is not settled yet."""
    transcript = TranscriptHistory(POLICY)
    transcript.record(Utterance("alpha", (Word("alpha", 1.0, 1.5),), 1.0, 1.5), 2.0)
    transcript.record(Utterance("brave"), 4.0)
    seam = transcript.trimmer(1.5, 1.0, float, starts_mid_word=False)
    assert seam.observe_final(Utterance("alpha"), None)
    assert not seam.observe_final(Utterance("brave"), None)
    assert not seam.open


@pytest.mark.parametrize(("before", "after"), [("", "es"), ("es", ""), ("en", "fr"), ("fr", "en")])
def test_a_number_is_told_again_in_another_language(before: str, after: str) -> None:
    """A word that is a number in one language only is still the same word."""
    transcript = TranscriptHistory(POLICY)
    transcript.record(Utterance("ten cuatro", language=before), 2.0)
    seam = transcript.trimmer(1.0, 1.0, lambda end: end, starts_mid_word=False)
    kept = seam.trim(Utterance("ten cuatro five", language=after))
    assert kept is not None
    assert kept.text == "five"


def test_a_final_that_begins_with_what_is_settled_says_so() -> None:
    """And after it there is no seam any more: what is said again is said twice."""
    transcript = TranscriptHistory(POLICY)
    transcript.record(Utterance("alpha", (Word("alpha", 1.0, 1.5),), 1.0, 1.5), 2.0)
    seam = transcript.trimmer(1.5, 1.0, float, starts_mid_word=False)
    assert seam.observe_final(Utterance("alpha brave"), Utterance("brave"))
    assert not seam.observe_final(Utterance("alpha"), Utterance("alpha"))


def test_words_without_times_have_those_of_who_tells_them_again() -> None:
    """What was known only by when it had been heard is settled with the audio that it was."""
    transcript = TranscriptHistory(POLICY)
    transcript.record(Utterance("alpha"), 3.0)
    timed = Utterance("alpha", (Word("alpha", 0.4, 0.65),), 0.4, 0.65)
    first = transcript.trimmer(0.0, 0.0, float, starts_mid_word=False)
    assert first.trim(timed) is None
    first.observe_final(timed, None)
    second = transcript.trimmer(0.65, 0.3, float, starts_mid_word=False)
    assert second.trim(Utterance("alpha")) is None
    assert second.observe_final(Utterance("alpha"), None)
