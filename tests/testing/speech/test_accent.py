"""Accents: providers that write and time the same words differently, and a judge that knows how."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.testing.harness.score import Final, score
from resilient_stt.testing.speech.accent import Accent
from resilient_stt.testing.speech.languages import base, written
from resilient_stt.testing.speech.recognizer import HeardWord
from resilient_stt.testing.speech.reference import ReferenceSpeech, SpokenWord
from resilient_stt.testing.speech.written_forms import Form, forms, phrases, tokens

RECORDINGS = [ReferenceSpeech.load(name) for name in ReferenceSpeech.names()]
ENGLISH = RECORDINGS[0]
EVERYTHING = Accent(
    variants=1.0, spellings=0.3, joins=0.3, splits=0.3, substitutions=0.2, added_fillers=1.0
)


def heard(words: Iterable[SpokenWord], first: int = 0) -> list[HeardWord]:
    """Return words as a connection heard them, numbered from `first` on."""
    return [
        HeardWord("speech", n, w.text, w.start, w.end, True, True, base(w.language or "en"))
        for n, w in enumerate(words, start=first)
    ]


def said(text: str) -> list[HeardWord]:
    """Return words of 0.4 s, spoken without a pause."""
    return heard(SpokenWord(w, 0.4 * n, 0.4 * n + 0.4) for n, w in enumerate(text.split()))


def text_of(words: Sequence[HeardWord]) -> str:
    return written(words)


def final(words: Sequence[HeardWord]) -> Final:
    timed = tuple(SpokenWord(w.text, w.start, w.end) for w in words)
    return Final(written(words), timed, words[-1].end + 0.3)


@pytest.mark.parametrize("speech", RECORDINGS, ids=lambda speech: speech.name)
def test_no_accent_writes_what_was_spoken(speech: ReferenceSpeech) -> None:
    """Without arguments nothing changes, neither a letter nor a time."""
    words = heard(speech.words)
    assert Accent().write(words) == words


@pytest.mark.parametrize("speech", RECORDINGS, ids=lambda speech: speech.name)
@pytest.mark.parametrize("seed", range(12))
def test_the_score_knows_everything_that_an_accent_writes(
    speech: ReferenceSpeech, seed: int
) -> None:
    """However the words are written, in whatever finals, none is lost, repeated or unknown."""
    accents = (Accent.drawn(seed), replace(EVERYTHING, seed=seed, jitter=0.05, shift=0.02))
    for accent in accents:
        finals = [
            final(accent.write(heard(speech.words[s.start : s.stop], s.start)))
            for s in speech.sentences
        ]
        result = score(speech.words, finals, accents=True)
        assert result.ok, f"{result} in {[f.text for f in finals]}"
        assert result.ts_err_max_s is not None
        assert result.ts_err_max_s <= accent.time_error + 1e-9


def test_connections_of_one_provider_write_alike() -> None:
    """What is written for a sentence does not depend on what the connection heard before it."""
    for seed in range(20):
        accent = Accent.drawn(seed)
        words = heard(ENGLISH.words)
        whole = accent.write(words)
        for sentence in ENGLISH.sentences[1:]:
            alone = accent.write(words[sentence.start :])
            assert alone[1:] == whole[len(whole) - len(alone) + 1 :]  # a filler needs a word before


def test_providers_disagree_on_some_words() -> None:
    """Two drawn accents write most words alike, as real recognizers do, and some differently."""
    words = heard(ENGLISH.words)
    drawn = [tokens(text_of(Accent.drawn(seed).write(words))) for seed in range(16)]
    shares = [
        len({*enumerate_words(one)} & {*enumerate_words(other)}) / len(one)
        for one, other in combinations(drawn, 2)
    ]
    assert 0.8 < sum(shares) / len(shares) < 0.98
    assert min(shares) < 0.9


def enumerate_words(texts: Sequence[str]) -> list[tuple[str, int]]:
    """Return each word with a number that tells equal ones apart."""
    return [(text, texts[:n].count(text)) for n, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("accent", "spoken", "expected"),
    [
        (Accent(variants=1.0), "It is five", "It's 5"),
        (Accent(variants=1.0), "I, have it", "I, have it"),
        (Accent(variants=1.0), "the third.", "the 3rd."),
        (Accent(joins=1.0), "blue heron now", "blueheron now"),
        (Accent(splits=1.0), "my reservation", "my reser vation"),
        (Accent(spellings=1.0), "my dinner", "my dinper"),
        (Accent(casing="lower", punctuates=False), "Hello, Sir.", "hello sir"),
        (Accent(dropped_fillers=1.0), "um yes uh", "yes"),
    ],
)
def test_forms(accent: Accent, spoken: str, expected: str) -> None:
    """Each kind of difference, alone."""
    assert text_of(accent.write(said(spoken))) == expected


def test_another_word_is_always_the_same_word() -> None:
    """A misheard word is not similar, the same at each place, and in the script of its language."""
    accent = Accent(substitutions=1.0)
    first, again = (text_of(accent.write(said(text))) for text in ("table", "table"))
    assert first == again
    assert first not in ("table", "")
    (word,) = accent.write([replace(said("桌子")[0], language="zh")])
    assert len(word.text) == 2
    assert word.text != "桌子"


def test_fillers_are_added_in_short_gaps_only() -> None:
    """A recognizer hears a filler between two words, and neither in a pause nor without a gap."""
    accent = Accent(added_fillers=1.0)
    gaps = [0.0, 0.2, 2.0]
    at, spoken = 0.0, []
    for gap in [0.0, *gaps]:
        spoken.append(SpokenWord("so", at + gap, at + gap + 0.3))
        at += gap + 0.3
    shown = [word.text for word in accent.write(heard(spoken))]
    assert len(shown) == 5
    assert shown[2] in ("um", "uh")


def test_fragments_are_written_as_they_are() -> None:
    """What a provider makes of a part of a word has no other form, but times of its own."""
    torn = replace(said("reservation")[0], text="vation", whole=False)
    (shown,) = replace(EVERYTHING, casing="lower", shift=0.1).write([torn])
    assert shown.text == "vation"
    assert shown.start == pytest.approx(torn.start + 0.1)


@given(st.integers(0, 10**6), st.sampled_from(RECORDINGS))
def test_times(seed: int, speech: ReferenceSpeech) -> None:
    """Starts are in order, no word ends before it starts, and no word begins before the audio."""
    shown = replace(EVERYTHING, seed=seed, shift=-0.5, jitter=0.2).write(heard(speech.words))
    assert all(word.end > word.start >= 0.0 for word in shown)
    assert all(one.start <= other.start for one, other in pairwise(shown))


def test_text_that_is_not_complete_stays_as_it_is() -> None:
    """If more words follow, what is written so far is the beginning of what is written then."""
    words = heard(ENGLISH.words)
    for seed in range(6):
        accent = replace(EVERYTHING, seed=seed)
        whole = accent.write(words)
        for count in range(len(words)):
            part = accent.write(words[:count], complete=False)
            assert part == whole[: len(part)]
            assert len(part) >= count - 12


@pytest.mark.parametrize(
    "wrong",
    [{"variants": 1.5}, {"joins": -0.1}, {"jitter": -1.0}, {"pause": 0.0}, {"max_words": 0}],
)
def test_impossible_accents(wrong: dict[str, float]) -> None:
    """A share is from 0 to 1, and the rest is not negative."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Accent(**wrong)  # type: ignore[arg-type]


def test_no_two_words_of_a_recording_share_a_form() -> None:
    """A form of a word is not a form of another word, so what was written can be traced."""
    for speech in RECORDINGS:
        words = sorted({(tokens(word.text), word.text) for word in speech.words})
        shown = {
            spoken: {tokens(form.text) for form in forms([text], speech.language)} | {spoken}
            for spoken, text in words
        }
        for one, other in combinations(shown, 2):
            assert not shown[one] & shown[other], (one, other)


def test_every_phrase_has_another_form() -> None:
    """The phrases that are spoken in simulated calls can be written in another way."""
    for phrase in phrases("en"):
        others = [form for form in forms([phrase], "en") if form.difference == "variants"]
        assert others, phrase
        assert all(isinstance(form, Form) and form.length == 1 for form in others)
        assert all(form.text.lower() != phrase.lower() for form in others)
