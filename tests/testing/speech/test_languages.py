"""Each connection knows its language: the real plugins with the fake servers, in three
languages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import aiohttp
import pytest
from livekit.agents import stt

from resilient_stt.testing import (
    FakeCartesia,
    FakeDeepgram,
    Garbage,
    Played,
    ReferenceSpeech,
    join,
    play,
)
from resilient_stt.testing.speech.languages import (
    _STRANGE,
    _STRANGEST,
    base,
    misheard,
    spaced,
    written,
)
from resilient_stt.testing.speech.recognizer import AudioRecognizer, HeardWord
from resilient_stt.testing.speech.reference import SpokenWord, plain

FINAL = stt.SpeechEventType.FINAL_TRANSCRIPT
ENGLISH, SPANISH, MANDARIN = (
    ReferenceSpeech.load(name) for name in ("english", "spanish", "mandarin")
)
SHIPPED = (ENGLISH, SPANISH, MANDARIN)
SPELLED = {plain(word.text) for speech in SHIPPED for word in speech.words}
HAN = {letter for word in MANDARIN.words for letter in plain(word.text)}

virtual = pytest.mark.stt_virtual_time


async def played(
    server: FakeCartesia | FakeDeepgram, speech: ReferenceSpeech, **options: object
) -> Played:
    """Play speech to the published plugin with these options."""
    async with server, aiohttp.ClientSession() as http:
        return await play(server.stt(http_session=http, **options), speech.padded(1.0))


async def recognized(
    server: FakeDeepgram, speech: ReferenceSpeech, **options: object
) -> tuple[str, str]:
    """The text and the language of the plugin's `recognize`."""
    async with server, aiohttp.ClientSession() as http:
        plugin = server.stt(http_session=http, **options)
        event = await plugin.recognize(list(speech.frames()))
    (data,) = event.alternatives
    return data.text, str(data.language)


def languages(result: Played) -> list[str]:
    """The language that each final reports."""
    events = (event for _, event in result.events if event.type is FINAL)
    return [str(event.alternatives[0].language) for event in events]


def assert_wrong(result: Played, *, timed: bool = True) -> None:
    """No word is right, but there are as many, at the times of those spoken."""
    assert result.error is None
    assert (result.score.lost, result.score.twice) == (result.score.words, 0)
    assert result.score.fragments >= result.score.words
    if timed:
        said = [word for final in result.finals for word in final.words]
        for wrong, right in zip(said, result.speech.words, strict=True):
            assert (wrong.start, wrong.end) == pytest.approx((right.start, right.end), abs=0.02)


@virtual
class TestOneLanguage:
    @pytest.mark.parametrize(
        ("speech", "language"),
        [(SPANISH, "es"), (SPANISH, "es-MX"), (MANDARIN, "zh"), (MANDARIN, "zh-CN")],
        ids=["es", "es-MX", "zh", "zh-CN"],
    )
    @pytest.mark.parametrize("provider", [FakeCartesia, FakeDeepgram])
    async def test_the_right_one_gives_the_words(
        self, provider: type[FakeCartesia | FakeDeepgram], speech: ReferenceSpeech, language: str
    ) -> None:
        """A region does not matter; text, order and times are those of the recording."""
        result = await played(provider(), speech, language=language)
        assert result.score.ok, str(result.score)
        assert result.score.ts_err_max_s == pytest.approx(0, abs=0.02)

    @pytest.mark.parametrize(
        ("speech", "language"),
        [(SPANISH, "en"), (SPANISH, "zh"), (MANDARIN, "en"), (MANDARIN, "es"), (ENGLISH, "zh")],
        ids=["Spanish as en", "Spanish as zh", "Mandarin as en", "Mandarin as es", "English as zh"],
    )
    @pytest.mark.parametrize("provider", [FakeCartesia, FakeDeepgram])
    async def test_another_one_gives_wrong_words(
        self, provider: type[FakeCartesia | FakeDeepgram], speech: ReferenceSpeech, language: str
    ) -> None:
        """Each spoken word gives a word, but never the right one."""
        assert_wrong(await played(provider(), speech, language=language))

    @pytest.mark.parametrize("provider", [FakeCartesia, FakeDeepgram])
    async def test_none_is_english(self, provider: type[FakeCartesia | FakeDeepgram]) -> None:
        """A connection without a language knows English."""
        assert_wrong(await played(provider(), SPANISH))
        assert (await played(provider(), ENGLISH.excerpt(0, 1))).score.ok


