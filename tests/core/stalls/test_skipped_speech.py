from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilient_stt.core.audio.ledger import AudioLedger
from resilient_stt.core.events import AudioLost, ErrorKind, HedgeFinished, ProviderFailed, Switched
from resilient_stt.core.messages import Emit, EventKind, Role, SetServing, Word
from resilient_stt.core.policy import Policies, ReplayPolicy, WatchdogPolicy
from resilient_stt.core.stalls.skipped_speech import (
    MAX_INTERIM_WORDS,
    InterimTracker,
    SkippedSpeech,
    find_skipped,
)
from resilient_stt.core.transcript.overlap import Utterance

from ...support.promises import (
    around,
    assert_balance,
    assert_promises,
    assert_times,
    events,
    recognisers,
    speeches,
)
from ...support.simulator import (
    DEAF,
    HANGS,
    RATE,
    Drops,
    Fault,
    LosesFinal,
    Recogniser,
    Refused,
    Simulation,
    Slow,
    Stalls,
    noise,
    sentence,
    speak,
)

NEAR = speak(
    *sentence("one two three four"),
    *sentence("five six seven eight", before=0.6),
    *sentence("nine ten eleven twelve", before=0.6),
    *sentence("alpha bravo", before=0.6),
)
"""Sentences that follow each other so soon that each final comes before the last is overdue."""


# --- the promise, over random speech


@given(st.data())
@settings(max_examples=40)
def test_a_lost_final_costs_no_word(data: st.DataObject) -> None:
    """Who loses one final and goes on is found out by what he had told in interim transcripts."""
    words = data.draw(speeches(noisy=data.draw(st.booleans())))
    loses = st.builds(LosesFinal, st.integers(0, 3))
    first = replace(data.draw(recognisers("a", faults=loses, most=2)), interims=True)
    first = replace(first, most=data.draw(st.sampled_from([2, 3, 99])))
    rest = [data.draw(recognisers(n, most=0)) for n in "bc"[: data.draw(st.integers(0, 2))]]
    rest = [replace(r, latency=min(r.latency, 0.5), endpointing=0.3) for r in rest]
    if not rest:  # a second one that loses a final as well would be believed
        first = replace(first, faults=first.faults[:1])
    sim = data.draw(around(words, [first, *rest]))
    sim.run(within=60)
    assert_promises(sim)
    assert_times(sim, within=0.001)


@pytest.mark.parametrize("nth", [0, 1, 2])
@pytest.mark.parametrize("times", ["words", "end"])
@pytest.mark.parametrize("others", [0, 1, 2])
def test_a_lost_final_with_interims(nth: int, times: str, others: int) -> None:
    """Whichever it is, and whoever else there is, if anybody."""
    route = [Recogniser("a", [LosesFinal(nth)], times=times)]
    route += [Recogniser(name, times=times) for name in "bc"[:others]]
    sim = Simulation(NEAR, route).run()
    assert_promises(sim)
    (failed,) = events(sim, ProviderFailed)
    assert failed.trigger in ("skipped_speech", "final_overdue")
    assert sim.served == (["a", "b"] if others else ["a", "a"])


@pytest.mark.parametrize("interims", [False, True])
def test_a_lost_final_without_interims(interims: bool) -> None:
    """So much voice is nothing that a recogniser passes over: somebody else is asked."""
    liar = Recogniser("a", [LosesFinal(1, drafted=False)], interims=interims)
    words = speak(
        *sentence("one two three four"),
        *sentence("five six seven eight nine", before=0.6, gap=0.05),
        *sentence("ten eleven", before=0.6),
    )
    sim = Simulation(words, [liar, Recogniser("b")]).run()
    assert_promises(sim)
    assert sim.served == ["a", "b"]


@pytest.mark.parametrize("others", [0, 1])
def test_interims_that_no_final_follows(others: int) -> None:
    """Who begins anew in interim transcripts, and tells no finals, is doubted while speech goes
    on."""
    words = speak(*[piece for n in range(9) for piece in sentence(f"a{n} b{n} c{n} d{n}")])
    route = [Recogniser(name) for name in "ab"[: 1 + others]]
    route[0] = replace(route[0], faults=[LosesFinal(2, on=True)])
    sim = Simulation(words, route).run()
    assert_promises(sim)
    [at] = [at for at, c in sim.commands if isinstance(c, SetServing)][1:]
    lost = next(w for w in sim.words if w.text == "d2")
    assert at - sim.base - lost.end < 3.0


