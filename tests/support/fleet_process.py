"""A process of a fleet: one call with the real plugins, as a LiveKit worker runs it.

Processes are forked from one that has imported everything, as those of LiveKit's workers are.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from multiprocessing.connection import Connection
from typing import Any

from livekit.agents import stt
from livekit.agents.utils import http_context
from livekit.plugins import cartesia, deepgram

from resilient_stt import BreakerPolicy, Policies, RedisHealth, ResilientSTT
from resilient_stt.testing import ReferenceSpeech, play


def _timed(provider: stt.STT[Any], opened: list[float]) -> stt.STT[Any]:
    """A provider that notes when streams are opened on it."""
    plain = provider.stream

    def stream(**options: Any) -> stt.RecognizeStream:
        opened.append(time.monotonic())
        return plain(**options)

    provider.stream = stream  # type: ignore[method-assign]
    return provider


class FleetProcess:
    """A process that waits for its call."""

    def __init__(self, order: dict[str, Any]) -> None:
        """Start it.

        `order`: the URLs of `redis`, `cartesia` and `deepgram`; fields of the policy as `breaker`;
        Cartesia's `key`; `dies`: seconds after the first failure at which the process dies without
        cleaning up; `hangs_up`: whether the caller does at the first failure.
        """
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_main, args=(order, other), daemon=True)
        self._process.start()
        other.close()

    async def take_call(self) -> dict[str, Any]:
        """Let it take the call, and end.

        Returns:
            Who `served`, the `text`, the seconds that the call `waited` before its first
            connection, and the tasks that are `left`; nothing if the process died.
        """
        return await asyncio.to_thread(self._take_call)

    def _take_call(self) -> dict[str, Any]:
        self._pipe.send(None)
        try:
            report: dict[str, Any] = self._pipe.recv()
        except EOFError:
            report = {}
        self._process.join(10.0)
        assert self._process.exitcode == 0
        return report


def _main(order: dict[str, Any], pipe: Connection) -> None:
    async def run() -> None:
        async with http_context.open():
            pipe.send(await _call(order, pipe))

    asyncio.run(run())


async def _call(order: dict[str, Any], pipe: Connection) -> dict[str, Any]:
    opened: list[float] = []
    chain = [
        cartesia.STT(
            model="ink-whisper", api_key=order.get("key", "k"), base_url=order["cartesia"]
        ),
        deepgram.STT(api_key="k", base_url=order["deepgram"]),
    ]
    resilient = ResilientSTT(
        [_timed(provider, opened) for provider in chain],
        health=RedisHealth(order["redis"]),
        policies=Policies(breaker=BreakerPolicy(**order.get("breaker", {}))),
    )
    loop, failed = asyncio.get_running_loop(), asyncio.Event()
    resilient.on("provider_failed", lambda _: failed.set())
    if "dies" in order:
        resilient.on("provider_failed", lambda _: loop.call_later(order["dies"], os._exit, 0))
    speech = ReferenceSpeech.load().excerpt(2, 2).padded(0.5)
    await asyncio.to_thread(pipe.recv)
    begun, text = time.monotonic(), ""
    if order.get("hangs_up"):
        async with resilient.stream() as stream:
            for frame in speech.frames():
                stream.push_frame(frame)
            await failed.wait()
    else:
        text = " ".join(final.text for final in (await play(resilient, speech)).finals)
    await resilient.aclose()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    return {
        "served": resilient.provider,
        "text": text,
        "waited": opened[0] - begun,
        "left": [task.get_name() for task in left],
    }
