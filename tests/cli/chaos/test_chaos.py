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
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from resilient_stt.cli import fake_names
from resilient_stt.cli.chaos import chaos_command, row_runner
from resilient_stt.cli.chaos.fault_kinds import FAULT_KINDS
from resilient_stt.cli.chaos.fault_rows import NONE, Case, Row
from resilient_stt.cli.chaos.results import CaseOutcome
from resilient_stt.config import VARIABLE
from resilient_stt.providers import plugins
from resilient_stt.testing.harness.trial import FALLBACK_ONLY, HEALTHY, Chain, Trial
from resilient_stt.testing.speech.accent import Accent

Cli = Callable[..., Any]

PLACES = ("primary", "fallback", "both")
KEYS = {"moments", "runs", "kept", "rows"}
ROW_KEYS = {
    "fault",
    "where",
    "runs",
    "lost",
    "repeated",
    "fragments",
    "out_of_order",
    "unbalanced",
    "unended",
    "mistimed",
    "left",
    "late",
    "extra_delay_s",
    "text_after_s",
    "served",
    "promised",
    "kept",
    "broken",
}


# --- running rows ---


def test_a_run_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only a stream may hang, but closing it, too."""

    async def endless(*_: object, **__: object) -> Trial:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    monkeypatch.setattr(row_runner, "run_trial", endless)
    row = Row("stall", "both", (Case(HEALTHY),))
    assert row_runner.run_row(row) == [CaseOutcome({"unended": 1}, (), "")]


def test_the_number_of_processes_makes_no_difference() -> None:
    """A row has the same outcomes in this process and in another."""
    rows = [Row(NONE, "", (Case(plan, 15),)) for plan in (HEALTHY, FALLBACK_ONLY)]
    one, two = (
        dict(row_runner.run_rows(rows, processes, row_runner.run_row)) for processes in (1, 2)
    )
    assert one == two
    assert [outcome.served for (outcome,) in one.values()] == ["Cartesia", "Deepgram"]


# --- the command ---


def test_json(cli: Cli) -> None:
    """The object has a row for each place. The status is 0 if all promises were kept."""
    only = ("--only", "drop-after-close", "--only", "ignore-close")
    result = cli("chaos", *only, "--moments", "1", "--json", "--jobs", "1")
    figures = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (0, "")
    assert set(figures) == KEYS
    assert (figures["moments"], figures["runs"], figures["kept"]) == (1, 2 + 3 + 3, True)
    faults = ("drop-after-close", "ignore-close")
    places = [(NONE, ""), *((fault, where) for fault in faults for where in PLACES)]
    assert [(row["fault"], row["where"]) for row in figures["rows"]] == places
    assert all(set(row) == ROW_KEYS and row["kept"] for row in figures["rows"])
    assert figures["rows"][0]["served"] == {"Cartesia": 1, "Deepgram": 1}
    assert figures["rows"][3]["extra_delay_s"] > 3.0


def test_providers_with_accents(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--accents SEED` each provider writes in its own way; every promise is kept."""
    drawn = []

    def run_row(row: Row, *, accents: Sequence[Accent], **options: Any) -> list[CaseOutcome]:
        drawn.append(accents)
        return row_runner.run_row(row, accents=accents, **options)

    monkeypatch.setattr(chaos_command, "run_row", run_row)
    arguments = ("chaos", "--only", "drop", "--moments", "1", "--json", "--jobs", "1")
    result = cli(*arguments, "--accents", "3")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["kept"]
    assert drawn == [[Accent.drawn(3), Accent.drawn(4)]] * 4


