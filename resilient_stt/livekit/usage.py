"""Labels a provider's usage metrics with its name and with what its connection was for.

LiveKit's metrics name the model and its vendor only, which two connections may share. The tasks of
a connection's stream inherit the context in which it was opened, so a context variable tells which
connection emits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from livekit.agents.metrics import STTMetrics
from livekit.agents.metrics.base import Metadata

from ..core.events import Role


@dataclass(slots=True)
class UsageTag:
    """The name of a connection's provider, and the connection's present role.

    `reconnected` is called when the plugin has opened another socket for the same stream.
    """

    provider: str
    role: Role
    reconnected: Callable[[], None] = lambda: None
    _has_socket: bool = False

    def note(self, metrics: STTMetrics) -> None:
        """Note that plugins report each socket that they have opened, with no audio yet."""
        if metrics.audio_duration or not getattr(metrics, "acquire_time", 0.0):
            return
        if self._has_socket:
            self.reconnected()
        self._has_socket = True


current: ContextVar[UsageTag] = ContextVar("resilient_stt.connection")
"""The connection whose task runs; unset outside of one."""


class UsageMetadata(Metadata):
    """LiveKit's labels, and ours.

    `provider` is the provider's name in the configuration. `role` is `active`, or for audio that
    was sent in addition to the serving connection's: `hedge`, `probe`, or `reconnect` in an outage;
    see `core.events.Role`.
    """

    provider: str
    role: str


def with_role(metrics: Any) -> Any:
    """Return a connection's `STTMetrics` with `UsageMetadata`; anything else unchanged."""
    tag = current.get(None)
    if tag is None or not isinstance(metrics, STTMetrics):
        return metrics
    tag.note(metrics)
    labels = metrics.metadata or Metadata()
    metadata = UsageMetadata(
        model_name=labels.model_name,
        model_provider=labels.model_provider,
        provider=tag.provider,
        role=tag.role.value,
    )
    return metrics.model_copy(update={"metadata": metadata})
