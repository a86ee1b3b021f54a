"""The names of faults, the same in `demo`, `chaos` and `serve`: those of the classes in the kit.

A name is the class of `resilient_stt.testing` in lower case with hyphens, `in-band-error` for
`InBandError`. A code or a kind of garbage follows it: `status-401`, `garbage-no-text`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal, get_args, get_origin, get_type_hints

from .. import testing
from ..testing import faults
from ..testing.faults import ConnectFault, Fault, StreamFault

_VARIANTS = ("code", "what")
"""The fields that make faults of one class differ in kind, and not in degree or in time."""


def fault_name(fault: Fault) -> str:
    """Return the name of a fault, whenever it happens."""
    base = _class_name(type(fault))
    variants = (getattr(fault, name, None) for name in _VARIANTS)
    value = next((str(value) for value in variants if value is not None), "")
    return f"{base}-{value.replace('_', '-')}" if value else base


def _class_name(fault_type: type[Fault]) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", fault_type.__name__).lower()


FAULT_CLASSES: dict[str, type[Fault]] = {
    _class_name(kind): kind
    for name, kind in vars(faults).items()  # in its order, from connecting to closing
    if name in testing.__all__
    and isinstance(kind, type)
    and issubclass(kind, Fault)
    and kind not in (Fault, ConnectFault, StreamFault)
}
"""The classes of faults of the kit by name."""


def parse_fault_name(name: str) -> tuple[type[Fault], dict[str, Any]] | None:
    """Return the class that a name means, and the field that it sets; None if it means nothing."""
    if name in FAULT_CLASSES:
        return FAULT_CLASSES[name], {}
    for base, kind in FAULT_CLASSES.items():
        if name.startswith(f"{base}-"):
            field = next((f for f in _VARIANTS if f in kind.__dataclass_fields__), None)
            value = None if field is None else _value(kind, field, name[len(base) + 1 :])
            if field is not None and value is not None:
                return kind, {field: value}
    return None


def _value(kind: type[Fault], field: str, text: str) -> int | str | None:
    if text.isdecimal():
        return int(text)
    allowed = _literals(get_type_hints(kind)[field])
    return next((value for value in allowed if value.replace("_", "-") == text), None)


def _literals(hint: Any) -> Iterable[str]:
    return get_args(hint) if get_origin(hint) is Literal else ()
