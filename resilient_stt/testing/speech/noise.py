"""Recordings without words that a voice detector takes for speech, and joining them with speech.

A noise lasts as many seconds as asked for, is the same for the same seed, and is played like any
other recording: `play(stt, join(sentence, coughs(60), sentence))`. No noise contains samples of a
shipped recording, so no fake recognizer finds a word in it.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .reference import SAMPLE_RATE, ReferenceSpeech, SpokenWord, language_of, read_only

_Sound = NDArray[np.float64]

_WORDLESS = "zxx"  # BCP 47: no linguistic content
_DITHER = 3  # as in the shipped recordings, so that no two moments are the same
_SEED = 7_002  # goes with every seed asked for, so that no dither is that of a recording
_PEAK = 12_000.0
_VOICES = 6  # of a babble; fewer could be told apart
_CHORDS = ((0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14))  # I vi IV V, semitones above _ROOT
_ROOT = 98.0  # Hz, G2: the detector takes low voices for speech rather than high ones
_BAR = 2.0  # seconds of a chord

# Formants in Hz. Every voice made here moves from "ah" to "ee", because the detector soon stops
# firing on a vowel that stays the same or moves less.
_AH = (730.0, 1090.0, 2440.0, 3400.0)
_EE = (270.0, 2290.0, 3010.0, 3600.0)
_FORMANT_WIDTH = 80.0
_HIGHEST = 4_500.0  # Hz of a harmonic; above the formants there is little to hear


def silence(seconds: float, *, seed: int = 0) -> ReferenceSpeech:
    """Return `seconds` of the recordings' dither, on which no detector fires."""
    count, rng = _begin(seconds, seed)
    return _recorded("silence", np.zeros(count), rng)


def coughs(seconds: float, *, seed: int = 0) -> ReferenceSpeech:
    """Return `seconds` with one to three coughs every few seconds."""
    count, rng = _begin(seconds, seed)
    track = np.zeros(count)
    at = rng.uniform(0.3, 1.0)
    while at < seconds:
        for _ in range(rng.integers(1, 4)):
            _add(track, at, _cough(rng))
            at += rng.uniform(0.4, 0.6)
        at += rng.uniform(1.5, 3.5)
    return _recorded("coughs", track, rng)


def music(seconds: float, *, seed: int = 0) -> ReferenceSpeech:
    """Return `seconds` of chords, with phrases sung on vowels above them and rests between
    these."""
    count, rng = _begin(seconds, seed)
    track = np.zeros(count)
    for number in range(math.ceil(seconds / _BAR)):
        chord = _CHORDS[number % len(_CHORDS)]
        _add(track, number * _BAR, _strummed(chord))
        if number % 4 < 2:  # two bars are sung, two are only played
            _add(track, number * _BAR, _sung(chord, rng))
    return _recorded("music", track, rng)


def reversed_speech(seconds: float, *, seed: int = 0) -> ReferenceSpeech:
    """Return `seconds` of the shipped recordings' sentences in random order, played backwards."""
    count, rng = _begin(seconds, seed)
    return _recorded("reversed_speech", _backwards(count, rng), rng)


def babble(seconds: float, *, seed: int = 0) -> ReferenceSpeech:
    """Return `seconds` of several voices at once, each speaking backwards."""
    count, rng = _begin(seconds, seed)
    track = np.zeros(count)
    for _ in range(_VOICES):
        skipped = int(
            rng.integers(3 * SAMPLE_RATE)
        )  # no two voices begin a sentence at the same time
        track += rng.uniform(0.5, 1.0) * _backwards(count + skipped, rng)[skipped:]
    return _recorded("babble", track, rng)


def join(*recordings: ReferenceSpeech) -> ReferenceSpeech:
    """Join recordings, one after the other, without changing any sample.

    Consecutive excerpts of one recording keep its name and the indices of its words, whatever is
    between them. Any others become a new recording, whose words count from 0; when played to a fake
    provider, its words still have the indices in the recordings they come from. The recordings may
    be in several languages, as each word has its own.

    Raises:
        ValueError: There is nothing to join, or samples are not mono at `SAMPLE_RATE`.
    """
    if not recordings:
        raise ValueError("nothing to join")
    for recording in recordings:
        _check(recording)
    spoken = [recording for recording in recordings if recording.words]
    named = spoken or recordings
    words = tuple(_shifted_words(recordings))
    goes_on = _goes_on(named)
    return replace(
        named[0],
        name=named[0].name if goes_on else "+".join(recording.name for recording in named),
        language=language_of(words, named[0].language),
        samples=read_only(np.concatenate([recording.samples for recording in recordings])),
        words=words,
        sentences=tuple(_shifted_sentences(recordings)),
        first_word=named[0].first_word if goes_on else 0,
    )


def _check(recording: ReferenceSpeech) -> None:
    samples = recording.samples
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise ValueError(f"{recording!r} is not 16-bit mono")
    if recording.words and recording.words[-1].end > recording.duration:
        raise ValueError(f"words of {recording!r} are beyond its end: not {SAMPLE_RATE} Hz?")


def _goes_on(recordings: Sequence[ReferenceSpeech]) -> bool:
    """Return whether the recordings are consecutive excerpts of one recording."""
    return all(
        before.name == after.name and before.first_word + len(before.words) == after.first_word
        for before, after in itertools.pairwise(recordings)
    )


def _shifted_words(recordings: Sequence[ReferenceSpeech]) -> Iterator[SpokenWord]:
    begun = 0
    for recording in recordings:
        shift = begun / SAMPLE_RATE
        for word in recording.words:
            yield replace(word, start=word.start + shift, end=word.end + shift)
        begun += len(recording.samples)


