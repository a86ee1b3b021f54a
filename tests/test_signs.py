"""What an exception carries decides its kind: statuses, codes and words, wherever they hide."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from livekit.agents import APIConnectionError, APIError, APIStatusError, APITimeoutError
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from resilient_stt.core.events import ErrorKind
from resilient_stt.errors import classify

AUTH, QUOTA, RATE = ErrorKind.AUTH, ErrorKind.QUOTA, ErrorKind.RATE_LIMITED
SECRET = "sk-secret"


def refused(status: int) -> aiohttp.WSServerHandshakeError:
    """What `aiohttp` raises for a handshake that is answered by a status."""
    url = URL(f"wss://localhost/v1?api_key={SECRET}")
    headers = CIMultiDictProxy(CIMultiDict({"Authorization": SECRET}))
    request = aiohttp.RequestInfo(url, "GET", headers, url)
    return aiohttp.WSServerHandshakeError(request, (), status=status, message="Invalid response")


def behind(outer: Exception, inner: Exception, *, hidden: bool = False) -> Exception:
    """`raise outer from inner`, or `from None`."""
    try:
        try:
            raise inner
        except Exception as error:
            raise outer from (None if hidden else error)
    except Exception as raised:
        return raised


def grpc_error(name: str, details: str = "") -> Exception:
    grpc = pytest.importorskip("grpc")
    metadata = grpc.aio.Metadata()
    error: Exception = grpc.aio.AioRpcError(grpc.StatusCode[name], metadata, metadata, details)
    return error


def google_error(name: str, message: str = "") -> Exception:
    """Google's exception, as LiveKit's plugin passes it on."""
    google = pytest.importorskip("google.api_core.exceptions")
    error = getattr(google, name)(message)
    return behind(APIStatusError(f"{message} []", status_code=error.code or -1), error)


def closed(code: int, reason: str = "") -> APIStatusError:
    """A WebSocket that was closed, as most of LiveKit's plugins pass it on."""
    body = f"msg.data={code} msg.extra={reason!r}"
    return APIStatusError("x connection closed unexpectedly", status_code=code, body=body)


def websockets_closed(code: int, reason: str) -> Exception:
    exceptions = pytest.importorskip("websockets.exceptions")
    frames = pytest.importorskip("websockets.frames")
    error: Exception = exceptions.ConnectionClosedError(frames.Close(code, reason), None)
    return error


def websockets_refused(status: int) -> Exception:
    exceptions = pytest.importorskip("websockets.exceptions")
    error: Exception = exceptions.InvalidStatus(SimpleNamespace(status_code=status, headers={}))
    return error


def http_client_error(name: str) -> Exception:
    """An exception of `httpx` or its successor, whichever is here."""
    for module in ("httpx", "httpx2"):
        try:
            error: Exception = getattr(__import__(module), name)(SECRET)
        except ImportError:
            continue
        return error
    pytest.skip("neither httpx nor httpx2 is here")


def named(name: str, message: str = "", **fields: Any) -> Exception:
    """An exception of an SDK that is not here: its type's name, and its fields."""
    error: Exception = type(name, (Exception,), {"__module__": "sdk"})(message)
    for field, value in fields.items():
        setattr(error, field, value)
    return error


