from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from resilient_stt.core.audio.ledger import AudioLedger
from resilient_stt.core.connections.connection import (
    Connection,
    open_connection,
)
from resilient_stt.core.events import Role, StallReason
from resilient_stt.core.health.habits import ProviderHabits
from resilient_stt.core.health.latency import FinalLatency
from resilient_stt.core.messages import EndInput, EventKind, FlushConnection, TranscriptEvent
from resilient_stt.core.output.committer import Committer
from resilient_stt.core.policy import ProviderTraits, ReplayPolicy, WatchdogPolicy
from resilient_stt.core.stalls.detector import MAX_EXPECTED, StallDeadline, StallDetector
from resilient_stt.core.transcript.history import TranscriptHistory

from ...support.pools import pool_of

RATE = 100
PIECE = 0.05
POLICY = WatchdogPolicy()
REPLAY = ReplayPolicy(window=120.0)

FINALS = ProviderTraits(name="finals")
LIVE = ProviderTraits(name="live", interim_results=True)
TURNS = ProviderTraits(
    name="turns", interim_results=True, final_timeout=1.6, end_of_turn_timeout=6.0
)

EMPTY = TranscriptEvent(EventKind.FINAL)
FINAL = TranscriptEvent(EventKind.FINAL, "a word")
INTERIM = TranscriptEvent(EventKind.INTERIM, "a word")

Segment = tuple[float, float | None]


def at(seconds: float) -> int:
    return round(seconds * RATE)


def ledger_of(
    end: float, *segments: Segment, committed: float = 0.0, vad_enabled: bool = True
) -> AudioLedger:
    """A ledger of `end` seconds of audio with voice in `segments`, committed up to `committed`."""
    ledger = AudioLedger(REPLAY, vad_enabled=vad_enabled)
    if end:
        ledger.push(at(end), RATE)
    for start, stop in segments:
        ledger.speech_started(at(start))
        if stop is not None:
            ledger.speech_ended(at(stop))
    ledger.commit(at(committed))
    return ledger


def latency_of(p99: float | None) -> FinalLatency:
    latency = FinalLatency()
    if p99 is not None:
        for _ in range(POLICY.min_latency_samples):
            latency.add(p99)
    return latency


def detector_of(
    provider: ProviderTraits,
    *,
    p99: float | None = None,
    policy: WatchdogPolicy = POLICY,
    start: float = 0.0,
) -> StallDetector:
    return StallDetector(provider, latency_of(p99), policy, at(start))


def send(
    detector: StallDetector,
    ledger: AudioLedger,
    end: float,
    *,
    since: float = 0.0,
    behind: float = 0.0,
) -> None:
    """Send audio in real time; each piece can have been processed `behind` seconds later."""
    for n in range(round(since / PIECE) + 1, round(end / PIECE) + 1):
        detector.audio_sent(ledger, at(n * PIECE), n * PIECE + behind)


def stall_of(
    detector: StallDetector,
    ledger: AudioLedger,
    cursor: float | None = None,
    multiplier: float = 1.0,
) -> StallDeadline | None:
    """Return the next stall after audio up to `cursor`; check that the query changes nothing."""
    position = ledger.end if cursor is None else at(cursor)
    before = repr(detector), repr(ledger)
    stall = detector.next_stall(ledger, position, multiplier)
    assert detector.next_stall(ledger, position, multiplier) == stall
    assert (repr(detector), repr(ledger)) == before
    return stall


def due(stall: StallDeadline | None) -> float:
    """Return when a stall becomes due; infinity without one."""
    return stall.due if stall else float("inf")


def about(reason: StallReason, early: float, due: float, to: float) -> StallDeadline:
    """Return a deadline to compare with, up to floating-point errors."""
    return StallDeadline(reason, pytest.approx(early), pytest.approx(due), at(to))  # type: ignore[arg-type]


# --- no interim text


def test_no_interim() -> None:
    """Voice without text is suspect 2.5 s after it can first have been processed.

    Text for what was sent within half of that may be on its way.
    """
    ledger = ledger_of(5.0, (1.0, None))
    detector = detector_of(LIVE)
    send(detector, ledger, 5.0)
    since = 1.0 + PIECE
    assert stall_of(detector, ledger) == about(
        StallReason.NO_INTERIM, since + 0.7 * 2.5, since + 2.5, 3.75
    )


@pytest.mark.parametrize("voiced", [0.0, 0.05, 0.5, 0.75])
def test_short_voice_is_no_stall(voiced: float) -> None:
    """Less than 0.8 s of voice without text means nothing, however long ago it was."""
    ledger = ledger_of(9.0, (1.0, 1.0 + voiced))
    detector = detector_of(LIVE)
    send(detector, ledger, 9.0)
    assert stall_of(detector, ledger) is None


def test_voice_counts_once_it_was_sent() -> None:
    """Voice that waits to be sent does not count yet."""
    ledger = ledger_of(5.0, (1.0, None))
    detector = detector_of(LIVE)
    send(detector, ledger, 1.75)
    assert stall_of(detector, ledger, 1.75) is None
    send(detector, ledger, 1.8, since=1.75)
    assert due(stall_of(detector, ledger, 1.8)) == pytest.approx(1.05 + 2.5)


def test_the_end_of_voice_moves_no_deadline() -> None:
    """Silence after the voice does not move the deadline."""
    ledger = ledger_of(3.4, (1.0, 2.0))
    detector = detector_of(LIVE)
    send(detector, ledger, 3.4)
    assert due(stall_of(detector, ledger)) == pytest.approx(1.05 + 2.5)


@pytest.mark.parametrize("behind", [0.0, 0.04, 3.0, 20.0])
def test_the_backlog_moves_the_deadline(behind: float) -> None:
    """The deadline counts from when the connection can have processed the voice."""
    ledger = ledger_of(5.0, (1.0, None))
    detector = detector_of(LIVE)
    send(detector, ledger, 5.0, behind=behind)
    assert due(stall_of(detector, ledger)) == pytest.approx(1.05 + behind + 2.5)


@pytest.mark.parametrize("multiplier", [1.0, 2.0, 8.0])
@pytest.mark.parametrize(
    ("p99", "timeout"), [(None, 2.5), (0.0, 2.5), (0.8, 2.5), (1.0, 3.0), (4.0, 12.0)]
)
def test_the_timeout_grows_with_latency_and_noise(
    p99: float | None, timeout: float, multiplier: float
) -> None:
    """The timeout is 2.5 s or 3 x p99, times the multiplier; a hedge has 0.3 of it unstretched."""
    ledger = ledger_of(5.0, (1.0, None))
    detector = detector_of(LIVE, p99=p99)
    send(detector, ledger, 5.0)
    assert stall_of(detector, ledger, multiplier=multiplier) == about(
        StallReason.NO_INTERIM,
        1.05 + (multiplier - 0.3) * timeout,
        1.05 + multiplier * timeout,
        3.75,
    )


def test_the_policy_decides_when_to_hedge() -> None:
    """The policy says which part of each timeout passes before a hedge may be opened."""
    policy = WatchdogPolicy(
        no_interim_timeout=4.0,
        min_speech_before_stall=2.0,
        no_interim_hedge_fraction=0.25,
        final_hedge_fraction=1.0,
    )
    ledger = ledger_of(5.0, (1.0, 3.0))
    detector = detector_of(LIVE, policy=policy)
    send(detector, ledger, 5.0)
    assert stall_of(detector, ledger) == about(StallReason.NO_INTERIM, 1.05 + 1.0, 1.05 + 4.0, 3.05)
    detector.expect_final(at(3.0), 3.0, flushed=False)
    assert stall_of(detector, ledger) == about(StallReason.FINAL_OVERDUE, 4.2, 4.2, 3.0)


def test_no_interims_are_expected() -> None:
    """Silence while somebody speaks means nothing if the provider gives finals only."""
    ledger = ledger_of(14.0, (0.0, None))
    detector = detector_of(FINALS)
    send(detector, ledger, 14.0)
    assert stall_of(detector, ledger) is None


