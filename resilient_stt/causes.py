"""What the exceptions behind a plugin's exception say: host, DNS, TLS, proxy, headers, close codes.

LiveKit's plugins raise `APIConnectionError(...) from None`, because the exception behind it may
carry the key. It is still there, as `__context__`. Only its type and fields that hold no secret are
read; its text is matched, and never repeated.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

_NORMAL_CODES = (1000, 1001)
"""Normal closure, and going away (RFC 6455, 7.4.1)."""
_CLOSE_CODE = re.compile(r"(?:close[ _]?code\W{0,3}|\breceived )(\d{4})\b", re.IGNORECASE)
_IDLE = re.compile(
    r"\bidle\b|inactiv|(did not|didn't|never) receive[d]? (any )?audio"
    r"|no audio (was )?(received|data)|NET-0001",
    re.IGNORECASE,
)
"""What providers write into the close frame of an idle connection. NET-0001 is Deepgram's code:
https://developers.deepgram.com/docs/stt-troubleshooting-websocket-data-and-net-errors."""
_BAD_HEADER = re.compile(r"header injection|(newline|carriage return|control char)", re.IGNORECASE)
"""What aiohttp, http.client and websockets say of a header with a line break."""


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those that it was raised for; `raise e from e` makes a cycle."""
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        yield cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__


def reason_of(error: BaseException) -> str:
    """Say why a connection could not be made or was lost; empty if the exceptions do not say."""
    for cause in chain(error):
        if cause is error and isinstance(error, asyncio.TimeoutError):
            continue  # its name says it
        if reason := _reason(cause):
            return reason
    return ""


def _reason(error: BaseException) -> str:
    status = _status(error)
    if status is not None:
        return f"status {status}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return _of_connector(error)
    match error:
        case ssl.SSLCertVerificationError():
            return "TLS: the certificate is not valid"
        case ssl.SSLError():
            return "TLS: the handshake failed"
        case socket.gaierror():
            return "DNS does not know the host"
        case aiohttp.ServerDisconnectedError():
            return "the server closed the connection without an answer"
        case asyncio.TimeoutError():
            return "timeout"
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionResetError():  # while the request is sent, aiohttp names no host
            return "connection reset"
    return ""


def _of_connector(error: aiohttp.ClientConnectorError) -> str:
    match error:
        case aiohttp.ClientProxyConnectionError():
            return f"the proxy {_host(error)} cannot be reached"
        case aiohttp.ClientConnectorDNSError():
            return f"DNS does not know {_host(error)}"
        case aiohttp.ClientConnectorCertificateError():
            return f"TLS: the certificate of {_host(error)} is not valid"
        case aiohttp.ClientSSLError():
            return f"TLS: the handshake with {_host(error)} failed"
        case _:
            return f"{_host(error)}: {_of_os_error(error.os_error)}"


def _of_os_error(error: OSError) -> str:
    match error:
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionResetError():
            return "connection reset"
        case TimeoutError():
            return "timeout"
        case _:
            return error.strerror if error.errno and error.strerror else type(error).__name__


def _host(error: aiohttp.ClientConnectorError) -> str:
    return f"{error.host}:{error.port}"


def _status(error: BaseException) -> int | None:
    """The HTTP status of a refused handshake, of aiohttp or of `websockets`."""
    response = attribute(error, "response")
    for value in (attribute(error, "status"), attribute(response, "status_code")):
        if isinstance(value, int) and 100 <= value < 600:
            return value
    return None


def is_impossible_key(error: BaseException) -> bool:
    """Whether a request could not be sent because a header has a character that none may have.

    The one header that a user chooses is the key.
    """
    for cause in chain(error):
        if isinstance(cause, UnicodeEncodeError):
            return True
        if isinstance(cause, ValueError) and _BAD_HEADER.search(str(cause)):
            return True
    return False


def is_normal_close(error: BaseException) -> bool:
    """Whether the provider closed the connection without an error, or because it was idle.

    LiveKit's plugins raise `APIStatusError` with the close code and the reason in its body, or
    `APIConnectionError` with both in its message.
    """
    code = close_code_of(error)
    if not code:
        return False
    said = f"{attribute(error, 'message')} {attribute(error, 'body')}"
    return code in _NORMAL_CODES or _IDLE.search(said) is not None


def close_code_of(error: BaseException) -> int:
    """Return the code with which a WebSocket was closed; 0 if the exceptions do not say."""
    for cause in chain(error):
        frame = attribute(cause, "rcvd")  # of `websockets`
        claims = [attribute(cause, name) for name in ("status_code", "close_code", "code")]
        found = _CLOSE_CODE.search(str(attribute(cause, "message") or ""))
        for code in (attribute(frame, "code"), *claims, int(found[1]) if found else 0):
            if isinstance(code, int) and 1000 <= code < 5000:
                return code
    return 0


def attribute(of: object, name: str) -> Any:
    """Return an attribute of a foreign exception; `None` if it has none, or raises.

    Those that `websockets` has deprecated warn; their values are in its close frames.
    """
    if name in ("code", "reason") and "rcvd" in getattr(of, "__dict__", ()):
        return None
    try:
        return getattr(of, name, None)
    except Exception:
        return None


def refuses_language(error: BaseException) -> bool:
    """Return whether a plugin raised because of the language that it was given.

    Plugins check it themselves (Sarvam's, 1.8.9), and raise a `ValueError` that names it. Its
    subclasses are of a server's answer that cannot be read.
    """
    return any(type(e) is ValueError and "language" in str(e).lower() for e in chain(error))


def retry_after_of(error: BaseException) -> float | None:
    """Return the seconds a server asked to wait, in a header or in the body of its answer."""
    for cause in chain(error):
        response = attribute(cause, "response")
        for source in (
            attribute(cause, "body"),
            attribute(cause, "headers"),
            attribute(response, "headers"),
        ):
            seconds = _seconds(source) if isinstance(source, Mapping) else None
            if seconds is not None:
                return seconds
        if (seconds := _seconds({"retry_after": attribute(cause, "retry_after")})) is not None:
            return seconds  # of an SDK, such as smithy's
    return None


def _seconds(fields: Mapping[str, object]) -> float | None:
    value = {str(k).lower().replace("-", "_"): v for k, v in fields.items()}.get("retry_after")
    try:
        seconds = float(value) if value is not None else None  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        seconds = _until(value)
    return seconds if seconds is not None and 0 < seconds < float("inf") else None


def _until(value: object) -> float | None:
    """Return the seconds until an HTTP date (RFC 9110, 10.2.3)."""
    try:
        return parsedate_to_datetime(str(value)).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
