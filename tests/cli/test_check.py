from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from resilient_stt.cli.terminal import print_table
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


def test_a_valid_configuration_is_shown(cli: Callable[..., Any]) -> None:
    """The tables have its providers, missing keys and routes. A missing key is not a mistake."""
    result = cli("check", str(EXAMPLE))
    assert result.exit_code == 0
    assert result.stderr == ""
    lines = [cells(line) for line in result.stdout.splitlines()]
    no_key = "no key: set DEEPGRAM_API_KEY"
    assert ["dg-multi", "deepgram.STT", "nova-3", "detects 10 languages", no_key] in lines
    assert ["default (any other language)", "cartesia > deepgram"] in lines
    assert ["es", "deepgram > cartesia"] in lines
    assert ["detect (language not known yet)", "dg-multi"] in lines
    assert result.stdout.endswith(f"{EXAMPLE}: no mistakes found\n")


@pytest.mark.usefixtures("keys")
def test_no_key_is_printed(cli: Callable[..., Any], tmp_path: Path) -> None:
    """If the keys are set, none is called missing. A provider without a route is noted."""
    (tmp_path / "stt.yaml").write_text(RIGHT)
    result = cli("check", "stt.yaml")
    assert result.exit_code == 0
    assert "no key" not in result.stdout
    assert "a-key" not in result.stdout
    assert "another-key" not in result.stdout
    assert "not used by any route" in result.stdout


