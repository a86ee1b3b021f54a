"""What a configuration can hold. The policies are those of `core/policy.py`, field by field."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Annotated, Any, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    WithJsonSchema,
    create_model,
    model_validator,
)
from pydantic import Field as Entry
from pydantic_core import PydanticCustomError

from ..core.policy import Pace, Policies, ProviderTraits, Seconds
from ..core.routing.language import DEFAULT
from ..errors import ConfigurationError
from ..fleet import store_by_name

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)) *([a-z]*)")


def seconds(value: Any) -> Any:
    """`60`, `60s`, `1.5s`, `200ms`, `5m` and `1h` as seconds; what is no text stays as it is.

    Raises:
        ValueError: a text that is no duration.
    """
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    unit = (match[2] or "s") if match else ""
    if not match or unit not in _UNITS:
        raise ValueError("must be a duration: seconds, or a number with ms, s, m or h, as in 1.5s")
    # 200 ms are 0.2, as they would be written in code, and 0.001 is none of a float's numbers
    return float(match[1]) / 1000 if unit == "ms" else float(match[1]) * _UNITS[unit]


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


_VARIABLE = {"type": "string", "pattern": r"\$\{"}
_NUMBER = {"type": "number", "minimum": 0}
_WITH_UNIT = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]*)?|\.[0-9]+) *(ms|s|m|h)?$"}


def _schema(*kinds: dict[str, Any]) -> WithJsonSchema:
    """A value of one of these kinds, or a text with a variable that will be one."""
    return WithJsonSchema({"anyOf": [*kinds, _VARIABLE]})


_Duration = Annotated[
    float,
    BeforeValidator(_no_boolean),
    BeforeValidator(seconds),
    Entry(ge=0),
    _schema(_NUMBER, _WITH_UNIT),
]
_Number = Annotated[float, BeforeValidator(_no_boolean), Entry(ge=0), _schema(_NUMBER)]
_Count = Annotated[
    int, BeforeValidator(_no_boolean), Entry(ge=0), _schema({"type": "integer", "minimum": 0})
]
_Flag = Annotated[bool, _schema({"type": "boolean"})]
_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")]


class Strict(BaseModel):
    """No unknown keys, and no values in errors."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )


_TYPES: dict[Any, Any] = {Seconds: _Duration, float: _Number, int: _Count, bool: _Flag}
"""How the fields of policies are read."""


def _section(policy: type[Any]) -> type[Strict]:
    """The fields and defaults of a policy; what does not go together there is refused here."""
    hints = get_type_hints(policy, include_extras=True)
    entries: dict[str, Any] = {f.name: (_TYPES[hints[f.name]], f.default) for f in fields(policy)}

    def agree(model: Strict) -> Strict:
        try:
            policy(**model.model_dump())
        except ValueError as error:
            raise PydanticCustomError("policy", "{told}", {"told": str(error)}) from None
        return model

    validators: dict[str, Any] = {"agree": model_validator(mode="after")(agree)}
    name, doc = policy.__name__, policy.__doc__
    return create_model(name, __base__=Strict, __doc__=doc, __validators__=validators, **entries)


_TYPES[Pace] = _section(Pace)
POLICIES: dict[str, Any] = get_type_hints(Policies)
"""The sections that are policies."""


def _traits() -> type[Strict]:
    hints = get_type_hints(ProviderTraits, include_extras=True)
    entries: dict[str, Any] = {
        name: (_TYPES[hint] | None, None) for name, hint in hints.items() if hint in _TYPES
    }
    entries["languages"] = (Annotated[list[str], Entry(min_length=1)] | None, None)
    doc = "What is known of the provider; what is left out is as our table has it."
    return create_model("Traits", __base__=Strict, __doc__=doc, **entries)


class ProviderBase(Strict):
    """What is typed of `ProviderEntry`: all but the traits."""

    plugin: str
    """`NAME` of `livekit.plugins.NAME`, or an entry point of the group
    `resilient_stt.providers`."""
    kind: str | None = Entry(None, alias="class")
    """The class of a plugin that has several, such as `STTv2`; by default `STT`."""
    options: dict[str, Any] = {}
    """Arguments of the class; `${VAR}` takes one from the environment."""
    skip_language_check: _Flag = False
    """Whether it may stand in the route of any language, whatever is known of its model."""
    traits: Any = None

    def given_traits(self) -> dict[str, Any]:
        """The traits that are told here, the rest left out."""
        traits: Strict = self.traits
        return traits.model_dump(exclude_unset=True, exclude_none=True)


Traits = _traits()
ProviderEntry = create_model(
    "ProviderEntry", __base__=ProviderBase, __doc__="A provider.", traits=(Traits, Traits())
)


_STORE = "memory, or the URL of a Redis: redis://HOST:PORT/DB"
_WORD = re.compile(r"[A-Za-z0-9_-]{1,40}")


def _store(value: Any) -> Any:
    """A store that can be made; no address is repeated, for it may hold a password."""
    if not isinstance(value, str) or _WORD.fullmatch(value):
        if value != "memory":
            raise ValueError(f"must be {_STORE}")
        return value
    try:
        store_by_name(value)
    except ConfigurationError as error:
        raise PydanticCustomError("store", "{told}", {"told": str(error)}) from None
    return value


class HealthSection(Strict):
    """Where it is kept who is healthy."""

    store: Annotated[
        str,
        BeforeValidator(_store),
        _schema(
            {"const": "memory"}, {"type": "string", "pattern": r"^(rediss?://[^/]|unix://[^/]*/.)"}
        ),
    ] = "memory"
    """`memory`: in this process, for all its streams. `redis://HOST:PORT/DB`, `rediss://...` or
    `unix:///PATH`: in Redis, for all processes that have the same."""


class Top(Strict):
    """What is typed of `Configuration`: all but the policies."""

    providers: Any
    """The providers by name, in order of preference."""
    routes: Annotated[
        dict[str, Annotated[list[str], Entry(min_length=1)]],
        Entry(json_schema_extra={"required": [DEFAULT]}),
    ] = {}
    """Names of providers in order of preference, by the language that is spoken (BCP-47); `default`
    for all other languages, `detect` while none is known. Left out: all providers, in order."""
    retranscribe: _Flag = False
    """Whether a sentence that reveals another language is heard again by the providers of that
    language."""
    health: HealthSection = HealthSection()

    def given_providers(self) -> dict[str, ProviderBase]:
        """The providers by name."""
        return dict(self.providers)

    def policies(self) -> Policies:
        """The policies, with the defaults of what is left out."""
        kinds = POLICIES.items()
        return Policies(**{name: kind(**getattr(self, name).model_dump()) for name, kind in kinds})


def _configuration() -> type[Top]:
    providers: Any = dict[_Name, ProviderEntry]  # type: ignore[valid-type]
    models: dict[str, Any] = {name: _section(kind) for name, kind in POLICIES.items()}
    entries: dict[str, Any] = {name: (model, model()) for name, model in models.items()}
    entries["providers"] = (
        providers,
        # other names than those of the pattern are errors
        Entry(json_schema_extra={"minProperties": 1, "additionalProperties": False}),
    )
    doc = "The providers of a ResilientSTT, their routes by language, and its policies."
    return create_model("Configuration", __base__=Top, __doc__=doc, **entries)


Configuration = _configuration()
"""The model of a whole configuration."""
