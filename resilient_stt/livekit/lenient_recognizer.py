"""Keeps one utterance that a batch plugin cannot transcribe from ending its whole stream."""

from __future__ import annotations

from typing import Any

from livekit.agents import stt

from ..causes import refuses_language


class LenientRecognizer:
    """Gives no text for an utterance for which a plugin raises a plain `ValueError`.

    Clova's does so for noise (1.8.9), and LiveKit's `StreamAdapter` lets its stream end for that:
    somebody who coughs three times would open the provider's breaker. Without text the utterance is
    one that is not transcribed: if there were words in it, a hedge finds them. What is raised for a
    server (an `APIError`) or for its answer (subclasses of `ValueError`) still ends the stream.
    """

    def __init__(self, recognizer: stt.STT[Any]) -> None:
        self._recognizer = recognizer

    async def recognize(self, **given: Any) -> stt.SpeechEvent:
        """Recognize as the plugin does."""
        try:
            return await self._recognizer.recognize(**given)
        except ValueError as error:
            if type(error) is not ValueError or refuses_language(error):
                raise
            return stt.SpeechEvent(type=stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives=[])
