"""Every issue of a configuration is reported with its place and what to do, and without secrets."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from resilient_stt import ConfigurationError
from resilient_stt.cli.app import app
from resilient_stt.config import VARIABLE, Config, load
from resilient_stt.core.policy import Policies

from .support.broken_configs import BROKEN, ENVIRONMENT, SECRET, Broken, P

FILES = {name: each for name, each in BROKEN.items() if not isinstance(each.content, Mapping)}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for name in (VARIABLE, "NOT_SET", "A", "B", "CARTESIA_API_KEY", "DEEPGRAM_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def written(broken: Broken, folder: Path) -> Path:
    path = folder / broken.name
    assert not isinstance(broken.content, Mapping)
    content = broken.content
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def error_of(source: Any) -> str:
    with pytest.raises(ConfigurationError) as raised:
        load(source)
    assert SECRET not in "".join(traceback.format_exception(raised.value))
    return str(raised.value)


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_every_issue_is_reported(broken: Broken, tmp_path: Path) -> None:
    """The error names the file, the place and what to do, and repeats no secret."""
    is_mapping = isinstance(broken.content, Mapping)
    source = broken.content if is_mapping else written(broken, tmp_path)
    message = error_of(source)
    for part in broken.parts:
        assert part in message
    assert message.startswith("the configuration" if is_mapping else str(source))
    assert SECRET not in message
    assert max(map(len, message.splitlines())) < 400


@pytest.mark.parametrize("broken", FILES.values(), ids=FILES)
def test_the_command_line_exits_with_2(broken: Broken, tmp_path: Path) -> None:
    """The error is on stderr, without a traceback, and stdout is empty."""
    done = CliRunner().invoke(app, ["check", str(written(broken, tmp_path))])
    assert (done.exit_code, done.stdout) == (2, "")
    shown = " ".join(done.stderr.split())
    for part in broken.parts:
        assert " ".join(part.split()) in shown
    assert SECRET not in shown


@pytest.mark.parametrize("name", ["bomb", "deep", "option-typo"])
def test_a_process_ends_without_a_traceback(name: str, tmp_path: Path) -> None:
    """The whole command behaves like this, as users run it."""
    command = [sys.executable, "-m", "resilient_stt.cli", "check"]
    path = written(BROKEN[name], tmp_path)
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"resilient-stt: {path}")
    assert "Traceback" not in done.stderr


def test_all_issues_are_reported_at_once(tmp_path: Path) -> None:
    """Issues of variables, of the form and of the meaning are in one error, in order of lines."""
    path = tmp_path / "stt.yaml"
    path.write_text(
        "providers:\n"
        "  a: {plugin: deepgrm}\n"
        "  b: {plugin: deepgram, options: {modle: x, api_key: '${NOT_SET}'}}\n"
        "  b: {}\n"
        "  c: {plugin: cartesia, options: {model: ink-2}}\n"
        "routes:\n"
        "  default: [a, b, d]\n"
        "  es: [c]\n"
        "breaker: {jitter: 2, consecutive_failures: 3s}\n"
        "retyr: {}\n"
    )
    message = error_of(path)
    lines = message.splitlines()
    assert lines[0] == f"{path} has 9 mistakes:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        *("line 2", "line 3", "line 3", "line 4", "line 7", "line 8", "line 9", "line 9"),
        "line 10",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "providers: {d: {plugin: '${NOT_SET}'}}\n",
        "providers: {d: {plugin: deepgram, options: {sample_rate: '${NOT_SET}'}}}\n",
        P + "routes: {default: ['${NOT_SET}']}\n",
        P + "retry: {max_concurrent_attempts: '${NOT_SET}'}\n",
    ],
)
def test_one_issue_is_reported_once(text: str, tmp_path: Path) -> None:
    """A variable that is not set causes no further issue at its place."""
    path = tmp_path / "stt.yaml"
    path.write_text(text)
    message = error_of(path)
    assert "\n" not in message
    assert "the environment variable NOT_SET is not set" in message


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.mkdir(), "is a directory; give the file in it"),
        (lambda path: os.mkfifo(path), "is not a regular file"),
        (lambda path: path.symlink_to(path), "cannot be read"),
    ],
    ids=["directory", "pipe", "loop"],
)
def test_other_kinds_of_files_are_refused(make: Any, reason: str, tmp_path: Path) -> None:
    """Reading a pipe would never end; reading a directory would raise."""
    path = tmp_path / "stt.yaml"
    make(path)
    assert reason in error_of(path)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    """The error suggests a file beside it with a similar name."""
    (tmp_path / "stt.yaml").write_text(P)
    message = error_of(tmp_path / "sst.yml")
    assert "there is no such file; did you mean" in message
    assert str(tmp_path / "stt.yaml") in message
    assert error_of(tmp_path / "no" / "stt.yaml").endswith("there is no such file")


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the system's reason."""
    path = tmp_path / "stt.yaml"
    path.write_text(P)

    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    assert error_of(path) == f"{path}: cannot be read: Permission denied"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (P, "by its path or as a dict, not as its text"),
        (b"stt.yaml", "not as a bytes"),
        (3, "not as a number"),
        ([P], "not as a list"),
        ("stt\0.yaml", "not a valid path"),
        ("", "must be a .yaml, .yml or .toml file"),
    ],
)
def test_other_sources_are_refused(source: Any, reason: str) -> None:
    """Only a path or a dict is a configuration."""
    assert reason in error_of(source)


