from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from resilient_stt import testing
from resilient_stt.core.output.speech_balancer import SpeechBalancer
from resilient_stt.testing.simulate import campaign
from resilient_stt.testing.simulate.schedule import (
    Effect,
    FaultSpec,
    Piece,
    ProviderScript,
    Schedule,
    draw,
    promised,
    smaller,
)
from resilient_stt.testing.simulate.simulator import shrunk, simulate

CORPUS = sorted(Path(__file__).parents[2].glob("schedules/*.json"))
"""Every call that has ever broken a promise, simplified as far as possible."""

HELLO = Schedule(pieces=(Piece("hello", 0.4, 0.4),), scripts=(ProviderScript(),))


@pytest.mark.parametrize("path", CORPUS, ids=lambda p: p.stem)
def test_calls_that_once_failed(path: Path) -> None:
    """No call that has ever broken a promise breaks one again."""
    schedule = Schedule.from_json(path.read_text())
    assert simulate(schedule).violations == []


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(40))
def test_drawn_calls(seed: int) -> None:
    """A drawn call keeps the promises, survives JSON, and has the same log twice."""
    schedule = draw(seed)
    assert promised(schedule)
    assert Schedule.from_json(schedule.to_json()) == schedule
    first, second = simulate(schedule), simulate(schedule)
    assert first.violations == []
    assert "\n".join(first.log).encode() == "\n".join(second.log).encode()


@pytest.mark.sweep
def test_many_kinds_of_calls_are_drawn() -> None:
    """Draws contain every fault at every point, and every property of a provider."""
    drawn = [draw(seed) for seed in range(2000)]
    scripts = [s for d in drawn for s in d.scripts]
    faults = {(m.at, m.effect) for s in scripts for m in s.faults if m}
    assert len(faults) >= 24
    assert {len(d.scripts) for d in drawn} == {1, 2, 3}
    for name in (
        "times",
        "interim_results",
        "manual_flush",
        "slow_endpointing",
        "adds_offset",
        "capitalizes",
        "hangs",
    ):
        assert len({getattr(s, name) for s in scripts}) >= 2, name
    assert any(s.down for s in scripts)
    assert any(d.closed_at is not None for d in drawn)
    assert any(len(set(d.words)) < len(d.words) for d in drawn)


def test_effects_are_named_after_the_faults_of_the_kit() -> None:
    """The same fault has one name; only a slow `aclose()` is nothing that a server could do."""
    faults = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in testing.__all__}
    assert {*get_args(Effect)} - faults == {"slow_close"}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pieces": 3, "scripts": []}'])
def test_text_that_is_not_a_schedule(text: str) -> None:
    """Text that is not a schedule raises an error with a reason."""
    with pytest.raises(ValueError, match="not a schedule"):
        Schedule.from_json(text)


def test_missing_words_are_reported() -> None:
    """If no provider hears, the missing words are reported."""
    deaf = ProviderScript(faults=(FaultSpec("audio", "half_open"),) * 9)
    schedule = Schedule(pieces=(Piece("hello", 0.4, 0.4),), scripts=(deaf, deaf))
    assert not promised(schedule)
    assert simulate(schedule).violations == ["emitted [] instead of ['hello']"]


@pytest.mark.sweep
def test_smaller_schedules() -> None:
    """The promises hold for each simpler schedule, and each differs from the one before."""
    for seed in range(200):
        schedule = draw(seed)
        steps = list(smaller(schedule))
        assert schedule not in steps
        assert all(map(promised, steps))


# --- many of them


def run(*args: str) -> tuple[int, str]:
    import typer

    app = typer.Typer()
    app.command()(campaign.main)
    done = CliRunner().invoke(app, args)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.output


def test_a_run_without_broken_promises() -> None:
    """A run without a broken promise prints how many calls it simulated."""
    status, said = run("--schedules", "3", "--seed", "7", "--jobs", "1")
    assert status == 0
    assert "3 calls (seeds 7 to 9), 0 broken promises" in said


def test_a_broken_promise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first broken call is printed with its seed, simplified, and can be replayed."""
    monkeypatch.setattr(SpeechBalancer, "end", lambda _: [])
    path = tmp_path / "broken.json"
    status, said = run("--schedules", "300", "--jobs", "1", "--save", str(path))
    assert status == 1
    assert "breaks a promise; again with: python -m resilient_stt.testing.simulate" in said
    assert f"--replay {path}" in said
    simple = Schedule.from_json(path.read_text())
    assert len(simple.pieces) <= 2
    status, said = run("--log", "--replay", str(path))
    assert status == 1
    assert "do not alternate" in said
    assert "start_of_speech" in said
    monkeypatch.undo()
    assert run("--replay", str(path)) == (0, "every promise holds\n")


def test_a_file_that_cannot_be_replayed(tmp_path: Path) -> None:
    """A missing file, and one that is not a schedule, give one line and status 2."""
    missing = tmp_path / "missing.json"
    status, said = run("--replay", str(missing))
    assert status == 2
    assert said.count("\n") == 1
    missing.write_text("{}")
    status, said = run("--replay", str(missing))
    assert status == 2
    assert "not a schedule" in said


def test_shrinking_ends() -> None:
    """A call that cannot be simplified within the allowed tries is returned as it is."""
    outcome = simulate(HELLO)
    assert shrunk(outcome, tries=0) is outcome
