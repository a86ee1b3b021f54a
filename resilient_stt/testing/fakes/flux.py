"""A fake Deepgram Flux on loopback: `/v2/listen`, in which the server finds the turns.

The messages are those of https://developers.deepgram.com/reference/speech-to-text/listen-flux.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..speech.languages import written
from ..speech.recognizer import HeardWord
from .deepgram import FakeDeepgram
from .server import ServerConnection
from .utterances import UtteranceDialogue, parsed

if TYPE_CHECKING:
    from livekit.plugins import deepgram

    from .wires import Wire

_MULTILINGUAL = ("en", "es", "fr", "de", "hi", "ru", "pt", "ja", "it", "nl")
_CERTAINTY = {"EndOfTurn": 0.95, "EagerEndOfTurn": 0.6}
"""The `end_of_turn_confidence` of an event; that of others is low."""


class FluxDialogue(UtteranceDialogue):
    """One Flux connection: turns whose transcripts grow, with the times of words."""

    interim_every = 0.25

    def __init__(self, server: FakeFlux, connection: ServerConnection, wire: Wire) -> None:
        super().__init__(server, connection, wire)
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
            self._send_turn("TurnResumed", self._server.written([*self.words, *words]))
        super().on_words(words)
        eager = "eager_eot_threshold" in self.connection.query and not self._ended_eagerly
        if eager and self.words and self.recognizer.silence >= self.end_silence / 2:
            self._ended_eagerly = True
            self._send_turn("EagerEndOfTurn", self._server.written(self.words))

    def on_text(self, text: str) -> None:
        if self.is_closing_message(text):
            self.conclude()
            self.finish()
        elif parsed(text).get("type") == "Configure":
            self._send_numbered("ConfigureSuccess")

    def is_closing_message(self, text: str) -> bool:
        return parsed(text).get("type") == "CloseStream"

    def is_transcript(self, message: Mapping[str, Any]) -> bool:
        return message.get("type") == "TurnInfo"

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


@dataclass(kw_only=True, repr=False, eq=False)
class FakeFlux(FakeDeepgram):
    """A Deepgram whose model is Flux.

    Args:
        faults: What goes wrong. Can be assigned while the server runs.
        latency: Seconds from the audio that completes a message to the message.
        turn_end_silence: Seconds without speech after which a turn ends, if the `eot_timeout_ms` of
            the query is not shorter.

    Raises:
        ValueError: A fault waits for a word that is not in the corpus.
    """

    plugin_class = "STTv2"
    path = base_path = "/v2/listen"
    scheme = "ws"
    dialogue_class = FluxDialogue
    post_paths = ()

    turn_end_silence: float = 0.5

    def stt(self, **options: Any) -> deepgram.STTv2:  # type: ignore[override]  # STTv2 is no STT
        """The published plugin, with its `base_url` here. `options` are those of
        `deepgram.STTv2`."""
        from livekit.plugins import deepgram

        return deepgram.STTv2(**{**self.plugin_options, **self.address, **options})

    def languages(self, connection: ServerConnection) -> Sequence[str]:
        return ("en",) if connection.query.get("model", "").endswith("-en") else _MULTILINGUAL