@pytest.mark.parametrize("value", ["", None])
def test_no_source(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path and without the variable, the error says how to give one."""
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    assert "give the path of a YAML or TOML file, or set RESILIENT_STT_CONFIG" in error_of(None)


def test_a_dict_that_contains_itself() -> None:
    """It is nested without end, and refused like any deep one."""
    circle: dict[str, Any] = {}
    circle["providers"] = circle
    assert "nested more than 20 levels deep" in error_of(circle)


def test_strings_that_cannot_be_printed() -> None:
    """Errors contain no control characters and no halves of surrogate pairs."""
    message = error_of({"\ud800\x1b[31m": {}, "providers": {"d": {"plugin": "\x1b]0;x\x07" * 50}}})
    assert message.replace("\n", "").isprintable()
    message.encode()


# -- fuzzing

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.sampled_from(["${HOME}", "${", "3s", "deepgram", "default", "memory", "\ud800", "en"])
    | st.text(st.characters(), max_size=5)  # with halves of surrogate pairs
)
names = st.text(st.characters(), max_size=3)
words = st.sampled_from(
    [
        *("providers", "routes", "d", "plugin", "class", "options", "traits", "pace", "model"),
        *(
            "language",
            "default",
            "detect",
            "es",
            "health",
            "store",
            "record",
            "folder",
            "retranscribe",
            "skip_language_check",
        ),
        *Policies.__dataclass_fields__,
    ]
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | names, inner, max_size=4),
    max_leaves=12,
)
GOOD: dict[str, Any] = {
    "providers": {
        "d": {
            "plugin": "deepgram",
            "options": {"model": "nova-3", "language": "multi", "api_key": "k"},
            "traits": {"languages": ["en"], "pace": {"burst": "2s"}, "final_timeout": "2s"},
        },
        "e": {"plugin": "deepgram", "class": "STTv2", "skip_language_check": True},
    },
    "routes": {"default": ["d", "e"], "en": ["d"], "detect": ["d"]},
    "retry": {"outage_limit": "5m", "reconnect_budget": 2},
    "breaker": {"jitter": 0.1},
    "replay": {"window": "30s"},
    "watchdog": {"hedging": False},
    "failback": {"min_dwell": 3},
    "health": {"store": "memory"},
    "retranscribe": True,
    "record": {"folder": "calls", "text": False, "max_recordings": 5, "max_bytes": 10**6},
}


def load_or_refuse(source: Any) -> None:
    try:
        config = load(source)
    except ConfigurationError as error:
        str(error).encode()
        return
    assert isinstance(config, Config)
    assert config.routes["default"]
    for chain in config.routes.values():
        assert set(chain) <= set(config.providers)
    assert math.isfinite(config.policies.replay.window)


@given(st.dictionaries(words | names, trees, max_size=4))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_dict_is_loaded_or_refused(source: dict[str, Any]) -> None:
    """Loading raises nothing but a ConfigurationError."""
    load_or_refuse(source)


def places(value: Any) -> list[tuple[Any, ...]]:
    """All places of a tree, from the top down."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    return [(), *((key, *rest) for key, inner in items for rest in places(inner))]


def changed(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    copy = value.copy()
    copy[place[0]] = changed(value[place[0]], place[1:], new)
    return copy


@given(st.sampled_from(places(GOOD)[1:]), trees)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_change_is_loaded_or_refused(place: tuple[Any, ...], new: Any) -> None:
    """Any value in the place of one part of a valid configuration is handled."""
    load_or_refuse(changed(GOOD, place, new))


@given(st.data())
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.parametrize("suffix", [".yaml", ".toml"])
def test_any_text_is_loaded_or_refused(
    suffix: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any cut into a valid file, and any text written into it, is handled."""
    text = yaml.safe_dump(GOOD) if suffix == ".yaml" else TOML
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(len(text), begin + 8)))
    junk = data.draw(st.text(alphabet="[]{}:,-&*!|>'\"#%@` \n\t=ab1\x00\ufeff", max_size=6))
    path = tmp_path_factory.getbasetemp() / f"fuzz{suffix}"
    path.write_text(text[:begin] + junk + text[end:], encoding="utf-8")
    load_or_refuse(path)


TOML = """
retranscribe = true
[providers.d]
plugin = "deepgram"
options = {model = "nova-3", language = "multi", api_key = "k"}
[routes]
default = ["d"]
detect = ["d"]
[retry]
outage_limit = "5m"
"""


def test_the_fuzzed_configurations_are_valid(tmp_path: Path) -> None:
    """Unchanged they load, so the fuzzers begin near valid input."""
    assert load(GOOD).policies.replay.window == 30
    path = tmp_path / "stt.toml"
    path.write_text(TOML)
    assert load(path).retranscribe
