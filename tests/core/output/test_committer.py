from __future__ import annotations

import pytest

from resilient_stt.core.audio.ledger import AudioLedger
from resilient_stt.core.connections.connection import Connection
from resilient_stt.core.connections.interpreter import AudioExtent, Interpreted
from resilient_stt.core.connections.pool import ConnectionPool
from resilient_stt.core.messages import EventKind, TranscriptEvent
from resilient_stt.core.output.committer import Committer
from resilient_stt.core.transcript.history import TranscriptHistory
from resilient_stt.core.transcript.overlap import Utterance

from ...support.connections import POLICY, RATE, a_connection, ledger_of
from ...support.pools import pool_of


def committer_of(ledger: AudioLedger, pool: ConnectionPool | None = None) -> Committer:
    return Committer(
        pool=pool or pool_of(ledger),
        ledger=ledger,
        history=TranscriptHistory(POLICY),
        policy=POLICY,
    )


def final(text: str, end: float | None, through: float) -> Interpreted:
    """Return a FINAL that ends at `end`, from a connection that was sent audio up to `through`."""
    position = round(through * RATE)
    return Interpreted(
        TranscriptEvent(EventKind.FINAL, text),
        Utterance(text, end=end),
        AudioExtent(position, position),
    )


def commit(ledger: AudioLedger, event: Interpreted) -> Connection:
    """Commit a FINAL whose words are all new; return its connection."""
    connection = a_connection(ledger, burst=100.0)
    connection.sender.send(ledger, 10.0)
    committer_of(ledger).commit_final(connection, event, event.utterance, 99.0)
    return connection


@pytest.mark.parametrize(("end", "through", "watermark"), [(2.0, 5.0, 2.0), (4.0, 3.0, 3.0)])
def test_a_timed_final_commits_up_to_its_end(end: float, through: float, watermark: float) -> None:
    """A final with times commits up to its end, but not audio that its connection was not sent."""
    ledger = ledger_of(6.0, (1.0, 5.0))
    commit(ledger, final("one", end, through))
    assert ledger.watermark == watermark * RATE


def test_an_empty_final_commits_nothing() -> None:
    """A final without text is no evidence for silence."""
    ledger = ledger_of(6.0, (1.0, 5.0))
    connection = commit(ledger, final("", 4.0, 6.0))
    assert (ledger.watermark, list(connection.untimed_finals)) == (0, [])


def test_an_untimed_final_waits() -> None:
    """A final without times commits nothing at once: it may cover half of a segment."""
    ledger = ledger_of(6.0, (1.0, 2.0))
    connection = commit(ledger, final("one", None, 3.0))
    assert (ledger.watermark, list(connection.untimed_finals)) == (0, [3 * RATE])


def test_an_untimed_final_long_after_a_segment_commits_it() -> None:
    """No final comes as late as `untimed_final_reach` after the segment that it is about."""
    ledger = ledger_of(15.0, (1.0, 2.0))
    connection = commit(ledger, final("one", None, 9.0))
    assert ledger.watermark == 2 * RATE
    assert list(connection.untimed_finals) == []


def test_silence_is_committed_as_far_as_it_was_processed() -> None:
    """Silence needs no words, once the active connection has processed the audio behind it."""
    ledger = ledger_of(8.0)
    connection = a_connection(ledger, burst=100.0)
    committer = committer_of(ledger)
    committer.commit_silence(None, 99.0)
    assert ledger.watermark == 0
    connection.sender.cursor = 8 * RATE
    committer.commit_silence(connection, 99.0)
    assert ledger.watermark == round((8.0 - POLICY.commit_grace) * RATE)


@pytest.mark.parametrize(
    ("claim", "processed", "watermark"),
    [
        (2.5, 4.0, 2.0),
        (2.5, 1.9, 0.0),
        (1.5, 4.0, 0.0),
        (0.5, 4.0, 0.0),
    ],
)
def test_an_untimed_final_commits_the_segment_before_it(
    claim: float, processed: float, watermark: float
) -> None:
    """An untimed final commits the segment before it once the audio behind was processed."""
    ledger = ledger_of(6.0, (1.0, 2.0))
    connection, committer = a_connection(ledger), committer_of(ledger)
    connection.untimed_finals.append(round(claim * RATE))
    committer.commit_untimed_finals(connection, round(processed * RATE))
    assert ledger.watermark == watermark * RATE
    assert len(connection.untimed_finals) == (processed < 2.0)


