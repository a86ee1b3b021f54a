from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from resilient_stt.testing.faults import (
    Drop,
    DropAfterClose,
    EmptyFinals,
    EndCleanly,
    Fault,
    FaultScript,
    Garbage,
    HalfOpen,
    Hang,
    IgnoreClose,
    InBandError,
    Latency,
    LostFinal,
    Refuse,
    Stall,
    Status,
    StreamFault,
    from_,
    is_transcript,
)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Drop(at_word=-1), "at_word must not be negative"),
        (lambda: Drop(at_audio=-0.1), "at_audio must not be negative"),
        (lambda: Drop(at_time=-1), "at_time must not be negative"),
        (lambda: Drop(at_time=math.nan), "at_time must be a number, got nan"),
        (lambda: Drop(at_audio=math.inf), "at_audio must be a number, got inf"),
        (lambda: Drop(at_word=True), "at_word must be a number, got True"),
        (lambda: Drop(at_time="5"), "at_time must be a number, got '5'"),  # type: ignore[arg-type]
        (lambda: Drop(at_word=1, part=1.5), "part must be from 0 to 1"),
        (lambda: Drop(part=0.5), "part needs at_word"),
        (lambda: Drop(at_word=1, at_audio=2), "only one trigger can be given, not at_word and"),
        (lambda: Drop(at_audio=1, at_time=2), "only one trigger can be given, not at_audio and"),
        (lambda: Drop(200), "200 is not a websocket close code"),
        (lambda: Drop(1005), "1005 is not a websocket close code"),
        (lambda: Drop(1011, "x" * 124), "123 bytes"),
        (lambda: Drop(reason="gone"), "a reason needs a close frame"),
        (lambda: Drop(1006, "gone"), "a reason needs a close frame"),
        (lambda: Drop(connections=0), "connections must be a container"),  # type: ignore[arg-type]
        (lambda: Latency(-1), "seconds must not be negative"),
        (lambda: Status(101), "code must be a status from 300 to 599"),
        (lambda: Status(200), "code must be a status from 300 to 599"),
        (lambda: Refuse(at_time=5, until=5), "until=5 is not after at_time=5"),
        (lambda: Hang(until=0), "until=0 is not after at_time=0"),
        (lambda: DropAfterClose(at_word=3), "triggered by the client's closing message"),
        (lambda: InBandError(400, shape="x"), "shape must be one of None, 'code', 'status_code'"),  # type: ignore[arg-type]
        (lambda: InBandError(400, then="x"), "then must be one of 'silence', 'close', 'go_on'"),  # type: ignore[arg-type]
        (lambda: Garbage("x"), "what must be one of 'unparsable', .* got 'x'"),  # type: ignore[arg-type]
        (lambda: Stall(at_word=1, at_audio=2), "only one trigger"),
        (lambda: from_(-1), "first must not be negative"),
        (lambda: FaultScript(["drop"]), "'drop' is not a fault"),  # type: ignore[list-item]
    ],
)
def test_bad_values_are_refused(make: Callable[[], Any], why: str) -> None:
    """A value without a meaning raises a ValueError that says what is wrong."""
    with pytest.raises(ValueError, match=why):
        make()


