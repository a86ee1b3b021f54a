"""What the flight recorder writes of whole calls: true to the stream, with its numbers."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from resilient_stt import Policies, ResilientSTT, RetryPolicy
from resilient_stt.core.engine import FailoverEngine
from resilient_stt.recording.stream_recorder import StreamRecorder
from resilient_stt.testing import (
    Drop,
    FakeCartesia,
    FakeDeepgram,
    Fault,
    ReferenceSpeech,
    Refuse,
    Stall,
    Status,
    from_,
)

from .. import test_succession
from ..support.fakes import FakeSTT, says
from .calls import RecordedCall, recorded_call

pytestmark = pytest.mark.stt_virtual_time

CALL = ReferenceSpeech.load("english").excerpt(0, 2).padded(1.0)
DROP = Drop(at_word=16, part=0.5, connections={0})
FAULTS: dict[str, tuple[list[Fault], list[Fault]]] = {
    "none": ([], []),
    "drop": ([DROP], []),
    "down": ([DROP, Refuse(connections=from_(1))], []),
    "stall": ([Stall(at_word=16)], []),
    "wrong-key": ([Status(401)], []),
    "outage": ([Drop(at_time=5), Refuse(at_time=4.9, until=9)],) * 2,
}
each_fault = pytest.mark.parametrize("fault", FAULTS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "calls"


async def call_with(
    fault: str, cartesia: FakeCartesia, deepgram: FakeDeepgram, folder: Path, *, text: bool = True
) -> RecordedCall:
    cartesia.faults, deepgram.faults = FAULTS[fault]
    providers = [cartesia.stt(), deepgram.stt()]
    return await recorded_call(providers, folder, CALL, text=text)


@each_fault
async def test_the_document_tells_what_the_stream_told(
    fault: str, fake_cartesia: FakeCartesia, fake_deepgram: FakeDeepgram, folder: Path
) -> None:
    """Its finals are those of the stream, with their times; its accounts are those of the event."""
    call = await call_with(fault, fake_cartesia, fake_deepgram, folder)
    document = call.document
    emitted = [final for final in call.played.finals if final.text]
    assert [final["text"] for final in document["finals"]] == [f.text.strip() for f in emitted]
    for recorded, final in zip(document["finals"], emitted, strict=True):
        assert recorded["at"] == pytest.approx(final.at, abs=0.05)
    ended, accounts = call.ended, document["accounts"]
    assert document["outcome"] == ended.reason == "finished"
    assert document["accounts_complete"]
    assert accounts["words"] == dict(ended.words)
    for name in ("pushed", "final", "silence", "lost", "buffered", "replayed", "hedged", "probed"):
        assert accounts[name] == pytest.approx(getattr(ended, name), abs=0.0006)
    sent = [(one.provider, one.role, one.seconds) for one in ended.sent]
    assert [tuple(one.values()) for one in accounts["sent"]] == [
        (provider, role, pytest.approx(seconds, abs=0.0006)) for provider, role, seconds in sent
    ]
    assert [tuple(one.values()) for one in accounts["switches"]] == [
        dataclasses.astuple(one) for one in ended.switches
    ]
    assert accounts["lateness"]["worst"] == pytest.approx(ended.lateness.worst, abs=0.0006)


@each_fault
async def test_what_was_drawn_adds_up(
    fault: str, fake_cartesia: FakeCartesia, fake_deepgram: FakeDeepgram, folder: Path
) -> None:
    """What the lanes show is what the accounts say: audio sent, words, loudness of all audio."""
    call = await call_with(fault, fake_cartesia, fake_deepgram, folder)
    document = call.document
    accounts = document["accounts"]
    drawn = sum(connection["sent"] for connection in document["connections"])
    assert drawn == pytest.approx(sum(one["seconds"] for one in accounts["sent"]), abs=0.02)
    assert accounts["lateness"]["count"] == sum(f["late"] is not None for f in document["finals"])
    heard = len(document["loudness"]["dbfs"]) * document["loudness"]["step"]
    assert heard == pytest.approx(CALL.duration, abs=0.1)
    assert document["input_ended"] == pytest.approx(CALL.duration, abs=0.01)
    for connection in document["connections"]:
        assert connection["opened"] <= connection["closed"] <= document["end"]
        for start, end in connection["replayed"]:
            assert document["start"] <= start < end <= connection["opened"] + 0.001
    times = [mark["at"] for mark in document["marks"]]
    assert times == sorted(times)
    for (at, held), (later, _) in itertools.pairwise(document["held"]):
        assert at <= later
        assert 0 <= held <= document["replay_window"]


async def test_a_failover_is_told(
    fake_cartesia: FakeCartesia, fake_deepgram: FakeDeepgram, folder: Path
) -> None:
    """One sentence says who took over, when, and why; words from replayed audio are marked."""
    call = await call_with("down", fake_cartesia, fake_deepgram, folder)
    document = call.document
    assert document["result"].startswith(
        "deepgram took over at 6.1 s because cartesia dropped the connection, and then could not"
    )
    assert document["result"].endswith("no speech was lost.")
    (switch,) = [m for m in document["marks"] if m["event"].get("to_provider") == "deepgram"]
    assert switch["title"] == "deepgram took over from cartesia"
    assert "sent again, to deepgram: nothing said in between is missing" in switch["why"]
    deepgram = [c for c in document["connections"] if c["provider"] == "deepgram"]
    assert deepgram[0]["replayed"]
    first = next(final for final in document["finals"] if final["provider"] == "deepgram")
    assert first["replayed"]
    assert first["connection"] == deepgram[0]["id"]
    assert not document["finals"][0]["replayed"]


async def test_a_hedge_has_its_own_role_and_reason(
    fake_cartesia: FakeCartesia, fake_deepgram: FakeDeepgram, folder: Path
) -> None:
    """A stall is a doubt first; the hedge is drawn as one until it serves."""
    document = (await call_with("stall", fake_cartesia, fake_deepgram, folder)).document
    kinds = [mark["kind"] for mark in document["marks"]]
    assert kinds.index("stall_suspected") < kinds.index("switched")
    switch = document["marks"][kinds.index("switched")]
    assert "deepgram has transcribed them already" in switch["why"]
    (hedge,) = [c for c in document["connections"] if c["provider"] == "deepgram"]
    assert [period["role"] for period in hedge["roles"]] == ["hedge", "active"]


async def test_an_outage_is_told(
    fake_cartesia: FakeCartesia, fake_deepgram: FakeDeepgram, folder: Path
) -> None:
    """Its begin and its end are marks, and the sentence about the call counts it."""
    document = (await call_with("outage", fake_cartesia, fake_deepgram, folder)).document
    kinds = [mark["kind"] for mark in document["marks"]]
    assert kinds.index("outage_started") < kinds.index("outage_ended")
    assert max(held for _, held in document["held"]) > 3


async def test_a_stream_that_gives_up(
    fake_cartesia: FakeCartesia, fake_deepgram: FakeDeepgram, folder: Path
) -> None:
    """The recording says so, and what is lost or buffered is in its accounts."""
    fake_cartesia.faults = fake_deepgram.faults = [Refuse()]
    policies = Policies(retry=RetryPolicy(outage_limit=3.0))
    providers = [fake_cartesia.stt(), fake_deepgram.stt()]
    call = await recorded_call(providers, folder, CALL, policies=policies)
    assert call.document["outcome"] == "gave_up"
    assert "; the stream gave up at 3" in call.document["result"]
    assert call.document["finals"] == []


@each_fault
async def test_without_text_no_word_is_written(
    fault: str, fake_cartesia: FakeCartesia, fake_deepgram: FakeDeepgram, folder: Path
) -> None:
    """With `text=False`, the numbers stay, and not a single word of the speech is anywhere."""
    call = await call_with(fault, fake_cartesia, fake_deepgram, folder, text=False)
    document = call.document
    written = call.json_text.lower()
    for word in {word.text.strip(".,?!").lower() for word in CALL.words if len(word.text) > 5}:
        assert word not in written
    recorded = [word for final in document["finals"] for word in final["words"]]
    assert len(recorded) == len(CALL.words)
    assert all(word["text"] == "" and word["length"] > 0 for word in recorded)
    assert recorded[0]["start"] == pytest.approx(CALL.words[0].start, abs=0.1)
    begin = call.page.index('id="recording">') + len('id="recording">')
    inlined = json.loads(call.page[begin : call.page.index("</script>", begin)])
    assert inlined == document


async def test_no_key_is_written(
    fake_cartesia: FakeCartesia,
    fake_deepgram: FakeDeepgram,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A refused key is reported with advice that names the variable, and never the key."""
    fake_cartesia.faults = [Status(401, body='{"error": "bad key SECRET-KEY-1"}')]
    call = await recorded_call([fake_cartesia.stt(), fake_deepgram.stt()], folder, CALL)
    assert "CARTESIA_API_KEY" in call.json_text
    assert "SECRET-KEY" not in call.json_text + call.page


