"""A valid configuration is loaded alike from every source, and made into providers."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from livekit.plugins import cartesia, deepgram

from resilient_stt import (
    ConfigurationError,
    Pace,
    Policies,
    RecordingOptions,
    ReplayPolicy,
    RetryPolicy,
)
from resilient_stt.config import VARIABLE, Config, load
from resilient_stt.config.models import Configuration, seconds
from resilient_stt.config.schema import json_schema

EXAMPLE = Path(__file__).parent.parent / "examples" / "stt.yaml"
ONE = {"d": {"plugin": "deepgram"}}


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (VARIABLE, "CARTESIA_API_KEY", "DEEPGRAM_API_KEY", "DEEPGRAM_MODEL"):
        monkeypatch.delenv(name, raising=False)


def yaml_of(text: str, folder: Path) -> Config:
    path = folder / "stt.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def same(first: Config, second: Config) -> bool:
    def essence(config: Config) -> tuple[Any, ...]:
        specs = {name: (s.factory, s.options, s.given) for name, s in config.providers.items()}
        return specs, config.routes, config.policies, config.retranscribe

    return essence(first) == essence(second)


YAML = """
providers:
  c: {plugin: cartesia, options: {model: ink-whisper, sample_rate: 8000}}
  d:
    plugin: deepgram
    options: {language: multi, keyterm: [a, "b"]}
    traits: {pace: {burst: 2s}, final_timeout: 500ms}
routes: {default: [c, d], es-mx: [d], no: [c], DETECT: [d]}
retranscribe: true
replay: {window: 1.5m}
retry: {reconnect_budget: 2, connect_timeout: 200ms}
failback: {enabled: false}
"""
TOML = """
retranscribe = true
[providers.c]
plugin = "cartesia"
options = {model = "ink-whisper", sample_rate = 8000}
[providers.d]
plugin = "deepgram"
options = {language = "multi", keyterm = ["a", "b"]}
traits = {pace = {burst = "2s"}, final_timeout = "500ms"}
[routes]
default = ["c", "d"]
es-mx = ["d"]
no = ["c"]
DETECT = ["d"]
[replay]
window = "1.5m"
[retry]
reconnect_budget = 2
connect_timeout = "200ms"
[failback]
enabled = false
"""


def test_every_source_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """YAML, TOML with a byte order mark, a dict and a path in the environment give the same."""
    of_yaml = yaml_of(YAML, tmp_path)
    toml = tmp_path / "stt.TOML"
    toml.write_bytes(b"\xef\xbb\xbf" + TOML.encode())
    data = yaml.safe_load(YAML.replace("no:", "'no':"))
    monkeypatch.setenv(VARIABLE, str(toml))
    for other in (load(str(tmp_path / "stt.yaml")), load(toml), load(data), load()):
        assert same(of_yaml, other)
    assert of_yaml.routes == {
        "default": ("c", "d"),
        "es-MX": ("d",),
        "no": ("c",),
        "detect": ("d",),
    }
    assert of_yaml.policies.replay == ReplayPolicy(window=90)
    assert of_yaml.policies.retry == RetryPolicy(reconnect_budget=2, connect_timeout=0.2)
    assert not of_yaml.policies.failback.enabled
    assert of_yaml.retranscribe


def test_defaults() -> None:
    """Without routes all providers serve in order, and every policy has its defaults."""
    config = load({"providers": {"b": {"plugin": "deepgram"}, "a": {"plugin": "cartesia"}}})
    assert config.routes == {"default": ("b", "a")}
    assert config.policies == Policies()
    assert not config.retranscribe


def test_every_field_of_every_policy_can_be_set() -> None:
    """Every section takes all fields of its policy."""
    given: dict[str, Any] = {"providers": ONE}
    for section in dataclasses.fields(Policies):
        policy = getattr(Policies(), section.name)
        given[section.name] = {
            field.name: getattr(policy, field.name) for field in dataclasses.fields(policy)
        }
    assert load(given).policies == Policies()
    for section in dataclasses.fields(Policies):
        for name, value in given[section.name].items():
            other = not value if isinstance(value, bool) else value * 1.0 or 1
            if isinstance(value, int) and not isinstance(value, bool):
                other = value + 1
            policy = getattr(
                load({"providers": ONE, section.name: {name: other}}).policies, section.name
            )
            assert getattr(policy, name) == other


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("60", 60), ("60s", 60), ("1.5s", 1.5), (" 200 ms ", 0.2), ("5m", 300), ("1h", 3600)),
        *((".5s", 0.5), ("0", 0), ("2.", 2), ("-3s", -3), (3, 3), (None, None)),
    ],
)
def test_durations(text: object, value: object) -> None:
    """Durations are seconds or a number with a unit; other values are not converted."""
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "s", "1 min", "1,5s", "1e3s", "1S", "1m30s", "--1", "inf"])
def test_other_durations_are_refused(text: str) -> None:
    """Any other text raises a ValueError."""
    with pytest.raises(ValueError, match="must be a duration"):
        seconds(text)


@given(st.floats(0, 1e6, allow_subnormal=False))
def test_a_number_as_text_is_the_number(value: float) -> None:
    """A number has the same value with and without `s`."""
    text = f"{value:.9f}"
    assert seconds(text) == seconds(f"{text}s") == float(text)


def test_yaml_is_version_1_2(tmp_path: Path) -> None:
    """`no` is a language as a key and as a value, and an alias may be used twice."""
    config = yaml_of(
        "providers:\n"
        "  d: &d {plugin: deepgram, options: {language: no}, traits: {languages: [no, yes]}}\n"
        "  e: *d\n"
        "routes: {default: &r [d, e], no: *r}\n",
        tmp_path,
    )
    assert config.providers["e"].options == {"language": "no"}
    assert config.routes["no"] == ("d", "e")


def test_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables are replaced at any depth; their values are converted, not replaced again."""
    monkeypatch.setenv("RATE", "8000")
    monkeypatch.setenv("HARD", "${RATE} $${ }")
    monkeypatch.setenv("EMPTY", "")
    config = yaml_of(
        "providers:\n"
        "  d:\n"
        "    plugin: deepgram\n"
        "    options:\n"
        "      sample_rate: ${RATE}\n"
        "      tags: ['${HARD}', '$${RATE}', 'a${NOT_SET:-b}c${EMPTY:-}', '$', '${EMPTY:-a:-b}']\n"
        "retranscribe: ${NOT_SET:-true}\n"
        "retry: {reconnect_budget: '${NOT_SET:-7}', connect_timeout: '${NOT_SET:-2}s'}\n",
        tmp_path,
    )
    assert config.providers["d"].options == {
        "sample_rate": 8000,
        "tags": ["${RATE} $${ }", "${RATE}", "abc", "$", "a:-b"],
    }
    assert config.retranscribe
    assert config.policies.retry == RetryPolicy(reconnect_budget=7, connect_timeout=2)


