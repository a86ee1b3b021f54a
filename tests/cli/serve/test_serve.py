from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from subprocess import PIPE
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from resilient_stt.cli.chaos.fault_kinds import FAULT_KINDS
from resilient_stt.cli.chaos.fault_rows import make_rows
from resilient_stt.cli.fake_names import is_installed
from resilient_stt.cli.fault_names import FAULT_CLASSES, fault_name
from resilient_stt.cli.serve.control import PATH, control_app
from resilient_stt.cli.serve.fault_requests import fault_from
from resilient_stt.cli.serve.serve_command import ports_of
from resilient_stt.testing.fakes.cartesia import FakeCartesia
from resilient_stt.testing.fakes.deepgram import FakeDeepgram
from resilient_stt.testing.fakes.registry import FAKES
from resilient_stt.testing.faults import (
    Drop,
    DropAfterClose,
    Fault,
    Garbage,
    InBandError,
    Refuse,
    Stall,
    Status,
)

Cli = Callable[..., Any]
HOST = "127.0.0.1"
SECRET = "a-key-that-nobody-may-see"
ANY_PORTS = ("cartesia=0", "deepgram=0", "--control-port", "0")
SERVE = [sys.executable, "-m", "resilient_stt.cli", "serve", *ANY_PORTS]
HANDSHAKE = (
    b"GET /stt/websocket?model=ink-whisper&encoding=pcm_s16le&sample_rate=16000 HTTP/1.1\r\n"
    b"Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-API-Key: any\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)
HEARING = {"model": "ink-whisper", "encoding": "pcm_s16le", "sample_rate": "16000"}


# --- a fault from JSON ---


def test_every_fault_of_the_matrix_can_be_injected() -> None:
    """`serve` and `chaos` know the same classes of faults, by the same names."""
    tried = {type(f) for row in make_rows(FAULT_KINDS, 1) for c in row.cases for f in c.plan.first}
    assert set(FAULT_CLASSES.values()) == tried
    for name in FAULT_KINDS:
        needed = {"seconds": 3.0} if name == "latency" else {}
        assert fault_name(fault_from(name, needed, now=0.0)) == name


@pytest.mark.parametrize(
    ("name", "parameters", "fault"),
    [
        ("stall", {}, Stall(at_time=50.0)),
        ("stall", {"after": 3, "lasts": 6.0}, Stall(at_time=53.0, until=59.0)),
        ("refuse", {"lasts": 2}, Refuse(at_time=50.0, until=52.0)),
        ("status", {"code": 401}, Status(401, at_time=50.0)),
        ("status-401", {}, Status(401, at_time=50.0)),
        ("garbage-no-text", {"at_word": 3}, Garbage("no_text", at_word=3)),
        ("drop", {"at_word": 12, "part": 0.5}, Drop(at_word=12, part=0.5)),
        ("drop", {"code": 1011, "connections": [0, 2]}, Drop(1011, connections={0, 2}, at_time=50)),
        ("in-band-error", {"code": None, "at_audio": 1}, InBandError(None, at_audio=1.0)),
        ("drop-after-close", {}, DropAfterClose()),
    ],
)
def test_a_fault_from_json(name: str, parameters: dict[str, Any], fault: Fault) -> None:
    """Without a trigger it begins now. `after` counts from now, `lasts` from the begin."""
    assert fault_from(name, parameters, now=50.0) == fault


@pytest.mark.parametrize(
    ("name", "parameters", "says"),
    [
        (None, {}, "fault must be one of refuse, hang, status, drop, .*, not None"),
        ("stal", {}, "fault must be one of .*, not 'stal'"),
        (["stall"], {}, "fault must be one of"),
        ("stall", {"code": 3}, "stall has no parameter 'code'; it has connections, at_word, part"),
        ("stall", {"at_time": 3}, "no parameter 'at_time'; it has .*after, lasts"),
        ("stall", {"after": "soon"}, "stall, parameter 'after': Input should be a valid number"),
        ("stall", {"after": -1}, "stall, parameter 'after'"),
        ("latency", {"seconds": float("nan")}, "latency, parameter 'seconds'.* finite"),
        ("stall", {"lasts": 0}, "stall, parameter 'lasts'"),
        ("stall", {"at_word": 1.5}, "stall, parameter 'at_word'"),
        ("stall", {"after": 1, "at_word": 3}, "give only one of after and at_word"),
        ("drop", {"connections": 3}, "drop, parameter 'connections': Input should be a valid list"),
        ("drop", {"code": 99}, "99 is not a websocket close code"),
        ("status", {}, "status, parameter 'code': Field required"),
        ("status-9", {}, "code must be a status from 300"),
        ("status-401", {"code": 402}, "status-401 has the parameter 'code' in its name"),
        ("garbage-noise", {}, "fault must be one of"),
        ("stall-3", {}, "fault must be one of"),
        ("garbage", {"what": "noise"}, "'unparsable', 'no_text'"),
        ("drop-after-close", {"after": 3}, "closing message alone"),
    ],
)
def test_a_wrong_fault_is_explained(name: object, parameters: dict[str, Any], says: str) -> None:
    """The message uses the names of the request."""
    with pytest.raises(ValueError, match=says):
        fault_from(name, parameters, now=0.0)


# --- the control endpoint ---


@pytest.fixture
async def endpoint() -> AsyncIterator[tuple[TestClient[Any, Any], FakeCartesia]]:
    """A client of the control endpoint, and the fake Cartesia that it controls."""
    async with FakeCartesia() as cartesia, FakeDeepgram() as deepgram:
        app = control_app({"cartesia": cartesia, "deepgram": deepgram})
        async with TestClient(TestServer(app)) as client:
            yield client, cartesia


@contextlib.asynccontextmanager
async def connected(cartesia: FakeCartesia) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A connection to a fake provider."""
    headers = {"X-API-Key": SECRET}
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{cartesia.url}{cartesia.path}", params=HEARING, headers=headers) as ws,
    ):
        yield ws


Endpoint = tuple[TestClient[Any, Any], FakeCartesia]


async def test_faults_are_injected_and_removed(endpoint: Endpoint) -> None:
    """A drop ends open connections and a refusal new ones, until the faults are removed."""
    client, cartesia = endpoint
    async with connected(cartesia) as websocket:
        answer = await client.post(PATH, json={"provider": "cartesia", "fault": "drop"})
        assert answer.status == 201
        assert (await answer.json())["added"].startswith("Drop(at_time=")
        message = await websocket.receive(timeout=5)
        assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    async with connected(cartesia):
        pass  # a drop happens once: new connections are accepted
    await client.post(PATH, json={"provider": "cartesia", "fault": "refuse"})
    with pytest.raises(aiohttp.ClientConnectionError):
        async with connected(cartesia):
            raise AssertionError("unreachable")
    cleared = await client.delete(PATH)
    assert [state["faults"] for state in (await cleared.json()).values()] == [[], []]
    async with connected(cartesia):
        pass


async def test_only_open_connections_have_the_fault(endpoint: Endpoint) -> None:
    """With `only_open`, a later connection works. The triggered fault is shown."""
    client, cartesia = endpoint
    async with connected(cartesia) as websocket:
        request = {"provider": "cartesia", "fault": "stall", "only_open": True}
        assert (await client.post(PATH, json=request)).status == 201
        await websocket.send_str("finalize")
        async with connected(cartesia) as other:
            await other.send_str("finalize")
            answer = await other.receive_json(timeout=5)
            assert answer["type"] == "flush_done"
    state = (await (await client.get(PATH)).json())["cartesia"]
    (triggered,) = state["triggered"]
    assert triggered["fault"].startswith("Stall(connections=frozenset({0}), at_time=")
    assert triggered["connection"] == 0
    assert [connection["sent"] for connection in state["connections"]] == [0, 1]


async def test_the_faults_of_one_provider_are_removed(endpoint: Endpoint) -> None:
    """Those of the other provider stay."""
    client, _ = endpoint
    for provider in ("cartesia", "deepgram"):
        await client.post(PATH, json={"provider": provider, "fault": "hang", "after": 60})
    await client.delete(PATH, params={"provider": "cartesia"})
    state = await (await client.get(PATH)).json()
    assert state["cartesia"]["faults"] == []
    (fault,) = state["deepgram"]["faults"]
    assert fault.startswith("Hang(at_time=6")


async def test_connections_are_shown_without_secrets(endpoint: Endpoint) -> None:
    """The state has times and amounts of data of each connection, but no API key and no text."""
    client, cartesia = endpoint
    async with connected(cartesia) as websocket:
        await websocket.send_bytes(bytes(3200))
        await websocket.send_str("finalize")
        await websocket.receive(timeout=5)
        text = await (await client.get(PATH)).text()
        (connection,) = json.loads(text)["cartesia"]["connections"]
        assert connection["closed"] is None
        assert (connection["audio_s"], connection["texts"]) == (0.1, 1)
    assert SECRET not in text
    assert "finalize" not in text
    assert json.loads(text)["deepgram"]["connections"] == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"stall", "not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[]", "not a JSON object; send an object such as"),
        (b"{}", "provider must be one of cartesia, deepgram, not None"),
        (b'{"provider": "cartesia", "fault": "x"}', "fault must be one of"),
        (b'{"provider": "cartesia", "fault": "stall", "at_word": 5000}', "no word 5000"),
        (b'{"provider": "cartesia", "fault": "stall", "only_open": 1}', "only_open must be true"),
        (
            b'{"provider": "cartesia", "fault": "refuse", "only_open": true}',
            "before a connection is open",
        ),
    ],
)
async def test_a_bad_request_is_explained(endpoint: Endpoint, body: bytes, says: str) -> None:
    """The status is 400, the body says what is wrong, and no fault is added."""
    client, cartesia = endpoint
    answer = await client.post(PATH, data=body)
    assert answer.status == 400
    assert says in (await answer.json())["error"]
    assert not list(cartesia.faults)
    assert (await client.delete(PATH, params={"provider": "x"})).status == 400


# --- the command ---


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which another socket listens."""
    with socket.create_server((HOST, 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("which", [0, 1, 3], ids=["cartesia", "deepgram", "control"])
def test_a_taken_port_is_one_line(cli: Cli, taken: int, which: int) -> None:
    """The error names the port and says what to do."""
    arguments = [*ANY_PORTS]
    arguments[which] = arguments[which].replace("0", str(taken))
    result = cli("serve", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert f"cannot listen on 127.0.0.1, port {taken}: Address already in use" in line
    assert "choose another host or port" in line


def test_addresses_that_other_machines_reach_are_warned_of(cli: Cli, taken: int) -> None:
    """There is a warning for each address that is not loopback."""
    hosts = ("--host", "0.0.0.0", "--control-host", "localhost")
    result = cli("serve", f"soniox={taken}", *hosts)
    (warning, _) = result.stderr.splitlines()
    assert "other machines can connect to --host 0.0.0.0" in warning


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sonix"], "there is no fake provider 'sonix'; did you mean 'soniox'?"),
        (["soniox=", "xai"], "soniox=: the port must be a number from 0 to 65535"),
        (["soniox=-1"], "soniox=-1: the port must be a number from 0 to 65535"),
        (["soniox=65535", "xai"], "xai: the port must be a number from 0 to 65535"),
        (["soniox", "soniox=9000"], "soniox is named twice; each provider has one address"),
    ],
)
def test_a_wrong_provider_is_one_line(cli: Cli, arguments: list[str], says: str) -> None:
    """A name that there is not, an impossible port, or the same provider twice."""
    result = cli("serve", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"resilient-stt: {says}\n"


def test_providers_without_a_port_have_the_following_ones() -> None:
    """The first has 8701. `all` is every fake; a free port leaves the count as it is."""
    assert ports_of(["soniox", "xai"]) == {"soniox": 8701, "xai": 8702}
    assert ports_of(["soniox=9000", "xai"]) == {"soniox": 9000, "xai": 9001}
    assert ports_of(["soniox=0", "xai"]) == {"soniox": 0, "xai": 8701}
    assert ports_of(["all"]) == {name: 8701 + number for number, name in enumerate(FAKES)}


def test_every_provider_is_served_and_has_faults() -> None:
    """`serve all` prints how each plugin connects, and the control endpoint knows each of them."""
    if not all(map(is_installed, FAKES)):
        pytest.skip("needs the extra providers")
    command = [*SERVE[:4], *(f"{name}=0" for name in FAKES), "--control-port", "0"]
    with subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stdout is not None
        usage = [process.stdout.readline() for _ in range(len(FAKES) + 1)]
        url = usage[-1].split()[-1]
        with urllib.request.urlopen(url, timeout=30) as answer:
            state = json.load(answer)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert [line.split()[0] for line in usage] == [*FAKES, "faults"]
    assert all(re.search(r"127\.0\.0\.1:\d+", line) for line in usage)
    assert [*state] == [*FAKES]


def test_signals_end_it_cleanly() -> None:
    """It prints how to connect the plugins. Ctrl-C and SIGTERM end it with status 0 and without
    output, also while a client is connected. Afterwards nothing listens on its ports."""
    ends = (signal.SIGINT, signal.SIGTERM)
    started = [subprocess.Popen(SERVE, stdout=PIPE, stderr=PIPE, text=True) for _ in ends]
    for process, end in zip(started, ends, strict=True):
        with process:
            assert process.stdout is not None
            usage = "".join(process.stdout.readline() for _ in range(6))
            assert "deepgram.STT(api_key=" in usage
            ports = [int(port) for port in re.findall(rf"http://{HOST}:(\d+)", usage)]
            with socket.create_connection((HOST, ports[0])) as agent:
                agent.sendall(HANDSHAKE)
                assert agent.recv(1000).startswith(b"HTTP/1.1 101 ")
                process.send_signal(end)
                _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        assert f"base_url='http://{HOST}:{ports[0]}'" in usage
        assert f"base_url='http://{HOST}:{ports[1]}/v1/listen'" in usage
        for port in ports:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((HOST, port))
