from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from resilient_stt.core.audio.ledger import AudioLedger
from resilient_stt.core.connections.connection import (
    LAST_WORD_MARGIN,
    PROCESSING_RATE,
    Connection,
    open_connection,
)
from resilient_stt.core.events import StallReason
from resilient_stt.core.health.latency import MIN_SAMPLES, FinalLatency
from resilient_stt.core.messages import EndInput, EventKind, FlushConnection, Role, TranscriptEvent
from resilient_stt.core.policy import ProviderTraits, ReplayPolicy, WatchdogPolicy
from resilient_stt.core.stalls.detector import MAX_EXPECTED, StallDeadline, StallDetector
from resilient_stt.core.transcript.overlap import TranscriptHistory

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
    end: float, *segments: Segment, settled: float = 0.0, vad_enabled: bool = True
) -> AudioLedger:
    """A ledger after `end` seconds of audio with voice in `segments`, settled up to `settled`."""
    ledger = AudioLedger(REPLAY, vad_enabled=vad_enabled)
    if end:
        ledger.push(at(end), RATE)
    for start, stop in segments:
        ledger.speech_started(at(start))
        if stop is not None:
            ledger.speech_ended(at(stop))
    ledger.commit(at(settled))
    return ledger


def latency_of(p99: float | None) -> FinalLatency:
    latency = FinalLatency()
    if p99 is not None:
        for _ in range(MIN_SAMPLES):
            latency.add(p99)
    return latency


def watch_of(
    provider: ProviderTraits,
    *,
    p99: float | None = None,
    policy: WatchdogPolicy = POLICY,
    start: float = 0.0,
) -> StallDetector:
    return StallDetector(provider, latency_of(p99), policy, at(start))


def hear(
    watch: StallDetector,
    ledger: AudioLedger,
    end: float,
    *,
    since: float = 0.0,
    behind: float = 0.0,
) -> None:
    """The leg is sent audio in real time, and can have heard each piece `behind` seconds later."""
    for n in range(round(since / PIECE) + 1, round(end / PIECE) + 1):
        watch.audio_sent(ledger, at(n * PIECE), n * PIECE + behind)


def alarm_of(
    watch: StallDetector, ledger: AudioLedger, cursor: float | None = None, scale: float = 1.0
) -> StallDeadline | None:
    """The alarm of a leg that was sent audio up to `cursor`; asking for it changes nothing."""
    position = ledger.end if cursor is None else at(cursor)
    before = repr(watch), repr(ledger)
    alarm = watch.next_stall(ledger, position, scale)
    assert watch.next_stall(ledger, position, scale) == alarm
    assert (repr(watch), repr(ledger)) == before
    return alarm


def due(alarm: StallDeadline | None) -> float:
    """When an alarm becomes due; never without one."""
    return alarm.due if alarm else float("inf")


def about(sign: StallReason, early: float, due: float, to: float) -> StallDeadline:
    """An alarm to compare with, but for what floating point adds."""
    return StallDeadline(sign, pytest.approx(early), pytest.approx(due), at(to))  # type: ignore[arg-type]


# --- no sign of life


def test_no_sign_of_life() -> None:
    """Voice without text is suspect 2.5 s after it can first have been heard.

    What was sent within half of that may still be told.
    """
    ledger = ledger_of(5.0, (1.0, None))
    watch = watch_of(LIVE)
    hear(watch, ledger, 5.0)
    since = 1.0 + PIECE
    assert alarm_of(watch, ledger) == about(
        StallReason.NO_INTERIM, since + 0.7 * 2.5, since + 2.5, 3.75
    )


@pytest.mark.parametrize("voiced", [0.0, 0.05, 0.5, 0.75])
def test_little_voice_is_no_sign(voiced: float) -> None:
    """Less than 0.8 s of voice without text says nothing, however long ago."""
    ledger = ledger_of(9.0, (1.0, 1.0 + voiced))
    watch = watch_of(LIVE)
    hear(watch, ledger, 9.0)
    assert alarm_of(watch, ledger) is None


def test_voice_counts_when_it_was_sent() -> None:
    """Audio that still waits to be sent is no voice that the leg could answer."""
    ledger = ledger_of(5.0, (1.0, None))
    watch = watch_of(LIVE)
    hear(watch, ledger, 1.75)
    assert alarm_of(watch, ledger, 1.75) is None
    hear(watch, ledger, 1.8, since=1.75)
    assert due(alarm_of(watch, ledger, 1.8)) == pytest.approx(1.05 + 2.5)


def test_the_end_of_voice_does_not_excuse() -> None:
    """Silence after the voice leaves the deadline where it was."""
    ledger = ledger_of(3.4, (1.0, 2.0))
    watch = watch_of(LIVE)
    hear(watch, ledger, 3.4)
    assert due(alarm_of(watch, ledger)) == pytest.approx(1.05 + 2.5)


@pytest.mark.parametrize("behind", [0.0, 0.04, 3.0, 20.0])
def test_quiet_waits_for_the_backlog(behind: float) -> None:
    """What a leg cannot have heard yet it need not answer."""
    ledger = ledger_of(5.0, (1.0, None))
    watch = watch_of(LIVE)
    hear(watch, ledger, 5.0, behind=behind)
    assert due(alarm_of(watch, ledger)) == pytest.approx(1.05 + behind + 2.5)


@pytest.mark.parametrize("scale", [1.0, 2.0, 8.0])
@pytest.mark.parametrize(
    ("p99", "limit"), [(None, 2.5), (0.0, 2.5), (0.8, 2.5), (1.0, 3.0), (4.0, 12.0)]
)
def test_quiet_grows_with_the_provider_and_with_noise(
    p99: float | None, limit: float, scale: float
) -> None:
    """The deadline is 2.5 s or 3 x p99, stretched; the hedge has 0.3 of what it was before."""
    ledger = ledger_of(5.0, (1.0, None))
    watch = watch_of(LIVE, p99=p99)
    hear(watch, ledger, 5.0)
    assert alarm_of(watch, ledger, scale=scale) == about(
        StallReason.NO_INTERIM, 1.05 + (scale - 0.3) * limit, 1.05 + scale * limit, 3.75
    )


def test_the_hedge_may_come_at_any_part_of_the_deadline() -> None:
    """The policy tells how much of each deadline passes before a hedge."""
    policy = WatchdogPolicy(
        no_interim_timeout=4.0,
        min_speech_before_stall=2.0,
        no_interim_hedge_fraction=0.25,
        final_hedge_fraction=1.0,
    )
    ledger = ledger_of(5.0, (1.0, 3.0))
    watch = watch_of(LIVE, policy=policy)
    hear(watch, ledger, 5.0)
    assert alarm_of(watch, ledger) == about(StallReason.NO_INTERIM, 1.05 + 1.0, 1.05 + 4.0, 3.05)
    watch.expect_final(at(3.0), 3.0, flushed=False)
    assert alarm_of(watch, ledger) == about(StallReason.FINAL_OVERDUE, 4.2, 4.2, 3.0)


def test_finals_only_may_be_quiet() -> None:
    """Where no interim transcripts come, silence in mid-speech means nothing."""
    ledger = ledger_of(14.0, (0.0, None))
    watch = watch_of(FINALS)
    hear(watch, ledger, 14.0)
    assert alarm_of(watch, ledger) is None


