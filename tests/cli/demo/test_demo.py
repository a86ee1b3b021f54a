from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resilient_stt.cli.demo.demo_run import DemoRun
from resilient_stt.cli.demo.scenarios import SCENARIOS

Cli = Callable[..., Any]
KEYS = {"fault", "words", "lost", "repeated", "late_max_s", "ts_err_max_s", "switches"}
ALL_TRANSCRIBED = "All 70 words were transcribed, each exactly once."


@pytest.mark.parametrize("fault", SCENARIOS)
def test_no_word_is_lost_or_repeated(cli: Cli, fault: str) -> None:
    """Whatever the fault: the JSON object on stdout says that all words came once."""
    result = cli("demo", "--fast", "--json", "--fault", fault)
    figures = json.loads(result.stdout)
    assert result.exit_code == 0
    assert set(figures) == KEYS
    assert figures["fault"] == fault
    assert (figures["words"], figures["lost"], figures["repeated"]) == (70, 0, 0)
    assert figures["ts_err_max_s"] < 0.05
    assert result.stderr == ""


def test_compare_shows_what_the_others_lose(cli: Cli) -> None:
    """The exit status depends on ResilientSTT alone."""
    result = cli("demo", "--fast", "--json", "--compare", "--fault", "down")
    figures = json.loads(result.stdout)
    assert result.exit_code == 0
    assert list(figures) == ["plugin", "fallback_adapter", "resilient"]
    assert all(set(of_candidate) == KEYS for of_candidate in figures.values())
    assert figures["plugin"]["lost"] > figures["fallback_adapter"]["lost"] > 0
    assert figures["resilient"]["lost"] == figures["resilient"]["repeated"] == 0


def test_candidates_that_never_end_are_stopped(cli: Cli) -> None:
    """FallbackAdapter never fails over from a handshake that hangs, in virtual time either."""
    result = cli("demo", "--fast", "--json", "--compare", "--fault", "hang")
    figures = json.loads(result.stdout)
    assert (figures["plugin"]["lost"], figures["fallback_adapter"]["lost"]) == (70, 70)
    assert figures["fallback_adapter"]["late_max_s"] is None
    assert figures["resilient"]["lost"] == 0


def test_in_a_pipe_events_are_plain_lines(cli: Cli) -> None:
    """They have no control characters."""
    result = cli("demo", "--fast")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "cartesia dropped the connection" in result.stdout
    assert "deepgram takes over; the last" in result.stdout
    assert "outage started: no provider works" in result.stdout
    assert "cartesia works again" in result.stdout
    assert ALL_TRANSCRIBED in result.stdout


def test_a_stall_is_printed(cli: Cli) -> None:
    """The lines name the stall, the hedge that takes over, and the recovery."""
    result = cli("demo", "--fast", "--fault", "stall")
    lines = [line.partition(" s  ")[2] for line in result.stdout.splitlines()]
    stall = lines.index("cartesia stalled (final transcript overdue); hedge on deepgram has text")
    assert lines[stall + 1].startswith("deepgram takes over; it has the last ")
    assert lines[stall + 2].startswith("deepgram: It is for Thursday evening")
    assert "cartesia has recovered (background probe)" in lines[stall:]
    assert ALL_TRANSCRIBED in result.stdout


@pytest.mark.parametrize(
    ("fault", "lost"),
    [
        ("stall", 57),
        ("half-open", 57),
        ("in-band-error-402", 57),
        ("garbage-unparsable", 57),
        ("lost-final", 17),
    ],
)
def test_only_we_notice_a_silent_provider(cli: Cli, fault: str, lost: int) -> None:
    """Neither the plugin nor FallbackAdapter notices a provider that only stops sending text."""
    result = cli("demo", "--fast", "--json", "--compare", "--fault", fault)
    figures = json.loads(result.stdout)
    assert figures["plugin"]["lost"] == figures["fallback_adapter"]["lost"] == lost
    assert figures["fallback_adapter"]["switches"] == 0
    assert figures["resilient"]["lost"] == figures["resilient"]["repeated"] == 0
    assert figures["resilient"]["switches"] == 1


def test_only_we_survive_an_outage(cli: Cli) -> None:
    """After six seconds without any provider the others have lost words."""
    result = cli("demo", "--fast", "--json", "--compare", "--fault", "outage")
    figures = json.loads(result.stdout)
    assert figures["plugin"]["lost"] > 0
    assert figures["fallback_adapter"]["lost"] > 0
    assert figures["resilient"]["lost"] == figures["resilient"]["repeated"] == 0


