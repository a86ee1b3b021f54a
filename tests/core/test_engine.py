from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilient_stt.core.engine import FailoverEngine
from resilient_stt.core.events import (
    BreakerState,
    ErrorKind,
    OutageStarted,
    ProviderFailed,
    Replayed,
    Switched,
)
from resilient_stt.core.health.breaker import Breaker
from resilient_stt.core.health.provider import ProviderHealth
from resilient_stt.core.hedging.budget import HedgeBudget
from resilient_stt.core.messages import (
    AudioPushed,
    CloseConnection,
    Command,
    ConnectionEnded,
    ConnectionFailed,
    DeadlineReached,
    Emit,
    EndInput,
    EventKind,
    Finish,
    FlushConnection,
    FlushRequested,
    Input,
    InputEnded,
    OpenConnection,
    OptionsChanged,
    ProviderEvent,
    ReleaseAudio,
    ReportAvailability,
    ReportEvent,
    SendAudio,
    SetServing,
    SpeechEnded,
    SpeechStarted,
    StreamOpened,
    TranscriptEvent,
    Word,
)
from resilient_stt.core.policy import (
    BreakerPolicy,
    Pace,
    Policies,
    ProviderTraits,
    ReplayPolicy,
    WatchdogPolicy,
)

from ..support.promises import (
    END,
    FINAL,
    INTERIM,
    START,
    TWO,
    VOCABULARY,
    WORDS,
    alone,
    assert_promises,
    assert_times,
    events,
    recognizers,
    simulations,
    speeches,
)
from ..support.simulator import (
    HANG,
    RATE,
    Drop,
    DropAfterClose,
    EndCleanly,
    Fault,
    IgnoreClose,
    LostTail,
    Recognizer,
    Refuse,
    Simulation,
    Spoken,
    noise,
    routing,
    sentence,
    speak,
)

# --- the promises, over random speech and random faults


@given(simulations())
@settings(max_examples=80)
def test_every_word_once_with_its_times(sim: Simulation) -> None:
    """Whatever the providers do, each word comes once, in order, at the time it was spoken."""
    sim.run(within=60)
    assert_promises(sim)
    assert_times(sim, within=0.001)


@given(simulations(jitter=0.1))
@settings(max_examples=40)
def test_every_word_once_with_wavering_times(sim: Simulation) -> None:
    """Two providers that disagree by 0.2 s about the times still give each word once."""
    sim.run(within=60)
    assert_promises(sim)
    assert_times(sim, within=0.101)


@given(simulations(times=("words", "end"), jitter=0.02))
@settings(max_examples=40)
def test_every_word_once_with_the_end_of_a_final(sim: Simulation) -> None:
    """A provider that times only its finals loses and repeats nothing."""
    sim.run(within=60)
    assert_promises(sim)


@given(simulations(times=("words", "end", "none"), loses=False))
@settings(max_examples=60)
def test_every_word_once_without_times(sim: Simulation) -> None:
    """Providers without times, mixed with others, lose and repeat nothing."""
    sim.run(within=60)
    assert_promises(sim)


@given(speeches(), recognizers("a"))
@settings(max_examples=30)
def test_every_word_once_without_voice_activity(
    words: list[Spoken], recognizer: Recognizer
) -> None:
    """With word times, each word comes once even without local voice activity."""
    quiet = replace(recognizer, faults=[f for f in recognizer.faults if not _ends_badly(f)])
    sim = Simulation(words, [quiet, Recognizer("b")], vad_enabled=False).run(within=60)
    assert_promises(sim)


def _ends_badly(fault: Fault | None) -> bool:
    """Return whether a fault ends the connection without an error or never.

    Without local voice activity no speech is known to be pending, so a clean end counts as
    complete.
    """
    return isinstance(fault, IgnoreClose | EndCleanly)


# --- one fault at a time