@pytest.mark.parametrize("kind", [EventKind.INTERIM, EventKind.PREFLIGHT, EventKind.FINAL])
def test_any_text_is_a_sign_of_life(kind: EventKind) -> None:
    """Text stops the clock, and the next voice starts it anew."""
    ledger = ledger_of(9.0, (1.0, None))
    watch = watch_of(LIVE)
    hear(watch, ledger, 3.0)
    watch.transcript_received(TranscriptEvent(kind, "so"), at(3.0), 3.0)
    assert alarm_of(watch, ledger, 3.0) is None
    hear(watch, ledger, 3.75, since=3.0)
    assert alarm_of(watch, ledger, 3.75) is None
    hear(watch, ledger, 3.8, since=3.75)
    assert due(alarm_of(watch, ledger, 3.8)) == pytest.approx(3.05 + 2.5)


def test_the_same_text_again_is_no_sign_of_life() -> None:
    """A leg that tells what it has told, and no more, may be deaf to all that followed."""
    ledger = ledger_of(9.0, (1.0, None))
    watch = watch_of(LIVE)
    hear(watch, ledger, 3.0)
    watch.transcript_received(TranscriptEvent(EventKind.INTERIM, "so"), at(3.0), 3.0)
    hear(watch, ledger, 4.0, since=3.0)
    expected = alarm_of(watch, ledger, 4.0)
    watch.transcript_received(TranscriptEvent(EventKind.INTERIM, "so"), at(4.0), 4.0)
    assert alarm_of(watch, ledger, 4.0) == expected is not None
    watch.transcript_received(TranscriptEvent(EventKind.INTERIM, "so it"), at(4.0), 4.0)
    assert alarm_of(watch, ledger, 4.0) is None


@pytest.mark.parametrize("kind", [k for k in EventKind if k is not EventKind.FINAL])
@pytest.mark.parametrize("text", ["", " \n"])
def test_no_words_are_no_sign_of_life(kind: EventKind, text: str) -> None:
    """A leg that announces speech and tells none may be deaf all the same."""
    ledger = ledger_of(5.0, (1.0, None))
    watch = watch_of(LIVE)
    hear(watch, ledger, 5.0)
    expected = alarm_of(watch, ledger)
    watch.transcript_received(TranscriptEvent(kind, text), at(5.0), 5.0)
    assert alarm_of(watch, ledger) == expected is not None
    assert not watch.answered_empty


def test_a_leg_owes_nothing_for_what_it_was_not_sent() -> None:
    """Voice before a leg's start, or settled, is not its own."""
    ledger = ledger_of(6.0, (1.0, 5.0))
    watch = watch_of(LIVE, start=4.5)
    hear(watch, ledger, 6.0, since=4.5)
    assert alarm_of(watch, ledger) is None
    watch = watch_of(LIVE)
    hear(watch, ledger, 6.0)
    assert alarm_of(watch, ledger) is not None
    ledger.commit(at(4.5))
    assert alarm_of(watch, ledger) is None


def test_settled_voice_is_forgotten() -> None:
    """After everything was settled the next voice has the whole deadline."""
    ledger = ledger_of(20.0, (1.0, 3.0), (10.0, None))
    watch = watch_of(LIVE)
    hear(watch, ledger, 4.0)
    ledger.commit(at(4.0))
    hear(watch, ledger, 11.0, since=4.0)
    assert due(alarm_of(watch, ledger, 11.0)) == pytest.approx(10.05 + 2.5)


@pytest.mark.parametrize("first", [(1.0, 1.2), (1.0, 1.4)])
def test_a_cough_does_not_start_the_clock_of_later_speech(first: Segment) -> None:
    """Speech has its whole deadline whatever little voice was before it."""
    ledger = ledger_of(4.0, first, (3.0, None))
    watch = watch_of(LIVE)
    hear(watch, ledger, 4.0)
    assert due(alarm_of(watch, ledger)) >= 3.0 + 2.5


def test_coughs_add_up_to_no_words() -> None:
    """Voice too short to owe words never alarms, however often it comes."""
    ledger = ledger_of(9.0, *((n / 2, n / 2 + 0.2) for n in range(2, 8)))
    watch = watch_of(LIVE)
    hear(watch, ledger, 9.0)
    assert not ledger.has_pending_speech()
    assert alarm_of(watch, ledger) is None


def test_coughs_do_not_start_the_clock_of_later_speech() -> None:
    """Speech has its whole deadline also after many coughs."""
    ledger = ledger_of(5.0, *((1 + 0.64 * n, 1.24 + 0.64 * n) for n in range(4)), (4.0, None))
    watch = watch_of(LIVE)
    hear(watch, ledger, 5.0)
    assert due(alarm_of(watch, ledger)) >= 4.0 + 2.5


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_what_is_owed_lies_before_to(start: float) -> None:
    """Also where the audio stops, the alarm is about the voice that nobody answered."""
    ledger = ledger_of(start + 0.9, (start, None))
    watch = watch_of(LIVE)
    hear(watch, ledger, start + 0.9)
    alarm = alarm_of(watch, ledger)
    assert alarm
    assert at(start) < alarm.through <= ledger.end


@pytest.mark.parametrize(("end", "to"), [(1.8, 1.8), (2.0, 1.85), (3.1, 1.85), (3.15, 1.9)])
def test_what_came_later_may_yet_be_told(end: float, to: float) -> None:
    """Owed is what 0.8 s of voice take, never more than was sent, and all but the last 1.25 s."""
    ledger = ledger_of(5.0, (1.0, None))
    watch = watch_of(LIVE)
    hear(watch, ledger, end)
    alarm = alarm_of(watch, ledger, end)
    assert alarm
    assert alarm.through == at(to)


# --- final overdue


def test_a_final_is_overdue_after_the_end_of_speech() -> None:
    """1.2 s after the leg can have heard the end of speech; a hedge may come at half of it."""
    ledger = ledger_of(3.0, (1.0, 2.0))
    watch = watch_of(FINALS)
    assert alarm_of(watch, ledger) is None
    watch.expect_final(at(2.15), 2.4, flushed=False)
    assert alarm_of(watch, ledger) == about(StallReason.FINAL_OVERDUE, 3.0, 3.6, 2.15)


def test_speech_that_goes_on_is_no_end() -> None:
    """Asked by a pause alone, a recogniser that still hears voice is right to wait."""
    ledger = ledger_of(3.5, (1.0, 2.0), (3.0, None))
    watch = watch_of(FINALS)
    watch.expect_final(at(2.15), 2.4, flushed=False)
    assert alarm_of(watch, ledger, 3.0) is not None
    assert alarm_of(watch, ledger, 3.05) is None
    ledger.push(at(1.0), RATE)
    ledger.speech_ended(at(4.0))
    watch.expect_final(at(4.15), 4.4, flushed=False)
    assert alarm_of(watch, ledger) == about(StallReason.FINAL_OVERDUE, 5.0, 5.6, 4.15)


def test_who_begins_anew_has_left_the_final_behind() -> None:
    """It listens to what goes on, and no more to what its final is of."""
    ledger = ledger_of(3.5, (1.0, 2.0), (3.0, None))
    watch = watch_of(LIVE)
    watch.expect_final(at(2.15), 2.4, flushed=False, words_to=at(1.9))
    watch.interims_restarted(None)
    watch.interims_restarted(1.8)
    assert alarm_of(watch, ledger, 3.5) is None
    watch.interims_restarted(3.0)
    assert alarm_of(watch, ledger, 3.5) == about(StallReason.FINAL_OVERDUE, 3.0, 3.6, 2.15)


