from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resilient_stt.cli.chaos.fault_kinds import FAULT_KINDS, fault_kinds_named
from resilient_stt.cli.chaos.fault_rows import NONE
from resilient_stt.cli.chaos.results import CaseOutcome
from resilient_stt.cli.fake_names import is_installed
from resilient_stt.cli.matrix import matrix_command
from resilient_stt.cli.matrix.cells import (
    MatrixRow,
    ProviderPlace,
    judged,
    matrix_rows,
    run_matrix_row,
)
from resilient_stt.providers import plugins
from resilient_stt.testing.fakes.registry import FAKES

from ...support.scripts import ROOT

Cli = Callable[..., Any]

PAGE = ROOT / "docs" / "providers.md"
OWN_TIME = {"azure", "google"}
"""Those whose SDKs have threads of their own, so that they take their time in virtual time, too."""


def outcomes_of(item: MatrixRow) -> list[CaseOutcome]:
    """What a row gives that keeps every promise, but for stalls of a primary provider."""
    broken = {"lost": 2} if (item.row.fault, item.place) == ("stall", ProviderPlace.PRIMARY) else {}
    return [CaseOutcome(broken, (1.0, 1.5), item.provider, 0.4) for _ in item.row.cases]


@pytest.fixture
def canned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A matrix without any runs."""
    monkeypatch.setattr(matrix_command, "run_matrix_row", outcomes_of)


# OpenAI's plugin leaves a connection that is cut in its handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning")
@pytest.mark.parametrize("name", sorted(FAKES.keys() - OWN_TIME))
def test_every_provider_keeps_the_promises_when_a_connection_drops(cli: Cli, name: str) -> None:
    """As the primary provider, as the one that takes over, as the fallback, and alone.

    This is the matrix's part that always runs; `nox -s matrix` runs all of it.
    """
    if not is_installed(name):
        pytest.skip(f"the plugin of {name} is not installed")
    result = cli("matrix", name, "--only", "drop", "--json", "--jobs", "1")
    assert result.exit_code == 0, result.stdout
    found = json.loads(result.stdout)["providers"][name]
    assert found["later_than_bare_s"] <= 1.0
    drops = [cell for cell in found["cells"] if cell["fault"] == "drop"]
    assert [cell["place"] for cell in drops] == list(ProviderPlace)
    for cell in drops:
        assert (cell["lost"], cell["repeated"], cell["fragments"], cell["left"]) == (0, 0, 0, 0)
        assert cell["text_after_s"] is not None


def test_the_matrix_has_every_fault_in_every_role() -> None:
    """Each provider has a cell for it, beside a healthy other one, and is played bare once."""
    rows = matrix_rows({"soniox": "deepgram", "xai": "cartesia"}, FAULT_KINDS, 1)
    for name, partner in (("soniox", "deepgram"), ("xai", "cartesia")):
        own = [item for item in rows if item.provider == name]
        faulty = [(item.row.fault, item.place) for item in own if item.row.fault != NONE]
        assert sorted(faulty) == sorted(
            (fault, place) for fault in FAULT_KINDS for place in ProviderPlace
        )
        assert {item.chain.order for item in own if item.chain} == {
            (name, partner),
            (partner, name),
            (name,),
        }
        assert sum(item.chain is None for item in own) == 1


def test_the_bare_plugin_is_played_without_faults() -> None:
    """Its delays are those against which finals of `ResilientSTT` are measured."""
    (bare, *_) = matrix_rows({"inference": "deepgram"}, fault_kinds_named(["drop"]), 1)
    (outcome,) = run_matrix_row(bare)
    assert outcome.violations == {}
    assert 0.0 < max(outcome.late) < 10.0


@pytest.mark.parametrize(
    ("bare", "healthy", "later", "kept"),
    [((1.0, 1.5), (1.9, 1.5), 0.9, True), ((1.0, 1.5), (1.0, 2.6), 1.1, False)],
)
def test_a_final_comes_at_most_a_second_later_than_the_bare_plugin_gives_it(
    bare: tuple[float, ...], healthy: tuple[float, ...], later: float, kept: bool
) -> None:
    partners = {"soniox": "deepgram"}
    rows = matrix_rows(partners, fault_kinds_named(["drop"]), 1)
    outcomes = [
        [CaseOutcome({}, bare if item.chain is None else healthy, "soniox") for _ in item.row.cases]
        for item in rows
    ]
    (found,) = judged(partners, rows, outcomes)
    assert found.later == pytest.approx(later)
    assert not found.broken
    assert found.kept is kept


def test_a_bare_plugin_that_loses_words_is_no_measure() -> None:
    partners = {"soniox": "deepgram"}
    rows = matrix_rows(partners, fault_kinds_named(["drop"]), 1)
    outcomes = [
        [
            CaseOutcome({"lost": 1}, (1.0, math.inf), "soniox")
            if item.chain is None
            else CaseOutcome({}, (1.0, 4.0), "soniox")
            for _ in item.row.cases
        ]
        for item in rows
    ]
    (found,) = judged(partners, rows, outcomes)
    assert found.later is None
    assert found.kept


@pytest.mark.usefixtures("canned")
def test_a_broken_promise_is_printed_and_is_the_exit_status(cli: Cli) -> None:
    """The line names the provider, its place in the chain, and the faults."""
    result = cli("matrix", "flux", "--only", "drop", "--only", "stall", "-j", "1")
    assert result.exit_code == 1
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "flux primary 1 of 2 2 0 0 0 0.4s +0.0s" in lines
    assert "flux takes over 2 of 2 0 0 0 0 0.4s +0.0s" in lines
    assert "flux alone 1 of 1 0 0 0 0 0.4s +0.0s" in lines  # nothing is promised of its stall
    assert "flux, primary, stall: 2 lost: primary=[Stall(at_word=" in result.stdout
    assert lines[-1].endswith("11 cells: in 1 a promise was broken")
    assert "\x1b" not in result.stdout


@pytest.mark.usefixtures("canned")
def test_json(cli: Cli) -> None:
    """One object, with the cells of each provider."""
    result = cli("matrix", "flux", "inference", "--beside", "cartesia", "--json", "-j", "1")
    figures = json.loads(result.stdout)
    assert (result.exit_code, result.stderr, figures["kept"]) == (1, "", False)
    assert [*figures["providers"]] == ["flux", "inference"]
    for provider in figures["providers"].values():
        assert provider["beside"] == "cartesia"
        assert provider["later_than_bare_s"] == 0.0
        broken = [cell for cell in provider["cells"] if not cell["kept"]]
        assert [(c["fault"], c["place"], c["lost"]) for c in broken] == [("stall", "primary", 2)]


@pytest.mark.usefixtures("canned")
def test_the_page_is_written_between_its_markers(cli: Cli, tmp_path: Path) -> None:
    """It has a summary, and for each provider what is known of it and a row for each fault."""
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- matrix:begin -->\nOLD\n<!-- matrix:end -->\nafter\n", "utf-8")
    arguments = ("--only", "drop", "--only", "stall", "-j", "1")
    result = cli("matrix", "inference", "flux", *arguments, "--update", str(page))
    assert (result.exit_code, result.stdout) == (1, "")
    text = page.read_text("utf-8")
    assert text.startswith("before\n<!-- matrix:begin -->\n")
    assert text.endswith("<!-- matrix:end -->\nafter\n")
    assert "OLD" not in text
    assert "| [inference](#inference) | deepgram | **1 of 2** | 2 of 2 | 2 of 2 | 1 of 1 |" in text
    assert "| `drop` | 0.4 s, +0.0 s | 0.4 s, +0.0 s |" in text
    assert "| `stall` | **2 lost**, 0.4 s, +0.0 s | 0.4 s, +0.0 s |" in text
    assert "*none made*, 0.4 s" in text
    assert "`livekit.agents.inference.STT` of the package `livekit-agents`" in text
    assert "`LIVEKIT_API_KEY` and `LIVEKIT_API_SECRET`" in text
    assert "`livekit.plugins.deepgram.STTv2`" in text
    printed = cli("matrix", "inference", "flux", *arguments, "--markdown")
    assert printed.stdout.strip() in text


def test_a_fault_that_nobody_can_notice_has_its_reason_on_the_page(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its words are counted as lost, but it changes the exit status only if another provider fails
    there."""
    pytest.importorskip("livekit.plugins.soniox")

    def lost_where(places: set[ProviderPlace]) -> Callable[[MatrixRow], list[CaseOutcome]]:
        def outcomes(item: MatrixRow) -> list[CaseOutcome]:
            lost = item.row.fault == "lost-final" and item.place in places
            of_case = CaseOutcome({"lost": 5} if lost else {}, (1.0, 1.5), item.provider, 0.4)
            return [of_case for _ in item.row.cases]

        return outcomes

    arguments = ("matrix", "soniox", "--only", "lost-final", "-j", "1", "--markdown")
    own = {ProviderPlace.PRIMARY, ProviderPlace.FALLBACK}
    monkeypatch.setattr(matrix_command, "run_matrix_row", lost_where(own))
    result = cli(*arguments)
    assert result.exit_code == 0
    assert (
        "| `lost-final` | **5 lost**, 0.4 s, +0.0 s | 0.4 s, +0.0 s | **5 lost**" in result.stdout
    )
    assert "\n`lost-final` cannot be noticed in time: tokens become final" in result.stdout
    monkeypatch.setattr(matrix_command, "run_matrix_row", lost_where({ProviderPlace.TAKES_OVER}))
    result = cli(*arguments)
    assert result.exit_code == 1
    assert "cannot be noticed" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sonix"], "there is no fake provider 'sonix'; did you mean 'soniox'?"),
        (["flux", "--beside", "flux"], "--beside flux: a provider cannot stand beside itself"),
        (["flux", "--only", "drip"], "there is no fault 'drip'; choose from: refuse, hang,"),
        (["--json", "--markdown"], "--json cannot be combined with --markdown or --update"),
        (["flux", "--only", "drop", "--update", "no.md", "-j", "1"], "cannot read no.md"),
    ],
)
@pytest.mark.usefixtures("canned")
def test_a_mistake_is_one_line(cli: Cli, arguments: list[str], says: str) -> None:
    """The status is 2."""
    result = cli("matrix", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"resilient-stt: {says}")


@pytest.mark.usefixtures("canned")
def test_providers_whose_plugins_are_missing_are_left_out(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are told on stderr. One that is named is an error."""
    monkeypatch.setattr(plugins, "installed", lambda: ["cartesia", "deepgram"])
    result = cli("matrix", "--only", "drop", "--json", "-j", "1")
    assert result.exit_code == 0
    providers = json.loads(result.stdout)["providers"]
    assert [*providers] == ["cartesia", "deepgram", "flux", "inference"]
    assert "without assemblyai, azure, elevenlabs," in result.stderr
    named = cli("matrix", "soniox")
    assert named.exit_code == 2
    assert 'pip install "livekit-resilient-stt[providers]" brings it' in named.stderr


def test_the_page_has_every_provider_and_fault() -> None:
    """`resilient-stt matrix --update docs/providers.md` makes it anew."""
    text = PAGE.read_text("utf-8")
    sections = text.split("\n## ")[1:]
    assert {section.split("\n")[0] for section in sections} >= FAKES.keys() - OWN_TIME
    for section in sections:
        assert all(f"| `{fault}` |" in section for fault in FAULT_KINDS)