def test_providers_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Providers in a route are made in order, with keys from options or the environment."""
    monkeypatch.setenv("DEEPGRAM_API_KEY", "k")
    config = load(
        {
            "providers": {
                "unused": {"plugin": "cartesia"},
                "v2": {"plugin": "deepgram", "class": "STTv2"},
                "d": {"plugin": "deepgram", "options": {"model": "nova-2"}},
                "c": {"plugin": "cartesia", "options": {"api_key": "k", "model": "ink-whisper"}},
            },
            "routes": {"default": ["c", "v2"], "es": ["d"]},
        }
    )
    made = config.make_providers()
    assert list(made) == config.used == ["v2", "d", "c"]
    assert [type(p) for p in made.values()] == [deepgram.STTv2, deepgram.STT, cartesia.STT]
    assert made["d"].model == "nova-2"


def test_all_missing_keys_are_reported(tmp_path: Path) -> None:
    """Loading needs no keys; making providers needs them, and lists those that are missing."""
    config = yaml_of("providers:\n  c: {plugin: cartesia}\n  d: {plugin: deepgram}\n", tmp_path)
    with pytest.raises(ConfigurationError) as raised:
        config.make_providers()
    assert str(raised.value) == (
        f"{tmp_path / 'stt.yaml'} has 2 mistakes:\n"
        "  line 2: providers.c: no key: set CARTESIA_API_KEY\n"
        "  line 3: providers.d: no key: set DEEPGRAM_API_KEY"
    )


def test_options_that_a_plugin_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the plugin's own words, without values from variables and without secrets."""
    monkeypatch.setenv("MODEL", "ink-whisper-s3cr3t")
    options = {"model": "${MODEL}", "turn_end_timeout_ms": 700, "api_key": "s3cr3t"}
    config = load({"providers": {"c": {"plugin": "cartesia", "options": options}}})
    with pytest.raises(ConfigurationError) as raised:
        config.make_providers()
    assert "providers.c: cartesia.STT refuses its options: The 'turn_end" in str(raised.value)
    assert "model '***'" in str(raised.value)
    assert "s3cr3t" not in str(raised.value)


