"""What is logged, and that API keys and transcripts are nowhere but in the transcript."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import traceback
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, get_args

import aiohttp
import pytest
from livekit.agents import APIConnectionError, APIStatusError
from livekit.agents.cli.log import ColoredFormatter, JsonFormatter
from livekit.agents.stt import STTError

from resilient_stt import (
    AudioLossReason,
    AudioLost,
    BreakerChanged,
    BreakerPolicy,
    BreakerState,
    ErrorKind,
    Event,
    FailbackPolicy,
    FinalEmitted,
    OutageStarted,
    Policies,
    ProviderFailed,
    ProviderRecovered,
    ReplayPolicy,
    ResilientSTT,
    RetryPolicy,
    StreamEnded,
    StreamEndReason,
    Switched,
)
from resilient_stt.core.accounts import StreamAccounts
from resilient_stt.core.audio.ledger import AudioLedger
from resilient_stt.livekit import job
from resilient_stt.observe import (
    MAX_KINDS,
    REPEATS_ALLOWED,
    REPEATS_WITHIN,
    EventLog,
    logger,
)
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

DROPPED = ProviderFailed(at=1.0, provider="a", reason=ErrorKind.DROPPED, stream_id="STT_1")


def test_a_record_has_the_event_s_fields(caplog: pytest.LogCaptureFixture) -> None:
    """As extras of a standard record, which any handler takes."""
    EventLog().write(DROPPED)
    [record] = caplog.records
    assert (record.name, record.levelno) == (LOGGER, logging.WARNING)
    assert record.getMessage() == "provider failed: a (dropped)"
    for field in dataclasses.fields(DROPPED):
        assert record.__dict__[field.name] == getattr(DROPPED, field.name)
    assert not hasattr(record, "job_id")


def test_a_record_names_the_job(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its room, whoever writes it."""
    context = SimpleNamespace(
        job=SimpleNamespace(id="AJ_1", room=SimpleNamespace(name="support-7"))
    )
    monkeypatch.setattr(job, "get_job_context", lambda *, required: context)
    EventLog().write(DROPPED)
    logger.warning("audio is mixed down to mono")
    for record in caplog.records:
        assert (record.__dict__["job_id"], record.__dict__["room"]) == ("AJ_1", "support-7")


def test_details_are_for_who_asks_for_them(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is made of an event that is not logged; at DEBUG each is, however many there are."""
    log, final = EventLog(), FinalEmitted(at=1.0, provider="a", connection=0, words=3)
    caplog.set_level(logging.INFO, LOGGER)
    log.write(final)
    assert not caplog.records
    caplog.set_level(logging.DEBUG, LOGGER)
    for _ in range(10):
        log.write(final)
    assert len(caplog.records) == 10


def ended() -> StreamEnded:
    """The accounts of a stream that was given nothing."""
    return StreamAccounts(AudioLedger(ReplayPolicy(), vad_enabled=True)).ended(
        StreamEndReason.CLOSED, gone=0
    )


def test_lines_that_repeat_are_summarized(caplog: pytest.LogCaptureFixture) -> None:
    """Three a minute are written, and the number of the others with the first of the next."""
    now = [0.0]
    log = EventLog(clock=lambda: now[0])
    for now[0] in range(10):
        log.write(DROPPED)
        log.write(dataclasses.replace(DROPPED, provider="b"))
    messages = [record.getMessage() for record in caplog.records]
    assert messages.count("provider failed: a (dropped)") == REPEATS_ALLOWED == 3
    assert messages.count("provider failed: b (dropped)") == 3
    caplog.clear()
    now[0] = REPEATS_WITHIN + 1
    log.write(DROPPED)
    assert [record.getMessage() for record in caplog.records] == [
        "7 more in 61 s: provider failed: a (dropped)",
        "provider failed: a (dropped)",
    ]
    assert caplog.records[0].__dict__["repeated"] == 7


def test_what_was_not_written_is_told_at_the_end_of_a_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody must wait for the same line to come once more."""
    caplog.set_level(logging.INFO, LOGGER)
    log = EventLog(clock=lambda: 5.0)
    for _ in range(5):
        log.write(DROPPED)
    log.write(ended())
    log.write(ended())
    assert [record.getMessage().split(";")[0] for record in caplog.records[3:]] == [
        "stream ended: closed",
        "2 more in 0 s: provider failed: a (dropped)",
        "stream ended: closed",
    ]


def test_lost_audio_is_never_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """Each loss counts."""
    log = EventLog()
    for _ in range(9):
        log.write(AudioLost(at=1.0, seconds=2.0, reason=AudioLossReason.WINDOW_EXCEEDED))
    assert len(caplog.records) == 9


def test_the_memory_of_repeats_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """What is forgotten is told before."""
    log = EventLog(clock=lambda: 0.0)
    for _ in range(5):
        log.write(DROPPED)
    caplog.clear()
    for number in range(MAX_KINDS):
        log.write(dataclasses.replace(DROPPED, provider=f"p{number}"))
    assert repr(log) == f"EventLog({MAX_KINDS} kinds of lines)"
    assert "2 more in 0 s: provider failed: a (dropped)" in caplog.messages


def test_a_record_names_our_line(caplog: pytest.LogCaptureFixture) -> None:
    """Not the one in structlog that hands it to `logging`; nor does an exception's record."""
    caplog.set_level(logging.DEBUG, LOGGER)
    EventLog().write(OutageStarted(at=1.0))
    logger.info("here")
    logger.warning("there", exc_info=True)
    logger.exception("with a traceback")
    first, *others = [(Path(r.pathname).name, r.funcName) for r in caplog.records]
    assert first == ("observe.py", "write")
    assert set(others) == {(Path(__file__).name, "test_a_record_names_our_line")}


@pytest.mark.parametrize("devmode", [True, False])
def test_livekit_s_formatters_print_the_fields(devmode: bool) -> None:
    """Colored lines in development and JSON in production, as LiveKit's CLI sets them up."""
    formatter = ColoredFormatter("%(message)s %(extra)s") if devmode else JsonFormatter()
    printed: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: printed.append(formatter.format(record))  # type: ignore[method-assign]
    logging.getLogger(LOGGER).addHandler(handler)
    try:
        EventLog().write(DROPPED)
    finally:
        logging.getLogger(LOGGER).removeHandler(handler)
    [line] = printed
    assert "provider failed: a (dropped)" in line
    assert '"stream_id": "STT_1"' in line
    assert '"reason": "dropped"' in line
    if not devmode:
        assert json.loads(line)["level"] == "WARNING"


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
        for kind in get_args(Event):
            made.on(kind.name, reported.append)
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


def test_streams_that_share_a_breaker_write_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Each stream reports a change that is news to it, and the log has it once."""
    caplog.set_level(logging.INFO, LOGGER)
    log = EventLog()
    closed, locked = BreakerState.CLOSED, BreakerState.LOCKED
    changed = BreakerChanged(at=1.0, provider="a", from_state=closed, state=locked)
    for stream in "xyz":
        log.write(dataclasses.replace(changed, stream_id=stream))
    log.write(dataclasses.replace(changed, from_state=locked, state=closed))
    log.write(changed)
    assert [record.getMessage() for record in caplog.records] == [
        "breaker changed: a, closed -> locked",
        "breaker changed: a, locked -> closed",
        "breaker changed: a, closed -> locked",
    ]
    log.write(dataclasses.replace(changed, by_operator=True))
    assert caplog.messages[-1] == "breaker changed: a, closed -> locked by an operator"
