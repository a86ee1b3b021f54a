"""What an exception of a plugin carries of the provider's answer: statuses, codes and words.

Plugins raise an `APIStatusError` for it, or an `APIConnectionError`, or the exception of their SDK
as it is. The status of a refused handshake is in the exception itself, in one behind it (`raise
... from`, and `from None`, too), or in its text alone. So everything is looked at, in the order of
how much it can be trusted. The texts are matched, and never repeated: they may hold a key or what
the caller said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

import aiohttp
from livekit.agents import APIError

from . import kinds
from .causes import attribute, chain, close_code_of

_LONGEST = 2000
"""Characters of a text that are looked at."""
_DEEPEST = 3
"""Levels of a body that are looked at: `{"error": {"details": {"code": ...}}}`."""

_CODE_KEYS = frozenset(
    {
        "code",
        "status_code",
        "statuscode",
        "status",
        "error_code",
        "err_code",
        "error_type",
        "type",
        "message_type",
        "httpstatuscode",
    }
)
_TEXT_KEYS = frozenset(
    {"message", "error", "error_message", "err_msg", "detail", "reason", "title"}
)
_INNER_KEYS = frozenset({"error", "errors", "detail", "details", "data", "responsemetadata"})

_STATUS_IN_TEXT = re.compile(
    r"(?:\b(?:http(?:/[\d.]+)?|status(?:[ _]?code)?|code|error)\b\W{0,4})([45]\d\d)\b(?![.:]\d)"
    r"|\(([45]\d\d)\)"
    r"|^\W*([45]\d\d)(?=[,:]| [A-Z])"
    r"|\b([45]\d\d) (?:unauthori[sz]ed|payment required|forbidden|too many requests|bad request"
    r"|not found|internal server error|bad gateway|service unavailable|gateway timeout)\b",
    re.IGNORECASE,
)
"""`HTTP 401`, `status code: 401`, `Error: 401`, `Authentication error (401)`, `401, message=...`,
`401 Unauthorized`: not any number."""
_BRACKETED = re.compile(r"\[([A-Za-z]+(?:_[A-Za-z]+)+)\]|\b\w+Code\.([A-Za-z]+)\b")
"""A code in a sentence: `error [quota_exceeded]`, `(CancellationErrorCode.AuthenticationFailure)`.
"""

DATA_ERRORS = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, AssertionError)
"""What Python raises for data that is not as expected. Their texts quote it."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What was found. `status`: the HTTP status; `close_code`: of a WebSocket; 0 if there is none.

    `grpc`: the name of a gRPC status code. `codes`: codes in words. `text`: all that may be
    searched for words.
    """

    status: int = 0
    grpc: str = ""
    close_code: int = 0
    codes: tuple[str, ...] = ()
    text: str = ""


def read_signs(error: BaseException) -> Signs:
    """Read what an exception, and those that it was raised for, carry."""
    causes = list(links(error))
    bodies = [field for cause in causes for field in _fields_of(cause)]
    texts = [text for cause in causes for text in _texts_of(cause)]
    numbers = [
        *(_answered_status(cause) for cause in causes),
        *(_claimed_status(cause) for cause in causes),
        *(_number(value) for key, value in bodies if key in _CODE_KEYS),
        *(_status_in(text) for text in texts),
    ]
    words = [value for key, value in bodies if key in _CODE_KEYS and isinstance(value, str)]
    in_texts = [found for text in texts for found in _codes_in(text)]
    told = [str(value) for key, value in bodies if key in _TEXT_KEYS and isinstance(value, str)]
    return Signs(
        status=next(filter(None, numbers), 0),
        grpc=next(filter(None, (_grpc_code(cause) for cause in causes)), ""),
        close_code=close_code_of(error),
        codes=(*words, *in_texts, *(type(cause).__name__ for cause in causes)),
        text="\n".join(text[:_LONGEST] for text in [*told, *_sentences(causes)]),
    )


def links(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those behind it, as far as they are about the same failure."""
    for cause in chain(error):
        yield cause
        if isinstance(cause, DATA_ERRORS) and cause.__cause__ is None:
            return  # it was raised while something else was handled, and says so by accident


