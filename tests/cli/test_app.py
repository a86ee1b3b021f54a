from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "resilient_stt.cli"]


def test_help_lists_the_commands(cli: Callable[..., Any]) -> None:
    """The commands for users are listed; the one that `demo` starts is hidden."""
    result = cli("--help")
    assert result.exit_code == 0
    for command in ("demo", "transcribe", "chaos", "matrix", "serve", "check", "schema", "page"):
        assert f" {command} " in result.stdout
    assert "serve-fakes" not in result.stdout


def test_version(cli: Callable[..., Any]) -> None:
    """The version is that of the package."""
    result = cli("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("resilient-stt 0.")


@pytest.mark.parametrize(
    "command", ["", "demo", "transcribe", "chaos", "matrix", "serve", "check", "schema", "page"]
)
def test_h_is_help(cli: Callable[..., Any], command: str) -> None:
    """`-h` works everywhere."""
    short, long = (cli(*command.split(), flag) for flag in ("-h", "--help"))
    assert short.exit_code == 0
    assert short.stdout == long.stdout


def test_the_package_runs_as_a_module() -> None:
    """`python -m resilient_stt` is `resilient-stt`."""
    command = [sys.executable, "-m", "resilient_stt", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("resilient-stt 0.")


def test_unknown_option_is_a_usage_error(cli: Callable[..., Any]) -> None:
    """Mistakes that typer finds have status 2, as those that we find."""
    assert cli("demo", "--speed", "2").exit_code == 2


def test_a_bug_keeps_its_traceback(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only errors that the user can fix are printed as a line."""
    monkeypatch.setattr("resilient_stt.cli.demo.demo_command.scenario_named", lambda name: 1 / 0)
    result = cli("demo", "--fast")
    assert isinstance(result.exception, ZeroDivisionError)


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in text.split()]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="ascii")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_demo_leaves_no_process_behind(end: signal.Signals) -> None:
    """Ctrl-C exits with 130 and prints nothing. The process of the fake providers ends, even if
    the demo is killed."""
    process = subprocess.Popen(
        [*COMMAND, "demo", "--fault", "refuse"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        process.stdout.readline()  # the fault
        process.stdout.readline()  # the first failure
        (servers,) = children(process.pid)
        process.send_signal(end)
        _, errors = process.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while is_alive(servers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(servers)
    assert errors == ""
    assert process.returncode == (130 if end is signal.SIGINT else -end)
