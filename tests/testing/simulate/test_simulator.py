from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from resilient_stt import testing
from resilient_stt.core.connections.pool import ConnectionPool
from resilient_stt.core.connections.unfinished_text import UnfinishedText
from resilient_stt.core.engine import FailoverEngine
from resilient_stt.core.failover.outage import Outage
from resilient_stt.core.output.speech_balancer import SpeechBalancer
from resilient_stt.testing.harness.score import written_words
from resilient_stt.testing.simulate import campaign
from resilient_stt.testing.simulate.schedule import (
    FOR_EVER,
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
from resilient_stt.testing.speech.accent import Accent
from resilient_stt.testing.speech.reference import SpokenWord
from resilient_stt.testing.speech.written_forms import is_filler, phrases

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
        "finalizes_at_end",
        "adds_offset",
        "capitalizes",
        "hangs",
    ):
        assert len({getattr(s, name) for s in scripts}) >= 2, name
    assert any(s.down for s in scripts)
    assert sum(d.abandoned for d in drawn) >= 20
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
    deaf = ProviderScript(faults=(FaultSpec("audio", "half_open"),) * 99)
    schedule = Schedule(pieces=(Piece("hello", 0.4, 0.4),), scripts=(deaf, deaf))
    assert not promised(schedule)
    missing, lost, raised = simulate(schedule).violations
    assert missing == "emitted [] instead of ['hello']"
    assert lost == "reported 0.60 s lost"  # its voice as the detector pads it
    assert "the stream raised APIConnectionError" in raised


@pytest.fixture
def abandoned() -> Schedule:
    """Two words are final, and one was shown, when the only provider leaves for good."""
    words = (Piece("window", 0.4, 0.4), Piece("garden", 1.0, 0.4), Piece("bridge", 0.0, 0.4))
    gone = ProviderScript(down=((2.45, FOR_EVER),))
    return Schedule(pieces=(*words, Piece("letter", 0.1, 0.4)), scripts=(gone, gone))


def test_a_call_that_all_providers_leave(abandoned: Schedule) -> None:
    """It ends soon with every word that was shown, and reports the rest."""
    assert abandoned.abandoned
    assert not HELLO.abandoned
    result = simulate(abandoned)
    assert result.violations == []
    assert any(re.search(r"final_transcript '.*garden", line) for line in result.log)
    assert any("AudioLost" in line for line in result.log)


@pytest.mark.parametrize(
    ("owner", "name", "broken", "violation"),
    [
        (UnfinishedText, "take", lambda *_: [], "were shown and never final"),
        (ConnectionPool, "report_unanswered", lambda *_: None, "of words are missing"),
        (FailoverEngine, "_tail_limit_at", None, "did not end"),
    ],
)
def test_a_bad_end_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
    abandoned: Schedule,
    owner: type,
    name: str,
    broken: Any,
    violation: str,
) -> None:
    """Each part of the promise about the end of such a call is checked."""
    monkeypatch.setattr(owner, name, broken)
    if broken is None:
        monkeypatch.setattr(Outage, "limit_at", property(lambda outage: outage.since + 60.0))
    assert any(violation in line for line in simulate(abandoned).violations)


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


# --- accents


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(60, 80))
def test_drawn_calls_with_accents(seed: int) -> None:
    """A call whose providers write differently keeps the promises, survives JSON, and has the same
    log twice."""
    schedule = draw(seed, accents=True)
    assert promised(schedule)
    assert Schedule.from_json(schedule.to_json()) == schedule
    first, second = simulate(schedule), simulate(schedule)
    assert first.violations == []
    assert first.log == second.log


