from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from resilient_stt.cli.live_check.attempt import attempt
from resilient_stt.cli.live_check.live_report import dead_routes, live_as_json
from resilient_stt.cli.live_check.live_rows import LiveRow, run_live
from resilient_stt.cli.live_check.spoken_sample import sample_in
from resilient_stt.cli.live_check.verdicts import verdict_of
from resilient_stt.config import Config, load
from resilient_stt.core.policy import Policies, ProviderTraits
from resilient_stt.testing import Drop, Fault, Hang, Refuse, Stall, Status
from resilient_stt.testing.fakes.assemblyai import FakeAssemblyAI
from resilient_stt.testing.fakes.cartesia import FakeCartesia
from resilient_stt.testing.fakes.deepgram import FakeDeepgram
from resilient_stt.testing.fakes.server import FakeServer

from ...support.fakes import FakeSTT

virtual_time = pytest.mark.stt_virtual_time

KEY = "a-key-that-nobody-may-see"


def configured(*servers: FakeServer, **given: Any) -> Config:
    """A configuration with the plugins of servers, by their names, that leads there."""
    providers = {s.plugin: {"plugin": s.plugin, "options": options_of(s)} for s in servers}
    return load({"providers": providers, **given})


def options_of(server: FakeServer) -> dict[str, Any]:
    return {**server.plugin_options, "base_url": server.url}


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CARTESIA", "DEEPGRAM", "ASSEMBLYAI", "OPENAI"):
        monkeypatch.setenv(f"{name}_API_KEY", KEY)


async def asked(config: Config) -> dict[str, LiveRow]:
    """The rows by provider, where each provider has one."""
    rows = await run_live(config, dict.fromkeys(config.providers, ""))
    by_name = {row.provider: row for row in rows}
    assert len(by_name) == len(rows)
    return by_name


@virtual_time
async def test_providers_that_work() -> None:
    """Each gets two seconds of speech once, and its times are shown, but no word and no key."""
    async with FakeCartesia() as cartesia, FakeDeepgram() as deepgram:
        config = configured(cartesia, deepgram)
        rows = await asked(config)
        for server in (cartesia, deepgram):
            (connection,) = server.connections
            assert connection.audio == pytest.approx(2.0, abs=0.1)
    for row in rows.values():
        assert (row.works, row.verdict, row.routes) == (True, "ok", ("default",))
        assert row.model
        assert 0 < (row.found.connect or 0) < 1
        assert 0 < (row.found.first_word or 0) < 3
        assert 0 <= (-1 if row.found.final is None else row.found.final) < 3
    printed = json.dumps(live_as_json(config, rows.values()))
    assert not any(text in printed for text in ("Hello", "Miguel", "Santos", KEY))


@virtual_time
@pytest.mark.parametrize(
    ("faults", "verdict"),
    [
        ([Status(401)], "wrong key: set DEEPGRAM_API_KEY"),
        ([Status(402)], "no credit left: look at the account"),
        ([Status(429)], "too many requests: try again later"),
        ([Status(503)], "reports an error of its own: status 503"),
        ([Refuse()], "cannot be reached: "),
        ([Hang()], "cannot be reached: timeout"),
        ([Stall()], "no words within 10 s"),
        ([Drop(at_audio=1.0)], "the connection broke"),
    ],
    ids=["401", "402", "429", "503", "refused", "hangs", "silent", "drops"],
)
async def test_a_provider_that_fails(faults: list[Fault], verdict: str) -> None:
    """The verdict says why in plain words; the other provider of the route is not affected."""
    async with FakeDeepgram(faults=faults) as deepgram, FakeCartesia() as cartesia:
        config = configured(deepgram, cartesia)
        rows = await asked(config)
    assert not rows["deepgram"].works
    assert rows["deepgram"].verdict.startswith(verdict)
    assert KEY not in rows["deepgram"].verdict
    assert rows["cartesia"].works
    assert dead_routes(config, rows.values()) == []
    assert dead_routes(config, [rows["deepgram"]]) == ["default"]


@virtual_time
async def test_a_port_where_nobody_listens() -> None:
    """The host is named, and what it did."""
    async with FakeDeepgram() as gone:
        config = configured(gone)
        port = gone.port
    row = (await asked(config))["deepgram"]
    assert row.verdict == f"cannot be reached: 127.0.0.1:{port}: connection refused"


