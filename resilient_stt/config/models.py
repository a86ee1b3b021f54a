"""Pydantic models of a configuration. Those of policies are made from `core/policy.py`."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Annotated, Any, get_type_hints

from pydantic import (
    AfterValidator,
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
from ..recording.recording_options import RecordingOptions

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)) *([a-z]*)")


def seconds(value: Any) -> Any:
    """Convert `60`, `60s`, `1.5s`, `200ms`, `5m` and `1h` to seconds.

    Values that are not text are returned as they are, for pydantic to check.

    Raises:
        ValueError: the text is not a duration.
    """
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    unit = (match[2] or "s") if match else ""
    if not match or unit not in _UNITS:
        raise ValueError("must be a duration: seconds, or a number with ms, s, m or h, as in 1.5s")
    # Divide: 200 / 1000 is the float 0.2, 200 * 0.001 is not.
    return float(match[1]) / 1000 if unit == "ms" else float(match[1]) * _UNITS[unit]


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


_VARIABLE = {"type": "string", "pattern": r"\$\{"}
_NUMBER = {"type": "number", "minimum": 0}
_WITH_UNIT = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]*)?|\.[0-9]+) *(ms|s|m|h)?$"}


def _schema(*kinds: dict[str, Any]) -> WithJsonSchema:
    """The schema of a value of one of these kinds, or of a text with a variable."""
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
    """Allows no unknown keys, and repeats no values in errors."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )


_TYPES: dict[Any, Any] = {Seconds: _Duration, float: _Number, int: _Count, bool: _Flag}
"""The pydantic type for each type of a policy's field."""


def _section(policy: type[Any]) -> type[Strict]:
    """A model with the fields and defaults of a policy, which makes the policy's own checks."""
    hints = get_type_hints(policy, include_extras=True)
    entries: dict[str, Any] = {f.name: (_TYPES[hints[f.name]], f.default) for f in fields(policy)}

    def check(model: Strict) -> Strict:
        try:
            policy(**model.model_dump())
        except ValueError as error:
            raise PydanticCustomError("policy", "{reason}", {"reason": str(error)}) from None
        return model

    validators: dict[str, Any] = {"check": model_validator(mode="after")(check)}
    name, doc = policy.__name__, policy.__doc__
    return create_model(name, __base__=Strict, __doc__=doc, __validators__=validators, **entries)


_TYPES[Pace] = _section(Pace)
POLICIES: dict[str, Any] = get_type_hints(Policies)
"""The class of each section that is a policy."""


def _traits() -> type[Strict]:
    hints = get_type_hints(ProviderTraits, include_extras=True)
    entries: dict[str, Any] = {
        name: (_TYPES[hint] | None, None) for name, hint in hints.items() if hint in _TYPES
    }
    entries["languages"] = (Annotated[list[str], Entry(min_length=1)] | None, None)
    doc = "What is known of the provider. A trait that is left out has its value from our table."
    return create_model("Traits", __base__=Strict, __doc__=doc, **entries)


class ProviderBase(Strict):
    """The part of `ProviderEntry` that a type checker knows: all but the traits."""

    plugin: str
    """`NAME` of `livekit.plugins.NAME`, or an entry point of the group
    `resilient_stt.providers`."""
    kind: str | None = Entry(None, alias="class")
    """The class, for a plugin that has several, such as `STTv2`. By default `STT`."""
    options: dict[str, Any] = {}
    """Arguments of the class. `${VAR}` takes one from the environment."""
    skip_language_check: _Flag = False
    """Whether the provider may be in the route of any language, whatever is known of its model."""
    traits: Any = None

    def given_traits(self) -> dict[str, Any]:
        """The traits that are set here, without the rest."""
        traits: Strict = self.traits
        return traits.model_dump(exclude_unset=True, exclude_none=True)


Traits = _traits()
ProviderEntry = create_model(
    "ProviderEntry", __base__=ProviderBase, __doc__="A provider.", traits=(Traits, Traits())
)


_STORE = "memory, or the URL of a Redis: redis://HOST:PORT/DB"
_WORD = re.compile(r"[A-Za-z0-9_-]{1,40}")


