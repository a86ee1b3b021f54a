"""The verdict on an attempt, in words that say what to do."""

from __future__ import annotations

from typing import assert_never

from ...core.events import ErrorKind
from ...core.policy import ProviderTraits
from ...errors import Failure
from .attempt import WORDS_WITHIN, Attempt

OK = "ok"


def verdict_of(found: Attempt, traits: ProviderTraits, *, words_expected: bool) -> tuple[bool, str]:
    """Return whether the provider works, and why it does not.

    Args:
        found: what the attempt showed.
        traits: for the name of the variable with the key.
        words_expected: whether the speech was in the language of the stream.
    """
    if found.final is not None:
        return True, OK
    if found.waited is not None:
        return False, f"cannot be reached: no answer within {found.waited:g} s"
    if found.failure is not None:
        return False, _of_failure(found.failure, found.reason, traits)
    if found.first_word is not None:
        return False, f"words, but no final within {WORDS_WITHIN:g} s"
    if not words_expected:
        return True, f"{OK}: connected (there is no recording in its language)"
    return False, f"no words within {WORDS_WITHIN:g} s"


def _of_failure(failure: Failure, reason: str, traits: ProviderTraits) -> str:
    why = reason or failure.detail
    match failure.kind:
        case ErrorKind.AUTH:
            return f"wrong key: set {traits.key_variable or 'its API key'}"
        case ErrorKind.QUOTA:
            return "no credit left: look at the account"
        case ErrorKind.RATE_LIMITED:
            wait = f" in {failure.retry_after:.0f} s" if failure.retry_after else " later"
            return f"too many requests: try again{wait}"
        case ErrorKind.BAD_REQUEST if failure.refused_language:
            return f"does not take the language {failure.refused_language}"
        case ErrorKind.BAD_REQUEST:
            return f"refuses the request ({why}): check its model and options"
        case ErrorKind.CONNECT:
            return f"cannot be reached: {why}"
        case ErrorKind.DROPPED | ErrorKind.STALLED:
            return f"the connection broke: {why}"
        case ErrorKind.SERVER:
            return f"reports an error of its own: {why}"
        case ErrorKind.PROTOCOL:
            return f"sent what its plugin cannot read: {why}"
        case _:
            assert_never(failure.kind)
