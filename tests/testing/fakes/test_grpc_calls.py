from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("grpc")

from resilient_stt.testing.fakes.grpc_calls import Link, Relay


async def test_a_connection_that_is_accepted_while_it_stops_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its task is cancelled before its first step, and its socket must not stay open."""

    async def admit(link: Link) -> bool:
        raise AssertionError("it has stopped")

    relay = Relay(1, admit)
    accept, stopping = relay._accept, list[asyncio.Task[None]]()

    def stop_and_accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stopping.append(asyncio.create_task(relay.stop()))
        accept(reader, writer)

    monkeypatch.setattr(relay, "_accept", stop_and_accept)
    reader, writer = await asyncio.open_connection("127.0.0.1", await relay.listen("127.0.0.1", 0))
    try:
        async with asyncio.timeout(5):
            assert await reader.read() == b""
    finally:
        writer.close()
        await asyncio.gather(*stopping)
