"""The balance of START_OF_SPEECH and END_OF_SPEECH over all legs of a session."""

from __future__ import annotations

from .commands import Emit
from .inputs import Said, SaidKind
from .leg import Leg


class Speech:
    """Whether the consumer was told that somebody speaks, and which leg has to tell the end."""

    def __init__(self) -> None:
        self.speaking = False
        self._leg: int | None = None

    def __repr__(self) -> str:
        return f"Speech(speaking={self.speaking})"

    def said(self, leg: Leg, said: Said) -> list[Emit]:
        """Pass a START or END on; a START is held back while the leg may only re-tell."""
        if said.kind is SaidKind.END:
            leg.speech_open = False
            return self.end(said.source)
        if leg.seam.open:
            leg.speech_open = True
            return []
        return self._start(leg, said.source)

    def told(self, leg: Leg) -> list[Emit]:
        """A leg says something new: a START that was held back is due."""
        return self._start(leg) if leg.speech_open else []

    def orphaned(self, leg: Leg | None) -> bool:
        """Whether the leg that announced the speech cannot tell its end any more."""
        return self.speaking and (leg is None or leg.id != self._leg)

    def end(self, source: object = None) -> list[Emit]:
        """Somebody stopped speaking, or nobody is left to say so."""
        if not self.speaking:
            return []
        self.speaking = False
        return [Emit(SaidKind.END, source=source)]

    def _start(self, leg: Leg, source: object = None) -> list[Emit]:
        leg.speech_open = False
        self._leg = leg.id
        if self.speaking:
            return []
        self.speaking = True
        return [Emit(SaidKind.START, source=source)]
