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
from dataclasses import dataclass

import aiohttp
from livekit.agents import APIConnectionError, APIError, APIStatusError, APITimeoutError

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

    `detail` names the exception's type and never repeats its text: a provider may have put an API
    key or a transcript into it. `retry_after` is in seconds.
    """

    kind: ErrorKind
    detail: str
    retry_after: float | None = None


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
    if isinstance(error, APIStatusError):
        status = error.status_code if isinstance(error.status_code, int) else -1
        return _of_status(status, name, retry_after(error))
    if isinstance(error, APITimeoutError | asyncio.TimeoutError):
        return Failure(ErrorKind.CONNECT, name)
    if isinstance(error, APIConnectionError):
        connecting = str(error.message).lower().startswith("failed to connect")
        return Failure(ErrorKind.CONNECT if connecting else ErrorKind.DROPPED, name)
    if isinstance(error, APIError):
        return Failure(ErrorKind.SERVER, name)
    if isinstance(error, aiohttp.ClientError | OSError):
        return Failure(ErrorKind.DROPPED, name)
    return Failure(ErrorKind.PROTOCOL, name)


def retry_after(error: APIStatusError) -> float | None:
    """Return the seconds a server asked to wait; `None` if it did not ask for a sensible time.

    LiveKit's `APIStatusError` has no headers, so this finds `Retry-After` only where a plugin
    copied it into the body.
    """
    body = error.body
    if not isinstance(body, dict):
        return None
    value = {str(k).lower().replace("-", "_"): v for k, v in body.items()}.get("retry_after")
    try:
        seconds = float(value) if value is not None else None
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if seconds is not None and 0 < seconds < float("inf") else None


def lacks_http_session(error: BaseException) -> bool:
    """Whether a plugin was used outside a worker without an HTTP session, a mistake of the user.

    LiveKit's `http_context` raises a `RuntimeError`; plugins let it through or raise an error of
    their own from it, so the chain of causes is searched.
    """
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:  # `raise e from e` makes a cycle
        if isinstance(cause, RuntimeError) and "http session" in str(cause):
            return True
        seen.add(id(cause))
        cause = cause.__cause__
    return False


def no_http_session() -> APIConnectionError:
    """Make the error to raise when every provider lacks an HTTP session."""
    return APIConnectionError(
        "there is no HTTP session for the providers: outside an agent worker, use them inside "
        "`async with livekit.agents.utils.http_context.open():` or give each provider an "
        "`http_session=`",
        retryable=False,
    )


def _of_status(status: int, name: str, wait: float | None) -> Failure:
    detail = f"{name} {status}"
    if status in _BY_STATUS:
        return Failure(_BY_STATUS[status], detail, wait)
    if 400 <= status < 500:
        return Failure(ErrorKind.BAD_REQUEST, detail, wait)
    if 500 <= status < 600:
        return Failure(ErrorKind.SERVER, detail, wait)
    return Failure(ErrorKind.DROPPED, detail, wait)