@pytest.mark.parametrize("kind", [EventKind.INTERIM, EventKind.PREFLIGHT, EventKind.FINAL])
def test_any_text_clears_the_stall(kind: EventKind) -> None:
    """Text clears the stall, and the next voice starts the timeout anew."""
    ledger = ledger_of(9.0, (1.0, None))
    detector = detector_of(LIVE)
    send(detector, ledger, 3.0)
    detector.transcript_received(TranscriptEvent(kind, "so"), at(3.0), 3.0)
    assert stall_of(detector, ledger, 3.0) is None
    send(detector, ledger, 3.75, since=3.0)
    assert stall_of(detector, ledger, 3.75) is None
    send(detector, ledger, 3.8, since=3.75)
    assert due(stall_of(detector, ledger, 3.8)) == pytest.approx(3.05 + 2.5)


def test_repeated_text_clears_nothing() -> None:
    """A connection that repeats its last interim text may be deaf to everything since."""
    ledger = ledger_of(9.0, (1.0, None))
    detector = detector_of(LIVE)
    send(detector, ledger, 3.0)
    detector.transcript_received(TranscriptEvent(EventKind.INTERIM, "so"), at(3.0), 3.0)
    send(detector, ledger, 4.0, since=3.0)
    expected = stall_of(detector, ledger, 4.0)
    detector.transcript_received(TranscriptEvent(EventKind.INTERIM, "so"), at(4.0), 4.0)
    assert stall_of(detector, ledger, 4.0) == expected is not None
    detector.transcript_received(TranscriptEvent(EventKind.INTERIM, "so it"), at(4.0), 4.0)
    assert stall_of(detector, ledger, 4.0) is None


@pytest.mark.parametrize("kind", [k for k in EventKind if k is not EventKind.FINAL])
@pytest.mark.parametrize("text", ["", " \n"])
def test_events_without_text_clear_nothing(kind: EventKind, text: str) -> None:
    """A connection that announces speech, but gives no text, may be deaf all the same."""
    ledger = ledger_of(5.0, (1.0, None))
    detector = detector_of(LIVE)
    send(detector, ledger, 5.0)
    expected = stall_of(detector, ledger)
    detector.transcript_received(TranscriptEvent(kind, text), at(5.0), 5.0)
    assert stall_of(detector, ledger) == expected is not None
    assert not detector.answered_empty


def test_voice_that_was_not_sent_does_not_count() -> None:
    """Voice before the start of the connection does not count, nor does committed voice."""
    ledger = ledger_of(6.0, (1.0, 5.0))
    detector = detector_of(LIVE, start=4.5)
    send(detector, ledger, 6.0, since=4.5)
    assert stall_of(detector, ledger) is None
    detector = detector_of(LIVE)
    send(detector, ledger, 6.0)
    assert stall_of(detector, ledger) is not None
    ledger.commit(at(4.5))
    assert stall_of(detector, ledger) is None


def test_committed_voice_is_forgotten() -> None:
    """After everything was committed, the next voice has the whole timeout."""
    ledger = ledger_of(20.0, (1.0, 3.0), (10.0, None))
    detector = detector_of(LIVE)
    send(detector, ledger, 4.0)
    ledger.commit(at(4.0))
    send(detector, ledger, 11.0, since=4.0)
    assert due(stall_of(detector, ledger, 11.0)) == pytest.approx(10.05 + 2.5)


@pytest.mark.parametrize("first", [(1.0, 1.2), (1.0, 1.4)])
def test_a_cough_starts_no_timeout(first: Segment) -> None:
    """Speech has the whole timeout, whatever cough was before it."""
    ledger = ledger_of(4.0, first, (3.0, None))
    detector = detector_of(LIVE)
    send(detector, ledger, 4.0)
    assert due(stall_of(detector, ledger)) >= 3.0 + 2.5


def test_coughs_do_not_add_up() -> None:
    """Voice that is too short to be pending is no stall, however often it comes."""
    ledger = ledger_of(9.0, *((n / 2, n / 2 + 0.2) for n in range(2, 8)))
    detector = detector_of(LIVE)
    send(detector, ledger, 9.0)
    assert not ledger.has_pending_speech()
    assert stall_of(detector, ledger) is None


def test_many_coughs_start_no_timeout() -> None:
    """Speech has the whole timeout after many coughs, too."""
    ledger = ledger_of(5.0, *((1 + 0.64 * n, 1.24 + 0.64 * n) for n in range(4)), (4.0, None))
    detector = detector_of(LIVE)
    send(detector, ledger, 5.0)
    assert due(stall_of(detector, ledger)) >= 4.0 + 2.5


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_the_voice_lies_before_through(start: float) -> None:
    """The stall is about the voice without text, also where the audio stops right after it."""
    ledger = ledger_of(start + 0.9, (start, None))
    detector = detector_of(LIVE)
    send(detector, ledger, start + 0.9)
    stall = stall_of(detector, ledger)
    assert stall
    assert at(start) < stall.through <= ledger.end


@pytest.mark.parametrize(("end", "through"), [(1.8, 1.8), (2.0, 1.85), (3.1, 1.85), (3.15, 1.9)])
def test_recent_voice_does_not_count(end: float, through: float) -> None:
    """`through` is 0.8 s of voice, what was sent at most, and at least all but the last 1.25 s."""
    ledger = ledger_of(5.0, (1.0, None))
    detector = detector_of(LIVE)
    send(detector, ledger, end)
    stall = stall_of(detector, ledger, end)
    assert stall
    assert stall.through == at(through)


# --- final overdue


def test_a_final_is_overdue_after_the_end_of_speech() -> None:
    """It is due 1.2 s after the end of speech was processed; a hedge may be opened at 0.6 s."""
    ledger = ledger_of(3.0, (1.0, 2.0))
    detector = detector_of(FINALS)
    assert stall_of(detector, ledger) is None
    detector.expect_final(at(2.15), 2.4, flushed=False)
    assert stall_of(detector, ledger) == about(StallReason.FINAL_OVERDUE, 3.0, 3.6, 2.15)


def test_speech_that_continues_after_a_pause() -> None:
    """After a pause alone, a recognizer that is sent more speech may wait with the final."""
    ledger = ledger_of(3.5, (1.0, 2.0), (3.0, None))
    detector = detector_of(FINALS)
    detector.expect_final(at(2.15), 2.4, flushed=False)
    assert stall_of(detector, ledger, 3.0) is not None
    assert stall_of(detector, ledger, 3.05) is None
    ledger.push(at(1.0), RATE)
    ledger.speech_ended(at(4.0))
    detector.expect_final(at(4.15), 4.4, flushed=False)
    assert stall_of(detector, ledger) == about(StallReason.FINAL_OVERDUE, 5.0, 5.6, 4.15)


def test_interims_that_restart_leave_a_final_behind() -> None:
    """Interim text that begins after the last word makes the final due, though speech continues."""
    ledger = ledger_of(3.5, (1.0, 2.0), (3.0, None))
    detector = detector_of(LIVE)
    detector.expect_final(at(2.15), 2.4, flushed=False, last_word_end=at(1.9))
    detector.interims_restarted(None)
    detector.interims_restarted(1.8)
    assert stall_of(detector, ledger, 3.5) is None
    detector.interims_restarted(3.0)
    assert stall_of(detector, ledger, 3.5) == about(StallReason.FINAL_OVERDUE, 3.0, 3.6, 2.15)


def test_a_flush_while_speech_continues() -> None:
    """A flush makes a final due though speech continues."""
    ledger = ledger_of(3.5, (1.0, None))
    detector = detector_of(FINALS)
    detector.expect_final(at(2.0), 2.1, flushed=True)
    assert stall_of(detector, ledger) == about(StallReason.FINAL_OVERDUE, 2.7, 3.3, 2.0)


def test_a_cough_after_the_speech() -> None:
    """A final stays due though a cough comes after the speech."""
    ledger = ledger_of(30.0, (1.0, 2.0), (2.6, 2.8))
    detector = detector_of(FINALS)
    detector.expect_final(at(2.15), 2.4, flushed=False)
    assert ledger.next_pause(at(2.15)) is None  # no other final will be expected
    assert due(stall_of(detector, ledger)) <= 2.8 + 0.35 + 1.2


def test_voice_that_lasts_after_the_speech() -> None:
    """As long as a cough may become speech, a recognizer may wait with the final."""
    ledger = ledger_of(3.0, (1.0, 2.0), (2.6, None))
    detector = detector_of(FINALS)
    detector.expect_final(at(2.15), 2.4, flushed=False)
    assert stall_of(detector, ledger) is None
    ledger.speech_ended(at(2.8))
    assert due(stall_of(detector, ledger)) == pytest.approx(3.6)


