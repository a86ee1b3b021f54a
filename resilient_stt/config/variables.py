"""Replaces `${VAR}` and `${VAR:-default}` in the texts of a configuration; `$${` is a plain `${`.

The value of a variable is taken as it is. A `${` inside it is not replaced again, so a variable
cannot refer to itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .issues import ConfigIssue, Place

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_INSIDE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-((?:(?!\$\{).)*))?", re.DOTALL)


class Expansion:
    """Replaces the variables in plain data, and records where they stood."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.variables: dict[Place, tuple[str, ...]] = {}
        """The variables in each text that has some."""
        self.issues: list[ConfigIssue] = []

    def expand(self, value: Any, place: Place = ()) -> Any:
        """A copy of the data with each `${...}` in its values replaced; keys are not."""
        match value:
            case str():
                return self._text(value, place)
            case dict():
                return {key: self.expand(item, (*place, key)) for key, item in value.items()}
            case list():
                return [self.expand(item, (*place, n)) for n, item in enumerate(value)]
            case _:
                return value

    def _text(self, text: str, place: Place) -> str:
        return _REFERENCE.sub(lambda match: self._one(match, place), text)

    def _one(self, match: re.Match[str], place: Place) -> str:
        if match[0] == "$${":
            return "${"
        inside = _INSIDE.fullmatch(match[1])
        if not (inside and match[2]):
            self.issues.append(
                ConfigIssue(
                    place,
                    "'${' must be the beginning of ${NAME} or ${NAME:-default}, whose default "
                    "contains no other variable and no '}'; write '$${' for a plain '${'",
                )
            )
            return ""
        name, default = inside[1], inside[2]
        self.variables[place] = (*self.variables.get(place, ()), name)
        value = self._environment.get(name) or default
        if value is None:
            state = "empty" if name in self._environment else "not set"
            self.issues.append(
                ConfigIssue(
                    place,
                    f"the environment variable {name} is {state}; set it, or give a default: "
                    f"${{{name}:-default}}",
                )
            )
            return ""
        return value