@pytest.mark.parametrize(
    ("fault", "spelling"),
    [
        (Drop(at_word=12, part=0.5, connections={0}), "at_word=12, part=0.5"),
        (Drop(1011, "NET-0001"), "Drop(code=1011, reason='NET-0001')"),
        (Refuse(connections=from_(1)), "Refuse(connections=from_(1))"),
        (Status(401), "Status(code=401)"),
        (Latency(2.0, at_time=30), "Latency(seconds=2.0, at_time=30)"),
        (EndCleanly(at_audio=3.2), "EndCleanly(at_audio=3.2)"),
        (Stall(at_word=7, until=20), "Stall(until=20, at_word=7)"),
        (HalfOpen(at_time=3), "HalfOpen(at_time=3)"),
        (InBandError(None), "InBandError(code=None)"),
        (InBandError(402, shape="code", then="close"), "code=402, shape='code', then='close'"),
        (Garbage("list", at_audio=1), "Garbage(what='list', at_audio=1)"),
        (EmptyFinals(), "EmptyFinals()"),
        (LostFinal(at_word=7), "LostFinal(at_word=7)"),
        (IgnoreClose(connections={2}), "IgnoreClose(connections=frozenset({2}))"),
        (DropAfterClose(connections=range(2)), "DropAfterClose(connections=range(0, 2))"),
    ],
)
def test_the_repr_is_the_call_that_makes_the_fault(fault: Fault, spelling: str) -> None:
    """The repr of a fault is the call that makes it, with the fields that were given."""
    assert spelling in repr(fault)
    assert eval(repr(fault)) == fault


def test_faults_are_values() -> None:
    """Faults compare by value, can be kept in a set, and cannot be changed."""
    assert {Drop(connections={1}), Drop(connections={1})} == {Drop(connections={1})}
    with pytest.raises(dataclasses.FrozenInstanceError):
        Drop().code = 1011  # type: ignore[misc]


@pytest.mark.parametrize(
    ("connections", "met"),
    [(None, {0, 1, 2, 3}), ({1}, {1}), (range(1, 3), {1, 2}), (from_(2), {2, 3}), ([0, 3], {0, 3})],
)
def test_a_fault_applies_to_the_listed_connections(connections: Any, met: set[int]) -> None:
    """A fault happens to the connections in its container, or to all of them."""
    fault = Hang(connections=connections)
    assert {index for index in range(4) if fault.applies_to(index)} == met


def test_a_connect_fault_lasts_from_its_time_until_its_end() -> None:
    """A connect fault answers requests that arrive in [at_time, until), and no others."""
    script = FaultScript([Refuse(at_time=5, until=11)])
    met = [now for now in (0, 4.9, 5, 10.9, 11, 99) if script.at_connect(0, now)]
    assert met == [5, 10.9]


def test_the_first_fault_in_the_script_is_used() -> None:
    """Among several connect faults that apply, the first in the script is used; stream faults are
    not."""
    script = FaultScript([Drop(), Status(429, connections={1}), Hang()])
    assert script.at_connect(0, 0) == Hang()
    assert script.at_connect(1, 0) == Status(429, connections={1})


def test_a_script_lists_the_faults_of_a_kind_for_a_connection() -> None:
    """`of` returns the faults of a kind for a connection, in order."""
    drop, slow = Drop(at_word=3, connections={0}), Latency(1)
    script = FaultScript([drop, Refuse(), slow])
    assert list(script.of(StreamFault, 0)) == [drop, slow]
    assert list(script.of(StreamFault, 1)) == [slow]


def test_adding_to_a_script_makes_a_new_one() -> None:
    """Adding a fault makes a new script, and leaves the old one as it is."""
    script = FaultScript([Hang()])
    longer = script + Refuse()
    assert (len(script), list(longer)) == (1, [Hang(), Refuse()])
    assert repr(longer) == "FaultScript([Hang(), Refuse()])"
    assert longer == FaultScript([Hang(), Refuse()]) != script


@pytest.mark.parametrize(
    ("fault", "by_audio"),
    [
        (Drop(at_word=0), True),
        (Drop(at_audio=0.0), True),
        (Drop(at_time=1), False),
        (Drop(), False),
    ],
)
def test_triggers_in_the_audio(fault: StreamFault, by_audio: bool) -> None:
    """Only a trigger at a word or an amount of audio needs the exact sample."""
    assert fault.by_audio is by_audio


TRANSCRIPT = {"type": "transcript", "text": "Hi", "is_final": True, "words": [{"word": "Hi"}]}
RESULTS = {
    "type": "Results",
    "is_final": True,
    "channel": {"alternatives": [{"transcript": "Hi", "confidence": 0.9, "words": [1]}]},
}
TURN_END = {"type": "turn.end", "transcript": "Hi"}