def test_nothing_goes_wrong() -> None:
    """Without a fault one connection transcribes everything, and no event is reported."""
    sim = Simulation(TWO, [Recognizer("a"), Recognizer("b")]).run(within=1)
    assert_promises(sim)
    assert sim.opened == ["a"]
    assert sim.events == []
    assert sim.speech == [START, END] * 3


def test_live_audio_is_sent_as_it_comes() -> None:
    """A connection that is not behind is sent every frame as soon as it is pushed."""
    sim = Simulation(TWO, [Recognizer("a", pace=Pace(burst=0.05, rate=1.0))]).run()
    sent = [(t, c.end) for t, c in sim.commands if isinstance(c, SendAudio)]
    assert sent[-1][1] == sim.pushed
    assert all(t - sim.base == pytest.approx(end / RATE) for t, end in sent)


def test_dropped_once() -> None:
    """When a connection that worked drops, the same provider is reconnected at once."""
    sim = Simulation(TWO, [Recognizer("a", [Drop(3.0)]), Recognizer("b")]).run(within=1)
    assert_promises(sim)
    assert sim.opened == ["a", "a"]
    assert events(sim, ProviderFailed) == [
        ProviderFailed(at=3.0, provider="a", reason=ErrorKind.DROPPED, detail="drop")
    ]
    (switched,) = events(sim, Switched)
    assert (switched.from_provider, switched.to_provider) == ("a", "a")
    (replayed,) = events(sim, Replayed)
    assert (replayed.at, replayed.provider) == (3.0, "a")
    assert not [c for _, c in sim.commands if isinstance(c, ReportAvailability)]


def test_dropped_before_it_worked() -> None:
    """When a connection drops before its first transcript, the next provider takes over."""
    sim = Simulation(TWO, [Recognizer("a", [Drop(0.3)]), Recognizer("b")]).run(within=1)
    assert_promises(sim)
    assert sim.served == ["a", "b"]


def test_dropped_for_good() -> None:
    """A provider that stays down after a drop is left and reported as unavailable."""
    sim = Simulation(TWO, [Recognizer("a", down=[(3.0, 99)]), Recognizer("b")]).run(within=1)
    assert_promises(sim)
    assert sim.opened == ["a", "a", "b"]
    assert ReportAvailability("a", False) in [c for _, c in sim.commands]
    assert [c.provider for _, c in sim.commands if isinstance(c, SetServing)] == ["a", "a", "b"]


def test_dropped_again_and_again() -> None:
    """A provider that works and drops is reconnected three times, then left."""
    policies = Policies(breaker=BreakerPolicy(minimum_calls=99))
    route = [Recognizer("a", [Drop(1.5)] * 9), Recognizer("b")]
    sim = Simulation(TWO, route, policies=policies).run(within=1)
    assert_promises(sim)
    assert sim.served == ["a", "a", "a", "a", "b"]


def test_drops_open_the_breaker_by_their_rate() -> None:
    """A provider that drops as often as it works is left before its reconnect budget is spent."""
    sim = Simulation(TWO, [Recognizer("a", [Drop(1.5)] * 9), Recognizer("b")]).run(within=1)
    assert_promises(sim)
    assert sim.served == ["a", "a", "a", "b"]


def test_a_server_error_leaves_the_provider() -> None:
    """After a server error the next provider takes over, even if the connection had worked."""
    faults = [Drop(3.0, kind=ErrorKind.SERVER)]
    sim = Simulation(TWO, [Recognizer("a", faults), Recognizer("b")]).run(within=1)
    assert_promises(sim)
    assert sim.served == ["a", "b"]


def test_two_providers_fail_in_turn() -> None:
    """Two providers that fail in turn hand over to each other without an outage."""
    broken = [Drop(1.6, kind=ErrorKind.SERVER)] * 2
    sim = Simulation(TWO, [Recognizer("a", broken), Recognizer("b", broken)]).run(within=2)
    assert_promises(sim)
    assert sim.opened == ["a", "b", "a", "b", "a"]
    assert events(sim, OutageStarted) == []


