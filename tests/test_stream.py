"""`ResilientStream`: the audio it takes, the faults it survives, and closing it at any moment."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions
from livekit.agents.stt import RecognizeStream, SpeechEventType
from livekit.plugins import deepgram

from resilient_stt import (
    AudioFormatError,
    FailbackPolicy,
    OutageEnded,
    Policies,
    ProviderFailed,
    ResilientSTT,
    RetryPolicy,
    SpeechEdge,
    StreamClosedError,
    StreamEnded,
    StreamEndReason,
    Switched,
)
from resilient_stt.testing.faults import (
    ConnectFault,
    Drop,
    DropAfterClose,
    EndCleanly,
    Fault,
    Hang,
    Latency,
    Refuse,
    Status,
    from_,
)
from resilient_stt.testing.harness.play import Played, play
from resilient_stt.testing.harness.score import Final, score
from resilient_stt.testing.speech.reference import SAMPLE_RATE, ReferenceSpeech

from .support.accounts import assert_adds_up
from .support.fakes import (
    Arena,
    Behavior,
    FakeStream,
    FakeSTT,
    arena,
    collect,
    fails,
    fails_at_end,
    frames,
    hangs,
    routed,
    says,
    stt_error,
    texts,
    transcribes,
)

pytestmark = pytest.mark.stt_virtual_time

SPEECH = ReferenceSpeech.load("english").excerpt(0, 1)
"""Two sentences; the fault strikes in the middle of a word of the first one."""
MIDDLE = 5
CUT = Drop(at_word=MIDDLE, part=0.5, connections={0})
UNPROBED = Policies(failback=FailbackPolicy(enabled=False))
"""For counting connections: no failed provider is tried in the background."""


RATE = 16_000


def check(played: Played) -> None:
    """Every word once, in order, at its time; a balanced end without an error."""
    assert played.error is None
    assert played.finished
    assert played.score.ok, str(played.score)
    assert played.balanced
    assert played.score.ts_err_max_s is not None
    assert played.score.ts_err_max_s <= 0.1


# -- the audio it takes


@pytest.mark.parametrize("faults", [(), (CUT,)], ids=["healthy", "cut"])
@pytest.mark.parametrize(
    "form",
    [
        {"sample_rate": 16_000},
        {"sample_rate": 24_000},
        {"sample_rate": 48_000},
        {"sample_rate": 48_000, "channels": 2},
        {"frame_duration": 0.01},
        {"frame_duration": 0.007},
        {"frame_duration": 1.0},
    ],
    ids=lambda f: "-".join(f"{k}={v}" for k, v in f.items()),
)
async def test_takes_any_audio(form: dict[str, Any], faults: tuple[Fault, ...]) -> None:
    """Any sample rate, channels and frame size work, also across a switch in mid-word."""
    async with arena(faults) as a:
        check(await play(a.stt, SPEECH.padded(1.0), **form))


@pytest.mark.parametrize("faults", [(), (CUT,)], ids=["healthy", "cut"])
async def test_takes_frames_of_varying_size(faults: tuple[Fault, ...]) -> None:
    """Frames need not be of one size."""
    async with arena(faults) as a, a.stt.stream() as stream:
        begun = asyncio.get_running_loop().time()

        async def push() -> None:
            await push_in_real_time(stream, varying(SPEECH.padded(1.0)))

        pushing = asyncio.create_task(push())
        finals = [
            Final.from_event(e, asyncio.get_running_loop().time() - begun)
            async for e in stream
            if e.type is SpeechEventType.FINAL_TRANSCRIPT
        ]
        await pushing
    assert score(SPEECH.words, finals).ok


def varying(speech: ReferenceSpeech) -> Iterator[rtc.AudioFrame]:
    """The speech in frames of 1, 160, 7, 4000, ... samples."""
    sizes = itertools.cycle([1, 160, 7, 4000, 321, 16_001])
    at = 0
    while at < len(speech.samples):
        part = speech.samples[at : at + next(sizes)]
        yield rtc.AudioFrame(part.tobytes(), SAMPLE_RATE, 1, len(part))
        at += len(part)


async def push_in_real_time(stream: RecognizeStream, audio: Iterator[rtc.AudioFrame]) -> None:
    """Push each frame when its last sample is spoken, then end the input."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    for frame in audio:
        due += frame.duration
        await asyncio.sleep(due - loop.time())
        stream.push_frame(frame)
    stream.end_input()