def test_a_flush_is_an_end() -> None:
    """A flush must be answered though speech goes on."""
    ledger = ledger_of(3.5, (1.0, None))
    watch = watch_of(FINALS)
    watch.expect_final(at(2.0), 2.1, flushed=True)
    assert alarm_of(watch, ledger) == about(StallReason.FINAL_OVERDUE, 2.7, 3.3, 2.0)


def test_a_cough_does_not_excuse() -> None:
    """Words stay due though voice too short to owe words came after them."""
    ledger = ledger_of(30.0, (1.0, 2.0), (2.6, 2.8))
    watch = watch_of(FINALS)
    watch.expect_final(at(2.15), 2.4, flushed=False)
    assert ledger.next_pause(at(2.15)) is None  # nobody will ask again
    assert due(alarm_of(watch, ledger)) <= 2.8 + 0.35 + 1.2


def test_voice_excuses_while_it_lasts() -> None:
    """As long as a cough may become speech, a recogniser is right to wait."""
    ledger = ledger_of(3.0, (1.0, 2.0), (2.6, None))
    watch = watch_of(FINALS)
    watch.expect_final(at(2.15), 2.4, flushed=False)
    assert alarm_of(watch, ledger) is None
    ledger.speech_ended(at(2.8))
    assert due(alarm_of(watch, ledger)) == pytest.approx(3.6)


@pytest.mark.parametrize("scale", [1.0, 2.0, 8.0])
@pytest.mark.parametrize("behind", [0.0, 4.0])
@pytest.mark.parametrize("final_timeout", [1.2, 1.6, 0.5])
@pytest.mark.parametrize(
    ("p99", "limit"), [(None, None), (0.0, 1.2), (0.5, 1.2), (0.7, 1.4), (3.0, 6.0)]
)
def test_a_final_has_as_long_as_the_provider_needs(
    p99: float | None, limit: float | None, final_timeout: float, behind: float, scale: float
) -> None:
    """1.2 s or 2 x p99, the provider's default before samples exist, after any backlog."""
    ledger = ledger_of(3.0, (1.0, 2.0))
    watch = watch_of(ProviderTraits(name="p", final_timeout=final_timeout), p99=p99)
    watch.expect_final(at(2.15), 2.4 + behind, flushed=False)
    wait = final_timeout if limit is None else limit
    lead, wait = wait / 2, scale * wait
    assert alarm_of(watch, ledger, scale=scale) == about(
        StallReason.FINAL_OVERDUE, 2.4 + behind + wait - lead, 2.4 + behind + wait, 2.15
    )


@pytest.mark.parametrize("flushed", [False, True])
@pytest.mark.parametrize(
    ("segment", "settled"),
    [
        ((1.0, 1.2), 0.0),
        ((1.0, 2.0), 2.0),
        ((1.0, 2.0), 1.6),
        ((2.5, 3.0), 0.0),
    ],
)
def test_no_final_is_owed(segment: Segment, settled: float, flushed: bool) -> None:
    """For a cough, for what is settled but for a rest, and for what comes later."""
    ledger = ledger_of(3.0, segment, settled=settled)
    watch = watch_of(FINALS)
    watch.expect_final(at(2.15), 2.4, flushed=flushed)
    assert alarm_of(watch, ledger) is None


def test_the_first_that_is_owed_is_overdue_first() -> None:
    """Of several ends of speech the first that is not settled counts."""
    ledger = ledger_of(9.0, (1.0, 2.0), (3.0, 4.0), (5.0, 6.0))
    watch = watch_of(FINALS)
    for end in (2.0, 4.0, 6.0):
        watch.expect_final(at(end), end, flushed=True)
    for settled, end in [(0.0, 2.0), (2.0, 4.0), (4.0, 6.0)]:
        ledger.commit(at(settled))
        assert alarm_of(watch, ledger) == about(
            StallReason.FINAL_OVERDUE, end + 0.6, end + 1.2, end
        )
    ledger.commit(at(6.0))
    assert alarm_of(watch, ledger) is None


def test_an_interim_is_no_final() -> None:
    """Interim text does not make a final less due."""
    ledger = ledger_of(3.0, (1.0, 2.0))
    watch = watch_of(LIVE)
    watch.expect_final(at(2.15), 2.4, flushed=False)
    watch.transcript_received(INTERIM, at(2.5), 2.5)
    assert due(alarm_of(watch, ledger)) == pytest.approx(3.6)


# --- a provider that decides itself when a turn is over


