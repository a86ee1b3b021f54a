"""Reads YAML to plain data, with the line of each key and list item.

Scalars are those of YAML 1.2: `no` is the language, not false. Things that PyYAML accepts silently
are issues here: duplicate keys, merge keys, tags, and aliases that contain themselves or expand to
very much.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from ..phrasing import is_unicode, quoted
from .issues import ConfigIssue, Place
from .limits import DEEPEST, MOST

_PREFIX = "tag:yaml.org,2002:"
_SCALARS = {
    "null": (re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    "bool": (re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    "int": (re.compile(r"[-+]?[0-9]{1,18}"), list("-+0123456789")),
    "float": (
        re.compile(
            r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
        ),
        list("-+0123456789."),
    ),
}
_CONTAINERS = {f"{_PREFIX}{kind}" for kind in ("map", "seq")}


class YAMLIssue(Exception):
    """The text cannot be read any further; `issue` says why."""

    def __init__(self, message: str, line: int | None, place: Place = ()) -> None:
        super().__init__(message)
        self.issue = ConfigIssue(place, message, line)


class _Loader(yaml.SafeLoader):
    """Composes nodes, not deeper and not more than a configuration may have."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - an attribute of PyYAML; its own are YAML 1.1's
    depth = 0
    nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        self.nodes += 1
        if self.nodes > MOST:
            raise _too_many(self.get_mark().line + 1)
        if self.depth > DEEPEST:
            raise _too_deep(self.get_mark().line + 1)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


for _name, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(
        f"{_PREFIX}{_name}", re.compile(f"(?:{_pattern.pattern})$"), _first
    )


def _too_many(line: int | None) -> YAMLIssue:
    return YAMLIssue(
        f"more than {MOST} values, with aliases expanded; shorten it, or avoid aliases",
        line,
    )


def _too_deep(line: int | None) -> YAMLIssue:
    return YAMLIssue(f"nested more than {DEEPEST} levels deep", line)


class Reader:
    """Reads one text. `lines` and `issues` hold what was found beside the data."""

    def __init__(self) -> None:
        self.lines: dict[Place, int] = {}
        self.issues: list[ConfigIssue] = []
        self._open: set[int] = set()
        self._values = 0

    def read(self, text: str) -> Any:
        """Return the data of the document in the text; `None` if there is none.

        Raises:
            YAMLIssue: the text cannot be read.
        """
        loader = None
        try:
            loader = _Loader(text)
            node = loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            raise _of(error) from None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise YAMLIssue(
                f"a character that YAML does not allow: #x{error.character:04x}", line
            ) from None
        finally:
            if loader:
                loader.dispose()
        return None if node is None else self._value(node, ())

    def _value(self, node: Node, place: Place) -> Any:
        line = node.start_mark.line + 1
        self._count(node, line, place)
        self._open.add(id(node))
        try:
            match node:
                case MappingNode():
                    return self._mapping(node, place)
                case SequenceNode():
                    return self._sequence(node, place)
                case _:
                    return self._scalar(node, place)
        finally:
            self._open.discard(id(node))

    def _count(self, node: Node, line: int, place: Place) -> None:
        if id(node) in self._open:
            raise YAMLIssue("the alias contains itself; write the value out", line, place)
        if len(place) > DEEPEST:
            raise _too_deep(line)
        self._values += 1
        if self._values > MOST:
            raise _too_many(line)
        if not isinstance(node, ScalarNode) and node.tag not in _CONTAINERS:
            self._refuse_tag(node, place)

    def _mapping(self, node: MappingNode, place: Place) -> dict[str, Any]:
        read: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            name = self._key(key, place, line)
            if name is None:
                continue
            inner = (*place, name)
            if name in read:
                self.issues.append(
                    ConfigIssue(
                        inner,
                        f"the key {quoted(name)} is here twice, first in line {self.lines[inner]}; "
                        "keep one",
                        line,
                    )
                )
                continue
            self.lines[inner] = line
            read[name] = self._value(value, inner)
        return read

    def _key(self, key: Node, place: Place, line: int) -> str | None:
        """The name as it is written: `no` and `1` are names here, not a boolean and a number."""
        if not isinstance(key, ScalarNode):
            self.issues.append(
                ConfigIssue(place, "a key must be a name, not a list or mapping", line)
            )
            return None
        if key.value == "<<" and key.style is None:
            self.issues.append(
                ConfigIssue(place, "merge keys ('<<') are not supported; write the keys out", line)
            )
            return None
        if not is_unicode(key.value):
            self.issues.append(
                ConfigIssue(place, f"a key must be a text, not {quoted(key.value)}", line)
            )
            return None
        return str(key.value)

    def _sequence(self, node: SequenceNode, place: Place) -> list[Any]:
        read: list[Any] = []
        for number, item in enumerate(node.value):
            inner = (*place, number)
            self.lines[inner] = item.start_mark.line + 1
            read.append(self._value(item, inner))
        return read

    def _scalar(self, node: Node, place: Place) -> Any:
        text = str(node.value)
        match node.tag.removeprefix(_PREFIX):
            case "str":
                return text
            case "null":
                return None
            case "bool" if text.lower() in ("true", "false"):
                return text.lower() == "true"
            case "int" if _SCALARS["int"][0].fullmatch(text):
                return int(text)
            case "float" if _SCALARS["float"][0].fullmatch(text):
                return float(re.sub(r"\.(?=[a-zA-Z])", "", text))
            case _:
                self._refuse_tag(node, place)
                return text

    def _refuse_tag(self, node: Node, place: Place) -> None:
        # do not repeat the tag: it may be the beginning of a password
        what = "tags ('!...') are not supported; put a text that begins with '!' in quotes"
        self.issues.append(ConfigIssue(place, what, node.start_mark.line + 1))


def _of(error: yaml.MarkedYAMLError) -> YAMLIssue:
    """An issue in PyYAML's words, without the piece of the text that it would show."""
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else None
    problem = error.problem or "it cannot be read"
    if "'\\t'" in problem:
        return YAMLIssue("a tab; indent YAML with spaces", line)
    if problem == "but found another document":
        return YAMLIssue("a second document ('---'); a configuration is a single one", line)
    if problem.endswith("but got '{'"):
        return YAMLIssue(
            "a '{' inside a text; within {...} and [...], put '${VAR}' in quotes", line
        )
    if problem.startswith("expected '<document start>'"):
        return YAMLIssue("more text follows after the end of the configuration", line)
    context = f" {error.context}" if error.context and "expected" not in problem else ""
    # do not repeat names of aliases and anchors: they may be the beginning of a password
    reason = re.sub(r" '[^']{2,}'", "", f"{problem}{context}")
    return YAMLIssue(f"not valid YAML: {reason}; put texts with special characters in quotes", line)