@pytest.mark.parametrize("multiplier", [1.0, 2.0, 8.0])
@pytest.mark.parametrize("behind", [0.0, 4.0])
@pytest.mark.parametrize("final_timeout", [1.2, 1.6, 0.5])
@pytest.mark.parametrize(
    ("p99", "timeout"), [(None, None), (0.0, 1.2), (0.5, 1.2), (0.7, 1.4), (3.0, 6.0)]
)
def test_the_final_timeout(
    p99: float | None, timeout: float | None, final_timeout: float, behind: float, multiplier: float
) -> None:
    """It is 1.2 s or 2 x p99, that of the traits before samples exist, and follows the backlog."""
    ledger = ledger_of(3.0, (1.0, 2.0))
    detector = detector_of(ProviderTraits(name="p", final_timeout=final_timeout), p99=p99)
    detector.expect_final(at(2.15), 2.4 + behind, flushed=False)
    wait = final_timeout if timeout is None else timeout
    lead, wait = wait / 2, multiplier * wait
    assert stall_of(detector, ledger, multiplier=multiplier) == about(
        StallReason.FINAL_OVERDUE, 2.4 + behind + wait - lead, 2.4 + behind + wait, 2.15
    )


@pytest.mark.parametrize("flushed", [False, True])
@pytest.mark.parametrize(
    ("segment", "committed"),
    [
        ((1.0, 1.2), 0.0),
        ((1.0, 2.0), 2.0),
        ((1.0, 2.0), 1.6),
        ((2.5, 3.0), 0.0),
    ],
)
def test_no_final_is_due(segment: Segment, committed: float, flushed: bool) -> None:
    """No final is due for a cough, for committed speech but for a rest, or for later speech."""
    ledger = ledger_of(3.0, segment, committed=committed)
    detector = detector_of(FINALS)
    detector.expect_final(at(2.15), 2.4, flushed=flushed)
    assert stall_of(detector, ledger) is None


def test_the_first_pending_final_is_due_first() -> None:
    """Of several expected finals, the first whose audio is not committed counts."""
    ledger = ledger_of(9.0, (1.0, 2.0), (3.0, 4.0), (5.0, 6.0))
    detector = detector_of(FINALS)
    for end in (2.0, 4.0, 6.0):
        detector.expect_final(at(end), end, flushed=True)
    for committed, end in [(0.0, 2.0), (2.0, 4.0), (4.0, 6.0)]:
        ledger.commit(at(committed))
        assert stall_of(detector, ledger) == about(
            StallReason.FINAL_OVERDUE, end + 0.6, end + 1.2, end
        )
    ledger.commit(at(6.0))
    assert stall_of(detector, ledger) is None


def test_interim_text_replaces_no_final() -> None:
    """A final stays due when interim text comes."""
    ledger = ledger_of(3.0, (1.0, 2.0))
    detector = detector_of(LIVE)
    detector.expect_final(at(2.15), 2.4, flushed=False)
    detector.transcript_received(INTERIM, at(2.5), 2.5)
    assert due(stall_of(detector, ledger)) == pytest.approx(3.6)


# --- a provider that decides itself when a turn is over


@pytest.mark.parametrize("flushed", [False, True])
@pytest.mark.parametrize(
    ("covered", "p99", "multiplier", "timeout"),
    [
        (2.1, None, 1.0, 1.6),
        (2.15, None, 1.0, 6.0),
        (3.0, None, 1.0, 6.0),
        (3.0, None, 2.0, 6.0),
        (3.0, 1.0, 1.0, 6.0),
        (3.0, 4.0, 1.0, 8.0),
        (2.1, 1.0, 1.0, 2.0),
    ],
)
def test_a_covered_turn_may_stay_open(
    covered: float, p99: float | None, multiplier: float, timeout: float, flushed: bool
) -> None:
    """Once interim text covers the audio, the final may wait for the end of the turn."""
    ledger = ledger_of(3.0, (1.0, 2.0))
    detector = detector_of(TURNS, p99=p99)
    detector.transcript_received(INTERIM, at(covered), covered)
    detector.expect_final(at(2.15), 2.4, flushed=flushed)
    assert due(stall_of(detector, ledger, multiplier=multiplier)) == pytest.approx(
        2.4 + multiplier * timeout
    )


@pytest.mark.parametrize(("covered", "timeout"), [(1.85, 1.6), (1.9, 6.0)])
def test_a_turn_is_covered_at_its_last_word(covered: float, timeout: float) -> None:
    """Text for the last word is enough, which may end before the voice does."""
    ledger = ledger_of(3.0, (1.0, 2.0))
    detector = detector_of(TURNS)
    detector.transcript_received(INTERIM, at(covered), covered)
    detector.expect_final(at(2.15), 2.4, flushed=False, last_word_end=at(1.9))
    assert due(stall_of(detector, ledger)) == pytest.approx(2.4 + timeout)


def test_an_open_turn_has_no_delay() -> None:
    """A final that waited for the end of a turn says nothing about the latency."""
    ledger = ledger_of(9.0, (1.0, 2.0))
    detector = detector_of(TURNS)
    detector.expect_final(at(2.15), 2.4, flushed=False)
    detector.transcript_received(INTERIM, at(2.5), 2.5)
    ledger.commit(at(2.0))
    detector.transcript_received(FINAL, at(8.0), 8.0)
    assert detector.final_committed(ledger, 8.0, at(1.0)) is None
    assert stall_of(detector, ledger) is None


def test_a_final_after_interim_text_has_a_delay() -> None:
    """Without an end-of-turn timeout the delay counts, though interim text came before."""
    ledger = ledger_of(9.0, (1.0, 2.0))
    detector = detector_of(LIVE)
    detector.expect_final(at(2.15), 2.4, flushed=False)
    detector.transcript_received(INTERIM, at(2.5), 2.5)
    ledger.commit(at(2.0))
    detector.transcript_received(FINAL, at(3.0), 3.0)
    assert detector.final_committed(ledger, 3.0, at(1.0)) == pytest.approx(0.6)


def test_a_turn_without_interim_text_has_a_delay() -> None:
    """The final of a turn that no interim text has covered has a delay, too."""
    ledger = ledger_of(9.0, (1.0, 2.0), committed=2.0)
    detector = detector_of(TURNS)
    detector.expect_final(at(2.15), 2.4, flushed=False)
    detector.transcript_received(FINAL, at(3.0), 3.0)
    assert detector.final_committed(ledger, 3.0, at(1.0)) == pytest.approx(0.6)


def test_an_open_turn_hides_no_later_speech() -> None:
    """A turn that may stay open does not hide a later final that is due earlier."""
    ledger = ledger_of(5.0, (1.0, 2.0), (3.0, 4.0))
    detector = detector_of(TURNS)
    detector.expect_final(at(2.15), 2.4, flushed=True)
    detector.transcript_received(INTERIM, at(2.5), 2.5)
    detector.expect_final(at(4.15), 4.4, flushed=True)
    assert due(stall_of(detector, ledger)) == pytest.approx(4.4 + 1.6)


# --- no text


def test_much_speech_without_any_text() -> None:
    """15 s of voice without text are suspect as soon as they can have been processed."""
    ledger = ledger_of(40.0, (1.0, None))
    detector = detector_of(FINALS)
    send(detector, ledger, 15.95, behind=3.0)
    assert stall_of(detector, ledger, 15.95) is None
    send(detector, ledger, 16.0, since=15.95, behind=3.0)
    assert stall_of(detector, ledger, 16.0) == about(StallReason.NO_TEXT, 19.0, 19.0, 16.0)


def test_voice_adds_up_over_pauses() -> None:
    """Pauses do not count towards the 15 s, and do not reset them."""
    ledger = ledger_of(30.0, (1.0, 8.0), (10.0, 18.0))
    detector = detector_of(FINALS)
    send(detector, ledger, 17.95)
    assert stall_of(detector, ledger, 17.95) is None
    send(detector, ledger, 18.0, since=17.95)
    assert stall_of(detector, ledger, 18.0) == about(StallReason.NO_TEXT, 18.0, 18.0, 18.0)