@pytest.mark.parametrize("word", range(len(TWO)))
@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
def test_dropped_in_the_middle_of_a_word(word: int, part: float) -> None:
    """A drop inside any word loses and repeats nothing."""
    at = TWO[word].start + part * (TWO[word].end - TWO[word].start)
    faults = [Drop(at, kind=ErrorKind.SERVER)]
    sim = Simulation(TWO, [Recognizer("a", faults), Recognizer("b")]).run(within=1)
    assert_promises(sim)
    assert_times(sim, within=0.001)


def test_a_last_partial_final_of_a_dying_connection() -> None:
    """The next connection does not repeat words of the last partial final of a dying one."""
    at = (TWO[6].start + TWO[6].end) / 2
    faults = [Drop(at, sends_final=True, kind=ErrorKind.SERVER)]
    sim = Simulation(TWO, [Recognizer("a", faults), Recognizer("b")]).run(within=1)
    assert_promises(sim)


def test_a_hanging_handshake() -> None:
    """Speech during a handshake that hangs is replayed to the next provider."""
    sim = Simulation(TWO, [Recognizer("a", [HANG]), Recognizer("b")]).run(within=1)
    assert_promises(sim)
    (failed,) = events(sim, ProviderFailed)
    assert failed.at == 1.5


def test_a_clean_end_with_the_input_open_is_a_failure() -> None:
    """A connection that ends without an error before its input has ended is replaced."""
    sim = Simulation(TWO, [Recognizer("a", [EndCleanly(4.0)])]).run(within=1)
    assert_promises(sim)
    assert sim.opened == ["a", "a"]


@pytest.mark.parametrize("fault", [DropAfterClose(), LostTail(), IgnoreClose(sends_final=False)])
def test_a_tail_that_is_missing(fault: Fault) -> None:
    """If the last words are missing after the end of input, another connection transcribes them."""
    sim = Simulation(TWO, [Recognizer("a", [fault]), Recognizer("b")], tail=0.1).run(within=6)
    assert_promises(sim)
    assert len(sim.opened) == 2


@pytest.mark.parametrize("silent", ["b", "bc"])
def test_a_tail_that_is_missing_without_hedging(silent: str) -> None:
    """Without hedging the next provider takes over; if it has no words either, the stream ends."""
    policies = Policies(watchdog=WatchdogPolicy(hedging=False))
    words = speak(*sentence("one two three"), noise(1.0, 0.6))
    sim = Simulation(words, [Recognizer(n) for n in "a" + silent], policies=policies, tail=0.1)
    assert_promises(sim.run(within=4))
    assert sim.opened == ["a", "b"]


def test_a_connection_that_never_ends() -> None:
    """If all words came and the connection does not end, the stream finishes without it."""
    sim = Simulation(TWO, [Recognizer("a", [IgnoreClose()]), Recognizer("b")]).run(within=4)
    assert_promises(sim)
    assert sim.opened == ["a"]


def test_a_connection_that_never_falls_silent() -> None:
    """Interim transcripts without end do not keep the stream open after the end of input."""
    engine = alone()
    for event in (StreamOpened(), AudioPushed(RATE, RATE), InputEnded()):
        engine.handle(event, 1.0)
    now = 1.0
    while not engine.done:
        due = engine.deadline()
        assert due is not None
        now = min(now + 1.0, due)
        engine.handle(
            ProviderEvent(0, TranscriptEvent(INTERIM, "and")) if now < due else DeadlineReached(),
            now,
        )
    assert now == pytest.approx(61.8)  # the outage limit, and one second processed at 1.25x


def test_usage_does_not_prove_that_a_connection_works() -> None:
    """A USAGE event does not extend the time that a connection has after the end of input."""
    engine = alone()
    for event in (StreamOpened(), AudioPushed(RATE, RATE), InputEnded()):
        engine.handle(event, 1.0)
    for now in (2.0, 3.0):
        engine.handle(ProviderEvent(0, TranscriptEvent(EventKind.USAGE)), now)
    assert engine.deadline() == pytest.approx(
        4.8
    )  # three seconds, and one second processed at 1.25x


