"""What is logged, and that API keys and transcripts are nowhere but in the transcript."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import traceback
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import aiohttp
import pytest
from livekit.agents import APIConnectionError, APIStatusError
from livekit.agents.stt import STTError

from resilient_stt import (
    AudioLossReason,
    AudioLost,
    BreakerPolicy,
    ErrorKind,
    Event,
    FailbackPolicy,
    HedgeFinished,
    HedgeOutcome,
    LanguageReason,
    LanguageRouted,
    OutageEnded,
    OutageStarted,
    Policies,
    ProviderFailed,
    ProviderRecovered,
    Replayed,
    ResilientSTT,
    RetryPolicy,
    StallReason,
    Switched,
)
from resilient_stt.observe import log_event, logger
from resilient_stt.runtime import EventName
from resilient_stt.testing.fakes.cartesia import FakeCartesia
from resilient_stt.testing.fakes.deepgram import FakeDeepgram
from resilient_stt.testing.faults import (
    Drop,
    DropAfterClose,
    EmptyFinals,
    EndCleanly,
    Fault,
    Garbage,
    HalfOpen,
    Hang,
    IgnoreClose,
    InBandError,
    Latency,
    LostFinal,
    Refuse,
    Stall,
    Status,
    from_,
)
from resilient_stt.testing.harness.play import play
from resilient_stt.testing.speech.reference import ReferenceSpeech, plain

from .support.fakes import FakeSTT, collect, fails, frames, listen, transcribes

SPEECH = ReferenceSpeech.load("english").excerpt(0, 1)
KEYS = ("cartesia-key-4711", "deepgram-key-0815")
LOGGER = "livekit.resilient_stt"
LIVEKITS: tuple[EventName | Literal["error", "metrics_collected"], ...] = (
    "error",
    "metrics_collected",
    "stt_availability_changed",
)

EVENTS: list[tuple[Event, int, str]] = [
    (
        ProviderFailed(at=1.0, provider="a", reason=ErrorKind.DROPPED, detail="X"),
        30,
        "provider failed: a (dropped, X)",
    ),
    (
        ProviderFailed(
            at=1.0, provider="a", reason=ErrorKind.STALLED, trigger=StallReason.FINAL_OVERDUE
        ),
        30,
        "provider failed: a (stalled, final_overdue)",
    ),
    (
        ProviderFailed(
            at=1.0, provider="a", reason=ErrorKind.AUTH, detail="X 401", advice="check A_KEY"
        ),
        40,
        "provider failed: a (auth): check A_KEY",
    ),
    (
        ProviderFailed(at=1.0, provider="a", reason=ErrorKind.QUOTA, detail="X 402"),
        40,
        "provider failed: a (quota, X 402)",
    ),
    (
        Switched(
            at=1.0, from_provider="a", to_provider="b", reason=ErrorKind.DROPPED, replay_from=0.5
        ),
        20,
        "switched: a -> b (dropped)",
    ),
    (
        Replayed(at=1.0, provider="b", seconds=0.5, silence_trimmed=0.0, duration=0.1),
        20,
        "replayed: b, 0.5 s",
    ),
    (OutageStarted(at=1.0), 40, "outage started: no provider works"),
    (
        OutageEnded(at=1.0, provider="a", duration=2.0),
        20,
        "outage ended: a works again after 2.0 s",
    ),
    (
        AudioLost(at=1.0, seconds=3.0, reason=AudioLossReason.WINDOW_EXCEEDED),
        40,
        "audio lost: 3.0 s (window_exceeded)",
    ),
    *(
        (
            HedgeFinished(
                at=1.0,
                provider="a",
                hedge_provider="b",
                trigger=StallReason.FINAL_OVERDUE,
                outcome=v,
                seconds=2.0,
            ),
            20,
            f"hedge finished: a checked by b ({v})",
        )
        for v in HedgeOutcome
    ),
    (ProviderRecovered(at=1.0, provider="a"), 20, "provider recovered: a"),
    (
        LanguageRouted(
            at=1.0,
            from_language="en",
            language="es",
            route="es",
            providers=("b", "a"),
            reason=LanguageReason.REQUESTED,
        ),
        20,
        "language routed: es, route es (requested)",
    ),
]


@pytest.mark.parametrize(("event", "level", "message"), EVENTS, ids=lambda v: str(v))
def test_levels(event: Event, level: int, message: str, caplog: pytest.LogCaptureFixture) -> None:
    """Each event is one record with its fields as extras. ERROR is for what needs a human, or what
    the caller notices.
    """
    caplog.set_level(logging.DEBUG, LOGGER)
    log_event(event)
    [record] = caplog.records
    assert (record.name, record.levelno, record.getMessage()) == (LOGGER, level, message)
    for field in dataclasses.fields(event):
        assert record.__dict__[field.name] == getattr(event, field.name)


def test_a_record_names_our_line(caplog: pytest.LogCaptureFixture) -> None:
    """Not the one in structlog that hands it to `logging`; nor does an exception's record."""
    caplog.set_level(logging.DEBUG, LOGGER)
    log_event(OutageStarted(at=1.0))
    logger.info("here")
    logger.warning("there", exc_info=True)
    logger.exception("with a traceback")
    first, *others = [(Path(r.pathname).name, r.funcName) for r in caplog.records]
    assert first == ("observe.py", "log_event")
    assert set(others) == {(Path(__file__).name, "test_a_record_names_our_line")}


