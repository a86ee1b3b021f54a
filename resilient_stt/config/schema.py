"""The JSON Schema of a configuration, for editors."""

from __future__ import annotations

import ast
import inspect
from typing import Any

from ..core.policy import Pace, ProviderTraits
from .models import POLICIES, Configuration, HealthSection, ProviderBase, RecordSection, Top


def json_schema() -> dict[str, Any]:
    """A schema (draft 2020-12) of what `load` takes, with the docstring of each policy's field.

    It describes names and forms. Options and languages, which only the installed plugins know, are
    not in it.
    """
    schema = Configuration.model_json_schema()
    for kind in (*POLICIES.values(), Pace, HealthSection, RecordSection):
        _describe(schema["$defs"][kind.__name__], kind)
    _describe(schema["$defs"]["Traits"], ProviderTraits)
    _describe(schema["$defs"]["ProviderEntry"], ProviderBase)
    _describe(schema, Top)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _describe(schema: dict[str, Any], kind: type[Any]) -> None:
    documented = field_docs(kind)
    documented["class"] = documented.get("kind", "")
    for name, entry in schema["properties"].items():
        if name in documented:
            entry["description"] = documented[name]


def field_docs(kind: type[Any]) -> dict[str, str]:
    """The docstrings below the fields of a class. Fields in a row share the one below the last."""
    (body,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(body, ast.ClassDef)
    documented: dict[str, str] = {}
    waiting: list[str] = []
    for line in body.body:
        match line:
            case ast.AnnAssign(target=ast.Name(id=name)):
                waiting.append(name)
            case ast.Expr(value=ast.Constant(value=str(doc))):
                documented |= dict.fromkeys(waiting, inspect.cleandoc(doc).replace("\n", " "))
                waiting = []
    return documented