def _store(value: Any) -> Any:
    """Check that the store can be made. Errors repeat no address, which may hold a password."""
    if not isinstance(value, str) or _WORD.fullmatch(value):
        if value != "memory":
            raise ValueError(f"must be {_STORE}")
        return value
    try:
        store_by_name(value)
    except ConfigurationError as error:
        raise PydanticCustomError("store", "{reason}", {"reason": str(error)}) from None
    return value


class HealthSection(Strict):
    """Where the health of providers is kept."""

    store: Annotated[
        str,
        BeforeValidator(_store),
        _schema(
            {"const": "memory"}, {"type": "string", "pattern": r"^(rediss?://[^/]|unix://[^/]*/.)"}
        ),
    ] = "memory"
    """`memory`: in this process, for all its calls. `redis://HOST:PORT/DB`, `rediss://...` or
    `unix:///PATH`: in Redis, for all processes that use the same one."""

    @property
    def given_store(self) -> str | None:
        """The store that was named, if one was."""
        return self.store if "store" in self.model_fields_set else None


def _not_empty(value: str) -> str:
    if not value:
        raise ValueError("must be the path of a folder")
    return value


def _at_least_one(value: int) -> int:
    if value < 1:
        raise ValueError("must be 1 or more")
    return value


_Limit = Annotated[
    int,
    BeforeValidator(_no_boolean),
    AfterValidator(_at_least_one),
    _schema({"type": "integer", "minimum": 1}),
]


class RecordSection(Strict):
    """The flight recorder: a page for each stream, which shows what happened and why."""

    folder: Annotated[str, AfterValidator(_not_empty)]
    """Where the pages, and the same as JSON, are written; it is made if it does not exist."""
    text: _Flag = RecordingOptions.text
    """Whether words are written. Without them, their times, lengths and providers still are."""
    max_recordings: _Limit = RecordingOptions.max_recordings
    """Streams that are kept; beyond it, the oldest are deleted."""
    max_bytes: _Limit = RecordingOptions.max_bytes
    """Bytes that all recordings of the folder may have; beyond it, the oldest are deleted."""


class Top(Strict):
    """The part of `Configuration` that a type checker knows: all but the policies."""

    providers: Any
    """The providers by name, in order of preference."""
    routes: Annotated[
        dict[str, Annotated[list[str], Entry(min_length=1)]],
        Entry(json_schema_extra={"required": [DEFAULT]}),
    ] = {}
    """Names of providers in order of preference, by the language that is spoken (BCP 47).
    `default` serves all other languages, `detect` an unknown one. By default all providers, in the
    order above, serve every language."""
    retranscribe: _Flag = False
    """Whether a sentence that reveals another language is transcribed again by the providers of
    that language."""
    health: HealthSection = HealthSection()
    record: RecordSection | None = None
    """Records each stream; without it, nothing is recorded."""

    def given_providers(self) -> dict[str, ProviderBase]:
        """The providers by name."""
        return dict(self.providers)

    def recording(self) -> RecordingOptions | None:
        """What is recorded, if anything is."""
        return None if self.record is None else RecordingOptions(**self.record.model_dump())

    def policies(self) -> Policies:
        """The policies; fields that are left out have their defaults."""
        kinds = POLICIES.items()
        return Policies(**{name: kind(**getattr(self, name).model_dump()) for name, kind in kinds})


def _configuration() -> type[Top]:
    providers: Any = dict[_Name, ProviderEntry]  # type: ignore[valid-type]
    models: dict[str, Any] = {name: _section(kind) for name, kind in POLICIES.items()}
    entries: dict[str, Any] = {name: (model, model()) for name, model in models.items()}
    entries["providers"] = (
        providers,
        # Names that do not match the pattern of `_Name` are errors.
        Entry(json_schema_extra={"minProperties": 1, "additionalProperties": False}),
    )
    doc = "The providers of a ResilientSTT, their routes by language, and its policies."
    return create_model("Configuration", __base__=Top, __doc__=doc, **entries)


Configuration = _configuration()
"""The model of a whole configuration."""
