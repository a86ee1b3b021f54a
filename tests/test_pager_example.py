"""`examples/pager.py` reports what needs a human, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from resilient_stt import ResilientSTT
from resilient_stt.testing import Drop, FakeCartesia, FakeDeepgram, PlaySpeech, Refuse, Status

from .support.scripts import load

PAGER: Any = load("examples/pager.py")
pytestmark = pytest.mark.stt_virtual_time


class Incidents:
    """A server that keeps what is posted to it."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self.status = 202
        app = web.Application()
        app.router.add_post("/enqueue", self._take)
        self.server = TestServer(app)

    @property
    def actions(self) -> list[tuple[str, str]]:
        return [(one["event_action"], one["dedup_key"]) for one in self.posted]

    async def _take(self, request: web.Request) -> web.Response:
        self.posted.append(await request.json())
        return web.Response(status=self.status)


@pytest.fixture
async def incidents() -> AsyncIterator[Incidents]:
    made = Incidents()
    await made.server.start_server()
    yield made
    await made.server.close()


async def play(stt: ResilientSTT, incidents: Incidents, play_speech: PlaySpeech) -> None:
    pager = PAGER.Pager("a-routing-key", str(incidents.server.make_url("/enqueue")))
    pager.watch(stt)
    await play_speech(stt)
    await pager.aclose()


async def test_a_refused_account_is_reported_with_advice(
    fake_cartesia: FakeCartesia,
    fake_deepgram: FakeDeepgram,
    play_speech: PlaySpeech,
    incidents: Incidents,
) -> None:
    """Once, with what to do, and without the key."""
    fake_cartesia.faults = [Status(401)]
    stt = ResilientSTT([fake_cartesia.stt(), fake_deepgram.stt()])
    await play(stt, incidents, play_speech)
    assert incidents.actions == [("trigger", "stt-cartesia")]
    assert "CARTESIA_API_KEY" in incidents.posted[0]["payload"]["summary"]


async def test_an_outage_is_reported_and_resolved(
    fake_cartesia: FakeCartesia,
    fake_deepgram: FakeDeepgram,
    play_speech: PlaySpeech,
    incidents: Incidents,
) -> None:
    """By both events, under one key. That a provider recovers resolves what is not open."""
    for fake in (fake_cartesia, fake_deepgram):
        fake.faults = [Drop(at_time=6.0), Refuse(at_time=5.9, until=9.0)]
    stt = ResilientSTT([fake_cartesia.stt(), fake_deepgram.stt()])
    await play(stt, incidents, play_speech)
    outage = [one for one in incidents.actions if one[1] == "stt-outage"]
    assert outage == [("trigger", "stt-outage"), ("resolve", "stt-outage")]
    assert {one[1] for one in incidents.actions if one[0] == "trigger"} == {"stt-outage"}


async def test_a_failover_wakes_nobody(
    fake_cartesia: FakeCartesia,
    fake_deepgram: FakeDeepgram,
    play_speech: PlaySpeech,
    incidents: Incidents,
) -> None:
    """The caller has not noticed either. What was never open may be resolved."""
    fake_cartesia.faults = [Drop(at_word=16)]
    stt = ResilientSTT([fake_cartesia.stt(), fake_deepgram.stt()])
    await play(stt, incidents, play_speech)
    assert "trigger" not in dict(incidents.actions)


async def test_a_pager_that_fails_harms_no_call(
    fake_cartesia: FakeCartesia,
    fake_deepgram: FakeDeepgram,
    play_speech: PlaySpeech,
    incidents: Incidents,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged."""
    incidents.status = 500
    fake_cartesia.faults = [Status(401)]
    stt = ResilientSTT([fake_cartesia.stt(), fake_deepgram.stt()])
    await play(stt, incidents, play_speech)
    assert "the pager cannot be reached: ClientResponseError" in caplog.text
