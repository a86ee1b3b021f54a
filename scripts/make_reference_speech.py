"""Speak the reference recordings that ship with `resilient_stt.testing`.

Run `python scripts/make_reference_speech.py [DIRECTORY]` with libespeak-ng installed (Debian:
`espeak-ng`). It writes `<name>.flac` (16 kHz mono) and `<name>.json` (the word times) to DIRECTORY,
by default `resilient_stt/testing/data`. The same version of espeak-ng gives the same bytes again;
the shipped files are from 1.51.

The word times come from the synthesizer's events, not from an alignment: a word begins where its
event says, and ends where the next word or the next pause phoneme begins.
"""

from __future__ import annotations

import ctypes
import io
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).parent.parent / "resilient_stt" / "testing" / "data"
RATE = 16_000
VOLUME = 70
"""The volume of espeak-ng in percent. At its default some voices clip."""
PEAK = 16_000
"""The loudest sample of a recording."""
DITHER = 3
"""The amplitude of the uniform noise that is added, in samples. It is inaudible and makes every
moment of a recording unique, so that the fake providers can find it."""

# From espeak-ng's speak_lib.h.
_SYNCHRONOUS, _CHARS_UTF8, _PHONEME_EVENTS = 2, 1, 1
_PARAMETER_RATE, _PARAMETER_VOLUME, _PARAMETER_PITCH = 1, 2, 3
_EVENT_END, _EVENT_WORD, _EVENT_PHONEME = 0, 1, 7


@dataclass(frozen=True)
class Script:
    """A recording to make.

    Attributes:
        name: The name of its files.
        language: Its BCP 47 tag.
        voice, speed, pitch: Parameters of espeak-ng; the speed is in words per minute.
        seed: The seed of the dither.
        sentences: The sentences, each with the seconds of the pause after it.
        readings: What espeak-ng is given instead of each sentence, with a reading for each word.
            Needed where it reads a script badly: 1.51 spells Chinese characters out in English,
            but reads pinyin well.
        lead: Seconds of silence before the first sentence.
    """

    name: str
    language: str
    voice: str
    speed: int
    pitch: int
    seed: int
    sentences: tuple[tuple[str, float], ...]
    readings: tuple[str, ...] = ()
    lead: float = 0.4


SCRIPTS = (
    Script(
        name="english",
        language="en-US",
        voice="en-us",
        speed=160,
        pitch=50,
        seed=1,
        sentences=(
            ("Hello, this is Miguel Santos, I have a reservation at the Blue Heron.", 0.8),
            ("It is for Thursday evening, a quiet table for four.", 0.3),
            ("Could you please move it to Saturday?", 1.2),
            ("No no no, not Sunday, I said Saturday.", 0.6),
            ("One guest is vegetarian, and Charlotte is allergic to peanuts.", 1.0),
            ("We would also like to sit beside the window.", 0.5),
            ("My number is nine four four, seven two.", 0.9),
            ("Thank you very much, goodbye.", 0.8),
        ),
    ),
    Script(
        name="spanish",
        language="es",
        voice="es-419",
        speed=180,
        pitch=50,
        seed=2,
        sentences=(
            ("Buenas tardes, quisiera reservar una mesa para cuatro personas.", 0.7),
            ("Mi nombre es Lucía Fernández y llegamos el viernes.", 0.9),
            ("No no, mejor el sábado, muchas gracias.", 0.8),
        ),
    ),
    Script(
        name="mandarin",
        language="zh",
        voice="cmn-latn-pinyin",
        speed=180,
        pitch=50,
        seed=3,
        sentences=(
            ("你好， 我 想 预订 一张 桌子， 我 姓 王。", 0.7),
            ("我们 一共 四个 人， 星期六 晚上 七点 到。", 0.9),
            ("请 安排 安静 的 座位， 谢谢。", 0.8),
        ),
        readings=(
            "ni3hao3, wo3 xiang3 yu4ding4 yi4zhang1 zhuo1zi5, wo3 xing4 wang2.",
            "wo3men5 yi2gong4 si4ge4 ren2, xing1qi1liu4 wan3shang5 qi1dian3 dao4.",
            "qing3 an1pai2 an1jing4 de5 zuo4wei4, xie4xie5.",
        ),
    ),
)


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """`espeak_EVENT`. Positions in the text count characters from 1."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True)
class Mark:
    """A word or phoneme event, `seconds` after the start of the sentence."""

    is_word: bool
    text_position: int
    seconds: float
    phoneme: str


class Synthesizer:
    """espeak-ng in retrieval mode: it returns the samples and events of one text at a time."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libespeak-ng.so.1")
        self.rate: int = self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS)
        self._blocks: list[NDArray[np.int16]] = []
        self._marks: list[Mark] = []
        # espeak keeps a pointer to the callback, so it must not be freed.
        self._callback = _CALLBACK(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        number = 0
        while events[number].type != _EVENT_END:
            event = events[number]
            number += 1
            if event.type in (_EVENT_WORD, _EVENT_PHONEME):
                is_word = event.type == _EVENT_WORD
                phoneme = "" if is_word else event.id.string.decode()
                seconds = event.sample / self.rate
                self._marks.append(Mark(is_word, event.text_position, seconds, phoneme))
        return 0

    def say(self, text: str, script: Script) -> tuple[NDArray[np.int16], list[Mark]]:
        """Return the samples at `self.rate` and the events of one sentence."""
        self._blocks, self._marks = [], []
        if self._library.espeak_SetVoiceByName(script.voice.encode()) != 0:
            raise SystemExit(f"espeak-ng has no voice {script.voice!r}")
        self._library.espeak_SetParameter(_PARAMETER_RATE, script.speed, 0)
        self._library.espeak_SetParameter(_PARAMETER_VOLUME, VOLUME, 0)
        self._library.espeak_SetParameter(_PARAMETER_PITCH, script.pitch, 0)
        data = text.encode()
        self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, _CHARS_UTF8, None, None)
        return np.concatenate(self._blocks), self._marks


