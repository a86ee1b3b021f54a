"""A final that revealed another language, held back for the sentence to be told again."""

from __future__ import annotations

from dataclasses import dataclass

from ..connections.connection import AudioExtent, Connection
from ..connections.pool import ConnectionPool
from ..messages import Emit, TranscriptEvent
from ..transcript.overlap import Utterance


@dataclass(slots=True)
class PendingFinal:
    """A FINAL that is told after all, unless who speaks the language tells its words by `until`.

    Its audio is not settled meanwhile: whoever serves is sent it.
    """

    connection: Connection
    """Who said it."""
    event: TranscriptEvent
    utterance: Utterance
    kept: Utterance
    """What of it is new."""
    extent: AudioExtent
    until: float

    def is_repeated_by(self, new: Utterance) -> bool:
        """Whether new words of another leg are these, and not what was said after them."""
        end = self.utterance.end
        return new.start is None or end is None or new.start < end

    def emit(self, pool: ConnectionPool) -> Emit:
        """Settle it: who hears it now tells it a second time. Returns what is to be told."""
        ledger = pool.ledger
        pool.history.record(self.kept, ledger.seconds(self.extent.words))
        if self.utterance.end is not None:
            ledger.commit(min(ledger.samples(self.utterance.end), self.extent.audio))
        pool.audio_covered(self.connection)
        self.connection.trimmer.observe_final(self.utterance, self.kept)
        for connection in pool:
            if connection is not self.connection:  # who repeats himself repeats no leg
                pool.reset_trimmer(connection)
        return as_emit(self.connection, self.event, self.kept)


def as_emit(connection: Connection, event: TranscriptEvent, kept: Utterance) -> Emit:
    """What is told of what a leg said."""
    name = connection.traits.name
    return Emit(event.kind, kept.text, kept.words, kept.start, kept.end, event.source, name)