@virtual
class TestMulti:
    @pytest.mark.parametrize("model", ["nova-3", "nova-2-general"])
    async def test_spanish_is_recognized_and_reported(self, model: str) -> None:
        """Both models know Spanish, and each final has that language."""
        result = await played(FakeDeepgram(), SPANISH, language="multi", model=model)
        assert result.score.ok, str(result.score)
        assert set(languages(result)) == {"es"}

    async def test_mandarin_is_not_in_it(self) -> None:
        """Deepgram's multi has no Chinese, and recognizes it as wrong words of another language."""
        result = await played(FakeDeepgram(), MANDARIN, language="multi")
        assert_wrong(result)
        assert set(languages(result)) == {"en"}

    async def test_other_models_have_none(self) -> None:
        """A model without `multi` refuses the connection."""
        result = await played(FakeDeepgram(), SPANISH, language="multi", model="base")
        assert "400" in str(result.error)

    async def test_the_language_of_most_words_comes_first(self) -> None:
        """A final with words in two languages names both."""
        speech = join(ENGLISH.excerpt(7, 7), SPANISH.excerpt(2, 2))  # 5 and 7 words
        server = FakeDeepgram()
        text, _ = await recognized(server, speech, language="multi")
        assert text == speech.text
        (channel,) = server.connections[0].sent[0].message["results"]["channels"]
        (alternative,) = channel["alternatives"]
        assert alternative["languages"] == ["es", "en"]
        assert [word["language"] for word in alternative["words"]] == ["en"] * 5 + ["es"] * 7

    async def test_an_empty_list_of_languages_loses_the_transcript(self) -> None:
        """With `Garbage("no_languages")`, the plugin loses the transcript and goes on."""
        faulty = FakeDeepgram(faults=[Garbage("no_languages", until=6.0)])
        result = await played(faulty, SPANISH, language="multi")
        assert result.error is None
        assert 0 < result.score.lost < result.score.words
        harmless = FakeDeepgram(faults=[Garbage("no_languages")])
        assert (await played(harmless, SPANISH, language="es")).score.ok


@virtual
class TestMixed:
    speech = join(ENGLISH.excerpt(0, 1), SPANISH.excerpt(0, 1), ENGLISH.excerpt(7, 7))

    async def test_multi_follows_the_speaker(self) -> None:
        """All words of both languages come, and the language of the finals follows the speaker."""
        result = await played(FakeDeepgram(), self.speech, language="multi")
        assert result.score.ok, str(result.score)
        changes = [language for language, _ in groupby(languages(result))]
        assert changes == ["en", "es", "en"]

    async def test_one_language_hears_its_part(self) -> None:
        """Each language's connection gets its own part right, and the others wrong."""
        result = await played(FakeDeepgram(), self.speech, language="es")
        assert result.score.lost == 23 + 5
        result = await played(FakeCartesia(), self.speech, language="en")
        assert result.score.lost == 18

    @pytest.mark.parametrize("corpus", [None, "joined"])
    async def test_english_that_becomes_mandarin(self, corpus: str | None) -> None:
        """A call whose second half is written without spaces, as one recording or as two."""
        speech = join(ENGLISH.excerpt(7, 7), MANDARIN.excerpt(0, 1))
        servers = [FakeDeepgram(corpus=[speech] if corpus else None) for _ in range(2)]
        result = await played(servers[0], speech, language="zh")
        assert result.score.lost_words == ("Thank", "you", "very", "much,", "goodbye.")
        assert result.score.ts_err_max_s == pytest.approx(0, abs=0.02)
        result = await played(servers[1], speech, language="en")
        assert result.score.lost == len(speech.words) - 5


@virtual
class TestInk2:
    async def test_knows_english_alone(self) -> None:
        """The server knows only English, whatever the plugin's language, which is not sent."""
        result = await played(FakeCartesia(), SPANISH, model="ink-2", language="es")
        assert_wrong(result, timed=False)

    async def test_knows_the_languages_of_the_option(self) -> None:
        """With `turn_languages` the server knows several languages, without being told which is
        spoken."""
        server = FakeCartesia(turn_languages=("en", "fr", "hi", "ja", "es"))
        result = await played(server, TestMixed.speech, model="ink-2")
        assert result.score.ok, str(result.score)


