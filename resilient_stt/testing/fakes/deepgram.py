"""A fake Deepgram on loopback: `/v1/listen`, streaming and batch.

The messages are those of https://developers.deepgram.com/reference/speech-to-text/listen-streaming
and https://developers.deepgram.com/reference/speech-to-text/listen-pre-recorded, and those that
`livekit-plugins-deepgram` sends.
"""

from __future__ import annotations

import json
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from aiohttp import web

from ..faults import InBandError
from ..speech.languages import base, written
from ..speech.recognizer import HeardWord
from .recordings import samples_of, take_time, words_in
from .server import Dialogue, Rejection, Sent, ServerConnection
from .web import FakeWebServer

if TYPE_CHECKING:
    from livekit.plugins import deepgram

    from .wires import Wire

# err_code and err_msg by status: https://developers.deepgram.com/docs/errors
_ERRORS = {
    400: ("Bad Request", "Bad Request: failed to process the request."),
    401: ("INVALID_AUTH", "Invalid credentials."),
    402: ("ASR_PAYMENT_REQUIRED", "Project does not have enough credits for an ASR request."),
    403: ("INSUFFICIENT_PERMISSIONS", "Project does not have access to the requested model."),
    429: ("TOO_MANY_REQUESTS", "Too many requests. Please try again later."),
    503: ("SERVICE_UNAVAILABLE", "The service is temporarily unavailable."),
}
_SERVER_ERROR = ("INTERNAL_SERVER_ERROR", "Internal server error.")

_MULTI = "multi"
# https://developers.deepgram.com/docs/multilingual-code-switching. Words of languages that are not
# listed are recognized as wrong words of the first.
_MULTILINGUAL = {
    "nova-3": ("en", "es", "fr", "de", "hi", "ru", "pt", "ja", "it", "nl"),
    "nova-2": ("en", "es"),
}
_DEFAULT_LANGUAGE = "en"
_RESULTS_EVERY = 1.0  # seconds of audio between two Results, in speech and in silence
_LONGEST_SEGMENT = 4.0  # seconds of speech after which the words so far become final
_PUNCTUATION = string.punctuation + "¿¡…。，、？！：；"
_SURE, _UNSURE = 0.99, 0.62  # confidence in right words, and in fragments and wrong words
# https://developers.deepgram.com/docs/stt-troubleshooting-websocket-data-and-net-errors
_IDLE = "NET-0001: Deepgram did not receive audio data or a text message within the timeout window."
_CORRUPT = "Bad Request: failed to process audio: corrupt or unsupported data"
_MODEL_UUID = "40bd3654-0000-4000-8000-000000000000"


