"""A fake Cartesia on loopback: the websocket protocols of ink-whisper and of ink-2.

The messages are those of https://docs.cartesia.ai/api-reference/stt/stt and those that
`livekit-plugins-cartesia` sends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from aiohttp import web

from ..faults import ErrorShape, InBandError
from ..speech.languages import base, written
from ..speech.recognizer import HeardWord
from .ink2 import TURNS_PATH, TurnsDialogue, check_turn_options
from .server import Dialogue, Rejection, ServerConnection
from .web import FakeWebServer

if TYPE_CHECKING:
    from livekit.plugins import cartesia

    from .wires import Wire

# error_code and title by status: https://docs.cartesia.ai/use-the-api/api-errors
_ERRORS = {
    400: ("invalid_request", "Invalid request"),
    401: ("unauthorized", "Invalid API key"),
    402: ("quota_exceeded", "Credit limit reached"),
    403: ("forbidden", "Forbidden"),
    404: ("model_not_found", "Model not found"),
    429: ("concurrency_limited", "Too many concurrent requests"),
}
_SERVER_ERROR = ("internal_server_error", "Internal server error")
_DEFAULT_LANGUAGE = "en"
_INTERIM_EVERY = 1.0  # seconds of audio


@dataclass(kw_only=True, repr=False, eq=False)
class FakeCartesia(FakeWebServer):
    """A Cartesia that transcribes the audio it receives.

    With ink-whisper, a final comes in response to `finalize`, or after `endpoint_silence` without
    speech. The server knows the `language` of the query, by default English. With ink-2, on a path
    of its own, the server finds turns.

    Args:
        faults: What goes wrong. Can be assigned while the server runs.
        latency: Seconds from the audio or the `finalize` to the final.
        endpoint_silence: Seconds without speech after which a final comes by itself (ink-whisper).
        handshake: Seconds from the request to the 101.
        empty_finals: Answer a `finalize` without pending words by an empty final.
        flush_done_first: Send `flush_done` before its transcript instead of after it.
        interims: Send an interim transcript once per second of audio while words are pending
            (ink-whisper). The plugin adds up the durations of all transcripts, so the times of its
            finals are then too late; the times of words are right.
        error_shape: The key of the number in in-band errors of ink-whisper, unless the fault says
            it. `code` is what the plugin reads, `status_code` what newer versions send.
        turn_end_silence: Seconds without speech after which a turn ends (ink-2).
        eager_end: Send `turn.eager_end` after half of that silence (ink-2).
        update_interval: Seconds of audio between the events of a turn while its text grows (ink-2).
        turn_languages: The languages that ink-2 knows, without being told which one is spoken.
            Cartesia's newest page lists `en fr hi ja es`; the plugin warns of all but English.
        concurrency: Open websockets at once. A request beyond them is answered with 429.
            Connections whose peer has vanished count. None: no limit.
        idle_timeout: Seconds without audio or text after which the server closes with 1000. Pings
            do not count. None: never. Older documents say 20 s.
        max_burst: Seconds of audio that may arrive ahead of real time, counted from the 101. Beyond
            them the server closes with 1008. None: no limit.
        speed: The multiple of real time at which audio is processed at most. Text messages wait for
            the audio before them. 1.5 was measured in production. None: no limit.
        max_message: Bytes of a message beyond which the server closes with 1009. 32 KB was measured
            in production. None: no limit.
        recognizer: Makes the recognizer of each connection, such as a `SegmentRecognizer`. None:
            one that knows the `corpus`.
        corpus: The recordings that it recognizes. None: all that are shipped.
        accent: How it writes and times what it recognizes. Can be assigned while the server runs.
            None: as it was spoken.

    Raises:
        ValueError: A fault waits for a word that is not in the corpus, or that the `recognizer`
            does not know.
    """

    plugin = "cartesia"
    plugin_options: ClassVar[Mapping[str, Any]] = {"model": "ink-whisper"}
    path = "/stt/websocket"
    other_paths = (TURNS_PATH,)
    request_id_header = "X-Request-Id"

    latency: float = 0.2
    endpoint_silence: float = 0.5
    idle_timeout: float | None = 180.0
    empty_finals: bool = False
    flush_done_first: bool = False
    interims: bool = False
    error_shape: ErrorShape = "code"
    turn_end_silence: float = 0.6
    eager_end: bool = True
    update_interval: float = 0.5
    turn_languages: Sequence[str] = ("en",)

    def __post_init__(self) -> None:
        self.turn_languages = tuple(map(base, self.turn_languages))

    def stt(self, **options: Any) -> cartesia.STT:
        """The published plugin, with its `base_url` here. `options` are those of `cartesia.STT`."""
        from livekit.plugins import cartesia

        return cartesia.STT(**{**self.plugin_options, **self.address, **options})

    def check(self, request: web.Request) -> None:
        if not (request.headers.get("X-API-Key") or request.query.get("api_key")):
            raise Rejection(401, "The API key is missing.")
        if not request.query.get("model"):
            raise Rejection(400, "The model is missing.")
        if request.query.get("encoding") != "pcm_s16le":
            raise Rejection(400, "The encoding must be pcm_s16le.")
        if not request.query.get("sample_rate", "").isdecimal():
            raise Rejection(400, "The sample_rate must be a number.")
        if request.path == TURNS_PATH:
            check_turn_options(request.query)

    def languages(self, connection: ServerConnection) -> Sequence[str]:
        if connection.path == TURNS_PATH:
            return self.turn_languages
        return (base(connection.query.get("language", _DEFAULT_LANGUAGE)),)

    def error_body(self, status: int, request_id: str, message: str | None) -> Mapping[str, Any]:
        error_code, title = _error_of(status)
        return {
            "error_code": error_code,
            "title": title,
            "message": message or f"{title}.",
            "request_id": request_id,
        }

    def in_band_error(self, connection: ServerConnection, fault: InBandError) -> Mapping[str, Any]:
        """Cartesia's error message, in the older shape or in that of its HTTP errors."""
        shape = "status_code" if connection.path == TURNS_PATH else fault.shape or self.error_shape
        number: dict[str, Any] = {} if fault.code is None else {shape: fault.code}
        error_code, title = _error_of(fault.code)
        named = {"error_code": error_code, "title": title} if shape == "status_code" else {}
        message = fault.message or f"{title}."
        about = {"message": message, "request_id": connection.request_id}
        return {"type": "error", **number, **named, **about}

    def dialogue(self, connection: ServerConnection, wire: Wire) -> Dialogue:
        if connection.path == TURNS_PATH:
            return TurnsDialogue(self, connection, wire)
        return _WhisperDialogue(self, connection, wire)


