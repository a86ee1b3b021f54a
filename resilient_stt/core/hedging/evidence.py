"""What a hedge has transcribed, and by when it and the active connection may still answer.

Plain functions, and queries only: `HedgeController` decides what follows from the answers.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..audio.ledger import AudioLedger
from ..connections.connection import Connection, trimmer_of
from ..events import StallReason
from ..messages import EventKind
from ..policy import WatchdogPolicy
from ..stalls.skipped_speech import SkippedSpeech
from ..transcript.history import TranscriptHistory
from ..transcript.overlap import OverlapTrimmer, Utterance

# --- what the hedge has transcribed


def new_transcripts(
    hedge: Connection, ledger: AudioLedger, history: TranscriptHistory
) -> Sequence[tuple[EventKind, Utterance]]:
    """Return each revision of the first utterance that holds uncommitted words, its FINAL last.

    The hedge replays from before the watermark, so its first transcripts may repeat what the
    stream has committed already. Those are passed over.
    """
    # A trimmer of its own: that of the hedge must still be unused when the hedge is promoted.
    trimmer = trimmer_of(hedge, ledger, history)
    # This is asked with every frame, and an alignment takes far longer than the other answers
    # (test_the_words_of_a_hedge_are_aligned_once).
    known = (trimmer.state, hedge.held_count)
    if hedge.new_transcripts is None or hedge.new_transcripts[0] != known:
        hedge.new_transcripts = (known, tuple(_new_transcripts(hedge, trimmer)))
    return hedge.new_transcripts[1]


def _new_transcripts(
    hedge: Connection, trimmer: OverlapTrimmer
) -> list[tuple[EventKind, Utterance]]:
    revisions: list[tuple[EventKind, Utterance]] = []
    for held in hedge.held_events:
        event, utterance = held.event, held.utterance
        if not event.text.strip():
            continue
        new_words = trimmer.trim(utterance)
        if new_words is None:
            # The first words of a repetition may be too few to be known for one
            # (test_wrong_times_are_no_failure).
            revisions.clear()
        else:
            revisions.append((event.kind, new_words))
        if event.kind is EventKind.FINAL:
            if revisions:
                break
            trimmer.observe_final(utterance, None)
    return revisions


def first_new_word_at(
    hedge: Connection, ledger: AudioLedger, history: TranscriptHistory
) -> float | None:
    """Return the session time (seconds) of the first uncommitted word of the hedge.

    0 if the word has no time; `None` if the hedge has transcribed no such word.
    """
    first = next(iter(new_transcripts(hedge, ledger, history)), None)
    return None if first is None else first[1].start or 0.0


def repeated_nothing(hedge: Connection) -> bool:
    """Return whether the hedge has no words at all, though its audio holds committed words.

    Its silence then proves nothing: the hedge may be deaf as well, or its plugin may have taken a
    cut connection for the end of the stream. Believing two such providers lost the last sentence
    of one call and eleven words of another (commits 29a1ef4 and 71f5a5c).
    """
    return hedge.trimmer.expects_repeats and not has_words(hedge)


def is_deaf(hedge: Connection, ledger: AudioLedger, connect_timeout: float, now: float) -> bool:
    """Return whether the hedge has left committed words out that it was sent.

    It may hear by now, but its first transcripts do not show what was spoken before them
    (test_both_providers_are_silent).
    """
    # Words without times may be dated later than they were spoken, so that the hedge is sent none
    # of them (test_one_final_is_lost).
    if not hedge.trimmer.expects_repeats or hedge.known_through <= hedge.start:
        return False
    texts = (held.utterance for held in hedge.held_events if held.event.text.strip())
    if (first := next(texts, None)) is None:
        # A provider of finals may still wait for the end of a sentence.
        is_promised = hedge.traits.interim_results and not hedge.traits.interim_interval
        return is_promised and had_time_to_answer(
            hedge, hedge.known_through, ledger, connect_timeout, now
        )
    return first.start is not None and first.start > ledger.seconds(hedge.known_through)


def is_silent_to_the_end(hedge: Connection) -> bool:
    """Return whether the hedge has owed a transcript to the last, and has not even ended.

    A recognizer that hears noise gives no words either, but it ends after its input. One that does
    not may be deaf or hang at connect (test_peers_that_never_answer), or hang behind an interim
    transcript that it never made final (schedule hedge-that-hangs-behind-known-words).
    """
    owes_final = hedge.interpreter.unfinished_text_through(hedge.cursor) is not None
    return (hedge.last_transcript_at is None or owes_final) and not hedge.ended


def has_words(hedge: Connection) -> bool:
    """Return whether the hedge has transcribed any words, committed or not."""
    return any(held.event.text.strip() for held in hedge.held_events)


def silent_through(
    hedge: Connection,
    ledger: AudioLedger,
    policy: WatchdogPolicy,
    *,
    due_at: float | None,
    primary_finished: bool,
    now: float,
) -> int | None:
    """Return the session sample before which the hedge has found no uncommitted words.

    `None` as long as it may still find some. `due_at`: when the hedge has had time enough; `None`
    if no speech is pending for it. `primary_finished`: the stream of the active connection has
    ended, so that the hedge has to cover everything up to the end of the input.
    """
    detector = hedge.stall_detector
    if hedge.finished or (detector.answered_empty and hedge.input_ended_at is not None):
        return hedge.cursor
    if detector.answered_empty and not primary_finished:
        # An empty final speaks only for the audio before the request that it answers: what the
        # hedge was sent since may hold words (test_a_hedge_that_was_not_sent_the_words).
        return detector.answered_empty_through
    if due_at is None or now < due_at:
        return None
    own_stall = None if primary_finished else detector.next_stall(ledger, hedge.cursor)
    if own_stall is None:
        return hedge.cursor
    if own_stall.reason is StallReason.NO_INTERIM:
        # Interim transcripts take about a second. What the hedge has processed within half of the
        # timeout may still be transcribed (commit b5f8471).
        recent = now - policy.no_interim_timeout / 2
        return min(own_stall.through, hedge.processed_through(ledger, recent))
    return own_stall.through


def skipped_speech_answer(
    hedge: Connection,
    skipped: SkippedSpeech,
    ledger: AudioLedger,
    history: TranscriptHistory,
    *,
    word_time_tolerance: float,
    min_compared_words: int,
) -> tuple[bool | None, bool]:
    """Return whether the hedge transcribes words of the skipped speech, and if that is certain.

    The first is `None` while its transcript is too short to decide. "Yes" is certain once the
    transcript is final: a recognizer may take noise for a word until it has processed more.
    """
    transcripts = new_transcripts(hedge, ledger, history)
    if not transcripts:
        return None, False
    kind, latest = transcripts[-1]
    is_final = kind is EventKind.FINAL
    covered = skipped.is_covered_by(
        latest,
        is_final=is_final,
        word_time_tolerance=word_time_tolerance,
        min_compared_words=min_compared_words,
    )
    return covered, covered is False or (is_final and covered is True)


# --- by when a connection may still answer


def primary_due_at(active: Connection, expected_through: int) -> float | None:
    """Return by when the active connection may still give the finals that were expected of it.

    `expected_through`: its `StallDetector.expected_through` when the hedge was opened. `None` if
    there is nothing to wait for: no final is expected, or its stream has ended.
    """
    if active.finished:
        return None
    return active.stall_detector.answer_due_at(expected_through)


def hedge_due_at(
    hedge: Connection, ledger: AudioLedger, expected_through: int, connect_timeout: float
) -> float | None:
    """Return when the hedge has had time enough to give those finals as well.

    `None` if no speech is pending for the hedge.
    """
    detector = hedge.stall_detector
    stall = detector.next_stall(ledger, hedge.cursor)
    if stall is None:
        return None
    answered_at = max(stall.due, detector.answer_due_at(expected_through) or 0.0)
    return answered_at + connect_allowance(hedge, connect_timeout)


def had_time_to_answer(
    hedge: Connection, through: int, ledger: AudioLedger, connect_timeout: float, now: float
) -> bool:
    """Return whether the hedge had time to transcribe the audio before session sample `through`."""
    if hedge.finished:
        return True
    processed_at = now - answer_timeout(hedge, connect_timeout)
    return hedge.processed_through(ledger, processed_at) >= through


def answer_timeout(hedge: Connection, connect_timeout: float) -> float:
    """Return how many seconds the hedge has to transcribe what it has processed."""
    return hedge.stall_detector.final_timeout + connect_allowance(hedge, connect_timeout)


def connect_allowance(hedge: Connection, connect_timeout: float) -> float:
    """Return how many more seconds the hedge has because it may still be connecting.

    Only its first transcript proves that it is connected: audio is queued for it before.
    """
    return connect_timeout if hedge.last_transcript_at is None else 0.0
