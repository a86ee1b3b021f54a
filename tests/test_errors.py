"""How foreign exceptions are classified, and that their text is never repeated."""

from __future__ import annotations

import json

import aiohttp
import pytest
from livekit.agents import APIConnectionError, APIError, APIStatusError, APITimeoutError

from resilient_stt import AudioFormatError, ConfigurationError, ResilientSTTError, StreamClosedError
from resilient_stt.core.events import ErrorKind
from resilient_stt.errors import Failure, classify, lacks_http_session, no_http_session, retry_after

SECRET = "sk-secret and what the caller said"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ErrorKind.BAD_REQUEST),
        (401, ErrorKind.AUTH),
        (402, ErrorKind.QUOTA),
        (403, ErrorKind.AUTH),
        (404, ErrorKind.BAD_REQUEST),
        (408, ErrorKind.CONNECT),
        (413, ErrorKind.BAD_REQUEST),
        (418, ErrorKind.BAD_REQUEST),
        (422, ErrorKind.BAD_REQUEST),
        (429, ErrorKind.RATE_LIMITED),
        (500, ErrorKind.SERVER),
        (503, ErrorKind.SERVER),
        (599, ErrorKind.SERVER),
        (-1, ErrorKind.DROPPED),
        (1006, ErrorKind.DROPPED),
        (1011, ErrorKind.DROPPED),
        (4000, ErrorKind.DROPPED),
    ],
)
def test_status(status: int, kind: ErrorKind) -> None:
    """HTTP statuses have their kinds; a websocket close code means a dropped connection."""
    error = APIStatusError(SECRET, status_code=status, body={"error": SECRET})
    http = status if 100 <= status < 600 else 0
    assert classify(error) == Failure(kind, f"APIStatusError {status}", status=http)


def test_a_header_that_cannot_be_encoded() -> None:
    """httpx and websockets encode headers; aiohttp sends any letter, and the server refuses it."""
    error = APIConnectionError(SECRET)
    error.__context__ = UnicodeEncodeError("ascii", SECRET, 0, 1, SECRET)
    failure = classify(error)
    assert failure.kind is ErrorKind.AUTH
    assert "no HTTP header may have" in failure.detail
    assert SECRET not in failure.detail


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (APITimeoutError(), ErrorKind.CONNECT),
        (TimeoutError(), ErrorKind.CONNECT),
        (APIConnectionError(f"failed to connect to cartesia ({SECRET})"), ErrorKind.CONNECT),
        (APIConnectionError(f"Failed to connect to deepgram {SECRET}"), ErrorKind.CONNECT),
        (APIConnectionError(f"connection closed unexpectedly {SECRET}"), ErrorKind.DROPPED),
        (APIError(SECRET), ErrorKind.SERVER),
        (aiohttp.ClientOSError(SECRET), ErrorKind.CONNECT),
        (OSError(SECRET), ErrorKind.DROPPED),
        (KeyError(SECRET), ErrorKind.PROTOCOL),
        (json.JSONDecodeError(SECRET, SECRET, 0), ErrorKind.PROTOCOL),
        (RuntimeError(SECRET), ErrorKind.PROTOCOL),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, Exception) else str(v),
)
def test_kind(error: Exception, kind: ErrorKind) -> None:
    """Every exception has a kind, and its detail is the name of its class."""
    assert classify(error) == Failure(kind, type(error).__name__)


@pytest.mark.parametrize("kind", [aiohttp.ClientConnectionResetError, ConnectionResetError])
def test_a_reset(kind: type[Exception]) -> None:
    """The reason of a lost connection is told beside the name of the exception."""
    assert classify(kind(SECRET)) == Failure(
        ErrorKind.DROPPED, f"{kind.__name__}: connection reset"
    )


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({"retry_after": 3}, 3.0),
        ({"Retry-After": "3.5"}, 3.5),
        ({"RETRY_AFTER": 3}, 3.0),
        ({"retry_after": "soon"}, None),
        ({"retry_after": [3]}, None),
        ({"retry_after": -1}, None),
        ({"retry_after": 0}, None),
        ({"retry_after": float("inf")}, None),
        ({"retry_after": float("nan")}, None),
        ({"retry_after": None}, None),
        ({}, None),
        ("retry_after: 3", None),
        (None, None),
    ],
)
def test_retry_after(body: object, seconds: float | None) -> None:
    """Only a positive finite number of seconds counts."""
    error = APIStatusError("busy", status_code=429, body=body)
    assert retry_after(error) == seconds
    assert classify(error).retry_after == seconds


def test_a_missing_http_session_is_recognized() -> None:
    """LiveKit's error is recognized also as the cause of another."""
    original = RuntimeError("Attempted to use an http session outside of a job context. ...")
    wrapped = APIConnectionError()
    wrapped.__cause__ = original
    assert lacks_http_session(original)
    assert lacks_http_session(wrapped)
    assert not lacks_http_session(RuntimeError("something else"))
    assert classify(wrapped) == Failure(ErrorKind.BAD_REQUEST, "no HTTP session")
    assert not no_http_session().retryable


@pytest.mark.parametrize(
    ("error", "base"),
    [
        (ConfigurationError, ValueError),
        (AudioFormatError, ValueError),
        (StreamClosedError, RuntimeError),
    ],
)
def test_our_errors(error: type[Exception], base: type[Exception]) -> None:
    """Each error is a `ResilientSTTError`, and of the builtin type that LiveKit raises there."""
    assert issubclass(error, ResilientSTTError)
    assert issubclass(error, base)


def test_an_error_that_is_its_own_cause() -> None:
    """The cycle that `raise e from e` makes is not followed forever."""
    error = APIConnectionError("dropped")
    error.__cause__ = error
    assert classify(error).kind is ErrorKind.DROPPED


def test_an_error_without_a_message() -> None:
    """An error may have no message."""
    error = APIConnectionError("dropped")
    setattr(error, "message", None)  # noqa: B010
    assert classify(error).kind is ErrorKind.DROPPED


def test_a_retry_after_too_large_for_a_float() -> None:
    """JSON integers may be too large for a float."""
    error = APIStatusError("slow down", status_code=429, body={"retry_after": 10**400})
    assert classify(error).retry_after is None