class _WhisperDialogue(Dialogue):
    """One ink-whisper connection. Each transcript has only what is new since the last final."""

    def __init__(self, server: FakeCartesia, connection: ServerConnection, wire: Wire) -> None:
        super().__init__(server, connection, wire)
        self._settings = server
        self._pending: list[HeardWord] = []
        self._until = 0.0  # seconds of audio covered by finals
        self._last_sent_at = 0.0  # seconds of audio at the last transcript
        self._has_sent_words = False

    def on_words(self, words: list[HeardWord]) -> None:
        self._pending += words
        silence = self._settings.pause(self._settings.endpoint_silence)
        if self._pending and (
            self.recognizer.silence >= silence or self._settings.is_long(self._pending)
        ):
            self._transcribe()
        elif (
            self._settings.interims
            and self.recognizer.position - self._last_sent_at >= _INTERIM_EVERY
        ):
            self._send_interim()

    def on_text(self, text: str) -> None:
        # The server accepts exactly these texts, and takes others for an error.
        if text == "finalize":
            self._finalize()
        elif self.is_closing_message(text):
            self._conclude()

    def is_closing_message(self, text: str) -> bool:
        return text in ("close", "done")

    def restart(self) -> None:
        super().restart()
        self._pending = []

    def _finalize(self) -> None:
        self._pending += self.recognizer.finish()
        if self._settings.flush_done_first:
            self._send_message("flush_done")
        if self._pending or self._settings.empty_finals:
            self._transcribe()
        if not self._settings.flush_done_first:
            self._send_message("flush_done")

    def _conclude(self) -> None:
        self._pending += self.recognizer.finish()
        if self._pending:
            self._transcribe()
        self.finish(self._message("done"))

    def _send_interim(self) -> None:
        """Send the pending words, if there are any, as an interim."""
        if pending := [*self._pending, *self.recognizer.tentative]:
            self._transcript(pending, is_final=False)

    def _transcribe(self) -> None:
        """Send all pending words as one final."""
        self._transcript(self._pending, is_final=True)
        self._has_sent_words |= bool(self._pending)
        self._pending = []
        self._until = self.recognizer.position

    def _transcript(self, pending: Sequence[HeardWord], *, is_final: bool) -> None:
        words = self._settings.written(pending)
        text = written(words)
        self._last_sent_at = self.recognizer.position
        self._send_message(
            "transcript",
            # Each text continues the one before: joined, they are the whole transcript.
            text=f" {text}" if text and self._has_sent_words else text,
            is_final=is_final,
            # The plugin computes the times of finals by adding up durations, so they begin where
            # the last final ended.
            duration=round(self._last_sent_at - self._until, 3),
            language=self.connection.query.get("language", _DEFAULT_LANGUAGE),
            words=[
                {"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}
                for word in words
            ],
        )

    def _send_message(self, kind: str, **fields: Any) -> None:
        self.send(self._message(kind, **fields))

    def _message(self, kind: str, **fields: Any) -> dict[str, Any]:
        return {"type": kind, "request_id": self.connection.request_id, **fields}


def _error_of(status: int | str | None) -> tuple[str, str]:
    """The error_code and the title for a status."""
    return _ERRORS.get(status, _SERVER_ERROR) if isinstance(status, int) else _SERVER_ERROR