def test_accents_change_nothing_else() -> None:
    """With accents, the same seed has the same faults, pace and providers in other words."""
    for seed in range(100):
        plain, accented = draw(seed), draw(seed, accents=True)
        assert all(script.accent is None for script in plain.scripts)
        assert plain.scripts == tuple(replace(s, accent=None) for s in accented.scripts)
        for name in Schedule.__dataclass_fields__:
            if name not in ("pieces", "scripts"):
                assert getattr(plain, name) == getattr(accented, name), name
        repeated = len(set(plain.words)) < len(plain.words)
        spoken = [word for word in accented.words if not is_filler(word)]
        assert (len(set(spoken)) < len(spoken)) is repeated


def test_many_kinds_of_accents_are_drawn() -> None:
    """Draws contain every difference, providers with and without an accent, fillers and phrases."""
    drawn = [draw(seed, accents=True) for seed in range(300)]
    accents = [script.accent for schedule in drawn for script in schedule.scripts]
    assert None in accents
    for name in ("casing", "punctuates", "variants", "spellings", "splits", "substitutions"):
        assert len({getattr(accent, name) for accent in accents if accent}) >= 2, name
    words = {word for schedule in drawn for word in schedule.words}
    assert {"um", "uh"} <= words
    assert {*phrases("en")} <= words


def test_a_schedule_without_accents_can_be_read() -> None:
    """Schedules that were saved before there were accents have providers without one."""
    data = json.loads(HELLO.to_json())
    for script in data["scripts"]:
        del script["accent"]
    assert Schedule.from_json(json.dumps(data)) == HELLO


def call(*texts: str, scripts: tuple[ProviderScript, ...]) -> Schedule:
    """Return a call of words with pauses between them."""
    return Schedule(pieces=tuple(Piece(text, 0.8, 0.5) for text in texts), scripts=scripts)


OTHER_FORMS = Accent(variants=1.0, casing="lower", dropped_fillers=1.0)


def test_words_count_in_every_form() -> None:
    """A call is judged by the words that were spoken, however they are written."""
    spoken = ("twenty twenty", "um", "long-term", "it is", "table")
    result = simulate(call(*spoken, scripts=(ProviderScript(accent=OTHER_FORMS),)))
    assert result.violations == []
    assert not any("twenty twenty" in line or "um" in line.split("'") for line in result.log)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "lost: ['twenty twenty']"),
        ("2020 20-20", "twice: ['2020']"),
        ("2020 lamp", "never spoken: ['lamp']"),
    ],
)
def test_a_wrong_form_breaks_a_promise(
    monkeypatch: pytest.MonkeyPatch, text: str, expected: str
) -> None:
    """A word that is missing, comes again in another form, or was never spoken is reported."""
    write = Accent.write

    def wrong(accent: Accent, words: Any, **options: Any) -> Any:
        written = write(accent, words, **options)
        first = [replace(word, text=part) for word in written[:1] for part in text.split()]
        return first if words and words[0].index == 1 else written

    monkeypatch.setattr(Accent, "write", wrong)
    schedule = call("twenty twenty", "table", scripts=(ProviderScript(accent=OTHER_FORMS),))
    assert any(expected in promise for promise in simulate(schedule).violations)


def test_a_repeated_interim_is_noticed_in_every_form() -> None:
    """Interims do not repeat words that are final, in whatever form."""
    spoken = [SpokenWord("it is", 0.0, 1.0, "en"), SpokenWord("table", 1.0, 2.0, "en")]
    assert written_words(spoken, "It's um") == {"it is"}
    assert written_words(spoken, "it is table") == {"it is", "table"}


def test_simpler_accents() -> None:
    """A schedule is simplified by taking away an accent, or one of its differences."""
    schedule = call("table", scripts=(ProviderScript(accent=Accent.drawn(5)),))
    accents = [step.scripts[0].accent for step in smaller(schedule)]
    assert None in accents
    assert len({accent for accent in accents if accent}) >= 4


def test_a_run_with_accents() -> None:
    """`--accents` lets providers write differently, and the printed command has it, too."""
    status, said = run("--schedules", "2", "--seed", "7", "--jobs", "1", "--accents")
    assert status == 0
    assert "2 calls (seeds 7 to 8), 0 broken promises" in said
