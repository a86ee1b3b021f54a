"""Commands are imported when they are run, and say what is missing."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from resilient_stt.cli.commands import COMMANDS

EXAMPLE = Path(__file__).parents[2] / "examples" / "stt.yaml"
HEAVY = {"aiohttp", "av", "livekit", "numpy", "pydantic", "structlog", "yaml"}
"""What commands need, and a list of them does not."""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_summary_is_the_docstring_s(name: str) -> None:
    """The list of commands says of each what its own help begins with."""
    function = COMMANDS[name].load()
    first = (inspect.getdoc(function) or "").split("\n\n")[0]
    assert COMMANDS[name].summary == " ".join(first.split())


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_list_of_commands_imports_none_of_them(option: str) -> None:
    """`--help` and `--version` import neither LiveKit nor anything else that takes long."""
    script = (
        "import json, sys\n"
        "from resilient_stt.cli.app import app\n"
        f"app([{option!r}], prog_name='resilient-stt', standalone_mode=False)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert set(json.loads(done.stdout.splitlines()[-1])) & HEAVY == set()


def run_without(module: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process in which a module cannot be imported."""
    script = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from resilient_stt.cli import main\n"
        f"sys.argv[1:] = {list(args)!r}\n"
        "main()\n"
    )
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("module", "package", "args"),
    [
        ("typer", "typer", ["--help"]),
        ("rich", "rich", ["demo", "--fast"]),
        ("av", "av", ["transcribe", "call.wav"]),
        ("dotenv", "python-dotenv", ["check", str(EXAMPLE)]),
    ],
)
def test_a_command_without_its_extra_says_what_to_install(
    module: str, package: str, args: list[str]
) -> None:
    """One line names the package and the pip command that brings it; the status is 2."""
    done = run_without(module, *args)
    assert done.stdout == ""
    assert done.stderr == (
        f"resilient-stt: the command line needs {package}, which is not installed: "
        'pip install "livekit-resilient-stt[cli]"\n'
    )
    assert done.returncode == 2


def test_what_no_extra_brings_keeps_its_traceback() -> None:
    """A module that is missing for another reason is not the user's mistake."""
    done = run_without("tenacity", "demo", "--fast")
    assert "ModuleNotFoundError" in done.stderr
    assert done.returncode == 1


def test_a_yaml_configuration_without_pyyaml_says_what_to_install() -> None:
    """Of a YAML file, the line names the extra for YAML, and TOML as the other way."""
    done = run_without("yaml", "check", str(EXAMPLE))
    assert done.stderr == (
        f"resilient-stt: {EXAMPLE}: reading YAML needs PyYAML, which is not installed: "
        'pip install "livekit-resilient-stt[yaml]", or write the configuration in TOML\n'
    )
    assert done.returncode == 2
