"""What stands in Redis: `resilient_stt:PROVIDER:verdict`, `:samples` and `:lease`."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..core.health.clock_sample import ClockSample
from ..core.health.replica import StoredReport
from ..core.health.report import HealthReport

PREFIX = "resilient_stt:"
KEEP = 3600.0
"""Seconds that a key outlives what it is about: a fleet that is gone leaves nothing behind."""
LONGEST = 86_400.0
"""Seconds that a verdict of others may last; more is no verdict of ours."""

NEWEST = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local stored = redis.pcall('GET', KEYS[1])
local newest = type(stored) == 'string' and tonumber(string.match(stored, '^%d+ ')) or 0
local at = math.min(now, tonumber(ARGV[1]))
if newest >= at and newest <= now then return 0 end
redis.call('SET', KEYS[1], string.format('%.0f ', at) .. ARGV[2], 'PX', ARGV[3])
return 1
"""
"""Keeps a verdict if it is the newest by this server's clock. Arguments: when it was found on that
clock, its text, how many milliseconds to keep it. Whatever else stands there is overwritten."""

APPEND = """
if redis.call('TYPE', KEYS[1]).ok ~= 'list' then redis.call('DEL', KEYS[1]) end
redis.call('RPUSH', KEYS[1], unpack(ARGV, 3))
redis.call('LTRIM', KEYS[1], -tonumber(ARGV[1]), -1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""
"""Appends samples. Arguments: how many to keep, for how many milliseconds, the samples."""

RETURN = """
if redis.pcall('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
"""Gives a lease back, if it is ours."""

_STORED = re.compile(rb"([0-9]{1,17}) (\{.*\})", re.DOTALL)


class _WireReport(BaseModel):
    """A verdict without its time: durations, for the clocks of two machines do not agree."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    by: str
    healthy: bool
    left: Annotated[float, Field(ge=0, le=LONGEST)] = 0.0
    """Seconds that the provider is left alone after it."""
    uncertainty: Annotated[float, Field(ge=0, le=LONGEST)] = 0.0
    """Seconds by which it may be dated too early."""
    locked: bool = False
    trips: Annotated[int, Field(ge=0, le=64)] = 0
    passes: Annotated[int, Field(ge=0, le=64)] = 0
    slow: bool = False


def encode(verdict: HealthReport, origin: str, within: float) -> str:
    """A verdict as text; `uncertainty`: seconds by which its stamp may be too early."""
    return _WireReport(
        by=origin,
        healthy=verdict.healthy,
        left=_left(verdict),
        uncertainty=within,
        locked=verdict.locked,
        trips=verdict.trips,
        passes=verdict.passes,
        slow=verdict.slow,
    ).model_dump_json(exclude_defaults=True)


def time_to_live(verdict: HealthReport) -> float:
    """Seconds for which it is kept."""
    return _left(verdict) + KEEP


def decode(value: Any, clock: ClockSample) -> StoredReport | None:
    """A verdict from what stands in Redis; none if there is none, or it is none of ours."""
    match = _STORED.fullmatch(value) if isinstance(value, bytes) else None
    if match is None:
        return None
    try:
        found = _WireReport.model_validate_json(match[2])
    except ValidationError:
        return None
    stamp = int(match[1])
    at = clock.to_local(stamp)
    verdict = HealthReport(
        at=at,
        healthy=found.healthy,
        until=-math.inf if found.healthy else at + found.left,
        locked=found.locked,
        trips=found.trips,
        passes=found.passes,
        slow=found.slow,
    )
    return StoredReport(
        verdict, found.by, stamp, clock.stamp, clock.uncertainty + found.uncertainty
    )


def decode_samples(values: Any) -> list[float]:
    """Seconds; what is none is left out."""
    samples = []
    for value in values if isinstance(values, list) else []:
        try:
            samples.append(float(value))
        except (TypeError, ValueError):
            continue
    return samples


def _left(verdict: HealthReport) -> float:
    return 0.0 if verdict.healthy else min(LONGEST, max(0.0, verdict.until - verdict.at))
