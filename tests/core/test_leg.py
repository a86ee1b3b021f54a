from __future__ import annotations

import itertools
import math

import pytest

from resilient_stt.core.commands import EndLeg, FlushLeg, Role, SendAudio
from resilient_stt.core.inputs import Said, SaidKind, Word
from resilient_stt.core.latency import Latency
from resilient_stt.core.ledger import Ledger
from resilient_stt.core.leg import Leg, Reach, open_leg, replay_start
from resilient_stt.core.policy import Pace, Provider, ReplayPolicy, WatchdogPolicy
from resilient_stt.core.transcript import Transcript, Utterance
from resilient_stt.core.watchdog import Watch

RATE = 100
POLICY = ReplayPolicy(window=20.0)
FINAL = SaidKind.FINAL


def ledger_of(
    seconds: float, *segments: tuple[float, float], settled: float = 0.0, hears: bool = True
) -> Ledger:
    ledger = Ledger(POLICY, hears=hears)
    if seconds:
        ledger.push(round(seconds * RATE), RATE)
    for start, end in segments:
        ledger.speech_started(round(start * RATE))
        ledger.speech_ended(round(end * RATE))
    ledger.settle(round(settled * RATE))
    return ledger


def a_leg(ledger: Ledger, *, burst: float = 5.0, rate: float = 2.0) -> Leg:
    provider = Provider(name="a", pace=Pace(burst=burst, rate=rate), flushes=True)
    return opened(provider, ledger)


class Notes(Watch):
    """Notes for what audio a final is asked, and whether by a flush."""

    def __init__(self, provider: Provider, start: int) -> None:
        super().__init__(provider, Latency(), WatchdogPolicy(), start)
        self.noted: list[tuple[float, bool]] = []

    def ask(
        self, to: int, at: float, *, flushed: bool, ago: float = 0.0, words_to: int | None = None
    ) -> None:
        self.noted.append((to / RATE, flushed))
        super().ask(to, at, flushed=flushed, ago=ago, words_to=words_to)


def asked(leg: Leg) -> list[tuple[float, bool]]:
    assert isinstance(leg.watch, Notes)
    return leg.watch.noted


def opened(provider: Provider, ledger: Ledger, role: Role = Role.ACTIVE) -> Leg:
    def watch(start: int) -> Watch:
        return Notes(provider, start)

    return open_leg(0, provider, role, 10.0, ledger, Transcript(POLICY), watch)


def spans(leg: Leg, ledger: Ledger, now: float = 10.0) -> list[tuple[float, float]]:
    return [
        (c.start / RATE, c.end / RATE) for c in leg.send(ledger, now) if isinstance(c, SendAudio)
    ]


# --- sending


def test_a_replay_is_sent_at_its_pace() -> None:
    """A replay gets the burst at once, then a multiple of real time, piece by piece."""
    ledger = ledger_of(8.0, (0.0, 8.0))
    leg = a_leg(ledger)
    assert spans(leg, ledger)[-1][1] == 5.0
    assert leg.send_at(ledger) == pytest.approx(10.025)
    assert spans(leg, ledger, 10.02) == []
    assert spans(leg, ledger, 11.0)[-1][1] == 7.0
    assert spans(leg, ledger, 20.0)[-1][1] == 8.0
    assert leg.send_at(ledger) is None
    assert (leg.sent, leg.cut) == (8.0, 0.0)


