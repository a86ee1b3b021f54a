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
class Recognizer:
    """Transcribes words with a spelling and errors of times of its own."""

    language: str
    spell: Callable[[str], str]
    jitter: list[float]
    most: list[int]
    joint: str = " "

    def transcribe(self, words: list[Spoken]) -> list[Utterance]:
        errors = itertools.cycle(self.jitter)
        spoken = [
            Word(self.spell(w.text), w.start + next(errors), w.end + next(errors)) for w in words
        ]
        utterances, sizes = [], itertools.cycle(self.most)
        while spoken:
            size = next(sizes)
            piece, spoken = tuple(spoken[:size]), spoken[size:]
            text = self.joint.join(w.text for w in piece)
            utterances.append(Utterance(text, piece, piece[0].start, piece[-1].end, self.language))
        return utterances


def untimed(utterance: Utterance) -> Utterance:
    return Utterance(utterance.text, language=utterance.language)


spellings: st.SearchStrategy[Callable[[str], str]] = st.sampled_from(
    [str, str.upper, str.title, lambda w: w + ",", lambda w: f"“{w}”.", lambda w: DIGITS.get(w, w)]
)


def recognizers(language: str, jitter: float, joint: str = " ") -> st.SearchStrategy[Recognizer]:
    return st.builds(
        Recognizer,
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
    """The first recognizer transcribed `committed` words; the second hears from word `again` on."""

    words: list[Spoken]
    committed: int
    again: int

    @property
    def replay_from(self) -> float:
        return self.words[self.again].start


@st.composite
def switches(draw: st.DrawFn, vocabulary: list[str], *, unique: bool) -> Switch:
    words = draw(speech(vocabulary, unique=unique))
    committed = draw(st.integers(1, len(words)))
    again = draw(st.integers(max(0, committed - 4), committed - 1))
    assume(words[committed - 1].end - words[again].start <= POLICY.lookback)
    return Switch(words, committed, again)


def run(
    switch: Switch,
    first: Recognizer,
    second: Recognizer,
    *,
    times: tuple[bool, bool] = (True, True),
) -> list[str]:
    """What the consumer gets of the second connection, as normalized tokens."""
    history = TranscriptHistory(POLICY)
    live = switch.words[switch.committed - 1].end
    committed = first.transcribe(switch.words[: switch.committed])
    for utterance in committed:
        history.record(utterance if times[0] else untimed(utterance), live)
    watermark = min(committed[-1].end or 0.0, live) if times[0] else live
    trimmer = history.trimmer(watermark, switch.replay_from, float, starts_mid_word=False)
    emitted = []
    for whole in second.transcribe(switch.words[switch.again :]):
        utterance = whole if times[1] else untimed(whole)
        kept = trimmer.trim(utterance)
        if kept is not None:
            emitted += [t.norm for t in tokenize(kept.text, kept.language)]
            if kept.words:
                assert [t.norm for w in kept.words for t in tokenize(w.text, kept.language)] == [
                    t.norm for t in tokenize(kept.text, kept.language)
                ]
                assert kept.start == kept.words[0].start
        trimmer.observe_final(utterance, kept)
    return emitted


def expected(switch: Switch, second: Recognizer) -> list[str]:
    new = switch.words[switch.committed :]
    return [t.norm for w in new for t in tokenize(w.text, second.language)]


@given(switches(DISTINCT, unique=True), recognizers("en", 0.1), recognizers("en", 0.1))
def test_overlap_by_times(switch: Switch, first: Recognizer, second: Recognizer) -> None:
    """With times that disagree by 0.2 s and other spellings, every word comes once and in order."""
    assert run(switch, first, second) == expected(switch, second)


@given(
    switches(DISTINCT, unique=True),
    recognizers("en", 0.03),
    recognizers("en", 0.03),
    st.floats(-0.2, 0.2),
)
@example(
    Switch([Spoken("alpha", 1.0, 1.25), Spoken("brave", 1.25, 1.5)], committed=1, again=0),
    Recognizer("en", str, [0.0], [1]),
    Recognizer("en", str, [0.0], [1]),
    -0.125,
)
def test_overlap_with_clocks_that_differ(
    switch: Switch, first: Recognizer, second: Recognizer, offset: float
) -> None:
    """With times that are all early or late by 0.2 s, every word still comes once."""
    second.jitter = [offset + error for error in second.jitter]
    assert run(switch, first, second) == expected(switch, second)


THREE_TIMES_NO = Switch(
    [Spoken("no", 1.0, 1.25), Spoken("no", 1.25, 1.5), Spoken("no", 1.5, 1.75)],
    committed=2,
    again=1,
)


@given(
    switches(["no", "yes", "four"], unique=False), recognizers("en", 0.05), recognizers("en", 0.05)
)
@example(THREE_TIMES_NO, Recognizer("en", str, [0.0], [1]), Recognizer("en", str, [0.0], [2]))
@example(THREE_TIMES_NO, Recognizer("en", str, [0.03125], [1]), Recognizer("en", str, [0.0], [2]))
def test_overlap_in_repetitions(switch: Switch, first: Recognizer, second: Recognizer) -> None:
    """If a user says "no no no", the times decide which of the words are new."""
    assert run(switch, first, second) == expected(switch, second)


@given(switches(DISTINCT, unique=True), recognizers("en", 0.1), recognizers("en", 0.1))
def test_overlap_by_text(switch: Switch, first: Recognizer, second: Recognizer) -> None:
    """A second connection without times is trimmed by its text alone."""
    assert run(switch, first, second, times=(True, False)) == expected(switch, second)


@given(
    switches(DISTINCT, unique=True), recognizers("en", 0.0), recognizers("en", 0.0), st.booleans()
)
def test_overlap_after_text(
    switch: Switch, first: Recognizer, second: Recognizer, timed: bool
) -> None:
    """Words of a first connection without times are found by their text."""
    assert run(switch, first, second, times=(False, timed)) == expected(switch, second)


CHINESE = [*"今天气很好我们去公园", "三", "北京"]


@given(
    switches(CHINESE, unique=True),
    recognizers("zh", 0.05, ""),
    recognizers("zh-CN", 0.05, ""),
    st.booleans(),
)
def test_overlap_in_chinese(
    switch: Switch, first: Recognizer, second: Recognizer, timed: bool
) -> None:
    """A text without spaces is trimmed character by character."""
    assert run(switch, first, second, times=(True, timed)) == expected(switch, second)


@given(
    switches(DISTINCT, unique=True),
    recognizers("en", 0.1),
    recognizers("en", 0.1),
    st.integers(1, 9),
)
def test_interims_are_trimmed(
    switch: Switch, first: Recognizer, second: Recognizer, count: int
) -> None:
    """An interim transcript of any length is trimmed like a final of the same words."""
    history = TranscriptHistory(POLICY)
    for utterance in first.transcribe(switch.words[: switch.committed]):
        history.record(utterance, 99.0)
    watermark = switch.words[switch.committed - 1].end
    trimmer = history.trimmer(watermark, switch.replay_from, float, starts_mid_word=False)
    second.most = [count]
    kept = trimmer.trim(second.transcribe(switch.words[switch.again :])[0])
    new = switch.words[switch.committed : switch.again + count]
    assert [t.norm for t in tokenize(kept.text if kept else "", "en")] == [
        t.norm for w in new for t in tokenize(w.text, "en")
    ]


# --- the trimmer, case by case


def trimmer_after(
    *texts: str, boundary: float | None = None, since: float = 0.0, starts_mid_word: bool = False
) -> OverlapTrimmer:
    """A trimmer after committed words of half a second each, from 0 on."""
    history = TranscriptHistory(POLICY)
    for utterance in timed(*texts):
        history.record(utterance, 99.0)
    end = len(texts) / 2 if boundary is None else boundary
    return history.trimmer(end, since, float, starts_mid_word=starts_mid_word)


def timed(*texts: str, at: float = 0.0) -> list[Utterance]:
    return [
        Utterance(text, (Word(text, at + i / 2, at + i / 2 + 0.5),), at + i / 2, at + i / 2 + 0.5)
        for i, text in enumerate(texts)
    ]


def test_a_first_connection_is_not_trimmed() -> None:
    """With nothing committed everything is new, repetitions included."""
    trimmer = TranscriptHistory(POLICY).trimmer(0.0, 0.0, float, starts_mid_word=False)
    assert not trimmer.open
    utterance = Utterance("no no no")
    assert trimmer.trim(utterance) is utterance
    assert trimmer.trim(Utterance("  ")) is None


def test_the_trimmer_closes_with_the_first_new_final() -> None:
    """After something new, words that were committed before are speech again."""
    trimmer = trimmer_after("no")
    new = Utterance("no yes", (Word("no", 0.0, 0.5), Word("yes", 0.5, 1.0)), 0.0, 1.0)
    kept = trimmer.trim(new)
    assert kept == Utterance("yes", (Word("yes", 0.5, 1.0),), 0.5, 1.0)
    trimmer.observe_final(new, kept)
    assert not trimmer.open
    again = Utterance("no")
    assert trimmer.trim(again) is again


def test_text_without_repetition_is_not_trimmed() -> None:
    """If a connection repeats nothing of the replay, all of its first final is new."""
    history = TranscriptHistory(POLICY)
    history.record(Utterance("alpha", (Word("alpha", 1.0, 1.5),), 1.0, 1.5), 2.0)
    trimmer = history.trimmer(1.5, 1.0, float, starts_mid_word=False)
    new = Utterance("brave", (Word("brave", 2.5, 3.0),), 2.5, 3.0)
    assert trimmer.open
    assert trimmer.trim(new) is new


def test_punctuation_is_not_new() -> None:
    """Punctuation alone is not emitted, and does not close the trimmer."""
    trimmer = trimmer_after("no")
    assert trimmer.trim(Utterance("...")) is None
    trimmer.observe_final(Utterance("..."), None)
    assert trimmer.open


def test_a_partial_word_is_dropped() -> None:
    """The rest of a committed word at the beginning of a replay is not a new word."""
    trimmer = trimmer_after("alpha", "reservation", since=0.7)
    partial = Word("vation", 0.7, 1.06)
    utterance = Utterance("vation new", (partial, Word("new", 1.0, 1.5)), 0.7, 1.5)
    kept = trimmer.trim(utterance)
    assert kept is not None
    assert kept.text == "new"


@pytest.mark.parametrize(
    ("partial", "kept"),
    [((1.1, 1.5), None), ((1.2, 1.6), "vation"), ((1.34, 1.4), "vation"), ((1.8, 2.2), "vation")],
)
def test_a_partial_word_with_a_late_time_is_dropped(
    partial: tuple[float, float], kept: str | None
) -> None:
    """Its middle lies behind the boundary, but it covers most of the last committed word."""
    history = TranscriptHistory(POLICY)
    spoken = (Word("reservation", 0.95, 1.28),)
    history.record(Utterance("reservation", spoken, 0.95, 1.28), 1.5)
    trimmer = history.trimmer(1.28, 0.9, float, starts_mid_word=False)
    found = trimmer.trim(Utterance("vation", (Word("vation", *partial),), *partial))
    assert (found.text if found else None) == kept


def test_a_partial_word_is_dropped_by_text() -> None:
    """Without times it is recognized by the repeated words after it."""
    trimmer = trimmer_after("alpha", "brave", since=0.0)
    kept = trimmer.trim(Utterance("fa brave new"))
    assert kept is not None
    assert kept.text == "new"


def test_a_partial_word_alone_is_dropped_by_text() -> None:
    """If the audio begins in mid-speech, so does the text, also without times."""
    trimmer = trimmer_after("alpha", "brave", since=0.0, starts_mid_word=True)
    for spoken in ("fa", "brave"):
        assert trimmer.trim(Utterance(spoken)) is None
        trimmer.observe_final(Utterance(spoken), None)
    assert trimmer.trim(Utterance("fa")) == Utterance("fa")


@pytest.mark.parametrize("since", [5.1, 5.25, 5.4, 5.5])
@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("rest", ["fixes.", "fixes. Then", "FIXES then more"])
def test_the_rest_of_a_compound(rest: str, timed: bool, since: float) -> None:
    """A replay that begins in the middle of a compound brings its second part only."""
    history = TranscriptHistory(POLICY)
    words = (Word("them", 4.7, 4.95), Word("hotfixes.", 5.0, 5.58))
    history.record(Utterance("them hotfixes.", words, 4.7, 5.58), 5.6)
    trimmer = history.trimmer(5.58, since, float, starts_mid_word=False)
    first = Word(rest.split()[0], 5.48, 5.84)
    heard = (first, *(Word(text, 6.9 + n, 7.3 + n) for n, text in enumerate(rest.split()[1:])))
    utterance = Utterance(rest, heard, 5.48, heard[-1].end)
    kept = trimmer.trim(utterance if timed else untimed(utterance))
    assert (kept.text if kept else "") == " ".join(rest.split()[1:])


@pytest.mark.parametrize("word", ["fixes", "hot", "ones"])
def test_a_whole_word_behind_a_compound(word: str) -> None:
    """A word that begins well after the replay is new, also if a compound ended with it."""
    history = TranscriptHistory(POLICY)
    history.record(Utterance("hotfixes", (Word("hotfixes", 5.0, 5.58),), 5.0, 5.58), 5.6)
    trimmer = history.trimmer(5.58, 4.9, float, starts_mid_word=False)
    said = (Word("hotfixes", 5.0, 5.58), Word(word, 6.2, 6.5))
    kept = trimmer.trim(Utterance(f"hotfixes {word}", said, 5.0, 6.5))
    assert kept is not None
    assert kept.text == word


def test_a_word_that_begins_later_is_not_partial() -> None:
    """A partial word begins with the audio; a word that begins later is kept."""
    for start, is_new in ((None, False), (0.2, False), (2.0, True)):
        trimmer = trimmer_after("alpha", since=0.1, starts_mid_word=True)
        utterance = Utterance("new", (), start, 2.6)
        assert trimmer.trim(utterance) == (utterance if is_new else None)


@pytest.mark.parametrize(
    ("told", "again"),
    [
        ("third", "3rd"),
        ("half past ten", "10:30"),
        ("10:30", "half past 10"),
        ("100", "hundred"),
        ("million", "1000000"),
        ("$3.60", "three dollars and sixty cents"),
        ("three dollars and sixty cents", "$3.60"),
        ("£1.50", "one pound fifty pence"),
        ("8%", "eight Prozent"),
    ],
)
def test_other_forms_are_repetitions(told: str, again: str) -> None:
    """A number at the seam is repeated in another form, alone and before new words."""
    history = TranscriptHistory(POLICY)
    history.record(Utterance(told, language="en"), 5.0)
    trimmer = history.trimmer(0.0, 0.0, float, starts_mid_word=False)
    assert trimmer.trim(Utterance(again, language="en")) is None
    kept = trimmer.trim(Utterance(f"{again} window", language="en"))
    assert kept is not None
    assert kept.text == "window"


def test_a_filler_before_an_untimed_word() -> None:
    """A filler that only the second provider writes is told, and no end of the repetition.

    It is recorded before the words that are still to be repeated (accents, 720002376, 720000589).
    """
    um = Utterance("um", (Word("um", 3.1, 3.3),), 3.1, 3.3)
    history = TranscriptHistory(POLICY)
    history.record(Utterance("silver"), 5.0)
    trimmer = history.trimmer(0.0, 0.0, float, starts_mid_word=False)
    trimmer.observe_final(um, trimmer.trim(um))
    assert trimmer.trim(Utterance("silver", (Word("silver", 3.4, 3.9),), 3.4, 3.9)) is None

    history = TranscriptHistory(POLICY)
    history.record(Utterance("silver ink"), 5.0)
    for number in range(2):
        trimmer = history.trimmer(0.0, 0.0, float, starts_mid_word=False)
        kept = trimmer.trim(um)
        assert bool(kept) is (number == 0)
        trimmer.observe_final(um, kept)
        if kept is not None:
            history.record(kept, 5.0, before=trimmer.next_repeat)
        word = Utterance("silver", (Word("silver", 3.4, 3.9),), 3.4, 3.9)
        kept = trimmer.trim(word)
        assert kept is None
        trimmer.observe_final(word, kept)
        kept = trimmer.trim(Utterance("ink jug"))
        assert kept is not None
        assert kept.text == "jug"


def test_a_final_that_begins_after_all_committed_words_is_new() -> None:
    """Its words are not taken for others that were committed, though it has no times of words."""
    history = TranscriptHistory(POLICY)
    history.record(Utterance("mor tub gim fug"), 3.8)
    trimmer = history.trimmer(3.0, 0.0, float, starts_mid_word=False)
    for utterance, is_new in (
        (Utterance("mor", (), 0.4, 0.7), False),
        (Utterance("mer", (), 7.8, 8.5), True),
    ):
        kept = trimmer.trim(utterance)
        assert bool(kept) is is_new
        trimmer.observe_final(utterance, kept)


def test_a_final_that_ends_before_the_boundary_is_repeated() -> None:
    """Without words it is not new, whatever its text is."""
    trimmer = trimmer_after("alpha", "brave")
    assert trimmer.trim(Utterance("misheard", (), 0.5, 0.9)) is None
    assert trimmer.trim(Utterance("misheard", (), 0.5, 1.4)) is not None


def test_a_final_that_ends_at_the_boundary_but_for_rounding_is_repeated() -> None:
    """The same time on two connections differs by a rounding error (seed 555000209, accents)."""
    trimmer = trimmer_after("third")
    end = trimmer._boundary + 1e-10
    assert trimmer.trim(Utterance("3rd.", (), end - 0.5, end)) is None


def test_a_word_on_the_boundary_is_compared_by_text() -> None:
    """It is new unless it is the last committed word, or begins when that does."""
    trimmer = trimmer_after("alpha", "brave", "chair", since=0.5)
    spoken = Word("brave", 0.5, 1.0)
    for text, start, end, count in (
        ("chair", 1.0, 1.9, 0),
        ("other", 1.2, 1.75, 1),
        ("other", 1.0, 1.9, 0),
    ):
        last = Word(text, start, end)
        kept = trimmer.trim(Utterance(f"brave {text}", (spoken, last), 0.5, end))
        assert len(kept.words if kept else ()) == count


def test_a_noise_before_the_last_word() -> None:
    """A syllable heard in a noise is not the last committed word, which may still follow.

    Accents, seed 888000165.
    """
    trimmer = trimmer_after("doctor", "organize")
    noise = Utterance("zjz", (Word("zjz", 0.45, 0.7),), 0.45, 0.7)
    word = Utterance("Organise.", (Word("Organise.", 0.52, 1.02),), 0.52, 1.02)
    for heard in (Utterance("Dr", (Word("Dr", 0.0, 0.5),), 0.0, 0.5), noise, word):
        kept = trimmer.trim(heard)
        assert kept is None, heard.text
        trimmer.observe_final(heard, kept)


def test_text_that_is_not_made_of_its_words() -> None:
    """If text and words disagree, the new text is made of the new words."""
    trimmer = trimmer_after("four", "brave")
    words = (Word("4", 0.0, 0.5), Word("brave", 0.5, 1.0), Word(" new ", 1.0, 1.5))
    kept = trimmer.trim(Utterance("number four is brave, new", words, 0.0, 1.5))
    assert kept is not None
    assert kept.text == "new"


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize(
    ("told", "text", "new"),
    [
        ("in total", "in total $60 billion", "$60 billion"),
        ("it was", "it was -5 degrees", "-5 degrees"),
        ("it was", "it was - five degrees", "five degrees"),
        ("in total", "In total, sixty.", "sixty."),
        ("in total", "in total\u2014sixty", "sixty"),
        ("hola amigo", "hola amigo, \u00bfc\u00f3mo est\u00e1s?", "\u00bfc\u00f3mo est\u00e1s?"),
        ("he said", 'he said "hello there"', '"hello there"'),
        ("as eric", "as eric <unk> president", "<unk> president"),
        ("from $60", "from $60-$70 now", "$70 now"),
        ("at half", "at half-price now", "price now"),
        ("\u4f60\u597d", "\u4f60\u597d\u3002\u300c\u518d\u898b\u300d", "\u300c\u518d\u898b\u300d"),
    ],
)
def test_signs_before_the_first_new_word_are_kept(
    told: str, text: str, new: str, timed: bool
) -> None:
    """ "$60" without its sign is another amount. What ends the repeated words goes with them."""
    history = TranscriptHistory(POLICY)
    history.record(Utterance(told), 5.0)
    trimmer = history.trimmer(0.0, 0.0, float, starts_mid_word=False)
    words = tuple(Word(word, i / 2, (i + 1) / 2) for i, word in enumerate(text.split()))
    kept = trimmer.trim(Utterance(text, words if timed else (), language="en"))
    assert kept is not None
    assert kept.text == new
    assert " ".join(word.text for word in kept.words) == (new if timed else "")


def test_words_without_a_token() -> None:
    """Words that are only punctuation make no new text."""
    trimmer = trimmer_after("brave")
    words = (Word("brave", 0.0, 0.5), Word("!", 0.6, 1.0))
    assert trimmer.trim(Utterance("brave !", words, 0.0, 1.0)) is None


def test_text_decides_if_committed_words_have_no_times() -> None:
    """New words are found by text, and keep their times."""
    history = TranscriptHistory(POLICY)
    history.record(Utterance("alpha brave"), 5.0)
    trimmer = history.trimmer(0.0, 0.0, float, starts_mid_word=False)
    words = (Word("alpha", 1.0, 1.5), Word("brave", 1.5, 2.0), Word("new", 2.0, 2.5))
    kept = trimmer.trim(Utterance("alpha brave new", words, 1.0, 2.5))
    assert kept == Utterance("new", words[2:], 2.0, 2.5)


def test_words_before_the_replay_are_not_repeated() -> None:
    """A committed word that was over before the replay begins may be spoken again."""
    history = TranscriptHistory(POLICY)
    history.record(Utterance("yes"), 5.0)
    trimmer = history.trimmer(2.0, 2.0, lambda _: 2.0, starts_mid_word=False)
    assert not trimmer.open


# --- where to begin a replay


def start_of_replay(*words: tuple[float, float], watermark: float, oldest: float = 0.0) -> object:
    """Where a replay begins after words with these times."""
    history = TranscriptHistory(POLICY)
    for start, end in words:
        history.record(Utterance("x", (Word("x", start, end),)), 99.0)
    return history.replay_start(watermark, oldest)


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
    """It begins before one of the last two committed words, where the gap is wider."""
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
    """The place is before the watermark, and its audio is still kept."""
    place = start_of_replay(
        *[(start, start + length) for start, length in words], watermark=watermark, oldest=oldest
    )
    assert place is None or (isinstance(place, float) and oldest <= place < watermark)


# --- the rest


numbers = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-2, 12)