@virtual
class TestBatch:
    @pytest.mark.parametrize("speech", SHIPPED, ids=lambda speech: speech.name)
    async def test_detects(self, speech: ReferenceSpeech) -> None:
        """With `detect_language` the server finds the language, and knows it."""
        found = await recognized(FakeDeepgram(), speech, detect_language=True)
        assert found == (speech.text, base(speech.language))

    async def test_detects_one(self) -> None:
        """In a mixed recording it finds the language of most words, and gets the others wrong."""
        speech = join(ENGLISH.excerpt(7, 7), SPANISH.excerpt(2, 2))
        text, language = await recognized(FakeDeepgram(), speech, detect_language=True)
        assert language == "es"
        assert text.endswith(SPANISH.excerpt(2, 2).text)
        assert not SPELLED & {plain(word) for word in text.split()[:5]}

    async def test_a_wrong_language_gives_wrong_words(self) -> None:
        """Another language gives wrong words, as over a websocket."""
        text, _ = await recognized(FakeDeepgram(), SPANISH, language="en")
        assert len(text.split()) == 25
        assert not SPELLED & {plain(word) for word in text.split()}
        right, _ = await recognized(FakeDeepgram(), SPANISH, language="es-419")
        assert right == SPANISH.text


def heard(speech: ReferenceSpeech, languages: Sequence[str], step: int = 320) -> list[HeardWord]:
    hearing = AudioRecognizer(languages=languages)
    pcm = speech.samples.tobytes()
    words = [w for at in range(0, len(pcm), step) for w in hearing.feed(pcm[at : at + step])]
    return words + hearing.finish()


class TestMisheard:
    @pytest.mark.parametrize("language", [*_STRANGE, "xx"])
    def test_nothing_strange_is_in_a_recording(self, language: str) -> None:
        """No strange word, and in Chinese none of its characters, is in a recording."""
        words = _STRANGE.get(language, _STRANGEST).split()
        assert len(set(words)) == len(words) >= 10
        assert not SPELLED & set(words)
        assert not HAN & {letter for word in words for letter in word}
        assert all(plain(word) == word for word in words)

    def test_is_the_same_every_time(self) -> None:
        """A word is always misheard as the same word, and other words as other ones."""
        assert [w.text for w in heard(SPANISH, ["en"])] == [w.text for w in heard(SPANISH, ["en"])]
        assert len({w.text for w in heard(SPANISH, ["en"])}) > 8

    def test_is_in_the_language_of_the_listener(self) -> None:
        """The wrong word is in the first language that the recognizer knows."""
        words = heard(SPANISH.excerpt(0, 0), ["zh", "en"])
        assert {w.language for w in words} == {"zh"}
        assert " " not in written(words)
        assert not any(w.known for w in words)
        assert all(w.whole for w in words)

    def test_a_part_is_misheard_in_another_way(self) -> None:
        """A part of a word is misheard as another word than the whole."""
        word = SPANISH.words[2]  # quisiera
        end = round((word.start + word.end) / 2 * 16_000)
        hearing = AudioRecognizer(languages=["en"])
        start = round(word.start * 16_000)
        words = hearing.feed(SPANISH.samples[start:end].tobytes()) + hearing.finish()
        (half,) = words
        assert not half.whole
        assert half.text in _STRANGE["en"].split()

    def test_never_becomes_a_word_that_may_be_spoken(self) -> None:
        """A misheard word is never one of the words that may be spoken."""
        assert misheard("hola", "en", set(_STRANGE["en"].split())) not in _STRANGE["en"].split()


@pytest.mark.parametrize(
    ("tag", "subtag"),
    [("es-MX", "es"), ("es_MX", "es"), ("ZH-Hant-TW", "zh"), ("cmn", "zh"), ("multi", "multi")],
)
def test_base(tag: str, subtag: str) -> None:
    """Regions, scripts and case do not matter; Mandarin's own subtag is Chinese."""
    assert base(tag) == subtag


def test_written_has_spaces_where_a_language_has_them() -> None:
    """None inside Chinese or Japanese, one at each change to a language that has them."""
    words = [("Hi", "en-US"), ("你", "zh"), ("好", "zh-Hant"), ("ok", "en"), ("you", "")]
    text = written([SpokenWord(word, 0, 0, language) for word, language in words])
    assert text == "Hi 你好 ok you"
    assert written([]) == ""
    assert not spaced("ja-JP")