@virtual_time
async def test_a_plugin_without_a_limit_of_its_own() -> None:
    """AssemblyAI's waits for ever for a server that hangs; it is left after two seconds."""
    pytest.importorskip("livekit.plugins.assemblyai")
    async with FakeAssemblyAI(faults=[Hang()]) as server:
        row = (await asked(configured(server)))["assemblyai"]
    assert row.verdict == "cannot be reached: no answer within 2 s"


@virtual_time
@pytest.mark.parametrize(
    ("provider", "works", "verdict"),
    [
        (FakeSTT(streaming=False, text="Hello", delay=1.0), True, "ok"),
        (FakeSTT(streaming=False, delay=1.0), False, "no words within 10 s"),
        (FakeSTT(streaming=False, delay=1e9), False, "cannot be reached: no answer within 10 s"),
    ],
    ids=["answers", "says nothing", "hangs"],
)
async def test_a_provider_that_cannot_stream(provider: FakeSTT, works: bool, verdict: str) -> None:
    """It gets the two seconds as a buffer, and has no time to connect."""
    found = await attempt(provider, "", sample_in(""), Policies())
    assert verdict_of(found, ProviderTraits(name="whisper"), words_expected=True) == (
        works,
        verdict,
    )
    assert found.connect is None
    assert (found.final is not None) is works


ROUTES: Mapping[str, Any] = {"default": ["deepgram"], "es": ["deepgram"], "fr": ["deepgram"]}


@virtual_time
async def test_each_language_of_a_provider_is_asked_for() -> None:
    """One stream for each; a language without a recording needs a connection only."""
    async with FakeDeepgram() as server:
        config = configured(server, routes=ROUTES)
        rows = await run_live(config, {"deepgram": "nova-3"})
        languages = [c.query["language"] for c in server.connections]
    assert [row.routes for row in rows] == [("default",), ("es",), ("fr",)]
    assert languages == ["en-US", "es", "fr"]
    assert all(row.works for row in rows)


@virtual_time
async def test_a_refused_key_is_tried_once() -> None:
    """The verdict stands for all languages: the key would be refused again."""
    async with FakeDeepgram(faults=[Status(401)]) as server:
        config = configured(server, routes=ROUTES)
        rows = await run_live(config, {"deepgram": "nova-3"})
        assert len(server.connections) == 1
    assert [row.verdict for row in rows] == ["wrong key: set DEEPGRAM_API_KEY"] * 3
    assert dead_routes(config, rows) == [*ROUTES]


def test_fakes(cli: Callable[..., Any], tmp_path: Path) -> None:
    """`--fake` needs no key, and prints the table."""
    (tmp_path / "stt.yaml").write_text("providers: {d: {plugin: deepgram}, c: {plugin: cartesia}}")
    result = cli("check", "stt.yaml", "--live", "--fake")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [line[0] for line in lines if line[-1:] == ["ok"]] == ["d", "c"]
    assert result.stdout.endswith("stt.yaml: every route works\n")


def test_a_route_without_anybody(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit status is 1, and the route is named, also if only a key is missing."""
    monkeypatch.delenv("DEEPGRAM_API_KEY")
    (tmp_path / "stt.yaml").write_text("providers: {d: {plugin: deepgram}}")
    result = cli("check", "stt.yaml", "--live")
    assert result.exit_code == 1
    assert "no key: set DEEPGRAM_API_KEY" in result.stdout
    assert result.stdout.endswith("nobody works in the route default\n")
    result = cli("check", "stt.yaml", "--live", "--json")
    assert result.exit_code == 1
    (row,) = json.loads(result.stdout)["providers"]
    assert (row["works"], row["final_s"]) == (False, None)


def test_options_that_need_live(cli: Callable[..., Any], tmp_path: Path) -> None:
    """Alone they would do nothing."""
    (tmp_path / "stt.yaml").write_text("providers: {d: {plugin: deepgram}}")
    result = cli("check", "stt.yaml", "--fake")
    assert (result.exit_code, result.stderr) == (
        2,
        "resilient-stt: --fake and --json need --live\n",
    )
