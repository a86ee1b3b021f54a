"""Whatever a server sends, through the real plugins: the stream lives, and no word is lost.

The fake servers recognize and answer as always; their messages are tampered with on the way to the
plugin. Behind the provider of the tampered server there is a healthy one.
"""

from __future__ import annotations

import asyncio
import copy
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import aiohttp
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from livekit.agents.stt import SpeechEventType

from resilient_stt import ResilientSTT
from resilient_stt.testing.fakes.cartesia import FakeCartesia
from resilient_stt.testing.fakes.deepgram import FakeDeepgram
from resilient_stt.testing.fakes.dialogue import Dialogue, ServerConnection
from resilient_stt.testing.fakes.wires import Content, Wire
from resilient_stt.testing.faults import is_final, is_transcript
from resilient_stt.testing.harness.clock import run_virtual
from resilient_stt.testing.harness.play import Played, play
from resilient_stt.testing.speech.reference import ReferenceSpeech

pytestmark = pytest.mark.sweep

MORE = int(os.environ.get("FUZZ", "1"))
"""Times as many examples as in CI."""
SPEECH = ReferenceSpeech.load("english").excerpt(0, 1).padded(1.0)
CHAINS = ["ink-whisper", "ink-2", "deepgram"]
"""Whose server is odd; the others' is healthy."""
ALL = 99
"""Connections."""

Message = dict[str, Any]
Frame = str | bytes
Tamper = Callable[[Message], list[Frame]]
"""What is sent instead of a message; made anew for each connection."""


def fuzzed(count: int) -> Callable[[Any], Any]:
    """The settings of a fuzzer that tries `count` examples in CI."""
    return settings(
        max_examples=count * MORE,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


# -- servers whose messages are tampered with


class Tampered:
    """A server's wire that sends other frames than it is given."""

    def __init__(self, wire: Wire, tamper: Tamper) -> None:
        self._wire = wire
        self._tamper = tamper

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wire, name)

    async def send(self, content: Content) -> None:
        for frame in self._tamper(json.loads(json.dumps(content))):
            await self._wire.send(frame)


@dataclass
class Odd:
    """The change to the messages of a server, on its first `connections`."""

    tampers: Callable[[], Tamper]
    connections: int

    def of(self, connection: ServerConnection, wire: Wire) -> Wire:
        if connection.index >= self.connections:
            return wire
        return cast(Wire, Tampered(wire, self.tampers()))


class OddCartesia(FakeCartesia):
    """Cartesia, tampered with."""

    odd: Odd

    def dialogue(self, connection: ServerConnection, wire: Wire) -> Dialogue:
        return super().dialogue(connection, self.odd.of(connection, wire))


class OddDeepgram(FakeDeepgram):
    """Deepgram, tampered with."""

    odd: Odd

    def dialogue(self, connection: ServerConnection, wire: Wire) -> Dialogue:
        return super().dialogue(connection, self.odd.of(connection, wire))


async def played(chain: str, tampers: Callable[[], Tamper], connections: int = ALL) -> Played:
    """Play the speech to a chain whose first provider's first connections are tampered with."""
    cartesia, deepgram, last = OddCartesia(), OddDeepgram(), chain == "deepgram"
    cartesia.odd = Odd(tampers, 0 if last else connections)
    deepgram.odd = Odd(tampers, connections if last else 0)
    async with cartesia, deepgram, aiohttp.ClientSession() as http:
        model = "ink-2" if chain == "ink-2" else "ink-whisper"
        plugins = [cartesia.stt(http_session=http, model=model), deepgram.stt(http_session=http)]
        stt = ResilientSTT(plugins[::-1] if last else plugins)
        outcome = await play(stt, SPEECH, frame_duration=0.1, patience=60.0)
        await stt.aclose()
    await asyncio.sleep(1)  # for what a closed socket has still to do
    return outcome


