"""What a hedge knows: what it has told that is new, and whether it had time enough to tell more."""

from __future__ import annotations

from collections.abc import Iterator

from ..connections.connection import Connection, trimmer_at
from ..connections.pool import ConnectionPool
from ..messages import EventKind
from ..transcript.overlap import Utterance


def new_transcripts(
    hedge: Connection, pool: ConnectionPool
) -> Iterator[tuple[EventKind, Utterance]]:
    """What it told first that is new, and each revision of it up to its FINAL."""
    seam = trimmer_at(hedge.start, pool.ledger, pool.history, starts_mid_word=hedge.starts_mid_word)
    for event, _ in hedge.held_events:
        if not event.text.strip():
            continue
        utterance = hedge.to_session_time(event)
        kept = seam.trim(utterance)
        if kept is not None:
            yield event.kind, kept
        if event.kind is EventKind.FINAL:
            if kept is not None:
                return
            seam.observe_final(utterance, kept)


def first_new_word_at(hedge: Connection, pool: ConnectionPool) -> float | None:
    """The session time of the first that it told which is new, 0 without times."""
    first = next(new_transcripts(hedge, pool), None)
    return None if first is None else first[1].start or 0.0


def repeated_nothing(hedge: Connection) -> bool:
    """Whether it did not tell again even what others told: it may have fallen silent, too, or its
    connection been cut and its plugin taken that for the end."""
    return hedge.trimmer.expects_repeats and not any(
        event.text.strip() for event, _ in hedge.held_events
    )


def had_time_to_answer(hedge: Connection, to: int, pool: ConnectionPool, now: float) -> bool:
    """Whether it had time enough to tell what was spoken before session sample `to`."""
    return (
        hedge.finished
        or hedge.processed_through(pool.ledger, now - answer_timeout(hedge, pool)) >= to
    )


def answer_timeout(hedge: Connection, pool: ConnectionPool) -> float:
    """Seconds that it has to tell what it has heard, and to connect if it has said nothing."""
    return hedge.stall_detector.final_limit + connect_allowance(hedge, pool)


def connect_allowance(hedge: Connection, pool: ConnectionPool) -> float:
    """Seconds that it may still need to connect."""
    return pool.policies.retry.connect_timeout if hedge.last_transcript_at is None else 0.0
