"""Languages in the protocols: their tags, how they are written, and how unknown words are misheard.

A language is the base subtag of its BCP 47 tag here, in small letters: `es` for `es-MX`.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from typing import Protocol

from ...core.transcript.tokens import SPACELESS_LANGUAGES

MULTIPLE = "mul"
"""ISO 639-2: the language of a recording in several languages."""

# None of these words is in a shipped recording. Of the Chinese ones, not even a character is.
_STRANGE = {
    "en": "lamp river under paper blanket only market yellow finger orange carry winter",
    "es": "camisa puente lejos verde zapato nunca cocina lluvia hermano cuchara piedra sombra",
    "zh": "苹果 河流 黄色 雨伞 马路 冬天 蓝天 书包 石头 火车 鸟叫 米饭",
    "fr": "chaise fleuve jamais jaune parapluie souvent fromage oreille hiver pomme",
    "de": "lampe niemals gelb regen schuhe winter apfel unter fenster wolke",
    "pt": "ponte sapato nunca chuva cozinha amarelo pedra inverno janela folha",
    "it": "ponte scarpa mai pioggia cucina giallo pietra inverno foglia sempre",
    "nl": "brug schoen nooit regen keuken geel steen winter appel onder",
    "ru": "мост сапог никогда дождь кухня камень зима яблоко облако лист",
    "ja": "りんご かさ きいろ くつ あめ いし ふゆ くも はし まど",
    "hi": "पुल जूता बारिश रसोई पीला पत्थर सर्दी सेब बादल पत्ता",
    "ko": "다리 신발 절대 부엌 노란 돌멩이 겨울 사과 구름 나뭇잎",
}
_STRANGEST = "lamo teri suna koba neli paru mido vosa rilu haki"


class Written(Protocol):
    """A word in a language; the language is empty if it is not known."""

    @property
    def text(self) -> str: ...

    @property
    def language(self) -> str: ...


def base(tag: str) -> str:
    """Return the base subtag of a BCP 47 tag, in small letters. Mandarin's `cmn` becomes `zh`."""
    subtag = tag.replace("_", "-").partition("-")[0].lower()
    return "zh" if subtag == "cmn" else subtag


def spaced(tag: str) -> bool:
    """Return whether a language puts spaces between its words."""
    return base(tag) not in SPACELESS_LANGUAGES


def written(words: Sequence[Written]) -> str:
    """Join words, with spaces where their languages have them."""
    text = ""
    for index, word in enumerate(words):
        joint = index and (spaced(word.language) or spaced(words[index - 1].language))
        text += f" {word.text}" if joint else word.text
    return text


def misheard(text: str, language: str, spelled: Collection[str]) -> str:
    """Return the word that a recognizer that only knows `language` takes a word for; always the
    same.

    Args:
        text: The word, or the part of it that was received.
        language: Base subtag.
        spelled: Words, without case and punctuation, that must not be returned.
    """
    words = _STRANGE.get(language, _STRANGEST).split()
    word = words[zlib.crc32(f"{language}:{text}".encode()) % len(words)]
    while word in spelled:
        word += word[-1]
    return word