def test_nothing_secret_in_a_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    """No repr of a configuration, its providers or its document shows values of options."""
    monkeypatch.setenv("KEY", "s3cr3t")
    options = {"api_key": "${KEY}", "model": "${KEY}", "base_url": "https://u:s3cr3t@host"}
    config = load({"providers": {"d": {"plugin": "deepgram", "options": options}}})
    for shown in (config, config.providers, config.document, [config], {"c": config}):
        assert "s3cr3t" not in repr(shown)
        assert "s3cr3t" not in str(shown)
    routes = "routes={'default': ('d',)}"
    assert repr(config) == f"Config({routes}, retranscribe=False, store=MemoryHealth())"
    with_redis = {"store": "redis://s3cr3t:s3cr3t@host:6379/0"}
    config = load({"providers": {"d": {"plugin": "deepgram"}}, "health": with_redis})
    assert repr(config.store) == "RedisHealth('redis://host:6379/0')"
    assert "s3cr3t" not in repr(config)


def test_given_traits_override_the_table() -> None:
    """Traits that are left out have their values from the table."""
    traits = {
        "pace": {"burst": "2s"},
        "interim_results": False,
        "manual_flush": False,
        "final_timeout": "2s",
    }
    options = {"api_key": "k"}
    config = load(
        {"providers": {"d": {"plugin": "deepgram", "options": options, "traits": traits}}}
    )
    found = config.traits("d", config.make_providers()["d"])
    assert found.pace == Pace(burst=2, rate=2.0)
    assert (found.interim_results, found.manual_flush, found.final_timeout) == (False, False, 2)
    assert (found.name, found.end_of_turn_timeout) == ("d", 0)