@pytest.mark.parametrize("flushed", [False, True])
@pytest.mark.parametrize(
    ("told", "p99", "scale", "limit"),
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
def test_a_turn_that_is_told_may_stay_open(
    told: float, p99: float | None, scale: float, limit: float, flushed: bool
) -> None:
    """Once text came for all that was asked for, the final may wait for the end of the turn."""
    ledger = ledger_of(3.0, (1.0, 2.0))
    watch = watch_of(TURNS, p99=p99)
    watch.transcript_received(INTERIM, at(told), told)
    watch.expect_final(at(2.15), 2.4, flushed=flushed)
    assert due(alarm_of(watch, ledger, scale=scale)) == pytest.approx(2.4 + scale * limit)


@pytest.mark.parametrize(("told", "limit"), [(1.85, 1.6), (1.9, 6.0)])
def test_a_turn_is_told_where_its_words_end(told: float, limit: float) -> None:
    """Text for the last word is enough, which may have ended before the end of its voice."""
    ledger = ledger_of(3.0, (1.0, 2.0))
    watch = watch_of(TURNS)
    watch.transcript_received(INTERIM, at(told), told)
    watch.expect_final(at(2.15), 2.4, flushed=False, words_to=at(1.9))
    assert due(alarm_of(watch, ledger)) == pytest.approx(2.4 + limit)


def test_an_open_turn_says_nothing_about_the_speed() -> None:
    """The delay of a final that waited for the end of a turn is no latency."""
    ledger = ledger_of(9.0, (1.0, 2.0))
    watch = watch_of(TURNS)
    watch.expect_final(at(2.15), 2.4, flushed=False)
    watch.transcript_received(INTERIM, at(2.5), 2.5)
    ledger.commit(at(2.0))
    watch.transcript_received(FINAL, at(8.0), 8.0)
    assert watch.final_committed(ledger, 8.0, at(1.0)) is None
    assert alarm_of(watch, ledger) is None


def test_only_turns_stay_open() -> None:
    """With others a final is a final, and its delay counts though interims came before."""
    ledger = ledger_of(9.0, (1.0, 2.0))
    watch = watch_of(LIVE)
    watch.expect_final(at(2.15), 2.4, flushed=False)
    watch.transcript_received(INTERIM, at(2.5), 2.5)
    ledger.commit(at(2.0))
    watch.transcript_received(FINAL, at(3.0), 3.0)
    assert watch.final_committed(ledger, 3.0, at(1.0)) == pytest.approx(0.6)


def test_a_final_that_nothing_announced_tells_its_delay() -> None:
    """Where no interim had told the words, a turn-based provider's final has a delay, too."""
    ledger = ledger_of(9.0, (1.0, 2.0), settled=2.0)
    watch = watch_of(TURNS)
    watch.expect_final(at(2.15), 2.4, flushed=False)
    watch.transcript_received(FINAL, at(3.0), 3.0)
    assert watch.final_committed(ledger, 3.0, at(1.0)) == pytest.approx(0.6)


def test_an_open_turn_hides_no_later_speech() -> None:
    """The alarm is the first to come, of all that was asked for."""
    ledger = ledger_of(5.0, (1.0, 2.0), (3.0, 4.0))
    watch = watch_of(TURNS)
    watch.expect_final(at(2.15), 2.4, flushed=True)
    watch.transcript_received(INTERIM, at(2.5), 2.5)
    watch.expect_final(at(4.15), 4.4, flushed=True)
    assert due(alarm_of(watch, ledger)) == pytest.approx(4.4 + 1.6)


# --- no text


def test_much_speech_without_any_text() -> None:
    """15 s of voice without text are suspect as soon as they can have been heard."""
    ledger = ledger_of(40.0, (1.0, None))
    watch = watch_of(FINALS)
    hear(watch, ledger, 15.95, behind=3.0)
    assert alarm_of(watch, ledger, 15.95) is None
    hear(watch, ledger, 16.0, since=15.95, behind=3.0)
    assert alarm_of(watch, ledger, 16.0) == about(StallReason.NO_TEXT, 19.0, 19.0, 16.0)


def test_pauses_do_not_excuse_from_text() -> None:
    """Voice is added up over pauses, and silence is not."""
    ledger = ledger_of(30.0, (1.0, 8.0), (10.0, 18.0))
    watch = watch_of(FINALS)
    hear(watch, ledger, 17.95)
    assert alarm_of(watch, ledger, 17.95) is None
    hear(watch, ledger, 18.0, since=17.95)
    assert alarm_of(watch, ledger, 18.0) == about(StallReason.NO_TEXT, 18.0, 18.0, 18.0)


def test_text_starts_it_anew() -> None:
    """Text, or a settlement, leaves another 15 s."""
    ledger = ledger_of(60.0, (0.0, None))
    watch = watch_of(FINALS)
    hear(watch, ledger, 16.0)
    watch.transcript_received(FINAL, at(16.0), 16.0)
    hear(watch, ledger, 30.95, since=16.0)
    assert alarm_of(watch, ledger, 30.95) is None
    hear(watch, ledger, 31.0, since=30.95)
    assert due(alarm_of(watch, ledger, 31.0)) == pytest.approx(31.0)
    ledger.commit(at(30.0))
    assert alarm_of(watch, ledger, 31.0) is None
    hear(watch, ledger, 45.0, since=31.0)
    assert due(alarm_of(watch, ledger, 45.0)) == pytest.approx(45.0)


def test_noise_stretches_how_much_speech_it_takes() -> None:
    """Twice as patient, it takes 30 s of voice."""
    ledger = ledger_of(40.0, (0.0, None))
    watch = watch_of(FINALS)
    hear(watch, ledger, 29.95)
    assert alarm_of(watch, ledger, 29.95, scale=2.0) is None
    hear(watch, ledger, 30.0, since=29.95)
    alarm = alarm_of(watch, ledger, 30.0, scale=2.0)
    assert alarm
    assert alarm.reason is StallReason.NO_TEXT
    assert alarm.hedge_at == alarm.due == pytest.approx(30.0)
    assert at(15.0) <= alarm.through <= at(30.0)


@pytest.mark.parametrize(("window", "scale", "expected"), [(60, 8, 30), (60, 2, 30), (60, 1, 15)])
def test_speech_that_leaves_the_window_is_not_waited_for(
    window: float, scale: float, expected: float
) -> None:
    """However patient: half of what is kept is enough."""
    ledger = AudioLedger(ReplayPolicy(window=window), vad_enabled=True)
    watch, sent = watch_of(FINALS), 0
    ledger.push(0, RATE)
    ledger.speech_started(0)
    while alarm_of(watch, ledger, sent / RATE, scale=scale) is None:
        assert sent < at(expected)
        ledger.push(at(0.1), RATE)
        sent += at(0.1)
        watch.audio_sent(ledger, sent, sent / RATE)
    assert sent == at(expected)


def test_stretched_speech_must_have_been_heard() -> None:
    """Twice as patient, the leg can have heard all 30 s before it is suspect."""
    ledger = ledger_of(40.0, (0.0, None))
    watch = watch_of(FINALS)
    hear(watch, ledger, 30.0, behind=10.0)
    assert due(alarm_of(watch, ledger, 30.0, scale=2.0)) >= 40.0


@pytest.mark.parametrize("behind", [0.1, 3.0])
def test_what_is_sent_later_defers_no_alarm(behind: float) -> None:
    """The alarm stays where it was while more is sent."""
    ledger = ledger_of(40.0, (0.0, None))
    watch = watch_of(FINALS)
    hear(watch, ledger, 20.0, behind=behind)
    assert due(alarm_of(watch, ledger, 20.0)) == pytest.approx(15.0 + behind)


@pytest.mark.parametrize("p99", [None, 6.0])
def test_interims_have_a_sign_of_their_own(p99: float | None) -> None:
    """Where interim transcripts are expected, 15 s mean nothing if the provider is that slow."""
    ledger = ledger_of(40.0, (0.0, None))
    watch = watch_of(LIVE, p99=p99)
    hear(watch, ledger, 40.0)
    alarm = alarm_of(watch, ledger)
    assert alarm
    assert alarm.reason is StallReason.NO_INTERIM


# --- empty finals


@pytest.mark.parametrize("provider", [FINALS, LIVE, TURNS])
@pytest.mark.parametrize("text", ["", " \t"])
def test_three_empty_finals(provider: ProviderTraits, text: str) -> None:
    """Three in a row while words are owed are suspect at the third."""
    ledger = ledger_of(5.0, (1.0, 1.5))
    watch = watch_of(provider)
    for now in (2.0, 3.0):
        watch.transcript_received(TranscriptEvent(EventKind.FINAL, text), at(now), now)
        assert alarm_of(watch, ledger) is None
    watch.transcript_received(TranscriptEvent(EventKind.FINAL, text), at(4.0), 4.0)
    assert alarm_of(watch, ledger) == StallDeadline(StallReason.EMPTY_FINALS, 4.0, 4.0, at(4.0))
    ledger.commit(at(1.5))
    assert alarm_of(watch, ledger) is None


@pytest.mark.parametrize(("voiced", "suspect"), [(2.9, False), (3.0, True)])
def test_one_empty_final_cannot_deny_long_speech(voiced: float, suspect: bool) -> None:
    """Of 3 s of voice a single empty final is too many, for no cough is so long."""
    ledger = ledger_of(6.0, (1.0, 1.0 + voiced))
    watch = watch_of(FINALS)
    watch.expect_final(at(5.0), 5.0, flushed=False)
    watch.transcript_received(EMPTY, at(6.0), 5.5)
    assert alarm_of(watch, ledger) == (
        StallDeadline(StallReason.EMPTY_FINALS, 5.5, 5.5, at(6.0)) if suspect else None
    )


def test_text_between_empty_finals() -> None:
    """Text, also of an interim, begins the count anew."""
    ledger = ledger_of(9.0, (1.0, 1.5))
    watch = watch_of(FINALS)
    for now in (2.0, 3.0):
        watch.transcript_received(EMPTY, at(now), now)
    watch.transcript_received(INTERIM, at(4.0), 4.0)
    for now in (5.0, 6.0):
        watch.transcript_received(EMPTY, at(now), now)
        assert alarm_of(watch, ledger) is None
    watch.transcript_received(EMPTY, at(7.0), 7.0)
    assert due(alarm_of(watch, ledger)) == 7.0


def test_noise_stretches_how_many_empty_finals_it_takes() -> None:
    """Twice as patient, it takes six, or one and 6 s of voice."""
    ledger = ledger_of(9.0, (1.0, 1.5))
    watch = watch_of(FINALS)
    for n in range(5):
        watch.transcript_received(EMPTY, at(2.0 + n), 2.0 + n)
        assert alarm_of(watch, ledger, scale=2.0) is None
    watch.transcript_received(EMPTY, at(7.0), 7.0)
    assert due(alarm_of(watch, ledger, scale=2.0)) == 7.0
    for voiced, suspect in [(5.9, False), (6.0, True)]:
        ledger = ledger_of(9.0, (1.0, 1.0 + voiced))
        watch = watch_of(FINALS)
        watch.transcript_received(EMPTY, at(8.0), 8.0)
        assert (alarm_of(watch, ledger, scale=2.0) is not None) == suspect


def test_empty_finals_of_silence_are_right() -> None:
    """Where nothing is owed, no number of them means anything, not even before any audio."""
    watch, ledger = watch_of(FINALS), AudioLedger(REPLAY, vad_enabled=True)
    watch.transcript_received(EMPTY, 0, 0.0)
    assert alarm_of(watch, ledger) is None
    ledger = ledger_of(9.0, (1.0, 1.2), (3.0, 8.0), settled=7.6)
    for n in range(9):
        watch.transcript_received(EMPTY, at(9.0), n)
    assert alarm_of(watch, ledger) is None


@pytest.mark.parametrize(
    ("finals", "voiced"),
    [
        (1, 3.0),
        (2, 6.0),
        (3, 0.3),
    ],
)
def test_empty_finals_deny_nothing_that_came_later(finals: int, voiced: float) -> None:
    """Finals that were empty in silence say nothing about the speech after it."""
    ledger = ledger_of(10.0 + voiced, (10.0, None))
    watch = watch_of(FINALS)
    for n in range(finals):
        watch.transcript_received(EMPTY, at(1.0 + n), 1.0 + n)
    hear(watch, ledger, 10.0 + voiced)
    assert alarm_of(watch, ledger) is None


def test_empty_finals_of_silence_do_not_count() -> None:
    """Three in a row are three while words are owed."""
    ledger = ledger_of(10.5, (10.0, None))
    watch = watch_of(FINALS)
    for n in range(9):
        watch.transcript_received(EMPTY, at(n), n)
    hear(watch, ledger, 10.5)
    watch.transcript_received(EMPTY, at(10.5), 10.5)
    assert alarm_of(watch, ledger) is None


# --- what answers


def test_an_empty_final_answers_the_first_ask() -> None:
    """It says that there were no words, once for each time it was asked."""
    ledger = ledger_of(9.0, (1.0, 1.5), (3.0, 3.5))
    watch = watch_of(FINALS)
    watch.expect_final(at(1.5), 2.0, flushed=True)
    watch.expect_final(at(3.5), 4.0, flushed=True)
    assert due(alarm_of(watch, ledger)) == pytest.approx(3.2)
    watch.transcript_received(EMPTY, at(4.0), 4.0)
    assert due(alarm_of(watch, ledger)) == pytest.approx(5.2)
    assert not watch.answered_empty
    watch.transcript_received(EMPTY, at(4.5), 4.5)
    assert alarm_of(watch, ledger) is None
    assert watch.answered_empty


def test_an_empty_final_answers_nothing_that_it_cannot_have_heard() -> None:
    """One that comes before the audio can have been heard is about something else."""
    ledger = ledger_of(9.0, (1.0, 1.5))
    watch = watch_of(FINALS)
    watch.expect_final(at(1.5), 4.0, flushed=True)
    for now, denied, alarm_due in [(3.9, False, 5.2), (4.0, True, math.inf)]:
        watch.transcript_received(EMPTY, at(2.0), now)
        assert watch.answered_empty is denied
        assert due(alarm_of(watch, ledger)) == pytest.approx(alarm_due)


def test_denied() -> None:
    """It has denied words when its last answers were empty and nothing asked is open."""
    watch, denied = watch_of(FINALS), []
    for event in (EMPTY, EMPTY, INTERIM):
        watch.expect_final(at(2.0), 2.0, flushed=True)
        denied.append(watch.answered_empty)
        watch.transcript_received(event, at(2.5), 2.5)
        denied.append(watch.answered_empty)
    watch.transcript_received(EMPTY, at(4.5), 4.5)
    denied.append(watch.answered_empty)
    assert denied == [False, True, False, True, False, False, True]


@pytest.mark.parametrize("told", [False, True])
def test_nobody_denies_what_he_was_not_asked_for(told: bool) -> None:
    """An empty final of its own accord denies nothing, whatever was asked and told before."""
    ledger = ledger_of(9.0, (1.0, 2.0), (3.0, None), settled=2.0)
    watch = watch_of(FINALS)
    if told:
        watch.expect_final(at(2.15), 2.4, flushed=False)
        watch.transcript_received(FINAL, at(2.8), 2.8)
        watch.final_committed(ledger, 2.8, at(1.0))
    watch.transcript_received(EMPTY, at(4.0), 4.0)
    assert not watch.answered_empty


@pytest.mark.parametrize("backlog", [0.0, 3.0])
@pytest.mark.parametrize("ago", [0.0, 0.2])
def test_a_delay_counts_from_the_end_of_speech(ago: float, backlog: float) -> None:
    """Not from when it was noticed; but what was still to be heard is no delay."""
    ledger = ledger_of(9.0, (1.0, 2.0))
    watch = watch_of(FINALS)
    watch.expect_final(at(2.15), 2.4 + backlog, flushed=False, ago=ago)
    ledger.commit(at(2.0))
    watch.transcript_received(FINAL, at(3.0), 3.0 + backlog)
    assert watch.final_committed(ledger, 3.0 + backlog, at(1.0)) == pytest.approx(0.6 + ago)
    assert watch.final_committed(ledger, 4.0 + backlog, at(1.0)) is None


def test_no_delay_is_negative() -> None:
    """A leg that hears faster than it must is not in advance."""
    ledger = ledger_of(9.0, (1.0, 2.0), settled=2.0)
    watch = watch_of(FINALS)
    watch.expect_final(at(2.15), 9.0, flushed=False)
    assert watch.final_committed(ledger, 3.0, at(1.0)) == 0.0


@pytest.mark.parametrize(
    ("since", "delay", "open_until"), [(1.0, 3.0, 6.0), (3.0, 3.0, 6.0), (None, 1.0, 0.0)]
)
def test_how_far_a_final_answers(since: float | None, delay: float, open_until: float) -> None:
    """One with times answers what it settled, one without all that was asked so far.

    Of several that it answers, the last tells its delay.
    """
    ledger = ledger_of(9.0, (1.0, 2.0), (3.0, 4.0), (5.0, 6.0), settled=4.0)
    watch = watch_of(FINALS)
    for end in (2.0, 4.0, 6.0):
        watch.expect_final(at(end), end, flushed=True)
    watch.transcript_received(FINAL, at(7.0), 7.0)
    assert watch.final_committed(ledger, 7.0, None if since is None else at(since)) == delay
    assert watch.expected_through == at(open_until)
    assert due(alarm_of(watch, ledger)) == (pytest.approx(7.2) if open_until else float("inf"))


def test_a_final_of_a_part_answers_nothing() -> None:
    """Words that leave 0.5 s of voice open leave the rest due."""
    ledger = ledger_of(9.0, (1.0, 2.0), settled=1.5)
    watch = watch_of(FINALS)
    watch.expect_final(at(2.15), 2.4, flushed=False)
    watch.transcript_received(FINAL, at(3.0), 3.0)
    assert watch.final_committed(ledger, 3.0, at(1.0)) is None
    assert due(alarm_of(watch, ledger)) == pytest.approx(3.6)


def test_a_final_answers_nothing_that_it_cannot_have_heard() -> None:
    """In a replay the final of the first segment leaves the others due."""
    ledger = ledger_of(30.0, (1.0, 9.0), (11.0, 19.0))
    watch = watch_of(FINALS)
    watch.expect_final(at(9.15), 7.5, flushed=True)
    watch.expect_final(at(19.15), 15.5, flushed=True)
    watch.transcript_received(FINAL, at(20.0), 8.0)
    watch.final_committed(ledger, 8.0, None)
    assert due(alarm_of(watch, ledger)) == pytest.approx(15.5 + 1.2)


@pytest.mark.parametrize(
    ("since", "asked"),
    [
        (28.0, True),
        (28.0, False),
        (None, True),
    ],
)
def test_a_flush_of_silence_has_no_delay(since: float | None, asked: bool) -> None:
    """Where no words are owed no final is due, and the next one is not late."""
    ledger = ledger_of(31.0, (1.0, 2.0), (28.0, 29.0), settled=2.0)
    watch = watch_of(FINALS)
    watch.expect_final(at(3.0), 3.0, flushed=True)
    if asked:
        watch.expect_final(at(29.15), 29.4, flushed=True)
    ledger.commit(at(29.0))
    watch.transcript_received(FINAL, at(30.0), 30.0)
    delay = watch.final_committed(ledger, 30.0, None if since is None else at(since))
    assert delay == (pytest.approx(0.6) if asked else None)


def test_what_was_settled_meanwhile_has_no_delay() -> None:
    """A recogniser that hears its replay faster than it must is not late for the next words."""
    ledger = ledger_of(36.0, (1.0, 9.0), (30.0, None))
    watch = watch_of(FINALS)
    watch.expect_final(at(9.15), 7.5, flushed=True)
    watch.transcript_received(FINAL, at(9.15), 7.0)
    assert watch.final_committed(ledger, 7.0, None) is None
    ledger.commit(at(9.0))
    hear(watch, ledger, 36.0, since=9.15)
    watch.transcript_received(FINAL, at(36.0), 36.0)
    assert watch.final_committed(ledger, 36.0, None) is None


@pytest.mark.parametrize(("p99", "limit"), [(None, 1.6), (3.0, 6.0)])
def test_when_it_had_time_enough(p99: float | None, limit: float) -> None:
    """It had time for all before a place when the last deadline up to there is over."""
    watch = watch_of(TURNS, p99=p99)
    assert watch.expected_through == 0
    assert watch.answer_due_by(at(9.0)) is None
    watch.expect_final(at(2.0), 5.0, flushed=False)
    watch.expect_final(at(4.0), 7.0, flushed=True)
    assert watch.expected_through == at(4.0)
    assert watch.answer_due_by(at(1.99)) is None
    assert watch.answer_due_by(at(2.0)) == pytest.approx(5.0 + limit)
    assert watch.answer_due_by(at(3.99)) == pytest.approx(5.0 + limit)
    assert watch.answer_due_by(at(4.0)) == pytest.approx(7.0 + limit)
    watch.transcript_received(INTERIM, at(3.0), 5.5)  # the first turn is told, and may stay open
    assert watch.answer_due_by(at(4.0)) == pytest.approx(5.0 + 6.0 if limit < 6 else 13.0)
    watch.final_committed(ledger_of(9.0), 8.0, None)
    assert watch.expected_through == 0
    assert watch.answer_due_by(at(9.0)) is None


def test_acquitted() -> None:
    """What proved to be noise is forgotten by every sign; what came after it is not."""
    ledger = ledger_of(30.0, (1.0, 5.0), (8.0, None))
    watch = watch_of(LIVE)
    hear(watch, ledger, 6.0)
    watch.expect_final(at(5.15), 5.4, flushed=True)
    watch.expect_final(at(6.5), 6.5, flushed=True)
    for n in range(3):
        watch.transcript_received(EMPTY, at(6.0), 6.0 + n)
    for end in (5.15, 6.5):
        watch.expect_final(at(end), end, flushed=True)
    watch.clear(at(6.0))
    assert not watch.answered_empty
    assert repr(watch) == (
        "StallDetector(asks=[_Ask(to=650, at=6.5, flushed=True, spoken=6.5, words_to=650)], "
        "empty=0, from=600)"
    )
    ledger.commit(at(6.0))
    hear(watch, ledger, 8.75, since=6.0)
    assert alarm_of(watch, ledger, 8.75) is None
    hear(watch, ledger, 8.8, since=8.75)
    assert due(alarm_of(watch, ledger, 8.8)) == pytest.approx(8.05 + 2.5)


def test_an_acquittal_without_a_settlement() -> None:
    """A second leg of the same provider acquits without settling; and it never moves back."""
    ledger = ledger_of(20.0, (1.0, None))
    watch = watch_of(LIVE)
    hear(watch, ledger, 5.0)
    watch.clear(at(4.5))
    assert alarm_of(watch, ledger, 5.0) is None
    watch.clear(at(2.0))
    hear(watch, ledger, 5.25, since=5.0)
    assert alarm_of(watch, ledger, 5.25) is None
    hear(watch, ledger, 5.3, since=5.25)
    assert due(alarm_of(watch, ledger, 5.3)) == pytest.approx(5.05 + 2.5)


def test_an_acquittal_of_much_speech() -> None:
    """Noise of 15 s begins anew as well."""
    ledger = ledger_of(40.0, (0.0, None))
    watch = watch_of(FINALS)
    hear(watch, ledger, 16.0)
    watch.clear(at(15.0))
    hear(watch, ledger, 30.0, since=16.0)
    assert due(alarm_of(watch, ledger, 30.0)) == pytest.approx(30.0)


def test_when_it_last_told_words() -> None:
    """Only text counts, of whatever kind; before any it is long ago."""
    watch = watch_of(LIVE)
    assert watch.last_text_at == -math.inf
    watch.transcript_received(TranscriptEvent(EventKind.START), at(1.0), 1.0)
    watch.transcript_received(EMPTY, at(2.0), 2.0)
    assert watch.last_text_at == -math.inf
    watch.transcript_received(INTERIM, at(3.0), 3.5)
    watch.transcript_received(EMPTY, at(4.0), 4.0)
    watch.clear(at(4.0))
    assert watch.last_text_at == 3.5


def test_the_first_alarm_counts() -> None:
    """Of several signs the one that is due first is told."""
    ledger = ledger_of(3.0, (1.0, 2.4))
    watch = watch_of(LIVE)
    hear(watch, ledger, 3.0)
    watch.expect_final(at(2.4), 2.4, flushed=False)
    assert alarm_of(watch, ledger) == about(StallReason.NO_INTERIM, 2.8, 3.55, 1.85)
    watch = watch_of(LIVE)
    hear(watch, ledger, 3.0)
    watch.expect_final(at(2.3), 2.3, flushed=True)
    assert alarm_of(watch, ledger) == about(StallReason.FINAL_OVERDUE, 2.9, 3.5, 2.3)


def test_signs_are_told_by_name() -> None:
    """The names are those of `HedgeFinished.sign` in the public events."""
    assert list(map(str, StallReason)) == [
        "no_interim",
        "final_overdue",
        "no_text",
        "empty_finals",
        "missing_tail",
        "skipped_speech",
    ]


def test_it_shows_what_it_knows() -> None:
    """The repr tells what was asked, how many finals were empty, and from where on it owes."""
    watch = watch_of(FINALS, start=1.0)
    watch.transcript_received(EMPTY, 0, 0.0)
    watch.expect_final(200, 2.5, flushed=False, ago=0.5, words_to=175)
    assert repr(watch) == (
        "StallDetector(asks=[_Ask(to=200, at=2.5, flushed=False, spoken=2.0, words_to=175)], "
        "empty=1, from=100)"
    )


def test_memory_is_bounded() -> None:
    """A leg that answers nothing is remembered no more than the newest requests."""
    ledger = ledger_of(100.0, (0.0, None))
    watch = watch_of(FINALS)
    for n in range(100 * MAX_EXPECTED):
        watch.expect_final(n, n, flushed=True)
        watch.transcript_received(TranscriptEvent(EventKind.START), n, n)
    assert repr(watch).count("_Ask(") == MAX_EXPECTED
    assert due(alarm_of(watch, ledger)) == pytest.approx(99 * MAX_EXPECTED + 1.2)


# --- what holds after anything

says = st.builds(TranscriptEvent, st.sampled_from(EventKind), st.sampled_from(["", " ", "a word"]))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 600)),
        st.tuples(st.just("voice"), st.integers(0, 150)),
        st.tuples(st.just("settle"), st.integers(0, 500)),
        st.tuples(st.just("ask"), st.integers(0, 300)),
        st.tuples(st.just("flush"), st.integers(0, 300)),
        st.tuples(st.just("acquit"), st.integers(0, 500)),
        st.tuples(st.just("answer"), st.integers(0, 300)),
        says,
    ),
    max_size=40,
)
"""What happens, and where: samples to push, or samples before the live edge."""
providers = st.builds(
    ProviderTraits,
    name=st.just("p"),
    interims=st.booleans(),
    final_timeout=st.sampled_from([1.2, 1.6, 2.5]),
    end_of_turn_timeout=st.sampled_from([0.0, 6.0]),
)
estimates = st.sampled_from([None, 0.0, 0.3, 1.0, 4.0])