@given(st.lists(st.builds(Word, st.just("x"), numbers, numbers), max_size=5), st.floats(0, 10))
def test_usable_times_are_sane(words: list[Word], sent: float) -> None:
    """Usable times are finite, in order and inside the audio, within the tolerances."""
    if are_usable(tuple(words), sent, POLICY):
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
    """All-zero, backward, negative and late times are not usable."""
    assert are_usable(tuple(Word("x", *t) for t in times), 1.0, POLICY) is (good)


def test_a_policy_says_how_inexact_usable_times_are() -> None:
    """What the default policy refuses by 0.1 s, one with a larger limit accepts."""
    late, backward = (Word("x", 0.5, 1.6),), (Word("x", 2.1, 2.2), Word("x", 1.0, 1.1))
    assert not are_usable(late, 1.0, POLICY)
    assert are_usable(late, 1.0, ReplayPolicy(max_time_error=0.7))
    assert not are_usable(backward, 3.0, POLICY)
    assert are_usable(backward, 3.0, ReplayPolicy(max_backward_step=1.2))


def test_they_show_their_state() -> None:
    """The reprs show counts and positions, and no text."""
    history = TranscriptHistory(POLICY)
    history.record(Utterance("secret", (Word("secret", 0.0, 1.0),)), 1.0)
    assert repr(history) == "TranscriptHistory(committed=1)"
    trimmer = history.trimmer(1.0, 0.2, float, starts_mid_word=False)
    assert repr(trimmer) == "OverlapTrimmer(boundary=1.000, repeats=1, open=True)"