# -- numbers


def _answered_status(error: BaseException) -> int:
    """The status of a response that a client of HTTP has seen."""
    response = attribute(error, "response")
    values = [attribute(response, name) for name in ("status_code", "status")]
    if isinstance(error, aiohttp.ClientResponseError):
        values.append(error.status)
    return next(filter(None, map(_number, values)), 0)


def _claimed_status(error: BaseException) -> int:
    """The status that a plugin or an SDK puts into its own exception."""
    names = ("status_code", "status", "http_status", "code")
    values = [attribute(error, name) for name in names]
    return next(filter(None, map(_number, values)), 0)


def _number(value: object) -> int:
    """The value if it is the HTTP status of an error; else 0."""
    if isinstance(value, str) and value.isdecimal() and len(value) == 3:
        value = int(value)
    return value if isinstance(value, int) and 400 <= value < 600 else 0


def _status_in(text: str) -> int:
    found = _STATUS_IN_TEXT.search(text[:_LONGEST].partition("{")[0])
    return int(next(filter(None, found.groups()))) if found else 0


def _grpc_code(error: BaseException) -> str:
    """The name of a gRPC code: `grpc` has it in `code()`, Google's API in `grpc_status_code`."""
    for name in ("grpc_status_code", "code"):
        value = attribute(error, name)
        if callable(value):
            try:
                value = value()
            except Exception:
                continue
        if isinstance(value, Enum) and kinds.of_grpc(value.name) is not None:
            return value.name
    return ""


# -- words


def _sentences(causes: list[BaseException]) -> Iterator[str]:
    """Yield the texts in which words may be searched.

    Not of Python's own exceptions, which plugins raise for data, and quote it; and not behind the
    first brace, where a message begins that a plugin quotes.
    """
    for cause in causes:
        if type(cause).__module__ != "builtins":
            yield from (text.partition("{")[0] for text in _texts_of(cause))


def _texts_of(error: BaseException) -> Iterator[str]:
    if isinstance(error, (*DATA_ERRORS, OSError)) and not isinstance(error, APIError):
        return
    for value in (attribute(error, "message"), attribute(error, "body"), _detail(error)):
        if isinstance(value, str) and value:
            yield value
    if not isinstance(error, APIError):  # whose text is made of these, and of the cause's
        yield _text(error)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return ""


def _detail(error: BaseException) -> object:
    """What `grpc` tells in `details()`, and others in `reason`."""
    details = attribute(error, "details")
    if callable(details):
        try:
            return details()
        except Exception:
            return None
    closed = attribute(error, "rcvd")  # the close frame, of `websockets`
    return details if details is not None else attribute(closed or error, "reason")


def _codes_in(text: str) -> Iterator[str]:
    for found in _BRACKETED.finditer(text[:_LONGEST]):
        yield next(filter(None, found.groups()))


# -- bodies


def _fields_of(error: BaseException) -> Iterator[tuple[str, object]]:
    """Yield the fields of what a provider answered, by their lower-case names."""
    for body in (attribute(error, "body"), attribute(error, "response")):
        yield from _fields(body, _DEEPEST)
    for text in _texts_of(error):
        yield from _fields(_json_in(text), _DEEPEST)
    code = attribute(error, "code")
    if isinstance(code, str):
        yield "code", code


def _json_in(text: str) -> object:
    begin = text.find("{")
    if begin < 0:
        return None
    try:
        return json.JSONDecoder().raw_decode(text, begin)[0]
    except (ValueError, RecursionError):
        return None


def _fields(body: object, depth: int) -> Iterator[tuple[str, object]]:
    if isinstance(body, list):
        for item in body[:10]:
            yield from _fields(item, depth - 1)
    if not isinstance(body, Mapping) or not depth:
        return
    for key, value in body.items():
        name = str(key).lower()
        if name in _CODE_KEYS or name in _TEXT_KEYS:
            yield name, value
        if name in _INNER_KEYS:
            yield from _fields(value, depth - 1)
