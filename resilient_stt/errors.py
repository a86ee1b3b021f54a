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

import re
import socket
import ssl
from dataclasses import dataclass

import aiohttp
from livekit.agents import APIConnectionError, APIError, APIStatusError, APITimeoutError

from . import kinds
from .causes import (
    attribute,
    chain,
    is_impossible_key,
    is_normal_close,
    reason_of,
    refuses_language,
    retry_after_of,
)
from .core.events import ErrorKind
from .core.messages import ACCOUNT_ERRORS
from .signs import Signs, links, read_signs

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


_CONNECTING = frozenset(
    {
        "ConnectError",  # httpx, httpcore
        "ConnectTimeout",
        "ConnectTimeoutError",  # urllib3, botocore
        "EndpointConnectionError",
        "NewConnectionError",
        "PoolTimeout",
        "InvalidHandshake",  # the base of those of `websockets`
        "InvalidURI",
    }
)
"""Names of exceptions, or of their bases, of clients that this package does not import."""
_TRANSPORT = frozenset(
    {"TransportError", "NetworkError", "ProtocolError", "ConnectionError", "ConnectionClosed"}
)
"""The same of a connection that broke."""
_CONNECT_FAILED = re.compile(
    r"\b(fail(ed|ure)|unable|could not|cannot|can't) (to )?(connect|establish|open)"
    r"|\bconnection (failed|refused)\b",
    re.IGNORECASE,
)
_BROKEN = re.compile(r"\b(closed|lost|dropped|disconnected|stopped)\b", re.IGNORECASE)


def classify(error: BaseException) -> Failure:
    """Classify an exception that a provider's stream or `recognize()` raised, by what it carries.

    LiveKit's plugins (1.8.9) raise an `APIStatusError` with an HTTP status or a close code, an
    `APIConnectionError` with or without the status of a refused handshake behind it, the exceptions
    of `aiohttp`, `httpx`, `grpc`, `websockets` or an SDK as they are, and plain Python exceptions
    for messages that they do not expect.
    """
    name = type(error).__name__
    if lacks_http_session(error):
        return Failure(ErrorKind.BAD_REQUEST, "no HTTP session")
    if is_impossible_key(error):
        reason = "the API key has a line break, or a character that no HTTP header may have"
        return Failure(ErrorKind.AUTH, f"{name}: {reason}")
    signs = read_signs(error)
    kind = _kind_of_signs(signs) or _kind_of_type(error)
    closed_normally = kind not in _TOLD and is_normal_close(error)
    detail = _detail(error, signs)
    return Failure(kind, detail, retry_after(error), closed_normally, signs.status)


def classify_for(error: BaseException, language: str) -> Failure:
    """Classify what a plugin raised that was given a language; empty if it was given none."""
    if not (language and refuses_language(error)):
        return classify(error)
    detail = f"does not take the language {language}"
    return Failure(ErrorKind.BAD_REQUEST, detail, refused_language=language)


_TOLD = (*ACCOUNT_ERRORS, ErrorKind.RATE_LIMITED)
"""What a provider tells of the account, whatever the number is that it comes with."""


def _kind_of_signs(signs: Signs) -> ErrorKind | None:
    told = kinds.of_account(signs.codes, signs.text)
    kind = (
        kinds.of_status(signs.status)
        or kinds.of_grpc(signs.grpc)
        or kinds.of_close_code(signs.close_code)
    )
    if signs.grpc and kinds.of_grpc(signs.grpc) is ErrorKind.DROPPED:
        kind = ErrorKind.DROPPED  # Google's OUT_OF_RANGE has the status 400, too
    match kind:
        case None:
            return told or kinds.of_codes(signs.codes)
        case ErrorKind.RATE_LIMITED | ErrorKind.AUTH | ErrorKind.BAD_REQUEST:
            return _refined(kind, told)
        case _:
            return kind


def _refined(kind: ErrorKind, told: ErrorKind | None) -> ErrorKind:
    """Return what a number means together with the words beside it, which say more.

    OpenAI answers 429 to an account without credit, ElevenLabs 401, AssemblyAI closes for too many
    sessions as "unauthorized", and some answer 400 to everything.
    """
    if kind is ErrorKind.RATE_LIMITED and told is not ErrorKind.QUOTA:
        return kind
    return told or kind


def _kind_of_type(error: BaseException) -> ErrorKind:
    message = str(attribute(error, "message") or "")
    if isinstance(error, APIConnectionError) and not isinstance(error, APITimeoutError):
        if _CONNECT_FAILED.search(message):
            return ErrorKind.CONNECT
        if _BROKEN.search(message):
            return ErrorKind.DROPPED
    plain = isinstance(error, APIError)
    if plain and not isinstance(error, APIConnectionError | APIStatusError):
        return ErrorKind.SERVER
    network = next(filter(None, map(_of_network, links(error))), None)
    return network or (ErrorKind.DROPPED if plain else ErrorKind.PROTOCOL)


def _of_network(error: BaseException) -> ErrorKind | None:
    """Return whether a connection could not be made or broke; `None` if it is about neither."""
    names = {base.__name__ for base in type(error).__mro__}
    match error:
        case aiohttp.ClientConnectionResetError():
            return ErrorKind.DROPPED
        case aiohttp.ServerTimeoutError() if type(error) is aiohttp.ServerTimeoutError:
            return ErrorKind.DROPPED  # of an open websocket: no answer to a ping
        case TimeoutError() | APITimeoutError() | ConnectionRefusedError():
            return ErrorKind.CONNECT
        case (
            # raised by requests, not by open websockets
            aiohttp.ClientOSError()
            | aiohttp.ServerDisconnectedError()
            | aiohttp.ClientResponseError()
            | aiohttp.InvalidURL()
            | socket.gaierror()
            | ssl.SSLError()
        ):
            return ErrorKind.CONNECT
    if names & _CONNECTING or type(error).__name__.endswith(("Timeout", "TimeoutError")):
        return ErrorKind.CONNECT
    if isinstance(error, aiohttp.ClientError | OSError) or names & _TRANSPORT:
        return ErrorKind.DROPPED
    return None


def _detail(error: BaseException, signs: Signs) -> str:
    name = type(error).__name__
    if isinstance(error, APIStatusError):
        return f"{name} {signs.status or error.status_code}"
    reason = reason_of(error)
    if not reason and signs.status:
        reason = f"status {signs.status}"
    if not reason and signs.grpc:
        reason = signs.grpc
    if not reason and signs.close_code:
        reason = f"close code {signs.close_code}"
    return f"{name}: {reason}" if reason else name


def retry_after(error: BaseException) -> float | None:
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
