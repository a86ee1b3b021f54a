"""Faults by hand: from a JSON object to a fault of the chaos kit.

The names are the kit's classes in lower case, `in-band-error` for `InBandError`; the parameters are
their fields. Only time is told differently, for nobody knows the server's clock: `after` so many
seconds from now, and it `lasts` so many.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat, create_model
from pydantic import ValidationError as PydanticError

from ...testing.faults import (
    Drop,
    DropAfterClose,
    EmptyFinals,
    EndCleanly,
    Fault,
    Garbage,
    HalfOpen,
    Hang,
    IgnoreClose,
    InBandError,
    Latency,
    LostFinal,
    Refuse,
    Stall,
    Status,
)


def _name_of(kind: type[Fault]) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower()


FAULTS: dict[str, type[Fault]] = {
    _name_of(kind): kind
    for kind in (
        Refuse,
        Hang,
        Status,
        Drop,
        EndCleanly,
        DropAfterClose,
        HalfOpen,
        InBandError,
        Stall,
        Latency,
        Garbage,
        EmptyFinals,
        LostFinal,
        IgnoreClose,
    )
}
"""The faults by name."""

_OWN = ("at_time", "until")  # told as `after` and `lasts`
_TRIGGERS = ("after", "at_word", "at_audio")


def fault_from(name: object, parameters: Mapping[str, Any], *, now: float) -> Fault:
    """Make the fault that was asked for; without a trigger it begins at once.

    Args:
        name: One of `FAULTS`.
        parameters: Fields of the fault, `after` and `lasts`.
        now: Seconds since the server's start.

    Raises:
        ValueError: Says what is wrong with the name or the parameters.
    """
    if not isinstance(name, str) or name not in FAULTS:
        raise ValueError(f"the fault must be one of {', '.join(FAULTS)}; it is {name!r}")
    kind = FAULTS[name]
    given = _checked(name, kind, parameters)
    triggers = [trigger for trigger in _TRIGGERS if given.get(trigger) is not None]
    if len(triggers) > 1:
        raise ValueError(f"give one of {' and '.join(triggers)}")
    begin = now + given.pop("after", 0.0)
    if triggers == ["after"] or not (triggers or kind is DropAfterClose):
        given["at_time"] = begin
    if "lasts" in given:
        given["until"] = begin + given.pop("lasts")
    if given.get("connections") is not None:
        given["connections"] = frozenset(given["connections"])
    return kind(**given)


def _checked(name: str, kind: type[Fault], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, each of its type."""
    model = _model(kind)
    for parameter in parameters:
        if parameter not in model.model_fields:
            allowed = ", ".join(model.model_fields)
            raise ValueError(f"{name} has no parameter {parameter!r}, but {allowed}")
    try:
        return model.model_validate(parameters).model_dump(exclude_unset=True)
    except PydanticError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"][:1]))
        raise ValueError(f"{name}, parameter {where!r}: {first['msg']}") from None


def _model(kind: type[Fault]) -> type[BaseModel]:
    """The parameters of a fault with their types."""
    # what JSON has instead of any container
    hints = {**get_type_hints(kind), "connections": list[int] | None}
    own: dict[str, Any] = {
        item.name: (hints[item.name], _default(item))
        for item in fields(kind)
        if item.name not in _OWN
    }
    times: dict[str, Any] = {"after": (NonNegativeFloat, 0.0), "lasts": (PositiveFloat, None)}
    return create_model(kind.__name__, __config__=ConfigDict(allow_inf_nan=False), **own, **times)


def _default(item: Field[Any]) -> Any:
    has_none = item.default is MISSING and item.default_factory is MISSING
    return ... if has_none else None  # which one does not matter: the fault has it