def test_untimed_hedge_tells_by_its_words() -> None:
    """Who gives no times is compared by his text."""
    route = [Recogniser("a", [LosesFinal(1)]), Recogniser("b", times="none", endpointing=0.4)]
    assert_promises(Simulation(NEAR, route).run())


@pytest.mark.parametrize("fault", [DEAF, Refused(), Drops(0.3), LosesFinal(0), Stalls(0.5)])
def test_who_was_asked_is_no_better(fault: Fault) -> None:
    """Whoever is asked first fails or is deaf: the next one is."""
    route = [Recogniser("a", [LosesFinal(1)]), Recogniser("b", [fault]), Recogniser("c")]
    assert_promises(Simulation(NEAR, route).run())


def test_a_second_gap_behind_the_first() -> None:
    """What waits for a verdict is looked into in its turn."""
    words = speak(
        *sentence("one two three"),
        noise(0.6, 2.0),
        *sentence("four five six", before=0.6),
        *sentence("seven eight nine", before=0.6),
        *sentence("ten eleven twelve", before=0.6),
    )
    slow = Recogniser("b", latency=0.9, endpointing=0.3)
    sim = Simulation(words, [Recogniser("a", [LosesFinal(2)]), slow], tail=2.0).run()
    assert_promises(sim)
    assert [e.outcome for e in events(sim, HedgeFinished)][-1] == "promoted"


# --- and what it may not cost


def test_a_cough_between_two_finals_costs_nothing() -> None:
    """Nobody is asked, and nothing waits, for voice that people and providers pass over."""
    words = speak(*sentence("one two three"), noise(0.6, 1.0), *sentence("four five", before=0.6))
    quick = Simulation(words, [Recogniser("a", endpointing=0.1), Recogniser("b")]).run()
    alone = Simulation(words, [Recogniser("a", endpointing=0.1)]).run()
    assert_promises(quick)
    told = [
        [at for at, c in sim.commands if isinstance(c, Emit) and c.kind is EventKind.FINAL]
        for sim in (quick, alone)
    ]
    assert told[0] == told[1]
    assert not [e for e in events(quick, HedgeFinished) if e.trigger == "skipped_speech"]


def test_noise_between_two_finals_is_settled_by_a_second_opinion() -> None:
    """Long noise delays what follows until somebody else has heard none in it, and nobody is left.

    The next such noise has to be longer to be taken for lost words.
    """
    parts = [
        [noise(0.5, 2.0), *sentence(text, before=0.5)] for text in ("four five", "six", "seven")
    ]
    words = speak(*sentence("one two three"), *[piece for part in parts for piece in part])
    sim = Simulation(words, [Recogniser("a"), Recogniser("b")], tail=2.0).run()
    assert_promises(sim)
    assert not events(sim, Switched)
    skipped = [e for e in events(sim, HedgeFinished) if e.trigger == "skipped_speech"]
    assert [e.outcome for e in skipped] == ["no_speech"]


def test_without_second_opinions_a_gap_convicts_once() -> None:
    """The next provider is believed, for somebody has to be."""
    policies = Policies(watchdog=WatchdogPolicy(hedging=False, final_timeout=9.0))
    liars = [("a", 1), ("b", 0)]
    route = [Recogniser(n, [LosesFinal(k)], final_timeout=9.0, most=4) for n, k in liars]
    slow = speak(
        *sentence("one two three four", word=0.45),
        *sentence("five six seven eight", word=0.45),
        *sentence("nine ten eleven twelve", word=0.45),
    )
    sim = Simulation(slow, route, policies=policies).run()
    assert_balance(sim)
    assert sim.served == ["a", "b"]
    assert [w for w in sim.spoken if w not in sim.text] == ["five", "six", "seven", "eight"]