def test_a_second_connection_that_repeats_nothing_proves_nothing() -> None:
    """It was sent committed words, too. So a third one is asked for what the first left out."""
    sim = Simulation(TWO, [Recognizer("a", [LostTail()] * 2)], tail=0.1).run(within=4)
    assert_promises(sim)
    assert sim.opened == ["a", "a", "a"]


# --- replays


def test_silence_is_cut_out_of_a_replay() -> None:
    """A replay keeps 0.3 s of a long silence, and the times of words stay correct."""
    words = speak(("one", 0.5, 0.4), ("two", 5.0, 0.4), ("three", 5.0, 0.4))
    sim = Simulation(words, [Recognizer("a", down=[(0.0, 12.4)])]).run()
    assert_promises(sim)
    assert_times(sim, within=0.001)
    (replayed,) = events(sim, Replayed)
    assert replayed.silence_trimmed == pytest.approx(2 * (5.0 - 0.3), abs=0.01)
    # The replay begins 0.15 s before the first word, and the newest audio is never trimmed.
    assert replayed.seconds == pytest.approx(replayed.at - 0.35 - replayed.silence_trimmed)


def test_a_replay_begins_between_words() -> None:
    """A replay that begins in mid-speech begins in the gap before one of the last two words."""
    gaps = [0.6, 0.1, 0.24, 0.1, 0.1, 0.1]
    words = speak(*[(w, gap, 0.4) for w, gap in zip(WORDS, gaps, strict=False)])
    at = words[4].end + 0.35
    drop = [Drop(at, kind=ErrorKind.SERVER)]
    sim = Simulation(words, [Recognizer("a", drop, most=4, latency=0.1), Recognizer("b")]).run()
    assert_promises(sim)
    second = next(c for _, c in sim.commands if isinstance(c, OpenConnection) and c.connection == 1)
    assert second.start / RATE == pytest.approx(words[2].start - 0.12, abs=0.001)


def test_audio_that_comes_at_once_is_sent_at_its_pace() -> None:
    """Audio that is pushed faster than real time is sent at the pace, and all of it comes."""
    words = speak(*[(w, 0.1 if i % 5 else 0.6, 0.3) for i, w in enumerate(VOCABULARY[:60])])
    sim = Simulation(words, [Recognizer("a", [Drop(2.0)])], rush=100).run(within=30)
    assert_promises(sim)
    assert_times(sim, within=0.001)


# --- breakers


def test_an_open_breaker_skips_a_provider() -> None:
    """A stream begins on the first provider whose breaker admits it."""
    sim = Simulation(TWO, [Recognizer("a"), Recognizer("b")])
    for _ in range(3):
        sim.health["a"].breaker.record_failure(ErrorKind.SERVER, sim.now)
    assert_promises(sim.run())
    assert sim.served == ["b"]


def test_text_closes_a_breaker() -> None:
    """Text from a provider closes its breaker."""
    sim = Simulation(TWO, [Recognizer("a", [Refuse(ErrorKind.SERVER)] * 3)]).run()
    assert sim.health["a"].breaker.state(sim.now) is BreakerState.CLOSED


# --- the events of one connection


def test_final_without_any_audio() -> None:
    """A final is emitted even if its connection was sent no audio."""
    engine = alone()
    engine.handle(StreamOpened(), 0.0)
    engine.handle(InputEnded(), 0.0)
    out = engine.handle(ProviderEvent(0, TranscriptEvent(FINAL, "hello")), 0.1)
    assert Emit(FINAL, "hello", provider="a") in out
    out = engine.handle(ConnectionEnded(0), 0.2)
    commands = [type(c) for c in out if not isinstance(c, ReportEvent)]
    assert commands == [CloseConnection, Finish]


