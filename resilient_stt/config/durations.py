"""Durations as people write them: a number of seconds, or a text with a unit."""

from __future__ import annotations

import re
from typing import Any

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_TEXT = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?|-?\.[0-9]+)\s*([a-z]*)")

PATTERN = r"^([0-9]+(\.[0-9]+)?|\.[0-9]+) *(ms|s|m|h)?$"
"""The texts that are durations, for the JSON Schema."""


def seconds(value: Any) -> Any:
    """`60`, `60s`, `1.5s`, `200ms`, `5m` and `1h` as seconds; a text without unit is a number.

    Raises:
        ValueError: a text that is no duration; other things are returned as they are.
    """
    if not isinstance(value, str):
        return value
    match = _TEXT.fullmatch(value.strip().lower())
    if not match:
        raise ValueError("must be a duration: seconds, or a number with ms, s, m or h, as in 1.5s")
    number, unit = float(match[1]), match[2] or "s"
    if unit not in _UNITS:
        raise ValueError(f"must have the unit ms, s, m or h, not {unit[:10]!r}")
    # 200 ms are 0.2, as they would be in the code, and not 0.2000...01
    return number / 1000 if unit == "ms" else number * _UNITS[unit]
