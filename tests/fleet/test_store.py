"""Health stores without a server: their addresses, and the keys of providers."""

from __future__ import annotations

import asyncio
import importlib.util
import traceback
from dataclasses import dataclass
from typing import Any

import pytest
from livekit.agents import stt
from livekit.plugins import cartesia, deepgram

from resilient_stt import ConfigurationError, MemoryHealth, RedisHealth, ResilientSTT
from resilient_stt.core.health.breaker import Breaker
from resilient_stt.core.health.provider import ProviderHealth
from resilient_stt.core.policy import BreakerPolicy
from resilient_stt.fleet.identity import identify, provider_key
from resilient_stt.fleet.sync import FleetSync

from ..support.fakes import FakeSTT

# -- addresses


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost", "redis://localhost"),
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://me:s3cr3t@host:1/2", "redis://host:1/2"),
        ("redis://:s3c%40r3t@host", "redis://host"),
        ("rediss://:s3cr3t@[::1]:6380/1", "rediss://[::1]:6380/1"),
        ("rediss://host?ssl_cert_reqs=none", "rediss://host"),
        ("unix:///run/redis.sock?db=3&password=s3cr3t", "unix:///run/redis.sock"),
        ("unix://me:s3cr3t@/run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    """The repr has no user, no password and no options."""
    assert repr(RedisHealth(url)) == f"RedisHealth({shown!r})"


@pytest.mark.parametrize(
    ("url", "part"),
    [
        (7, "the URL of a Redis must be a string"),
        ("", "must begin with redis://, rediss:// or unix://"),
        ("host:6379", "must begin with redis://"),
        ("http://s3cr3t@host", "must begin with redis://"),
        ("redis://", "needs its host"),
        ("redis:///0", "needs its host"),
        ("redis://:s3cr3t@:6379", "needs its host"),
        ("redis://host:0", "not a valid URL"),
        ("redis://host:s3cr3t", "not a valid URL"),
        ("redis://host:99999", "not a valid URL"),
        ("redis://[::1", "not a valid URL"),
        ("redis://:s3cr/3t@host", "not a valid URL"),
        ("redis://:s3cr3t#1@host", "not a valid URL"),
        ("redis://:s3cr3t@host/zero", "must end with the number of a database"),
        ("redis://:s3cr3t@host /0", "must not contain spaces"),
        ("redis://host\n", "must not contain spaces"),
        ("redis://host?s3cr3t=1", "has options"),
        ("redis://host?db=s3cr3t", "has options"),
        ("unix://", "needs its path"),
        ("unix://run/redis.sock", "needs its path"),
    ],
)
def test_invalid_addresses_are_refused(url: Any, part: str) -> None:
    """The error says what to write, and repeats nothing of the address."""
    with pytest.raises(ConfigurationError, match=part) as raised:
        RedisHealth(url)
    shown = "".join(traceback.format_exception(raised.value))
    assert "s3cr3t" not in shown.replace(f'"{url}"', "")


def test_a_missing_package_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only users of Redis need it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r'pip install "livekit-resilient-stt\[redis\]"'):
        RedisHealth("redis://localhost")


def test_the_client_is_imported_only_when_needed() -> None:
    """Most users have no fleet."""
    import subprocess
    import sys

    check = "import sys, resilient_stt; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


@pytest.mark.parametrize("wrong", ["redis://localhost", 7, RedisHealth])
async def test_other_objects_are_no_store(wrong: Any) -> None:
    """The error says what to give."""
    with pytest.raises(ConfigurationError, match="health must be a health store, such as R"):
        ResilientSTT([FakeSTT()], health=wrong)


async def test_the_sync_of_memory_does_nothing() -> None:
    """The default starts no task."""
    sync = MemoryHealth().sync([("k", ProviderHealth(Breaker(BreakerPolicy())))], 0.05)
    async with sync.running():
        await sync.first_read()
        sync.refresh()
        assert len(asyncio.all_tasks()) == 1
    await sync.aclose()
    assert repr(MemoryHealth()) == "MemoryHealth()"


def test_a_refresh_without_a_loop_does_nothing() -> None:
    """`prewarm` may be called before a worker has an event loop."""
    sync = RedisHealth("redis://localhost").sync(
        [("k", ProviderHealth(Breaker(BreakerPolicy())))], 0.05
    )
    sync.refresh()
    assert repr(sync) == "FleetSync('redis://localhost', users=0, lost=False)"


@pytest.mark.parametrize("turns", range(5))
async def test_a_stream_can_be_closed_while_it_waits_for_the_first_read(turns: int) -> None:
    """Also in the very moment when Redis answers: else the stream would never end."""
    health = ProviderHealth(Breaker(BreakerPolicy()))
    sync = RedisHealth("redis://127.0.0.1:1").sync([("k", health)], 10.0)
    assert isinstance(sync, FleetSync)

    async def stream() -> None:
        await sync.first_read()
        await asyncio.Event().wait()

    streaming = asyncio.create_task(stream())
    await asyncio.sleep(0)
    sync._settled.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    streaming.cancel()
    await asyncio.wait({streaming}, timeout=10)
    assert streaming.cancelled()


# -- keys of providers


def key(provider: stt.STT[Any], variable: str = "", **options: Any) -> str:
    return provider_key(provider, options, variable)


def test_the_same_provider_has_the_same_key() -> None:
    """It does not matter whether code, options or the environment configured it."""
    one, two = (cartesia.STT(model="ink-whisper", api_key="k") for _ in range(2))
    assert key(one) == key(two) == key(one, model="ink-whisper", api_key="k")
    assert key(one).startswith("cartesia:ink-whisper:")
    assert len(key(one)) == len("cartesia:ink-whisper:") + 16


def test_another_provider_has_another_key() -> None:
    """Model, address, credential and language each make a difference."""
    url = "https://api.eu.deepgram.com/v1/listen"
    made = [
        deepgram.STT(api_key="k"),
        deepgram.STT(api_key="other"),
        deepgram.STT(api_key="k", model="nova-2"),
        deepgram.STT(api_key="k", base_url=url),
        deepgram.STT(api_key="k", language="es"),
        cartesia.STT(api_key="k", model="ink-whisper"),
        cartesia.STT(api_key="other", model="ink-whisper"),
        cartesia.STT(api_key="k", model="ink-whisper", base_url="https://example.com"),
        cartesia.STT(api_key="k", model="ink-whisper", language="es"),
    ]
    assert len({key(one) for one in made}) == len(made)


def test_a_credential_from_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is used if neither the options nor the provider has another one."""
    fake = FakeSTT()
    monkeypatch.setenv("FAKE_KEY", "one")
    first = key(fake, "FAKE_KEY")
    monkeypatch.setenv("FAKE_KEY", "two")
    assert key(fake, "FAKE_KEY") != first
    assert key(fake, "FAKE_KEY", api_key="x") == key(fake, api_key="x")


@dataclass
class _Options:
    region: str = "east"
    speech_key: str = "k"
    key_terms: str = "x"
    max_tokens: int = 5
    client: object = None


class _Client:
    def __init__(self, base_url: str = "https://one", api_key: str = "k") -> None:
        self._base_url = base_url
        self.api_key = api_key


class _Odd(FakeSTT):
    """A plugin that keeps its server and its account in its own way."""

    def __init__(self, **kept: Any) -> None:
        super().__init__()
        vars(self).update(kept)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"_config": _Options()}, {"_config": _Options(region="west")}),
        ({"_config": _Options()}, {"_config": _Options(speech_key="other")}),
        ({"_client": _Client()}, {"_client": _Client("https://two")}),
        ({"_client": _Client()}, {"_client": _Client(api_key="other")}),
        ({"_model_endpoint": "a"}, {"_model_endpoint": "b"}),
        ({"_credentials_info": {"id": 1}}, {"_credentials_info": {"id": 2}}),
        ({"server": "a"}, {"server": "b"}),
    ],
)
def test_plugins_keep_servers_and_accounts_in_their_own_ways(
    one: dict[str, Any], two: dict[str, Any]
) -> None:
    """A difference is found wherever it is kept; what is alike is found to be alike."""
    assert key(_Odd(**one)) == key(_Odd(**one))
    assert key(_Odd(**one)) != key(_Odd(**two))
    assert identify(_Odd(**one), {}, "").certain


@pytest.mark.parametrize(
    "kept",
    [
        {"_session_token": object()},
        {"_config": _Options(key_terms="other", max_tokens=7, client=object())},
    ],
)
def test_objects_and_tuning_make_no_difference(kept: dict[str, Any]) -> None:
    """A key is the same in every process, where objects have other addresses."""
    plain = {"_config": _Options()} if "_config" in kept else {}
    assert key(_Odd(**kept)) == key(_Odd(**plain))


def test_a_provider_that_says_nothing_is_uncertain() -> None:
    """It may be on any server."""
    assert not identify(FakeSTT(), {}, "").certain
    assert identify(FakeSTT(), {"api_key": "k"}, "").certain


def test_a_key_is_safe_to_print() -> None:
    """It is short and printable for any name, and holds no credential and no address."""
    fake = FakeSTT(provider="Odd one:\n*\x00é" + "x" * 99)
    named = key(fake, api_key="s3cr3t", base_url="https://me:s3cr3t@host")
    assert named.startswith("odd-one_")
    assert named.isascii()
    assert named.isprintable()
    assert named.count(":") == 2
    assert "s3cr3t" not in named
    assert len(named) < 200