def test_compare_in_a_pipe_prints_the_table(cli: Cli) -> None:
    """It has a row for each candidate."""
    result = cli("demo", "--fast", "--compare", "--fault", "hang")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["Cartesia", "plugin", "70", "70", "0", "no", "text", "0", "ended"] in rows
    assert any(row[:4] == ["ResilientSTT", "70", "0", "0"] for row in rows)


def test_log_records_are_shown_with_verbose_only(cli: Cli) -> None:
    """Without --verbose neither LiveKit's log records nor ours are printed."""
    quiet, verbose = (cli("demo", "--fast", "--fault", "refuse", *more) for more in ([], ["-v"]))
    assert "livekit.resilient_stt" not in quiet.output
    assert "livekit.resilient_stt: provider failed" in verbose.output
    assert "reason='connect'" in verbose.output


@pytest.mark.parametrize(("times", "says"), [(0, "lost: Hello, this"), (2, "repeated: hello")])
def test_a_lost_or_repeated_word_is_the_exit_status(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, times: int, says: str
) -> None:
    """If a final is missing or comes twice, the status is 1 and the words are printed."""
    take, finals = DemoRun.take, []

    def broken(run: DemoRun, at: float, event: Any) -> None:
        if event.type.value == "final_transcript":
            finals.append(event)
        for _ in range(times if finals == [event] else 1):
            take(run, at, event)

    monkeypatch.setattr(DemoRun, "take", broken)
    result = cli("demo", "--fast", "--fault", "none")
    assert result.exit_code == 1
    assert says in result.stdout


def test_faults_are_listed(cli: Cli) -> None:
    """Each line has a fault and what it does."""
    result = cli("demo", "--list-faults")
    assert [line.split()[0] for line in result.stdout.splitlines()] == list(SCENARIOS)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--fault", "gremlins"], "no fault 'gremlins'; choose one of none, refuse"),
        (["--fault", "all"], "--fault all needs --compare"),
        (["--markdown"], "need --compare"),
        (["--update", "README.md"], "need --compare"),
        (["--compare", "--markdown", "--json"], "cannot be combined"),
    ],
)
def test_a_wrong_use_is_one_line(cli: Cli, args: list[str], says: str) -> None:
    """The line is on stderr, and the status is 2."""
    result = cli("demo", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("resilient-stt: ")
    assert result.stderr.count("\n") == 1
    assert says in result.stderr


def test_markdown_table(cli: Cli) -> None:
    """It has a row for the fault and a column for each candidate."""
    result = cli("demo", "--compare", "--fault", "drop", "--markdown")
    header, _, row, *_ = result.stdout.splitlines()
    assert header.split(" | ")[2:] == ["Cartesia plugin", "FallbackAdapter", "`ResilientSTT` |"]
    assert row.startswith("| `drop` | Cartesia drops the connection in mid-word")
    assert row.count("**") == 4
    assert "| 0 lost, 0 repeated, " in row


def test_update_rewrites_the_block_in_a_file(cli: Cli, tmp_path: Path) -> None:
    """The text between the markers is replaced; the text around them stays."""
    readme = tmp_path / "README.md"
    readme.write_text(
        "before\n<!-- comparison:begin -->\nREPLACE ME\n<!-- comparison:end -->\nafter\n", "utf-8"
    )
    result = cli("demo", "--compare", "--fault", "drop", "--update", str(readme))
    text = readme.read_text("utf-8")
    assert (result.exit_code, result.stdout) == (0, "")
    assert text.startswith("before\n<!-- comparison:begin -->\n| Fault |")
    assert text.endswith("\n<!-- comparison:end -->\nafter\n")
    assert "REPLACE ME" not in text


@pytest.mark.parametrize(
    ("text", "says"),
    [(None, "cannot read {}: "), ("no markers here\n", "{} has no markers for the table")],
)
def test_update_needs_a_file_with_markers(
    cli: Cli, tmp_path: Path, text: str | None, says: str
) -> None:
    """A file without markers is left as it is."""
    readme = tmp_path / "README.md"
    if text is not None:
        readme.write_text(text, "utf-8")
    result = cli("demo", "--compare", "--fault", "none", "--update", str(readme))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"resilient-stt: {says.format(readme)}")
    assert text is None or readme.read_text("utf-8") == text