def test_a_final_of_committed_words_is_reported_as_such() -> None:
    """A word behind the boundary does not count as committed yet."""
    history = TranscriptHistory(POLICY)
    history.record(Utterance("alpha", (Word("alpha", 1.0, 1.5),), 1.0, 1.5), 2.0)
    history.record(Utterance("brave"), 4.0)
    trimmer = history.trimmer(1.5, 1.0, float, starts_mid_word=False)
    assert trimmer.observe_final(Utterance("alpha"), None)
    assert not trimmer.observe_final(Utterance("brave"), None)
    assert not trimmer.open


@pytest.mark.parametrize(("before", "after"), [("", "es"), ("es", ""), ("en", "fr"), ("fr", "en")])
def test_a_number_is_repeated_in_another_language(before: str, after: str) -> None:
    """A word that is a number in one of the languages only is still the same word."""
    history = TranscriptHistory(POLICY)
    history.record(Utterance("ten cuatro", language=before), 2.0)
    trimmer = history.trimmer(1.0, 1.0, lambda end: end, starts_mid_word=False)
    kept = trimmer.trim(Utterance("ten cuatro five", language=after))
    assert kept is not None
    assert kept.text == "five"


def test_a_final_that_begins_with_committed_words_is_reported_as_such() -> None:
    """After it the trimmer is closed: the same word is new."""
    history = TranscriptHistory(POLICY)
    history.record(Utterance("alpha", (Word("alpha", 1.0, 1.5),), 1.0, 1.5), 2.0)
    trimmer = history.trimmer(1.5, 1.0, float, starts_mid_word=False)
    assert trimmer.observe_final(Utterance("alpha brave"), Utterance("brave"))
    assert not trimmer.observe_final(Utterance("alpha"), Utterance("alpha"))