def word_times(words: list[str], marks: list[Mark]) -> list[tuple[float, float]]:
    """Return the start and end of each word: its event, and the next word or pause after it."""
    times = []
    position = 1
    for word in words:
        following = position + len(word)
        of_word = [m for m in marks if m.is_word and position <= m.text_position < following]
        if not of_word:
            raise SystemExit(f"espeak-ng joins {word!r} with its neighbor; reword the sentence")
        start = of_word[0].seconds
        end = min(
            m.seconds
            for m in marks
            if m.seconds > of_word[-1].seconds
            and ((m.is_word and m.text_position >= following) or m.phoneme.startswith("_"))
        )
        times.append((start, end))
        position = following + len(" ")
    return times


def resample(samples: NDArray[np.int16], rate: int) -> NDArray[np.int16]:
    """Resample one sentence to `RATE` through its spectrum; soxr would add a random dither."""
    shared = math.gcd(rate, RATE)
    blocks = (
        -(-len(samples) // (rate // shared)) + 1
    )  # a block of silence, because the spectrum wraps around
    spectrum = np.fft.rfft(samples, blocks * (rate // shared))
    kept = blocks * (RATE // shared)
    resampled = np.fft.irfft(spectrum[: kept // 2 + 1], kept) * (RATE / rate)
    return np.asarray(np.rint(resampled.clip(-32768, 32767)), np.int16)


def silence(seconds: float) -> NDArray[np.int16]:
    """Return digital silence; the dither is added to the whole recording at the end."""
    return np.zeros(round(seconds * RATE), np.int16)


def with_dither(samples: NDArray[np.int16], seed: int) -> NDArray[np.int16]:
    """Scale the loudest sample to `PEAK` and add the noise that makes every 20 ms unique."""
    scaled = np.rint(samples.astype(np.float64) * (PEAK / np.abs(samples).max()))
    noise = np.random.default_rng(seed).integers(-DITHER, DITHER + 1, len(samples))
    return np.asarray(scaled + noise, np.int16)


def record(script: Script, synthesizer: Synthesizer) -> tuple[NDArray[np.int16], dict[str, Any]]:
    """Speak a script. Return the recording and the description that is stored beside it."""
    parts = [silence(script.lead)]
    words: list[dict[str, Any]] = []
    sentences: list[list[int]] = []
    position = len(parts[0])
    readings = script.readings or tuple(text for text, _ in script.sentences)
    for (text, pause), reading in zip(script.sentences, readings, strict=True):
        spelled = text.split(" ")
        spoken, marks = synthesizer.say(reading, script)
        times = word_times(reading.split(" "), marks)
        samples = resample(spoken, synthesizer.rate)[: round(times[-1][1] * RATE)]
        sentences.append([len(words), len(words) + len(spelled)])
        for word, (start, end) in zip(spelled, times, strict=True):
            begin, finish = position + round(start * RATE), position + round(end * RATE)
            words.append({"text": word, "start": begin / RATE, "end": finish / RATE})
        parts += [samples, silence(pause)]
        position += len(samples) + len(parts[-1])
    about = {
        "language": script.language,
        "sentences": sentences,
        "words": words,
    }
    return with_dither(np.concatenate(parts), script.seed), about


def flac(samples: NDArray[np.int16]) -> bytes:
    """Encode losslessly, without the tags that name the version of the encoder."""
    target = io.BytesIO()
    with av.open(target, "w", format="flac", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono")
        stream.codec_context.format = "s16"
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
        frame.sample_rate = RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return target.getvalue()


def description(about: dict[str, Any]) -> str:
    """Return the description as JSON, a word on each line, so that diffs are readable."""
    words = ",\n    ".join(json.dumps(word, ensure_ascii=False) for word in about["words"])
    rest = {key: value for key, value in about.items() if key != "words"}
    head = json.dumps(rest, ensure_ascii=False)[1:-1].replace(', "sent', ',\n  "sent')
    return f'{{\n  {head},\n  "words": [\n    {words}\n  ]\n}}\n'


def main(directory: Path) -> None:
    """Write all recordings."""
    directory.mkdir(parents=True, exist_ok=True)
    synthesizer = Synthesizer()
    for script in SCRIPTS:
        samples, about = record(script, synthesizer)
        (directory / f"{script.name}.flac").write_bytes(flac(samples))
        (directory / f"{script.name}.json").write_text(description(about), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA)