@pytest.mark.parametrize("vad_enabled", [True, False])
def test_final_without_times(vad_enabled: bool) -> None:
    """A final without times is emitted as it is."""
    recognizer = Recognizer("a", times="none")
    sim = Simulation(TWO, [recognizer], vad_enabled=vad_enabled, tail=1.0).run(within=1)
    assert_promises(sim)
    assert all(e.start is None and e.end is None for e in sim.finals)
    assert sim.opened == ["a"]


def test_flush_is_sent_at_its_place() -> None:
    """A flush is sent between the audio before it and the audio after it, also in a replay."""
    flush = TWO[3].end + 0.5
    recognizer = Recognizer("a", [Refuse(after=1.5)], endpointing=9.0, final_timeout=9.0)
    sim = Simulation(TWO, [recognizer, replace(recognizer, name="b", faults=())], flushes=[flush])
    sim.run()
    assert_promises(sim)
    assert [e.text.split() for e in sim.finals] == [WORDS[:4], WORDS[4:]]


def test_flush_before_any_audio() -> None:
    """A flush before the first frame is sent."""
    engine = alone(manual_flush=True)
    engine.handle(StreamOpened(), 0.0)
    assert FlushConnection(0) in engine.handle(FlushRequested(), 0.0)


def test_flush_at_the_very_end() -> None:
    """A flush at the end of input is sent before the end."""
    engine = alone(manual_flush=True)
    engine.handle(StreamOpened(), 0.0)
    engine.handle(AudioPushed(1600, RATE), 0.1)
    assert FlushConnection(0) in engine.handle(FlushRequested(), 0.1)
    assert EndInput(0) in engine.handle(InputEnded(), 0.1)


def test_an_empty_final_commits_nothing() -> None:
    """A final without words is not emitted and commits nothing: its audio is replayed."""
    engine = alone()
    for event in (StreamOpened(), AudioPushed(RATE, RATE), SpeechStarted(0)):
        engine.handle(event, 1.0)
    out = engine.handle(ProviderEvent(0, TranscriptEvent(FINAL, " ", (), 0.0, 0.9)), 1.0)
    assert not [c for c in out if isinstance(c, Emit)]
    out = engine.handle(ConnectionFailed(0, ErrorKind.DROPPED), 1.1)
    assert OpenConnection(1, "a", 0) in out


def test_speech_that_was_announced_and_never_transcribed_is_replayed() -> None:
    """A connection gives one untimed word, announces speech, and ends: the rest is replayed."""
    words = speak(("bab", 0.4, 0.25), ("bad", 1.0, 0.25), ("baf", 0.0, 0.25))
    one_by_one = Recognizer("a", times="none", latency=0.9, endpointing=0.1, speed=1.25, most=1)
    mute = replace(one_by_one, faults=[EndCleanly(3.0)], interims=False, flushes=False)
    assert_promises(Simulation(words, [mute]).run(within=60))


def test_an_untimed_final_in_the_middle_of_speech_commits_nothing() -> None:
    """A final without times does not commit a segment that went on after it."""
    engine = alone()
    for event in (StreamOpened(), AudioPushed(RATE, RATE), SpeechStarted(0)):
        engine.handle(event, 1.0)
    engine.handle(ProviderEvent(0, TranscriptEvent(FINAL, "half of it")), 1.0)
    for now in (2.0, 2.5):
        engine.handle(AudioPushed(RATE, RATE), now)
    engine.handle(SpeechEnded(2 * RATE), 2.5)
    out = engine.handle(ConnectionFailed(0, ErrorKind.DROPPED), 2.6)
    assert OpenConnection(1, "a", 0) in out


def test_an_untimed_final_commits_its_segment_later() -> None:
    """A final without times commits the segment before it once the connection has outlived it."""
    words = speak(*sentence("one two three"))
    for tail, start in ((1.5, words[0].start - 0.15), (4.0, words[-1].end + 0.15)):
        late = [Drop(words[-1].end + tail, kind=ErrorKind.SERVER)]
        sim = Simulation(words, [Recognizer("a", late, times="none"), Recognizer("b")], tail=5.0)
        assert_promises(sim.run())
        second = next(
            c for _, c in sim.commands if isinstance(c, OpenConnection) and c.connection == 1
        )
        assert second.start / RATE >= start - 0.001


