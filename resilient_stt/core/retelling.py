"""A final that revealed another language, held back for the sentence to be told again."""

from __future__ import annotations

from dataclasses import dataclass

from .commands import Emit
from .inputs import Said
from .leg import Leg, Reach
from .legs import Legs
from .transcript import Utterance


@dataclass(slots=True)
class Held:
    """A FINAL that is told after all, unless who speaks the language tells its words by `until`.

    Its audio is not settled meanwhile: whoever serves is sent it.
    """

    leg: Leg
    """Who said it."""
    said: Said
    utterance: Utterance
    kept: Utterance
    """What of it is new."""
    reach: Reach
    until: float

    def is_retold_by(self, new: Utterance) -> bool:
        """Whether new words of another leg are these, and not what was said after them."""
        end = self.utterance.end
        return new.start is None or end is None or new.start < end

    def tell(self, legs: Legs) -> Emit:
        """Settle it: who hears it now tells it a second time. Returns what is to be told."""
        ledger = legs.ledger
        legs.transcript.commit(self.kept, ledger.seconds(self.reach.words))
        if self.utterance.end is not None:
            ledger.settle(min(ledger.samples(self.utterance.end), self.reach.audio))
        legs.covered(self.leg)
        self.leg.seam.passed(self.utterance, self.kept)
        for leg in legs:
            if leg is not self.leg:  # who repeats himself repeats no leg
                legs.reseam(leg)
        return emitted(self.leg, self.said, self.kept)


def emitted(leg: Leg, said: Said, kept: Utterance) -> Emit:
    """What is told of what a leg said."""
    name = leg.provider.name
    return Emit(said.kind, kept.text, kept.words, kept.start, kept.end, said.source, name)
