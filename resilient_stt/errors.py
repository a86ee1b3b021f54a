"""Our errors, and the one place where foreign exceptions are given a meaning.

    ResilientSTTError
    ├── ConfigurationError (ValueError)    the providers or options given cannot work
    │   └── NoKey                          a provider's key is not set
    ├── AudioFormatError (ValueError)      a frame that does not fit the stream
    └── StreamClosedError (RuntimeError)   audio pushed after the end

A stream that gives up raises LiveKit's own `APIConnectionError`, for LiveKit acts on nothing else.
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
    "StreamClosedError",
    "classify",
    "lacks_http_session",
    "no_http_session",
]


class ResilientSTTError(Exception):
    """Base of every error that is the user's to mend."""


class ConfigurationError(ResilientSTTError, ValueError):
    """The providers or options given cannot work; the message says what to do."""


class NoKey(ConfigurationError):
    """A provider has no key; the message names the environment variable to set."""

    def __init__(self, variable: str) -> None:
        super().__init__(f"no key: set {variable}")


class AudioFormatError(ResilientSTTError, ValueError):
    """A frame that does not fit the stream: its rate changed, or it has no channels."""


class StreamClosedError(ResilientSTTError, RuntimeError):
    """Audio was pushed after `end_input()` or `aclose()`."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What an exception of a provider means. `detail` never holds the exception's own text: a
    provider may have put a key or a transcript into it."""

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
    """Give an exception of a provider's stream its `ErrorKind`.

    Plugins raise `APIStatusError` with an HTTP status at connect and, Deepgram's, with a websocket
    close code later; `APIConnectionError` for anything of the transport, worded "failed to connect
    to ..." before there was a connection; and plain Python errors for messages they do not expect.
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
    """Seconds a provider asked to be left alone, where its plugin kept the header in the body."""
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
    """Whether a plugin was used outside a worker without an HTTP session: the user's own mistake.

    Plugins raise LiveKit's `RuntimeError` as it is, or as the cause of an error of their own.
    """
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:  # `raise e from e` makes a circle
        if isinstance(cause, RuntimeError) and "http session" in str(cause):
            return True
        seen.add(id(cause))
        cause = cause.__cause__
    return False


def no_http_session() -> APIConnectionError:
    """The error for a user all of whose providers lack an HTTP session."""
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