def test_text_resets_the_speech_without_text() -> None:
    """Text, and committed audio, leave another 15 s."""
    ledger = ledger_of(60.0, (0.0, None))
    detector = detector_of(FINALS)
    send(detector, ledger, 16.0)
    detector.transcript_received(FINAL, at(16.0), 16.0)
    send(detector, ledger, 30.95, since=16.0)
    assert stall_of(detector, ledger, 30.95) is None
    send(detector, ledger, 31.0, since=30.95)
    assert due(stall_of(detector, ledger, 31.0)) == pytest.approx(31.0)
    ledger.commit(at(30.0))
    assert stall_of(detector, ledger, 31.0) is None
    send(detector, ledger, 45.0, since=31.0)
    assert due(stall_of(detector, ledger, 45.0)) == pytest.approx(45.0)


def test_noise_stretches_the_speech_without_text() -> None:
    """With a multiplier of 2 it takes 30 s of voice."""
    ledger = ledger_of(40.0, (0.0, None))
    detector = detector_of(FINALS)
    send(detector, ledger, 29.95)
    assert stall_of(detector, ledger, 29.95, multiplier=2.0) is None
    send(detector, ledger, 30.0, since=29.95)
    stall = stall_of(detector, ledger, 30.0, multiplier=2.0)
    assert stall
    assert stall.reason is StallReason.NO_TEXT
    assert stall.hedge_at == stall.due == pytest.approx(30.0)
    assert at(15.0) <= stall.through <= at(30.0)


@pytest.mark.parametrize(
    ("window", "multiplier", "expected"), [(60, 8, 30), (60, 2, 30), (60, 1, 15)]
)
def test_the_window_caps_the_speech_without_text(
    window: float, multiplier: float, expected: float
) -> None:
    """Whatever the multiplier, voice of half of the replay window is enough."""
    ledger = AudioLedger(ReplayPolicy(window=window), vad_enabled=True)
    detector, sent = detector_of(FINALS), 0
    ledger.push(0, RATE)
    ledger.speech_started(0)
    while stall_of(detector, ledger, sent / RATE, multiplier=multiplier) is None:
        assert sent < at(expected)
        ledger.push(at(0.1), RATE)
        sent += at(0.1)
        detector.audio_sent(ledger, sent, sent / RATE)
    assert sent == at(expected)


def test_stretched_speech_must_have_been_processed() -> None:
    """With a multiplier of 2, all 30 s must have been processed before the stall is due."""
    ledger = ledger_of(40.0, (0.0, None))
    detector = detector_of(FINALS)
    send(detector, ledger, 30.0, behind=10.0)
    assert due(stall_of(detector, ledger, 30.0, multiplier=2.0)) >= 40.0


@pytest.mark.parametrize("behind", [0.1, 3.0])
def test_later_audio_moves_no_deadline(behind: float) -> None:
    """The stall stays where it was while more is sent."""
    ledger = ledger_of(40.0, (0.0, None))
    detector = detector_of(FINALS)
    send(detector, ledger, 20.0, behind=behind)
    assert due(stall_of(detector, ledger, 20.0)) == pytest.approx(15.0 + behind)


@pytest.mark.parametrize("p99", [None, 6.0])
def test_no_text_needs_a_provider_of_finals_only(p99: float | None) -> None:
    """A provider that gives interim transcripts has a timeout for them instead, however slow."""
    ledger = ledger_of(40.0, (0.0, None))
    detector = detector_of(LIVE, p99=p99)
    send(detector, ledger, 40.0)
    stall = stall_of(detector, ledger)
    assert stall
    assert stall.reason is StallReason.NO_INTERIM


# --- empty finals


@pytest.mark.parametrize("provider", [FINALS, LIVE, TURNS])
@pytest.mark.parametrize("text", ["", " \t"])
def test_three_empty_finals(provider: ProviderTraits, text: str) -> None:
    """Three in a row while speech is pending are suspect at the third."""
    ledger = ledger_of(5.0, (1.0, 1.5))
    detector = detector_of(provider)
    for now in (2.0, 3.0):
        detector.transcript_received(TranscriptEvent(EventKind.FINAL, text), at(now), now)
        assert stall_of(detector, ledger) is None
    detector.transcript_received(TranscriptEvent(EventKind.FINAL, text), at(4.0), 4.0)
    assert stall_of(detector, ledger) == StallDeadline(StallReason.EMPTY_FINALS, 4.0, 4.0, at(4.0))
    ledger.commit(at(1.5))
    assert stall_of(detector, ledger) is None


@pytest.mark.parametrize(("voiced", "suspect"), [(2.9, False), (3.0, True)])
def test_one_empty_final_for_long_speech(voiced: float, suspect: bool) -> None:
    """A single empty final for 3 s of voice is suspect, for no cough is so long."""
    ledger = ledger_of(6.0, (1.0, 1.0 + voiced))
    detector = detector_of(FINALS)
    detector.expect_final(at(5.0), 5.0, flushed=False)
    detector.transcript_received(EMPTY, at(6.0), 5.5)
    assert stall_of(detector, ledger) == (
        StallDeadline(StallReason.EMPTY_FINALS, 5.5, 5.5, at(6.0)) if suspect else None
    )


def test_text_between_empty_finals() -> None:
    """Text, also of an interim transcript, resets the count."""
    ledger = ledger_of(9.0, (1.0, 1.5))
    detector = detector_of(FINALS)
    for now in (2.0, 3.0):
        detector.transcript_received(EMPTY, at(now), now)
    detector.transcript_received(INTERIM, at(4.0), 4.0)
    for now in (5.0, 6.0):
        detector.transcript_received(EMPTY, at(now), now)
        assert stall_of(detector, ledger) is None
    detector.transcript_received(EMPTY, at(7.0), 7.0)
    assert due(stall_of(detector, ledger)) == 7.0


def test_noise_stretches_the_empty_finals() -> None:
    """With a multiplier of 2 it takes six, or one for 6 s of voice."""
    ledger = ledger_of(9.0, (1.0, 1.5))
    detector = detector_of(FINALS)
    for n in range(5):
        detector.transcript_received(EMPTY, at(2.0 + n), 2.0 + n)
        assert stall_of(detector, ledger, multiplier=2.0) is None
    detector.transcript_received(EMPTY, at(7.0), 7.0)
    assert due(stall_of(detector, ledger, multiplier=2.0)) == 7.0
    for voiced, suspect in [(5.9, False), (6.0, True)]:
        ledger = ledger_of(9.0, (1.0, 1.0 + voiced))
        detector = detector_of(FINALS)
        detector.transcript_received(EMPTY, at(8.0), 8.0)
        assert (stall_of(detector, ledger, multiplier=2.0) is not None) == suspect


def test_empty_finals_in_silence_are_no_stall() -> None:
    """Without pending speech no number of them is a stall, not even before any audio."""
    detector, ledger = detector_of(FINALS), AudioLedger(REPLAY, vad_enabled=True)
    detector.transcript_received(EMPTY, 0, 0.0)
    assert stall_of(detector, ledger) is None
    ledger = ledger_of(9.0, (1.0, 1.2), (3.0, 8.0), committed=7.6)
    for n in range(9):
        detector.transcript_received(EMPTY, at(9.0), n)
    assert stall_of(detector, ledger) is None


@pytest.mark.parametrize(
    ("finals", "voiced"),
    [
        (1, 3.0),
        (2, 6.0),
        (3, 0.3),
    ],
)
def test_empty_finals_before_the_speech(finals: int, voiced: float) -> None:
    """Finals that were empty in silence say nothing about the speech after them."""
    ledger = ledger_of(10.0 + voiced, (10.0, None))
    detector = detector_of(FINALS)
    for n in range(finals):
        detector.transcript_received(EMPTY, at(1.0 + n), 1.0 + n)
    send(detector, ledger, 10.0 + voiced)
    assert stall_of(detector, ledger) is None


def test_empty_finals_in_silence_do_not_count() -> None:
    """The count of three begins with the speech."""
    ledger = ledger_of(10.5, (10.0, None))
    detector = detector_of(FINALS)
    for n in range(9):
        detector.transcript_received(EMPTY, at(n), n)
    send(detector, ledger, 10.5)
    detector.transcript_received(EMPTY, at(10.5), 10.5)
    assert stall_of(detector, ledger) is None


# --- what answers an expected final


