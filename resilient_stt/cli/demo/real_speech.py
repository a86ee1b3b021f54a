"""What is real in `demo --real`: a recorded voice, and a recognizer that may mishear it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...errors import ConfigurationError
from ...testing.faults import Fault, StreamFault
from ...testing.harness.word_errors import word_error_rate
from ...testing.speech.accent import Accent
from ...testing.speech.engine_recognizer import local_recognizer
from ...testing.speech.human import human_speech
from ...testing.speech.languages import written
from ...testing.speech.recognizer import RecognizerFactory
from ...testing.speech.reference import SAMPLE_RATE, ReferenceSpeech, SpokenWord
from ..command_error import CommandError
from .scenarios import Scenario

EXPLANATION = (
    "real: the voice (Jane Austen, read for LibriVox), the recognizer, the plugins, the sockets\n"
    "not real: Cartesia and Deepgram. Behind their protocols the same recognizer on this machine "
    "hears with different pauses; only Cartesia's writes capitals and punctuation"
)
PAUSES = {"cartesia": 0.3, "deepgram": 0.2}
"""Seconds of silence that end an utterance of each provider. The reader pauses shortly."""
WRITING = {"cartesia": None, "deepgram": Accent(casing="lower", punctuates=False)}
"""How each of them writes."""
ALLOWED = 0.01
"""How much higher than that of the worse recognizer the word error rate may be. One more word in a
hundred may be misheard where a recognizer begins within a sentence."""


@functools.cache
def recognizers() -> Mapping[str, RecognizerFactory]:
    """Return the recognizer of each provider. The model is not loaded yet.

    Raises:
        CommandError: The extra is missing; says how to install it.
    """
    try:
        return {name: local_recognizer(pause=pause) for name, pause in PAUSES.items()}
    except ConfigurationError as error:
        raise CommandError(f"--real: {error}") from None


def hearing(provider: str) -> dict[str, Any]:
    """Return the options with which the fake server of a provider hears and writes."""
    return {
        "recognizer": recognizers()[provider],
        "endpoint_silence": PAUSES[provider],
        "accent": WRITING[provider],
    }


def with_human_speech(scenario: Scenario) -> Scenario:
    """Return the scenario with the recorded voice. A fault in a word happens in the one that is
    spoken at that time here."""
    return replace(
        scenario,
        human=True,
        # Cartesia's first connection hears the speech from its start, Deepgram's does not.
        cartesia=tuple(_in_word(fault, "at_audio") for fault in scenario.cartesia),
        deepgram=tuple(_in_word(fault, "at_time") for fault in scenario.deepgram),
    )


def _in_word(fault: Fault, trigger: str) -> Fault:
    if not isinstance(fault, StreamFault) or fault.at_word is None:
        return fault
    spoken = ReferenceSpeech.load("english").words[fault.at_word]
    moment = spoken.start + fault.part * (spoken.end - spoken.start)
    nearest = min(human_speech().words, key=lambda word: abs(_middle(word) - moment))
    when = {"at_word": None, "part": 0.0, trigger: round(_middle(nearest), 3)}
    return replace(fault, **when)  # type: ignore[arg-type]


def _middle(word: SpokenWord) -> float:
    return (word.start + word.end) / 2


def undisturbed_error_rate(speech: ReferenceSpeech) -> float:
    """Return the word error rate of the worse of the two recognizers, without any fault."""
    return max(word_error_rate(speech.text, _transcript(name, speech)) for name in PAUSES)


def _transcript(name: str, speech: ReferenceSpeech) -> str:
    recognizer = recognizers()[name](sample_rate=SAMPLE_RATE, languages=None)
    heard = recognizer.feed(speech.samples.tobytes())
    return written(heard + recognizer.finish())