def test_without_second_opinions_noise_convicts_nobody() -> None:
    """Long voice alone is no word of the leg against its final."""
    words = speak(*sentence("one two"), noise(0.5, 2.0), *sentence("four five", before=0.5))
    policies = Policies(
        watchdog=WatchdogPolicy(hedging=False, final_timeout=9.0, no_interim_timeout=9.0)
    )
    route = [Recogniser(n, final_timeout=9.0, endpointing=0.1) for n in "ab"]
    sim = Simulation(words, route, policies=policies).run()
    assert_promises(sim)
    assert sim.served == ["a"]


def test_all_who_can_be_asked_are_deaf() -> None:
    """What there is, is told in the end."""
    route = [Recogniser("a", [LosesFinal(1), DEAF]), Recogniser("b", [DEAF] * 9)]
    sim = Simulation(NEAR, route, tail=8.0).run()
    assert [w for w in sim.spoken if w not in sim.text] == ["five", "six", "seven", "eight"]
    assert sim.opened_as(Role.HEDGE)
    assert [round(e.seconds, 1) for e in events(sim, AudioLost)] == [1.4]


@pytest.mark.parametrize("fault", [Refused(), Refused(ErrorKind.RATE_LIMITED), HANGS])
def test_nobody_can_be_asked(fault: Fault) -> None:
    """A provider alone that takes no second connection is not left: it hears, at least."""
    sim = Simulation(NEAR, [Recogniser("a", [LosesFinal(1), *[fault] * 99])], tail=8.0).run()
    assert [w for w in sim.spoken if w not in sim.text] == ["five", "six", "seven", "eight"]
    assert sim.served == ["a"]
    assert [round(e.seconds, 1) for e in events(sim, AudioLost)] == [1.4]


@pytest.mark.parametrize("after", [5.0, 5.5, 6.0, 6.5, 7.0, 7.5, 8.0])
def test_who_breaks_while_he_is_doubted_is_left(after: float) -> None:
    """What waited is told by whoever takes over, once."""
    liar = Recogniser("a", [LosesFinal(1)], down=[(after, after + 0.3)])
    sim = Simulation(NEAR, [liar, Recogniser("b", [Slow(2.0)])], tail=4.0)
    assert_promises(sim.run())


# --- what interim transcripts had told


def words(*spans: tuple[str, float, float]) -> tuple[Word, ...]:
    return tuple(Word(*span) for span in spans)


def event(*spans: tuple[str, float, float]) -> Utterance:
    found = words(*spans)
    return Utterance(" ".join(w.text for w in found), found, found[0].start, found[-1].end)


HELLO, THERE = ("hello", 1.0, 1.3), ("there", 1.4, 1.7)
HOW, ARE = ("how", 2.0, 2.2), ("are", 2.3, 2.5)


def test_drafts_that_a_final_tells_are_not_passed_over() -> None:
    drafts = InterimTracker()
    drafts.add_interim(event(HELLO))
    drafts.add_interim(event(HELLO, THERE))
    assert drafts.take_skipped(event(HELLO, THERE)) == ()
    assert drafts.take_skipped(event(HOW, ARE)) == ()


def test_drafts_that_the_next_final_does_not_tell_are() -> None:
    drafts = InterimTracker()
    drafts.add_interim(event(HELLO, THERE))
    drafts.add_interim(event(HOW))
    assert drafts.take_skipped(event(HOW, ARE)) == words(HELLO, THERE)
    assert drafts.take_skipped(event(HOW, ARE)) == ()


def test_a_revised_draft_is_replaced() -> None:
    drafts = InterimTracker()
    drafts.add_interim(event(("yellow", 1.0, 1.2)))
    drafts.add_interim(event(("hell", 0.95, 1.2), ("oh", 1.2, 1.3)))
    assert drafts.take_skipped(event(HELLO)) == ()


def test_a_word_that_moved_is_the_same() -> None:
    drafts = InterimTracker()
    drafts.add_interim(event(("Hello,", 0.7, 0.9)))
    assert drafts.take_skipped(event(HELLO, THERE)) == ()
    drafts.add_interim(event(("hello", 0.1, 0.3)))
    assert drafts.take_skipped(event(HELLO, THERE)) == words(("hello", 0.1, 0.3))


