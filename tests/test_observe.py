"""What is logged, and that neither keys nor transcripts are anywhere but in the transcript."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import traceback
from itertools import pairwise
from typing import Any, get_args

import aiohttp
import pytest
from livekit.agents import APIConnectionError

from resilient_stt import (
    AudioLost,
    Degraded,
    Event,
    Policies,
    ProviderFailed,
    Recovered,
    Replayed,
    ResilientSTT,
    Restored,
    RetryPolicy,
    SecondOpinion,
    Switched,
)
from resilient_stt.observe import log_event
from resilient_stt.testing.cartesia import FakeCartesia
from resilient_stt.testing.deepgram import FakeDeepgram
from resilient_stt.testing.faults import Drop, Fault, Refuse, Status, from_
from resilient_stt.testing.play import play
from resilient_stt.testing.speech import ReferenceSpeech, plain

from .fakes import FakeSTT, collect, fails, frames, listen

SPEECH = ReferenceSpeech.load("english").excerpt(0, 1)
KEYS = ("cartesia-key-4711", "deepgram-key-0815")
LOGGER = "livekit.resilient_stt"

EVENTS: list[tuple[Event, int, str]] = [
    (ProviderFailed(at=1.0, provider="a", reason="dropped", detail="X"), 30, "provider failed"),
    (
        ProviderFailed(at=1.0, provider="a", reason="stalled", detail="final_overdue"),
        30,
        "provider failed",
    ),
    (
        ProviderFailed(at=1.0, provider="a", reason="auth", detail="X 401", advice="check A_KEY"),
        40,
        "provider failed: a (auth): check A_KEY",
    ),
    (
        ProviderFailed(at=1.0, provider="a", reason="quota", detail="X 402"),
        40,
        "provider failed",
    ),
    (
        Switched(at=1.0, from_provider="a", to_provider="b", reason="dropped", replay_from=0.5),
        20,
        "switched",
    ),
    (Replayed(at=1.0, provider="b", seconds=0.5, cut=0.0, took=0.1), 20, "replayed"),
    (Degraded(at=1.0), 40, "degraded"),
    (Restored(at=1.0, provider="a", after=2.0), 20, "restored"),
    (AudioLost(at=1.0, seconds=3.0), 40, "audio lost"),
    *(
        (
            SecondOpinion(
                at=1.0, provider="a", asked="b", sign="final_overdue", verdict=v, seconds=2.0
            ),
            20,
            "second opinion",
        )
        for v in ("convicted", "answered", "noise")
    ),
    (Recovered(at=1.0, provider="a"), 20, "recovered"),
]


@pytest.mark.parametrize(("event", "level", "message"), EVENTS, ids=lambda v: str(v))
def test_levels(event: Event, level: int, message: str, caplog: pytest.LogCaptureFixture) -> None:
    """Each event is one record with its fields as extras; an error is what needs a human, or is
    heard by the caller."""
    caplog.set_level(logging.DEBUG, LOGGER)
    log_event(event)
    [record] = caplog.records
    assert (record.name, record.levelno, record.getMessage()) == (LOGGER, level, message)
    for field in dataclasses.fields(event):
        assert record.__dict__[field.name] == getattr(event, field.name)


def test_times_are_rounded(caplog: pytest.LogCaptureFixture) -> None:
    """Milliseconds are enough."""
    log_event(AudioLost(at=1.23456789, seconds=2.0))
    assert caplog.records[0].__dict__["at"] == 1.235


def test_every_event_has_a_level() -> None:
    """No event is left out above."""
    assert {type(event) for event, _, _ in EVENTS} == set(get_args(Event))


def check_private(caplog: pytest.LogCaptureFixture, others: list[Any]) -> None:
    """No key, and no run of two spoken words, in our records or in anything else given."""
    ours = [r for r in caplog.records if r.name.startswith(LOGGER)]
    assert ours
    shown = [f"{r.getMessage()} {r.__dict__} {r.exc_text}" for r in ours]
    shown += [repr(o) for o in others]
    spoken = [plain(w.text) for w in SPEECH.words]
    for text in shown:
        assert not any(key in text for key in KEYS), text
        flat = plain(text)
        assert not any(a + b in flat for a, b in pairwise(spoken)), text


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("cartesia", "deepgram"),
    [
        ([Drop(1011, "bad key " + KEYS[0], at_word=5, connections={0})], []),
        ([Status(401, KEYS[0])], [Drop(at_word=5, connections={0})]),
        ([Drop(at_word=9, connections={0}), Refuse(connections=from_(1))], [Status(429, KEYS[1])]),
    ],
)
async def test_private(
    cartesia: list[Fault], deepgram: list[Fault], caplog: pytest.LogCaptureFixture
) -> None:
    """At DEBUG, over faults that quote the key: no key and no transcript but in the transcript."""
    caplog.set_level(logging.DEBUG)
    policies = Policies(retry=RetryPolicy(outage_limit=3.0))
    told: list[Any] = []
    async with (
        FakeCartesia(faults=cartesia) as c,
        FakeDeepgram(faults=deepgram) as d,
        aiohttp.ClientSession() as http,
    ):
        made = ResilientSTT(
            [
                c.stt(http_session=http, api_key=KEYS[0]),
                d.stt(http_session=http, api_key=KEYS[1]),
            ],
            policies=policies,
        )
        listen(made, told.append)
        made.on("error", told.append)
        made.on("stt_availability_changed", told.append)
        made.on("metrics_collected", told.append)
        played = await play(made, SPEECH.padded(1.0))
        await made.aclose()
    if played.error:
        told.append("".join(traceback.format_exception(played.error)))
    told.append(made)
    check_private(caplog, told)


@pytest.mark.virtual_time
async def test_private_when_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """What a stream raises in the end quotes no provider."""
    caplog.set_level(logging.DEBUG)
    policies = Policies(retry=RetryPolicy(outage_limit=0.5))
    secret = APIConnectionError(f"wrong key {KEYS[0]}, hello this is Miguel Santos")
    stream = ResilientSTT([FakeSTT(fails(secret))], policies=policies).stream()
    with pytest.raises(APIConnectionError) as raised:
        await collect(stream)
    await stream.aclose()
    check_private(caplog, ["".join(traceback.format_exception(raised.value)), stream])


@pytest.mark.virtual_time
async def test_private_when_recognizing(caplog: pytest.LogCaptureFixture) -> None:
    """The same for a whole buffer."""
    caplog.set_level(logging.DEBUG)
    made = ResilientSTT([FakeSTT(error=RuntimeError(f"wrong key {KEYS[0]}"))])
    with pytest.raises(APIConnectionError) as raised:
        await made.recognize(frames())
    await asyncio.sleep(30)
    await made.aclose()
    check_private(caplog, ["".join(traceback.format_exception(raised.value))])
