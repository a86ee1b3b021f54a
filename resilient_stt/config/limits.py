"""How much a configuration may hold, whatever its format."""

from __future__ import annotations

DEEPEST = 20
"""Levels that a configuration may be nested; a valid one has five. Bounds the stack."""
MOST = 10_000
"""Values that a configuration may have, aliases expanded. Bounds memory and time."""
LARGEST = 1_000_000
"""Bytes that a file may have. Bounds memory."""
