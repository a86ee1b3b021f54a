"""A Cartesia on loopback: `/stt/websocket`, the protocol of ink-whisper, and that of ink-2.

After https://docs.cartesia.ai/api-reference/stt/stt and what `livekit-plugins-cartesia` sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ..faults import ErrorShape, InBandError
from ..speech.languages import base, written
from ..speech.recognizer import HeardWord
from .ink2 import TURNS_PATH, TurnsDialogue, check_turn_options
from .server import Dialogue, FakeServer, Rejection, ServerConnection

if TYPE_CHECKING:
    from livekit.plugins import cartesia

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
class FakeCartesia(FakeServer):
    """Cartesia's streaming speech-to-text, transcribing what it hears.

    With ink-whisper a final comes after `finalize`, or once `endpoint_silence` without speech was
    heard; interims are a setting. It knows the `language` of the query, English without one. With
    ink-2, on a path of its own, there are turns.

    Args:
        faults: What goes wrong; can be changed while the server runs.
        latency: Seconds from the audio or the `finalize` to the final.
        endpoint_silence: Seconds without speech after which a final comes by itself (ink-whisper).
        handshake: Seconds from the request to the 101.
        empty_finals: Answer a `finalize` with nothing to say by an empty final.
        flush_done_first: Send `flush_done` before its transcript instead of after it.
        interims: Send a transcript that is not final once a second of audio while words are
            pending (ink-whisper). The plugin adds up the durations of all transcripts, so that
            the times of its finals are then too late; those of words are right.
        error_shape: What in-band errors of ink-whisper call their number, if the fault does not
            say it: `code` is what the plugin reads, `status_code` what newer versions send.
        turn_end_silence: Seconds without speech after which a turn ends (ink-2).
        eager_end: Send `turn.eager_end` at half of that silence (ink-2).
        update_interval: Seconds of audio between a turn's events while its text grows (ink-2).
        turn_languages: Those that ink-2 knows, without being told which is spoken. Cartesia's
            newest page has `en fr hi ja es`; the plugin warns of all but English.
        concurrency: Open websockets at once, beyond which a request is answered with 429; those
            whose peer has vanished count. None: any number.
        idle_timeout: Seconds without audio or text, pings do not count, after which it closes with
            1000; None: never. Older documents say 20 s.
        max_burst: Seconds of audio that may come in ahead of real time, counted from the 101;
            beyond that the connection is closed with 1008. None: any.
        speed: The multiple of real time at which audio is processed at most; texts wait for the
            audio before them. 1.5 was seen live. None: any.
        max_message: Bytes of a message beyond which it closes with 1009. 32 KB was seen live.
        corpus: Recordings that it recognises; None: all that are shipped.

    Raises:
        ValueError: A fault waits for a word that the corpus does not have.
    """

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
        """The published plugin, pointed here: `options` are those of `cartesia.STT`."""
        from livekit.plugins import cartesia

        defaults = {"model": "ink-whisper", "api_key": "fake-key", "base_url": self.url}
        return cartesia.STT(**{**defaults, **options})

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

    def rejected(self, status: int, request_id: str, message: str | None = None) -> web.Response:
        error_code, title = _error_of(status)
        body = {
            "error_code": error_code,
            "title": title,
            "message": message or f"{title}.",
            "request_id": request_id,
        }
        headers = {self.request_id_header: request_id}
        return web.json_response(body, status=status, headers=headers)

    def error(self, connection: ServerConnection, fault: InBandError) -> Mapping[str, Any]:
        """Cartesia's error, in the older shape or in that of its HTTP errors."""
        shape = "status_code" if connection.path == TURNS_PATH else fault.shape or self.error_shape
        number: dict[str, Any] = {} if fault.code is None else {shape: fault.code}
        error_code, title = _error_of(fault.code)
        named = {"error_code": error_code, "title": title} if shape == "status_code" else {}
        message = fault.message or f"{title}."
        about = {"message": message, "request_id": connection.request_id}
        return {"type": "error", **number, **named, **about}

    def dialogue(
        self,
        connection: ServerConnection,
        websocket: web.WebSocketResponse,
        transport: asyncio.Transport,
    ) -> Dialogue:
        if connection.path == TURNS_PATH:
            return TurnsDialogue(self, connection, websocket, transport)
        return _WhisperDialogue(self, connection, websocket, transport)


class _WhisperDialogue(Dialogue):
    """One ink-whisper connection: each transcript is the delta since the last final."""

    def __init__(
        self,
        server: FakeCartesia,
        connection: ServerConnection,
        websocket: web.WebSocketResponse,
        transport: asyncio.Transport,
    ) -> None:
        super().__init__(server, connection, websocket, transport)
        self._settings = server
        self._pending: list[HeardWord] = []
        self._until = 0.0  # seconds of audio that finals have covered
        self._told = 0.0  # seconds of audio at the last transcript
        self._said_anything = False

    def on_words(self, words: list[HeardWord]) -> None:
        self._pending += words
        if self._pending and self.hearing.silence >= self._settings.endpoint_silence:
            self._transcribe()
        elif self._settings.interims and self.hearing.position - self._told >= _INTERIM_EVERY:
            self._tell_progress()

    def transcribe(self, text: str) -> None:
        # the server knows exactly these texts; others it would take for an error
        if text == "finalize":
            self._finalize()
        elif self.is_goodbye(text):
            self._conclude()

    def is_goodbye(self, text: str) -> bool:
        return text in ("close", "done")

    def forget(self) -> None:
        super().forget()
        self._pending = []

    def _finalize(self) -> None:
        self._pending += self.hearing.finish()
        if self._settings.flush_done_first:
            self._say("flush_done")
        if self._pending or self._settings.empty_finals:
            self._transcribe()
        if not self._settings.flush_done_first:
            self._say("flush_done")

    def _conclude(self) -> None:
        self._pending += self.hearing.finish()
        if self._pending:
            self._transcribe()
        self.hang_up(self._message("done"))

    def _tell_progress(self) -> None:
        """Say the words that are pending, if any, as an interim."""
        if self._pending:
            self._transcript(is_final=False)

    def _transcribe(self) -> None:
        """Say all pending words as one final."""
        self._transcript(is_final=True)
        self._said_anything |= bool(self._pending)
        self._pending = []
        self._until = self.hearing.position

    def _transcript(self, *, is_final: bool) -> None:
        text = written(self._pending)
        self._told = self.hearing.position
        self._say(
            "transcript",
            # a delta: one after the other, the texts make up the whole
            text=f" {text}" if text and self._said_anything else text,
            is_final=is_final,
            # from the end of the last final, for the plugin adds up durations to get its times
            duration=round(self._told - self._until, 3),
            language=self.connection.query.get("language", _DEFAULT_LANGUAGE),
            words=[
                {"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}
                for word in self._pending
            ],
        )

    def _say(self, kind: str, **fields: Any) -> None:
        self.say(self._message(kind, **fields))

    def _message(self, kind: str, **fields: Any) -> dict[str, Any]:
        return {"type": kind, "request_id": self.connection.request_id, **fields}


def _error_of(status: int | str | None) -> tuple[str, str]:
    """The error_code and the title that go with a status."""
    return _ERRORS.get(status, _SERVER_ERROR) if isinstance(status, int) else _SERVER_ERROR