def apply(
    watch: StallDetector, ledger: AudioLedger, step: tuple[str, int] | TranscriptEvent
) -> None:
    """Do one step; the leg is sent everything, and has always heard it."""
    cursor, now = ledger.end, ledger.end / RATE
    if isinstance(step, TranscriptEvent):
        watch.transcript_received(step, cursor, now)
        return
    what, number = step
    position = max(0, cursor - number)
    match what:
        case "push":
            ledger.push(number, RATE)
            watch.audio_sent(ledger, ledger.end, ledger.end / RATE)
        case "voice" if ledger.speaking:
            ledger.speech_ended(position)
        case "voice":
            ledger.speech_started(position)
        case "settle":
            ledger.commit(position)
        case "ask" | "flush":
            watch.expect_final(position, now, flushed=what == "flush")
        case "acquit":
            watch.clear(position)
        case "answer":
            delay = watch.final_committed(ledger, now, position if number else None)
            assert delay is None or delay >= 0
            assert number or not watch.expected_through


@given(steps, providers, estimates, st.floats(1, 8))
def test_alarms_make_sense(
    script: list[tuple[str, int] | TranscriptEvent],
    provider: ProviderTraits,
    p99: float | None,
    scale: float,
) -> None:
    """Whatever happens: early is not after due, patience never hastens, and memory is bounded."""
    watch, ledger = watch_of(provider, p99=p99), AudioLedger(REPLAY, vad_enabled=True)
    for step in script:
        apply(watch, ledger, step)
        alarm, patient = alarm_of(watch, ledger), alarm_of(watch, ledger, scale=scale)
        assert due(alarm) <= due(patient)
        for found in filter(None, (alarm, patient)):
            assert found.hedge_at <= found.due
            assert found.through <= ledger.end
            if found.reason is StallReason.FINAL_OVERDUE:
                assert ledger.has_pending_speech_before(found.through)
            assert found.reason is not (
                StallReason.NO_TEXT if provider.interim_results else StallReason.NO_INTERIM
            )
    assert repr(watch).count("_Ask(") <= MAX_EXPECTED


