"""What a hedge knows: what it has told that is new, and whether it had time enough to tell more."""

from __future__ import annotations

from collections.abc import Iterator

from ..audio.ledger import AudioLedger
from ..connections.connection import Connection, trimmer_at
from ..messages import EventKind
from ..policy import Policies
from ..transcript.overlap import TranscriptHistory, Utterance


def new_transcripts(
    hedge: Connection, ledger: AudioLedger, history: TranscriptHistory
) -> Iterator[tuple[EventKind, Utterance]]:
    """What it told first that is new, and each revision of it up to its FINAL."""
    seam = trimmer_at(hedge.start, ledger, history, starts_mid_word=hedge.starts_mid_word)
    for held in hedge.held_events:
        event, utterance = held.event, held.utterance
        if not event.text.strip():
            continue
        kept = seam.trim(utterance)
        if kept is not None:
            yield event.kind, kept
        if event.kind is EventKind.FINAL:
            if kept is not None:
                return
            seam.observe_final(utterance, kept)


def first_new_word_at(
    hedge: Connection, ledger: AudioLedger, history: TranscriptHistory
) -> float | None:
    """The session time of the first that it told which is new, 0 without times."""
    first = next(new_transcripts(hedge, ledger, history), None)
    return None if first is None else first[1].start or 0.0


def repeated_nothing(hedge: Connection) -> bool:
    """Whether it did not tell again even what others told: it may have fallen silent, too, or its
    connection been cut and its plugin taken that for the end."""
    return hedge.trimmer.expects_repeats and not any(
        held.event.text.strip() for held in hedge.held_events
    )


def had_time_to_answer(
    hedge: Connection, to: int, ledger: AudioLedger, policies: Policies, now: float
) -> bool:
    """Whether it had time enough to tell what was spoken before session sample `to`."""
    return (
        hedge.finished
        or hedge.processed_through(ledger, now - answer_timeout(hedge, policies)) >= to
    )


def answer_timeout(hedge: Connection, policies: Policies) -> float:
    """Seconds that it has to tell what it has heard, and to connect if it has said nothing."""
    return hedge.stall_detector.final_limit + connect_allowance(hedge, policies)


def connect_allowance(hedge: Connection, policies: Policies) -> float:
    """Seconds that it may still need to connect."""
    return policies.retry.connect_timeout if hedge.last_transcript_at is None else 0.0
