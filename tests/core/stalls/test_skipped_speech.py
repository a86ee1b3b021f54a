from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilient_stt.core.audio.ledger import AudioLedger
from resilient_stt.core.events import (
    AudioLost,
    ErrorKind,
    HedgeFinished,
    ProviderFailed,
    Role,
    Switched,
)
from resilient_stt.core.messages import Emit, EventKind, SetServing, Word
from resilient_stt.core.policy import Policies, ReplayPolicy, WatchdogPolicy
from resilient_stt.core.stalls.skipped_speech import SkippedSpeech, find_skipped_speech
from resilient_stt.core.transcript.overlap import Utterance

from ...support.promises import (
    around,
    assert_balance,
    assert_promises,
    assert_times,
    events,
    recognizers,
    speeches,
)
from ...support.simulator import (
    DEAF,
    HANG,
    RATE,
    Drop,
    Fault,
    Latency,
    LostFinal,
    Recognizer,
    Refuse,
    Simulation,
    Stall,
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
"""Sentences that follow so soon that each final comes before the one before it is overdue."""


# --- nothing is lost, over random speech


@given(st.data())
@settings(max_examples=40)
def test_a_lost_final_costs_no_word(data: st.DataObject) -> None:
    """The interim transcripts of a provider reveal that it lost a final, whatever the speech."""
    words = data.draw(speeches(noisy=data.draw(st.booleans())))
    loses = st.builds(LostFinal, st.integers(0, 3))
    first = replace(data.draw(recognizers("a", faults=loses, most=2)), interims=True)
    first = replace(first, most=data.draw(st.sampled_from([2, 3, 99])))
    rest = [data.draw(recognizers(n, most=0)) for n in "bc"[: data.draw(st.integers(0, 2))]]
    rest = [replace(r, latency=min(r.latency, 0.5), endpointing=0.3) for r in rest]
    if not rest:  # two connections that lose the same final are believed
        first = replace(first, faults=first.faults[:1])
    sim = data.draw(around(words, [first, *rest]))
    sim.run(within=60)
    assert_promises(sim)
    assert_times(sim, within=0.001)


@pytest.mark.parametrize("nth", [0, 1, 2])
@pytest.mark.parametrize("times", ["words", "end"])
@pytest.mark.parametrize("others", [0, 1, 2])
def test_a_lost_final_with_interims(nth: int, times: str, others: int) -> None:
    """No word is lost with any of the finals, beside any number of other providers."""
    route = [Recognizer("a", [LostFinal(nth)], times=times)]
    route += [Recognizer(name, times=times) for name in "bc"[:others]]
    sim = Simulation(NEAR, route).run()
    assert_promises(sim)
    (failed,) = events(sim, ProviderFailed)
    assert failed.trigger in ("skipped_speech", "final_overdue")
    assert sim.served == (["a", "b"] if others else ["a", "a"])


@pytest.mark.parametrize("interims", [False, True])
def test_a_lost_final_without_interims(interims: bool) -> None:
    """Without interim transcripts, long voice alone is enough to ask a hedge."""
    skipping = Recognizer("a", [LostFinal(1, with_interims=False)], interims=interims)
    words = speak(
        *sentence("one two three four"),
        *sentence("five six seven eight nine", before=0.6, gap=0.05),
        *sentence("ten eleven", before=0.6),
    )
    sim = Simulation(words, [skipping, Recognizer("b")]).run()
    assert_promises(sim)
    assert sim.served == ["a", "b"]


@pytest.mark.parametrize("others", [0, 1])
def test_interims_that_no_final_follows(others: int) -> None:
    """A provider whose interim text begins anew without a final is left while speech goes on."""
    words = speak(*[piece for n in range(9) for piece in sentence(f"a{n} b{n} c{n} d{n}")])
    route = [Recognizer(name) for name in "ab"[: 1 + others]]
    route[0] = replace(route[0], faults=[LostFinal(2, on=True)])
    sim = Simulation(words, route).run()
    assert_promises(sim)
    [at] = [at for at, c in sim.commands if isinstance(c, SetServing)][1:]
    lost = next(w for w in sim.words if w.text == "d2")
    assert at - sim.base - lost.end < 3.0


def test_a_hedge_without_times() -> None:
    """The text decides whether a hedge without times tells the skipped speech."""
    route = [Recognizer("a", [LostFinal(1)]), Recognizer("b", times="none", endpointing=0.4)]
    assert_promises(Simulation(NEAR, route).run())


@pytest.mark.parametrize("fault", [DEAF, Refuse(), Drop(0.3), LostFinal(0), Stall(0.5)])
def test_the_first_hedge_fails(fault: Fault) -> None:
    """If the first hedge fails or is deaf, the next provider is asked."""
    route = [Recognizer("a", [LostFinal(1)]), Recognizer("b", [fault]), Recognizer("c")]
    assert_promises(Simulation(NEAR, route).run())


def test_two_skipped_stretches_in_a_row() -> None:
    """Speech that is skipped by a FINAL that is held is checked as well."""
    words = speak(
        *sentence("one two three"),
        noise(0.6, 2.0),
        *sentence("four five six", before=0.6),
        *sentence("seven eight nine", before=0.6),
        *sentence("ten eleven twelve", before=0.6),
    )
    slow = Recognizer("b", latency=0.9, endpointing=0.3)
    sim = Simulation(words, [Recognizer("a", [LostFinal(2)]), slow], tail=2.0).run()
    assert_promises(sim)
    assert [e.outcome for e in events(sim, HedgeFinished)][-1] == "promoted"


# --- what it must not cost


def test_a_cough_delays_no_final() -> None:
    """No hedge is opened, and no final is held, for voice shorter than a sentence."""
    words = speak(*sentence("one two three"), noise(0.6, 1.0), *sentence("four five", before=0.6))
    quick = Simulation(words, [Recognizer("a", endpointing=0.1), Recognizer("b")]).run()
    alone = Simulation(words, [Recognizer("a", endpointing=0.1)]).run()
    assert_promises(quick)
    emitted_at = [
        [at for at, c in sim.commands if isinstance(c, Emit) and c.kind is EventKind.FINAL]
        for sim in (quick, alone)
    ]
    assert emitted_at[0] == emitted_at[1]
    assert not [e for e in events(quick, HedgeFinished) if e.trigger == "skipped_speech"]


def test_noise_between_two_finals() -> None:
    """Long noise costs one hedge and no provider; the next one must be longer to cost another."""
    parts = [
        [noise(0.5, 2.0), *sentence(text, before=0.5)] for text in ("four five", "six", "seven")
    ]
    words = speak(*sentence("one two three"), *[piece for part in parts for piece in part])
    sim = Simulation(words, [Recognizer("a"), Recognizer("b")], tail=2.0).run()
    assert_promises(sim)
    assert not events(sim, Switched)
    skipped = [e for e in events(sim, HedgeFinished) if e.trigger == "skipped_speech"]
    assert [e.outcome for e in skipped] == ["no_speech"]


def test_skipped_speech_without_hedging() -> None:
    """A lost final makes the stream leave the provider; the next one is believed."""
    policies = Policies(watchdog=WatchdogPolicy(hedging=False, final_timeout=9.0))
    faults = [("a", 1), ("b", 0)]
    route = [Recognizer(n, [LostFinal(k)], final_timeout=9.0, most=4) for n, k in faults]
    slow = speak(
        *sentence("one two three four", word=0.45),
        *sentence("five six seven eight", word=0.45),
        *sentence("nine ten eleven twelve", word=0.45),
    )
    sim = Simulation(slow, route, policies=policies).run()
    assert_balance(sim)
    assert sim.served == ["a", "b"]
    assert [w for w in sim.spoken if w not in sim.text] == ["five", "six", "seven", "eight"]


def test_noise_without_hedging() -> None:
    """Long voice without interim transcripts makes the stream leave no provider."""
    words = speak(*sentence("one two"), noise(0.5, 2.0), *sentence("four five", before=0.5))
    policies = Policies(
        watchdog=WatchdogPolicy(hedging=False, final_timeout=9.0, no_interim_timeout=9.0)
    )
    route = [Recognizer(n, final_timeout=9.0, endpointing=0.1) for n in "ab"]
    sim = Simulation(words, route, policies=policies).run()
    assert_promises(sim)
    assert sim.served == ["a"]


def test_all_hedges_are_deaf() -> None:
    """The FINAL is emitted in the end, and the skipped speech is reported lost."""
    route = [Recognizer("a", [LostFinal(1), DEAF]), Recognizer("b", [DEAF] * 9)]
    sim = Simulation(NEAR, route, tail=8.0).run()
    assert [w for w in sim.spoken if w not in sim.text] == ["five", "six", "seven", "eight"]
    assert sim.opened_as(Role.HEDGE)
    assert [round(e.seconds, 1) for e in events(sim, AudioLost)] == [1.4]


@pytest.mark.parametrize("fault", [Refuse(), Refuse(ErrorKind.RATE_LIMITED), HANG])
def test_a_sole_provider_that_takes_no_second_connection(fault: Fault) -> None:
    """It is not left, because it hears; the skipped speech is reported lost."""
    sim = Simulation(NEAR, [Recognizer("a", [LostFinal(1), *[fault] * 99])], tail=8.0).run()
    assert [w for w in sim.spoken if w not in sim.text] == ["five", "six", "seven", "eight"]
    assert sim.served == ["a"]
    assert [round(e.seconds, 1) for e in events(sim, AudioLost)] == [1.4]


@pytest.mark.parametrize("after", [5.0, 5.5, 6.0, 6.5, 7.0, 7.5, 8.0])
def test_the_active_connection_fails_while_its_final_is_held(after: float) -> None:
    """The words of the FINAL are emitted once, by the connection that takes over."""
    skipping = Recognizer("a", [LostFinal(1)], down=[(after, after + 0.3)])
    sim = Simulation(NEAR, [skipping, Recognizer("b", [Latency(2.0)])], tail=4.0)
    assert_promises(sim.run())


# --- what is skipped speech

Span = tuple[str, float, float]  # a word, and its start and end in seconds

HELLO, THERE = ("hello", 1.0, 1.3), ("there", 1.4, 1.7)
HOW, ARE = ("how", 2.0, 2.2), ("are", 2.3, 2.5)
SO = ("so", 4.0, 4.5)

POLICY = WatchdogPolicy()


def words(*spans: Span) -> tuple[Word, ...]:
    return tuple(Word(*span) for span in spans)


def utterance(*spans: Span) -> Utterance:
    found = words(*spans)
    return Utterance(" ".join(w.text for w in found), found, found[0].start, found[-1].end)


def a_ledger(
    *voice: tuple[float, float], end: float = 20.0, vad_enabled: bool = True
) -> AudioLedger:
    made = AudioLedger(ReplayPolicy(), vad_enabled=vad_enabled)
    made.push(round(end * RATE), RATE)
    for start, stop in voice if vad_enabled else ():
        made.speech_started(round(start * RATE))
        made.speech_ended(round(stop * RATE))
    return made


def find(
    ledger: AudioLedger,
    new_words: Utterance,
    interim_words: tuple[Word, ...] = (),
    *,
    multiplier: float = 1.0,
    longest: float = 1.0,
) -> SkippedSpeech | None:
    """Find what a FINAL at 9 s skips, on a connection that has heard 20 s of audio."""
    return find_skipped_speech(
        ledger,
        POLICY,
        new_words,
        longest=longest,
        interim_words=interim_words,
        heard_through=20 * RATE,
        now=9.0,
        multiplier=multiplier,
    )


@pytest.mark.parametrize(
    ("longest", "multiplier", "skipped_through"),
    [(1.0, 1.0, 3.0), (1.6, 1.0, None), (1.0, 2.0, None)],
)
def test_a_final_of_too_few_words(
    longest: float, multiplier: float, skipped_through: float | None
) -> None:
    """Voice up to its end that its words cannot take counts as skipped, though its start is not
    known; what is spoken behind its end does not."""
    ledger = a_ledger((1.0, 4.0), (5.0, 9.0))
    final = Utterance("7", (), None, 4.0)
    found = find(ledger, final, longest=longest, multiplier=multiplier)
    if skipped_through is None:
        assert found is None
    else:
        assert found is not None
        assert (found.first_word_at, found.end) == (skipped_through * RATE, 4 * RATE)
        assert found.speech == 2.0
        assert not found.had_interims


@pytest.mark.parametrize(
    ("voice", "interim_words", "multiplier", "is_skipped"),
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
def test_what_is_skipped_speech(
    voice: tuple[tuple[float, float], ...],
    interim_words: tuple[Word, ...],
    multiplier: float,
    is_skipped: bool,
) -> None:
    """1.5 s of voice, times the multiplier; or 0.25 s with words in interim transcripts."""
    found = find(a_ledger(*voice), utterance(SO), interim_words, multiplier=multiplier)
    assert (found is not None) is is_skipped
    if found:
        assert (found.since, found.committed_through) == (9.0, 0)
        assert (found.first_word_at, found.end) == (4 * RATE, 4.5 * RATE)
        assert found.interims_through == (1.3 if interim_words else 4.5) * RATE
        assert found.had_interims is bool(interim_words)


def test_committed_words_are_not_skipped() -> None:
    """Interim words before the watermark do not count, nor does the voice there."""
    ledger = a_ledger((1.0, 2.6), (4.0, 4.5))
    ledger.commit(round(1.8 * RATE))
    assert find(ledger, utterance(SO), words(HELLO, THERE)) is None


@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("end_of_turn_timeout", [0.0, 4.0])
def test_a_lost_turn_without_times(end_of_turn_timeout: float, others: int) -> None:
    """Without times, interim text of another turn reveals that a final was lost."""
    skipping = Recognizer(
        "a", [LostFinal(1)], times="none", endpointing=0.5, end_of_turn_timeout=end_of_turn_timeout
    )
    route = [skipping, Recognizer("b", endpointing=0.5)][: 1 + others]
    sim = Simulation(NEAR, route).run()
    assert_promises(sim)
    assert [e.trigger for e in events(sim, ProviderFailed)] == ["skipped_speech"]


@pytest.mark.parametrize("new_words", [Utterance("so"), Utterance("so", (), None, 4.5)])
def test_a_final_without_times_skips_nothing(new_words: Utterance) -> None:
    """Without times and interim transcripts the voice may be that of the FINAL itself."""
    assert find(a_ledger((1.0, 3.0)), new_words) is None


def test_nothing_is_skipped_without_vad() -> None:
    """Without local voice activity it is not known which audio is voice."""
    assert find(a_ledger(vad_enabled=False), utterance(SO)) is None


def test_times_that_are_far_off_are_cut() -> None:
    """No position lies beyond what the connection has heard."""
    ledger = a_ledger((1.0, 3.0))
    found = find(ledger, utterance(("so", 1e6, 1e9)))
    assert found is not None
    assert found.end <= ledger.end


# --- whether another connection tells it


def skipped_before(final: Utterance, *, end: float) -> SkippedSpeech:
    """Speech that is skipped by a FINAL that begins at 2 s."""
    return SkippedSpeech(
        since=0.0,
        committed_through=0,
        interims_through=0,
        first_word_at=2 * RATE,
        end=round(end * RATE),
        final=final,
        voice=((0, round(0.7 * RATE)),),
        speech=0.7,
        had_interims=True,
    )


def is_covered(skipped: SkippedSpeech, transcript: Utterance, *, is_final: bool) -> bool | None:
    return skipped.is_covered_by(
        transcript, is_final=is_final, word_time_tolerance=0.3, min_compared_words=3
    )


@pytest.mark.parametrize(
    ("transcript", "covered"),
    [
        (utterance(HELLO), True),
        (utterance(("how", 1.8, 2.0)), False),
        (utterance(("so", 1.8, 2.0)), True),
        (utterance(("so", 1.9, 2.0)), False),
        (utterance(("so", 2.2, 2.5)), False),
        (utterance(("ever", 3.0, 3.2)), False),
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
def test_whether_a_transcript_covers_it(transcript: Utterance, covered: bool | None) -> None:
    """By times where both have them, by the first words where not."""
    skipped = skipped_before(utterance(HOW, ARE), end=2.5)
    assert is_covered(skipped, transcript, is_final=True) is covered


@pytest.mark.parametrize(
    ("transcript", "is_final", "covered"),
    [
        ("no", False, None),
        ("no", True, False),
        ("no no", True, False),
        ("no i said", True, False),
        ("no i said train", False, True),
        ("yes", True, True),
    ],
)
def test_a_final_of_one_word(transcript: str, is_final: bool, covered: bool | None) -> None:
    """Any sentence may begin with one word: the transcript must be final, or much longer."""
    skipped = skipped_before(Utterance("no"), end=3.0)
    assert is_covered(skipped, Utterance(transcript), is_final=is_final) is covered
