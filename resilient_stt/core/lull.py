"""Audio on which nothing is decided, as the engine remembers it (`engine` says how it is used)."""

from __future__ import annotations

from dataclasses import dataclass

from .connections.connection import Connection
from .health.report import OperatorLock
from .stalls.detector import Timeouts


@dataclass(slots=True)
class Fed:
    """A connection in a lull, which is sent all audio."""

    connection: Connection
    timeouts: Timeouts
    """Those that the lull was computed with; others may come from other streams."""
    notes_voice: bool
    """Whether its stall detector has to be told of the next audio: it begins a deadline."""
    processed_by: float
    """When the provider has processed everything that it was sent."""


@dataclass(slots=True)
class Lull:
    """Audio that is only counted and sent: nothing can be due before it is over."""

    active: Connection
    fed: tuple[Fed, ...]
    """All connections."""
    ids: tuple[int, ...]
    """Of these connections."""
    until: float
    """Its end, on the clock of `now`."""
    before: int
    """The session sample at which it ends."""
    operator_lock: OperatorLock | None
    """That of the active provider; another one comes from the store."""
    may_return: bool
    """Whether another provider is preferred, and other streams may prove it."""
    rate: int
    """Samples per second of the audio."""
    seconds_per_sample: float
    """How long a provider may need for a sample."""
    room: int = 0
    """Samples that may be taken before the parts are told of them."""
    uncounted: int = 0
    """Samples that were taken since they were told."""
