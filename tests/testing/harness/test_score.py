"""A score counts exactly the differences between spoken and transcribed words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.agents import LanguageCode, stt
from livekit.agents.types import TimedString

from resilient_stt.testing.harness.score import Final, Score, score, written_words
from resilient_stt.testing.speech.languages import written
from resilient_stt.testing.speech.noise import join
from resilient_stt.testing.speech.reference import ReferenceSpeech, SpokenWord

ENGLISH = ReferenceSpeech.load()
MANDARIN = ReferenceSpeech.load("mandarin")


def words(text: str) -> list[SpokenWord]:
    """Return words of one second each, spoken without a pause."""
    return [SpokenWord(word, float(i), i + 1.0) for i, word in enumerate(text.split())]


def final(spoken: Sequence[SpokenWord], *, separator: str = " ", late: float = 0.3) -> Final:
    """Return a final with times, emitted `late` seconds after its last word."""
    text = separator.join(word.text for word in spoken)
    return Final(text, tuple(spoken), spoken[-1].end + late)


def untimed(text: str, at: float = 100.0) -> Final:
    """Return a final without times."""
    return Final(text, (), at)


def test_all_words_as_spoken_is_ok() -> None:
    """If each word comes once, in order, with its times, the score only has the delay."""
    finals = [final(ENGLISH.words[s.start : s.stop]) for s in ENGLISH.sentences]
    result = score(ENGLISH.words, finals)
    assert result.ok
    assert (result.words, result.lost, result.twice, result.fragments) == (70, 0, 0, 0)
    assert result.ts_err_max_s == 0
    assert result.late_max_s is not None
    first = ENGLISH.words[0]
    assert result.late_max_s == pytest.approx(finals[0].at - first.end)


def test_no_finals_lose_everything() -> None:
    """Without finals all words are lost, and no times are known."""
    result = score(words("one two"), [])
    assert result.lost_words == ("one", "two")
    assert result.ts_err_max_s is None
    assert result.late_max_s is None
    assert not result.ok
    assert score([], []).ok


def test_case_and_punctuation_do_not_matter() -> None:
    """Providers write the same words differently."""
    assert score(words("Hello, this is Miguel."), [untimed("hello this IS — miguel!")]).ok


def test_a_lost_word_is_named() -> None:
    """A word that is in no final is lost, and named as it is written."""
    result = score(words("a party of Four."), [untimed("a party of")])
    assert result.lost_words == ("Four.",)
    assert (result.twice, result.fragments, result.in_order) == (0, 0, True)


def test_a_repeated_word_is_twice() -> None:
    """A repeated word is counted as twice."""
    result = score(words("one two three"), [untimed("one two"), untimed("two three")])
    assert result.twice_words == ("two",)
    assert (result.lost, result.fragments, result.in_order) == (0, 0, True)


def test_a_word_never_spoken_is_a_fragment() -> None:
    """A clipped word is lost, and the text in its place is a fragment."""
    result = score(words("my reservation please"), [untimed("my vation please")])
    assert result.lost_words == ("reservation",)
    assert result.fragment_words == ("vation",)
    assert not result.ok


@pytest.mark.parametrize("said", range(6))
def test_spoken_repetitions_are_counted(said: int) -> None:
    """Of "no no no", each missing one is lost, and each additional one is twice."""
    result = score(words("well no no no thanks"), [untimed(f"well {'no ' * said}thanks")])
    assert (result.lost, result.twice) == (max(3 - said, 0), max(said - 3, 0))
    assert result.in_order


def test_the_lost_one_of_two_equal_words_is_found_by_time() -> None:
    """If the words alone do not show which one was lost, the times do."""
    spoken = words("is it or is")
    result = score(spoken, [final(spoken[1:])])
    assert result.lost_words == ("is",)
    assert result.ts_err_max_s == 0


def test_swapped_finals_are_out_of_order() -> None:
    """Words in another order are neither lost nor twice."""
    spoken = words("one two three four")
    result = score(spoken, [final(spoken[2:]), final(spoken[:2])])
    assert not result.in_order
    assert not result.ok
    assert (result.lost, result.twice, result.fragments) == (0, 0, 0)
    assert result.ts_err_max_s == 0


def test_a_word_lost_here_and_twice_there_is_not_out_of_order() -> None:
    """An equal word from elsewhere does not make up for a lost one."""
    spoken = words("is one two three is")
    again = Final("is", (spoken[4],), 5.5)
    result = score(spoken, [final(spoken[1:]), again])
    assert result.lost_words == ("is",)
    assert result.twice_words == ("is",)
    assert result.in_order


def test_wrong_times_are_measured_at_both_ends() -> None:
    """The greatest error of any start or end counts, in either direction."""
    spoken = words("one two")
    off = (SpokenWord("one", 0.1, 1.0), SpokenWord("two", 1.0, 1.75))
    assert score(spoken, [Final("one two", off, 3.0)]).ts_err_max_s == pytest.approx(0.25)


def test_words_that_do_not_fit_the_text_give_no_times() -> None:
    """Times are only used if their words add up to the text."""
    odd = Final("one two", (SpokenWord("one", 9.0, 9.5),), 3.0)
    result = score(words("one two"), [odd])
    assert result.ok
    assert result.ts_err_max_s is None


def test_lateness_is_that_of_the_latest_word() -> None:
    """The delay counts from the end of a word to the final that has it."""
    spoken = words("one two three")
    finals = [untimed("one", 1.5), untimed("two three", 3.25)]
    assert score(spoken, finals).late_max_s == pytest.approx(1.25)


class TestWithoutSpaces:
    def test_the_text_is_split_into_the_words_spoken(self) -> None:
        """A language without spaces is read as the words that were spoken."""
        assert score(MANDARIN.words, [final(MANDARIN.words, separator="")]).ok
        assert score(MANDARIN.words, [untimed(MANDARIN.text)]).ok
        spaced = " ".join(word.text for word in MANDARIN.words)
        assert score(MANDARIN.words, [untimed(spaced)]).ok

    def test_lost_twice_and_fragments(self) -> None:
        """Words without spaces are counted as lost, repeated and clipped like others."""
        result = score(MANDARIN.words[:4], [untimed("你好我我咦预订")])
        assert result.lost_words == ("想",)
        assert result.twice_words == ("我",)
        assert result.fragment_words == ("咦",)

    def test_the_rest_is_right_whatever_is_lost(self) -> None:
        """In a call that changes from English to Mandarin, any run of words may be missing."""
        spoken = join(ENGLISH.excerpt(7, 7), MANDARIN).words
        for first in range(len(spoken)):
            for last in range(first, len(spoken)):
                kept = [*spoken[:first], *spoken[last + 1 :]]
                result = score(spoken, [Final(written(kept), tuple(kept), 99.0)])
                lost = tuple(word.text for word in spoken[first : last + 1])
                assert result.lost_words == lost
                assert (result.twice, result.fragments, result.in_order) == (0, 0, True)
                assert not result.ts_err_max_s

    @pytest.mark.parametrize(
        ("text", "lost", "fragments"),
        [
            ("much, goodbye.你好，我", (), ()),
            ("much goodbye你好我", (), ()),
            ("much 咦你好goodbyes我", ("goodbye.",), ("咦", "goodbyes")),
            ("much goodbyek你我", ("goodbye.", "你好，"), ("goodbyek", "你")),
        ],
    )
    def test_scripts_need_no_space_between_them(
        self, text: str, lost: tuple[str, ...], fragments: tuple[str, ...]
    ) -> None:
        """A word with letters ends where Chinese begins, and never in the middle of letters."""
        spoken = join(ENGLISH.excerpt(7, 7), MANDARIN).words[3:7]
        result = score(spoken, [untimed(text)])
        assert (result.lost_words, result.fragment_words) == (lost, fragments)
        assert result.twice == 0

    def test_times_may_be_of_single_characters(self) -> None:
        """If a provider has times of characters, its words get these."""
        spoken = [SpokenWord("预订", 0.0, 1.0)]
        timed = (SpokenWord("预", 0.0, 0.5), SpokenWord("订", 0.5, 1.0))
        assert score(spoken, [Final("预订", timed, 2.0)]).ts_err_max_s == 0


class TestFromEvent:
    def test_takes_text_and_times(self) -> None:
        """LiveKit's event becomes a final with its words' times."""
        data = stt.SpeechData(
            LanguageCode("en"),
            "Hello, you.",
            words=[TimedString("hello", 0.5, 0.75), TimedString("you", 0.75, 1.0)],
        )
        event = stt.SpeechEvent(stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives=[data])
        expected = (SpokenWord("hello", 0.5, 0.75), SpokenWord("you", 0.75, 1.0))
        assert Final.from_event(event, at=2.0) == Final("Hello, you.", expected, 2.0)

    def test_times_may_be_missing(self) -> None:
        """Words without times, or none at all, give a final without words."""
        bare = stt.SpeechData(LanguageCode("en"), "Hello", words=[TimedString("Hello")])
        kind = stt.SpeechEventType.FINAL_TRANSCRIPT
        event = stt.SpeechEvent(kind, alternatives=[bare])
        assert Final.from_event(event, at=2.0) == Final("Hello", (), 2.0)
        assert Final.from_event(stt.SpeechEvent(kind), at=2.0) == Final("", (), 2.0)


def test_str_names_the_words() -> None:
    """The text of a failed assertion names the words."""
    result = score(words("one two three"), [untimed("one one tow three")])
    assert str(result) == "3 words, 1 lost (two), 1 twice (one), 1 fragment (tow), in order"


SENTENCE = st.lists(st.sampled_from(["no", "is", "one", "two", "three"]), min_size=1, max_size=12)


@given(SENTENCE, st.data())
def test_every_word_taken_out_is_lost(sentence: list[str], data: st.DataObject) -> None:
    """Whichever words are left out, exactly as many are lost and nothing else is wrong."""
    spoken = words(" ".join(sentence))
    kept = [word for word in spoken if data.draw(st.booleans())]
    result = score(spoken, [Final(w.text, (w,), w.end) for w in kept])
    assert result.lost == len(spoken) - len(kept)
    assert (result.twice, result.fragments, result.in_order) == (0, 0, True)
    assert not result.ts_err_max_s


@given(SENTENCE, st.data())
def test_every_word_repeated_is_twice(sentence: list[str], data: st.DataObject) -> None:
    """Whichever words come again at once, exactly as many are twice and nothing else is wrong."""
    spoken = words(" ".join(sentence))
    said = [word for word in spoken for _ in range(data.draw(st.integers(1, 3)))]
    result = score(spoken, [Final(w.text, (w,), w.end) for w in said])
    assert result.twice == len(said) - len(spoken)
    assert (result.lost, result.fragments, result.in_order) == (0, 0, True)


@given(SENTENCE, st.data())
def test_where_finals_are_divided_does_not_matter(sentence: list[str], data: st.DataObject) -> None:
    """Any division of the words into finals scores the same."""
    spoken = words(" ".join(sentence))
    at = data.draw(st.integers(0, len(spoken)))
    parts = [part for part in (spoken[:at], spoken[at:]) if part]
    assert score(spoken, [final(part) for part in parts]).ok


# --- accents


def english(text: str) -> list[SpokenWord]:
    return [replace(word, language="en") for word in words(text)]


def accented(spoken: str, *finals: str) -> Score:
    return score(english(spoken), [untimed(text) for text in finals], accents=True)


@pytest.mark.parametrize(
    "text",
    [
        "in 2020 it's a long term planet",
        "in 20-20 it is uh a longterm planet",
        "In 20 20, its a long-term planet um.",
        "in twenty twenty it is a long-term plapet",
    ],
)
def test_a_word_counts_in_each_of_its_forms(text: str) -> None:
    """With accents, numbers, contractions, compounds, spellings and fillers do not matter."""
    spoken = "in twenty twenty it is a long-term planet"
    assert accented(spoken, text).ok
    assert not score(english(spoken), [untimed(text)]).ok


def test_a_lost_word_is_lost_whatever_the_others_look_like() -> None:
    """A form of one word does not make up for another."""
    result = accented("in twenty twenty it is long-term", "in 2020 long term")
    assert result.lost_words == ("it", "is")
    assert (result.twice, result.fragments) == (0, 0)


def test_a_word_in_another_form_is_twice() -> None:
    """The same word again is a repetition, however it is written the second time."""
    result = accented("see U.K. and it is done", "see U.K. and", "u k and it's done")
    assert (result.lost, result.twice) == (0, 2)
    assert accented("we did not reorganize", "we reorganize", "reorga nize").lost == 2


def test_all_of_a_form_counts() -> None:
    """Of a form that is longer than another, no word is left over."""
    assert accented("sixty billion dollars now", "60 billion dollars now").ok


def test_words_that_are_written_as_one_may_repeat_the_first() -> None:
    """A word that joins a new one with the last one before is all that a provider wrote for it."""
    assert accented("the blue heron flies", "the blue", "blueheron flies").ok
    assert accented("the blue heron flies", "the blue", "heron flies").ok
    assert accented("the blue heron flies", "the blueheron", "heron flies").twice == 1
    assert accented("the blue heron flies", "the blue", "flies").lost == 1


def test_fillers_are_neither_lost_nor_twice() -> None:
    """A provider writes fillers or leaves them out."""
    assert accented("um well uh yes", "well yes").ok
    assert accented("um well uh yes", "um um well uh um yes").ok
    assert not score(english("um well"), [untimed("well")]).ok


def test_the_spoken_repetitions_of_varied_words_count() -> None:
    """Of "nine nine", each may be written in its own way, and each must come."""
    assert accented("nine nine four", "9 nine four").ok
    assert accented("nine nine four", "9 four").lost == 1
    assert accented("nine nine four", "9 nine 9 four").twice == 1


def test_lost_words_at_the_end() -> None:
    """Words after the last one that came are lost, but not before the last."""
    result = accented("one two three four", "one three")
    assert result.lost_words == ("two", "four")
    assert result.lost_before_last == ("two",)


def test_written_words() -> None:
    """The words of a text are found in any form, without fillers and unknown words."""
    spoken = english("um nine hundred table")
    assert written_words(spoken, "um 9 lamp Table") == {"nine", "table"}
