"""Providers by name: installed LiveKit plugins, and entry points of other packages.

A configuration cannot import anything else: a name is looked up among what is installed before it
is imported.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
import os
import pkgutil
import re
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from importlib import metadata
from operator import or_
from typing import Any, Union, get_args, get_origin

from livekit.agents import stt
from livekit.agents import types as livekit_types
from livekit.agents.types import NotGiven
from pydantic import PydanticUserError, TypeAdapter, ValidationError

from ..errors import ConfigurationError, NoKey
from ..phrasing import kind_of, listed, nearest, quoted, quoted_key, similar
from .defaults import LOCAL
from .model_strings import INFERENCE

GROUP = "resilient_stt.providers"
"""The group of entry points that are callables which return a LiveKit `stt.STT`."""

_PACKAGE = "livekit.plugins"
_PREFIX = re.compile(r"livekit[._-]plugins[._-]")
"""What precedes a plugin's name in the name of its module or package."""
_PLUGIN_PACKAGE = re.compile(r"livekit-plugins-[a-z0-9-]+")
_CLASS = "STT"
_LONGEST_TEXT = 300  # characters of a message that is not ours
_WANTED = re.compile(r"Input should be (.*?)(?:, (?:unable to|got a number) .*)?")
_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*_(?:KEY|TOKEN|SECRET|CREDENTIALS)\b")


class NoProvider(ConfigurationError):
    """A name does not lead to a provider.

    Attributes:
        key: the configuration's key of the name, `plugin` or `class`.
        available: the names that lead to one.
    """

    def __init__(self, message: str, key: str = "plugin", available: Collection[str] = ()) -> None:
        super().__init__(message)
        self.key = key
        self.available = available


@dataclass(frozen=True, slots=True)
class ProviderFactory:
    """Makes a provider: a class of a plugin, or an entry point."""

    plugin: str
    kind: str
    """Name of the class; empty for an entry point."""
    make: Callable[..., Any]

    @property
    def title(self) -> str:
        """The name for users, such as `cartesia.STT`."""
        return f"{self.plugin}.{self.kind}" if self.kind else self.plugin


def installed() -> list[str]:
    """Return the names of the installed LiveKit plugins.

    Whether a plugin has speech-to-text is not known before it is imported.
    """
    try:
        package = importlib.import_module(_PACKAGE)
    except ImportError:
        return []
    return sorted(found.name for found in pkgutil.iter_modules(package.__path__))


def find(plugin: str, kind: str | None = None) -> ProviderFactory:
    """Find the class of an installed plugin, `STT` by default, or an entry point.

    Raises:
        NoProvider: there is none; says what to install or which name was probably meant.
    """
    own = {point.name: point for point in metadata.entry_points(group=GROUP)}
    plugins = installed()
    if plugin == INFERENCE:
        module = _loaded(plugin, lambda: importlib.import_module("livekit.agents.inference"))
        return ProviderFactory(plugin, _CLASS, module.STT)
    if plugin == LOCAL:
        module = _loaded(plugin, lambda: importlib.import_module("resilient_stt.local"))
        return ProviderFactory(plugin, _CLASS, module.STT)
    if plugin in plugins:
        if plugin in own:
            raise NoProvider(
                f"{quoted(plugin)} is both a LiveKit plugin and an entry point of {GROUP}; "
                "rename the entry point"
            )
        return _of_plugin(plugin, kind or _CLASS)
    if plugin in own:
        if kind:
            raise NoProvider(f"{quoted(plugin)} is an entry point and has no classes", "class")
        return ProviderFactory(plugin, "", _callable(plugin, _loaded(plugin, own[plugin].load)))
    available = [*plugins, *own, INFERENCE, LOCAL]
    raise NoProvider(_not_installed(plugin, available), available=available)


def _not_installed(plugin: str, available: list[str]) -> str:
    """Say what to install, or which name was meant; only packages that exist are named."""
    short = _PREFIX.sub("", plugin).replace("-", "_")
    published = _published()
    what = f"no plugin {quoted(plugin)} is installed"
    if short in published and short not in available:
        return f"{what}: pip install {published[short]}; there is {listed(available)}"
    if (meant := similar(short, available)) or not (meant := similar(short, published)):
        return f"{what}{nearest(meant or short, available)}"
    return f"{what}; did you mean {meant!r}? pip install {published[meant]}"


