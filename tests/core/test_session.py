from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilient_stt.core.breaker import Breaker, State
from resilient_stt.core.commands import (
    Availability,
    CloseLeg,
    Command,
    Emit,
    EndLeg,
    Finish,
    FlushLeg,
    GiveUp,
    OpenLeg,
    Release,
    SendAudio,
    Serve,
)
from resilient_stt.core.health import Health
from resilient_stt.core.hedging import HedgeBudget
from resilient_stt.core.inputs import (
    AudioPushed,
    ErrorKind,
    Flushed,
    Input,
    InputEnded,
    LegEnded,
    LegFailed,
    LegSaid,
    Opened,
    OptionsChanged,
    Said,
    SaidKind,
    SpeechEnded,
    SpeechStarted,
    Woken,
    Word,
)
from resilient_stt.core.policy import Pace, Policies, Provider, ReplayPolicy, RetryPolicy
from resilient_stt.core.session import Session
from resilient_stt.events import (
    AudioLost,
    Degraded,
    Event,
    ProviderFailed,
    Replayed,
    Restored,
    Switched,
)

from .simulator import (
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
    sentence,
    speak,
)

START, END, FINAL, INTERIM = SaidKind.START, SaidKind.END, SaidKind.FINAL, SaidKind.INTERIM

# --- the promises, over random speech and random faults

VOCABULARY = [a + v + b for a in "bdfgklmnprst" for v in "aeiou" for b in "bdfgklmnprst"]
"""Words that no two of are similar."""

seconds = st.floats(0, 12).map(lambda s: round(s, 3))
kinds = st.sampled_from([*ErrorKind, *[ErrorKind.DROPPED] * 9])
mishaps: st.SearchStrategy[Fault] = st.one_of(
    st.just(HANGS),
    st.builds(Refused, kinds, st.sampled_from([0.0, 0.05, 0.3])),
    st.builds(Drops, seconds, st.booleans(), kinds),
    st.builds(Drops, seconds, st.booleans()),
    st.builds(EndsEarly, seconds),
    st.builds(DropsAtEnd, st.sampled_from([0.0, 0.05, 0.5])),
    st.just(NeverEnds(telling=True)),
)


@st.composite
def speeches(draw: st.DrawFn) -> list[Spoken]:
    words = draw(st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=12, unique=True))
    gaps = st.sampled_from([0.0, 0.0, 0.02, 0.1, 0.2, 0.4, 0.6, 1.0, 2.0, 4.0])
    lengths = st.sampled_from([0.25, 0.3, 0.4, 0.7])
    return speak(*[(w, draw(gaps) if i else 0.4, draw(lengths)) for i, w in enumerate(words)])


@st.composite
def recognisers(draw: st.DrawFn, name: str, times: str, jitter: float) -> Recogniser:
    errors = draw(st.randoms(use_true_random=False))
    return Recogniser(
        name,
        draw(st.lists(st.none() | mishaps, max_size=4)),
        times=times,
        latency=draw(st.sampled_from([0.0, 0.1, 0.5, 0.9])),
        endpointing=draw(st.sampled_from([0.1, 0.3, 0.5, 0.8])),
        speed=draw(st.sampled_from([1.25, 2.0, 20.0])),
        most=draw(st.sampled_from([1, 2, 3, 99])),
        interims=draw(st.booleans()),
        jitter=lambda _: errors.uniform(-jitter, jitter),
        pace=Pace(
            burst=draw(st.sampled_from([0.05, 0.5, 5.0])), rate=draw(st.sampled_from([1.5, 2.0]))
        ),
    )


@st.composite
def simulations(
    draw: st.DrawFn, times: tuple[str, ...] = ("words",), jitter: float = 0.0, loses: bool = True
) -> Simulation:
    words = draw(speeches())
    route = [
        draw(recognisers(name, draw(st.sampled_from(times)), jitter))
        for name in "abc"[: draw(st.integers(1, 3))]
    ]
    if loses and draw(st.booleans()):
        # one leg may lose its tail; a second one that hears nothing there would be believed, and
        # one that ends early may do so right after the end of the input
        tails: list[Fault] = [LosesTail(), NeverEnds(telling=False)]
        tail = draw(st.sampled_from(tails))
        route = [
            replace(r, faults=[f for f in r.faults if not isinstance(f, EndsEarly)]) for r in route
        ]
        route[0] = replace(route[0], faults=[*route[0].faults, tail])
    return Simulation(
        words,
        route,
        tail=draw(st.sampled_from([0.0, 0.2, 0.6, 1.5])),
        frame=draw(st.sampled_from([0.03, 0.1])),
        base=draw(st.sampled_from([0.0, 1_000.7, 123_456.789])),
        pad=draw(st.sampled_from([0.0, 0.1])),
    )


