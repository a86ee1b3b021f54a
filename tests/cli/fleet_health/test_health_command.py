from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resilient_stt.cli.fleet_health.health_table import duration
from resilient_stt.config import VARIABLE
from resilient_stt.fleet.wire import PREFIX

from ...support.redis_server import Server, redis_server

__all__ = ["redis_server"]

Cli = Callable[..., Any]

PROVIDERS = "providers: {main: {plugin: deepgram}, spare: {plugin: cartesia}}\n"


@pytest.fixture
def config(
    tmp_path: Path, redis_server: Server, keys: None, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A configuration with keys, whose health is in Redis."""
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "stt.yaml").write_text(
        f'{PROVIDERS}health: {{store: "{redis_server.url}"}}\n', encoding="utf-8"
    )
    return "stt.yaml"


def shown(cli: Cli, *args: str) -> dict[str, dict[str, Any]]:
    """What `health --json` prints, by provider."""
    result = cli("health", *args, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = json.loads(result.stdout)["providers"]
    return {row["provider"] or row["key"]: row for row in rows}


def test_a_provider_is_locked_shown_and_unlocked(cli: Cli, config: str) -> None:
    """The table says until when, why and by whom; no key is printed."""
    result = cli("health", config)
    assert result.exit_code == 0
    assert result.stdout.count("closed") == 2
    assert result.stdout.count("nothing reported") == 2
    lock = ("health", "lock", "main", "--config", config, "--for", "30m", "--reason", "upgrade")
    result = cli(*lock)
    assert (result.exit_code, result.stdout) == (0, "locked main for 30 min\n")
    table = cli("health", config).stdout
    (line,) = (line for line in table.splitlines() if "main" in line)
    assert all(text in line for text in ("locked", "in ", "upgrade", "@"))
    assert "another-key" not in table
    found = shown(cli, config)
    assert (found["main"]["state"], found["spare"]["state"]) == ("locked", "closed")
    assert 1700 < found["main"]["until_s"] <= 1800
    result = cli("health", "unlock", "main", "--config", config)
    assert (result.exit_code, result.stdout) == (0, "unlocked main\n")
    result = cli("health", "unlock", "main", "--config", config)
    assert "main was not locked by an operator" in result.stdout
    assert shown(cli, config)["main"]["state"] == "closed"


def test_a_route_without_anybody_else(cli: Cli, config: str) -> None:
    """It is said, because its streams use locked providers all the same."""
    cli("health", "lock", "main", "--config", config)
    result = cli("health", "lock", "spare", "--config", config)
    assert result.stdout.splitlines()[1:] == [
        "every provider of the route default is locked, so they are used all the same"
    ]


def test_without_a_configuration(cli: Cli, redis_server: Server) -> None:
    """Providers have the names of their keys, and a plugin means all of its providers."""
    for key in ("deepgram:nova-3:11", "deepgram:nova-2:22", "soniox:stt:33"):
        redis_server.ask("RPUSH", f"{PREFIX}{key}:samples", "0.5")
    redis_server.ask("SET", "of-somebody-else:lock", "x")
    at = ("--store", redis_server.url)
    result = cli("health", "lock", "deepgram", *at, "--for", "90s")
    assert result.stdout == (
        "locked deepgram:nova-2:22 for 1 min 30 s\nlocked deepgram:nova-3:11 for 1 min 30 s\n"
    )
    assert {name: row["state"] for name, row in shown(cli, *at).items()} == {
        "deepgram:nova-2:22": "locked",
        "deepgram:nova-3:11": "locked",
        "soniox:stt:33": "closed",
    }
    result = cli("health", "reset", "deepgram:nova-2", *at)
    assert result.stdout == "reset deepgram:nova-2:22\n"
    found = shown(cli, *at)
    assert found["deepgram:nova-2:22"]["state"] == "closed"
    assert found["deepgram:nova-3:11"]["state"] == "locked"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("lock", "mian"), "unknown provider 'mian'; did you mean 'main'?"),
        (("lock",), "health lock needs the name of a provider"),
        (("lock", "main", "--for", "soon"), "--for soon: must be a duration"),
        (("lock", "main", "--for", "30d"), "--for 30d: must be a duration"),
        (("lock", "main", "--for", "25h"), "--for 25h: a lock lasts up to 24 h"),
        (("lock", "main", "--for", "0"), "--for 0: a lock lasts up to 24 h"),
        (("lock", "main", "--watch"), "--watch and --json do not go with lock"),
        (("lokc", "main"), "health lokc main: to do something, write one of lock, unlock, reset"),
    ],
)
def test_mistakes(
    cli: Cli, config: str, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], says: str
) -> None:
    """Each is one line that says what to do."""
    monkeypatch.setenv(VARIABLE, config)
    result = cli("health", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"resilient-stt: {says}")


def test_no_store(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a configuration nor a URL; or a configuration without a shared store; or both."""
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "stt.yaml").write_text(PROVIDERS)
    for args, says in (
        ((), "name a configuration, set RESILIENT_STT_CONFIG, or give the Redis: --store"),
        (("stt.yaml",), "stt.yaml: health is kept in the memory of each process"),
        (("stt.yaml", "--store", "redis://h"), "give a configuration or --store, not both"),
        (("--store", "http://h"), "the URL of a Redis must begin with"),
        (("lock", "x", "--store", "redis://h:1/x"), "the URL of a Redis must end with"),
    ):
        result = cli("health", *args)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith(f"resilient-stt: {says}")


