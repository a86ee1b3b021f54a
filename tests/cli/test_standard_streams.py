"""What the commands do when nobody takes what they print, or Ctrl-C comes early."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "stt.yaml"
COMMANDS = {
    "help": ["--help"],
    "version": ["--version"],
    "schema": ["schema"],
    "check": ["check", str(EXAMPLE)],
    "faults": ["demo", "--list-faults"],
    "demo": ["demo"],
    "fast": ["demo", "--fast"],
    "json": ["demo", "--fast", "--json", "--fault", "none"],
    "chaos": ["chaos", "--only", "refuse", "--moments", "1", "--jobs", "1"],
    "serve": ["serve", "cartesia=0", "deepgram=0", "--control-port", "0"],
}
FULL = Path("/dev/full")


def command(name: str) -> list[str]:
    return [sys.executable, "-m", "resilient_stt", *COMMANDS[name]]


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("name", COMMANDS)
def test_no_room_for_the_output_is_one_line(name: str) -> None:
    """The line says why, and the status is 1. Also commands that run for ever end."""
    with FULL.open("w") as full:
        done = subprocess.run(
            command(name), stdout=full, stderr=PIPE, text=True, timeout=120, check=False
        )
    assert done.stderr == "resilient-stt: cannot write the output: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_a_closed_pipe_ends_the_command_quietly(name: str) -> None:
    """As in `demo | head -1`. The reader has what it wants, so nothing is printed."""
    reader, writer = os.pipe()
    with subprocess.Popen(command(name), stdout=writer, stderr=PIPE, text=True) as process:
        os.close(writer)
        os.close(reader)
        _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (1, "")


@pytest.mark.slow
@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.usefixtures("keys")
def test_a_transcript_that_cannot_be_written(
    record: Callable[..., Path], fakes: dict[str, str]
) -> None:
    """`transcribe` ends at the first transcript; without a place for messages it goes on."""
    path = record("speech.wav", "pcm_s16le")
    urls = ["--cartesia-url", fakes["cartesia"], "--deepgram-url", fakes["deepgram"]]
    transcribe = [sys.executable, "-m", "resilient_stt", "transcribe", str(path), *urls]
    with FULL.open("w") as full:
        done = subprocess.run(
            transcribe, stdout=full, stderr=PIPE, text=True, timeout=60, check=False
        )
        assert done.returncode == 1
        assert done.stderr.endswith("cannot write the output: No space left on device\n")
        assert "Traceback" not in done.stderr
        mute = subprocess.run(
            transcribe, stdout=PIPE, stderr=full, text=True, timeout=60, check=False
        )
    assert (mute.returncode, mute.stdout.startswith("Hello, this is")) == (0, True)


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_it_ends_also_where_sigint_is_ignored() -> None:
    """A shell starts background jobs so."""
    with FULL.open("w") as full:
        done = subprocess.run(
            ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command("serve")],
            stdout=full,
            stderr=PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_what_a_terminal_cannot_show_is_replaced() -> None:
    """A command does not end because of a character that the encoding lacks."""
    done = subprocess.run(
        [*command("faults")[:-1], "--fault", "café ☃"],
        stderr=PIPE,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert b"there is no fault" in done.stderr
    assert b"Traceback" not in done.stderr


def interrupted(name: str, wait: Callable[[int], None]) -> tuple[int, str]:
    """Start a command, send SIGINT to its group, as a terminal does, and return how it ended."""
    with subprocess.Popen(
        command(name), stdout=DEVNULL, stderr=PIPE, text=True, start_new_session=True
    ) as process:
        wait(process.pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def loaded(library: str) -> Callable[[int], None]:
    """Wait until a process has loaded a library: it is in the midst of its imports then."""

    def wait(pid: int) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if library in Path(f"/proc/{pid}/maps").read_text("utf-8"):
                    return
            except OSError:
                return
            time.sleep(0.002)

    return wait


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks into /proc")
@pytest.mark.parametrize("library", ["_ssl", "_multiarray", "pydantic_core", "/av/"])
@pytest.mark.parametrize("name", ["demo", "schema"])
def test_ctrl_c_during_imports_prints_nothing(name: str, library: str) -> None:
    """Python would print where it was, some hundred lines of other packages."""
    assert interrupted(name, loaded(library)) == (130, "")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["demo", "fast", "chaos", "serve"])
def test_ctrl_c_in_the_first_seconds_prints_nothing(name: str) -> None:
    """Whatever the command does then: import, start processes, open connections."""
    for delay in (0.4, 0.9, 1.5, 2.0, 2.6):
        status, errors = interrupted(name, lambda _, delay=delay: time.sleep(delay))  # type: ignore[misc]
        assert errors == ""
        # it may have ended by itself before, or be at the end of its process
        assert status in (130, 0, -signal.SIGINT), (name, delay)