def test_an_empty_final_answers_one() -> None:
    """Each empty final answers the oldest expected final: there were no words."""
    ledger = ledger_of(9.0, (1.0, 1.5), (3.0, 3.5))
    detector = detector_of(FINALS)
    detector.expect_final(at(1.5), 2.0, flushed=True)
    detector.expect_final(at(3.5), 4.0, flushed=True)
    assert due(stall_of(detector, ledger)) == pytest.approx(3.2)
    detector.transcript_received(EMPTY, at(4.0), 4.0)
    assert due(stall_of(detector, ledger)) == pytest.approx(5.2)
    assert not detector.answered_empty
    detector.transcript_received(EMPTY, at(4.5), 4.5)
    assert stall_of(detector, ledger) is None
    assert detector.answered_empty


def test_an_empty_final_that_comes_too_early() -> None:
    """An empty final that comes before the audio can have been processed answers nothing."""
    ledger = ledger_of(9.0, (1.0, 1.5))
    detector = detector_of(FINALS)
    detector.expect_final(at(1.5), 4.0, flushed=True)
    for now, is_empty, stall_due in [(3.9, False, 5.2), (4.0, True, math.inf)]:
        detector.transcript_received(EMPTY, at(2.0), now)
        assert detector.answered_empty is is_empty
        assert due(stall_of(detector, ledger)) == pytest.approx(stall_due)


def test_answered_empty() -> None:
    """It is true while the last answers were empty, and no final is expected."""
    detector, found = detector_of(FINALS), []
    for event in (EMPTY, EMPTY, INTERIM):
        detector.expect_final(at(2.0), 2.0, flushed=True)
        found.append(detector.answered_empty)
        detector.transcript_received(event, at(2.5), 2.5)
        found.append(detector.answered_empty)
    detector.transcript_received(EMPTY, at(4.5), 4.5)
    found.append(detector.answered_empty)
    assert found == [False, True, False, True, False, False, True]


@pytest.mark.parametrize("had_text", [False, True])
def test_an_empty_final_that_was_not_expected(had_text: bool) -> None:
    """An empty final that nothing asked for is no answer, whatever came before."""
    ledger = ledger_of(9.0, (1.0, 2.0), (3.0, None), committed=2.0)
    detector = detector_of(FINALS)
    if had_text:
        detector.expect_final(at(2.15), 2.4, flushed=False)
        detector.transcript_received(FINAL, at(2.8), 2.8)
        detector.final_committed(ledger, 2.8, at(1.0))
    detector.transcript_received(EMPTY, at(4.0), 4.0)
    assert not detector.answered_empty


@pytest.mark.parametrize("backlog", [0.0, 3.0])
@pytest.mark.parametrize("ago", [0.0, 0.2])
def test_a_delay_counts_from_the_end_of_speech(ago: float, backlog: float) -> None:
    """It does not count from when the end was noticed, nor include the backlog."""
    ledger = ledger_of(9.0, (1.0, 2.0))
    detector = detector_of(FINALS)
    detector.expect_final(at(2.15), 2.4 + backlog, flushed=False, sent_ago=ago)
    ledger.commit(at(2.0))
    detector.transcript_received(FINAL, at(3.0), 3.0 + backlog)
    assert detector.final_committed(ledger, 3.0 + backlog, at(1.0)) == pytest.approx(0.6 + ago)
    assert detector.final_committed(ledger, 4.0 + backlog, at(1.0)) is None


def test_no_delay_is_negative() -> None:
    """A final that comes before the audio should have been processed has a delay of 0."""
    ledger = ledger_of(9.0, (1.0, 2.0), committed=2.0)
    detector = detector_of(FINALS)
    detector.expect_final(at(2.15), 9.0, flushed=False)
    assert detector.final_committed(ledger, 3.0, at(1.0)) == 0.0


@pytest.mark.parametrize(
    ("first_word", "delay", "pending_through"), [(1.0, 3.0, 6.0), (3.0, 3.0, 6.0), (None, 1.0, 0.0)]
)
def test_how_far_a_final_answers(
    first_word: float | None, delay: float, pending_through: float
) -> None:
    """With times it answers what it has committed, without times all that is expected so far.

    The delay is that of the last one that it answers.
    """
    ledger = ledger_of(9.0, (1.0, 2.0), (3.0, 4.0), (5.0, 6.0), committed=4.0)
    detector = detector_of(FINALS)
    for end in (2.0, 4.0, 6.0):
        detector.expect_final(at(end), end, flushed=True)
    detector.transcript_received(FINAL, at(7.0), 7.0)
    assert (
        detector.final_committed(ledger, 7.0, None if first_word is None else at(first_word))
        == delay
    )
    assert detector.expected_through == at(pending_through)
    assert due(stall_of(detector, ledger)) == (
        pytest.approx(7.2) if pending_through else float("inf")
    )


def test_a_final_of_a_part() -> None:
    """Words that leave 0.5 s of voice pending leave the final due."""
    ledger = ledger_of(9.0, (1.0, 2.0), committed=1.5)
    detector = detector_of(FINALS)
    detector.expect_final(at(2.15), 2.4, flushed=False)
    detector.transcript_received(FINAL, at(3.0), 3.0)
    assert detector.final_committed(ledger, 3.0, at(1.0)) is None
    assert due(stall_of(detector, ledger)) == pytest.approx(3.6)


def test_a_final_in_a_replay() -> None:
    """The final of the first segment leaves those due whose audio is not processed yet."""
    ledger = ledger_of(30.0, (1.0, 9.0), (11.0, 19.0))
    detector = detector_of(FINALS)
    detector.expect_final(at(9.15), 7.5, flushed=True)
    detector.expect_final(at(19.15), 15.5, flushed=True)
    detector.transcript_received(FINAL, at(20.0), 8.0)
    detector.final_committed(ledger, 8.0, None)
    assert due(stall_of(detector, ledger)) == pytest.approx(15.5 + 1.2)


@pytest.mark.parametrize(
    ("first_word", "is_expected"),
    [
        (28.0, True),
        (28.0, False),
        (None, True),
    ],
)
def test_a_flush_of_silence_has_no_delay(first_word: float | None, is_expected: bool) -> None:
    """No final is due for silence, so that the next one is not late for it."""
    ledger = ledger_of(31.0, (1.0, 2.0), (28.0, 29.0), committed=2.0)
    detector = detector_of(FINALS)
    detector.expect_final(at(3.0), 3.0, flushed=True)
    if is_expected:
        detector.expect_final(at(29.15), 29.4, flushed=True)
    ledger.commit(at(29.0))
    detector.transcript_received(FINAL, at(30.0), 30.0)
    delay = detector.final_committed(ledger, 30.0, None if first_word is None else at(first_word))
    assert delay == (pytest.approx(0.6) if is_expected else None)


def test_committed_audio_has_no_delay() -> None:
    """A recognizer that is faster in a replay than it must be is not late for the next words."""
    ledger = ledger_of(36.0, (1.0, 9.0), (30.0, None))
    detector = detector_of(FINALS)
    detector.expect_final(at(9.15), 7.5, flushed=True)
    detector.transcript_received(FINAL, at(9.15), 7.0)
    assert detector.final_committed(ledger, 7.0, None) is None
    ledger.commit(at(9.0))
    send(detector, ledger, 36.0, since=9.15)
    detector.transcript_received(FINAL, at(36.0), 36.0)
    assert detector.final_committed(ledger, 36.0, None) is None


@pytest.mark.parametrize(("p99", "timeout"), [(None, 1.6), (3.0, 6.0)])
def test_when_answers_are_due(p99: float | None, timeout: float) -> None:
    """All finals before a position are due when the last of them is."""
    detector = detector_of(TURNS, p99=p99)
    assert detector.expected_through == 0
    assert detector.answer_due_at(at(9.0)) is None
    detector.expect_final(at(2.0), 5.0, flushed=False)
    detector.expect_final(at(4.0), 7.0, flushed=True)
    assert detector.expected_through == at(4.0)
    assert detector.answer_due_at(at(1.99)) is None
    assert detector.answer_due_at(at(2.0)) == pytest.approx(5.0 + timeout)
    assert detector.answer_due_at(at(3.99)) == pytest.approx(5.0 + timeout)
    assert detector.answer_due_at(at(4.0)) == pytest.approx(7.0 + timeout)
    # this text covers the first turn, which may stay open then
    detector.transcript_received(INTERIM, at(3.0), 5.5)
    assert detector.answer_due_at(at(4.0)) == pytest.approx(5.0 + 6.0 if timeout < 6 else 13.0)
    detector.final_committed(ledger_of(9.0), 8.0, None)
    assert detector.expected_through == 0
    assert detector.answer_due_at(at(9.0)) is None