def test_keys_are_needed(
    cli: Cli, tmp_path: Path, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a provider is called in the store depends on its key; all that are missing are named."""
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "stt.yaml").write_text(f'{PROVIDERS}health: {{store: "{redis_server.url}"}}\n')
    result = cli("health", "stt.yaml")
    assert result.exit_code == 2
    assert "set DEEPGRAM_API_KEY" in result.stderr
    assert "set CARTESIA_API_KEY" in result.stderr


def test_redis_is_away(cli: Cli, config: str, redis_server: Server) -> None:
    """The exit status is 1, and the message has the address without the password."""
    redis_server.kill()
    for args in (("health", config), ("health", "lock", "main", "--config", config)):
        result = cli(*args)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"resilient-stt: Redis at {redis_server.url} failed (")
        assert "check that it runs" in result.stderr
    result = cli("health", "--store", "redis://ann:s3cret@127.0.0.1:1/0")
    assert result.exit_code == 1
    assert "redis://127.0.0.1:1/0" in result.stderr
    assert "s3cret" not in result.stderr


def test_an_empty_store(cli: Cli, redis_server: Server) -> None:
    """It is said what to do."""
    result = cli("health", "lock", "deepgram", "--store", redis_server.url)
    assert result.exit_code == 2
    assert "the store knows none yet: name a configuration" in result.stderr


def test_watching(redis_server: Server, keys: None) -> None:
    """It goes on until Ctrl-C, and shows what changes meanwhile."""
    key = f"{PREFIX}deepgram:nova-3:11"
    redis_server.ask("RPUSH", f"{key}:samples", "0.5")
    process = subprocess.Popen(
        (
            *(sys.executable, "-m", "resilient_stt.cli", "health", "--watch", "--json"),
            *("--store", redis_server.url),
        ),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    (first,) = json.loads(process.stdout.readline())["providers"]
    assert first["failures"] == 0
    redis_server.ask("ZADD", f"{key}:failures", 1, "me.1")
    while json.loads(process.stdout.readline())["providers"][0]["failures"] != 1:
        pass
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59.0, "59 s"), (90.0, "1 min 30 s"), (3600.0, "1 h"), (3907.0, "1 h 5 min")],
)
def test_durations(seconds: float, said: str) -> None:
    """They are said as people say them."""
    assert duration(seconds) == said
