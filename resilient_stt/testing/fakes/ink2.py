"""Cartesia's `/stt/turns/websocket`, the protocol of ink-2: the server finds the turns itself.

The messages are those of https://docs.cartesia.ai/api-reference/stt/turns/websocket, their order
is that of https://docs.cartesia.ai/use-the-api/stt/turns. How the server ends
(https://docs.cartesia.ai/use-the-api/stt/troubleshooting/auto): on `close` it transcribes what it
has, emits the events that remain, so that a turn that is running gets its `turn.end`, and closes
the socket; there is no `done`. Time is time of audio: when no audio comes, nothing happens.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ..speech.languages import written
from ..speech.recognizer import HeardWord
from .dialogue import Dialogue, ServerConnection
from .server import Rejection

if TYPE_CHECKING:
    from .cartesia import FakeCartesia

TURNS_PATH = "/stt/turns/websocket"
_MODEL = "ink-2"
_NUMBERS = (
    "turn_start_threshold",
    "turn_eager_end_threshold",
    "turn_end_threshold",
    "turn_end_timeout_ms",
)


def check_turn_options(query: Mapping[str, str]) -> None:
    """Look at what a query has for turns alone. Ranges are not checked: it is not known how.

    Raises:
        Rejection: What should be a number is none.
    """
    for name in _NUMBERS:
        try:
            float(query.get(name, "0"))
        except ValueError:
            raise Rejection(400, f"The {name} must be a number.") from None


class TurnsDialogue(Dialogue):
    """One ink-2 connection: turns, each with a transcript that only grows, without word times.

    A word is in the transcript once it has been heard to its end, for what was sent is never
    revised. From its second turn on a transcript begins with a space: one after the other they
    make up the whole.

    The thresholds are likelihoods of a model that is not here, so they change nothing. A
    `turn_end_timeout_ms` shorter than the setting's silence ends a turn as it should.
    """

    def __init__(
        self,
        server: FakeCartesia,
        connection: ServerConnection,
        websocket: web.WebSocketResponse,
        transport: asyncio.Transport,
    ) -> None:
        super().__init__(server, connection, websocket, transport)
        self._settings = server
        self._words: list[HeardWord] = []  # of the turn
        self._told = 0  # so many of them
        self._told_at = 0.0  # seconds of audio, at the last event of the turn
        self._in_turn = False
        self._ended_eagerly = False
        self._said_anything = False

    async def run(self) -> None:
        model = self.connection.query["model"]
        if model == _MODEL or model.startswith(f"{_MODEL}-"):
            self._say("connected", after=0.0)
        else:
            self._refuse_model()
        await super().run()

    def on_words(self, words: list[HeardWord]) -> None:
        self._words += words
        if words or self.hearing.partial is not None:
            self._go_on()
        elif self._in_turn:
            self._pause()

    def transcribe(self, text: str) -> None:
        if self.is_goodbye(text):
            self._conclude()

    def is_goodbye(self, text: str) -> bool:
        try:
            message = json.loads(text)
        except ValueError:
            return False
        return isinstance(message, dict) and message.get("type") == "close"

    def forget(self) -> None:
        super().forget()
        self._begin_anew()

    def _go_on(self) -> None:
        """There is speech: begin the turn, or tell what is new in it."""
        if not self._in_turn:
            self._in_turn = True
            self._say("turn.start")
            self._told_at = self.hearing.position
        if self._ended_eagerly:
            self._ended_eagerly = False
            self._say("turn.resume")
        self._update()

    def _pause(self) -> None:
        """There is no speech: end the turn if that is so for long enough."""
        silence, needed = self.hearing.silence, self._silence_needed
        if silence >= needed:
            self._end_turn()
        elif self._settings.eager_end and not self._ended_eagerly and silence >= needed / 2:
            self._ended_eagerly = True
            self._tell("turn.eager_end")
        else:
            self._update()

    @property
    def _silence_needed(self) -> float:
        """Seconds of silence that end a turn."""
        timeout = self.connection.query.get("turn_end_timeout_ms", "inf")
        return min(self._settings.turn_end_silence, float(timeout) / 1000)

    def _update(self) -> None:
        due = self._told_at + self._settings.update_interval
        if len(self._words) > self._told and self.hearing.position >= due:
            self._tell("turn.update")

    def _conclude(self) -> None:
        self._words += self.hearing.finish()
        if self._words:
            self._go_on()
        if self._in_turn:
            self._end_turn()
        self.hang_up()

    def _end_turn(self) -> None:
        self._tell("turn.end")
        self._said_anything |= bool(self._words)
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._words, self._told = [], 0
        self._in_turn = self._ended_eagerly = False

    def _tell(self, kind: str) -> None:
        """Say an event that has the transcript of the turn."""
        text = written(self._words)
        self._say(kind, transcript=f" {text}" if text and self._said_anything else text)
        self._told, self._told_at = len(self._words), self.hearing.position

    def _refuse_model(self) -> None:
        """Say that the model is none of this endpoint's, in-band, as documented, and close."""
        self._say(
            "error",
            after=0.0,
            status_code=400,
            error_code="model_not_found",
            title="Invalid model",
            message="The model is not valid, make sure it is a valid model ID.",
            doc_url="https://docs.cartesia.ai/build-with-cartesia/stt/latest",
        )
        self.hang_up()

    def _say(self, kind: str, *, after: float | None = None, **fields: Any) -> None:
        message = {"type": kind, **fields, "request_id": self.connection.request_id}
        self.say(message, after=after)
