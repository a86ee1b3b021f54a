"""Recordings of simulated calls: whatever happens in a stream, its recording is true to it."""

from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path

import jsonschema
import pytest

from resilient_stt import ResilientSTT
from resilient_stt.recording.document import RecordingDocument, schema
from resilient_stt.testing.simulate import simulator
from resilient_stt.testing.simulate.schedule import draw

SEEDS = range(900, 925)
SCHEMA = jsonschema.Draft202012Validator(schema())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_simulated_call(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every promise holds while it is recorded, and every stream of it has a document."""
    recorded = functools.partial(ResilientSTT, record=tmp_path)
    monkeypatch.setattr(simulator, "ResilientSTT", recorded)
    result = simulator.simulate(draw(seed))
    assert result.violations == []
    documents = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("*.json"))]
    assert documents
    assert not list(tmp_path.glob("*.jsonl"))
    for document in documents:
        SCHEMA.validate(document)
        check(document)


def check(document: RecordingDocument) -> None:
    """What is drawn is what the accounts say."""
    accounts = document["accounts"]
    assert document["accounts_complete"]
    parts = (accounts["final"], accounts["silence"], accounts["lost"], accounts["buffered"])
    assert accounts["pushed"] == pytest.approx(sum(parts), abs=0.003)
    for sent in accounts["sent"]:
        assert sent["seconds"] >= 0
    drawn = sum(connection["sent"] for connection in document["connections"])
    paid = sum(sent["seconds"] for sent in accounts["sent"])
    assert drawn == pytest.approx(paid, abs=0.01 * (1 + len(document["connections"])))
    assert set(accounts["words"]) == {f["provider"] for f in document["finals"] if f["words"]}
    times = [mark["at"] for mark in document["marks"]]
    assert times == sorted(times)
    assert all(document["start"] <= at <= document["end"] for at in times)
    for connection in document["connections"]:
        assert connection["opened"] <= connection["closed"] <= document["end"]
        roles = [period["at"] for period in connection["roles"]]
        assert roles == sorted(roles)
        for (_, end), (start, _) in itertools.pairwise(connection["replayed"]):
            assert end <= start + 0.001
    for final in document["finals"]:
        assert final["start"] <= final["end"] <= final["at"] + 0.01
        starts = [word["start"] for word in final["words"]]
        assert starts == sorted(starts)