def test_a_replay_is_sent_in_pieces_that_any_service_takes() -> None:
    """However much may be sent at once, a piece is short, and a live frame is whole."""
    ledger = ledger_of(4.0, hears=False)
    leg = a_leg(ledger)
    assert {round(end - start, 2) for start, end in spans(leg, ledger)} == {0.2}
    leg.caught_up = True
    ledger.push(RATE // 2, RATE)
    assert spans(leg, ledger) == [(4.0, 4.5)]


def test_a_replay_of_hardly_any_samples_goes_on() -> None:
    """However low the rate, a piece holds a sample."""
    ledger = Ledger(POLICY, hears=False)
    ledger.push(4, 1)
    leg = a_leg(ledger)
    assert [(c.start, c.end) for c in leg.send(ledger, 10.0) if isinstance(c, SendAudio)][-1] == (
        3,
        4,
    )


def test_backlog() -> None:
    """What a leg was sent faster than a provider hears is still before it."""
    ledger = ledger_of(4.0, (0.0, 4.0))
    leg = a_leg(ledger)
    assert leg.backlog(10.0) == leg.sent == leg.cut == 0.0
    leg.send(ledger, 10.0)
    assert leg.backlog(11.0) == pytest.approx(4.0 / 1.25 - 1.0)
    assert leg.backlog(15.0) == 0.0


def test_silence_is_cut_only_in_a_replay() -> None:
    """Long silence is left out until a leg has caught up, and never after."""
    ledger = ledger_of(6.0, (1.0, 2.0), (4.0, 5.0))
    leg = a_leg(ledger)
    sent = spans(leg, ledger)
    gaps = [(a[1], b[0]) for a, b in itertools.pairwise(sent) if a[1] != b[0]]
    assert sent[0][0] == 0.85
    assert gaps == [(2.15, 3.85), (5.15, 5.5)]
    assert leg.cut == pytest.approx(2.05)
    leg.caught_up = True
    ledger.push(3 * RATE, RATE)
    assert spans(leg, ledger) == [(6.0, 7.9)]


def test_flushes_are_sent_at_their_places() -> None:
    """A flush divides the audio before it from the audio after it, once."""
    ledger = ledger_of(1.0, (0.0, 1.0))
    ledger.mark()
    ledger.push(RATE, RATE)
    leg = a_leg(ledger)
    commands = leg.send(ledger, 10.0)
    at = commands.index(FlushLeg(0))
    assert commands.count(FlushLeg(0)) == 1
    assert commands[at - 1] == SendAudio(0, 80, 100)
    assert commands[at + 1] == SendAudio(0, 100, 115)  # where silence is left out


def test_a_flush_in_silence_that_is_cut() -> None:
    """A flush is sent also where the silence around it is left out."""
    ledger = ledger_of(3.0, (0.0, 1.0))
    ledger.mark()
    ledger.push(3 * RATE, RATE)
    leg = a_leg(ledger)
    commands = leg.send(ledger, 10.0)
    assert commands[commands.index(FlushLeg(0)) - 1] == SendAudio(0, 100, 115)


def test_settled_flushes_are_not_repeated() -> None:
    """A flush whose audio is settled is not given to a new leg."""
    ledger = ledger_of(2.0, (0.0, 1.9))
    ledger.mark()
    ledger.push(RATE, RATE)
    ledger.settle(2 * RATE)
    assert FlushLeg(0) not in a_leg(ledger).send(ledger, 10.0)


@pytest.mark.parametrize("late", [True, False])
def test_a_late_finaliser_is_flushed_where_speech_ends(late: bool) -> None:
    """A provider that would wait long is flushed at each end of speech that owes words, once."""
    ledger = ledger_of(6.0, (1.0, 2.0), (2.1, 3.0), (4.0, 4.2), (4.5, 5.0))
    leg = a_leg(ledger)
    leg.flushes_pauses = late
    commands = leg.send(ledger, 10.0)
    before = [commands[i - 1] for i, c in enumerate(commands) if isinstance(c, FlushLeg)]
    ends = [c.end / RATE for c in before if isinstance(c, SendAudio)]
    assert ends == ([2.1, 3.15, 5.15] if late else [])
    assert asked(leg) == ([(2.1, True), (3.15, True), (5.15, True)] if late else [])
    assert leg.send(ledger, 20.0) == []


def test_live_speech_is_asked_for_where_it_ends() -> None:
    """A leg that has caught up owes a final at each end of speech; one that replays may not: its
    pauses are cut too short to be heard."""
    for caught_up in (True, False):
        ledger = ledger_of(6.0, (1.0, 2.0), (4.0, 5.0))
        leg = a_leg(ledger)
        leg.caught_up = caught_up
        for now in (10.0, 20.0):
            leg.send(ledger, now)
        assert asked(leg) == ([(2.15, False), (5.15, False)] if caught_up else [])


def test_a_probe_is_not_flushed_where_speech_ends() -> None:
    """A shadow is asked for its one final by whoever judges it."""
    ledger = ledger_of(6.0, (1.0, 2.0))
    leg = opened(Provider(name="a", flushes=True), ledger, Role.PROBE)
    leg.flushes_pauses = True
    assert FlushLeg(0) not in leg.send(ledger, 10.0)
    assert asked(leg) == []


def test_a_flush_asks_only_whom_it_moves() -> None:
    """A flush is given to every provider, but only one that answers flushes owes a final for it."""
    for flushes in (True, False):
        ledger = ledger_of(2.0)
        ledger.speech_started(0)
        ledger.mark()
        leg = opened(Provider(name="a", flushes=flushes), ledger)
        assert FlushLeg(0) in leg.send(ledger, 10.0)
        assert asked(leg) == ([(2.0, True)] if flushes else [])


def test_the_end_of_input_asks_for_the_last_final() -> None:
    """A leg that was told the end owes what it was sent."""
    ledger = ledger_of(2.0)
    ledger.speech_started(0)
    leg = a_leg(ledger)
    leg.send(ledger, 10.0)
    assert leg.end(ledger, 10.0) == EndLeg(0)
    assert leg.ended_at == 10.0
    assert asked(leg) == [(2.0, True)]


def test_what_fell_out_of_the_window_is_not_sent() -> None:
    """A leg that is so far behind that its audio is gone goes on with what is left."""
    ledger = ledger_of(1.0, (0.0, 1.0))
    leg = a_leg(ledger)
    leg.send(ledger, 10.0)
    ledger.push(21 * RATE, RATE)
    leg.caught_up = True
    assert spans(leg, ledger) == [(2.0, 6.0)]


# --- where a replay begins


def test_replay_start_in_silence() -> None:
    """In silence a replay begins at the watermark."""
    ledger = ledger_of(5.0, (1.0, 2.0), settled=3.0)
    assert replay_start(ledger, Transcript(POLICY)) == 3 * RATE


def test_replay_start_in_speech() -> None:
    """In speech a replay begins before a settled word, else with the segment if it is kept."""
    ledger = ledger_of(9.0, (2.0, 8.0), settled=3.0)
    transcript = Transcript(POLICY)
    assert replay_start(ledger, transcript) == 2 * RATE
    transcript.commit(Utterance("x", (Word("x", 2.6, 3.0),)), 9.0)
    assert replay_start(ledger, transcript) == 245
    ledger.settle(7 * RATE)
    assert replay_start(ledger, transcript) == ledger.start == 5 * RATE


def test_replay_start_without_voice_activity() -> None:
    """Without voice activity a replay begins before a settled word, else at the watermark."""
    ledger = ledger_of(9.0, settled=3.0, hears=False)
    transcript = Transcript(POLICY)
    assert replay_start(ledger, transcript) == 3 * RATE
    transcript.commit(Utterance("x", (Word("x", 2.6, 3.0),)), 9.0)
    assert replay_start(ledger, transcript) == 245


def test_a_replay_of_nothing() -> None:
    """A leg that is opened before the first frame begins at 0 and has caught up."""
    leg = a_leg(ledger_of(0))
    assert (leg.start, leg.caught_up, leg.seam.open) == (0, True, False)


# --- what it says


def test_what_it_says_is_put_on_session_time() -> None:
    """Words, or the times of the whole, are moved to where the audio was; cuts are put back."""
    ledger = ledger_of(6.0, (1.0, 2.0), (4.0, 5.0))
    leg = a_leg(ledger)
    leg.send(ledger, 10.0)
    words = (Word("a", 0.15, 1.15), Word("b", 1.45, 2.45))
    assert leg.understood(Said(FINAL, "a b", words, language="en")) == Utterance(
        "a b", (Word("a", 1.0, 2.0), Word("b", 4.0, 5.0)), 1.0, 5.0, "en"
    )
    assert leg.understood(Said(FINAL, "a b", (), 0.15, 2.45)) == Utterance("a b", (), 1.0, 5.0)


@pytest.mark.parametrize("start", [None, math.nan, -1.0, 3.0])
def test_a_start_that_cannot_be(start: float | None) -> None:
    """An end counts also where the start cannot be."""
    ledger = ledger_of(2.0, (0.0, 2.0))
    leg = a_leg(ledger)
    leg.send(ledger, 10.0)
    assert leg.understood(Said(FINAL, "a", (), start, 2.0)) == Utterance("a", (), None, 2.0)


@pytest.mark.parametrize("end", [None, math.nan, math.inf, 0.0, -1.0, 2.6])
def test_an_end_that_cannot_be(end: float | None) -> None:
    """Without an end that can be, a final has no times."""
    ledger = ledger_of(2.0, (0.0, 2.0))
    leg = a_leg(ledger)
    assert leg.understood(Said(FINAL, "a", (), 0.5, end)) == Utterance("a")
    leg.send(ledger, 10.0)
    assert leg.understood(Said(FINAL, "a", (), 0.5, end)) == Utterance("a")


# --- finals without times


@pytest.mark.parametrize(
    ("claim", "heard", "watermark"),
    [
        (2.5, 4.0, 2.0),
        (2.5, 1.9, 0.0),
        (1.5, 4.0, 0.0),
        (0.5, 4.0, 0.0),
    ],
)
def test_a_claim_settles_the_segment_before_it(
    claim: float, heard: float, watermark: float
) -> None:
    """A final without times settles a segment that was over when it was said, once heard past."""
    ledger = ledger_of(6.0, (1.0, 2.0))
    leg = a_leg(ledger)
    leg.claims.append(round(claim * RATE))
    leg.settle_claims(ledger, round(heard * RATE), input_ended=False)
    assert ledger.watermark == watermark * RATE
    assert len(leg.claims) == (heard < 2.0)


def test_each_claim_settles_one_segment() -> None:
    """Two segments take two finals."""
    ledger = ledger_of(9.0, (1.0, 2.0), (3.0, 4.0))
    leg = a_leg(ledger)
    leg.claims.append(5 * RATE)
    leg.settle_claims(ledger, 9 * RATE, input_ended=False)
    assert ledger.watermark == 2 * RATE
    leg.claims.append(5 * RATE)
    leg.settle_claims(ledger, 9 * RATE, input_ended=False)
    assert ledger.watermark == 4 * RATE


def test_claims_are_bounded() -> None:
    """Finals without times in speech without an end do not pile up."""
    leg = a_leg(ledger_of(3.0))
    leg.claims.extend(range(10_000))
    assert len(leg.claims) < 100


def test_a_claim_on_speech_that_is_not_over() -> None:
    """Speech that lasts is over with the input."""
    ledger = ledger_of(3.0)
    ledger.speech_started(RATE)
    leg = a_leg(ledger)
    leg.claims.append(3 * RATE)
    leg.settle_claims(ledger, 3 * RATE, input_ended=False)
    assert ledger.watermark == 0
    leg.settle_claims(ledger, 3 * RATE, input_ended=True)
    assert ledger.watermark == 3 * RATE


@pytest.mark.parametrize("turns", [False, True])
def test_words_were_heard_when_they_were_first_said(turns: bool) -> None:
    """A final with an interim's words was heard no further; one with others may have been."""
    provider = Provider(name="a", pace=Pace(), turn_after=float(turns))
    leg = opened(provider, ledger_of(1.0))
    for final, expected in (("so", 100), ("so it", 300)):
        leg.cursor = 100
        assert leg.reach(Said(SaidKind.INTERIM, "so")) == Reach(100, 100)
        leg.cursor = 300
        heard = leg.reach(Said(FINAL, final))
        assert heard == Reach(expected if turns else 300, expected)
    assert leg.reach(Said(FINAL, "so")) == Reach(300, 300)
