"""Two recognizers that write the same speech differently, and users who repeat themselves."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resilient_stt.core.messages import Word
from resilient_stt.core.policy import ReplayPolicy
from resilient_stt.core.transcript.history import TranscriptHistory
from resilient_stt.core.transcript.overlap import OverlapTrimmer, Utterance

POLICY = ReplayPolicy()

COMMITTED = [
    "angle",
    "breeze",
    "copper",
    "domino",
    "engine",
    "forest",
    "guitar",
    "humble",
    "island",
    "jungle",
    "kitchen",
    "lumber",
    "magnet",
    "nephew",
    "oxygen",
    "pickle",
    "quartz",
    "rocket",
    "saddle",
    "tunnel",
]
"""Words no two of which are alike."""
OTHERS = ["window", "zipper", "yellow", "velvet", "unique"]
"""What a recognizer may write in place of a word, or too much."""
NEW = ["breath", "clinic", "ferry", "whisky", "pudding"]
"""What is spoken behind the committed words."""

REWRITES = ("keep", "capital", "comma", "typo", "other", "drop", "filler", "extra", "split")


@dataclass(frozen=True)
class Accent:
    """How a second recognizer writes what the first one wrote: a rewrite for each word."""

    rewrites: tuple[str, ...]

    def write(self, words: list[str]) -> list[tuple[str, int]]:
        """Return the words, each with the index of the word it stands for."""
        found: list[tuple[str, int]] = []
        for place, (word, rewrite) in enumerate(zip(words, self.rewrites, strict=True)):
            other = OTHERS[place % len(OTHERS)]
            written = {
                "keep": [word],
                "capital": [word.title()],
                "comma": [f"{word},"],
                "typo": [word[:-1] + "z"],
                "other": [other],
                "drop": [],
                "filler": ["um,", word],
                "extra": [other, word],
                "split": [word[:3], word[3:]],
            }[rewrite]
            found += [(w, place) for w in written]
        return found


@st.composite
def accents(draw: st.DrawFn, size: int) -> Accent:
    """An accent that changes one word in four for good, and none at either end."""
    rewrites = draw(st.lists(st.sampled_from(REWRITES[:4]), min_size=size, max_size=size))
    inside = st.integers(1, max(1, size - 2))
    for place in draw(st.lists(inside, max_size=size // 4, unique=True)):
        rewrites[place] = draw(st.sampled_from(REWRITES))
    rewrites[0] = rewrites[-1] = "keep"
    return Accent(tuple(rewrites))


@st.composite
def calls(draw: st.DrawFn) -> tuple[list[str], Accent, list[str], list[int]]:
    """Committed words, how they come back, what follows, and into which finals that is cut."""
    size = draw(st.integers(4, 20))
    first = draw(st.integers(0, len(COMMITTED) - size))
    words = COMMITTED[first : first + size]
    new = draw(st.lists(st.sampled_from(NEW), max_size=4))
    return words, draw(accents(size)), new, draw(st.lists(st.integers(1, 9), min_size=1))


def utterances(
    spoken: list[tuple[str, float, float]], sizes: list[int], *, timed: bool
) -> list[Utterance]:
    """Cut words into finals of these sizes, over and over."""
    found = []
    turn = 0
    while spoken:
        size = sizes[turn % len(sizes)]
        piece, spoken = spoken[:size], spoken[size:]
        text = " ".join(word for word, *_ in piece)
        words = tuple(Word(*w) for w in piece) if timed else ()
        start, end = (piece[0][1], piece[-1][2]) if timed else (None, None)
        found.append(Utterance(text, words, start, end, "en"))
        turn += 1
    return found


def emitted(trimmer: OverlapTrimmer, finals: list[Utterance]) -> list[str]:
    """What a trimmer leaves of finals, as words."""
    found: list[str] = []
    for final in finals:
        kept = trimmer.trim(final)
        found += kept.text.split() if kept else []
        trimmer.observe_final(final, kept)
    return found


def at(place: float) -> tuple[float, float]:
    """When a word was spoken that has this index: half a second for each."""
    return place / 2, place / 2 + 0.4


def committed_words(words: list[str], *, timed: bool) -> TranscriptHistory:
    history = TranscriptHistory(POLICY)
    spoken = [(word, *at(place)) for place, word in enumerate(words)]
    for utterance in utterances(spoken, [7], timed=timed):
        history.record(utterance, len(words) / 2)
    return history


@given(calls(), st.booleans())
@example((COMMITTED[:4], Accent(("keep", "other", "keep", "keep")), ["ferry"], [1]), False)
def test_any_accent_is_dropped_whole(
    call: tuple[list[str], Accent, list[str], list[int]], second_timed: bool
) -> None:
    """Committed words without times come back in another spelling, with words more and less, in
    any finals. They are dropped, and all words behind them are kept."""
    words, accent, new, sizes = call
    history = committed_words(words, timed=False)
    trimmer = history.trimmer(0.0, 0.0, float, starts_mid_word=False)
    spoken = [(word, *at(place)) for word, place in accent.write(words)]
    spoken += [(word, *at(len(words) + place)) for place, word in enumerate(new)]
    assert emitted(trimmer, utterances(spoken, sizes, timed=second_timed)) == new


@given(calls(), st.integers(1, 4), st.lists(st.floats(-0.1, 0.1), min_size=1, max_size=5))
def test_any_accent_is_dropped_whole_by_time(
    call: tuple[list[str], Accent, list[str], list[int]], again: int, errors: list[float]
) -> None:
    """The same with times that disagree by 0.1 s, and a replay of the last few words."""
    words, accent, new, sizes = call
    history = committed_words(words, timed=True)
    first = len(words) - again
    trimmer = history.trimmer(
        at(len(words) - 1)[1], at(first)[0] - 0.05, float, starts_mid_word=False
    )
    written = [(w, place) for w, place in accent.write(words) if place >= first]
    written += [(word, len(words) + place) for place, word in enumerate(new)]
    spoken = []
    for turn, (word, place) in enumerate(written):
        start, end = at(place)
        error = errors[turn % len(errors)]
        spoken.append((word, start + error, end + error))
    assert emitted(trimmer, utterances(spoken, sizes, timed=True)) == new


@given(
    st.lists(st.sampled_from(["no", "five", "5", "yes", "please", "um"]), min_size=1, max_size=5),
    st.integers(1, 4),
    st.lists(st.sampled_from(NEW), max_size=3),
    st.booleans(),
)
def test_what_a_user_repeats_is_kept(
    words: list[str], times: int, new: list[str], first_timed: bool
) -> None:
    """A user says the committed words once more, or several times: all but the first are new."""
    history = committed_words(words, timed=first_timed)
    end = at(len(words) - 1)[1] if first_timed else 0.0
    trimmer = history.trimmer(end, 0.0, float, starts_mid_word=False)
    final = Utterance(" ".join([*words, *words * times, *new]), language="en")
    assert emitted(trimmer, [final]) == [*words * times, *new]


@given(st.lists(st.sampled_from(COMMITTED), min_size=2, max_size=6, unique=True))
def test_a_sentence_that_is_said_twice_is_kept_once(words: list[str]) -> None:
    """Behind the final that repeats the committed sentence, the same sentence is speech."""
    history = committed_words(words, timed=False)
    trimmer = history.trimmer(0.0, 0.0, float, starts_mid_word=False)
    final = Utterance(" ".join(words), language="en")
    assert emitted(trimmer, [final, final]) == words


@pytest.mark.parametrize(
    ("committed", "again", "new"),
    [
        ("in the fourth quarter of 2023", "fourth quarter of twenty twenty three", "this is"),
        ("in the fourth quarter of twenty twenty three", "fourth quarter of 2023.", "This is"),
        ("earnings of $481 million", "earnings of four hundred eighty one million dollars", "or"),
        ("a margin of 11.25%", "margin of eleven point two five percent", "during"),
        ("and that is okay", "that is O.K.", "now"),
        ("and that is O.K.", "that is okay", "now"),
        ("it is a long-term plan", "is a long term plan", "and"),
        ("it is a long term", "is a long-term", "plan"),
        ("he lives in the U.K.", "lives in the U. K.", "now"),
        ("he lives in the UK", "lives in the U.K.", "now"),
        ("shares of F P L", "shares of FPL", "rose"),
        ("I am gonna", "I'm going to", "leave"),
        ("I'm going to", "I am gonna", "leave"),
        ("we will", "we'll", "see"),
        ("they have not", "they haven't", "come"),
        ("on the twenty first", "on the 21st", "of May"),
        ("and then we move on to Q&A", "move on to Q and A", "please"),
        ("well, um, I think", "well I think", "so"),
        ("well I think", "uh, well, um, I think", "so"),
        ("ranks first in class", "ranks 1st in class", "today"),
        ("call five five five", "call 555", "oh one"),
        ("it costs 60,000", "it costs sixty thousand", "a year"),
    ],
)
def test_written_forms(committed: str, again: str, new: str) -> None:
    """The same words in another form are a repetition, also at the very seam and without times."""
    history = TranscriptHistory(POLICY)
    history.record(Utterance(committed, language="en"), 9.0)
    trimmer = history.trimmer(0.0, 0.0, float, starts_mid_word=False)
    kept = trimmer.trim(Utterance(f"{again} {new}", language="en"))
    assert kept is not None
    assert kept.text == new


def test_a_sign_and_its_word_in_the_middle() -> None:
    """The word "percent" belongs to the number before it, where the committed text has a "%".

    In a call of real words, it was found at a later "percent", and what came then was told twice.
    """
    history = TranscriptHistory(POLICY)
    committed = "below 8.4% you can see that a nine point three percent"
    history.record(Utterance(committed, language="en"), 9.0)
    trimmer = history.trimmer(0.0, 0.0, float, starts_mid_word=False)
    final = Utterance("below eight point four percent", language="en")
    assert trimmer.trim(final) is None
    trimmer.observe_final(final, None)
    assert trimmer.next_repeat is not None
    assert trimmer.next_repeat.written == "you"


@pytest.mark.parametrize(
    ("language", "committed", "again", "new"),
    [
        ("es", "el veinte de mayo de dos mil veinte", "el 20 de mayo de 2020", "fue"),
        ("de", "im Jahr zwanzig zwanzig war", "im Jahr 2020 war", "das"),
        ("zh", "今天天气很好我们去公园", "今天天器很好我们去公园", "玩吧"),
        ("zh", "我们三点见面", "我们3点见面", "好吗"),
        ("ja", "今日は天気がいいです", "今日は天気が良いです", "ね"),
        ("th", "สวัสดีครับ", "สวัสดีคับ", "ผม"),
    ],
)
def test_written_forms_of_other_languages(
    language: str, committed: str, again: str, new: str
) -> None:
    """Where a language has no table, the words around a difference carry the alignment over it."""
    history = TranscriptHistory(POLICY)
    history.record(Utterance(committed, language=language), 9.0)
    trimmer = history.trimmer(0.0, 0.0, float, starts_mid_word=False)
    space = " " if language in ("es", "de") else ""
    kept = trimmer.trim(Utterance(f"{again}{space}{new}", language=language))
    assert kept is not None
    assert kept.text == new


def test_an_overlap_behind_words_that_were_taken_for_new() -> None:
    """A first final with nothing of the overlap in it does not let the whole overlap through."""
    words = COMMITTED[:12]
    history = committed_words(words, timed=False)
    trimmer = history.trimmer(0.0, 0.0, float, starts_mid_word=False)
    finals = [Utterance("velvet", language="en"), Utterance(" ".join([*words[2:], "ferry"]))]
    assert emitted(trimmer, finals) == ["velvet", "ferry"]


def test_a_repeated_last_word_behind_new_words_is_kept() -> None:
    """One word that was committed is no proof that the words before it were not new."""
    history = committed_words(["angle", "no"], timed=False)
    trimmer = history.trimmer(0.0, 0.0, float, starts_mid_word=False)
    finals = [Utterance("velvet unique", language="en"), Utterance("no ferry", language="en")]
    assert emitted(trimmer, finals) == ["velvet", "unique", "no", "ferry"]


def test_a_word_that_is_cut_at_the_seam_keeps_its_rest() -> None:
    """Of a word of which only a part was committed, the rest is new."""
    history = TranscriptHistory(POLICY)
    history.record(Utterance("今天", (Word("今天", 0.0, 0.8),), 0.0, 0.8, "zh"), 1.0)
    trimmer = history.trimmer(0.8, 0.0, float, starts_mid_word=False)
    spoken = (Word("今", 0.0, 0.4), Word("天气", 0.4, 1.2))
    kept = trimmer.trim(Utterance("今天气", spoken, 0.0, 1.2, "zh"))
    assert kept == Utterance("气", (Word("气", 0.8, 1.2),), 0.8, 1.2, "zh")


def test_a_word_behind_all_committed_ones_is_new_although_it_is_the_same() -> None:
    """Committed words without times had ended when they came; what begins later is new."""
    history = TranscriptHistory(POLICY)
    history.record(Utterance("please wait", language="en"), 2.0)
    trimmer = history.trimmer(0.0, 0.0, float, starts_mid_word=False)
    later = Utterance("wait", (Word("wait", 3.0, 3.4),), 3.0, 3.4, "en")
    assert trimmer.trim(later) is later
    trimmer.observe_final(later, later)
    assert not trimmer.open


def test_a_word_takes_in_no_neighbor() -> None:
    """ "brave" is like "brave 8" written as one, but repeats only "brave"."""
    history = committed_words(["alpha", "brave", "eight"], timed=False)
    trimmer = history.trimmer(0.0, 0.0, float, starts_mid_word=False)
    finals = [Utterance(text, language="en") for text in ("alpha", "brave", "eight ferry")]
    assert emitted(trimmer, finals) == ["ferry"]


@pytest.mark.parametrize("joined_first", [False, True])
@pytest.mark.parametrize(
    ("words", "joined"),
    [
        ("sixty billion dollars", "sixtybilloondollars"),
        ("twenty twenty", "twentyvwenty"),
        ("half past ten", "halfpestten"),
        ("Geschwindigkeits Begrenzungs Schild", "Geschwindigkeitsbegrenzungschild"),
    ],
)
def test_several_words_as_one_in_another_spelling(
    words: str, joined: str, joined_first: bool
) -> None:
    """A word is like as many of the other text as it may be made of, written as one."""
    told, heard = (joined, words) if joined_first else (words, joined)
    history = TranscriptHistory(POLICY)
    history.record(Utterance(f"hello {told}", language="en"), 5.0)
    trimmer = history.trimmer(0.0, 0.0, float, starts_mid_word=False)
    kept = trimmer.trim(Utterance(f"{heard} river", language="en"))
    assert kept is not None
    assert kept.text == "river"


def test_a_word_that_begins_with_a_committed_one_is_that_one() -> None:
    """Providers disagree more about where a word ends than about where it begins."""
    history = TranscriptHistory(POLICY)
    history.record(Utterance("advice", (Word("advice", 1.0, 1.46),), 1.0, 1.46, "en"), 2.0)
    for start, is_new in ((1.04, False), (1.2, True)):
        trimmer = history.trimmer(1.46, 0.0, float, starts_mid_word=False)
        spoken = (Word("results", start, 1.69),)
        kept = trimmer.trim(Utterance("results", spoken, start, 1.69, "en"))
        assert (kept is not None) is is_new


@pytest.mark.parametrize("alike", [False, True])
def test_the_work_grows_no_faster_than_the_texts(alike: bool) -> None:
    """Twice as many committed words, repeated in one final, are at most about twice the calls."""
    counts = []
    for size in (250, 500, 1000):
        words = ["five" if alike else f"{COMMITTED[k % 20]}{k // 20}x" for k in range(size)]
        history = TranscriptHistory(POLICY)
        history.record(Utterance(" ".join(words[-500:]), language="en"), 9.0)
        trimmer = history.trimmer(0.0, 0.0, float, starts_mid_word=False)
        calls = 0

        def count(_frame: object, _event: str, _argument: object) -> None:
            nonlocal calls
            calls += 1

        sys.setprofile(count)
        try:
            trimmer.trim(Utterance(" ".join(words), language="en"))
        finally:
            sys.setprofile(None)
        counts.append(calls)
    assert counts[1] < 2.3 * counts[0]
    assert counts[2] < 2.3 * counts[1]


def test_a_few_words_of_a_long_text_are_repeated() -> None:
    """The first finals of a long replay repeat its beginning, and the last one its end."""
    words = [f"{COMMITTED[k % 20]}{chr(97 + k // 20)}" for k in range(200)]
    history = TranscriptHistory(POLICY)
    history.record(Utterance(" ".join(words), language="en"), 9.0)
    trimmer = history.trimmer(0.0, 0.0, float, starts_mid_word=False)
    pieces = [words[:90], words[90:110], [*words[110:], "ferry"]]
    finals = [Utterance(" ".join(piece), language="en") for piece in pieces]
    assert emitted(trimmer, finals) == ["ferry"]


def test_times_tell_two_compounds_apart() -> None:
    """The same word in two pieces, two seconds later, is another one."""
    history = TranscriptHistory(POLICY)
    history.record(Utterance("longterm", (Word("longterm", 1.0, 1.5),), 1.0, 1.5, "en"), 9.0)
    history.record(Utterance("plan", language="en"), 9.0)
    trimmer = history.trimmer(0.5, 0.0, float, starts_mid_word=False)
    later = (Word("long", 4.0, 4.3), Word("term", 4.3, 4.7))
    utterance = Utterance("long term", later, 4.0, 4.7, "en")
    assert trimmer.trim(utterance) is utterance


def test_new_words_in_the_middle_of_the_committed_ones() -> None:
    """Words that new ones follow repeat committed ones up to the last, or none of them."""
    history = TranscriptHistory(POLICY)
    history.record(
        Utterance("hello this is Miguel I have a table at the Heron", language="en"), 5.5
    )
    trimmer = history.trimmer(5.0, 5.0, float, starts_mid_word=False)
    texts, starts = ["It", "is", "for", "Thursday", "evening"], [5.36, 5.5, 5.65, 6.1, 6.4]
    words = tuple(Word(t, s, s + 0.1) for t, s in zip(texts, starts, strict=True))
    utterance = Utterance(" ".join(texts), words, 5.36, 6.5, "en")
    assert trimmer.trim(utterance) is utterance
