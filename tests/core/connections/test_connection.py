from __future__ import annotations

import itertools
import math

import pytest

from resilient_stt.core.audio.ledger import AudioLedger
from resilient_stt.core.connections.connection import (
    AudioExtent,
    Connection,
    open_connection,
    replay_start,
)
from resilient_stt.core.health.latency import FinalLatency
from resilient_stt.core.messages import (
    EndInput,
    EventKind,
    FlushConnection,
    Role,
    SendAudio,
    TranscriptEvent,
    Word,
)
from resilient_stt.core.policy import Pace, ProviderTraits, ReplayPolicy, WatchdogPolicy
from resilient_stt.core.stalls.detector import StallDetector
from resilient_stt.core.transcript.history import TranscriptHistory
from resilient_stt.core.transcript.overlap import Utterance

RATE = 100
POLICY = ReplayPolicy(window=20.0)
FINAL = EventKind.FINAL


def ledger_of(
    seconds: float, *segments: tuple[float, float], settled: float = 0.0, vad_enabled: bool = True
) -> AudioLedger:
    ledger = AudioLedger(POLICY, vad_enabled=vad_enabled)
    if seconds:
        ledger.push(round(seconds * RATE), RATE)
    for start, end in segments:
        ledger.speech_started(round(start * RATE))
        ledger.speech_ended(round(end * RATE))
    ledger.commit(round(settled * RATE))
    return ledger


def a_leg(ledger: AudioLedger, *, burst: float = 5.0, rate: float = 2.0) -> Connection:
    provider = ProviderTraits(name="a", pace=Pace(burst=burst, rate=rate), manual_flush=True)
    return opened(provider, ledger)


class Notes(StallDetector):
    """Notes for what audio a final is asked, and whether by a flush."""

    def __init__(self, provider: ProviderTraits, start: int) -> None:
        super().__init__(provider, FinalLatency(), WatchdogPolicy(), start)
        self.noted: list[tuple[float, bool]] = []

    def expect_final(
        self, to: int, at: float, *, flushed: bool, ago: float = 0.0, words_to: int | None = None
    ) -> None:
        self.noted.append((to / RATE, flushed))
        super().expect_final(to, at, flushed=flushed, ago=ago, words_to=words_to)


def asked(connection: Connection) -> list[tuple[float, bool]]:
    assert isinstance(connection.stall_detector, Notes)
    return connection.stall_detector.noted


def opened(provider: ProviderTraits, ledger: AudioLedger, role: Role = Role.ACTIVE) -> Connection:
    def watch(start: int) -> StallDetector:
        return Notes(provider, start)

    return open_connection(0, provider, role, 10.0, ledger, TranscriptHistory(POLICY), watch)


def spans(
    connection: Connection, ledger: AudioLedger, now: float = 10.0
) -> list[tuple[float, float]]:
    return [
        (c.start / RATE, c.end / RATE)
        for c in connection.send(ledger, now)
        if isinstance(c, SendAudio)
    ]


# --- sending


def test_a_replay_is_sent_at_its_pace() -> None:
    """A replay gets the burst at once, then a multiple of real time, piece by piece."""
    ledger = ledger_of(8.0, (0.0, 8.0))
    connection = a_leg(ledger)
    assert spans(connection, ledger)[-1][1] == 5.0
    assert connection.next_send_at(ledger) == pytest.approx(10.025)
    assert spans(connection, ledger, 10.02) == []
    assert spans(connection, ledger, 11.0)[-1][1] == 7.0
    assert spans(connection, ledger, 20.0)[-1][1] == 8.0
    assert connection.next_send_at(ledger) is None
    assert (connection.seconds_sent, connection.silence_trimmed) == (8.0, 0.0)