def run(chain: str, tampers: Callable[[], Tamper], connections: int = ALL) -> Played:
    """Play in virtual time, and check what every stream is promised."""
    outcome = run_virtual(played(chain, tampers, connections))
    assert outcome.error is None
    assert outcome.finished
    assert outcome.balanced
    for _, event in outcome.events:
        if event.type in (SpeechEventType.FINAL_TRANSCRIPT, SpeechEventType.INTERIM_TRANSCRIPT):
            reported = event.alternatives[0]
            times = [reported.start_time, reported.end_time]
            times += [
                cast(float, t) for w in reported.words or [] for t in (w.start_time, w.end_time)
            ]
            assert reported.text.strip()
            assert all(map(math.isfinite, times))
    return outcome


# -- what is done to a message

numbers: st.SearchStrategy[Any] = st.sampled_from(
    [math.nan, math.inf, -math.inf, 1e308, -1e308, 1e9, -1e9, 10**400]
)
"""Numbers that are no time of what was sent."""
junk: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | numbers | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
TYPES = ["", "Results", "transcript", "SpeechStarted", "UtteranceEnd", "Metadata", "flush_done"]
TURNS = ["turn.start", "turn.update", "turn.eager_end", "turn.resume", "turn.end", "error", "done"]
KEYS = ["code", "status_code", "message", "channel", "words", "duration", "is_final", "metadata"]
typed: st.SearchStrategy[Any] = st.builds(
    lambda kind, rest: {**rest, "type": kind},
    st.sampled_from(TYPES + TURNS),
    st.dictionaries(st.sampled_from(KEYS), junk, max_size=4),
)
"""Near-valid, but without a text."""


class Big(str):
    """A megabyte of one character, with a short repr."""

    def __repr__(self) -> str:
        return f"Big({self[:8]!r})"