CARRIED: dict[str, tuple[Callable[[], Exception], ErrorKind]] = {
    # the status of a refused handshake
    "raw 401": (lambda: refused(401), AUTH),
    "raw 402": (lambda: refused(402), QUOTA),
    "raw 403": (lambda: refused(403), AUTH),
    "raw 429": (lambda: refused(429), RATE),
    "raw 503": (lambda: refused(503), ErrorKind.SERVER),
    "raw 404": (lambda: refused(404), ErrorKind.BAD_REQUEST),
    "raw 200": (lambda: refused(200), ErrorKind.CONNECT),
    "proxy 407": (lambda: refused(407), ErrorKind.CONNECT),
    "cause": (lambda: behind(APIConnectionError("Failed to initialize"), refused(401)), AUTH),
    "context": (lambda: behind(APIConnectionError("x"), refused(402), hidden=True), QUOTA),
    "status -1": (lambda: behind(APIStatusError("session failed"), refused(401)), AUTH),
    "400 for everything": (
        lambda: behind(APIStatusError("x", status_code=400), refused(503)),
        ErrorKind.SERVER,
    ),
    "two deep": (
        lambda: behind(APIConnectionError("x"), behind(RuntimeError("y"), refused(429))),
        RATE,
    ),
    "raw in a RuntimeError": (lambda: behind(RuntimeError("y"), refused(401)), AUTH),
    "websockets 401": (lambda: websockets_refused(401), AUTH),
    "websockets 401 behind": (
        lambda: behind(APIConnectionError("failed to connect to x: HTTP 401"), OSError("y")),
        AUTH,
    ),
    # an SDK's own exception
    "status_code": (lambda: named("ApiError", status_code=HTTPStatus.UNAUTHORIZED), AUTH),
    "response": (lambda: named("HTTPError", response=SimpleNamespace(status_code=402)), QUOTA),
    "code": (lambda: named("ApiError", code=429), RATE),
    "code in words": (lambda: named("ApiError", code="invalid_api_key"), AUTH),
    "openai quota": (
        lambda: named("RateLimitError", status_code=429, body={"code": "insufficient_quota"}),
        QUOTA,
    ),
    "aws": (lambda: named("LimitExceededException", "You have reached your limit"), RATE),
    "aws key": (lambda: named("UnrecognizedClientException", "The token"), AUTH),
    "aws request": (lambda: named("BadRequestException", "x"), ErrorKind.BAD_REQUEST),
    "aws server": (lambda: named("InternalFailureException", "x"), ErrorKind.SERVER),
    "aws away": (lambda: named("ServiceUnavailableException", "x"), ErrorKind.SERVER),
    "aws without keys": (lambda: named("NoCredentialsError", "Unable to locate credentials"), AUTH),
    "botocore": (
        lambda: named(
            "ClientError",
            response={
                "Error": {"Code": "AccessDenied", "Message": "x"},
                "ResponseMetadata": {"HTTPStatusCode": 403},
            },
        ),
        AUTH,
    ),
    # gRPC
    "grpc key": (lambda: grpc_error("UNAUTHENTICATED"), AUTH),
    "grpc rights": (lambda: grpc_error("PERMISSION_DENIED"), AUTH),
    "grpc rate": (
        lambda: grpc_error("RESOURCE_EXHAUSTED", "Quota exceeded for 'Requests per minute'"),
        RATE,
    ),
    "grpc quota": (lambda: grpc_error("RESOURCE_EXHAUSTED", "insufficient credits"), QUOTA),
    "grpc away": (lambda: grpc_error("UNAVAILABLE"), ErrorKind.SERVER),
    "grpc argument": (lambda: grpc_error("INVALID_ARGUMENT"), ErrorKind.BAD_REQUEST),
    "grpc deadline": (lambda: grpc_error("DEADLINE_EXCEEDED"), ErrorKind.CONNECT),
    "google key": (lambda: google_error("Unauthenticated"), AUTH),
    "google bills": (lambda: google_error("PermissionDenied", "requires billing"), QUOTA),
    "google rate": (lambda: google_error("ResourceExhausted", "Quota: requests per minute"), RATE),
    "google argument": (lambda: google_error("InvalidArgument"), ErrorKind.BAD_REQUEST),
    "google's limit": (lambda: google_error("OutOfRange", "305 seconds"), ErrorKind.DROPPED),
    "google cancels": (lambda: google_error("Cancelled"), ErrorKind.DROPPED),
    "499": (lambda: APIStatusError("x", status_code=499), ErrorKind.DROPPED),
    # WebSocket close codes
    "1008 key": (lambda: closed(1008, "Unauthorized Connection: Missing Authorization"), AUTH),
    "1008 money": (lambda: closed(1008, "Unauthorized: insufficient account balance"), QUOTA),
    "1008 alone": (lambda: closed(1008), ErrorKind.DROPPED),
    "3009": (lambda: closed(3009, "Unauthorized Connection: Too many concurrent sessions"), RATE),
    "3009 alone": (lambda: closed(3009), RATE),
    "3008": (lambda: closed(3008, "Session Expired"), ErrorKind.DROPPED),
    "3007": (lambda: closed(3007, "Input duration violation: 20 ms"), ErrorKind.DROPPED),
    "1013": (lambda: closed(1013), RATE),
    "4001": (lambda: closed(4001), AUTH),
    "4002": (lambda: closed(4002), QUOTA),
    "4029": (lambda: closed(4029), RATE),
    "4401": (lambda: closed(4401), AUTH),
    "4429": (lambda: closed(4429), RATE),
    "4408": (lambda: closed(4408), ErrorKind.DROPPED),
    "4503": (lambda: closed(4503), ErrorKind.SERVER),
    "websockets 1008": (lambda: websockets_closed(1008, "invalid api key"), AUTH),
    "websockets 1011": (lambda: websockets_closed(1011, "oops"), ErrorKind.DROPPED),
    "close code in a text": (
        lambda: APIConnectionError("closed unexpectedly (close code 4401)"),
        AUTH,
    ),
    # bodies
    "body": (lambda: APIError("returned an error", body={"code": 401}), AUTH),
    "body 429": (lambda: APIError("returned an error", body={"code": 429}), RATE),
    "body in words": (lambda: APIError("x", body={"code": "insufficient_quota"}), QUOTA),
    "nested": (lambda: APIError("x", body={"error": {"type": "authentication_error"}}), AUTH),
    "401 without credit": (
        lambda: APIStatusError("x", status_code=401, body={"detail": {"status": "quota_exceeded"}}),
        QUOTA,
    ),
    "400 without key": (
        lambda: APIStatusError("x", status_code=400, body='{"error": {"code": "invalid_api_key"}}'),
        AUTH,
    ),
    "429 for requests": (
        lambda: APIStatusError(
            "x",
            status_code=429,
            body={"message": "Rate limit reached; see account/billing", "code": "rate_limit"},
        ),
        RATE,
    ),
    "a type": (lambda: APIError("returned an error [not_authorised]: x"), AUTH),
    "server's": (lambda: APIError("x", body={"type": "server_error"}), ErrorKind.SERVER),
    # texts
    "a code in a text": (lambda: APIConnectionError("STT error [auth_error]"), AUTH),
    "quota in a text": (lambda: APIConnectionError("STT error [quota_exceeded]"), QUOTA),
    "azure": (
        lambda: APIConnectionError(
            "Azure STT canceled: WebSocket upgrade failed: Authentication error (401). "
            "SessionId: 5ab429 (CancellationErrorCode.AuthenticationFailure)"
        ),
        AUTH,
    ),
    "azure refused": (
        lambda: APIConnectionError(
            "Azure STT canceled: Connection failed (no connection to the remote host). "
            "SessionId: x (CancellationErrorCode.ConnectionFailure)"
        ),
        ErrorKind.CONNECT,
    ),
    "azure internal": (
        lambda: APIConnectionError(
            "Azure STT canceled: The speech service encountered an internal error. "
            "SessionId: x (CancellationErrorCode.ServiceError)"
        ),
        ErrorKind.SERVER,
    ),
    "azure rate": (
        lambda: APIConnectionError(
            "Azure STT canceled: x SessionId: 402 (CancellationErrorCode.TooManyRequests)"
        ),
        RATE,
    ),
    "Error: 401": (lambda: APIConnectionError("canceled. Error: 401"), AUTH),
    "401 Unauthorized": (lambda: RuntimeError("server says 401 Unauthorized"), AUTH),
    "401, message": (lambda: APIConnectionError("Failed: x: status=401, message='y'"), AUTH),
    "json in a text": (
        lambda: APIStatusError('API Error: {"error": {"code": "invalid_api_key_error"}}'),
        AUTH,
    ),
    # no answer at all
    "refused": (
        lambda: behind(APIConnectionError("y"), aiohttp.ClientOSError(104)),
        ErrorKind.CONNECT,
    ),
    "reset unread": (
        lambda: behind(APIConnectionError(), aiohttp.ServerDisconnectedError()),
        ErrorKind.CONNECT,
    ),
    "no pong": (
        lambda: behind(APIConnectionError("x connection lost"), aiohttp.ServerTimeoutError()),
        ErrorKind.DROPPED,
    ),
    "write": (
        lambda: behind(APIConnectionError("x"), aiohttp.ClientConnectionResetError()),
        ErrorKind.DROPPED,
    ),
    "httpx connect": (lambda: http_client_error("ConnectError"), ErrorKind.CONNECT),
    "httpx connect behind": (
        lambda: behind(APIConnectionError(), http_client_error("ConnectError")),
        ErrorKind.CONNECT,
    ),
    "httpx timeout": (lambda: http_client_error("ReadTimeout"), ErrorKind.CONNECT),
    "httpx read": (lambda: http_client_error("ReadError"), ErrorKind.DROPPED),
    "httpx protocol": (lambda: http_client_error("RemoteProtocolError"), ErrorKind.DROPPED),
    "tls": (lambda: ssl.SSLCertVerificationError("x"), ErrorKind.CONNECT),
    "timeout": (APITimeoutError, ErrorKind.CONNECT),
    "socket": (lambda: behind(RuntimeError("x"), BrokenPipeError()), ErrorKind.DROPPED),
}


