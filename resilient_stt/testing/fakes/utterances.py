"""What most providers' dialogues share: they find utterances, and report each as it grows.

A subclass writes an utterance's start, its interim transcripts and its final in the messages of its
provider.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..speech.recognizer import HeardWord
from .dialogue import Dialogue, ServerConnection

if TYPE_CHECKING:
    from .server import FakeServer
    from .wires import Wire


LANGUAGES = ("en", "es", "fr", "de", "it", "pt", "zh", "ja", "hi")
"""The languages that several providers know: a selection of each one's list."""


class UtteranceDialogue(Dialogue):
    """A dialogue whose transcripts are utterances: words between two pauses.

    Transcripts are written with the server's accent.

    Attributes:
        revises: Whether words of an interim transcript may be written otherwise in the next.
        interim_every: Seconds of audio between two interim transcripts of an utterance.
        longest: Seconds of audio after which an utterance becomes final without a pause.
        words: The words of the utterance so far.
    """

    revises: bool = True
    interim_every: float = 0.5
    longest: float = float("inf")

    def __init__(self, server: FakeServer, connection: ServerConnection, wire: Wire) -> None:
        super().__init__(server, connection, wire)
        self.words: list[HeardWord] = []
        self._is_speaking = False
        self._reported_at = 0.0  # seconds of audio at the last transcript
        self._reported_words = 0  # number of them in it

    @abstractmethod
    def report_start(self, at: float) -> None:
        """Report that an utterance has begun, at this second of the audio."""

    @abstractmethod
    def report_interim(self, words: Sequence[HeardWord]) -> None:
        """Report the words of an utterance that goes on."""

    @abstractmethod
    def report_final(self, words: Sequence[HeardWord], *, flushed: bool) -> None:
        """Report the words of an utterance that has ended. `flushed`: because the client asked for
        it. There may be no words then."""

    @property
    def end_silence(self) -> float:
        """Seconds without speech that end an utterance."""
        return self._server.endpoint_silence

    def on_words(self, words: list[HeardWord]) -> None:
        self.words += words
        first = words[0] if words else self.recognizer.partial
        if first is not None and not self._is_speaking:
            self._is_speaking = True
            self._reported_at = self.recognizer.position
            self.report_start(first.start)
        if not self._is_speaking:
            return
        position = self.recognizer.position
        lasts = bool(self.words) and position - self.words[0].start >= self.longest
        lasts = lasts or self._server.is_long(self.words)
        if self.recognizer.silence >= self._server.pause(self.end_silence) or lasts:
            self.end_utterance()
        elif position - self._reported_at >= self.interim_every:
            self._report_progress()

    def _report_progress(self) -> None:
        """Report an interim transcript, if there are new words."""
        words = [*self.words, *self.recognizer.tentative]
        if len(words) > self._reported_words:
            self._reported_at, self._reported_words = self.recognizer.position, len(words)
            if written := self._server.written(words, complete=self.revises):
                self.report_interim(written)

    def flush(self) -> None:
        """End the utterance here, also in the middle of a word, because the client asks for it."""
        self.words += self.recognizer.finish()
        self.end_utterance(flushed=True)

    def conclude(self) -> None:
        """End the utterance, if there is one, because the client has ended."""
        self.words += self.recognizer.finish()
        if self.words:
            self.end_utterance(flushed=True)

    def end_utterance(self, *, flushed: bool = False) -> None:
        """Report the utterance as final, and begin the next."""
        words, self.words = self._server.written(self.words), []
        self._is_speaking, self._reported_words = False, 0
        if words or flushed:
            self.report_final(words, flushed=flushed)

    def restart(self) -> None:
        super().restart()
        self.words = []
        self._is_speaking, self._reported_words = False, 0


def language_of(words: Sequence[HeardWord], default: str) -> str:
    """The language of most of the words; `default` if there are none."""
    found = [word.language for word in words]
    return max(found, key=found.count, default=default)


def parsed(text: str) -> Mapping[str, Any]:
    """A client's JSON message; empty if it is none."""
    try:
        message = json.loads(text)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