def test_clear() -> None:
    """Every stall about audio before the position is taken back, and none about later audio."""
    ledger = ledger_of(30.0, (1.0, 5.0), (8.0, None))
    detector = detector_of(LIVE)
    send(detector, ledger, 6.0)
    detector.expect_final(at(5.15), 5.4, flushed=True)
    detector.expect_final(at(6.5), 6.5, flushed=True)
    for n in range(3):
        detector.transcript_received(EMPTY, at(6.0), 6.0 + n)
    for end in (5.15, 6.5):
        detector.expect_final(at(end), end, flushed=True)
    detector.clear(at(6.0))
    assert not detector.answered_empty
    assert repr(detector) == (
        "StallDetector(expected=[_ExpectedFinal(through=650, processed_at=6.5, flushed=True, "
        "sent_at=6.5, last_word_end=650)], empty=0, from=600)"
    )
    ledger.commit(at(6.0))
    send(detector, ledger, 8.75, since=6.0)
    assert stall_of(detector, ledger, 8.75) is None
    send(detector, ledger, 8.8, since=8.75)
    assert due(stall_of(detector, ledger, 8.8)) == pytest.approx(8.05 + 2.5)


def test_clear_without_a_commit() -> None:
    """A stall can be taken back while the speech stays pending; the position never moves back."""
    ledger = ledger_of(20.0, (1.0, None))
    detector = detector_of(LIVE)
    send(detector, ledger, 5.0)
    detector.clear(at(4.5))
    assert stall_of(detector, ledger, 5.0) is None
    detector.clear(at(2.0))
    send(detector, ledger, 5.25, since=5.0)
    assert stall_of(detector, ledger, 5.25) is None
    send(detector, ledger, 5.3, since=5.25)
    assert due(stall_of(detector, ledger, 5.3)) == pytest.approx(5.05 + 2.5)


def test_clear_after_much_speech() -> None:
    """15 s of noise without text count anew as well."""
    ledger = ledger_of(40.0, (0.0, None))
    detector = detector_of(FINALS)
    send(detector, ledger, 16.0)
    detector.clear(at(15.0))
    send(detector, ledger, 30.0, since=16.0)
    assert due(stall_of(detector, ledger, 30.0)) == pytest.approx(30.0)


def test_last_text_at() -> None:
    """Only text counts, of whatever kind; before any it is minus infinity."""
    detector = detector_of(LIVE)
    assert detector.last_text_at == -math.inf
    detector.transcript_received(TranscriptEvent(EventKind.START), at(1.0), 1.0)
    detector.transcript_received(EMPTY, at(2.0), 2.0)
    assert detector.last_text_at == -math.inf
    detector.transcript_received(INTERIM, at(3.0), 3.5)
    detector.transcript_received(EMPTY, at(4.0), 4.0)
    detector.clear(at(4.0))
    assert detector.last_text_at == 3.5


def test_the_first_stall_counts() -> None:
    """Of several stalls the one that is due first is returned."""
    ledger = ledger_of(3.0, (1.0, 2.4))
    detector = detector_of(LIVE)
    send(detector, ledger, 3.0)
    detector.expect_final(at(2.4), 2.4, flushed=False)
    assert stall_of(detector, ledger) == about(StallReason.NO_INTERIM, 2.8, 3.55, 1.85)
    detector = detector_of(LIVE)
    send(detector, ledger, 3.0)
    detector.expect_final(at(2.3), 2.3, flushed=True)
    assert stall_of(detector, ledger) == about(StallReason.FINAL_OVERDUE, 2.9, 3.5, 2.3)


def test_the_names_of_stalls() -> None:
    """The names are those of `HedgeFinished.trigger` in the public events."""
    assert list(map(str, StallReason)) == [
        "no_interim",
        "final_overdue",
        "no_text",
        "empty_finals",
        "missing_tail",
        "skipped_speech",
    ]


def test_repr() -> None:
    """It shows the expected finals, how many were empty, and from where on text is expected."""
    detector = detector_of(FINALS, start=1.0)
    detector.transcript_received(EMPTY, 0, 0.0)
    detector.expect_final(200, 2.5, flushed=False, sent_ago=0.5, last_word_end=175)
    assert repr(detector) == (
        "StallDetector(expected=[_ExpectedFinal(through=200, processed_at=2.5, flushed=False, "
        "sent_at=2.0, last_word_end=175)], empty=1, from=100)"
    )


def test_memory_is_bounded() -> None:
    """Of a connection that answers nothing, only the newest expected finals are kept."""
    ledger = ledger_of(100.0, (0.0, None))
    detector = detector_of(FINALS)
    for n in range(100 * MAX_EXPECTED):
        detector.expect_final(n, n, flushed=True)
        detector.transcript_received(TranscriptEvent(EventKind.START), n, n)
    assert repr(detector).count("_ExpectedFinal(") == MAX_EXPECTED
    assert due(stall_of(detector, ledger)) == pytest.approx(99 * MAX_EXPECTED + 1.2)


# --- what holds after anything

transcripts = st.builds(
    TranscriptEvent, st.sampled_from(EventKind), st.sampled_from(["", " ", "a word"])
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 600)),
        st.tuples(st.just("voice"), st.integers(0, 150)),
        st.tuples(st.just("commit"), st.integers(0, 500)),
        st.tuples(st.just("expect"), st.integers(0, 300)),
        st.tuples(st.just("flush"), st.integers(0, 300)),
        st.tuples(st.just("clear"), st.integers(0, 500)),
        st.tuples(st.just("answer"), st.integers(0, 300)),
        transcripts,
    ),
    max_size=40,
)
"""What happens, and where: samples to push, or samples before the live edge."""
providers = st.builds(
    ProviderTraits,
    name=st.just("p"),
    interim_results=st.booleans(),
    final_timeout=st.sampled_from([1.2, 1.6, 2.5]),
    end_of_turn_timeout=st.sampled_from([0.0, 6.0]),
)
estimates = st.sampled_from([None, 0.0, 0.3, 1.0, 4.0])


def apply(
    detector: StallDetector, ledger: AudioLedger, step: tuple[str, int] | TranscriptEvent
) -> None:
    """Do one step; the connection is sent everything, and processes it at once."""
    cursor, now = ledger.end, ledger.end / RATE
    if isinstance(step, TranscriptEvent):
        detector.transcript_received(step, cursor, now)
        return
    what, number = step
    position = max(0, cursor - number)
    match what:
        case "push":
            ledger.push(number, RATE)
            detector.audio_sent(ledger, ledger.end, ledger.end / RATE)
        case "voice" if ledger.speaking:
            ledger.speech_ended(position)
        case "voice":
            ledger.speech_started(position)
        case "commit":
            ledger.commit(position)
        case "expect" | "flush":
            detector.expect_final(position, now, flushed=what == "flush")
        case "clear":
            detector.clear(position)
        case "answer":
            delay = detector.final_committed(ledger, now, position if number else None)
            assert delay is None or delay >= 0
            assert number or not detector.expected_through


@given(steps, providers, estimates, st.floats(1, 8))
def test_any_stall_makes_sense(
    script: list[tuple[str, int] | TranscriptEvent],
    provider: ProviderTraits,
    p99: float | None,
    multiplier: float,
) -> None:
    """After any events the deadlines are in order, and a multiplier makes none earlier."""
    detector, ledger = detector_of(provider, p99=p99), AudioLedger(REPLAY, vad_enabled=True)
    for step in script:
        apply(detector, ledger, step)
        stall, stretched = (
            stall_of(detector, ledger),
            stall_of(detector, ledger, multiplier=multiplier),
        )
        assert due(stall) <= due(stretched)
        for found in filter(None, (stall, stretched)):
            assert found.hedge_at <= found.due
            assert found.through <= ledger.end
            if found.reason is StallReason.FINAL_OVERDUE:
                assert ledger.has_pending_speech_before(found.through)
            assert found.reason is not (
                StallReason.NO_TEXT if provider.interim_results else StallReason.NO_INTERIM
            )
    assert repr(detector).count("_ExpectedFinal(") <= MAX_EXPECTED


