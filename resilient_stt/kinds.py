"""Which kind of failure a status, a code or a word of a provider is.

Tables and pure functions: `signs` finds the values in an exception, `errors.classify` weighs them.
Nothing here is about one provider. Where a number or a word comes from a vendor's documentation, it
is said, because others use it for the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .core.events import ErrorKind

_BY_STATUS = {
    402: ErrorKind.QUOTA,
    401: ErrorKind.AUTH,
    403: ErrorKind.AUTH,
    407: ErrorKind.CONNECT,  # a proxy's: the provider was not asked
    408: ErrorKind.CONNECT,
    429: ErrorKind.RATE_LIMITED,
    499: ErrorKind.DROPPED,  # nginx' "client closed request", and gRPC's CANCELLED
}
"""HTTP statuses (RFC 9110, 15). Any other 4xx is a `bad_request`, any 5xx is the `server`."""

_BY_GRPC = {
    "CANCELLED": ErrorKind.DROPPED,
    "UNKNOWN": ErrorKind.SERVER,
    "INVALID_ARGUMENT": ErrorKind.BAD_REQUEST,
    "DEADLINE_EXCEEDED": ErrorKind.CONNECT,
    "NOT_FOUND": ErrorKind.BAD_REQUEST,
    "ALREADY_EXISTS": ErrorKind.BAD_REQUEST,
    "PERMISSION_DENIED": ErrorKind.AUTH,
    "RESOURCE_EXHAUSTED": ErrorKind.RATE_LIMITED,
    "FAILED_PRECONDITION": ErrorKind.BAD_REQUEST,
    "ABORTED": ErrorKind.DROPPED,
    # Google ends streams with it: after 305 s, and for audio that comes too fast or too slowly.
    "OUT_OF_RANGE": ErrorKind.DROPPED,
    "UNIMPLEMENTED": ErrorKind.BAD_REQUEST,
    "INTERNAL": ErrorKind.SERVER,
    "UNAVAILABLE": ErrorKind.SERVER,
    "DATA_LOSS": ErrorKind.SERVER,
    "UNAUTHENTICATED": ErrorKind.AUTH,
}
"""https://grpc.io/docs/guides/status-codes/"""

_BY_CLOSE_CODE = {
    1013: ErrorKind.RATE_LIMITED,  # "try again later"
    3000: ErrorKind.AUTH,  # "unauthorized"
    3003: ErrorKind.AUTH,  # "forbidden"
    3009: ErrorKind.RATE_LIMITED,  # AssemblyAI: too many concurrent sessions
    4001: ErrorKind.AUTH,  # Speechmatics, AssemblyAI's older API: not authorized
    4002: ErrorKind.QUOTA,  # AssemblyAI's older API: insufficient funds
    4003: ErrorKind.AUTH,  # Speechmatics: not allowed; AssemblyAI's older API: a paid feature
    4029: ErrorKind.RATE_LIMITED,
}
"""WebSocket close codes: https://www.iana.org/assignments/websocket for those below 4000,
https://docs.speechmatics.com/api-ref/realtime-transcription-websocket and
https://www.assemblyai.com/docs/streaming/common-session-errors-and-closures. 4400 to 4599 are by
convention 4000 and an HTTP status. Any other one is a drop, and so is 1008, a "policy violation"
that may be of the key, the plan, the pace or the audio: what its reason says counts."""

_AUTH_CODES = frozenset({"not allowed", "auth error", "auth failed"})
_BY_CODE = {
    "bad request exception": ErrorKind.BAD_REQUEST,
    "bad request error": ErrorKind.BAD_REQUEST,
    "invalid argument": ErrorKind.BAD_REQUEST,
    "service unavailable exception": ErrorKind.SERVER,
    "internal failure exception": ErrorKind.SERVER,
    "internal server exception": ErrorKind.SERVER,
    "internal server error": ErrorKind.SERVER,
    "internal error": ErrorKind.SERVER,
    "server error": ErrorKind.SERVER,
    "service error": ErrorKind.SERVER,
    "transcriber error": ErrorKind.SERVER,
}
"""Codes, and names of exceptions of SDKs, that are too common as words of a sentence."""