def test_a_replay_is_sent_in_pieces_that_any_service_takes() -> None:
    """However much may be sent at once, a piece is short, and a live frame is whole."""
    ledger = ledger_of(4.0, vad_enabled=False)
    connection = a_leg(ledger)
    assert {round(end - start, 2) for start, end in spans(connection, ledger)} == {0.2}
    connection.caught_up = True
    ledger.push(RATE // 2, RATE)
    assert spans(connection, ledger) == [(4.0, 4.5)]


def test_a_replay_of_hardly_any_samples_goes_on() -> None:
    """However low the rate, a piece holds a sample."""
    ledger = AudioLedger(POLICY, vad_enabled=False)
    ledger.push(4, 1)
    connection = a_leg(ledger)
    assert [(c.start, c.end) for c in connection.send(ledger, 10.0) if isinstance(c, SendAudio)][
        -1
    ] == (
        3,
        4,
    )


def test_backlog() -> None:
    """What a leg was sent faster than a provider hears is still before it."""
    ledger = ledger_of(4.0, (0.0, 4.0))
    connection = a_leg(ledger)
    assert connection.backlog(10.0) == connection.seconds_sent == connection.silence_trimmed == 0.0
    connection.send(ledger, 10.0)
    assert connection.backlog(11.0) == pytest.approx(4.0 / 1.25 - 1.0)
    assert connection.backlog(15.0) == 0.0


def test_silence_is_cut_only_in_a_replay() -> None:
    """Long silence is left out until a leg has caught up, and never after."""
    ledger = ledger_of(6.0, (1.0, 2.0), (4.0, 5.0))
    connection = a_leg(ledger)
    sent = spans(connection, ledger)
    gaps = [(a[1], b[0]) for a, b in itertools.pairwise(sent) if a[1] != b[0]]
    assert sent[0][0] == 0.85
    assert gaps == [(2.15, 3.85), (5.15, 5.5)]
    assert connection.silence_trimmed == pytest.approx(2.05)
    connection.caught_up = True
    ledger.push(3 * RATE, RATE)
    assert spans(connection, ledger) == [(6.0, 7.9)]


def test_flushes_are_sent_at_their_places() -> None:
    """A flush divides the audio before it from the audio after it, once."""
    ledger = ledger_of(1.0, (0.0, 1.0))
    ledger.add_flush()
    ledger.push(RATE, RATE)
    connection = a_leg(ledger)
    commands = connection.send(ledger, 10.0)
    at = commands.index(FlushConnection(0))
    assert commands.count(FlushConnection(0)) == 1
    assert commands[at - 1] == SendAudio(0, 80, 100)
    assert commands[at + 1] == SendAudio(0, 100, 115)  # where silence is left out


def test_a_flush_in_silence_that_is_cut() -> None:
    """A flush is sent also where the silence around it is left out."""
    ledger = ledger_of(3.0, (0.0, 1.0))
    ledger.add_flush()
    ledger.push(3 * RATE, RATE)
    connection = a_leg(ledger)
    commands = connection.send(ledger, 10.0)
    assert commands[commands.index(FlushConnection(0)) - 1] == SendAudio(0, 100, 115)


def test_settled_flushes_are_not_repeated() -> None:
    """A flush whose audio is settled is not given to a new leg."""
    ledger = ledger_of(2.0, (0.0, 1.9))
    ledger.add_flush()
    ledger.push(RATE, RATE)
    ledger.commit(2 * RATE)
    assert FlushConnection(0) not in a_leg(ledger).send(ledger, 10.0)


@pytest.mark.parametrize("late", [True, False])
def test_a_late_finaliser_is_flushed_where_speech_ends(late: bool) -> None:
    """A provider that would wait long is flushed at each end of speech that owes words, once."""
    ledger = ledger_of(6.0, (1.0, 2.0), (2.1, 3.0), (4.0, 4.2), (4.5, 5.0))
    connection = a_leg(ledger)
    connection.flush_at_pauses = late
    commands = connection.send(ledger, 10.0)
    before = [commands[i - 1] for i, c in enumerate(commands) if isinstance(c, FlushConnection)]
    ends = [c.end / RATE for c in before if isinstance(c, SendAudio)]
    assert ends == ([2.1, 3.15, 5.15] if late else [])
    assert asked(connection) == ([(2.1, True), (3.15, True), (5.15, True)] if late else [])
    assert connection.send(ledger, 20.0) == []


def test_live_speech_is_asked_for_where_it_ends() -> None:
    """A leg that has caught up owes a final at each end of speech; one that replays may not: its
    pauses are cut too short to be heard."""
    for caught_up in (True, False):
        ledger = ledger_of(6.0, (1.0, 2.0), (4.0, 5.0))
        connection = a_leg(ledger)
        connection.caught_up = caught_up
        for now in (10.0, 20.0):
            connection.send(ledger, now)
        assert asked(connection) == ([(2.15, False), (5.15, False)] if caught_up else [])


def test_a_probe_is_not_flushed_where_speech_ends() -> None:
    """A shadow is asked for its one final by whoever judges it."""
    ledger = ledger_of(6.0, (1.0, 2.0))
    connection = opened(ProviderTraits(name="a", manual_flush=True), ledger, Role.PROBE)
    connection.flush_at_pauses = True
    assert FlushConnection(0) not in connection.send(ledger, 10.0)
    assert asked(connection) == []


def test_a_flush_asks_only_whom_it_moves() -> None:
    """A flush is given to every provider, but only one that answers flushes owes a final for it."""
    for flushes in (True, False):
        ledger = ledger_of(2.0)
        ledger.speech_started(0)
        ledger.add_flush()
        connection = opened(ProviderTraits(name="a", manual_flush=flushes), ledger)
        assert FlushConnection(0) in connection.send(ledger, 10.0)
        assert asked(connection) == ([(2.0, True)] if flushes else [])


def test_the_end_of_input_asks_for_the_last_final() -> None:
    """A leg that was told the end owes what it was sent."""
    ledger = ledger_of(2.0)
    ledger.speech_started(0)
    connection = a_leg(ledger)
    connection.send(ledger, 10.0)
    assert connection.end_input(ledger, 10.0) == EndInput(0)
    assert connection.input_ended_at == 10.0
    assert asked(connection) == [(2.0, True)]


def test_what_fell_out_of_the_window_is_not_sent() -> None:
    """A leg that is so far behind that its audio is gone goes on with what is left."""
    ledger = ledger_of(1.0, (0.0, 1.0))
    connection = a_leg(ledger)
    connection.send(ledger, 10.0)
    ledger.push(21 * RATE, RATE)
    connection.caught_up = True
    assert spans(connection, ledger) == [(2.0, 6.0)]


# --- where a replay begins


def test_replay_start_in_silence() -> None:
    """In silence a replay begins at the watermark."""
    ledger = ledger_of(5.0, (1.0, 2.0), settled=3.0)
    assert replay_start(ledger, TranscriptHistory(POLICY)) == 3 * RATE


def test_replay_start_in_speech() -> None:
    """In speech a replay begins before a settled word, else with the segment if it is kept."""
    ledger = ledger_of(9.0, (2.0, 8.0), settled=3.0)
    transcript = TranscriptHistory(POLICY)
    assert replay_start(ledger, transcript) == 2 * RATE
    transcript.record(Utterance("x", (Word("x", 2.6, 3.0),)), 9.0)
    assert replay_start(ledger, transcript) == 245
    ledger.commit(7 * RATE)
    assert replay_start(ledger, transcript) == ledger.start == 5 * RATE


def test_replay_start_without_voice_activity() -> None:
    """Without voice activity a replay begins before a settled word, else at the watermark."""
    ledger = ledger_of(9.0, settled=3.0, vad_enabled=False)
    transcript = TranscriptHistory(POLICY)
    assert replay_start(ledger, transcript) == 3 * RATE
    transcript.record(Utterance("x", (Word("x", 2.6, 3.0),)), 9.0)
    assert replay_start(ledger, transcript) == 245


def test_a_replay_of_nothing() -> None:
    """A leg that is opened before the first frame begins at 0 and has caught up."""
    connection = a_leg(ledger_of(0))
    assert (connection.start, connection.caught_up, connection.trimmer.open) == (0, True, False)


# --- what it says


def test_what_it_says_is_put_on_session_time() -> None:
    """Words, or the times of the whole, are moved to where the audio was; cuts are put back."""
    ledger = ledger_of(6.0, (1.0, 2.0), (4.0, 5.0))
    connection = a_leg(ledger)
    connection.send(ledger, 10.0)
    words = (Word("a", 0.15, 1.15), Word("b", 1.45, 2.45))
    assert connection.to_session_time(
        TranscriptEvent(FINAL, "a b", words, language="en")
    ) == Utterance("a b", (Word("a", 1.0, 2.0), Word("b", 4.0, 5.0)), 1.0, 5.0, "en")
    assert connection.to_session_time(TranscriptEvent(FINAL, "a b", (), 0.15, 2.45)) == Utterance(
        "a b", (), 1.0, 5.0
    )


@pytest.mark.parametrize("start", [None, math.nan, -1.0, 3.0])
def test_a_start_that_cannot_be(start: float | None) -> None:
    """An end counts also where the start cannot be."""
    ledger = ledger_of(2.0, (0.0, 2.0))
    connection = a_leg(ledger)
    connection.send(ledger, 10.0)
    assert connection.to_session_time(TranscriptEvent(FINAL, "a", (), start, 2.0)) == Utterance(
        "a", (), None, 2.0
    )


@pytest.mark.parametrize("end", [None, math.nan, math.inf, 0.0, -1.0, 2.6])
def test_an_end_that_cannot_be(end: float | None) -> None:
    """Without an end that can be, a final has no times."""
    ledger = ledger_of(2.0, (0.0, 2.0))
    connection = a_leg(ledger)
    assert connection.to_session_time(TranscriptEvent(FINAL, "a", (), 0.5, end)) == Utterance("a")
    connection.send(ledger, 10.0)
    assert connection.to_session_time(TranscriptEvent(FINAL, "a", (), 0.5, end)) == Utterance("a")


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
    connection = a_leg(ledger)
    connection.untimed_finals.append(round(claim * RATE))
    connection.commit_untimed_finals(ledger, round(heard * RATE), input_ended=False)
    assert ledger.watermark == watermark * RATE
    assert len(connection.untimed_finals) == (heard < 2.0)


def test_each_claim_settles_one_segment() -> None:
    """Two segments take two finals."""
    ledger = ledger_of(9.0, (1.0, 2.0), (3.0, 4.0))
    connection = a_leg(ledger)
    connection.untimed_finals.append(5 * RATE)
    connection.commit_untimed_finals(ledger, 9 * RATE, input_ended=False)
    assert ledger.watermark == 2 * RATE
    connection.untimed_finals.append(5 * RATE)
    connection.commit_untimed_finals(ledger, 9 * RATE, input_ended=False)
    assert ledger.watermark == 4 * RATE


def test_claims_are_bounded() -> None:
    """Finals without times in speech without an end do not pile up."""
    connection = a_leg(ledger_of(3.0))
    connection.untimed_finals.extend(range(10_000))
    assert len(connection.untimed_finals) < 100


def test_a_claim_on_speech_that_is_not_over() -> None:
    """Speech that lasts is over with the input."""
    ledger = ledger_of(3.0)
    ledger.speech_started(RATE)
    connection = a_leg(ledger)
    connection.untimed_finals.append(3 * RATE)
    connection.commit_untimed_finals(ledger, 3 * RATE, input_ended=False)
    assert ledger.watermark == 0
    connection.commit_untimed_finals(ledger, 3 * RATE, input_ended=True)
    assert ledger.watermark == 3 * RATE


@pytest.mark.parametrize("turns", [False, True])
def test_words_were_heard_when_they_were_first_said(turns: bool) -> None:
    """A final with an interim's words was heard no further; one with others may have been."""
    provider = ProviderTraits(name="a", pace=Pace(), end_of_turn_timeout=float(turns))
    connection = opened(provider, ledger_of(1.0))
    for final, expected in (("so", 100), ("so it", 300)):
        connection.cursor = 100
        assert connection.extent(TranscriptEvent(EventKind.INTERIM, "so")) == AudioExtent(100, 100)
        connection.cursor = 300
        heard = connection.extent(TranscriptEvent(FINAL, final))
        assert heard == AudioExtent(expected if turns else 300, expected)
    assert connection.extent(TranscriptEvent(FINAL, "so")) == AudioExtent(300, 300)