@given(steps, providers, estimates)
def test_without_vad_there_is_no_stall(
    script: list[tuple[str, int] | TranscriptEvent], provider: ProviderTraits, p99: float | None
) -> None:
    """Without local voice activity there is no stall after any events."""
    detector, ledger = detector_of(provider, p99=p99), AudioLedger(REPLAY, vad_enabled=False)
    for step in script:
        apply(detector, ledger, step)
        assert stall_of(detector, ledger) is None


@given(steps, providers, estimates)
def test_in_silence_there_is_no_stall(
    script: list[tuple[str, int] | TranscriptEvent], provider: ProviderTraits, p99: float | None
) -> None:
    """Without voice there is no stall after any events."""
    detector, ledger = detector_of(provider, p99=p99), AudioLedger(REPLAY, vad_enabled=True)
    for step in script:
        if isinstance(step, TranscriptEvent) or step[0] != "voice":
            apply(detector, ledger, step)
        assert stall_of(detector, ledger) is None


@given(steps, providers, estimates)
def test_without_pending_speech_there_is_no_stall(
    script: list[tuple[str, int] | TranscriptEvent], provider: ProviderTraits, p99: float | None
) -> None:
    """Once all audio is committed there is no stall, whatever happened before."""
    detector, ledger = detector_of(provider, p99=p99), AudioLedger(REPLAY, vad_enabled=True)
    for step in script:
        apply(detector, ledger, step)
    ledger.commit(ledger.end)
    assert stall_of(detector, ledger) is None


# --- a connection in a call

STEP = 0.1
VAD = 0.35
"""Silence in seconds after which the end of speech is reported."""


class Spy(StallDetector):
    """Remember what a connection has to answer."""

    def __init__(self, provider: ProviderTraits, latency: FinalLatency, start: int) -> None:
        super().__init__(provider, latency, POLICY, start)
        self.owed: list[tuple[int, float]] = []
        self.text_cursor = start
        self.interim_cursor = start
        self.voice_processed_at: float | None = None

    def expect_final(
        self,
        through: int,
        processed_at: float,
        *,
        flushed: bool,
        sent_ago: float = 0.0,
        last_word_end: int | None = None,
    ) -> None:
        self.owed.append((through, processed_at))
        super().expect_final(
            through, processed_at, flushed=flushed, sent_ago=sent_ago, last_word_end=last_word_end
        )

    def audio_sent(self, ledger: AudioLedger, cursor: int, processed_at: float) -> None:
        if self.voice_processed_at is None and ledger.voiced_samples(self.text_cursor, cursor):
            self.voice_processed_at = processed_at
        super().audio_sent(ledger, cursor, processed_at)

    def transcript_received(self, event: TranscriptEvent, cursor: int, now: float) -> None:
        if event.text.strip():
            self.text_cursor, self.voice_processed_at = cursor, None
            if event.kind is EventKind.INTERIM:
                self.interim_cursor = cursor
        super().transcript_received(event, cursor, now)


class Call:
    """A call in steps of 0.1 s: audio, its voice activity, and one connection."""

    def __init__(
        self,
        provider: ProviderTraits,
        p99: float | None,
        *,
        opened: float,
        share: float,
        timed: bool,
    ) -> None:
        """The connection is opened at `opened`, and answers after `share` of each timeout."""
        self.ledger = AudioLedger(REPLAY, vad_enabled=True)
        self.now = 0.0
        self._provider = provider
        self._latency = latency_of(p99)
        self._opened = opened
        self._share = share
        self._timed = timed
        self._voice_end = 0
        self._connection: Connection | None = None
        self._committer = Committer(
            pool=pool_of(self.ledger),
            ledger=self.ledger,
            history=TranscriptHistory(REPLAY),
            policy=REPLAY,
        )
        self._detector = Spy(provider, self._latency, 0)
        self.quiet = max(POLICY.no_interim_timeout, POLICY.no_interim_p99_factor * (p99 or 0.0))
        self.final = (
            provider.final_timeout
            if p99 is None
            else max(POLICY.final_timeout, POLICY.final_p99_factor * p99)
        )

    def step(self, *, voiced: bool, flush: bool = False, answers: bool) -> StallDeadline | None:
        """Let 0.1 s pass, and return the next stall."""
        self.now += STEP
        self._listen(voiced)
        if flush:
            self.ledger.add_flush()
        if self._connection is None:
            if self.now < self._opened:
                return None
            self._connection = self._open()
        self._commit_silence(self._connection)
        self._connection.sender.send(self.ledger, self.now)
        self._connection.sender.caught_up |= (
            self._connection.cursor >= self.ledger.end
        )  # as the engine does
        if answers:
            self._answer(self._connection)
        return stall_of(self._detector, self.ledger, self._connection.cursor / RATE)

    @property
    def final_timeout(self) -> float:
        """Seconds that a final may take: more if interim text has covered the turn."""
        covered = self._detector.interim_cursor >= self._voice_end + at(
            REPLAY.trim_silence_to / 2 - POLICY.last_word_margin
        )
        return max(self.final, self._provider.end_of_turn_timeout) if covered else self.final

    def _listen(self, voiced: bool) -> None:
        ledger = self.ledger
        ledger.push(at(STEP), RATE)
        if voiced:
            self._voice_end = ledger.end
            if not ledger.speaking:
                ledger.speech_started(ledger.end - at(STEP))
        elif ledger.speaking and ledger.end - self._voice_end >= at(VAD):
            ledger.speech_ended(self._voice_end)

    def _open(self) -> Connection:
        transcript = TranscriptHistory(REPLAY)

        def spy(start: int) -> StallDetector:
            self._detector = Spy(self._provider, self._latency, start)
            return self._detector

        provider, ledger = self._provider, self.ledger
        return open_connection(
            0,
            provider,
            Role.ACTIVE,
            self.now,
            ledger,
            transcript,
            spy,
            REPLAY,
            flush_at_pauses=provider.slow_endpointing,
        )

    def _commit_silence(self, connection: Connection) -> None:
        processed = connection.cursor - at(connection.backlog(self.now))
        self._committer.commit_untimed_finals(connection, processed - at(REPLAY.commit_grace))
        self.ledger.commit_silence(processed)

    def _answer(self, connection: Connection) -> None:
        """Give interim text for all voice, and each expected final, in time."""
        for event in (TranscriptEvent(EventKind.START), TranscriptEvent(EventKind.INTERIM, " ")):
            self._detector.transcript_received(event, connection.cursor, self.now)
        due_through = [
            to for to, by in self._detector.owed if self.now >= by + self._share * self.final
        ]
        if due_through:
            self._detector.owed = [
                (to, by) for to, by in self._detector.owed if to not in due_through
            ]
            self._finish(connection, max(due_through))
        since = self._detector.voice_processed_at
        interims = self._provider.interim_results
        if interims and since is not None and self.now >= since + self._share * self.quiet:
            self._say(EventKind.INTERIM, connection)

    def _finish(self, connection: Connection, to: int) -> None:
        self._say(EventKind.FINAL, connection)
        since = self.ledger.watermark if self._timed else None
        if self._timed:
            self.ledger.commit(to)
        else:
            connection.untimed_finals.append(connection.cursor)
        delay = self._detector.final_committed(self.ledger, self.now, since)
        assert not self._timed or (delay or 0.0) <= self.final + VAD + STEP

    def _say(self, kind: EventKind, connection: Connection) -> None:
        self._detector.transcript_received(
            TranscriptEvent(kind, f"words up to {connection.cursor}"), connection.cursor, self.now
        )


@pytest.mark.parametrize(("stop", "expected"), [(1.2, 0), (1.3, 2.0)])
def test_finals_are_expected_for_speech_only(stop: float, expected: float) -> None:
    """Without pending speech neither a flush nor the end of the input makes a final due."""
    ledger = ledger_of(2.0, (1.0, stop))
    ledger.add_flush()
    detector = detector_of(FINALS)
    provider = ProviderTraits(name="p", manual_flush=True)
    connection = open_connection(
        0,
        provider,
        Role.ACTIVE,
        2.0,
        ledger,
        TranscriptHistory(REPLAY),
        lambda _: detector,
        REPLAY,
        start=0,
    )
    assert FlushConnection(0) in connection.sender.send(ledger, 2.0)
    assert detector.expected_through == at(expected)
    detector.clear(at(2.0))
    assert connection.sender.ask_for_last_final(ledger, 3.0, 0.0) == EndInput(0)
    assert detector.expected_through == at(expected)


