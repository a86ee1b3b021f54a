"""Faults of a fake server: what goes wrong, and when. They are plain values.

The class of a fault says what happens, its fields say when::

    Drop(at_word=12, part=0.5, connections={0})   # reset in the middle of the 13th word
    Drop(1011, at_audio=3.2)                      # a close frame after 3.2 s of audio
    Refuse(at_time=5, until=11)                   # no connection is accepted for six seconds
    Status(401, connections=from_(1))             # every connection after the first
    Latency(2.0, at_time=30)                      # from then on every message is 2 s late
    Stall(at_word=7, until=20)                    # no reaction from the 8th word on, until 20 s

There are two kinds. A `ConnectFault` answers a request instead of the 101, during its period. A
`StreamFault` happens to an open connection, once its trigger is reached.

Connections are counted from 0 in the order of their requests; refused requests count. Times are
seconds on the event loop's clock since the server started.
"""

from __future__ import annotations

import json
import math
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeVar, get_args

_F = TypeVar("_F", bound="Fault")

NO_CLOSE_FRAME = 1006
"""The close code that a websocket reports if no close frame came (RFC 6455, 7.1.5)."""

ErrorShape = Literal["code", "status_code"]
"""The key of the number in Cartesia's in-band errors; newer versions send `status_code`."""
_Then = Literal["silence", "close", "go_on"]
_What = Literal[
    "unparsable", "no_text", "wrong_types", "list", "binary", "unknown_type", "no_languages"
]

# RFC 6455, 7.4: codes that an endpoint must not put into a close frame, besides 1006.
_NOT_ON_THE_WIRE = {1004, 1005, 1015}


@dataclass(frozen=True, slots=True)
class From:
    """All connections from the number `first` on; made by `from_`."""

    first: int

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and index >= self.first

    def __repr__(self) -> str:
        return f"from_({self.first})"


def from_(first: int) -> From:
    """All connections from number `first` (0-based) on.

    Raises:
        ValueError: `first` is negative.
    """
    _not_negative("first", first)
    return From(first)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Fault:
    """The base of all faults.

    Attributes:
        connections: The 0-based numbers of the connections that it can happen to, in any container
            of integers such as `{0}`, `range(2, 5)` or `from_(1)`. None: all of them.
        at_time: Seconds since the server's start at which it begins. None: see the subclass.
        until: Seconds since the server's start at which it ends. None: never.
    """

    connections: Container[int] | None = None
    at_time: float | None = None
    until: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.connections, set | list):  # a fault is hashable, these are not
            object.__setattr__(self, "connections", frozenset(self.connections))
        if self.connections is not None and not isinstance(self.connections, Container):
            raise ValueError(f"connections must be a container such as {{0}}: {self.connections!r}")
        _not_negative("at_time", self.at_time)
        if self.until is not None and self.until <= (self.at_time or 0.0):
            raise ValueError(f"until={self.until} is not after at_time={self.at_time or 0.0}")

    def __repr__(self) -> str:
        changed = [f"{name}={value!r}" for name, value in _changed(self)]
        return f"{type(self).__name__}({', '.join(changed)})"

    def applies_to(self, connection: int) -> bool:
        """Whether the fault can happen to the connection with this number."""
        return self.connections is None or connection in self.connections

    def in_period(self, now: float) -> bool:
        """Whether `now`, in seconds since the server's start, lies in [at_time, until)."""
        return (self.at_time or 0.0) <= now and not self.is_over(now)

    def is_over(self, now: float) -> bool:
        """Whether `until` has passed `now`, in seconds since the server's start."""
        return self.until is not None and now >= self.until


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ConnectFault(Fault):
    """A fault that answers requests instead of the 101, if they arrive from `at_time` to
    `until`."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Refuse(ConnectFault):
    """The connection is reset before any HTTP response."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Hang(ConnectFault):
    """The TCP connection is accepted, but the request is never answered."""


@dataclass(frozen=True, slots=True, repr=False)
class Status(ConnectFault):
    """An HTTP status instead of the 101.

    Attributes:
        code: The status, 300 to 599.
        body: The text of the response. None: the body that the provider sends with this status.
        headers: Headers to send besides the provider's own.
    """

    code: int
    body: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)  # a dict has no hash

    def __post_init__(self) -> None:
        ConnectFault.__post_init__(self)
        if not 300 <= self.code <= 599:
            raise ValueError(f"code must be a status from 300 to 599, got {self.code}")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StreamFault(Fault):
    """A fault of an open connection. It happens once per connection, when its trigger is reached.

    There is at most one trigger. A fault without one happens as soon as a connection is open. A
    fault with a time (`at_time`) happens to the connections that are open at that moment; if it is
    a lasting one, also to those that open later.

    Attributes:
        at_word: The 0-based index of a word of the reference speech. The trigger is reached when
            the audio received on the connection reaches the position `part` in that word.
        part: The position in the word, from 0, its start, to 1, its end.
        at_audio: Seconds of audio received on the connection.
    """

    lasting: ClassVar[bool] = False
    """Whether the fault is a state that goes on, instead of a single event."""

    at_word: int | None = None
    part: float = 0.0
    at_audio: float | None = None

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        _not_negative("at_word", self.at_word)
        _not_negative("at_audio", self.at_audio)
        given = [n for n in ("at_word", "at_audio", "at_time") if getattr(self, n) is not None]
        if len(given) > 1:
            raise ValueError(f"only one trigger can be given, not {' and '.join(given)}")
        if not 0 <= self.part <= 1:
            raise ValueError(f"part must be from 0 to 1, got {self.part}")
        if self.part and self.at_word is None:
            raise ValueError("part needs at_word, whose position it is")

    @property
    def by_audio(self) -> bool:
        """Whether the trigger is a place in the audio, so that the exact sample counts."""
        return self.at_word is not None or self.at_audio is not None


