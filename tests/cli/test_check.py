from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from resilient_stt.config import VARIABLE
from resilient_stt.config.schema import json_schema
from resilient_stt.providers.plugins import GROUP

from ..support.fakes import FakeSTT

EXAMPLE = Path(__file__).parents[2] / "examples" / "stt.yaml"
RIGHT = "providers: {d: {plugin: deepgram}, spare: {plugin: cartesia}}\nroutes: {default: [d]}\n"


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (VARIABLE, "DEEPGRAM_MODEL"):
        monkeypatch.delenv(name, raising=False)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_a_right_one_is_shown(cli: Callable[..., Any]) -> None:
    """Its providers, what keys they lack, and who serves which language; that is no mistake."""
    result = cli("check", str(EXAMPLE))
    assert result.exit_code == 0
    assert result.stderr == ""
    lines = [cells(line) for line in result.stdout.splitlines()]
    no_key = "no key: set DEEPGRAM_API_KEY"
    assert ["dg-multi", "deepgram.STT", "nova-3", "detects 10 languages", no_key] in lines
    assert ["default (any other)", "cartesia > deepgram"] in lines
    assert ["es", "deepgram > cartesia"] in lines
    assert ["detect (none known yet)", "dg-multi"] in lines
    assert result.stdout.endswith(f"{EXAMPLE}: no mistakes\n")


@pytest.mark.usefixtures("keys")
def test_keys_that_are_there(cli: Callable[..., Any], tmp_path: Path) -> None:
    """Nothing is missing then, and no key is shown; what is not used is told."""
    (tmp_path / "stt.yaml").write_text(RIGHT)
    result = cli("check", "stt.yaml")
    assert result.exit_code == 0
    assert "no key" not in result.stdout
    assert "a-key" not in result.stdout
    assert "another-key" not in result.stdout
    assert "not used by any route" in result.stdout


def test_the_environment_names_one(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an argument it is the one of RESILIENT_STT_CONFIG, else it is said what to do."""
    result = cli("check")
    assert result.exit_code == 2
    assert "set RESILIENT_STT_CONFIG" in result.stderr
    (tmp_path / "stt.yaml").write_text(RIGHT)
    monkeypatch.setenv(VARIABLE, "stt.yaml")
    assert "stt.yaml: no mistakes" in cli("check").stdout


def test_env_files_are_read(cli: Callable[..., Any], tmp_path: Path) -> None:
    """As in a worker."""
    (tmp_path / ".env").write_text("DEEPGRAM_API_KEY=s3cr3t\nDEEPGRAM_MODEL=nova-2-general\n")
    text = "providers: {d: {plugin: deepgram, options: {model: '${DEEPGRAM_MODEL}'}}}\n"
    (tmp_path / "stt.yaml").write_text(text)
    result = cli("check", "stt.yaml")
    assert result.exit_code == 0
    assert "${DEEPGRAM_MODEL}" in result.stdout
    assert "s3cr3t" not in result.stdout


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"A=\xff\n", ".env: not UTF-8; save the file as UTF-8"),
        (None, ".env: cannot be read: Permission denied"),
    ],
)
def test_env_files_that_cannot_be_read(
    cli: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes | None,
    told: str,
) -> None:
    """Are mistakes of the user's, not tracebacks."""
    (tmp_path / "stt.yaml").write_text(RIGHT)
    (tmp_path / ".env").write_bytes(content or b"")
    if content is None:

        def refuse(*args: object, **options: object) -> None:
            raise PermissionError(13, "Permission denied", ".env")

        monkeypatch.setattr("dotenv.main.open", refuse, raising=False)
    result = cli("check", "stt.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"resilient-stt: {told}\n"


def batch_stt() -> FakeSTT:
    """Somebody's own provider that takes whole buffers only."""
    return FakeSTT(streaming=False)


def test_who_cannot_stream(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Is told: `from_config()` refuses it without a `vad`, which no file can hold."""
    points = EntryPoints([EntryPoint("own", f"{__name__}:batch_stt", GROUP)])
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    Path("stt.yaml").write_text("providers: {o: {plugin: own}}\n")
    result = cli("check", "stt.yaml")
    assert result.exit_code == 0
    assert "cannot stream: give from_config() a vad" in result.stdout


def test_how_it_is_called(cli: Callable[..., Any]) -> None:
    """The argument is optional, and stands in one pair of brackets."""
    assert "check [OPTIONS] [CONFIG] " in cli("check", "--help").stdout


@pytest.mark.usefixtures("keys")
def test_options_that_only_the_plugin_refuses(cli: Callable[..., Any], tmp_path: Path) -> None:
    """Are found, for what has a key is made."""
    (tmp_path / "stt.yaml").write_text(
        "providers:\n"
        "  c:\n"
        "    plugin: cartesia\n"
        "    options: {model: ink-whisper, turn_end_threshold: 0.2}\n"
    )
    result = cli("check", "stt.yaml")
    assert result.exit_code == 2
    assert result.stderr.startswith(
        "resilient-stt: stt.yaml: line 2: providers.c: cartesia.STT refuses its options: The"
    )


def test_several_mistakes_are_a_list(cli: Callable[..., Any], tmp_path: Path) -> None:
    """One in each line."""
    (tmp_path / "stt.yaml").write_text("providers: {d: {plugin: deepgrm}}\nretyr: {}\n")
    result = cli("check", "stt.yaml")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "resilient-stt: stt.yaml has 2 mistakes:",
        "  line 1: providers.d.plugin: no plugin 'deepgrm' is installed; did you mean 'deepgram'?",
        "  line 2: unknown key 'retyr'; did you mean 'retry'?",
    ]


def test_the_schema_is_printed(cli: Callable[..., Any]) -> None:
    """One JSON document."""
    result = cli("schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json_schema()


def test_as_a_process(tmp_path: Path) -> None:
    """A right one by the real command."""
    (tmp_path / "stt.toml").write_text('[providers.d]\nplugin = "deepgram"\n')
    command = [sys.executable, "-m", "resilient_stt.cli", "check", "stt.toml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "stt.toml: no mistakes" in done.stdout
