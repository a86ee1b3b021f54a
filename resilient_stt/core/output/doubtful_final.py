"""Holds a FINAL back that a plugin may have made up because its connection is dying.

Theory of operation
===================

A plugin whose server decides when a turn ends may pass its last interim transcript off as a FINAL
when the connection drops, so that a turn is not left open. The FINAL is half a sentence then, and
an agent that is given it answers half a question. Nothing is lost by leaving it out: the next
connection is sent the same audio, and transcribes the whole sentence.

Such a FINAL looks like any other. So it is held for a moment (`made_up_final_hold`), but only if

* the plugin is known to do this, or was seen to (`finalizes_when_dropped`),
* it has the words of the last interim transcript, and
* local voice activity hears that the speech goes on behind these words without a pause.

If the connection fails meanwhile, the FINAL is left out; if it goes on or the time is over, the
FINAL is genuine. Should no connection transcribe that audio any more, it is the last resort.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..audio.ledger import AudioLedger
from ..connections.connection import Connection
from ..connections.interpreter import Interpreted
from ..health.provider import ProviderHealth
from ..messages import EventKind
from ..policy import Policies


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A FINAL in mid-speech that has the words of the last interim transcript."""

    connection: Connection
    final: Interpreted
    until: float
    """Up to here a failure of its connection shows that it was made up."""


class DoubtfulFinals:
    """Decides which FINAL is held, and learns which plugins make them up."""

    def __init__(
        self, ledger: AudioLedger, health: Mapping[str, ProviderHealth], policies: Policies
    ) -> None:
        self._ledger = ledger
        self._health = health
        self._hold = policies.watchdog.made_up_final_hold
        self._min_remainder = policies.replay.min_pending_remainder
        self._suspect: _Suspect | None = None
        """The last FINAL that may be made up, until its connection has gone on."""
        self._is_held = False
        """Whether it is held; if not, its plugin is only watched."""
        self._left_out: _Suspect | None = None
        """The last FINAL that was left out, until another one has come."""

    def __repr__(self) -> str:
        return f"DoubtfulFinals(holds={self._is_held}, left_out={self._left_out is not None})"

    @property
    def holds(self) -> bool:
        """Whether a FINAL is held, and all later events of its connection behind it."""
        return self._is_held

    @property
    def deadlines(self) -> list[float]:
        """When `step` may have something to do without any input."""
        return [self._suspect.until] if self._suspect is not None and self._is_held else []

    def on_event(
        self, connection: Connection, interpreted: Interpreted, now: float, *, followed: bool
    ) -> bool:
        """Take the next event of the active connection; return whether it has to be held.

        `followed`: the connection has gone on behind it. Then nothing is doubtful: without this
        rule two FINALs that were held together held each other for ever, and the stream ended in a
        `RecursionError` (tests/schedules/two-held-finals-hold-each-other.json).
        """
        suspect, event = self._suspect, interpreted.event
        if suspect is not None and suspect.final is interpreted:
            return False  # it was held, and is emitted now
        if self._is_held:
            if event.kind is not EventKind.END:
                self._is_held = False  # the connection is alive; the caller emits what was held
            return True
        if event.kind is not EventKind.END:
            self._suspect = None
        if followed or not self._may_be_made_up(connection, interpreted):
            return False
        self._suspect = _Suspect(connection, interpreted, now + self._hold)
        provider = connection.traits
        self._is_held = (
            provider.finalizes_when_dropped or self._health[provider.name].finalizes_when_dropped
        )
        return self._is_held

    def step(self, now: float) -> None:
        """Release the held FINAL once its time is over."""
        if self._suspect is not None and now >= self._suspect.until:
            self._is_held = False

    def connection_failed(self, connection: Connection, now: float) -> None:
        """Note that the active connection failed: a FINAL that came just before was made up."""
        suspect, self._suspect = self._suspect, None
        if suspect is None or suspect.connection is not connection:
            return
        if now <= suspect.until:
            self._health[connection.traits.name].finalizes_when_dropped = True
        if self._is_held:
            self._is_held = False
            self._left_out = suspect

    def final_emitted(self) -> None:
        """Note that a FINAL with new words was emitted: what was left out is no longer needed."""
        self._left_out = None

    def take_left_out(self) -> tuple[Connection, Interpreted] | None:
        """Return what was left out and never transcribed again; `None` if nothing was."""
        left_out, self._left_out = self._left_out, None
        return (left_out.connection, left_out.final) if left_out else None

    def _may_be_made_up(self, connection: Connection, interpreted: Interpreted) -> bool:
        ledger, last_word = self._ledger, max(0, interpreted.extent.words - 1)
        if not (interpreted.repeats_interim and ledger.vad_enabled):
            return False
        # A recognizer that ends a turn does so in a pause: it has transcribed all voice before.
        if connection.input_ended_at is not None or ledger.segment_start(last_word) is None:
            return False
        (_, segment_end), *others = ledger.voiced_spans(last_word, ledger.end)
        goes_on = ledger.speaking and not others
        return goes_on or segment_end - last_word >= ledger.samples(self._min_remainder)
