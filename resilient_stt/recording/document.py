"""The document of a recording: what `STREAM.json` holds, and what the page shows.

Its schema is `schema()`. Times are seconds of the stream's audio: 0 is its first frame. The caller
pushes no more audio after `input_ended`; from there on, times go on with the clock. Times below 0
are audio that was taken over from a stream that gave up.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, NotRequired

from pydantic import TypeAdapter
from typing_extensions import TypedDict

VERSION: Literal[1] = 1
"""Raised when a field changes its meaning or goes; a new field does not raise it."""

Severity = Literal["bad", "doubt", "good", "info"]
Span = tuple[float, float]


class RecordedProvider(TypedDict):
    """A provider that the stream may use."""

    name: str
    model: str


class Loudness(TypedDict):
    """How loud the audio was: whole dBFS for each `step` seconds, from `start` on."""

    start: float
    step: float
    dbfs: list[int]


class RolePeriod(TypedDict):
    """From when on a connection had a role."""

    at: float
    role: str


class RecordedConnection(TypedDict):
    """One connection to a provider."""

    id: int
    provider: str
    language: str
    opened: float
    established: float | None
    """When its plugin took audio, or gave an event; null if that is not known."""
    closed: float
    """When it was closed; the end of the recording if it was still open."""
    roles: list[RolePeriod]
    replayed: list[Span]
    """The audio from before it was opened that it was sent."""
    texts: list[tuple[float, str, int]]
    """When it gave text: the time, `interim_transcript` or `final_transcript`, and the words."""
    sent: float
    """Seconds of audio."""
    reason: str
    """Why it was closed, as in the event; empty if that is not known."""
    why: str
    """The same in plain words."""


class RecordedWord(TypedDict):
    """A word of a final transcript."""

    text: str
    """Empty if the recording has no text."""
    length: int
    """Characters."""
    start: float
    end: float
    timed: bool
    """Whether the provider said so; else the words of a final were spread evenly over it."""
    late: float | None
    """Seconds from its end to the final transcript with it."""


class RecordedFinal(TypedDict):
    """A final transcript that the stream emitted."""

    at: float
    provider: str
    connection: int | None
    language: str
    text: str
    start: float
    end: float
    late: float | None
    """Seconds from the end of its last word to it."""
    replayed: bool
    """Whether it begins in audio that its connection was sent again."""
    words: list[RecordedWord]


class Mark(TypedDict):
    """Something that happened, in plain words."""

    at: float
    kind: str
    """The name of the event."""
    severity: Severity
    provider: str
    """The provider that it is about; empty if it is about none."""
    title: str
    why: str
    event: dict[str, Any]
    """The fields of the event."""


class SentAudio(TypedDict):
    """Seconds of audio that a provider was sent in a role."""

    provider: str
    role: str
    seconds: float


class CountedLateness(TypedDict):
    """How late finals came, in seconds, and of how many that is known."""

    p50: float
    p99: float
    worst: float
    count: int


class CountedSwitch(TypedDict):
    """How often one provider followed another for a reason."""

    from_provider: str
    to_provider: str
    reason: str
    count: int


class Accounts(TypedDict):
    """What became of the audio, in seconds, and what it cost: the event `stream_ended`.

    A recording without an end has only what can be counted without it.
    """

    pushed: float
    taken_over: NotRequired[float]
    final: NotRequired[float]
    silence: NotRequired[float]
    lost: float
    buffered: NotRequired[float]
    replayed: NotRequired[float]
    hedged: float
    probed: float
    sent: list[SentAudio]
    words: dict[str, int]
    switches: list[CountedSwitch]
    lateness: CountedLateness


class RecordingDocument(TypedDict):
    """A whole recording."""

    version: Literal[1]
    software: str
    stream_id: str
    started: str
    """UTC, in ISO 8601."""
    outcome: Literal["finished", "gave_up", "closed", "crashed"]
    """`crashed`: the process ended before the stream did, and so did the recording."""
    result: str
    """What happened, in one sentence."""
    text: bool
    """Whether the words are in it."""
    language: str
    providers: list[RecordedProvider]
    """In order of preference."""
    replay_window: float
    late_after: float
    """A final that took more seconds than this is late."""
    start: float
    input_ended: float
    """The end of the audio."""
    end: float
    clock: float
    """Seconds that the stream was open."""
    loudness: Loudness
    speech: list[Span]
    """Where local voice activity heard speech."""
    held: list[tuple[float, float]]
    """How many seconds of audio were buffered for a replay, at which time."""
    connections: list[RecordedConnection]
    finals: list[RecordedFinal]
    marks: list[Mark]
    accounts: Accounts
    accounts_complete: bool
    """Whether they are those of the stream's end; else they were counted from the recording."""


@cache
def _adapter() -> TypeAdapter[RecordingDocument]:
    return TypeAdapter(RecordingDocument)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a document."""
    return {"title": "resilient_stt recording", **_adapter().json_schema()}


def validated(data: str) -> RecordingDocument:
    """Return the document that a text holds.

    Raises:
        ValueError: it does not fit the schema.
    """
    return _adapter().validate_json(data)