def test_the_environment_names_the_file(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an argument, RESILIENT_STT_CONFIG names it; without both, the error says so."""
    result = cli("check")
    assert result.exit_code == 2
    assert "set RESILIENT_STT_CONFIG" in result.stderr
    (tmp_path / "stt.yaml").write_text(RIGHT)
    monkeypatch.setenv(VARIABLE, "stt.yaml")
    assert "stt.yaml: no mistakes" in cli("check").stdout


def test_env_files_are_read(cli: Callable[..., Any], tmp_path: Path) -> None:
    """Variables of the configuration and keys come from .env files, as in a worker."""
    (tmp_path / ".env").write_text("DEEPGRAM_API_KEY=s3cr3t\nDEEPGRAM_MODEL=nova-2-general\n")
    text = "providers: {d: {plugin: deepgram, options: {model: '${DEEPGRAM_MODEL}'}}}\n"
    (tmp_path / "stt.yaml").write_text(text)
    result = cli("check", "stt.yaml")
    assert result.exit_code == 0
    assert "${DEEPGRAM_MODEL}" in result.stdout
    assert "s3cr3t" not in result.stdout


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"A=\xff\n", ".env is not UTF-8; save the file as UTF-8"),
        (None, "cannot read .env: Permission denied"),
    ],
)
def test_env_files_that_cannot_be_read(
    cli: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes | None,
    says: str,
) -> None:
    """The error is one line, not a traceback."""
    (tmp_path / "stt.yaml").write_text(RIGHT)
    (tmp_path / ".env").write_bytes(content or b"")
    if content is None:

        def refuse(*args: object, **options: object) -> None:
            raise PermissionError(13, "Permission denied", ".env")

        monkeypatch.setattr("dotenv.main.open", refuse, raising=False)
    result = cli("check", "stt.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"resilient-stt: {says}\n"


def batch_stt() -> FakeSTT:
    """A user's provider that transcribes whole buffers only."""
    return FakeSTT(streaming=False)


def test_a_provider_that_cannot_stream_is_noted(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`from_config()` rejects it without a `vad`, which a file cannot contain."""
    points = EntryPoints([EntryPoint("own", f"{__name__}:batch_stt", GROUP)])
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    Path("stt.yaml").write_text("providers: {o: {plugin: own}}\n")
    result = cli("check", "stt.yaml")
    assert result.exit_code == 0
    assert "cannot stream: pass a vad to from_config()" in result.stdout


def test_the_argument_is_optional(cli: Callable[..., Any]) -> None:
    """The help shows it in one pair of brackets."""
    assert "check [OPTIONS] [CONFIG] " in cli("check", "--help").stdout


@pytest.mark.usefixtures("keys")
def test_options_that_the_plugin_rejects_are_mistakes(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    """They are found because every provider with a key is created."""
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


def test_mistakes_are_listed(cli: Callable[..., Any], tmp_path: Path) -> None:
    """Each mistake is one line."""
    (tmp_path / "stt.yaml").write_text("providers: {d: {plugin: deepgrm}}\nretyr: {}\n")
    result = cli("check", "stt.yaml")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "resilient-stt: stt.yaml has 2 mistakes:",
        "  line 1: providers.d.plugin: no plugin 'deepgrm' is installed; did you mean 'deepgram'?",
        "  line 2: unknown key 'retyr'; did you mean 'retry'?",
    ]


def test_the_schema_is_printed(cli: Callable[..., Any]) -> None:
    """The output is one JSON object."""
    result = cli("schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json_schema()


def test_as_a_process(tmp_path: Path) -> None:
    """The command works in a process of its own."""
    (tmp_path / "stt.toml").write_text('[providers.d]\nplugin = "deepgram"\n')
    command = [sys.executable, "-m", "resilient_stt.cli", "check", "stt.toml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "stt.toml: no mistakes" in done.stdout


def test_the_settings_are_shown(cli: Callable[..., Any], tmp_path: Path) -> None:
    """The policies that were changed, the health store without its password, resolved models."""
    (tmp_path / "stt.yaml").write_text(
        "providers:\n"
        "  c: {plugin: cartesia}\n"
        "  d: {plugin: deepgram, options: {model: '${DEEPGRAM_MODEL:-nova-3}'}}\n"
        "  e: {plugin: deepgram, options: {model: '${ODD:-s3cr3t}'}}\n"
        "replay: {window: 30s}\n"
        "watchdog: {hedging: false}\n"
        "health: {store: 'redis://user:s3cr3t@host:6379/0'}\n"
    )
    shown = cli("check", "stt.yaml").stdout
    assert "policy: replay.window = 30.0 (default 60.0)\n" in shown
    assert "policy: watchdog.hedging = False (default True)\n" in shown
    assert "health store: RedisHealth('redis://host:6379/0')\n" in shown
    assert "ink-2" in shown
    assert "nova-3 (${DEEPGRAM_MODEL})" in shown
    assert "s3cr3t" not in shown
    (tmp_path / "stt.yaml").write_text(RIGHT)
    shown = cli("check", "stt.yaml").stdout
    assert "policies: all have their default values\n" in shown
    assert "health store: memory, within the process\n" in shown


@pytest.mark.parametrize(
    ("plugin", "model", "meant"),
    [
        ("cartesia", "ink-wisper", "ink-whisper"),
        ("deepgram", "nova3", "nova-3"),
        ("deepgram", "nova-3-medcal", "nova-3-medical"),
        ("cartesia", "sonata", ""),
        ("cartesia", "ink-whisper-2025-06-04", ""),
        ("deepgram", "nova-3-general", ""),
    ],
)
@pytest.mark.usefixtures("keys")
def test_a_misspelled_model_is_told_with_the_nearest(
    cli: Callable[..., Any], tmp_path: Path, plugin: str, model: str, meant: str
) -> None:
    """It may be a new model, so only `--strict` fails."""
    text = f"providers: {{x: {{plugin: {plugin}, options: {{model: {model}}}}}}}\n"
    (tmp_path / "stt.yaml").write_text(text)
    result, strict = cli("check", "stt.yaml"), cli("check", "stt.yaml", "--strict")
    assert result.exit_code == 0
    assert ("did you mean" in result.stdout) == bool(meant)
    assert strict.exit_code == (2 if meant else 0)
    assert not meant or f"x: unknown model; did you mean '{meant}'?" in strict.stderr


def test_strict_fails_on_missing_keys(cli: Callable[..., Any], tmp_path: Path) -> None:
    """Of providers that a route names; all of them are listed."""
    (tmp_path / "stt.yaml").write_text(RIGHT)
    result = cli("check", "--strict", "stt.yaml")
    assert result.exit_code == 2
    assert result.stderr == "resilient-stt: stt.yaml: --strict: d: no key: set DEEPGRAM_API_KEY\n"


@pytest.mark.parametrize("width", [20, 50, 60, 80])
def test_narrow_terminals_lose_nothing(width: int) -> None:
    """Where the table does not fit, each provider is a list."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("provider", no_wrap=True)
    table.add_column("notes", overflow="fold")
    table.add_column("count", justify="right")
    name, note = "a-provider-with-a-long-name", "no key: set A_VARIABLE_WITH_A_LONG_NAME"
    table.add_row(name, Text(note), "12")
    console = Console(width=width, file=io.StringIO(), record=True)
    print_table(console, table)
    words = console.export_text().split()
    assert {name, *note.split(), "12"} <= set(words)
