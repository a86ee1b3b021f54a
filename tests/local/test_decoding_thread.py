from __future__ import annotations

import asyncio
import threading

import pytest

from resilient_stt.local.decoding_thread import DecodingThread

from ..support.local_engines import SpeechEngine

pytestmark = pytest.mark.stt_virtual_time
SECOND = bytes(2 * 16_000)


async def test_interims_are_left_out_while_a_final_waits() -> None:
    """Of what waits while the thread is busy, finals are decoded, and no interim transcript is."""
    engine = SpeechEngine(gate=threading.Event())
    thread = DecodingThread(engine)

    async def interim() -> bool:
        said = await thread.interim(engine.utterance("en"), SECOND, lambda: True)
        return said is not None

    begun = asyncio.create_task(interim())
    await asyncio.to_thread(engine.began.wait, 10)
    waiting = asyncio.create_task(interim())
    await asyncio.sleep(0)
    final = asyncio.create_task(thread.final(engine.utterance("en"), SECOND))
    await asyncio.sleep(0)
    assert engine.gate is not None
    engine.gate.set()
    await final
    assert (await begun, await waiting) == (True, False)
    assert [final for final, _ in engine.decoded] == [False, True]
    assert await interim()


async def test_an_interim_that_is_not_wanted_any_more_is_left_out() -> None:
    """The thread asks just before it would decode."""
    engine = SpeechEngine()
    thread = DecodingThread(engine)
    assert await thread.interim(engine.utterance("en"), SECOND, lambda: False) is None
    assert not engine.decoded