@given(steps, providers, estimates)
def test_without_voice_activity_nobody_is_suspect(
    script: list[tuple[str, int] | TranscriptEvent], provider: ProviderTraits, p99: float | None
) -> None:
    """Who cannot tell speech from silence accuses nobody of it."""
    watch, ledger = watch_of(provider, p99=p99), AudioLedger(REPLAY, vad_enabled=False)
    for step in script:
        apply(watch, ledger, step)
        assert alarm_of(watch, ledger) is None


@given(steps, providers, estimates)
def test_in_silence_nobody_is_suspect(
    script: list[tuple[str, int] | TranscriptEvent], provider: ProviderTraits, p99: float | None
) -> None:
    """A leg that nobody speaks to may be silent, or say what it likes, forever."""
    watch, ledger = watch_of(provider, p99=p99), AudioLedger(REPLAY, vad_enabled=True)
    for step in script:
        if isinstance(step, TranscriptEvent) or step[0] != "voice":
            apply(watch, ledger, step)
        assert alarm_of(watch, ledger) is None


@given(steps, providers, estimates)
def test_for_settled_audio_nobody_is_suspect(
    script: list[tuple[str, int] | TranscriptEvent], provider: ProviderTraits, p99: float | None
) -> None:
    """However it came about: once all is settled nothing is owed."""
    watch, ledger = watch_of(provider, p99=p99), AudioLedger(REPLAY, vad_enabled=True)
    for step in script:
        apply(watch, ledger, step)
    ledger.commit(ledger.end)
    assert alarm_of(watch, ledger) is None


