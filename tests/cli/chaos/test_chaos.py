from __future__ import annotations

import asyncio
import functools
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from livekit.agents import LanguageCode
from livekit.agents.stt import SpeechData, SpeechEvent, SpeechEventType

from resilient_stt.cli.chaos import command as chaos
from resilient_stt.cli.chaos import results as outcomes
from resilient_stt.cli.chaos.matrix import (
    KINDS,
    NONE,
    OUTAGE,
    Case,
    Row,
    kinds_named,
    rows,
    speech_of,
)
from resilient_stt.cli.chaos.results import CaseOutcome
from resilient_stt.testing import faults
from resilient_stt.testing.faults import Fault, Refuse, Stall, StreamFault
from resilient_stt.testing.harness.clock import run_virtual
from resilient_stt.testing.harness.play import Played
from resilient_stt.testing.harness.trial import (
    FALLBACK_ONLY,
    HEALTHY,
    Trial,
    extra_delay,
    run_trial,
    slowest,
    violations,
)
from resilient_stt.testing.speech.reference import ReferenceSpeech, SpokenWord

Cli = Callable[..., Any]

PLACES = ("primary", "fallback", "both")
KEYS = {"moments", "runs", "kept", "rows"}
ROW_KEYS = {
    "fault",
    "where",
    "runs",
    "lost",
    "twice",
    "torn",
    "disordered",
    "unbalanced",
    "unended",
    "mistimed",
    "late",
    "extra_delay_s",
    "served",
    "promised",
    "kept",
    "broken",
}


# --- the matrix ---


@pytest.mark.parametrize("recording", ReferenceSpeech.names())
def test_faults_strike_in_every_recording(recording: str) -> None:
    """A fault that waits for a word waits for one of what is played."""
    (primary,) = [r for r in rows(kinds_named(["drop"]), 3, recording) if r.where == "primary"]
    for case in primary.cases:
        done = run_virtual(run_trial(case.script, speech_of(None, recording)))
        assert [struck.fault for struck in done.servers[0].triggered][:1] == [case.script.first[0]]


def test_every_fault_of_the_kit_is_in_every_place() -> None:
    """The first provider, the second and both meet each class of fault that there is."""
    bases = {Fault, faults.ConnectFault, StreamFault}
    kit = {k for k in vars(faults).values() if isinstance(k, type) and issubclass(k, Fault)}
    met: dict[str, set[type[Fault]]] = {where: set() for where in PLACES}
    for row in rows(KINDS, 1)[1:]:
        for case in row.cases:
            struck = case.script.second if row.where == "fallback" else case.script.first
            met[row.where] |= {type(fault) for fault in struck}
    assert all(kinds == kit - bases for kinds in met.values())


def test_moments_are_the_starts_and_middles_of_words_from_the_first_to_the_last() -> None:
    """As many as asked for; faults of both providers begin at the same moments."""
    (_, primary, _, both) = rows(kinds_named(["stall"]), 3)
    speech = speech_of(None)
    first, last = speech.first_word, speech.first_word + len(speech.words) - 1
    (early, middle, late) = (case.script.first[0] for case in primary.cases)
    assert early == Stall(at_word=first)
    assert isinstance(middle, Stall)
    assert middle.part == 0.5
    assert late == Stall(at_word=last)
    at = speech.words[-1].start
    assert both.cases[2].script.first == (Stall(at_time=at, until=at + OUTAGE),)
    assert both.cases[2].script.first == both.cases[2].script.second


def test_when_the_fallback_fails_the_primary_is_back() -> None:
    """Before, it refuses; else nobody would be left, and words would be lost by right."""
    row = rows(kinds_named(["stall"]), 1)[2]
    (case,) = row.cases
    (stall,) = case.script.second
    assert isinstance(stall, Stall)
    assert stall.at_word is not None
    word = ReferenceSpeech.load("english").words[stall.at_word]
    spoken = speech_of(None).words[stall.at_word - speech_of(None).first_word]
    assert case.script.first == (Refuse(until=spoken.start),)
    assert spoken.text == word.text