_INSUFFICIENT = re.compile(
    r"\b(insufficient|not enough|out of|no more|no remaining) (\w+ )?"
    r"(quota|funds?|balance|credits?)\b|\bpayment required\b|\bplan and billing\b"
)
_RATE = re.compile(
    r"\brate ?limit|\btoo many (\w+ ){0,2}(requests?|connections?|sessions?|streams?)\b"
    r"|\bconcurren|\bthrottl|\bper (second|minute|hour|day)\b|\bresource exhausted\b"
    r"|\bslow down\b|\blimit exceeded exception\b"
)
_QUOTA = re.compile(
    r"\bquota|\bbilling\b|\bcredits? (balance|exhausted|depleted|used up)|\baccount balance\b"
    r"|\bbalance (is )?(too low|exhausted|depleted)"
)
_AUTH = re.compile(
    r"\bunauth(ori[sz]ed|enticated)\b|\bnot authori[sz]ed\b"
    r"|\bauthenticat(e|ion) (error|fail|required|invalid)"
    r"|\b(failed to|cannot|could not) authenticat"
    r"|\b(invalid|incorrect|missing|expired|revoked|no) ((api|access|subscription|secret) key"
    r"|credentials?|authorization|jwt|signature)\b"
    r"|\b(invalid|expired|revoked) (\w+ )?token\b"
    r"|\b((api|access|subscription|secret) key|token|credentials?)"
    r" (is |are |was |has |have |been )*(invalid|not valid|expired|revoked|missing|incorrect)\b"
    r"|\blocate credentials\b|\bpermission denied\b|\binsufficient permissions?\b"
    r"|\baccess denied\b|\bforbidden\b|\bunrecognized client\b"
)
_ACCOUNT = (
    (_INSUFFICIENT, ErrorKind.QUOTA),
    # before the other words of money: a limit of requests is often told with the way to pay for
    # more, and one of sessions as "unauthorized"
    (_RATE, ErrorKind.RATE_LIMITED),
    (_QUOTA, ErrorKind.QUOTA),
    (_AUTH, ErrorKind.AUTH),
)

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[\s_\-.]+")


def of_status(status: int) -> ErrorKind | None:
    """Return what an HTTP status means; `None` if it is no error's."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if 400 <= status < 500:
        return ErrorKind.BAD_REQUEST
    return ErrorKind.SERVER if 500 <= status < 600 else None


def of_grpc(code: str) -> ErrorKind | None:
    """Return what the name of a gRPC status code means; `None` if there is no such code."""
    return _BY_GRPC.get(code)


def of_close_code(code: int) -> ErrorKind | None:
    """Return what a WebSocket close code means; `None` if it only says that it is over."""
    if 4400 <= code < 4600:
        kind = of_status(code - 4000)
        return None if kind is ErrorKind.CONNECT else kind  # it was connected
    return _BY_CLOSE_CODE.get(code)


def of_account(codes: Iterable[str], text: str) -> ErrorKind | None:
    """Return what is said of the account: `auth`, `quota`, `rate_limited`; `None` if nothing is.

    `codes`: such as `quota_exceeded` or `AccessDeniedException`. `text`: sentences.
    """
    spelled = [_spelled(code) for code in codes]
    words = "\n".join([*spelled, _SEPARATORS.sub(" ", text).lower()])
    found = next((kind for pattern, kind in _ACCOUNT if pattern.search(words)), None)
    return found or next((ErrorKind.AUTH for code in spelled if code in _AUTH_CODES), None)


def of_codes(codes: Iterable[str]) -> ErrorKind | None:
    """Return what codes say of the request or the server; `None` if they say nothing."""
    return next(filter(None, (_BY_CODE.get(_spelled(code)) for code in codes)), None)


def _spelled(code: str) -> str:
    return _SEPARATORS.sub(" ", _CAMEL.sub(" ", code)).strip().lower()
