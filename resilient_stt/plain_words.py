"""What the values of events mean, in plain English: for the terminal, and for a recording."""

from __future__ import annotations

from .core.events import AudioLossReason, ErrorKind, StallReason

FAILURES = {
    ErrorKind.AUTH: "rejected the API key",
    ErrorKind.QUOTA: "has no credits left",
    ErrorKind.RATE_LIMITED: "rejected the connection: too many requests",
    ErrorKind.BAD_REQUEST: "rejected the request",
    ErrorKind.CONNECT: "cannot be reached",
    ErrorKind.DROPPED: "dropped the connection",
    ErrorKind.STALLED: "stalled",
    ErrorKind.SERVER: "reported an internal error",
    ErrorKind.PROTOCOL: "sent messages that cannot be parsed",
}
"""What a provider did, by the reason of its failure; its name goes before."""

STALLS = {
    StallReason.NO_INTERIM: "no interim transcript",
    StallReason.FINAL_OVERDUE: "final transcript overdue",
    StallReason.NO_TEXT: "no text for a long stretch of speech",
    StallReason.EMPTY_FINALS: "empty final transcripts",
    StallReason.MISSING_TAIL: "no text for the last words",
    StallReason.SKIPPED_SPEECH: "a final transcript skipped words",
}
"""Which transcript was missing."""

LOSSES = {
    AudioLossReason.WINDOW_EXCEEDED: "it is older than the replay window",
    AudioLossReason.FINAL_SKIPPED: "a final transcript skipped it, and no hedge was possible",
    AudioLossReason.UNANSWERED: "no provider gave a word for so much voice",
    AudioLossReason.STREAM_ENDED: "the stream ended before a provider had transcribed it",
}
"""Why speech has no transcript."""

DETAILS = {"heard nothing": "no text where another provider had text"}
"""Texts of `ProviderFailed.detail` that are told differently. The others are names of exceptions,
which are told as they are."""