def test_faults_of_the_end_meet_callers_who_hang_up() -> None:
    """Their moments are ends of the speech, and each has its own healthy runs."""
    healthy, primary, *_ = rows(kinds_named(["drop-after-close"]), 2)
    endings = {case.hang_up for case in primary.cases}
    assert len(endings) == 2
    assert {case.hang_up for case in healthy.cases} == endings
    for hang_up in endings:
        speech = speech_of(hang_up)
        assert speech.duration == pytest.approx(speech.words[-1].end, abs=0.1)


# --- promises ---


@pytest.fixture(scope="module")
def healthy() -> Played:
    """What a healthy chain said to two sentences."""
    speech = ReferenceSpeech.load("english").excerpt(0, 1).padded(1.0)
    return run_virtual(run_trial(HEALTHY, speech)).played


def finals_of(played: Played) -> list[tuple[float, SpeechEvent]]:
    return [pair for pair in played.events if pair[1].type is SpeechEventType.FINAL_TRANSCRIPT]


def without(played: Played, *gone: tuple[float, SpeechEvent]) -> Played:
    return replace(played, events=[pair for pair in played.events if pair not in gone])


def lost(played: Played) -> Played:
    return without(played, finals_of(played)[-1])


def twice(played: Played) -> Played:
    return replace(played, events=[*played.events, finals_of(played)[-1]])


def torn(played: Played) -> Played:
    data = SpeechData(language=LanguageCode("en"), text="rsday")
    event = SpeechEvent(SpeechEventType.FINAL_TRANSCRIPT, alternatives=[data])
    return replace(played, events=[*played.events, (20.0, event)])


def disordered(played: Played) -> Played:
    first = finals_of(played)[0]
    return replace(played, events=[*without(played, first).events, first])


def unbalanced(played: Played) -> Played:
    ends = [pair for pair in played.events if pair[1].type is SpeechEventType.END_OF_SPEECH]
    return without(played, ends[-1])


def unended(played: Played) -> Played:
    return replace(played, error=TimeoutError(), finished=False)


def mistimed(played: Played) -> Played:
    words = tuple(SpokenWord(w.text, w.start - 0.13, w.end) for w in played.speech.words)
    return replace(played, speech=replace(played.speech, words=words))


BROKEN = (lost, twice, torn, disordered, unbalanced, unended, mistimed)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda f: f.__name__)
def test_each_broken_promise_is_found(healthy: Played, broken: Callable[[Played], Played]) -> None:
    """A healthy run breaks none; one that is tampered with breaks that one alone."""
    assert violations(healthy) == {}
    assert list(violations(broken(healthy))) == [broken.__name__]


def test_words_without_times_are_mistimed_where_they_count(healthy: Played) -> None:
    """Silence about times is no accuracy; about words that did not come, nothing can be said."""
    for _, event in finals_of(untimed := deepcopy(healthy)):
        event.alternatives[0].words = None
    assert violations(untimed) == {"mistimed": 1}
    assert violations(untimed, accurate=False) == {}
    assert list(violations(without(healthy, *finals_of(healthy)))) == ["lost"]


def test_delay_is_that_beyond_the_slower_provider() -> None:
    """Words that came sooner, and those that never came, have none."""
    usual = slowest([[1.0, 2.0, 1.0], [2.0, 1.0, 1.0]])
    assert extra_delay([2.5, 1.0, math.inf], usual) == 0.5
    assert extra_delay([1.0, 1.0, 1.0], usual) == 0.0