def test_long_turns_in_one_final_do_not_pile_up() -> None:
    """A provider that puts several segments into one final does not fill the ledger."""
    words = speak(*[(w, 0.05 if i % 2 else 0.45, 0.3) for i, w in enumerate(VOCABULARY[:60])])
    turns = Recognizer("a", times="none", endpointing=0.4, most=8)
    sim = Simulation(words, [turns], policies=Policies(replay=ReplayPolicy(window=15.0))).run()
    assert_promises(sim)


def test_usage_is_emitted() -> None:
    """A USAGE event of a provider reaches the consumer."""
    engine, source = alone(), object()
    engine.handle(StreamOpened(), 0.0)
    out = engine.handle(ProviderEvent(0, TranscriptEvent(EventKind.USAGE, source=source)), 0.0)
    assert Emit(EventKind.USAGE, source=source) in out


def test_events_of_a_closed_connection_are_ignored() -> None:
    """Events and the end of a connection are ignored once it was closed."""
    engine = alone(2)
    engine.handle(StreamOpened(), 0.0)
    engine.handle(ConnectionFailed(0, ErrorKind.SERVER), 0.1)
    for late in (
        ProviderEvent(0, TranscriptEvent(FINAL, "late")),
        ConnectionFailed(0, ErrorKind.AUTH),
        ConnectionEnded(0),
    ):
        assert [c for c in engine.handle(late, 0.2) if not isinstance(c, ReleaseAudio)] == []


def test_a_finished_engine_does_nothing() -> None:
    """After the end, an engine returns no commands and has no deadline."""
    sim = Simulation(TWO, [Recognizer("a")]).run()
    assert sim.engine.handle(DeadlineReached(), sim.now) == []
    assert sim.engine.deadline() is None


class WithoutEndOfSpeech(FailoverEngine):
    """An engine whose first connection never sends END."""

    def handle(self, event: Input, now: float) -> list[Command]:
        if isinstance(event, ProviderEvent) and event.connection == 0 and event.event.kind is END:
            event = DeadlineReached()
        return super().handle(event, now)


@pytest.mark.parametrize("down", [(), [(2.2, 5.0)]])
def test_orphaned_speech_is_ended(down: list[tuple[float, float]]) -> None:
    """END is emitted for speech of a dead connection once its words came and the user is silent."""
    words = speak(*sentence("one two three"), ("four", 6.0, 0.3))
    drop = Drop(words[2].end + 0.6)  # the final is out, the end of speech is not
    sim = Simulation(words, [Recognizer("a", [drop], down, latency=0.1)])
    sim.engine.__class__ = WithoutEndOfSpeech
    sim.run()
    assert_promises(sim)
    ended = next(t for t, c in sim.commands if isinstance(c, Emit) and c.kind is END)
    assert ended - sim.base == pytest.approx(words[2].end + 0.7, abs=0.06)


def test_speech_that_is_open_at_the_end_is_ended() -> None:
    """END is emitted before the stream ends."""
    engine = alone()
    engine.handle(StreamOpened(), 0.0)
    engine.handle(ProviderEvent(0, TranscriptEvent(START)), 0.1)
    engine.handle(InputEnded(), 0.2)
    out = engine.handle(ConnectionEnded(0), 0.3)
    assert [c.kind for c in out if isinstance(c, Emit)] == [END]