# --- a leg in its surroundings

STEP = 0.1
VAD = 0.35
"""Silence after which the end of speech is told."""


class Spy(StallDetector):
    """Remembers what there is to answer."""

    def __init__(self, provider: ProviderTraits, latency: FinalLatency, start: int) -> None:
        super().__init__(provider, latency, POLICY, start)
        self.debts: list[tuple[int, float]] = []
        self.told = start
        self.interim_to = start
        self.voice_heard: float | None = None

    def expect_final(
        self, to: int, at: float, *, flushed: bool, ago: float = 0.0, words_to: int | None = None
    ) -> None:
        self.debts.append((to, at))
        super().expect_final(to, at, flushed=flushed, ago=ago, words_to=words_to)

    def audio_sent(self, ledger: AudioLedger, cursor: int, heard_by: float) -> None:
        if self.voice_heard is None and ledger.voiced_samples(self.told, cursor):
            self.voice_heard = heard_by
        super().audio_sent(ledger, cursor, heard_by)

    def transcript_received(self, event: TranscriptEvent, cursor: int, now: float) -> None:
        if event.text.strip():
            self.told, self.voice_heard = cursor, None
            if event.kind is EventKind.INTERIM:
                self.interim_to = cursor
        super().transcript_received(event, cursor, now)