class _ListenDialogue(Dialogue):
    """One connection: interim results, several finals in an utterance, then a `speech_final`."""

    def __init__(self, server: FakeDeepgram, connection: ServerConnection, wire: Wire) -> None:
        super().__init__(server, connection, wire)
        self._settings = server
        self._pending: list[HeardWord] = []
        self._start = 0.0  # seconds of audio covered by finals
        self._reported = 0.0  # seconds of audio at the last Results
        self._speaking = False
        self._utterance_end: float | None = None  # seconds of audio, where its last word ends

    def on_words(self, words: list[HeardWord]) -> None:
        self._pending += words
        self._notice_speech(words)
        position = self.recognizer.position
        silence = self._settings.pause(self._settings.endpoint_silence)
        if self._speaking and self.recognizer.silence >= silence:
            self._report(final=True, ends_speech=self._asked("endpointing"))
            self._speaking = False
        elif words and (
            position - self._pending[0].start >= _LONGEST_SEGMENT
            or self._settings.is_long(self._pending)
        ):
            self._report(final=True)
        elif position - self._reported >= _RESULTS_EVERY:
            self._report_progress()
        self._notice_utterance_end(words)

    def on_text(self, text: str) -> None:
        match _kind(text):
            case "Finalize":
                self._pending += self.recognizer.finish()
                ends_speech = self._settings.finalize_ends_speech
                self._speaking &= not ends_speech
                self._report(final=True, ends_speech=ends_speech, from_finalize=True)
            case "CloseStream":
                self._conclude()
            case _:
                pass  # KeepAlive, and unknown messages, which Deepgram ignores

    def is_closing_message(self, text: str) -> bool:
        return _kind(text) == "CloseStream"

    def restart(self) -> None:
        super().restart()
        self._pending = []
        self._start = self._reported = self.recognizer.position
        self._speaking = False
        self._utterance_end = None

    def expire(self) -> None:
        self.close_when_sent(1011, _IDLE, last=self._metadata())

    def _asked(self, option: str) -> bool:
        return _asked(self.connection.query, option)

    def _notice_speech(self, words: list[HeardWord]) -> None:
        first = words[0] if words else self.recognizer.partial
        if self._speaking or first is None:
            return
        self._speaking = True
        if self._asked("vad_events"):
            timestamp = round(first.start, 3)
            self.send({"type": "SpeechStarted", "channel": [0], "timestamp": timestamp})

    def _notice_utterance_end(self, words: list[HeardWord]) -> None:
        """Send UtteranceEnd once no word has come for the time that the query asks for."""
        if words:
            self._utterance_end = words[-1].end
        silence = self.connection.query.get("utterance_end_ms")
        if silence is None or self._utterance_end is None:
            return
        if self.recognizer.silence >= int(silence) / 1000:
            end, self._utterance_end = round(self._utterance_end, 3), None
            self.send({"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": end})

    def _report_progress(self) -> None:
        """Send what comes about once a second: an interim, or in silence an empty final."""
        if not self._speaking:
            self._report(final=True, ends_speech=self._asked("endpointing"))
        elif self._asked("interim_results"):
            self._report(final=False)

    def _conclude(self) -> None:
        self._pending += self.recognizer.finish()
        if self._pending:
            self._report(final=True, ends_speech=True)
        self.finish(self._metadata())

    def _report(
        self, *, final: bool, ends_speech: bool = False, from_finalize: bool = False
    ) -> None:
        """Send the pending words as one Results message."""
        position = self.recognizer.position
        pending = self._pending if final else [*self._pending, *self.recognizer.tentative]
        words = self._settings.written(pending)
        message = {
            "type": "Results",
            "channel_index": [0, 1],
            "start": round(self._start, 3),
            "duration": round(position - self._start, 3),
            "is_final": final,
            "speech_final": ends_speech,
            "from_finalize": from_finalize,
            "channel": {"alternatives": [_alternative(words, self.connection.query)]},
            "metadata": {
                "request_id": self.connection.request_id,
                "model_info": _model_info(self.connection),
                "model_uuid": _MODEL_UUID,
            },
        }
        self._reported = position
        if final:
            self._start, self._pending = position, []
        self.send(message)

    def _metadata(self) -> dict[str, Any]:
        return {"type": "Metadata", **_metadata(self.connection, self.recognizer.position)}