@dataclass(frozen=True, slots=True, repr=False)
class Drop(StreamFault):
    """The connection breaks. Messages that were not sent by then are lost.

    Attributes:
        code: None resets the TCP connection. 1006 ends it (FIN) without a close frame. Any other
            code is sent in a close frame.
        reason: The reason in the close frame, at most 123 bytes of UTF-8.
    """

    code: int | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        StreamFault.__post_init__(self)
        if self.code is not None and not _is_close_code(self.code):
            raise ValueError(f"{self.code} is not a websocket close code")
        if len(self.reason.encode()) > 123:
            raise ValueError("reason must fit into 123 bytes (RFC 6455, 5.5)")
        if self.reason and self.code in (None, NO_CLOSE_FRAME):
            raise ValueError("a reason needs a close frame: give a code other than 1006")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EndCleanly(StreamFault):
    """The server closes with 1000 in the middle of the stream, as if it had transcribed
    everything."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DropAfterClose(StreamFault):
    """A reset when the client has sent its closing message: the last words are lost without an
    error.

    The client's closing message is the trigger, so no other can be given.
    """

    def __post_init__(self) -> None:
        StreamFault.__post_init__(self)
        if self.at_word is not None or self.at_audio is not None or self.at_time is not None:
            raise ValueError("DropAfterClose is triggered by the client's closing message alone")


@dataclass(frozen=True, slots=True, repr=False)
class Latency(StreamFault):
    """Every message is sent `seconds` later than the provider's own latency makes it.

    Attributes:
        seconds: The additional latency.
        finals_only: Only finals are late. Messages keep their order, so those after a final wait
            for it.
    """

    lasting: ClassVar[bool] = True

    seconds: float
    finals_only: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        StreamFault.__post_init__(self)
        _not_negative("seconds", self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Stall(StreamFault):
    """The recognizer is dead, but its socket is not: pings are answered, and nothing else.

    Transcripts that were not sent yet are lost, and a closing message gets no response. Once the
    stall is over, audio that arrives from then on is recognized.
    """

    lasting: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class HalfOpen(StreamFault):
    """The peer has vanished without a FIN: it reads and sends nothing any more, not even pongs.

    This lasts until the server stops, because neither side can learn that the other has gone.
    """


@dataclass(frozen=True, slots=True, repr=False)
class InBandError(StreamFault):
    """The provider's own error message, on the websocket.

    Attributes:
        code: The number in the error: an HTTP status. A string has the wrong type; None leaves it
            out.
        message: The text of the error. Empty: the provider's text for this code.
        shape: The key of the number in errors of Cartesia's ink-whisper. None: the server's
            `error_shape`.
        then: What follows. `silence` stalls until `until`, as `Stall` does. `close` closes the
            connection, with 1008 for a code below 500 and else with 1011. `go_on` changes nothing
            more.
    """

    code: int | str | None
    message: str = field(default="", kw_only=True)
    shape: ErrorShape | None = field(default=None, kw_only=True)
    then: _Then = field(default="silence", kw_only=True)

    def __post_init__(self) -> None:
        StreamFault.__post_init__(self)
        _one_of("shape", self.shape, (None, *get_args(ErrorShape)))
        _one_of("then", self.then, get_args(_Then))


@dataclass(frozen=True, slots=True, repr=False)
class Garbage(StreamFault):
    """Each transcript is replaced by a message that is wrong.

    Attributes:
        what: `unparsable` is half of the JSON; `no_text` lacks the text; `wrong_types` has a number
            for a text and strings for `words` and `is_final`; `list` is a JSON list; `binary` is
            the JSON in a binary frame; `unknown_type` has a `type` that does not exist;
            `no_languages` has an empty list of languages, if it has one (Deepgram's `multi`), for
            which the plugin drops the transcript.
    """

    lasting: ClassVar[bool] = True

    what: _What = "unparsable"

    def __post_init__(self) -> None:
        StreamFault.__post_init__(self)
        _one_of("what", self.what, get_args(_What))

    def distorted(self, transcript: Mapping[str, Any]) -> str | bytes:
        """The message sent instead of a transcript: text for a text frame, bytes for a binary
        one."""
        good = json.dumps(transcript)
        match self.what:
            case "unparsable":
                return good[: len(good) // 2]
            case "no_text":
                return json.dumps(_changed_deeply(transcript, dict.fromkeys(_TEXTS, _NOTHING)))
            case "wrong_types":
                return json.dumps(_changed_deeply(transcript, _WRONG_TYPES))
            case "list":
                return json.dumps([transcript])
            case "binary":
                return good.encode()
            case "unknown_type":
                kind = next((name for name in _TYPES if name in transcript), "type")
                return json.dumps({**transcript, kind: "Gibberish"})
            case "no_languages":
                return json.dumps(_changed_deeply(transcript, {"languages": []}))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EmptyFinals(StreamFault):
    """Finals come without text and words, and interims do not come at all."""

    lasting: ClassVar[bool] = True

    def distorted(self, transcript: Mapping[str, Any]) -> Mapping[str, Any]:
        """The message sent instead of a final."""
        emptied = _changed_deeply(transcript, {**dict.fromkeys(_TEXTS, ""), **_NO_WORDS})
        assert isinstance(emptied, dict)
        return emptied


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LostFinal(StreamFault):
    """The next final with words is not sent, and the server goes on as if it had been."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class IgnoreClose(StreamFault):
    """The client's closing message gets the last transcript, but the connection never ends."""

    lasting: ClassVar[bool] = True


class FaultScript:
    """An immutable sequence of faults."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = tuple(faults)
        for fault in self._faults:
            if not isinstance(fault, Fault):
                raise ValueError(f"{fault!r} is not a fault")

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._faults)

    def __len__(self) -> int:
        return len(self._faults)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FaultScript) and self._faults == other._faults

    def __hash__(self) -> int:
        return hash(self._faults)

    def __repr__(self) -> str:
        return f"FaultScript({list(self._faults)})"

    def __add__(self, fault: Fault) -> FaultScript:
        return FaultScript((*self._faults, fault))

    def at_connect(self, connection: int, now: float) -> ConnectFault | None:
        """The first fault that answers a request arriving at `now`, in seconds since the start."""
        faults = (f for f in self.of(ConnectFault, connection) if f.in_period(now))
        return next(faults, None)

    def of(self, kind: type[_F], connection: int) -> Iterator[_F]:
        """The faults of one kind for a connection, in the order of the script."""
        return (f for f in self._faults if isinstance(f, kind) and f.applies_to(connection))


_TEXTS = ("text", "transcript", "utterance", "delta", "Text", "DisplayText")
"""The keys of texts in transcripts. Gladia's `utterance` is an object, which is no text."""
_TYPES = ("type", "message_type", "event", "message", "Path")
"""The keys of a message's type, at the providers of `testing.fakes`."""
_NOTHING = object()
_WRONG_TYPES = {**dict.fromkeys(_TEXTS, 7), "words": "none", "is_final": "yes"}
# `languages` is left out, because an empty list of them is another fault (`no_languages`).
_NO_WORDS = {"words": [], "tokens": [], "confidence": 0.0, "languages": _NOTHING}


def is_transcript(message: Mapping[str, Any]) -> bool:
    """Whether a message is a transcript, in the form of Cartesia's and Deepgram's; those of other
    providers are told by their `Dialogue`."""
    return message.get("type") == "Results" or any(name in message for name in _TEXTS)


def is_final(message: Mapping[str, Any]) -> bool:
    """Whether a message of Cartesia or Deepgram is a transcript that will not change any more."""
    return bool(message.get("is_final")) or message.get("type") == "turn.end"


def has_words(message: object) -> bool:
    """Whether any text in a message is not empty."""
    if isinstance(message, Mapping):
        return any(
            (k in _TEXTS and isinstance(v, str) and bool(v)) or has_words(v)
            for k, v in message.items()
        )
    return isinstance(message, list) and any(map(has_words, message))


def _changed_deeply(value: object, changes: Mapping[str, object]) -> object:
    """A JSON value with some keys' values replaced, at any depth. `_NOTHING` leaves a key out."""
    if isinstance(value, Mapping):
        return {
            key: changes[key] if _is_changed(key, item, changes) else _changed_deeply(item, changes)
            for key, item in value.items()
            if changes.get(key) is not _NOTHING
        }
    if isinstance(value, list):
        return [_changed_deeply(item, changes) for item in value]
    return value


def _is_changed(key: str, item: object, changes: Mapping[str, object]) -> bool:
    """Whether a key's value is replaced as a whole; an object may have a text's name."""
    return key in changes and not (key in _TEXTS and isinstance(item, Mapping))


def _one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def _is_close_code(code: int) -> bool:
    return (1000 <= code <= 1014 and code not in _NOT_ON_THE_WIRE) or 3000 <= code <= 4999


def _not_negative(name: str, value: float | None) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} must be a number, got {value!r}")
    if value < 0:
        raise ValueError(f"{name} must not be negative, got {value}")


def _changed(fault: Fault) -> Iterator[tuple[str, object]]:
    """The fields that differ from their defaults, those that the class adds first."""
    for item in sorted(fields(fault), key=lambda f: bool(f.kw_only)):
        default = item.default if item.default_factory is MISSING else item.default_factory()
        if (value := getattr(fault, item.name)) != default:
            yield item.name, value
