"""What stands in Redis: `resilient_stt:PROVIDER_KEY:report`, `:failures`, `:texts`, `:samples`,
`:lease` and `:lock`.

- `report` is a string: the time at which the newest report was found (microseconds on Redis's
  clock), a space, and the report as JSON. Durations are relative to that time, because the clocks
  of two machines do not agree.
- `failures` is a sorted set of the failures of all processes since the last report, by time
  (microseconds on Redis's clock); a member is the name of the replica and a number.
- `texts` is a sorted set of the seconds in which any process had text, by the time of the last text
  in it. It is written only while there are failures, so a healthy fleet writes neither.
- `samples` is a list of final delays in seconds.
- `lease` is a string: the replica that may probe now.
- `lock` is a string: the time at which an operator's lock ends (microseconds on Redis's clock), a
  space, and who set it when and why, as JSON. It is not a report: no observation ends it.

Every key expires. Values that do not have this form are ignored and overwritten. Processes of
versions before `lock` do not read it, and go on as if it were not there; all else is the same. A
reset is a report of health, which they read, too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..core.health.report import ClockSample, HealthReport, OperatorLock, StoredReport

PREFIX = "resilient_stt:"
KEEP = 3600.0
"""Seconds that a key is kept after it has become irrelevant, so that a fleet that is gone leaves
nothing behind."""
MAX_STORED_OUTCOMES = 64
"""Failures, and seconds with text, that the store keeps of a provider. It bounds memory and what
every process reads: in an outage, all fail before the first of them has reported it."""
LONGEST_BREAK = 86_400.0
"""Seconds that a break in a stored report may last. A report with more was not written by us."""

LONGEST_REASON = 200
"""Letters of an operator's reason, and of who gave it."""

STORE_NEWEST = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local stored = redis.pcall('GET', KEYS[1])
local newest = type(stored) == 'string' and tonumber(string.match(stored, '^%d+ ')) or 0
local at = math.min(now, tonumber(ARGV[1]))
if newest >= at and newest <= now then return 0 end
redis.call('SET', KEYS[1], string.format('%.0f ', at) .. ARGV[2], 'PX', ARGV[3])
for i = 2, #KEYS do redis.pcall('ZREMRANGEBYSCORE', KEYS[i], '-inf', string.format('%.0f', at)) end
return 1
"""
"""Stores a report unless there is a newer one; returns 1 if it was stored, else 0.

Arguments: when it was found on Redis's clock, its JSON, milliseconds to keep it. A stored time in
the future does not count as newer: the clock was set back since. The other keys are those of
outcomes: what was known when the report was found must not count for the next one.
"""

RECORD_FAILURES = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then redis.call('DEL', KEYS[1]) end
for i = 3, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], string.format('%.0f', math.min(now, tonumber(ARGV[i]))), ARGV[i + 1])
end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[1]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""
"""Adds failures. One that is sent twice counts once, because it has the same name.

Arguments: how many to keep, milliseconds to keep them, and of each when it was and its name.
"""

RECORD_TEXTS = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if redis.call('TYPE', KEYS[2]).ok ~= 'zset' then redis.call('DEL', KEYS[2]) end
for i = 3, #ARGV do
  local at = math.min(now, tonumber(ARGV[i]))
  local second = string.format('%.0f', math.floor(at / 1000000))
  local last = redis.call('ZSCORE', KEYS[2], second)
  if not last or tonumber(last) < at then
    redis.call('ZADD', KEYS[2], string.format('%.0f', at), second)
  end
end
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - tonumber(ARGV[1]))
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
"""
"""Notes text: one entry per second, however many processes had some; nothing without failures.

Keys: those of failures and of texts. Arguments: how many seconds to keep, milliseconds to keep
them, and when each text was.
"""

APPEND_SAMPLES = """
if redis.call('TYPE', KEYS[1]).ok ~= 'list' then redis.call('DEL', KEYS[1]) end
redis.call('RPUSH', KEYS[1], unpack(ARGV, 3))
redis.call('LTRIM', KEYS[1], -tonumber(ARGV[1]), -1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""
"""Appends samples. Arguments: how many to keep, milliseconds to keep them, the samples."""

STORE_LOCK = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local text = string.format('%.0f ', now + ARGV[1] * 1000) .. ARGV[2]
return redis.call('SET', KEYS[1], text, 'PX', ARGV[1])
"""
"""Sets an operator's lock. Arguments: milliseconds that it lasts, and its JSON."""

RETURN_LEASE = """
if redis.pcall('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
"""Deletes a lease if the replica in the argument holds it."""

_STORED = re.compile(rb"([0-9]{1,17}) (\{.*\})", re.DOTALL)


class _WireReport(BaseModel):
    """A report as JSON, without its time. Fields are those of `HealthReport`, times relative."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    origin: str
    healthy: bool
    open_for: Annotated[float, Field(ge=0, le=LONGEST_BREAK)] = 0.0
    """Seconds from when it was found to the end of the break."""
    uncertainty: Annotated[float, Field(ge=0, le=LONGEST_BREAK)] = 0.0
    """Seconds by which it may be dated too early."""
    locked: bool = False
    trips: Annotated[int, Field(ge=0, le=64)] = 0
    passes: Annotated[int, Field(ge=0, le=64)] = 0
    slow: bool = False


