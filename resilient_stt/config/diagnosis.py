"""What pydantic finds wrong, in the words of the configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..phrasing import kind_of, nearest, quoted, quoted_key
from .issues import ConfigIssue, Document, Place
from .models import Configuration, Top

_MAPPINGS = ("dict_type", "model_type")
_WANTED = {
    "string_type": "a text",
    "list_type": "a list, such as [one, two]",
    **dict.fromkeys(_MAPPINGS, "a mapping"),
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "greater_than_equal": "0 or more",
}
_PROVIDER_NAME = "a letter, then letters, digits, '-', '_' or '.', 64 at most"
_POLICY = re.compile(r"\w+(?:\.(?P<field>\w+) |: | )(?P<rest>.*)", re.DOTALL)


def validated(document: Document) -> tuple[Top, list[ConfigIssue]]:
    """A model of all that is right, and what is wrong, each with its place.

    What is wrong is taken out, so that the rest can be looked at further: fields that do not go
    together are only found once each of them is right.
    """
    data = document.data
    mistakes: list[ConfigIssue] = []
    while True:
        try:
            return Configuration.model_validate(data), mistakes
        except ValidationError as error:
            errors = error.errors(include_url=False)
        is_first = data is document.data
        mistakes += [_mistake(document, e) for e in errors if is_first or e["type"] == "policy"]
        data = _without(data, [e["loc"] for e in errors])


def _without(data: dict[str, Any], places: list[Place]) -> dict[str, Any]:
    """A copy without what is wrong: a provider or a route goes as a whole."""
    sound = _copied(data)
    for place in places:
        end = min(len(place), 2) if place[0] in ("providers", "routes") else len(place)
        within: Any = sound
        for step in place[: end - 1]:
            within = within.get(step, {})
        within.pop(place[end - 1], None)
    sound.setdefault("providers", {})
    assert sound != data, places
    return sound


def _copied(data: dict[str, Any]) -> dict[str, Any]:
    return {key: _copied(v) if isinstance(v, dict) else v for key, v in data.items()}


def _mistake(document: Document, error: ErrorDetails) -> ConfigIssue:
    place: Place = error["loc"]
    if place[-1] == "[key]":
        place = place[:-1]
        return ConfigIssue(place, f"the name of a provider is {_PROVIDER_NAME}")
    match error["type"]:
        case "extra_forbidden":
            # the key itself is told in quotes, so the place is where it stands
            key = str(place[-1])
            hint = nearest(key, _keys(place[:-1]))
            return ConfigIssue(
                place[:-1], f"unknown key {quoted_key(key)}{hint}", document.line_of(place)
            )
        case "missing":
            return ConfigIssue(place[:-1], f"{quoted(place[-1])} is missing")
        case "too_short":
            return ConfigIssue(place, "is empty")
        case "value_error":
            why = str(error["ctx"]["error"])
            return ConfigIssue(place, f"{why}, not {_given(document, place, error)}")
        case "policy":
            return _disagreement(place, error["msg"])
    wanted = _WANTED.get(error["type"])
    if wanted is None:
        return ConfigIssue(place, error["msg"])
    return ConfigIssue(place, f"must be {wanted}, not {_given(document, place, error)}")


def _given(document: Document, place: Place, error: ErrorDetails) -> str:
    value = error["input"]
    is_text = isinstance(value, str) and place not in document.variables
    if is_text and error["type"] in _MAPPINGS:
        return kind_of(value)  # what should be in the mapping may stand in its place: a key
    return document.shown(place, value)


def _disagreement(place: Place, message: str) -> ConfigIssue:
    """What a policy says of itself, whose name the user does not know."""
    told = _POLICY.fullmatch(message)
    assert told, message
    return ConfigIssue((*place, told["field"]) if told["field"] else place, told["rest"])


def _keys(place: Place) -> list[str]:
    """The keys that may stand at a place."""
    model: type[BaseModel] = Configuration
    for depth, step in enumerate(place):
        if depth == 1:
            continue  # the name of a provider
        known = {field.alias or name: field for name, field in model.model_fields.items()}
        model = next(_models_in(known[str(step)].annotation))
    return [field.alias or name for name, field in model.model_fields.items()]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in an annotation such as `dict[str, Model]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