def assert_promises(sim: Simulation) -> None:
    """Every word once and in order, speech balanced, nothing reported lost."""
    assert sim.text == sim.spoken
    assert sim.speech == [START, END] * (len(sim.speech) // 2)
    assert not sim.gave_up
    assert not [e for e in sim.events if isinstance(e, AudioLost)]


def assert_times(sim: Simulation, within: float) -> None:
    told = [w for e in sim.finals for w in e.words]
    assert len(told) == len(sim.spoken)
    for word, truth in zip(told, [w for w in sim.words if w.text], strict=True):
        assert abs(word.start - truth.start) <= within
        assert abs(word.end - truth.end) <= within


@given(simulations())
@settings(max_examples=120)
def test_every_word_once_with_its_times(sim: Simulation) -> None:
    """Whatever the providers do, each word comes once, in order, at the time it was spoken."""
    sim.run(within=60)
    assert_promises(sim)
    assert_times(sim, within=0.001)


@given(simulations(jitter=0.1))
@settings(max_examples=60)
def test_every_word_once_with_wavering_times(sim: Simulation) -> None:
    """Two providers that disagree by 0.2 s about the times still give each word once."""
    sim.run(within=60)
    assert_promises(sim)
    assert_times(sim, within=0.101)


@given(simulations(times=("words", "end"), jitter=0.02))
@settings(max_examples=60)
def test_every_word_once_with_the_end_of_a_final(sim: Simulation) -> None:
    """A provider that times only its finals loses and repeats nothing."""
    sim.run(within=60)
    assert_promises(sim)


@given(simulations(times=("words", "end", "none"), loses=False))
@settings(max_examples=100)
def test_every_word_once_without_times(sim: Simulation) -> None:
    """Providers without times, mixed with others, lose and repeat nothing."""
    sim.run(within=60)
    assert_promises(sim)


@given(speeches(), recognisers("a", "words", 0.0))
@settings(max_examples=30)
def test_every_word_once_without_voice_activity(
    words: list[Spoken], recogniser: Recogniser
) -> None:
    """With word times, no local voice activity is needed to give each word once."""
    quiet = replace(recogniser, faults=[f for f in recogniser.faults if not _ends_badly(f)])
    sim = Simulation(words, [quiet, Recogniser("b")], hears=False).run(within=60)
    assert_promises(sim)


def _ends_badly(fault: Fault | None) -> bool:
    """Without voice activity nothing is owed: a leg that ends without an error is believed."""
    return isinstance(fault, NeverEnds | EndsEarly)


# --- one fault at a time

TWO = speak(
    *sentence("one two three four"),
    *sentence("five six seven eight", before=1.0),
    *sentence("nine ten eleven twelve", before=1.0),
)
WORDS = [w.text for w in TWO]
E = TypeVar("E", bound=Event)


def events(sim: Simulation, kind: type[E]) -> list[E]:
    return [e for e in sim.events if isinstance(e, kind)]


def test_nothing_goes_wrong() -> None:
    """Without a fault one leg tells everything, and nothing is reported."""
    sim = Simulation(TWO, [Recogniser("a"), Recogniser("b")]).run(within=1)
    assert_promises(sim)
    assert sim.opened == ["a"]
    assert sim.events == []
    assert sim.speech == [START, END] * 3


def test_live_audio_is_sent_as_it_comes() -> None:
    """A leg that is not behind gets every frame at once."""
    sim = Simulation(TWO, [Recogniser("a", pace=Pace(burst=0.05, rate=1.0))]).run()
    sent = [(t, c.end) for t, c in sim.commands if isinstance(c, SendAudio)]
    assert sent[-1][1] == sim.pushed
    assert all(t - sim.base == pytest.approx(end / RATE) for t, end in sent)


def test_dropped_once() -> None:
    """A leg that worked and was dropped is reopened on the same provider, at once."""
    sim = Simulation(TWO, [Recogniser("a", [Drops(3.0)]), Recogniser("b")]).run(within=1)
    assert_promises(sim)
    assert sim.opened == ["a", "a"]
    assert events(sim, ProviderFailed) == [
        ProviderFailed(at=3.0, provider="a", reason="dropped", detail="drop")
    ]
    (switched,) = events(sim, Switched)
    assert (switched.from_provider, switched.to_provider) == ("a", "a")
    (replayed,) = events(sim, Replayed)
    assert (replayed.at, replayed.provider) == (3.0, "a")
    assert not [c for _, c in sim.commands if isinstance(c, Availability)]


def test_dropped_before_it_worked() -> None:
    """A leg that is dropped before it said anything is not reopened: the next provider serves."""
    sim = Simulation(TWO, [Recogniser("a", [Drops(0.3)]), Recogniser("b")]).run(within=1)
    assert_promises(sim)
    assert sim.opened == ["a", "b"]


def test_dropped_for_good() -> None:
    """A provider that stays down after a drop is left, and said to be unavailable."""
    sim = Simulation(TWO, [Recogniser("a", down=[(3.0, 99)]), Recogniser("b")]).run(within=1)
    assert_promises(sim)
    assert sim.opened == ["a", "a", "b"]
    assert Availability("a", False) in [c for _, c in sim.commands]
    assert [c.provider for _, c in sim.commands if isinstance(c, Serve)] == ["a", "a", "b"]


def test_dropped_again_and_again() -> None:
    """A provider that works and drops is reopened three times, then left."""
    faults = [Drops(1.5)] * 9
    sim = Simulation(TWO, [Recogniser("a", faults), Recogniser("b")]).run(within=1)
    assert_promises(sim)
    assert sim.opened == ["a", "a", "a", "a", "b"]


def test_a_server_error_leaves_the_provider() -> None:
    """What is not a drop is answered with the next provider, also from a leg that worked."""
    faults = [Drops(3.0, kind=ErrorKind.SERVER)]
    sim = Simulation(TWO, [Recogniser("a", faults), Recogniser("b")]).run(within=1)
    assert_promises(sim)
    assert sim.opened == ["a", "b"]


def test_both_in_turn() -> None:
    """Two providers that fail in turn hand over to each other without an outage."""
    broken = [Drops(1.6, kind=ErrorKind.SERVER)] * 2
    sim = Simulation(TWO, [Recogniser("a", broken), Recogniser("b", broken)]).run(within=2)
    assert_promises(sim)
    assert sim.opened == ["a", "b", "a", "b", "a"]
    assert events(sim, Degraded) == []


@pytest.mark.parametrize("word", range(len(TWO)))
@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
def test_dropped_in_the_middle_of_a_word(word: int, part: float) -> None:
    """A drop inside any word loses and repeats nothing."""
    at = TWO[word].start + part * (TWO[word].end - TWO[word].start)
    faults = [Drops(at, kind=ErrorKind.SERVER)]
    sim = Simulation(TWO, [Recogniser("a", faults), Recogniser("b")]).run(within=1)
    assert_promises(sim)
    assert_times(sim, within=0.001)


def test_a_dying_leg_tells_what_it_has() -> None:
    """Words in a last partial final of a dying leg are not repeated by the next one."""
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
    """A leg that ends without an error while it is fed is replaced."""
    sim = Simulation(TWO, [Recogniser("a", [EndsEarly(4.0)])]).run(within=1)
    assert_promises(sim)
    assert sim.opened == ["a", "a"]


@pytest.mark.parametrize("fault", [DropsAtEnd(), LosesTail(), NeverEnds(telling=False)])
def test_a_tail_that_is_missing(fault: Fault) -> None:
    """Words that are still owed after the end of input are fetched from another leg."""
    sim = Simulation(TWO, [Recogniser("a", [fault]), Recogniser("b")], tail=0.1).run(within=6)
    assert_promises(sim)
    assert len(sim.opened) == 2


def test_a_leg_that_never_ends() -> None:
    """A leg that has told everything and does not end is given up without another."""
    sim = Simulation(TWO, [Recogniser("a", [NeverEnds()]), Recogniser("b")]).run(within=4)
    assert_promises(sim)
    assert sim.opened == ["a"]


def test_a_leg_that_never_falls_silent() -> None:
    """A leg that goes on saying nothing new after the end of input does not keep the stream."""
    session = alone()
    for event in (Opened(), AudioPushed(RATE, RATE), InputEnded()):
        session.handle(event, 1.0)
    now = 1.0
    while not session.done:
        due = session.deadline()
        assert due is not None
        now = min(now + 1.0, due)
        session.handle(LegSaid(0, Said(INTERIM, "and")) if now < due else Woken(), now)
    assert now == 62.0  # the outage limit, and a second that it was behind


def test_usage_is_no_sign_of_life() -> None:
    """What a leg says about usage does not make it a leg that works."""
    session = alone()
    for event in (Opened(), AudioPushed(RATE, RATE), InputEnded()):
        session.handle(event, 1.0)
    for now in (2.0, 3.0):
        session.handle(LegSaid(0, Said(SaidKind.USAGE)), now)
    assert session.deadline() == 5.0  # three seconds, and one that it was behind


def test_noise_that_nobody_hears_words_in() -> None:
    """A second leg that hears no words in what the first left out is believed."""
    sim = Simulation(TWO, [Recogniser("a", [LosesTail()] * 2)], tail=0.1).run(within=3)
    assert sim.text == WORDS[:8]
    assert sim.opened == ["a", "a"]


# --- replays


def test_silence_is_cut_out_of_a_replay() -> None:
    """Of long silence in a replay 0.3 s is left, and the times stay true."""
    words = speak(("one", 0.5, 0.4), ("two", 5.0, 0.4), ("three", 5.0, 0.4))
    sim = Simulation(words, [Recogniser("a", [Refused(after=12.5)]), Recogniser("b")]).run()
    assert_promises(sim)
    assert_times(sim, within=0.001)
    (replayed,) = events(sim, Replayed)
    assert replayed.cut == pytest.approx(2 * (5.0 - 0.3), abs=0.01)
    # what is not cut: from 0.15 s before the first word on, and the newest audio
    assert replayed.seconds == pytest.approx(sim.pushed / RATE - 0.35 - replayed.cut)


def test_a_replay_begins_between_words() -> None:
    """In the middle of speech, a replay begins in a gap before one of the last two words."""
    gaps = [0.6, 0.1, 0.24, 0.1, 0.1, 0.1]
    words = speak(*[(w, gap, 0.4) for w, gap in zip(WORDS, gaps, strict=False)])
    at = words[4].end + 0.35
    drop = [Drops(at, kind=ErrorKind.SERVER)]
    sim = Simulation(words, [Recogniser("a", drop, most=4, latency=0.1), Recogniser("b")]).run()
    assert_promises(sim)
    second = next(c for _, c in sim.commands if isinstance(c, OpenLeg) and c.leg == 1)
    assert second.start / RATE == pytest.approx(words[2].start - 0.12, abs=0.001)


def test_audio_that_comes_at_once_is_sent_at_its_pace() -> None:
    """Audio pushed faster than real time is paced, transcribed to its end, and none is lost."""
    words = speak(*[(w, 0.1 if i % 5 else 0.6, 0.3) for i, w in enumerate(VOCABULARY[:60])])
    sim = Simulation(words, [Recogniser("a", [Drops(2.0)])], rush=100).run(within=30)
    assert_promises(sim)
    assert_times(sim, within=0.001)


def test_audio_that_comes_faster_than_the_window_is_reported() -> None:
    """What is pushed so fast that it leaves the window unsent is not sent, but reported lost."""
    words = speak(*[(w, 0.0, 0.5) for w in VOCABULARY[:40]])
    policies = Policies(replay=ReplayPolicy(window=5.0))
    sim = Simulation(words, [Recogniser("a")], rush=100, policies=policies).run(within=30)
    lost = sum(e.seconds for e in events(sim, AudioLost))
    heard = sum(end - start for start, end in sim.closed[-1].spans) / RATE
    assert lost >= 15.0
    assert heard + lost >= words[-1].end - 0.1


# --- outages


def outage(since: float, until: float, *, words: list[Spoken] = TWO) -> Simulation:
    down = [(since, until)]
    return Simulation(words, [Recogniser("a", down=down), Recogniser("b", down=down)])


def test_an_outage_is_endured() -> None:
    """With every provider down, audio is kept, both are tried, and the first back serves."""
    sim = outage(1.5, 4.0).run(within=2)
    assert_promises(sim)
    (degraded,), (restored,) = events(sim, Degraded), events(sim, Restored)
    assert 1.4 < degraded.at < 1.8
    assert restored.provider == "a"
    # jittered waits are at most 2 s; a first word takes its own time
    assert 2.5 <= restored.after <= 5.0


def test_an_outage_from_the_start() -> None:
    """A stream that opens in an outage comes to life with it."""
    sim = outage(0.0, 3.0).run(within=2)
    assert_promises(sim)
    assert [c for _, c in sim.commands if isinstance(c, Availability)] == [
        Availability("a", False),
        Availability("b", False),
        Availability("a", True),
    ]


def test_an_outage_ends_by_a_leg_that_lives() -> None:
    """With nothing to say, an outage is over when a leg has lived for five seconds."""
    words = speak(*sentence("one two"), ("three", 9.0, 0.3))
    sim = outage(2.5, 4.0, words=words).run(within=2)
    assert_promises(sim)
    (restored,) = events(sim, Restored)
    assert restored.at < words[-1].start


def test_an_outage_without_end() -> None:
    """After the outage limit, and not before, the stream gives up."""
    sim = outage(1.5, 1e9).run(within=65)
    assert sim.gave_up
    assert sim.now - sim.base - 1.5 == pytest.approx(60, abs=0.2)
    (_, gave_up) = sim.commands[-1]
    assert gave_up == GiveUp("no speech-to-text provider answered for 60 s (a, b)")
    assert sim.speech == [START, END] * (len(sim.speech) // 2)


def test_an_outage_with_nothing_owed() -> None:
    """In an outage, a stream whose words are all told ends with its input."""
    words = speak(*sentence("one two"))
    down = [(2.5, 1e9)]
    sim = Simulation(words, [Recogniser("a", down=down)], tail=9).run(within=0.1)
    assert_promises(sim)


def test_an_outage_longer_than_the_window() -> None:
    """Speech that outgrows the window is reported lost, as many seconds as it was, and no more."""
    policies = Policies(
        replay=ReplayPolicy(window=5.0), retry=RetryPolicy(outage_limit=60.0, wait_max=0.5)
    )
    words = speak(*[(word, 0.0 if i % 4 else 0.5, 0.5) for i, word in enumerate(VOCABULARY[:40])])
    recogniser = Recogniser("a", down=[(0.0, 16.0)], pace=Pace(burst=5.0, rate=2.0))
    sim = Simulation(words, [recogniser], policies=policies).run(within=20)
    lost = sum(e.seconds for e in sim.events if isinstance(e, AudioLost))
    heard_from = sim.closed[-1].spans[0][0] / RATE
    missing = sum(min(w.end, heard_from) - w.start for w in words if w.start < heard_from)
    assert lost == pytest.approx(missing, abs=0.02)
    whole = [w.text for w in words if w.start >= heard_from]
    assert sim.text[-len(whole) :] == whole
    assert len(sim.text) <= len(whole) + 1


def test_losses_are_told_in_steps_and_never_forgotten() -> None:
    """A loss is reported second by second, and what is left of it when the stream gives up."""
    policies = Policies(replay=ReplayPolicy(window=2.0), retry=RetryPolicy(outage_limit=8.0))
    words = speak(*[(word, 0.0, 0.45) for word in VOCABULARY[:20]])
    sim = Simulation(words, [Recogniser("a", down=[(0.0, 99.0)])], policies=policies, hears=False)
    sim.run(within=9)
    losses = [e.seconds for e in sim.events if isinstance(e, AudioLost)]
    assert sum(losses) == pytest.approx(8.0 - 2.0, abs=0.11)
    assert all(seconds < 1.2 for seconds in losses)
    assert len(losses) < 20  # one per second, and one per attempt to open a leg


def test_locked_providers_are_not_tried_in_an_outage() -> None:
    """A provider whose credentials were refused is left alone while another can be tried."""
    locked = Recogniser("a", [Refused(ErrorKind.AUTH)] * 9)
    sim = Simulation(TWO, [locked, Recogniser("b", down=[(1.0, 4.0)])]).run(within=3)
    assert_promises(sim)
    assert sim.opened.count("a") == 1


def test_a_sole_provider_is_always_tried() -> None:
    """A sole provider is tried again, though its breaker is open or locked."""
    refusals = [Refused(ErrorKind.AUTH), *[Refused(ErrorKind.SERVER)] * 5]
    sim = Simulation(TWO, [Recogniser("a", refusals)]).run(within=5)
    assert_promises(sim)
    assert sim.opened == ["a"] * 7


def test_an_open_breaker_moves_a_provider_back() -> None:
    """A stream begins on the first provider whose breaker admits it."""
    sim = Simulation(TWO, [Recogniser("a"), Recogniser("b")])
    for _ in range(3):
        sim.health["a"].breaker.failed(ErrorKind.SERVER, sim.now)
    assert_promises(sim.run())
    assert sim.opened == ["b"]


def test_text_closes_a_breaker() -> None:
    """A provider that gives text is healthy again."""
    sim = Simulation(TWO, [Recogniser("a", [Refused(ErrorKind.SERVER)] * 3)]).run()
    assert sim.health["a"].breaker.state(sim.now) is State.CLOSED


# --- what one leg says


def test_final_without_any_audio() -> None:
    """A provider that speaks without having been sent audio is believed."""
    session = alone()
    session.handle(Opened(), 0.0)
    session.handle(InputEnded(), 0.0)
    out = session.handle(LegSaid(0, Said(FINAL, "hello")), 0.1)
    assert Emit(FINAL, "hello", provider="a") in out
    out = session.handle(LegEnded(0), 0.2)
    assert [type(c) for c in out] == [CloseLeg, Finish]


@pytest.mark.parametrize("hears", [True, False])
def test_final_without_times(hears: bool) -> None:
    """A final without times is given on as it is."""
    recogniser = Recogniser("a", times="none")
    sim = Simulation(TWO, [recogniser], hears=hears, tail=1.0).run(within=1)
    assert_promises(sim)
    assert all(e.start is None and e.end is None for e in sim.finals)
    assert sim.opened == ["a"]


def test_flush_is_given_at_its_place() -> None:
    """A flush reaches the leg between the audio before and after it, also in a replay."""
    flush = TWO[3].end + 0.5
    recogniser = Recogniser("a", [Refused(after=4.0)], endpointing=9.0)
    sim = Simulation(TWO, [recogniser, Recogniser("b", endpointing=9.0)], flushes=[flush]).run()
    assert_promises(sim)
    assert [e.text.split() for e in sim.finals] == [WORDS[:4], WORDS[4:]]


def test_flush_before_any_audio() -> None:
    """A flush before the first frame is given on."""
    session = alone()
    session.handle(Opened(), 0.0)
    assert FlushLeg(0) in session.handle(Flushed(), 0.0)


def test_flush_at_the_very_end() -> None:
    """A flush at the end of input comes before the end."""
    session = alone()
    session.handle(Opened(), 0.0)
    session.handle(AudioPushed(1600, RATE), 0.1)
    assert FlushLeg(0) in session.handle(Flushed(), 0.1)
    assert EndLeg(0) in session.handle(InputEnded(), 0.1)


def test_an_empty_final_settles_nothing() -> None:
    """A final without a word is given on, but its audio still owes words."""
    session = alone()
    for event in (Opened(), AudioPushed(RATE, RATE), SpeechStarted(0)):
        session.handle(event, 1.0)
    out = session.handle(LegSaid(0, Said(FINAL, " ", (), 0.0, 0.9)), 1.0)
    assert not [c for c in out if isinstance(c, Emit)]
    out = session.handle(LegFailed(0, ErrorKind.DROPPED), 1.1)
    assert OpenLeg(1, "a", 0) in out


def test_an_untimed_final_in_the_middle_of_speech_settles_nothing() -> None:
    """A final without times speaks for no segment that went on after it."""
    session = alone()
    for event in (Opened(), AudioPushed(RATE, RATE), SpeechStarted(0)):
        session.handle(event, 1.0)
    session.handle(LegSaid(0, Said(FINAL, "half of it")), 1.0)
    for now in range(2, 9):
        session.handle(AudioPushed(RATE, RATE), float(now))
        if now == 2:
            session.handle(SpeechEnded(2 * RATE), float(now))
    out = session.handle(LegFailed(0, ErrorKind.DROPPED), 8.0)
    assert OpenLeg(1, "a", 0) in out


def test_an_untimed_final_settles_its_segment_in_the_end() -> None:
    """A final without times settles the segment before it, once the leg has lived on."""
    words = speak(*sentence("one two three"))
    for tail, start in ((1.5, words[0].start - 0.15), (4.0, words[-1].end + 0.15)):
        late = [Drops(words[-1].end + tail, kind=ErrorKind.SERVER)]
        sim = Simulation(words, [Recogniser("a", late, times="none"), Recogniser("b")], tail=5.0)
        assert_promises(sim.run())
        second = next(c for _, c in sim.commands if isinstance(c, OpenLeg) and c.leg == 1)
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
    session.handle(Opened(), 0.0)
    out = session.handle(LegSaid(0, Said(SaidKind.USAGE, source=source)), 0.0)
    assert Emit(SaidKind.USAGE, source=source) in out


def test_a_closed_leg_is_not_heard() -> None:
    """What a leg says, or how it ends, after it was closed counts for nothing."""
    session = alone(2)
    session.handle(Opened(), 0.0)
    session.handle(LegFailed(0, ErrorKind.SERVER), 0.1)
    for late in (LegSaid(0, Said(FINAL, "late")), LegFailed(0, ErrorKind.AUTH), LegEnded(0)):
        assert [c for c in session.handle(late, 0.2) if not isinstance(c, Release)] == []


def test_a_finished_session_does_nothing() -> None:
    """After the end, nothing is answered and nothing is waited for."""
    sim = Simulation(TWO, [Recogniser("a")]).run()
    assert sim.session.handle(Woken(), sim.now) == []
    assert sim.session.deadline() is None


class Endless(Session):
    """Hears a first leg that never says END."""

    def handle(self, event: Input, now: float) -> list[Command]:
        if isinstance(event, LegSaid) and event.leg == 0 and event.said.kind is END:
            event = Woken()
        return super().handle(event, now)


@pytest.mark.parametrize("down", [(), [(2.2, 5.0)]])
def test_orphaned_speech_is_ended(down: list[tuple[float, float]]) -> None:
    """Speech that a dead leg announced, and told, is ended once nobody speaks."""
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
    session.handle(Opened(), 0.0)
    session.handle(LegSaid(0, Said(START)), 0.1)
    session.handle(InputEnded(), 0.2)
    out = session.handle(LegEnded(0), 0.3)
    assert [c.kind for c in out if isinstance(c, Emit)] == [END]


def test_unusable_times_are_not_used() -> None:
    """Times that cannot be are taken for no times."""
    session = alone()
    session.handle(Opened(), 0.0)
    session.handle(AudioPushed(RATE, RATE), 1.0)
    for said in (
        Said(FINAL, "a", (Word("a", math.nan, 0.5),), 0.1, math.nan),
        Said(FINAL, "a", (Word("a", 0.1, 9.5),), 0.1, 9.5),
        Said(FINAL, "a", (), 0.3, -1.0),
    ):
        out = session.handle(LegSaid(0, said), 1.0)
        assert out[0] == Emit(FINAL, "a", provider="a")
    out = session.handle(LegSaid(0, Said(FINAL, "a", (), 0.7, 0.5)), 1.0)
    assert out[0] == Emit(FINAL, "a", (), None, 0.5, provider="a")


# --- what the session must not be told


def test_a_session_needs_a_provider() -> None:
    """A route without a provider is a mistake of the caller."""
    with pytest.raises(AssertionError, match="provider"):
        Session([], {}, Policies(), HedgeBudget(), hears=True)


@pytest.mark.parametrize(
    ("before", "event"),
    [
        ([Opened()], Opened()),
        ([Opened(), AudioPushed(10, 8000)], AudioPushed(10, 16000)),
        ([Opened()], AudioPushed(10, 0)),
        ([Opened()], AudioPushed(-1, 8000)),
        ([Opened(), InputEnded()], AudioPushed(10, 8000)),
        ([Opened(), InputEnded()], Flushed()),
        ([Opened(), SpeechStarted(0)], SpeechStarted(5)),
        ([Opened()], SpeechEnded(5)),
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
    assert repr(session).startswith("Session(leg=None, Ledger(start=0")
    session.handle(Opened(), 0.0)
    assert "leg=a#0" in repr(session)


# --- any input in any state

numbers = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-1, 30)
texts = st.text(max_size=20) | st.sampled_from(["one two", "two three", "", " ", "x" * 5000])
words = st.lists(st.builds(Word, texts, numbers, numbers), max_size=4).map(tuple)
maybe = st.none() | numbers
said = st.builds(
    Said, st.sampled_from(SaidKind), texts, words, maybe, maybe, st.sampled_from(["", "en", "zh"])
)
legs = st.integers(0, 4)
waits = st.floats(0, 2)
inputs: st.SearchStrategy[Input] = st.one_of(
    st.builds(AudioPushed, st.integers(0, 40_000), st.just(RATE)),
    st.just(Flushed()),
    st.just(InputEnded()),
    st.builds(SpeechStarted, st.integers(-10, 500_000)),
    st.builds(SpeechEnded, st.integers(-10, 500_000)),
    st.builds(OptionsChanged, st.sampled_from("abc")),
    st.builds(LegSaid, legs, said),
    st.builds(LegFailed, legs, st.sampled_from(ErrorKind), st.just("x"), maybe, waits),
    st.builds(LegEnded, legs, waits),
    st.builds(Woken, waits),
)


@given(st.lists(st.tuples(inputs, st.floats(0, 3)), max_size=40), st.booleans())
@settings(max_examples=200)
def test_no_input_is_too_much(script: list[tuple[Input, float]], hears: bool) -> None:
    """Whatever a leg says and whenever it fails, the session does not raise."""
    session = alone(2, hears=hears)
    session.handle(Opened(), 0.0)
    now, ended, speaking, legs = 0.0, False, False, {0}
    for event, later in script:
        now += later
        if ended and isinstance(event, AudioPushed | Flushed):
            continue
        if isinstance(event, SpeechStarted | SpeechEnded):
            if isinstance(event, SpeechStarted) is speaking:
                continue
            speaking = not speaking
        ended = ended or isinstance(event, InputEnded)
        for command in session.handle(event, now):
            if isinstance(command, OpenLeg):
                assert not legs
                legs.add(command.leg)
            elif isinstance(command, CloseLeg):
                legs.remove(command.leg)
            elif isinstance(command, SendAudio | FlushLeg | EndLeg):
                assert command.leg in legs
        due = session.deadline()
        assert due is None or math.isfinite(due)
    assert not (session.done and legs)


def alone(count: int = 1, *, hears: bool = True) -> Session:
    """A session on providers `a`, `b`, ... without a simulation around it."""
    names = "abc"[:count]
    policies = Policies()
    health = {name: Health(Breaker(policies.breaker)) for name in names}
    route = [Provider(name=name) for name in names]
    return Session(route, health, policies, HedgeBudget(), hears=hears)


def test_changed_options_renew_the_leg() -> None:
    """A leg whose provider's options change is opened anew, and that counts as no failure."""
    session = alone(2, hears=False)
    session.handle(Opened(), 0.0)
    session.handle(AudioPushed(RATE, RATE), 1.0)
    assert not [c for c in session.handle(OptionsChanged("b"), 1.0) if isinstance(c, OpenLeg)]
    out = session.handle(OptionsChanged("a"), 1.0)
    assert out[:2] == [CloseLeg(0), OpenLeg(1, "a", 0)]
    assert SendAudio(1, 0, RATE // 20) in out
    assert session.failures == 0