def test_drafts_without_word_times_are_one() -> None:
    drafts = InterimTracker()
    drafts.add_interim(Utterance("hello there", (), 1.0, 1.7))
    assert drafts.take_skipped(Utterance("how are", (), 2.0, 2.5)) == words(
        ("hello there", 1.0, 1.7)
    )


@pytest.mark.parametrize(
    ("interims", "final", "passed"),
    [
        (["Hello", "Hello there", "Hello there Joe"], "Hello there, Joe.", ""),
        (["Hello there Joe", "How", "How are"], "How are you?", "Hello there Joe"),
        (["Hello there Joe"], "How are you?", "Hello there Joe"),
        (["Hello there Joe", "How are", "How are you"], "How are you", "Hello there Joe"),
        (["Yellow fair go", "Hello there Joe"], "Hello there Joe", ""),
        (["Yellow fair go"], "Hello there Joe", "Yellow fair go"),
        (["twenty one twenty one", "21"], "21 21 no", ""),
        (["twenty one twenty one no"], "21 21", ""),
        (["Hell there though", "Hello there Joe"], "Hello there Joe", ""),
        (["Hello there", "How"], "How are you?", ""),
        (["Hello there Joe", " "], "Hello there Joe", ""),
        (["你好吗", "您好嘛我"], "您好嘛我是", ""),
        (["你好吗你是谁", "今天"], "今天天气很好", "你好吗你是谁"),
    ],
)
def test_drafts_without_times_go_on_or_not(interims: list[str], final: str, passed: str) -> None:
    """Three words at least, most of which are not told again, are of another turn."""
    drafts = InterimTracker()
    for text in interims:
        drafts.add_interim(Utterance(text))
    assert [w.text for w in drafts.take_skipped(Utterance(final))] == ([passed] if passed else [])
    assert drafts.take_skipped(Utterance("something else entirely")) == ()


def test_some_have_times_and_some_do_not() -> None:
    drafts = InterimTracker()
    drafts.add_interim(Utterance("hello there"))
    assert drafts.take_skipped(event(HOW)) == ()
    drafts.add_interim(event(HELLO))
    assert drafts.take_skipped(Utterance("how are")) == ()
    drafts.add_interim(Utterance("", (), 1.0, 1.7))
    assert drafts.take_skipped(event(HOW)) == ()


def test_drafts_are_bounded() -> None:
    drafts = InterimTracker()
    for n in range(1000):
        drafts.add_interim(event((f"w{n}", float(n), n + 0.5)))
    assert len(drafts.take_skipped(event(("end", 2000.0, 2000.5)))) == MAX_INTERIM_WORDS
    assert repr(drafts) == "InterimTracker(0)"


# --- what is a gap


def ledger(*voice: tuple[float, float], to: float = 20.0, vad_enabled: bool = True) -> AudioLedger:
    made = AudioLedger(ReplayPolicy(), vad_enabled=vad_enabled)
    made.push(round(to * RATE), RATE)
    for start, end in voice if vad_enabled else ():
        made.speech_started(round(start * RATE))
        made.speech_ended(round(end * RATE))
    return made


POLICY = WatchdogPolicy()


@pytest.mark.parametrize(
    ("voice", "passed", "scale", "gap"),
    [
        (((1.0, 2.6), (4.0, 4.5)), (), 1.0, True),
        (((1.0, 2.4), (4.0, 4.5)), (), 1.0, False),
        (((1.0, 2.6), (4.0, 4.5)), (), 2.0, False),
        (((1.0, 2.6), (4.0, 4.5)), words(HELLO), 8.0, True),
        (((1.0, 1.3), (4.0, 4.5)), words(HELLO), 1.0, True),
        (((1.0, 1.2), (4.0, 4.5)), words(HELLO), 1.0, False),
        (((2.4, 4.5),), (), 1.0, True),
        (((4.0, 4.5),), words(HELLO), 1.0, False),
    ],
)
def test_what_is_a_gap(
    voice: tuple[tuple[float, float], ...], passed: tuple[Word, ...], scale: float, gap: bool
) -> None:
    found = find_skipped(
        ledger(*voice), POLICY, event(("so", 4.0, 4.5)), passed, 20 * RATE, 9.0, scale
    )
    assert (found is not None) is gap
    if found:
        assert (found.since, found.committed_through, found.first_word_at, found.end) == (
            9.0,
            0,
            4 * RATE,
            4.5 * RATE,
        )
        assert found.interims_through == (1.3 if passed else 4.5) * RATE
        assert found.had_interims is bool(passed)


