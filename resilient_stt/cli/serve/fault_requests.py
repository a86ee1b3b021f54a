"""Turns the JSON of a request into a fault of a fake provider.

The names of the faults are those of `fault_names`. The parameters are the fields of the class,
except for time: a client does not know the server's clock, so `after` (seconds from now) and
`lasts` (seconds) replace `at_time` and `until`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat, create_model
from pydantic import ValidationError as PydanticError

from ...testing.faults import DropAfterClose, Fault
from ..fault_names import FAULT_CLASSES, parse_fault_name

_ABSOLUTE_TIMES = ("at_time", "until")
_TRIGGERS = ("after", "at_word", "at_audio")


def fault_from(name: object, parameters: Mapping[str, Any], *, now: float) -> Fault:
    """Return the fault that a request asks for; without a trigger it begins at once.

    Args:
        name: The name of a fault, such as `stall` or `status-401`.
        parameters: Fields of the fault, and `after` and `lasts`, in seconds.
        now: Seconds since the server started.

    Raises:
        ValueError: The name or a parameter is wrong; the message says which.
    """
    parsed = parse_fault_name(name) if isinstance(name, str) else None
    if parsed is None:
        raise ValueError(f"fault must be one of {', '.join(FAULT_CLASSES)}, not {name!r}")
    fault_type, own = parsed
    for parameter in own:
        if parameter in parameters:
            raise ValueError(f"{name} has the parameter {parameter!r} in its name; give one")
    values = _validated(str(name), fault_type, {**own, **parameters})
    triggers = [trigger for trigger in _TRIGGERS if values.get(trigger) is not None]
    if len(triggers) > 1:
        raise ValueError(f"give only one of {' and '.join(triggers)}")
    begin = now + values.pop("after", 0.0)
    # `DropAfterClose` is triggered by the client's closing message and takes no other trigger.
    if triggers == ["after"] or not (triggers or fault_type is DropAfterClose):
        values["at_time"] = begin
    if "lasts" in values:
        values["until"] = begin + values.pop("lasts")
    if values.get("connections") is not None:
        values["connections"] = frozenset(values["connections"])
    return fault_type(**values)


def _validated(name: str, fault_type: type[Fault], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that were given, each with the type of its field."""
    model = _model(fault_type)
    for parameter in parameters:
        if parameter not in model.model_fields:
            allowed = ", ".join(model.model_fields)
            raise ValueError(f"{name} has no parameter {parameter!r}; it has {allowed}")
    try:
        return model.model_validate(parameters).model_dump(exclude_unset=True)
    except PydanticError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"][:1]))
        raise ValueError(f"{name}, parameter {where!r}: {first['msg']}") from None


def _model(fault_type: type[Fault]) -> type[BaseModel]:
    """Return a model that validates the parameters of a class of faults."""
    # The class takes any container of connection numbers; JSON has lists.
    hints = {**get_type_hints(fault_type), "connections": list[int] | None}
    own: dict[str, Any] = {
        item.name: (hints[item.name], _default(item))
        for item in fields(fault_type)
        if item.name not in _ABSOLUTE_TIMES
    }
    times: dict[str, Any] = {"after": (NonNegativeFloat, 0.0), "lasts": (PositiveFloat, None)}
    return create_model(
        fault_type.__name__, __config__=ConfigDict(allow_inf_nan=False), **own, **times
    )


def _default(item: Field[Any]) -> Any:
    """Return the default of a field for pydantic; `...` if the field is required."""
    is_required = item.default is MISSING and item.default_factory is MISSING
    # The value does not matter: only parameters that were given are passed to the fault.
    return ... if is_required else None