def test_words_without_times_take_those_of_their_repetition() -> None:
    """A third connection then finds them before the boundary."""
    history = TranscriptHistory(POLICY)
    history.record(Utterance("alpha"), 3.0)
    timed = Utterance("alpha", (Word("alpha", 0.4, 0.65),), 0.4, 0.65)
    first = history.trimmer(0.0, 0.0, float, starts_mid_word=False)
    assert first.trim(timed) is None
    first.observe_final(timed, None)
    second = history.trimmer(0.65, 0.3, float, starts_mid_word=False)
    assert second.trim(Utterance("alpha")) is None
    assert second.observe_final(Utterance("alpha"), None)


@pytest.mark.parametrize(("text", "expected"), [("um", False), ("um uh", False), ("um yes", True)])
def test_no_provider_has_to_repeat_a_filler(text: str, expected: bool) -> None:
    """Who leaves "um" out is not deaf; the word behind it has to come."""
    history = TranscriptHistory(POLICY)
    history.record(Utterance(text), 2.0)
    trimmer = history.trimmer(0.0, 0.0, float, starts_mid_word=False)
    assert trimmer.expects_repeats is expected
    assert trimmer.next_repeat is not None


def test_letters_that_take_the_time_of_a_word() -> None:
    """Another provider spells out what was committed as a word, with other letters."""
    history = TranscriptHistory(POLICY)
    words = Word("at", 14.97, 15.18), Word("FPO.", 15.18, 15.69)
    history.record(Utterance("at FPO.", words, 14.97, 15.69), 15.8)
    trimmer = history.trimmer(15.69, 14.97, float, starts_mid_word=False)
    spelled = Word("F", 15.14, 15.28), Word("D", 15.28, 15.42), Word("L.", 15.42, 15.76)
    new = Utterance("at F D L.", (Word("at", 15.0, 15.14), *spelled), 15.0, 15.76)
    assert trimmer.trim(new) is None