def test_words_that_were_settled_are_no_gap() -> None:
    heard = ledger((1.0, 2.6), (4.0, 4.5))
    heard.commit(round(1.8 * RATE))
    assert (
        find_skipped(
            heard, POLICY, event(("so", 4.0, 4.5)), words(HELLO, THERE), 20 * RATE, 0.0, 1.0
        )
        is None
    )


@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("end_of_turn_timeout", [0.0, 4.0])
def test_a_lost_turn_without_times(end_of_turn_timeout: float, others: int) -> None:
    """Its interim transcripts told three words of it, and then others."""
    liar = Recogniser(
        "a", [LosesFinal(1)], times="none", endpointing=0.5, end_of_turn_timeout=end_of_turn_timeout
    )
    route = [liar, Recogniser("b", endpointing=0.5)][: 1 + others]
    sim = Simulation(NEAR, route).run()
    assert_promises(sim)
    assert [e.trigger for e in events(sim, ProviderFailed)] == ["skipped_speech"]


@pytest.mark.parametrize("new", [Utterance("so"), Utterance("so", (), None, 4.5)])
def test_without_times_there_is_no_gap(new: Utterance) -> None:
    assert find_skipped(ledger((1.0, 3.0)), POLICY, new, (), 20 * RATE, 0.0, 1.0) is None


def test_without_local_voice_activity_there_is_no_gap() -> None:
    assert (
        find_skipped(
            ledger(vad_enabled=False), POLICY, event(("so", 4.0, 4.5)), (), 20 * RATE, 0.0, 1.0
        )
        is None
    )


@pytest.mark.parametrize(
    ("news", "told"),
    [
        (event(HELLO), True),
        (event(("how", 1.8, 2.0)), False),
        (event(("so", 1.8, 2.0)), True),
        (event(("so", 1.9, 2.0)), False),
        (event(("so", 2.2, 2.5)), False),
        (event(("ever", 3.0, 3.2)), False),
        (Utterance("hello there"), True),
        (Utterance("how"), None),
        (Utterance("How are"), False),
        (Utterance("how were"), False),
        (Utterance("now were"), True),
        (Utterance("oh how are"), True),
        (Utterance("well are you"), False),
        (Utterance(""), None),
        (Utterance("how", (), None, 2.2), None),
    ],
)
def test_whether_another_leg_tells_of_the_gap(news: Utterance, told: bool | None) -> None:
    gap = SkippedSpeech(
        0.0, 0, 0, 2 * RATE, round(2.5 * RATE), event(HOW, ARE), 0.7, had_interims=True
    )
    assert gap.is_covered_by(news, 0.3, final=True) is told


@pytest.mark.parametrize(
    ("news", "final", "told"),
    [
        ("no", False, None),
        ("no", True, False),
        ("no no", True, False),
        ("no i said", True, False),
        ("no i said train", False, True),
        ("yes", True, True),
    ],
)
def test_one_word_begins_anything(news: str, final: bool, told: bool | None) -> None:
    """A FINAL of one word without times: another's must end as soon, or go on for much longer."""
    gap = SkippedSpeech(0.0, 0, 0, 2 * RATE, 3 * RATE, Utterance("no"), 0.7, had_interims=True)
    assert gap.is_covered_by(Utterance(news), 0.3, final=final) is told


def test_times_that_are_far_off_are_cut() -> None:
    heard = ledger((1.0, 3.0))
    found = find_skipped(heard, POLICY, event(("so", 1e6, 1e9)), (), 20 * RATE, 0.0, 1.0)
    assert found is None or found.end <= heard.end
