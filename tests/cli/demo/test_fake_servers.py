from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import aiohttp
import pytest

from resilient_stt.cli.command_error import CommandError
from resilient_stt.cli.demo.fake_servers import Endpoints, in_own_process
from resilient_stt.cli.demo.scenarios import SCENARIOS


async def status_of(url: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        return response.status


async def start_servers_and_fail(started: list[Endpoints]) -> None:
    async with in_own_process(SCENARIOS["status-503"], 2) as pairs:
        started += pairs
        assert len({urlsplit(pair.cartesia).port for pair in pairs}) == 2
        assert await status_of(f"{pairs[1].cartesia}/stt/websocket") == 503
        raise RuntimeError("of the demo")


async def test_the_process_ends_with_the_block_also_after_an_error() -> None:
    """Each candidate has a pair of its own. After an error, nothing listens on their ports."""
    pairs: list[Endpoints] = []
    with pytest.raises(RuntimeError, match="of the demo"):
        await start_servers_and_fail(pairs)
    for pair in pairs:
        with pytest.raises(aiohttp.ClientConnectorError):
            await status_of(pair.deepgram)


async def test_a_process_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is one line; the demo does not wait for ever."""
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(CommandError, match="did not start"):
        async with in_own_process(SCENARIOS["none"], 1):
            raise AssertionError("unreachable")
    assert len(asyncio.all_tasks()) == 1
