from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilient_stt.core.connections.connection import MAX_HELD_EVENTS
from resilient_stt.core.engine import FailoverEngine
from resilient_stt.core.events import ErrorKind, HedgeFinished, ProviderFailed, Switched
from resilient_stt.core.messages import (
    AudioPushed,
    DeadlineReached,
    Emit,
    EventKind,
    OpenConnection,
    OptionsChanged,
    ProviderEvent,
    Role,
    SpeechEnded,
    SpeechStarted,
    StreamOpened,
    TranscriptEvent,
)
from resilient_stt.core.policy import BreakerPolicy, FailbackPolicy, Pace, Policies, WatchdogPolicy

from ...support.promises import (
    TWO,
    VOCABULARY,
    alone,
    around,
    assert_promises,
    assert_times,
    events,
    mishaps,
    recognisers,
    silences,
    speeches,
)
from ...support.simulator import (
    DEAF,
    RATE,
    Drops,
    EndsEarly,
    Fault,
    LosesTail,
    Recogniser,
    Refused,
    SaysEmpty,
    Simulation,
    Slow,
    Spoken,
    Stalls,
    noise,
    sentence,
    speak,
)

# --- the promises, over random speech, noise and silence


@st.composite
def doubtful(
    draw: st.DrawFn, *, others: int, noisy: bool = False, times: tuple[str, ...] = ("words",)
) -> Simulation:
    """A provider whose connections fall silent in any way, and `others` that only break."""
    words = draw(speeches(noisy=noisy))
    event = st.sampled_from(times)
    first = draw(recognisers("a", draw(event), faults=silences | mishaps, most=2 + others))
    rest = [draw(recognisers(n, draw(event), most=0)) for n in "bc"[:others]]
    first = replace(first, faults=_one_tail(first.faults))
    # whoever is asked must be one who answers in time: what nobody tells in time is silence
    rest = [replace(r, latency=min(r.latency, 0.5), endpointing=0.3) for r in rest]
    return draw(around(words, [first, *rest]))


def _one_tail(faults: Sequence[Fault | None]) -> list[Fault | None]:
    """Only one leg may end cleanly without its words: a second one is believed."""
    liars = [f for f in faults if isinstance(f, SaysEmpty)]
    clean = [f for f in faults if not isinstance(f, SaysEmpty | EndsEarly)]
    return [*clean, *liars[:1]] if liars else list(faults)


@pytest.mark.parametrize("latency", [0.5, 0.9, 1.3, 1.8])
def test_a_hedge_that_takes_its_time(latency: float) -> None:
    """A healthy second opinion that takes 2 s for its first final costs no word."""
    slow = Recogniser("b", latency=latency, endpointing=0.5, interims=False, flushes=False)
    words = speak(("yes", 0.4, 0.3), ("no", 3.0, 0.3))
    sim = Simulation(words, [Recogniser("a", [DEAF], interims=False), slow], tail=4.0)
    assert_promises(sim.run(within=9))


@given(doubtful(others=1) | doubtful(others=2))
@settings(max_examples=40)
def test_every_word_once_whoever_is_silent(sim: Simulation) -> None:
    """A provider that falls silent, or slow, costs no word beside one that hears."""
    sim.run(within=60)
    assert_promises(sim)
    assert_times(sim, within=0.001)


@given(doubtful(others=1, noisy=True))
@settings(max_examples=25)
def test_every_word_once_in_noise(sim: Simulation) -> None:
    """Nor in noise, which nobody hears words in."""
    sim.run(within=60)
    assert_promises(sim)


@given(doubtful(others=1, times=("words", "end", "none")))
@settings(max_examples=25)
def test_every_word_once_without_times(sim: Simulation) -> None:
    """Nor among providers that give no times."""
    sim.run(within=60)
    assert_promises(sim)


