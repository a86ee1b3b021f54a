"""Whose usage a provider's metrics are about: the leg's that serves, or that of a second opinion.

LiveKit's metrics name a model and nothing else. The tasks of a leg's stream inherit the context in
which it was opened, and so whatever they emit tells which leg it is about.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from livekit.agents.metrics import STTMetrics
from livekit.agents.metrics.base import Metadata

from ..core.messages import Role


@dataclass(slots=True)
class UsageTag:
    """A leg's provider by name, and what the leg is for, now."""

    provider: str
    role: Role


current: ContextVar[UsageTag] = ContextVar("resilient_stt.leg")
"""The leg whose task runs; none outside of one."""


class UsageMetadata(Metadata):
    """LiveKit's labels, and ours.

    `provider`: its name in the configuration. `role`: `active`, or `hedge`, `probe` and `reconnect`
    for audio that was heard beside the leg that served, or in an outage; see `core.commands.Role`.
    """

    provider: str
    role: str


def with_role(metrics: Any) -> Any:
    """A leg's `STTMetrics` with `UsageMetadata`; anything else as it is."""
    tag = current.get(None)
    if tag is None or not isinstance(metrics, STTMetrics):
        return metrics
    told = metrics.metadata or Metadata()
    metadata = UsageMetadata(
        model_name=told.model_name,
        model_provider=told.model_provider,
        provider=tag.provider,
        role=tag.role.value,
    )
    return metrics.model_copy(update={"metadata": metadata})
