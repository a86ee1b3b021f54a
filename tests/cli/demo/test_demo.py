from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resilient_stt.cli.demo.run import DemoRun
from resilient_stt.cli.demo.scenarios import SCENARIOS

Cli = Callable[..., Any]
KEYS = {"fault", "words", "lost", "twice", "late_max_s", "ts_err_max_s", "switches"}


@pytest.mark.parametrize("fault", SCENARIOS)
def test_nothing_is_lost_or_said_twice(cli: Cli, fault: str) -> None:
    """Whatever the fault, the one object on stdout says that all words came once."""
    result = cli("demo", "--fast", "--json", "--fault", fault)
    told = json.loads(result.stdout)
    assert result.exit_code == 0
    assert set(told) == KEYS
    assert (told["fault"], told["words"], told["lost"], told["twice"]) == (fault, 70, 0, 0)
    assert told["ts_err_max_s"] < 0.05
    assert result.stderr == ""


def test_compare_shows_what_the_others_lose(cli: Cli) -> None:
    """The exit status is about ours alone."""
    result = cli("demo", "--fast", "--json", "--compare", "--fault", "drop")
    told = json.loads(result.stdout)
    assert result.exit_code == 0
    assert list(told) == ["plugin", "fallback_adapter", "resilient"]
    assert all(set(figures) == KEYS for figures in told.values())
    assert told["plugin"]["lost"] > told["fallback_adapter"]["lost"] > 0
    assert told["resilient"]["lost"] == told["resilient"]["twice"] == 0


def test_contestants_that_never_end_are_left(cli: Cli) -> None:
    """On a handshake that hangs, LiveKit's adapter never fails over; on the virtual clock, too."""
    result = cli("demo", "--fast", "--json", "--compare", "--fault", "hang")
    told = json.loads(result.stdout)
    assert (told["plugin"]["lost"], told["fallback_adapter"]["lost"]) == (70, 70)
    assert told["fallback_adapter"]["late_max_s"] is None
    assert told["resilient"]["lost"] == 0


def test_without_a_terminal_there_are_plain_lines(cli: Cli) -> None:
    """What happens is told line by line, without control characters."""
    result = cli("demo", "--fast")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "cartesia dropped the connection" in result.stdout
    assert "deepgram takes over and hears the last" in result.stdout
    assert "no provider works" in result.stdout
    assert "cartesia answers again" in result.stdout
    assert "All 70 words came, each of them once." in result.stdout


def test_a_stall_is_told(cli: Cli) -> None:
    """Who is silent, who heard it all meanwhile, and that the silent one hears again."""
    result = cli("demo", "--fast", "--fault", "stall")
    said = [line.partition(" s  ")[2] for line in result.stdout.splitlines()]
    doubted = said.index("cartesia says nothing (its final is overdue); deepgram hears words")
    assert said[doubted + 1].startswith("deepgram takes over and has heard the last ")
    assert said[doubted + 2].startswith("deepgram: It is for Thursday evening")
    assert "cartesia hears again (tried in the background)" in said[doubted:]
    assert "All 70 words came, each of them once." in result.stdout


@pytest.mark.parametrize(
    ("fault", "lost"),
    [("stall", 57), ("half-open", 57), ("in-band", 57), ("garbage", 57), ("lost-final", 17)],
)
def test_silence_is_noticed_by_us_alone(cli: Cli, fault: str, lost: int) -> None:
    """Neither the plugin nor LiveKit's adapter notices a provider that only falls silent."""
    result = cli("demo", "--fast", "--json", "--compare", "--fault", fault)
    told = json.loads(result.stdout)
    assert told["plugin"]["lost"] == told["fallback_adapter"]["lost"] == lost
    assert told["fallback_adapter"]["switches"] == 0
    assert told["resilient"]["lost"] == told["resilient"]["twice"] == 0
    assert told["resilient"]["switches"] == 1


def test_an_outage_ends_the_others(cli: Cli) -> None:
    """Six seconds without any provider: the others give up, we wait."""
    result = cli("demo", "--fast", "--json", "--compare", "--fault", "outage")
    told = json.loads(result.stdout)
    assert told["plugin"]["lost"] > 0
    assert told["fallback_adapter"]["lost"] > 0
    assert told["resilient"]["lost"] == told["resilient"]["twice"] == 0


def test_compare_without_a_terminal_prints_the_table(cli: Cli) -> None:
    """One row for each contestant."""
    result = cli("demo", "--fast", "--compare", "--fault", "hang")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["Cartesia", "plugin", "70", "70", "0", "nothing", "came", "0", "ended"] in rows
    assert any(row[:4] == ["ResilientSTT", "70", "0", "0"] for row in rows)


def test_log_records_are_shown_on_request_only(cli: Cli) -> None:
    """LiveKit's and our own log records stay out of the picture without --verbose."""
    quiet, loud = (cli("demo", "--fast", "--fault", "refuse", *more) for more in ([], ["-v"]))
    assert "livekit.resilient_stt" not in quiet.output
    assert "livekit.resilient_stt: provider failed" in loud.output
    assert "reason='connect'" in loud.output


@pytest.mark.parametrize(("times", "says"), [(0, "lost: Hello, this"), (2, "said twice: hello")])
def test_a_broken_promise_is_the_exit_status(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, times: int, says: str
) -> None:
    """A final that is swallowed or comes twice exits with 1 and names the words."""
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
    """Every fault with what it does."""
    result = cli("demo", "--list-faults")
    assert [line.split()[0] for line in result.stdout.splitlines()] == list(SCENARIOS)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--fault", "gremlins"], "no fault 'gremlins'; choose one of: none, refuse"),
        (["--fault", "all"], "--compare only"),
        (["--markdown"], "add it"),
        (["--update", "README.md"], "add it"),
        (["--compare", "--markdown", "--json"], "exclude each other"),
    ],
)
def test_mistakes_are_one_line(cli: Cli, args: list[str], says: str) -> None:
    """A mistake of the user's exits with 2 and one line on stderr."""
    result = cli("demo", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("resilient-stt: ")
    assert result.stderr.count("\n") == 1
    assert says in result.stderr


def test_markdown_table(cli: Cli) -> None:
    """A row for the fault, a column for each contestant."""
    result = cli("demo", "--compare", "--fault", "drop", "--markdown")
    header, _, row, *_ = result.stdout.splitlines()
    assert header.split(" | ")[2:] == ["Cartesia plugin", "FallbackAdapter", "`ResilientSTT` |"]
    assert row.startswith("| `drop` | Cartesia drops in the middle of a word")
    assert row.count("**") == 4
    assert "| 0 lost, 0 twice, " in row


def test_update_rewrites_the_block_in_a_file(cli: Cli, tmp_path: Path) -> None:
    """What is between the markers is replaced, what is around them stays."""
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


@pytest.mark.parametrize("text", [None, "no markers here\n"])
def test_update_needs_a_file_with_markers(cli: Cli, tmp_path: Path, text: str | None) -> None:
    """A file without them is left as it is."""
    readme = tmp_path / "README.md"
    if text is not None:
        readme.write_text(text, "utf-8")
    result = cli("demo", "--compare", "--fault", "none", "--update", str(readme))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"resilient-stt: {readme} ")
    assert text is None or readme.read_text("utf-8") == text