def test_a_word_that_takes_the_time_of_letters() -> None:
    """The same the other way round, with a word behind it."""
    history = TranscriptHistory(POLICY)
    words = Word("at", 0.0, 0.2), Word("F", 0.2, 0.34), Word("D", 0.34, 0.5), Word("L.", 0.5, 0.8)
    history.record(Utterance("at F D L.", words, 0.0, 0.8), 1.0)
    trimmer = history.trimmer(0.8, 0.0, float, starts_mid_word=False)
    new = Utterance("peo it's", (Word("peo", 0.2, 0.8), Word("it's", 0.9, 1.1)), 0.2, 1.1)
    kept = trimmer.trim(new)
    assert kept is not None
    assert kept.text == "it's"


@pytest.mark.parametrize(
    ("start", "end", "is_new"),
    [(1.0, 1.7, False), (0.93, 1.5, False), (1.3, 2.0, True), (1.2, 1.9, True)],
)
def test_a_longer_word_in_place_of_the_last(start: float, end: float, is_new: bool) -> None:
    """What begins where the last committed word began is that word, though it ends later."""
    history = TranscriptHistory(POLICY)
    words = Word("for", 0.7, 0.98), Word("you.", 1.0, 1.3)
    history.record(Utterance("for you.", words, 0.7, 1.3), 1.8)
    trimmer = history.trimmer(1.3, 0.6, float, starts_mid_word=False)
    again = Word("for", 0.72, 0.92), Word("gamers", start, end), Word("as", 2.1, 2.3)
    kept = trimmer.trim(Utterance("for gamers as", again, 0.72, 2.3))
    assert kept is not None
    assert kept.text == ("gamers as" if is_new else "as")