class _WireLock(BaseModel):
    """An operator's lock as JSON, without its end. Later versions may add fields."""

    model_config = ConfigDict(extra="ignore", strict=True)

    reason: Annotated[str, Field(max_length=LONGEST_REASON)] = ""
    by: Annotated[str, Field(max_length=LONGEST_REASON)] = ""
    """The user and the machine."""
    lasts: Annotated[float, Field(ge=0, le=LONGEST_BREAK)] = 0.0
    """Seconds from when it was set to its end."""


class StoredLock(NamedTuple):
    """An operator's lock as it was read from the store."""

    lock: OperatorLock
    by: str
    """The user and the machine."""
    lasts: float
    """Seconds from when it was set to its end."""


def encode_lock(reason: str, by: str, seconds: float) -> str:
    """An operator's lock as JSON; both texts are cut to `LONGEST_REASON` letters."""
    return _WireLock(
        reason=reason[:LONGEST_REASON], by=by[:LONGEST_REASON], lasts=seconds
    ).model_dump_json()


def decode_lock(value: Any, clock: ClockSample) -> StoredLock | None:
    """Read the value of a `lock` key; `None` if it is missing, over, or not of our form."""
    match = _STORED.fullmatch(value) if isinstance(value, bytes) else None
    if match is None:
        return None
    try:
        found = _WireLock.model_validate_json(match[2])
    except ValidationError:
        return None
    stamp = int(match[1])
    if not 0 < stamp - clock.stamp <= LONGEST_BREAK * 1e6:
        return None
    lock = OperatorLock(clock.to_deadline(stamp), stamp, found.reason)
    return StoredLock(lock, found.by, found.lasts)


def encode(report: HealthReport, origin: str, uncertainty: float) -> str:
    """A report as JSON; `uncertainty` is the seconds by which it may be dated too early."""
    return _WireReport(
        origin=origin,
        healthy=report.healthy,
        open_for=_open_for(report),
        uncertainty=uncertainty,
        locked=report.locked,
        trips=report.trips,
        passes=report.passes,
        slow=report.slow,
    ).model_dump_json(exclude_defaults=True)


def time_to_live(report: HealthReport) -> float:
    """Seconds that Redis keeps a report."""
    return _open_for(report) + KEEP


def decode(value: Any, clock: ClockSample) -> StoredReport | None:
    """Read the value of a `report` key; `None` if it is missing or not of our form."""
    match = _STORED.fullmatch(value) if isinstance(value, bytes) else None
    if match is None:
        return None
    try:
        found = _WireReport.model_validate_json(match[2])
    except ValidationError:
        return None
    stamp = int(match[1])
    at = clock.to_local(stamp)
    report = HealthReport(
        at=at,
        healthy=found.healthy,
        until=-math.inf if found.healthy else at + found.open_for,
        locked=found.locked,
        trips=found.trips,
        passes=found.passes,
        slow=found.slow,
    )
    uncertainty = clock.uncertainty + found.uncertainty
    return StoredReport(report, found.origin, stamp, clock.stamp, uncertainty)


def decode_samples(values: Any) -> list[float]:
    """Read the value of a `samples` key; entries that are not numbers are left out."""
    samples = []
    for value in values if isinstance(values, list) else []:
        try:
            samples.append(float(value))
        except (TypeError, ValueError):
            continue
    return samples


def decode_failures(values: Any, clock: ClockSample) -> list[tuple[str, float]]:
    """Read the value of a `failures` key: (name, when) of each."""
    return [(name.decode(errors="replace"), at) for name, at in _scored(values, clock)]


def decode_texts(values: Any, clock: ClockSample) -> list[float]:
    """Read the value of a `texts` key: when each was."""
    return [at for _, at in _scored(values, clock)]


def _scored(values: Any, clock: ClockSample) -> Iterator[tuple[bytes, float]]:
    """The members of a sorted set with their times on this process's clock.

    Entries from the store's future are left out: its clock was set back since, and they would look
    as if they had just happened, again with each answer. So is what is not of our form.
    """
    flat = values if isinstance(values, list) else []
    for name, score in zip(flat[::2], flat[1::2], strict=False):
        try:
            stamp = int(float(score))
        except (TypeError, ValueError, OverflowError):
            continue
        if isinstance(name, bytes) and stamp <= clock.stamp:
            yield name, clock.to_local(stamp)


def _open_for(report: HealthReport) -> float:
    return 0.0 if report.healthy else min(LONGEST_BREAK, max(0.0, report.until - report.at))