@dataclass(kw_only=True, repr=False, eq=False)
class FakeDeepgram(FakeWebServer):
    """A Deepgram that transcribes the audio it receives.

    The server knows the `language` of the query, by default English. With `multi` it knows the
    languages that the model has in it (Chinese is not among them), and adds each word's language.

    A POST to the same path is the batch endpoint. It has `ConnectFault`s, and a `Latency` that does
    not wait for a place in the audio. With `detect_language` it knows only the language of most of
    the words.

    Args:
        faults: What goes wrong. Can be assigned while the server runs.
        latency: Seconds from the audio to the transcript of it.
        endpoint_silence: Seconds without speech after which speech ends (`speech_final`). The
            `endpointing` of the query only decides whether it does: its usual 25 ms would end
            speech within words.
        handshake: Seconds from the request to the 101.
        finalize_ends_speech: The response to `Finalize` is a `speech_final`, too.
        concurrency: Open websockets at once. A request beyond them is answered with 429.
            Connections whose peer has vanished count. None: no limit.
        idle_timeout: Seconds without audio or text after which the server sends Metadata and closes
            with 1011, NET-0001. Pings do not count. None: never. Up to 12 s were measured in
            production.
        max_burst: Seconds of audio that may arrive ahead of real time, counted from the 101. Beyond
            them the server closes with 1008. None: no limit.
        speed: The multiple of real time at which audio is processed at most. Text messages wait for
            the audio before them. 1.25 was measured in production. None: no limit.
        max_message: Bytes of a message beyond which the server closes with 1009. None: no limit.
        recognizer: Makes the recognizer of each connection, such as a `SegmentRecognizer`. None:
            one that knows the `corpus`.
        corpus: The recordings that it recognizes. None: all that are shipped.
        accent: How it writes and times what it recognizes. Can be assigned while the server runs.
            None: as it was spoken.

    Raises:
        ValueError: A fault waits for a word that is not in the corpus, or that the `recognizer`
            does not know.
    """

    plugin = "deepgram"
    path = base_path = "/v1/listen"
    dialogue_class: ClassVar[Callable[..., Dialogue]] = _ListenDialogue
    post_paths: ClassVar[tuple[str, ...]] = ("/v1/listen",)
    request_id_header = "dg-request-id"

    latency: float = 0.15
    endpoint_silence: float = 0.25
    idle_timeout: float | None = 10.0
    finalize_ends_speech: bool = False

    def stt(self, **options: Any) -> deepgram.STT:
        """The published plugin, with its `base_url` here. `options` are those of `deepgram.STT`."""
        from livekit.plugins import deepgram

        return deepgram.STT(**{**self.plugin_options, **self.address, **options})

    def languages(self, connection: ServerConnection) -> Sequence[str]:
        language = connection.query.get("language", _DEFAULT_LANGUAGE)
        return _multilingual(connection.query) if language == _MULTI else (base(language),)

    def check(self, request: web.Request) -> None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() not in ("token", "bearer") or not key:
            raise Rejection(401, "Invalid credentials.")
        if request.query.get("language") == _MULTI and not _multilingual(request.query):
            raise Rejection(400, "Bad Request: this model has no language=multi.")
        if request.method == "POST":
            return  # the format is known once the body has been read
        # Raw samples of an unknown format cannot be decoded. The plugin always names the encoding.
        if request.query.get("encoding") != "linear16":
            raise Rejection(400, "Bad Request: the encoding must be linear16.")
        if not request.query.get("sample_rate", "").isdecimal():
            raise Rejection(400, "Bad Request: the sample_rate must be a number.")
        if not request.query.get("utterance_end_ms", "0").isdecimal():
            raise Rejection(400, "Bad Request: the utterance_end_ms must be a number.")

    def rejection(self, status: int, request_id: str, message: str | None = None) -> web.Response:
        response = super().rejection(status, request_id, message)
        response.headers["dg-error"] = message or _error_of(status)[1]
        return response

    def error_body(self, status: int, request_id: str, message: str | None) -> Mapping[str, Any]:
        err_code, err_msg = _error_of(status)
        return {"err_code": err_code, "err_msg": message or err_msg, "request_id": request_id}

    async def answer_post(self, request: web.Request, connection: ServerConnection) -> web.Response:
        pcm, sample_rate = _audio_of(await request.read(), request.query)
        connection.audio = len(pcm) / 2 / sample_rate
        detect = _asked(connection.query, "detect_language")
        words = words_in(self, pcm, sample_rate, None if detect else self.languages(connection))
        detected = _languages_of(words)[:1] or [_DEFAULT_LANGUAGE]
        if detect:
            words = words_in(self, pcm, sample_rate, detected)
        await take_time(self, connection)
        written = _alternative(self.written(words), connection.query)
        channel: dict[str, Any] = {"alternatives": [written]}
        if detect:
            channel |= {"detected_language": detected[0], "language_confidence": _SURE}
        metadata = _metadata(connection, connection.audio)
        body = {"metadata": metadata, "results": {"channels": [channel]}}
        connection.sent.append(Sent(self.now, body))
        connection.end("answered with 200")
        return web.json_response(body, headers={self.request_id_header: connection.request_id})

    def in_band_error(self, connection: ServerConnection, fault: InBandError) -> Mapping[str, Any]:
        """Deepgram's error message. Its SDKs read `description`, `message` and `variant`, and no
        number."""
        err_code, err_msg = _error_of(fault.code)
        number = {} if fault.code is None else {"err_code": err_code}
        return {
            "type": "Error",
            **number,
            "description": fault.message or err_msg,
            "message": fault.message or err_msg,
            "variant": err_code,
            "request_id": connection.request_id,
        }