@pytest.mark.parametrize("message", [TRANSCRIPT, RESULTS, TURN_END])
def test_garbage_is_wrong_in_one_way(message: dict[str, Any]) -> None:
    """Each kind of garbage is wrong in the way its name says, and else as the message was."""
    with pytest.raises(ValueError, match=r"Expecting|Unterminated|delimiter"):
        json.loads(Garbage("unparsable").distorted(message))
    assert json.loads(Garbage("list").distorted(message)) == [message]
    assert Garbage("binary").distorted(message) == json.dumps(message).encode()
    stranger = json.loads(Garbage("unknown_type").distorted(message))
    assert stranger == {**message, "type": "Gibberish"}
    assert 'Hi",' not in str(Garbage("wrong_types").distorted(message))


def test_garbage_changes_texts_at_any_depth() -> None:
    """Texts are changed at any depth: Cartesia's is at the top, Deepgram's in an alternative."""
    no_text, wrong_types = Garbage("no_text"), Garbage("wrong_types")
    without = json.loads(no_text.distorted(TRANSCRIPT))
    assert without == {name: value for name, value in TRANSCRIPT.items() if name != "text"}
    (alternative,) = json.loads(no_text.distorted(RESULTS))["channel"]["alternatives"]
    assert alternative == {"confidence": 0.9, "words": [1]}
    assert json.loads(wrong_types.distorted(TRANSCRIPT)) == {
        "type": "transcript", "text": 7, "is_final": "yes", "words": "none",
    }  # fmt: skip
    (alternative,) = json.loads(wrong_types.distorted(RESULTS))["channel"]["alternatives"]
    assert alternative == {"transcript": 7, "confidence": 0.9, "words": "none"}


def test_an_empty_final_has_no_words() -> None:
    """A final loses its words and keeps its other fields."""
    empty = EmptyFinals()
    assert empty.distorted(TRANSCRIPT) == {**TRANSCRIPT, "text": "", "words": []}
    assert empty.distorted(TURN_END) == {**TURN_END, "transcript": ""}
    results = empty.distorted(RESULTS)
    assert results["channel"]["alternatives"] == [
        {"transcript": "", "confidence": 0.0, "words": []}
    ]


def test_which_messages_are_transcripts() -> None:
    """A message with a text, at the top or in a Results, is a transcript."""
    assert all(is_transcript(message) for message in (TRANSCRIPT, RESULTS, TURN_END))
    for kind in ("flush_done", "done", "Metadata", "SpeechStarted", "turn.start", "error"):
        assert not is_transcript({"type": kind, "message": "Hi"})


@pytest.mark.parametrize(
    "fault",
    [
        Status(429, headers={"Retry-After": "3"}),
        Drop(connections=[0, 2]),
        Refuse(connections={1}),
        Latency(1.0, connections=from_(2)),
    ],
    ids=repr,
)
def test_equal_faults_have_one_hash(fault: Fault) -> None:
    """Equal faults have the same hash, whatever their fields are."""
    again = dataclasses.replace(fault)
    assert (again, hash(again)) == (fault, hash(fault))
    assert {fault, again} == {fault}
    assert Status(429) != Status(429, headers={"Retry-After": "3"})


def test_no_languages_empties_their_list_alone() -> None:
    """`no_languages` empties Deepgram's list of languages; a message without one is unchanged."""
    told = {"type": "Results", "channel": {"alternatives": [{"languages": ["es"], "words": [1]}]}}
    fault = Garbage("no_languages")
    (alternative,) = json.loads(fault.distorted(told))["channel"]["alternatives"]
    assert alternative == {"languages": [], "words": [1]}
    assert json.loads(fault.distorted(TRANSCRIPT)) == TRANSCRIPT