@cache
def _published() -> dict[str, str]:
    """The packages of LiveKit's plugins by the plugin's name: `livekit-agents` lists its extras."""
    try:
        required = metadata.requires("livekit-agents") or []
    except metadata.PackageNotFoundError:
        return {}
    packages = {found[0] for line in required if (found := _PLUGIN_PACKAGE.match(line))}
    return {_PREFIX.sub("", name).replace("-", "_"): name for name in sorted(packages)}


def _of_plugin(plugin: str, kind: str) -> ProviderFactory:
    module = _loaded(plugin, lambda: importlib.import_module(f"{_PACKAGE}.{plugin}"))
    classes = {
        name: member
        for name, member in vars(module).items()
        if not name.startswith("_") and isinstance(member, type) and issubclass(member, stt.STT)
    }
    if not classes:
        raise NoProvider(f"the plugin {quoted(plugin)} has no speech-to-text")
    if kind not in classes:
        hint = nearest(kind, classes)
        what = f"the plugin {quoted(plugin)} has no class {quoted(kind)}{hint}"
        raise NoProvider(what, "class", classes)
    return ProviderFactory(plugin, kind, classes[kind])


def _loaded(plugin: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except (Exception, SystemExit) as error:
        # its text may contain anything, so only the most frequent cause is shown
        missing = f" (no module {error.name})" if isinstance(error, ModuleNotFoundError) else ""
        raise NoProvider(
            f"the plugin {quoted(plugin)} is installed, but cannot be imported: "
            f"{type(error).__name__}{missing}"
        ) from None


def _callable(name: str, value: Any) -> Callable[..., Any]:
    if not callable(value):
        raise NoProvider(
            f"the entry point {quoted(name)} is {kind_of(value)}, not a callable that returns a "
            "livekit.agents.stt.STT"
        )
    made: Callable[..., Any] = value
    return made


# -- options


def checked_options(
    maker: ProviderFactory, options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Check options against a constructor's parameters and their types.

    Returns:
        The options that fit, converted to the parameters' types; and by option, required ones that
        are missing included, what is wrong with it. Messages contain no values.
    """
    parameters = _parameters(maker.make)
    if parameters is None:
        return dict(options), {}
    offered = {name: kind for name, kind in parameters.types.items() if kind is not _UNFIT}
    fitting: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name, value in options.items():
        if name in offered:
            try:
                fitting[name] = _fitted(offered[name], value)
            except ValueError as error:
                wrong[name] = f"{maker.title}'s {name} {error}"
        elif name in parameters.types:
            wrong[name] = f"a configuration cannot contain the {name} of {maker.title}, an object"
        elif parameters.open:
            fitting[name] = value
        else:
            wrong[name] = f"{maker.title} has no option {quoted_key(name)}{nearest(name, offered)}"
    for name in parameters.required:
        if name not in options:
            wrong[name] = f"{maker.title} needs the option {quoted(name)}"
    return fitting, wrong


def choices(maker: ProviderFactory, option: str) -> list[str]:
    """Return the texts that the annotation of an option names (`Literal`), also beside a `str`."""
    parameters = _parameters(maker.make)
    return list(_literals(parameters.types.get(option))) if parameters else []


def _literals(kind: Any) -> Iterator[str]:
    for inner in get_args(kind):
        if isinstance(inner, str):
            yield inner
        else:
            yield from _literals(inner)


_UNFIT = object()  # the type of a parameter whose values cannot be written in a file


@dataclass(frozen=True, slots=True)
class _Parameters:
    types: dict[str, Any]
    required: frozenset[str]
    open: bool
    """Whether there is a `**kwargs` that takes any other name."""


@cache
def _parameters(make: Callable[..., Any]) -> _Parameters | None:
    """Return what can be given by name; `None` if the signature cannot be read."""
    try:
        signature = inspect.signature(make)
    except (TypeError, ValueError):
        return None
    known = signature.parameters.values()
    named = [p for p in known if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = _Names(make)
    return _Parameters(
        {p.name: _type_of(p.annotation, names) for p in named},
        frozenset(p.name for p in named if p.default is p.empty),
        any(p.kind is p.VAR_KEYWORD for p in known),
    )


class _Names(dict[str, Any]):
    """The names that a callable's annotations may use.

    Plugins import some of them for type checkers only. Those of the plugin's `models` module are
    added; any other unknown name is `Any`, which accepts every value.
    """

    def __init__(self, make: Callable[..., Any]) -> None:
        function: Any = vars(make).get("__init__", make) if isinstance(make, type) else make
        own = getattr(inspect.unwrap(function), "__globals__", {})
        models = sys.modules.get(f"{own.get('__package__')}.models")
        guessed = vars(models) if models else {}
        super().__init__({**vars(typing), **vars(livekit_types), **guessed, **own})

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, Any)


def _type_of(annotation: Any, names: _Names) -> Any:
    """Return the type that values from a file are converted to, without types of objects."""
    if annotation is inspect.Parameter.empty:
        return Any
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, {"__builtins__": {}}, names)
        except Exception:
            return Any
    alternatives = _alternatives(annotation)
    fit = [kind for kind in alternatives if kind is types.NoneType or _is_plain(kind)]
    if all(kind is types.NoneType for kind in fit):
        return _UNFIT
    return Any if Any in fit else reduce(or_, fit)


def _alternatives(annotation: Any) -> list[Any]:
    is_union = get_origin(annotation) in (Union, types.UnionType)
    members = get_args(annotation) if is_union else (annotation,)
    return [types.NoneType if m is None else m for m in members if m is not NotGiven]


def _is_plain(kind: Any) -> bool:
    try:
        TypeAdapter(kind)
    except (PydanticUserError, TypeError):
        return False
    return True


def _fitted(kind: Any, value: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        errors = error.errors(include_input=False, include_context=False, include_url=False)
    # where any `str` is accepted, the literals beside it are only examples
    relevant = [e for e in errors if e["type"] != "literal_error"] or errors
    wanted = dict.fromkeys(found[1] for e in relevant if (found := _WANTED.fullmatch(e["msg"])))
    if not wanted:
        raise ValueError(f"does not fit: {', '.join(e['msg'] for e in relevant)}"[:_LONGEST_TEXT])
    raise ValueError(f"should be {' or '.join(wanted)}"[:_LONGEST_TEXT])


# -- objects


def missing_key(variable: str, options: Mapping[str, Any]) -> bool:
    """Whether an API key is known to be needed, and is neither in options nor environment."""
    return bool(variable) and not options.get("api_key") and not os.environ.get(variable)


def make(
    maker: ProviderFactory, options: Mapping[str, Any], variable: str, hidden: Collection[str] = ()
) -> stt.STT[Any]:
    """Make the provider.

    Args:
        maker: makes it.
        options: as `checked_options` returned them.
        variable: the environment variable of its API key; empty if unknown.
        hidden: texts, such as secrets, to remove from the provider's own error message.

    Raises:
        NoKey: neither the options nor the environment contain the API key.
        ConfigurationError: the provider refuses its options, or is not a LiveKit STT.
    """
    if missing_key(variable, options):
        raise NoKey(variable)
    try:
        made = maker.make(**options)
    except (Exception, SystemExit) as error:
        raise _refusal(maker, error, hidden) from None
    if not isinstance(made, stt.STT):
        raise ConfigurationError(
            f"{maker.title} gives {kind_of(made)}, which is not a livekit.agents.stt.STT"
        )
    return made


def _refusal(
    maker: ProviderFactory, error: BaseException, hidden: Collection[str]
) -> ConfigurationError:
    words = " ".join(str(error).split())
    named = _VARIABLE.search(words)
    if named and not os.environ.get(named[0]):
        return NoKey(named[0])
    if isinstance(error, ConfigurationError):  # of a provider of ours
        return error
    # only these two are about the arguments; the text of any other may contain anything
    if not isinstance(error, ValueError | TypeError):
        return ConfigurationError(f"{maker.title} cannot be made: {type(error).__name__}")
    for secret in sorted({*hidden, *_secrets()}, key=len, reverse=True):
        words = words.replace(secret, "***")
    return ConfigurationError(f"{maker.title} refuses its options: {words[:_LONGEST_TEXT]}")


def _secrets() -> set[str]:
    """Values of environment variables named like secrets; below 4 characters, none is secret."""
    return {v for name, v in os.environ.items() if len(v) >= 4 and _VARIABLE.fullmatch(name)}
