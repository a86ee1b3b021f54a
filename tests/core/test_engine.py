from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilient_stt.core.engine import FailoverEngine
from resilient_stt.core.events import ErrorKind, OutageStarted, ProviderFailed, Replayed, Switched
from resilient_stt.core.health.breaker import Breaker, BreakerState
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
    recognisers,
    simulations,
    speeches,
)
from ..support.simulator import (
    HANGS,
    RATE,
    Drops,
    DropsAtEnd,
    EndsEarly,
    Fault,
    LosesTail,
    NeverEnds,
    Recogniser,
    Refused,
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


@given(speeches(), recognisers("a"))
@settings(max_examples=30)
def test_every_word_once_without_voice_activity(
    words: list[Spoken], recogniser: Recogniser
) -> None:
    """With word times, no local voice activity is needed to give each word once."""
    quiet = replace(recogniser, faults=[f for f in recogniser.faults if not _ends_badly(f)])
    sim = Simulation(words, [quiet, Recogniser("b")], vad_enabled=False).run(within=60)
    assert_promises(sim)


def _ends_badly(fault: Fault | None) -> bool:
    """Without voice activity nothing is owed: a leg that ends without an error is believed."""
    return isinstance(fault, NeverEnds | EndsEarly)


# --- one fault at a time


def test_nothing_goes_wrong() -> None:
    """Without a fault one connection tells everything, and nothing is reported."""
    sim = Simulation(TWO, [Recogniser("a"), Recogniser("b")]).run(within=1)
    assert_promises(sim)
    assert sim.opened == ["a"]
    assert sim.events == []
    assert sim.speech == [START, END] * 3


def test_live_audio_is_sent_as_it_comes() -> None:
    """A connection that is not behind gets every frame at once."""
    sim = Simulation(TWO, [Recogniser("a", pace=Pace(burst=0.05, rate=1.0))]).run()
    sent = [(t, c.end) for t, c in sim.commands if isinstance(c, SendAudio)]
    assert sent[-1][1] == sim.pushed
    assert all(t - sim.base == pytest.approx(end / RATE) for t, end in sent)


def test_dropped_once() -> None:
    """A connection that worked and was dropped is reopened on the same provider, at once."""
    sim = Simulation(TWO, [Recogniser("a", [Drops(3.0)]), Recogniser("b")]).run(within=1)
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
    """A leg that is dropped before it said anything is not reopened: the next provider serves."""
    sim = Simulation(TWO, [Recogniser("a", [Drops(0.3)]), Recogniser("b")]).run(within=1)
    assert_promises(sim)
    assert sim.served == ["a", "b"]


def test_dropped_for_good() -> None:
    """A provider that stays down after a drop is left, and said to be unavailable."""
    sim = Simulation(TWO, [Recogniser("a", down=[(3.0, 99)]), Recogniser("b")]).run(within=1)
    assert_promises(sim)
    assert sim.opened == ["a", "a", "b"]
    assert ReportAvailability("a", False) in [c for _, c in sim.commands]
    assert [c.provider for _, c in sim.commands if isinstance(c, SetServing)] == ["a", "a", "b"]


def test_dropped_again_and_again() -> None:
    """A provider that works and drops is reopened three times, then left."""
    policies = Policies(breaker=BreakerPolicy(minimum_calls=99))
    route = [Recogniser("a", [Drops(1.5)] * 9), Recogniser("b")]
    sim = Simulation(TWO, route, policies=policies).run(within=1)
    assert_promises(sim)
    assert sim.served == ["a", "a", "a", "a", "b"]


def test_drops_make_half_of_the_outcomes() -> None:
    """A provider that drops as often as it works is left, though it may be reopened still."""
    sim = Simulation(TWO, [Recogniser("a", [Drops(1.5)] * 9), Recogniser("b")]).run(within=1)
    assert_promises(sim)
    assert sim.served == ["a", "a", "a", "b"]


def test_a_server_error_leaves_the_provider() -> None:
    """What is not a drop is answered with the next provider, also from a connection that worked."""
    faults = [Drops(3.0, kind=ErrorKind.SERVER)]
    sim = Simulation(TWO, [Recogniser("a", faults), Recogniser("b")]).run(within=1)
    assert_promises(sim)
    assert sim.served == ["a", "b"]


def test_both_in_turn() -> None:
    """Two providers that fail in turn hand over to each other without an outage."""
    broken = [Drops(1.6, kind=ErrorKind.SERVER)] * 2
    sim = Simulation(TWO, [Recogniser("a", broken), Recogniser("b", broken)]).run(within=2)
    assert_promises(sim)
    assert sim.opened == ["a", "b", "a", "b", "a"]
    assert events(sim, OutageStarted) == []


@pytest.mark.parametrize("word", range(len(TWO)))
@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
def test_dropped_in_the_middle_of_a_word(word: int, part: float) -> None:
    """A drop inside any word loses and repeats nothing."""
    at = TWO[word].start + part * (TWO[word].end - TWO[word].start)
    faults = [Drops(at, kind=ErrorKind.SERVER)]
    sim = Simulation(TWO, [Recogniser("a", faults), Recogniser("b")]).run(within=1)
    assert_promises(sim)
    assert_times(sim, within=0.001)


def test_a_dying_connection_tells_what_it_has() -> None:
    """Words in a last partial final of a dying connection are not repeated by the next one."""
    at = (TWO[6].start + TWO[6].end) / 2
    faults = [Drops(at, telling=True, kind=ErrorKind.SERVER)]
    sim = Simulation(TWO, [Recogniser("a", faults), Recogniser("b")]).run(within=1)
    assert_promises(sim)


def test_a_hanging_handshake() -> None:
    """Speech during a handshake that hangs is replayed to the next provider."""
    sim = Simulation(TWO, [Recogniser("a", [HANGS]), Recogniser("b")]).run(within=1)
    assert_promises(sim)
    (failed,) = events(sim, ProviderFailed)
    assert failed.at == 1.5


def test_a_clean_end_with_the_input_open_is_a_failure() -> None:
    """A connection that ends without an error while it is fed is replaced."""
    sim = Simulation(TWO, [Recogniser("a", [EndsEarly(4.0)])]).run(within=1)
    assert_promises(sim)
    assert sim.opened == ["a", "a"]


@pytest.mark.parametrize("fault", [DropsAtEnd(), LosesTail(), NeverEnds(telling=False)])
def test_a_tail_that_is_missing(fault: Fault) -> None:
    """Words that are still owed after the end of input are fetched from another connection."""
    sim = Simulation(TWO, [Recogniser("a", [fault]), Recogniser("b")], tail=0.1).run(within=6)
    assert_promises(sim)
    assert len(sim.opened) == 2


@pytest.mark.parametrize("silent", ["b", "bc"])
def test_a_tail_that_is_missing_without_hedging(silent: str) -> None:
    """Without hedges the next one is switched to; a second one that ends so is believed."""
    policies = Policies(watchdog=WatchdogPolicy(hedging=False))
    words = speak(*sentence("one two three"), noise(1.0, 0.6))
    sim = Simulation(words, [Recogniser(n) for n in "a" + silent], policies=policies, tail=0.1)
    assert_promises(sim.run(within=4))
    assert sim.opened == ["a", "b"]


def test_a_connection_that_never_ends() -> None:
    """A connection that has told everything and does not end is given up without another."""
    sim = Simulation(TWO, [Recogniser("a", [NeverEnds()]), Recogniser("b")]).run(within=4)
    assert_promises(sim)
    assert sim.opened == ["a"]


def test_a_connection_that_never_falls_silent() -> None:
    """A leg that goes on saying nothing new after the end of input does not keep the stream."""
    session = alone()
    for event in (StreamOpened(), AudioPushed(RATE, RATE), InputEnded()):
        session.handle(event, 1.0)
    now = 1.0
    while not session.done:
        due = session.deadline()
        assert due is not None
        now = min(now + 1.0, due)
        session.handle(
            ProviderEvent(0, TranscriptEvent(INTERIM, "and")) if now < due else DeadlineReached(),
            now,
        )
    assert now == pytest.approx(61.8)  # the outage limit, and a second heard at 1.25x


def test_usage_is_no_sign_of_life() -> None:
    """What a connection says about usage does not make it a connection that works."""
    session = alone()
    for event in (StreamOpened(), AudioPushed(RATE, RATE), InputEnded()):
        session.handle(event, 1.0)
    for now in (2.0, 3.0):
        session.handle(ProviderEvent(0, TranscriptEvent(EventKind.USAGE)), now)
    assert session.deadline() == pytest.approx(4.8)  # three seconds, and one heard at 1.25x


def test_noise_that_nobody_hears_words_in() -> None:
    """A second connection that hears no words in what the first left out is believed."""
    sim = Simulation(TWO, [Recogniser("a", [LosesTail()] * 2)], tail=0.1).run(within=3)
    assert sim.text == WORDS[:8]
    assert sim.opened == ["a", "a"]


# --- replays


def test_silence_is_cut_out_of_a_replay() -> None:
    """Of long silence in a replay 0.3 s is left, and the times stay true."""
    words = speak(("one", 0.5, 0.4), ("two", 5.0, 0.4), ("three", 5.0, 0.4))
    sim = Simulation(words, [Recogniser("a", down=[(0.0, 12.4)])]).run()
    assert_promises(sim)
    assert_times(sim, within=0.001)
    (replayed,) = events(sim, Replayed)
    assert replayed.silence_trimmed == pytest.approx(2 * (5.0 - 0.3), abs=0.01)
    # what is not cut: from 0.15 s before the first word on, and the newest audio
    assert replayed.seconds == pytest.approx(replayed.at - 0.35 - replayed.silence_trimmed)


def test_a_replay_begins_between_words() -> None:
    """In the middle of speech, a replay begins in a gap before one of the last two words."""
    gaps = [0.6, 0.1, 0.24, 0.1, 0.1, 0.1]
    words = speak(*[(w, gap, 0.4) for w, gap in zip(WORDS, gaps, strict=False)])
    at = words[4].end + 0.35
    drop = [Drops(at, kind=ErrorKind.SERVER)]
    sim = Simulation(words, [Recogniser("a", drop, most=4, latency=0.1), Recogniser("b")]).run()
    assert_promises(sim)
    second = next(c for _, c in sim.commands if isinstance(c, OpenConnection) and c.connection == 1)
    assert second.start / RATE == pytest.approx(words[2].start - 0.12, abs=0.001)


def test_audio_that_comes_at_once_is_sent_at_its_pace() -> None:
    """Audio pushed faster than real time is paced, transcribed to its end, and none is lost."""
    words = speak(*[(w, 0.1 if i % 5 else 0.6, 0.3) for i, w in enumerate(VOCABULARY[:60])])
    sim = Simulation(words, [Recogniser("a", [Drops(2.0)])], rush=100).run(within=30)
    assert_promises(sim)
    assert_times(sim, within=0.001)


# --- breakers


def test_an_open_breaker_moves_a_provider_back() -> None:
    """A stream begins on the first provider whose breaker admits it."""
    sim = Simulation(TWO, [Recogniser("a"), Recogniser("b")])
    for _ in range(3):
        sim.health["a"].breaker.record_failure(ErrorKind.SERVER, sim.now)
    assert_promises(sim.run())
    assert sim.served == ["b"]


def test_text_closes_a_breaker() -> None:
    """A provider that gives text is healthy again."""
    sim = Simulation(TWO, [Recogniser("a", [Refused(ErrorKind.SERVER)] * 3)]).run()
    assert sim.health["a"].breaker.state(sim.now) is BreakerState.CLOSED


# --- what one connection says


def test_final_without_any_audio() -> None:
    """A provider that speaks without having been sent audio is believed."""
    session = alone()
    session.handle(StreamOpened(), 0.0)
    session.handle(InputEnded(), 0.0)
    out = session.handle(ProviderEvent(0, TranscriptEvent(FINAL, "hello")), 0.1)
    assert Emit(FINAL, "hello", provider="a") in out
    out = session.handle(ConnectionEnded(0), 0.2)
    assert [type(c) for c in out] == [CloseConnection, Finish]


@pytest.mark.parametrize("vad_enabled", [True, False])
def test_final_without_times(vad_enabled: bool) -> None:
    """A final without times is given on as it is."""
    recogniser = Recogniser("a", times="none")
    sim = Simulation(TWO, [recogniser], vad_enabled=vad_enabled, tail=1.0).run(within=1)
    assert_promises(sim)
    assert all(e.start is None and e.end is None for e in sim.finals)
    assert sim.opened == ["a"]


def test_flush_is_given_at_its_place() -> None:
    """A flush reaches the connection between the audio before and after it, also in a replay."""
    flush = TWO[3].end + 0.5
    recogniser = Recogniser("a", [Refused(after=1.5)], endpointing=9.0, final_timeout=9.0)
    sim = Simulation(TWO, [recogniser, replace(recogniser, name="b", faults=())], flushes=[flush])
    sim.run()
    assert_promises(sim)
    assert [e.text.split() for e in sim.finals] == [WORDS[:4], WORDS[4:]]


def test_flush_before_any_audio() -> None:
    """A flush before the first frame is given on."""
    session = alone()
    session.handle(StreamOpened(), 0.0)
    assert FlushConnection(0) in session.handle(FlushRequested(), 0.0)


def test_flush_at_the_very_end() -> None:
    """A flush at the end of input comes before the end."""
    session = alone()
    session.handle(StreamOpened(), 0.0)
    session.handle(AudioPushed(1600, RATE), 0.1)
    assert FlushConnection(0) in session.handle(FlushRequested(), 0.1)
    assert EndInput(0) in session.handle(InputEnded(), 0.1)


def test_an_empty_final_settles_nothing() -> None:
    """A final without a word is given on, but its audio still owes words."""
    session = alone()
    for event in (StreamOpened(), AudioPushed(RATE, RATE), SpeechStarted(0)):
        session.handle(event, 1.0)
    out = session.handle(ProviderEvent(0, TranscriptEvent(FINAL, " ", (), 0.0, 0.9)), 1.0)
    assert not [c for c in out if isinstance(c, Emit)]
    out = session.handle(ConnectionFailed(0, ErrorKind.DROPPED), 1.1)
    assert OpenConnection(1, "a", 0) in out


def test_what_a_connection_announced_and_never_told_is_asked_for_again() -> None:
    """Of one breath it tells a word without times, announces another, and ends."""
    words = speak(("bab", 0.4, 0.25), ("bad", 1.0, 0.25), ("baf", 0.0, 0.25))
    one_by_one = Recogniser("a", times="none", latency=0.9, endpointing=0.1, speed=1.25, most=1)
    mute = replace(one_by_one, faults=[EndsEarly(3.0)], interims=False, flushes=False)
    assert_promises(Simulation(words, [mute]).run(within=60))


def test_an_untimed_final_in_the_middle_of_speech_settles_nothing() -> None:
    """A final without times speaks for no segment that went on after it."""
    session = alone()
    for event in (StreamOpened(), AudioPushed(RATE, RATE), SpeechStarted(0)):
        session.handle(event, 1.0)
    session.handle(ProviderEvent(0, TranscriptEvent(FINAL, "half of it")), 1.0)
    for now in (2.0, 2.5):
        session.handle(AudioPushed(RATE, RATE), now)
    session.handle(SpeechEnded(2 * RATE), 2.5)
    out = session.handle(ConnectionFailed(0, ErrorKind.DROPPED), 2.6)
    assert OpenConnection(1, "a", 0) in out


def test_an_untimed_final_settles_its_segment_in_the_end() -> None:
    """A final without times settles the segment before it, once the connection has lived on."""
    words = speak(*sentence("one two three"))
    for tail, start in ((1.5, words[0].start - 0.15), (4.0, words[-1].end + 0.15)):
        late = [Drops(words[-1].end + tail, kind=ErrorKind.SERVER)]
        sim = Simulation(words, [Recogniser("a", late, times="none"), Recogniser("b")], tail=5.0)
        assert_promises(sim.run())
        second = next(
            c for _, c in sim.commands if isinstance(c, OpenConnection) and c.connection == 1
        )
        assert second.start / RATE >= start - 0.001


def test_long_turns_told_in_one_final_do_not_pile_up() -> None:
    """A provider that tells several segments in one final does not fill the ledger."""
    words = speak(*[(w, 0.05 if i % 2 else 0.45, 0.3) for i, w in enumerate(VOCABULARY[:60])])
    turns = Recogniser("a", times="none", endpointing=0.4, most=8)
    sim = Simulation(words, [turns], policies=Policies(replay=ReplayPolicy(window=15.0))).run()
    assert_promises(sim)


def test_usage_is_passed_on() -> None:
    """What a provider says about usage reaches the consumer."""
    session, source = alone(), object()
    session.handle(StreamOpened(), 0.0)
    out = session.handle(ProviderEvent(0, TranscriptEvent(EventKind.USAGE, source=source)), 0.0)
    assert Emit(EventKind.USAGE, source=source) in out


def test_a_closed_connection_is_not_heard() -> None:
    """What a connection says, or how it ends, after it was closed counts for nothing."""
    session = alone(2)
    session.handle(StreamOpened(), 0.0)
    session.handle(ConnectionFailed(0, ErrorKind.SERVER), 0.1)
    for late in (
        ProviderEvent(0, TranscriptEvent(FINAL, "late")),
        ConnectionFailed(0, ErrorKind.AUTH),
        ConnectionEnded(0),
    ):
        assert [c for c in session.handle(late, 0.2) if not isinstance(c, ReleaseAudio)] == []


def test_a_finished_session_does_nothing() -> None:
    """After the end, nothing is answered and nothing is waited for."""
    sim = Simulation(TWO, [Recogniser("a")]).run()
    assert sim.session.handle(DeadlineReached(), sim.now) == []
    assert sim.session.deadline() is None


class Endless(FailoverEngine):
    """Hears a first connection that never says END."""

    def handle(self, event: Input, now: float) -> list[Command]:
        if isinstance(event, ProviderEvent) and event.connection == 0 and event.event.kind is END:
            event = DeadlineReached()
        return super().handle(event, now)


@pytest.mark.parametrize("down", [(), [(2.2, 5.0)]])
def test_orphaned_speech_is_ended(down: list[tuple[float, float]]) -> None:
    """Speech that a dead connection announced, and told, is ended once nobody speaks."""
    words = speak(*sentence("one two three"), ("four", 6.0, 0.3))
    drop = Drops(words[2].end + 0.6)  # the final is out, the end of speech is not
    sim = Simulation(words, [Recogniser("a", [drop], down, latency=0.1)])
    sim.session.__class__ = Endless
    sim.run()
    assert_promises(sim)
    ended = next(t for t, c in sim.commands if isinstance(c, Emit) and c.kind is END)
    assert ended - sim.base == pytest.approx(words[2].end + 0.7, abs=0.06)


def test_speech_that_is_open_at_the_end_is_ended() -> None:
    """A stream never ends in the middle of speech."""
    session = alone()
    session.handle(StreamOpened(), 0.0)
    session.handle(ProviderEvent(0, TranscriptEvent(START)), 0.1)
    session.handle(InputEnded(), 0.2)
    out = session.handle(ConnectionEnded(0), 0.3)
    assert [c.kind for c in out if isinstance(c, Emit)] == [END]


def test_changed_options_renew_the_connection() -> None:
    """A leg whose provider's options change is opened anew, and that counts as no failure."""
    session = alone(2, vad_enabled=False)
    session.handle(StreamOpened(), 0.0)
    session.handle(AudioPushed(RATE, RATE), 1.0)
    assert not [
        c for c in session.handle(OptionsChanged("b"), 1.0) if isinstance(c, OpenConnection)
    ]
    out = session.handle(OptionsChanged("a"), 1.0)
    assert out[:2] == [CloseConnection(0), OpenConnection(1, "a", 0)]
    assert SendAudio(1, 0, RATE // 5) in out
    assert session.failures_in_a_row == 0


def test_a_connection_whose_clock_begins_anew_was_dropped() -> None:
    """A plugin that reconnects behind our back has lost what was in flight: it is opened anew."""
    session = alone(vad_enabled=False)
    session.handle(StreamOpened(), 0.0)
    for now in range(1, 7):
        session.handle(AudioPushed(RATE, RATE), float(now))
    first = TranscriptEvent(FINAL, "one", (Word("one", 4.0, 4.4),), 4.0, 4.4)
    assert Emit(FINAL, "one", first.words, 4.0, 4.4, provider="a") in session.handle(
        ProviderEvent(0, first), 6.0
    )
    again = TranscriptEvent(INTERIM, "two", (Word("two", 0.1, 0.4),), 0.1, 0.4)
    out = session.handle(ProviderEvent(0, again), 6.5)
    assert not [c for c in out if isinstance(c, Emit)]
    assert [c for c in out if isinstance(c, OpenConnection)] == [
        OpenConnection(1, "a", round(3.85 * RATE))
    ]


def test_audio_before_the_stream_is_opened_is_kept() -> None:
    """Whatever is pushed before there is a connection, the first one is sent."""
    session = alone()
    assert session.handle(AudioPushed(800, RATE), 0.0) == [ReleaseAudio(0)]
    assert session.deadline() is None
    assert SendAudio(0, 0, 800) in session.handle(StreamOpened(), 0.1)


def test_unusable_times_are_not_used() -> None:
    """Times that cannot be are taken for no times."""
    session = alone()
    session.handle(StreamOpened(), 0.0)
    session.handle(AudioPushed(RATE, RATE), 1.0)
    for event in (
        TranscriptEvent(FINAL, "a", (Word("a", math.nan, 0.5),), 0.1, math.nan),
        TranscriptEvent(FINAL, "a", (Word("a", 0.1, 9.5),), 0.1, 9.5),
        TranscriptEvent(FINAL, "a", (), 0.3, -1.0),
    ):
        out = session.handle(ProviderEvent(0, event), 1.0)
        assert out[0] == Emit(FINAL, "a", provider="a")
    out = session.handle(ProviderEvent(0, TranscriptEvent(FINAL, "a", (), 0.7, 0.5)), 1.0)
    assert out[0] == Emit(FINAL, "a", (), None, 0.5, provider="a")


# --- what the session must not be told


def test_a_session_needs_a_provider() -> None:
    """A route without a provider is a mistake of the caller."""
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
    session = alone()
    for earlier in before:
        session.handle(earlier, 0.0)
    with pytest.raises(AssertionError):
        session.handle(event, 0.0)


def test_a_session_shows_its_state() -> None:
    """The repr tells where a session stands."""
    session = alone()
    assert repr(session).startswith("FailoverEngine(ConnectionPool([], LossTracker(gone=0")
    session.handle(StreamOpened(), 0.0)
    assert "a#0 active" in repr(session)


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
def test_no_input_is_too_much(script: list[tuple[Input, float]], vad_enabled: bool) -> None:
    """Whatever a connection says and whenever it fails, the session does not raise."""
    session = alone(2, vad_enabled=vad_enabled)
    session.handle(StreamOpened(), 0.0)
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
        for command in session.handle(event, now):
            if isinstance(command, OpenConnection):
                assert command.connection not in connections
                connections.add(command.connection)
            elif isinstance(command, CloseConnection):
                connections.remove(command.connection)
            elif isinstance(command, SendAudio | FlushConnection | EndInput):
                assert command.connection in connections
        due = session.deadline()
        assert due is None or math.isfinite(due)
    assert not (session.done and connections)


@pytest.mark.parametrize("kind", [EventKind.START, EventKind.FINAL])
def test_who_greets_and_drops_is_not_asked_in_a_circle(kind: EventKind) -> None:
    """Two providers that say something and drop make an outage, with its waits and its limit."""
    policies = Policies()
    route = [ProviderTraits(name="a"), ProviderTraits(name="b")]
    health = {p.name: ProviderHealth(Breaker(policies.breaker)) for p in route}
    session = FailoverEngine(routing(route), health, policies, HedgeBudget(), vad_enabled=True)
    commands = session.handle(StreamOpened(), 0.0)
    opened = 0
    while connections := [c for c in commands if isinstance(c, OpenConnection)]:
        opened += len(connections)
        connection = connections[-1].connection
        session.handle(ProviderEvent(connection, TranscriptEvent(kind)), 0.0)
        commands = session.handle(ConnectionFailed(connection, ErrorKind.DROPPED, backoff=0.1), 0.0)
    assert opened <= 8
    assert ReportEvent(OutageStarted(at=0.0)) in commands
