from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilient_stt.core.connections.connection import MAX_HELD_EVENTS
from resilient_stt.core.engine import FailoverEngine
from resilient_stt.core.events import ErrorKind, HedgeFinished, ProviderFailed, Role, Switched
from resilient_stt.core.messages import (
    AudioPushed,
    DeadlineReached,
    Emit,
    EventKind,
    OpenConnection,
    OptionsChanged,
    ProviderEvent,
    SendAudio,
    SpeechEnded,
    SpeechStarted,
    StreamOpened,
    TranscriptEvent,
    Word,
)
from resilient_stt.core.policy import BreakerPolicy, FailbackPolicy, Pace, Policies, WatchdogPolicy
from resilient_stt.core.transcript.alignment import Overlap, align

from ...support.promises import (
    TWO,
    VOCABULARY,
    alone,
    around,
    assert_promises,
    assert_times,
    events,
    loud_faults,
    recognizers,
    silent_faults,
    speeches,
)
from ...support.simulator import (
    DEAF,
    RATE,
    Drop,
    EmptyFinals,
    EndCleanly,
    Fault,
    Latency,
    LostTail,
    Recognizer,
    Refuse,
    Simulation,
    Spoken,
    Stall,
    noise,
    sentence,
    speak,
)

# --- nothing is lost or repeated, over random speech, noise and silence


@st.composite
def stalling(
    draw: st.DrawFn, *, others: int, noisy: bool = False, times: tuple[str, ...] = ("words",)
) -> Simulation:
    """Draw a provider whose connections stall in any way, and `others` that only fail."""
    words = draw(speeches(noisy=noisy))
    event = st.sampled_from(times)
    first = draw(recognizers("a", draw(event), faults=silent_faults | loud_faults, most=2 + others))
    rest = [draw(recognizers(n, draw(event), most=0)) for n in "bc"[:others]]
    first = replace(first, faults=_one_tail(first.faults))
    # hedges must answer in time: what no connection transcribes in time is committed as silence
    rest = [replace(r, latency=min(r.latency, 0.5), endpointing=0.3) for r in rest]
    return draw(around(words, [first, *rest]))


def _one_tail(faults: Sequence[Fault | None]) -> list[Fault | None]:
    """Keep one fault that ends cleanly without words: a second such connection is believed."""
    lying = [f for f in faults if isinstance(f, EmptyFinals)]
    clean = [f for f in faults if not isinstance(f, EmptyFinals | EndCleanly)]
    return [*clean, *lying[:1]] if lying else list(faults)


@pytest.mark.parametrize("latency", [0.5, 0.9, 1.3, 1.8])
def test_a_slow_hedge(latency: float) -> None:
    """A healthy hedge that takes 2 s for its first final loses no word."""
    slow = Recognizer("b", latency=latency, endpointing=0.5, interims=False, flushes=False)
    words = speak(("yes", 0.4, 0.3), ("no", 3.0, 0.3))
    sim = Simulation(words, [Recognizer("a", [DEAF], interims=False), slow], tail=4.0)
    assert_promises(sim.run(within=9))


@given(stalling(others=1) | stalling(others=2))
@settings(max_examples=40)
def test_every_word_once(sim: Simulation) -> None:
    """A provider that stalls or becomes slow loses no word beside one that works."""
    sim.run(within=60)
    assert_promises(sim)
    assert_times(sim, within=0.001)


@given(stalling(others=1, noisy=True))
@settings(max_examples=25)
def test_every_word_once_in_noise(sim: Simulation) -> None:
    """No word is lost in noise, in which no provider finds words."""
    sim.run(within=60)
    assert_promises(sim)


@given(stalling(others=1, times=("words", "end", "none")))
@settings(max_examples=25)
def test_every_word_once_without_times(sim: Simulation) -> None:
    """No word is lost by providers that give no times."""
    sim.run(within=60)
    assert_promises(sim)