@given(st.data())
@settings(max_examples=15)
def test_nobody_is_left_for_noise(data: st.DataObject) -> None:
    """Healthy providers are never convicted, whatever the voice detector takes for speech."""
    words = data.draw(speeches(noisy=True))
    well = st.builds(
        Recogniser,
        st.just("a"),
        latency=st.sampled_from([0.0, 0.2, 0.5]),
        interims=st.booleans(),
        slow_endpointing=st.booleans(),
        most=st.sampled_from([1, 99]),
    )
    route = [data.draw(well), replace(data.draw(well), name="b")]
    sim = Simulation(words, route, tail=9.0).run(within=3)
    assert_promises(sim)
    assert sim.served == ["a"]
    assert {e.outcome for e in events(sim, HedgeFinished)} <= {"no_speech", "primary_recovered"}


# --- conviction


def verdicts(sim: Simulation) -> list[tuple[str, str, str]]:
    return [(e.provider, e.hedge_provider, e.outcome) for e in events(sim, HedgeFinished)]


def first_new(sim: Simulation, since: float) -> float:
    """How long after `since` the first text came."""
    texts = [t - sim.base - since for t, c in sim.commands if isinstance(c, Emit) and c.text]
    return min((t for t in texts if t > 0.001), default=math.inf)


LONG = speak(
    *sentence(" ".join(VOCABULARY[:8])),
    *sentence(" ".join(VOCABULARY[100:108]), before=1.0),
    *sentence(" ".join(VOCABULARY[200:208]), before=1.0),
)


