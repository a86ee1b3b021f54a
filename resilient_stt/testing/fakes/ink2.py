"""Cartesia's `/stt/turns/websocket`, the protocol of ink-2, in which the server finds the turns.

The messages are those of https://docs.cartesia.ai/api-reference/stt/turns/websocket, in the order
of https://docs.cartesia.ai/use-the-api/stt/turns. The end is described in
https://docs.cartesia.ai/use-the-api/stt/troubleshooting/auto: after `close` the server transcribes
what it has, sends the remaining events (so that an open turn gets its `turn.end`), and closes the
socket; there is no `done`. All times are times of audio: while no audio comes, nothing happens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..speech.languages import written
from ..speech.recognizer import HeardWord
from .dialogue import Dialogue, ServerConnection
from .server import Rejection

if TYPE_CHECKING:
    from .cartesia import FakeCartesia
    from .wires import Wire

TURNS_PATH = "/stt/turns/websocket"
_MODEL = "ink-2"
_NUMBERS = (
    "turn_start_threshold",
    "turn_eager_end_threshold",
    "turn_end_threshold",
    "turn_end_timeout_ms",
)


def check_turn_options(query: Mapping[str, str]) -> None:
    """Check the options that only the turns endpoint has. Their allowed ranges are not documented,
    so they are not checked.

    Raises:
        Rejection: An option that should be a number is not one.
    """
    for name in _NUMBERS:
        try:
            float(query.get(name, "0"))
        except ValueError:
            raise Rejection(400, f"The {name} must be a number.") from None


class TurnsDialogue(Dialogue):
    """One ink-2 connection: turns whose transcripts only grow, without times of words.

    A word is added to the transcript once it was received whole, because text that was sent is
    never revised. From the second turn on, a transcript begins with a space, so that joined they
    are the whole text.

    The thresholds of the query have no effect: they are likelihoods of a model that does not exist
    here. A `turn_end_timeout_ms` shorter than the server's `turn_end_silence` ends a turn in its
    place.
    """

    def __init__(self, server: FakeCartesia, connection: ServerConnection, wire: Wire) -> None:
        super().__init__(server, connection, wire)
        self._settings = server
        self._words: list[HeardWord] = []  # of the current turn
        self._words_sent = 0  # number of them
        self._last_sent_at = 0.0  # seconds of audio at the last event of the turn
        self._in_turn = False
        self._ended_eagerly = False
        self._has_sent_words = False

    async def run(self) -> None:
        model = self.connection.query["model"]
        if model == _MODEL or model.startswith(f"{_MODEL}-"):
            self._send_message("connected", after=0.0)
        else:
            self._refuse_model()
        await super().run()

    def on_words(self, words: list[HeardWord]) -> None:
        self._words += words
        if words or self.recognizer.partial is not None:
            self._continue_turn()
        elif self._in_turn:
            self._on_silence()

    def on_text(self, text: str) -> None:
        if self.is_closing_message(text):
            self._conclude()

    def is_closing_message(self, text: str) -> bool:
        try:
            message = json.loads(text)
        except ValueError:
            return False
        return isinstance(message, dict) and message.get("type") == "close"

    def restart(self) -> None:
        super().restart()
        self._begin_anew()

    def _continue_turn(self) -> None:
        """Begin the turn, or send what is new in it, because there is speech."""
        if not self._in_turn:
            self._in_turn = True
            self._send_message("turn.start")
            self._last_sent_at = self.recognizer.position
        if self._ended_eagerly:
            self._ended_eagerly = False
            self._send_message("turn.resume")
        self._update()

    def _on_silence(self) -> None:
        """End the turn if there has been no speech for long enough."""
        silence, needed = self.recognizer.silence, self._silence_needed
        if silence >= needed:
            self._end_turn()
        elif self._settings.eager_end and not self._ended_eagerly and silence >= needed / 2:
            self._ended_eagerly = True
            self._send_turn_event("turn.eager_end")
        else:
            self._update()

    @property
    def _silence_needed(self) -> float:
        """Seconds of silence that end a turn."""
        timeout = self.connection.query.get("turn_end_timeout_ms", "inf")
        usual = self._settings.pause(self._settings.turn_end_silence)
        return min(usual, float(timeout) / 1000)

    def _update(self) -> None:
        if self.recognizer.position < self._last_sent_at + self._settings.update_interval:
            return
        if len(self._words) + len(self.recognizer.tentative) > self._words_sent:
            self._send_turn_event("turn.update")

    def _conclude(self) -> None:
        self._words += self.recognizer.finish()
        if self._words:
            self._continue_turn()
        if self._in_turn:
            self._end_turn()
        self.finish()

    def _end_turn(self) -> None:
        self._send_turn_event("turn.end", complete=True)
        self._has_sent_words |= bool(self._words)
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._words, self._words_sent = [], 0
        self._in_turn = self._ended_eagerly = False

    def _send_turn_event(self, kind: str, *, complete: bool = False) -> None:
        """Send an event with the transcript of the turn.

        Unless it is `complete`, a word is left out that may be written as one with the next.
        """
        words = self._words if complete else [*self._words, *self.recognizer.tentative]
        text = written(self._settings.written(words, complete=complete))
        self._send_message(kind, transcript=f" {text}" if text and self._has_sent_words else text)
        self._words_sent, self._last_sent_at = len(words), self.recognizer.position

    def _refuse_model(self) -> None:
        """Send the documented in-band error for a model that this endpoint does not have, and
        close."""
        self._send_message(
            "error",
            after=0.0,
            status_code=400,
            error_code="model_not_found",
            title="Invalid model",
            message="The model is not valid, make sure it is a valid model ID.",
            doc_url="https://docs.cartesia.ai/build-with-cartesia/stt/latest",
        )
        self.finish()

    def _send_message(self, kind: str, *, after: float | None = None, **fields: Any) -> None:
        message = {"type": kind, **fields, "request_id": self.connection.request_id}
        self.send(message, after=after)