def _asked(query: Mapping[str, str], option: str) -> bool:
    """Whether the query switches an option on."""
    return query.get(option, "false") != "false"


def _alternative(heard: Sequence[HeardWord], query: Mapping[str, str]) -> dict[str, Any]:
    """The words as one alternative of a Results message or a batch response."""
    words = [_word(word, query) for word in heard]
    if not _asked(query, "punctuate"):
        heard = [replace(word, text=_bare(word)) for word in heard]
    alternative: dict[str, Any] = {
        "transcript": written(heard),
        "confidence": min((word["confidence"] for word in words), default=0.0),
        "words": words,
    }
    if words and query.get("language") == _MULTI:
        alternative["languages"] = _languages_of(heard)
    return alternative


def _word(word: HeardWord, query: Mapping[str, str]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "word": _bare(word),
        "start": round(word.start, 3),
        "end": round(word.end, 3),
        "confidence": _SURE if word.whole and word.known else _UNSURE,
    }
    if _asked(query, "punctuate"):
        entry["punctuated_word"] = word.text
    if query.get("language") == _MULTI:
        entry["language"] = word.language
    return entry


def _bare(word: HeardWord) -> str:
    return word.text.lower().strip(_PUNCTUATION)


def _languages_of(words: Sequence[HeardWord]) -> list[str]:
    """The languages of words, that of most of them first."""
    return [language for language, _ in Counter(word.language for word in words).most_common()]


def _multilingual(query: Mapping[str, str]) -> tuple[str, ...]:
    """The languages that a model knows with `multi`; empty if it does not have that."""
    model = query.get("model", "")
    return next((known for family, known in _MULTILINGUAL.items() if model.startswith(family)), ())


def _model_info(connection: ServerConnection) -> dict[str, str]:
    model = connection.query.get("model", "base")
    return {"name": f"general-{model}", "version": "fake", "arch": model}


def _metadata(connection: ServerConnection, duration: float) -> dict[str, Any]:
    return {
        "transaction_key": "deprecated",
        "request_id": connection.request_id,
        "sha256": "0" * 64,
        "created": "2025-01-01T00:00:00.000Z",
        "duration": round(duration, 3),
        "channels": 1,
        "models": [_MODEL_UUID],
        "model_info": {_MODEL_UUID: _model_info(connection)},
    }


def _audio_of(body: bytes, query: Mapping[str, str]) -> tuple[bytes, int]:
    """The 16-bit mono samples of a batch request, and their rate in Hz.

    Raises:
        Rejection: The body is neither a WAV file of 16-bit samples nor declared as linear16.
    """
    if not body.startswith(b"RIFF"):
        if query.get("encoding") != "linear16" or not query.get("sample_rate", "").isdecimal():
            raise Rejection(400, _CORRUPT)
        return body, int(query["sample_rate"])
    return samples_of(body, _CORRUPT)


def _error_of(status: int | str | None) -> tuple[str, str]:
    """The err_code and the err_msg for a status. A string is an err_code itself."""
    if isinstance(status, str):
        return status, _SERVER_ERROR[1]
    return _SERVER_ERROR if status is None else _ERRORS.get(status, _SERVER_ERROR)


def _kind(text: str) -> str:
    """The `type` of a client's message; empty if it has none."""
    try:
        message = json.loads(text)
    except ValueError:
        return ""
    return str(message.get("type", "")) if isinstance(message, dict) else ""
