"""What became of a stream's audio, to the sample.

Each sample is counted once, when the watermark passes over it: as covered by a final, as silence,
or as lost. So at any time

    end - begin = final + silence + lost + dropped + pending

where `pending` is what lies behind the watermark. Dropped is speech that left the replay window: a
connection that was sent it before may still cover it, and if none does, it is lost (`LossTracker`
knows).

Some speech is reported as lost while it is pending, because a final skipped it. It is counted as
lost from then on, whatever the watermark passes over it for.
"""

from __future__ import annotations

from .spans import Spans, after, intersection, merged, total, without


class AudioAccounts:
    """Counts the samples of one stream, from `begin` on."""

    def __init__(self, begin: int) -> None:
        """`begin`: the sample at which the stream begins, and its watermark is."""
        self.begin = begin
        self.final = 0
        """Samples that finals have committed."""
        self.silence = 0
        """Samples that were committed without words, or left the window without voice."""
        self.dropped = 0
        """Samples of voice that left the window before anything committed them."""
        self._lost = 0
        self._reported: Spans = ()
        """Pending voice that was reported as lost."""

    def __repr__(self) -> str:
        return (
            f"AudioAccounts(final={self.final}, silence={self.silence}, lost={self.lost}, "
            f"dropped={self.dropped})"
        )

    @property
    def lost(self) -> int:
        """Samples that were reported as lost, or are about to be: without those dropped."""
        return self._lost + self.reported_pending

    @property
    def reported_pending(self) -> int:
        """Samples of pending voice that were reported as lost."""
        return total(self._reported)

    def unreported(self, voice: Spans) -> Spans:
        """Return what of some pending voice was not reported as lost before."""
        return without(voice, self._reported)

    def reported_lost(self, voice: Spans) -> None:
        """Note that pending voice, which was not reported before, is reported as lost."""
        self._reported = merged(self._reported + voice)

    def passed(self, start: int, end: int) -> int:
        """Note that the watermark moves from `start` to `end`.

        Returns:
            The samples between them that are not counted yet. The caller must count them.
        """
        counted = total(intersection(self._reported, ((start, end),)))
        self._lost += counted
        self._reported = after(self._reported, end)
        return end - start - counted

    def gave_up(self, samples: int) -> None:
        """Count samples of voice that no provider is asked about any more."""
        self._lost += samples
