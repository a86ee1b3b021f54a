"""The providers of a configuration against the plugins that are installed."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from livekit.agents import LanguageCode

from ..phrasing import listed, nearest
from ..providers import plugins
from ..providers.plugins import NoProvider, ProviderFactory
from ..providers.traits import (
    MULTI,
    LanguageSupport,
    batch_only,
    key_variable,
    language_support,
    models_supporting,
)
from .issues import ConfigIssue, Document, Place
from .tags import tag_mistake

OTHERWISE = "or mark the provider `skip_language_check: true`"
"""What a user can do who knows better than our table."""

_KEY = "api_key"
_SECRET = re.compile(r"key$|secret|token|password|credential|auth", re.IGNORECASE)
_ADDRESS_WITH_SECRET = re.compile(r"//[^/]*@")


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """A configured provider, checked but not made; the values of its options are not shown."""

    name: str
    factory: ProviderFactory
    options: Mapping[str, Any] = field(repr=False)
    languages: LanguageSupport = field(repr=False)
    shown_model: str
    """The model, or the variable that it came from."""
    skip_language_check: bool
    """Whether it may be sent any language."""
    given: Mapping[str, Any] = field(repr=False)
    """Traits that the user knows better, or that follow from the options."""
    variable: str
    """The environment variable that holds its key, named by the options or by convention; empty if
    unknown."""
    hidden: frozenset[str] = field(repr=False)
    """Texts that must not be repeated."""

    @property
    def title(self) -> str:
        """Its name and model, for the user."""
        return f"{self.name} ({self.shown_model})"


class ProviderChecks:
    """Looks up the plugins and their options; collects what is wrong."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.mistakes: list[ConfigIssue] = []

    def specs(self, entries: Mapping[str, Any]) -> dict[str, ProviderSpec]:
        """The providers that can be made."""
        if self._document.data.get("providers") == {}:
            self._wrong(("providers",), "is empty; name at least one provider")
        specs = {name: self._provider(name, entry) for name, entry in entries.items()}
        return {name: spec for name, spec in specs.items() if spec}

    def _wrong(self, place: Place, message: str) -> None:
        self.mistakes.append(ConfigIssue(place, message))

    def _provider(self, name: str, entry: Any) -> ProviderSpec | None:
        place: Place = ("providers", name)
        maker = self._maker(place, entry)
        if maker is None:
            return None
        options = self._options((*place, "options"), maker, entry.options)
        given = entry.given_traits()
        hearing = self._hearing(place, maker, options, given)
        given.pop("languages", None)
        if options.get(_KEY):
            named = self._document.variables.get((*place, "options", _KEY), ())
            given["key_variable"] = " and ".join(named)
        spec = ProviderSpec(
            name=name,
            factory=maker,
            options=options,
            languages=hearing,
            shown_model=self._document.shown_option(place, "model", hearing.model),
            skip_language_check=entry.skip_language_check,
            given=given,
            variable=given.get("key_variable", key_variable(maker.plugin)),
            hidden=frozenset(self._hidden((*place, "options"), options)),
        )
        self._own_language((*place, "options", "language"), spec)
        return spec

    def _options(
        self, place: Place, maker: ProviderFactory, given: Mapping[str, Any]
    ) -> dict[str, Any]:
        options, wrong = plugins.checked_options(maker, given)
        for option, message in wrong.items():
            inner = (option,) if option.isidentifier() else ()
            self._wrong((*place, *inner), message)
        for option in batch_only(maker.plugin, maker.kind, options):
            told = f"{maker.title} cannot stream with {option}; `language: {MULTI}` can"
            self._wrong((*place, option), told)
        key = options.get(_KEY)
        if isinstance(key, str) and key != key.strip():
            # in a header it is refused before it is sent, and nobody would say why
            self._wrong((*place, _KEY), "begins or ends with white space; was a line break copied?")
        return options

    def _hearing(
        self,
        place: Place,
        maker: ProviderFactory,
        options: Mapping[str, Any],
        given: Mapping[str, Any],
    ) -> LanguageSupport:
        known = language_support(maker.plugin, maker.kind, options, _default_model(maker))
        known = replace(
            known, language_detection=given.get("language_detection", known.language_detection)
        )
        languages = given.get("languages")
        if languages is None:
            return known
        for number, language in enumerate(languages):
            here = (*place, "traits", "languages", number)
            what = tag_mistake(language, self._document.shown(here, language))
            if what:
                self._wrong(here, what)
        return replace(known, languages=frozenset(languages))

    def _own_language(self, place: Place, spec: ProviderSpec) -> None:
        language = spec.options.get("language")
        if language and isinstance(language, str) and not spec.skip_language_check:
            tag = str(LanguageCode(language))
            if not (spec.languages.language_detection or spec.languages.supports(tag)):
                shown = self._document.shown_option(("providers", spec.name), "language", tag)
                self._wrong(place, language_issue(spec, tag, shown))

    def _maker(self, place: Place, entry: Any) -> ProviderFactory | None:
        try:
            return plugins.find(entry.plugin, entry.kind)
        except NoProvider as error:
            where = (*place, error.key)
            shown = self._document.shown(where, "")
            if where in self._document.variables:  # what it holds may be anything, and is not told
                there = nearest("", error.available)
                self._wrong(where, f"{shown} names no {error.key} that can be used{there}")
            else:
                self._wrong(where, str(error))
            return None

    def _hidden(self, place: Place, value: Any) -> Iterator[str]:
        """The texts in options that came from a variable, or look like secrets."""
        if isinstance(value, str):
            secret = any(isinstance(step, str) and _SECRET.search(step) for step in place)
            if value and (
                secret or place in self._document.variables or _ADDRESS_WITH_SECRET.search(value)
            ):
                yield value
        elif isinstance(value, Mapping):
            for key, item in value.items():
                yield from self._hidden((*place, key), item)
        elif isinstance(value, list | tuple):
            for number, item in enumerate(value):
                yield from self._hidden((*place, number), item)


def language_issue(spec: ProviderSpec, tag: str, shown: str) -> str:
    """That a model does not speak a language, which does, and what to do."""
    spoken = listed(sorted(spec.languages.languages or ()), 12)
    others = models_supporting(spec.factory.plugin, spec.factory.kind, tag)
    advice = f"{' and '.join(others)} would" if others else "name one that does"
    return f"{spec.title} does not speak {shown}, but {spoken}; {advice}, {OTHERWISE}"


def _default_model(maker: ProviderFactory) -> str:
    """The model that the constructor takes if none is given, where it tells."""
    try:
        parameter = inspect.signature(maker.make).parameters.get("model")
    except (TypeError, ValueError):
        return ""
    return parameter.default if parameter and isinstance(parameter.default, str) else ""
