"""Metrics and traces of all streams of the process, made of their events.

They are always on, as LiveKit's own are: Prometheus collectors cost nothing until a worker's
`prometheus_port` serves them, and OpenTelemetry's instruments and spans do nothing until a provider
is set. Labels are names of providers, languages and enums, never a key or a text.
"""

from __future__ import annotations

from .recorder import record

__all__ = ["record"]
