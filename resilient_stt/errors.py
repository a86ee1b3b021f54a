"""The package's errors, and the one place that classifies exceptions of providers.

    ResilientSTTError
    ├── ConfigurationError (ValueError)     the given providers or options cannot work
    │   └── NoKey                           a provider's API key is not set
    ├── AudioFormatError (ValueError)       a frame does not fit the stream
    ├── StreamClosedError (RuntimeError)    audio was pushed after the end
    └── SpeechDetectorError (RuntimeError)  the detector given as `vad=` failed; emitted, not raised

A stream that gives up raises LiveKit's own `APIConnectionError`, because LiveKit reacts to no other
type.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import aiohttp
from livekit.agents import APIConnectionError, APIError, APIStatusError, APITimeoutError

from .causes import (
    chain,
    is_impossible_key,
    is_normal_close,
    reason_of,
    refuses_language,
    retry_after_of,
)
from .core.events import ErrorKind

__all__ = [
    "AudioFormatError",
    "ConfigurationError",
    "ErrorKind",
    "Failure",
    "NoKey",
    "ResilientSTTError",
    "SpeechDetectorError",
    "StreamClosedError",
    "classify",
    "classify_for",
    "lacks_http_session",
    "no_http_session",
]


class ResilientSTTError(Exception):
    """Base of every error that the user can fix."""


class ConfigurationError(ResilientSTTError, ValueError):
    """The given providers or options cannot work; the message says what to do."""


class NoKey(ConfigurationError):
    """A provider has no API key; the message names the environment variable to set."""

    def __init__(self, variable: str) -> None:
        super().__init__(f"no key: set {variable}")


class AudioFormatError(ResilientSTTError, ValueError):
    """A frame does not fit the stream: its sample rate changed, or it has no channels."""


class StreamClosedError(ResilientSTTError, RuntimeError):
    """Audio was pushed after `end_input()` or `aclose()`, or a stream opened after `aclose()`."""


class SpeechDetectorError(ResilientSTTError, RuntimeError):
    """The speech detector given as `vad=` raised, or broke the contract of `SpeechDetector`.

    It is never raised to a caller. The detector is switched off for its stream, the call goes on
    without local voice activity, and this error is logged and emitted as LiveKit's `error` event,
    once. `__cause__` is the detector's own exception, if it raised one.
    """


@dataclass(frozen=True, slots=True)
class Failure:
    """What an exception of a provider means for the decisions.

    `detail` names the exception's type, and what is known of its cause (`causes.reason_of`). It
    never repeats a text: a provider may have put an API key or a transcript into it. `retry_after`
    is in seconds. `closed_normally`: the provider closed the connection without an error, or
    because it was idle. `status`: the HTTP status, 0 if there was none.
    """

    kind: ErrorKind
    detail: str
    retry_after: float | None = None
    closed_normally: bool = False
    status: int = 0
    refused_language: str = ""
    """The tag that the plugin does not take, if that is the reason."""


_BY_STATUS = {
    400: ErrorKind.BAD_REQUEST,
    401: ErrorKind.AUTH,
    402: ErrorKind.QUOTA,
    403: ErrorKind.AUTH,
    404: ErrorKind.BAD_REQUEST,
    405: ErrorKind.BAD_REQUEST,
    408: ErrorKind.CONNECT,
    413: ErrorKind.BAD_REQUEST,
    422: ErrorKind.BAD_REQUEST,
    429: ErrorKind.RATE_LIMITED,
}


def classify(error: BaseException) -> Failure:
    """Classify an exception that a provider's stream or `recognize()` raised.

    LiveKit's plugins (1.8.9) raise `APIStatusError` with an HTTP status when connecting; Deepgram's
    also raises it with a websocket close code later. They raise `APIConnectionError` for transport
    errors, with a message that begins "failed to connect" if no connection was made yet, and plain
    Python exceptions for server messages that they do not expect.
    """
    name = type(error).__name__
    if lacks_http_session(error):
        return Failure(ErrorKind.BAD_REQUEST, "no HTTP session")
    if is_impossible_key(error):
        reason = "the API key has a line break, or a character that no HTTP header may have"
        return Failure(ErrorKind.AUTH, f"{name}: {reason}")
    if isinstance(error, APIStatusError):
        status = error.status_code if isinstance(error.status_code, int) else -1
        failure = _of_status(status, name, retry_after(error))
    else:
        reason = reason_of(error)
        kind = _kind_of(error)
        failure = Failure(kind, f"{name}: {reason}" if reason else name)
    return replace(failure, closed_normally=is_normal_close(error))


def classify_for(error: BaseException, language: str) -> Failure:
    """Classify what a plugin raised that was given a language; empty if it was given none."""
    if not (language and refuses_language(error)):
        return classify(error)
    detail = f"does not take the language {language}"
    return Failure(ErrorKind.BAD_REQUEST, detail, refused_language=language)


def _kind_of(error: BaseException) -> ErrorKind:
    if isinstance(error, APITimeoutError | asyncio.TimeoutError):
        return ErrorKind.CONNECT
    if isinstance(error, APIConnectionError):
        connecting = str(error.message).lower().startswith("failed to connect")
        return ErrorKind.CONNECT if connecting else ErrorKind.DROPPED
    if isinstance(error, APIError):
        return ErrorKind.SERVER
    if isinstance(error, aiohttp.ClientError | OSError):
        return ErrorKind.DROPPED
    return ErrorKind.PROTOCOL


def retry_after(error: APIStatusError) -> float | None:
    """Return the seconds a server asked to wait; `None` if it did not ask for a sensible time.

    LiveKit's `APIStatusError` has no headers. They are those of the exception that it was raised
    for; some plugins copy `Retry-After` into the body.
    """
    return retry_after_of(error)


def lacks_http_session(error: BaseException) -> bool:
    """Whether a plugin was used outside a worker without an HTTP session, a mistake of the user.

    LiveKit's `http_context` raises a `RuntimeError`; plugins let it through or raise an error of
    their own from it, so the chain of causes is searched.
    """
    return any(isinstance(e, RuntimeError) and "http session" in str(e) for e in chain(error))


def no_http_session() -> APIConnectionError:
    """Make the error to raise when every provider lacks an HTTP session."""
    return APIConnectionError(
        "there is no HTTP session for the providers: outside an agent worker, use them inside "
        "`async with livekit.agents.utils.http_context.open():` or give each provider an "
        "`http_session=`",
        retryable=False,
    )


def _of_status(status: int, name: str, wait: float | None) -> Failure:
    is_http = 100 <= status < 600
    if status in _BY_STATUS:
        kind = _BY_STATUS[status]
    elif 400 <= status < 500:
        kind = ErrorKind.BAD_REQUEST
    elif 500 <= status < 600:
        kind = ErrorKind.SERVER
    else:
        kind = ErrorKind.DROPPED
    return Failure(kind, f"{name} {status}", wait, status=status if is_http else 0)