@pytest.mark.parametrize("method", ["handled", "forwarded"])
async def test_a_mistake_of_the_recorder_does_not_reach_the_call(
    method: str,
    fake_cartesia: FakeCartesia,
    fake_deepgram: FakeDeepgram,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If something cannot be taken down, every word is still transcribed; it is logged once."""

    def broken(*args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(StreamRecorder, method, broken)
    call = await call_with("down", fake_cartesia, fake_deepgram, folder)
    assert call.played.score.ok
    records = [r for r in caplog.records if "not recorded any more" in r.getMessage()]
    assert len(records) == 1


def documents_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in folder.glob("*.json")]


async def test_a_stream_that_goes_on_with_the_audio_of_another(folder: Path) -> None:
    """What the other stream left lies before 0, and the words are those of the call."""
    resilient = ResilientSTT(
        [FakeSTT(test_succession.down(5.0, test_succession.BACK + 5.0))],
        policies=test_succession.policies(),
        record=folder,
    )
    call = await test_succession.Call(resilient).run()
    await resilient.aclose()
    first, second = sorted(documents_in(folder), key=lambda d: d["outcome"] != "gave_up")
    assert (first["outcome"], second["outcome"]) == ("gave_up", "finished")
    assert second["start"] < -1
    assert "; it went on with " in second["result"]
    assert second["held"][0][1] > 1
    assert second["accounts"]["taken_over"] == pytest.approx(-second["start"], abs=2)
    assert first["accounts"]["buffered"] == pytest.approx(
        second["accounts"]["taken_over"], abs=0.01
    )
    texts = [final["text"] for document in (first, second) for final in document["finals"]]
    assert texts == [final.text.strip() for final in call.finals]
    taken_over = second["finals"][0]
    assert taken_over["start"] < 0
    assert taken_over["replayed"]
    heard = len(second["loudness"]["dbfs"]) * second["loudness"]["step"]
    assert heard == pytest.approx(second["input_ended"], abs=0.2)


async def test_without_a_recorder_a_frame_does_nothing_more() -> None:
    """The engine is the plain one; a stream that is recorded has another class of it."""
    async with ResilientSTT([FakeSTT(says("a"))]) as plain, plain.stream() as stream:
        assert type(stream._engine) is FailoverEngine
        assert stream._recorder is None
