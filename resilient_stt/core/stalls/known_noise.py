"""Voice that sounds like noise which was asked about already.

Theory of operation
===================

To a voice detector, music, a television and other guests of a café are speech. Only a hedge shows
that there are no words in them, and every hedge is billed. So a stream learns in the call what its
noise sounds like: its loudness and how much that changes (`VoiceSound`).

* Voice in which two providers have found no words is an example of noise. So is known noise that a
  FINAL skips: noise of one kind is never quite the same.
* Voice in which a FINAL had words is an example of speech.
* Other voice is known noise if it is like noise, and not like any speech. It must not be longer
  than that noise either, or words may have joined it.

Nobody waits for words of known noise: it causes no stall, and a FINAL may skip it. It is still sent
to every provider, and replayed after a failure, so that its words are emitted if it has any. One
word in it, or a hedge that finds words which were missing, and it is noise no more.

A stream could err for ever that way. So only `WatchdogPolicy.known_noise_factor` times as much
voice passes as known noise as was found to be noise. The next is asked about as if it were new.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from ..audio.ledger import AudioLedger, Segment
from ..messages import VoiceSound
from ..policy import WatchdogPolicy
from ..transcript.overlap import Utterance

MAX_EXAMPLES = 32
"""Examples of each that are kept. It bounds memory, and the work for each stretch of voice."""

MAX_LENGTHENING = 1.25
"""How many times longer than the longest noise of its kind known noise may be. Bursts of a kind
differ by a detector's padding, at least; a fifth of one is too little voice for a sentence."""


@dataclass(frozen=True, slots=True)
class _Noise:
    """A stretch of voice without words."""

    sound: VoiceSound
    seconds: float


class KnownNoise:
    """What the noise of one stream sounds like, and its speech."""

    def __init__(self, ledger: AudioLedger, policy: WatchdogPolicy) -> None:
        self._ledger = ledger
        self._policy = policy
        self._noise: deque[_Noise] = deque(maxlen=MAX_EXAMPLES)
        self._speech: deque[VoiceSound] = deque(maxlen=MAX_EXAMPLES)
        self._seconds_found = 0.0
        """Seconds of voice that were found to be noise."""
        self._found_through = 0
        """The session sample before which they were."""
        self._seconds_left = 0.0
        """Seconds of voice that may still pass as known noise before the next is asked about."""

    def __repr__(self) -> str:
        return (
            f"KnownNoise(noise={len(self._noise)}, speech={len(self._speech)}, "
            f"left={self._seconds_left:.1f})"
        )

    def speech_ended(self, segment: Segment) -> None:
        """Judge a segment of voice that has ended just now."""
        if segment.has_words and segment.sound is not None:
            self._speech.append(segment.sound)
        self._judge(segment)

    def no_words_found(self, start: int, end: int) -> None:
        """Note that two providers have found no words between two session samples."""
        start, self._found_through = max(start, self._found_through), end
        for segment in self._ledger.segments_within(start, end):
            if segment.sound is not None and not segment.has_words:
                self._is_noise(segment)
                self._seconds_found += self._ledger.seconds(segment.samples)
                segment.is_known_noise = True
        self._seconds_left = self._policy.known_noise_factor * self._seconds_found
        for segment in self._ledger.unfinished_segments():
            self._judge(segment)

    def words_found(self, final: Utterance) -> None:
        """Note where a FINAL had words."""
        for segment in self._ledger.unfinished_segments():
            if self._has_words(segment, final):
                self._is_speech(segment)
            elif segment.is_known_noise and self._is_skipped(segment, final):
                self._is_noise(segment)

    def forget(self) -> None:
        """Forget all noise: words were missing, so that what was thought of it may be wrong."""
        self._noise.clear()
        self._seconds_found = self._seconds_left = 0.0
        for segment in self._ledger.unfinished_segments():
            segment.is_known_noise = False

    # -- inside

    def _is_noise(self, segment: Segment) -> None:
        assert segment.sound is not None
        self._noise.append(_Noise(segment.sound, self._ledger.seconds(segment.samples)))

    def _is_speech(self, segment: Segment) -> None:
        if not segment.has_words and segment.sound is not None:
            self._speech.append(segment.sound)
        segment.has_words, segment.is_known_noise = True, False

    def _is_skipped(self, segment: Segment, final: Utterance) -> bool:
        """Return whether a FINAL goes on behind the segment."""
        assert final.start is not None
        assert segment.end is not None
        return self._ledger.seconds(segment.end) <= final.start

    def _has_words(self, segment: Segment, final: Utterance) -> bool:
        if final.start is None or final.end is None:
            return True  # it may be about any voice
        spans = [(word.start, word.end) for word in final.words] or [(final.start, final.end)]
        begin = self._ledger.seconds(segment.start)
        end = math.inf if segment.end is None else self._ledger.seconds(segment.end)
        return any(word_start < end and word_end > begin for word_start, word_end in spans)

    def _judge(self, segment: Segment) -> None:
        """Take the segment for known noise if it sounds like that."""
        sound, seconds = segment.sound, self._ledger.seconds(segment.samples)
        if sound is None or segment.has_words or segment.is_known_noise:
            return
        if seconds <= self._seconds_left and self._is_like_noise(sound, seconds):
            segment.is_known_noise = True
            self._seconds_left -= seconds

    def _is_like_noise(self, sound: VoiceSound, seconds: float) -> bool:
        limit = self._policy.known_noise_distance
        near = [noise for noise in self._noise if _distance(noise.sound, sound) <= limit]
        if math.fsum(noise.seconds for noise in near) < self._policy.min_known_noise:
            return False
        if seconds > MAX_LENGTHENING * max(noise.seconds for noise in near):
            return False  # a sentence behind a burst of noise changes the sound of both but little
        from_noise = min(_distance(noise.sound, sound) for noise in near)
        from_speech = min((_distance(speech, sound) for speech in self._speech), default=0.0)
        return from_speech > max(limit, 2 * from_noise)


def _distance(sound: VoiceSound, other: VoiceSound) -> float:
    """Return how unlike two sounds are, in dB."""
    return math.hypot(sound.level - other.level, sound.spread - other.spread)