def test_changed_options_renew_the_connection() -> None:
    """When its provider's options change, a connection is replaced, which is not a failure."""
    engine = alone(2, vad_enabled=False)
    engine.handle(StreamOpened(), 0.0)
    engine.handle(AudioPushed(RATE, RATE), 1.0)
    assert not [c for c in engine.handle(OptionsChanged("b"), 1.0) if isinstance(c, OpenConnection)]
    out = [c for c in engine.handle(OptionsChanged("a"), 1.0) if not isinstance(c, ReportEvent)]
    assert out[:2] == [CloseConnection(0), OpenConnection(1, "a", 0)]
    assert SendAudio(1, 0, RATE // 5) in out
    assert engine.failures_in_a_row == 0


def test_a_connection_whose_clock_restarts_was_dropped() -> None:
    """A plugin that reconnects by itself loses audio in flight, so its connection is replaced."""
    engine = alone(vad_enabled=False)
    engine.handle(StreamOpened(), 0.0)
    for now in range(1, 7):
        engine.handle(AudioPushed(RATE, RATE), float(now))
    first = TranscriptEvent(FINAL, "one", (Word("one", 4.0, 4.4),), 4.0, 4.4)
    assert Emit(FINAL, "one", first.words, 4.0, 4.4, provider="a") in engine.handle(
        ProviderEvent(0, first), 6.0
    )
    again = TranscriptEvent(INTERIM, "two", (Word("two", 0.1, 0.4),), 0.1, 0.4)
    out = engine.handle(ProviderEvent(0, again), 6.5)
    assert not [c for c in out if isinstance(c, Emit)]
    assert [c for c in out if isinstance(c, OpenConnection)] == [
        OpenConnection(1, "a", round(3.85 * RATE))
    ]


def test_audio_before_the_stream_is_opened_is_kept() -> None:
    """Audio that is pushed before the first connection is opened is sent to it."""
    engine = alone()
    assert engine.handle(AudioPushed(800, RATE), 0.0) == [ReleaseAudio(0)]
    assert engine.deadline() is None
    assert SendAudio(0, 0, 800) in engine.handle(StreamOpened(), 0.1)


def test_impossible_times_are_ignored() -> None:
    """A final with impossible times is treated as one without times."""
    engine = alone()
    engine.handle(StreamOpened(), 0.0)
    engine.handle(AudioPushed(RATE, RATE), 1.0)
    for event in (
        TranscriptEvent(FINAL, "a", (Word("a", math.nan, 0.5),), 0.1, math.nan),
        TranscriptEvent(FINAL, "a", (Word("a", 0.1, 9.5),), 0.1, 9.5),
        TranscriptEvent(FINAL, "a", (), 0.3, -1.0),
    ):
        out = engine.handle(ProviderEvent(0, event), 1.0)
        assert next(c for c in out if isinstance(c, Emit)) == Emit(FINAL, "a", provider="a")
    out = engine.handle(ProviderEvent(0, TranscriptEvent(FINAL, "a", (), 0.7, 0.5)), 1.0)
    assert out[0] == Emit(FINAL, "a", (), None, 0.5, provider="a")


# --- inputs that are mistakes of the caller


def test_an_engine_needs_a_provider() -> None:
    """A route without a provider raises AssertionError."""
    with pytest.raises(AssertionError, match="provider"):
        routing([])


@pytest.mark.parametrize(
    ("before", "event"),
    [
        ([StreamOpened()], StreamOpened()),
        ([StreamOpened(), AudioPushed(10, 8000)], AudioPushed(10, 16000)),
        ([StreamOpened()], AudioPushed(10, 0)),
        ([StreamOpened()], AudioPushed(-1, 8000)),
        ([StreamOpened(), InputEnded()], AudioPushed(10, 8000)),
        ([StreamOpened(), InputEnded()], FlushRequested()),
        ([StreamOpened(), SpeechStarted(0)], SpeechStarted(5)),
        ([StreamOpened()], SpeechEnded(5)),
    ],
)
def test_impossible_inputs(before: list[Input], event: Input) -> None:
    """An order of inputs that no shell may produce raises AssertionError."""
    engine = alone()
    for earlier in before:
        engine.handle(earlier, 0.0)
    with pytest.raises(AssertionError):
        engine.handle(event, 0.0)


def test_an_engine_shows_its_state() -> None:
    """The repr shows the state and the connections."""
    engine = alone()
    assert repr(engine).startswith("FailoverEngine(ConnectionPool([], LossTracker(gone=0")
    engine.handle(StreamOpened(), 0.0)
    assert "a#0 active" in repr(engine)


# --- any input in any state

numbers = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-1, 30)
texts = st.text(max_size=20) | st.sampled_from(["one two", "two three", "", " ", "x" * 5000])
words = st.lists(st.builds(Word, texts, numbers, numbers), max_size=4).map(tuple)
maybe = st.none() | numbers
event = st.builds(
    TranscriptEvent,
    st.sampled_from(EventKind),
    texts,
    words,
    maybe,
    maybe,
    st.sampled_from(["", "en", "zh"]),
)
connections = st.integers(0, 4)
waits = st.floats(0, 2)
inputs: st.SearchStrategy[Input] = st.one_of(
    st.builds(AudioPushed, st.integers(0, 40_000), st.just(RATE)),
    st.just(FlushRequested()),
    st.just(InputEnded()),
    st.builds(SpeechStarted, st.integers(-10, 500_000)),
    st.builds(SpeechEnded, st.integers(-10, 500_000)),
    st.builds(OptionsChanged, st.sampled_from("abc")),
    st.builds(ProviderEvent, connections, event),
    st.builds(
        ConnectionFailed, connections, st.sampled_from(ErrorKind), st.just("x"), maybe, waits
    ),
    st.builds(ConnectionEnded, connections, waits),
    st.builds(DeadlineReached, waits),
)