big = st.sampled_from([Big(piece * (2**20 // len(piece))) for piece in ('"', "[", '{"a":', " ")])
frames: st.SearchStrategy[Frame] = st.one_of(
    junk.map(json.dumps),
    typed.map(json.dumps),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.sampled_from(["", "{", "null", "NaN", '"\\ud800"', b""]),
    big,
)
"""What is no transcript."""


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON value, as a container and a key or index in it."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in list(keys):
        yield value, key
        yield from places(value[key])


@dataclass(frozen=True)
class Edit:
    """A change at a place of a message."""

    where: int
    how: str
    value: Any = None

    def __call__(self, message: Message) -> list[Frame]:
        message = copy.deepcopy(message)
        spots = list(places(message))
        container, key = spots[self.where % len(spots)]
        if self.how == "drop":
            del container[key]
        elif self.how == "rename" and isinstance(container, dict):
            container[f"{key}_"] = container.pop(key)
        elif self.how == "nest":
            container[key] = [container[key]]
        else:
            container[key] = self.value
        frame = json.dumps(message)
        return [frame, frame] if self.how == "twice" else [frame]


hows = st.sampled_from(["drop", "rename", "nest", "replace", "replace", "twice"])
edits: st.SearchStrategy[Tamper] = st.builds(Edit, st.integers(0, 40), hows, junk)


def instead(frame: Frame) -> Tamper:
    return lambda _: [frame]


anything: st.SearchStrategy[Tamper] = edits | frames.map(instead)


def in_turn(tampers: list[Tamper]) -> Callable[[], Tamper]:
    """One change after the other, then from the first one again."""

    def fresh() -> Tamper:
        count = 0

        def tamper(message: Message) -> list[Frame]:
            nonlocal count
            count += 1
            return tampers[count % len(tampers)](message)

        return tamper

    return fresh


def sound(message: Message) -> list[Frame]:
    """Change nothing."""
    return [json.dumps(message)]


chains = st.sampled_from(CHAINS)


@given(chains, st.lists(anything | st.just(sound), min_size=1, max_size=6), st.integers(1, 3))
@fuzzed(20)
def test_no_message_kills_the_stream(chain: str, tampers: list[Tamper], connections: int) -> None:
    """No exception, no hang, balanced speech events, and every time is valid."""
    run(chain, in_turn(tampers), connections)


# -- nonsense between sound messages


def amid(before: list[Frame], after: list[Frame]) -> Tamper:
    return lambda message: [*before, json.dumps(message), *after]


@given(chains, st.lists(frames, max_size=2), st.lists(frames, max_size=2), st.integers(1, 3))
@fuzzed(20)
def test_nonsense_between_messages_costs_no_word(
    chain: str, before: list[Frame], after: list[Frame], connections: int
) -> None:
    """If transcripts are intact, every word comes once, whatever comes between them."""
    outcome = run(chain, in_turn([amid(before, after)]), connections)
    assert outcome.score.ok, str(outcome.score)


# -- transcripts that cannot be read any more


@dataclass(frozen=True)
class Without:
    """The text is missing, or not a string."""

    value: Any = None

    def __call__(self, message: Message) -> list[Frame]:
        message = copy.deepcopy(message)
        for container, key in list(places(message)):
            if key in ("text", "transcript"):
                container[key] = self.value
            elif key == "words":
                container[key] = []
        return [json.dumps(message)]


def cut(part: float) -> Tamper:
    """About half of the JSON."""
    return lambda message: [(whole := json.dumps(message))[: int(part * len(whole))]]


def retyped(kind: Any) -> Tamper:
    """Another type of message."""
    return lambda message: [json.dumps({**message, "type": kind})]


wrecks: st.SearchStrategy[Tamper] = st.one_of(
    frames.map(instead),
    st.builds(cut, st.floats(0, 0.95)),
    st.builds(retyped, st.none() | st.sampled_from(["", "Gibberish", 7]) | st.just(["Results"])),
    st.builds(Without, st.sampled_from([None, 7, "", " ", [], ["x"], {"a": 1}, True])),
    st.just(lambda message: [json.dumps(message).encode()]),
    st.just(lambda message: [json.dumps([message])]),
    st.just(lambda message: []),
)


@dataclass(frozen=True)
class FromThen:
    """Intact at first, and from the n-th transcript on one broken message after the other."""

    after: int
    wrecks: tuple[Tamper, ...]

    def __call__(self) -> Tamper:
        count = 0

        def tamper(message: Message) -> list[Frame]:
            nonlocal count
            if not is_transcript(message):
                return sound(message)
            count += 1
            if count <= self.after:
                return sound(message)
            return self.wrecks[count % len(self.wrecks)](message)

        return tamper


@given(
    chains,
    st.builds(FromThen, st.integers(0, 6), st.lists(wrecks, min_size=1, max_size=4).map(tuple)),
    st.sampled_from([1, 2, ALL]),
)
@example("ink-2", FromThen(1, (instead('{"type": "turn.resume"}'),)), 1)  # says its last once more
@fuzzed(20)
def test_transcripts_that_cannot_be_read_cost_no_word(
    chain: str, tampers: FromThen, connections: int
) -> None:
    """If no message can be read from some point on, another provider gives every word, once."""
    outcome = run(chain, tampers, connections)
    assert outcome.score.ok, str(outcome.score)


# -- times that are none


@dataclass(frozen=True)
class Mistimed:
    """All times are these numbers, the text is intact."""

    values: tuple[Any, ...]

    def __call__(self, message: Message) -> list[Frame]:
        message = copy.deepcopy(message)
        spots = [p for p in places(message) if p[1] in ("start", "end", "duration", "timestamp")]
        for number, (container, key) in enumerate(spots):
            container[key] = self.values[number % len(self.values)]
        return [json.dumps(message)]


@given(
    chains,
    st.lists(
        st.builds(Mistimed, st.lists(numbers, min_size=1, max_size=4).map(tuple)),
        min_size=1,
        max_size=3,
    ),
)
@fuzzed(15)
def test_invalid_times_cost_no_word(chain: str, tampers: list[Tamper]) -> None:
    """If the text is intact and its times are not, every word comes once."""
    outcome = run(chain, in_turn(tampers))
    assert outcome.score.ok, str(outcome.score)


# -- a final that comes again


@pytest.mark.parametrize(
    "chain",
    [
        "ink-whisper",
        "ink-2",
        "deepgram",
    ],
)
def test_finals_that_are_sent_twice(chain: str) -> None:
    """A final that comes twice with the same times counts once; ink-2's plugin ends a turn once."""

    def twice(message: Message) -> list[Frame]:
        return sound(message) * (2 if is_final(message) else 1)

    outcome = run(chain, in_turn([twice]))
    assert outcome.score.ok, str(outcome.score)