@pytest.mark.parametrize(
    ("where", "late", "broken"),
    [
        ("primary", (1.0, 8.5), {"late": 1}),
        ("fallback", (1.0, 6.9), {}),
        ("both", (1.0, 8.5), {}),
        ("primary", (math.inf, 1.0), {}),
        ("primary", (), {"unended": 1}),
    ],
)
def test_late_is_what_one_provider_costs_in_vain(
    where: str, late: tuple[float, ...], broken: dict[str, int]
) -> None:
    """Six seconds, where the other one is well."""
    case = Case(HEALTHY)
    healthy = CaseOutcome({}, (1.0, 1.0), "a")
    given = CaseOutcome({} if late else {"unended": 1}, late, "a")
    matrix = [Row(NONE, "", (case,)), Row("stall", where, (case,))]
    _, found = outcomes.results(matrix, [[healthy], [given]])
    assert dict(found.violations) == broken
    assert [o.violations for _, o in found.broken] == ([broken] if broken else [])


def test_a_run_that_never_ends_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where not the stream hangs, but closing it."""

    async def endless(*_: object) -> Trial:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    monkeypatch.setattr(chaos, "run_trial", endless)
    row = Row("stall", "both", (Case(HEALTHY),))
    assert chaos.perform(row) == [CaseOutcome({"unended": 1}, (), "")]


# --- the command ---


def test_json_of_kept_promises(cli: Cli) -> None:
    """One document with stable keys, a row for each place, and exit status 0."""
    only = ("--only", "drop-after-close", "--only", "ignore-close")
    result = cli("chaos", *only, "--moments", "1", "--json", "--jobs", "1")
    told = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (0, "")
    assert set(told) == KEYS
    assert (told["moments"], told["runs"], told["kept"]) == (1, 2 + 3 + 3, True)
    faults = ("drop-after-close", "ignore-close")
    places = [(NONE, ""), *((fault, where) for fault in faults for where in PLACES)]
    assert [(row["fault"], row["where"]) for row in told["rows"]] == places
    assert all(set(row) == ROW_KEYS and row["kept"] for row in told["rows"])
    assert told["rows"][0]["served"] == {"Cartesia": 1, "Deepgram": 1}
    assert told["rows"][3]["extra_delay_s"] > 3.0


def test_processes_make_no_difference() -> None:
    """A row is the same wherever it runs."""
    matrix = [Row(NONE, "", (Case(script, 15),)) for script in (HEALTHY, FALLBACK_ONLY)]
    alone, shared = (dict(chaos.performed(matrix, jobs, chaos.perform)) for jobs in (1, 2))
    assert alone == shared
    assert [outcome.served for (outcome,) in alone.values()] == ["Cartesia", "Deepgram"]


def test_a_broken_promise_is_told_and_is_the_exit_status(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What broke, and the faults that show it again; not the words."""

    def perform(row: Row, **_: object) -> list[CaseOutcome]:
        broken = {"lost": 2, "mistimed": 1} if row.where == "fallback" else {}
        return [CaseOutcome(broken, (1.0, math.inf), "Cartesia") for _ in row.cases]

    monkeypatch.setattr(chaos, "perform", perform)
    args = ("chaos", "--only", "stall", "--moments", "1", "-j", "1")
    table, document = cli(*args), cli(*args, "--json")
    assert (table.exit_code, document.exit_code) == (1, 1)
    lines = [" ".join(line.split()) for line in table.stdout.splitlines()]
    assert "stall fallback 1 2 0 0 0 +0.0s Cartesia 2 lost, 1 times off" in lines
    assert "stall fallback: 2 lost, 1 times off: first=[Refuse(until=" in table.stdout
    assert table.stdout.endswith(": 1 broke a promise\n")
    assert "\x1b" not in table.stdout
    told = json.loads(document.stdout)
    assert told["kept"] is False
    row = told["rows"][2]
    assert (row["where"], row["runs"]) == ("fallback", 1)
    assert (row["kept"], row["lost"], row["mistimed"], len(row["broken"])) == (False, 2, 1, 1)