@pytest.mark.parametrize("word", range(0, len(LONG), 3))
@pytest.mark.parametrize("kind", ["interims", "late"])
def test_silence_from_any_word_on(kind: str, word: int) -> None:
    """Nothing is lost, and the first new word is 3 s late at most."""
    late = kind == "late"
    at = LONG[word].start + 0.1
    silent = Recogniser(
        "a", [Stalls(at)], interims=not late, slow_endpointing=late, final_timeout=1.6
    )
    sim = Simulation(LONG, [silent, Recogniser("b")], tail=4.0).run(within=6)
    assert_promises(sim)
    assert verdicts(sim)[-1] == ("a", "b", "promoted")
    assert [e.reason for e in events(sim, Switched)] == ["stalled"]
    assert sim.served == ["a", "b"]
    # without interim transcripts nothing is late before the sentence is over
    due = LONG[word // 8 * 8 + 7].end if late else LONG[word].end
    assert first_new(sim, due) <= 3.2


@pytest.mark.parametrize("late", [True, False])
@pytest.mark.parametrize("word", range(0, len(LONG), 3))
def test_empty_finals_from_any_word_on(word: int, late: bool) -> None:
    """A provider that lies is found out, if not by its first lie."""
    faults = [SaysEmpty(LONG[word].start + 0.1)]
    route = [Recogniser("a", faults, interims=not late, slow_endpointing=late), Recogniser("b")]
    assert_promises(Simulation(LONG, route, tail=4.0).run(within=6))


def test_the_hedge_is_opened_before_the_deadline() -> None:
    """Half of the deadline is the hedge's, and nobody is convicted before it is over."""
    words = speak(*sentence("one two three"))
    sim = Simulation(words, [Recogniser("a", [DEAF]), Recogniser("b")], tail=4.0).run(within=4)
    assert_promises(sim)
    asked = speak(*sentence("one two three"))[-1].end + 0.35
    opened = next(t for t, c in sim.commands if isinstance(c, OpenConnection) and c.provider == "b")
    told = next(t for t, c in sim.commands if isinstance(c, Emit) and c.text)
    assert opened - sim.base == pytest.approx(asked + 0.6, abs=0.2)
    assert told - sim.base == pytest.approx(asked + 1.2, abs=0.2)
    assert sim.opened_as(Role.HEDGE) == ["b"]


def test_what_a_suspect_says_first_counts() -> None:
    """A suspect that answers before the verdict stays, and what it says is told."""
    faults = [Stalls(1.0, lasts=3.0)]
    words = speak(*sentence("one two three"), ("four", 4.0, 0.4))
    sim = Simulation(words, [Recogniser("a", faults), Recogniser("b", latency=2.9)], tail=1.0)
    assert_promises(sim.run(within=2))
    assert verdicts(sim) == [("a", "b", "primary_recovered")]
    assert sim.served == ["a"]


def test_a_failing_suspect_is_replaced_by_its_hedge() -> None:
    """A suspect that breaks while it is doubted leaves to whom was asked already."""
    words = speak(*sentence("one two three"), ("four", 4.0, 0.4))
    broken = [Drops(2.7)]
    route = [Recogniser("a", broken, latency=5.0), Recogniser("b", latency=0.5)]
    sim = Simulation(words, route, tail=1.0).run(within=2)
    assert_promises(sim)
    assert sim.opened == ["a", "b"]
    assert sim.served == ["a", "b"]


def test_silence_alone_convicts_without_hedging() -> None:
    """With hedging turned off there is nobody to ask: at the deadline the next one serves."""
    policies = Policies(watchdog=WatchdogPolicy(hedging=False))
    sim = Simulation(TWO, [Recogniser("a", [DEAF]), Recogniser("b")], policies=policies)
    sim.run(within=2)
    assert_promises(sim)
    assert events(sim, HedgeFinished) == []
    assert [(e.reason, e.trigger) for e in events(sim, ProviderFailed)] == [
        ("stalled", "no_interim")
    ]
    assert sim.served == ["a", "b"]


@pytest.mark.parametrize("kind", [ErrorKind.CONNECT, ErrorKind.AUTH, ErrorKind.BAD_REQUEST])
def test_a_hedge_that_fails_is_replaced(kind: ErrorKind) -> None:
    """Where the second opinion breaks, the third is asked; the failure counts against its own."""
    broken = Recogniser("b", [Refused(kind)] * 9)
    route = [Recogniser("a", [DEAF]), broken, Recogniser("c")]
    sim = Simulation(TWO, route).run(within=2)
    assert_promises(sim)
    assert sim.served == ["a", "c"]
    assert events(sim, ProviderFailed)[0].provider == "b"


def test_a_hedge_that_drops_after_it_told_is_asked_again() -> None:
    """What it told is gone with it; and what it was given counts once against the budget."""
    route = [Recogniser("a", [DEAF] * 9), Recogniser("b", [Drops(0.45)], latency=0.05)]
    sim = Simulation(TWO, route).run(within=3)
    assert_promises(sim)
    assert sim.opened[:3] == ["a", "b", "b"]
    assert events(sim, ProviderFailed)[0].provider == "b"
    given = sum(c.sent / RATE for c in sim.closed if c.of.name == "b" and c.fault)
    assert repr(sim.budget).endswith(f"spent={given:.1f})")


def test_where_nobody_can_be_asked_silence_convicts() -> None:
    """When every second opinion fails, also on the same provider, silence is enough."""
    down = [(0.5, 4.0)]
    deaf = Recogniser("a", [DEAF, *[Refused()] * 3])
    sim = Simulation(TWO, [deaf, Recogniser("b", down=down)]).run(within=3)
    assert_promises(sim)
    assert sim.opened_as(Role.HEDGE) == ["b", "a"]
    assert "stalled" in [e.reason for e in events(sim, ProviderFailed)]


@pytest.mark.parametrize("fault", [DEAF, SaysEmpty()])
def test_a_sole_provider_is_asked_again(fault: Fault) -> None:
    """A second leg of the same provider is the second opinion where there is no other."""
    sim = Simulation(TWO, [Recogniser("a", [fault])]).run(within=3)
    assert_promises(sim)
    assert sim.opened_as(Role.HEDGE) == ["a"]
    assert sim.served == ["a", "a"]
    assert verdicts(sim)[0] == ("a", "a", "promoted")


def test_a_sole_provider_does_not_settle_what_it_does_not_hear() -> None:
    """Two deaf legs of one provider acquit each other, but the words are owed still."""
    deaf = Recogniser("a", [DEAF, DEAF, DEAF])
    words = speak(*sentence("one two three"), *sentence("four five six", before=6.0))
    sim = Simulation(words, [deaf], tail=9.0).run(within=30)
    assert_promises(sim)
    assert verdicts(sim)[0] == ("a", "a", "no_speech")


def test_two_that_hear_nothing_are_believed() -> None:
    """What two different providers hear no words in is silence, and is not replayed."""
    words = speak(*sentence("one"), noise(1.5, 1.0), ("two", 9.0, 0.4))
    route = [Recogniser("a", [Drops(9.0, kind=ErrorKind.SERVER)]), Recogniser("b")]
    sim = Simulation(words, route, tail=1.0).run(within=2)
    assert_promises(sim)
    assert verdicts(sim)[0] == ("a", "b", "no_speech")
    (switched,) = events(sim, Switched)
    assert switched.replay_from >= words[1].end


def test_words_after_noise_are_no_noise() -> None:
    """What a hedge told words in is not settled as noise for the cough before them."""
    words = speak(
        noise(0.1, 4.0),
        noise(4.0, 0.2),
        ("one", 0.4, 0.25),
        ("two", 0.1, 0.3),
        ("three", 1.0, 0.25),
        noise(0.02, 1.5),
    )
    slow, fast = Pace(burst=0.05, rate=1.5), Pace(burst=0.05, rate=2.0)
    deaf = Recogniser("a", [Stalls(0.8)], interims=False, slow_endpointing=True, pace=slow)
    well = Recogniser("b", latency=0.0, speed=1.25, most=2, flushes=False, pace=fast)
    sim = Simulation(words, [deaf, well], tail=1.5, frame=0.03, pad=0.1)
    assert_promises(sim.run(within=20))


@pytest.mark.parametrize("names", ["ab", "a"])
def test_a_hedge_is_judged_by_what_it_has_heard(names: str) -> None:
    """A hedge that is sent noise denies that, and not the word behind it that it was not sent."""
    words = speak(("one", 0.4, 0.4), noise(0.1, 4.0), ("two", 0.0, 0.4))
    slow = Pace(burst=0.05, rate=1.5)
    route = [Recogniser(n, endpointing=0.1, pace=slow) for n in names]
    route[0] = replace(route[0], faults=[Stalls(5.55)])
    assert_promises(Simulation(words, route, tail=1.5).run(within=20))


def test_an_empty_final_denies_what_was_asked_for() -> None:
    """A second opinion whose finals are empty in noise says so sooner than by its silence."""
    words = speak(*sentence("one two"), noise(1.5, 1.0), ("three", 9.0, 0.4))
    route = [Recogniser("a"), Recogniser("b", empties=True, slow_endpointing=True)]
    sim = Simulation(words, route, tail=1.0).run(within=3)
    assert_promises(sim)
    assert verdicts(sim)[0] == ("a", "b", "no_speech")


# --- noise falls off


def coughs(count: int, *, every: float = 12.0, long: float = 1.0) -> list[Spoken]:
    pieces = [noise(every - long, long) for _ in range(count)]
    return speak(*sentence("one two"), *pieces, ("three", every, 0.4), *pieces[:1], ("x", 1.0, 0.4))


def test_noise_doubles_the_deadline_up_to_eight_times() -> None:
    """Each time nobody hears words the next doubt comes later; text makes it as it was."""
    sim = Simulation(coughs(5, every=16.0), [Recogniser("a"), Recogniser("b")]).run(within=3)
    assert_promises(sim)
    ends = [w.end for w in sim.words if not w.text]
    opened = [t - sim.base for t, c in sim.commands if isinstance(c, OpenConnection)][1:]
    waits = [t - max(e for e in ends if e < t) for t in opened]
    assert {e.outcome for e in events(sim, HedgeFinished)} <= {"no_speech", "primary_recovered"}
    expected = [1.2 * n - 0.6 for n in (1, 2, 4, 8, 8, 1)]
    assert waits == pytest.approx([0.2 + e for e in expected[: len(waits)]], abs=0.35)
    assert len(waits) == 6


def test_a_minute_of_noise_is_no_fault() -> None:
    """Music, coughs and babble: nobody is convicted, and second opinions become seldom."""
    pieces = [noise(0.5 + i % 3, 0.4 + i % 4) for i in range(20)]
    words = speak(*sentence("one two three"), *pieces, *sentence("four five", before=1.0))
    for interims in (True, False):
        route = [Recogniser(n, interims=interims) for n in "ab"]
        sim = Simulation(words, route, tail=1.0).run(within=2)
        assert_promises(sim)
        assert sim.served == ["a"]
        assert Counter(v for _, _, v in verdicts(sim))["promoted"] == 0
        assert len(sim.opened) <= 10
        assert sim.released > 40 * RATE  # it does not fill the ledger


def test_silence_is_no_noise() -> None:
    """A minute in which nobody speaks raises no doubt, and does not fill the ledger."""
    words = speak(*sentence("one two three"), ("four", 60.0, 0.4))
    sim = Simulation(words, [Recogniser("a"), Recogniser("b")]).run(within=2)
    assert_promises(sim)
    assert sim.opened == ["a"]
    assert sim.events == []
    assert sim.released >= 55 * RATE


# --- what it may cost


def test_the_budget_refuses_all_but_the_first() -> None:
    """Without a budget a stream has one second opinion, and later one at the longest deadline."""
    policies = Policies(watchdog=WatchdogPolicy(hedge_audio_share=0.0, hedge_audio_allowance=0.0))
    sim = Simulation(coughs(2), [Recogniser("a"), Recogniser("b")], policies=policies)
    assert_promises(sim.run(within=3))
    free = Simulation(coughs(2), [Recogniser("a"), Recogniser("b")]).run(within=3)
    assert len(sim.opened) < len(free.opened)
    assert sim.opened_as(Role.HEDGE)[0] == "b"


def test_a_deaf_provider_is_noticed_without_a_budget() -> None:
    """The cap delays a second opinion, and never prevents it."""
    policies = Policies(watchdog=WatchdogPolicy(hedge_audio_share=0.0, hedge_audio_allowance=0.0))
    words = speak(*sentence("one"), noise(2.0, 1.0), *sentence("two three", before=8.0))
    route = [Recogniser("a", [Stalls(3.0)]), Recogniser("b")]
    sim = Simulation(words, route, policies=policies, tail=40.0).run(within=2)
    assert_promises(sim)
    assert [v for _, _, v in verdicts(sim)] == ["no_speech", "promoted"]


def test_a_second_leg_that_is_refused_for_its_number() -> None:
    """A provider that takes no second leg lives: nobody knows better, and words are waited for."""
    words = speak(*sentence("one"), noise(1.5, 1.0), ("two", 9.0, 0.4))
    one = Recogniser("a", [None, *[Refused(ErrorKind.RATE_LIMITED)] * 2])
    sim = Simulation(words, [one]).run(within=3)
    assert_promises(sim)
    assert sim.served == ["a"]


def test_refusals_of_a_second_leg_do_not_pile_up() -> None:
    """One cough, on a sole provider that takes one connection: it is asked a few times."""
    words = speak(*sentence("one"), noise(1.5, 1.0), ("two", 30.0, 0.4))
    one = Recogniser("a", [None, *[Refused(ErrorKind.RATE_LIMITED)] * 999])
    sim = Simulation(words, [one]).run(within=3)
    assert_promises(sim)
    assert len(sim.opened) < 10


# --- what must not be taken for silence


@pytest.mark.parametrize("flushes", [True, False])
@pytest.mark.parametrize("latency", [0.0, 0.3, 0.5])
def test_empty_finals_in_silence_mean_nothing(latency: float, flushes: bool) -> None:
    """A provider that says so once a second when it hears nothing is healthy."""
    words = speak(*sentence("one two three"), *sentence("four five six", before=5.3))
    for interims in (True, False):
        first = Recogniser("a", empties=True, latency=latency, flushes=flushes, interims=interims)
        sim = Simulation(words, [first, Recogniser("b", latency=0.0)], tail=1.0).run(within=2)
        assert_promises(sim)
        assert sim.opened == ["a"]


def test_a_turn_that_is_told_may_stay_open() -> None:
    """A provider that finds the ends of turns itself is not overdue while its interims cover it."""
    turns = Recogniser("a", endpointing=5.0, flushes=False, end_of_turn_timeout=6.0, times="none")
    words = speak(*sentence("one two three"), ("four", 9.0, 0.4))
    sim = Simulation(words, [turns, Recogniser("b")], tail=6.0).run(within=2)
    assert_promises(sim)
    assert sim.served == ["a"]
    assert {v for _, _, v in verdicts(sim)} <= {"primary_recovered"}


def test_a_missing_tail_is_fetched_from_another() -> None:
    """Of two providers the one that has not lost the tail is asked for it."""
    deaf = Recogniser("a", [LosesTail(), LosesTail()])
    sim = Simulation(TWO, [deaf, Recogniser("b")], tail=0.1).run(within=6)
    assert_promises(sim)


@pytest.mark.parametrize("names", ["ab", "a"])
def test_a_cough_before_the_end_is_no_failure(names: str) -> None:
    """Healthy providers are not told to have failed when a call ends with a noise."""
    words = speak(*sentence("one two three"), noise(1.0, 0.6))
    sim = Simulation(words, [Recogniser(n) for n in names], tail=0.1).run(within=4)
    assert_promises(sim)
    assert verdicts(sim) == [("a", names[-1], "no_speech")]
    assert not events(sim, ProviderFailed)
    assert not events(sim, Switched)


def test_who_has_told_the_missing_tail_is_found_by_asking() -> None:
    """Words that a clean end left out convict, and are told by whom they were told to."""
    sim = Simulation(TWO, [Recogniser("a", [LosesTail()]), Recogniser("b")], tail=0.1)
    assert_promises(sim.run(within=3))
    assert verdicts(sim) == [("a", "b", "promoted")]
    assert [(e.provider, e.trigger) for e in events(sim, ProviderFailed)] == [("a", "missing_tail")]


def test_who_does_not_tell_what_was_told_is_no_witness() -> None:
    """Two connections are cut in a row at the end: the second had words to tell again, and told
    none, so it is not believed that there are no more."""
    first = Recogniser("a", [LosesTail()], most=2, interims=False)
    second = Recogniser("b", [LosesTail()], endpointing=9.0, interims=False)
    words = speak(*sentence("one two three four five"))
    sim = Simulation(words, [first, second], tail=0.1).run(within=9)
    assert_promises(sim)
    failed = [(e.provider, e.trigger) for e in events(sim, ProviderFailed)]
    assert failed == [("b", "missing_tail"), ("a", "missing_tail")]


def test_a_hedge_that_is_deaf_as_well_is_no_witness() -> None:
    """It was sent words that were told before, and did not tell them: what follows is no noise."""
    first = Recogniser("a", [Stalls(after=2.6)], most=2)
    second = Recogniser("b", [Stalls(after=0.0)])
    words = speak(*sentence("one two three four five six seven"), ("eight", 6.0, 0.4))
    sim = Simulation(words, [first, second], tail=0.1).run(within=9)
    assert_promises(sim)
    assert "b" in [e.provider for e in events(sim, ProviderFailed)]


def test_a_deaf_provider_is_noticed_between_two_short_sentences() -> None:
    """A doubt whose deadline is over is not dropped because the user speaks on."""
    words = speak(*[(w, 1.6 if i else 0.6, 0.35) for i, w in enumerate(VOCABULARY[:8])])
    route = [
        Recogniser("a", [Stalls(1.5)], interims=False, flushes=False),
        Recogniser("b", latency=0.9, interims=False, pace=replace(Recogniser().pace, burst=0.05)),
    ]
    sim = Simulation(words, route, tail=1.0).run(within=5)
    assert_promises(sim)
    assert [v for who, _, v in verdicts(sim) if who == "a"] == ["promoted"]


# --- and the rest


def spoken_to() -> FailoverEngine:
    """A second and a half of speech, and half a second of silence; one more opens a hedge."""
    session = alone(2)
    session.handle(StreamOpened(), 0.0)
    session.handle(AudioPushed(RATE, RATE), 1.0)
    session.handle(SpeechStarted(0), 1.0)
    session.handle(AudioPushed(RATE, RATE), 2.0)
    session.handle(SpeechEnded(int(1.5 * RATE)), 2.0)
    return session


def test_options_of_a_doubted_provider() -> None:
    """A suspect that is opened anew is doubted no more: its hedge is closed."""
    session = spoken_to()
    out = session.handle(AudioPushed(RATE, RATE), 4.0)
    assert [c for c in out if isinstance(c, OpenConnection)] == [
        OpenConnection(1, "b", 0, role=Role.HEDGE)
    ]
    assert "HedgeController(hedge=1, scale=1.0)" in repr(session)
    session.handle(OptionsChanged("a"), 4.1)
    assert "HedgeController(hedge=None" in repr(session)


def test_slow_finals_are_no_silence() -> None:
    """A provider whose finals are 3 s late is asked about, answers, and is left when it may be."""
    words = speak(*[(w, 4.0, 0.4) for w in VOCABULARY[:8]])
    route = [Recogniser("a", [Slow(3.2)], interims=False), Recogniser("b", latency=3.9)]
    policies = Policies(
        breaker=BreakerPolicy(slow_call_threshold=3), failback=FailbackPolicy(min_dwell=1)
    )
    sim = Simulation(words, route, policies=policies, tail=5.0).run(within=6)
    assert_promises(sim)


def test_a_hedge_tells_what_it_heard_in_its_order() -> None:
    """All that a hedge held back comes when it has won, and nothing of the suspect after it."""
    words = speak(*sentence("one two three"), *sentence("four five six", before=0.5))
    late = Stalls(0.5, lasts=6.0)
    sim = Simulation(words, [Recogniser("a", [late]), Recogniser("b")], tail=4.0).run(within=5)
    assert_promises(sim)
    assert {e.provider for e in sim.finals} == {"b"}


def test_usage_of_a_hedge_is_passed_on() -> None:
    """What a hedge is charged for reaches the consumer, though its text does not."""
    session = spoken_to()
    session.handle(AudioPushed(RATE, RATE), 4.0)
    source = object()
    out = session.handle(ProviderEvent(1, TranscriptEvent(EventKind.USAGE, source=source)), 4.1)
    assert Emit(EventKind.USAGE, source=source) in out
    out = session.handle(ProviderEvent(1, TranscriptEvent(EventKind.START)), 4.1)
    assert not [c for c in out if isinstance(c, Emit)]


def test_a_flood_of_a_hedge_is_bounded() -> None:
    """Of what a hedge says before it is believed no more is kept than any provider says."""
    session = spoken_to()
    session.handle(AudioPushed(RATE // 2, RATE), 2.8)
    session.handle(DeadlineReached(), 3.5)
    for number in range(3 * MAX_HELD_EVENTS):
        session.handle(ProviderEvent(1, TranscriptEvent(EventKind.INTERIM, f"word {number}")), 3.6)
    hedge = session._pool.get(1)
    assert hedge is not None
    assert len(hedge.held_events) == MAX_HELD_EVENTS
