"""Deepgram's `/v2/listen`, the protocol of Flux, in which the server finds the turns.

The messages are those of https://developers.deepgram.com/reference/speech-to-text/listen-flux.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ..speech.languages import written
from ..speech.recognizer import HeardWord
from .dialogue import ServerConnection
from .utterances import UtteranceDialogue, parsed

if TYPE_CHECKING:
    from .deepgram import FakeDeepgram

FLUX_PATH = "/v2/listen"
_CERTAINTY = {"EndOfTurn": 0.95, "EagerEndOfTurn": 0.6}
"""The `end_of_turn_confidence` of an event; that of others is low."""


class FluxDialogue(UtteranceDialogue):
    """One Flux connection: turns whose transcripts grow, with the times of words."""

    interim_every = 0.25

    def __init__(
        self,
        server: FakeDeepgram,
        connection: ServerConnection,
        websocket: web.WebSocketResponse,
        transport: asyncio.Transport,
    ) -> None:
        super().__init__(server, connection, websocket, transport)
        self._settings = server
        self._turn = 0
        self._turn_start = 0.0  # seconds of audio
        self._sequence = 0
        self._ended_eagerly = False

    async def run(self) -> None:
        self._send_numbered("Connected", after=0.0)
        await super().run()

    @property
    def end_silence(self) -> float:
        timeout = float(self.connection.query.get("eot_timeout_ms", "inf")) / 1000
        return min(self._settings.turn_end_silence, timeout)

    def on_words(self, words: list[HeardWord]) -> None:
        if self._ended_eagerly and (words or self.recognizer.partial is not None):
            self._ended_eagerly = False
            self._send_turn("TurnResumed", [*self.words, *words])
        super().on_words(words)
        eager = "eager_eot_threshold" in self.connection.query and not self._ended_eagerly
        if eager and self.words and self.recognizer.silence >= self.end_silence / 2:
            self._ended_eagerly = True
            self._send_turn("EagerEndOfTurn", self.words)

    def on_text(self, text: str) -> None:
        if self.is_closing_message(text):
            self.conclude()
            self.finish()
        elif parsed(text).get("type") == "Configure":
            self._send_numbered("ConfigureSuccess")

    def is_closing_message(self, text: str) -> bool:
        return parsed(text).get("type") == "CloseStream"

    def is_transcript(self, message: Mapping[str, Any]) -> bool:
        return message["type"] == "TurnInfo"

    def is_final(self, message: Mapping[str, Any]) -> bool:
        return message.get("event") == "EndOfTurn"

    def report_start(self, at: float) -> None:
        self._turn_start = at
        self._send_turn("StartOfTurn", [])

    def report_interim(self, words: Sequence[HeardWord]) -> None:
        self._send_turn("Update", words)

    def report_final(self, words: Sequence[HeardWord], *, flushed: bool) -> None:
        self._send_turn("EndOfTurn", words)
        self._turn, self._ended_eagerly = self._turn + 1, False

    def _send_turn(self, event: str, words: Sequence[HeardWord]) -> None:
        self._send_numbered(
            "TurnInfo",
            event=event,
            turn_index=self._turn,
            audio_window_start=round(self._turn_start, 3),
            audio_window_end=round(self.recognizer.position, 3),
            transcript=written(words),
            words=[
                {
                    "word": word.text,
                    "start": round(word.start, 3),
                    "end": round(word.end, 3),
                    "confidence": 0.99 if word.whole else 0.4,
                }
                for word in words
            ],
            end_of_turn_confidence=_CERTAINTY.get(event, 0.1),
        )

    def _send_numbered(self, kind: str, *, after: float | None = None, **fields: Any) -> None:
        message = {"type": kind, "request_id": self.connection.request_id, **fields}
        self.send({**message, "sequence_id": self._sequence}, after=after)
        self._sequence += 1