def test_each_untimed_final_commits_one_segment() -> None:
    """Two segments take two finals."""
    ledger = ledger_of(9.0, (1.0, 2.0), (3.0, 4.0))
    connection, committer = a_connection(ledger), committer_of(ledger)
    connection.untimed_finals.append(5 * RATE)
    committer.commit_untimed_finals(connection, 9 * RATE)
    assert ledger.watermark == 2 * RATE
    connection.untimed_finals.append(5 * RATE)
    committer.commit_untimed_finals(connection, 9 * RATE)
    assert ledger.watermark == 4 * RATE


def test_untimed_finals_are_bounded() -> None:
    """Untimed finals in speech without an end do not pile up."""
    connection = a_connection(ledger_of(3.0))
    connection.untimed_finals.extend(range(10_000))
    assert len(connection.untimed_finals) < 100


def test_an_untimed_final_in_speech_that_is_not_over() -> None:
    """An untimed final in lasting speech commits it once the input has ended."""
    ledger = ledger_of(3.0)
    ledger.speech_started(RATE)
    pool = pool_of(ledger)
    connection, committer = a_connection(ledger), committer_of(ledger, pool)
    connection.untimed_finals.append(3 * RATE)
    committer.commit_untimed_finals(connection, 3 * RATE)
    assert ledger.watermark == 0
    pool.end_input(0.0)
    committer.commit_untimed_finals(connection, 3 * RATE)
    assert ledger.watermark == 3 * RATE


@pytest.mark.parametrize(
    ("claim", "processed", "announced", "watermark", "left"),
    [
        (3.0, 5.0, False, 2.0, 0),
        (3.0, 1.9, False, 1.7, 1),  # it may still be about the next words
        (1.8, 5.0, False, 1.7, 0),  # the final came before they were sent
        (3.0, 5.0, True, 1.7, 0),  # another is under way for them
    ],
)
def test_what_is_left_of_the_segment_of_an_untimed_final(
    claim: float, processed: float, announced: bool, watermark: float, left: int
) -> None:
    """A rest of 0.3 s is too short to be pending, and belongs to the final as well."""
    ledger = ledger_of(6.0, (1.0, 2.0), committed=1.7)
    connection = a_connection(ledger, burst=100.0)
    connection.sender.send(ledger, 10.0)
    if announced:
        interim = TranscriptEvent(EventKind.INTERIM, "two")
        connection.interpret(interim, 10.0)
        connection.interpreter._last_interim = "two", round(1.9 * RATE)
    committer = committer_of(ledger)
    connection.untimed_finals.append(round(claim * RATE))
    assert committer.positions(connection) == (
        [4 * RATE] if claim >= 2.0 else [ledger.end]  # 2 s of grace
    )
    committer.commit_untimed_finals(connection, round(processed * RATE))
    assert ledger.watermark == round(watermark * RATE)
    assert len(connection.untimed_finals) == left


def test_positions_of_untimed_finals() -> None:
    """A claim on a segment waits for the segment's end, and one that is used up for nothing."""
    ledger = ledger_of(3.0, (1.0, 2.0))
    connection = a_connection(ledger)
    committer = committer_of(ledger)
    assert committer.positions(connection) == []
    connection.untimed_finals.append(3 * RATE)
    assert committer.positions(connection) == [4 * RATE]
    connection.untimed_finals[0] = RATE
    assert committer.positions(connection) == [ledger.end]
    open_ledger = ledger_of(3.0)
    open_ledger.speech_started(RATE)
    assert committer_of(open_ledger).positions(connection_with_claim(open_ledger)) == []
    empty = ledger_of(3.0)
    assert committer_of(empty).positions(connection_with_claim(empty)) == [empty.end]


def connection_with_claim(ledger: AudioLedger) -> Connection:
    connection = a_connection(ledger)
    connection.untimed_finals.append(3 * RATE)
    return connection
