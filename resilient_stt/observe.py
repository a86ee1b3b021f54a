"""The log: the logger of the package, and a line for each event.

There is nothing to set up. The logger is a child of LiveKit's, so that an agent's handlers and
levels apply: colored lines in development, JSON in production. Fields become `extra` of a standard
record. Every record has the job and the room, where there is a job, and the ids that the code that
writes it knows.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import structlog
from structlog.typing import EventDict

from . import log_lines
from .core.events import AudioLost, BreakerChanged, BreakerState, Event, StreamEnded
from .livekit import job

REPEATS_ALLOWED = 3
"""Lines that are written of one kind within `REPEATS_WITHIN`, before they are only counted."""
REPEATS_WITHIN = 60.0
"""Seconds."""
MAX_KINDS = 256
"""Different lines that are remembered: a bound of memory only."""


def _at_caller(logger: object, method: str, event: EventDict) -> EventDict:
    """Have the record name our line of code, not the one in structlog that hands it to `logging`.

    `logging` counts `stacklevel` from its caller, here structlog's innermost function.
    """
    frame, depth = sys._getframe(1), 0
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("structlog."):
        frame, depth = frame.f_back, depth + 1
    event.setdefault("stacklevel", depth)
    return event


def _with_job(logger: object, method: str, event: EventDict) -> EventDict:
    """Name the job and the room, where there is a job."""
    return {**job.ids(), **event}


logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
    logging.getLogger("livekit.resilient_stt"),
    processors=[
        structlog.stdlib.filter_by_level,
        _at_caller,
        _with_job,
        structlog.stdlib.render_to_log_kwargs,
    ],
    wrapper_class=structlog.stdlib.BoundLogger,
)
"""A child of LiveKit's logger, so that an agent's log settings apply to it."""


@dataclass(slots=True)
class _Repeats:
    """Lines that say the same."""

    since: float
    """When the first of them was written."""
    level: int
    message: str
    count: int = 0
    """How many there were since."""

    @property
    def unwritten(self) -> int:
        """How many of them were not written."""
        return max(0, self.count - REPEATS_ALLOWED)


class EventLog:
    """Writes a line for each event; of those that repeat only the first few, and their number."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: tells the seconds."""
        self._clock = clock
        self._repeats: OrderedDict[Hashable, _Repeats] = OrderedDict()
        """By what they say, the oldest first."""
        self._breakers: dict[str, tuple[BreakerState, bool]] = {}
        """The state of each provider's breaker that was written last, and whether an operator has
        locked it."""

    def __repr__(self) -> str:
        return f"EventLog({len(self._repeats)} kinds of lines)"

    def write(self, event: Event) -> None:
        """Write an event to the log; events never contain API keys or transcripts.

        Who asked for DEBUG gets every line. Lost audio and accounts are never left out.
        """
        level = log_lines.level(event)
        if not logger.isEnabledFor(level):
            return
        if isinstance(event, BreakerChanged):
            # Streams share the breakers, and each reports a change that it has not seen.
            state = event.state, event.by_operator
            if self._breakers.get(event.provider) == state:
                return
            self._breakers[event.provider] = state
        message = log_lines.message(event)
        may_repeat = level == logging.DEBUG or isinstance(event, AudioLost | StreamEnded)
        if may_repeat or self._is_news(event, level, message):
            logger.log(level, message, **log_lines.fields(event))
        if isinstance(event, StreamEnded):
            self._tell_unwritten()

    def _is_news(self, event: Event, level: int, message: str) -> bool:
        """Return whether a line is to be written, and not only counted."""
        now, said = self._clock(), log_lines.gist(event)
        repeats = self._repeats.get(said)
        if repeats is None or now - repeats.since > REPEATS_WITHIN:
            if repeats is not None:
                self._tell(repeats)
            self._repeats[said] = repeats = _Repeats(now, level, message)
            self._repeats.move_to_end(said)
            if len(self._repeats) > MAX_KINDS:
                self._tell(self._repeats.popitem(last=False)[1])
        repeats.count += 1
        return repeats.count <= REPEATS_ALLOWED

    def _tell_unwritten(self) -> None:
        for repeats in self._repeats.values():
            self._tell(repeats)
        self._repeats.clear()

    def _tell(self, repeats: _Repeats) -> None:
        """Write how often a line was not written, if it was not."""
        if repeats.unwritten:
            seconds = round(self._clock() - repeats.since)
            logger.log(
                repeats.level,
                f"{repeats.unwritten} more in {seconds} s: {repeats.message}",
                repeated=repeats.unwritten,
            )