def test_words_that_were_not_heard_cost_once() -> None:
    """The new word is found, though three words were not heard and one behind them is missing."""
    history = TranscriptHistory(POLICY)
    for text, heard in (("alpha", 1.2), ("bravo charlie delta", 4.8)):
        history.record(Utterance(text), heard)
    history.record(Utterance("echo", (Word("echo", 6.0, 6.4),), 6.0, 6.4), 7.0)
    trimmer = history.trimmer(6.4, 0.3, float, starts_mid_word=False, left_out=(1.4, 4.5), known=1)
    words = Word("alpha", 0.9, 1.2), Word("zulu", 7.0, 7.4)
    kept = trimmer.trim(Utterance("alpha zulu", words, 0.9, 7.4))
    assert kept is not None
    assert kept.text == "zulu"


def test_a_torn_word_behind_known_ones() -> None:
    """A replay that leaves audio out may begin anew inside a word, and repeat what follows.

    The torn word is told: it may be a new one. But what was passed over up to it is still known.
    """
    history = TranscriptHistory(POLICY)
    for text, heard in (("tag", 1.2), ("san bet", 4.8), ("tig kes kak kub", 9.0)):
        history.record(Utterance(text), heard)
    trimmer = history.trimmer(5.0, 0.3, float, starts_mid_word=False, left_out=(1.4, 4.5), known=1)
    first = Utterance("tag zdz")
    kept = trimmer.trim(first)
    assert kept is not None
    assert kept.text == "zdz"
    trimmer.observe_final(first, kept)
    assert trimmer.trim(Utterance("tig kes kak kub")) is None
    kept = trimmer.trim(Utterance("tig kes kak kub river"))
    assert kept is not None
    assert kept.text == "river"
    assert trimmer.trim(Utterance("one two three four")) is not None
