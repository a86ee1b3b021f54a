from __future__ import annotations

import pytest

from resilient_stt.core.audio.ledger import AudioLedger, Segment
from resilient_stt.core.messages import VoiceSound, Word
from resilient_stt.core.policy import ReplayPolicy, WatchdogPolicy
from resilient_stt.core.stalls.known_noise import MAX_EXAMPLES, KnownNoise
from resilient_stt.core.transcript.overlap import Utterance

RATE = 1_000
SPEECH, NOISE = VoiceSound(57.0, 13.5), VoiceSound(65.0, 4.0)


class Call:
    """A stream in which voice comes and goes, with a second of silence behind each."""

    def __init__(self) -> None:
        self.ledger = AudioLedger(ReplayPolicy(), vad_enabled=True)
        self.known = KnownNoise(self.ledger, WatchdogPolicy())

    def hear(self, sound: VoiceSound | None, seconds: float = 2.0) -> Segment:
        """Take voice that sounds so."""
        ledger = self.ledger
        ledger.push(RATE, RATE)
        ledger.speech_started(ledger.end)
        ledger.push(round(seconds * RATE), RATE)
        segment = ledger.speech_ended(ledger.end, sound)
        self.known.speech_ended(segment)
        return segment

    def say(self, sound: VoiceSound = SPEECH) -> Segment:
        """Take a sentence of two seconds, and its final."""
        segment = self.hear(sound)
        self.final(segment)
        return segment

    def final(self, segment: Segment) -> None:
        """Take a final with words in a segment, which commits the audio before its end."""
        assert segment.end is not None
        start, end = segment.start / RATE + 0.1, segment.end / RATE - 0.1
        self.known.words_found(Utterance("a", (Word("a", start, end),), start, end))
        self.ledger.commit(segment.end)

    def find_nothing(self, segment: Segment) -> None:
        """Let two providers find no words in a segment."""
        assert segment.end is not None
        self.known.no_words_found(segment.start, segment.end)
        self.ledger.commit_noise(segment.end)


@pytest.fixture
def call() -> Call:
    """A stream with a sentence, and noise in which two providers have found no words."""
    call = Call()
    call.say()
    call.find_nothing(call.hear(NOISE))
    return call


def test_noise_that_comes_again(call: Call) -> None:
    """Nobody waits for words of voice that sounds like noise without words."""
    assert call.hear(NOISE).is_known_noise
    assert call.hear(VoiceSound(63.0, 7.0)).is_known_noise
    assert not call.ledger.has_pending_speech()
    assert call.ledger.unexplained_voice(0, call.ledger.end)[2:] == ()


def test_it_may_hold_words_all_the_same(call: Call) -> None:
    """Known noise is replayed after a failure, and asked about at the end of the input."""
    segment = call.hear(NOISE)
    assert call.ledger.pending_voice(call.ledger.end) == ((segment.start, segment.end),)
    assert call.ledger.has_pending_speech(at_least=0.25)
    call.ledger.push(RATE, RATE)
    call.ledger.commit_silence(call.ledger.end)
    assert call.ledger.watermark <= segment.start
    call.ledger.push(12 * RATE, RATE)
    call.ledger.commit_silence(call.ledger.end)
    assert call.ledger.watermark > segment.start


@pytest.mark.parametrize(
    "sound", [SPEECH, VoiceSound(61.9, 7.7), VoiceSound(75.0, 4.0), VoiceSound(65.0, 18.0), None]
)
def test_other_voice(call: Call, sound: VoiceSound | None) -> None:
    """Voice is not known noise if it is unlike the noise, or nearly as like speech."""
    assert not call.hear(sound).is_known_noise
    assert call.ledger.has_pending_speech()


def test_words_may_have_joined_it(call: Call) -> None:
    """Voice that is longer than the noise was is asked about."""
    assert call.hear(NOISE, 2.5).is_known_noise
    assert not call.hear(NOISE, 2.6).is_known_noise


def test_a_loud_speaker(call: Call) -> None:
    """Noise that sounds like somebody who spoke is not known."""
    call.say(VoiceSound(62.0, 6.0))
    assert not call.hear(NOISE).is_known_noise


def test_nobody_has_spoken() -> None:
    """No noise is known before it is known what speech sounds like."""
    call = Call()
    call.find_nothing(call.hear(NOISE))
    assert not call.hear(NOISE).is_known_noise


def test_short_noise() -> None:
    """Voice that may be a short word makes no noise known alone."""
    call = Call()
    call.say()
    call.find_nothing(call.hear(NOISE, 0.6))
    second = call.hear(NOISE, 0.6)
    assert not second.is_known_noise
    call.find_nothing(second)
    assert call.hear(NOISE, 0.6).is_known_noise


def test_words_in_noise(call: Call) -> None:
    """Noise with a word in it is speech from then on."""
    segment = call.hear(NOISE)
    call.final(segment)
    assert not segment.is_known_noise
    assert not call.hear(NOISE).is_known_noise


def test_words_that_go_on(call: Call) -> None:
    """A final in mid-speech makes speech of what it belongs to."""
    ledger = call.ledger
    ledger.push(RATE, RATE)
    ledger.speech_started(ledger.end)
    ledger.push(2 * RATE, RATE)
    start, end = ledger.seconds(ledger.end) - 1.0, ledger.seconds(ledger.end)
    call.known.words_found(Utterance("a b", (), start, end))
    segment = ledger.speech_ended(ledger.end, NOISE)
    call.known.speech_ended(segment)
    assert not segment.is_known_noise
    assert not call.hear(NOISE).is_known_noise


def test_a_final_without_times(call: Call) -> None:
    """A final without times may be about any voice, and all of it is speech."""
    segments = [call.hear(NOISE), call.hear(NOISE)]
    call.known.words_found(Utterance("a b"))
    assert not any(segment.is_known_noise for segment in segments)


def test_noise_is_asked_about_again(call: Call) -> None:
    """Eight times as much voice passes as was found to be noise, and more with each time."""
    for times in (8, 16, 24):
        heard = [call.hear(NOISE) for _ in range(times + 1)]
        assert [segment.is_known_noise for segment in heard] == [True] * times + [False]
        call.find_nothing(heard[-1])


def test_noise_that_was_pending(call: Call) -> None:
    """Pending voice is judged anew when similar voice was found to have no words."""
    other = VoiceSound(70.0, 20.0)
    first, second = call.hear(other), call.hear(other)
    assert not second.is_known_noise
    call.find_nothing(first)
    assert second.is_known_noise


def test_noise_that_a_final_skips(call: Call) -> None:
    """Noise that changes slowly stays known, as long as the caller is heard around it."""
    assert call.hear(VoiceSound(69.0, 4.0)).is_known_noise
    call.say()
    assert call.hear(VoiceSound(73.0, 4.0)).is_known_noise


def test_words_were_missing(call: Call) -> None:
    """Once words were missing, no noise is known any more."""
    segment = call.hear(NOISE)
    call.known.forget()
    assert not segment.is_known_noise
    assert not call.hear(NOISE).is_known_noise
    assert "left=0.0" in repr(call.known)


def test_the_same_noise_counts_once(call: Call) -> None:
    """What was found twice to have no words is one example."""
    segment = call.hear(NOISE)
    for _ in range(2):
        call.find_nothing(segment)
    assert repr(call.known) == "KnownNoise(noise=2, speech=1, left=32.0)"


def test_it_is_bounded(call: Call) -> None:
    """A long call keeps no more than so many examples."""
    for _ in range(2 * MAX_EXAMPLES):
        call.say()
    assert f"speech={MAX_EXAMPLES}" in repr(call.known)