@pytest.mark.parametrize("case", CARRIED)
def test_what_an_exception_carries(case: str) -> None:
    """The status, the code or the word decides, whatever the type of the exception is."""
    make, kind = CARRIED[case]
    failure = classify(make())
    assert failure.kind == kind
    assert SECRET not in failure.detail


@pytest.mark.parametrize(
    "error",
    [
        KeyError("401 Unauthorized"),
        ValueError("error 401: invalid api key"),
        json.JSONDecodeError("HTTP 401", '{"text": "my api key is invalid"}', 0),
        AssertionError("insufficient funds"),
        RuntimeError("could not read 'I have insufficient funds'"),
        APIStatusError('Message processing error: x. Raw: {"transcript": "error 401, no credits"'),
        APIConnectionError("closed unexpectedly after 402 messages in 401 ms"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_the_caller_says_is_no_sign(error: Exception) -> None:
    """Plugins quote transcripts in exceptions for data: they must lock nobody's account."""
    assert classify(error).kind in (ErrorKind.PROTOCOL, ErrorKind.DROPPED)


def test_an_accident_behind_an_exception_is_no_sign() -> None:
    """A mistake made while another exception was handled is about itself."""
    error = behind(KeyError("x"), refused(401), hidden=True)
    assert classify(error).kind is ErrorKind.PROTOCOL


def test_a_close_that_tells_of_the_account_is_not_normal() -> None:
    """The code 1000 with a reason that names the account is no routine."""
    assert classify(closed(1000)).closed_normally
    failure = classify(closed(1000, "Unauthorized"))
    assert failure.kind is AUTH
    assert not failure.closed_normally


def test_an_exception_whose_attributes_raise() -> None:
    """Nothing of a foreign exception is believed to work."""

    class Odd(Exception):
        @property
        def status_code(self) -> int:
            raise RuntimeError

        def code(self) -> int:
            raise RuntimeError

        def details(self) -> str:
            raise RuntimeError

        def __str__(self) -> str:
            raise RuntimeError

    assert classify(Odd()).kind is ErrorKind.PROTOCOL


def test_retry_after_of_an_sdk() -> None:
    """It is an attribute of some."""
    error = named("ThrottlingException", "x", retry_after=7)
    failure = classify(error)
    assert failure.kind is RATE
    assert failure.retry_after == 7