@given(st.data())
@settings(max_examples=15)
def test_noise_causes_no_failover(data: st.DataObject) -> None:
    """A healthy provider keeps the stream, whatever the voice detector takes for speech."""
    words = data.draw(speeches(noisy=True))
    well = st.builds(
        Recognizer,
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


# --- the outcome of a hedge


def outcomes(sim: Simulation) -> list[tuple[str, str, str]]:
    return [(e.provider, e.hedge_provider, e.outcome) for e in events(sim, HedgeFinished)]


def first_new(sim: Simulation, since: float) -> float:
    """Return how many seconds after `since` the first text was emitted."""
    texts = [t - sim.base - since for t, c in sim.commands if isinstance(c, Emit) and c.text]
    return min((t for t in texts if t > 0.001), default=math.inf)


LONG = speak(
    *sentence(" ".join(VOCABULARY[:8])),
    *sentence(" ".join(VOCABULARY[100:108]), before=1.0),
    *sentence(" ".join(VOCABULARY[200:208]), before=1.0),
)


@pytest.mark.parametrize("word", range(0, len(LONG), 3))
@pytest.mark.parametrize("kind", ["interims", "late"])
def test_a_stall_at_any_word(kind: str, word: int) -> None:
    """No word is lost, and the first new word is at most 3.2 s late."""
    late = kind == "late"
    at = LONG[word].start + 0.1
    silent = Recognizer(
        "a", [Stall(at)], interims=not late, slow_endpointing=late, final_timeout=1.6
    )
    sim = Simulation(LONG, [silent, Recognizer("b")], tail=4.0).run(within=6)
    assert_promises(sim)
    assert outcomes(sim)[-1] == ("a", "b", "promoted")
    assert [e.reason for e in events(sim, Switched)] == ["stalled"]
    assert sim.served == ["a", "b"]
    # without interim transcripts nothing is late before the sentence is over
    due = LONG[word // 8 * 8 + 7].end if late else LONG[word].end
    assert first_new(sim, due) <= 3.2


@pytest.mark.parametrize("late", [True, False])
@pytest.mark.parametrize("word", range(0, len(LONG), 3))
def test_empty_finals_from_any_word(word: int, late: bool) -> None:
    """A provider that answers speech with empty finals loses no word."""
    faults = [EmptyFinals(LONG[word].start + 0.1)]
    route = [Recognizer("a", faults, interims=not late, slow_endpointing=late), Recognizer("b")]
    assert_promises(Simulation(LONG, route, tail=4.0).run(within=6))


@pytest.mark.parametrize("interims", [True, False])
@pytest.mark.parametrize("times", ["words", "end", "none"])
@pytest.mark.parametrize("dots", [".", "...", "\u266a", "¿?"])
def test_finals_without_letters(dots: str, times: str, interims: bool) -> None:
    """A provider whose every text is punctuation is deaf: another one transcribes every word."""
    deaf = Recognizer("a", spell=lambda _: dots, times=times, interims=interims)
    sim = Simulation(LONG, [deaf, Recognizer("b")], tail=4.0).run(within=6)
    assert_promises(sim)
    assert sim.served == ["a", "b"]


def test_the_hedge_is_opened_before_the_deadline() -> None:
    """The hedge has half of the deadline, and is not promoted before it is over."""
    words = speak(*sentence("one two three"))
    sim = Simulation(words, [Recognizer("a", [DEAF]), Recognizer("b")], tail=4.0).run(within=4)
    assert_promises(sim)
    end_noticed = speak(*sentence("one two three"))[-1].end + 0.35
    opened = next(t for t, c in sim.commands if isinstance(c, OpenConnection) and c.provider == "b")
    emitted = next(t for t, c in sim.commands if isinstance(c, Emit) and c.text)
    assert opened - sim.base == pytest.approx(end_noticed + 0.6, abs=0.2)
    assert emitted - sim.base == pytest.approx(end_noticed + 1.2, abs=0.2)
    assert sim.opened_as(Role.HEDGE) == ["b"]


def test_the_primary_recovers() -> None:
    """A connection that answers before its hedge does keeps the stream."""
    faults = [Stall(1.0, lasts=3.0)]
    words = speak(*sentence("one two three"), ("four", 4.0, 0.4))
    sim = Simulation(words, [Recognizer("a", faults), Recognizer("b", latency=2.9)], tail=1.0)
    assert_promises(sim.run(within=2))
    assert outcomes(sim) == [("a", "b", "primary_recovered")]
    assert sim.served == ["a"]


def test_the_primary_fails_beside_a_hedge() -> None:
    """If the active connection fails while a hedge listens, the hedge takes over."""
    words = speak(*sentence("one two three"), ("four", 4.0, 0.4))
    broken = [Drop(2.7)]
    route = [Recognizer("a", broken, latency=5.0), Recognizer("b", latency=0.5)]
    sim = Simulation(words, route, tail=1.0).run(within=2)
    assert_promises(sim)
    assert sim.opened == ["a", "b"]
    assert sim.served == ["a", "b"]


def test_a_stall_without_hedging() -> None:
    """With hedging turned off, the next provider takes over at the deadline."""
    policies = Policies(watchdog=WatchdogPolicy(hedging=False))
    sim = Simulation(TWO, [Recognizer("a", [DEAF]), Recognizer("b")], policies=policies)
    sim.run(within=2)
    assert_promises(sim)
    assert events(sim, HedgeFinished) == []
    assert [(e.reason, e.trigger) for e in events(sim, ProviderFailed)] == [
        ("stalled", "no_interim")
    ]
    assert sim.served == ["a", "b"]


@pytest.mark.parametrize("kind", [ErrorKind.CONNECT, ErrorKind.AUTH, ErrorKind.BAD_REQUEST])
def test_a_hedge_that_fails_is_replaced(kind: ErrorKind) -> None:
    """If the hedge fails, the third provider is asked, and the failure is reported."""
    broken = Recognizer("b", [Refuse(kind)] * 9)
    route = [Recognizer("a", [DEAF]), broken, Recognizer("c")]
    sim = Simulation(TWO, route).run(within=2)
    assert_promises(sim)
    assert sim.served == ["a", "c"]
    assert events(sim, ProviderFailed)[0].provider == "b"


def test_a_hedge_that_had_words_is_retried() -> None:
    """Its words are lost with its connection; its audio counts once against the budget."""
    route = [Recognizer("a", [DEAF] * 9), Recognizer("b", [Drop(0.45)], latency=0.05)]
    sim = Simulation(TWO, route).run(within=3)
    assert_promises(sim)
    assert sim.opened[:3] == ["a", "b", "b"]
    assert events(sim, ProviderFailed)[0].provider == "b"
    sent = sum(c.sent / RATE for c in sim.closed if c.of.name == "b" and c.fault)
    assert repr(sim.budget).endswith(f"hedged={sent:.1f})")


def test_a_stall_while_all_hedges_fail() -> None:
    """If every hedge fails, also that on the same provider, silence alone decides."""
    down = [(0.5, 4.0)]
    deaf = Recognizer("a", [DEAF, *[Refuse()] * 3])
    sim = Simulation(TWO, [deaf, Recognizer("b", down=down)]).run(within=3)
    assert_promises(sim)
    assert sim.opened_as(Role.HEDGE) == ["b", "a"]
    assert "stalled" in [e.reason for e in events(sim, ProviderFailed)]


@pytest.mark.parametrize("fault", [DEAF, EmptyFinals()])
def test_a_sole_provider_hedges_itself(fault: Fault) -> None:
    """Without another provider, a second connection to the same one is the hedge."""
    sim = Simulation(TWO, [Recognizer("a", [fault])]).run(within=3)
    assert_promises(sim)
    assert sim.opened_as(Role.HEDGE) == ["a"]
    assert sim.served == ["a", "a"]
    assert outcomes(sim)[0] == ("a", "a", "promoted")


def test_a_second_connection_commits_no_silence() -> None:
    """Two deaf connections of one provider clear each other, and the speech stays pending."""
    deaf = Recognizer("a", [DEAF, DEAF, DEAF])
    words = speak(*sentence("one two three"), *sentence("four five six", before=6.0))
    sim = Simulation(words, [deaf], tail=9.0).run(within=30)
    assert_promises(sim)
    assert outcomes(sim)[0] == ("a", "a", "no_speech")


def test_two_providers_commit_silence() -> None:
    """Audio in which two providers find no words is committed, and not replayed."""
    words = speak(*sentence("one"), noise(1.5, 1.0), ("two", 9.0, 0.4))
    route = [Recognizer("a", [Drop(9.0, kind=ErrorKind.SERVER)]), Recognizer("b")]
    sim = Simulation(words, route, tail=1.0).run(within=2)
    assert_promises(sim)
    assert outcomes(sim)[0] == ("a", "b", "no_speech")
    (switched,) = events(sim, Switched)
    assert switched.replay_from >= words[1].end


def test_words_after_noise() -> None:
    """Words of a hedge are not committed as noise together with the cough before them."""
    words = speak(
        noise(0.1, 4.0),
        noise(4.0, 0.2),
        ("one", 0.4, 0.25),
        ("two", 0.1, 0.3),
        ("three", 1.0, 0.25),
        noise(0.02, 1.5),
    )
    slow, fast = Pace(burst=0.05, rate=1.5), Pace(burst=0.05, rate=2.0)
    deaf = Recognizer("a", [Stall(0.8)], interims=False, slow_endpointing=True, pace=slow)
    well = Recognizer("b", latency=0.0, speed=1.25, most=2, flushes=False, pace=fast)
    sim = Simulation(words, [deaf, well], tail=1.5, frame=0.03, pad=0.1)
    assert_promises(sim.run(within=20))


@pytest.mark.parametrize("names", ["ab", "a"])
def test_a_hedge_that_was_not_sent_the_words(names: str) -> None:
    """A hedge that finds no words in noise says nothing about the word after the noise."""
    words = speak(("one", 0.4, 0.4), noise(0.1, 4.0), ("two", 0.0, 0.4))
    slow = Pace(burst=0.05, rate=1.5)
    route = [Recognizer(n, endpointing=0.1, pace=slow) for n in names]
    route[0] = replace(route[0], faults=[Stall(5.55)])
    assert_promises(Simulation(words, route, tail=1.5).run(within=20))


def test_an_empty_final_of_a_hedge() -> None:
    """An empty final of a hedge shows that there was no speech."""
    words = speak(*sentence("one two"), noise(1.5, 1.0), ("three", 9.0, 0.4))
    route = [Recognizer("a"), Recognizer("b", empties=True, slow_endpointing=True)]
    sim = Simulation(words, route, tail=1.0).run(within=3)
    assert_promises(sim)
    assert outcomes(sim)[0] == ("a", "b", "no_speech")


# --- noise stretches the deadlines


def coughs(count: int, *, every: float = 12.0, long: float = 1.0) -> list[Spoken]:
    pieces = [noise(every - long, long) for _ in range(count)]
    return speak(*sentence("one two"), *pieces, ("three", every, 0.4), *pieces[:1], ("x", 1.0, 0.4))


def test_noise_stretches_the_deadlines() -> None:
    """Each hedge that finds no words doubles the deadline, up to 8 times; text resets it."""
    sim = Simulation(coughs(5, every=16.0), [Recognizer("a"), Recognizer("b")]).run(within=3)
    assert_promises(sim)
    ends = [w.end for w in sim.words if not w.text]
    opened = [t - sim.base for t, c in sim.commands if isinstance(c, OpenConnection)][1:]
    waits = [t - max(e for e in ends if e < t) for t in opened]
    assert {e.outcome for e in events(sim, HedgeFinished)} <= {"no_speech", "primary_recovered"}
    expected = [1.2 * n - 0.6 for n in (1, 2, 4, 8, 8, 1)]
    assert waits == pytest.approx([0.2 + e for e in expected[: len(waits)]], abs=0.35)
    assert len(waits) == 6


def test_a_minute_of_noise() -> None:
    """Music, coughs and babble cause no failover, and fewer and fewer hedges."""
    pieces = [noise(0.5 + i % 3, 0.4 + i % 4) for i in range(20)]
    words = speak(*sentence("one two three"), *pieces, *sentence("four five", before=1.0))
    for interims in (True, False):
        route = [Recognizer(n, interims=interims) for n in "ab"]
        sim = Simulation(words, route, tail=1.0).run(within=2)
        assert_promises(sim)
        assert sim.served == ["a"]
        assert Counter(v for _, _, v in outcomes(sim))["promoted"] == 0
        assert len(sim.opened) <= 10
        assert sim.released > 40 * RATE  # it does not fill the ledger


def test_a_minute_of_silence() -> None:
    """A minute of silence opens no hedge, and does not fill the ledger."""
    words = speak(*sentence("one two three"), ("four", 60.0, 0.4))
    sim = Simulation(words, [Recognizer("a"), Recognizer("b")]).run(within=2)
    assert_promises(sim)
    assert sim.opened == ["a"]
    assert sim.events == []
    assert sim.released >= 55 * RATE


# --- what hedges may cost


def test_hedges_without_a_budget() -> None:
    """Without a budget a stream has its first hedge, and fewer later ones."""
    policies = Policies(watchdog=WatchdogPolicy(hedge_audio_share=0.0, hedge_audio_allowance=0.0))
    sim = Simulation(coughs(2), [Recognizer("a"), Recognizer("b")], policies=policies)
    assert_promises(sim.run(within=3))
    free = Simulation(coughs(2), [Recognizer("a"), Recognizer("b")]).run(within=3)
    assert len(sim.opened) < len(free.opened)
    assert sim.opened_as(Role.HEDGE)[0] == "b"


def test_a_deaf_provider_is_noticed_without_a_budget() -> None:
    """The cap on hedged audio delays a hedge, and never prevents it."""
    policies = Policies(watchdog=WatchdogPolicy(hedge_audio_share=0.0, hedge_audio_allowance=0.0))
    words = speak(*sentence("one"), noise(2.0, 1.0), *sentence("two three", before=8.0))
    route = [Recognizer("a", [Stall(3.0)]), Recognizer("b")]
    sim = Simulation(words, route, policies=policies, tail=40.0).run(within=2)
    assert_promises(sim)
    assert [v for _, _, v in outcomes(sim)] == ["no_speech", "promoted"]


def test_a_refused_second_connection() -> None:
    """A sole provider that takes no second connection is alive, and keeps the stream."""
    words = speak(*sentence("one"), noise(1.5, 1.0), ("two", 9.0, 0.4))
    one = Recognizer("a", [None, *[Refuse(ErrorKind.RATE_LIMITED)] * 2])
    sim = Simulation(words, [one]).run(within=3)
    assert_promises(sim)
    assert sim.served == ["a"]


def test_refused_connections_are_not_repeated() -> None:
    """One cough on a sole provider that takes one connection opens fewer than ten."""
    words = speak(*sentence("one"), noise(1.5, 1.0), ("two", 30.0, 0.4))
    one = Recognizer("a", [None, *[Refuse(ErrorKind.RATE_LIMITED)] * 999])
    sim = Simulation(words, [one]).run(within=3)
    assert_promises(sim)
    assert len(sim.opened) < 10


# --- what is not a stall


@pytest.mark.parametrize("flushes", [True, False])
@pytest.mark.parametrize("latency", [0.0, 0.3, 0.5])
def test_empty_finals_in_silence_mean_nothing(latency: float, flushes: bool) -> None:
    """A provider that gives an empty final for each second of silence is healthy."""
    words = speak(*sentence("one two three"), *sentence("four five six", before=5.3))
    for interims in (True, False):
        first = Recognizer("a", empties=True, latency=latency, flushes=flushes, interims=interims)
        sim = Simulation(words, [first, Recognizer("b", latency=0.0)], tail=1.0).run(within=2)
        assert_promises(sim)
        assert sim.opened == ["a"]


def test_an_open_turn_is_no_stall() -> None:
    """A final that waits for the end of the turn is not overdue while interim text covers it."""
    turns = Recognizer("a", endpointing=5.0, flushes=False, end_of_turn_timeout=6.0, times="none")
    words = speak(*sentence("one two three"), ("four", 9.0, 0.4))
    sim = Simulation(words, [turns, Recognizer("b")], tail=6.0).run(within=2)
    assert_promises(sim)
    assert sim.served == ["a"]
    assert {v for _, _, v in outcomes(sim)} <= {"primary_recovered"}


def test_a_missing_tail_of_two_connections() -> None:
    """The tail that two connections of one provider lose comes from another provider."""
    deaf = Recognizer("a", [LostTail(), LostTail()])
    sim = Simulation(TWO, [deaf, Recognizer("b")], tail=0.1).run(within=6)
    assert_promises(sim)


@pytest.mark.parametrize("names", ["ab", "a"])
def test_a_cough_before_the_end(names: str) -> None:
    """A call that ends with noise is no failure of its provider."""
    words = speak(*sentence("one two three"), noise(1.0, 0.6))
    sim = Simulation(words, [Recognizer(n) for n in names], tail=0.1).run(within=4)
    assert_promises(sim)
    assert outcomes(sim) == [("a", names[-1], "no_speech")]
    assert not events(sim, ProviderFailed)
    assert not events(sim, Switched)


def test_a_missing_tail() -> None:
    """The hedge transcribes words that are missing after a clean end, and is promoted."""
    sim = Simulation(TWO, [Recognizer("a", [LostTail()]), Recognizer("b")], tail=0.1)
    assert_promises(sim.run(within=3))
    assert outcomes(sim) == [("a", "b", "promoted")]
    assert [(e.provider, e.trigger) for e in events(sim, ProviderFailed)] == [("a", "missing_tail")]


@pytest.mark.parametrize("times", ["words", "end"])
@pytest.mark.parametrize("interims", [True, False])
def test_the_end_of_the_last_word_is_not_asked_about(times: str, *, interims: bool) -> None:
    """A provider that gave its final behind all voice and ends as asked leaves no doubt.

    Behind its last word there is a bit of voice, as where the voice detector hears the echo.
    """
    words = speak(*sentence("one two three four five"), noise(0.0, 0.4))
    route = [Recognizer(name, times=times, interims=interims) for name in "ab"]
    sim = Simulation(words, route, tail=1.2).run()
    assert_promises(sim)
    assert not outcomes(sim)
    assert sim.served == ["a"]


def test_a_hedge_that_loses_the_tail_as_well() -> None:
    """A hedge that does not even repeat committed words proves nothing about the tail."""
    first = Recognizer("a", [LostTail()], most=2, interims=False)
    second = Recognizer("b", [LostTail()], endpointing=9.0, interims=False)
    words = speak(*sentence("one two three four five"))
    sim = Simulation(words, [first, second], tail=0.1).run(within=9)
    assert_promises(sim)
    failed = [(e.provider, e.trigger) for e in events(sim, ProviderFailed)]
    assert failed == [("b", "missing_tail"), ("a", "missing_tail")]


def test_a_hedge_that_is_deaf_as_well() -> None:
    """A hedge that does not even repeat committed words proves no noise."""
    first = Recognizer("a", [Stall(after=2.6)], most=2)
    second = Recognizer("b", [Stall(after=0.0)])
    words = speak(*sentence("one two three four five six seven"), ("eight", 6.0, 0.4))
    sim = Simulation(words, [first, second], tail=0.1).run(within=9)
    assert_promises(sim)
    assert "b" in [e.provider for e in events(sim, ProviderFailed)]


def test_a_deaf_provider_is_noticed_between_two_short_sentences() -> None:
    """A hedge whose deadline is over is not closed because the user speaks on."""
    words = speak(*[(w, 1.6 if i else 0.6, 0.35) for i, w in enumerate(VOCABULARY[:8])])
    route = [
        Recognizer("a", [Stall(1.5)], interims=False, flushes=False),
        Recognizer("b", latency=0.9, interims=False, pace=replace(Recognizer().pace, burst=0.05)),
    ]
    sim = Simulation(words, route, tail=1.0).run(within=5)
    assert_promises(sim)
    assert [v for who, _, v in outcomes(sim) if who == "a"] == ["promoted"]


# --- beside a hedge


def engine_after_speech() -> FailoverEngine:
    """Return an engine after 1.5 s of speech and 0.5 s of silence; 1 s more opens a hedge."""
    engine = alone(2)
    engine.handle(StreamOpened(), 0.0)
    engine.handle(AudioPushed(RATE, RATE), 1.0)
    engine.handle(SpeechStarted(0), 1.0)
    engine.handle(AudioPushed(RATE, RATE), 2.0)
    engine.handle(SpeechEnded(int(1.5 * RATE)), 2.0)
    return engine


def test_options_change_beside_a_hedge() -> None:
    """A change of options opens the connection anew, and closes its hedge."""
    engine = engine_after_speech()
    out = engine.handle(AudioPushed(RATE, RATE), 4.0)
    assert [c for c in out if isinstance(c, OpenConnection)] == [
        OpenConnection(1, "b", 0, role=Role.HEDGE)
    ]
    assert "HedgeController(Hedging, hedge=1, multiplier=1.0)" in repr(engine)
    engine.handle(OptionsChanged("a"), 4.1)
    assert "HedgeController(Watching, hedge=None" in repr(engine)


def test_slow_finals() -> None:
    """A provider whose finals are 3 s late loses no word, beside another that is as slow."""
    words = speak(*[(w, 4.0, 0.4) for w in VOCABULARY[:8]])
    route = [Recognizer("a", [Latency(3.2)], interims=False), Recognizer("b", latency=3.9)]
    policies = Policies(
        breaker=BreakerPolicy(slow_call_threshold=3), failback=FailbackPolicy(min_dwell=1)
    )
    sim = Simulation(words, route, policies=policies, tail=5.0).run(within=6)
    assert_promises(sim)


def test_a_promoted_hedge_emits_its_transcripts_in_order() -> None:
    """A promoted hedge emits all its transcripts, and the connection before it none any more."""
    words = speak(*sentence("one two three"), *sentence("four five six", before=0.5))
    late = Stall(0.5, lasts=6.0)
    sim = Simulation(words, [Recognizer("a", [late]), Recognizer("b")], tail=4.0).run(within=5)
    assert_promises(sim)
    assert {e.provider for e in sim.finals} == {"b"}


def test_usage_of_a_hedge_is_passed_on() -> None:
    """Usage of a hedge reaches the consumer at once, its other events do not."""
    engine = engine_after_speech()
    engine.handle(AudioPushed(RATE, RATE), 4.0)
    source = object()
    out = engine.handle(ProviderEvent(1, TranscriptEvent(EventKind.USAGE, source=source)), 4.1)
    assert Emit(EventKind.USAGE, source=source) in out
    out = engine.handle(ProviderEvent(1, TranscriptEvent(EventKind.START)), 4.1)
    assert not [c for c in out if isinstance(c, Emit)]


def test_events_of_a_hedge_are_bounded() -> None:
    """No more than `MAX_HELD_EVENTS` events of a hedge are kept."""
    engine = engine_after_speech()
    engine.handle(AudioPushed(RATE // 2, RATE), 2.8)
    engine.handle(DeadlineReached(), 3.5)
    for number in range(3 * MAX_HELD_EVENTS):
        engine.handle(ProviderEvent(1, TranscriptEvent(EventKind.INTERIM, f"word {number}")), 3.6)
    hedge = engine._pool.get(1)
    assert hedge is not None
    assert len(hedge.held_events) == MAX_HELD_EVENTS


def test_the_words_of_a_hedge_are_aligned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a hedge has transcribed is compared with the committed words once for each of its
    events, although the engine asks for it with every frame."""
    aligned = 0

    def counted(*arguments: Any) -> Overlap:
        nonlocal aligned
        aligned += 1
        return align(*arguments)

    monkeypatch.setattr("resilient_stt.core.transcript.overlap.align", counted)
    engine = engine_after_speech()
    words = (Word("one", 0.1, 0.3), Word("two", 0.4, 0.7))
    first = TranscriptEvent(EventKind.FINAL, "one two", words, 0.1, 0.7, "en")
    engine.handle(ProviderEvent(0, first), 2.1)
    engine.handle(AudioPushed(RATE, RATE), 4.0)
    held = TranscriptEvent(EventKind.INTERIM, "two")
    frames = 0
    for number in range(100):
        if not number % 50:
            engine.handle(ProviderEvent(1, held), 4.0)
        out = engine.handle(AudioPushed(RATE // 100, RATE), 4.0 + number / 100)
        frames += any(isinstance(c, SendAudio) and c.connection == 1 for c in out)
    assert frames > 50, "there was no hedge"
    assert 0 < aligned <= 4