def test_a_broken_promise_is_printed_and_is_the_exit_status(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line says what broke, and the faults with which it can be reproduced."""

    def run_row(row: Row, **_: object) -> list[CaseOutcome]:
        broken = {"lost": 2, "mistimed": 1} if row.where == "fallback" else {}
        return [CaseOutcome(broken, (1.0, math.inf), "Cartesia") for _ in row.cases]

    monkeypatch.setattr("resilient_stt.cli.chaos.chaos_command.run_row", run_row)
    args = ("chaos", "--only", "stall", "--moments", "1", "-j", "1")
    table, document = cli(*args), cli(*args, "--json")
    assert (table.exit_code, document.exit_code) == (1, 1)
    lines = [" ".join(line.split()) for line in table.stdout.splitlines()]
    assert "stall fallback 1 2 0 0 0 +0.0s Cartesia 2 lost, 1 wrong word times" in lines
    says = "stall fallback: 2 lost, 1 wrong word times: primary=[Refuse(until="
    assert says in table.stdout
    assert table.stdout.endswith(": 1 broke a promise\n")
    assert "\x1b" not in table.stdout
    figures = json.loads(document.stdout)
    assert figures["kept"] is False
    row = figures["rows"][2]
    assert (row["where"], row["runs"]) == ("fallback", 1)
    assert (row["kept"], row["lost"], row["mistimed"], len(row["broken"])) == (False, 2, 1, 1)


def test_an_unknown_fault_is_one_line(cli: Cli) -> None:
    """The error lists the names."""
    result = cli("chaos", "--only", "drop", "--only", "drip")
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("resilient-stt: there is no fault 'drip'; choose from: refuse, hang, ")
    assert all(name in line for name in FAULT_KINDS)


def test_a_process_that_dies_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may die because memory runs out. That is no traceback, and nothing waits for it."""
    monkeypatch.setattr(row_runner, "_end_with_parent", functools.partial(os._exit, 1))
    result = cli("chaos", "--only", "drop", "--jobs", "2")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "resilient-stt: one of the processes died; try --jobs 1\n"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")
def test_ctrl_c_ends_it_at_once() -> None:
    """The status is 130 and nothing is printed, even while the processes start. A terminal sends
    the signal to all of them, as this test does."""
    command = [sys.executable, "-m", "resilient_stt.cli", "chaos", "--jobs", "2"]
    with subprocess.Popen(
        command, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True
    ) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        deadline = time.monotonic() + 30
        # Two processes run rows; multiprocessing starts a third for itself.
        while len(children.read_text("ascii").split()) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        output = process.communicate(timeout=60)
    assert (process.returncode, *output) == (130, "", "")


# --- the chain of a configuration ---

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
    """The path of a configuration with three providers and routes."""
    path = tmp_path / "stt.yaml"
    path.write_text(CONFIG)
    return str(path)


@pytest.mark.parametrize(
    ("language", "served"),
    [("en", {"Cartesia": 1, "Deepgram": 1}), ("es", {"deepgram": 1, "multi": 1})],
)
def test_the_configured_chain_is_tried(
    cli: Cli, stt_yaml: str, language: str, served: dict[str, int]
) -> None:
    """The route of the language is tried in that language, without API keys. Two providers of one
    plugin are told apart by their names."""
    result = cli(
        *("chaos", stt_yaml, "--language", language, "--only", "drop", "--moments", "1"),
        *("--jobs", "1", "--json"),
    )
    figures = json.loads(result.stdout)
    assert (result.exit_code, figures["kept"]) == (0, True), result.stdout
    assert figures["rows"][0]["served"] == served


def test_a_provider_is_left_out(cli: Cli, stt_yaml: str) -> None:
    """`--without` makes a chain of the others, for example without one that has no fake."""
    pytest.importorskip("livekit.plugins.groq")
    text = Path(stt_yaml).read_text()
    own = text.replace("routes:", "  groq: {plugin: groq, options: {api_key: any}}\nroutes:")
    Path(stt_yaml).write_text(own.replace("[cartesia, deepgram]", "[cartesia, groq, multi]"))
    refused = cli("chaos", stt_yaml)
    assert refused.exit_code == 2
    assert "leave it out with --without groq" in refused.stderr.replace("\n", " ")
    result = cli(
        *("chaos", stt_yaml, "--without", "groq", "--only", "refuse", "--moments", "1"),
        *("--jobs", "1", "--json"),
    )
    rows = json.loads(result.stdout)["rows"]
    assert result.exit_code == 0
    assert rows[0]["served"] == {"Cartesia": 1, "Deepgram": 1}
    wrong = cli("chaos", stt_yaml, "--without", "grok")
    assert "did you mean 'groq'?" in wrong.stderr.replace("\n", " ")


def test_every_plugin_with_a_fake_can_be_configured(cli: Cli, stt_yaml: str) -> None:
    """A configured class is led to its fake: Flux is another one than Deepgram's other models."""
    assert served_beside_cartesia(cli, stt_yaml, "{plugin: deepgram, class: STTv2}") == {
        "Cartesia": 1,
        "Deepgram": 1,
    }


@pytest.mark.parametrize(
    "provider",
    [
        "{plugin: google, options: {credentials_file: /no/such/file.json}}",
        pytest.param(
            "{plugin: azure, options: {speech_key: any, speech_region: westeurope}}",
            marks=pytest.mark.sweep,  # its SDK takes a minute to give up
        ),
    ],
)
def test_a_plugin_without_a_base_url_can_be_configured(
    cli: Cli, stt_yaml: str, provider: str
) -> None:
    """Google's takes no address at all, and Azure's SDK none beside a region."""
    name = provider.split(",")[0].removeprefix("{plugin: ")
    pytest.importorskip(f"livekit.plugins.{name}")
    assert sum(served_beside_cartesia(cli, stt_yaml, provider).values()) == 2


def served_beside_cartesia(cli: Cli, path: str, provider: str) -> dict[str, int]:
    """Who served at the end when a configured provider, or Cartesia behind it, dropped."""
    text = Path(path).read_text()
    own = text.replace("routes:", f"  other: {provider}\nroutes:")
    Path(path).write_text(own.replace("[cartesia, deepgram]", "[other, cartesia]"))
    only = ("--only", "drop", "--moments", "1", "--jobs", "1", "--json")
    result = cli("chaos", path, *only)
    assert result.exit_code == 0, result.stdout + result.stderr
    served: dict[str, int] = json.loads(result.stdout)["rows"][0]["served"]
    return served


def test_the_environment_names_the_configuration(
    cli: Cli, stt_yaml: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RESILIENT_STT_CONFIG is the configuration of `chaos`, too."""
    monkeypatch.setenv(VARIABLE, stt_yaml)
    result = cli("chaos", "--language", "zh")
    assert "the route of 'zh' has one provider, cartesia" in result.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--language", "zh"], "the route of 'zh' has one provider, cartesia; chaos needs a fall"),
        (["--language", "fr"], "there is no recording in 'fr'; choose from: en"),
    ],
)
def test_a_chain_that_cannot_be_tried(
    cli: Cli, stt_yaml: str, arguments: list[str], message: str
) -> None:
    """It is an error before anything runs."""
    result = cli("chaos", stt_yaml, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr.replace("\n", " ")


def test_variables_of_a_configuration(
    cli: Cli, stt_yaml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come from .env files, too, as for `check`."""
    # Set and then deleted, so that monkeypatch also undoes what the command loads from the file.
    monkeypatch.setenv("INK", "")
    monkeypatch.delenv("INK")
    text = Path(stt_yaml).read_text().replace("ink-whisper", "'${INK}'")
    Path(stt_yaml).write_text(text)
    (tmp_path / ".env").write_text("INK=ink-whisper\n")
    result = cli("chaos", stt_yaml, "--language", "zh")
    assert "the route of 'zh' has one provider, cartesia" in result.stderr.replace("\n", " ")


def test_a_broken_configuration(cli: Cli, tmp_path: Path) -> None:
    """All its mistakes are listed, and the status is 2."""
    path = tmp_path / "stt.yaml"
    path.write_text(CONFIG.replace("deepgram, multi", "deepgrm, multi"))
    result = cli("chaos", str(path))
    assert result.exit_code == 2
    assert "did you mean 'deepgram'" in result.stderr.replace("\n", " ")


# --- providers by name ---


@pytest.mark.parametrize(
    ("arguments", "order"),
    [
        (["--primary", "inference", "--fallback", "flux"], ("inference", "flux")),
        (["--primary", "inference"], ("inference", "deepgram")),
        (["--fallback", "inference"], ("deepgram", "inference")),
        (["--primary", "deepgram"], ("deepgram", "cartesia")),
    ],
)
def test_named_providers_are_tried(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, arguments: list[str], order: tuple[str, ...]
) -> None:
    """The other one is Deepgram, or Cartesia beside that."""
    tried = []

    def run_row(row: Row, *, chain: Chain, **_: Any) -> list[CaseOutcome]:
        tried.append(chain.order)
        return [CaseOutcome({}, (1.0,), chain.order[0]) for _ in row.cases]

    monkeypatch.setattr(chaos_command, "run_row", run_row)
    monkeypatch.setenv(VARIABLE, "/no/such.yaml")  # names all there is to try
    result = cli("chaos", *arguments, "--only", "drop", "--moments", "1", "-j", "1")
    assert result.exit_code == 0, result.stderr
    assert set(tried) == {order}


def test_a_named_provider_s_words_are_all_there(cli: Cli) -> None:
    """Two plugins of one vendor are told apart, too."""
    arguments = ("--primary", "inference", "--fallback", "flux", "--only", "drop", "--moments", "1")
    result = cli("chaos", *arguments, "-j", "1", "--json")
    rows = json.loads(result.stdout)["rows"]
    assert result.exit_code == 0
    assert all(row["kept"] and not row["left"] for row in rows)
    assert rows[1]["text_after_s"] < 2.0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--primary", "sonix"], "there is no fake provider 'sonix'; did you mean 'soniox'?"),
        (["--fallback", "whisper"], "there is no fake provider 'whisper'; there is cartesia, deep"),
        (["--primary", "flux", "--fallback", "flux"], "--primary and --fallback are both flux"),
        (["stt.yaml", "--primary", "flux"], "name all there is to try, in English; leave out"),
        (["--primary", "flux", "--language", "es"], "leave out CONFIG, --without and --language"),
    ],
)
def test_wrong_names_are_one_line(cli: Cli, arguments: list[str], says: str) -> None:
    """The error says what is meant, or what there is."""
    result = cli("chaos", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert says in line


def test_a_plugin_that_is_not_installed_is_one_line(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what to install. LiveKit's own needs no plugin."""
    monkeypatch.setattr(plugins, "installed", lambda: ["deepgram"])
    result = cli("chaos", "--primary", "soniox")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "resilient-stt: soniox needs the package livekit-plugins-soniox; "
        'pip install "livekit-resilient-stt[providers]" brings it\n'
    )
    assert fake_names.is_installed("inference")
    assert fake_names.is_installed("flux")