def _shifted_sentences(recordings: Sequence[ReferenceSpeech]) -> Iterator[range]:
    begun = 0
    for recording in recordings:
        for sentence in recording.sentences:
            yield range(sentence.start + begun, sentence.stop + begun)
        begun += len(recording.words)


def _begin(seconds: float, seed: int) -> tuple[int, np.random.Generator]:
    """Return the number of samples to make, and the source of random numbers."""
    if not 0 <= seconds < math.inf:
        raise ValueError(f"cannot make {seconds} s of noise")
    return round(seconds * SAMPLE_RATE), np.random.default_rng([_SEED, seed])


def _recorded(name: str, track: _Sound, rng: np.random.Generator) -> ReferenceSpeech:
    """Return a track as loud as the shipped recordings, with their dither."""
    peak = float(np.abs(track).max(initial=0.0))
    dither = rng.integers(-_DITHER, _DITHER + 1, len(track))
    samples = (np.round(track * (_PEAK / peak if peak else 0.0)) + dither).astype(np.int16)
    return ReferenceSpeech(name, _WORDLESS, read_only(samples), words=(), sentences=())


def _add(track: _Sound, at: float, sound: _Sound) -> None:
    """Mix a sound in at `at` seconds. Whatever is beyond the end is cut off."""
    start = round(at * SAMPLE_RATE)
    part = track[start : start + len(sound)]
    part += sound[: len(part)]


def _backwards(count: int, rng: np.random.Generator) -> _Sound:
    """Return one voice speaking backwards."""
    shipped = [ReferenceSpeech.load(name) for name in ReferenceSpeech.names()]
    sentences = [s.excerpt(i, i).samples[::-1] for s in shipped for i in range(len(s.sentences))]
    chosen: list[NDArray[np.int16]] = [sentences[0][:0]]
    while sum(map(len, chosen)) < count:
        chosen += [sentences[index] for index in rng.permutation(len(sentences))]
    return np.concatenate(chosen)[:count].astype(np.float64)


def _cough(rng: np.random.Generator) -> _Sound:
    """Return one cough: a burst, breath through the open throat, and voice as it closes."""
    breath, voice = rng.uniform(0.1, 0.18), rng.uniform(0.2, 0.3)
    seconds = breath + voice
    times = _times(seconds)
    hiss = _hissed(rng.standard_normal(len(times)))
    hiss *= np.interp(times, [0, 0.008, 0.05, breath, seconds], [0, 0.5, 0.25, 0.05, 0])
    pitch = np.interp(times, [0, seconds], [rng.uniform(150, 220), rng.uniform(90, 120)])
    tone = _voiced(pitch)
    tone *= np.interp(times, [0, breath / 2, breath, seconds - 0.1, seconds], [0, 0.1, 1, 0.8, 0])
    return hiss + tone


@functools.cache
def _strummed(chord: tuple[int, ...]) -> _Sound:
    """Return a bar of a chord whose notes are plucked together."""
    times = _times(_BAR)
    notes = np.zeros(len(times))
    for semitones in chord:
        for harmonic in range(1, 9):
            phase = 2 * np.pi * harmonic * _pitch(semitones) * times
            notes += np.sin(phase) * np.exp(-times * harmonic) / harmonic**1.5
    return 0.15 * notes * np.interp(times, [0, 0.01, _BAR - 0.05, _BAR], [0, 1, 1, 0])


def _sung(chord: Sequence[int], rng: np.random.Generator) -> _Sound:
    """Return a bar of a melody: notes of a chord, all sung in the same way."""
    notes = []
    left = _BAR
    while left > 0.3:
        seconds = min(left, rng.uniform(0.4, 0.8))
        notes.append(_sung_note(_pitch(int(rng.choice(chord))), seconds))
        left -= seconds
    return np.concatenate(notes)


def _sung_note(pitch: float, seconds: float) -> _Sound:
    times = _times(seconds)
    vibrato = 1 + 0.03 * np.sin(2 * np.pi * 5.5 * times)
    envelope = np.interp(times, [0, 0.05, seconds - 0.08, seconds], [0, 1, 0.8, 0])
    return _voiced(pitch * vibrato) * envelope


def _times(seconds: float) -> _Sound:
    return np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def _pitch(semitones: int) -> float:
    """Return the frequency in Hz of a note, given in semitones above the root."""
    return float(_ROOT * 2 ** (semitones / 12))


def _voiced(pitch: _Sound) -> _Sound:
    """Return a voice at a pitch (Hz at every sample), with an RMS of 1."""
    moved = np.interp(np.linspace(0, 1, len(pitch)), [0.3, 0.7], [0, 1])
    formants = [a + (b - a) * moved for a, b in zip(_AH, _EE, strict=True)]
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    sound = np.zeros(len(pitch))
    for harmonic in range(1, int(_HIGHEST / float(np.max(pitch)))):
        sound += _passed(harmonic * pitch, formants) * np.sin(harmonic * phase) / harmonic
    return _of_rms_1(sound)


def _hissed(noise: _Sound) -> _Sound:
    """Return noise as it sounds through an open throat, with an RMS of 1."""
    passed = _passed(np.arange(len(noise) // 2 + 1) * SAMPLE_RATE / len(noise), _AH)
    return _of_rms_1(np.fft.irfft(np.fft.rfft(noise) * passed, len(noise)))


def _passed(frequencies: _Sound, formants: Sequence[float | _Sound]) -> _Sound:
    """Return the share of each frequency that a throat passes: a little of all, most at its
    formants."""
    passed = np.full(len(frequencies), 0.05)
    for formant in formants:
        passed += 1 / np.hypot(1, (frequencies - formant) / (_FORMANT_WIDTH / 2))
    return passed


def _of_rms_1(sound: _Sound) -> _Sound:
    return sound / float(np.sqrt(np.mean(sound**2)))