class Call:
    """A call by the step: audio, its voice activity, one leg, and what a session does with it."""

    def __init__(
        self,
        provider: ProviderTraits,
        p99: float | None,
        *,
        opened: float,
        share: float,
        timed: bool,
    ) -> None:
        """The leg comes at `connection_opened`, and answers after `share` of each deadline."""
        self.ledger = AudioLedger(REPLAY, vad_enabled=True)
        self.now = 0.0
        self._provider = provider
        self._latency = latency_of(p99)
        self._opened = opened
        self._share = share
        self._timed = timed
        self._voice_end = 0
        self._leg: Connection | None = None
        self._watch = Spy(provider, self._latency, 0)
        self.quiet = max(POLICY.no_interim_timeout, POLICY.no_interim_p99_factor * (p99 or 0.0))
        self.final = (
            provider.final_timeout
            if p99 is None
            else max(POLICY.final_timeout, POLICY.final_p99_factor * p99)
        )

    def step(self, *, voiced: bool, flush: bool = False, answers: bool) -> StallDeadline | None:
        """A tenth of a second passes; returns the alarm if there is one."""
        self.now += STEP
        self._listen(voiced)
        if flush:
            self.ledger.add_flush()
        if self._leg is None:
            if self.now < self._opened:
                return None
            self._leg = self._open()
        self._settle_silence(self._leg)
        self._leg.send(self.ledger, self.now)
        self._leg.caught_up |= self._leg.cursor >= self.ledger.end  # as a session does
        if answers:
            self._answer(self._leg)
        return alarm_of(self._watch, self.ledger, self._leg.cursor / RATE)

    @property
    def patience(self) -> float:
        """How long a final may take: a turn that is told but for its last breath stays open."""
        told = self._watch.interim_to >= self._voice_end + at(
            REPLAY.trim_silence_to / 2 - LAST_WORD_MARGIN
        )
        return max(self.final, self._provider.end_of_turn_timeout) if told else self.final

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
            self._watch = Spy(self._provider, self._latency, start)
            return self._watch

        provider, ledger = self._provider, self.ledger
        connection = open_connection(0, provider, Role.ACTIVE, self.now, ledger, transcript, spy)
        connection.flush_at_pauses = provider.slow_endpointing
        return connection

    def _settle_silence(self, connection: Connection) -> None:
        heard = connection.cursor - at(connection.backlog(self.now))
        connection.commit_untimed_finals(
            self.ledger, heard - at(REPLAY.commit_grace), input_ended=False
        )
        self.ledger.commit_silence(heard)

    def _answer(self, connection: Connection) -> None:
        """Interim text for all voice, and a final whenever it was asked, each in its time."""
        for event in (TranscriptEvent(EventKind.START), TranscriptEvent(EventKind.INTERIM, " ")):
            self._watch.transcript_received(event, connection.cursor, self.now)
        ripe = [to for to, by in self._watch.debts if self.now >= by + self._share * self.final]
        if ripe:
            self._watch.debts = [(to, by) for to, by in self._watch.debts if to not in ripe]
            self._finish(connection, max(ripe))
        since = self._watch.voice_heard
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
        delay = self._watch.final_committed(self.ledger, self.now, since)
        assert not self._timed or (delay or 0.0) <= self.final + VAD + STEP

    def _say(self, kind: EventKind, connection: Connection) -> None:
        self._watch.transcript_received(
            TranscriptEvent(kind, f"words up to {connection.cursor}"), connection.cursor, self.now
        )


@pytest.mark.parametrize(("stop", "asked"), [(1.2, 0), (1.3, 2.0)])
def test_a_leg_is_asked_for_words_only(stop: float, asked: float) -> None:
    """A flush where no words are owed asks for no final, nor does the end of the input."""
    ledger = ledger_of(2.0, (1.0, stop))
    ledger.add_flush()
    watch = watch_of(FINALS)
    provider = ProviderTraits(name="p", manual_flush=True)
    connection = open_connection(
        0, provider, Role.ACTIVE, 2.0, ledger, TranscriptHistory(REPLAY), lambda _: watch, start=0
    )
    assert FlushConnection(0) in connection.send(ledger, 2.0)
    assert watch.expected_through == at(asked)
    watch.clear(at(2.0))
    assert connection.end_input(ledger, 3.0) == EndInput(0)
    assert watch.expected_through == at(asked)


Turn = tuple[float, float, bool]  # seconds of voice, then of silence; whether there is a flush

tenths = st.integers(1, 60).map(lambda n: n / 10)
turns = st.lists(
    st.tuples(tenths, st.integers(5, 40).map(lambda n: n / 10), st.booleans()), max_size=8
)
recognisers = st.one_of(
    st.builds(
        ProviderTraits,
        name=st.just("p"),
        interims=st.booleans(),
        flushes=st.booleans(),
        slow_endpointing=st.booleans(),
        final_timeout=st.sampled_from([1.2, 1.6, 2.5]),
    ),
    st.just(TURNS),
)


def voice(script: list[Turn]) -> Iterator[tuple[bool, bool]]:
    """Whether each tenth of a second is voiced, and whether a flush comes after it."""
    for voiced, silent, flush in script:
        for n in range(round(voiced / STEP)):
            yield True, flush and n == 7
        for n in range(round(silent / STEP)):
            yield False, flush and n == 2


@settings(max_examples=60)
@given(
    turns, recognisers, estimates, st.just(0.0) | st.floats(0, 20), st.floats(0, 0.5), st.booleans()
)
@example([(6.0, 0.5, True)] * 8, LIVE, None, 20.0, 0.5, False)
@example([(6.0, 0.5, False)] * 8, FINALS, None, 0.0, 0.5, True)
def test_who_answers_in_time_is_never_suspect(
    script: list[Turn],
    provider: ProviderTraits,
    p99: float | None,
    opened: float,
    share: float,
    timed: bool,
) -> None:
    """A leg that answers all voice within half of each deadline never has an alarm that is due.

    But for a replay, whose pauses are cut too short for who gives finals only.
    """
    assume(provider.interim_results or opened == 0)
    call = Call(provider, p99, opened=opened, share=share, timed=timed)
    for voiced, flush in voice([*script, (0.0, 10.0, False)]):
        alarm = call.step(voiced=voiced, flush=flush, answers=True)
        assert alarm is None or call.now < alarm.due


@settings(max_examples=60)
@given(
    turns,
    st.integers(3, 60).map(lambda n: n / 10),
    recognisers,
    estimates,
    st.just(0.0) | st.floats(0, 20),
    st.floats(0, 1),
    st.booleans(),
)
@example([(6.0, 0.5, False)] * 4, 0.3, FINALS, None, 0.0, 0.9, True)
@example([(6.0, 0.5, True)] * 4, 3.0, LIVE, 1.0, 20.0, 0.0, False)
@example([], 3.6, TURNS, None, 1.0, 1.0, False)
def test_who_falls_silent_is_always_suspect(
    script: list[Turn],
    last: float,
    provider: ProviderTraits,
    p99: float | None,
    opened: float,
    fate: float,
    timed: bool,
) -> None:
    """A leg that falls silent before the last word is over has an alarm that is due in time.

    In time: the deadline and its backlog after the end of speech, as voice activity tells it.
    """
    assume(provider.interim_results or opened == 0)  # as above
    call = Call(provider, p99, opened=opened, share=0.3, timed=timed)
    edges = list(voice([*script, (last, 0.0, False)]))
    for n, (voiced, flush) in enumerate(edges):
        call.step(voiced=voiced, flush=flush, answers=n < fate * (len(edges) - 1))
    assume(call.ledger.has_pending_speech())
    ended = call.now
    told = ended + VAD + STEP
    limit = max(told, opened + STEP + told / PROCESSING_RATE) + call.patience + 2 * STEP
    alarm = None
    while call.now < limit:
        alarm = call.step(voiced=False, answers=False)
    assert alarm is not None
    assert alarm.due <= call.now