def test_times_are_rounded(caplog: pytest.LogCaptureFixture) -> None:
    """Times are logged to the millisecond."""
    log_event(AudioLost(at=1.23456789, seconds=2.0, reason=AudioLossReason.WINDOW_EXCEEDED))
    assert caplog.records[0].__dict__["at"] == 1.235


def test_every_event_has_a_level() -> None:
    """The test above covers every event."""
    assert {type(event) for event, _, _ in EVENTS} == set(get_args(Event))


def check_private(caplog: pytest.LogCaptureFixture, others: list[Any]) -> None:
    """No key, and no two spoken words in a row, in our records or in anything else given."""
    records = [r for r in caplog.records if r.name.startswith((LOGGER, "asyncio"))]
    shown = [f"{r.getMessage()} {r.__dict__} {r.exc_text}" for r in records]
    shown += [repr(o) for o in others]
    spoken = [plain(w.text) for w in SPEECH.words]
    for text in shown:
        assert not any(key in text for key in KEYS), text
        flat = plain(text)
        assert not any(a + b in flat for a, b in pairwise(spoken)), text


GARBAGE: tuple[Any, ...] = (
    "unparsable",
    "no_text",
    "wrong_types",
    "list",
    "binary",
    "unknown_type",
)

FAULTS: dict[str, Fault] = {
    "reset": Drop(at_word=5),
    "closed": Drop(1011, "bad key " + KEYS[0], at_word=5),
    "clean end": EndCleanly(at_word=5),
    "lost tail": DropAfterClose(),
    "ignored close": IgnoreClose(),
    "late": Latency(3.0),
    "stall": Stall(at_word=5),
    "half-open": HalfOpen(at_word=5),
    "in-band": InBandError(402, message="wrong key " + KEYS[0], at_word=5),
    "in-band, closed": InBandError(500, message=KEYS[0], at_word=5, then="close"),
    "empty finals": EmptyFinals(),
    "lost final": LostFinal(at_word=5),
    "hang": Hang(),
    "refuse": Refuse(),
    **{f"status {code}": Status(code, KEYS[0]) for code in (400, 401, 402, 403, 429, 500, 503)},
    **{f"garbage: {what}": Garbage(what) for what in GARBAGE},
}


@pytest.mark.stt_virtual_time
@pytest.mark.parametrize(
    ("cartesia", "deepgram"),
    [
        pytest.param(
            [Drop(at_word=9, connections={0}), Refuse(connections=from_(1))],
            [Status(429, KEYS[1])],
            id="one after the other",
        ),
        *(pytest.param([fault], [], id=name) for name, fault in FAULTS.items()),
        *(
            pytest.param([], [FAULTS[name]], id=f"{name} of the other")
            for name in ("in-band, closed", "garbage: wrong_types")
        ),
        *(
            pytest.param([FAULTS[name]], [FAULTS[name]], id=f"{name} of both")
            for name in ("closed", "stall", "status 401", "garbage: unparsable")
        ),
    ],
)
async def test_private(
    cartesia: list[Fault], deepgram: list[Fault], caplog: pytest.LogCaptureFixture
) -> None:
    """At DEBUG, over faults that quote the key, no key and no transcript is logged or reported."""
    caplog.set_level(logging.DEBUG)
    policies = Policies(retry=RetryPolicy(outage_limit=3.0))
    reported: list[Any] = []
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
        listen(made, reported.append)
        for name in LIVEKITS:
            made.on(name, reported.append)
        played = await play(made, SPEECH.padded(3.0))
        await made.aclose()
    if played.error:
        reported.append("".join(traceback.format_exception(played.error)))
    reported.append(made)
    check_private(caplog, reported)


# -- a wrong key


def ours(caplog: pytest.LogCaptureFixture, level: int) -> list[logging.LogRecord]:
    """Our own records of that level or higher."""
    return [r for r in caplog.records if r.name.startswith(LOGGER) and r.levelno >= level]