@pytest.mark.parametrize(
    ("options", "variable"),
    [({}, "DEEPGRAM_API_KEY"), ({"api_key": "${SECOND}"}, "SECOND"), ({"api_key": "k"}, "")],
)
def test_where_the_key_comes_from(
    options: dict[str, str], variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Advice about a refused key names the variable that the key came from, and no other."""
    monkeypatch.setenv("SECOND", "k")
    monkeypatch.setenv("DEEPGRAM_API_KEY", "k")
    config = load({"providers": {"d": {"plugin": "deepgram", "options": options}}})
    assert config.traits("d", config.make_providers()["d"]).key_variable == variable


@pytest.mark.parametrize(
    ("entry", "route"),
    [
        ({"plugin": "deepgram"}, "es-419"),
        ({"plugin": "deepgram", "options": {"language": "multi"}}, "es"),
        ({"plugin": "deepgram", "options": {"language": "multi"}}, "detect"),
        ({"plugin": "deepgram", "traits": {"language_detection": True}}, "detect"),
        ({"plugin": "deepgram", "skip_language_check": True}, "detect"),
        ({"plugin": "deepgram", "skip_language_check": True}, "sw"),
        ({"plugin": "deepgram", "options": {"model": "nova-9"}}, "sw"),
        ({"plugin": "deepgram", "options": {"model": "nova-3-2025-01-01"}}, "uk"),
        ({"plugin": "deepgram", "class": "STTv2"}, "detect"),
        ({"plugin": "deepgram", "traits": {"languages": ["sw"]}}, "sw-KE"),
        ({"plugin": "cartesia", "options": {"language": "pt-BR"}}, "pt"),
        ({"plugin": "cartesia", "options": {"model": "ink-2", "language": "en-GB"}}, "en-IN"),
        ({"plugin": "cartesia", "options": {"model": "ink-whisper"}}, "zh-Hant-TW"),
        (
            {
                "plugin": "cartesia",
                "options": {"model": "ink-2", "language": "fr"},
                "skip_language_check": True,
            },
            "fr",
        ),
    ],
)
def test_providers_that_are_allowed_in_a_route(entry: dict[str, Any], route: str) -> None:
    """A provider is allowed if it supports the language or a wider one, or if nothing is known."""
    source = {"providers": {"p": entry, **ONE}, "routes": {"default": ["d"], route: ["p"]}}
    assert load(source).routes[route] == ("p",)


# -- schema


def validator() -> jsonschema.Draft202012Validator:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_example_is_loaded_and_fits_the_schema() -> None:
    """The example loads, has every section, and its values are the defaults."""
    config = load(EXAMPLE)
    assert config.policies == Policies()
    assert list(config.routes) == ["default", "es", "zh-Hant", "detect"]
    data = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    validator().validate(data)
    assert set(data) == set(Configuration.model_fields) - {"routing"}


@pytest.mark.parametrize("value", [3, 2.5, "60s", "1.5 m", "200ms", "7", "${WINDOW}", "${W:-3}s"])
def test_the_schema_knows_durations(value: object) -> None:
    """The schema takes numbers, texts with a unit, and variables as durations."""
    validator().validate({"providers": ONE, "replay": {"window": value}})


@pytest.mark.parametrize(
    "wrong",
    [
        {"providers": {}},
        {"providers": {"d": {}}},
        {"providers": ONE, "provders": {}},
        {"providers": ONE, "replay": {"window": "60x"}},
        {"providers": ONE, "replay": {"window": -1}},
        {"providers": ONE, "replay": {"windw": 1}},
        {"providers": ONE, "breaker": {"consecutive_failures": "3s"}},
        {"providers": ONE, "breaker": {"consecutive_failures": 2.5}},
        {"providers": ONE, "routes": {"default": []}},
        {"providers": ONE, "routes": {"en": ["d"]}},
        {"providers": ONE, "routes": {}},
        {"providers": {"my own": {"plugin": "deepgram"}}},
        {"providers": {"d": {"plugin": "deepgram", "traits": {"languages": []}}}},
        {"providers": ONE, "health": {"store": "redis://"}},
        {"providers": {"d": {"plugin": "deepgram", "kind": "STT"}}},
        {"providers": {"d": {"plugin": "deepgram", "traits": {"pace": {"brust": 1}}}}},
    ],
)
def test_the_schema_refuses_what_load_refuses(wrong: dict[str, Any]) -> None:
    """Unknown keys, unknown units, and units on values that are no durations are refused."""
    assert not validator().is_valid(wrong)
    with pytest.raises(ConfigurationError):
        load(wrong)


def test_the_schema_describes_fields() -> None:
    """Descriptions are the docstrings of the code, and defaults are those of the policies."""
    schema = json_schema()
    entries = schema["$defs"]["RetryPolicy"]["properties"]
    assert "a connection attempt may take" in entries["connect_timeout"]["description"]
    assert entries["outage_limit"]["default"] == RetryPolicy().outage_limit
    assert (
        "such as `STTv2`" in schema["$defs"]["ProviderEntry"]["properties"]["class"]["description"]
    )
    json.dumps(schema)


# -- the documentation


def page() -> str:
    return (EXAMPLE.parents[1] / "docs" / "configuration.md").read_text(encoding="utf-8")


def test_the_documented_configuration_is_loaded(tmp_path: Path) -> None:
    """It loads, and the table beside it has every key."""
    text = page().split("```yaml\n")[1].split("```")[0]
    config = yaml_of(text, tmp_path)
    assert list(config.routes) == ["default", "es", "zh-Hant", "detect"]
    assert config.providers["deepgram"].options == {"model": "nova-3"}
    for key in Configuration.model_fields:
        assert f"`{key}" in page()


def test_the_real_error_is_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error in the documentation is the one that its example raises."""
    monkeypatch.chdir(tmp_path)
    Path("stt.yaml").write_text(
        "providers:\n"
        "  cartesia: {plugin: cartesia, options: {modle: ink-whisper}}\n"
        "  deepgram: {plugin: deepgram}\n"
        "routes:\n"
        "  default: [cartesia, deepgram]\n"
        "  es: [deepgrm]\n"
        "retyr: {}\n"
    )
    with pytest.raises(ConfigurationError) as raised:
        load("stt.yaml")
    shown = page().split("<!-- mistakes:begin -->\n```\n")[1].split("\n```")[0]
    assert shown == f"resilient-stt: {raised.value}"


def test_what_is_recorded() -> None:
    """Only the folder is needed; without the section, nothing is recorded."""
    assert load({"providers": ONE}).recording is None
    assert load({"providers": ONE, "record": {"folder": "c"}}).recording == RecordingOptions("c")
    given = {"folder": "c", "text": False, "max_recordings": 5, "max_bytes": 600}
    recording = load({"providers": ONE, "record": given}).recording
    assert recording == RecordingOptions("c", text=False, max_recordings=5, max_bytes=600)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({}, "record: 'folder' is missing"),
        ("calls/", "record: must be a mapping, not a text"),
        ({"folder": ""}, "record.folder: must be the path of a folder, not ''"),
        ({"folder": "c", "max_recordings": 0}, "record.max_recordings: must be 1 or more, not 0"),
        ({"folder": "c", "max_bytes": True}, "record.max_bytes: must be a number, not true"),
        ({"folder": "c", "txt": False}, "record: unknown key 'txt'; did you mean 'text'?"),
    ],
)
def test_what_cannot_be_recorded(record: object, why: str) -> None:
    """A mistake is told with its place."""
    with pytest.raises(ConfigurationError, match=re.escape(why)):
        load({"providers": ONE, "record": record})