async def test_warns_of_stereo_once(caplog: pytest.LogCaptureFixture) -> None:
    """Several channels are mixed down with one warning per stream."""
    made = ResilientSTT([FakeSTT()])
    async with made.stream() as stream:
        for frame in frames(0.2, channels=2):
            stream.push_frame(frame)
        stream.end_input()
        await collect(stream)
    [record] = caplog.records
    assert record.getMessage() == "audio is mixed down to mono"
    assert record.levelno == logging.WARNING
    assert record.__dict__["channels"] == 2


async def test_refuses_a_change_of_rate() -> None:
    """A frame of another rate is refused when it is pushed; the message says what to do."""
    fake = FakeSTT()
    async with ResilientSTT([fake]).stream() as stream:
        stream.push_frame(frames(rate=16_000)[0])
        with pytest.raises(AudioFormatError, match=r"from 16000 to 48000 Hz .*AudioResampler"):
            stream.push_frame(frames(rate=48_000)[0])
        stream.push_frame(frames(rate=16_000)[0])
        stream.end_input()
        await collect(stream)
    assert fake.streams[0].audio == pytest.approx(0.04)


async def test_refuses_a_frame_without_channels() -> None:
    """A frame with 0 channels is refused where it is pushed."""
    async with ResilientSTT([FakeSTT()]).stream() as stream:
        with pytest.raises(AudioFormatError, match="0 channels at 16000 Hz holds no audio"):
            stream.push_frame(rtc.AudioFrame(b"", 16_000, 0, 0))
        stream.end_input()
        await collect(stream)


async def test_takes_an_empty_frame() -> None:
    """A frame without samples is ignored."""
    fake = FakeSTT()
    async with ResilientSTT([fake]).stream() as stream:
        stream.push_frame(rtc.AudioFrame(b"", 16_000, 1, 0))
        stream.end_input()
        assert await collect(stream) == []
    assert fake.streams[0].audio == 0


