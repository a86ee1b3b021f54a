"""Turns pydantic's errors into issues, in the words of the configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..phrasing import kind_of, nearest, quoted, quoted_key, similar
from .issues import ConfigIssue, Document, Place
from .models import POLICIES, Configuration, Top

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
_REMOVED_WHOLE = {"providers": 2, "routes": 2, "record": 1}
"""How many steps lead to what is removed if something in it is invalid: it lacks a required key, or
it must not be taken for another one."""
_PROVIDER_NAME = "a letter, then letters, digits, '-', '_' or '.', at most 64 characters"
_POLICY_ERROR = re.compile(r"\w+\.(?P<field>\w+) (?P<rest>.*)", re.DOTALL)
"""A policy's `ValueError`: `RetryPolicy.connect_timeout must be ...`."""


def validated(document: Document) -> tuple[Top, list[ConfigIssue]]:
    """Return a model of everything that is valid, and the issues of the rest.

    Invalid parts are removed and the rest is validated again: a policy checks its fields together
    only once each of them is valid.
    """
    data = document.data
    issues: list[ConfigIssue] = []
    while True:
        try:
            return Configuration.model_validate(data), issues
        except ValidationError as error:
            errors = error.errors(include_url=False)
        is_first = data is document.data
        issues += [_issue(document, e) for e in errors if is_first or e["type"] == "policy"]
        data = _without(data, [e["loc"] for e in errors])


def _without(data: dict[str, Any], places: list[Place]) -> dict[str, Any]:
    """A copy without the invalid places; a provider, a route and `record` are removed whole."""
    valid = _copied(data)
    for place in places:
        end = min(len(place), _REMOVED_WHOLE.get(str(place[0]), len(place)))
        within: Any = valid
        for step in place[: end - 1]:
            within = within.get(step, {})
        within.pop(place[end - 1], None)
    valid.setdefault("providers", {})
    assert valid != data, places  # or `validated` would not end
    return valid


def _copied(data: dict[str, Any]) -> dict[str, Any]:
    return {key: _copied(v) if isinstance(v, dict) else v for key, v in data.items()}


def _issue(document: Document, error: ErrorDetails) -> ConfigIssue:
    place: Place = error["loc"]
    if place[-1] == "[key]":
        place = place[:-1]
        return ConfigIssue(place, f"the name of a provider must be {_PROVIDER_NAME}")
    match error["type"]:
        case "extra_forbidden":
            # The message quotes the key, so the place is that of the mapping around it.
            key = str(place[-1])
            hint = _hint(key, place[:-1])
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
            return _policy_issue(place, error["msg"])
    wanted = _WANTED.get(error["type"])
    if wanted is None:
        return ConfigIssue(place, error["msg"])
    return ConfigIssue(place, f"must be {wanted}, not {_given(document, place, error)}")


def _given(document: Document, place: Place, error: ErrorDetails) -> str:
    value = error["input"]
    is_text = isinstance(value, str) and place not in document.variables
    if is_text and error["type"] in _MAPPINGS:
        return kind_of(value)  # a key may stand where a mapping should be, so do not repeat it
    return document.shown(place, value)


def _policy_issue(place: Place, message: str) -> ConfigIssue:
    """A policy's error at the place of its field: users do not know the policy's class."""
    match = _POLICY_ERROR.fullmatch(message)
    assert match, message
    return ConfigIssue((*place, match["field"]), match["rest"])


def _hint(key: str, place: Place) -> str:
    """What was probably meant by an unknown key: a key here, or a field of some policy."""
    keys = _keys(place)
    is_policy = place == () or place[0] in POLICIES
    elsewhere = {
        field.name: f"{section}.{field.name}"
        for section, policy in POLICIES.items()
        for field in fields(policy)
    }
    if is_policy and key in elsewhere:
        return f"; did you mean {elsewhere[key]!r}?"
    if is_policy and not similar(key, keys) and (meant := similar(key, elsewhere)):
        return f"; did you mean {elsewhere[meant]!r}?"
    return nearest(key, keys)


def _keys(place: Place) -> list[str]:
    """The keys that are allowed at a place."""
    model: type[BaseModel] = Configuration
    for depth, step in enumerate(place):
        if depth == 1:
            continue  # a provider's name, which may be any
        known = {field.alias or name: field for name, field in model.model_fields.items()}
        model = next(_models_in(known[str(step)].annotation))
    return [field.alias or name for name, field in model.model_fields.items()]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in an annotation such as `dict[str, Model]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