@pytest.mark.stt_virtual_time
@pytest.mark.parametrize(("status", "reason"), [(401, "auth"), (402, "quota"), (403, "auth")])
async def test_a_wrong_key_is_reported_once(
    status: int,
    reason: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A wrong key makes one LiveKit error and one log line with advice, and no second connection
    for 300 s of utterances; the call goes on with Deepgram.
    """
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("resilient_stt.runtime.random.uniform", lambda low, high: (low + high) / 2)
    loop = asyncio.get_running_loop()
    speech = SPEECH.padded(2.0)
    errors: list[STTError] = []
    events: list[Event] = []
    async with (
        FakeCartesia(faults=[Status(status, KEYS[0])]) as c,
        FakeDeepgram() as d,
        aiohttp.ClientSession() as http,
    ):
        made = ResilientSTT(
            [c.stt(http_session=http, api_key=KEYS[0]), d.stt(http_session=http, api_key=KEYS[1])]
        )
        listen(made, events.append)
        made.on("error", errors.append)
        begun = loop.time()
        while loop.time() - begun < 300 - speech.duration - 1:
            assert (await play(made, speech)).score.ok
            await asyncio.sleep(25.0)
        assert len(c.connections) == 1
        await asyncio.sleep(max(0.0, begun + 301 - loop.time()))
        assert (await play(made, speech)).score.ok
        assert len(c.connections) == 2, "then it is tried again, in the background"
        await made.aclose()
    [failure] = [e for e in events if isinstance(e, ProviderFailed)]
    assert (failure.provider, failure.reason) == ("cartesia", reason)
    assert failure.advice == "check CARTESIA_API_KEY; not tried again for 300 s"
    assert [type(e) for e in events] == [ProviderFailed, Switched]
    [error] = errors
    assert error.recoverable
    assert "cartesia" in str(error.error)
    assert reason in str(error.error)
    [record] = ours(caplog, logging.WARNING)
    assert record.levelno == logging.ERROR
    for shown in (record.getMessage(), str(record.__dict__)):
        assert "cartesia" in shown
        assert "CARTESIA_API_KEY" in shown
    check_private(caplog, [*errors, *events])


@pytest.mark.stt_virtual_time
async def test_jitter_never_shortens_the_cooldown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cooldown of 300 s is never shortened by jitter."""
    monkeypatch.setattr("resilient_stt.runtime.random.uniform", lambda low, high: low)
    first = FakeSTT(fails(APIStatusError("no", status_code=401)))
    made = ResilientSTT([first, FakeSTT(transcribes())])
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while loop.time() - begun < 290 - SPEECH.duration:
        assert (await play(made, SPEECH.padded(1.0))).score.ok
        await asyncio.sleep(20.0)
    assert len(first.streams) == 1
    await made.aclose()


@pytest.mark.stt_virtual_time
async def test_a_key_that_is_revoked_again_is_reported_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A provider that recovered and refuses the key again is reported again."""
    monkeypatch.setattr("resilient_stt.runtime.random.uniform", lambda low, high: (low + high) / 2)
    revoked = fails(APIStatusError("no", status_code=401))
    first = FakeSTT(revoked, provider="First")
    policies = Policies(
        breaker=BreakerPolicy(auth_cooldown=5.0), failback=FailbackPolicy(min_dwell=0.0)
    )
    made = ResilientSTT([first, FakeSTT(transcribes(), provider="Second")], policies=policies)
    events: list[Event] = []
    listen(made, events.append)

    def recovered(event: ProviderRecovered) -> None:
        first.behavior = revoked

    made.on("provider_recovered", recovered)
    first_stream = asyncio.create_task(play(made, ReferenceSpeech.load("english").padded(1.0)))
    await asyncio.sleep(1.0)
    first.behavior = transcribes()
    assert (await first_stream).score.ok
    assert [e.name for e in events].count("provider_recovered") >= 1
    failures = [e for e in events if isinstance(e, ProviderFailed) and e.provider == "first"]
    await made.aclose()
    assert [e.reason for e in failures] == ["auth", "auth"]


@pytest.mark.stt_virtual_time
async def test_private_when_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """The error that a stream raises in the end quotes no provider."""
    caplog.set_level(logging.DEBUG)
    policies = Policies(retry=RetryPolicy(outage_limit=0.5))
    secret = APIConnectionError(f"wrong key {KEYS[0]}, hello this is Miguel Santos")
    stream = ResilientSTT([FakeSTT(fails(secret))], policies=policies).stream()
    with pytest.raises(APIConnectionError) as raised:
        await collect(stream)
    await stream.aclose()
    check_private(caplog, ["".join(traceback.format_exception(raised.value)), stream])


@pytest.mark.stt_virtual_time
async def test_private_when_recognizing(caplog: pytest.LogCaptureFixture) -> None:
    """The same holds for a whole buffer."""
    caplog.set_level(logging.DEBUG)
    made = ResilientSTT([FakeSTT(error=RuntimeError(f"wrong key {KEYS[0]}"))])
    with pytest.raises(APIConnectionError) as raised:
        await made.recognize(frames())
    await asyncio.sleep(30)
    await made.aclose()
    check_private(caplog, ["".join(traceback.format_exception(raised.value))])
