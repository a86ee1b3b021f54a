"""Issues: what is wrong with a configuration, where, and the error that lists them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigurationError
from ..phrasing import kind_of, quoted

Place = tuple[str | int, ...]
"""Keys and indices from the top, such as `("routes", "es", 1)`."""

_PLAIN = re.compile(r"[\w-]{1,40}")
"""Keys that a path shows without quotes."""


@dataclass(frozen=True, slots=True)
class ConfigIssue:
    """One thing that is wrong. The message says what to do, and contains no secret."""

    place: Place
    message: str
    line: int | None = None
    """The line in the file, if it is not that of the place."""


@dataclass(frozen=True, slots=True)
class Document:
    """A configuration as it was read: plain data, and where each part came from."""

    name: str
    """What the user calls it: the path, or `the configuration`."""
    data: dict[str, Any] = field(repr=False)
    lines: Mapping[Place, int] = field(default_factory=dict)
    """Lines of keys and list items, counted from 1; empty if the format does not tell (TOML)."""
    variables: Mapping[Place, tuple[str, ...]] = field(default_factory=dict, repr=False)
    """The environment variables in each text that has some."""

    def line_of(self, place: Place) -> int | None:
        """The line of a place, or of the nearest part around it whose line is known."""
        for end in range(len(place), 0, -1):
            if place[:end] in self.lines:
                return self.lines[place[:end]]
        return None

    def shown(self, place: Place, value: object) -> str:
        """A value as an error may repeat it.

        A value from a variable is shown as the variable, and an option as its type, because either
        may be a secret.
        """
        if place in self.variables:
            return " ".join(f"${{{name}}}" for name in self.variables[place])
        if "options" in place:
            return kind_of(value)
        return quoted(value) if isinstance(value, str | bool | int | float) else kind_of(value)

    def shown_option(self, place: Place, option: str, value: str) -> str:
        """An option that is not secret (a model, a language) of the provider at a place.

        Shown as the variable if it came from one.
        """
        where = (*place, "options", option)
        return self.shown(where, value) if where in self.variables else value

    def configuration_error(self, issues: Sequence[ConfigIssue]) -> ConfigurationError:
        """Make one error of all issues, in the order of their lines."""
        found = [(issue.line or self.line_of(issue.place), issue) for issue in issues]
        found.sort(key=lambda pair: pair[0] or 0)
        shown = list(dict.fromkeys(_shown(line, issue) for line, issue in found))
        if len(shown) == 1:
            return ConfigurationError(f"{self.name}: {shown[0]}")
        listed = "".join(f"\n  {one}" for one in shown)
        return ConfigurationError(f"{self.name} has {len(shown)} mistakes:{listed}")


def _shown(line: int | None, issue: ConfigIssue) -> str:
    at = [f"line {line}"] if line else []
    where = path_of(issue.place)
    return ": ".join([*at, *([where] if where else []), issue.message])


def path_of(place: Place) -> str:
    """A place as users write it: `routes.es[1]`."""
    path = ""
    for step in place:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            name = step if _PLAIN.fullmatch(step) else quoted(step)
            path += f".{name}" if path else name
    return path