@given(st.lists(st.tuples(inputs, st.floats(0, 3)), max_size=40), st.booleans())
@settings(max_examples=200)
def test_no_input_raises(script: list[tuple[Input, float]], vad_enabled: bool) -> None:
    """Whatever a connection sends and whenever it fails, the engine does not raise."""
    engine = alone(2, vad_enabled=vad_enabled)
    engine.handle(StreamOpened(), 0.0)
    now, ended, speaking, connections = 0.0, False, False, {0}
    for event, later in script:
        now += later
        if ended and isinstance(event, AudioPushed | FlushRequested):
            continue
        if isinstance(event, SpeechStarted | SpeechEnded):
            if isinstance(event, SpeechStarted) is speaking:
                continue
            speaking = not speaking
        ended = ended or isinstance(event, InputEnded)
        for command in engine.handle(event, now):
            if isinstance(command, OpenConnection):
                assert command.connection not in connections
                connections.add(command.connection)
            elif isinstance(command, CloseConnection):
                connections.remove(command.connection)
            elif isinstance(command, SendAudio | FlushConnection | EndInput):
                assert command.connection in connections
        due = engine.deadline()
        assert due is None or math.isfinite(due)
    assert not (engine.done and connections)


@pytest.mark.parametrize("kind", [EventKind.START, EventKind.FINAL])
def test_providers_that_send_one_event_and_drop_make_an_outage(kind: EventKind) -> None:
    """Two providers that always drop after one event make an outage, not an endless loop."""
    policies = Policies()
    route = [ProviderTraits(name="a"), ProviderTraits(name="b")]
    health = {p.name: ProviderHealth(Breaker(policies.breaker)) for p in route}
    engine = FailoverEngine(routing(route), health, policies, HedgeBudget(), vad_enabled=True)
    commands = engine.handle(StreamOpened(), 0.0)
    opened = 0
    while connections := [c for c in commands if isinstance(c, OpenConnection)]:
        opened += len(connections)
        connection = connections[-1].connection
        engine.handle(ProviderEvent(connection, TranscriptEvent(kind)), 0.0)
        commands = engine.handle(ConnectionFailed(connection, ErrorKind.DROPPED, backoff=0.1), 0.0)
    assert opened <= 8
    assert ReportEvent(OutageStarted(at=0.0)) in commands
