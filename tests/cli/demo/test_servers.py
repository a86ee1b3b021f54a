from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import aiohttp
import pytest

from resilient_stt.cli.demo.scenarios import SCENARIOS
from resilient_stt.cli.demo.servers import Endpoints, in_own_process
from resilient_stt.cli.problems import Problem


async def status_of(url: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        return response.status


async def fail_beside_servers(started: list[Endpoints]) -> None:
    async with in_own_process(SCENARIOS["unavailable"], 2) as pairs:
        started += pairs
        assert len({urlsplit(pair.cartesia).port for pair in pairs}) == 2
        assert await status_of(f"{pairs[1].cartesia}/stt/websocket") == 503
        raise RuntimeError("of the demo")


async def test_servers_end_with_their_block_also_on_errors() -> None:
    """Each contestant has a pair of its own; after an error nobody listens there any more."""
    pairs: list[Endpoints] = []
    with pytest.raises(RuntimeError, match="of the demo"):
        await fail_beside_servers(pairs)
    for pair in pairs:
        with pytest.raises(aiohttp.ClientConnectorError):
            await status_of(pair.deepgram)


async def test_servers_that_do_not_start_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line instead of a wait for ever."""
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(Problem, match="did not start"):
        async with in_own_process(SCENARIOS["none"], 1):
            raise AssertionError("unreachable")
    assert len(asyncio.all_tasks()) == 1
