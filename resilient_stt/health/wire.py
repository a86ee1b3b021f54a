"""What stands in Redis: `resilient_stt:PROVIDER:verdict`, `:samples` and `:lease`."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..core.member import Stored
from ..core.reading import Reading
from ..core.verdict import Verdict

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


class _Written(BaseModel):
    """A verdict without its time: durations, for the clocks of two machines do not agree."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    by: str
    well: bool
    left: Annotated[float, Field(ge=0, le=LONGEST)] = 0.0
    """Seconds that the provider is left alone after it."""
    within: Annotated[float, Field(ge=0, le=LONGEST)] = 0.0
    """Seconds by which it may be dated too early."""
    locked: bool = False
    trips: Annotated[int, Field(ge=0, le=64)] = 0
    passes: Annotated[int, Field(ge=0, le=64)] = 0
    slow: bool = False


def written(verdict: Verdict, origin: str, within: float) -> str:
    """A verdict as text; `within`: seconds by which its stamp may be too early."""
    return _Written(
        by=origin,
        well=verdict.well,
        left=_left(verdict),
        within=within,
        locked=verdict.locked,
        trips=verdict.trips,
        passes=verdict.passes,
        slow=verdict.slow,
    ).model_dump_json(exclude_defaults=True)


def kept_for(verdict: Verdict) -> float:
    """Seconds for which it is kept."""
    return _left(verdict) + KEEP


def read(value: Any, clock: Reading) -> Stored | None:
    """A verdict from what stands in Redis; none if there is none, or it is none of ours."""
    match = _STORED.fullmatch(value) if isinstance(value, bytes) else None
    if match is None:
        return None
    try:
        found = _Written.model_validate_json(match[2])
    except ValidationError:
        return None
    stamp = int(match[1])
    at = clock.ours(stamp)
    verdict = Verdict(
        at=at,
        well=found.well,
        until=-math.inf if found.well else at + found.left,
        locked=found.locked,
        trips=found.trips,
        passes=found.passes,
        slow=found.slow,
    )
    return Stored(verdict, found.by, stamp, clock.stamp, clock.within + found.within)


def read_samples(values: Any) -> list[float]:
    """Seconds; what is none is left out."""
    samples = []
    for value in values if isinstance(values, list) else []:
        try:
            samples.append(float(value))
        except (TypeError, ValueError):
            continue
    return samples


def _left(verdict: Verdict) -> float:
    return 0.0 if verdict.well else min(LONGEST, max(0.0, verdict.until - verdict.at))
