"""Checks that the accounts of a stream add up."""

from __future__ import annotations

from resilient_stt.core.events import Role, StreamEnded


def assert_adds_up(ended: StreamEnded, rate: int) -> None:
    """Assert that every sample that was pushed is counted once, and nothing is below zero."""
    parts = [ended.final, ended.silence, ended.lost, ended.buffered]
    samples = [round(seconds * rate) for seconds in parts]
    assert sum(samples) == round(ended.pushed * rate), ended
    assert min(samples) >= 0, ended
    assert 0 <= ended.taken_over <= ended.pushed, ended
    sent = sum(sent.seconds for sent in ended.sent if sent.role in (Role.ACTIVE, Role.RECONNECT))
    assert 0 <= ended.replayed <= sent + 1e-6, ended
    late = ended.lateness
    assert 0 <= late.p50 <= late.p99 <= late.worst, ended
