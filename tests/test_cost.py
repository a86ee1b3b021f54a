"""The parts of `benchmarks/cost` that decide: what is compared, what fails, what is drawn."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.cost import gate, page, plots
from benchmarks.cost.bill import Bill
from benchmarks.cost.in_process import run
from benchmarks.cost.rehearsed import Rehearsal, of_silence, of_speech
from benchmarks.cost.results import MEASURES, Results, as_json, from_json
from benchmarks.cost.rounds import Rounds, alternate
from benchmarks.cost.subjects import ADAPTER, BARE, SUBJECTS
from resilient_stt.cli.command_error import CommandError

ROUNDS = Rounds({"base": [10.0, 20.0, 30.0], "a": [20.0, 40.0, 90.0], "b": [30.0, 60.0, 90.0]})


def test_ratios_are_taken_within_a_round() -> None:
    """A slow round slows everything in it, so it does not change a ratio."""
    assert ROUNDS.ratio("a", "base") == 2.0
    assert ROUNDS.added("a", "base") == 20.0
    assert ROUNDS.added_ratio("b", "a", "base") == 2.0
    assert ROUNDS.spread("a") == (20.0, 90.0)


def test_every_round_begins_with_another_subject() -> None:
    """Nothing is always measured right after the same other thing."""
    order: list[str] = []

    def measure(subject: str) -> float:
        order.append(subject)
        return 1.0

    assert alternate(["a", "b"], 2, measure).figures == {"a": [1.0, 1.0], "b": [1.0, 1.0]}
    assert order == ["a", "b", "b", "a"]


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("rehearsal", [of_speech(), of_silence(5)], ids=["speech", "silence"])
def test_every_subject_gives_the_provider_s_finals(subject: str, rehearsal: Rehearsal) -> None:
    """What is measured is a stream that works; `run` raises if a final is missing."""
    driven = run(subject, rehearsal, streams=1, seconds=10.0)
    assert driven.finals == rehearsal.finals(11.0) > 0
    assert driven.audio == 10.0
    assert len(driven.ways) >= driven.finals


def test_a_stream_without_its_finals_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever drops finals is not praised for its speed."""
    monkeypatch.setattr(Rehearsal, "finals", lambda self, seconds: 1000)
    with pytest.raises(RuntimeError, match="finals instead of 1000"):
        run(BARE, of_speech(), streams=1, seconds=1.0)


def test_every_limit_has_a_ratio() -> None:
    """A ratio above its limit is named; one without a limit is a mistake, and so is the reverse."""
    assert gate.exceeded({"a": 1.0, "b": 2.0}, {"a": 1.0, "b": 1.9}) == ["b"]
    assert "EXCEEDED" in gate.table({"a": 2.0}, {"a": 1.0})
    assert "EXCEEDED" not in gate.table({"a": 1.0}, {"a": 1.0})
    with pytest.raises(ValueError, match=r"limits\.toml: b, c"):
        gate.exceeded({"a": 1.0, "b": 1.0}, {"a": 1.0, "c": 1.0})
    assert all(limit > 0 for limit in gate.limits().values())


def results() -> Results:
    """Results with a part of them."""
    frame = Rounds({subject: [1.0 + number] for number, subject in enumerate(SUBJECTS)})
    bill = Bill(10.0, {"cartesia": {"active": 10.0}}, {"cartesia": 10.0, "deepgram": 5.0}, 1, 0, 0)
    return Results(frame=frame, bill={"a café & music": bill})


def test_results_survive_in_a_file() -> None:
    """A part can be measured later than another one."""
    kept = from_json(as_json(results()))
    assert kept == results()
    assert set(MEASURES) == set(vars(kept)) - {"machine"}


def test_the_page_is_written_between_its_markers(tmp_path: Path) -> None:
    """It has a table and its plots of what was measured, and nothing of what was not."""
    path = tmp_path / "cost.md"
    with pytest.raises(CommandError, match=r"cannot read .*No such file"):
        page.update(path, results())
    path.write_text("before <!-- cost:begin --> old <!-- cost:end --> after")
    page.update(path, results())
    text = path.read_text()
    assert text.startswith("before <!-- cost:begin -->\nMeasured on ")
    assert text.endswith("<!-- cost:end --> after")
    assert "| FallbackAdapter | 2 | 2 to 2 | +1 | 1.0x |" in text
    assert "| a café & music | 10 s | 1.50x | 1 | cartesia active 100 % | 0 / 0 |" in text
    assert "## Memory" not in text
    assert "(cost/frame.svg)" in text
    assert {drawn.name for drawn in (tmp_path / "cost").iterdir()} == {"frame.svg", "bill.svg"}
    assert ADAPTER in page.text(results())


def test_bars_are_as_long_as_their_values() -> None:
    """The longest bar is the greatest value; labels are escaped."""
    drawn = ElementTree.fromstring(plots.bars("a & b", "ms", {"<x>": 10.0, "y": 5.0, "z": 0.0}))
    widths = [float(bar.attrib["width"]) for bar in drawn.findall("{*}rect")[1:]]
    assert widths[0] == 2 * widths[1] > widths[2] == 0.0
    assert [text.text for text in drawn.findall("{*}text")][:2] == ["a & b", "<x>"]
