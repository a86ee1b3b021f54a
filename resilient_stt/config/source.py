"""Reads what the user gives (a YAML or TOML file, a dict, the environment) to plain data."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from ..extras import install_command
from ..phrasing import is_unicode, kind_of, quoted
from .issues import ConfigIssue, Document, Place
from .limits import DEEPEST, LARGEST, MOST
from .variables import Expansion

VARIABLE = "RESILIENT_STT_CONFIG"
"""The environment variable that holds the path of a configuration."""

_FORMATS = {".yaml", ".yml", ".toml"}
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def read(source: str | Path | Mapping[str, Any] | None) -> tuple[Document, list[ConfigIssue]]:
    """Return the data of a configuration with its variables replaced, and the issues so far.

    Raises:
        ConfigurationError: there is no configuration, or it cannot be read.
    """
    raw, issues = _read(source)
    expansion = Expansion(os.environ)
    data = expansion.expand(raw.data)
    document = Document(raw.name, data, raw.lines, expansion.variables)
    return document, [*issues, *expansion.issues]


def _read(source: object) -> tuple[Document, list[ConfigIssue]]:
    if isinstance(source, Mapping):
        return _from_mapping(source)
    if source is None:
        return _from_file(_path_in_environment())
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        if not isinstance(path, str) or "\n" in path:
            raise ConfigurationError(
                "give a configuration by its path or as a dict, not as its text"
            )
        return _from_file(Path(path))
    raise ConfigurationError(
        f"give a configuration by its path or as a dict, not as {kind_of(source)}"
    )


def _path_in_environment() -> Path:
    path = os.environ.get(VARIABLE)
    if not path:
        raise ConfigurationError(
            f"no configuration: give the path of a YAML or TOML file, or set {VARIABLE} to it"
        )
    return Path(path)


def _from_file(path: Path) -> tuple[Document, list[ConfigIssue]]:
    if path.suffix.lower() not in _FORMATS:
        raise ConfigurationError(
            f"{path}: a configuration must be a .yaml, .yml or .toml file{_near(path)}"
        )
    text = _text(path)
    parse = _from_toml if path.suffix.lower() == ".toml" else _from_yaml
    return parse(str(path), text)


def _text(path: Path) -> str:
    content = _content(path)
    if b"\0" in content:
        raise ConfigurationError(f"{path}: is a binary file; a configuration must be text in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            f"{path}: line {line}: is not UTF-8; save the file as UTF-8"
        ) from None


def _content(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            with path.open("rb") as file:
                content = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: there is no such file{_near(path)}") from None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "not a valid path"
        raise ConfigurationError(f"{path}: cannot be read: {reason}") from None
    if not stat.S_ISREG(mode):
        what = (
            "is a directory; give the file in it" if stat.S_ISDIR(mode) else "is not a regular file"
        )
        raise ConfigurationError(f"{path}: {what}")
    if len(content) > LARGEST:
        raise ConfigurationError(f"{path}: is larger than {LARGEST // 1_000_000} MB")
    return content


def _near(path: Path) -> str:
    """The end of a sentence that suggests a file beside the missing one; may be empty."""
    try:
        beside = [f.name for f in path.parent.iterdir() if f.suffix.lower() in _FORMATS]
    except (OSError, ValueError):
        return ""
    close = get_close_matches(path.name, beside, n=1)
    return f"; did you mean {str(path.parent / close[0])!r}?" if close else ""


def _from_yaml(name: str, text: str) -> tuple[Document, list[ConfigIssue]]:
    try:
        from .yamlfile import Reader, YAMLIssue
    except ModuleNotFoundError:
        raise ConfigurationError(
            f"{name}: reading YAML needs PyYAML, which is not installed: "
            f"{install_command('yaml')}, or write the configuration in TOML"
        ) from None
    reader = Reader()
    try:
        data = reader.read(text)
    except YAMLIssue as error:
        raise Document(name, {}).configuration_error([error.issue]) from None
    return Document(name, _top(name, data), reader.lines), reader.issues


def _from_toml(name: str, text: str) -> tuple[Document, list[ConfigIssue]]:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.search(str(error))
        line = int(place[1]) if place and place[1] else text.count("\n") + 1
        message = f"not valid TOML: {_TOML_PLACE.sub('', str(error))}"
        raise Document(name, {}).configuration_error([ConfigIssue((), message, line)]) from None
    except (RecursionError, ValueError):
        message = f"nested more than {DEEPEST} levels deep, or with a number of thousands of digits"
        raise Document(name, {}).configuration_error([ConfigIssue((), message)]) from None
    return _plain(name, data)


def _from_mapping(source: Mapping[str, Any]) -> tuple[Document, list[ConfigIssue]]:
    return _plain("the configuration", source)


def _plain(name: str, data: Mapping[str, Any]) -> tuple[Document, list[ConfigIssue]]:
    copy = _Copy(name)
    return Document(name, _top(name, copy.of(data, ()))), copy.issues


class _Copy:
    """Copies plain data, with text as keys, not deeper and not more than is allowed."""

    def __init__(self, name: str) -> None:
        self.issues: list[ConfigIssue] = []
        self._name = name
        self._values = 0

    def of(self, value: Any, place: Place) -> Any:
        """Return a copy. Values that are neither mappings nor lists are the same objects.

        Raises:
            ConfigurationError: the data is too deep, or has too many values.
        """
        self._values += 1
        if len(place) > DEEPEST or self._values > MOST:
            raise ConfigurationError(
                f"{self._name}: nested more than {DEEPEST} levels deep, or more than {MOST} values"
            )
        if isinstance(value, Mapping):
            return {key: self.of(value[key], (*place, key)) for key in self._keys(value, place)}
        if isinstance(value, list | tuple):
            return [self.of(item, (*place, number)) for number, item in enumerate(value)]
        return value

    def _keys(self, value: Mapping[Any, Any], place: Place) -> list[str]:
        keys: list[str] = []
        for key in value:
            if isinstance(key, str) and is_unicode(key):
                keys.append(key)
                continue
            boolean = "; YAML 1.1 reads an unquoted no, yes, on or off as a boolean"
            hint = boolean if isinstance(key, bool) else ""
            what = f"a key must be a text, not {quoted(key)}{hint}; put it in quotes"
            self.issues.append(ConfigIssue(place, what))
        return keys


def _top(name: str, data: Any) -> dict[str, Any]:
    if data is None or data == {}:
        raise ConfigurationError(
            f"{name} is empty; it needs providers, such as "
            "providers: {deepgram: {plugin: deepgram, options: {model: nova-3}}}"
        )
    if not isinstance(data, dict):
        raise ConfigurationError(
            f"{name} must be a mapping with the keys providers, routes, ...; it is {kind_of(data)}"
        )
    return data