Turn = tuple[float, float, bool]  # seconds of voice, then of silence; whether there is a flush

tenths = st.integers(1, 60).map(lambda n: n / 10)
turns = st.lists(
    st.tuples(tenths, st.integers(5, 40).map(lambda n: n / 10), st.booleans()), max_size=8
)
recognizers = st.one_of(
    st.builds(
        ProviderTraits,
        name=st.just("p"),
        interim_results=st.booleans(),
        manual_flush=st.booleans(),
        slow_endpointing=st.booleans(),
        final_timeout=st.sampled_from([1.2, 1.6, 2.5]),
    ),
    st.just(TURNS),
)


def voice(script: list[Turn]) -> Iterator[tuple[bool, bool]]:
    """Yield for each 0.1 s whether it is voiced, and whether a flush follows it."""
    for voiced, silent, flush in script:
        for n in range(round(voiced / STEP)):
            yield True, flush and n == 7
        for n in range(round(silent / STEP)):
            yield False, flush and n == 2


@settings(max_examples=60)
@given(
    turns, recognizers, estimates, st.just(0.0) | st.floats(0, 20), st.floats(0, 0.5), st.booleans()
)
@example([(6.0, 0.5, True)] * 8, LIVE, None, 20.0, 0.5, False)
@example([(6.0, 0.5, False)] * 8, FINALS, None, 0.0, 0.5, True)
def test_a_connection_in_time_never_stalls(
    script: list[Turn],
    provider: ProviderTraits,
    p99: float | None,
    opened: float,
    share: float,
    timed: bool,
) -> None:
    """A connection that answers all voice within half of each timeout has no stall that is due.

    A replay to a provider of finals only is an exception: its pauses are cut too short.
    """
    assume(provider.interim_results or opened == 0)
    call = Call(provider, p99, opened=opened, share=share, timed=timed)
    for voiced, flush in voice([*script, (0.0, 10.0, False)]):
        stall = call.step(voiced=voiced, flush=flush, answers=True)
        assert stall is None or call.now < stall.due


@settings(max_examples=60)
@given(
    turns,
    st.integers(3, 60).map(lambda n: n / 10),
    recognizers,
    estimates,
    st.just(0.0) | st.floats(0, 20),
    st.floats(0, 1),
    st.booleans(),
)
@example([(6.0, 0.5, False)] * 4, 0.3, FINALS, None, 0.0, 0.9, True)
@example([(6.0, 0.5, True)] * 4, 3.0, LIVE, 1.0, 20.0, 0.0, False)
@example([], 3.6, TURNS, None, 1.0, 1.0, False)
def test_a_silent_connection_always_stalls(
    script: list[Turn],
    last: float,
    provider: ProviderTraits,
    p99: float | None,
    opened: float,
    fate: float,
    timed: bool,
) -> None:
    """A connection that falls silent before the last word is over has a stall that is due in time.

    In time is the timeout and the backlog after voice activity has reported the end of speech.
    """
    assume(provider.interim_results or opened == 0)  # as above
    call = Call(provider, p99, opened=opened, share=0.3, timed=timed)
    edges = list(voice([*script, (last, 0.0, False)]))
    for n, (voiced, flush) in enumerate(edges):
        call.step(voiced=voiced, flush=flush, answers=n < fate * (len(edges) - 1))
    assume(call.ledger.has_pending_speech())
    ended = call.now
    end_reported = ended + VAD + STEP
    timeout = (
        max(end_reported, opened + STEP + end_reported / POLICY.min_processing_rate)
        + call.final_timeout
        + 2 * STEP
    )
    stall = None
    while call.now < timeout:
        stall = call.step(voiced=False, answers=False)
    assert stall is not None
    assert stall.due <= call.now


def heard(detector: StallDetector, ledger: AudioLedger, seconds: float) -> float:
    """Send so much more voice, live; return the time."""
    for _ in range(round(seconds / PIECE)):
        ledger.push(at(PIECE), RATE)
        detector.audio_sent(ledger, ledger.end, ledger.end / RATE)
    return ledger.end / RATE


def test_promised_interims_are_believed_once_they_came() -> None:
    """A plugin's word does not count until interim text followed other text in mid-speech. What one
    connection shows holds for the next, and what the table says needs no proof."""
    promised, habits = replace(LIVE, interims_certain=False), ProviderHabits()
    for traits, timeout in ((FINALS, None), (LIVE, POLICY.no_interim_timeout), (promised, None)):
        assert StallDetector(traits, FinalLatency(), POLICY, 0, habits).interim_timeout == timeout
    ledger = ledger_of(0.1, (0.0, None))
    detector = StallDetector(promised, FinalLatency(), POLICY, 0, habits)
    assert detector.next_stall(ledger, ledger.end) is None
    for number in range(5):
        assert detector.interim_timeout is None
        now = heard(detector, ledger, 1.0)
        text = replace(INTERIM, text=f"word {number}")
        detector.transcript_received(text, ledger.end, now)
    assert detector.interim_timeout == POLICY.no_interim_timeout
    later = StallDetector(promised, FinalLatency(), POLICY, ledger.end, habits)
    heard(later, ledger, 3.0)
    stall = later.next_stall(ledger, ledger.end)
    assert stall is not None
    assert stall.reason is StallReason.NO_INTERIM


def test_interims_after_the_end_of_a_turn_are_finals() -> None:
    """OpenAI's realtime models give the text of a turn in pieces, after it has ended."""
    habits = ProviderHabits()
    ledger = AudioLedger(REPLAY, vad_enabled=True)
    traits = replace(LIVE, interims_certain=False)
    detector = StallDetector(traits, FinalLatency(), POLICY, 0, habits)
    for turn in range(6):
        ledger.speech_started(ledger.end)
        heard(detector, ledger, 5.0)
        ledger.speech_ended(ledger.end)
        now = heard(detector, ledger, 0.5)
        for piece in range(5):
            text = replace(INTERIM, text=f"word {turn} {piece}")
            detector.transcript_received(text, ledger.end, now + piece / 20)
        detector.transcript_received(FINAL, ledger.end, now + 0.5)
        ledger.commit(ledger.end)
    assert detector.interim_timeout is None


def test_who_promised_interims_and_gave_no_text_at_all_may_be_deaf() -> None:
    """It has less time than one that is known to give finals only, until its first text."""
    promised, habits = replace(LIVE, interims_certain=False), ProviderHabits()
    for traits, limit in (
        (promised, POLICY.max_speech_before_first_text),
        (FINALS, POLICY.max_speech_without_text),
    ):
        ledger = ledger_of(0.1, (0.0, None))
        detector = StallDetector(traits, FinalLatency(), POLICY, 0, habits)
        heard(detector, ledger, limit - 0.5)
        assert detector.next_stall(ledger, ledger.end) is None
        heard(detector, ledger, 0.5)
        stall = detector.next_stall(ledger, ledger.end)
        assert stall is not None
        assert stall.reason is StallReason.NO_TEXT
    habits.text_came(1.0, in_speech=False)
    ledger = ledger_of(0.1, (0.0, None))
    detector = StallDetector(promised, FinalLatency(), POLICY, 0, habits)
    heard(detector, ledger, POLICY.max_speech_without_text - 0.5)
    assert detector.next_stall(ledger, ledger.end) is None


def test_finals_that_are_overdue() -> None:
    """All audio counts before the last final that has not come in its time."""
    detector = detector_of(ProviderTraits(name="a", final_timeout=1.0))
    for end in (1.0, 2.0, 3.0):
        detector.expect_final(at(end), end, flushed=True)
    assert [detector.overdue_through(now) for now in (1.9, 2.0, 3.5, 9.0)] == [
        0,
        at(1.0),
        at(2.0),
        at(3.0),
    ]


def test_known_noise_is_no_speech_without_text() -> None:
    """Voice that is known noise does not count for a provider of finals only."""
    ledger = ledger_of(40.0, (1.0, 17.0), (18.0, 34.0))
    detector = detector_of(ProviderTraits(name="a"))
    send(detector, ledger, 40.0)
    assert stall_of(detector, ledger) is not None
    for segment in ledger.unfinished_segments():
        segment.is_known_noise = True
    send(detector, ledger, 40.1, since=40.0)
    assert stall_of(detector, ledger) is None