def test_an_unknown_fault_is_one_line(cli: Cli) -> None:
    """It names the choices."""
    result = cli("chaos", "--only", "drop", "--only", "drip")
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("resilient-stt: there is no fault 'drip'; choose from: refuse, hang, ")
    assert all(name in line for name in KINDS)


def test_a_process_that_dies_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """For lack of memory, say: neither a traceback nor a wait."""
    monkeypatch.setattr(chaos, "_end_with_parent", functools.partial(os._exit, 1))
    result = cli("chaos", "--only", "drop", "--jobs", "2")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "resilient-stt: a process of the runs died; try --jobs 1\n"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")
def test_ctrl_c_ends_it_at_once() -> None:
    """Status 130, without a word, while processes start; the terminal interrupts them, too."""
    command = [sys.executable, "-m", "resilient_stt.cli", "chaos", "--jobs", "2"]
    with subprocess.Popen(
        command, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True
    ) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        deadline = time.monotonic() + 30
        while len(children.read_text("ascii").split()) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)  # two, and the one that multiprocessing has for itself
        os.killpg(process.pid, signal.SIGINT)
        told = process.communicate(timeout=60)
    assert (process.returncode, *told) == (130, "", "")


# --- a configured chain

CONFIG = """
providers:
  cartesia: {plugin: cartesia, options: {model: ink-whisper, language: en}}
  deepgram: {plugin: deepgram, options: {model: nova-3}}
  multi: {plugin: deepgram, options: {model: nova-3, language: multi}}
routes:
  default: [cartesia, deepgram]
  es: [deepgram, multi]
  zh: [cartesia]
"""


@pytest.fixture
def stt_yaml(tmp_path: Path) -> str:
    """A configuration of three providers, and routes."""
    path = tmp_path / "stt.yaml"
    path.write_text(CONFIG)
    return str(path)


@pytest.mark.parametrize(
    ("language", "served"), [("en", {"Cartesia": 1, "Deepgram": 1}), ("es", {"Deepgram": 2})]
)
def test_the_configured_chain(
    cli: Cli, stt_yaml: str, language: str, served: dict[str, int]
) -> None:
    """The route of the language is tried, in that language, against fakes and without keys."""
    done = cli(
        *("chaos", stt_yaml, "--language", language, "--only", "drop", "--moments", "1"),
        *("--jobs", "1", "--json"),
    )
    told = json.loads(done.stdout)
    assert (done.exit_code, told["kept"]) == (0, True), done.stdout
    assert told["rows"][0]["served"] == served


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--language", "zh"], "the route of 'zh' is cartesia alone; chaos needs a fallback"),
        (["--language", "fr"], "nobody speaks 'fr' here; choose from: en"),
    ],
)
def test_what_cannot_be_tried(cli: Cli, stt_yaml: str, arguments: list[str], message: str) -> None:
    """Is told before anything runs."""
    done = cli("chaos", stt_yaml, *arguments)
    assert done.exit_code == 2
    assert message in done.stderr.replace("\n", " ")


def test_variables_of_a_configuration(
    cli: Cli, stt_yaml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Come from .env files, too, as for `check`."""
    monkeypatch.setenv("INK", "")  # and is deleted afterwards, what the file sets, too
    monkeypatch.delenv("INK")
    text = Path(stt_yaml).read_text().replace("ink-whisper", "'${INK}'")
    Path(stt_yaml).write_text(text)
    (tmp_path / ".env").write_text("INK=ink-whisper\n")
    done = cli("chaos", stt_yaml, "--language", "zh")
    assert "the route of 'zh' is cartesia alone" in done.stderr.replace("\n", " ")


def test_a_broken_configuration(cli: Cli, tmp_path: Path) -> None:
    """Exit status 2, and all its mistakes."""
    path = tmp_path / "stt.yaml"
    path.write_text(CONFIG.replace("deepgram, multi", "deepgrm, multi"))
    done = cli("chaos", str(path))
    assert done.exit_code == 2
    assert "did you mean 'deepgram'" in done.stderr.replace("\n", " ")
