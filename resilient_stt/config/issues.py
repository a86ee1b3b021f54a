"""What is wrong with a configuration, where, and how the user is told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigurationError
from ..phrasing import kind_of, quoted

Place = tuple[str | int, ...]
"""Keys and indices from the top: `("routes", "es", 1)`."""

_PLAIN = re.compile(r"[\w-]{1,40}")


@dataclass(frozen=True, slots=True)
class ConfigIssue:
    """One thing that is wrong; the message says what to do, and holds no secret."""

    place: Place
    message: str
    line: int | None = None
    """Line of the file, where it is another than that of the place."""


@dataclass(frozen=True, slots=True)
class Document:
    """A configuration as it was read: plain data, and where each part of it came from."""

    name: str
    """What the user calls it: the path, or `the configuration`."""
    data: dict[str, Any] = field(repr=False)
    lines: Mapping[Place, int] = field(default_factory=dict)
    """Lines of keys and list items, from 1; empty where the format does not tell."""
    variables: Mapping[Place, tuple[str, ...]] = field(default_factory=dict, repr=False)
    """The environment variables that a text came from."""

    def line_of(self, place: Place) -> int | None:
        """The line of a place, or of the nearest part around it that has one."""
        for end in range(len(place), 0, -1):
            if place[:end] in self.lines:
                return self.lines[place[:end]]
        return None

    def shown(self, place: Place, value: object) -> str:
        """A value as an error may repeat it: never what came from a variable, nor an option."""
        if place in self.variables:
            return " ".join(f"${{{name}}}" for name in self.variables[place])
        if "options" in place:
            return kind_of(value)
        return quoted(value) if isinstance(value, str | bool | int | float) else kind_of(value)

    def shown_option(self, place: Place, option: str, value: str) -> str:
        """The value of an option of the provider at a place that may be told, unless it came from
        a variable."""
        where = (*place, "options", option)
        return self.shown(where, value) if where in self.variables else value

    def configuration_error(self, mistakes: Sequence[ConfigIssue]) -> ConfigurationError:
        """All mistakes in one error, in the order of their lines."""
        found = [(mistake.line or self.line_of(mistake.place), mistake) for mistake in mistakes]
        found.sort(key=lambda pair: pair[0] or 0)
        told = list(dict.fromkeys(_told(line, mistake) for line, mistake in found))
        if len(told) == 1:
            return ConfigurationError(f"{self.name}: {told[0]}")
        listed = "".join(f"\n  {one}" for one in told)
        return ConfigurationError(f"{self.name} has {len(told)} mistakes:{listed}")


def _told(line: int | None, mistake: ConfigIssue) -> str:
    at = [f"line {line}"] if line else []
    where = path_of(mistake.place)
    return ": ".join([*at, *([where] if where else []), mistake.message])


def path_of(place: Place) -> str:
    """A place as it is written: `routes.es[1]`."""
    path = ""
    for step in place:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            name = step if _PLAIN.fullmatch(step) else quoted(step)
            path += f".{name}" if path else name
    return path