CALLS: dict[str, Callable[[RecognizeStream], None]] = {
    "push_frame": lambda stream: stream.push_frame(frames()[0]),
    "flush": lambda stream: stream.flush(),
    "end_input": lambda stream: stream.end_input(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_takes_nothing_after_the_end(call: Callable[[RecognizeStream], None]) -> None:
    """After `end_input()` or `aclose()`, the error says that a new stream is needed."""
    stream = ResilientSTT([FakeSTT()]).stream()
    stream.end_input()
    with pytest.raises(StreamClosedError, match=r"open a new one with ResilientSTT.stream\(\)"):
        call(stream)
    await stream.aclose()
    with pytest.raises(StreamClosedError, match="takes no more audio"):
        call(stream)
    unused = ResilientSTT([FakeSTT()]).stream()
    await unused.aclose()
    with pytest.raises(RuntimeError, match="takes no more audio"):
        call(unused)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_takes_nothing_when_given_up(call: Callable[[RecognizeStream], None]) -> None:
    """The error of a stream that gave up says that it has ended."""
    policies = Policies(retry=RetryPolicy(outage_limit=0.5))
    async with ResilientSTT([FakeSTT(fails(stt_error()))], policies=policies).stream() as stream:
        with pytest.raises(APIConnectionError):
            await collect(stream)
        with pytest.raises(StreamClosedError, match="this stream has ended"):
            call(stream)


async def test_flush_reaches_the_provider() -> None:
    """A flush reaches the provider after the audio before it."""
    fake = FakeSTT(manual_flush=True)
    async with ResilientSTT([fake]).stream() as stream:
        stream.push_frame(frames()[0])
        stream.flush()
        await asyncio.sleep(0.1)
        assert fake.streams[0].flushes == 1
        assert fake.streams[0].audio == pytest.approx(0.02)
        stream.end_input()
        await collect(stream)


class _Ends:
    """Reports a start with the first frame, and an end after one second, in the middle of it."""

    def __init__(self, told_at: int | None) -> None:
        self._told_at = told_at
        self._samples = 0

    def push(self, frame: rtc.AudioFrame) -> Iterator[SpeechEdge]:
        self._samples += frame.samples_per_channel
        if self._samples == frame.samples_per_channel:
            yield SpeechEdge(True, 0)
        if self._samples == RATE:
            yield SpeechEdge(False, RATE // 2, self._told_at)

    def finish(self) -> Iterator[SpeechEdge]:
        return iter(())


@pytest.mark.parametrize(("told_at", "audio"), [(None, 1.0), (RATE - 700, 1.0 - 700 / RATE)])
async def test_a_pause_is_flushed_where_it_was_certain(told_at: int | None, audio: float) -> None:
    """A provider is flushed where the end of speech was certain, before the rest of the frame."""
    heard: list[float] = []

    async def listens(stream: FakeStream) -> None:
        heard.extend([stream.audio async for item in stream.received() if item is None])

    provider = FakeSTT(listens, manual_flush=True)
    late = {"a": {"slow_endpointing": True, "manual_flush": True}}
    made = routed({"a": provider}, {"default": ["a"]}, traits=late, vad=lambda: _Ends(told_at))
    async with made.stream() as stream:
        for _ in range(20):
            stream.push_frame(rtc.AudioFrame(bytes(RATE // 10), RATE, 1, RATE // 20))
        stream.end_input()
        await collect(stream)
    assert heard[:1] == [pytest.approx(audio)]


# -- faults, through the real plugins

CONNECT_FAULTS: dict[str, Callable[..., ConnectFault]] = {
    "refuse": Refuse,
    "hang": Hang,
    **{
        f"{code}": lambda code=code, **when: Status(code, **when)
        for code in (400, 401, 402, 403, 429, 500, 503)
    },
}


async def healthy(*only: str) -> Played:
    """Play without a fault."""
    async with arena(only=only) as a:
        played = await play(a.stt, SPEECH.padded(1.0))
    check(played)
    return played


def extra_delay(played: Played, usual: Played) -> float:
    """Seconds that the first text, or any word's final, comes later than usual."""
    first, usually = (
        min(at for at, e in p.events if e.alternatives and e.alternatives[0].text)
        for p in (played, usual)
    )
    pairs = zip(played.score.late_s, usual.score.late_s, strict=True)
    return max(first - usually, *(ours - theirs for ours, theirs in pairs))


@pytest.mark.parametrize("connections", [None, {0}], ids=["always", "first"])
@pytest.mark.parametrize("name", CONNECT_FAULTS)
async def test_connect_fault(name: str, connections: set[int] | None) -> None:
    """A primary that cannot be reached costs no word, hardly any time, and one connection.

    A stream's `conn_options` ask for 3 retries by default: none of them may compete with ours.
    """
    fault = CONNECT_FAULTS[name](connections=connections)
    async with arena([fault], policies=UNPROBED) as a:
        played = await play(a.stt, SPEECH.padded(1.0))
    check(played)
    assert a.connections == (1, 1)
    extra = extra_delay(played, await healthy("deepgram"))
    assert extra <= (1.6 if name == "hang" else 0.3)


TAIL = DropAfterClose(connections={0})

STREAM_FAULTS: dict[str, Fault] = {
    "reset": CUT,
    "end without close frame": Drop(1006, at_word=MIDDLE, connections={0}),
    "clean end": EndCleanly(at_word=MIDDLE, connections={0}),
    **{
        f"closed with {code}": Drop(code, at_word=MIDDLE, part=0.5, connections={0})
        for code in (1000, 1001, 1002, 1008, 1009, 1011, 1012, 1013, 4000)
    },
}


@pytest.mark.parametrize("only", [("cartesia", "deepgram"), ("deepgram", "cartesia")], ids="-".join)
@pytest.mark.parametrize("name", STREAM_FAULTS)
async def test_fault_of_the_primary(name: str, only: tuple[str, str]) -> None:
    """A primary whose connection ends in any way costs no word and one new connection."""
    faults = {"cartesia": (), "deepgram": (), only[0]: (STREAM_FAULTS[name],)}
    async with arena(**faults, only=only, policies=UNPROBED) as a:
        played = await play(a.stt, SPEECH.padded(1.0))
    check(played)
    assert sum(a.connections) == 2


@pytest.mark.parametrize("only", [("cartesia", "deepgram"), ("deepgram", "cartesia")], ids="-".join)
@pytest.mark.parametrize("name", STREAM_FAULTS)
async def test_fault_of_the_fallback(name: str, only: tuple[str, str]) -> None:
    """The same faults on the fallback, while the primary cannot be reached, cost no word.

    A fallback without a transcript is not reconnected, but tried like any other during the outage.
    """
    faults = {only[0]: (Refuse(),), only[1]: (STREAM_FAULTS[name],)}
    async with arena(**faults, only=only, policies=UNPROBED) as a:
        played = await play(a.stt, SPEECH.padded(1.0))
    check(played)
    of_primary, of_fallback = a.connections if only[0] == "cartesia" else a.connections[::-1]
    retry = UNPROBED.retry
    assert of_fallback <= 1 + retry.max_concurrent_attempts
    outage = sum(e.duration for e in a.events if isinstance(e, OutageEnded))
    assert of_primary <= 4 + outage / (retry.wait_max / 2)  # the first come sooner


@pytest.mark.parametrize(
    "faults", [{"cartesia": [TAIL]}, {"cartesia": [Refuse()], "deepgram": [TAIL]}]
)
@pytest.mark.parametrize("only", [("cartesia", "deepgram"), ("cartesia",)], ids="-".join)
async def test_lost_tail(faults: dict[str, list[Fault]], only: tuple[str, ...]) -> None:
    """If a provider ends cleanly without the last sentence, another connection transcribes it."""
    if len(only) < len(faults):
        pytest.skip("no provider is left")
    async with arena(**faults, only=only, policies=UNPROBED) as a:
        played = await play(a.stt, SPEECH)
    check(played)
    needed = sum(map(len, faults.values())) + 1
    assert needed <= sum(a.connections) <= needed + 1  # there may have been a hedge


async def test_a_slow_provider_is_not_called_recovered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that was left for finals 3 s late does not pass a probe while they still are."""
    monkeypatch.setattr("resilient_stt.runtime.random.uniform", lambda low, high: high)
    async with arena([Latency(3.0, at_time=6.0)]) as a:
        check(await play(a.stt, ReferenceSpeech.load("english").padded(1.0)))
    assert "provider_recovered" not in [e.name for e in a.events]


async def test_delay_of_a_drop() -> None:
    """A connection that drops in the middle of a word delays no word by more than 0.3 s."""
    async with arena([CUT]) as a:
        played = await play(a.stt, SPEECH.padded(1.0))
    assert extra_delay(played, await healthy("cartesia")) <= 0.3


async def test_fault_events() -> None:
    """A drop is reported as a failure with its kind and a switch with the start of its replay."""
    async with arena([CUT]) as a:
        check(await play(a.stt, SPEECH.padded(1.0)))
    failed = [e for e in a.events if isinstance(e, ProviderFailed)]
    switched = [e for e in a.events if isinstance(e, Switched)]
    assert [(e.provider, e.reason) for e in failed] == [("cartesia", "dropped")]
    [switch] = switched
    assert (switch.from_provider, switch.to_provider) == ("cartesia", "deepgram")
    assert switch.reason == "dropped"
    assert switch.replay_from <= SPEECH.words[0].start


# -- faults, in process


async def test_failure_after_the_end() -> None:
    """A provider that fails after `end_input()` is replaced; the stream still ends."""
    first = FakeSTT(fails_at_end(stt_error()))
    async with ResilientSTT([first, FakeSTT(says("hi"))]).stream() as stream:
        for frame in frames(1.0):
            stream.push_frame(frame)
        stream.end_input()
        assert texts(await collect(stream)) == ["hi"]
    assert len(first.streams) == 1


@pytest.mark.parametrize("behavior", [fails(stt_error()), hangs], ids=["fails", "hangs"])
async def test_ends_if_no_provider_answers(
    behavior: Behavior,
) -> None:
    """With every provider dead and the input ended, the stream ends within the outage limit."""
    policies = Policies(retry=RetryPolicy(outage_limit=5.0))
    providers = [FakeSTT(behavior), FakeSTT(behavior)]
    speech = ReferenceSpeech.load("english").excerpt(0, 0)
    played = await play(ResilientSTT(providers, policies=policies), speech, patience=30.0)
    assert played.finished or isinstance(played.error, APIConnectionError)
    assert not isinstance(played.error, TimeoutError)


async def test_gives_up_after_the_outage_limit() -> None:
    """If no provider works, the stream raises a non-retryable error after the outage limit."""
    loop = asyncio.get_running_loop()
    policies = Policies(retry=RetryPolicy(outage_limit=7.0))
    providers = [FakeSTT(fails(stt_error())), FakeSTT(fails(stt_error()), provider="Other")]
    begun = loop.time()
    async with ResilientSTT(providers, policies=policies).stream() as stream:
        with pytest.raises(APIConnectionError, match=r"\(fake, other\).* for 7 s") as raised:
            await collect(stream)
    assert not raised.value.retryable
    assert loop.time() - begun == pytest.approx(7.0, abs=0.1)
    assert len(providers[0].streams) <= 2 + 7.0 / (policies.retry.wait_max / 2)


async def test_livekit_does_not_retry() -> None:
    """The stream gives up once, though the caller asked LiveKit for retries."""
    policies = Policies(retry=RetryPolicy(outage_limit=1.0))
    made = ResilientSTT([FakeSTT(fails(stt_error()))], policies=policies)
    errors: list[Any] = []
    made.on("error", errors.append)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with made.stream(conn_options=APIConnectOptions(max_retry=3)) as stream:
        with pytest.raises(APIConnectionError):
            await collect(stream)
    assert loop.time() - begun == pytest.approx(1.0, abs=0.1)
    assert [e.recoverable for e in errors].count(False) == 1
    assert not errors[-1].recoverable


# -- times


@pytest.mark.parametrize("offset", [0.0, 30.0])
@pytest.mark.parametrize(
    "faults", [(), (CUT, Refuse(connections=from_(1)))], ids=["healthy", "cut"]
)
async def test_start_time_offset(offset: float, faults: tuple[Fault, ...]) -> None:
    """Times are the stream's offset plus the position in the audio, across any switch."""
    async with arena(faults) as a, a.stt.stream() as stream:
        stream.start_time_offset = offset
        pushing = asyncio.create_task(push_in_real_time(stream, SPEECH.padded(1.0).frames()))
        events = await collect(stream)
        await pushing
    words = [w for e in events for d in e.alternatives for w in d.words or () if is_final(e)]
    starts = [w.start_time for w in words]
    assert starts == pytest.approx([offset + w.start for w in SPEECH.words], abs=0.05)
    assert [w.start_time_offset for w in words] == pytest.approx([offset] * len(words), abs=0.01)
    spans = [e.alternatives[0] for e in events if is_final(e)]
    assert all(offset <= d.start_time <= d.end_time for d in spans)
    assert spans[-1].end_time == pytest.approx(offset + SPEECH.words[-1].end, abs=0.05)


def is_final(event: Any) -> bool:
    return bool(event.type is SpeechEventType.FINAL_TRANSCRIPT)


@pytest.mark.parametrize("offset", [0.0, 30.0])
@pytest.mark.parametrize("adds_offset", [True, False], ids=["adds", "raw"])
@pytest.mark.parametrize("names_offset", [True, False], ids=["named", "unnamed"])
async def test_times_of_other_plugins(offset: float, adds_offset: bool, names_offset: bool) -> None:
    """Word times are right whether or not a plugin adds `start_time_offset`."""
    if names_offset and not adds_offset:
        pytest.skip("a plugin that does not add the offset does not name it")
    made = ResilientSTT(
        [
            FakeSTT(
                transcribes(adds_offset=adds_offset, names_offset=names_offset, until=4.0),
                provider="A",
            ),
            FakeSTT(transcribes(adds_offset=adds_offset, names_offset=names_offset), provider="B"),
        ],
        max_retry_per_stt=0,
    )
    speech = ReferenceSpeech.load("english").excerpt(0, 2)
    async with made.stream() as stream:
        stream.start_time_offset = offset
        pushing = asyncio.create_task(push_in_real_time(stream, speech.padded(1.0).frames()))
        events = await collect(stream)
        await pushing
    words = [w for e in events if is_final(e) for w in e.alternatives[0].words or ()]
    assert [str(w) for w in words] == [w.text for w in speech.words]
    starts = [w.start_time for w in words]
    # the two cannot be told apart if the connection's audio begins within half a second
    tolerance = 0.3 if not offset and not names_offset else 0.1
    assert starts == pytest.approx([offset + w.start for w in speech.words], abs=tolerance)


async def test_providers_without_times() -> None:
    """Providers that give no times lose and repeat nothing across a switch."""
    first = FakeSTT(transcribes(times=False, until=4.0), provider="A")
    second = FakeSTT(transcribes(times=False), provider="B")
    speech = ReferenceSpeech.load("english").excerpt(0, 2)
    played = await play(ResilientSTT([first, second], max_retry_per_stt=0), speech.padded(1.0))
    assert played.score.ok, str(played.score)


# -- closing


MOMENTS = [0.0, 0.01, 0.1, 0.15, 0.2, 0.5, 1.0, 2.0, 2.6, 2.65, 2.7, 2.8, 2.9, 3.0, 3.5, 5.0, 7.5]
CLOSING_FAULTS: dict[str, tuple[Fault, ...]] = {
    "healthy": (),
    "hang": (Hang(),),
    "cut": (CUT,),
    "cut, then hang": (CUT, Hang(connections=from_(1))),
    "refused": (Refuse(),),
}


async def closed_at(a: Arena, moment: float, close: Callable[[RecognizeStream], Any]) -> float:
    """Play into a stream, close it at some moment, and return the seconds that it took."""
    loop = asyncio.get_running_loop()
    stream = a.stt.stream()
    listening = asyncio.create_task(collect(stream))
    pushing = asyncio.create_task(push_in_real_time(stream, SPEECH.padded(1.0).frames()))
    if moment:
        await asyncio.sleep(moment)
    begun = loop.time()
    await close(stream)
    took = loop.time() - begun
    pushing.cancel()
    await asyncio.gather(listening, pushing, return_exceptions=True)
    return took


async def twice(stream: RecognizeStream) -> None:
    await stream.aclose()
    await stream.aclose()


async def at_once(stream: RecognizeStream) -> None:
    await asyncio.gather(stream.aclose(), stream.aclose())


@pytest.mark.sweep
@pytest.mark.parametrize("close", [twice, at_once], ids=lambda c: c.__name__)
@pytest.mark.parametrize("faults", CLOSING_FAULTS.values(), ids=CLOSING_FAULTS)
async def test_aclose_at_any_moment(
    faults: tuple[Fault, ...], close: Callable[[RecognizeStream], Any]
) -> None:
    """`aclose()` at any moment leaves no task and no socket, and takes a bounded time."""
    for moment in MOMENTS:
        async with arena(faults) as a:
            assert await closed_at(a, moment, close) <= 1.6


@pytest.mark.sweep
@pytest.mark.parametrize("faults", CLOSING_FAULTS.values(), ids=CLOSING_FAULTS)
async def test_cancelled_consumer(faults: tuple[Fault, ...]) -> None:
    """A consumer cancelled at any moment in its `async with` leaves nothing behind."""

    async def consume(stream: RecognizeStream) -> None:
        async with stream:
            await collect(stream)

    for moment in MOMENTS:
        async with arena(faults) as a:
            stream = a.stt.stream()
            consuming = asyncio.create_task(consume(stream))
            pushing = asyncio.create_task(push_in_real_time(stream, SPEECH.padded(1.0).frames()))
            await asyncio.sleep(moment)
            consuming.cancel()
            await asyncio.wait([consuming], timeout=1.6)
            assert consuming.done()
            pushing.cancel()
            await asyncio.gather(pushing, consuming, return_exceptions=True)


async def test_aclose_without_use() -> None:
    """A stream that was opened and never used closes at once, before and after it could start."""
    fake = FakeSTT()
    made = ResilientSTT([fake])
    await made.stream().aclose()
    stream = made.stream()
    await asyncio.sleep(0)
    await stream.aclose()
    assert len(fake.streams) <= 1


async def test_aclose_before_the_input_was_read() -> None:
    """Pushing audio and closing in the same turn of the loop raises nothing."""
    stream = ResilientSTT([FakeSTT()]).stream()
    stream.push_frame(frames()[0])
    stream.end_input()
    await stream.aclose()


async def test_several_streams_at_once() -> None:
    """Streams of one `ResilientSTT` share providers and do not disturb each other."""
    async with arena([CUT]) as a:
        played = await asyncio.gather(*(play(a.stt, SPEECH.padded(1.0)) for _ in range(3)))
    for each in played:
        check(each)


@pytest.mark.parametrize("at", [1.0, 3.0])
async def test_keyterms_in_the_middle(at: float) -> None:
    """Keyterms set while Deepgram serves cost no word, though its plugin then reconnects itself."""
    async with arena(only=("deepgram", "cartesia")) as a:
        playing = asyncio.create_task(play(a.stt, SPEECH.padded(1.0)))
        await asyncio.sleep(at)
        a.stt._update_session_keyterms(["Santos"])
        check(await playing)


@pytest.mark.parametrize("at", [5.5, 6.3, 9.1, 11.0])
async def test_a_plugin_that_reconnects_by_itself(at: float) -> None:
    """A plugin that reconnects after a change of its own options counts as dropped.

    Its clock starts again, and the audio in flight is lost to it.
    """
    async with arena(only=("deepgram",)) as a:
        plugin = a.stt.providers[0]
        assert isinstance(plugin, deepgram.STT)
        loop = asyncio.get_running_loop()
        loop.call_later(at, functools.partial(plugin.update_options, keyterm=["Santos"]))
        played = await play(a.stt, ReferenceSpeech.load("english").excerpt(0, 3).padded(1.0))
    check(played)
    failures = [e for e in a.events if isinstance(e, ProviderFailed)]
    assert [(e.reason, e.detail) for e in failures] == [("dropped", "reconnected by itself")]


# -- its accounts


@pytest.mark.parametrize("closed", [True, False])
async def test_every_stream_reports_its_accounts(closed: bool) -> None:
    """Also one that is closed in the middle, with what it was given and has buffered."""
    made = ResilientSTT([FakeSTT(says("hi"))])
    reported: list[StreamEnded] = []
    made.on("stream_ended", reported.append)
    stream = made.stream()
    for frame in frames(1.0):
        stream.push_frame(frame)
        await asyncio.sleep(frame.duration)
    if not closed:
        stream.end_input()
        await collect(stream)
    await stream.aclose()
    await made.aclose()
    (ended,) = reported
    assert_adds_up(ended, RATE)
    assert ended.stream_id == stream.id
    assert ended.reason is (StreamEndReason.CLOSED if closed else StreamEndReason.FINISHED)
    assert ended.pushed == 1.0
    assert ended.words == {"fake": 1}
    assert (ended.buffered > 0) is closed


async def test_a_stream_that_is_closed_at_once_reports_its_accounts() -> None:
    """Before its task could open anything."""
    made = ResilientSTT([FakeSTT()])
    reported: list[StreamEnded] = []
    made.on("stream_ended", reported.append)
    await made.stream().aclose()
    await made.aclose()
    assert [ended.pushed for ended in reported] == [0.0]
